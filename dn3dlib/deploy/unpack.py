"""Read a bundle that anybody may have made: every member is bounded and checked before one is used."""

import hashlib
import json
import stat
import struct
import zipfile
import zlib
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np

from dn3dlib.data.protocols import SPLITS
from dn3dlib.errors import ConfigError, RunError
from dn3dlib.evaluate.threshold import THRESHOLD
from dn3dlib.evaluate.uses import USES
from dn3dlib.model.sketch import sketch_model
from dn3dlib.train.runs import CONFIG, ENVIRONMENT, EVALUATION, HISTORY, Run

BUNDLE_FORMAT = 1
CONTENTS, CARD, WEIGHTS = "bundle.json", "card.md", "weights.f32"
FIGURES = ("curves.png", "confusion.png")
_MB = 1_000_000
# The most bytes that each member may have, unpacked; of the weights, no more than the network of the configuration takes.
_MOST = {
    CONTENTS: _MB,
    CARD: _MB,
    CONFIG: 10 * _MB,
    ENVIRONMENT: _MB,
    HISTORY: 50 * _MB,
    EVALUATION: 200 * _MB,
    THRESHOLD: _MB,
    USES: 10 * _MB,
    **dict.fromkeys(FIGURES, 10 * _MB),
    WEIGHTS: 1000 * _MB,
}
_ALWAYS = (CONTENTS, CARD, CONFIG, ENVIRONMENT, WEIGHTS)
_FASTEST = 1000  # frames/s that a run may have been trained at
# Of a report what the card and its figures tell.
_REPORT = {
    "split": str,
    "sequence_accuracy": float,
    "sequence_accuracy_interval": list | None,
    "clip_accuracy": float,
    "sequences": int,
    "subjects": int,
    "classes": list,
    "confusion": list,
    "warnings": list,
}
# What zipfile raises for an archive that somebody has cut, bent or written by hand; its documentation names the first alone.
_DAMAGED = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, NotImplementedError, OSError, ValueError)


@dataclass(frozen=True)
class Bundle:
    """What a bundle holds, checked."""

    run: Run  # its path is the bundle's file
    others: dict[str, bytes]  # name → content of what goes into the run's folder as it is
    numbers: np.ndarray  # float32, all weights
    threshold: dict  # of `threshold.kept_threshold`

    @classmethod
    def read(cls, file: Path) -> "Bundle":
        """Read and check a bundle; raises RunError, which says what is wrong, where."""
        file = Path(file)
        try:
            with zipfile.ZipFile(file) as archive:
                infos = _members(file, archive)
                contents = _contents(file, archive, infos)
                data = {name: _checked(file, archive, infos[name], contents[name]) for name in infos if name not in (CONTENTS, WEIGHTS)}
                run = _run(file, data.pop(CONFIG))
                _check_weights(file, run, infos[WEIGHTS])
                numbers = np.frombuffer(_checked(file, archive, infos[WEIGHTS], contents[WEIGHTS]), "<f4")
        except FileNotFoundError as error:
            raise RunError(f"There is no bundle at {file}: check the path.") from error
        except _DAMAGED as error:
            raise RunError(f"{file} is no bundle, or is damaged ({error}): copy it again; `dn3d export --bundle` makes one.") from error
        threshold = _threshold(file, data.pop(THRESHOLD, b"{}"))
        _check_texts(file, data)
        if not np.isfinite(numbers).all():
            raise refused(file, WEIGHTS, "it holds weights that are no numbers")
        return cls(run, data, numbers, threshold)

    def weights(self, shapes: list[tuple[int, ...]]) -> list[np.ndarray]:
        """The weights of a network whose variables have these shapes."""
        parts = np.split(self.numbers, np.cumsum([prod(shape) for shape in shapes])[:-1])
        return [part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)]


def refused(file: Path, name: str, why: str) -> RunError:
    """The error for a member that is not as it must be."""
    return RunError(f"The bundle {file} is refused: {name!r} in it is not as it must be: {why}. Nothing was written; ask for a new one.")


def _members(file: Path, archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """The members by name; refuses links, folders, paths outside, names that occur twice, what is encrypted or packed unusually."""
    infos = {}
    for info in archive.infolist():
        name = info.orig_filename
        if name != Path(name).name or "\\" in name or ":" in name or "\0" in name or name == "..":
            raise refused(file, name, "it would lie outside the run's folder, or in a folder in it")
        if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG):
            raise refused(file, name, "it is a link or no plain file")
        if info.flag_bits & 1 or info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise refused(file, name, "it is encrypted, or packed in a way that bundles do not use")
        if name in infos:
            raise refused(file, name, "it is there twice")
        infos[name] = info
    return infos


