"""Broken and odd video files of many kinds, made on the spot, with the reason that each must be given."""

import os
import shutil
import subprocess
from pathlib import Path

import imageio_ffmpeg
import numpy as np

from dn3dlib.data.video import write_video

CHANGED = r"changed size within the file \(160×120 and 80×60\)"
LOST = r"undecodable \(\d+ of 50 frames decode\)"
CUT = r"truncated at frame \d+ of 50"

# File → pattern of its reason; "" for the sound one.
REASONS = {
    "missing.avi": "missing",
    "empty.avi": "empty",
    "pipe.avi": "not a regular file",
    os.fsdecode(b"\xff.avi"): "unusable name",
    "text.avi": "no video stream",
    "garbage.mp4": "no video stream",
    "sound.avi": "no video stream",
    "sound.mp4": "no video stream",
    "header_only.avi": r"truncated at frame 0 of 50",
    "no_frames.avi": "undecodable",
    "no_pictures.avi": "undecodable",
    "truncated_mpeg4.avi": CUT,
    "truncated_jpeg.avi": CUT,
    "truncated_h264.mkv": CUT,
    "truncated_vp8.webm": CUT,
    "truncated_index_first.mp4": CUT,
    "truncated_index_last.mp4": r"truncated at frame 0 of \?",
    "damaged_mpeg4.avi": LOST,
    "damaged_jpeg.avi": LOST,
    "damaged_index_first.mp4": LOST,
    "changed_mpeg4.avi": CHANGED,
    "changed_jpeg.avi": CHANGED,
    "changed_h264.ts": CHANGED,
    "changed_index_last.mp4": CHANGED,
    "changed_vp8.webm": CHANGED,
    "changed_vp9.webm": CHANGED,
    "good.avi": "",
    "same.avi": r"duplicate of good\.avi",
    "short.avi": r"shorter than a clip \(8 of 16 frames\)",
    "promises_more.avi": r"header and content disagree \(90 frames promised, 50 decoded\)",
    "promises_less.avi": r"header and content disagree \(40 frames promised, 50 decoded\)",
}
CODECS = {
    "mpeg4.avi": ["-c:v", "mpeg4", "-vtag", "XVID"],
    "jpeg.avi": ["-c:v", "mjpeg"],
    "h264.mkv": ["-c:v", "libx264"],
    "h264.ts": ["-c:v", "libx264"],
    "index_first.mp4": ["-c:v", "libx264", "-movflags", "+faststart"],
    "index_last.mp4": ["-c:v", "libx264"],
    "vp8.webm": ["-c:v", "libvpx"],
    "vp9.webm": ["-c:v", "libvpx-vp9"],
}


def make_broken_videos(folder: Path) -> dict[str, str]:
    """Make every file of `REASONS` in `folder`, and return that table."""
    parts = folder / ".parts"
    parts.mkdir(parents=True)
    _make_without_video(folder)
    for name in REASONS:
        kind, _, codec = name.partition("_")
        if kind == "truncated":
            cut(film(parts / codec, *CODECS[codec]), 0.6, folder / name)
        elif kind == "damaged":
            damaged_inside(film(parts / codec, *CODECS[codec]), folder / name)
        elif kind == "changed":
            joined(parts, folder / name, *CODECS[codec])
    _make_odd(folder, parts)
    shutil.rmtree(parts)
    assert set(os.listdir(folder)) == set(REASONS)
    return REASONS


def _make_without_video(folder: Path) -> None:
    (folder / "missing.avi").symlink_to(folder / "gone.avi")
    (folder / "empty.avi").touch()
    os.mkfifo(folder / "pipe.avi")
    (folder / os.fsdecode(b"\xff.avi")).write_bytes(b"RIFF")
    (folder / "text.avi").write_text("no video\n" * 1000)
    (folder / "garbage.mp4").write_bytes(np.random.default_rng(0).bytes(20000))
    for name in ("sound.avi", "sound.mp4"):
        ffmpeg("-f", "lavfi", "-i", "sine=duration=1", folder / name)


def _make_odd(folder: Path, parts: Path) -> None:
    data = film(parts / "whole.avi", "-c:v", "mpeg4").read_bytes()
    (folder / "header_only.avi").write_bytes(data[: data.find(b"movi") + 4])
    ffmpeg("-f", "lavfi", "-i", "testsrc=size=160x120", "-frames:v", 0, "-c:v", "mpeg4", folder / "no_frames.avi")
    without_pictures(parts / "jpeg.avi", folder / "no_pictures.avi")
    shutil.copy(film(folder / "good.avi", "-c:v", "mpeg4"), folder / "same.avi")
    other = film(parts / "other.avi", "-c:v", "mpeg4", picture="testsrc2")
    with_promise(other, folder / "promises_more.avi", 50, 90)
    with_promise(other, folder / "promises_less.avi", 50, 40)
    write_video(folder / "short.avi", np.random.default_rng(0).integers(0, 256, (8, 32, 32), dtype=np.uint8), fps=25)


def ffmpeg(*arguments: object) -> None:
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-y", "-nostdin", "-loglevel", "error", *map(str, arguments)]
    subprocess.run(command, check=True, capture_output=True)


def film(path: Path, *codec: object, size: str = "160x120", seconds: float = 2, picture: str = "testsrc") -> Path:
    """FFmpeg's moving test picture, 25 frames a second."""
    ffmpeg("-f", "lavfi", "-i", f"{picture}=size={size}:rate=25:duration={seconds}", *codec, path)
    return path


def cut(source: Path, share: float, path: Path) -> Path:
    """The beginning of a file, as a broken download leaves it."""
    data = source.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    return path


def damaged_inside(source: Path, path: Path) -> Path:
    """A copy whose middle fifth is lost, as a bad block on a disk leaves it."""
    data = bytearray(source.read_bytes())
    begin, end = len(data) * 2 // 5, len(data) * 3 // 5
    data[begin:end] = bytes(end - begin)
    path.write_bytes(data)
    return path


def joined(parts: Path, path: Path, *codec: object) -> Path:
    """A file whose frames are 160×120 at first, then 80×60."""
    halves = [film(parts / f"half{size}{path.suffix}", *codec, size=size) for size in ("160x120", "80x60")]
    (parts / "halves.txt").write_text("".join(f"file {half.name}\n" for half in halves))
    ffmpeg("-f", "concat", "-i", parts / "halves.txt", "-c", "copy", path)
    return path


def with_promise(source: Path, path: Path, true: int, promised: int) -> Path:
    """A copy of an AVI file of `true` frames whose header promises others."""
    data = bytearray(source.read_bytes())
    for mark, offset in ((b"avih", 24), (b"strh", 40)):  # total frames; stream length
        place = data.find(mark) + offset
        assert int.from_bytes(data[place : place + 4], "little") == true
        data[place : place + 4] = promised.to_bytes(4, "little")
    path.write_bytes(data)
    return path


def without_pictures(source: Path, path: Path) -> Path:
    """A copy of an AVI file in which each frame keeps its place and loses its content."""
    data = bytearray(source.read_bytes())
    position = data.find(b"movi") + 4
    while data[position : position + 4] == b"00dc":
        length = int.from_bytes(data[position + 4 : position + 8], "little")
        data[position + 8 : position + 8 + length] = bytes(length)
        position += 8 + length + length % 2
    path.write_bytes(data)
    return path
