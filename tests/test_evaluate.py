"""What an evaluation reports, which clips it computes, and that every look at the data is noted."""

import errno
import json
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from dn3dlib.config import StorageConfig
from dn3dlib.data.clips import plan_evaluation
from dn3dlib.data.manifest import DataSet
from dn3dlib.data.prepare import prepare
from dn3dlib.errors import ConfigError, DataError, RunError
from dn3dlib.evaluate import report as report_module
from dn3dlib.evaluate.report import evaluate
from dn3dlib.evaluate.uses import read_uses
from dn3dlib.train.runs import Run


def report_on(run_dir: Path, data_dir: Path | None = None, split: str = "test", **options) -> dict:
    return evaluate(run_dir, data_dir, split, device="cpu", show_progress=False, **options)


@pytest.fixture
def run(trained, tmp_path) -> Path:
    """A copy of the finished run, that nobody has evaluated."""
    return Path(shutil.copytree(trained, tmp_path / "run", ignore=shutil.ignore_patterns("evaluation.json", "uses.json")))


@pytest.fixture(scope="module")
def report(trained, tmp_path_factory) -> dict:
    """The first report on the test split: one subject, never seen in training."""
    return report_on(Path(shutil.copytree(trained, tmp_path_factory.mktemp("first") / "run")))


@pytest.fixture(scope="module")
def two_tested(prepared, tmp_path_factory) -> Path:
    """The same videos, split anew: now two subjects are tested."""
    path = Path(shutil.copytree(prepared, tmp_path_factory.mktemp("evaluate") / "data"))
    DataSet.open(path).split_by("by-subject:0.25,0.25,0.5", 1)
    return path


def test_the_report_holds_what_is_promised(report, prepared):
    data = DataSet.open(prepared)
    assert report["classes"] == list(data.classes) and report["split"] == "test"
    assert (report["sequences"], report["subjects"]) == (12, 1)
    assert report["clips"] == 12 * 3, "sequences of 12 frames, clips of 4, a hop of 4"
    for name in ("clip_accuracy", "sequence_accuracy"):
        assert 0 <= report[name] <= 1
    assert report["sequence_accuracy_interval"] is None and report["warnings"] == []
    assert report["protocol"] == data.protocol
    assert (report["views"], report["hop"], report["frame_order"], report["controls"]) == (None, 4, "forward", {})
    assert (report["videos"], report["test_uses"]) == (6, 1), "two sequences a video"


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


def test_the_figures_of_validation_are_those_of_the_best_epoch(run):
    rows = Run.open(run).history()
    best = max(rows, key=lambda row: (row["validation_sequence_accuracy"], -row["validation_loss"], -row["epoch"]))
    found = report_on(run, split="validation")
    assert found["sequence_accuracy"] == pytest.approx(best["validation_sequence_accuracy"])
    assert found["clip_accuracy"] == pytest.approx(best["validation_clip_accuracy"])


def test_the_batch_size_does_not_change_the_result(run, report):
    other = report_on(run, batch_size=5)
    for one, two in zip(report["predictions"], other["predictions"], strict=True):
        assert one["probabilities"] == pytest.approx(two["probabilities"], abs=2e-6)  # they are rounded to 6 digits
    assert report["expected_calibration_error"] == pytest.approx(other["expected_calibration_error"], abs=1e-5)
    same = {name: value for name, value in report.items() if name not in ("predictions", "calibration", "expected_calibration_error")}
    assert same == {name: other[name] for name in same}


def test_subjects_seen_in_training_are_named_and_several_have_an_interval(run, two_tested):
    found = report_on(run, two_tested)
    data = DataSet.open(two_tested)
    tested = {s.subject for s in data.of_split("test")}
    low, high = found["sequence_accuracy_interval"]
    assert found["subjects"] == 2 and 0 <= low <= found["sequence_accuracy"] <= high <= 1
    trained_on = set(json.loads((run / "config.json").read_text())["data"]["train_subjects"])
    assert tested & trained_on, "the seed of this test was chosen so"
    (warning,) = found["warnings"]
    assert f"trained on {len(tested & trained_on)} of these subjects" in warning and min(tested & trained_on) in warning
    assert report_on(run, two_tested, split="train")["warnings"] == []


def test_a_leaking_protocol_is_named(run, prepared, tmp_path):
    copy = Path(shutil.copytree(prepared, tmp_path / "data"))
    DataSet.open(copy).split_by("random-leaky")
    assert any("leaks on purpose" in warning for warning in report_on(run, copy)["warnings"])


