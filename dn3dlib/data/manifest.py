"""The manifest of a prepared data set: what it holds, where each record lies, who stands in which split.

It tells where each record starts, so that a clip costs one read at its place and a look needs no TensorFlow.
"""

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from dn3dlib.config import StorageConfig, from_dict, to_dict
from dn3dlib.data.catalog import check_leaks
from dn3dlib.data.duplicates import crossing_pairs
from dn3dlib.data.protocols import LEAKING_PROTOCOL, SPLITS, split_of_each
from dn3dlib.errors import ConfigError, DataError
from dn3dlib.files import only_one_at, plain_disk_errors, read_json, write_json

FORMAT = 2
MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Record:
    """Where one record lies."""

    shard: int  # number of the file
    offset: int  # of the data, in bytes
    length: int  # of the data, in bytes
    frames: int
    crc32: int  # of the data


@dataclass(frozen=True)
class StoredSequence:
    """One sequence of a prepared data set, as the manifest describes it."""

    id: str
    label: str  # class name
    subject: str
    split: str
    video: str  # source file, relative to the source folder
    video_bytes: int  # its size when it was read
    fps: float
    frames: int
    records: tuple[Record, ...]  # more than one where the sequence is longer than a record may be
    sha256: str = ""  # of its encoded frames: equal where the same is shown
    hashes: tuple[str, ...] = ()  # of some of its frames: near where nearly the same is shown
    listed: tuple[tuple[str, str], ...] = ()  # (protocol, split), where the owner's lists say so

    def to_dict(self) -> dict:
        """The fields, ready for JSON."""
        return dataclasses.asdict(self) | {"records": [list(dataclasses.astuple(record)) for record in self.records]}


