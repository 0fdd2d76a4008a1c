"""The same footage twice: files that are equal byte for byte, and videos that only look alike.

A frame's hash compares neighbouring regions of the picture, so that compressing, resizing or brightening it changes few
bits. What all frames of a data set share, such as one room in which all was filmed, says nothing about two of them: the
set's mean is taken out before hashes are compared.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

import cv2
import numpy as np

HASH_EVERY = 16  # frames from one hashed frame to the next
HASHES = 5  # kept of a sequence or a video
NEAR = 0.45  # similarity of near duplicates; measured: `data/README.md`

_CELLS = 13  # regions in a row and in a column of the picture
_SIDE = 120  # pixels of the shorter side that are enough to average over
_BLACK = 16  # grey levels up to this are a bar around the picture
_FLAT = 4  # a picture whose regions differ by less shows nothing, as between two scenes
_MEAN_WEIGHT = 10  # as many hashes without content count into the mean, so that two equal videos alone do not vanish
_ROWS = 64  # sequences compared with all others at once: bounds the memory


def identical_files(paths: Iterable[Path]) -> dict[Path, Path]:
    """Each file that repeats an earlier one byte for byte, with that one; files that cannot be read are left out."""
    by_size, first, repeated = defaultdict(list), {}, {}
    for path in paths:
        if path.is_file() and path.stat().st_size:
            by_size[path.stat().st_size].append(path)
    for path in (path for same_size in by_size.values() if len(same_size) > 1 for path in same_size):
        try:
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").digest()
        except OSError:
            continue  # whoever decodes it says why
        if first.setdefault(digest, path) is not path:
            repeated[path] = first[digest]
    return repeated


def frame_hash(frame: np.ndarray) -> str:
    """The perceptual hash of a frame, uint8 (height, width[, 1 or 3 RGB]): 312 bits in hexadecimal.

    Black bars around the picture do not count. Empty for a picture that shows nothing. A difference hash: each region is
    compared with the one above and the one to its left (N. Krawetz, "Kind of Like That", 2013).
    """
    step = max(1, min(frame.shape[:2]) // _SIDE)
    small = frame[::step, ::step]
    grey = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY) if small.shape[2:] == (3,) else small.reshape(small.shape[:2])
    left, top, width, height = cv2.boundingRect((grey > _BLACK).astype(np.uint8))
    if not width:
        return ""
    cells = cv2.resize(grey[top : top + height, left : left + width], (_CELLS, _CELLS), interpolation=cv2.INTER_AREA)
    if np.ptp(cells) < _FLAT:
        return ""
    return np.packbits([cells[1:] > cells[:-1], (cells[:, 1:] > cells[:, :-1]).T]).tobytes().hex()


def sample_hashes(hashes: Iterable[str]) -> tuple[str, ...]:
    """At most `HASHES` of a video's or a sequence's hashes, spread evenly, without the empty ones."""
    found = [value for value in hashes if value]
    places = np.linspace(0, len(found) - 1, min(HASHES, len(found))).round().astype(int)
    return tuple(found[place] for place in places)


def near_pairs(hashes: Sequence[Sequence[str]]) -> list[tuple[int, int, float]]:
    """The pairs among many sequences' hashes that look alike.

    Returns:
        (i, j, similarity) with i < j, the most alike first. The similarity of two sequences is that of their two most
        similar frames: 1 is equal, 0 as alike as any two frames of the data set; `NEAR` and more is a pair.
    """
    kept = [place for place, values in enumerate(hashes) if values]
    if len(kept) < 2:
        return []
    starts = np.cumsum([0] + [len(hashes[place]) for place in kept])
    signs = _centred_signs([value for place in kept for value in hashes[place]])
    pairs = []
    for first in range(0, len(kept), _ROWS):
        last = min(first + _ROWS, len(kept))
        begin, end = starts[first], starts[last]
        alike = signs[begin:end] @ signs[begin:].T
        alike = np.maximum.reduceat(alike, starts[first:-1] - begin, axis=1)
        alike = np.maximum.reduceat(alike, starts[first:last] - begin, axis=0)
        for i, j in zip(*np.nonzero(np.triu(alike >= NEAR, k=1)), strict=True):
            pairs.append((kept[first + i], kept[first + j], round(min(float(alike[i, j]), 1.0), 3)))
    return sorted(pairs, key=lambda pair: -pair[2])


def _centred_signs(hashes: list[str]) -> np.ndarray:
    """Unit vectors, float32 (hashes, bits), whose products are similarities."""
    data = np.frombuffer(bytes.fromhex("".join(hashes)), np.uint8).reshape(len(hashes), -1)
    signs = np.unpackbits(data, axis=1).astype(np.float32) * 2 - 1
    signs -= signs.sum(axis=0) / (len(signs) + _MEAN_WEIGHT)
    return signs / np.linalg.norm(signs, axis=1, keepdims=True)


def crossing_pairs(sequences: Sequence, pairs: Iterable[tuple[int, int, float]]) -> list[dict]:
    """Those of the near duplicates that stand in two splits, in the order of `pairs`.

    Args:
        sequences: objects with `id`, `video` and `split`.
        pairs: of `near_pairs` over their hashes.

    Returns:
        For each pair `sequences` (two ids), `videos` (two files), `splits` (two names) and `similarity`.
    """
    found = []
    for i, j, similarity in pairs:
        one, other = sequences[i], sequences[j]
        if one.split != other.split:
            names = {"sequences": [one.id, other.id], "videos": [one.video, other.video], "splits": [one.split, other.split]}
            found.append({**names, "similarity": similarity})
    return found
