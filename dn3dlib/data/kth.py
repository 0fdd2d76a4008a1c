"""KTH Actions (Schuldt, Laptev and Caputo, ICPR 2004): 25 subjects, six actions, four scenarios.

The synthetic set comes under the same names, so it is read here too.
"""

import re
from pathlib import Path

from dn3dlib.data.catalog import Catalog, Sequence, annotated_catalog, find_videos, named_files
from dn3dlib.errors import DataError

CLASSES = ("boxing", "handclapping", "handwaving", "jogging", "running", "walking")
ANNOTATION = "00sequences.txt"

_NAME = re.compile(rf"(person\d\d_(?:{'|'.join(CLASSES)})_d\d)(?:_uncomp)?\.\w+", re.IGNORECASE)
_LINE = re.compile(r"(person\d\d_[a-z]+_d\d)\s+frames\s+(.+)")
_RANGE = re.compile(r"(\d{1,9})\s*-\s*(\d{1,9})")


def kth_catalog(source_dir: Path, dataset: str = "kth", annotated: bool = False) -> Catalog:
    """The catalog of a folder in KTH's layout: annotated sequences if `00sequences.txt` is there, else whole videos.

    Args:
        source_dir: holds `<class>/personNN_<class>_dM_uncomp.avi`, some or all of them, and perhaps the annotation.
        dataset: the catalog's name for itself.
        annotated: take every annotated sequence, also of videos that are not there.

    Raises:
        DataError: no video, a file name of another form or class, a video without annotation, an annotation that is
            missing or cannot be read.
    """
    source_dir = Path(source_dir)
    form = f"KTH's form personNN_<class>_dM_uncomp.avi with a class of {', '.join(CLASSES)}"
    videos = named_files(source_dir, find_videos(source_dir), _NAME, form)
    annotation = source_dir / ANNOTATION
    if not annotation.is_file() and (annotated or not videos):
        raise DataError(
            f"There is no KTH {f'annotation {ANNOTATION}' if annotated else 'video'} in {source_dir}: it should hold "
            f"<class>/personNN_<class>_dM_uncomp.avi and {ANNOTATION}."
        )
    if not annotation.is_file():
        rows = [Sequence(name, video, name.split("_")[1], name.split("_")[0]) for name, video in videos.items()]
        return Catalog(dataset, source_dir, tuple(rows))
    ranges = read_annotation(annotation)
    for name in videos:
        if name not in ranges:
            raise DataError(f"The annotation {annotation} has no line for {name}: add it, or remove {videos[name]}.")
    rows = []
    for name, found in ranges.items():
        person, label, _ = name.split("_")
        video = videos.get(name, f"{label}/{name}_uncomp.avi")
        rows += [Sequence(f"{name}#{n}", video, label, person, first - 1, last) for n, (first, last) in enumerate(found, 1)]
    return annotated_catalog(dataset, source_dir, sorted(rows, key=lambda row: row.video), annotated)


def read_annotation(path: Path) -> dict[str, list[tuple[int, int]]]:
    """The frame ranges of each video: "person01_boxing_d1" → [(first, last), …], from 1, both ends included.

    Tabs and blanks may vary; a line `*missing*` names a video that was never published and is passed over.

    Raises:
        DataError: a line about a video that has no readable range, or a range that ends before it starts.
    """
    ranges = {}
    for number, line in enumerate(Path(path).read_text(encoding="latin-1").splitlines(), 1):
        line = line.strip().lower()
        match = _LINE.fullmatch(line)
        if not match:
            if line.startswith("person") and "missing" not in line:
                raise DataError(f"Line {number} of {path} cannot be read: {line!r}; it should end in `frames 1-95, 96-185`.")
            continue
        parts = [_RANGE.fullmatch(part.strip()) for part in match[2].split(",") if part.strip()]
        found = [(int(part[1]), int(part[2])) for part in parts if part]
        if len(found) < len(parts) or any(first < 1 or last < first for first, last in found):
            raise DataError(f"Line {number} of {path} holds a frame range that cannot be: {match[2]!r}.")
        if match[1] in ranges:
            raise DataError(f"Line {number} of {path} names {match[1]} for the second time: remove one of the two lines.")
        ranges[match[1]] = found
    if not ranges:
        raise DataError(f"The annotation {path} names no video: fetch {ANNOTATION} again, or remove it to use whole videos.")
    return ranges