def test_other_sizes_and_classes_are_refused(run, catalog, tmp_path, tiny):
    fewer = catalog.only_classes(["boxing", "walking"])
    data = prepare(fewer, tmp_path / "classes", tiny.storage, 1, show_progress=False)
    with pytest.raises(RunError, match="knows the classes boxing, handclapping, .* has boxing, walking"):
        report_on(run, data.path)
    size = StorageConfig(height=32, width=40, channels=3)
    data = prepare(fewer, tmp_path / "size", size, 1, show_progress=False)
    with pytest.raises(RunError, match="32×32×1 .* holds 32×40×3 .*--height 32 --width 32 --channels 1"):
        report_on(run, data.path)


def test_what_is_not_there_is_refused(run, prepared, tmp_path, tiny):
    with pytest.raises(RunError, match="There is no run at"):
        report_on(tmp_path / "none")
    with pytest.raises(DataError, match="no prepared data set"):
        report_on(run, tmp_path / "none")
    with pytest.raises(ConfigError, match="no split 'tests'"):
        report_on(run, split="tests")
    copy = Path(shutil.copytree(prepared, tmp_path / "data"))
    DataSet.open(copy).split_by("by-subject:1,0,0")
    with pytest.raises(DataError, match="split test of .* has no sequences"):
        report_on(run, copy)
    (run / "best.keras").unlink()
    with pytest.raises(RunError, match="has no best.keras yet"):
        report_on(run)


def test_f1_means_and_calibration_follow_from_the_predictions(report):
    rows = list(report["per_class"].values())
    assert report["balanced_accuracy"] == pytest.approx(np.mean([row["recall"] for row in rows])), "each class is tested"
    for row in rows:
        both = (row["precision"] or 0) + row["recall"]
        assert row["f1"] == pytest.approx(2 * (row["precision"] or 0) * row["recall"] / both if both else 0)
    assert report["macro_f1"] == pytest.approx(np.mean([row["f1"] for row in rows]))
    sure = [max(row["probabilities"]) for row in report["predictions"]]
    full = [row for row in report["calibration"] if row["count"]]
    assert sum(row["count"] for row in full) == 12
    assert sum(row["count"] * row["confidence"] for row in full) == pytest.approx(sum(sure), abs=1e-4)
    error = sum(row["count"] * abs(row["confidence"] - row["accuracy"]) for row in full) / 12
    assert report["expected_calibration_error"] == pytest.approx(error)


def test_mistakes_are_the_wrong_sequences_the_most_certain_first(report):
    rows = report["predictions"]
    wrong = [place for place, row in enumerate(rows) if row["label"] != row["predicted"]]
    assert len(wrong) > 2, "two epochs are not enough to be always right"
    assert report["mistakes"] == sorted(wrong, key=lambda place: -max(rows[place]["probabilities"]))


def test_all_sequences_of_a_video_vote_together(report):
    votes, truth = {}, {}
    for row in report["predictions"]:  # as many clips in each sequence: the mean over sequences is that over clips
        votes.setdefault(row["video"], []).append(row["probabilities"])
        truth[row["video"]] = report["classes"].index(row["label"])
    right = [np.mean(rows, axis=0).argmax() == truth[video] for video, rows in votes.items()]
    assert len(right) == 6 and report["video_accuracy"] == pytest.approx(np.mean(right))


def test_video_accuracy_where_videos_hold_one_sequence_or_several_classes(run, prepared, monkeypatch):
    opened = DataSet.open(prepared)

    def with_videos(name):
        sequences = tuple(report_module.replace(s, video=name(s)) for s in opened.sequences)
        monkeypatch.setattr(DataSet, "open", lambda path: report_module.replace(opened, sequences=sequences))
        return report_on(run)

    found = with_videos(lambda s: s.id)
    assert found["video_accuracy"] == found["sequence_accuracy"] and found["videos"] == 12
    found = with_videos(lambda s: s.subject)
    assert found["video_accuracy"] is None and found["videos"] == 1


# --- views, hop, controls --------------------------------------------------------------------------------------------


@pytest.fixture
def computed(monkeypatch) -> list[np.ndarray]:
    """The clips that go through the network while a test runs, a float32 array for each."""
    clips, make = [], report_module.make_predict_step

    def counting(*arguments):
        step = make(*arguments)

        def count(batch):
            clips.extend(batch.numpy())
            return step(batch)

        return count

    monkeypatch.setattr(report_module, "make_predict_step", counting)
    return clips


