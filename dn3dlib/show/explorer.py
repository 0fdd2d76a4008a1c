"""Explorers: widgets that answer at once to a moved slider or a click. They show what has been computed before."""

import html
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
from ipywidgets import HTML, HBox, IntSlider, Layout, SelectionSlider, VBox

from dn3dlib.config import nearest
from dn3dlib.data.manifest import DataSet
from dn3dlib.data.segments import Segment
from dn3dlib.data.video import header, iter_frames
from dn3dlib.errors import ConfigError
from dn3dlib.evaluate.predict import Prediction
from dn3dlib.show import drawings, timeline
from dn3dlib.show.controls import Clickable, answer_to, image_html, opened
from dn3dlib.show.figures import ACCENT
from dn3dlib.show.inside import coloured
from dn3dlib.show.mistakes import cell_rows, cell_strips, fullest_mistake, sequence_frames
from dn3dlib.show.players import play

_LARGE, _STRIP, _GAP, _MARK = 260, 820, 6, 3  # pixels: a large picture, a strip of all times, the gap in it, the mark around a frame
_MOST_SECONDS, _MOST_FPS, _LARGEST = 8, 15.0, 320  # of a segment that plays: seconds, frames in a second, pixels of its width


@dataclass(frozen=True)
class _Chosen:
    """What is shown of a choice."""

    words: str
    strips: str = ""  # HTML
    frames: np.ndarray | None = None  # of a player, uint8 (frames, height, width, 1 or 3)
    name: str = ""  # below the player
    fps: float = 12.5  # frames in a second; half the speed of the kit's videos


