"""UCF101 (Soomro, Zamir and Shah, 2012): 101 actions in 13,320 videos, which come in groups cut from one longer video.

A group is taken as the subject, so that it never stands in two splits.
"""

import re
from collections import defaultdict
from pathlib import Path

from dn3dlib.data.catalog import Catalog, Sequence, annotated_catalog, find_videos
from dn3dlib.data.lists import read_lists
from dn3dlib.errors import DataError

CLASS_LIST = "classInd.txt"

_NAME = re.compile(r"v_\w+_(g\d\d)_c\d\d\.avi")


def ucf101_catalog(source_dir: Path, annotated: bool = False) -> Catalog:
    """The catalog of UCF101: each video that the official lists name one sequence, its splits under `ucf101-1` … `-3`.

    Args:
        source_dir: holds, at any depth, `<Class>/v_<Class>_gNN_cMM.avi` and the lists `trainlist01.txt`,
            `testlist01.txt` … `classInd.txt`; `UCF-101` and `ucfTrainTestlist` side by side, as published. Videos in
            other folders than those of the classes are no part of it.
        annotated: take also the videos that are not there.

    Raises:
        DataError: lists that are missing, incomplete or do not fit together; a video in a class folder that no list
            names, or that is there twice; no video.
    """
    source_dir = Path(source_dir)
    videos = find_videos(source_dir)
    numbers, listed = _read_lists(_list_folder(source_dir))
    paths = _paths(source_dir, videos, numbers, listed)
    sequences = []
    for name, splits in sorted(listed.items()):
        label, file = name.split("/")
        subject = f"{label}_{_NAME.fullmatch(file)[1]}"
        sequences.append(Sequence(name.removesuffix(".avi"), paths.get(name, name), label, subject, listed=tuple(splits)))
    return annotated_catalog("ucf101", source_dir, sequences, annotated)


def _list_folder(source_dir: Path) -> Path:
    found = sorted(source_dir.rglob(CLASS_LIST))
    if len(found) != 1:
        there = " and ".join(map(str, found[:2])) or "none"
        raise DataError(f"The official lists of UCF101 must lie once in {source_dir}, with {CLASS_LIST}, but there is {there}: unpack ucfTrainTestlist there.")
    return found[0].parent


def _read_lists(folder: Path) -> tuple[dict[str, str], dict[str, list[tuple[str, str]]]]:
    """Class → its number, and video → its split under each protocol."""
    lines = (folder / CLASS_LIST).read_text(encoding="utf-8-sig", errors="replace").split()
    numbers = dict(zip(lines[1::2], lines[::2], strict=False))
    listed = defaultdict(list)
    for number in (1, 2, 3):
        files = {split: folder / f"{split}list{number:02d}.txt" for split in ("train", "test")}
        for video, (split, label) in read_lists(files).items():
            name, _, file = video.partition("/")
            if name not in numbers or not _NAME.fullmatch(file) or label not in ("", numbers[name]):
                raise DataError(
                    f"The list {files[split]} names {f'{video} {label}'.strip()!r}, which is not of UCF101's form <Class>/v_<Class>_gNN_cMM.avi "
                    f"with a class and its number from {CLASS_LIST}: fetch the lists again."
                )
            listed[video].append((f"ucf101-{number}", split))
    return numbers, listed


def _paths(source_dir: Path, videos: list[Path], classes, listed) -> dict[str, str]:
    """The listed videos that are there: "Archery/v_Archery_g01_c01.avi" → path relative to the source."""
    paths = {}
    for path in videos:
        name, relative = f"{path.parent.name}/{path.name}", str(path.relative_to(source_dir))
        if path.parent.name not in classes:
            continue
        if name not in listed:
            raise DataError(f"No list of UCF101 names the video {path}: move it elsewhere, or use --dataset folder.")
        if paths.setdefault(name, relative) != relative:
            raise DataError(f"The video {name} is there twice, as {paths[name]} and as {relative}: remove one of them.")
    return paths