@pytest.mark.parametrize(("options", "clips"), [({"views": 1}, 12), ({"views": 2}, 24), ({"hop": 1}, 12 * 9), ({"hop": 3}, 12 * 4)])
def test_views_and_hop_say_how_many_clips(run, computed, options, clips):
    found = report_on(run, **options)
    assert found["clips"] == len(computed) == clips and found["sequences"] == 12
    assert (found["views"], found["hop"]) == (options.get("views"), options.get("hop"))


def test_as_many_views_as_the_hop_gives_are_the_same_clips(run, report):
    found = report_on(run, views=3)  # starts 0, 4 and 8 of 12 frames
    for one, two in zip(report["predictions"], found["predictions"], strict=True):
        assert one["probabilities"] == pytest.approx(two["probabilities"], abs=2e-6)


CONTROLS = ("shuffled", "reversed", "frozen")


def test_each_clip_is_computed_once_however_many_controls_share_it(run, prepared, computed, report):
    found = report_on(run, controls=CONTROLS, hop=1)
    setup, data = Run.open(run), DataSet.open(prepared)
    wanted = set()
    for order in ("forward", *CONTROLS):
        clip = report_module.replace(setup.clip, hop=1, frame_order=order)
        plan = plan_evaluation(data, clip, "test", setup.train.seed)
        wanted |= {(place, *frames) for place, frames in zip(plan.sequence.tolist(), plan.frames.tolist(), strict=True)}
    assert len(computed) == len(wanted) < 4 * found["clips"], "some shuffled clips are in order by chance"
    assert len({clip.tobytes() for clip in computed}) == len(computed)


def test_one_frame_has_no_order(prepared, tmp_path, tiny, computed):
    """Clips of one frame: all controls are the real clips, and nothing is computed twice."""
    from dn3dlib.train.loop import train

    still = report_module.replace(tiny.clip, frames=1, hop=1, extra_stride=0)
    train(prepared, tmp_path / "run", still, tiny.model, report_module.replace(tiny.train, epochs=1), device="cpu", show_progress=False)
    found = report_on(tmp_path / "run", controls=CONTROLS)
    assert len(computed) == found["clips"] == 12 * 12
    own = {name: found[name] for name in ("clip_accuracy", "sequence_accuracy", "video_accuracy")}
    own["recall"] = {name: row["recall"] for name, row in found["per_class"].items()}
    assert found["controls"] == dict.fromkeys(CONTROLS, own)


def test_figures_do_not_hang_on_what_else_is_asked(run, monkeypatch):
    """With a network that sees every change in a clip: two short epochs have hardly taught the real one to."""
    import tensorflow as tf

    sees_all = tf.random.stateless_normal((4 * 32 * 32, 6), seed=(1, 2))
    monkeypatch.setattr(report_module, "make_predict_step", lambda *_: lambda clips: tf.reshape(clips, (len(clips), -1)) @ sees_all)
    only, every = report_on(run), report_on(run, controls=CONTROLS)
    for one, two in zip(only["predictions"], every["predictions"], strict=True):
        assert one["probabilities"] == pytest.approx(two["probabilities"], abs=2e-6)
    assert every["confusion"] == only["confusion"]
    assert len({row["clip_accuracy"] for row in (every, *every["controls"].values())}) > 2, "the orders do differ"
    config = json.loads((run / "config.json").read_text())
    for order in CONTROLS:
        alone = report_on(run, controls=(order,))["controls"]
        assert alone == {order: every["controls"][order]}
        config["clip"]["frame_order"] = order  # the same by another way: a run whose own clips are so
        (run / "config.json").write_text(json.dumps(config))
        other = report_on(run)
        recall = {name: row["recall"] for name, row in other["per_class"].items()}
        assert {**other, "recall": recall}.items() >= alone[order].items() and other["frame_order"] == order
        config["clip"]["frame_order"] = "forward"
        (run / "config.json").write_text(json.dumps(config))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"views": 2, "hop": 2}, "--views and --hop both"),
        ({"views": 0}, "--views is 0, but must be 1 or more"),
        ({"hop": 0}, "clip.hop is 0, but must be from 1 to 4"),
        ({"hop": 5}, "clip.hop is 5, but must be from 1 to 4"),
        ({"controls": ("reverse",)}, "There is no control 'reverse': did you mean reversed?"),
    ],
)
def test_clips_that_cannot_be_asked_for_are_refused(run, options, said):
    with pytest.raises(ConfigError, match=said):
        report_on(run, **options)
    assert not (run / "uses.json").exists()


