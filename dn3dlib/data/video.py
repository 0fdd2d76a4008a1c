"""Read videos frame by frame through OpenCV, say what they really hold, and write them.

Everything is read in order from the first frame: OpenCV's frame counts are what the header promises, and its seeks land
beside the frame they aim at. So this module counts by decoding and never seeks.
"""

import itertools
import math
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np

from dn3dlib.config import FOLLOWS
from dn3dlib.data.fitting import as_asked, cut_out
from dn3dlib.data.judgement import VideoInfo, check_whole, is_cut_off
from dn3dlib.data.person import REACH, Box, box_as_asked, follow_motion
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


def header(path: str | os.PathLike) -> VideoInfo:
    """What a video's header states; nothing is decoded or counted. Raises VideoError when there is no video."""
    path = _regular_file(path)
    with _opened(path) as capture:
        return _info(path, capture)


def probe(path: str | os.PathLike, visit: Callable[[np.ndarray], None] | None = None, every: int = 1) -> VideoInfo:
    """Decode a whole video and say what it holds.

    `visit` is called with the first and then each `every`-th frame, uint8 (height, width, 1), grey.
    Raises VideoError when it cannot be read to its end, or its frames change their size; `judgement` lists the reasons.
    A header that is merely wrong is no error.
    """
    path = _regular_file(path)
    with _opened(path) as capture:
        info = _decoded(path, capture, visit, every)
        check_whole(info)
    return info


def read_frames(
    path: str | os.PathLike,
    start: int = 0,
    stop: int | None = None,
    *,
    height: int | None = None,
    width: int | None = None,
    channels: int = 3,
    fit: str = "stretch",
    region: tuple[float, ...] = (),
    follow: str = "none",
) -> np.ndarray:
    """Read frames as `iter_frames` does, into one uint8 array (frames, height, width, channels)."""
    form = {"height": height, "width": width, "channels": channels, "fit": fit, "region": region, "follow": follow}
    return np.stack(list(iter_frames(path, start, stop, **form)))


def iter_frames(
    path: str | os.PathLike,
    start: int = 0,
    stop: int | None = None,
    *,
    height: int | None = None,
    width: int | None = None,
    channels: int = 3,
    fit: str = "stretch",
    region: tuple[float, ...] = (),
    follow: str = "none",
) -> Iterator[np.ndarray]:
    """Yield the frames [start, stop) of a video, counted from 0, one by one: memory does not grow with its length.

    `stop` None reads to the end. `height` and `width` are in pixels: neither given keeps the original size, one given
    lets the other follow the aspect ratio. `channels` is 3 (RGB) or 1 (grey). `fit` says what happens to another aspect
    ratio: "stretch", "crop" (cut the centre out) or "pad" (black bars). `region` cuts a box out first: left, top, right,
    bottom, in pixels, or as shares of the picture where none is above 1; all of it where it is empty. `follow` is "none", or
    "motion": a box around who moves is cut out (`person.follow_motion`), for which height and width must be given. Each frame is a
    fresh uint8 array (height, width, channels). Raises ConfigError for impossible arguments and VideoError for a path
    that is no readable file at once; VideoError in its place where there is no video, it is smaller than `region`, ends
    before `stop`, or, read to the end, is not whole (`judgement` lists the reasons).
    """
    _check_request(start, stop, height, width, channels, fit, follow)
    path, size = _regular_file(path), (height, width)
    if follow == "none":
        return (as_asked(frame, size, channels, fit) for frame in _pictures(path, start, stop, region))
    return (box_as_asked(frame, box, size, channels, fit) for frame, box in _followed(path, start, stop, region, height, width))


def iter_boxes(
    path: str | os.PathLike, start: int = 0, stop: int | None = None, *, height: int, width: int, region: tuple[float, ...] = ()
) -> Iterator[tuple[np.ndarray, Box | None]]:
    """Yield what `iter_frames` with `follow="motion"` cuts out, on the frames it cuts from: uint8 (any height, width, 3), RGB, with a box."""
    _check_request(start, stop, height, width, 3, "stretch", "motion")
    found = _followed(_regular_file(path), start, stop, region, height, width)
    return ((as_asked(frame, (None, None), 3, "stretch"), box) for frame, box in found)


def write_video(path: str | os.PathLike, frames: np.ndarray, fps: float, codec: str = "MJPG") -> None:
    """Write frames, uint8 (n, height, width, 3) RGB or (n, height, width[, 1]) grey, as a video of `fps` frames/s.

    The suffix of `path` chooses the container (.avi, .mp4, …), `codec` is a four-character code ("FFV1" is lossless).
    Raises VideoError for other arrays, odd sizes, a codec that is not available, or when not every frame arrives on the
    disk; whatever was at `path` before then stays.
    """
    frames = np.asarray(frames)
    _check_frames(_with_sound_name(path), frames, fps, codec)
    write_frames(path, frames, fps, codec)


