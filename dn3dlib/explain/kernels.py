"""What the first kernels look for: the kernels themselves, and their answer to a bar that moves."""

import keras
import numpy as np

from dn3dlib.data.clips import normalise
from dn3dlib.explain.features import feature_maps

WIDTH = 3.0  # pixels: of the bar


def first_kernels(model: keras.Model) -> np.ndarray:
    """The kernels of the first convolution, as small films: float32 (kernels, frames, height, width, channels). Taught in notebook 04."""
    first = next(layer for layer in model.layers if isinstance(layer, keras.layers.Conv3D))
    return np.moveaxis(first.kernel.numpy(), -1, 0)


def moving_bar(clip_shape: tuple[int, int, int, int], direction: float, speed: float) -> np.ndarray:
    """A white bar on black that crosses the clip's middle at half time, upright to its way. Taught in notebook 04.

    Args:
        clip_shape: (frames, height, width, channels).
        direction: in degrees: 0 to the right, 90 downwards.
        speed: pixels a frame; 0 stands still.

    Returns:
        float32 clip_shape, from 0 to 255.
    """
    frames, height, width, channels = clip_shape
    t, y, x = np.ogrid[:frames, :height, :width]
    angle = np.deg2rad(direction)
    across = np.cos(angle) * (x - (width - 1) / 2) + np.sin(angle) * (y - (height - 1) / 2)
    distance = np.abs(across - speed * (t - (frames - 1) / 2))
    bar = 255 * np.clip(WIDTH / 2 + 0.5 - distance, 0, 1)
    return np.repeat(bar[..., None], channels, axis=-1).astype(np.float32)


def direction_tuning(model: keras.Model, normalisation: str, layer: str, directions, speed: float) -> np.ndarray:
    """How much each unit of a layer answers to a bar, by the direction in which it moves. Taught in notebook 04.

    Args:
        model: of `build_model`.
        normalisation: as the network was trained with.
        layer: any layer with maps, by name.
        directions: degrees, as in `moving_bar`.
        speed: pixels a frame.

    Returns:
        float32 (units, directions): the largest value of the unit's map.
    """
    bars = np.stack([moving_bar(model.input.shape[1:], direction, speed) for direction in directions])
    maps = feature_maps(model, normalise(bars, normalisation), layer)
    return maps.max(axis=(1, 2, 3)).T


def direction_preference(answers: np.ndarray) -> np.ndarray:
    """How much units prefer one direction to its opposite. Taught in notebook 04.

    Args:
        answers: float (units, directions), of an even number of directions evenly around the circle; below 0 there is none.

    Returns:
        float (units,): the largest difference of two opposite directions, as a share of the largest answer; 0: all opposites
        alike, or no answer at all; 1: some direction gets an answer and its opposite none.
    """
    answers = np.maximum(answers, 0)
    opposite = np.roll(answers, answers.shape[1] // 2, axis=1)
    largest = answers.max(axis=1)
    return np.abs(answers - opposite).max(axis=1) / np.where(largest > 0, largest, 1)
