"""What a layer of a trained network answers: its feature maps, and the clips to which one of its units answers most."""

from collections.abc import Iterable
from dataclasses import dataclass

import keras
import numpy as np

from dn3dlib.config import ClipConfig, nearest
from dn3dlib.data.clips import batches_of, clip_dataset, plan_evaluation
from dn3dlib.data.manifest import DataSet
from dn3dlib.errors import ConfigError

BATCH = 16  # clips computed at once


@dataclass(frozen=True)
class Response:
    """What a unit (a channel of a layer) answers to one clip."""

    sequence: int  # place in the data set's sequences
    frames: np.ndarray  # int (frames,): the clip's frame numbers in the sequence
    value: float  # the unit's largest value anywhere in the clip
    peak: tuple[int, int, int]  # where: frame of the clip, row, column of the picture


def layer_names(model: keras.Model) -> list[str]:
    """The layers whose maps are worth a look: convolutions that make new maps, poolings, and the last maps before the head."""
    with_maps = [layer for layer in model.layers[1:] if len(layer.output.shape) == 5]
    kinds = (keras.layers.Conv3D, keras.layers.AveragePooling3D)
    new = [layer.name for layer in with_maps if isinstance(layer, kinds) and not layer.name.endswith("bottleneck_conv")]
    return [*new, with_maps[-1].name]


def find_layer(model: keras.Model, name: str) -> keras.layers.Layer:
    """The layer of that name; raises ConfigError with the nearest right name."""
    names = [layer.name for layer in model.layers]
    if name not in names:
        raise ConfigError(f"The network {model.name} has no layer {name!r}: {nearest(name, names)}")
    return model.get_layer(name)


def feature_maps(model: keras.Model, clips: np.ndarray, layer: str) -> np.ndarray:
    """What a layer makes of clips, in inference mode. Taught in notebook 04.

    Args:
        model: of `build_model`.
        clips: float32 (clips, frames, height, width, channels), normalised as in training.
        layer: any layer with maps, by name.

    Returns:
        float32 (clips, frames', height', width', channels'): as many channels as the layer has units; frames and pixels are
        fewer behind strides and poolings.

    Raises:
        ConfigError: no such layer, a layer without maps, or clips of another shape.
    """
    found = find_layer(model, layer)
    if len(found.output.shape) != 5:
        raise ConfigError(f"The layer {layer} has no maps, its output is {found.output.shape[1:]}: choose one of {', '.join(layer_names(model))}.")
    clips = np.asarray(clips, np.float32)
    if clips.shape[1:] != model.input.shape[1:]:
        raise ConfigError(f"The network takes clips of shape (clips, *{model.input.shape[1:]}), but these have {clips.shape}.")
    return keras.Model(model.input, found.output).predict(clips, batch_size=BATCH, verbose=0)


def strongest_clips(
    model: keras.Model, data: DataSet, clip: ClipConfig, split: str, layer: str, channels: Iterable[int], top: int = 4, views: int | None = None
) -> dict[int, list[Response]]:  # fmt: skip
    """The clips of a split to which units of a layer answer most, one clip a sequence at most. Taught in notebook 04.

    The data set passes by batch by batch, and nothing is kept but the `top` so far.

    Args:
        model: of `build_model`.
        data: the prepared data set.
        clip: as the network was trained with.
        split: train, validation or test.
        layer: any layer with maps, by name.
        channels: the units.
        top: clips of each unit.
        views: clips of each sequence, spread evenly; None: as many as the hop gives.

    Returns:
        For each unit its clips, the strongest first.

    Raises:
        ConfigError: no such layer or unit.

    Source: Zeiler and Fergus 2014, *Visualizing and Understanding Convolutional Networks*, figure 2.
    """
    output = find_layer(model, layer).output
    units = np.array(list(channels))
    if len(output.shape) != 5 or not len(units) or not set(units) <= set(range(output.shape[-1])):
        raise ConfigError(f"The layer {layer} gives {output.shape[1:]}, and has no maps of the units {units.tolist()}: choose from 0 to {output.shape[-1] - 1}.")
    part = keras.Model(model.input, output)
    plan = plan_evaluation(data, clip, split, views=views)
    best = {int(unit): [] for unit in units}
    done = 0
    for clips, _, _ in batches_of(clip_dataset(data, plan, clip, BATCH)):
        maps = part.predict_on_batch(clips)[..., units]
        flat = maps.reshape(len(maps), -1, len(units))
        for (row, unit), value in np.ndenumerate(flat.max(axis=1)):
            cell = np.unravel_index(flat[row, :, unit].argmax(), maps.shape[1:4])
            peak = tuple(int((place + 0.5) * whole / cells) for place, whole, cells in zip(cell, clips.shape[1:4], maps.shape[1:4], strict=True))
            response = Response(int(plan.sequence[done + row]), plan.frames[done + row], float(value), peak)
            best[int(units[unit])] = _with(best[int(units[unit])], response, top)
        done += len(maps)
    return best


def _with(best: list[Response], new: Response, top: int) -> list[Response]:
    """The `top` strongest of some responses and a new one, one for each sequence; of equals the earlier stays."""
    ranked = sorted([*best, new], key=lambda response: -response.value)
    firsts = {response.sequence: response for response in reversed(ranked)}
    return [response for response in ranked if firsts[response.sequence] is response][:top]
