"""Cross-validation: every subject tested once by a network that never saw them, stopped anywhere and gone on with."""

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from steps import at_step, without_times

from dn3dlib.config import to_dict
from dn3dlib.data.manifest import DataSet
from dn3dlib.errors import ConfigError, DataError, RunError
from dn3dlib.evaluate import crossval as module
from dn3dlib.evaluate.crossval import crossval
from dn3dlib.evaluate.report import evaluate
from dn3dlib.metrics import subject_interval
from dn3dlib.train.loop import train
from dn3dlib.train.runs import Run

FOLDS = ("fold-1-of-2", "fold-2-of-2")


@pytest.fixture(scope="module")
def go(prepared, tiny):
    """A function that cross-validates `prepared` in two folds of one epoch, or by other options."""

    def run(out_dir: Path, folds: int | None = 2, data_dir: Path = prepared, **settings) -> dict:
        config = dataclasses.replace(tiny.train, **{"epochs": 1} | settings)
        return crossval(data_dir, out_dir, tiny.clip, tiny.model, config, folds, device="cpu", show_progress=False)

    return run


@pytest.fixture(scope="module")
def whole(go, tmp_path_factory) -> tuple[Path, dict]:
    """An undisturbed cross-validation, and what it gave. Tests that change it copy it first."""
    path = tmp_path_factory.mktemp("crossval") / "whole"
    return path, go(path)


def untimed(result: dict) -> dict:
    return result | {"folds": without_times(result["folds"])}


def stop_at(patch, step: int) -> None:
    """Send this process SIGINT while the given step, counted over all folds, is computed."""
    at_step(patch, step, lambda: os.kill(os.getpid(), signal.SIGINT))


# --- what it gives ---------------------------------------------------------------------------------------------------


def test_every_sequence_is_tested_once_by_a_network_that_never_saw_its_subject(whole, prepared):
    path, result = whole
    data = DataSet.open(prepared)
    tested = [(p["sequence"], p["subject"], p["label"]) for row in result["folds"] for p in row["predictions"]]
    assert sorted(tested) == sorted((s.id, s.subject, s.label) for s in data.sequences)
    for row in result["folds"]:
        run = Run.open(path / row["run"])
        assert not set(row["subjects"]) & set(run.data["train_subjects"])
        assert len(row["subjects"]) == len(run.data["train_subjects"]) == 2, "nobody is kept for validation"
        assert [epoch["validation_loss"] for epoch in run.history()] == [None]
    assert [row["run"] for row in result["folds"]] == list(FOLDS) and result["of_folds"] == 2


def test_the_figures_follow_from_the_predictions(whole):
    path, result = whole
    rows = result["folds"]
    for row in rows:
        right = [p["label"] == p["predicted"] for p in row["predictions"]]
        assert row["sequence_accuracy"] == pytest.approx(np.mean(right)) and row["sequences"] == len(right) == 24
    one, two = (row["sequence_accuracy"] for row in rows)
    assert result["mean_sequence_accuracy"] == pytest.approx((one + two) / 2)
    assert result["spread"] == pytest.approx(abs(one - two) / 2**0.5)
    assert result["mean_clip_accuracy"] == pytest.approx(np.mean([row["clip_accuracy"] for row in rows]))
    predictions = [p for row in rows for p in row["predictions"]]
    right = np.array([p["label"] == p["predicted"] for p in predictions])
    assert result["sequence_accuracy"] == pytest.approx(right.mean())
    assert result["sequence_accuracy_interval"] == list(subject_interval(right, [p["subject"] for p in predictions]))
    counts = np.zeros((6, 6), int)
    for p in predictions:
        counts[result["classes"].index(p["label"]), result["classes"].index(p["predicted"])] += 1
    assert result["confusion"] == counts.tolist()
    assert json.loads((path / "crossval.json").read_text()) == result


def test_a_fold_is_a_run_like_any_other(whole, prepared, tmp_path):
    path, result = whole
    for row in result["folds"]:
        report = evaluate(path / row["run"], device="cpu", show_progress=False)
        assert report["sequence_accuracy"] == row["sequence_accuracy"] and report["test_uses"] == 2
        assert report["protocol"] == f"fold:{row['run'][5]}/2"
    # The data set may move and be split anew: the fold keeps its own split.
    moved = Path(shutil.copytree(prepared, tmp_path / "moved"))
    DataSet.open(moved).split_by("by-subject:0.25,0.25,0.5", 1)
    report = evaluate(path / FOLDS[1], moved, device="cpu", show_progress=False)
    assert report["sequence_accuracy"] == result["folds"][1]["sequence_accuracy"] and report["sequences"] == 24


