"""Runs side by side, in Python, in the shell and in pictures; what a new run is called."""

import dataclasses
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import matplotlib
import numpy as np
import pytest

matplotlib.use("Agg")

from dn3dlib.errors import ConfigError, RunError  # noqa: E402
from dn3dlib.evaluate.report import evaluate  # noqa: E402
from dn3dlib.model.densenet3d import build_model  # noqa: E402
from dn3dlib.places import next_run_dir, run_name  # noqa: E402
from dn3dlib.presets import PRESETS  # noqa: E402
from dn3dlib.show import training  # noqa: E402
from dn3dlib.train.checks import Check  # noqa: E402
from dn3dlib.train.compare import best_of, compare_runs, sort_runs, table_cells  # noqa: E402
from dn3dlib.train.rates import RangeTest  # noqa: E402
from dn3dlib.train.runs import COLUMNS, Run  # noqa: E402


def change(path: Path, **values) -> None:
    """Change values of a JSON file, of its second level by `prefix__name`."""
    content = json.loads(path.read_text())
    for name, value in values.items():
        prefix, _, inner = name.partition("__")
        content[prefix] = content[prefix] | {inner: value} if inner else value
    path.write_text(json.dumps(content))


@pytest.fixture
def runs(trained, tmp_path) -> Path:
    """Three runs: `a`, the trained one; `b/deep`, of other settings, evaluated; `c`, damaged."""
    folder = tmp_path / "runs"
    shutil.copytree(trained, folder / "a")
    shutil.copytree(trained, folder / "b" / "deep")
    shutil.copytree(trained, folder / "c")
    evaluate(folder / "b" / "deep", show_progress=False, device="cpu")
    change(folder / "b" / "deep" / "config.json", model__bn_momentum=0.5, train__seed=7)
    (folder / "a" / "evaluation.json").unlink(missing_ok=True)
    (folder / "c" / "config.json").write_text("{")
    return folder


# --- rows ------------------------------------------------------------------------------------------------------------


def test_rows_tell_settings_figures_and_damage(runs, trained, tiny):
    a, b, c = compare_runs(runs)
    assert [row["name"] for row in (a, b, c)] == ["a", "b/deep", "c"]
    assert a["settings"] == {"model.bn_momentum": 0.9, "train.seed": 0} and b["settings"] == {"model.bn_momentum": 0.5, "train.seed": 7}
    history = Run.open(trained).history()
    best = max(history, key=lambda row: (row["validation_sequence_accuracy"], -row["validation_loss"]))
    for name in ("validation_sequence_accuracy", "validation_loss"):
        assert a[name] == best[name]
    assert (a["best_epoch"], a["epochs"], a["of_epochs"]) == (best["epoch"], 2, 2)
    assert a["seconds"] == pytest.approx(sum(row["seconds"] for row in history))
    rates = [row["clips_per_second"] for row in history]
    assert min(rates) <= a["clips_per_second"] <= max(rates)
    network = build_model(tiny.model, (4, 32, 32, 1), 6)
    assert a["parameters"] == sum(int(np.prod(v.shape)) for v in network.trainable_variables)
    report = json.loads((runs / "b" / "deep" / "evaluation.json").read_text())["test"]
    assert b["test_sequence_accuracy"] == report["sequence_accuracy"] and b["test_clip_accuracy"] == report["clip_accuracy"]
    assert a["test_sequence_accuracy"] is None and a["problem"] is None
    assert "is damaged" in c["problem"] or "cannot be read" in c["problem"]
    assert c["epochs"] is None and c["settings"] == {}


def test_a_run_alone_differs_in_nothing_and_is_named_by_its_folder(trained):
    (row,) = compare_runs(trained)
    assert row["name"] == "run" and row["settings"] == {}


