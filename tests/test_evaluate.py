"""What an evaluation reports, and that its predictions stay in step with the sequences they are about."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from dn3dlib.config import StorageConfig
from dn3dlib.data.manifest import DataSet
from dn3dlib.data.prepare import prepare
from dn3dlib.errors import ConfigError, DataError, RunError
from dn3dlib.evaluate.report import evaluate


def report_on(run_dir: Path, data_dir: Path | None = None, split: str = "test", **options) -> dict:
    return evaluate(run_dir, data_dir, split, device="cpu", show_progress=False, **options)


@pytest.fixture(scope="module")
def report(trained) -> dict:
    """The report on the test split: one subject, never seen in training."""
    return report_on(trained)


@pytest.fixture(scope="module")
def two_tested(prepared, tmp_path_factory) -> Path:
    """The same videos, split anew: now two subjects are tested."""
    path = Path(shutil.copytree(prepared, tmp_path_factory.mktemp("evaluate") / "data"))
    DataSet.open(path).split_by("by-subject:0.25,0.25,0.5", 1)
    return path


def test_the_report_holds_what_is_promised(report, prepared, trained):
    data = DataSet.open(prepared)
    assert report["classes"] == list(data.classes) and report["split"] == "test"
    assert (report["sequences"], report["subjects"]) == (12, 1)
    assert report["clips"] == 12 * 3, "sequences of 12 frames, clips of 4, a hop of 4"
    for name in ("clip_accuracy", "sequence_accuracy"):
        assert 0 <= report[name] <= 1
    assert report["sequence_accuracy_interval"] is None and report["warnings"] == []
    assert report["protocol"] == data.protocol
    assert json.loads((trained / "evaluation.json").read_text())[report["split"]]["classes"] == report["classes"]


def test_confusion_and_classes_follow_from_the_predictions(report, prepared):
    counts = np.zeros((6, 6), int)
    for row in report["predictions"]:
        counts[report["classes"].index(row["label"]), report["classes"].index(row["predicted"])] += 1
    assert report["confusion"] == counts.tolist() and counts.sum() == report["sequences"]
    assert report["sequence_accuracy"] == pytest.approx(np.trace(counts) / 12)
    for place, name in enumerate(report["classes"]):
        found = report["per_class"][name]
        assert found["sequences"] == counts[place].sum() == 2
        assert found["recall"] == pytest.approx(counts[place, place] / 2)
        column = counts[:, place].sum()
        assert found["precision"] == (pytest.approx(counts[place, place] / column) if column else None)


def test_predictions_carry_the_ids_of_their_sequences(report, prepared):
    stored = DataSet.open(prepared).of_split("test")
    assert [row["sequence"] for row in report["predictions"]] == [s.id for s in stored]
    for row, sequence in zip(report["predictions"], stored, strict=True):
        assert (row["label"], row["subject"]) == (sequence.label, sequence.subject)
        assert sum(row["probabilities"]) == pytest.approx(1, abs=1e-5)
        assert row["predicted"] == report["classes"][int(np.argmax(row["probabilities"]))]


def test_the_figures_of_validation_are_those_of_the_best_epoch(trained):
    from dn3dlib.train.runs import Run

    rows = Run.open(trained).history()
    best = max(rows, key=lambda row: (row["validation_sequence_accuracy"], -row["validation_loss"], -row["epoch"]))
    found = report_on(trained, split="validation")
    assert found["sequence_accuracy"] == pytest.approx(best["validation_sequence_accuracy"])
    assert found["clip_accuracy"] == pytest.approx(best["validation_clip_accuracy"])


def test_the_batch_size_does_not_change_the_result(trained, report):
    other = report_on(trained, batch_size=5)
    for one, two in zip(report["predictions"], other["predictions"], strict=True):
        assert one["probabilities"] == pytest.approx(two["probabilities"], abs=2e-6)  # they are rounded to 6 digits
    same = {name: value for name, value in report.items() if name != "predictions"}
    assert same == {name: other[name] for name in same}


def test_subjects_seen_in_training_are_named_and_several_have_an_interval(trained, two_tested):
    found = report_on(trained, two_tested)
    data = DataSet.open(two_tested)
    tested = {s.subject for s in data.of_split("test")}
    low, high = found["sequence_accuracy_interval"]
    assert found["subjects"] == 2 and 0 <= low <= found["sequence_accuracy"] <= high <= 1
    trained_on = set(json.loads((trained / "config.json").read_text())["data"]["train_subjects"])
    assert tested & trained_on, "the seed of this test was chosen so"
    (warning,) = found["warnings"]
    assert f"trained on {len(tested & trained_on)} of these subjects" in warning and min(tested & trained_on) in warning
    assert report_on(trained, two_tested, split="train")["warnings"] == []


def test_a_leaking_protocol_is_named(trained, prepared, tmp_path):
    copy = Path(shutil.copytree(prepared, tmp_path / "data"))
    DataSet.open(copy).split_by("random-leaky")
    assert any("leaks on purpose" in warning for warning in report_on(trained, copy)["warnings"])


def test_other_sizes_and_classes_are_refused(trained, catalog, tmp_path, tiny):
    fewer = catalog.only_classes(["boxing", "walking"])
    data = prepare(fewer, tmp_path / "classes", tiny.storage, 1, show_progress=False)
    with pytest.raises(RunError, match="knows the classes boxing, handclapping, .* has boxing, walking"):
        report_on(trained, data.path)
    size = StorageConfig(height=32, width=40, channels=3)
    data = prepare(fewer, tmp_path / "size", size, 1, show_progress=False)
    with pytest.raises(RunError, match="32×32×1 .* holds 32×40×3 .*--height 32 --width 32 --channels 1"):
        report_on(trained, data.path)


def test_what_is_not_there_is_refused(trained, prepared, tmp_path, tiny):
    with pytest.raises(RunError, match="There is no run at"):
        report_on(tmp_path / "none")
    with pytest.raises(DataError, match="no prepared data set"):
        report_on(trained, tmp_path / "none")
    with pytest.raises(ConfigError, match="no split 'tests'"):
        report_on(trained, split="tests")
    copy = Path(shutil.copytree(prepared, tmp_path / "data"))
    DataSet.open(copy).split_by("by-subject:1,0,0")
    with pytest.raises(DataError, match="split test of .* has no sequences"):
        report_on(trained, copy)
    run = Path(shutil.copytree(trained, tmp_path / "run"))
    (run / "best.keras").unlink()
    with pytest.raises(RunError, match="has no best.keras yet"):
        report_on(run)


def test_each_split_is_noted_beside_the_others(trained):
    evaluate(trained, split="validation", show_progress=False)
    evaluate(trained, split="test", show_progress=False)
    assert {"validation", "test"} <= set(json.loads((trained / "evaluation.json").read_text()))


def test_an_impossible_batch_size_is_refused(trained):
    with pytest.raises(ConfigError, match="batch-size is 0"):
        evaluate(trained, batch_size=0, show_progress=False)
