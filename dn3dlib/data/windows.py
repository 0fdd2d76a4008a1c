"""Frames of a video as they come → clips at a hop, in the form of a prepared data set: memory does not grow with the length."""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from dn3dlib.config import ClipConfig, StorageConfig
from dn3dlib.data.clips import in_order
from dn3dlib.data.records import decode_frame, encode_frame

USUAL_RATE = 25.0  # frames/s, where neither a run nor a video tells one
_AHEAD = 2  # items that are made before they are asked for


@dataclass(frozen=True)
class Windows:
    """Clips that follow each other in a video."""

    starts: np.ndarray  # int (n,): the first frame of each, counted from 0 at the rate that they were cut at
    numbers: np.ndarray  # int (n,): the same as number of the video's own frame
    clips: np.ndarray  # uint8 (n, frames, height, width, channels)


def at_rate(frames: Iterable[tuple[float, np.ndarray]], rate: float, last: float) -> Iterator[tuple[int, np.ndarray]]:
    """Frames at another rate: at each time k / rate the frame that is nearest in time, be it left out or repeated.

    Args:
        frames: (time in seconds, frame) in order, the first at 0.
        rate: frames/s wanted.
        last: seconds for which the last frame stands.

    Yields:
        Which of the given frames it is, counted from 0, and the frame.
    """
    asked, before, number = 0, None, -1
    for number, (time, frame) in enumerate(frames):
        # Halfway between two frames the later one begins; a billionth of a frame for what rounding adds.
        while before is not None and asked / rate < (before[0] + time) / 2 - 1e-9 / rate:
            yield number - 1, before[1]
            asked += 1
        before = time, frame
    while before is not None and asked / rate < before[0] + last / 2 - 1e-9 / rate:
        yield number, before[1]
        asked += 1


def cut_windows(
    frames: Iterable[tuple[int, np.ndarray]], storage: StorageConfig, clip: ClipConfig, hop: int, batch_size: int, seed: int
) -> Iterator[Windows]:
    """The clips that start every `hop` frames and one that ends with the last frame, `batch_size` at once, as they would be stored.

    Args:
        frames: (number, frame in the form of `storage`), at the rate of the prepared data.
        storage, clip: of the run; nothing is augmented.
        hop: frames between the starts of two clips, at most `clip.span`.
        batch_size: clips of each Windows; the last one may be smaller.
        seed: of `frame_order="shuffled"`.

    Yields:
        Nothing where there are fewer frames than a clip spans.
    """
    order = in_order(np.arange(clip.frames)[np.newaxis], clip, np.random.default_rng(seed))[0] * clip.stride
    held: deque[tuple[int, np.ndarray]] = deque(maxlen=clip.span)
    batch, count, due = [], 0, clip.span
    for number, frame in frames:
        held.append((number, decode_frame(encode_frame(frame, storage), storage)))
        count += 1
        if count == due:
            batch.append(_window(held, count, order))
            due += hop
        if len(batch) == batch_size:
            yield _together(batch)
            batch = []
    if count >= clip.span and due != count + hop:  # some frames came after the last clip
        batch.append(_window(held, count, order))
    if batch:
        yield _together(batch)


def _window(held: deque, count: int, order: np.ndarray) -> tuple[int, int, np.ndarray]:
    return count - len(held), held[0][0], np.stack([held[place][1] for place in order])


def _together(batch: list) -> Windows:
    starts, numbers, clips = zip(*batch, strict=True)
    return Windows(np.array(starts), np.array(numbers), np.stack(clips))


def ahead(items: Iterable) -> Iterator:
    """The same items, made by another thread, a few before they are asked for; what is raised there is raised here, in its place."""
    source, end = iter(items), object()
    with ThreadPoolExecutor(1) as thread:
        waiting = deque(thread.submit(next, source, end) for _ in range(_AHEAD))
        while (item := waiting.popleft().result()) is not end:
            waiting.append(thread.submit(next, source, end))
            yield item
