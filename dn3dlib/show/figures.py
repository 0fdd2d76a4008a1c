"""Pictures of data: frames, classes, lengths, splits, clips. They draw what they are given and compute no result.

`python -m dn3dlib.show.figures notebooks/images/actions.png` draws the README's picture of the synthetic actions.
"""

import io
import sys
from collections import Counter
from dataclasses import dataclass

import cv2
import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from dn3dlib.data.protocols import SPLITS
from dn3dlib.errors import ConfigError

# Okabe and Ito's colours, told apart by colour-blind readers, and a second sign for printing in grey.
STYLES = {
    "train": {"color": "#0072B2", "hatch": ""},
    "validation": {"color": "#E69F00", "hatch": "//"},
    "test": {"color": "#009E73", "hatch": ".."},
}
LINE, ACCENT, GREY = "#0072B2", "#D55E00", "#5A5A5A"
# Grey for their yellow, which white paper swallows; a marker and a line style say the same once more.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#7A7A7A")
LINE_STYLES = tuple({"color": c, "marker": m, "linestyle": s} for c, m, s in zip(COLOURS, "os^DvPX*", ("-", "--", "-.", ":") * 2, strict=True))
LIMIT = 3.0  # normalised values are shown from -LIMIT (black) to LIMIT (white)
DPI = 100  # pixels an inch
WIDTH = 9.1  # inches
LABEL, GAP = 128, 4  # pixels: room for a strip's label, between two frames
LARGEST = 130  # pixels: the width of a frame in a strip
MAX_NAMED, MAX_LETTERS = 30, 16  # subjects whose names fit below the chart; a video that is its own subject has a longer name


