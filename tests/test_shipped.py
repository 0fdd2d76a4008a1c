"""The networks that ship in data/trained/: whole, small, told truthfully, and made again by the tool."""

import importlib.util
import json
import re
import shutil
import subprocess
import sys
import zipfile
from collections import Counter
from pathlib import Path

import pytest

from dn3dlib.config import apply_settings
from dn3dlib.data import one_gait, sources
from dn3dlib.data.synthetic import ANNOTATION, _sequences_text, _tasks, _video_name
from dn3dlib.errors import ConfigError, DataError, RunError
from dn3dlib.evaluate.predict import Predictor
from dn3dlib.evaluate.threshold import kept_threshold
from dn3dlib.presets import find_preset
from dn3dlib.train import shipped
from dn3dlib.train.runs import Run

ROOT = Path(__file__).resolve().parents[1]
TRAINED = ROOT / "data" / "trained"
NAMES = sorted(shipped.RECIPES)
FIGURES = ("clip_accuracy", "sequence_accuracy", "balanced_accuracy", "expected_calibration_error")
SAME, ANEW = 0.02, 0.15  # between two evaluations of one network; between two trainings, on machines that round differently
MACHINE = re.compile(r"(?<![\w.:/])/(?:home|root|Users|tmp|work|mnt|opt|usr|var)/|[A-Z]:\\\\")


