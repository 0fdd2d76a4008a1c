"""A network as a list of its layers: who reads whom, shapes, numbers of weights. A sketch has no more than that, so it is made in no time.

The same lines of `densenet3d.lay_out` make the network, with the layers of Keras, and the sketch, with those of `Sketch`.
"""

from collections.abc import Callable
from dataclasses import dataclass

import keras

from dn3dlib.config import ModelConfig
from dn3dlib.model.densenet3d import lay_out

# Layers that keep channels apart: what they give was made by others.
_THROUGH = ("Concatenate", "BatchNormalization", "ReLU", "Dropout", "GlobalAveragePooling3D")


@dataclass(frozen=True)
class Layer:
    """One layer of a network as it is laid out, for one clip."""

    name: str
    kind: str  # the Keras layer
    reads: tuple[str, ...]  # the layers whose output it takes
    shape: tuple[int, ...]  # of its output, without the batch
    weights: tuple[tuple[int, ...], ...] = ()  # the shapes of what it learns
    size: tuple[int, int, int] = (1, 1, 1)  # of its kernel or pool, in frames, rows, columns
    strides: tuple[int, int, int] = (1, 1, 1)


class Sketch:
    """Stands where `keras.layers` stands when a network is laid out, and writes its layers down.

    It knows the layers of `build_model` and the options that those have; a layer's output is the `Layer` itself.
    """

    def __init__(self):
        self.layers: list[Layer] = []

    def Input(self, shape: tuple[int, ...], name: str) -> Layer:
        return self._write(name, "InputLayer", (), tuple(shape))

    def Conv3D(self, filters: int, size: int, strides, padding: str, use_bias: bool, kernel_initializer: str, name: str) -> Callable:
        def layer(x: Layer) -> Layer:
            kernel = (size, size, size, x.shape[-1], filters)
            weights = (kernel, (filters,)) if use_bias else (kernel,)
            return self._slide(name, "Conv3D", x, filters, size, strides, padding, weights)

        return layer

    def AveragePooling3D(self, size, strides, padding: str, name: str) -> Callable:
        return lambda x: self._slide(name, "AveragePooling3D", x, x.shape[-1], size, strides, padding)

    def BatchNormalization(self, momentum: float, epsilon: float, name: str) -> Callable:
        return lambda x: self._write(name, "BatchNormalization", (x,), x.shape, weights=(x.shape[-1:],) * 2)

    def ReLU(self, name: str) -> Callable:
        return lambda x: self._write(name, "ReLU", (x,), x.shape)

    def Dropout(self, rate: float, name: str) -> Callable:
        return lambda x: self._write(name, "Dropout", (x,), x.shape)

    def Concatenate(self, name: str) -> Callable:
        return lambda parts: self._write(name, "Concatenate", parts, (*parts[0].shape[:-1], sum(part.shape[-1] for part in parts)))

    def GlobalAveragePooling3D(self, name: str) -> Callable:
        return lambda x: self._write(name, "GlobalAveragePooling3D", (x,), x.shape[-1:])

    def Dense(self, units: int, kernel_initializer: str, dtype: str, name: str) -> Callable:
        return lambda x: self._write(name, "Dense", (x,), (units,), weights=((x.shape[-1], units), (units,)))

    def _slide(self, name: str, kind: str, x: Layer, channels: int, size, strides, padding: str, weights: tuple = ()) -> Layer:
        """A layer that slides over frames, rows and columns: same gives a place for each stride, valid for each full window."""
        size, strides = _triple(size), _triple(strides)
        lost = [n - 1 if padding == "valid" else 0 for n in size]
        places = [-(-(length - less) // step) for length, less, step in zip(x.shape[:3], lost, strides, strict=True)]
        return self._write(name, kind, (x,), (*places, channels), weights=weights, size=size, strides=strides)

    def _write(self, name: str, kind: str, inputs, shape: tuple[int, ...], **more) -> Layer:
        self.layers.append(Layer(name, kind, tuple(x.name for x in inputs), shape, **more))
        return self.layers[-1]


def sketch_model(config: ModelConfig, clip_shape: tuple[int, int, int, int], num_classes: int) -> Sketch:
    """Sketch the network that `build_model` builds of the same arguments. Taught in notebook 03.

    Args:
        config, clip_shape, num_classes: as of `build_model`.

    Returns:
        What `model.anatomy` and the pictures of networks take in place of the network: in a hundredth of the time.

    Raises:
        ConfigError: as `build_model` does.
    """
    sketch = Sketch()
    lay_out(sketch, config, clip_shape, num_classes)
    return sketch


def layers_of(network: keras.Model | Sketch) -> dict[str, Layer]:
    """The layers of a network by name, in network order: those of a sketch, or read off the Keras layers of a network of `build_model`."""
    layers = network.layers if isinstance(network, Sketch) else map(_read_off, network.layers)
    return {layer.name: layer for layer in layers}


def origins(layers: dict[str, Layer], name: str) -> list[str]:
    """The layers that made the channels that a layer reads, in the channels' order; what keeps channels apart is looked through.

    Args:
        layers: of `layers_of`.
        name: of one of them.
    """
    return [made for read in layers[name].reads for made in (origins(layers, read) if layers[read].kind in _THROUGH else [read])]


def _read_off(layer) -> Layer:
    inputs = [] if isinstance(layer, keras.layers.InputLayer) else layer.input
    return Layer(
        name=layer.name,
        kind=type(layer).__name__,
        reads=tuple(tensor._keras_history.operation.name for tensor in (inputs if isinstance(inputs, list) else [inputs])),
        shape=tuple(layer.output.shape[1:]),
        weights=tuple(tuple(variable.shape) for variable in layer.weights[:2]),  # frozen ones too; running statistics come after them
        size=tuple(getattr(layer, "kernel_size", None) or getattr(layer, "pool_size", (1, 1, 1))),
        strides=tuple(getattr(layer, "strides", (1, 1, 1))),
    )


def _triple(number) -> tuple[int, int, int]:
    return (number,) * 3 if isinstance(number, int) else tuple(number)
