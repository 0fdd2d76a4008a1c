"""KTH Actions (Schuldt, Laptev and Caputo, ICPR 2004): 25 subjects, six actions, four scenarios.

The synthetic set comes under the same names, so it is read here too.
"""

import re
from pathlib import Path

from dn3dlib.data.catalog import Catalog, Sequence, find_videos
from dn3dlib.errors import DataError

CLASSES = ("boxing", "handclapping", "handwaving", "jogging", "running", "walking")
ANNOTATION = "00sequences.txt"

_NAME = re.compile(r"person(\d\d)_([a-z]+)_d(\d)(?:_uncomp)?", re.IGNORECASE)
_LINE = re.compile(r"(person\d\d_[a-z]+_d\d)\s+frames\s+(.+)")
_RANGE = re.compile(r"(\d+)\s*-\s*(\d+)")


def kth_catalog(source_dir: Path, dataset: str = "kth") -> Catalog:
    """The catalog of a folder in KTH's layout: annotated sequences if `00sequences.txt` is there, else whole videos.

    Args:
        source_dir: holds `<class>/personNN_<class>_dM_uncomp.avi`, some or all of them, and perhaps the annotation.
        dataset: the catalog's name for itself.

    Raises:
        DataError: no video, a file name of another form, a class that is none of KTH's, a video without annotation, an
            annotation that cannot be read.
    """
    source_dir = Path(source_dir)
    videos = find_videos(source_dir)
    if not videos:
        raise DataError(f"There is no KTH video in {source_dir}: it should hold <class>/personNN_<class>_dM_uncomp.avi.")
    annotation = source_dir / ANNOTATION
    ranges = read_annotation(annotation) if annotation.is_file() else None
    sequences = []
    for path in videos:
        person, label, scenario = _parse_name(path)
        video = f"person{person}_{label}_d{scenario}"
        relative = str(path.relative_to(source_dir))
        if ranges is None:
            sequences.append(Sequence(video, relative, label, f"person{person}"))
            continue
        if video not in ranges:
            raise DataError(f"The annotation {annotation} has no line for {video}: add it, or remove the video {path}.")
        for number, (first, last) in enumerate(ranges[video], 1):
            sequences.append(Sequence(f"{video}#{number}", relative, label, f"person{person}", first - 1, last))
    return Catalog(dataset, source_dir, tuple(sequences))


def _parse_name(path: Path) -> tuple[str, str, str]:
    match = _NAME.fullmatch(path.stem)
    if not match:
        raise DataError(f"The name of {path} is not of KTH's form personNN_<class>_dM_uncomp.avi: rename it, or use --dataset folder.")
    if match[2].lower() not in CLASSES:
        raise DataError(f"The class {match[2]!r} in the name of {path} is none of KTH's six: {', '.join(CLASSES)}.")
    return match[1], match[2].lower(), match[3]


def read_annotation(path: Path) -> dict[str, list[tuple[int, int]]]:
    """The frame ranges of each video: "person01_boxing_d1" → [(first, last), …], from 1, both ends included.

    Tabs and blanks may vary; a line `*missing*` names a video that was never published and is passed over.

    Raises:
        DataError: a line about a video that has no readable range, or a range that ends before it starts.
    """
    ranges = {}
    for number, line in enumerate(Path(path).read_text(encoding="latin-1").splitlines(), 1):
        match = _LINE.fullmatch(line.strip())
        if not match:
            if line.startswith("person") and "missing" not in line:
                raise DataError(f"Line {number} of {path} cannot be read: {line.strip()!r}; it should end in `frames 1-95, 96-185`.")
            continue
        parts = [_RANGE.fullmatch(part.strip()) for part in match[2].split(",") if part.strip()]
        found = [(int(part[1]), int(part[2])) for part in parts if part]
        if len(found) < len(parts) or any(first < 1 or last < first for first, last in found):
            raise DataError(f"Line {number} of {path} holds a frame range that cannot be: {match[2]!r}.")
        ranges[match[1]] = found
    if not ranges:
        raise DataError(f"The annotation {path} names no video: fetch {ANNOTATION} again, or remove it to use whole videos.")
    return ranges
