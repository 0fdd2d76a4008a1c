"""What a network finds in videos: with the frames of a prepared data set, at any rate and size, in bounded time and memory; and `dn3d predict`."""

import csv
import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import cv2
import imageio.v3 as imageio
import imageio_ffmpeg
import keras
import numpy as np
import pytest

from dn3dlib.cli.predict import _describe
from dn3dlib.config import ModelConfig, StorageConfig
from dn3dlib.data import camera
from dn3dlib.data.acting import CLASSES, render_video
from dn3dlib.data.decode import frame_form
from dn3dlib.data.one_clip import clip_of_video
from dn3dlib.data.segments import Segment
from dn3dlib.data.strung import string_together
from dn3dlib.data.video import iter_frames, probe, write_video
from dn3dlib.errors import ConfigError, Dn3dError, RunError, VideoError
from dn3dlib.evaluate.live import predict_live
from dn3dlib.evaluate.predict import Predictor, predict
from dn3dlib.evaluate.threshold import THRESHOLD, threshold_of
from dn3dlib.metrics import frame_accuracy, segment_f1, softmax
from dn3dlib.model.densenet3d import build_model
from dn3dlib.show import annotated
from dn3dlib.train.best import save_best
from dn3dlib.train.runs import CONFIG, Run
from dn3dlib.train.shipped import shipped_run

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def run(trained, tmp_path) -> Path:
    """A copy of the finished run."""
    return Path(shutil.copytree(trained, tmp_path / "run"))


@pytest.fixture
def without_data(run) -> Path:
    """The same, whose data set has gone."""
    change_config(run, lambda values: values["data"].update(path=str(run / "gone")))
    return run


@pytest.fixture(scope="module")
def walk(tmp_path_factory) -> Path:
    """A lossless grey video of 60 frames of 160×120 at 25 frames/s."""
    path = tmp_path_factory.mktemp("walk") / "walk.avi"
    write_video(path, render_video("walking", 3, 1, frames=60), 25, "FFV1")
    return path


def change_config(run: Path, change) -> None:
    values = json.loads((run / CONFIG).read_text())
    change(values)
    (run / CONFIG).write_text(json.dumps(values))


def found_in(run: Path, *videos: Path, **options) -> list:
    return list(predict(run, videos, **({"device": "cpu", "show_progress": False, "threshold": 0.0} | options)))


def ffmpeg(*arguments: object) -> None:
    subprocess.run([imageio_ffmpeg.get_ffmpeg_exe(), "-y", "-nostdin", "-loglevel", "error", *map(str, arguments)], check=True)


# --- windows and their probabilities ---------------------------------------------------------------------------------


def test_windows_are_what_evaluation_would_compute(run, walk):
    (found,) = found_in(run, walk)
    opened = Run.open(run)
    network = keras.models.load_model(run / "best.keras", compile=False)
    raw = softmax(np.concatenate([network(clip_of_video(walk, opened.storage, opened.clip, int(s)).values[None]).numpy() for s in found.starts]))
    assert found.starts.tolist() == list(range(0, 57, 4)) and found.frames == 60 and found.fps == 25.0
    np.testing.assert_allclose(found.probabilities, raw, atol=1e-5, err_msg="clips of 4 frames at a hop of 4 have no common frames")
    np.testing.assert_allclose(found.certainties, raw.max(axis=1), atol=1e-5)
    assert found.classes == opened.classes and found.complete and found.video == walk
    assert found.segments[0].start == 0 and found.segments[-1].end == pytest.approx(60 / 25)


def test_a_hop_of_its_own_smooths_over_common_frames(run, walk):
    (found,) = found_in(run, walk, hop=1)
    assert found.starts.tolist() == list(range(57))
    (coarse,) = found_in(run, walk)
    assert not np.allclose(found.probabilities[::4], coarse.probabilities), "averaged with what lies between"
    assert np.allclose(found.probabilities.sum(axis=1), 1)


