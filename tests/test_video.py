"""Videos with known pixels, broken files of every kind, and real files whose headers lie."""

import gc
import os
import pickle
import stat
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import psutil
import pytest
from broken_videos import cut, ffmpeg, film, with_promise, without_pictures

from dn3dlib.data import video
from dn3dlib.data.video import header, iter_frames, probe, read_frames, write_video
from dn3dlib.errors import ConfigError, VideoError


def numbered(count: int, height: int = 24, width: int = 32) -> np.ndarray:
    """Grey frames whose every pixel is the number of the frame."""
    return np.broadcast_to(np.arange(count, dtype=np.uint8)[:, None, None], (count, height, width)).copy()


def noise(count: int, height: int, width: int, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, height, width, channels), dtype=np.uint8)


def cut_clip(path: Path, share: float) -> Path:
    return cut(path, share, path.with_name(f"cut_{path.name}"))


def error_of(path: Path | str) -> VideoError:
    with pytest.raises(VideoError) as caught:
        probe(path)
    message = str(caught.value)
    assert "\n" not in message and ";" in message, "one sentence that ends in what to do"
    return caught.value


class Wrapped:
    """Stands in for an OpenCV object; a subclass of one would crash the interpreter's garbage collection."""

    def __init__(self, wrapped):
        self.wrapped = wrapped

    def __getattr__(self, name):
        return getattr(self.wrapped, name)


@pytest.fixture(scope="module")
def counted(tmp_path_factory) -> Path:
    """50 lossless frames; every pixel of frame n is n."""
    path = tmp_path_factory.mktemp("counted") / "counted.avi"
    write_video(path, numbered(50), fps=25, codec="FFV1")
    return path


@pytest.fixture(scope="module")
def clips(tmp_path_factory) -> Path:
    """One test picture of 100 frames, 160×120, in several containers."""
    folder = tmp_path_factory.mktemp("clips")
    for name, codec in {
        "xvid.avi": ["mpeg4", "-vtag", "XVID"],
        "index_last.mp4": ["libx264"],
        "index_first.mp4": ["libx264", "-movflags", "+faststart"],
        "matroska.mkv": ["libx264"],
    }.items():
        film(folder / name, "-c:v", *codec, seconds=4)
    return folder


# --- reading ---------------------------------------------------------------------------------------------------------


def test_probe_says_what_is_there(counted):
    info = probe(counted)
    assert (info.width, info.height, info.frames, info.frames_in_header) == (32, 24, 50, 50)
    assert (info.path, info.fps, info.codec) == (counted, 25.0, "ffv1")


def test_the_header_alone_counts_nothing(counted, tmp_path):
    info = header(str(counted))
    assert (info.width, info.height, info.frames, info.frames_in_header) == (32, 24, None, 50)
    assert (info.fps, info.codec) == (25.0, "ffv1")
    with pytest.raises(VideoError, match="does not exist"):
        header(tmp_path / "none.avi")


def test_a_visitor_sees_grey_frames_at_even_distances(counted):
    seen = []
    assert probe(counted, seen.append, 8).frames == 50
    assert [frame[0, 0, 0] for frame in seen] == [0, 8, 16, 24, 32, 40, 48]
    assert all(frame.shape == (24, 32, 1) for frame in seen)


@pytest.mark.parametrize(("start", "stop"), [(0, None), (0, 50), (0, 1), (7, 19), (49, 50), (30, None)])
def test_ranges_are_exact(counted, start, stop):
    frames = read_frames(counted, start, stop)
    numbers = np.arange(50)[start:stop]
    assert frames.dtype == np.uint8 and frames.shape == (len(numbers), 24, 32, 3)
    assert (frames == numbers[:, None, None, None]).all()


def test_frames_stream_and_are_fresh(counted):
    frames = list(iter_frames(counted, 3, 6, channels=1))
    assert [frame.shape for frame in frames] == [(24, 32, 1)] * 3
    frames[0][:] = 255
    assert (frames[1] == 4).all()
    assert all(frame.flags.writeable and frame.flags.c_contiguous for frame in frames)


def test_range_behind_the_end_names_the_end(counted):
    with pytest.raises(VideoError, match=r"counted\.avi ended at frame 50 of 60 asked for; ") as caught:
        read_frames(counted, 40, 60)
    assert caught.value.reason == "ended at frame 50 of 60"
    with pytest.raises(VideoError, match="ended at frame 50 of 71"):
        read_frames(counted, 70)


