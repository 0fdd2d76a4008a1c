"""List files: lines `path class` that say which videos train, validate and test."""

from pathlib import Path, PurePosixPath

from dn3dlib.data.catalog import VIDEO_ENDINGS, Catalog, Sequence, annotated_catalog, pattern_finder, with_unique_ids
from dn3dlib.errors import ConfigError, DataError

PROTOCOL = "lists"


def list_catalog(source_dir: Path, lists: dict[str, Path], subject_pattern: str = "", annotated: bool = False) -> Catalog:
    """The catalog of the videos that list files name: each video one sequence, its split noted under protocol `lists`.

    Args:
        source_dir: the folder below which the lists' paths lie.
        lists: split → list file, see `read_lists`; train at least. A line without class takes its path's first folder.
        subject_pattern: finds the subject, see `pattern_finder`; without it each video is its own subject.
        annotated: take also the videos that are not there.

    Raises:
        ConfigError: no list of training videos, a pattern that is no regular expression with one group.
        DataError: see `read_lists`; some lines with a class and some without; no video there.
    """
    if "train" not in lists:
        raise ConfigError("--train-list is missing: name the file whose lines name the training videos and their classes.")
    find_subject = pattern_finder("--subject-pattern", subject_pattern) if subject_pattern else str
    entries = read_lists(lists)
    bare = [video for video, (_, label) in entries.items() if not label]
    if bare and (len(bare) < len(entries) or any("/" not in video for video in bare)):
        raise DataError(
            f"The lists name no class for {bare[0]}: give every line one after a blank, or none, where every path begins with "
            "the folder of its class."
        )
    sequences = []
    for video, (split, label) in entries.items():
        path = PurePosixPath(video)
        subject = find_subject(Path(video))
        sequences.append(Sequence(str(path.with_suffix("")), video, label or path.parts[0], subject, listed=((PROTOCOL, split),)))
    return annotated_catalog("list", Path(source_dir), with_unique_ids(sequences), annotated)


def read_lists(lists: dict[str, Path]) -> dict[str, tuple[str, str]]:
    """Video → (split, class) over the list files of one protocol.

    A line is a path below the source folder, which may hold blanks, and perhaps a blank or tab and the class, a name or
    a number; the class is empty where the line has none. Empty lines and either kind of line end are fine.

    Raises:
        DataError: a file that cannot be read or names nothing, a line without a video, a path that leaves the source
            folder, a video that is named twice.
    """
    found: dict[str, tuple[str, str]] = {}
    for split, path in lists.items():
        lines = [(number, line) for number, line in enumerate(_text(path).splitlines(), 1) if line.strip()]
        if not lines:
            raise DataError(f"The list {path} names no video: check that it is the right file.")
        for number, line in lines:
            video, label = _parse(line.strip(), f"Line {number} of {path}")
            if video in found:
                other = found[video][0]
                fault = "names it again" if other == split else f"puts it in {split}, which leaks"
                raise DataError(f"The video {video} stands in {lists[other]} ({other}), and line {number} of {path} {fault}: remove one of the lines.")
            found[video] = split, label
    return found


def _text(path: Path) -> str:
    try:
        return Path(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"The list {path} cannot be read ({error}): check the path.") from error


def _parse(line: str, where: str) -> tuple[str, str]:
    """(path, class) of one line; a line that ends like a video has no class."""
    separator = "\t" if "\t" in line else None  # behind a tab a class may hold blanks
    video, label = (line, "") if _names_video(line) else (*map(str.strip, line.rsplit(separator, maxsplit=1)), "")[:2]
    path = PurePosixPath(video)
    if not _names_video(video):
        raise DataError(f"{where} reads {line!r}, but must be the path of a video and perhaps a blank and its class.")
    if path.is_absolute() or ".." in path.parts:
        raise DataError(f"{where} leaves the source folder: {video!r}; paths must lie below it.")
    return str(path), label


def _names_video(text: str) -> bool:
    return PurePosixPath(text).suffix.lower() in VIDEO_ENDINGS
