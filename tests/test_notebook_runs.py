"""The notebooks as papermill runs them: with small parameters, and with mistyped ones."""

import json

import pytest
from executed import outputs_of, printed

from dn3dlib.data.examples import make_examples
from dn3dlib.data.manifest import DataSet
from dn3dlib.train.runs import Run


def test_both_notebooks_in_order_on_a_folder_of_ones_own(papermill, source, tmp_path):
    """The synthetic videos serve as anybody's class folders: each video is a sequence and its own subject."""
    done = papermill("01_prepare_data", dataset="folder", source_dir=source)
    assert done.returncode == 0, done.stderr[-3000:]
    data_dir = tmp_path / "data" / "folder-quick"
    data = DataSet.open(data_dir)
    assert len(data.sequences) == 24 and {s.frames for s in data.sequences} == {24}
    assert data.dataset == "folder" and data.protocol == "by-subject" and data.storage.frame_shape == (64, 64, 1)
    assert "{'sequences': 24, 'frames': 576}" in printed(tmp_path / "01_prepare_data.ipynb")
    before = {path: path.stat().st_mtime_ns for path in data_dir.iterdir()}

    done = papermill("02_train", dataset="folder", source_dir=source, epochs=2, batch_size=4, device="cpu")
    assert done.returncode == 0, done.stderr[-3000:]
    assert {path: path.stat().st_mtime_ns for path in data_dir.iterdir()} == before, "what notebook 01 prepared is taken"
    run_dir = tmp_path / "runs" / "folder-quick-epochs2-batch_size4-001"
    run, rows = Run.open(run_dir), Run.open(run_dir).history()
    assert [row["epoch"] for row in rows] == [1, 2] and (run.train.epochs, run.train.batch_size) == (2, 4)
    assert all(0 <= row["validation_sequence_accuracy"] <= 1 and 0 < row["train_loss"] < 10 for row in rows)
    report = json.loads((run_dir / "evaluation.json").read_text())["test"]
    assert report["split"] == "test" and 0 <= report["sequence_accuracy"] <= 1
    assert sum(map(sum, report["confusion"])) == report["sequences"] == len(data.of_split("test")) > 0
    assert (run_dir / "best.keras").is_file()
    assert set(report["controls"]) == {"shuffled", "reversed", "frozen"} and report["test_uses"] == 1
    accuracies = ("clip_accuracy", "sequence_accuracy", "video_accuracy")
    assert all(0 <= row[name] <= 1 for row in (report, *report["controls"].values()) for name in accuracies)
    executed = tmp_path / "02_train.ipynb"
    assert f"accuracy: clips {report['clip_accuracy']:.2f}" in printed(executed)
    shown = ["".join(output["data"]["text/html"]) for output in outputs_of(executed) if "text/html" in output.get("data", {})]
    checks, runs = [text for text in shown if text.startswith("<table>")]
    (board,) = [text for text in shown if "<svg" in text]
    assert "<b>Finished</b>" in board and "the shipped network" in board
    assert all(text.count("<progress") == 1 for text in shown if text not in (checks, runs, board)), "bars, an output each"
    assert checks.count("passed") + checks.count("FAILED") == 7 and "one batch" in checks
    assert run_dir.name in runs and str(tmp_path) not in runs, "a run is named as seen from its folder"


def test_notebook_01_on_merl_whose_last_instance_ends_after_its_video(papermill, tmp_path):
    done = papermill("01_prepare_data", dataset="merl", source_dir=make_examples(tmp_path / "examples") / "merl")
    assert done.returncode == 0, done.stderr[-3000:]
    assert len(DataSet.open(tmp_path / "data" / "merl-quick").sequences) == 12
    assert "shortened       2" in printed(tmp_path / "01_prepare_data.ipynb")


@pytest.mark.parametrize(
    ("name", "parameter", "value", "sentence"),
    [
        ("02_train", "epoch", 5, "This notebook has no parameter 'epoch': did you mean epochs?"),
        ("02_train", "epochs", "five", "The parameter epochs is 'five', but must be "),
        ("01_prepare_data", "data_set", "kth", "This notebook has no parameter 'data_set': did you mean "),
    ],
)
def test_a_mistyped_parameter_fails_with_the_sentence(papermill, tmp_path, name, parameter, value, sentence):
    done = papermill(name, **{parameter: value})
    assert done.returncode != 0 and sentence in done.stderr
    assert not (tmp_path / "data").exists() and not (tmp_path / "runs").exists(), "before anything is made"
