"""MERL Shopping (Singh et al., CVPR 2016): 41 people at a shelf, seen from above, five actions, 106 videos."""

import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from dn3dlib.data.catalog import Catalog, Sequence, annotated_catalog, find_files, find_videos, named_files
from dn3dlib.errors import DataError

CLASSES = ("reach to shelf", "retract from shelf", "hand in shelf", "inspect product", "inspect shelf")  # as in the files
BACKGROUND = "background"
BACKGROUND_FRAMES = 32  # of a background window: about a second
MAX_FRAME = 1_000_000  # nine hours: a label beyond it is damage

_VIDEO = re.compile(r"(\d+_\d+)_crop\.\w+", re.IGNORECASE)
_NUMBERED = re.compile(r"\d.*\.mat$", re.IGNORECASE)
_LABEL = re.compile(r"(\d+_\d+)_label\.mat", re.IGNORECASE)


def merl_catalog(source_dir: Path, background: bool = False, annotated: bool = False, seed: int = 0) -> Catalog:
    """The catalog of MERL Shopping: each labelled instance one sequence; instances may overlap.

    Args:
        source_dir: holds at any depth `<subject>_<session>_crop.mp4` and `<subject>_<session>_label.mat`, some or all.
        background: add the class "background": windows of 32 frames that touch no instance. They are laid end to end
            into each gap before the last labelled frame (what follows is not known before decoding), and of each video
            as many are drawn as its classes have instances on average, at least one where there is any.
        annotated: take every labelled instance, also of videos that are not there.
        seed: of that draw.

    Raises:
        DataError: no label file, a file name of another form, a video without labels, a label file that cannot be read.
    """
    source_dir = Path(source_dir)
    labels = named_files(source_dir, [path for path in find_files(source_dir) if _NUMBERED.match(path.name)], _LABEL, "MERL's form <subject>_<session>_label.mat")
    videos = named_files(source_dir, find_videos(source_dir), _VIDEO, "MERL's form <subject>_<session>_crop.mp4")
    if not labels:
        raise DataError(f"There is no label file <subject>_<session>_label.mat in {source_dir}: unpack MERL's labels there.")
    for name in videos:
        if name not in labels:
            raise DataError(f"The video {videos[name]} has no label file {name}_label.mat in {source_dir}: add it, or remove the video.")
    sequences = []
    for name in sorted(labels, key=_numbers):
        video = videos.get(name, f"Videos_MERL_Shopping_Dataset/{name}_crop.mp4")
        subject = f"subject{_numbers(name)[0]:02d}"
        instances = read_labels(source_dir / labels[name])
        if background:
            instances[BACKGROUND] = _background(instances.values(), np.random.default_rng([seed, *_numbers(name)]))
        for label, ranges in instances.items():
            for number, (start, stop) in enumerate(ranges, 1):
                sequence = f"{name}#{label.replace(' ', '-')}-{number:02d}"
                sequences.append(Sequence(sequence, video, label, subject, start, stop))
    return annotated_catalog("merl", source_dir, sequences, annotated)


def _numbers(name: str) -> list[int]:
    """Subject and session."""
    return [int(number) for number in name.split("_")]


def read_labels(path: Path) -> dict[str, list[tuple[int, int]]]:
    """The instances of each class in a label file: (start, stop), frames from 0, stop excluded.

    The file's variable `tlabs` is a 5×1 cell array, of each class an N×2 array [first, last], frames from 1, both ends
    included; the cell of a class that does not occur is empty.

    Raises:
        DataError: no such variable, another shape, numbers that are no frames, no instance at all.
    """
    import scipy.io  # here, since the other data sets need not wait for it

    try:
        cells = scipy.io.loadmat(path, variable_names=["tlabs"]).get("tlabs")
    except Exception as error:  # a damaged file raises whatever its bytes lead to
        raise DataError(f"The label file {path} cannot be read ({error}): fetch it again.") from error
    if not isinstance(cells, np.ndarray) or cells.dtype != object or cells.shape != (len(CLASSES), 1):
        raise DataError(f"The label file {path} holds no {len(CLASSES)}×1 cell array `tlabs`: fetch it again.")
    instances = {label: _ranges(cell, label, path) for label, cell in zip(CLASSES, cells[:, 0], strict=True)}
    if not any(instances.values()):
        raise DataError(f"The label file {path} names no instance: fetch it again, or remove it and its video.")
    return instances


def _ranges(cell, label: str, path: Path) -> list[tuple[int, int]]:
    numeric = isinstance(cell, np.ndarray) and cell.dtype.kind in "iuf"
    if numeric and cell.size == 0:
        return []
    if not numeric or cell.ndim != 2 or cell.shape[1] != 2 or not np.isfinite(cell).all():
        raise DataError(f"The label file {path} holds no N×2 array of frames for {label}: fetch it again.")
    for first, last in cell:
        if not 1 <= first <= last <= MAX_FRAME or first % 1 or last % 1:
            raise DataError(f"The label file {path} holds a frame range that cannot be, for {label}: {first} to {last}.")
    return [(int(first) - 1, int(last)) for first, last in cell]


def _background(instances: Iterable[list[tuple[int, int]]], rng: np.random.Generator) -> list[tuple[int, int]]:
    ranges = sorted(pair for found in instances for pair in found)
    windows, free = [], 0
    for start, stop in ranges:
        windows += [(first, first + BACKGROUND_FRAMES) for first in range(free, start - BACKGROUND_FRAMES + 1, BACKGROUND_FRAMES)]
        free = max(free, stop)
    wanted = max(1, round(len(ranges) / len(CLASSES)))
    chosen = rng.choice(len(windows), min(wanted, len(windows)), replace=False)
    return [windows[place] for place in sorted(chosen)]
