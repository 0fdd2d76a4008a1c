"""A network as functions for training and for inference: the same variables, in operations that TensorFlow runs faster.

What is saved stays the plain Keras network of `model/densenet3d.py`; these compute the same from its variables.
"""

import itertools
import re
from collections.abc import Callable

import keras
import tensorflow as tf

from dn3dlib.train.kernels import convolve, drop_out, lite_stem, normalise_batch, normalise_by_running_moments

_PART = re.compile(r"stem|block\d+_layer\d+|transition\d+|head|logits")  # of the names that `build_model` gives


def training_function(model: keras.Model, precision: str = "float32", recompute: bool = False) -> Callable[[tf.Tensor], tf.Tensor]:
    """The network in training mode as a function; it moves the running means and variances as the network does.

    Args:
        model: of `build_model`.
        precision: float32, bfloat16 or float16, in which convolutions and maps are computed; batch statistics, logits and
            all variables stay float32.
        recompute: keep of each dense layer only its k new maps, and compute concatenation, normalisation and bottleneck
            again on the way back (Pleiss et al. 2017, *Memory-Efficient Implementation of DenseNets*).

    Returns:
        A function: clips float32 (batch, frames, height, width, channels) → logits float32 (batch, classes).
    """

    def run(layers, maps):
        return _run_in_training(layers, maps, recompute)

    return lambda clips: _forward(model, tf.cast(clips, precision), run)


def inference_function(model: keras.Model) -> Callable[[tf.Tensor], tf.Tensor]:
    """The network in inference mode as a function, in float32; it follows when the variables change.

    Args:
        model: of `build_model`.

    Returns:
        A function: clips float32 (batch, frames, height, width, channels) → logits float32 (batch, classes).
    """
    return lambda clips: _forward(model, clips, _run_in_inference)


def _forward(model: keras.Model, clips: tf.Tensor, run: Callable[[list, list[tf.Tensor]], tf.Tensor]) -> tf.Tensor:
    """Send clips through the parts of the network; `run` takes a part's layers and the maps before it."""
    maps = [clips]  # of the block so far: they are joined where a layer needs them
    for name, layers in itertools.groupby(model.layers[1:], _part_of):
        layers = list(layers)
        if name == "stem" and len(layers) == 2:
            maps = [lite_stem(clips, tf.cast(layers[0].kernel, clips.dtype))]
        elif name.startswith("block"):
            maps.append(run(layers[:-1], maps))  # without its concatenation
        else:
            maps = [run(layers, maps)]
    return maps[0]


def _part_of(layer: keras.layers.Layer) -> str:
    return _PART.match(layer.name)[0]


def _joined(maps: list[tf.Tensor]) -> tf.Tensor:
    return tf.concat(maps, -1) if len(maps) > 1 else maps[0]


def _run_in_training(layers: list, maps: list[tf.Tensor], recompute: bool) -> tf.Tensor:
    """Join the maps, apply the layers, and note the batch statistics that they met."""
    inputs = [_inputs_of(layer, after) for layer, after in itertools.zip_longest(layers, layers[1:])]

    def compute(maps, inputs):
        x, statistics = _joined(maps), []
        for layer, values in zip(layers, inputs, strict=True):
            if isinstance(layer, keras.layers.BatchNormalization):
                x, *moments = normalise_batch(x, *values, layer.epsilon)
                statistics.append(moments)
            elif isinstance(layer, keras.layers.Dropout):
                x = drop_out(x, layer.rate, *values)
            else:
                x = _apply(layer, x, values)
        return x, statistics

    again = recompute and len(maps) > 1  # only dense layers meet several maps
    x, statistics = (tf.recompute_grad(compute) if again else compute)(maps, inputs)
    normalisations = (layer for layer in layers if isinstance(layer, keras.layers.BatchNormalization))
    for layer, (mean, variance) in zip(normalisations, statistics, strict=True):
        _move(layer.moving_mean, mean, layer.momentum)
        _move(layer.moving_variance, variance, layer.momentum)
    return x


def _inputs_of(layer: keras.layers.Layer, after: keras.layers.Layer | None) -> list[tf.Tensor]:
    """What a layer needs besides maps, read once: whoever computes it again must not read a variable or draw anew."""
    if isinstance(layer, keras.layers.Dropout):
        return [layer.seed_generator.next()]
    values = [tf.convert_to_tensor(variable) for variable in layer.trainable_variables]
    if isinstance(after, keras.layers.Dropout):  # its scale: a kernel has fewer numbers than the maps
        return [values[0] / (1 - after.rate)]
    return values


def _move(average: keras.Variable, value: tf.Tensor, momentum: float) -> None:
    average.assign(average * momentum + value * (1 - momentum))


def _run_in_inference(layers: list, maps: list[tf.Tensor]) -> tf.Tensor:
    """Join the maps and apply the layers; what normalises a convolution's output is folded into its kernel and a bias."""
    x = _joined(maps)
    layers = [layer for layer in layers if not isinstance(layer, keras.layers.Dropout)]
    for before, layer, after in zip([None, *layers], layers, [*layers[1:], None], strict=False):
        values = layer.trainable_variables
        if isinstance(layer, keras.layers.Conv3D) and isinstance(after, keras.layers.BatchNormalization):
            scale = after.gamma * tf.math.rsqrt(after.moving_variance + after.epsilon)
            x = _apply(layer, x, [layer.kernel * scale])
            x = tf.nn.bias_add(x, after.beta - after.moving_mean * scale)
        elif not isinstance(layer, keras.layers.BatchNormalization):
            x = _apply(layer, x, values)
        elif not isinstance(before, keras.layers.Conv3D):
            x = normalise_by_running_moments(x, layer)
    return x


def _apply(layer: keras.layers.Layer, x: tf.Tensor, values: list) -> tf.Tensor:
    """A layer that is the same in training and in inference, with its kernel or kernel and bias."""
    match layer:
        case keras.layers.ReLU():
            return tf.nn.relu(x)
        case keras.layers.Conv3D():
            return convolve(x, tf.cast(values[0], x.dtype), layer.strides)
        case keras.layers.AveragePooling3D():
            return tf.nn.avg_pool3d(x, layer.pool_size, layer.strides, layer.padding.upper())
        case keras.layers.GlobalAveragePooling3D():
            return tf.reduce_mean(tf.cast(x, tf.float32), [1, 2, 3])
        case keras.layers.Dense():
            return x @ values[0] + values[1]
    raise TypeError(f"{layer.name} is a {type(layer).__name__}, which a 3D-DenseNet does not have.")
