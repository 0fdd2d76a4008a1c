"""A catalog: rows that say which frames of which video show which action by whom, and in which split they stand."""

import dataclasses
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from dn3dlib.config import nearest
from dn3dlib.data.duplicates import identical_files
from dn3dlib.data.protocols import BY_SUBJECT, LEAKING_PROTOCOL, SPLITS, split_of_each
from dn3dlib.errors import ConfigError, DataError

VIDEO_ENDINGS = frozenset(
    ".avi .mp4 .mov .mkv .webm .mpg .mpeg .m4v .wmv .flv .3gp .ogv .mts .ts .3g2 .asf .divx .dv .f4v .h264 .h265 .hevc .m1v .m2ts .m2v .mjpeg "
    ".mjpg .mpe .mpv .mxf .nut .ogg .ogm .qt .rm .rmvb .vob .wtv .xvid .y4m".split()
)


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
    listed: tuple[tuple[str, str], ...] = ()  # (protocol, split), as the owner's lists say


@dataclass(frozen=True)
class Catalog:
    """The sequences of one data set, and the protocol that split them. Taught in notebook 01."""

    dataset: str  # synthetic, kth, merl …
    source_dir: Path
    sequences: tuple[Sequence, ...]
    protocol: str = ""
    seed: int = 0
    absent_sequences: tuple[Sequence, ...] = ()  # annotated, but their videos are not there

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names, sorted: a label is a name's place in this order, always."""
        return tuple(sorted({sequence.label for sequence in self.sequences}))

    @property
    def absent(self) -> tuple[str, ...]:
        """The videos that the annotation names but that are not there, relative to `source_dir`."""
        return tuple(sorted({sequence.video for sequence in self.absent_sequences}))

    def only_classes(self, names: Iterable[str]) -> "Catalog":
        """The catalog with these classes alone; raises DataError for none, or one that it does not have."""
        wanted = set(names)
        if not wanted:
            raise DataError(f"No class is chosen of those in {self.source_dir}: there are {', '.join(self.classes)}.")
        for name in sorted(wanted - set(self.classes)):
            raise DataError(f"There is no class {name!r} in {self.source_dir}: {nearest(name, self.classes)}")
        kept = {
            field: tuple(s for s in getattr(self, field) if s.label in wanted) for field in ("sequences", "absent_sequences")
        }
        return dataclasses.replace(self, **kept)

    def split_by(self, protocol: str, seed: int = 0) -> "Catalog":
        """The catalog with every sequence in the split that `protocol` gives it; checked for leaks.

        Raises:
            ConfigError: no such protocol.
            DataError: a subject without a place in the protocol, or a leak that the protocol does not announce.
        """
        splits = split_of_each(self.sequences, protocol, seed)
        rows = tuple(dataclasses.replace(s, split=split) for s, split in zip(self.sequences, splits, strict=True))
        split = dataclasses.replace(self, sequences=rows, protocol=protocol, seed=seed)
        if protocol != LEAKING_PROTOCOL:
            check_leaks(split.sequences, lambda video: self.source_dir / video)
        return split

    def summary(self) -> dict:
        """By split and in all: videos, sequences, subjects, and the sequences of each class; and the absent videos."""
        parts = {split: [s for s in self.sequences if s.split == split] for split in SPLITS} | {"all": self.sequences}
        counts = {part: Counter(s.label for s in rows) for part, rows in parts.items()}
        return {
            **{part: {"videos": len({s.video for s in rows}), "sequences": len(rows), "subjects": len({s.subject for s in rows})}
               for part, rows in parts.items()},
            "classes": {label: {part: counts[part][label] for part in parts} for label in self.classes},
            "absent": list(self.absent),
        }  # fmt: skip

    def table(self) -> str:
        """The summary as lines of text: classes against splits, then videos and subjects. Taught in notebook 01."""
        summary, parts = self.summary(), (*SPLITS, "all")
        totals = {kind: {part: summary[part][kind] for part in parts} for kind in ("sequences", "videos", "subjects")}
        rows = [("class", parts), *((name, row.values()) for name, row in (summary["classes"] | totals).items())]
        width = max(len(name) for name, _ in rows)
        lines = [f"  {name:<{width}} " + " ".join(f"{cell:>10}" for cell in cells) for name, cells in rows]
        return "\n".join([f"{self.dataset}, protocol {self.protocol}", *lines])


def find_videos(root: Path) -> list[Path]:
    """All files below `root` with a video's ending in upper or lower case, sorted; hidden ones are passed over."""
    return [path for path in find_files(root) if path.suffix.lower() in VIDEO_ENDINGS]


def find_files(root: Path) -> list[Path]:
    """All files below `root`, sorted, also behind linked folders; what is hidden is passed over."""
    if not root.exists():
        raise DataError(f"The source folder {root} does not exist: check the path.")
    if not root.is_dir():
        raise DataError(f"The source {root} is a file, not a folder: name the folder that holds the videos.")

    def refuse(error: OSError) -> None:
        raise DataError(f"The folder {error.filename} cannot be read ({error.strerror}): change its permissions, or remove it.") from error

    found, entered = [], set()
    for folder, folders, names in os.walk(root, onerror=refuse, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith(".")]
        if os.path.realpath(folder) in entered:  # a link back to a folder above
            folders.clear()
            continue
        entered.add(os.path.realpath(folder))
        found += [Path(folder, name) for name in names if not name.startswith(".")]
    return sorted(found)


