"""What the benchmarks of training steps share: a preset's training on synthetic records, its steps, and matrix products."""

import itertools
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from dn3dlib.presets import Preset

SIDE = 3000  # of the square matrices that are multiplied, where nothing else is said

# TensorFlow and what needs it is imported in functions: the processes that `prepare` starts import the benchmark, and need none of it.


@dataclass(frozen=True)
class Task:
    """A preset's training: where it runs, and on which data."""

    preset: Preset
    strategy: object
    data: object  # a DataSet
    shape: tuple[int, ...]  # of a clip

    @property
    def batch(self) -> int:
        """Clips of a step."""
        return self.preset.train.batch_size

    def batches(self) -> Iterable[tuple]:
        """Clips and labels from real records, as a training reads them; an epoch is long enough for all rounds."""
        from dn3dlib.data.clips import plan_training
        from dn3dlib.train.replicas import replica_batches

        clip = replace(self.preset.clip, clips_per_sequence=2000)
        return replica_batches(self.strategy, self.data, plan_training(self.data, clip, 0, 1), clip, self.batch, None)

    def fixed_batch(self) -> tuple:
        """The first clips and labels, where the strategy computes."""
        import tensorflow as tf

        with tf.device(self.strategy.extended.worker_devices[0]):
            return tuple(tf.identity(part) for part in next(iter(self.batches())))

    def step(self, precision: str) -> tuple[Callable, object]:
        """A training step in a precision, and its network."""
        from dn3dlib.model.densenet3d import build_model, keras
        from dn3dlib.train.steps import make_optimizer, make_train_step

        keras.utils.set_random_seed(0)
        config = replace(self.preset.train, precision=precision)
        with self.strategy.scope():
            model = build_model(self.preset.model, self.shape, len(self.data.classes))
            optimizer = make_optimizer(1e-3, config, model.trainable_variables)
        return make_train_step(model, optimizer, self.strategy, config, self.shape), model

    def flops(self) -> int:
        """Of a step, in convolutions and the head: three times a forward pass, less the gradient by the clips, which nobody needs."""
        from dn3dlib.model.anatomy import anatomy
        from dn3dlib.model.densenet3d import build_model

        layers = anatomy(build_model(self.preset.model, self.shape, len(self.data.classes)))
        return self.batch * (3 * sum(layer.flops for layer in layers) - layers[1].flops)

    def __str__(self) -> str:
        return f"batch {self.batch} of {'×'.join(map(str, self.shape))}, dropout {self.preset.model.dropout}"


def make_task(preset: Preset, strategy, folder: Path) -> Task:
    """A training on synthetic records, which are made in a folder."""
    from dn3dlib.data.prepare import prepare
    from dn3dlib.data.sources import DEFAULT_PROTOCOLS, read_catalog

    catalog = read_catalog("synthetic").split_by(DEFAULT_PROTOCOLS["synthetic"])
    data = prepare(catalog, folder / "data", preset.storage)
    return Task(preset, strategy, data, (preset.clip.frames, *data.storage.frame_shape))


def on_one_batch(step, task: Task, batch: tuple) -> Callable[[int], float]:
    """A function from a number of steps to the seconds that they take, on the same batch again and again."""

    def run(steps: int) -> float:
        run_steps(step, itertools.repeat(batch), task.batch, 2)  # as below: the first ones after others are slower
        return run_steps(step, itertools.repeat(batch), task.batch, steps)

    return run


def on_records(step, task: Task) -> Callable[[int], float]:
    """The same, on real records. Batches that have been read while others were measured are used up before: they cost no time here."""
    batches = iter(task.batches())
    waiting = min(os.cpu_count() or 1, 8) + 4  # read at once, and two and two ahead (`clip_dataset`, `ahead_on`)

    def run(steps: int) -> float:
        run_steps(step, batches, task.batch, waiting)
        return run_steps(step, batches, task.batch, steps)

    return run


def run_steps(step, source: Iterable[tuple], batch: int, steps: int) -> float:
    """Seconds that training steps take; the last result is waited for."""
    started = time.perf_counter()
    for clips, labels in itertools.islice(source, steps):
        sums = step(clips, labels, np.float32(batch))
    sums.numpy()
    return time.perf_counter() - started


def matrix_products(precision: str = "float32", side: int = SIDE, device: str = "/cpu:0") -> Callable[[int], float]:
    """A function from a number of products of two square matrices to the seconds that they take; 2 · side³ operations each."""
    import tensorflow as tf

    with tf.device(device):
        matrix = tf.cast(tf.random.normal((side, side)), precision)
        other = tf.cast(tf.random.normal((side, side)) / side**0.5, precision)  # so that products stay as large

        @tf.function
        def product(number):
            result = matrix
            for _ in tf.range(number):
                result = result @ other
            return tf.reduce_max(result)

    def products(number: int) -> float:
        started = time.perf_counter()
        with tf.device(device):
            product(tf.constant(number)).numpy()
        return time.perf_counter() - started

    return products


def in_turn(ways: dict[str, Callable[[int], float]], steps: int, rounds: int) -> list[dict[str, float]]:
    """Seconds of a step of each way, round by round, after a warm-up."""
    for run in ways.values():
        run(2)
    return [{name: run(steps) / steps for name, run in ways.items()} for _ in range(rounds)]
