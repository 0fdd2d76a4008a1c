"""All that a training needs to go on bit for bit: saved together, the newest few kept."""

import json
import os
import re
import shutil
import sys
from pathlib import Path

import keras
import tensorflow as tf

from dn3dlib.errors import RunError
from dn3dlib.train.runs import CHECKPOINTS, Run, rank

_KEPT = 2  # the newest, and the one before it
_SETTINGS = "settings/.ATTRIBUTES/VARIABLE_VALUE"  # where TensorFlow keeps them in the file


class Progress:
    """How far a training has come; its values travel with each checkpoint."""

    def __init__(self):
        self.epoch = tf.Variable(0, dtype=tf.int64)  # epochs that are complete
        self.step = tf.Variable(0, dtype=tf.int64)  # steps done of the next one
        self.sums = tf.Variable(tf.zeros(3))  # of that epoch so far: cross-entropy, correct clips, clips
        self.seconds = tf.Variable(0.0, dtype=tf.float64)  # that those steps took
        self.best = tf.Variable([-1.0, float("inf")])  # highest validation sequence accuracy, and its loss

    def variables(self) -> dict[str, tf.Variable]:
        """Name → variable."""
        return vars(self)

    def keep_if_best(self, row: dict) -> bool:
        """Remember an epoch's figures if it is the best so far (`runs.rank`; without validation, the latest is), and say whether."""
        if row["validation_loss"] is None:
            return True
        accuracy, loss = self.best.numpy()
        if rank(row) <= (accuracy, -loss):
            return False
        self.best.assign([row["validation_sequence_accuracy"], row["validation_loss"]])
        return True


class Checkpoints:
    """Saves and restores model, optimiser, seed generators, progress and settings in `<run>/checkpoints`."""

    def __init__(self, run: Run, model: keras.Model, optimizer: keras.optimizers.Optimizer, progress: Progress):
        # tf.train.Checkpoint does not find the states of Keras's seed generators by itself; dropout needs them to go on.
        seeds = [layer.seed_generator.state.value for layer in model.layers if getattr(layer, "seed_generator", None)]
        with tf.device("cpu"):
            settings = tf.Variable(json.dumps(run.to_dict()))
        self._checkpoint = tf.train.Checkpoint(
            model=model, optimizer=optimizer, seeds=seeds, settings=settings, **progress.variables()
        )
        self._run, self._folder, self._newest = run, run.path / CHECKPOINTS, 0

    def save(self) -> None:
        """Write a checkpoint beside, bring it to the disk and rename it, its index last: without that it does not count.

        TensorFlow itself writes the index in place, where a kill tears it.
        """
        number = self._newest + 1
        partial = self._folder.with_name(f"{CHECKPOINTS}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        self._folder.mkdir(exist_ok=True)
        try:
            self._checkpoint.write(str(partial / f"ckpt-{number}"))
            files = sorted(partial.iterdir())  # .data… before .index
            for path in files:
                with path.open("rb") as file:
                    os.fsync(file.fileno())
            for path in files:
                path.replace(self._folder / path.name)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        self._newest = number
        for path in sorted(self._folder.glob("ckpt-*.*"), reverse=True):  # .index before .data…
            if not number - _KEPT < _number(path) <= number:
                path.unlink()

    def restore(self) -> bool:
        """Restore the newest checkpoint that is whole; False where there is none yet.

        Raises RunError where all are damaged, or where one was made with other settings than the run's.
        """
        broken = []
        for number in sorted(map(_number, self._folder.glob("ckpt-*.index")), reverse=True):
            path = str(self._folder / f"ckpt-{number}")
            try:
                settings = json.loads(tf.train.load_checkpoint(path).get_tensor(_SETTINGS))
                self._run.check_same_settings(settings)  # before a value is touched
                self._checkpoint.read(path).assert_existing_objects_matched()
            except (tf.errors.OpError, AssertionError, ValueError, IndexError, RuntimeError, OSError) as error:
                broken.append(f"{path} ({type(error).__name__})")
                continue
            if broken:
                print(f"Passed over a damaged checkpoint: {', '.join(broken)}.", file=sys.stderr)
            self._newest = number
            return True
        if broken:
            raise RunError(
                f"No checkpoint of {self._folder.parent} can be read: {', '.join(broken)}. Start a new run with --init-from "
                f"{self._folder.parent}, which takes its best weights."
            )
        return False


def _number(path: Path) -> int:
    return int(re.match(r"ckpt-(\d+)\.", path.name)[1])
