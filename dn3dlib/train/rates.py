"""Which learning rate? A short trial in which it rises from tiny to far too large."""

import math
from dataclasses import dataclass

import keras
import numpy as np

from dn3dlib.config import ClipConfig, ModelConfig, TrainConfig
from dn3dlib.data.clips import batches_of, clip_dataset, plan_training
from dn3dlib.data.manifest import DataSet
from dn3dlib.errors import ConfigError
from dn3dlib.model.densenet3d import build_model
from dn3dlib.progress import progress_bar
from dn3dlib.train.memory import memory_advice, out_of_memory_in_a_sentence
from dn3dlib.train.steps import class_weights, make_optimizer, make_train_step
from dn3dlib.train.strategy import choose_precision, choose_strategy

_SMOOTHING = 0.9  # share of the running mean of the losses that stays at each step
_EXPLODED = 4  # times the lowest smoothed loss: larger rates need not be tried


@dataclass(frozen=True)
class RangeTest:
    """What a learning-rate range test has seen, a number for each step."""

    rates: np.ndarray  # float64 (steps,), rising
    losses: np.ndarray  # float64 (steps,), of each batch, in nats
    smoothed: np.ndarray  # float64 (steps,), their running mean
    lowest: float  # the rate at which the smoothed loss was lowest; beyond, it grows
    suggested: float  # a tenth of it


def lr_range_test(
    data: DataSet,
    clip: ClipConfig,
    model: ModelConfig,
    config: TrainConfig,
    *,
    first: float = 1e-4,
    last: float = 10.0,
    steps: int = 100,
    device: str = "auto",
    show_progress: bool = True,
) -> RangeTest:
    """Train a new network for some steps while the learning rate grows geometrically. Taught in notebook 02.

    It ends early where the smoothed loss has exploded. The suggestion is a tenth of the rate at which that loss was lowest:
    the running mean lags behind, and a whole training needs a margin. Nothing is written.

    Args:
        data: the prepared data set.
        clip, model, config: what would be trained and how; `config.learning_rate` and its schedule are not used.
        first, last: rates of the first and the last step.
        steps: at least 10.
        device: auto, cpu, gpu:0 …
        show_progress: a progress bar on standard error.

    Raises:
        ConfigError: rates that do not rise, or too few steps.
        RunError: memory has run out.

    Source: Smith 2017, "Cyclical Learning Rates for Training Neural Networks", section 3.3.
    """
    if not (0 < first < last < math.inf) or steps < 10:
        raise ConfigError(
            f"A range test takes at least 10 steps from a small rate to a larger one, not {steps} steps from {first} to {last}."
        )
    strategy, _ = choose_strategy(device)
    config = choose_precision(config, strategy)
    keras.utils.set_random_seed(config.seed)
    rising = keras.optimizers.schedules.ExponentialDecay(first, steps - 1, last / first)
    with strategy.scope():
        network = build_model(model, (clip.frames, *data.storage.frame_shape), len(data.classes))
    with out_of_memory_in_a_sentence(lambda: f"in the range test. {memory_advice(network, config, None)}"):
        losses, smoothed = _losses(network, rising, data, clip, config, strategy, steps, show_progress)
    if not losses:
        raise ConfigError(f"The first loss is no number at the rate {first}: look at the checks before training.")
    rates = first * (last / first) ** (np.arange(len(losses)) / (steps - 1))
    lowest = float(rates[np.argmin(smoothed)])
    return RangeTest(rates, np.array(losses), np.array(smoothed), lowest, lowest / 10)


def _losses(network, rising, data, clip, config, strategy, steps: int, show_progress: bool) -> tuple[list[float], list[float]]:
    """The loss of each step, and their running mean, until they have exploded or all steps are done."""
    with strategy.scope():
        optimizer = make_optimizer(rising, config, network.trainable_variables)
    weights = class_weights([s.label for s in data.of_split("train")], data.classes, config.class_weights)
    step = make_train_step(network, optimizer, strategy, config, (clip.frames, *data.storage.frame_shape), weights)
    losses, smoothed, mean = [], [], 0.0
    with progress_bar(total=steps, desc="range test", unit="step", show=show_progress) as bar:
        for clips, labels in _endless(data, clip, config):
            loss = float(step(clips, labels, np.float32(len(labels)))[0]) / len(labels)
            if not math.isfinite(loss):
                break
            mean = _SMOOTHING * mean + (1 - _SMOOTHING) * loss
            losses.append(loss)
            smoothed.append(mean / (1 - _SMOOTHING ** len(losses)))  # the mean starts from 0
            bar.update()
            if len(losses) == steps or smoothed[-1] > _EXPLODED * min(smoothed):
                break
    return losses, smoothed


def _endless(data: DataSet, clip: ClipConfig, config: TrainConfig):
    """The batches of epoch 1, 2, …, those that are not full left out: their losses would jump."""
    epoch = 0
    while True:
        epoch += 1
        plan = plan_training(data, clip, config.seed, epoch)
        size = min(config.batch_size, len(plan))
        for clips, labels, _ in batches_of(clip_dataset(data, plan[: len(plan) // size * size], clip, size)):
            yield clips, labels
