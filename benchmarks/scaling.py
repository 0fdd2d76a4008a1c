"""What do more replicas give on this machine? The same training step by one process, on two CPU devices, and by two workers.

    python benchmarks/scaling.py
    python benchmarks/scaling.py --batch-size 4 --rounds 2   # a quick try

All ways wait in processes of their own and run in turn. Strong scaling shares one batch among the replicas, weak scaling gives each
replica a batch of that size. The workers talk over the loopback interface, as those of `dn3d launch --workers 2` do. Processor time is that
of all processes together: where it stays and the time of a step does not shrink, the cores were busy before. A machine that is busy with other
things gives two processes more than one: then only processor time tells. Clips are noise: nothing is read.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace

import numpy as np

from dn3dlib.presets import find_preset

CLASSES = 6
CORES = os.cpu_count()
ONE, ALL = "one process, 1 thread", f"one process, {CORES} threads"
# name → (processes, --device, --strategy, threads of each for an operation)
WAYS = {
    ONE: (1, "cpu", "one", 1),
    ALL: (1, "cpu", "one", CORES),
    "mirrored on 2 CPU devices": (1, "cpus:2", "mirrored", CORES),
    "2 workers, 1 thread each": (2, "cpu", "multiworker", 1),
    f"2 workers, {CORES} threads each": (2, "cpu", "multiworker", CORES),
}
WORKERS = list(WAYS)[-1]  # as `dn3d launch` starts them


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="quick")
    parser.add_argument("--batch-size", type=int, help="of one process; default: the preset's")
    parser.add_argument("--sync-batch-norm", action="store_true", help="batch statistics of all replicas together")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=2, help="of a round")
    parser.add_argument("--peer", nargs=2, metavar=("DEVICE", "STRATEGY"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    batch = arguments.batch_size or find_preset(arguments.preset).train.batch_size
    if batch % 2:
        parser.error(f"--batch-size is {batch}, but must be even: two replicas share it.")
    if arguments.peer:
        answer(arguments, *arguments.peer)
        return
    with ExitStack() as stack:
        groups = {name: Group(stack, arguments, *way) for name, way in WAYS.items()}
        for group in groups.values():
            group.wait()
        sizes = {name: [batch] if name in (ONE, ALL) else [batch, 2 * batch] for name in WAYS}
        runs = {(name, size): groups[name] for name in WAYS for size in sizes[name]}
        for (_, size), group in runs.items():
            group.ask("step", size, 2)  # warm up
        rounds = [{key: group.step(key[1], arguments.steps) for key, group in runs.items()} for _ in range(arguments.rounds)]
        reductions = [groups[WORKERS].ask("reduce", batch, 10)[0].seconds / 10 for _ in range(arguments.rounds)]
        parameters = groups[WORKERS].parameters
    report(arguments, batch, rounds, statistics.median(reductions), parameters)


@dataclass(frozen=True)
class Took:
    """What something took: wall time, and processor time of all processes."""

    seconds: float
    processor: float


class Group:
    """The processes that compute in one way, waiting to be asked."""

    def __init__(self, stack: ExitStack, arguments: argparse.Namespace, processes: int, device: str, strategy: str, threads: int):
        from dn3dlib.deploy.launch import free_ports

        options = ["--preset", arguments.preset, *["--sync-batch-norm"] * arguments.sync_batch_norm]
        command = [sys.executable, __file__, *options, "--peer", device, strategy]
        workers = [f"127.0.0.1:{port}" for port in free_ports(processes)]
        self.processes = []
        for index in range(processes):
            config = {"cluster": {"worker": workers}, "task": {"type": "worker", "index": index}}
            more = {"TF_CONFIG": json.dumps(config), "TF_NUM_INTRAOP_THREADS": str(threads), "TF_CPP_MIN_LOG_LEVEL": "3"}
            process = subprocess.Popen(command, env=os.environ | more, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            self.processes.append(stack.enter_context(process))
            stack.callback(process.stdin.close)  # upon which it ends

    def wait(self) -> None:
        """Return when all are ready; they tell the network's parameters."""
        lines = [process.stdout.readline() for process in self.processes]
        if not all(lines):
            sys.exit("A process did not start: see its message above.")
        self.parameters = int(lines[0])

    def ask(self, what: str, batch: int, times: int) -> list[Took]:
        """Let all do something so many times."""
        for process in self.processes:
            print(what, batch, times, file=process.stdin, flush=True)
        return [Took(*json.loads(process.stdout.readline())) for process in self.processes]

    def step(self, batch: int, steps: int) -> Took:
        """What one training step of a batch takes, measured over some; the first one after others is slower, and left out."""
        self.ask("step", batch, 1)
        took = self.ask("step", batch, steps)
        return Took(max(one.seconds for one in took) / steps, sum(one.processor for one in took) / steps)


