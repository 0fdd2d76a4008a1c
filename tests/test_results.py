"""Pictures of runs."""

from xml.etree import ElementTree

import matplotlib
import numpy as np
import pytest

matplotlib.use("Agg")

from matplotlib.figure import Figure  # noqa: E402

from dn3dlib.errors import ConfigError  # noqa: E402
from dn3dlib.show import results  # noqa: E402


def _drawn(ax) -> dict[str, list[float]]:
    return {line.get_label(): list(line.get_ydata()) for line in ax.get_lines()}


def test_confusion_matrix_shows_counts_and_shares_of_rows():
    report = {"classes": ["run", "walk"], "confusion": [[3, 1], [0, 0]], "split": "test"}
    figure = results.confusion_matrix(report).figure
    ax = figure.axes[0]
    assert [text.get_text() for text in ax.texts] == ["3", "1", "0", "0"]
    np.testing.assert_allclose(ax.images[0].get_array(), [[0.75, 0.25], [0, 0]])  # a class that is absent divides nothing
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("predicted class", "true class")
    assert [label.get_text() for label in ax.get_yticklabels()] == ["run", "walk"]


def test_many_classes_are_drawn_without_numbers():
    report = {"classes": [f"class {n}" for n in range(101)], "confusion": np.eye(101, dtype=int), "split": "test"}
    assert not results.confusion_matrix(report).figure.axes[0].texts


def test_vote_of_clips_puts_the_vote_last():
    picture = results.vote_of_clips([[0.9, 0.1], [0.3, 0.7]], [0.6, 0.4], ("run", "walk"))
    ax = picture.figure.axes[0]
    assert picture.alt.endswith("for each of 2 clips; the highest in their mean – run 0.60")
    assert [text.get_text() for text in ax.texts][-2:] == ["0.60", "0.40"]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["clip 1", "clip 2", "vote"]


def test_reliability_draws_the_bins_that_hold_something():
    bins = [
        {"low": 0.4, "high": 0.6, "count": 2, "confidence": 0.5, "accuracy": 1.0},
        {"low": 0.6, "high": 0.8, "count": 0, "confidence": None, "accuracy": None},
        {"low": 0.8, "high": 1.0, "count": 4, "confidence": 0.9, "accuracy": 0.75},
    ]
    picture = results.reliability({"calibration": bins, "expected_calibration_error": 0.2667, "split": "test"})
    ax, counts = picture.figure.axes
    line = next(line for line in ax.get_lines() if line.get_label() == "sequences")
    assert line.get_xydata().tolist() == [[0.5, 1.0], [0.9, 0.75]]
    assert [(bar.get_x(), bar.get_height()) for bar in counts.patches] == [(0.4, 2), (0.8, 4)]
    assert "0.267" in ax.get_title() and picture.png()[:4] == b"\x89PNG"


@pytest.mark.parametrize("video", [0.7, None])
def test_controls_stand_beside_the_real_frames(video):
    row = {"clip_accuracy": 0.5, "sequence_accuracy": 0.6, "video_accuracy": video}
    report = row | {"classes": ["a", "b", "c", "d"], "split": "test", "frame_order": "forward", "controls": {"shuffled": row | {"clip_accuracy": 0.25}}}
    ax = results.controls(report).figure.axes[0]
    heights = {bars.get_label(): [bar.get_height() for bar in bars] for bars in ax.containers}
    wanted = {"clips": [0.5, 0.25], "sequences": [0.6, 0.6]} | ({"videos": [0.7, 0.7]} if video else {})
    assert heights == wanted and _drawn(ax)["guessing"][0] == 0.25
    assert [label.get_text() for label in ax.get_xticklabels()] == ["forward", "shuffled"]


def test_learning_rate_is_the_schedules_own():
    figure = results.learning_rate(lambda step: step / 10, steps=5).figure
    np.testing.assert_allclose(figure.axes[0].get_lines()[0].get_ydata(), [0, 0.1, 0.2, 0.3, 0.4])


def test_learning_rate_of_a_long_training_is_sampled_to_its_end():
    line = results.learning_rate(lambda step: step, steps=100_000).figure.axes[0].get_lines()[0]
    assert len(line.get_xdata()) <= 400 and line.get_xdata()[-1] == 99_999


def test_channel_growth_reads_the_network():
    from dn3dlib import ModelConfig, build_model

    network = build_model(ModelConfig(growth_rate=4, depth=10, blocks=3), clip_shape=(4, 16, 16, 1), num_classes=2)
    line = results.channel_growth({"small": network}).figure.axes[0].get_lines()[0]
    assert list(line.get_ydata()) == [8, 12, 6, 10, 5, 9]  # stem, layer, transition, layer, transition, layer
    learned = sum(int(np.prod(variable.shape)) for variable in network.trainable_variables)
    assert line.get_label() == f"small: {learned:,} parameters"


def test_figures_leave_nothing_open_in_pyplot():
    assert isinstance(results.learning_rate(float, steps=5).figure, Figure)
    assert not results.plt.get_fignums()


def test_probabilities_of_classes_side_by_side():
    rows = {"the clip": np.array([0.1, 0.7, 0.2]), "frozen": np.array([0.6, 0.3, 0.1])}
    drawing = results.class_probabilities(rows, ["boxing", "running", "walking"], "running")
    assert drawing.alt == "probabilities of 3 classes; the highest – the clip: running 0.70; frozen: boxing 0.60"
    tree = ElementTree.fromstring(drawing.svg)
    bars = [tree.findall(f".//{{*}}rect[@class='row{row}']") for row in range(2)]
    lengths = np.array([[float(bar.get("width")) for bar in row] for row in bars])
    assert np.allclose(lengths / lengths.sum(axis=1, keepdims=True), list(rows.values()), atol=1e-3)
    heights = np.array([[float(bar.get("y")) for bar in row] for row in bars])
    assert (np.diff(heights, axis=0) > 0).all() and (np.diff(heights, axis=1) > 0).all(), "the first above the second, class by class"
    words = [text.text for text in tree.findall(".//{*}text")]
    assert {"boxing", "▶ running", "walking", "the clip", "frozen", "0.70", "0.60"} < set(words)
    assert len({bar.get("fill") for row in bars for bar in row}) == 2 == len(tree.findall(".//{*}pattern"))
    assert "▶" not in results.class_probabilities(rows, ["a", "b", "c"]).svg


@pytest.mark.parametrize("count", [0, 4])
def test_probabilities_that_cannot_be_told_apart_are_refused(count):
    with pytest.raises(ConfigError, match=f"{count} rows of probabilities cannot be drawn"):
        results.class_probabilities({str(n): [0.5, 0.5] for n in range(count)}, ["a", "b"])