@pytest.fixture
def homes(tmp_path, monkeypatch) -> Path:
    """Runs and data of a user who has none yet."""
    monkeypatch.setenv("DN3D_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("DN3D_DATA", str(tmp_path / "data"))
    return tmp_path


def report_of(folder: Path) -> dict:
    return json.loads((folder / "evaluation.json").read_text())["test"]


# --- what ships ------------------------------------------------------------------------------------------------------


def test_they_are_the_recipes_and_small():
    assert sorted(path.name for path in TRAINED.iterdir() if path.is_dir()) == NAMES
    assert sum(path.stat().st_size for path in TRAINED.rglob("*") if path.is_file()) < 2_000_000
    for name in NAMES:
        files = {path.name for path in (TRAINED / name).iterdir()}
        assert files == {"best.keras", "config.json", "environment.json", "evaluation.json", "history.csv", "threshold.json"}


def test_they_load_with_keras_alone():
    lines = "import sys, keras", "m = keras.models.load_model(sys.argv[1], compile=False)", "print(m.input_shape, m.output_shape)", "assert not [n for n in sys.modules if n.startswith('dn3dlib')]"
    for name in NAMES:
        done = subprocess.run([sys.executable, "-c", "\n".join(lines), TRAINED / name / "best.keras"], cwd=TRAINED, capture_output=True, text=True)
        run = Run.open(TRAINED / name)
        assert done.returncode == 0 and f"{(None, *run.clip_shape)} (None, {len(run.classes)})" in done.stdout, done.stderr[-2000:]


@pytest.mark.parametrize("name", NAMES)
def test_a_network_tells_how_it_was_trained_and_what_it_is_worth(name):
    run, recipe, preset = Run.open(TRAINED / name), shipped.RECIPES[name], find_preset("quick")
    assert run.storage == preset.storage
    wanted = apply_settings({prefix: preset.configs[prefix] for prefix in ("clip", "model", "train")}, list(recipe.settings))
    assert {"clip": run.clip, "model": run.model, "train": run.train} == wanted
    assert run.train.epochs == len(run.history())
    assert run.data["protocol"] == recipe.protocol and run.data["path"] == f"{recipe.data}-quick"
    assert re.fullmatch(r"[0-9a-f]{16}", run.data["fingerprint"]) and run.data["train_subjects"]
    report = report_of(TRAINED / name)
    assert set(report["controls"]) == {"shuffled", "reversed", "frozen"} and report["test_uses"] == 1
    assert report["sequences"] == len(report["predictions"]) and report["classes"] == list(run.classes)
    right = sum(row["label"] == row["predicted"] for row in report["predictions"])
    assert report["sequence_accuracy"] == pytest.approx(right / report["sequences"])


@pytest.mark.parametrize("name", NAMES)
def test_a_threshold_of_none_of_these_ships(name):
    """So that a prediction with what ships needs no data set, and writes nothing into its folder."""
    predictor = Predictor(TRAINED / name, device="cpu")
    assert 0 < predictor.threshold < 1 and predictor.threshold == kept_threshold(predictor.run)["threshold"]
    assert not predictor.notes and kept_threshold(predictor.run)["windows"] > 100


def test_the_data_set_is_looked_for_among_this_users_data(homes):
    with pytest.raises(DataError, match=re.escape(f"There is no prepared data set at {homes / 'data' / 'synthetic-quick'}")):
        Run.open(TRAINED / "honest").open_data()


def test_the_pair_differs_in_the_split_alone():
    leaking, mended = (Run.open(TRAINED / name) for name in ("leaking", "mended"))
    assert (leaking.clip, leaking.model, leaking.train) == (mended.clip, mended.model, mended.train)
    assert leaking.data["leaks"] and not mended.data["leaks"]
    tested = {name: {row["subject"] for row in report_of(TRAINED / name)["predictions"]} for name in ("leaking", "mended")}
    assert tested["leaking"] <= set(leaking.data["train_subjects"]) and not tested["mended"] & set(mended.data["train_subjects"])
    assert any("leaks on purpose" in warning for warning in report_of(TRAINED / "leaking")["warnings"])


def test_the_readme_tells_their_figures():
    text = (TRAINED / "README.md").read_text(encoding="utf-8")
    assert "python tools/train_shipped.py" in text
    for name in NAMES:
        (cells,) = [line.split("|")[1:-1] for line in text.splitlines() if line.startswith(f"| `{name}` |")]
        report, run = report_of(TRAINED / name), Run.open(TRAINED / name)
        low, high = report["sequence_accuracy_interval"]
        wanted = [f"`{run.data['protocol']}`", str(run.train.epochs), f"{report['sequences']} of {report['subjects']}"]
        wanted += [f"{report['clip_accuracy']:.3f}", f"{report['sequence_accuracy']:.3f}", f"{low:.3f} to {high:.3f}", run.data["fingerprint"]]
        assert [cell.strip() for cell in cells][2:] == wanted


def test_nothing_tells_of_the_machine():
    for path in TRAINED.rglob("*"):
        if path.suffix == ".keras":
            with zipfile.ZipFile(path) as network:
                texts = [network.read(entry).decode("latin-1") for entry in network.namelist() if entry.endswith(".json")]
        else:
            texts = [path.read_text(encoding="utf-8")] if path.is_file() else []
        assert not [match for text in texts for match in MACHINE.findall(text)], path


# --- a copy to work with ---------------------------------------------------------------------------------------------


def test_a_copy_is_made_once_and_an_older_one_is_replaced(homes):
    run = shipped.shipped_run("leaking")
    assert run.path == homes / "runs" / "shipped-leaking" and run.data["path"] == "one-gait-quick"
    (run.path / "uses.json").write_text('{"uses": []}')
    shipped.shipped_run("leaking")
    assert (run.path / "uses.json").is_file(), "what was noted in the copy stays"
    shutil.copyfile(TRAINED / "mended" / "best.keras", run.path / "best.keras")
    shipped.shipped_run("leaking")
    assert (run.path / "best.keras").read_bytes() == (TRAINED / "leaking" / "best.keras").read_bytes()
    assert not (run.path / "uses.json").exists() and len(list(run.path.parent.glob("*partial*"))) == 0


def test_the_report_is_the_one_that_ships_whatever_the_copy_holds(homes):
    copy = shipped.shipped_run("honest").path / "evaluation.json"
    copy.write_text('{"test": {}}')
    assert shipped.shipped_report("honest") == report_of(TRAINED / "honest")


@pytest.mark.parametrize("ask", [shipped.shipped_run, shipped.shipped_report, shipped.shipped_data])
def test_an_unknown_name_gets_the_nearest(homes, ask):
    with pytest.raises(ConfigError, match="There is no trained network 'onest': did you mean honest"):
        ask("onest")


def test_an_installation_without_them_says_so(homes, monkeypatch):
    monkeypatch.setattr(shipped, "trained_home", lambda: None)
    with pytest.raises(RunError, match="this installation has none"):
        shipped.shipped_run()


# --- the data of the pair --------------------------------------------------------------------------------------------


@pytest.fixture
def undrawn(homes, monkeypatch):
    """Videos that are there, but hold no more than their own names: to draw all these people takes a minute."""

    def write(folder: Path, seed: int, subjects: int = 16, frames: int = 100) -> Path:
        for task in _tasks(subjects, 2):
            path = folder / _video_name(*task)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{seed} {path.name}")
        (folder / ANNOTATION).write_bytes(_sequences_text(subjects, 2, frames).encode())
        return folder

    for module in (one_gait, sources):
        monkeypatch.setattr(module, "make_synthetic", write)


def test_each_person_was_filmed_in_one_gait_and_both_splits_train_on_equally_many(undrawn):
    catalog = one_gait.one_gait_catalog()
    shown = {s.subject: {t.label for t in catalog.sequences if t.subject == s.subject} for s in catalog.sequences}
    assert len(shown) == one_gait.FILMED and Counter(label for labels in shown.values() for label in labels) == dict.fromkeys(catalog.classes, 5)
    leaky = catalog.split_by("random-leaky", catalog.seed)
    for split in (catalog, leaky):
        assert Counter(s.split for s in split.sequences) == {"train": 72, "validation": 24, "test": 24}
    trained = {s.subject for s in leaky.sequences if s.split == "train"}
    assert {s.subject for s in leaky.sequences if s.split == "test"} <= trained, "whoever is tested has been seen"


def test_unseen_people_show_all_gaits_and_are_all_test(undrawn):
    catalog = one_gait.unseen_catalog(3)
    assert {(s.subject, s.label) for s in catalog.sequences} == {(f"person0{n}", gait) for n in (1, 2, 3) for gait in catalog.classes}
    assert {s.split for s in catalog.sequences} == {"test"} and catalog.dataset != "synthetic", "no warning takes them for others of their names"


# --- made again ------------------------------------------------------------------------------------------------------


@pytest.mark.long
@pytest.mark.parametrize("name", NAMES)
def test_evaluated_again_a_copy_gives_the_shipped_figures(homes, name):
    from dn3dlib.evaluate.report import evaluate

    run = shipped.shipped_run(name)
    data = shipped.shipped_data(name, show_progress=False)
    run.check_same_data(data)
    again, told = evaluate(run.path, device="cpu", show_progress=False), report_of(TRAINED / name)
    assert all(again[figure] == pytest.approx(told[figure], abs=SAME) for figure in FIGURES)


@pytest.mark.long
@pytest.mark.parametrize("name", NAMES)
def test_the_tool_makes_them_again(homes, name):
    spec = importlib.util.spec_from_file_location("train_shipped", ROOT / "tools" / "train_shipped.py")
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    report = tool.train_shipped(name, homes / name)
    told = report_of(TRAINED / name)
    assert report_of(homes / name)["sequence_accuracy"] == report["sequence_accuracy"] == pytest.approx(told["sequence_accuracy"], abs=ANEW)
    assert Run.open(homes / name).data["fingerprint"] == Run.open(TRAINED / name).data["fingerprint"]
    assert {path.name for path in (homes / name).iterdir()} == {path.name for path in (TRAINED / name).iterdir()}
