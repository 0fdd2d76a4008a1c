"""Notebook 07 as papermill runs it, on a folder of one's own; and its exercises' answers, found without the library."""

import json
import re

import numpy as np
import pytest
from executed import outputs_of, printed

from dn3dlib.data.acting import render_video
from dn3dlib.data.manifest import DataSet
from dn3dlib.data.video import write_video
from dn3dlib.evaluate.predict import predict
from dn3dlib.show.exercises_07 import EXERCISES
from dn3dlib.train.runs import Run


@pytest.fixture
def filmed(tmp_path):
    """Two actions by three people, two takes each, in the names that the parameters expect; and a file that is no video."""
    folder = tmp_path / "filmed"
    for label in ("boxing", "squatting"):
        (folder / label).mkdir(parents=True)
        for subject, person in enumerate(("Ida", "Jo", "Kim"), 1):
            for take in (1, 2):
                write_video(folder / label / f"{person}_{take}.mp4", render_video(label, subject, take, 3, 40), 25, "mp4v")
    (folder / "boxing" / "Ida_3.mp4").write_text("no video")
    return folder


def test_videos_of_ones_own_are_learned_found_and_handed_on(papermill, filmed, tmp_path):
    done = papermill("07_your_own_videos", videos=filmed, protocol="by-subject:0.34,0.33,0.33", freeze="body", epochs=1, device="cpu")
    assert done.returncode == 0, done.stderr[-3000:]
    executed = tmp_path / "07_your_own_videos.ipynb"
    text = printed(executed)
    assert "INFO:tensorflow" not in text, "TensorFlow tells its own developers where it writes"
    assert "1 of 13 cannot be used" in text and "Ida_3.mp4 has no video stream" in text
    data = DataSet.open(tmp_path / "data" / "own-filmed-by-subject-0.34,0.33,0.33")
    assert data.classes == ("boxing", "squatting") and len(data.sequences) == 12 and not (tmp_path / "data" / "phone").exists()
    tuned, scratch = (Run.open(tmp_path / "runs" / f"phone-{name}-001") for name in ("tuned", "scratch"))
    assert (tuned.train.freeze, scratch.train.freeze) == ("body", "none") and tuned.train.epochs == scratch.train.epochs == 1
    assert tuned.init_from and not scratch.init_from
    assert "30 of 31 layers with weights are as they were" in text and "head: (48, 6) became (48, 2)" in text
    told = re.search(r"frame accuracy (\d\.\d+), F1 of segments (\d\.\d+): (\d+) found, (\d+) true", text)
    (again,) = predict(tuned.path, [tuned.path / "long.avi"], threshold=0, device="cpu", show_progress=False)
    assert int(told[3]) == len(again.segments) and int(told[4]) == 4
    report = json.loads((tuned.path / "exported" / "export.json").read_text())
    assert [row["format"] for row in report["files"]] == ["keras", "savedmodel"] and report["about"]["classes"] == ["boxing", "squatting"]
    assert Run.open(tmp_path / "runs" / "phone-received-001").classes == data.classes
    pages = ["".join(output["data"].get("text/html", "")) for output in outputs_of(executed) if "data" in output]
    assert sum("srcdoc=" in page for page in pages) == 3 and sum("segments found in" in page for page in pages) == 2


def right_split(names, splits):
    return sorted({n.split("_")[0] for i, n in enumerate(names) if any(n.split("_")[0] == m.split("_")[0] and splits[i] != s for m, s in zip(names, splits, strict=True))})


def starts_one_by_one(frames, span, hop):
    return [start for start in range(max(0, frames - span + 1)) if start % hop == 0 or start == frames - span]


def threshold_by_counting(certainties, right, kept):
    known = [c for c, r in zip(certainties, right, strict=True) if r]
    return max(c for c in known if np.mean([other >= c for other in known]) >= kept)


@pytest.mark.parametrize(
    ("name", "answer"), [("on_both_sides", right_split), ("window_starts", starts_one_by_one), ("threshold", threshold_by_counting)]
)
def test_answers_found_without_the_library_are_right(name, answer, capsys):
    assert EXERCISES[name].check(answer) is True
    assert capsys.readouterr().out.startswith("right: ")


@pytest.mark.parametrize(
    ("found", "truth", "wanted"),
    [
        ([(0, 4, "a")], [(0, 4, "a")], 1.0),
        ([(0, 4, "a")], [(0, 4, "b")], 0.0),
        ([(0, 2, "a"), (2, 4, "a")], [(0, 4, "a")], 2 / 3),  # each piece has one half: the first is right, the second finds it again
        ([(0, 1.9, "a"), (2, 4, "b")], [(0, 4, "a"), (4, 5, "b")], 0.0),
    ],
)
def test_the_oracle_of_segmental_f1_counts_as_on_paper(found, truth, wanted):
    assert EXERCISES["segment_f1"].oracle(found, truth) == pytest.approx(wanted)
