"""Frames of a camera as they come, in the form of a prepared data set; or of a file that stands for a camera."""

import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from dn3dlib.config import StorageConfig
from dn3dlib.data.decode import frame_form
from dn3dlib.data.fitting import as_asked, cut_out
from dn3dlib.data.video import header, iter_frames
from dn3dlib.errors import VideoError


def frames_of(source: int | str | Path, storage: StorageConfig, usual_rate: float) -> Iterator[tuple[float, np.ndarray]]:
    """Frames with their times in seconds, from 0, uint8 (height, width, channels).

    Args:
        source: a camera's number, whose frames get the time at which they arrive; or a video file, whose frames have the times
            that its rate gives, and come as fast as they are asked for.
        storage: the form of the frames.
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
    first = None
    try:
        while True:
            arrived, frame = capture.read()
            now = time.monotonic()
            if not arrived:
                raise VideoError(f"The camera {source} gives no picture any more; connect it again", "no picture")
            first = first or now
            frame = cut_out(frame, storage.region, Path(f"camera {source}"))
            yield now - first, as_asked(frame, (storage.height, storage.width), storage.channels, storage.fit)
    finally:
        capture.release()