def test_several_folders_and_runs_of_older_versions(runs, trained):
    change(runs / "a" / "config.json", train={k: v for k, v in json.loads((runs / "a" / "config.json").read_text())["train"].items() if k != "cache"})
    environment = json.loads((runs / "a" / "environment.json").read_text())
    environment.pop("parameters")
    (runs / "a" / "environment.json").write_text(json.dumps(environment))
    rows = {row["name"]: row for row in compare_runs(runs / "a", runs / "b", trained)}
    assert set(rows) == {str(runs / "a"), str(runs / "b" / "deep"), str(trained)}
    assert rows[str(runs / "a")]["parameters"] is None and rows[str(trained)]["parameters"] > 0
    assert table_cells(list(rows.values()))[1][10] == "–"


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda run: (run / "config.json").unlink(), "There is no run at"),
        (lambda run: (run / "history.csv").write_text("epoch,loss\n1,nothing\n"), "history"),
        (lambda run: (run / "environment.json").write_text("[]"), "does not hold a JSON object"),
        (lambda run: (run / "evaluation.json").write_text("nothing"), "cannot be read"),
        (lambda run: change(run / "config.json", format=99), "has format 99"),
        (lambda run: change(run / "config.json", model__depth=-4), "model.depth is -4"),
    ],
)
def test_damage_is_listed_and_hides_no_other_run(runs, damage, reason):
    damage(runs / "b" / "deep")
    rows = compare_runs(runs)
    assert reason in rows[1]["problem"] and rows[0]["problem"] is None and rows[0]["epochs"] == 2


def test_a_run_that_has_not_finished_an_epoch(runs):
    (runs / "a" / "history.csv").unlink()
    row = compare_runs(runs / "a")[0]
    assert (row["epochs"], row["best_epoch"], row["seconds"], row["problem"]) == (0, None, None, None)
    assert table_cells([row])[1][1:10] == ["0", "2"] + ["–"] * 7


def test_the_best_epoch_is_that_of_the_saved_network():
    def row(epoch, accuracy, loss):
        return dict.fromkeys(COLUMNS, 1.0) | {"epoch": epoch, "validation_sequence_accuracy": accuracy, "validation_loss": loss}

    history = [row(1, 0.5, 1.0), row(2, 0.75, 1.0), row(3, 0.75, 0.8), row(4, 0.75, 0.8), row(5, 0.7, 0.1)]
    assert best_of(history)["epoch"] == 3
    assert best_of([row(1, None, None), row(2, None, None)])["epoch"] == 2 and best_of([]) is None


def test_rows_are_sorted_by_any_name(runs):
    rows = compare_runs(runs)
    rows[0]["validation_sequence_accuracy"], rows[1]["validation_sequence_accuracy"] = 0.25, 0.75
    assert [row["name"] for row in sort_runs(rows, "validation_sequence_accuracy")] == ["b/deep", "a", "c"]
    assert [row["name"] for row in sort_runs(rows, "train.seed")] == ["a", "b/deep", "c"]
    assert [row["name"] for row in sort_runs(rows, "model.bn_momentum")] == ["b/deep", "a", "c"]
    with pytest.raises(ConfigError, match="did you mean train.seed"):
        sort_runs(rows, "train.sed")


# --- in the shell ----------------------------------------------------------------------------------------------------


def test_the_shell_prints_a_table_or_json(shell, runs):
    status, out, err = shell("runs", runs)
    lines = out.splitlines()
    assert status == 0 and not err and lines[0].split()[:2] == ["run", "epochs"] and lines[0].endswith("model.bn_momentum  train.seed")
    assert re.match(r"a +2 +2 +[12] +\d\.\d{3} +\d\.\d{3} +– +– +\d+ +\d+\.\d +[\d,]+ +0\.9 +0$", lines[1])
    assert lines[2].startswith("b/deep ") and lines[3].startswith("Cannot be read: c: ") and len(lines) == 4
    status, out, _ = shell("runs", runs, "--json", "--sort", "parameters")
    assert status == 0 and [row["name"] for row in json.loads(out)["runs"]] == ["a", "b/deep", "c"]


def test_a_leak_is_told(shell, runs):
    change(runs / "a" / "config.json", data__leaks=True, data__protocol="random-leaky")
    status, out, _ = shell("runs", runs)
    assert status == 0 and "Warning: a: The protocol leaks on purpose" in out and "data.protocol" in out.splitlines()[0]