def test_a_short_clip_has_one_class_from_all_its_windows(run, tmp_path):
    write_video(tmp_path / "clip.avi", render_video("boxing", 2, 1, frames=7), 25, "FFV1")
    (found,) = found_in(run, tmp_path / "clip.avi")
    (segment,) = found.segments
    assert found.starts.tolist() == [0, 3], "the second ends with the last frame"
    assert (segment.start, segment.end) == (0, 7 / 25)
    assert segment.label == found.classes[found.vote.argmax()] and segment.certainty == pytest.approx(found.vote.max())


@pytest.mark.parametrize(("fps", "first"), [(50, [0, 8, 16]), (12.5, [0, 2, 4])])
def test_frames_are_taken_at_the_rate_of_the_run(run, walk, tmp_path, fps, first):
    """Twice as many frames a second show the same at the same times."""
    frames = imageio.imread(walk)
    again = np.repeat(frames, 2, axis=0) if fps == 50 else frames[::2]
    write_video(tmp_path / "other.avi", again, fps, "FFV1")
    (found,), (own,) = found_in(run, tmp_path / "other.avi"), found_in(run, walk)
    assert found.starts[:3].tolist() == first and found.fps == fps
    assert found.segments[-1].end == pytest.approx(60 / 25)
    if fps == 50:
        np.testing.assert_allclose(found.probabilities, own.probabilities, atol=1e-5)


def test_a_run_of_an_earlier_version_takes_the_rate_of_its_data_set(run, walk, tmp_path):
    assert Run.open(run).data["fps"] == 25.0
    change_config(run, lambda values: values["data"].pop("fps"))
    predictor = Predictor(run, threshold=0.0, device="cpu")
    assert Run.open(run).data["fps"] == 0.0 and predictor.rate == 25.0 and predictor.notes == []


def test_where_nobody_knows_the_rate_videos_are_taken_at_their_own(without_data, walk, capfd):
    change_config(without_data, lambda values: values["data"].pop("fps"))
    (found,) = found_in(without_data, walk, show_progress=True)
    assert found.starts[1] == 4 and "its data set is gone: each video is taken at its own" in capfd.readouterr().err


def test_a_turned_video_is_seen_upright(run, walk, tmp_path):
    """A phone writes the picture as the sensor stands, and beside it how to turn it."""
    turned = tmp_path / "turned.mp4"
    ffmpeg("-i", walk, "-vf", "transpose=1", "-c:v", "libx264", "-crf", 0, "-pix_fmt", "yuv420p", tmp_path / "lying.mp4")
    ffmpeg("-display_rotation", 90, "-i", tmp_path / "lying.mp4", "-c", "copy", turned)
    info = probe(turned)
    assert (info.width, info.height) == (160, 120), "as shown"
    (found,), (upright,), (lying,) = found_in(run, turned), found_in(run, walk), found_in(run, tmp_path / "lying.mp4")
    np.testing.assert_allclose(found.probabilities, upright.probabilities, atol=0.1)
    assert np.abs(lying.probabilities - upright.probabilities).max() > np.abs(found.probabilities - upright.probabilities).max()


def test_any_size_and_codec(run, walk, tmp_path):
    kinds = {
        "large.mp4": ("-c:v", "libx264", "-s", "320x240"),
        "small.webm": ("-c:v", "libvpx", "-pix_fmt", "yuv420p", "-s", "96x72"),
        "mpeg4.avi": ("-c:v", "mpeg4", "-q:v", 2),
        "jpeg.mov": ("-c:v", "mjpeg", "-q:v", 2),
    }
    for name, options in kinds.items():
        ffmpeg("-i", walk, *options, tmp_path / name)
    found = found_in(run, *(tmp_path / name for name in kinds))
    assert [(p.frames, p.fps, len(p.starts)) for p in found] == [(60, 25.0, 15)] * 4


# --- the threshold ---------------------------------------------------------------------------------------------------


def test_the_threshold_is_chosen_on_validation_and_kept(run, walk, capfd):
    (found,) = found_in(run, walk, threshold=None, show_progress=True)
    kept = json.loads((run / THRESHOLD).read_text())
    assert found.threshold == kept["threshold"] and kept["kept"] == 0.95 and 0 < found.threshold < 1
    assert kept["windows"] == 12 * 3, "the validation split: sequences of 12 frames, clips of 4, a hop of 4"
    assert "Chosen on 36 windows of the validation split" in capfd.readouterr().err
    change_config(run, lambda values: values["data"].update(path=str(run / "gone")))
    (again,) = found_in(run, walk, threshold=None, show_progress=True)
    assert again.threshold == found.threshold and "Chosen" not in capfd.readouterr().err


