"""Grad-CAM in three dimensions: where, in space and in time, a clip holds evidence for a class, as the network sees it.

Source: Selvaraju et al. 2017, *Grad-CAM*, section 3, equations 1 and 2, with time as a third dimension of the maps.
"""

import keras
import numpy as np
import tensorflow as tf

from dn3dlib.errors import ConfigError
from dn3dlib.explain.layers import map_centres, map_layer


def grad_cam(model: keras.Model, clips: np.ndarray, target: int | np.ndarray | None = None, layer: str | None = None) -> np.ndarray:
    """Heat maps of the evidence for a class, as large as the clips. Taught in notebook 04.

    Args:
        model: clips → logits.
        clips: float32 (clips, frames, height, width, channels), normalised as in training.
        target: the class, counted from 0, for all clips or one for each; None: the class that the network predicts.
        layer: whose maps are weighted; None: the last before the head, or before the last pooling where that leaves under
            8 × 8 cells. A later layer knows more about the class, an earlier one says more finely where.

    Returns:
        float32 (clips, frames, height, width) from 0 to 1, the largest value of each clip 1; all 0 where nothing speaks
        for the class. The maps are laid on the places of the clip that they look at, with linear interpolation.

    Raises:
        ConfigError: a layer, class or clip size that the network does not have.
    """
    _, maps = class_activation(model, clips, target, layer)
    heat = enlarged(maps, map_centres(model, map_layer(model, layer)), model.input_shape[1:4])
    most = heat.max(axis=(1, 2, 3), keepdims=True)
    return np.divide(heat, most, out=np.zeros_like(heat), where=most > 0)


def class_activation(
    model: keras.Model, clips: np.ndarray, target: int | np.ndarray | None = None, layer: str | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """The weight of each map for a class, and the weighted sum of the maps, before they are enlarged. Taught in notebook 04.

    Args:
        model, clips, target, layer: as in `grad_cam`.

    Returns:
        weights: float32 (clips, channels), the gradient of the class's logit with respect to each map, averaged over the map's
            frames, rows and columns (equation 1).
        maps: float32 (clips, frames', height', width'), the maps' sum with these weights, below 0 cut to 0 (equation 2).

    Raises:
        ConfigError: as `grad_cam`.
    """
    clips = checked_clips(model, clips)
    both = keras.Model(model.inputs, [map_layer(model, layer).output, model.output])
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(clips)
        maps, logits = both(clips, training=False)
        classes = checked_target(logits.numpy(), target)
        score = tf.reduce_sum(tf.gather(logits, classes, axis=1, batch_dims=1))  # clips do not depend on each other
    weights = tf.reduce_mean(tape.gradient(score, maps), axis=(1, 2, 3))
    summed = tf.einsum("ntyxc,nc->ntyx", maps, weights)
    return weights.numpy(), tf.nn.relu(summed).numpy()


def enlarged(maps: np.ndarray, centres: list[np.ndarray], size: tuple[int, int, int]) -> np.ndarray:
    """Maps as large as the clip, by linear interpolation in t, y and x; beyond the outermost centres the border goes on.

    Args:
        maps: float32 (clips, frames', height', width').
        centres: where in the clip the cells of each axis lie, as `map_centres` gives them.
        size: frames, height and width of the clip.

    Returns:
        float32 (clips, *size).
    """
    shares = [_shares(places, length) for places, length in zip(centres, size, strict=True)]
    return np.einsum("ntyx,Tt,Yy,Xx->nTYX", maps, *shares, optimize=True).astype(np.float32)


def _shares(places: np.ndarray, length: int) -> np.ndarray:
    """How much of each cell is in each of `length` places, float64 (length, cells); rows add up to 1."""
    step = places[1] - places[0] if len(places) > 1 else 1
    wanted = np.clip((np.arange(length) - places[0]) / step, 0, len(places) - 1)
    return np.maximum(0, 1 - np.abs(wanted[:, None] - np.arange(len(places))))


def checked_clips(model: keras.Model, clips: np.ndarray) -> tf.Tensor:
    """Clips as a float32 tensor; raises ConfigError where they are no input of this network."""
    clips, wanted = np.asarray(clips, np.float32), model.input_shape[1:]
    if clips.shape[1:] != wanted or not len(clips):
        raise ConfigError(f"The network takes clips (clips, {', '.join(map(str, wanted))}), but these are {clips.shape}.")
    return tf.convert_to_tensor(clips)


def checked_target(logits: np.ndarray, target: int | np.ndarray | None) -> np.ndarray:
    """The class to explain for each clip, int (clips,), None being the predicted one; raises ConfigError for what is no class."""
    clips, classes = logits.shape
    wanted = logits.argmax(axis=1) if target is None else np.asarray(target)
    if wanted.dtype.kind not in "iu" or wanted.shape not in ((), (clips,)) or wanted.min() < 0 or wanted.max() >= classes:
        raise ConfigError(f"The target is {target!r}, but a class is a whole number from 0 to {classes - 1}, for all clips or one for each.")
    return np.broadcast_to(wanted, clips)
