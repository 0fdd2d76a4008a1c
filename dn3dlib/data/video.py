"""Read videos frame by frame through OpenCV, say what they really hold, and write them.

Everything is read in order from the first frame: OpenCV's frame counts are what the header promises, and its seeks land
beside the frame they aim at. So this module counts by decoding and never seeks.
"""

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from dn3dlib.errors import ConfigError, VideoError

# FFmpeg and OpenCV tell standard error of every damaged frame; the user gets one sentence from here instead.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
if "OPENCV_LOG_LEVEL" not in os.environ:
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)

FITS = ("stretch", "crop", "pad")
CHANNELS = (1, 3)

# FFmpeg by name, because other backends take "img_01.png" for the first picture of a numbered series.
_HAS_FFMPEG = cv2.videoio_registry.hasBackend(cv2.CAP_FFMPEG)
_BACKEND = cv2.CAP_FFMPEG if _HAS_FFMPEG else cv2.CAP_ANY
# On frames as small as these, decoder threads cost more than they give; and `prepare` runs a process per core.
_OPEN_PARAMETERS = [cv2.CAP_PROP_N_THREADS, 1] if _HAS_FFMPEG else []

_TEXT_CODEC = "ansi"  # under this name FFmpeg plays a text file as the film of a terminal
_MP4_BOXES = set(b"ftyp moov mdat free skip wide uuid moof mfra sidx styp meta".split())
_MATROSKA_PARTS = {b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"}  # the file's header; the segment that holds all the rest


@dataclass(frozen=True)
class VideoInfo:
    """What a video really holds, found by decoding all of it.

    `width` and `height` are in pixels, as shown (after the rotation flag); `frames` counts the frames that decode,
    `frames_in_header` those that the header promises (0: no promise); `fps` is 0.0 where the file gives none; `codec`
    is the four-character code. The two counts can differ in a sound file.
    """

    path: Path
    width: int
    height: int
    frames: int
    frames_in_header: int
    fps: float
    codec: str


def probe(path: str | os.PathLike) -> VideoInfo:
    """Decode a whole video and say what it holds.

    Raises VideoError when it cannot be read, or is truncated: the container announces more bytes than the file has, and
    fewer frames decode than the header promises. A header that is merely wrong is no error.
    """
    path = _regular_file(path)
    with _opened(path) as capture:
        readable, first = capture.read()
        frames = int(readable)
        while readable and capture.grab():
            frames += 1
        _check_end(path, capture, frames)
        height, width = first.shape[:2]
        return VideoInfo(path, width, height, frames, _promised(capture), _rate(capture), _codec(capture))


def frame_rate(path: str | os.PathLike) -> float:
    """The frames per second that a video's header states, 0.0 if none; raises VideoError when there is no video."""
    with _opened(_regular_file(path)) as capture:
        return _rate(capture)


def read_frames(
    path: str | os.PathLike,
    start: int = 0,
    stop: int | None = None,
    *,
    height: int | None = None,
    width: int | None = None,
    channels: int = 3,
    fit: str = "stretch",
) -> np.ndarray:
    """Read frames as `iter_frames` does, into one uint8 array (frames, height, width, channels)."""
    return np.stack(list(iter_frames(path, start, stop, height=height, width=width, channels=channels, fit=fit)))


def iter_frames(
    path: str | os.PathLike,
    start: int = 0,
    stop: int | None = None,
    *,
    height: int | None = None,
    width: int | None = None,
    channels: int = 3,
    fit: str = "stretch",
) -> Iterator[np.ndarray]:
    """Yield the frames [start, stop) of a video, counted from 0, one by one: memory does not grow with its length.

    `stop` None reads to the end. `height` and `width` are in pixels: neither given keeps the original size, one given
    lets the other follow the aspect ratio. `channels` is 3 (RGB) or 1 (grey). `fit` says what happens to another aspect
    ratio: "stretch", "crop" (cut the centre out) or "pad" (black bars). Each frame is a fresh uint8 array (height,
    width, channels). Raises ConfigError for impossible arguments and VideoError for a path that is no readable file at
    once; VideoError in its place where there is no video, it ends before `stop`, or, read to the end, is truncated.
    """
    _check_request(start, stop, height, width, channels, fit)
    return _frames(_regular_file(path), start, stop, (height, width), channels, fit)


def write_video(path: str | os.PathLike, frames: np.ndarray, fps: float, codec: str = "MJPG") -> None:
    """Write frames, uint8 (n, height, width, 3) RGB or (n, height, width[, 1]) grey, as a video of `fps` frames/s.

    The suffix of `path` chooses the container (.avi, .mp4, …), `codec` is a four-character code ("FFV1" is lossless).
    Raises VideoError for other arrays, odd sizes, a codec that is not available, or when not every frame arrives on the
    disk; whatever was at `path` before then stays.
    """
    path, frames = _with_sound_name(path), np.asarray(frames)
    _check_frames(path, frames, fps, codec)
    beside = path.with_name(f"{path.stem}.partial-{os.getpid()}{path.suffix}")  # the suffix chooses the container
    try:
        beside.touch()
        try:
            _encode(beside, path, frames, fps, codec)
            if _shape_on_disk(beside) != frames.shape[:3]:  # OpenCV's writer does not say when something failed
                message = f"{path} was not written: its {len(frames)} frames did not all arrive; is the disk full?"
                raise VideoError(message, "incompletely written")
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)
    except OSError as error:
        message = f"{path} cannot be written: {error.strerror}; choose another place, or make room there"
        raise VideoError(message, error.strerror) from None