def test_streaming_gives_the_frames_before_the_end(counted):
    numbers = []
    with pytest.raises(VideoError, match="ended at frame 50"):
        for frame in iter_frames(counted, 47, 60):
            numbers.append(frame[0, 0, 0])
    assert numbers == [47, 48, 49]


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"start": -1}, "-1 to None"),
        ({"start": 5, "stop": 5}, "5 to 5"),
        ({"height": 0}, "height"),
        ({"width": -3}, "width"),
        ({"channels": 4}, "channels"),
        ({"fit": "zoom"}, "stretch, crop, pad"),
    ],
)
def test_impossible_arguments_are_refused_at_once(counted, wrong, named):
    with pytest.raises(ConfigError, match=named):
        iter_frames(counted, **wrong)


def test_red_stays_red_and_grey_weighs_colours(tmp_path):
    red = np.zeros((2, 16, 16, 3), np.uint8)
    red[..., 0] = 255
    write_video(tmp_path / "red.avi", red, 25, "FFV1")
    assert (read_frames(tmp_path / "red.avi") == red).all()
    assert (read_frames(tmp_path / "red.avi", channels=1) == 76).all(), "0.299 of 255"


# --- sizes -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def noisy(tmp_path_factory) -> tuple[Path, np.ndarray]:
    path, frames = tmp_path_factory.mktemp("noisy") / "noisy.avi", noise(3, 60, 80)
    write_video(path, frames, 25, "FFV1")
    return path, frames


