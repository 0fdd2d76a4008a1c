"""Whether a training is still sound: loss, weights and logits are numbers. Looked at now and then, for each look waits for the device."""

import math

import keras
import numpy as np
import tensorflow as tf

from dn3dlib.errors import RunError
from dn3dlib.train.runs import Run


class Watch:
    """Remembers each step's sums since the last look, so that a look names the very step that went wrong."""

    def __init__(self, run: Run, network: keras.Model):
        self._run, self._network = run, network
        self._sums: list[tf.Tensor] = []

    def add(self, sums: tf.Tensor) -> None:
        """Remember the sums of one step, float32 (3,), without reading them."""
        self._sums.append(sums)

    def check_loss(self, epoch: int, step: int) -> None:
        """Raise RunError unless the loss is a number up to this step, naming the first where it is not."""
        steps = range(step - len(self._sums) + 1, step + 1)
        for number, sums in zip(steps, np.array(self._sums), strict=True):
            if not math.isfinite(sums[0]):
                raise self.diverged("loss", epoch, number)
        self._sums.clear()

    def check(self, epoch: int, step: int, logits: tf.Tensor) -> None:
        """Raise RunError unless loss, weights and `logits`, which they give now, are numbers: a broken state is not worth keeping."""
        self.check_loss(epoch, step)
        # The loss of a step is that of the weights before it. Weights of 1e30 are numbers, but what they give is none.
        if not all(np.isfinite(values).all() for values in (*self._network.get_weights(), logits)):
            raise self.diverged("output of the network", epoch, step)

    def diverged(self, what: str, epoch: int, step: int) -> RunError:
        """The error for a training whose `what` is broken at this step."""
        return RunError(
            f"The {what} is not a number any more in epoch {epoch}, at step {step}: the learning rate "
            f"{self._run.train.learning_rate} is probably too high; start a new run with a lower train.learning_rate. "
            f"The last good checkpoint of {self._run.path} is kept."
        )
