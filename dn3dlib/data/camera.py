"""Frames of a camera as they come, in the form of a prepared data set; or of a file that stands for a camera."""

import time
from collections import deque
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import cv2
import numpy as np

from dn3dlib.config import StorageConfig
from dn3dlib.data.decode import frame_form
from dn3dlib.data.fitting import cut_out
from dn3dlib.data.person import box_as_asked, follow_motion
from dn3dlib.data.video import header, iter_frames
from dn3dlib.errors import VideoError


def frames_of(source: int | str | Path, storage: StorageConfig, usual_rate: float) -> Iterator[tuple[float, np.ndarray]]:
    """Frames with their times in seconds, from 0, uint8 (height, width, channels).

    Args:
        source: a camera's number, whose frames get the time at which they arrive; or a video file, whose frames have the times
            that its rate gives, and come as fast as they are asked for.
        storage: the form of the frames. Where a box is to follow who moves, each comes some 23 frames late (`person.REACH`).
        usual_rate: frames/s, of a file that tells none.

    Raises:
        VideoError: there is no such camera, or it gives no picture any more; or the file is no video. At once, not with the first frame.
    """
    if not isinstance(source, int):
        rate = header(source).fps or usual_rate
        return ((number / rate, frame) for number, frame in enumerate(iter_frames(source, **frame_form(storage))))
    capture = cv2.VideoCapture(source)
    if not capture.isOpened():
        capture.release()
        raise VideoError(f"There is no camera {source} that can be opened; connect one that no other program uses, or give a video file instead", "no camera")
    return _camera(capture, source, storage)


def _camera(capture: cv2.VideoCapture, source: int, storage: StorageConfig) -> Iterator[tuple[float, np.ndarray]]:
    times: deque[float] = deque()  # of frames that wait for those after them: who moves in them is not known yet
    pictures = _pictures(capture, source, storage, times)
    size = storage.height, storage.width
    found = ((frame, None) for frame in pictures) if storage.follow == "none" else follow_motion(pictures, *size)
    with closing(pictures):
        for frame, box in found:
            yield times.popleft(), box_as_asked(frame, box, size, storage.channels, storage.fit)


def _pictures(capture: cv2.VideoCapture, source: int, storage: StorageConfig, times: deque[float]) -> Iterator[np.ndarray]:
    """The frames as they arrive, BGR; when each did is noted in `times`, in seconds from the first."""
    first = None
    try:
        while True:
            arrived, frame = capture.read()
            now = time.monotonic()
            if not arrived:
                raise VideoError(f"The camera {source} gives no picture any more; connect it again", "no picture")
            first = first or now
            times.append(now - first)
            yield cut_out(frame, storage.region, Path(f"camera {source}"))
    finally:
        capture.release()