def test_another_network_has_another_threshold(run, walk):
    found_in(run, walk, threshold=None)
    values = json.loads((run / THRESHOLD).read_text())
    (run / THRESHOLD).write_text(json.dumps(values | {"network": "0" * 64, "threshold": 0.123}))
    (found,) = found_in(run, walk, threshold=None)
    assert found.threshold == values["threshold"]


def test_without_data_and_threshold_it_goes_without_and_says_so(without_data, walk, capfd):
    (found,) = found_in(without_data, walk, threshold=None, show_progress=True)
    said = capfd.readouterr().err
    assert found.threshold is None and "Each window gets a class" in said and str(without_data / "gone") in said
    assert not (without_data / THRESHOLD).exists() and all(segment.label for segment in found.segments)


def test_a_threshold_that_cannot_be_kept_is_used_all_the_same(run):
    (run / THRESHOLD).mkdir()  # where a folder lies, no file can be written
    predictor = Predictor(run, threshold=0.0, device="cpu")
    threshold, said = threshold_of(predictor.run, predictor._step, 8)
    assert 0 < threshold < 1 and "chosen anew each time" in said


def test_below_the_threshold_it_is_none_of_these(run, walk):
    (found,) = found_in(run, walk, threshold=1.0)
    (segment,) = found.segments
    assert segment.label is None and segment.name == "none of these" and segment.certainty == pytest.approx(found.certainties.mean(), abs=0.05)


# --- several videos, and what cannot be used -------------------------------------------------------------------------


@pytest.fixture
def bad(tmp_path) -> dict[str, Path]:
    cv2.imwrite(str(tmp_path / "photo.jpg"), np.zeros((60, 80, 3), np.uint8))
    (tmp_path / "text.avi").write_text("no video\n" * 100)
    write_video(tmp_path / "short.avi", np.zeros((3, 32, 32), np.uint8), 25)
    return {"photo.jpg": "has 1 frame at 25", "text.avi": "no video stream", "short.avi": r"has 3 frames .* a clip of this run spans 4 at 25", "gone.avi": "does not exist"}


def test_what_cannot_be_used_is_told_and_the_others_go_on(run, walk, bad, tmp_path):
    refused = []
    videos = [tmp_path / name for name in bad]
    found = found_in(run, walk, *videos, walk, refused=refused.append)
    assert [p.video for p in found] == [walk, walk] and [str(e).split(" ")[0] for e in refused] == [str(v) for v in videos]
    np.testing.assert_array_equal(found[0].probabilities, found[1].probabilities)


@pytest.mark.parametrize("name", ["photo.jpg", "text.avi", "short.avi", "gone.avi"])
def test_alone_it_is_an_error_in_one_sentence(run, bad, tmp_path, name, shell):
    status, out, err = shell("predict", "--run", run, tmp_path / name, "--threshold", 0, "--device", "cpu")
    last = err.splitlines()[-1]
    assert (status, out) == (2, "") and last.startswith(f"dn3d: error: {tmp_path / name}") and re.search(bad[name], last)


def test_without_a_place_for_errors_they_are_raised(run, bad, tmp_path):
    with pytest.raises(VideoError, match="no video stream"):
        found_in(run, tmp_path / "text.avi")


