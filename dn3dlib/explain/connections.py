"""How strong the dense connections of a trained network are: which layers still use the maps of which earlier ones."""

from dataclasses import dataclass

import keras
import numpy as np

from dn3dlib.model.sketch import layers_of, origins


@dataclass(frozen=True)
class Connections:
    """The connections into the layers of one dense block, and into the transition or head that reads the whole block."""

    sources: tuple[str, ...]  # who made the maps: the layer before the block, then the block's dense layers
    targets: tuple[str, ...]  # who reads them: the dense layers, then the transition or the head
    strength: np.ndarray  # float64 (sources, targets): mean absolute weight; NaN: no connection


def connection_strength(model: keras.Model) -> list[Connections]:
    """The mean absolute weight of each dense connection, by source and target. Taught in notebook 04.

    Of each layer that reads the maps of several others (a dense layer's first convolution, a transition, the head), the kernel
    is cut by the origin of its input channels, and each piece's absolute weights are averaged: over its channels, over all
    filters, over the kernel's places. As in the paper this is the kernel alone: the batch normalisation before it scales channels, too.

    Args:
        model: of `build_model`; connections are read from its layers, not from its configuration.

    Returns:
        One entry for each dense block.

    Source: Huang et al. 2017, section 5 and figure 5.
    """
    layers = layers_of(model)
    blocks: dict[str, dict] = {}  # the layer before a block → target → source → mean
    for name in (name for name, layer in layers.items() if layer.kind in ("Conv3D", "Dense")):
        channels = {origin: layers[origin].shape[-1] for origin in origins(layers, name)}
        blocks.setdefault(next(iter(channels)), {})[_part(name)] = _means(model.get_layer(name).kernel, channels)
    return [_matrix(readings) for readings in blocks.values() if any(len(means) > 1 for means in readings.values())]


def tap_strength(model: keras.Model) -> dict[str, np.ndarray]:
    """The mean absolute weight of each convolution by its place in time: who looks back, who ahead. Taught in notebook 04.

    Args:
        model: of `build_model`.

    Returns:
        For each convolution over several frames, by name: float64 (frames,), from the earliest to the latest.
    """
    convolutions = [layer for layer in model.layers if isinstance(layer, keras.layers.Conv3D) and layer.kernel_size[0] > 1]
    return {layer.name: np.abs(layer.kernel.numpy().astype(np.float64)).mean(axis=(1, 2, 3, 4)) for layer in convolutions}


def _means(kernel, channels: dict[str, int]) -> dict[str, float]:
    """The mean absolute weight of a kernel (…, channels, filters) for the channels of each origin."""
    ends = np.cumsum(list(channels.values()))
    pieces = np.split(np.abs(kernel.numpy().astype(np.float64)), ends[:-1], axis=-2)
    return {_part(name): float(piece.mean()) for name, piece in zip(channels, pieces, strict=True)}


def _matrix(readings: dict[str, dict[str, float]]) -> Connections:
    sources = max(readings.values(), key=len)
    strength = [[means.get(source, np.nan) for means in readings.values()] for source in sources]
    return Connections(tuple(sources), tuple(readings), np.array(strength))


def _part(layer: str) -> str:
    """block1_layer2_bottleneck_conv → block1_layer2."""
    return layer.removesuffix("_conv").removesuffix("_bottleneck")
