"""Pictures of an evaluation read back: the clips behind its figures, intervals, views, controls by class; the exercises of notebook 05."""

import numpy as np
import pytest
from joggers import taken_for_runners
from matplotlib.colors import to_hex

from dn3dlib.data.manifest import DataSet
from dn3dlib.data.records import FrameReader
from dn3dlib.errors import ConfigError
from dn3dlib.show import mistakes
from dn3dlib.show.evaluations import accuracy_by_views, intervals, recall_by_control
from dn3dlib.show.exercises_05 import EXERCISES


@pytest.fixture(scope="module")
def data(prepared) -> DataSet:
    return DataSet.open(prepared)


@pytest.fixture(scope="module")
def report(data) -> dict:
    return taken_for_runners(data)


@pytest.fixture
def drawn(monkeypatch) -> list:
    """What is handed on to be drawn as strips."""
    calls = []
    real = mistakes.frame_strips
    monkeypatch.setattr(mistakes, "frame_strips", lambda rows, **more: calls.append(rows | more) or real(rows, **more))
    return calls


def test_a_strip_spreads_over_its_own_sequence_and_says_what_was_answered(data, report, drawn):
    row = next(row for row in report["predictions"] if row["label"] == "jogging")
    mistakes.sequence_strips(data, [row], "one")
    ((words, frames), (_, title)) = drawn[0].items()
    stored = next(s for s in data.sequences if s.id == row["sequence"])
    whole = FrameReader(data).decoded(stored)
    assert len(frames) == mistakes.FRAMES and np.array_equal(frames[[0, -1]], whole[[0, -1]]) and title == "one"
    assert words.splitlines() == [row["sequence"].replace("_jogging_", " "), "jogging", f"→ running {max(row['probabilities']):.2f}"]


def test_a_cell_shows_its_sequences_and_no_others_the_most_certain_first(data, report, drawn):
    picture = mistakes.cell_strips(data, report, "jogging", "running")
    words = [text for text in drawn[0] if text != "title"]
    assert len(words) == mistakes.MOST and drawn[0]["title"] == "jogging → running: 5 of 8 sequences"
    shares = [float(text.split()[-1]) for text in words]
    assert shares == sorted(shares, reverse=True) and all("jogging\n→ running" in text for text in words)
    assert "jogging → running" in picture.alt
    mistakes.cell_strips(data, report, "boxing", "boxing")
    assert all("boxing\nright" in text for text in drawn[1] if text != "title")


def test_an_empty_cell_and_a_perfect_report_say_so(data, report, drawn):
    assert "no sequence" in mistakes.cell_strips(data, report, "boxing", "walking").alt
    assert "no sequence" in mistakes.sequence_strips(data, []).alt and not drawn


def test_unknown_names_are_refused_with_the_nearest(data, report):
    with pytest.raises(ConfigError, match="no class 'joging': did you mean jogging"):
        mistakes.cell_strips(data, report, "joging", "running")
    with pytest.raises(ConfigError, match="no sequence 'nobody'"):
        mistakes.sequence_frames(data, "nobody")


def test_intervals_are_drawn_where_they_lie():
    rows = {"by person": {"test": (0.75, None), "new": (0.8, (0.7, 0.9))}, "by sequence": {"test": (1.0, (0.95, 1.0)), "new": (0.6, (0.5, 0.65))}}
    picture = intervals(rows, "which split", guessing=0.25)
    ax = picture.figure.axes[0]
    points = [container.lines[0].get_xdata()[0] for container in ax.containers]
    spans = [tuple(container.lines[2][0].get_segments()[0][:, 0]) for container in ax.containers]
    assert points == [0.75, 0.8, 1.0, 0.6]
    assert np.allclose(spans, [(0.75, 0.75), (0.7, 0.9), (0.95, 1.0), (0.5, 0.65)])
    assert [tick.get_text() for tick in ax.get_yticklabels()] == list(rows)
    (legend,) = picture.figure.legends
    assert {text.get_text() for text in legend.texts} == {"test", "new", "guessing"}
    assert [list(line.get_xdata()) for line in ax.lines if line.get_label() == "guessing"] == [[0.25, 0.25]]
    colours = [to_hex(container.lines[0].get_color()) for container in ax.containers]
    assert colours[0] == colours[2] != colours[1] == colours[3]


