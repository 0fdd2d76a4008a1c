"""A timeline: what was found in a video, segment by segment, and what is true where that is known. `explorer` makes it play."""

import html
from collections.abc import Sequence

from dn3dlib.data.segments import NONE, Segment
from dn3dlib.evaluate.predict import Prediction
from dn3dlib.show.drawings import card, part
from dn3dlib.show.figures import COLOURS, GREY
from dn3dlib.show.svg import Drawing, element, hatched, text

_LEFT, _WIDE, _RIGHT = 62, 780, 32  # pixels: names of the rows, the whole video, room for the last tick's number
_TRUTH, _BAR, _GAP = 16, 46, 20  # pixels: heights of a true segment, of one found with certainty 1, and between the rows
_LETTER = 7  # pixels of a letter below a bar
_TRACK = "#ECECEC"
# What tells classes apart without colours: nothing, strokes, dots, lines, a grid …
_SIGNS = tuple(
    f"<path d='{path}' stroke='white' stroke-width='1.5' fill='none'/>"
    for path in ("", "M0 6L6 0", "M0 0L6 6", "M3 0V6", "M0 3H6", "M0 6L6 0M0 0L6 6", "M3 0V6M0 3H6", "M2 3H4")
)

_NONE_SIGN = f"<path d='M0 6L6 0' stroke='{GREY}' stroke-width='1.5'/>"


def timeline(prediction: Prediction, truth: Sequence[Segment] = ()) -> Drawing:
    """The segments that were found in a video, as bars over its seconds; the higher a bar, the more certain. Taught in notebook 07.

    Args:
        prediction: of `evaluate.predict.predict`; its `classes`, `segments`, `frames` and `fps` are drawn.
        truth: the true segments, drawn above where they are known.

    Returns:
        A drawing of one row for the truth and one for what was found; colour and hatching say the class.
    """
    told = [f"{segment.name} {segment.start:.1f} to {segment.end:.1f} s" for segment in prediction.segments[:12]]
    more = "" if len(prediction.segments) <= 12 else f" and {len(prediction.segments) - 12} more"
    return Drawing(clickable_timeline(prediction, truth), f"timeline of {prediction.frames / prediction.fps:.1f} s: {', '.join(told)}{more}")


def clickable_timeline(prediction: Prediction, truth: Sequence[Segment] = ()) -> str:
    """The same as SVG for `controls.Clickable`, a part to choose for each segment found, named by `segment_choice`."""
    seconds = prediction.frames / prediction.fps
    names = [*prediction.classes, *sorted({s.name for s in truth} - {*prediction.classes, NONE})]
    styles = {name: place for place, name in enumerate(names)}
    top = 10
    parts = [hatched("none", "white", _NONE_SIGN), *map(_pattern, range(len(names)))]
    if truth:
        parts += [_row_name("truth", top + _TRUTH - 4), *(_true_segment(s, seconds, top, styles) for s in truth)]
        top += _TRUTH + _GAP
    parts += [_row_name("found", top + _BAR - 4), *(_found_segment(s, seconds, top, styles) for s in prediction.segments)]
    bottom = top + _BAR + 40
    parts += _axis(seconds, bottom)
    legend, height = _legend([*names, NONE], bottom + 44)
    words = f"{len(prediction.segments)} segments found in {seconds:.1f} seconds"
    return card(_LEFT + _WIDE + _RIGHT, height, words, parts + legend)


def segment_choice(segment: Segment) -> str:
    """The name by which a segment of a timeline is chosen."""
    return f"{segment.name} {segment.start:.2f}–{segment.end:.2f} s"


def _found_segment(segment: Segment, seconds: float, top: int, styles: dict[str, int]) -> str:
    """A part to choose: a track as high as certainty 1, the bar in it, and below it class and certainty where they fit."""
    x, width = _place(segment, seconds)
    high = max(1.0, _BAR * min(segment.certainty, 1.0))
    inner = element("rect", x=x, y=top, width=width, height=_BAR, fill=_TRACK)
    inner += element("rect", x=x, y=top + _BAR - high, width=width, height=high, fill=_fill(segment, styles), stroke="none")
    for line, words in enumerate((segment.name, f"{segment.certainty:.2f}")):
        if len(words) * _LETTER <= width:
            inner += text(words, x + width / 2, top + _BAR + 15 + 15 * line, 12, stroke="none")
    words = f"{segment.name}, from {segment.start:.1f} to {segment.end:.1f} seconds, certainty {segment.certainty:.2f}"
    return part(segment_choice(segment), words, inner)


def _true_segment(segment: Segment, seconds: float, top: int, styles: dict[str, int]) -> str:
    x, width = _place(segment, seconds)
    bar = element("rect", x=x, y=top, width=width, height=_TRUTH, fill=_fill(segment, styles))
    name = segment.name
    told = element("title", html.escape(f"true: {name}, from {segment.start:.1f} to {segment.end:.1f} seconds"))
    below = text(name, x + width / 2, top + _TRUTH + 13, 12) if len(name) * _LETTER <= width else ""
    return element("g", told + bar + below)


def _place(segment: Segment, seconds: float) -> tuple[float, float]:
    """Left edge and width of a segment, in pixels; a little room parts it from the next."""
    x = _LEFT + _WIDE * segment.start / seconds
    return x, max(1.5, _WIDE * (segment.end - segment.start) / seconds - 1.5)


def _fill(segment: Segment, styles: dict[str, int]) -> str:
    return f"url(#class{styles[segment.label]})" if segment.label else "url(#none)"


def _pattern(place: int) -> str:
    """The colour and hatching of a class: 64 pairs, which all differ."""
    return hatched(f"class{place}", COLOURS[place % 8], _SIGNS[(place + place // 8) % 8])


def _row_name(name: str, y: float) -> str:
    return text(name, _LEFT - 8, y, 13, text_anchor="end")


def _axis(seconds: float, y: float) -> list[str]:
    """Seconds below the rows, some ten numbers at most."""
    step = next(s for s in (1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 3600, max(3600, seconds)) if seconds / s <= 12)
    parts = [element("path", d=f"M{_LEFT},{y:g}H{_LEFT + _WIDE}", stroke=GREY, fill="none")]
    for tick in range(int(seconds / step) + 1):
        x = _LEFT + _WIDE * tick * step / seconds
        parts += [element("path", d=f"M{x:.1f},{y:g}v4", stroke=GREY, fill="none"), text(f"{tick * step:g}", x, y + 17, 12, fill=GREY)]
    return [*parts, text("s", _LEFT + _WIDE + 22, y + 17, 12, fill=GREY)]


def _legend(names: list[str], y: float) -> tuple[list[str], int]:
    """A sign for each class, in as many rows as it takes; and where the drawing ends."""
    parts, x = [], _LEFT
    for place, name in enumerate(names):
        wide = 30 + _LETTER * len(name) + 14
        if x + wide > _LEFT + _WIDE and x > _LEFT:
            x, y = _LEFT, y + 20
        parts.append(element("rect", x=x, y=y - 10, width=20, height=12, fill="url(#none)" if name == NONE else f"url(#class{place})"))
        parts.append(text(name, x + 26, y, 12, text_anchor="start"))
        x += wide
    return parts, round(y + 12)