def write_frames(path: str | os.PathLike, frames: Iterable[np.ndarray], fps: float, codec: str = "MJPG") -> int:
    """Write frames as they come, so that memory does not grow with their number; gives the number. Else as `write_video`.

    `frames` are uint8 (height, width, 3) RGB or (height, width[, 1]) grey, all of the first one's form.
    """
    path, frames = _with_sound_name(path), iter(frames)
    first = next(frames, np.empty((0, 0), np.uint8))
    _check_frames(path, first[np.newaxis], fps, codec)
    beside = path.with_name(f"{path.stem}.partial-{os.getpid()}{path.suffix}")  # the suffix chooses the container
    try:
        beside.touch()
        try:
            count = _encode(beside, path, itertools.chain([first], frames), fps, codec)
            if _shape_on_disk(beside) != (count, *first.shape[:2]):  # OpenCV's writer does not say when something failed
                message = f"{path} was not written: its {count} frames did not all arrive; is the disk full?"
                raise VideoError(message, "incompletely written")
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)
    except OSError as error:
        message = f"{path} cannot be written: {error.strerror}; choose another place, or make room there"
        raise VideoError(message, error.strerror) from None
    return count


def _with_sound_name(path: str | os.PathLike) -> Path:
    path = Path(path)
    name = str(path)
    if "\0" in name or name != name.encode(errors="ignore").decode():  # OpenCV 5 crashes on a name that is not UTF-8
        raise VideoError(f"{name!a} is a name that OpenCV cannot open; rename the file", "unusable name")
    return path


def _regular_file(path: str | os.PathLike) -> Path:
    """The path, if a file with content that may be read is there; addresses and devices never get to FFmpeg."""
    path = _with_sound_name(path)
    try:
        if path.is_dir():
            raise VideoError(f"{path} is a folder, not a video; name a file in it", "not a regular file")
        if path.exists() and not path.is_file():
            raise VideoError(f"{path} is a device, pipe or socket, not a video; name a regular file", "not a regular file")
        with path.open("rb") as file:
            if not file.read(1):
                raise VideoError(f"{path} is empty (0 bytes); fetch it again", "empty")
    except (FileNotFoundError, NotADirectoryError):
        raise VideoError(f"{path} does not exist; check its spelling and the folder it is in", "missing") from None
    except PermissionError:
        raise VideoError(f"{path} may not be read by you; change its permissions", "unreadable permission") from None
    except OSError as error:
        raise _disk_error(path, error) from None
    return path


def _disk_error(path: Path, error: OSError) -> VideoError:
    return VideoError(f"{path} cannot be read: {error.strerror}; check the disk", "disk error")


@contextmanager
def _opened(path: Path) -> Iterator[cv2.VideoCapture]:
    # An absolute path, because FFmpeg takes a name such as "concat:a.avi" for a protocol.
    capture = cv2.VideoCapture(os.path.abspath(path), _BACKEND, _OPEN_PARAMETERS)
    try:
        if not capture.isOpened() and is_cut_off(path):
            message = f"{path} is truncated: it ends before the index that reading it needs; fetch it again"
            raise VideoError(message, "truncated at frame 0 of ?")
        if not capture.isOpened() or _codec(capture) == _TEXT_CODEC:
            message = (
                f"{path} has no video stream that can be read: it is another kind of file, holds only sound, or its"
                " beginning is damaged; give a video, or fetch it again"
            )
            raise VideoError(message, "no video stream")
        capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 1)
        yield capture
    except OSError as error:
        raise _disk_error(path, error) from None
    finally:
        capture.release()


def _followed(path: Path, start: int, stop: int | None, region: tuple, height: int, width: int) -> Iterator[tuple[np.ndarray, Box | None]]:
    """Frames, BGR, and boxes that are those of the whole video."""
    before = min(start, REACH)
    found = follow_motion(_pictures(path, start, stop, region, REACH), height, width)
    return itertools.islice(found, before, None if stop is None else before + stop - start)


