"""Workers on this machine that train one network together: to try out, and to show, what several hosts do."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from dn3dlib.errors import ConfigError, RunError
from dn3dlib.files import plain_disk_errors
from dn3dlib.train.interrupt import stop_on_interrupt
from dn3dlib.train.runs import CHECKPOINTS

STOPPED = 130  # exit status of a training that was interrupted and has saved
_COMMAND = [sys.executable, "-m", "dn3dlib"]
_GRACE = 20.0  # seconds that the others have to end by themselves when one has: TensorFlow misses a worker after ten
_LOOK = 0.2  # seconds between two looks at them


def launch(arguments: list[str], workers: int = 2) -> int:
    """Run `dn3d train …` in several processes on this machine, each a worker of one job.

    They talk over the loopback interface (but TensorFlow opens their ports to whoever reaches this machine). What each prints is added to `worker-0.log` … in a folder beside the run's, named like it
    and `.logs`; what the chief, worker 0, prints is shown as well. When one fails, all are ended. Ctrl-C lets all end after the same step,
    with a checkpoint. Taught in notebook 08.

    Args:
        arguments: those of `dn3d`; the first is `train`, and `--out` is among them.
        workers: 2 or more.

    Returns:
        The exit status: 0 done, 130 interrupted (go on with --resume).

    Raises:
        ConfigError: another command than train, another --strategy, no --out, fewer than two workers.
        RunError: a worker has failed or was killed.
    """
    run_dir = _checked_run_dir(arguments, workers)
    logs = _folder_for_logs(run_dir)
    addresses = [f"127.0.0.1:{port}" for port in free_ports(workers)]
    stop = threading.Event()
    with ExitStack() as stack:
        stack.enter_context(stop_on_interrupt(stop))
        processes = [stack.enter_context(_worker(index, addresses, arguments, logs / f"worker-{index}.log")) for index in range(workers)]
        first = _wait(processes, stop)
    if first is None:
        return 0
    status, log = processes[first].returncode, logs / f"worker-{first}.log"
    if status == STOPPED or (stop.is_set() and status == -signal.SIGINT):  # one that was not yet ready to end by itself
        return STOPPED
    how = f"was killed ({signal.Signals(-status).name})" if status < 0 else f"failed with status {status}"
    said, go_on = _last_words(log) if status > 0 else "", ""
    if any((run_dir / CHECKPOINTS).glob("*.index")):
        go_on = "; the same command with --resume goes on from the last checkpoint"
    raise RunError(f"Worker {first} {how}, so all were ended{f': {said}' if said else '.'} Its log is {log}{go_on}.")


def _checked_run_dir(arguments: list[str], workers: int) -> Path:
    """The run's folder; raises ConfigError where the arguments are not for several workers."""
    if workers < 2:
        raise ConfigError(f"--workers is {workers}, but must be 2 or more: alone, `dn3d train` does.")
    if arguments[:1] != ["train"]:
        raise ConfigError("What is launched must be a training: dn3d launch --workers 2 -- train --data … --out …")
    strategy = _value(arguments, "--strategy")
    if strategy not in ("", "auto", "multiworker"):
        raise ConfigError(f"--strategy is {strategy!r}, but workers train together by multiworker alone: leave it out.")
    if not (out := _value(arguments, "--out")):
        raise ConfigError("--out is missing: all workers need the name of the run's folder.")
    return Path(out).absolute()


def _value(arguments: list[str], option: str) -> str:
    """What an option is set to, as `--out run` or `--out=run`; "" where it is not there."""
    following = (value for name, value in zip(arguments, arguments[1:], strict=False) if name == option)
    joined = (text.partition("=")[2] for text in arguments if text.startswith(f"{option}="))
    return next(following, "") or next(joined, "")


def _folder_for_logs(run_dir: Path) -> Path:
    logs = run_dir.with_name(f"{run_dir.name}.logs")
    with plain_disk_errors(logs):
        logs.mkdir(parents=True, exist_ok=True)
    return logs


def free_ports(count: int) -> list[int]:
    """Ports of the loopback interface that nobody listens at."""
    with ExitStack() as stack:
        doors = [stack.enter_context(socket.socket()) for _ in range(count)]
        for door in doors:
            door.bind(("127.0.0.1", 0))
        return [door.getsockname()[1] for door in doors]


@contextmanager
def _worker(index: int, addresses: list[str], arguments: list[str], log: Path) -> Iterator[subprocess.Popen]:
    """A worker under way, killed if it still is when the block ends; the chief's standard output is ours."""
    config = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
    with log.open("ab") as file:
        # A session of its own: Ctrl-C reaches all through `launch`, once. A second one would interrupt them at once.
        process = subprocess.Popen(
            [*_COMMAND, *arguments],
            env=os.environ | {"TF_CONFIG": json.dumps(config)},
            stdin=subprocess.DEVNULL,
            stdout=None if index == 0 else file,
            stderr=subprocess.PIPE if index == 0 else file,
            start_new_session=True,
        )
        copier = threading.Thread(target=_show_and_keep, args=(process.stderr, file), daemon=True) if index == 0 else None
        if copier:
            copier.start()
        try:
            yield process
        finally:
            process.kill()
            process.wait()
            if copier:
                copier.join()
                process.stderr.close()


def _show_and_keep(source, log) -> None:
    """Copy what a worker prints to our standard error and to its log, as it comes."""
    while text := source.read1(4096):
        log.write(text)
        log.flush()
        sys.stderr.write(text.decode(errors="replace"))
        sys.stderr.flush()


def _wait(processes: list[subprocess.Popen], stop: threading.Event) -> int | None:
    """Wait until all have ended; which was the first to end otherwise than done, None: none was. Where one was, the rest have a while."""
    told, first, until = False, None, float("inf")
    while any(process.poll() is None for process in processes) and time.monotonic() < until:
        if stop.is_set() and not told:
            told = True
            for process in processes:
                process.send_signal(signal.SIGINT)
        time.sleep(_LOOK)
        if first is None and (first := _failed(processes)) is not None:
            until = time.monotonic() + _GRACE
    return _failed(processes) if first is None else first


def _failed(processes: list[subprocess.Popen]) -> int | None:
    """The first that has ended and was not done; one that was killed comes before those that missed it."""
    failed = [index for index, process in enumerate(processes) if process.poll()]
    return min(failed, key=lambda index: (processes[index].returncode > 0, index), default=None)


def _last_words(log: Path) -> str:
    """What a worker said was wrong, from its log."""
    lines = [line.partition("dn3d: error: ")[2] for line in log.read_text(encoding="utf-8", errors="replace").splitlines()]
    return next((line.strip() for line in reversed(lines) if line), "")