def named_files(source_dir: Path, paths: Iterable[Path], form: re.Pattern, shown: str) -> dict[str, str]:
    """What the one group of `form` finds in a file's name, in lower case → the file, relative to the source.

    Raises:
        DataError: a name that is not of the form, which `shown` says in words; two files that say to be the same.
    """
    found: dict[str, str] = {}
    for path in paths:
        match, relative = form.fullmatch(path.name), str(path.relative_to(source_dir))
        if not match:
            raise DataError(f"The name of {path} is not of {shown}: rename it, or use --dataset folder.")
        if (other := found.setdefault(match[1].lower(), relative)) != relative:
            raise DataError(f"The files {other} and {relative} in {source_dir} have one name: remove one of them.")
    return found


def annotated_catalog(dataset: str, source_dir: Path, sequences: Iterable[Sequence], annotated: bool) -> Catalog:
    """The catalog of what an annotation or list names: the sequences whose video is there, or with `annotated` all.

    Raises:
        DataError: none of the videos is there, and they are needed.
    """
    sequences = tuple(sequences)
    videos = sorted({s.video for s in sequences})
    missing = {video for video in videos if not (source_dir / video).is_file()}
    absent = tuple(s for s in sequences if s.video in missing)
    if not annotated:
        if len(missing) == len(videos):
            raise DataError(
                f"None of the {len(videos)} videos that belong to {dataset} is in {source_dir}, such as {videos[0]}: check the "
                "path; `dn3d catalog --annotated` counts without the videos."
            )
        sequences = tuple(s for s in sequences if s.video not in missing)
    return Catalog(dataset, source_dir, sequences, absent_sequences=absent)


def folder_catalog(source_dir: Path, subject_pattern: str = "", label_pattern: str = "") -> Catalog:
    """The catalog of `<source_dir>/<class>/…/<video>`: each video one sequence.

    Args:
        source_dir: the folder of class folders; with `label_pattern` any folder of videos, flat or nested.
        subject_pattern: finds the subject, see `pattern_finder`; without it each video is its own subject.
        label_pattern: finds the class; without it the class is the first folder below `source_dir`.

    Raises:
        DataError: an empty folder, a class folder without videos, a video outside every class folder, a name that a
            pattern does not match.
        ConfigError: a pattern that is no regular expression with one group.
    """
    source_dir = Path(source_dir)
    find_subject = pattern_finder("--subject-pattern", subject_pattern) if subject_pattern else str
    find_label = pattern_finder("--label-pattern", label_pattern) if label_pattern else lambda video: _class_folder(source_dir, video)
    videos = [path.relative_to(source_dir) for path in find_videos(source_dir)]
    if not videos:
        raise DataError(f"There is no video in {source_dir}: it should hold one folder for each class, with videos inside.")
    sequences = [Sequence(str(video.with_suffix("")), str(video), find_label(video), find_subject(video)) for video in videos]
    for folder in sorted(p for p in source_dir.iterdir() if p.is_dir() and not p.name.startswith(".")):
        if not label_pattern and not any(s.label == folder.name for s in sequences):
            raise DataError(f"The class folder {folder} holds no video: add videos to it, or remove it.")
    return Catalog("folder", source_dir, with_unique_ids(sequences))


def _class_folder(source_dir: Path, video: Path) -> str:
    if len(video.parts) < 2:
        raise DataError(
            f"The video {source_dir / video} lies outside every class folder: move it to {source_dir}/<class>/{video.name}, or "
            "say with --label-pattern which part of a file's name is its class."
        )
    return video.parts[0]


def pattern_finder(option: str, pattern: str) -> Callable[[Path], str]:
    """What the one group of a regular expression finds in a file's name, or if not there in its path below the source.

    Raises:
        ConfigError: no regular expression with one group. The function that it returns raises DataError for a file
            that the pattern does not match.
    """
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise ConfigError(f"{option} {pattern!r} is no regular expression: {error}.") from error
    if compiled.groups != 1:
        raise ConfigError(f"{option} {pattern!r} has {compiled.groups} groups, but must have one, in brackets: what it looks for.")

    def find(video: Path) -> str:
        match = compiled.search(video.name) or compiled.search(video.as_posix())
        if not match or not match[1]:
            raise DataError(f"{option} {pattern!r} does not match the file name {video}: change the pattern or the name.")
        return match[1]

    return find


def with_unique_ids(sequences: list[Sequence]) -> tuple[Sequence, ...]:
    """Of files that differ in the ending only, all but the first keep it in their ids."""
    taken, unique = set(), []
    for sequence in sequences:
        unique.append(dataclasses.replace(sequence, id=sequence.video) if sequence.id in taken else sequence)
        taken.add(sequence.id)
    return tuple(unique)


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
        split_of = {path_of(s.video): s.split for s in seen.values()}
        for path, other in identical_files(split_of).items():
            if split_of[path] != split_of[other]:
                raise DataError(f"The split leaks: the files {other} ({split_of[other]}) and {path} ({split_of[path]}) are identical: remove one of them.")
