"""Pictures of explanations: heat laid over a clip's frames, and evidence over time. Heat comes in, a Picture goes out."""

import cv2
import matplotlib
import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure

from dn3dlib.errors import ConfigError
from dn3dlib.show.figures import DPI, LINE_STYLES, WIDTH, Picture, tidy

_COLOURS = matplotlib.colormaps["inferno"]  # from black to yellow, ever brighter: it reads without colours as well
_OPACITY = 0.6  # of the heat; the frame shows through
_WATCHABLE = 256  # pixels: the width to which an overlay is enlarged
_IN_A_ROW, _MOST = 8, 16  # frames of a strip
_RIGHT, _TOP, _GAP = 66, 30, 3  # pixels around and between the frames of a strip
_LETTER, _LETTER_OF_TITLE = 7, 8  # pixels, the width of a letter
_NUMBERS = 20  # pixels, above a row


def overlay(frames: np.ndarray, heat: np.ndarray, width: int = _WATCHABLE) -> np.ndarray:
    """A clip with heat laid over it, for a player or a video. Taught in notebook 04.

    Args:
        frames: uint8 (frames, height, width, 1 or 3).
        heat: float (frames, height, width) from 0 to 1, as `grad_cam` and `Occlusion.heat` give it.
        width: of the result, in pixels; the height follows.

    Returns:
        uint8 RGB (frames, height', width', 3): black where the heat is 0, ever brighter to yellow where it is 1.

    Raises:
        ConfigError: arrays that do not fit each other.
    """
    frames, heat = _checked(frames, heat)
    large = watchable(frames, width).astype(np.float32)
    hot = np.stack([cv2.resize(row, large.shape[2:0:-1], interpolation=cv2.INTER_LINEAR) for row in heat.astype(np.float32)])
    return np.uint8(np.rint((1 - _OPACITY) * large + _OPACITY * 255 * _COLOURS(hot)[..., :3]))


def watchable(frames: np.ndarray, width: int = _WATCHABLE) -> np.ndarray:
    """Frames, uint8 (frames, height, width, 1 or 3), as RGB of another width; the height follows, even as codecs need it."""
    height = 2 * max(1, round(frames.shape[1] * width / frames.shape[2] / 2))
    how = cv2.INTER_AREA if width < frames.shape[2] else cv2.INTER_LINEAR
    resized = [cv2.resize(frame, (width, height), interpolation=how).reshape(height, width, -1) for frame in frames]
    return np.broadcast_to(np.stack(resized), (len(frames), height, width, 3))


def heat_strip(frames: np.ndarray, heats: dict[str, np.ndarray], numbers=None, title: str = "") -> Picture:
    """A clip's frames in rows, and below each row the same frames under heat. Taught in notebook 04.

    Args:
        frames: uint8 (frames, height, width, 1 or 3); of more than 16, 16 are drawn, evenly spread.
        heats: label → float (frames, height, width) from 0 to 1; a row for each, to compare explanations.
        numbers: of the frames, above them; None: counted from 0.
        title: above the picture.

    Raises:
        ConfigError: no heat, or one that does not fit the frames.
    """
    if not heats:
        raise ConfigError("There is no heat to draw: give at least one.")
    shown = np.unique(np.linspace(0, len(frames) - 1, min(len(frames), _MOST)).round().astype(int))
    numbers = np.arange(len(frames)) if numbers is None else np.asarray(numbers)
    columns = min(len(shown), _IN_A_ROW)
    left = 14 + round(_LETTER * max(map(len, ("clip", *heats))))
    width = (int(WIDTH * DPI) - left - _RIGHT) // _IN_A_ROW - _GAP
    layers = {"clip": watchable(frames, width)} | {label: overlay(frames, heat, width) for label, heat in heats.items()}
    rows = [shown[first : first + columns] for first in range(0, len(shown), columns)]
    tall = layers["clip"].shape[1]
    block = _NUMBERS + len(layers) * (tall + _GAP)
    right = left + columns * (width + _GAP)
    size = max(right + _RIGHT, min(left + _LETTER_OF_TITLE * len(title), int(WIDTH * DPI))), _TOP + len(rows) * block + _GAP
    figure = Figure(figsize=(size[0] / DPI, size[1] / DPI), dpi=DPI, facecolor="white")
    figure.text(left / size[0], 1 - 8 / size[1], title, ha="left", va="top", fontsize=10)
    for row, places in enumerate(rows):
        _draw_block(figure, size, (left, _TOP + row * block), {label: layer[places] for label, layer in layers.items()}, numbers[places])
    _colour_bar(figure, size, right)
    names = ", ".join(heats)
    return Picture(figure, f"{title or 'heat'}: {len(shown)} frames, and below them the same under the heat of {names}", colours=256)