@pytest.mark.parametrize("rows", [{}, {"one": dict.fromkeys("abcdefghi", (0.5, None))}])
def test_intervals_that_cannot_be_told_apart_are_refused(rows):
    with pytest.raises(ConfigError, match="cannot be drawn"):
        intervals(rows)


def test_accuracy_by_views_draws_each_line():
    picture = accuracy_by_views([1, 2, 4], {"clips": [0.5, 0.5, 0.6], "sequences": [0.5, 0.7, 0.8]})
    lines = {line.get_label(): (list(line.get_xdata()), list(line.get_ydata())) for line in picture.figure.axes[0].lines}
    assert lines == {"clips": ([1, 2, 4], [0.5, 0.5, 0.6]), "sequences": ([1, 2, 4], [0.5, 0.7, 0.8])}


def test_recall_by_control_puts_real_frames_first_and_leaves_absent_classes_empty():
    report = {
        "classes": ["a", "b"], "frame_order": "forward", "split": "test",
        "per_class": {"a": {"recall": 0.9}, "b": {"recall": None}},
        "controls": {"frozen": {"recall": {"a": 0.25, "b": None}}},
    }  # fmt: skip
    ax = recall_by_control(report).figure.axes[0]
    shares = np.ma.filled(ax.images[0].get_array().astype(float), np.nan)
    assert np.array_equal(shares, [[0.9, np.nan], [0.25, np.nan]], equal_nan=True)
    assert [text.get_text() for text in ax.texts] == ["0.90", "0.25"]
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["forward", "frozen"]


# --- the exercises ---------------------------------------------------------------------------------------------------


def _balanced(confusion):
    rows = [(row[place], sum(row)) for place, row in enumerate(confusion) if sum(row)]
    return sum(right / count for right, count in rows) / len(rows)


def _accuracy(confusion):
    return np.trace(confusion) / np.sum(confusion)


def _gaps(probabilities, labels, least):
    found = {}
    for row, label in zip(probabilities, labels, strict=True):
        found.setdefault(int(np.ceil(max(row) * 15)), []).append((max(row), row.index(max(row)) == label))
    return [abs(np.mean([c for c, _ in rows]) - np.mean([r for _, r in rows])) for rows in found.values() if len(rows) >= least]


def _difference(first, second, labels, subjects):
    """Draw by draw, one balanced accuracy after the other."""
    people = sorted(set(subjects))
    differences = []
    for drawn in np.random.default_rng(0).integers(0, len(people), (1000, len(people))):
        rows = [n for place in drawn for n in range(len(subjects)) if subjects[n] == people[place]]
        seen = {labels[n] for n in rows}
        one, other = (np.mean([np.mean([right[n] for n in rows if labels[n] == name]) for name in seen]) for right in (first, second))
        differences.append(one - other)
    return np.percentile(differences, (2.5, 97.5))


def _two_intervals(first, second, labels, subjects):
    """Each network's interval by itself, and then the ends subtracted."""
    nothing = [0] * len(labels)
    return _difference(first, nothing, labels, subjects) - _difference(second, nothing, labels, subjects)


RIGHT = {"balanced_accuracy": _balanced, "worst_gap": lambda *given: max(_gaps(*given), default=0), "difference_interval": _difference}
WRONG = {"balanced_accuracy": _accuracy, "worst_gap": lambda *given: np.mean(_gaps(*given) or [0]), "difference_interval": _two_intervals}


@pytest.mark.parametrize("name", EXERCISES)
def test_the_exercises_know_right_from_wrong_and_wait(name, capsys):
    assert EXERCISES[name].check(RIGHT[name]) and "right" in capsys.readouterr().out
    assert not EXERCISES[name].check(WRONG[name]) and "largest difference" in capsys.readouterr().out
    assert not EXERCISES[name].check(...) and "not yet" in capsys.readouterr().out
    assert 2 <= len(EXERCISES[name].hints) <= 3
