"""Each data set all the way from the shell: prepared, verified, trained for one epoch."""

import json

import pytest

from dn3dlib.data.examples import make_examples
from dn3dlib.data.manifest import DataSet
from dn3dlib.train.runs import Run

SMALL = """
    --device cpu --epochs 1 --batch-size 8 --frames 8 --set clip.hop=8 --set clip.clips_per_sequence=1
    --set model.growth_rate=2 --set model.depth=7 --set model.blocks=2
""".split()


@pytest.mark.parametrize(
    ("source", "options", "sequences", "subjects"),
    [
        ("kth", ["--dataset", "kth", "--protocol", "schuldt2004"], 68, 5),
        ("ps7", ["--dataset", "folder", "--label-pattern", r"PS7A(\d)P", "--subject-pattern", r"P(\d)T", "--protocol", "loso:2"], 27, 3),
        ("", ["--dataset", "ucf101", "--protocol", "by-subject:0.5,0.25,0.25"], 4, 4),
        (None, ["--dataset", "merl", "--background"], 14, 2),
    ],
    ids=["kth", "ps7", "ucf101", "merl"],
)
def test_from_videos_to_a_trained_network(shell, shared_data, tmp_path, source, options, sequences, subjects):
    folder = make_examples(tmp_path / "examples") / "merl" if source is None else shared_data / source
    data_dir, run_dir = tmp_path / "data", tmp_path / "run"
    status, out, err = shell("prepare", *options, "--source", folder, "--out", data_dir, "--height", 32, "--width", 32, "--json")
    assert status == 0, err
    found = json.loads(out)
    assert sum(found[split]["sequences"] for split in ("train", "validation", "test")) == sequences and found["rejected"] == []
    data = DataSet.open(data_dir)
    assert len({s.subject for s in data.sequences}) == subjects and min(s.frames for s in data.sequences) > 0
    status, out, err = shell("verify", data_dir, "--json")
    assert status == 0 and json.loads(out)["frames"] == sum(s.frames for s in data.sequences), err
    status, out, err = shell("train", "--data", data_dir, "--out", run_dir, *SMALL, "--json")
    assert status == 0 and json.loads(out)["epochs"] == 1, err
    assert 0 < Run.open(run_dir).history()[0]["train_loss"] < 20