def test_folders_without_runs_and_folders_that_are_none(shell, tmp_path, monkeypatch):
    assert shell("runs", tmp_path)[:2] == (0, "There is no run here yet: `dn3d train` makes one.\n")
    assert json.loads(shell("runs", tmp_path, "--json")[1]) == {"runs": []}
    monkeypatch.setenv("DN3D_RUNS", str(tmp_path / "none-yet"))
    assert shell("runs")[0] == 0
    status, out, err = shell("runs", tmp_path / "none")
    assert status == 2 and not out and err.splitlines()[-1].startswith(f"dn3d: error: There is no folder {tmp_path / 'none'}")
    with pytest.raises(RunError):
        compare_runs(tmp_path / "none")
    assert shell("runs", tmp_path, "--sort", "speed")[0] == 2


def test_runs_are_compared_without_waiting_for_tensorflow(runs):
    code = "import sys; from dn3dlib.cli import main; main(sys.argv[1:]); print(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code, "runs", str(runs)], capture_output=True, text=True, timeout=100)
    assert "b/deep" in done.stdout and not {"tensorflow", "keras"} & set(done.stderr.splitlines()[-1].split())


@pytest.mark.parametrize("module", ["dn3dlib.train.schedule", "dn3dlib.train.loop"])
def test_whichever_imports_tensorflow_first_is_quiet(module):
    done = subprocess.run([sys.executable, "-c", f"import {module}, tensorflow, sys; print('seen', file=sys.stderr)"], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "seen\n")