def test_a_video_that_breaks_off_is_refused(run, walk, tmp_path):
    data = walk.read_bytes()
    (tmp_path / "half.avi").write_bytes(data[: len(data) // 2])
    with pytest.raises(VideoError, match="truncated"):
        found_in(run, tmp_path / "half.avi")


def test_colours_are_taken_away_for_a_grey_run_and_grey_is_enough_for_a_coloured_one(run, walk, tmp_path, tiny):
    """OpenCV gives three channels of any video, so that no video has too few or too many for a run."""
    grey = imageio.imread(walk)
    write_video(tmp_path / "coloured.avi", np.stack([grey[..., 0]] * 3, axis=-1), 25, "FFV1")
    (found,), (own,) = found_in(run, tmp_path / "coloured.avi"), found_in(run, walk)
    np.testing.assert_allclose(found.probabilities, own.probabilities, atol=1e-4)
    change_config(run, lambda values: values["storage"].update(channels=3))
    opened = Run.open(run)
    save_best(opened, build_model(ModelConfig(growth_rate=2, depth=7, blocks=2), opened.clip_shape, len(opened.classes)))
    (found,) = found_in(run, walk)
    assert len(found.starts) == 15


def test_a_network_of_other_channels_or_classes_than_the_run_is_refused(run, walk):
    change_config(run, lambda values: values["storage"].update(channels=3))
    with pytest.raises(RunError, match="takes clips of 4×32×32×1 .* configuration says 4×32×32×3"):
        found_in(run, walk)
    change_config(run, lambda values: values["storage"].update(channels=1) or values["data"].update(classes=["a", "b"]))
    with pytest.raises(RunError, match="tells apart 6 .* says 2"):
        found_in(run, walk)


def test_a_run_without_weights_is_refused(run, walk, shell):
    (run / "best.keras").unlink()
    with pytest.raises(RunError, match="no best.keras yet"):
        predict(run, [walk])
    status, _, err = shell("predict", "--run", run, walk)
    assert status == 2 and "no best.keras yet" in err.splitlines()[-1]


@pytest.mark.parametrize(("options", "words"), [({"hop": 0}, "--hop is 0"), ({"hop": 5}, "from 1 to 4"), ({"threshold": 1.5}, "--threshold is 1.5"), ({"threshold": -0.1}, "from 0 to 1")])
def test_impossible_wishes_are_refused_at_once(run, walk, options, words):
    with pytest.raises(ConfigError, match=words):
        predict(run, [walk], **options)


def test_the_next_video_is_decoded_while_the_network_works(run, walk, monkeypatch):
    from dn3dlib.evaluate import predict as module

    opened, both = [], threading.Event()
    real = module.header

    def header(path):
        opened.append((path, threading.current_thread()))
        if len(opened) == 2:
            both.set()
        return real(path)

    monkeypatch.setattr(module, "header", header)
    predictions = predict(run, [walk, walk], device="cpu", show_progress=False, threshold=0.0)
    next(predictions)
    assert both.wait(10), "before the second was asked for"
    assert threading.main_thread() not in [thread for _, thread in opened]
    assert len(list(predictions)) == 1


# --- stopped on the way ----------------------------------------------------------------------------------------------


def test_what_was_found_until_it_was_stopped_is_kept(run, tmp_path, monkeypatch):
    path = tmp_path / "long.avi"
    write_video(path, np.random.default_rng(0).integers(0, 256, (1000, 32, 32), dtype=np.uint8), 25)
    stop, real, asked = threading.Event(), Predictor.probabilities, []

    def probabilities(self, clips):
        asked.append(len(clips))
        if len(asked) == 6:  # the first is to trace the network
            stop.set()
        return real(self, clips)

    monkeypatch.setattr(Predictor, "probabilities", probabilities)
    (found,) = found_in(run, path, path, stop=stop)
    windows = sum(asked[1:])
    assert not found.complete and len(found.starts) == windows < 250
    assert found.frames == windows * 4 and found.segments[-1].end == pytest.approx(found.frames / 25)


def test_stopped_before_the_first_window_there_is_nothing(run, walk):
    stop = threading.Event()
    stop.set()
    assert found_in(run, walk, walk, stop=stop) == []


def test_an_interrupt_in_an_hour_of_video_keeps_what_was_found(without_data, tmp_path):
    hour = tmp_path / "hour.avi"
    ffmpeg("-f", "lavfi", "-i", "testsrc=size=32x32:rate=25:duration=3600", "-c:v", "mpeg4", hour)
    command = [sys.executable, "-m", "dn3dlib", "predict", "--run", without_data, hour, "--hop", "1", "--threshold", "0", "--out", tmp_path / "found.csv", "--device", "cpu"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment) as process:
        said = ""
        while said.count("frame/s]") < 2 and process.poll() is None:  # the bar says that it is on its way
            said += process.stderr.read(1)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=120)
    assert process.returncode == 130, said + err
    rows = list(csv.DictReader((tmp_path / "found.csv").open()))
    reached = float(rows[-1]["end"])
    assert 0 < reached < 3600 and "Stopped at " in err and f"kept in {tmp_path / 'found.csv'}" in err
    assert out.startswith(str(hour)) and rows[0]["start"] == "0.000"


# --- the shell -------------------------------------------------------------------------------------------------------


def test_the_shell_tells_a_timeline(run, walk, shell):
    status, out, err = shell("predict", "--run", run, walk, "--threshold", 0, "--device", "cpu")
    (found,) = found_in(run, walk)
    assert status == 0 and out.splitlines()[0].startswith(f"{walk}: 0:02.4, 60 frames at 25 frames/s")
    assert "times as fast as it plays" in err
    several = replace(found, threshold=0.5, segments=(Segment(0, 1.2, "boxing", 0.9), Segment(1.2, 2.4, None, 0.4)))
    head, *lines = _describe(several).splitlines()
    assert "; windows less certain than 0.500 are none of these; behind each class its mean probability" in head
    assert [line.split() for line in lines] == [["0:00.0", "–", "0:01.2", "boxing", "0.90"], ["0:01.2", "–", "0:02.4", *"none of these".split(), "0.40"]]


def test_of_a_short_clip_it_tells_all_probabilities(run, shell, tmp_path):
    write_video(tmp_path / "clip.avi", render_video("boxing", 2, 1, frames=7), 25)
    status, out, _ = shell("predict", "--run", run, tmp_path / "clip.avi", "--threshold", 0, "--device", "cpu")
    rows = [line.split() for line in out.splitlines()[1:]]
    assert status == 0 and {name for name, _ in rows} == set(CLASSES) and sum(float(share) for _, share in rows) == pytest.approx(1, abs=0.01)
    assert out.splitlines()[0].endswith(f": {rows[0][0]}")


def test_json_is_one_object(run, walk, shell, tmp_path):
    status, out, _ = shell("predict", "--run", run, walk, tmp_path / "gone.avi", walk, "--threshold", 0, "--json", "--device", "cpu")
    found = json.loads(out)
    assert status == 2 and len(found["videos"]) == 2 and "gone.avi does not exist" in found["refused"][0]["problem"]
    first = found["videos"][0]
    assert (first["video"], first["fps"], first["frames"], first["complete"], first["threshold"]) == (str(walk), 25.0, 60, True, 0.0)
    assert set(first["probabilities"]) == set(CLASSES) and first["segments"][-1]["end"] == pytest.approx(2.4)
    assert set(first["segments"][0]) == {"start", "end", "label", "certainty"}


def test_what_was_found_is_told_where_the_file_can_no_longer_be_written(run, walk, shell, tmp_path, monkeypatch):
    def full(path, data):
        raise Dn3dError("The disk is full.")

    monkeypatch.setattr("dn3dlib.cli.predict.write_bytes", full)
    status, out, err = shell("predict", "--run", run, walk, "--out", tmp_path / "x.csv", "--threshold", 0, "--json", "--device", "cpu")
    assert status == 2 and "The disk is full" in err.splitlines()[-1] and len(json.loads(out)["videos"]) == 1


def test_a_table_holds_all_videos(run, walk, shell, tmp_path):
    status, _, _ = shell("predict", "--run", run, walk, tmp_path / "gone.avi", walk, "--out", tmp_path / "new" / "all.csv", "--threshold", 0, "--device", "cpu")
    rows = list(csv.DictReader((tmp_path / "new" / "all.csv").open()))
    (found,) = found_in(run, walk)
    assert status == 2, "one could not be used, and the others are written"
    assert [row["label"] for row in rows] == 2 * [segment.name for segment in found.segments] and {row["video"] for row in rows} == {str(walk)}


def test_an_annotated_video_plays_in_browsers(run, walk, shell, tmp_path):
    out = tmp_path / "seen.mp4"
    status, _, _ = shell("predict", "--run", run, walk, "--out", out, "--threshold", 0, "--device", "cpu")
    assert status == 0
    about = imageio.immeta(out, plugin="FFMPEG")
    assert about["codec"] == "h264" and about["pix_fmt"].startswith("yuv420p") and about["fps"] == 25
    assert out.read_bytes().index(b"moov") < out.read_bytes().index(b"mdat"), "it plays before it is fetched whole"
    info = probe(out)
    assert (info.frames, info.width, info.height) == (60, 480, 360 + 72)
    assert [path.name for path in tmp_path.iterdir() if "partial" in path.name] == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["a.avi", "--out", "x.txt"], "ends in neither .csv nor .mp4"),
        (["a.avi", "b.avi", "--out", "x.mp4"], "x.mp4 is one video, but 2 are given"),
        (["a.avi", "--out", "here.csv"], "already exists"),
        (["a.avi", "--out", "here.csv/x.csv"], "x.csv cannot be made"),
        pytest.param(["a.avi", "--out", "/proc/x.csv"], "/proc/x.csv cannot be", marks=pytest.mark.skipif(not Path("/proc").is_dir(), reason="no /proc")),
    ],
)
def test_what_could_not_be_written_is_refused_first(shell, tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here.csv").touch()
    status, _, err = shell("predict", "--run", "nowhere", *arguments)
    assert status == 2 and words in err.splitlines()[-1]


# --- the annotated video ---------------------------------------------------------------------------------------------


def test_the_video_can_be_stopped_while_it_is_written(run, walk, tmp_path):
    (found,) = found_in(run, walk)
    stop = threading.Event()
    stop.set()
    assert annotated.write_annotated(found, tmp_path / "seen.mp4", stop, show_progress=False) == 1
    assert probe(tmp_path / "seen.mp4").frames == 1


def test_a_place_that_takes_no_video_is_named(run, walk, tmp_path):
    (found,) = found_in(run, walk)
    with pytest.raises(VideoError, match="seen.mp4 cannot be written"):
        annotated.write_annotated(found, tmp_path / "gone" / "seen.mp4", show_progress=False)


def test_the_strip_says_where_one_is(run, walk):
    (found,) = found_in(run, walk)
    frames = list(annotated._frames(found))
    strips = np.stack(frames)[:, -72:]
    cursor = [int(np.flatnonzero((strip[34] == 255).all(axis=-1)).mean()) for strip in strips]
    assert len(frames) == 60 and cursor == sorted(cursor) and cursor[0] < 15 and cursor[-1] > 440


# --- live ------------------------------------------------------------------------------------------------------------


def test_a_file_stands_for_the_camera(run, walk):
    found = list(predict_live(run, walk, hop=2, threshold=0.0, device="cpu"))
    (whole,) = found_in(run, walk, hop=2)
    assert len(found) == len(whole.starts) and found[0].frame.shape == (32, 32, 1)
    assert [label.time for label in found] == pytest.approx((whole.starts + 4) / 25)
    # The newest window knows only those before it; in the end there are none behind the last.
    np.testing.assert_allclose(found[-1].probabilities, whole.probabilities[-1], atol=1e-5)
    assert found[-1].label == whole.classes[whole.probabilities[-1].argmax()]


def test_a_file_shorter_than_a_clip_is_told(run, bad, tmp_path):
    with pytest.raises(VideoError, match=r"short.avi is shorter than a clip of this run, 4 frames at 25 frames/s \(0.16 s\)"):
        list(predict_live(run, tmp_path / "short.avi", threshold=0.0, device="cpu"))


class FilmedByClock:
    """A camera of ten frames a second, each as grey as its number, that is unplugged after 20."""

    def __init__(self, number: int):
        self.number, self.frames, self.released = number, 0, False

    def isOpened(self) -> bool:
        return self.number == 3

    def read(self):
        self.frames += 1
        return self.frames <= 20, np.full((24, 32, 3), self.frames, np.uint8)

    def release(self) -> None:
        self.released = True


def test_a_cameras_frames_are_taken_by_the_clock(run, monkeypatch):
    cameras = []
    monkeypatch.setattr(camera.cv2, "VideoCapture", lambda number: cameras.append(FilmedByClock(number)) or cameras[-1])
    monkeypatch.setattr(camera.time, "monotonic", lambda: 100 + cameras[-1].frames / 10)
    labels = predict_live(run, 3, threshold=0.0, device="cpu")
    first = next(labels)
    assert first.time == pytest.approx(4 / 25) and first.frame[0, 0, 0] == 2, "0.12 s is nearest to the second frame, at 0.1 s"
    with pytest.raises(VideoError, match="camera 3 gives no picture any more"):
        list(labels)
    assert cameras[0].released


def test_who_stops_looking_lets_go_of_the_camera(run, monkeypatch):
    cameras = []
    monkeypatch.setattr(camera.cv2, "VideoCapture", lambda number: cameras.append(FilmedByClock(number)) or cameras[-1])
    monkeypatch.setattr(camera.time, "monotonic", lambda: 100 + cameras[-1].frames / 10)
    labels = predict_live(run, 3, threshold=0.0, device="cpu")
    next(labels)
    labels.close()
    assert cameras[0].released


class Playing(FilmedByClock):
    """A camera before which a film is played."""

    def __init__(self, film: np.ndarray):
        self.film, self.frames, self.released = film, 0, False

    def isOpened(self) -> bool:
        return True

    def read(self):
        self.frames += 1
        more = self.frames <= len(self.film)
        return more, np.ascontiguousarray(self.film[self.frames - 1, :, :, ::-1]) if more else None


def test_a_box_follows_whoever_walks_before_the_camera_as_in_a_file(tmp_path, monkeypatch):
    film = np.repeat(render_video("walking", 3, 1, frames=60)[..., None], 3, axis=3)
    storage = StorageConfig(height=64, width=32, follow="motion")
    write_video(tmp_path / "film.avi", film, 25, "FFV1")
    of_file = list(iter_frames(tmp_path / "film.avi", **frame_form(storage)))[:30]
    whole = list(iter_frames(tmp_path / "film.avi", height=64, width=32, channels=1))[:30]
    playing = Playing(film)
    monkeypatch.setattr(camera.cv2, "VideoCapture", lambda number: playing)
    monkeypatch.setattr(camera.time, "monotonic", lambda: 7 + playing.frames / 25)
    times, frames = zip(*itertools.islice(camera.frames_of(0, storage, 25), 30), strict=True)
    np.testing.assert_array_equal(frames, of_file)
    assert np.abs(np.subtract(frames, whole, dtype=float)).mean() > 5, "a part of the picture"
    assert times == pytest.approx(np.arange(30) / 25)


def test_without_a_camera_there_is_a_sentence(run):
    with pytest.raises(VideoError, match="no camera 99 that can be opened.* or give a video file instead"):
        predict_live(run, 99, threshold=0.0, device="cpu")


# --- how right it is -------------------------------------------------------------------------------------------------


def test_of_a_person_it_has_never_seen_the_shipped_network_tells_most(tmp_path, monkeypatch):
    """Person 9 of the synthetic set was in its test part."""
    monkeypatch.setenv("DN3D_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("DN3D_DATA", str(tmp_path / "data"))
    run = shipped_run("honest")
    assert "person09" not in run.data["train_subjects"] and run.data["fps"] == 25.0
    parts = []
    for label in ("running", "boxing", "walking", "handwaving", "jogging", "handclapping"):
        path = tmp_path / f"{label}.avi"
        write_video(path, render_video(label, 9, 1), 25, "XVID")
        parts.append((path, label))
    truth = string_together(parts, tmp_path / "long.avi")
    (found,) = found_in(run.path, tmp_path / "long.avi")
    accuracy, f1 = frame_accuracy(found.segments, truth), segment_f1(found.segments, truth)
    print(f"frame accuracy {accuracy:.3f}, segment F1@0.5 {f1:.3f}")
    assert accuracy > 0.8 and f1 > 0.8