def block_mean(frames: np.ndarray, height: int, width: int) -> np.ndarray:
    count, source_height, source_width, channels = frames.shape
    blocks = frames.reshape(count, height, source_height // height, width, source_width // width, channels)
    return blocks.mean(axis=(2, 4))


def test_shrinking_averages_areas(noisy):
    path, frames = noisy
    assert np.abs(read_frames(path, height=20, width=40) - block_mean(frames, 20, 40)).max() <= 0.5
    grey = np.stack([cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in frames])[..., None]
    assert np.abs(read_frames(path, height=15, width=20, channels=1) - block_mean(grey, 15, 20)).max() <= 0.5


def test_one_side_shrinks_while_the_other_grows(noisy):
    path, frames = noisy
    tall = read_frames(path, height=120, width=20).astype(float)
    means = block_mean(frames, 60, 20)
    assert np.abs(tall[:, 1:-1:2] - (0.75 * means[:, :-1] + 0.25 * means[:, 1:])).max() <= 1.5


def test_one_side_given_keeps_the_aspect_ratio(noisy):
    path, _ = noisy
    assert read_frames(path, height=30).shape == (3, 30, 40, 3)
    assert read_frames(path, width=160).shape == (3, 120, 160, 3)
    assert read_frames(path).shape == (3, 60, 80, 3)


def test_crop_cuts_the_centre(noisy):
    path, frames = noisy
    assert (read_frames(path, height=60, width=60, fit="crop") == frames[:, :, 10:70]).all()
    wide = read_frames(path, height=20, width=40, fit="crop")
    assert np.abs(wide - block_mean(frames[:, 10:50], 20, 40)).max() <= 0.5
    assert read_frames(path, 0, 1, height=60, width=60, fit="crop", channels=1)[0].flags.c_contiguous


def test_pad_adds_black_bars(noisy):
    path, frames = noisy
    square = read_frames(path, height=80, width=80, fit="pad")
    assert (square[:, 10:70] == frames).all()
    assert not square[:, :10].any() and not square[:, 70:].any()
    narrow = read_frames(path, height=30, width=60, fit="pad")
    assert np.abs(narrow[:, :, 10:50] - block_mean(frames, 30, 40)).max() <= 0.5
    assert not narrow[:, :, :10].any() and not narrow[:, :, 50:].any()


@pytest.mark.parametrize("fit", video.FITS)
@pytest.mark.parametrize("size", [(1, 1), (1, 200), (64, 64), (100, 120), (128, 64), (300, 7)])
@pytest.mark.parametrize("channels", [1, 3])
def test_every_size_comes_out_as_asked(noisy, fit, size, channels):
    frames = read_frames(noisy[0], 0, 1, height=size[0], width=size[1], channels=channels, fit=fit)
    assert frames.shape == (1, *size, channels)


# --- files that are no sound videos ----------------------------------------------------------------------------------


def test_missing_files_folders_and_addresses(tmp_path, counted):
    error = error_of(tmp_path / "none.avi")
    assert "none.avi does not exist" in str(error) and error.reason == "missing"
    assert error_of(counted / "inside.avi").reason == "missing"
    assert error_of("http://localhost/video.avi").reason == "missing"
    error = error_of(tmp_path)
    assert "is a folder" in str(error) and error.reason == "not a regular file"
    assert pickle.loads(pickle.dumps(error)).reason == "not a regular file"
    with pytest.raises(VideoError):
        iter_frames(tmp_path / "none.avi")  # before the first frame is asked for


def test_pipes_and_impossible_names(tmp_path):
    os.mkfifo(tmp_path / "pipe.avi")
    assert error_of(tmp_path / "pipe.avi").reason == "not a regular file"
    assert error_of(tmp_path / "a\0b.avi").reason == "unusable name"
    assert error_of(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.avi")).reason == "unusable name"


def test_unreadable_file(tmp_path, monkeypatch):
    path = tmp_path / "secret.avi"
    path.write_bytes(b"RIFF")

    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)  # a superuser may read every file
    error = error_of(path)
    assert "secret.avi may not be read" in str(error) and error.reason == "unreadable permission"


def test_a_disk_that_fails(counted, monkeypatch):
    def fail(*_):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(Path, "open", fail)
    error = error_of(counted)
    assert "counted.avi cannot be read: Input/output error" in str(error) and error.reason == "disk error"


def test_a_file_that_goes_while_it_is_read(tmp_path):
    path = film(tmp_path / "gone.avi", "-c:v", "mpeg4")
    with pytest.raises(VideoError, match="gone.avi cannot be read: No such file") as caught:
        probe(path, lambda _: path.unlink(missing_ok=True))
    assert caught.value.reason == "disk error"


def test_files_without_video(tmp_path):
    (tmp_path / "zero.avi").touch()
    assert error_of(tmp_path / "zero.avi").reason == "empty"
    (tmp_path / "text.avi").write_text("no video\n" * 1000)
    (tmp_path / "text.txt").write_text("FFmpeg plays this as the film of a terminal\n" * 1000)
    (tmp_path / "random.mp4").write_bytes(np.random.default_rng(0).bytes(20000))
    ffmpeg("-f", "lavfi", "-i", "sine=duration=1", tmp_path / "sound.avi")
    for name in ("text.avi", "text.txt", "random.mp4", "sound.avi"):
        error = error_of(tmp_path / name)
        assert f"{name} has no video stream" in str(error) and error.reason == "no video stream"
        with pytest.raises(VideoError, match="no video stream"):
            read_frames(tmp_path / name)


def test_frames_that_cannot_be_decoded(tmp_path):
    write_video(tmp_path / "good.avi", noise(5, 32, 32), 25)
    without_pictures(tmp_path / "good.avi", tmp_path / "zeros.avi")
    error = error_of(tmp_path / "zeros.avi")
    assert "codec MJPG), but none of its frames can be decoded" in str(error)
    assert error.reason == "undecodable"
    with pytest.raises(VideoError, match="none of its frames"):
        read_frames(tmp_path / "zeros.avi")


@pytest.mark.parametrize("name", ["xvid.avi", "index_first.mp4", "matroska.mkv"])
@pytest.mark.parametrize("share", [0.5, 0.9])
def test_truncated_files(clips, name, share):
    path = cut_clip(clips / name, share)
    error = error_of(path)
    assert f"cut_{name} is truncated: it decodes" in str(error)
    assert "its header promises 100; fetch it again" in str(error)
    frames = int(error.reason.removeprefix("truncated at frame ").removesuffix(" of 100"))
    assert 20 < frames < 100
    assert (read_frames(path, 5, 15) == read_frames(clips / name, 5, 15)).all(), "what is there can be read"
    assert len(read_frames(path, 0, frames)) == frames
    for stop in (None, 100):
        with pytest.raises(VideoError, match=f"is truncated: it decodes {frames} frames"):
            read_frames(path, 0, stop)


def test_truncated_before_the_first_frame_or_the_index(clips):
    assert error_of(cut_clip(clips / "matroska.mkv", 0.1)).reason == "truncated at frame 0 of 100"
    error = error_of(cut_clip(clips / "index_last.mp4", 0.7))
    assert error.reason == "truncated at frame 0 of ?" and "fetch it again" in str(error)


def test_losing_only_the_index_loses_nothing(counted):
    path = cut_clip(counted, 0.999)
    assert probe(path).frames == 50


def test_few_frames_alone_are_no_truncation(clips, tmp_path):
    ffmpeg("-ss", "2", "-i", clips / "index_last.mp4", "-t", "1", "-c", "copy", tmp_path / "edit_list.mp4")
    info = probe(tmp_path / "edit_list.mp4")
    assert info.frames < 0.6 * info.frames_in_header
    assert len(read_frames(tmp_path / "edit_list.mp4")) == info.frames


def test_a_wrong_promise_is_no_error(counted, tmp_path):
    with_promise(counted, tmp_path / "liar.avi", 50, 90)
    info = probe(tmp_path / "liar.avi")
    assert (info.frames, info.frames_in_header) == (50, 90)
    assert len(read_frames(tmp_path / "liar.avi")) == 50


def test_frame_size_that_changes(counted, monkeypatch):
    class Changing(Wrapped):  # OpenCV's FFmpeg scales such frames to the first one's size (see test_scan), others need not
        def retrieve(self):
            readable, frame = self.wrapped.retrieve()
            return readable, frame[:10] if frame[0, 0, 0] == 20 else frame

    open_video = cv2.VideoCapture
    monkeypatch.setattr(cv2, "VideoCapture", lambda *arguments: Changing(open_video(*arguments)))
    with pytest.raises(VideoError, match="changes its frame size at frame 20; cut it there"):
        read_frames(counted)
    assert len(read_frames(counted, 0, 20)) == 20


def test_nothing_is_printed(clips):
    path = cut_clip(clips / "index_first.mp4", 0.5)
    code = (
        "import cv2, sys\n"
        "from dn3dlib.data.video import read_frames\n"
        "for path in sys.argv[1:]:\n"
        "    try: read_frames(path)\n"
        "    except Exception as error: print(type(error).__name__)\n"
    )
    environment = {key: value for key, value in os.environ.items() if not key.startswith("OPENCV_")}
    environment["PYTHONPATH"] = str(Path(__file__).parents[1])
    command = [sys.executable, "-c", code, path, __file__]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["VideoError", "VideoError"] and result.stderr == ""


# --- names, pictures, rotation, files left open ----------------------------------------------------------------------


@pytest.mark.parametrize("name", ["-x.avi", ":x.avi", "http:x.avi", "concat:x.avi", "%02d.avi", "x_07.avi", "ü ñ'.avi"])
def test_any_file_name(counted, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    Path(name).write_bytes(counted.read_bytes())
    assert probe(name).frames == 50


def test_a_picture_is_a_video_of_one_frame(tmp_path):
    for number in range(3):
        cv2.imwrite(str(tmp_path / f"img_{number:02d}.png"), np.full((20, 20, 3), number, np.uint8))
    info = probe(tmp_path / "img_01.png")
    assert (info.frames, info.frames_in_header) == (1, 0)
    assert (read_frames(tmp_path / "img_01.png") == 1).all()


def test_rotation_flag_is_honoured(clips, tmp_path):
    source = clips / "index_last.mp4"
    ffmpeg("-display_rotation", "90", "-i", source, "-c", "copy", tmp_path / "rotated.mp4")
    info = probe(tmp_path / "rotated.mp4")
    assert (info.width, info.height) == (120, 160)
    upright = read_frames(source, 0, 3)
    assert (read_frames(tmp_path / "rotated.mp4", 0, 3) == np.rot90(upright, axes=(1, 2))).all()


def test_files_are_released(counted, clips):
    truncated = cut_clip(clips / "xvid.avi", 0.5)
    process = psutil.Process()
    gc.collect()  # what earlier tests have left is none of this one's
    before = process.num_fds()
    for _ in range(3):
        probe(counted)
        frames = iter_frames(counted)
        next(frames)
        del frames  # abandoned
        for bad in (truncated, Path(__file__)):
            with pytest.raises(VideoError):
                read_frames(bad)
    gc.collect()
    assert process.num_fds() <= before
    assert not [file for file in process.open_files() if file.path in (str(counted), str(truncated))]


# --- writing ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(5, 16, 32, 3), (5, 16, 32, 1), (5, 16, 32)])
def test_lossless_writing_gives_back_every_pixel(tmp_path, shape):
    frames = noise(5, 16, 32)[..., : shape[3] if len(shape) == 4 else 1].reshape(shape)
    write_video(tmp_path / "a.avi", frames, 12.5, "FFV1")
    channels = 3 if shape[3:] == (3,) else 1
    assert (read_frames(tmp_path / "a.avi", channels=channels) == frames.reshape(5, 16, 32, channels)).all()
    assert probe(tmp_path / "a.avi").fps == 12.5
    assert os.listdir(tmp_path) == ["a.avi"]


@pytest.mark.parametrize("codec", ["MJPG", "XVID"])
def test_lossy_writing_comes_close(tmp_path, codec):
    write_video(tmp_path / "a.avi", numbered(60), 25, codec)
    assert np.abs(read_frames(tmp_path / "a.avi").astype(int)[..., 0] - numbered(60)).max() <= 6


@pytest.mark.parametrize(
    ("frames", "fps", "codec", "named"),
    [
        (np.zeros((2, 16, 16, 3), np.float32), 25, "MJPG", "frames are float32"),
        (np.zeros((2, 16, 16, 2), np.uint8), 25, "MJPG", r"\(2, 16, 16, 2\)"),
        (np.zeros((16, 16), np.uint8), 25, "MJPG", r"\(16, 16\)"),
        (np.zeros((0, 16, 16), np.uint8), 25, "MJPG", r"\(0, 16, 16\)"),
        (np.zeros((2, 15, 16), np.uint8), 25, "MJPG", "need even numbers"),
        (np.zeros((2, 16, 16), np.uint8), 0, "MJPG", "frame rate is 0"),
        (np.zeros((2, 16, 16), np.uint8), 25, "H.264", "four-character"),
        (np.zeros((2, 16, 16), np.uint8), 25, "ABCD", "codec ABCD is not available for .avi"),
    ],
)
def test_what_cannot_be_written_leaves_the_old_file(tmp_path, counted, frames, fps, codec, named):
    path = tmp_path / "a.avi"
    path.write_bytes(counted.read_bytes())
    with pytest.raises(VideoError, match=named):
        write_video(path, frames, fps, codec)
    assert path.read_bytes() == counted.read_bytes() and os.listdir(tmp_path) == ["a.avi"]


def test_places_that_cannot_be_written(tmp_path, counted):
    (tmp_path / "folder.avi").mkdir()
    for path in (tmp_path / "none" / "a.avi", counted / "a.avi", tmp_path / "folder.avi"):
        with pytest.raises(VideoError, match=r"(a|folder)\.avi cannot be written: \w+"):
            write_video(path, numbered(2), 25)
    with pytest.raises(VideoError, match="name was not written: codec MJPG is not available for a name without suffix"):
        write_video(tmp_path / "name", numbered(2), 25)
    assert os.listdir(tmp_path) == ["folder.avi"]


def test_frames_that_do_not_arrive_are_noticed(tmp_path, monkeypatch):
    class Forgetful(Wrapped):
        def write(self, frame):
            if frame[0, 0, 0] != 3:
                self.wrapped.write(frame)

    open_writer = cv2.VideoWriter
    monkeypatch.setattr(cv2, "VideoWriter", lambda *arguments: Forgetful(open_writer(*arguments)))
    with pytest.raises(VideoError, match="5 frames did not all arrive"):
        write_video(tmp_path / "a.avi", numbered(5), 25, "FFV1")
    assert os.listdir(tmp_path) == []


def test_written_files_have_the_usual_permissions(counted, tmp_path):
    (tmp_path / "plain").touch()
    assert stat.S_IMODE(counted.stat().st_mode) == stat.S_IMODE((tmp_path / "plain").stat().st_mode)


# --- real files ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "frames", "promised"),
    [
        ("odd/header_says_427_decodes_430.avi", 430, 427),
        ("odd/header_says_85_decodes_84.avi", 84, 85),
        ("odd/32_frames_h264.mp4", 32, 32),
        ("odd/six_fps_h264.mp4", 57, 57),
    ],
)
def test_odd_files_are_read_in_full(shared_data, name, frames, promised):
    info = probe(shared_data / name)
    assert (info.frames, info.frames_in_header) == (frames, promised)
    assert len(read_frames(shared_data / name, height=30, width=40, channels=1)) == frames


def test_kth_videos_hold_what_was_published(shared_data):
    paths = sorted((shared_data / "kth").glob("*/*.avi"))
    assert len(paths) == 17
    for path in paths:
        info = probe(path)
        assert (info.width, info.height, info.fps, info.frames) == (160, 120, 25.0, info.frames_in_header)


def test_truncated_kth_video(shared_data, tmp_path):
    source = shared_data / "kth/running/person04_running_d1_uncomp.avi"
    (tmp_path / "part.avi").write_bytes(source.read_bytes()[: source.stat().st_size // 2])
    error = error_of(tmp_path / "part.avi")
    assert "its header promises 242" in str(error)
    part = read_frames(tmp_path / "part.avi", 0, 50, height=64, width=64, channels=1)
    assert (part == read_frames(source, 0, 50, height=64, width=64, channels=1)).all()