def _contents(file: Path, archive: zipfile.ZipFile, infos: dict[str, zipfile.ZipInfo]) -> dict[str, dict]:
    """What the list of contents says of each member; refuses another format, and members that are none or are missing."""
    if CONTENTS not in infos:
        raise RunError(f"{file} is no bundle of dn3d: it holds no {CONTENTS}; `dn3d export --bundle` makes one.")
    contents = _object(file, CONTENTS, _unpacked(file, archive, infos[CONTENTS]))
    if contents.get("format") != BUNDLE_FORMAT:
        raise RunError(
            f"The bundle {file} has format {contents.get('format')!r}, but this version of dn3d reads {BUNDLE_FORMAT}: read it with the "
            f"version that made it ({contents.get('made_with')!r}) or a newer one."
        )
    for name in infos:
        if name not in _MOST:
            raise refused(file, name, "a bundle holds no such file")
    for name in _ALWAYS:
        if name not in infos:
            raise refused(file, name, "it is missing")
    files = contents.get("files")
    if not isinstance(files, dict) or files.keys() != infos.keys() - {CONTENTS}:
        raise refused(file, CONTENTS, "it lists other files than are there")
    return files


def _checked(file: Path, archive: zipfile.ZipFile, info: zipfile.ZipInfo, listed: dict) -> bytes:
    """A member's bytes, whose checksum is the one that is listed."""
    data = _unpacked(file, archive, info)
    if not isinstance(listed, dict) or listed.get("sha256") != hashlib.sha256(data).hexdigest():
        raise refused(file, info.filename, f"its checksum is not the one in {CONTENTS}, so it was changed or damaged")
    return data


def _unpacked(file: Path, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    most = _MOST[info.filename]
    with archive.open(info) as member:
        data = member.read(most + 1)  # never more, whatever the archive says of its size
    if len(data) > most:
        raise refused(file, info.filename, f"unpacked it has more than {most:,} bytes")
    return data


def _object(file: Path, name: str, data: bytes) -> dict:
    try:
        value = json.loads(data)
    except (UnicodeDecodeError, ValueError, RecursionError) as error:
        raise refused(file, name, f"it is no JSON ({error})") from error
    if not isinstance(value, dict):
        raise refused(file, name, "it holds no JSON object")
    return value


def _run(file: Path, config: bytes) -> Run:
    """The run as its configuration describes it, every setting checked; what is no setting of the kit is refused."""
    try:
        run = Run.from_dict(file, _object(file, CONFIG, config))
        texts = [*run.data["classes"], *run.data["train_subjects"], *(run.data[name] for name in ("path", "dataset", "protocol")), run.init_from]
        if not all(isinstance(text, str) and text.isprintable() for text in texts) or len({*run.classes}) < len(run.classes):
            raise ConfigError("a class, a subject or a name is no text, or stands there twice")
        if Path(run.data["path"]).name != run.data["path"] or run.data["path"] == "..":
            raise ConfigError("the data set's name leads into another folder")
        if not 0 <= run.data["fps"] <= _FASTEST:  # nor is it no number: videos are brought to this rate
            raise ConfigError(f"data.fps is {run.data['fps']}, but must be from 0 to {_FASTEST}")
        sketch_model(run.model, run.clip_shape, len(run.classes))
    except (RunError, ConfigError) as error:
        raise refused(file, CONFIG, str(error).rstrip(".")) from error
    return run


def _check_weights(file: Path, run: Run, info: zipfile.ZipInfo) -> None:
    """Before a number is unpacked and a network built: there are as many weights as the network has."""
    layers = sketch_model(run.model, run.clip_shape, len(run.classes)).layers
    count = sum(prod(shape) for layer in layers for shape in layer.weights * (2 if layer.kind == "BatchNormalization" else 1))
    if info.file_size != 4 * count:
        raise refused(file, WEIGHTS, f"it has {info.file_size:,} bytes, but the network of {CONFIG} has {count:,} weights of 4 bytes")


def _threshold(file: Path, data: bytes) -> dict:
    kept = _object(file, THRESHOLD, data)
    if not all(isinstance(value, int | float) and value == value for value in kept.values()) or not 0 <= kept.get("threshold", 0) <= 1:
        raise refused(file, THRESHOLD, "it holds no certainty from 0 to 1")
    return kept


def _is_report(report) -> bool:
    return isinstance(report, dict) and all(isinstance(report.get(name, ...), kind) for name, kind in _REPORT.items())


def _check_texts(file: Path, data: dict[str, bytes]) -> None:
    """Refuse what would not be readable in a run's folder; what its history and uses must be, who reads them checks."""
    for name in data.keys() & {ENVIRONMENT, EVALUATION, USES}:
        values = _object(file, name, data[name])
        if name == EVALUATION and not (values.keys() <= set(SPLITS) and all(map(_is_report, values.values()))):
            raise refused(file, name, "it holds something else than a report for each split")
        if name == ENVIRONMENT and not isinstance(values.get("packages", {}), dict):
            raise refused(file, name, "its packages are no list of versions by name")
    try:
        data[CARD].decode()
    except UnicodeDecodeError as error:
        raise refused(file, CARD, "it is no text in UTF-8") from error
    for name in FIGURES:
        if not data.get(name, b"\x89PNG").startswith(b"\x89PNG"):
            raise refused(file, name, "it is no PNG picture")
