"""The layers of a network whose output is maps over time and space, and where in the clip those maps lie."""

import keras
import numpy as np

from dn3dlib.config import nearest
from dn3dlib.errors import ConfigError

_FINE = 8  # rows and columns that maps need to say where something is


def map_layers(model: keras.Model) -> list[str]:
    """The names of all layers that give feature maps (clips, frames, height, width, channels), in network order."""
    return [layer.name for layer in model.layers if _gives_maps(layer)]


def map_layer(model: keras.Model, name: str | None = None) -> keras.layers.Layer:
    """A layer that gives feature maps, by name.

    None is the last one; where its maps have fewer than 8 rows or columns, the last one before they were pooled to that. The
    layer before the head knows most about the class, but of small clips it keeps too few cells to say where (of the
    quick preset 4 × 4).

    Raises:
        ConfigError: there is no such layer, or it gives no maps; the nearest right name is suggested.
    """
    names = map_layers(model)
    if name is None:
        name = _last_fine(model, names)
    if name in names:
        return model.get_layer(name)
    if name in [layer.name for layer in model.layers]:
        raise ConfigError(f"The layer {name} gives no maps over time and space: choose one before it, such as {names[-1]}.")
    raise ConfigError(f"The network has no layer {name!r}: {nearest(name, names)}")


def _last_fine(model: keras.Model, names: list[str]) -> str:
    sizes = [model.get_layer(name).output.shape[2:4] for name in names]
    larger = [name for name, size in zip(names, sizes, strict=True) if size != sizes[-1]]
    return larger[-1] if min(sizes[-1]) < _FINE and larger else names[-1]


def map_centres(model: keras.Model, layer: keras.layers.Layer) -> list[np.ndarray]:
    """Where the cells of a layer's maps look in the clip: the centre of each cell's receptive field.

    Padding and strides move it: the first cell of the lite stem is centred on pixel 3, not on pixel 1.5 as a quarter of the
    resolution suggests. Padding that an average leaves out is counted, though it moves a border cell's true centre inwards.

    Args:
        model: of convolutions and pooling, such as `build_model` gives.
        layer: of this network, with maps (clips, frames, height, width, channels).

    Returns:
        Three float64 arrays, for frames, rows and columns: the places (frame, row, column of the clip, counted from 0) on
        which the cells along that axis are centred. Neighbours are evenly spaced.
    """
    lines = {}  # layer → where its first cell is centred and how far it is to the next, each float64 (3,)
    for each in model.layers:
        if _gives_maps(each):
            tensor = each.input[0] if isinstance(each.input, list) else each.input
            before = lines.get(tensor._keras_history.operation.name, (np.zeros(3), np.ones(3)))
            lines[each.name] = _after(each, tensor.shape[1:4], *before)
        if each is layer:
            break
    first, step = lines[layer.name]
    return [start + distance * np.arange(cells) for start, distance, cells in zip(first, step, layer.output.shape[1:4], strict=True)]


def _gives_maps(layer) -> bool:
    return not isinstance(layer, keras.layers.InputLayer) and len(getattr(layer.output, "shape", ())) == 5


def _after(layer, size: tuple, first: np.ndarray, step: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First centre and distance after a layer, from those before it; `size` is of its input, frames × height × width."""
    window = getattr(layer, "kernel_size", None) or getattr(layer, "pool_size", None)
    if window is None:
        return first, step
    window, strides, size = np.array(window), np.array(layer.strides), np.array(size)
    before = np.zeros(3, int)
    if layer.padding == "same":  # TensorFlow pads the smaller half before
        before = np.maximum((-(-size // strides) - 1) * strides + window - size, 0) // 2
    return first + step * ((window - 1) / 2 - before), step * strides
