"""A network as functions for training and for inference: the same variables, in operations that TensorFlow runs faster.

What is saved stays the plain Keras network of `model/densenet3d.py`; these compute the same from its variables.
"""

import itertools
import re
from collections.abc import Callable
from functools import partial

import keras
import tensorflow as tf

from dn3dlib.train.kernels import (
    convolve,
    drop_out,
    lite_stem,
    normalise_batch,
    normalise_by_running_moments,
    normalise_over_replicas,
)
from dn3dlib.train.replicas import assign_on_all, different_seeds

_PART = re.compile(r"stem|block\d+|transition\d+|head|logits")  # of the names that `build_model` gives


def training_function(model: keras.Model, precision: str = "float32", recompute: bool = False, synchronised: bool = False) -> Callable[[tf.Tensor], tf.Tensor]:
    """The network in training mode as a function; it moves the running means and variances as the network does.

    Where several replicas run it, they all move them by the mean of what each has met. The first layers that are not trainable
    work as in inference, and no gradient goes back into them (`tuning.freeze`).

    Args:
        model: of `build_model`.
        precision: float32, bfloat16 or float16, in which convolutions and maps are computed; batch statistics, logits and
            all variables stay float32.
        recompute: keep of each dense layer only its k new maps, and compute concatenation, normalisation and bottleneck
            again on the way back (Pleiss et al. 2017, *Memory-Efficient Implementation of DenseNets*).
        synchronised: normalise by the statistics of the clips of all replicas, not of each replica's own.

    Returns:
        A function: clips float32 (batch, frames, height, width, channels) → logits float32 (batch, classes).
    """
    normalise = normalise_over_replicas if synchronised else normalise_batch
    layers = model.layers[1:]
    frozen = list(itertools.takewhile(lambda layer: not layer.trainable, layers))

    def network(clips):
        moved = []  # variables and their new values: set at the end, in one message where there are several replicas
        train = partial(_train, normalise, moved)
        block = partial(_recomputed_block, normalise, moved) if recompute else _stored_block(train)
        maps = _forward(frozen, tf.cast(clips, precision), _infer, _stored_block(_infer))
        logits = _forward(layers[len(frozen) :], tf.stop_gradient(maps), train, block)
        assign_on_all(moved)
        return logits

    return network


def inference_function(model: keras.Model) -> Callable[[tf.Tensor], tf.Tensor]:
    """The network in inference mode as a function, in float32; it follows when the variables change.

    Args:
        model: of `build_model`.

    Returns:
        A function: clips float32 (batch, frames, height, width, channels) → logits float32 (batch, classes).
    """
    return lambda clips: _forward(model.layers[1:], clips, _infer, _stored_block(_infer))


def _forward(all_layers: list, x: tf.Tensor, run: Callable, run_block: Callable) -> tf.Tensor:
    """Send maps through whole parts of a network: `run` takes layers and maps, `run_block` a block's dense layers and maps."""
    for name, layers in itertools.groupby(all_layers, lambda layer: _PART.match(layer.name)[0]):
        layers = [layer for layer in layers if getattr(layer, "rate", None) != 0]  # dropout that drops nothing
        if name == "stem" and len(layers) == 2:
            x = lite_stem(x, tf.cast(layers[0].kernel, x.dtype))
        elif name.startswith("block"):
            x = run_block(_dense_layers(layers), x)
        else:
            x = run(layers, x)
    return x


def _dense_layers(layers: list) -> list[list]:
    """The layers of a block, cut at its concatenations, which are left out."""
    ends = [place for place, layer in enumerate(layers) if isinstance(layer, keras.layers.Concatenate)]
    return [layers[start + 1 : end] for start, end in itertools.pairwise([-1, *ends])]


def _stored_block(run: Callable) -> Callable:
    """A dense block in which everything is kept for the way back."""

    def run_block(dense_layers: list[list], x: tf.Tensor) -> tf.Tensor:
        maps = [x]
        for layers in dense_layers:
            maps.append(run(layers, _joined(maps)))
        return _joined(maps)

    return run_block


def _recomputed_block(normalise: Callable, moved: list, dense_layers: list[list], x: tf.Tensor) -> tf.Tensor:
    """A dense block in training mode that keeps each layer's new maps alone, and its gradient, which computes the rest again."""
    inputs = [_inputs_of_all(layers, moved) for layers in dense_layers]
    compute = partial(_compute, normalise)

    @tf.custom_gradient
    def block(x, *flat):
        values = tf.nest.pack_sequence_as(inputs, flat)
        maps, statistics = [x], []
        for layers, of_layers in zip(dense_layers, values, strict=True):
            y, moments = compute(layers, _joined(maps), of_layers)
            maps.append(y)
            statistics.append(moments)

        def gradient(dy, *_):
            by_inputs = []
            for place in reversed(range(len(dense_layers))):
                width = dy.shape[-1] - maps[place + 1].shape[-1]
                # With no channel of `dy`, a layer is computed again when its turn comes. Else all would be there at once, or
                # TensorFlow would see that the same has been computed on the way there, and keep that.
                with tf.GradientTape() as tape:
                    before, inputs_here = _joined([*maps[: place + 1], dy[..., :0]]), tf.nest.flatten(values[place])
                    tape.watch([before, inputs_here])
                    y, _ = compute(dense_layers[place], before, values[place])
                to_before, to_inputs = tape.gradient(y, [before, inputs_here], output_gradients=dy[..., width:])
                by_inputs = to_inputs + by_inputs
                dy = dy[..., :width] + to_before
            return dy, *by_inputs

        return (_joined(maps), *tf.nest.flatten(statistics)), gradient

    x, *statistics = block(x, *tf.nest.flatten(inputs))
    normalisations = [layer for layers in dense_layers for layer in layers if isinstance(layer, keras.layers.BatchNormalization)]
    _note(normalisations, list(zip(statistics[::2], statistics[1::2], strict=True)), moved)
    return x