@dataclass(frozen=True)
class Picture:
    """A matplotlib figure that a notebook shows as PNG, with a sentence for who cannot see it."""

    figure: Figure
    alt: str
    colours: int = 32  # of the PNG, at most 256

    def png(self, small: bool = True) -> bytes:
        """The picture as a PNG file; a small one has few colours: the noise of video frames makes it large otherwise."""
        drawn, file = io.BytesIO(), io.BytesIO()
        self.figure.savefig(drawn, format="png", pil_kwargs={"compress_level": 1})  # quickly: nobody keeps this one
        if not small:
            return drawn.getvalue()
        few = Image.open(drawn).convert("RGB").quantize(self.colours, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
        few.save(file, "png", optimize=True)
        return file.getvalue()

    def file(self) -> tuple[str, bytes]:
        """Its format and its bytes, quickly made, for a widget."""
        return "png", self.png(small=False)

    def _repr_mimebundle_(self, include=None, exclude=None):
        return {"image/png": self.png(), "text/plain": f"<picture: {self.alt}>"}, {"image/png": {"alt": self.alt}}


def point_style(place: int) -> dict[str, str]:
    """Colour and marker of the points of a class in that place: 64 pairs, which all differ."""
    markers = [style["marker"] for style in LINE_STYLES]
    return {"color": COLOURS[place % 8], "marker": markers[(place + place // 8) % 8]}


def frame_strips(rows: dict[str, np.ndarray], numbers=None, title: str = "") -> Picture:
    """Frames side by side, one strip for each row. Taught in notebook 01.

    Args:
        rows: label → frames (frames, height, width, 1 or 3); uint8 as they are, float as normalised: grey is 0, black and
            white are -3 and 3 deviations.
        numbers: frame numbers above the frames of the first row.
        title: above the picture.

    Raises:
        ConfigError: no rows, or an array that is no row of frames.
    """
    rows = {label: _checked_frames(frames) for label, frames in rows.items()}
    if not rows:
        raise ConfigError("There are no frames to draw: give at least one row.")
    columns = max(len(frames) for frames in rows.values())
    margin = LABEL if any(rows) else GAP
    head = GAP + 22 * bool(title) + 18 * (numbers is not None)
    widest = int(WIDTH * DPI - margin) // columns - GAP
    strips = [np.stack([_displayable(frame, widest) for frame in frames]) for frames in rows.values()]
    height = head + sum(strip.shape[1] + GAP for strip in strips)
    alt = f"{title or 'frames'}: {len(rows)} strip{'s' * (len(rows) > 1)} of {columns} frames" + (f" ({', '.join(rows)})".replace("\n", " ") if any(rows) else "")
    width = margin + columns * (strips[0].shape[2] + GAP)
    figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI, facecolor="white")
    if title:
        figure.text(0.5, 1 - 4 / height, title, ha="center", va="top", fontsize=10)
    top = head
    for row, (label, strip) in enumerate(zip(rows, strips, strict=True)):
        middle = top + strip.shape[1] / 2
        figure.text((margin - 6) / width, 1 - middle / height, label, ha="right", va="center", fontsize=9)
        for place, frame in enumerate(strip):
            left = margin + place * (strip.shape[2] + GAP)
            figure.figimage(frame, left, height - top - strip.shape[1])
            if numbers is not None and row == 0 and place < len(numbers):
                center = (left + strip.shape[2] / 2) / width
                figure.text(center, 1 - (head - 4) / height, str(numbers[place]), ha="center", va="bottom", fontsize=8)
        top += strip.shape[1] + GAP
    return Picture(figure, alt)


def frame_strip(frames: np.ndarray, numbers=None, title: str = "") -> Picture:
    """One strip of frames, as `frame_strips` draws them, with their numbers above."""
    return frame_strips({"": frames}, numbers, title)


def class_balance(sequences) -> Picture:
    """How many sequences each class has, and in which split; rows of a catalog or of a prepared data set."""
    counts = Counter((s.label, s.split) for s in sequences)
    classes = sorted({s.label for s in sequences})
    figure, axis = _chart(0.9 + 0.32 * len(classes))
    left = np.zeros(len(classes))
    for split in _splits(sequences):
        widths = np.array([counts[label, split] for label in classes])
        axis.barh(classes, widths, left=left, label=split, edgecolor="white", **STYLES[split])
        left += widths
    axis.invert_yaxis()
    axis.set_xlabel("sequences")
    _finish(axis, legend=True)
    return Picture(figure, f"bars: sequences of {len(classes)} classes, by split")


def bar_chart(values: dict[str, int], quantity: str) -> Picture:
    """One bar for each entry, its number beside it; `quantity` says what is counted."""
    figure, axis = _chart(0.7 + 0.32 * len(values))
    bars = axis.barh(list(values), list(values.values()), color=LINE)
    axis.bar_label(bars, padding=4)
    axis.invert_yaxis()
    axis.set_xlabel(quantity)
    _finish(axis)
    return Picture(figure, f"bars, {quantity}: " + ", ".join(f"{name} {value}" for name, value in values.items()))


def timeline(ranges: dict[str, tuple[int, int]], title: str = "") -> Picture:
    """When each sequence of one video happens: name → (start, stop), in frames, a bar each. Taught in notebook 01."""
    figure, axis = _chart(0.8 + 0.28 * len(ranges))
    for row, (start, stop) in enumerate(ranges.values()):
        axis.barh(row, stop - start, left=start, color=LINE, edgecolor="white")
    axis.set_yticks(range(len(ranges)), list(ranges))
    axis.invert_yaxis()
    axis.set_xlim(left=0)
    axis.set_xlabel("frame of the video")
    axis.set_title(title, fontsize=11)
    _finish(axis)
    return Picture(figure, f"{title or 'timeline'}: " + ", ".join(f"{name} {a} to {b}" for name, (a, b) in ranges.items()))


def sequence_lengths(sequences, span: int) -> Picture:
    """How long the sequences of each class are, a dot each, beside the `span` of a clip in frames."""
    classes = sorted({s.label for s in sequences})
    figure, axis = _chart(0.9 + 0.32 * len(classes))
    for place, label in enumerate(classes):
        lengths = [s.frames for s in sequences if s.label == label]
        heights = place + np.linspace(-0.3, 0.3, len(lengths))  # side by side, so that equal lengths do not hide each other
        axis.plot(lengths, heights, ".", color=LINE, markersize=4, alpha=0.7)
    axis.axvline(span, color=ACCENT, linestyle="--", label=f"a clip spans {span} frames")
    axis.set_yticks(range(len(classes)), classes)
    axis.invert_yaxis()
    axis.set_xlim(left=0)
    axis.set_xlabel("frames of a sequence")
    _finish(axis, legend=True)
    return Picture(figure, f"dots: frames of {len(sequences)} sequences by class; a line at {span}")


def split_by_subject(sequences, title: str = "") -> Picture:
    """Subjects against splits: the number of sequences in each field. A subject with two fields leaks.

    Taught in notebook 01.
    """
    counts = Counter((s.subject, s.split) for s in sequences)
    subjects = sorted({s.subject for s in sequences})
    splits = _splits(sequences)
    several = sum(sum((subject, split) in counts for split in splits) > 1 for subject in subjects)
    alt = f"{title or 'split'}: {len(subjects)} subjects in {len(splits)} splits, {several} of them in more than one"
    named = len(subjects) <= MAX_NAMED and max(map(len, subjects)) <= MAX_LETTERS
    figure, axis = _chart(0.5 + 0.34 * len(splits) + 0.7 * named + 0.3 * bool(title))
    for (subject, split), count in counts.items():
        x, y = subjects.index(subject), splits.index(split)
        axis.bar(x, -1, 1, y + 0.5, edgecolor="white", **STYLES[split])
        if named:
            patch = {"facecolor": "white", "edgecolor": "none", "pad": 1.5}
            axis.text(x, y, count, ha="center", va="center", fontsize=8, bbox=patch)
    axis.set(xlim=(-0.5, len(subjects) - 0.5), ylim=(len(splits) - 0.5, -0.5))
    axis.set_yticks(range(len(splits)), splits)
    axis.set_xticks(range(len(subjects)) if named else [], subjects if named else [], rotation=60, ha="right", fontsize=8)
    axis.set_xlabel("" if named else f"{len(subjects)} subjects")
    axis.set_title(title, fontsize=11)
    _finish(axis)
    return Picture(figure, alt)


def clip_diagram(frames: np.ndarray, length: int, title: str = "") -> Picture:
    """Which frames of a sequence its clips take, a row for each clip. Taught in notebook 01.

    `frames` are frame numbers, int (clips, frames of a clip), as in `ClipPlan.frames`; `length` is the sequence's.
    """
    frames = np.asarray(frames)
    count = len(frames)
    figure, axis = _chart(1.1 + 0.24 * count)
    axis.axvspan(-0.5, length - 0.5, color="#F0F0F0", zorder=0)
    for row, numbers in enumerate(frames):
        axis.plot(numbers, np.full(len(numbers), row), color=LINE, linewidth=1, marker="os"[row % 2], markersize=4.5)
    if frames.shape[1] > 1:
        _measure(axis, "stride", frames[0, 0], frames[0, 1], -0.7)
    if count > 1:
        _measure(axis, "hop", frames[0, 0], frames[1, 0], count - 0.3)
        axis.plot([frames[1, 0]] * 2, [1, count - 0.3], color=ACCENT, linestyle=":", linewidth=1)
    axis.set(ylim=(count + 0.2, -1.2), xlim=(-1, length), ylabel="clip", xlabel="frame of the sequence")
    axis.set_yticks(range(count) if count <= 20 else [])
    axis.set_title(title, fontsize=11)
    _finish(axis)
    return Picture(figure, f"{title or 'clips'}: the frames that {count} clips take from a sequence of {length}")


def _measure(axis, name: str, first: int, second: int, height: float) -> None:
    """An arrow from one frame number to another, with its name and length."""
    arrow = {"arrowstyle": "<->", "color": ACCENT, "shrinkA": 0, "shrinkB": 0}
    axis.annotate("", (first, height), (second, height), arrowprops=arrow)
    axis.text(second + 0.4, height, f"{name} {second - first}", color=ACCENT, va="center", fontsize=9)


def pixel_values(values: dict[str, np.ndarray], quantity: str = "pixel values") -> Picture:
    """How often each value occurs, a panel for each entry: name → array of any shape; `quantity` says what they are."""
    figure, axes = _chart(1.9, len(values))
    for axis, (name, array) in zip(np.atleast_1d(axes), values.items(), strict=True):
        axis.hist(np.ravel(array), bins=50, color=LINE)
        axis.axvline(0, color=ACCENT, linestyle="--", linewidth=1)
        axis.set_title(name, fontsize=10)
        axis.set_yticks([])
        _finish(axis)
    return Picture(figure, f"histograms of {quantity}: {', '.join(values)}")


def action_gallery(columns: int = 6, step: int = 3) -> Picture:
    """The six actions of the synthetic set, `columns` frames of each, `step` frames apart."""
    from dn3dlib.data.acting import CLASSES, render_video

    rows = {label: render_video(label, 1 + place, 1 + place % 2, frames=columns * step) for place, label in enumerate(CLASSES)}
    return frame_strips({label: video[::step, ..., np.newaxis] for label, video in rows.items()})


def _chart(height: float, columns: int = 1):
    """A white figure of WIDTH by `height` inches, and its axes."""
    figure = Figure(figsize=(WIDTH, height), dpi=DPI, facecolor="white", layout="constrained")
    return figure, figure.subplots(1, columns)


def _splits(sequences) -> list[str]:
    return [split for split in SPLITS if any(s.split == split for s in sequences)]


def _checked_frames(frames) -> np.ndarray:
    frames = np.asarray(frames)
    if frames.ndim != 4 or frames.shape[3] not in (1, 3) or 0 in frames.shape or frames.dtype.kind not in "uf":
        raise ConfigError(
            f"A strip is made of frames (frames, height, width, 1 or 3), uint8 or float, but this is {frames.dtype} {frames.shape}."
        )
    return frames


def _displayable(frame: np.ndarray, widest: int) -> np.ndarray:
    """A frame as RGB uint8, in whole pixels enlarged or by area reduced to at most `widest` and LARGEST pixels."""
    if frame.dtype != np.uint8:
        frame = np.uint8(np.clip((frame + LIMIT) / (2 * LIMIT), 0, 1) * 255)
    frame = np.broadcast_to(frame, (*frame.shape[:2], 3))
    height, width = frame.shape[:2]
    widest = max(8, min(widest, LARGEST))
    if width > widest:
        return cv2.resize(frame, (widest, max(1, round(height * widest / width))), interpolation=cv2.INTER_AREA)
    return frame.repeat(widest // width, axis=0).repeat(widest // width, axis=1)


def tidy(ax, legend: bool = False) -> None:
    """A light grid behind the data, no frame above and to the right; `legend`: where something has a label, it is named."""
    ax.grid(color="#DDDDDD", linewidth=0.8)
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)
    if legend and ax.get_legend_handles_labels()[0]:
        ax.legend(frameon=False, fontsize="small")


def _finish(axis, legend: bool = False) -> None:
    axis.spines[["top", "right"]].set_visible(False)
    if legend:
        axis.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False, fontsize=9)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m dn3dlib.show.figures notebooks/images/actions.png")
    with open(sys.argv[1], "wb") as picture:
        picture.write(action_gallery().png())
