"""Notebook 08 as papermill runs it, on few people and with another network to reckon with."""

import re

from executed import outputs_of, printed

from dn3dlib.presets import PRESETS
from dn3dlib.train.runs import Run
from dn3dlib.train.scaling import Machines, scaling_costs


def test_notebook_08_on_few_people(papermill, tmp_path, small_set):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "synthetic-quick").symlink_to(small_set)
    done = papermill("08_scale_out", epochs=5, seed=1, preset="thesis-15", gpu_clips_per_second=1000.0)
    assert done.returncode == 0, done.stderr[-3000:]
    text = printed(tmp_path / "08_scale_out.ipynb")
    own, common = map(float, re.search(r"own statistics (\S+), common ones (\S+)", text).groups())
    assert common < 1e-5 < own

    runs = {path.name: Run.open(path) for path in (tmp_path / "runs").iterdir() if not path.name.endswith(".logs")}
    assert set(runs) == {"two-steps-001", "two-steps-002", "two-steps-003", "one-process-001", "two-workers-001", "broken-off-001"}
    assert [len(runs[name].history()) for name in ("one-process-001", "two-workers-001", "broken-off-001")] == [5, 5, 5]
    assert {run.train.seed for run in runs.values()} == {1}
    assert "Worker 1 was killed (SIGKILL), so all were ended." in text and str(tmp_path) not in text

    costs = scaling_costs(Machines(1000.0), PRESETS["thesis-15"].parameters, PRESETS["thesis-15"].train.batch_size, 1_000_000)
    (table,) = [html for html in htmls(tmp_path) if "<th" in html]
    assert all(f">{cost.clips_per_second:,.0f}</td>" in table and f">{cost.efficiency:.2f}</td>" in table for cost in costs)
    assert "thesis-15: 20.2 MB of gradients" in text and costs[-1].efficiency < 0.6, "hosts that decode 2000 clips/s starve eight such GPUs"
    assert "role             arn:aws:iam::************:role/dn3d-training" in text and "111122223333" not in text
    assert text.count("not yet: put your answer") == 4 and "INFO:tensorflow" not in text


def htmls(folder) -> list[str]:
    return ["".join(output["data"].get("text/html", "")) for output in outputs_of(folder / "08_scale_out.ipynb") if "data" in output]


def test_a_preset_that_is_none_is_named(papermill, tmp_path, small_set):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "synthetic-quick").symlink_to(small_set)
    done = papermill("08_scale_out", preset="thesis-16", epochs=4)
    assert done.returncode == 1 and "There is no preset 'thesis-16': did you mean thesis-" in done.stderr
    assert not (tmp_path / "runs").exists(), "said before anything is trained"
