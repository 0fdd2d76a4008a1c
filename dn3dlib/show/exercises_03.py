"""The exercises of notebook 03: each answer is held against the library and Keras."""

import zlib
from dataclasses import dataclass

import numpy as np

from dn3dlib.config import ModelConfig
from dn3dlib.quiet import quiet_when_imported
from dn3dlib.show.answers import UNTOUCHED
from dn3dlib.show.lesson import Exercise

quiet_when_imported("keras")  # and TensorFlow: loaded when an answer is checked, not before
_NAMES = {"Conv3D": "convolution", "BatchNormalization": "batch normalisation", "ReLU": "ReLU"}  # in their order


def _strided_shape() -> list[int]:
    """(frames, height, width) after a convolution of stride (1, 2, 2), as Keras computes it."""
    import keras

    layer = keras.layers.Conv3D(24, 3, strides=(1, 2, 2), padding="same")
    return list(layer.compute_output_shape((None, 16, 25, 32, 1))[1:4])


def _transition_parameters() -> int:
    """Learned numbers of the transition behind a block with growth rate 12 and 3 layers, counted by Keras."""
    from dn3dlib.model.densenet3d import build_model

    network = build_model(ModelConfig(growth_rate=12, depth=15, blocks=2, compression=0.5), (2, 8, 8, 1), 2)
    layers = [layer for layer in network.layers if layer.name.startswith("transition1")]
    return sum(int(np.prod(variable.shape)) for layer in layers for variable in layer.trainable_variables)


def _layers_per_block(depth: int, blocks: int, bottleneck: bool) -> int:
    return ModelConfig(depth=depth, blocks=blocks, bottleneck=bottleneck).layers_per_block


def convolution_first(x, filters: int, size: int):
    """The order of most networks before DenseNet, in Keras layers: what an answer is held against."""
    from keras import layers

    x = layers.Conv3D(filters, size, padding="same", use_bias=False)(x)
    return layers.ReLU()(layers.BatchNormalization(epsilon=1e-3)(x))


@dataclass
class LayersExercise(Exercise):
    """An exercise whose answer is a function `(x, filters, size)` on Keras tensors; wrong layers are named before numbers are compared."""

    def check(self, answer) -> bool:
        """Say whether the answer is right, which layer is missing or out of place, or by how much the numbers differ."""
        if not callable(answer):
            return super().check(answer)
        try:
            network = _network(answer, *self.cases[0])
            if network is UNTOUCHED:
                return super().check(UNTOUCHED)
            complaint = _complaint(network) if network else "your function must return the maps that come out of its last layer."
        except Exception as error:  # the learner's own function may fail in any way, and must hear of it
            complaint = f"your function raises {type(error).__name__}: {error}"
        if complaint:
            print(f"not yet: {complaint}")
            return False
        return super().check(lambda *case: _outcome(answer, *case))


def _network(function, channels: int, filters: int, size: int):
    """The function as a Keras model; None if it returns no tensor, UNTOUCHED if it is not written yet."""
    import keras

    maps = keras.Input((4, 6, 6, channels))
    made = function(maps, filters, size)
    if made is UNTOUCHED:
        return UNTOUCHED
    return keras.Model(maps, made) if isinstance(made, keras.KerasTensor) else None


def _outcome(function, *case: int) -> np.ndarray:
    """What the layers make of the same values with the same weights: drawn for each variable by its name."""
    network = _network(function, *case)
    for variable in network.variables:
        rng = np.random.default_rng(zlib.crc32(variable.name.encode()))
        variable.assign(rng.uniform(0.5, 1.5, variable.shape))
    return np.asarray(network(np.random.default_rng(0).normal(size=(2, *network.input.shape[1:]))))


def _complaint(network) -> str:
    """What is wrong with the kinds of layers or their order; empty where nothing is."""
    found = [_kind(operation) for operation in network.operations[1:]]
    for kind, name in _NAMES.items():
        if kind not in found:
            return f"there is no {name} in your function."
    order = [_NAMES[kind] for kind in found if kind in _NAMES]
    if order != list(_NAMES.values()):
        return f"your layers stand in this order: {', '.join(order)}. Here what the convolution gives is normalised, and then bent."
    convolution = network.operations[1 + found.index("Conv3D")]
    if convolution.use_bias:
        return "your convolution has a bias: the batch normalisation behind it takes every constant away again, so it would learn nothing."
    return ""


def _kind(operation) -> str:
    """The kind of a layer; a ReLU may be written in several ways."""
    kind = type(operation).__name__
    activation = getattr(operation, "activation", None)
    return "ReLU" if "relu" in kind.lower() or (kind == "Activation" and activation.__name__ == "relu") else kind


EXERCISES = {
    "strided_shape": Exercise(
        _strided_shape,
        hints=(
            "Padding same at stride 1 keeps every axis. A stride of 2 takes every second place of an axis.",
            "The first place is always taken. How many places are 1st, 3rd, 5th … of 25?",
            "Each axis: its length divided by the stride, rounded up.",
        ),
    ),
    "transition_parameters": Exercise(
        _transition_parameters,
        hints=(
            "Two of its four layers learn something: ReLU and pooling do not.",
            "Batch normalisation: 2 numbers for each channel that it sees. Convolution 1 × 1 × 1 without bias: channels in × channels out.",
            "Half of the 60 channels are kept: 2·60 + 1·60·30.",
        ),
    ),
    "layers_per_block": Exercise(
        _layers_per_block,
        hints=(
            "Which layers with weights stand outside the blocks? The stem, the head's dense layer, and a transition between each two blocks.",
            "These are 1 + 1 + (blocks − 1). What is left of the depth is shared among the blocks, rounded down.",
            "With bottleneck each dense layer holds two convolutions: halve once more, with //.",
        ),
        cases=((20, 3, False), (20, 3, True), (40, 3, True), (30, 3, True), (40, 4, False)),
    ),
    "convolution_first": LayersExercise(
        lambda *case: _outcome(convolution_first, *case),
        hints=(
            "Three Keras layers, those of step 3. What does each of them see now?",
            "How many channels has batch normalisation to set right: those that come in, or those that the convolution gives?",
            "A layer is made, then called with what comes in: x = keras.layers.ReLU()(x). Begin with the convolution, end with ReLU.",
        ),
        cases=((6, 4, 3), (6, 24, 1)),
    ),
}
