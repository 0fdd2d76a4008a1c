"""What a layer of a trained network answers: its feature maps, and the clips to which one of its units answers most."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

from dn3dlib.config import ClipConfig
from dn3dlib.data.clips import ClipPlan, batches_of, clip_dataset
from dn3dlib.data.manifest import DataSet
from dn3dlib.errors import ConfigError
from dn3dlib.explain.gradcam import checked_clips
from dn3dlib.explain.layers import map_centres, map_layer

_BATCH = 16  # clips computed at once


@dataclass(frozen=True)
class Response:
    """What a unit (a channel of a layer) answers to one clip. Taught in notebook 04."""

    row: int  # of the clip in the plan
    value: float  # the unit's largest value anywhere in the clip
    peak: tuple[int, int, int]  # where that was: frame of the clip, row, column; the centre of what the unit saw


def feature_maps(model: keras.Model, clips: np.ndarray, layer: str) -> np.ndarray:
    """What a layer makes of clips, in inference mode. Taught in notebook 04.

    Args:
        model: of `build_model`.
        clips: float32 (clips, frames, height, width, channels), normalised as in training.
        layer: any layer with maps, by name.

    Returns:
        float32 (clips, frames', height', width', channels'): a channel for each unit of the layer; behind strides and
        poolings there are fewer frames, rows and columns.

    Raises:
        ConfigError: no such layer, a layer without maps, or clips of another shape.
    """
    part = keras.Model(model.input, map_layer(model, layer).output)
    return part(checked_clips(model, clips), training=False).numpy()


def strongest_clips(
    model: keras.Model, data: DataSet, plan: ClipPlan, clip: ClipConfig, layer: str, units: Iterable[int], top: int = 4
) -> dict[int, list[Response]]:
    """The clips to which units of a layer answer most, at most one of each sequence. Taught in notebook 04.

    The clips pass by batch by batch, and nothing is kept but the `top` so far.

    Args:
        model: of `build_model`.
        data: the prepared data set.
        plan: the clips, of `plan_evaluation`; with its `views` there are fewer.
        clip: as the network was trained with.
        layer: any layer with maps, by name.
        units: channels of the layer, counted from 0.
        top: how many clips of each unit.

    Returns:
        For each unit its clips, the strongest first; of equals the earlier.

    Raises:
        ConfigError: no such layer or unit.

    Source: Zeiler and Fergus 2014, *Visualizing and Understanding Convolutional Networks*, figure 2.
    """
    found, units = map_layer(model, layer), list(units)
    channels = found.output.shape[-1]
    if not units or not set(units) <= set(range(channels)):
        raise ConfigError(f"The layer {layer} has the units 0 to {channels - 1}, but these are asked for: {units}.")
    best: dict[int, dict] = {unit: {} for unit in units}  # unit → sequence → value, row, cell
    for rows, maps in through(keras.Model(model.input, found.output), data, plan, clip):
        for row, of_clip in zip(rows, maps, strict=True):
            for unit, kept in best.items():
                cell = np.unravel_index(of_clip[..., unit].argmax(), of_clip.shape[:3])
                _keep(kept, plan.sequence[row], (float(of_clip[..., unit][cell]), row, cell), top)
    centres = map_centres(model, found)
    ranked = {unit: sorted(kept.values(), key=lambda one: (-one[0], one[1])) for unit, kept in best.items()}
    return {unit: [Response(row, value, _place(centres, cell, model)) for value, row, cell in rows] for unit, rows in ranked.items()}


def _keep(kept: dict, sequence: int, new: tuple, top: int) -> None:
    """Note what a clip of a sequence gave, where it is the sequence's strongest and among the `top` strongest; of equals the earlier stays."""
    if sequence not in kept or new[0] > kept[sequence][0]:
        kept[sequence] = new
    if len(kept) > top:
        del kept[min(reversed(kept), key=lambda name: kept[name][0])]


def _place(centres: list[np.ndarray], cell: tuple, model: keras.Model) -> tuple[int, int, int]:
    """The frame, row and column of the clip on which a cell of a layer's maps is centred."""
    return tuple(int(np.clip(round(line[n]), 0, most - 1)) for line, n, most in zip(centres, cell, model.input.shape[1:4], strict=True))


def through(part: keras.Model, data: DataSet, plan: ClipPlan, clip: ClipConfig) -> Iterator[tuple[range, np.ndarray]]:
    """Send the clips of a plan through a part of a network, in inference mode; gives their rows in the plan and the output, batch by batch."""
    signature = [tf.TensorSpec((None, *part.input.shape[1:]), tf.float32)]
    step = tf.function(lambda clips: part(clips, training=False), input_signature=signature, autograph=False)
    done = 0
    for clips, _, _ in batches_of(clip_dataset(data, plan, clip, _BATCH)):
        output = step(clips).numpy()
        yield range(done, done + len(output)), output
        done += len(output)