def answer(arguments: argparse.Namespace, device: str, strategy_name: str) -> None:
    """Be one of the processes: do what is asked on standard input until it ends."""
    import tensorflow as tf

    from dn3dlib.model.densenet3d import build_model, keras
    from dn3dlib.train.steps import make_optimizer, make_train_step
    from dn3dlib.train.strategy import choose_strategy

    strategy, _ = choose_strategy(device, strategy_name)
    preset = find_preset(arguments.preset)
    config = replace(preset.train, precision="float32", sync_batch_norm=arguments.sync_batch_norm)
    shape = (preset.clip.frames, *preset.storage.frame_shape)
    keras.utils.set_random_seed(0)
    with strategy.scope():
        model = build_model(preset.model, shape, CLASSES)
        optimizer = make_optimizer(1e-3, config, model.trainable_variables)
    step = make_train_step(model, optimizer, strategy, config, shape)
    gradients = [tf.zeros(variable.shape) for variable in model.trainable_variables]

    def all_reduce():
        return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, gradients)

    # As the optimizer does it: all gradients in one call.
    reduce = tf.function(lambda: strategy.reduce(tf.distribute.ReduceOp.SUM, strategy.run(all_reduce)[0], axis=None), autograph=False)
    print(sum(int(np.prod(gradient.shape)) for gradient in gradients), flush=True)
    for line in sys.stdin:
        what, batch, times = line.split()[0], *map(int, line.split()[1:])
        clips, labels = shares(strategy, batch, shape)
        started, used = time.perf_counter(), time.process_time()
        for _ in range(times):
            done = step(clips, labels, np.float32(batch)) if what == "step" else reduce()
        done.numpy()
        print(json.dumps([time.perf_counter() - started, time.process_time() - used]), flush=True)


def shares(strategy, batch: int, shape: tuple[int, ...]) -> tuple:
    """Noise and labels for a batch, for each replica its share."""
    import tensorflow as tf

    replicas = strategy.num_replicas_in_sync
    clips = tf.random.stateless_normal((batch // replicas, *shape), (0, 0))
    labels = tf.range(batch // replicas) % CLASSES
    if replicas == 1:
        return clips, labels
    return tuple(strategy.experimental_distribute_values_from_function(lambda _, part=part: part) for part in (clips, labels))


def report(arguments: argparse.Namespace, batch: int, rounds: list[dict], reduction: float, parameters: int) -> None:
    """Print medians over the rounds; ratios are medians of each round's own ratio."""

    def median(figure: Callable[[dict], float]) -> float:
        return statistics.median(map(figure, rounds))

    def times(key: tuple, other: str) -> float:
        """How many times the clips/s of `other`."""
        return median(lambda row: key[1] / row[key].seconds / (batch / row[other, batch].seconds))

    preset = find_preset(arguments.preset)
    shape = "×".join(map(str, (preset.clip.frames, *preset.storage.frame_shape)))
    statistics_of = "all replicas" if arguments.sync_batch_norm else "each replica's own clips"
    print(f"{preset.name} on {CORES} cores: clips of {shape}, float32, batch statistics of {statistics_of}")
    print(f"  {'':30}{'batch':>8}{'ms a step':>11}{'processor ms':>14}{'clips/s':>9}   times 1 thread   times {CORES} threads")
    for key in rounds[0]:
        name, size = key
        took, used = median(lambda row, key=key: row[key].seconds), median(lambda row, key=key: row[key].processor)
        shown = str(size) if name in (ONE, ALL) else f"2×{size // 2}"
        print(f"  {name:30}{shown:>8}{took * 1e3:11.0f}{used * 1e3:14.0f}{size / took:9.1f}{times(key, ONE):17.2f}{times(key, ALL):18.2f}")
    step = median(lambda row: row[WORKERS, batch].seconds)
    print(f"  Gradients of a step: {4 * parameters:,} bytes ({parameters:,} numbers of 4). Two workers add them up in {reduction * 1e3:.1f} ms "
          f"({4 * parameters / reduction / 1e6:.0f} MB/s), {reduction / step:.1%} of a step of theirs.")  # fmt: skip
    print(f"  One process with {CORES} threads has all cores of this machine: replicas here share them, and add messages. On machines of their own they "
          "would bring their cores along.")  # fmt: skip


if __name__ == "__main__":
    main()
