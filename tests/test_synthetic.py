"""The synthetic set: KTH's names and format, one seed, complete or not there."""

import itertools
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import psutil
import pytest

from dn3dlib.data import acting, synthetic
from dn3dlib.data.acting import ACTIONS, CLASSES, GAITS, SIZE, performance, render_video
from dn3dlib.data.synthetic import make_synthetic
from dn3dlib.errors import ConfigError, DataError, Dn3dError

TINY = {"subjects": 2, "scenarios": 1, "frames": 20, "workers": 1}


@pytest.fixture(scope="module")
def tiny_set(tmp_path_factory) -> Path:
    return make_synthetic(tmp_path_factory.mktemp("synthetic") / "set", **TINY)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def decode(path: Path) -> np.ndarray:
    reader, frames = cv2.VideoCapture(str(path)), []
    while (answer := reader.read())[0]:
        frames.append(answer[1])
    return np.stack(frames)


def test_names_are_those_of_kth(tiny_set):
    expected = {f"{label}/person{subject:02d}_{label}_d1_uncomp.avi" for label in CLASSES for subject in (1, 2)}
    found = {path.relative_to(tiny_set).as_posix() for path in tiny_set.rglob("*.avi")}
    assert found == expected
    assert {path.name for path in tiny_set.iterdir()} == {*CLASSES, "00sequences.txt", "synthetic.json"}


def test_annotation_has_the_form_of_kth(tiny_set):
    row = re.compile(r"^(person\d\d_[a-z]+_d\d)\s+frames\s+(\d+-\d+(?:,\s*\d+-\d+)*)\s*$", re.MULTILINE)
    rows = dict(row.findall((tiny_set / "00sequences.txt").read_text(encoding="ascii")))
    assert set(rows) == {f"person{subject:02d}_{label}_d1" for label in CLASSES for subject in (1, 2)}
    assert set(rows.values()) == {"1-10, 11-20"}


def test_every_video_decodes_to_what_was_drawn(tiny_set):
    for label, subject in itertools.product(CLASSES, (1, 2)):
        drawn = render_video(label, subject, 1, frames=20)
        decoded = decode(tiny_set / label / f"person{subject:02d}_{label}_d1_uncomp.avi")
        assert decoded.shape == (20, *SIZE, 3)
        assert (decoded == decoded[..., :1]).all(), "the three channels are one grey"
        assert np.abs(decoded[..., 0].astype(int) - drawn).mean() < 5


def test_frame_rate(tiny_set):
    assert cv2.VideoCapture(str(next(tiny_set.rglob("*.avi")))).get(cv2.CAP_PROP_FPS) == synthetic.FPS


def test_two_makings_are_equal_byte_for_byte(tiny_set, tmp_path):
    again = make_synthetic(tmp_path / "set", **{**TINY, "workers": 2})
    assert contents(again) == contents(tiny_set)


def test_pixels_depend_on_the_arguments_alone():
    first = render_video("walking", 2, 2, seed=5, frames=6)
    render_video("boxing", 1, 1, seed=5, frames=2)
    assert first.dtype == np.uint8 and first.shape == (6, *SIZE)
    assert np.array_equal(first, render_video("walking", 2, 2, seed=5, frames=6))
    assert np.array_equal(first[:3], render_video("walking", 2, 2, seed=5, frames=3))


def test_another_seed_subject_scenario_or_class_gives_other_pixels():
    first = render_video("walking", 1, 1, 0, frames=2)
    for other in (("walking", 1, 1, 1), ("walking", 2, 1, 0), ("walking", 1, 2, 0), ("running", 1, 1, 0)):
        assert not np.array_equal(first, render_video(*other, frames=2)), other


@pytest.mark.parametrize("label, scenario", list(itertools.product(ACTIONS, (1, 2, 3, 4))))
def test_the_figure_stays_in_the_picture(label, scenario):
    pen_marks = []

    class Spy(acting._Pen):
        def limb(self, start, end, radii, grey):
            x = [self.foot[0] + self.facing * point[0] * self.scale for point in (start, end)]
            y = [self.foot[1] - point[1] * self.scale for point in (start, end)]
            pen_marks.append((min(x), max(x), min(y), max(y)))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(acting, "_Pen", Spy)
        for subject in range(1, 17):
            render_video(label, subject, scenario, frames=40)
    left, right, top, bottom = np.array(pen_marks).T
    assert left.min() > 0 and right.max() < SIZE[1] and top.min() > 0 and bottom.max() < SIZE[0]


@pytest.mark.parametrize("label", acting.EXERCISES)
def test_who_stands_hardly_moves_and_who_exercises_does(label):
    """Measured at all joints, in body heights, over one cycle."""
    act, actor = performance(label, 1, 1), acting._actor(1, 0, 1)
    places = np.array([list(acting.POSES[label](phase / 8, act, actor).values()) for phase in range(8)])
    reach = np.ptp(places, axis=0).max()
    assert reach < 0.05 if label == "standing" else 0.15 < reach < 0.8


def test_gaits_differ_in_cadence_and_overlap_in_everything_else():
    styles = {label: [performance(label, subject, scenario) for subject in range(1, 17) for scenario in (1, 2)]
              for label in GAITS}  # fmt: skip
    cadence = {label: [style.cadence for style in styles[label]] for label in GAITS}
    assert max(cadence["walking"]) < min(cadence["jogging"]) and max(cadence["jogging"]) < min(cadence["running"])
    traits = ("travel", "stride", "knee", "elbow", "lean", "bounce")
    for trait, pair in itertools.product(traits, itertools.pairwise(GAITS)):
        slow, fast = ([getattr(style, trait) for style in styles[label]] for label in pair)
        shared = min(max(slow), max(fast)) - max(min(slow), min(fast))
        assert shared > 0.35 * (max(slow + fast) - min(slow + fast)), (trait, pair)


