"""Notebook 05 as papermill runs it, on a small run of one's own and few unseen people."""

import json
import re
import shutil

import pytest
from executed import outputs_of, printed

from dn3dlib.data.manifest import DataSet
from dn3dlib.evaluate.uses import read_uses
from dn3dlib.train.runs import Run


def test_a_run_of_ones_own_is_evaluated_and_each_look_is_noted(papermill, trained, tmp_path):
    run = shutil.copytree(trained, tmp_path / "run")
    before = len(read_uses(run))
    done = papermill("05_evaluate", run_dir=run, unseen_people=2, resamples=1000, device="cpu")
    assert done.returncode == 0, done.stderr[-3000:]
    text = printed(tmp_path / "05_evaluate.ipynb")
    report = json.loads((run / "evaluation.json").read_text())["test"]
    assert f"test: clips {report['clip_accuracy']:.3f}, sequences {report['sequence_accuracy']:.3f}" in text
    assert [(use["split"], use["views"]) for use in read_uses(run)[before:]] == [("validation", 2), ("test", None), ("validation", None)]
    assert all(set(control["recall"]) == set(report["classes"]) for control in report["controls"].values())
    assert f"{len(report['mistakes'])} of {report['sequences']} sequences are wrong" in text

    unseen = DataSet.open(tmp_path / "data" / "unseen-2-quick")
    assert len(unseen.sequences) == 2 * 3 * 2 * 4 and not (tmp_path / "data" / "one-gait-quick").exists()
    for name in ("leaking", "mended"):
        uses = read_uses(tmp_path / "runs" / f"shipped-{name}")
        assert [use["fingerprint"] for use in uses] == [unseen.fingerprint], "asked once, on the unseen people"
    people = re.search(r"accuracy of each person: (.+)", text)[1].split()
    assert len(people) == 3 and all(0 <= float(share) <= 1 for share in people)
    htmls = ["".join(output["data"].get("text/html", "")) for output in outputs_of(tmp_path / "05_evaluate.ipynb") if "data" in output]
    assert sum("srcdoc=" in html for html in htmls) == 1


@pytest.mark.long
def test_retrained_the_networks_are_new_runs_evaluated_by_themselves(papermill, tmp_path):
    done = papermill("05_evaluate", retrain=True, epochs=1, unseen_people=2, device="cpu")
    assert done.returncode == 0, done.stderr[-3000:]
    runs = {path.name: Run.open(path) for path in (tmp_path / "runs").iterdir() if path.is_dir()}
    assert set(runs) == {"retrained-honest-001", "retrained-leaking-001", "retrained-mended-001"}
    assert {run.train.epochs for run in runs.values()} == {1}
    unseen = DataSet.open(tmp_path / "data" / "unseen-2-quick").fingerprint
    for name in ("leaking", "mended"):
        run = runs[f"retrained-{name}-001"]
        assert [use["fingerprint"] for use in read_uses(run.path)] == [run.data["fingerprint"], unseen]
