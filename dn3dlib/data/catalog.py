"""A catalog: rows that say which frames of which video show which action by whom, and in which split they stand."""

import dataclasses
import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from dn3dlib.config import nearest
from dn3dlib.data.protocols import BY_SUBJECT, LEAKING_PROTOCOL, split_of_each
from dn3dlib.errors import ConfigError, DataError

VIDEO_ENDINGS = frozenset(".avi .mp4 .mov .mkv .webm .mpg .mpeg .m4v .wmv .flv .3gp .ogv .mts .ts".split())


@dataclass(frozen=True)
class Sequence:
    """An annotated range of frames of one video that shows one action."""

    id: str  # unique in its catalog, as "person01_boxing_d1#1"
    video: str  # path of the file, relative to the catalog's source_dir
    label: str  # class name
    subject: str  # who acts
    start: int = 0  # first frame, counted from 0
    stop: int | None = None  # one past the last frame; None: to the end of the video
    split: str = ""  # train, validation, test; empty before a protocol has been applied


@dataclass(frozen=True)
class Catalog:
    """The sequences of one data set, and the protocol that split them. Taught in notebook 01."""

    dataset: str  # synthetic, kth, folder …
    source_dir: Path
    sequences: tuple[Sequence, ...]
    protocol: str = ""
    seed: int = 0

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names, sorted: a label is a name's place in this order, always."""
        return tuple(sorted({sequence.label for sequence in self.sequences}))

    def only_classes(self, names: Iterable[str]) -> "Catalog":
        """The catalog with these classes alone; raises DataError for a class that it does not have."""
        wanted = set(names)
        for name in sorted(wanted - set(self.classes)):
            raise DataError(f"There is no class {name!r} in {self.source_dir}: {nearest(name, self.classes)}")
        return dataclasses.replace(self, sequences=tuple(s for s in self.sequences if s.label in wanted))

    def split_by(self, protocol: str, seed: int = 0) -> "Catalog":
        """The catalog with every sequence in the split that `protocol` gives it; checked for leaks.

        Raises:
            ConfigError: no such protocol.
            DataError: a subject without a place in the protocol, or a leak that the protocol does not announce.
        """
        splits = split_of_each(self.sequences, protocol, seed)
        rows = tuple(dataclasses.replace(s, split=split) for s, split in zip(self.sequences, splits, strict=True))
        split = Catalog(self.dataset, self.source_dir, rows, protocol, seed)
        if protocol != LEAKING_PROTOCOL:
            check_leaks(split.sequences, lambda video: self.source_dir / video)
        return split


def find_videos(root: Path) -> list[Path]:
    """All files below `root` with a video's ending in upper or lower case, sorted; hidden ones are passed over."""
    if not root.exists():
        raise DataError(f"The source folder {root} does not exist: check the path.")
    if not root.is_dir():
        raise DataError(f"The source {root} is a file, not a folder: name the folder that holds the videos.")
    return sorted(
        path
        for path in root.rglob("*")
        if path.suffix.lower() in VIDEO_ENDINGS and not path.is_dir() and not any(part.startswith(".") for part in path.relative_to(root).parts)
    )


def folder_catalog(source_dir: Path, subject_pattern: str = "") -> Catalog:
    """The catalog of `<source_dir>/<class>/<video>`: each video one sequence.

    Args:
        source_dir: the folder of class folders.
        subject_pattern: a regular expression with one group, searched in the file's name, that gives the subject; without
            it each video is its own subject.

    Raises:
        DataError: an empty folder, a class folder without videos, a video outside every class folder, a name that the
            pattern does not match.
        ConfigError: a pattern that is no regular expression with one group.
    """
    source_dir = Path(source_dir)
    find_subject = _subject_finder(subject_pattern)
    videos = find_videos(source_dir)
    if not videos:
        raise DataError(f"There is no video in {source_dir}: it should hold one folder for each class, with videos inside.")
    sequences = []
    for path in videos:
        relative = path.relative_to(source_dir)
        if len(relative.parts) < 2:
            raise DataError(f"The video {path} lies outside every class folder: move it to {source_dir}/<class>/{path.name}.")
        sequences.append(Sequence(str(relative.with_suffix("")), str(relative), relative.parts[0], find_subject(relative)))
    for folder in sorted(p for p in source_dir.iterdir() if p.is_dir() and not p.name.startswith(".")):
        if not any(s.label == folder.name for s in sequences):
            raise DataError(f"The class folder {folder} holds no video: add videos to it, or remove it.")
    return Catalog("folder", source_dir, tuple(_with_unique_ids(sequences)))


def _subject_finder(pattern: str) -> Callable[[Path], str]:
    if not pattern:
        return lambda relative: str(relative)
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise ConfigError(f"--subject-pattern {pattern!r} is no regular expression: {error}.") from error
    if compiled.groups != 1:
        raise ConfigError(f"--subject-pattern {pattern!r} has {compiled.groups} groups, but must have one: the subject's name.")

    def find(relative: Path) -> str:
        match = compiled.search(relative.name)
        if not match or not match[1]:
            raise DataError(f"--subject-pattern {pattern!r} does not match the file name {relative}: change the pattern or the name.")
        return match[1]

    return find


def _with_unique_ids(sequences: list[Sequence]) -> list[Sequence]:
    """Two files that differ in the ending only keep it in their ids."""
    counts = Counter(s.id for s in sequences)
    return [dataclasses.replace(s, id=s.video) if counts[s.id] > 1 else s for s in sequences]


def check_leaks(sequences: Iterable[Sequence], path_of: Callable[[str], Path] | None = None) -> None:
    """Refuse a split in which a subject, a video or an identical file stands on two sides.

    Args:
        sequences: rows with their splits.
        path_of: where a row's video lies, to compare contents; None: names and subjects only.

    Raises:
        DataError: names both sides.
    """
    seen: dict[tuple[str, str], Sequence] = {}
    for sequence in sequences:
        for kind, value in (("subject", sequence.subject), ("video", sequence.video)):
            other = seen.setdefault((kind, value), sequence)
            if other.split != sequence.split:
                raise DataError(
                    f"The split leaks: {kind} {value} stands in {other.split} ({other.id}) and in {sequence.split} "
                    f"({sequence.id}): give all of it to one split, with protocol {BY_SUBJECT} or one of the data set's own."
                )
    if path_of:
        _check_identical_files({s.video: s.split for s in seen.values()}, path_of)


def _check_identical_files(splits: dict[str, str], path_of: Callable[[str], Path]) -> None:
    """Only files of one size can be equal, so few have to be read."""
    by_size = defaultdict(list)
    for video in splits:
        path = path_of(video)
        if path.is_file():
            by_size[path.stat().st_size].append(video)
    for videos in by_size.values():
        if len({splits[video] for video in videos}) < 2:
            continue
        first_of: dict[str, str] = {}
        for video in videos:
            with path_of(video).open("rb") as file:
                other = first_of.setdefault(hashlib.file_digest(file, "sha256").hexdigest(), video)
            if splits[other] != splits[video]:
                raise DataError(
                    f"The split leaks: the files {other} ({splits[other]}) and {video} ({splits[video]}) are identical: "
                    "remove one of them."
                )
