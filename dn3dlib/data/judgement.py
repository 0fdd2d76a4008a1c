"""Whether a video can be used: one judgement for `scan`, for `prepare` and for all else that reads a video to its end.

A reason is one of the words below and its details, as in "truncated at frame 40 of 100". `data/README.md` explains each.
"""

import os
import re
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from dn3dlib.errors import Dn3dError, VideoError

UNUSABLE = (
    "missing", "not a regular file", "unusable name", "unreadable permission", "disk error", "empty", "no video stream",
    "truncated", "undecodable", "changed size within the file", "smaller than the region",
)  # fmt: skip
DOUBTFUL = ("header and content disagree", "shorter than a clip", "duplicate of")  # used, but named

_MP4_BOXES = set(b"ftyp moov mdat free skip wide uuid moof mfra sidx styp meta".split())
_MATROSKA_PARTS = {b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"}  # the file's header; the segment that holds all the rest

# Where MPEG-4 and JPEG state the size inside their stream, and as which bits. Other codecs are left to FFmpeg.
_SIZE_HEADERS = {
    "FMP4": (re.compile(rb"\0\0\x01[\x20-\x2f].{4,60}?(?=\0\0\x01)", re.DOTALL), "1{width:013b}1{height:013b}1"),
    "MJPG": (re.compile(rb"\xff[\xc0-\xc2]\0[\x0b\x11]\x08....", re.DOTALL), "{height:016b}{width:016b}"),
}
_LONGEST_HEADER, _BLOCK = 70, 1 << 20  # bytes
_SHOWN_SIZE = re.compile(rb" s:(\d+)x(\d+) i:")
_DAMAGE = re.compile(rb"^\[\w+ @ \w+\] \[warning\]|^\[.*\] \[(error|fatal)\]")  # warnings of the decoder alone
_FFMPEG_SECONDS = 600  # of computing


@dataclass(frozen=True)
class VideoInfo:
    """What a video holds.

    `width` and `height` are in pixels, as shown (after the rotation flag); `frames` counts the frames that decode (None:
    not counted), `frames_in_header` those that the header promises (0: no promise); `fps` is 0.0 where the file gives
    none; `codec` is the four-character code. The two counts can differ in a sound file.
    """

    path: Path
    width: int
    height: int
    frames: int | None
    frames_in_header: int
    fps: float
    codec: str


def kind_of(reason: str) -> str:
    """The word of the fixed list that a reason begins with."""
    return next(kind for kind in UNUSABLE + DOUBTFUL if reason.startswith(kind))


def doubts(video: VideoInfo, clip_frames: int) -> list[str]:
    """What is odd about a video that can be used: reasons out of `DOUBTFUL`. `clip_frames` is the length of a clip."""
    found = []
    if video.frames_in_header not in (0, video.frames):
        found.append(f"header and content disagree ({video.frames_in_header} frames promised, {video.frames} decoded)")
    if video.frames < clip_frames:
        found.append(f"shorter than a clip ({video.frames} of {clip_frames} frames)")
    return found


def check_whole(video: VideoInfo) -> None:
    """Refuse a video that was decoded to its end as far as possible, and is not whole.

    Raises:
        VideoError: it is truncated, no frame or not every frame can be decoded, or the size of its frames changes.
    """
    path, frames, promised = video.path, video.frames, video.frames_in_header
    if frames < promised and is_cut_off(path):
        message = f"{path} is truncated: it decodes {frames} frames, its header promises {promised}; fetch it again"
        raise VideoError(message, f"truncated at frame {frames} of {promised}")
    if frames == 0:
        message = (
            f"{path} has a video stream (codec {video.codec}), but none of its frames can be decoded; fetch it again, or"
            " convert it with another program"
        )
        raise VideoError(message, "undecodable")
    sizes = set() if _states_one_size(video) else _shown_sizes(path)
    if len(sizes) > 1:
        shown = " and ".join(f"{width}×{height}" for width, height in sorted(sizes, reverse=True))
        message = f"{path} changes its frame size, it has frames of {shown}; cut it into videos of one size"
        raise VideoError(message, f"changed size within the file ({shown})")
    if frames < promised and _is_damaged(path):
        message = f"{path} is damaged inside: {frames} of {promised} frames decode, under wrong numbers; fetch it again"
        raise VideoError(message, f"undecodable ({frames} of {promised} frames decode)")


def is_cut_off(path: Path) -> bool:
    """Whether an AVI, MP4/MOV or Matroska/WebM file ends before its outermost chunks do.

    Frame counts cannot tell: the header of a sound file promises three times too many after a cut by `ffmpeg -ss … -c
    copy`, counts dropped frames in a webcam's AVI, and is an estimate for a Matroska file of variable rate.
    """
    size, position = path.stat().st_size, 0
    with path.open("rb") as file:
        while position < size:
            file.seek(position)
            length = _chunk_length(file.read(16).ljust(16, b"\0"))
            if length is None:
                return False
            position += length
    return position > size


def _chunk_length(head: bytes) -> int | None:
    """Bytes in the chunk that begins with these 16 bytes; None where that is left open or it is no chunk."""
    if head[:4] == b"RIFF":
        payload = int.from_bytes(head[4:8], "little")
        return 8 + payload if 0 < payload < 0xFFFFFFFF else None  # 0 and all ones mark a recording never finished
    if head[4:8] in _MP4_BOXES:
        length = int.from_bytes(head[:4], "big")
        length = int.from_bytes(head[8:16], "big") if length == 1 else length
        return length if length >= 8 else None
    if head[:4] in _MATROSKA_PARTS and head[4]:
        width = 9 - head[4].bit_length()  # the size's own length in bytes stands in its first byte, as leading zeros
        unknown = (1 << 7 * width) - 1
        payload = int.from_bytes(head[4 : 4 + width], "big") & unknown
        return 4 + width + payload if payload != unknown else None
    return None


def _states_one_size(video: VideoInfo) -> bool:
    """Whether an AVI file's stream, wherever it states a size, states the one that it began with.

    OpenCV scales frames of another size to the first one's without a word. To search the bytes costs a millisecond, a
    second decoder twenty; AVI alone, because other containers may cut such a header in two.
    """
    if video.codec not in _SIZE_HEADERS:
        return False
    pattern, form = _SIZE_HEADERS[video.codec]
    expected, tail = form.format(width=video.width, height=video.height), b""
    with video.path.open("rb") as file:
        if file.read(4) != b"RIFF":
            return False
        while block := file.read(_BLOCK):
            for header in pattern.findall(tail + block):
                if expected not in f"{int.from_bytes(header):0{8 * len(header)}b}":
                    return False
            tail = block[-_LONGEST_HEADER:]
    return True


def _shown_sizes(path: Path) -> set[tuple[int, int]]:
    """The sizes (width, height) of the frames that the program ffmpeg decodes.

    Only a key frame can have another size than the frame before, but for VP9 and AV1, of which all are decoded.
    """
    lines = _told_by_ffmpeg(path, "info", before=["-skip_frame", "nokey"], after=["-vf", "showinfo=checksum=0"])
    # A line may hold another thread's words, too.
    return {(int(width), int(height)) for line in lines for width, height in _SHOWN_SIZE.findall(line)}


def _is_damaged(path: Path) -> bool:
    """Whether the program ffmpeg, decoding all frames, reports damage."""
    return sum(bool(_DAMAGE.match(line)) for line in _told_by_ffmpeg(path, "warning")) > 0


def _told_by_ffmpeg(path: Path, level: str, before: Sequence[str] = (), after: Sequence[str] = ()) -> Iterator[bytes]:
    """Lines of the log; `before` and `after` are options to read and to process with."""
    command = [
        _ffmpeg(), "-nostdin", "-hide_banner", "-nostats", "-loglevel", f"level+{level}", "-timelimit", str(_FFMPEG_SECONDS),
        "-protocol_whitelist", "file", "-threads", "1", "-noautorotate", *before, "-i", os.path.abspath(path),
        "-map", "0:v:0", *after, "-f", "null", "-",
    ]  # fmt: skip
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        yield from process.stderr


def _ffmpeg() -> str:
    import imageio_ffmpeg

    try:
        return imageio_ffmpeg.get_ffmpeg_exe()
    except RuntimeError:
        raise Dn3dError(
            "The program ffmpeg is not there, and some videos cannot be judged without it: install imageio-ffmpeg anew, or name"
            " an ffmpeg in the environment variable IMAGEIO_FFMPEG_EXE."
        ) from None
