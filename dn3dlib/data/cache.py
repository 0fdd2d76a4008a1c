"""Frames of clips held in memory: all of a run's, decoded once, where they fit."""

import math
import os
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat
from pathlib import Path

import numpy as np
import psutil

from dn3dlib.data.manifest import DataSet
from dn3dlib.data.records import FrameReader
from dn3dlib.errors import ConfigError
from dn3dlib.progress import progress_bar

MEMORY_SHARE = 0.25  # of the free memory: what `auto` takes at most, since network and batches need theirs too
CONTAINER = Path("/sys/fs/cgroup")  # of version 2: where the limits of this process's container stand


class DecodedFrames:
    """The frames of some splits, decoded, in one array uint8 (frames, height, width, channels)."""

    def __init__(self, data: DataSet, splits: tuple[str, ...], show_progress: bool = True):
        held = [s for s in data.sequences if s.split in splits]
        lengths = np.array([s.frames if s.split in splits else 0 for s in data.sequences])
        ends = np.cumsum(lengths)
        self._frames = np.empty((ends[-1], *data.storage.frame_shape), np.uint8)
        self._starts = np.where(lengths, ends - lengths, ends[-1])  # what is not held lies behind the end
        parts = np.split(self._frames, ends[lengths > 0][:-1])
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            decoded = pool.map(FrameReader(data).decoded, held, repeat(None), parts)
            for _ in progress_bar(decoded, total=len(held), desc="decode", unit="sequence", show=show_progress, delay=2):
                pass

    def clips(self, sequences: np.ndarray, numbers: np.ndarray) -> np.ndarray:
        """Clips as `FrameReader.clips` gives them; raises IndexError for a sequence of another split."""
        return self._frames.take(self._starts[sequences][:, None] + numbers, axis=0)


def open_frames(data: DataSet, splits: tuple[str, ...], cache: str, show_progress: bool = True) -> FrameReader | DecodedFrames:
    """The frames of some splits, in memory or on the disk; raises DataError where damage is met in decoding them."""
    return DecodedFrames(data, splits, show_progress) if held_in_memory(data, splits, cache) else FrameReader(data)


def held_in_memory(data: DataSet, splits: tuple[str, ...], cache: str) -> bool:
    """Whether `cache` (memory, disk or auto) means that the decoded frames of some splits are held in memory.

    Raises ConfigError where it is `memory` and they do not fit in what is free; `auto` takes MEMORY_SHARE of that.
    """
    needed = math.prod(data.storage.frame_shape) * sum(s.frames for s in data.sequences if s.split in splits)
    free = free_memory()
    if cache == "memory" and needed > free:
        raise ConfigError(
            f"The decoded frames of {data.path} ({', '.join(splits)}) take {needed / 1e9:.2f} GB of memory, but only {free / 1e9:.2f} GB "
            "are free: end other programs, or read from the disk with train.cache=disk (to go on with a run: in its config.json)."
        )
    return cache == "memory" or (cache == "auto" and needed <= MEMORY_SHARE * free)


def free_memory() -> int:
    """Bytes that are free on this machine and, where it has a limit, in this container; what only caches files is free."""
    free, limit = psutil.virtual_memory().available, CONTAINER / "memory.max"
    if not limit.is_file() or (most := limit.read_text().strip()) == "max":
        return free
    cached = dict(line.split() for line in (CONTAINER / "memory.stat").read_text().splitlines())["inactive_file"]
    return min(free, int(most) - int((CONTAINER / "memory.current").read_text()) + int(cached))
