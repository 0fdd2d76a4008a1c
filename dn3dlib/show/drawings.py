"""Drawings to click, as SVG: the cells of a confusion matrix, the sequences in a plane. `controls.Clickable` makes them answer."""

import html

import matplotlib
import numpy as np
from matplotlib.colors import to_hex

from dn3dlib.show.figures import GREY, point_style

MOST_CLASSES = 30  # in a matrix; more would be too small to hit
_LONGEST = 22  # letters of a class's name beside a row or column
_LETTER = 8  # pixels, enough for one
_BLACK_FROM = 0.47  # share of the row: brighter colours of cividis carry black numbers, darker ones white
_WIDE, _TALL, _EDGE = 380, 380, 30  # pixels: the plane at most, and the room around it
_ROWS = 20  # names of classes below each other
_LEAST = 160  # pixels, the plane's height at least
_MARKS = {  # matplotlib's names of markers → the same as SVG paths around 0, 0
    "o": "M-5,0a5,5 0 1,0 10,0a5,5 0 1,0 -10,0z",
    "s": "M-4.5,-4.5h9v9h-9z",
    "^": "M0,-6L5.5,4.5h-11z",
    "D": "M0,-6.5L6.5,0L0,6.5L-6.5,0z",
    "v": "M0,6L5.5,-4.5h-11z",
    "P": "M-2,-6h4v4h4v4h-4v4h-4v-4h-4v-4h4z",
    "X": "M-6,-3.5L-3.5,-6L0,-2.5L3.5,-6L6,-3.5L2.5,0L6,3.5L3.5,6L0,2.5L-3.5,6L-6,3.5L-2.5,0z",
    "*": "M0,-7L1.7,-2.3 6.7,-2.2 2.7,0.9 4.1,5.7 0,2.8 -4.1,5.7 -2.7,0.9 -6.7,-2.2 -1.7,-2.3z",
}


def cell_name(true: str, predicted: str) -> str:
    """The name by which a cell of a confusion matrix is chosen."""
    return f"{true} → {predicted}"


def drawn_classes(report: dict) -> list[str]:
    """The classes of a report, in its order; of more than MOST_CLASSES those that share in the fullest mistakes."""
    classes, counts = report["classes"], np.array(report["confusion"])
    if len(classes) <= MOST_CLASSES:
        return list(classes)
    np.fill_diagonal(counts, 0)
    fullest = np.argsort(-counts, axis=None, kind="stable")
    places = list(dict.fromkeys(np.stack(np.unravel_index(fullest, counts.shape), axis=1).ravel().tolist()))
    return [classes[place] for place in sorted(places[:MOST_CLASSES])]