def _pictures(path: Path, start: int, stop: int | None, region: tuple, reach: int = 0) -> Iterator[np.ndarray]:
    """The frames from `start` to `stop`, BGR, and up to `reach` more before and after them."""
    with _opened(path) as capture:
        index, shape = 0, None
        # The first failure is the end: behind damage some frames may decode again, but under wrong numbers.
        while (stop is None or index < stop + reach) and capture.grab():
            if index >= start - reach:
                readable, frame = capture.retrieve()
                if not readable:
                    break
                shape = shape or frame.shape
                if frame.shape != shape:
                    message = f"{path} changes its frame size at frame {index}; cut it there into two videos"
                    raise VideoError(message, f"changed size within the file (at frame {index})")
                yield cut_out(frame, region, path)
            index += 1
        if stop is None or index < stop:
            check_whole(_info(path, capture, index))
        if index < (stop or start + 1):
            message = f"{path} ended at frame {index} of {stop or start + 1} asked for; ask for frames before {index}"
            raise VideoError(message, f"ended at frame {index} of {stop or start + 1}")


def _decoded(
    path: Path, capture: cv2.VideoCapture, visit: Callable[[np.ndarray], None] | None = None, every: int = 1
) -> VideoInfo:
    frames = 0
    while capture.grab():
        if visit and frames % every == 0:
            readable, frame = capture.retrieve()
            if not readable:
                break
            visit(as_asked(frame, (None, None), 1, "stretch"))
        frames += 1
    return _info(path, capture, frames)


def _info(path: Path, capture: cv2.VideoCapture, frames: int | None = None) -> VideoInfo:
    width, height = int(capture.get(cv2.CAP_PROP_FRAME_WIDTH)), int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
    return VideoInfo(path, width, height, frames, _promised(capture), _rate(capture), _codec(capture))


def _promised(capture: cv2.VideoCapture) -> int:
    return max(0, int(capture.get(cv2.CAP_PROP_FRAME_COUNT)))  # "unknown" is a huge negative number


def _rate(capture: cv2.VideoCapture) -> float:
    fps = capture.get(cv2.CAP_PROP_FPS)
    return fps if math.isfinite(fps) and fps > 0 else 0.0


def _codec(capture: cv2.VideoCapture) -> str:
    code = int(capture.get(cv2.CAP_PROP_FOURCC)) & 0xFFFFFFFF
    return code.to_bytes(4, "little").decode("ascii", errors="replace").strip("\0 ")


def _check_request(start, stop, height, width, channels, fit, follow) -> None:
    if start < 0 or (stop is not None and stop <= start):
        raise ConfigError(f"{start} to {stop} is no range of frames: take 0 <= start < stop, or stop=None")
    for name, pixels in (("height", height), ("width", width)):
        if pixels is not None and pixels < 1:
            raise ConfigError(f"{name} is {pixels}, but a frame has at least 1 pixel: give 1 or more, or None")
    if channels not in CHANNELS:
        raise ConfigError(f"channels is {channels}, but frames have 1 (grey) or 3 (RGB): choose one of the two")
    if follow not in FOLLOWS:
        raise ConfigError(f"follow is {follow!r}, but must be one of {', '.join(FOLLOWS)}")
    if follow != "none" and (height is None or width is None):
        raise ConfigError("follow takes a box that changes its size: give height and width, to which it is brought")
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


def _encode(beside: Path, path: Path, frames: Iterator[np.ndarray], fps: float, codec: str) -> int:
    """Write all frames, of which there is at least one; gives their number."""
    writer, count, shape = None, 0, None
    try:
        for count, frame in enumerate(frames, 1):
            writer = writer or _writer(beside, path, frame.shape, fps, codec)
            shape = shape or frame.shape
            if frame.shape != shape:
                message = f"{path} was not written: its frame {count - 1} is {frame.shape}, the first {shape}; give frames of one form"
                raise VideoError(message, "cannot be written so")
            writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR if frame.shape[2:] == (3,) else cv2.COLOR_GRAY2BGR))
    finally:
        if writer:
            writer.release()
    return count


def _writer(beside: Path, path: Path, shape: tuple[int, ...], fps: float, codec: str) -> cv2.VideoWriter:
    writer = cv2.VideoWriter(os.path.abspath(beside), _BACKEND, cv2.VideoWriter_fourcc(*codec), fps, (shape[1], shape[0]))
    if not writer.isOpened():
        writer.release()
        container = f"{path.suffix} files" if path.suffix else "a name without suffix"
        message = f"{path} was not written: codec {codec} is not available for {container}; choose MJPG and .avi"
        raise VideoError(message, "codec not available")
    return writer


def _shape_on_disk(path: Path) -> tuple[int, int, int] | None:
    try:
        with _opened(path) as capture:
            info = _decoded(path, capture)
    except VideoError:
        return None
    return info.frames, info.height, info.width
