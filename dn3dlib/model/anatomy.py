"""What a network is made of: shape, parameters, operations, memory and receptive field of each layer, before it runs."""

import re
from dataclasses import dataclass, replace
from itertools import groupby
from math import prod

import keras
import numpy as np

from dn3dlib.model.sketch import Layer, Sketch, layers_of, origins

_DENSE = re.compile(r"block\d+_layer\d+_conv")  # the convolutions of `build_model` that make new maps
_PART = re.compile(r"clips|stem|block\d+_layer\d+|transition\d+")  # how the names of `build_model` begin; the rest is the head
_GRAPH = 4_500_000  # bytes of the graph for a convolution with its normalisation, forwards and backwards; measured, see `benchmarks/memory.py`


@dataclass(frozen=True)
class LayerAnatomy:
    """One layer of a network, for one clip."""

    name: str
    kind: str  # the Keras layer
    shape: tuple[int, ...]  # of its output, without the batch
    parameters: int  # that are trained
    flops: int  # additions and multiplications of a forward pass, in convolutions and the dense head
    activations: int  # numbers of its output
    receptive_field: tuple[int, int, int]  # frames, rows and columns of the clip that one of its outputs can depend on


def anatomy(network: keras.Model | Sketch) -> list[LayerAnatomy]:
    """The layers of a network in order, each as it is for one clip.

    Args:
        network: of `build_model`, or of `sketch_model`, which knows as much.

    Returns:
        A row for each layer, the input first. A convolution's operations count 2 · size³ · channels in · outputs (He and
        Sun 2015, *Convolutional Neural Networks at Constrained Time Cost*, equation 1, times two: additions count as well).
    """
    rows, fields = [], {}  # name → (receptive field, distance of two neighbours in the clip), each in t, y, x
    layers = layers_of(network).values()
    clip = next(iter(layers)).shape[:3]
    for layer in layers:
        field, step = fields[layer.name] = _seen(layer, [fields[name] for name in layer.reads], clip)
        rows.append(
            LayerAnatomy(
                name=layer.name,
                kind=layer.kind,
                shape=layer.shape,
                parameters=sum(map(prod, layer.weights)),
                flops=2 * prod(layer.weights[0]) * prod(layer.shape[:-1]) if layer.kind in ("Conv3D", "Dense") else 0,
                activations=prod(layer.shape),
                receptive_field=field,
            )
        )
    return rows


def parts(network: keras.Model | Sketch) -> list[LayerAnatomy]:
    """The rows of `anatomy` added up to parts: the clip, the stem, each dense layer, each transition, the head. Taught in notebook 03.

    Args:
        network: of `build_model` or `sketch_model`.

    Returns:
        A row for each part, its shape and receptive field those of its last layer; the head's shape is that of the logits.
    """

    def part(row: LayerAnatomy) -> str:
        found = _PART.match(row.name)
        return found[0] if found else "head"

    return [_added_up(name, list(rows)) for name, rows in groupby(anatomy(network), part)]


def whole(network: keras.Model | Sketch) -> LayerAnatomy:
    """The rows of `anatomy` added up to one; its shape and receptive field are those of the last layer. Taught in notebook 03."""
    return _added_up("all", anatomy(network))


def _added_up(name: str, rows: list[LayerAnatomy]) -> LayerAnatomy:
    totals = {field: sum(getattr(row, field) for row in rows) for field in ("parameters", "flops", "activations")}
    return replace(rows[-1], name=name, kind="part", **totals)


