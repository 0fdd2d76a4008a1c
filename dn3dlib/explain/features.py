"""What a layer of a trained network answers: its feature maps, and the clips to which one of its units answers most."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

from dn3dlib.config import ClipConfig
from dn3dlib.data.clips import ClipPlan, batches_of, clip_dataset, plan_evaluation
from dn3dlib.data.manifest import DataSet
from dn3dlib.errors import ConfigError
from dn3dlib.explain.gradcam import checked_clips
from dn3dlib.explain.layers import map_centres, map_layer

_BATCH = 16  # clips computed at once


@dataclass(frozen=True)
class Response:
    """What a unit (a channel of a layer) answers to one clip. Taught in notebook 04."""

    sequence: int  # place in the data set's sequences
    frames: np.ndarray  # int (frames,): the clip's frame numbers in the sequence
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
    model: keras.Model, data: DataSet, clip: ClipConfig, split: str, layer: str, units: Iterable[int], top: int = 4, views: int | None = None
) -> dict[int, list[Response]]:  # fmt: skip
    """The clips of a split to which units of a layer answer most, at most one of each sequence. Taught in notebook 04.

    The data set passes by batch by batch, and nothing is kept but the `top` so far.

    Args:
        model: of `build_model`.
        data: the prepared data set.
        clip: as the network was trained with.
        split: train, validation or test.
        layer: any layer with maps, by name.
        units: channels of the layer, counted from 0.
        top: how many clips of each unit.
        views: clips of each sequence, spread evenly; None: as many as the hop gives.

    Returns:
        For each unit its clips, the strongest first.

    Raises:
        ConfigError: no such layer or unit.
        DataError: the split has no sequences.

    Source: Zeiler and Fergus 2014, *Visualizing and Understanding Convolutional Networks*, figure 2.
    """
    found, units = map_layer(model, layer), list(units)
    channels = found.output.shape[-1]
    if not units or not set(units) <= set(range(channels)):
        raise ConfigError(f"The layer {layer} has the units 0 to {channels - 1}, but these are asked for: {units}.")
    centres = map_centres(model, found)
    plan = plan_evaluation(data, clip, split, views=views)
    best = {unit: [] for unit in units}
    for rows, maps in through(keras.Model(model.input, found.output), data, plan, clip):
        for row, of_clip in zip(rows, maps, strict=True):
            for unit in units:
                values = of_clip[..., unit]
                cell = np.unravel_index(values.argmax(), values.shape)
                peak = tuple(int(np.clip(round(line[n]), 0, most - 1)) for line, n, most in zip(centres, cell, model.input.shape[1:4], strict=True))
                response = Response(int(plan.sequence[row]), plan.frames[row], float(values[cell]), peak)
                best[unit] = _with(best[unit], response, top)
    return best


def through(part: keras.Model, data: DataSet, plan: ClipPlan, clip: ClipConfig) -> Iterator[tuple[range, np.ndarray]]:
    """Send the clips of a plan through a part of a network, in inference mode; gives their rows in the plan and the output, batch by batch."""
    signature = [tf.TensorSpec((None, *part.input.shape[1:]), tf.float32)]
    step = tf.function(lambda clips: part(clips, training=False), input_signature=signature, autograph=False)
    done = 0
    for clips, _, _ in batches_of(clip_dataset(data, plan, clip, _BATCH)):
        output = step(clips).numpy()
        yield range(done, done + len(output)), output
        done += len(output)


def _with(best: list[Response], new: Response, top: int) -> list[Response]:
    """The `top` strongest of some responses and a new one, one for each sequence; of equals the earlier stays."""
    firsts: dict[int, Response] = {}
    for response in sorted([*best, new], key=lambda response: -response.value):
        firsts.setdefault(response.sequence, response)
    return list(firsts.values())[:top]