def _draw_block(figure: Figure, size: tuple[int, int], corner: tuple[int, int], layers: dict[str, np.ndarray], numbers) -> None:
    """One row of frames and its rows of heat; pixels are counted from the picture's upper left corner."""
    (wide, tall), (left, top) = size, corner
    y = top + _NUMBERS
    for label, layer in layers.items():
        height, width = layer.shape[1:3]
        figure.text((left - 6) / wide, 1 - (y + height / 2) / tall, label, ha="right", va="center", fontsize=8)
        for column, frame in enumerate(layer):
            figure.figimage(frame, left + column * (width + _GAP), tall - y - height)
        y += height + _GAP
    for column, number in enumerate(numbers):
        x = left + column * (width + _GAP) + width / 2
        figure.text(x / wide, 1 - (top + _NUMBERS - 2) / tall, str(number), ha="center", va="bottom", fontsize=8)


def _colour_bar(figure: Figure, size: tuple[int, int], right: int) -> None:
    """What the colours mean, beside the frames, which end at pixel `right`."""
    wide, tall = size
    long = min(tall - _TOP - _NUMBERS - 8, 220)
    ax = figure.add_axes(((right + 12) / wide, (tall - _TOP - _NUMBERS - long) / tall, 12 / wide, long / tall))
    bar = figure.colorbar(ScalarMappable(cmap=_COLOURS), cax=ax, ticks=[0, 1])
    bar.ax.set_yticklabels(["0", "1"], fontsize=8)
    bar.set_label("evidence", fontsize=8, labelpad=-4)


def evidence_over_time(curves: dict[str, np.ndarray], numbers=None, title: str = "", ylabel: str = "evidence") -> Picture:
    """When the evidence is there: one line for each explanation. Taught in notebook 04.

    Args:
        curves: label → (frames,), such as the mean of each frame's heat; eight at most.
        numbers: of the frames; None: counted from 0.
        title: above the picture.
        ylabel: what the curves measure.
    """
    figure = Figure(figsize=(WIDTH * 0.8, 2.6), dpi=DPI, facecolor="white", layout="constrained")
    ax = figure.subplots()
    for (label, curve), style in zip(curves.items(), LINE_STYLES, strict=False):
        ax.plot(range(len(curve)) if numbers is None else numbers, curve, label=label, markersize=5, **style)
    ax.set(xlabel="frame", ylabel=ylabel, ylim=(min(0, ax.get_ylim()[0]), None))
    ax.set_title(title, fontsize=10)
    ax.xaxis.get_major_locator().set_params(integer=True)
    tidy(ax)
    ax.legend(frameon=False, fontsize="small", loc="upper left", bbox_to_anchor=(1, 1))
    return Picture(figure, f"{title or 'evidence over time'}: a line each for {', '.join(curves)}")


def _checked(frames, heat) -> tuple[np.ndarray, np.ndarray]:
    frames, heat = np.asarray(frames), np.asarray(heat)
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[3] not in (1, 3) or heat.shape != frames.shape[:3]:
        raise ConfigError(
            f"Heat (frames, height, width) lies over frames uint8 (frames, height, width, 1 or 3) of the same size, but these are "
            f"{heat.shape} and {frames.dtype} {frames.shape}."
        )
    return frames, heat
