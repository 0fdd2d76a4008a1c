"""A video with what was found in it: below each frame its label, and a timeline on which time goes by. Drawn with OpenCV, frame by frame."""

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import cv2
import imageio_ffmpeg
import numpy as np

from dn3dlib.data.segments import Segment
from dn3dlib.data.video import header, iter_frames, probe
from dn3dlib.errors import VideoError
from dn3dlib.progress import progress_bar
from dn3dlib.show.figures import COLOURS, GREY

_NARROWEST, _WIDEST = 480, 1280  # pixels of the picture: words need room; players have no more
_STRIP, _WORDS, _TOP, _BAR, _EDGE = 72, 25, 36, 26, 10  # pixels: height, foot of the words, the timeline's top and height, left and right of it
_PAPER, _INK = 28, 255  # grey levels
_SIZE, _SMALL, _BOLD = 19, 14, 700  # pixels of letters; their weight
_FONT = cv2.FontFace("sans")
_CONSTANT_RATE_FACTOR = 23  # of H.264, as players take it


def write_annotated(prediction, out: Path, stop: threading.Event | None = None, show_progress: bool = True) -> int:
    """Write a video with the classes that were found in it, as H.264 that browsers play; frames pass one by one.

    Args:
        prediction: of `evaluate.predict.predict`; of one that was stopped, what lies behind is left out.
        out: an .mp4 file; one that is there is replaced once the new one is whole.
        stop: once it is set, the video ends there.
        show_progress: on standard error.

    Returns:
        How many frames were written.

    Raises:
        VideoError: the video can no longer be read, or `out` not be written.
    """
    out = Path(out)
    partial = out.with_name(f"{out.stem}.partial-{os.getpid()}{out.suffix}")
    frames = _frames(prediction)
    bar = progress_bar(frames, total=prediction.frames, desc=f"writing {out.name}", unit="frame", show=show_progress)
    try:
        written = _encode(partial, bar, prediction.fps, stop or threading.Event())
        if probe(partial).frames != written:
            raise VideoError(f"{out} was not written: its {written} frames did not all arrive; is the disk full?", "incompletely written")
        partial.replace(out)
    except OSError as error:  # of ffmpeg, too, which ends where the disk is full
        raise VideoError(f"{out} cannot be written: {error.strerror or 'ffmpeg ended early'}; choose another place, or make room there", "not written") from error
    finally:
        partial.unlink(missing_ok=True)
    return written


def _encode(path: Path, frames, fps: float, stop: threading.Event) -> int:
    """Write the frames up to the last, or to where it is stopped; gives their number, at least 1."""
    written, file = 0, None
    try:
        for frame in frames:
            if file is None:
                file = imageio_ffmpeg.write_frames(
                    str(path), frame.shape[1::-1], fps=fps, codec="libx264", pix_fmt_out="yuv420p", quality=None, macro_block_size=2,
                    ffmpeg_log_level="error", output_params=["-preset", "veryfast", "-crf", str(_CONSTANT_RATE_FACTOR), "-movflags", "+faststart"],
                )  # fmt: skip
                file.send(None)
            file.send(frame)
            written += 1
            if stop.is_set():
                break
    finally:
        frames.close()
        if file is not None:
            file.close()
    return written


def _frames(prediction) -> Iterator[np.ndarray]:
    """The frames as they are shown, uint8 RGB, even in height and width."""
    info = header(prediction.video)
    width = min(max(info.width, _NARROWEST), _WIDEST) // 2 * 2
    height = max(2, round(info.height * width / info.width) // 2 * 2)
    line, place = timeline_strip(prediction, width), 0
    read = iter_frames(prediction.video, 0, prediction.frames, height=height, width=width)
    for number, frame in enumerate(read):
        time = number / prediction.fps
        while time >= prediction.segments[place].end and place + 1 < len(prediction.segments):
            place += 1
        yield np.concatenate([frame, _at(line, time, prediction.segments[place], prediction.segments[-1].end)])


def timeline_strip(prediction, width: int) -> np.ndarray:
    """The timeline of all segments, uint8 RGB (72, width, 3), without the words above it: a colour and the name, or its first letters, for each."""
    strip, whole = np.full((_STRIP, width, 3), _PAPER, np.uint8), prediction.segments[-1].end
    for segment in prediction.segments:
        left, right = (_place(seconds, whole, width) for seconds in (segment.start, segment.end))
        corners = (left, _TOP), (max(left, right - 2), _TOP + _BAR)
        colour = _colour(segment.label, prediction.classes)
        cv2.rectangle(strip, *corners, colour, cv2.FILLED)
        cv2.rectangle(strip, *corners, (150,) * 3)  # a black one is seen, too
        word = _fitting(segment.name, right - left - 8)
        ink = 0 if np.dot(colour, (0.299, 0.587, 0.114)) > 120 else _INK
        cv2.putText(strip, word, (left + (right - left - _wide(word, _SMALL, _BOLD)) // 2, _TOP + _BAR // 2 + 5), (ink,) * 3, _FONT, _SMALL, _BOLD)
    return strip


def _fitting(name: str, room: int) -> str:
    """As many letters of a name as fit into so many pixels."""
    return next((name[:letters] for letters in range(len(name), 0, -1) if _wide(name[:letters], _SMALL, _BOLD) <= room), "")


def _wide(words: str, size: int, weight: int) -> int:
    return cv2.getTextSize((_WIDEST, _STRIP), words, (0, 0), _FONT, size, weight)[2] if words else 0


def _at(line: np.ndarray, time: float, segment: Segment, whole: float) -> np.ndarray:
    """The strip at one moment: what is seen, and where the time stands."""
    strip, width = line.copy(), line.shape[1]
    cv2.putText(strip, f"{segment.name}  {segment.certainty:.2f}", (_EDGE, _WORDS), (_INK,) * 3, _FONT, _SIZE, _BOLD)
    clock = f"{time:.1f} of {whole:.1f} s"
    wide = _wide(clock, _SMALL, 400)
    cv2.putText(strip, clock, (width - _EDGE - wide, _WORDS), (_INK,) * 3, _FONT, _SMALL, 400)
    x = _place(time, whole, width)
    cv2.rectangle(strip, (x - 2, _TOP - 4), (x + 2, _TOP + _BAR + 4), (0,) * 3, cv2.FILLED)
    cv2.rectangle(strip, (x - 1, _TOP - 4), (x + 1, _TOP + _BAR + 4), (_INK,) * 3, cv2.FILLED)
    return strip


def _place(seconds: float, whole: float, width: int) -> int:
    return _EDGE + round((width - 2 * _EDGE) * seconds / whole)


def _colour(label: str | None, classes: tuple[str, ...]) -> tuple[int, ...]:
    code = GREY if label is None else COLOURS[classes.index(label) % len(COLOURS)]
    return tuple(int(code[place : place + 2], 16) for place in (1, 3, 5))
