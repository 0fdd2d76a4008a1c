"""Several processes, here or on many hosts, that train one network together: who they are, that all have come, and that one has gone."""

import json
import os
import re
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache

import tensorflow as tf

from dn3dlib.errors import ConfigError, RunError

_WAIT = 300.0  # seconds for the last worker to come: hosts in a cloud start minutes apart
_AGAIN = 0.2  # seconds between two tries to reach one
_GONE = (
    tf.errors.UnavailableError,
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
    tf.errors.FailedPreconditionError,
)


@dataclass(frozen=True)
class Cluster:
    """The workers of a job, as TF_CONFIG names them."""

    addresses: tuple[str, ...]  # host:port; the first is the chief, who alone writes
    index: int  # of this process


def cluster_of_environment() -> Cluster | None:
    """The workers that TF_CONFIG names; None where there is none, or where it names one alone.

    Raises:
        ConfigError: TF_CONFIG is not as TensorFlow defines it, or names others than workers and a chief.
    """
    text = os.environ.get("TF_CONFIG", "")
    if not text:
        return None
    try:
        config = json.loads(text)
        jobs, task = config.get("cluster", {}), config.get("task", {})
        if set(jobs) - {"chief", "worker"}:
            raise ValueError(f"its cluster has {', '.join(sorted(set(jobs) - {'chief', 'worker'}))}")
        chief, workers = jobs.get("chief", []), jobs.get("worker", [])
        addresses = (*chief, *workers)
        wrong = [address for address in addresses if not _is_address(address)]
        if wrong or len(set(addresses)) < len(addresses):
            raise ValueError(f"{wrong[0]!r} is no address" if wrong else "two workers have the same address")
        if len(addresses) < 2:
            return None
        if task["index"] not in range(len(addresses)):
            raise ValueError(f"there is no task {task['index']!r}")
        own = {"chief": chief, "worker": workers}[task["type"]][task["index"]]
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise ConfigError(
            f"The environment variable TF_CONFIG cannot be used ({type(error).__name__}: {error}): it must read like "
            '{"cluster": {"worker": ["host:port", "host:port"]}, "task": {"type": "worker", "index": 0}}; unset it to train alone.'
        ) from error
    return Cluster(addresses, addresses.index(own))


def _is_address(text: str) -> bool:
    port = re.fullmatch(r".+:(\d{1,5})", text)
    return bool(port) and 0 < int(port[1]) < 2**16


def wait_for_all(cluster: Cluster, seconds: float = _WAIT) -> None:
    """Return when every worker of a cluster has called this. TensorFlow itself would wait for ever, and Ctrl-C would not end it.

    Each reaches every other at its address, which is free again afterwards. Whoever has been reached by all is not needed any more.

    Raises:
        ConfigError: this worker's own port is taken, or another worker has not come within so many seconds.
    """
    (host, _, port), until = cluster.addresses[cluster.index].rpartition(":"), time.monotonic() + seconds
    to_reach = set(range(len(cluster.addresses))) - {cluster.index}
    to_come = set(to_reach)
    with socket.socket() as door:
        door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            door.bind((host if host.startswith("127.") else "", int(port)))
        except OSError as error:
            raise ConfigError(
                f"Worker {cluster.index} cannot listen at its port {port} ({error.strerror}): give it another one in TF_CONFIG of all workers."
            ) from error
        door.listen(len(cluster.addresses))
        door.settimeout(_AGAIN)
        while to_reach or to_come:
            if time.monotonic() > until:
                missing = ", ".join(f"worker {number} at {cluster.addresses[number]}" for number in sorted(to_reach | to_come))
                raise ConfigError(
                    f"After {seconds:.0f} seconds there is still no {missing}: start one there with the same TF_CONFIG but its own task "
                    "index, and see that its address can be reached from here."
                )
            to_reach -= {number for number in to_reach if _called(cluster.addresses[number], cluster.index)}
            to_come -= {_caller(door)}


def _called(address: str, index: int) -> bool:
    """Whether the worker at `address` could be told that this one is there."""
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=_AGAIN) as line:
            line.sendall(f"dn3d {index}\n".encode())
    except OSError:
        return False
    return True


def _caller(door: socket.socket) -> int | None:
    """Which worker has called; None: nobody, or somebody else."""
    try:
        line, _ = door.accept()
        with line:
            line.settimeout(_AGAIN)
            said = re.fullmatch(rb"dn3d (\d+)\n", line.recv(32))
    except OSError:
        return None
    return int(said[1]) if said else None


@cache
def join(cluster: Cluster) -> tf.distribute.MultiWorkerMirroredStrategy:
    """The strategy of a cluster that has come together; a process joins once.

    Raises:
        ConfigError: this process has computed with TensorFlow before, or its port has been taken.
    """
    wait_for_all(cluster)
    try:
        return tf.distribute.MultiWorkerMirroredStrategy()
    except RuntimeError as error:
        raise ConfigError(
            f"This process cannot join other workers any more ({error}): start training with several workers before anything else is computed."
        ) from error
    except tf.errors.UnknownError as error:  # TensorFlow listens at the port on all interfaces, where `wait_for_all` did on one
        raise ConfigError(
            f"Worker {cluster.index} cannot serve at {cluster.addresses[cluster.index]} ({error.message}): give it another port in TF_CONFIG of all workers."
        ) from error


def processes_of(strategy: tf.distribute.Strategy) -> int:
    """How many processes train together."""
    return sum(map(len, strategy.cluster_resolver.cluster_spec().as_dict().values())) if strategy.cluster_resolver else 1


def is_chief(strategy: tf.distribute.Strategy) -> bool:
    """Whether this process is the one that writes."""
    return processes_of(strategy) == 1 or cluster_of_environment().index == 0


def meet(strategy: tf.distribute.Strategy) -> None:
    """Wait until all processes are here."""
    if processes_of(strategy) > 1:
        def count():
            return strategy.reduce(tf.distribute.ReduceOp.SUM, strategy.run(lambda: tf.ones([])), axis=None)

        tf.function(count, autograph=False)().numpy()


@contextmanager
def lost_worker_in_a_sentence(strategy: tf.distribute.Strategy) -> Iterator[None]:
    """Turn what TensorFlow raises when another worker has gone into a RunError."""
    try:
        yield
    except _GONE as error:
        if processes_of(strategy) == 1:
            raise
        raise RunError(
            f"Another worker has gone ({type(error).__name__}), so this one ends, too: look into its log, then start all workers again with "
            "--resume; they go on from the last checkpoint."
        ) from error
