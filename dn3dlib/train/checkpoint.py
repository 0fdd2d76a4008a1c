"""All that a training needs to go on bit for bit: saved together, the newest few kept."""

import sys
from pathlib import Path

import keras
import tensorflow as tf

from dn3dlib.errors import RunError

_KEPT = 2  # the newest, and the one before it


class Progress:
    """How far a training has come; its values travel with each checkpoint."""

    def __init__(self):
        self.epoch = tf.Variable(0, dtype=tf.int64)  # epochs that are complete
        self.step = tf.Variable(0, dtype=tf.int64)  # steps done of the next one
        self.sums = tf.Variable(tf.zeros(3))  # of that epoch so far: cross-entropy, correct clips, clips
        self.best = tf.Variable([-1.0, float("inf")])  # highest validation sequence accuracy, and its loss

    def variables(self) -> dict[str, tf.Variable]:
        """Name → variable."""
        return vars(self)


class Checkpoints:
    """Saves and restores model, optimiser, seed generators and progress in `<run>/checkpoints`."""

    def __init__(self, folder: Path, model: keras.Model, optimizer: keras.optimizers.Optimizer, progress: Progress):
        # tf.train.Checkpoint does not find the states of Keras's seed generators by itself; dropout needs them to go on.
        seeds = [layer.seed_generator.state.value for layer in model.layers if getattr(layer, "seed_generator", None)]
        self._checkpoint = tf.train.Checkpoint(model=model, optimizer=optimizer, seeds=seeds, **progress.variables())
        self._manager = tf.train.CheckpointManager(self._checkpoint, str(folder), max_to_keep=_KEPT)
        self._folder = folder

    def save(self) -> None:
        """Write a checkpoint; TensorFlow names it only when all of it is on the disk."""
        self._manager.save()

    def restore(self) -> bool:
        """Restore the newest checkpoint that is whole; False where there is none yet. Raises RunError where all are damaged."""
        broken = []
        for path in reversed(self._manager.checkpoints):
            try:
                self._checkpoint.restore(path).assert_existing_objects_matched()
            except (tf.errors.OpError, AssertionError, ValueError, IndexError, RuntimeError, OSError) as error:
                broken.append(f"{path} ({type(error).__name__})")
                continue
            if broken:
                print(f"Passed over a damaged checkpoint: {', '.join(broken)}.", file=sys.stderr)
            return True
        if broken:
            raise RunError(
                f"No checkpoint of {self._folder.parent} can be read: {', '.join(broken)}. Start a new run with --init-from "
                f"{self._folder.parent}, which takes its best weights."
            )
        return False