def _with_sound_name(path: str | os.PathLike) -> Path:
    path = Path(path)
    name = str(path)
    if "\0" in name or name != name.encode(errors="ignore").decode():  # OpenCV 5 crashes on a name that is not UTF-8
        raise VideoError(f"{name!a} is a name that OpenCV cannot open; rename the file", "impossible name")
    return path


def _regular_file(path: str | os.PathLike) -> Path:
    """The path, if a file with content that may be read is there; addresses and devices never get to FFmpeg."""
    path = _with_sound_name(path)
    try:
        if path.is_dir():
            raise VideoError(f"{path} is a folder, not a video; name a file in it", "a directory")
        if path.exists() and not path.is_file():
            raise VideoError(f"{path} is a device, pipe or socket, not a video; name a regular file", "not a file")
        with path.open("rb") as file:
            if not file.read(1):
                raise VideoError(f"{path} is empty (0 bytes); fetch it again", "empty")
    except (FileNotFoundError, NotADirectoryError):
        raise VideoError(f"{path} does not exist; check its spelling and the folder it is in", "missing") from None
    except PermissionError:
        raise VideoError(f"{path} may not be read by you; change its permissions", "permission denied") from None
    except OSError as error:
        raise VideoError(f"{path} cannot be read: {error.strerror}; check the disk", error.strerror) from None
    return path


@contextmanager
def _opened(path: Path) -> Iterator[cv2.VideoCapture]:
    # An absolute path, because FFmpeg takes a name such as "concat:a.avi" for a protocol.
    capture = cv2.VideoCapture(os.path.abspath(path), _BACKEND, _OPEN_PARAMETERS)
    try:
        if not capture.isOpened() and _is_cut_off(path):
            message = f"{path} is truncated: it ends before the index that reading it needs; fetch it again"
            raise VideoError(message, "truncated before its index")
        if not capture.isOpened() or _codec(capture) == _TEXT_CODEC:
            message = (
                f"{path} has no video stream that can be read: it is another kind of file, holds only sound, or its"
                " beginning is damaged; give a video, or fetch it again"
            )
            raise VideoError(message, "no video stream")
        capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 1)
        yield capture
    finally:
        capture.release()


def _frames(
    path: Path, start: int, stop: int | None, size: tuple[int | None, int | None], channels: int, fit: str
) -> Iterator[np.ndarray]:
    with _opened(path) as capture:
        index, shape = 0, None
        # The first failure is the end: behind damage some frames may decode again, but under wrong numbers.
        while (stop is None or index < stop) and capture.grab():
            if index >= start:
                readable, frame = capture.retrieve()
                if not readable:
                    break
                shape = shape or frame.shape
                if frame.shape != shape:
                    message = f"{path} changes its frame size at frame {index}; cut it there into two videos"
                    raise VideoError(message, f"frame size changes at frame {index}")
                yield _as_asked(frame, size, channels, fit)
            index += 1
        if index != stop:
            _check_end(path, capture, index)
        if index < (stop or start + 1):
            message = f"{path} ended at frame {index} of {stop or start + 1} asked for; ask for frames before {index}"
            raise VideoError(message, f"ended at frame {index} of {stop or start + 1}")


def _check_end(path: Path, capture: cv2.VideoCapture, frames: int) -> None:
    """Whether a video may end after so many frames."""
    promised = _promised(capture)
    if frames < promised and _is_cut_off(path):
        message = f"{path} is truncated: it decodes {frames} frames, its header promises {promised}; fetch it again"
        raise VideoError(message, f"truncated at frame {frames} of {promised}")
    if frames == 0:
        message = (
            f"{path} has a video stream (codec {_codec(capture)}), but none of its frames can be decoded; fetch it"
            " again, or convert it with another program"
        )
        raise VideoError(message, "no frame can be decoded")


def _is_cut_off(path: Path) -> bool:
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


def _promised(capture: cv2.VideoCapture) -> int:
    return max(0, int(capture.get(cv2.CAP_PROP_FRAME_COUNT)))  # "unknown" is a huge negative number


def _rate(capture: cv2.VideoCapture) -> float:
    fps = capture.get(cv2.CAP_PROP_FPS)
    return fps if math.isfinite(fps) and fps > 0 else 0.0


def _codec(capture: cv2.VideoCapture) -> str:
    code = int(capture.get(cv2.CAP_PROP_FOURCC)) & 0xFFFFFFFF
    return code.to_bytes(4, "little").decode("ascii", errors="replace").strip("\0 ")


