"""A network in two-dimensional operations, for LiteRT: its 3D convolution knows float32 alone, and it has no 3D average pool."""

from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf


def flat_function(model: keras.Model) -> Callable[[tf.Tensor], tf.Tensor]:
    """The network for a single clip, in inference mode, with its weights as constants.

    A kernel over several frames becomes one over the channels of these frames, laid side by side; a mean over frames, rows and
    columns becomes a mean over rows and columns, then one over frames. Maps are laid together after they are normalised, not before:
    whole numbers (int8) share a scale where they are laid together, and normalised maps are of the same size.

    Args:
        model: of `build_model`.

    Returns:
        A function: a clip float32 (frames, height, width, channels) → logits float32 (1, classes).
    """
    weights = {layer.name: layer.get_weights() for layer in model.layers}

    def network(clip):
        maps, x = [], [clip]  # maps: what the dense layer under way is given; each in parts, channels after channels
        for layer in model.layers[1:]:
            match layer:
                case keras.layers.Dropout():
                    continue
                case keras.layers.Concatenate():
                    x = maps = [*maps, *x]
                case keras.layers.BatchNormalization():
                    x = _normalise(layer, weights[layer.name], x)
                case keras.layers.ReLU():
                    x = [tf.nn.relu(part) for part in x]
                case _:
                    x = [_apply(layer, weights[layer.name], tf.concat(x, -1))]
            if isinstance(layer, keras.layers.AveragePooling3D) or layer.name == "stem_conv":
                maps = x
        return x[0]

    return network


def _normalise(layer: keras.layers.BatchNormalization, weights: list[np.ndarray], parts: list[tf.Tensor]) -> list[tf.Tensor]:
    """Normalise maps by the running mean and variance."""
    gamma, beta, mean, variance = weights
    scale = gamma / np.sqrt(variance + layer.epsilon)
    ends = np.cumsum([part.shape[-1] for part in parts])[:-1]
    split = zip(parts, np.split(scale, ends), np.split(beta - mean * scale, ends), strict=True)
    return [part * factor + added for part, factor, added in split]


def _apply(layer: keras.layers.Layer, weights: list[np.ndarray], x: tf.Tensor) -> tf.Tensor:
    """What another layer gives for maps (frames, height, width, channels)."""
    match layer:
        case keras.layers.Conv3D():
            return _convolve(x, weights[0], layer.strides[1:])
        case keras.layers.AveragePooling3D():
            return _pool(x, layer.pool_size, layer.strides, layer.padding.upper())
        case keras.layers.GlobalAveragePooling3D():
            return tf.reduce_mean(x, [0, 1, 2])[None]
        case keras.layers.Dense():
            return x @ weights[0] + weights[1]
    raise TypeError(f"{layer.name} is a {type(layer).__name__}, which a 3D-DenseNet does not have.")


def _convolve(x: tf.Tensor, kernel: np.ndarray, strides: tuple[int, int]) -> tf.Tensor:
    """Conv3D with padding `same`, no bias and stride 1 in time."""
    frames, reach = x.shape[0], kernel.shape[0] // 2
    if reach:
        padded = tf.pad(x, [[reach, reach], [0, 0], [0, 0], [0, 0]])
        x = tf.concat([padded[start : start + frames] for start in range(kernel.shape[0])], -1)
    flat = kernel.transpose(1, 2, 0, 3, 4).reshape(*kernel.shape[1:3], -1, kernel.shape[4])
    return tf.nn.conv2d(x, flat, strides, "SAME")


def _pool(x: tf.Tensor, size: tuple[int, ...], strides: tuple[int, ...], padding: str) -> tf.Tensor:
    """AveragePooling3D; like it, `SAME` leaves what is padded out of the mean."""
    x = tf.nn.avg_pool2d(x, size[1:], strides[1:], padding)
    if size[0] == 1:
        return x
    frames, height, width, channels = x.shape
    over_time = tf.reshape(x, (1, frames, height * width, channels))  # frames as rows
    over_time = tf.nn.avg_pool2d(over_time, (size[0], 1), (strides[0], 1), padding)
    return tf.reshape(over_time, (-1, height, width, channels))
