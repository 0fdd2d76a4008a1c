"""Where the moving person is in each frame of a video: a box that follows, found by what differs from the background.

What is found at a frame depends on the REACH frames before and after it alone: a stretch read from the middle of a video has the boxes
that the whole video has, and memory does not grow with the length.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from itertools import chain, repeat

import cv2
import numpy as np

from dn3dlib.data.fitting import as_asked

_NEAR = 8  # frames before and after, whose mean is the background
_WHOLE = 10  # frames before and after, in which a person shows all that moves: legs stand still while hands clap
_SMOOTH = 5  # frames before and after, over which boxes are averaged
REACH = _NEAR + _WHOLE + _SMOOTH
_LONGER_SIDE = 120  # pixels of the picture in which motion is sought
_LEAST_CHANGE = 6.0  # grey levels of 255: less is noise
_TIMES_USUAL = 4.0  # so many times the change that most of the picture has: moved by the camera, or noise
_LEAST_AREA = 0.003  # share of the picture that moves where somebody does
_TAIL = 0.01  # share of what moves that may lie beyond each side of the box: specks
_MOST = 80  # percentile of the extents in those frames that is held
_MARGIN = 1.15  # the box against what moves in it
_LEAST_SIDE = 0.6  # of the largest box: a hand alone shall not fill the frame

Box = tuple[int, int, int, int]  # left, top, right, bottom, in pixels; right and bottom are the first outside


def follow_motion(frames: Iterable[np.ndarray], height: int, width: int) -> Iterator[tuple[np.ndarray, Box | None]]:
    """Each frame with the box that holds the moving person. Taught in notebook 07.

    The background is the mean of the frames around; what differs from it by far more than most of the picture does is the person.
    Boxes are averaged over time. Their sides stand as `width` to `height`, and they never leave the picture. Of somebody who stands still
    but for the arms, the box may hold no more than the upper half.

    Args:
        frames: uint8 (any height, width, 3), BGR, all of one size.
        height, width: of the frames that are wanted, in pixels.

    Yields:
        The frame and its box, REACH frames after it came; None in place of the box where nothing moves.
    """
    waiting: deque[np.ndarray] = deque()
    extents = (_extent(around, place) for around, place in _in_company(map(_small, _noted(frames, waiting)), _NEAR))
    people = (_person([extent for extent in around if extent]) for around, _ in _in_company(extents, _WHOLE))
    for around, place in _in_company(people, _SMOOTH):
        frame = waiting.popleft()
        moving = [person for person in around if person]
        yield frame, _box(np.mean(moving, axis=0), frame.shape[:2], height / width) if around[place] else None


def box_as_asked(frame: np.ndarray, box: Box | None, size: tuple[int | None, int | None], channels: int, fit: str) -> np.ndarray:
    """What a box holds of a decoded BGR frame, uint8 (height, width, 3), or without one the whole frame, as `fitting.as_asked` gives it."""
    if box is None:
        return as_asked(frame, size, channels, fit)
    left, top, right, bottom = box
    return as_asked(frame[top:bottom, left:right], size, channels, "stretch")  # it has the aspect ratio of `size`, but for rounding


def _noted(frames: Iterable[np.ndarray], waiting: deque) -> Iterator[np.ndarray]:
    for frame in frames:
        waiting.append(frame)
        yield frame


def _in_company(items: Iterable, reach: int) -> Iterator[tuple[list, int]]:
    """For each item, `reach` items late: it and those up to `reach` before and after it, and its place among them."""
    held, place, end = deque(), 0, object()
    for item in chain(items, repeat(end, reach)):
        if item is not end:
            held.append(item)
        if len(held) - place > (reach if item is not end else 0):
            yield list(held), place
            if place == reach:
                held.popleft()
            else:
                place += 1


def _small(frame: np.ndarray) -> np.ndarray:
    """Grey, blurred and small, uint8 (height, width)."""
    grey = cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY)
    scale = _LONGER_SIDE / max(grey.shape)
    if scale < 1:
        grey = cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return cv2.blur(grey, (3, 3))


def _extent(around: list[np.ndarray], place: int) -> tuple[float, ...] | None:
    """What moves in one of some frames, uint8 (height, width), against their mean: left, top, right, bottom as shares; None: nothing."""
    change = np.abs(around[place] - np.mean(around, axis=0))
    moves = change > max(_LEAST_CHANGE, _TIMES_USUAL * float(np.median(change)))
    if moves.mean() < _LEAST_AREA:
        return None
    weight = np.where(moves, change, 0)
    (left, right), (top, bottom) = (_ends(weight.sum(axis=axis)) for axis in (0, 1))
    return left, top, right, bottom


def _ends(weights: np.ndarray) -> tuple[float, float]:
    """Where all but the tails of a distribution lie, as shares of its length."""
    first, last = np.searchsorted(np.cumsum(weights) / weights.sum(), [_TAIL, 1 - _TAIL])
    return first / len(weights), (last + 1) / len(weights)


def _person(extents: list[tuple[float, ...]]) -> tuple[float, ...] | None:
    """Centre x, y, width and height of who moves in some frames, as shares of the picture; None where nothing does."""
    if not extents:
        return None
    left, top, right, bottom = np.transpose(extents)
    high, low = np.percentile(top, 100 - _MOST), np.percentile(bottom, _MOST)  # a person does not go up and down
    return float(np.mean(left + right)) / 2, (high + low) / 2, np.percentile(right - left, _MOST), low - high


def _box(person: np.ndarray, shape: tuple[int, int], aspect: float) -> Box:
    """The box of given height to width around a person, in a picture of `shape` (height, width)."""
    height, width = shape
    x, y, wide, high = person * (width, height, width, height)
    largest = min(height, width * aspect)
    tall = min(max(_MARGIN * high, _MARGIN * wide * aspect, _LEAST_SIDE * largest), largest)
    sides = max(1, min(width, round(tall / aspect))), max(1, min(height, round(tall)))
    left, top = (round(min(max(middle - side / 2, 0), end - side)) for middle, side, end in zip((x, y), sides, (width, height), strict=True))
    return left, top, left + sides[0], top + sides[1]