def _as_asked(frame: np.ndarray, size: tuple[int | None, int | None], channels: int, fit: str) -> np.ndarray:
    """A decoded BGR frame in the size and colours asked for."""
    (height, width), (source_height, source_width) = size, frame.shape[:2]
    if height is None:
        height = source_height if width is None else max(1, round(source_height * width / source_width))
    if width is None:
        width = max(1, round(source_width * height / source_height))
    if channels == 1:  # grey before resizing: one channel to average instead of three
        grey = _fitted(cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY), height, width, fit)
        return np.ascontiguousarray(grey)[..., np.newaxis]
    return cv2.cvtColor(_fitted(frame, height, width, fit), cv2.COLOR_BGR2RGB)


def _fitted(image: np.ndarray, height: int, width: int, fit: str) -> np.ndarray:
    source_height, source_width = image.shape[:2]
    if fit == "crop":
        kept_height = max(1, min(source_height, round(source_width * height / width)))
        kept_width = max(1, min(source_width, round(source_height * width / height)))
        top, left = (source_height - kept_height) // 2, (source_width - kept_width) // 2
        image = image[top : top + kept_height, left : left + kept_width]
    if fit == "pad":
        scale = min(height / source_height, width / source_width)
        inner_height, inner_width = max(1, round(source_height * scale)), max(1, round(source_width * scale))
        top, left = (height - inner_height) // 2, (width - inner_width) // 2
        bottom, right = height - inner_height - top, width - inner_width - left
        inner = _resized(image, inner_height, inner_width)
        return cv2.copyMakeBorder(inner, top, bottom, left, right, cv2.BORDER_CONSTANT, value=0)
    return _resized(image, height, width)


def _resized(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Shrink by averaging areas, then enlarge linearly (where INTER_AREA would only repeat pixels).

    One call with INTER_AREA does not average at all when one side shrinks and the other grows (120×160 to 128×64): it
    samples, and fine patterns turn into stripes that the video does not show.
    """
    shrunk = min(height, image.shape[0]), min(width, image.shape[1])
    if shrunk != image.shape[:2]:
        image = cv2.resize(image, shrunk[::-1], interpolation=cv2.INTER_AREA)
    if shrunk != (height, width):
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
    return image


def _check_request(start, stop, height, width, channels, fit) -> None:
    if start < 0 or (stop is not None and stop <= start):
        raise ConfigError(f"{start} to {stop} is no range of frames: take 0 <= start < stop, or stop=None")
    for name, pixels in (("height", height), ("width", width)):
        if pixels is not None and pixels < 1:
            raise ConfigError(f"{name} is {pixels}, but a frame has at least 1 pixel: give 1 or more, or None")
    if channels not in CHANNELS:
        raise ConfigError(f"channels is {channels}, but frames have 1 (grey) or 3 (RGB): choose one of the two")
    if fit not in FITS:
        raise ConfigError(f"fit is {fit!r}, but frames are fitted by {', '.join(FITS)}: choose one of these")


def _check_frames(path: Path, frames: np.ndarray, fps: float, codec: str) -> None:
    shape, channels = frames.shape, frames.shape[3] if frames.ndim == 4 else 1
    fault = None
    if frames.dtype != np.uint8 or frames.ndim not in (3, 4) or channels not in CHANNELS or 0 in shape:
        fault = f"frames are {frames.dtype} {shape}; give uint8, (n, height, width, 3) or (n, height, width)"
    elif shape[1] % 2 or shape[2] % 2:  # OpenCV would drop the last row or column without a word
        fault = f"frames have {shape[1]}×{shape[2]} pixels, and codecs need even numbers; cut or pad them by a pixel"
    elif not (math.isfinite(fps) and fps > 0):
        fault = f"frame rate is {fps}; give a positive number such as 25"
    elif len(codec) != 4 or not codec.isascii():
        fault = f"codec is {codec!r}, not a four-character code; give one such as MJPG"
    if fault:
        raise VideoError(f"{path} was not written: its {fault}", "cannot be written so")


def _encode(beside: Path, path: Path, frames: np.ndarray, fps: float, codec: str) -> None:
    height, width = frames.shape[1:3]
    to_bgr = cv2.COLOR_RGB2BGR if frames.shape[3:] == (3,) else cv2.COLOR_GRAY2BGR
    writer = cv2.VideoWriter(os.path.abspath(beside), _BACKEND, cv2.VideoWriter_fourcc(*codec), fps, (width, height))
    try:
        if not writer.isOpened():
            container = f"{path.suffix} files" if path.suffix else "a name without suffix"
            message = f"{path} was not written: codec {codec} is not available for {container}; choose MJPG and .avi"
            raise VideoError(message, "codec not available")
        for frame in frames:
            writer.write(cv2.cvtColor(frame, to_bgr))
    finally:
        writer.release()


def _shape_on_disk(path: Path) -> tuple[int, int, int] | None:
    try:
        info = probe(path)
    except VideoError:
        return None
    return info.frames, info.height, info.width