@dataclass(frozen=True)
class DataSet:
    """A prepared data set that has been opened. Taught in notebook 01."""

    path: Path
    dataset: str
    protocol: str
    seed: int  # of the protocol's draw
    storage: StorageConfig
    classes: tuple[str, ...]
    sequences: tuple[StoredSequence, ...]
    shards: tuple[dict, ...]  # name, bytes, sha256, records
    rejected: tuple[dict, ...] = ()  # file, reason, problem
    doubtful: tuple[dict, ...] = ()  # file, reason: used all the same
    shortened: tuple[dict, ...] = ()  # sequence, annotated frames, frames: the video ended before the annotation
    absent: tuple[str, ...] = ()  # videos that the annotation names, but that were not there
    look_alikes: tuple[tuple[int, int, float], ...] = ()  # places of two sequences and their similarity: `near_pairs`
    videos: tuple[dict, ...] = ()  # file, bytes, modified, rows (a checksum): to see which are new or have changed

    @classmethod
    def open(cls, data_dir: Path) -> "DataSet":
        """Open a prepared data set.

        Raises:
            DataError: no manifest, another format version, a manifest that cannot be, a shard that is missing or has
                another size.
        """
        path = Path(data_dir)
        if not path.is_dir():
            raise DataError(f"There is no prepared data set at {path}: make one with `dn3d prepare --out {path}`.")
        if not (path / MANIFEST).is_file():
            raise DataError(f"The folder {path} holds no {MANIFEST}, so it is no prepared data set: see `dn3d prepare`.")
        values = read_json(path / MANIFEST, "manifest")
        if values.get("format") != FORMAT:
            raise DataError(
                f"The manifest of {path} has format {values.get('format')!r}, but this version of dn3d reads format {FORMAT}: "
                "prepare the data set again."
            )
        try:
            data = _from_manifest(path, values)
        except (KeyError, TypeError, ValueError, ConfigError) as error:
            raise DataError(f"The manifest of {path} is damaged ({error!r}): prepare the data set again.") from error
        for shard in data.shards:
            file = path / shard["name"]
            size = file.stat().st_size if file.is_file() else None
            if size != shard["bytes"]:
                found = "is missing" if size is None else f"has {size} bytes instead of {shard['bytes']}"
                raise DataError(f"The shard {file} {found}: prepare the data set again.")
        return data

    def of_split(self, split: str) -> list[StoredSequence]:
        """The sequences of one split; raises ConfigError for a name that is none."""
        if split not in SPLITS:
            raise ConfigError(f"There is no split {split!r}: there are {', '.join(SPLITS)}.")
        return [sequence for sequence in self.sequences if sequence.split == split]

    @property
    def fingerprint(self) -> str:
        """A checksum of content, classes and split: equal fingerprints train equally."""
        content = [self.classes, [shard["sha256"] for shard in self.shards], [[s.id, s.split] for s in self.sequences]]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]

    @property
    def leaks(self) -> bool:
        """Whether the protocol lets subjects stand in several splits, so that accuracies say little."""
        return self.protocol == LEAKING_PROTOCOL

    def summary(self) -> dict:
        """Per split: sequences, frames and subjects; what was rejected, doubtful, shortened or absent; look-alikes; leaks."""
        rows = {}
        for split in SPLITS:
            members = self.of_split(split)
            rows[split] = {
                "sequences": len(members),
                "frames": sum(s.frames for s in members),
                "subjects": len({s.subject for s in members}),
            }
        found = {name: list(getattr(self, name)) for name in ("rejected", "doubtful", "shortened", "absent")}
        about = {"protocol": self.protocol, "leaks": self.leaks, "near_duplicates": self.crossing_pairs()}
        return rows | found | about

    def crossing_pairs(self) -> list[dict]:
        """The look-alikes that stand in two splits; see `duplicates.crossing_pairs`. Taught in notebook 01."""
        return crossing_pairs(self.sequences, self.look_alikes)

    def as_split_by(self, protocol: str, seed: int = 0) -> "DataSet":
        """The data set with the splits that a protocol gives, on paper alone; raises as `protocols.split_of_each`."""
        splits = split_of_each(self.sequences, protocol, seed)
        rows = tuple(dataclasses.replace(s, split=split) for s, split in zip(self.sequences, splits, strict=True))
        return dataclasses.replace(self, sequences=rows, protocol=protocol, seed=seed)

    def split_by(self, protocol: str, seed: int = 0) -> "DataSet":
        """Assign train, validation and test anew in the manifest; no frame is touched.

        Raises:
            ConfigError, DataError: as `Catalog.split_by`; the data set then stays as it was.
        """
        with plain_disk_errors(self.path), only_one_at(self.path):
            data = DataSet.open(self.path).as_split_by(protocol, seed)
            data.check_split()
            data.write_manifest()
        return data

    def check_split(self) -> None:
        """Raise DataError where a subject, a video or equal content stands in two splits, unless the protocol leaks on purpose."""
        if not self.leaks:
            check_leaks(self.sequences)
            self.check_identical_sequences()

    def check_identical_sequences(self) -> None:
        """Refuse two sequences of equal content in two splits, naming both."""
        seen: dict[tuple, StoredSequence] = {}
        for sequence in self.sequences:
            other = seen.setdefault((sequence.video_bytes, sequence.sha256), sequence)
            if other.split != sequence.split:
                raise DataError(
                    f"The split leaks: {other.id} ({other.split}) and {sequence.id} ({sequence.split}) are identical: "
                    "remove one of the two videos and prepare again."
                )

    def write_manifest(self, folder: Path | None = None) -> None:
        """Write `manifest.json`, beside and renamed, into `folder` or the data set's own."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self) if field.name != "path"}
        values |= {"format": FORMAT, "storage": to_dict(self.storage), "sequences": [s.to_dict() for s in self.sequences]}
        write_json((folder or self.path) / MANIFEST, values)


def to_sequence(row: dict) -> StoredSequence:
    """A sequence from what `StoredSequence.to_dict` gave and JSON has kept."""
    records = tuple(Record(*(int(n) for n in record)) for record in row["records"])
    listed = tuple((protocol, split) for protocol, split in row["listed"])
    return StoredSequence(**{**row, "records": records, "hashes": tuple(row["hashes"]), "listed": listed})


def _from_manifest(path: Path, values: dict) -> DataSet:
    sequences = [to_sequence(row) for row in values["sequences"]]
    fields = {key: value for key, value in values.items() if key not in ("format", "storage", "sequences")}
    for key in ("classes", "shards", "rejected", "doubtful", "shortened", "absent", "videos"):
        fields[key] = tuple(fields[key])
    fields["look_alikes"] = tuple((int(i), int(j), float(similarity)) for i, j, similarity in values["look_alikes"])
    if any(not 0 <= i < j < len(sequences) for i, j, _ in fields["look_alikes"]):
        raise ValueError("look-alikes that are no sequences")
    for shard in fields["shards"]:
        if set(shard) != {"name", "bytes", "sha256", "records"}:
            raise ValueError(f"a shard of {', '.join(shard)}")
        if Path(shard["name"]).name != shard["name"] or shard["name"] == "..":
            raise ValueError(f"shard {shard['name']!r} lies outside the data set")
    data = DataSet(path=path, storage=from_dict(StorageConfig, values["storage"]), sequences=tuple(sequences), **fields)
    if any(s.label not in data.classes or s.split not in SPLITS or s.frames < 1 for s in sequences):
        raise ValueError("a sequence of no known class or split, or without frames")
    if any(split not in SPLITS for s in sequences for _, split in s.listed):
        raise ValueError("a sequence that is listed in no known split")
    if any(s.frames != sum(r.frames for r in s.records) for s in sequences):
        raise ValueError("a sequence whose records hold another number of frames")
    if any(not 0 <= r.shard < len(data.shards) for s in sequences for r in s.records):
        raise ValueError("a record in a shard that is none")
    return data