def test_another_data_set_is_tested_by_its_own_split(whole, prepared, tmp_path):
    data = DataSet.open(prepared)
    fewer = dataclasses.replace(data, path=tmp_path, look_alikes=(), sequences=tuple(s for s in data.sequences if s.split == "test"))
    assert {s.subject for s in fewer.sequences} == {s.subject for s in data.of_split("test")} and len(fewer.sequences) == 12
    for shard in data.shards:
        shutil.copy(prepared / shard["name"], tmp_path)
    fewer.write_manifest()
    assert evaluate(whole[0] / FOLDS[0], tmp_path, device="cpu", show_progress=False)["sequences"] == 12


def test_the_data_set_stays_as_it_was(go, prepared, tmp_path):
    copy = Path(shutil.copytree(prepared, tmp_path / "data"))
    before = {p.name: p.read_bytes() for p in copy.iterdir()}
    go(tmp_path / "out", data_dir=copy)
    assert {p.name: p.read_bytes() for p in copy.iterdir()} == before


def test_without_a_number_one_subject_is_left_out_at_a_time(answer, prepared, tmp_path, capfd):
    options = "--epochs 1 --batch-size 8 --frames 4 --set clip.hop=4 --set clip.clips_per_sequence=1 --set model.growth_rate=2"
    options += " --set model.depth=7 --set model.blocks=2 --device cpu"
    result, said = answer("crossval", "--data", prepared, "--out", tmp_path / "out", *options.split())
    subjects = sorted({s.subject for s in DataSet.open(prepared).sequences})
    assert [row["subjects"] for row in result["folds"]] == [[subject] for subject in subjects] and result["of_folds"] == 4
    assert f"Fold 1 of 4 tests {subjects[0]}.\n" in said and f"Fold 4 of 4 tests {subjects[3]}; about 0 minutes left." in said
    assert result["train"]["batch_size"] == 8 and result["clip"]["frames"] == 4


@pytest.fixture
def answer(shell):
    """A function that runs a command with --json and gives the one object that it printed, and what it said."""

    def run(*arguments: object) -> tuple[dict, str]:
        status, out, err = shell(*arguments, "--json")
        assert status == 0, err
        return json.loads(out), err

    return run


def test_the_shell_shows_a_table(whole, shell, prepared, tiny):
    path, result = whole
    given = [f"{c.prefix}.{name}={json.dumps(v)}" for c in (tiny.clip, tiny.model, tiny.train) for name, v in to_dict(c).items()]
    options = [part for setting in given for part in ("--set", setting)]
    status, out, _ = shell("crossval", "--data", prepared, "--out", path, "--folds", 2, "--device", "cpu", *options, "--epochs", 1, "--set", "train.epochs=1")
    assert status == 0 and f"{path}: 2 of 2 folds" in out
    for row in result["folds"]:
        assert f"  {row['run']}: sequence accuracy {row['sequence_accuracy']:.3f}" in out
    assert f"mean sequence accuracy {result['mean_sequence_accuracy']:.3f}, spread {result['spread']:.3f}" in out
    low, high = result["sequence_accuracy_interval"]
    assert f"together {result['sequence_accuracy']:.3f} (95 %: {low:.3f} to {high:.3f})" in out and "confusion (rows true" in out


# --- stopped and gone on with ----------------------------------------------------------------------------------------


def test_a_finished_one_is_not_done_again(go, whole, monkeypatch):
    for name in ("train", "resume", "evaluate"):
        monkeypatch.setattr(module, name, lambda *a, **k: pytest.fail("nothing was missing"))
    assert go(whole[0]) == whole[1]


@pytest.mark.parametrize(("step", "finished"), [(2, 0), (5, 1)])
def test_an_interrupt_inside_a_fold(go, whole, tmp_path, monkeypatch, differing, step, finished):
    with monkeypatch.context() as patch:
        stop_at(patch, step)
        result = go(tmp_path / "out")
    assert len(result["folds"]) == finished and result["of_folds"] == 2
    assert ("mean_sequence_accuracy" in result) == bool(finished)
    assert untimed(go(tmp_path / "out")) == untimed(whole[1])
    for fold in FOLDS:
        assert differing(whole[0] / fold, tmp_path / "out" / fold) == []


def test_an_interrupt_between_two_folds(go, whole, tmp_path, monkeypatch, differing):
    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(module, "evaluate", interrupted)
        go(tmp_path / "out")
    trained = []
    monkeypatch.setattr(module, "train", lambda data, run_dir, *a, **k: trained.append(run_dir.name) or train(data, run_dir, *a, **k))
    assert untimed(go(tmp_path / "out")) == untimed(whole[1])
    assert trained == [FOLDS[1]], "the first fold was trained already"


def test_a_fold_whose_folder_was_only_begun(go, whole, tmp_path):
    go_on = tmp_path / "out"
    shutil.copytree(whole[0], go_on)
    result = whole[1] | {"folds": whole[1]["folds"][:1]}
    (go_on / "crossval.json").write_text(json.dumps(result))
    for path in (go_on / FOLDS[1]).iterdir():
        if path.name != "environment.json":
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    (go_on / FOLDS[1] / "config.json.partial-77").write_text("{")
    assert untimed(go(go_on)) == untimed(whole[1])