# --- looks at the data -----------------------------------------------------------------------------------------------


def test_every_look_is_noted_and_from_the_second_on_it_is_said(run, prepared, two_tested):
    first = report_on(run)
    assert first["test_uses"] == 1 and first["warnings"] == []
    assert report_on(run, split="validation")["test_uses"] == report_on(run, split="train")["test_uses"] == 1
    second = report_on(run, views=1, controls=("frozen",))
    assert second["test_uses"] == 2
    assert second["warnings"] == ["The test part has been looked at 2 times with this run: a figure chosen among them is too high."]
    assert report_on(run, two_tested)["test_uses"] == 1, "another test part"
    uses = read_uses(run)
    assert [use["split"] for use in uses] == ["test", "validation", "test", "test"], "train is no look"
    assert uses[2].items() >= {"views": 1, "hop": None, "protocol": second["protocol"], "controls": second["controls"]}.items()
    assert uses[2]["sequence_accuracy"] == second["sequence_accuracy"] and uses[0]["data"] == str(prepared.resolve())
    assert uses[0]["fingerprint"] == DataSet.open(prepared).fingerprint != uses[3]["fingerprint"]
    assert uses[0]["time"] <= uses[3]["time"] and uses[0]["time"].endswith("+00:00")
    assert json.loads((run / "evaluation.json").read_text())["test"]["test_uses"] == 1, "the newest report of the split"


_LOOK_OFTEN = """
import sys
from dn3dlib.evaluate.uses import note_use
for number in range(20):
    note_use(sys.argv[1], {"warnings": []}, {"split": sys.argv[2], "fingerprint": "f", "number": number})
"""


def test_looks_of_two_processes_at_once_are_all_noted(tmp_path):
    both = [subprocess.Popen([sys.executable, "-c", _LOOK_OFTEN, tmp_path, split]) for split in ("test", "validation")]
    assert [process.wait(timeout=60) for process in both] == [0, 0]
    uses = read_uses(tmp_path)
    for split in ("test", "validation"):
        assert [use["number"] for use in uses if use["split"] == split] == list(range(20))
    assert set(json.loads((tmp_path / "evaluation.json").read_text())) == {"test", "validation"}
    assert {path.name for path in tmp_path.iterdir()} == {"evaluation.json", "uses.json"}


def test_no_look_without_a_note_in_a_read_only_run(run, computed, monkeypatch):
    """Permissions do not bind the superuser, so the system's answer is put in its place."""
    opened = Path.open

    def read_only(path, mode="r", *arguments, **named):
        if path.is_relative_to(run) and "w" in mode:
            raise OSError(errno.EROFS, "Read-only file system", str(path))
        return opened(path, mode, *arguments, **named)

    monkeypatch.setattr(Path, "open", read_only)
    with pytest.raises(RunError, match="every look at the data is noted in its folder: .*Read-only file system.* evaluate the copy"):
        report_on(run)
    assert not computed and not (run / "uses.json").exists()


def test_no_look_without_a_note_on_a_full_disk(run, computed):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5, before[1]))
    try:
        with pytest.raises(RunError, match="The disk is full .* evaluate the copy"):
            report_on(run)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not computed and not (run / "uses.json").exists()
    assert report_on(run)["test_uses"] == 1


@pytest.mark.parametrize("content", ["[]", "{", '{"uses": 3}', '{"uses": [3]}'])
def test_a_damaged_list_of_uses_is_not_overwritten(run, computed, content):
    (run / "uses.json").write_text(content)
    with pytest.raises(RunError, match="uses.json"):
        report_on(run)
    assert not computed and (run / "uses.json").read_text() == content


def test_each_split_is_noted_beside_the_others(run):
    evaluate(run, split="validation", show_progress=False)
    evaluate(run, split="test", show_progress=False)
    assert {"validation", "test"} <= set(json.loads((run / "evaluation.json").read_text()))


def test_an_impossible_batch_size_is_refused(run):
    with pytest.raises(ConfigError, match="batch-size is 0"):
        evaluate(run, batch_size=0, show_progress=False)
