"""Pictures of what is wrong with videos."""

from contextlib import suppress
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from dn3dlib.data.video import iter_frames
from dn3dlib.errors import VideoError
from dn3dlib.show.figures import ACCENT, DPI, GAP, LINE, WIDTH, Picture

THUMBNAIL = (60, 80)  # pixels, height and width
THUMBNAILS = 3  # frames shown of a video


def scan_table(rows: list[dict], folder: Path) -> Picture:
    """What `scan_folder` found, a line for each video with the frames that can be decoded. Taught in notebook 01.

    Args:
        rows: of `scan_folder(folder)`.
        folder: where the videos lie.
    """
    height, width = THUMBNAIL
    line = height + 2 * GAP
    size = WIDTH * DPI, len(rows) * line
    figure = Figure(figsize=(size[0] / DPI, size[1] / DPI), dpi=DPI, facecolor="white")
    for number, row in enumerate(rows):
        bottom = size[1] - (number + 1) * line + GAP
        previews = _preview(Path(folder) / row["video"], max(1, (row["frames"] or 24) // THUMBNAILS))
        for place in range(THUMBNAILS):
            left = GAP + place * (width + GAP)
            if place < len(previews):
                figure.figimage(previews[place], left, bottom)
            else:
                corner, shape = (left / size[0], bottom / size[1]), (width / size[0], height / size[1])
                figure.add_artist(Rectangle(corner, *shape, transform=figure.transFigure, fill=False, hatch="xx", edgecolor="#BBBBBB"))
        text, middle = (THUMBNAILS * (width + GAP) + 3 * GAP) / size[0], (bottom + height / 2) / size[1]
        figure.text(text, middle, row["video"], va="bottom", fontsize=9, family="monospace")
        sign, color = ("✗ not used: ", ACCENT) if not row["usable"] else ("? look at it: ", "black") if row["reason"] else ("✓ sound", LINE)
        figure.text(text, middle, sign + row["reason"], va="top", fontsize=9, color=color)
    return Picture(figure, "; ".join(f"{row['video']}: {row['reason'] or 'sound'}" for row in rows))


def _preview(path: Path, every: int) -> list[np.ndarray]:
    """Each `every`-th frame of a video, as far as it can be decoded."""
    frames = []
    with suppress(VideoError):  # its reason stands beside it
        for number, frame in enumerate(iter_frames(path, height=THUMBNAIL[0], width=THUMBNAIL[1], fit="pad")):
            if number % every == 0:
                frames.append(frame)
            if len(frames) == THUMBNAILS:
                break
    return frames