KILLED = """
import os, signal, sys
from dn3dlib.cli import main
from dn3dlib.train import loop

make, done = loop.make_train_step, []

def make_and_count(*arguments):
    step = make(*arguments)

    def counted(*batch):
        done.append(1)
        if len(done) == 5:
            os.kill(os.getpid(), signal.SIGKILL)
        return step(*batch)

    return counted

loop.make_train_step = make_and_count
sys.exit(main(sys.argv[1:]))
"""


def test_a_process_killed_in_the_second_fold_goes_on_bit_for_bit(whole, prepared, tiny, tmp_path, differing):
    given = [f"{c.prefix}.{name}={json.dumps(v)}" for c in (tiny.clip, tiny.model, tiny.train) for name, v in to_dict(c).items()]
    options = [part for setting in [*given, "train.epochs=1"] for part in ("--set", setting)]
    command = ["crossval", "--data", str(prepared), "--out", str(tmp_path / "out"), "--folds", "2", "--device", "cpu", *options]
    killed = subprocess.run([sys.executable, "-c", KILLED, *command], capture_output=True, text=True, timeout=200)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert len(json.loads((tmp_path / "out" / "crossval.json").read_text())["folds"]) == 1
    again = subprocess.run([sys.executable, "-m", "dn3dlib", *command, "--json"], capture_output=True, text=True, timeout=200)
    assert again.returncode == 0, again.stderr
    assert "Fold 1 of 2" not in again.stderr and "Fold 2 of 2 tests" in again.stderr
    assert untimed(json.loads(again.stdout)) == untimed(whole[1])
    assert differing(whole[0] / FOLDS[1], tmp_path / "out" / FOLDS[1]) == []


def test_the_shell_ends_with_130_where_it_was_interrupted(shell, prepared, tmp_path, monkeypatch):
    stop_at(monkeypatch, 1)
    options = "--folds 2 --epochs 2 --frames 4 --set clip.hop=4 --set model.growth_rate=2 --set model.depth=7 --set model.blocks=2"
    status, out, _ = shell("crossval", "--data", prepared, "--out", tmp_path / "out", *options.split(), "--device", "cpu", "--json")
    assert status == 130 and json.loads(out)["folds"] == []


# --- refusals --------------------------------------------------------------------------------------------------------


def test_other_settings_are_refused_with_the_difference(go, whole, prepared, tiny, tmp_path):
    path = whole[0]
    before = (path / "crossval.json").read_bytes()
    with pytest.raises(RunError, match=r"was begun with train.epochs 1, not 3: go on with the same"):
        go(path, epochs=3)
    with pytest.raises(RunError, match=r"was begun with of_folds 2, not 4"):
        go(path, None)
    other = Path(shutil.copytree(prepared, tmp_path / "data"))
    data = DataSet.open(other)
    dataclasses.replace(data, look_alikes=(), sequences=data.sequences[1:]).write_manifest()
    with pytest.raises(RunError, match=r"was begun with data.fingerprint '\w+', not '\w+'"):
        go(path, data_dir=other)
    assert (path / "crossval.json").read_bytes() == before


def test_what_cannot_be_done_leaves_no_folder(go, refused, prepared, tmp_path):
    with pytest.raises(DataError, match="needs 5 subjects, one for each fold, but there are 4"):
        go(tmp_path / "out", 5)
    with pytest.raises(ConfigError, match="The number of folds is 1"):
        go(tmp_path / "out", 1)
    assert "--folds is 'three', but must be loso or a whole number" in refused("crossval", "--data", prepared, "--out", tmp_path / "out", "--folds", "three")
    assert "There is no prepared data set" in refused("crossval", "--data", tmp_path / "none", "--out", tmp_path / "out")
    assert not list(tmp_path.iterdir())


@pytest.fixture
def refused(shell):
    """A function that runs a command whose input is wrong and gives the sentence."""

    def run(*arguments: object) -> str:
        status, out, err = shell(*arguments)
        assert status == 2 and not out
        return err.splitlines()[-1].removeprefix("dn3d: error: ")

    return run


def test_a_folder_of_something_else_is_left_alone(go, trained, tmp_path):
    with pytest.raises(RunError, match="is not empty, and holds no crossval.json: choose another folder"):
        go(trained)
    (tmp_path / "file").write_text("mine")
    with pytest.raises(RunError, match="already exists"):
        go(tmp_path / "file")
    assert (tmp_path / "file").read_text() == "mine"


def test_what_cannot_begin_leaves_no_folder(prepared, tiny, tmp_path):
    config = dataclasses.replace(tiny.train, precision="float16")
    with pytest.raises(ConfigError, match="float16 needs a GPU"):
        crossval(prepared, tmp_path / "out", tiny.clip, tiny.model, config, 2, device="cpu", show_progress=False)
    assert not (tmp_path / "out").exists()