def test_both_directions_occur_for_every_subject():
    for subject in (1, 2):
        assert {performance("walking", subject, scenario).facing for scenario in (1, 2)} == {-1, 1}


def test_a_complete_set_is_left_as_it_is(tiny_set):
    before = {path: path.stat().st_mtime_ns for path in [tiny_set, *tiny_set.rglob("*")]}
    assert make_synthetic(tiny_set, **TINY) == tiny_set
    assert {path: path.stat().st_mtime_ns for path in [tiny_set, *tiny_set.rglob("*")]} == before


def test_a_set_of_other_parameters_is_refused(tiny_set):
    before = contents(tiny_set)
    with pytest.raises(DataError, match="other parameters"):
        make_synthetic(tiny_set, **{**TINY, "seed": 1})
    assert contents(tiny_set) == before


def test_a_folder_of_something_else_is_refused(tmp_path):
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "thesis.txt").write_text("years of work")
    with pytest.raises(DataError, match="something else"):
        make_synthetic(tmp_path / "set", **TINY)
    (tmp_path / "file").write_text("a file")
    with pytest.raises(DataError, match="something else"):
        make_synthetic(tmp_path / "file", **TINY)
    assert {path.name for path in tmp_path.iterdir()} == {"set", "file"}


def test_an_empty_folder_is_filled(tmp_path):
    (tmp_path / "set").mkdir()
    assert (make_synthetic(tmp_path / "set", **{**TINY, "subjects": 1, "frames": 2}) / "synthetic.json").is_file()


def test_a_set_with_a_video_gone_is_named_incomplete(tmp_path):
    out_dir = make_synthetic(tmp_path / "set", **{**TINY, "subjects": 1, "frames": 2})
    (out_dir / "boxing" / "person01_boxing_d1_uncomp.avi").unlink()
    with pytest.raises(DataError, match="person01_boxing_d1_uncomp.avi"):
        make_synthetic(out_dir, **{**TINY, "subjects": 1, "frames": 2})


@pytest.mark.parametrize("fault, raised", [(KeyboardInterrupt(), KeyboardInterrupt),
                                           (OSError(28, "No space left on device"), Dn3dError)])  # fmt: skip
def test_an_interrupted_making_leaves_nothing(tmp_path, monkeypatch, fault, raised):
    whole, done = synthetic._write_video, []

    def interrupted(*arguments):
        if len(done) == 3:
            raise fault
        done.append(whole(*arguments))

    monkeypatch.setattr(synthetic, "_write_video", interrupted)
    with pytest.raises(raised):
        make_synthetic(tmp_path / "set", **TINY)
    assert list(tmp_path.iterdir()) == []


def test_a_video_cut_short_is_noticed(tmp_path, monkeypatch):
    monkeypatch.setattr(synthetic, "render_video", lambda *arguments: render_video(*arguments)[:-1])
    with pytest.raises(DataError, match="19 of its 20 frames"):
        make_synthetic(tmp_path / "set", **TINY)
    assert list(tmp_path.iterdir()) == []


def test_what_killed_makings_left_is_cleared_away(tmp_path):
    dead = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True)
    leftover = tmp_path / f"set.partial-{dead.stdout.strip()}"
    alive = tmp_path / "set.partial-1"
    for folder in (leftover, alive):
        (folder / "boxing").mkdir(parents=True)
    make_synthetic(tmp_path / "set", **{**TINY, "subjects": 1, "frames": 2})
    assert {path.name for path in tmp_path.iterdir()} == {"set", alive.name}


def test_a_killed_making_leaves_no_process_and_the_next_one_mends(tmp_path):
    script = f"""if __name__ == "__main__":
        from dn3dlib.data.synthetic import make_synthetic
        make_synthetic({str(tmp_path / "set")!r}, frames=60, workers=2)"""
    (tmp_path / "making.py").write_text(script)
    environment = {**os.environ, "PYTHONPATH": str(Path(synthetic.__file__).parents[2])}
    making = subprocess.Popen([sys.executable, tmp_path / "making.py"], env=environment)
    deadline = time.monotonic() + 60
    while not list(tmp_path.rglob("*.avi")):
        assert making.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    workers = psutil.Process(making.pid).children(recursive=True)
    making.kill()
    making.wait()
    assert not psutil.wait_procs(workers, timeout=30)[1], "a worker outlived the making"
    assert not (tmp_path / "set").exists()
    make_synthetic(tmp_path / "set", **{**TINY, "subjects": 1, "frames": 2})
    assert {path.name for path in tmp_path.iterdir()} == {"set", "making.py"}


def test_the_marker_holds_the_parameters(tiny_set):
    marker = json.loads((tiny_set / "synthetic.json").read_text())
    assert marker == {"version": synthetic.VERSION, "seed": 0, "subjects": 2, "scenarios": 1, "frames": 20}


@pytest.mark.parametrize("wrong", [{"seed": -1}, {"subjects": 0}, {"scenarios": 5}, {"frames": 1}, {"workers": 0}])
def test_impossible_parameters_are_refused(tmp_path, wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        make_synthetic(tmp_path / "set", **{**TINY, **wrong})
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_class_is_refused():
    with pytest.raises(ConfigError, match="handwaving"):
        render_video("dancing", 1, 1)