def matrix(report: dict) -> str:
    """A confusion matrix as SVG, a part to choose for each cell, named by `cell_name`.

    Args:
        report: of `evaluate.report.evaluate`; of more than MOST_CLASSES classes only `drawn_classes` are drawn.
    """
    classes, known = drawn_classes(report), report["classes"]
    places = [known.index(name) for name in classes]
    counts = np.asarray(report["confusion"])
    totals = counts.sum(axis=1)
    side = max(26, min(50, 460 // len(classes)))
    label = _LETTER * min(_LONGEST, max(map(len, classes)))
    left, top = label + 12, round(0.72 * label) + 14
    parts = []
    for y, row in enumerate(places):
        middle = top + (y + 0.5) * side
        parts.append(f'<text x="{left - 6}" y="{middle:g}" text-anchor="end" dominant-baseline="central">{_short(known[row])}</text>')
        x = left + (y + 0.5) * side
        parts.append(f'<text transform="translate({x:g} {top - 6}) rotate(-45)">{_short(known[row])}</text>')
        corners = [(left + n * side, top + y * side) for n in range(len(places))]
        parts += [_cell(known[row], known[p], int(counts[row, p]), int(totals[row]), c, side) for p, c in zip(places, corners, strict=True)]
    words = ["row: true class; column: predicted class", "colour: share of the row, from dark blue, 0, to yellow, 1"]
    if len(classes) < len(known):
        words.append(f"these {len(classes)} of {len(known)} classes share in the fullest mistakes")
    bottom = top + len(places) * side
    parts += [f'<text x="8" y="{bottom + 20 + 17 * n}" fill="{GREY}">{line}</text>' for n, line in enumerate(words)]
    width = max(left + len(places) * side + round(0.72 * label) + 8, 380)
    return card(width, bottom + 14 + 17 * len(words), f"confusion matrix of {len(classes)} classes on {report['split']}", parts)


def _cell(true: str, predicted: str, count: int, total: int, corner: tuple[int, int], side: int) -> str:
    share = count / max(total, 1)
    what = "rightly named" if true == predicted else f"taken for {predicted}"
    (x, y), colour = corner, to_hex(matplotlib.colormaps["cividis"](share))
    number = f'<text x="{x + side / 2:g}" y="{y + side / 2:g}" text-anchor="middle" dominant-baseline="central" stroke="none" '
    number += f'fill="{"black" if share >= _BLACK_FROM else "white"}">{count or ""}</text>'
    inner = f'<rect x="{x + 1.5}" y="{y + 1.5}" width="{side - 3}" height="{side - 3}" fill="{colour}"/>{number}'
    return part(cell_name(true, predicted), f"true {true}, {what}: {count} of {total} sequences", inner)


def plane(points: np.ndarray, sequences: list, shares: np.ndarray) -> str:
    """Sequences as points in a plane, as SVG, a part to choose for each, named by the sequence's id.

    Args:
        points: float (points, 2); one scale for both axes, so that distances can be compared.
        sequences: of each point, with `id` and `label`.
        shares: of the variance that each axis shows, (2,).
    """
    labels = sorted({sequence.label for sequence in sequences})
    styles = {label: point_style(place) for place, label in enumerate(labels)}
    marks = {label: f'<path d="{_MARKS[s["marker"]]}" fill="{s["color"]}" stroke="white" stroke-width="1"/>' for label, s in styles.items()}
    low, high = points.min(axis=0), points.max(axis=0)
    scale = min(np.array([_WIDE, _TALL]) / np.maximum(high - low, 1e-12))
    tall = max(_LEAST, round((high - low)[1] * scale))
    placed = (points - (low + high) / 2) * scale * (1, -1) + (_EDGE + _WIDE / 2, _EDGE + tall / 2)
    right, bottom = _WIDE + 2 * _EDGE, tall + 2 * _EDGE
    parts = [f'<path d="M{_EDGE / 2},4V{bottom}H{right - 4}" fill="none" stroke="{GREY}"/>']
    for (x, y), sequence in zip(placed, sequences, strict=True):
        inner = f'<g transform="translate({x:.1f} {y:.1f})"><circle r="8" fill="transparent"/>{marks[sequence.label]}</g>'
        parts.append(part(sequence.id, f"sequence {sequence.id}, {sequence.label}", inner))
    column = 20 + _LETTER * min(_LONGEST, max(map(len, labels)))
    for row, label in enumerate(labels):
        x, y = right + 10 + column * (row // _ROWS), 20 + 22 * (row % _ROWS)
        parts.append(f'<g transform="translate({x} {y})">{marks[label]}<text x="12" y="4.5">{_short(label)}</text></g>')
    names = f"first axis ({shares[0]:.0%} of the variance)", f"second axis ({shares[1]:.0%})"
    parts.append(f'<text x="{right / 2}" y="{bottom + 16}" text-anchor="middle">{names[0]}</text>')
    parts.append(f'<text transform="translate({_EDGE / 2 - 5} {bottom / 2}) rotate(-90)" text-anchor="middle">{names[1]}</text>')
    width = right + 10 + column * -(-len(labels) // _ROWS)
    return card(width, max(bottom + 24, 20 + 22 * min(len(labels), _ROWS)), f"{len(points)} sequences of {len(labels)} classes in a plane", parts)


def part(choice: str, words: str, inner: str) -> str:
    """A part to choose; pointed at, it says in words what it is."""
    choice, words = html.escape(choice), html.escape(words)
    return f'<g data-choice="{choice}" aria-label="{words}"><title>{words}</title>{inner}</g>'


def _short(name: str) -> str:
    return html.escape(name if len(name) <= _LONGEST else name[: _LONGEST - 1] + "…")


def card(width: int, height: int, words: str, parts: list[str]) -> str:
    """A white card of this size in pixels, smaller where the page is narrower; white on dark pages as well."""
    style = "max-width:100%;height:auto;background:white;font:13px sans-serif"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="group" aria-label="{html.escape(words)}" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" style="{style}">{"".join(parts)}</svg>'
    )