def feature_explorer(frames: np.ndarray, maps: dict[str, np.ndarray], centres: dict[str, np.ndarray], layer: str, unit: int = 0) -> VBox:
    """A widget: sliders for layer, unit and time over the feature maps of one clip, which follow the hand. Taught in notebook 04.

    Args:
        frames: uint8 (frames, height, width, 1 or 3), of the clip.
        maps: layer → float32 (frames', height', width', channels'), in network order, as `explain.features.feature_maps` gives them.
        centres: layer → float (frames',): the frame of the clip on which each frame of its maps is centred (`explain.layers.map_centres`).
        layer, unit: shown first; of a unit that the layer has not, the nearest.

    Raises:
        ConfigError: no such layer, or a layer without centres.
    """
    if layer not in maps:
        raise ConfigError(f"There are no maps of a layer {layer!r}: {nearest(layer, maps)}" if maps else "There are no maps to show: give those of a layer.")
    if missing := sorted(set(maps) - set(centres)):
        raise ConfigError(f"There are maps of {', '.join(missing)}, but no centres of them: `layers.map_centres` gives these.")
    layers = SelectionSlider(options=list(maps), value=layer, description="layer", layout=Layout(width="600px"))
    units = IntSlider(unit, 0, maps[layer].shape[-1] - 1, description="unit", layout=Layout(width="600px"))
    times = IntSlider(len(frames) // 2, 0, len(frames) - 1, description="time", layout=Layout(width="600px"))
    picture = HTML()
    box = opened(VBox([layers, units, times, picture]))

    def follow() -> None:
        name = layers.value
        units.max = maps[name].shape[-1] - 1  # lowers the unit where this layer has fewer
        picture.value = _moment(frames, maps[name][..., units.value], centres[name], times.value, f"{name}, unit {units.value}")

    def tell(sentence: str) -> None:
        picture.value = f"<b>{html.escape(sentence)}</b>"

    answer_to([layers, units, times], "value", follow, tell)
    return box


def confusion_explorer(data: DataSet, report: dict) -> VBox:
    """A widget: a confusion matrix; choose a cell, by click or by keyboard, and see its sequences. Taught in notebook 05.

    The most certain one moves in a player beside the matrix, more stand as strips below. It begins in the fullest mistake. Of more
    than `drawings.MOST_CLASSES` classes, those with the fullest mistakes are drawn.

    Args:
        data: the data set that was evaluated.
        report: of `evaluate.report.evaluate`.

    Raises:
        ConfigError: a report without classes.
    """
    if not report.get("classes"):
        raise ConfigError("This report has no classes, so there is no matrix to show: `evaluate` gives one that has.")
    cells = {drawings.cell_name(true, predicted): (true, predicted) for true in report["classes"] for predicted in report["classes"]}

    def shown(choice: str) -> _Chosen:
        if choice not in cells:
            raise ConfigError(f"There is no cell {choice!r} in this matrix: a cell is named like {next(iter(cells))!r}.")
        rows = cell_rows(report, *cells[choice])
        if not rows:
            return _Chosen(f"{choice}: no sequence")
        strips, surest = cell_strips(data, report, *cells[choice]), rows[0]
        several = "s, the surest" * (len(rows) > 1) or ","
        words = f"{choice}: {len(rows)} sequence{several} with probability {max(surest['probabilities']):.2f}"
        name = surest["sequence"]
        return _Chosen(words, image_html(*strips.file(), strips.alt), sequence_frames(data, name), name)

    return _choosing(drawings.matrix(report), drawings.cell_name(*fullest_mistake(report)), shown)


def embedding_explorer(points: np.ndarray, sequences: list, shares: np.ndarray, frames_of: Callable[[int], np.ndarray], chosen: int = 0) -> VBox:
    """A widget: sequences as points in a plane; choose one, by click or by keyboard, and watch it. Taught in notebook 04.

    Args:
        points: float (points, 2).
        sequences: of each point, with `id`, `label` and `subject`.
        shares: of the variance that each axis shows, (2,).
        frames_of: takes the place of a sequence; gives a clip of it, uint8 (frames, height, width, 1 or 3).
        chosen: the place of the sequence that is shown first.

    Raises:
        ConfigError: no points, or none in that place.
    """
    if not 0 <= chosen < len(points):
        raise ConfigError(f"There is no point in place {chosen}: {len(points)} points are here, counted from 0.")
    places = {sequence.id: place for place, sequence in enumerate(sequences)}

    def shown(choice: str) -> _Chosen:
        if choice not in places:
            raise ConfigError(f"There is no sequence {choice!r} in this plane: a sequence is named like {next(iter(places))!r}.")
        place = places[choice]
        return _Chosen(f"{sequences[place].label}, {sequences[place].subject}", "", frames_of(place), choice)

    return _choosing(drawings.plane(points, sequences, shares), sequences[chosen].id, shown)


def timeline_explorer(prediction: Prediction, truth: Sequence[Segment] = ()) -> VBox:
    """A widget: a player, and below it the timeline of a video; choose a segment, by click or by keyboard, and it plays. Taught in notebook 07.

    It begins in the segment of least certainty. Of a segment longer than _MOST_SECONDS its beginning plays.

    Args:
        prediction: of `evaluate.predict.predict`; its video is read again for each segment.
        truth: the true segments where they are known, as `timeline.timeline` takes them.

    Raises:
        ConfigError: a prediction without segments.
    """
    segments = {timeline.segment_choice(segment): segment for segment in prediction.segments}
    if not segments:
        raise ConfigError(f"There are no segments of {prediction.video} to show: predict a video that is longer than a clip.")

    def shown(choice: str) -> _Chosen:
        if choice not in segments:
            raise ConfigError(f"There is no segment {choice!r} in this timeline: a segment is named like {next(iter(segments))!r}.")
        segment = segments[choice]
        words = f"{choice}, certainty {segment.certainty:.2f}"
        if segment.end - segment.start > _MOST_SECONDS:
            words += f"; its first {_MOST_SECONDS} seconds play"
        frames, fps = segment_frames(prediction.video, prediction.fps, segment)
        return _Chosen(words, "", frames, choice, fps)

    first = min(prediction.segments, key=lambda segment: segment.certainty)
    return _choosing(timeline.clickable_timeline(prediction, truth), timeline.segment_choice(first), shown, above=True)


def segment_frames(video: Path, fps: float, segment: Segment) -> tuple[np.ndarray, float]:
    """What a player shows of a segment: its frames, uint8 (frames, height, width, 3), and how many of them make a second. Taught in notebook 07.

    Args:
        video: the file.
        fps: its own frames in a second; of more than _MOST_FPS some are left out, the tempo stays.
        segment: of that video.
    """
    start = round(segment.start * fps)
    stop = max(start + 1, round(min(segment.end, segment.start + _MOST_SECONDS) * fps))
    step = max(1, math.ceil(fps / _MOST_FPS))
    form = {"width": _LARGEST} if header(video).width > _LARGEST else {}
    return np.stack(list(islice(iter_frames(video, start, stop, **form), 0, None, step))), fps / step


def _choosing(drawing: str, first: str, shown: Callable[[str], _Chosen], above: bool = False) -> VBox:
    """A drawing to click; what is `shown` for the choice stands below and beside it (the player with `above` on top), or the sentence of an error."""
    clickable, player, strips = Clickable(drawing=drawing, choice=first), HTML(), HTML()
    row = VBox([player, clickable]) if above else HBox([clickable, player], layout=Layout(flex_flow="row wrap", align_items="flex-start"))
    box = opened(VBox([row, strips]))

    def follow() -> None:
        found = shown(clickable.choice)
        clickable.words, strips.value = found.words, found.strips
        player.value = _player(found)  # takes longest, so last

    def tell(sentence: str) -> None:
        clickable.words, strips.value, player.value = sentence, "", ""

    answer_to([clickable], "choice", follow, tell)
    return box


def _player(found: _Chosen) -> str:
    if found.frames is None:
        return ""
    try:
        return play(found.frames, fps=found.fps, label=found.name).data
    except ConfigError as error:  # too long for a player; its words and strips stay
        return f"<p>{html.escape(str(error))}</p>"


def _moment(frames: np.ndarray, film: np.ndarray, centres: np.ndarray, time: int, name: str) -> str:
    """A clip's frame beside the map at that time, and below them a strip of all times of both.

    Args:
        frames: uint8 (frames, height, width, 1 or 3).
        film: float32 (frames', height', width'), the maps of one unit.
        centres: float (frames',), of its frames in the clip.
        time: frame of the clip.
        name: of the unit.
    """
    colours = coloured(film)
    place = int(np.abs(centres - time).argmin())
    words = f"{name}: map {place} of 0 to {len(film) - 1}, centred on frame {centres[place]:g} of the clip"
    large = _LARGE, round(_LARGE * frames.shape[1] / frames.shape[2])
    clip_now = _figure(_hard(frames[time], f"frame {time} of the clip", large), f"clip: frame {time} of 0 to {len(frames) - 1}")
    map_now = _figure(_hard(colours[place], words, large), words)
    ramp = ",".join(f"rgb({r},{g},{b})" for r, g, b in coloured(np.linspace(0, 1, 9)))
    bar = f'<span style="display:inline-block;width:120px;height:12px;vertical-align:middle;background:linear-gradient(to right,{ramp})"></span>'
    low, high = film.min(), film.max()
    scale = f"lowest value of this unit in the clip {low:.2f} {bar} {high:.2f} highest" if low < high else f"this unit is silent: {low:.2f} everywhere"
    strips = _strip(frames, np.arange(len(frames)), time, len(frames)), _strip(colours, centres, place, len(frames))
    rows = "".join(f"<div>{image_html('png', _png(strip), f'{kind} at all times')}</div>" for strip, kind in zip(strips, ("the clip", "the map"), strict=True))
    return (
        f'<div style="background:white;color:black;padding:8px;line-height:1.4"><div style="display:flex;flex-wrap:wrap;gap:12px">{clip_now}{map_now}</div>'
        f"<div>{scale}</div>{rows}</div>"
    )


def _strip(pictures: np.ndarray, centres: np.ndarray, chosen: int, times: int) -> np.ndarray:
    """Pictures, uint8 (n, height, width, 1 or 3), side by side where they belong among so many times; the chosen one framed."""
    step = max(_STRIP // times, 4 + _GAP)
    width = step - _GAP
    height = max(1, round(width * pictures.shape[1] / pictures.shape[2]))
    strip = np.full((height + _GAP, times * step, 3), 255, np.uint8)
    for number, (picture, centre) in enumerate(zip(pictures, np.clip(centres, 0, times - 1), strict=True)):
        left = round(centre * step)
        if number == chosen:
            strip[:, left : left + step] = tuple(bytes.fromhex(ACCENT[1:]))
        way = cv2.INTER_AREA if pictures.shape[2] > width else cv2.INTER_NEAREST
        strip[_MARK : _MARK + height, left + _MARK : left + _MARK + width] = cv2.resize(picture, (width, height), interpolation=way).reshape(height, width, -1)
    return strip


def _png(picture: np.ndarray) -> bytes:
    return cv2.imencode(".png", np.ascontiguousarray(picture[..., ::-1]))[1].tobytes()


def _hard(picture: np.ndarray, alt: str, size: tuple[int, int]) -> str:
    """A picture, uint8 (height, width, 1 or 3), in the page in a size in pixels, so that its own pixels are seen."""
    return image_html("png", _png(picture), alt, f'width="{size[0]}" height="{size[1]}" style="image-rendering:pixelated"')


def _figure(image: str, words: str) -> str:
    return f'<figure style="margin:0;width:{_LARGE}px">{image}<figcaption style="min-height:4.2em">{html.escape(words)}</figcaption></figure>'