def test_imports_in_several_threads_leave_standard_error_as_it_was(tmp_path):
    """Two noisy modules at once, one asked for quietly and one merely kept quiet: the first to be done must not end the quiet."""
    for name in ("noisy_one", "noisy_two"):
        (tmp_path / f"{name}.py").write_text("import os, time\nfor _ in range(20):\n    os.write(2, b'noise'), time.sleep(0.01)\n")
    code = """
import sys, threading
from dn3dlib.quiet import import_quietly, quiet_when_imported
sys.path.insert(0, sys.argv[1])
quiet_when_imported("noisy_two")
quiet_when_imported("noisy_two")
threads = [threading.Thread(target=import_quietly, args=["noisy_one"]), threading.Thread(target=__import__, args=["noisy_two"])]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
assert {"noisy_one", "noisy_two"} <= set(sys.modules)
print("still heard", file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "still heard\n")


# --- names -----------------------------------------------------------------------------------------------------------


def test_a_name_tells_what_differs_from_the_preset():
    quick = PRESETS["quick"]

    def name(**changes):
        configs = {p: dataclasses.replace(quick.configs[p], **changes.get(p, {})) for p in ("clip", "model", "train")}
        return run_name("kth", quick, configs)

    assert name() == "kth-quick"
    assert name(model={"depth": 40}, train={"seed": 1}) == "kth-quick-depth40-seed1"
    changes = {"clip": {"flip": False}, "model": {"variant": "general"}, "train": {"learning_rate": 0.01}}
    assert name(**changes) == "kth-quick-flip-false-variant-general-learning_rate0.01"
    every = {
        "clip": {"frames": 8, "stride": 2, "extra_stride": 3, "hop": 4, "clips_per_sequence": 7},
        "model": {"growth_rate": 4, "depth": 30, "dropout": 0.25, "bn_momentum": 0.99},
        "train": {"epochs": 100, "batch_size": 64, "seed": 123456},
    }
    assert len(name(**every)) < 100 and name(**every).endswith("-more")
    assert run_name("my data/ünder ../x", quick, {}) == "my-data-nder-..-x-quick"


def test_train_without_out_names_its_folder(shell, prepared, tmp_path, monkeypatch):
    monkeypatch.setenv("DN3D_RUNS", str(tmp_path / "runs"))
    options = "--device cpu --epochs 1 --batch-size 8 --frames 4 --set clip.hop=4 --set model.depth=7 --set model.blocks=2 --json".split()
    status, out, err = shell("train", "--data", prepared, *options)
    run = Path(json.loads(out)["run"])
    assert status == 0 and f"The run's folder is {run}." in err.splitlines()
    assert run == tmp_path / "runs" / "synthetic-quick-frames4-hop4-depth7-blocks2-epochs1-batch_size8-001"
    assert next_run_dir(run.name.removesuffix("-001")).name.endswith("-002")
    status, out, _ = shell("runs", "--json")
    assert status == 0 and [row["name"] for row in json.loads(out)["runs"]] == [run.name]
    status, _, err = shell("train", "--resume")
    assert status == 2 and "--out is missing" in err.splitlines()[-1]


# --- pictures --------------------------------------------------------------------------------------------------------


def histories(count: int) -> dict[str, list[dict]]:
    rows = [dict.fromkeys(COLUMNS, 0.5) | {"epoch": epoch} for epoch in (1, 2, 3)]
    return {f"run {n}": rows for n in range(count)}


def test_curves_of_several_runs_can_be_told_apart():
    picture = training.compare_curves(histories(8))
    accuracy, train_loss, validation_loss = picture.figure.axes
    for ax in (accuracy, train_loss, validation_loss):
        lines = ax.get_lines()
        assert len(lines) == 8 and list(lines[0].get_ydata()) == [0.5] * 3
        assert len({line.get_color() for line in lines}) == len({line.get_marker() for line in lines}) == 8
        assert len({line.get_linestyle() for line in lines}) == 4
    assert [text.get_text() for text in picture.figure.legends[0].get_texts()] == list(histories(8))
    assert "8 runs" in picture.alt and picture.png()[:4] == b"\x89PNG"


def test_curves_without_validation_and_of_too_many_runs():
    without = {"one": [row | {"validation_loss": None, "validation_sequence_accuracy": None} for row in histories(1)["run 0"]]}
    axes = training.compare_curves(without | {"two": []}).figure.axes
    assert [len(ax.get_lines()[0].get_ydata()) for ax in axes] == [0, 3, 0]
    with pytest.raises(ConfigError, match="choose 8 at most"):
        training.compare_curves(histories(9))


def test_the_table_for_notebooks_holds_the_same_as_the_shells(runs):
    change(runs / "a" / "config.json", train__schedule="step")
    rows = compare_runs(runs)
    rows[0]["name"] = "<a>"
    table = training.runs_table(rows).data
    assert "<th" in table and "&lt;a&gt;" in table and "<a>" not in table
    assert re.findall(r"<td[^>]*>([^<]*)</td>", table)[-3:] == table_cells(rows)[2][-3:]
    assert table.endswith("</p>") and "c: " in table


def test_the_table_of_checks_says_which_failed():
    found = [Check("one", True, {}, "1", "All is well."), Check("two", False, {}, "2 < 3", "It is not.")]
    cells = re.findall(r"<td[^>]*>([^<]*)</td>", training.checks_table(found).data)
    assert cells == ["✓ passed", "one", "All is well.", "1", "✗ FAILED", "two", "It is not.", "2 &lt; 3"]


def test_gradient_bars_show_norms_bounds_and_what_is_missing():
    norms = {"stem": 1.0, "block1": 2.0, "block2": 0.0, "block3": None, "head": 0.5}
    ax = training.gradient_bars(Check("gradients", False, norms, "", "")).figure.axes[0]
    assert [bar.get_width() for bar in ax.patches] == [1, 2, 0, 0, 0.5]
    assert [line.get_xdata()[0] for line in ax.get_lines()] == [0.01, 100] and ax.get_xscale() == "log"
    assert [text.get_text() for text in ax.texts] == ["0", "no number"]
    training.gradient_bars(Check("gradients", False, dict.fromkeys(norms), "", "")).png()


def test_the_range_test_is_drawn_with_its_suggestion():
    rates = np.geomspace(1e-3, 1, 4)
    test = RangeTest(rates, np.array([2, 1, 1.5, 9.0]), np.array([2, 1.5, 1.2, 4.0]), rates[2], rates[2] / 10)
    ax = training.range_test(test).figure.axes[0]
    each, mean, lowest, suggested = ax.get_lines()
    assert list(each.get_ydata()) == list(test.losses) and list(mean.get_ydata()) == list(test.smoothed)
    assert (lowest.get_xdata()[0], suggested.get_xdata()[0]) == (test.lowest, test.suggested) and ax.get_xscale() == "log"