def field_by_experiment(model: keras.Model, name: str) -> tuple[int, int, int]:
    """The receptive field of a layer, asked of the network itself. Taught in notebook 03.

    The gradient of the output in the middle by clips of noise is 0 wherever a value of the clips has no part in it; of several,
    because the ReLUs let only a part of each pass. Where the field reaches over the clip's border, only the part inside is found.

    Args:
        model: of `build_model`, its weights drawn by chance: a weight that is 0 hides what it sees.
        name: of a layer with maps.

    Returns:
        Frames, rows and columns of the clip from the first value that matters to the last.
    """
    import tensorflow as tf

    clips = tf.random.stateless_normal((8, *model.input.shape[1:]), seed=(0, 0))
    with tf.GradientTape() as tape:
        tape.watch(clips)
        maps = keras.Model(model.input, model.get_layer(name).output)(clips, training=False)
        middle = maps[(slice(None), *(size // 2 for size in maps.shape[1:4]))]
    touched = np.nonzero(np.any(tape.gradient(middle, clips), axis=0))[:3]
    return tuple(int(np.ptp(places)) + 1 for places in touched)


def connections(network: keras.Model | Sketch) -> dict[str, tuple[str, ...]]:
    """Who reads whom: for each layer that makes new maps, the layers whose maps it sees. Taught in notebook 03.

    It is read off the network by walking from layer to layer against the flow. Concatenations make nothing and are
    passed through: what they put together is what is seen. So is what happens to the maps on the way (BN, ReLU, a bottleneck).

    Args:
        network: of `build_model` or `sketch_model`.

    Returns:
        In network order, name → names: the input, which sees nothing; the last layer of the stem, the last convolution of
        each dense layer, the last layer of each transition; the last layer of all.
    """
    layers = layers_of(network)
    made = {made for layer in layers.values() if layer.kind == "Concatenate" for made in origins(layers, layer.name)}
    made |= {next(iter(layers)), next(reversed(layers))}
    seen = {}
    for name in (name for name in layers if name in made):
        sources = origins(layers, name)
        while len(sources) == 1 and sources[0] not in made:
            sources = origins(layers, sources[0])
        seen[name] = tuple(sources)
    return seen


@dataclass(frozen=True)
class TrainingMemory:
    """What training a network is estimated to take beyond the program itself, in bytes."""

    fixed: int  # graph, weights, gradients and momentum
    per_clip: int  # of each clip of a batch

    def of_batch(self, batch_size: int) -> int:
        """Bytes that steps of so many clips take."""
        return self.fixed + batch_size * self.per_clip

    def largest_batch(self, free: int) -> int:
        """The most clips of a step that so many free bytes hold; 0 where not even one fits."""
        return max(0, (free - self.fixed) // self.per_clip)


def training_memory(network: keras.Model | Sketch, bytes_of_number: int = 4, recompute: bool = False) -> TrainingMemory:
    """Estimate the memory of training before it starts.

    On the way back each convolution needs its input and each batch normalisation its own: those are kept, twice what the
    normalisations see. With `recompute` a dense layer keeps its new maps alone. Measured against `benchmarks/memory.py`,
    which prints both: within a quarter at depth 40 and 100.

    Args:
        network: of `build_model` or `sketch_model`.
        bytes_of_number: of the maps: 4 for float32, 2 for bfloat16 and float16.
        recompute: as `train.recompute`.
    """
    rows = anatomy(network)
    largest = max(row.activations for row in rows)
    seen = [row for row in rows if row.kind == "BatchNormalization"]
    new = [row for row in rows if row.kind == "Conv3D" and _DENSE.fullmatch(row.name)]
    if recompute:
        outside = sum(row.activations for row in seen if not row.name.startswith("block"))
        kept = 2 * outside + sum(row.activations for row in new) + 4 * largest
    else:
        kept = 2 * sum(row.activations for row in seen) + 2 * largest
    numbers = sum(row.parameters for row in rows)
    waiting = 5 * 4 * rows[0].activations  # batches that have been read and wait, float32
    return TrainingMemory(fixed=5 * 4 * numbers + _GRAPH * len(seen), per_clip=bytes_of_number * kept + waiting)


def _seen(layer: Layer, inputs: list[tuple], clip: tuple[int, ...]) -> tuple[tuple, tuple]:
    """Receptive field and step after a layer, from those of its inputs; a field is never larger than the clip."""
    if not inputs:
        return (1, 1, 1), (1, 1, 1)
    fields, steps = zip(*inputs, strict=True)
    field, step = tuple(map(max, *fields)) if len(fields) > 1 else fields[0], steps[0]
    if layer.kind == "GlobalAveragePooling3D":
        return clip, step
    grown = (f + (n - 1) * s for f, n, s in zip(field, layer.size, step, strict=True))
    return tuple(map(min, grown, clip)), tuple(s * n for s, n in zip(step, layer.strides, strict=True))
