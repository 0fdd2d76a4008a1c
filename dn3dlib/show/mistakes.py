"""The clips behind the figures of an evaluation: those of one cell of the confusion matrix, and the most certain mistakes."""

import numpy as np
from IPython.display import HTML
from matplotlib.figure import Figure

from dn3dlib.config import nearest
from dn3dlib.data.manifest import DataSet
from dn3dlib.data.records import FrameReader
from dn3dlib.errors import ConfigError
from dn3dlib.show.figures import DPI, WIDTH, Picture, frame_strips
from dn3dlib.show.players import play

FRAMES = 10  # of each sequence in a strip
MOST = 5  # sequences in one picture


def sequence_frames(data: DataSet, sequence: str) -> np.ndarray:
    """All frames of a prepared sequence, uint8 (frames, height, width, channels).

    Args:
        data: the data set that was evaluated.
        sequence: its id, as a report's `predictions` name it.

    Raises:
        ConfigError: the data set holds no such sequence.
    """
    stored = {s.id: s for s in data.sequences}
    if sequence not in stored:
        raise ConfigError(f"There is no sequence {sequence!r} in {data.path}: {nearest(sequence, stored)}")
    return FrameReader(data).decoded(stored[sequence])


def sequence_strips(data: DataSet, rows: list[dict], title: str = "") -> Picture:
    """Frames spread evenly over each sequence, a strip each, beside what it shows and what was answered. Taught in notebook 05.

    Args:
        data: the data set that was evaluated.
        rows: of a report's `predictions`, the first MOST of them are drawn; none gives a picture that says so.
        title: above the picture.

    Raises:
        ConfigError: a row's sequence is not in the data set.
    """
    if not rows:
        figure = Figure(figsize=(WIDTH, 0.6), dpi=DPI, facecolor="white")
        figure.text(0.5, 0.5, f"{title}: no sequence" if title else "no sequence", ha="center", va="center")
        return Picture(figure, f"{title or 'an empty picture'}: no sequence is here")
    strips = {}
    for row in rows[:MOST]:
        frames = sequence_frames(data, row["sequence"])
        strips[_words(row)] = frames[np.linspace(0, len(frames) - 1, FRAMES).round().astype(int)]
    return frame_strips(strips, title=title)


def cell_strips(data: DataSet, report: dict, true: str, predicted: str) -> Picture:
    """The sequences in one cell of the confusion matrix, the most certain first. Taught in notebook 05.

    Args:
        data: the data set that was evaluated.
        report: of `evaluate.report.evaluate`.
        true, predicted: the names of the cell's row and column.

    Raises:
        ConfigError: a name that is no class.
    """
    for name in (true, predicted):
        if name not in report["classes"]:
            raise ConfigError(f"There is no class {name!r}: {nearest(name, report['classes'])}")
    rows = cell_rows(report, true, predicted)
    return sequence_strips(data, rows, f"{true} → {predicted}: {min(MOST, len(rows))} of {len(rows)} sequences" if rows else f"{true} → {predicted}")


def cell_rows(report: dict, true: str, predicted: str) -> list[dict]:
    """The rows of a report's `predictions` in one cell of its confusion matrix, the most certain first. Taught in notebook 05."""
    rows = [row for row in report["predictions"] if (row["label"], row["predicted"]) == (true, predicted)]
    return sorted(rows, key=lambda row: -max(row["probabilities"]))


def beside_right_ones(data: DataSet, report: dict, row: dict) -> HTML:
    """A sequence at half speed, in step with right examples of what it is and of what it was taken for. Taught in notebook 05.

    Args:
        data: the data set that was evaluated.
        report: of `evaluate.report.evaluate`.
        row: of its `predictions`; a class of which nothing is right has no example.
    """
    wrong = row["label"] != row["predicted"]
    films = {f"{row['label']}, taken for {row['predicted']}" if wrong else row["label"]: row}
    for label in dict.fromkeys((row["label"], row["predicted"])):
        right = [other for other in report["predictions"] if other["label"] == other["predicted"] == label and other != row]
        films |= {f"{label}, rightly named": other for other in right[:1]}
    return play({words: sequence_frames(data, shown["sequence"]) for words, shown in films.items()}, fps=12.5)


def fullest_mistake(report: dict) -> tuple[str, str]:
    """True and predicted class of the fullest cell beside the diagonal of a report's confusion matrix; of equal ones the first."""
    counts = np.array(report["confusion"])
    np.fill_diagonal(counts, -1)
    true, predicted = np.unravel_index(counts.argmax(), counts.shape)
    return report["classes"][true], report["classes"][predicted]


def _words(row: dict) -> str:
    """What stands beside a strip: which sequence, what it shows, what was answered and with which probability."""
    name = row["sequence"].replace(f"_{row['label']}_", " ")  # KTH's names repeat the class
    answer = f"→ {row['predicted']}" if row["predicted"] != row["label"] else "right"
    return f"{name}\n{row['label']}\n{answer} {max(row['probabilities']):.2f}"