def _joined(maps: list[tf.Tensor]) -> tf.Tensor:
    return tf.concat(maps, -1) if len(maps) > 1 else maps[0]


def _train(normalise: Callable, moved: list, layers: list, x: tf.Tensor) -> tf.Tensor:
    """Apply layers in training mode."""
    x, statistics = _compute(normalise, layers, x, _inputs_of_all(layers, moved))
    _note([layer for layer in layers if isinstance(layer, keras.layers.BatchNormalization)], statistics, moved)
    return x


def _compute(
    normalise: Callable, layers: list, x: tf.Tensor, inputs: list[list[tf.Tensor]]
) -> tuple[tf.Tensor, list[tuple[tf.Tensor, tf.Tensor]]]:
    """Layers in training mode, and the batch's mean and variance that each normalisation met; nothing else changes."""
    statistics = []
    for layer, values in zip(layers, inputs, strict=True):
        if isinstance(layer, keras.layers.BatchNormalization):
            x, *moments = normalise(x, *values, layer.epsilon)
            statistics.append(moments)
        elif isinstance(layer, keras.layers.Dropout):
            x = drop_out(x, layer.rate, *values)
        else:
            x = _apply(layer, x, values)
    return x, statistics


def _inputs_of_all(layers: list, moved: list) -> list[list[tf.Tensor]]:
    return [_inputs_of(layer, after, moved) for layer, after in itertools.zip_longest(layers, layers[1:])]


def _inputs_of(layer: keras.layers.Layer, after: keras.layers.Layer | None, moved: list) -> list[tf.Tensor]:
    """What a layer needs besides maps, read once: whoever computes it again must not read a variable or draw anew."""
    if isinstance(layer, keras.layers.Dropout):
        state = layer.seed_generator.state
        seed = tf.identity(tf.convert_to_tensor(state))
        moved.append((state, seed + [0, 1]))  # as the generator itself counts
        return [different_seeds(seed)]
    values = [tf.convert_to_tensor(variable) for variable in layer.weights[:2]]  # without running statistics
    if isinstance(after, keras.layers.Dropout):  # its scale: a kernel has fewer numbers than the maps
        return [values[0] / (1 - after.rate)]
    return values


def _note(normalisations: list, statistics: list, moved: list) -> None:
    """Note in `moved` the running means and variances of layers, moved towards those of the batch."""
    for layer, moments in zip(normalisations, statistics, strict=True):
        for average, value in zip((layer.moving_mean, layer.moving_variance), moments, strict=True):
            moved.append((average, average * layer.momentum + value * (1 - layer.momentum)))


def _infer(layers: list, x: tf.Tensor) -> tf.Tensor:
    """Apply layers in inference mode; what normalises a convolution's output is folded into its kernel and a bias."""
    layers = [layer for layer in layers if not isinstance(layer, keras.layers.Dropout)]
    for before, layer, after in zip([None, *layers], layers, [*layers[1:], None], strict=False):
        if isinstance(layer, keras.layers.Conv3D) and isinstance(after, keras.layers.BatchNormalization):
            scale = after.gamma * tf.math.rsqrt(after.moving_variance + after.epsilon)
            x = _apply(layer, x, [layer.kernel * scale])
            x = tf.nn.bias_add(x, tf.cast(after.beta - after.moving_mean * scale, x.dtype))
        elif not isinstance(layer, keras.layers.BatchNormalization):
            x = _apply(layer, x, layer.weights)
        elif not isinstance(before, keras.layers.Conv3D):
            x = normalise_by_running_moments(x, layer)
    return x


def _apply(layer: keras.layers.Layer, x: tf.Tensor, values: list) -> tf.Tensor:
    """A layer that is the same in training and in inference, with its kernel or kernel and bias."""
    match layer:
        case keras.layers.ReLU():
            return tf.nn.relu(x)
        case keras.layers.Conv3D():
            return convolve(x, tf.cast(values[0], x.dtype))
        case keras.layers.AveragePooling3D():
            return tf.nn.avg_pool3d(x, layer.pool_size, layer.strides, layer.padding.upper())
        case keras.layers.GlobalAveragePooling3D():
            return tf.reduce_mean(tf.cast(x, tf.float32), [1, 2, 3])
        case keras.layers.Dense():
            return x @ values[0] + values[1]
    raise TypeError(f"{layer.name} is a {type(layer).__name__}, which a 3D-DenseNet does not have.")
