"""Give a frame another size and other colours."""

from pathlib import Path

import cv2
import numpy as np

from dn3dlib.errors import VideoError


def cut_out(frame: np.ndarray, region: tuple[float, ...], path: Path) -> np.ndarray:
    """The box `region` of a frame of the video `path` (see `video.iter_frames`), at least a pixel wide and high."""
    if not region:
        return frame
    height, width = frame.shape[:2]
    left, top, right, bottom = region
    if max(region) <= 1:
        left, right, top, bottom = round(left * width), round(right * width), round(top * height), round(bottom * height)
    if right > width or bottom > height:
        message = f"{path} has only {width}×{height} pixels, but storage.region is {list(region)}; give a box within it"
        raise VideoError(message, "smaller than the region")
    top, left = min(top, height - 1), min(left, width - 1)
    return frame[top : max(bottom, top + 1), left : max(right, left + 1)]


def as_asked(frame: np.ndarray, size: tuple[int | None, int | None], channels: int, fit: str) -> np.ndarray:
    """A decoded BGR frame, uint8 (height, width, 3), in the size and colours asked for; see `video.iter_frames`."""
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
