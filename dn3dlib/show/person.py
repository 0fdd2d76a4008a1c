"""The box that follows the moving person, drawn over the frames, with what it cuts out beside them."""

from itertools import islice
from pathlib import Path

import cv2
import numpy as np
from IPython.display import HTML

from dn3dlib.config import StorageConfig
from dn3dlib.data.decode import frame_form
from dn3dlib.data.person import Box
from dn3dlib.data.video import header, iter_boxes, iter_frames
from dn3dlib.data.windows import USUAL_RATE
from dn3dlib.show.players import play

SECONDS = 4  # of a video in a player
_LINE, _RIM = (240, 228, 66), (0, 0, 0)  # RGB: Okabe–Ito's yellow, with black inside it: seen on light and on dark pictures


def draw_boxes(frames: list[np.ndarray], boxes: list[Box | None]) -> np.ndarray:
    """Frames, uint8 RGB (height, width, 3), each with its box drawn along its inner edge; None: no box.

    Returns:
        uint8 (frames, height, width, 3).
    """
    drawn = np.stack(frames)
    thick = max(1, drawn.shape[2] // 160)
    for frame, box in zip(drawn, boxes, strict=True):
        if box:
            left, top, right, bottom = box
            for inset, colour in ((thick, _RIM), (0, _LINE)):
                cv2.rectangle(frame, (left + inset, top + inset), (right - 1 - inset, bottom - 1 - inset), colour, thick)
    return drawn


def play_person(path: Path, storage: StorageConfig, start: int = 0) -> HTML:
    """A player of a video with the box that `storage.follow="motion"` cuts out, and the frames that are stored, beside it. Taught in notebook 07.

    Args:
        path: a video.
        storage: the form of the frames; its `follow` may be anything.
        start: the first frame shown, counted from 0; SECONDS are shown, or what there is.

    Raises:
        VideoError: the video cannot be read, or has no frame `start`.
    """
    fps = header(path).fps or USUAL_RATE
    form = frame_form(storage) | {"follow": "motion"}
    count = round(SECONDS * fps)
    wanted = {name: form[name] for name in ("height", "width", "region")}
    frames, boxes = zip(*islice(iter_boxes(path, start, **wanted), count), strict=True)
    stored = np.stack(list(islice(iter_frames(path, start, **form), count)))
    nobody = sum(box is None for box in boxes)
    said = f"; in {nobody} of them nothing moves, and the whole picture is stored" if nobody else ""
    label = f"{len(frames)} frames of {Path(path).name} with the box that follows the moving person{said}"
    return play({"the video, with the box": draw_boxes(frames, boxes), "what is stored": stored}, fps, label)
