"""A run: one training, in one folder that tells everything about it in plain JSON and CSV."""

import csv
import io
import os
import platform
import shutil
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

from dn3dlib.config import ClipConfig, ModelConfig, StorageConfig, TrainConfig, from_dict, to_dict
from dn3dlib.data.manifest import DataSet
from dn3dlib.data.protocols import LEAKS
from dn3dlib.errors import ConfigError, DataError, RunError
from dn3dlib.files import plain_disk_errors, read_json, write_bytes, write_json
from dn3dlib.places import data_home

FORMAT = 1
CONFIG, ENVIRONMENT, HISTORY, BEST, CHECKPOINTS = "config.json", "environment.json", "history.csv", "best.keras", "checkpoints"
EVALUATION = "evaluation.json"  # reports by split; written by `evaluate`
_PACKAGES = ("dn3d", "tensorflow", "keras", "numpy", "opencv-python", "opencv-python-headless")
_DATA_FIELDS = {
    "path": str,
    "fingerprint": str,
    "dataset": str,
    "protocol": str,
    "leaks": bool,
    "own_split": bool,
    "classes": list,
    "train_subjects": list,
    "fps": float,
}
_OF_OLDER_RUNS = {"own_split": False, "fps": 0.0}
# What may change between two sittings of a run: nothing that is learned depends on it.
_FREE = ("train.cache", "train.checkpoint_seconds", "data.path")
COLUMNS = (
    "epoch",
    "learning_rate",
    "train_loss",  # mean cross-entropy of the epoch's clips, in nats, without class weights
    "train_clip_accuracy",
    "validation_loss",
    "validation_clip_accuracy",
    "validation_sequence_accuracy",
    "seconds",
    "clips_per_second",
)


@dataclass(frozen=True)
class Run:
    """What a run was trained with and on."""

    path: Path
    storage: StorageConfig
    clip: ClipConfig
    model: ModelConfig
    train: TrainConfig
    # path, fingerprint, dataset, protocol, leaks, own_split (by the run alone, as a fold is), classes, train_subjects, fps (frames/s,
    # the median of the sequences to train on; 0.0: not known)
    data: dict
    init_from: str = ""  # the run whose weights it started from

    @property
    def clip_shape(self) -> tuple[int, int, int, int]:
        """(frames, height, width, channels) of the network's input."""
        return self.clip.frames, *self.storage.frame_shape

    @property
    def warnings(self) -> list[str]:
        """What makes the run's figures say less than they seem to."""
        return [LEAKS] if self.data["leaks"] else []

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in the order of the logits."""
        return tuple(self.data["classes"])

    @classmethod
    def create(
        cls, run_dir: Path, data: DataSet, clip: ClipConfig, model: ModelConfig, train: TrainConfig, init_from: str,
        notes: dict, own_split: bool = False, write: bool = True,
    ) -> "Run":  # fmt: skip
        """Make a run's folder; raises RunError where it already holds something.

        `notes` (name → value) join versions and devices in `environment.json`. Of several processes, only the chief is to `write`.
        """
        path = Path(run_dir)
        run = cls(path, data.storage, clip, model, train, describe(data) | {"own_split": own_split}, init_from)
        if not write:
            return run
        if path.exists() and (not path.is_dir() or not all(map(_of_a_killed_start, path.iterdir()))):
            way_out = "go on with --resume, or choose another folder" if (path / CONFIG).is_file() else "choose another folder"
            raise RunError(f"The run folder {path} already exists and is not empty: {way_out}.")
        with plain_disk_errors(path):
            path.mkdir(parents=True, exist_ok=True)
        write_json(path / ENVIRONMENT, environment() | notes)
        write_json(path / CONFIG, run.to_dict())
        return run

    @classmethod
    def open(cls, run_dir: Path) -> "Run":
        """Read a run's configuration; raises RunError where the folder holds none."""
        path = Path(run_dir)
        if not (path / CONFIG).is_file():
            raise RunError(f"There is no run at {path}: train one with `dn3d train --out {path}`.")
        values = read_json(path / CONFIG, "run configuration")
        return cls.from_dict(path, values)

    @classmethod
    def from_dict(cls, path: Path, values: dict) -> "Run":
        """The run at `path` from the content of its `config.json`; raises RunError where that is damaged."""
        if values.get("format") != FORMAT:
            raise RunError(f"The run {path} has format {values.get('format')!r}; this version of dn3d reads {FORMAT}: train again.")
        try:
            configs = {c.prefix: from_dict(c, values[c.prefix]) for c in (StorageConfig, ClipConfig, ModelConfig, TrainConfig)}
            data = _OF_OLDER_RUNS | values["data"]
            for key, kind in _DATA_FIELDS.items():
                if not isinstance(data[key], kind):
                    raise TypeError(f"data.{key} is {data[key]!r}")
            return cls(path, data=data, init_from=values["init_from"], **configs)
        except (KeyError, TypeError, ConfigError) as error:
            raise RunError(f"The configuration {path / CONFIG} is damaged ({error}): restore it or train again.") from error

    def to_dict(self) -> dict:
        """The content of `config.json`."""
        configs = {c.prefix: to_dict(c) for c in (self.storage, self.clip, self.model, self.train)}
        return {"format": FORMAT, **configs, "data": self.data, "init_from": self.init_from}

    def check_same_settings(self, saved: dict) -> None:
        """Raise RunError where `saved`, the configuration that a checkpoint was made with, is another one, naming what differs."""
        mine, theirs = (_flat(run.to_dict()) for run in (self, Run.from_dict(self.path, saved)))
        different = [
            f"{name} is {theirs[name]!r} there, but {mine[name]!r} in {CONFIG}" for name in mine if mine[name] != theirs[name]
        ]
        if different:
            raise RunError(
                f"The checkpoints of {self.path} were made with other settings: {'; '.join(different)}. Put {CONFIG} back as it was, "
                f"or start a new run with --init-from {self.path}."
            )

    def open_data(self, data_dir: Path | None = None) -> DataSet:
        """The run's data set, where it was or at `data_dir`, split as the run split it; another data set as it is split itself.

        A run that came from elsewhere tells no folder, but a name: that of a folder of `data_home()`.
        """
        data = DataSet.open(data_dir or data_home() / self.data["path"])
        if self.data["own_split"]:
            with suppress(ConfigError, DataError):  # another data set may have too few subjects
                split = data.as_split_by(self.data["protocol"], data.seed)
                if split.fingerprint == self.data["fingerprint"]:
                    return split
        return data

    def check_same_data(self, data: DataSet) -> None:
        """Raise RunError unless `data` is what this run was trained on, naming the difference."""
        mine, other = self.data, describe(data)
        for key, name in (("classes", "classes"), ("protocol", "protocol"), ("fingerprint", "content or split, as their fingerprints say")):
            if mine[key] != other[key]:
                raise RunError(
                    f"The run {self.path} was trained on another data set than {data.path}; they differ in {name}: {mine[key]} against "
                    f"{other[key]}. Go on with its own data ({mine['path']}), or start a new run in another folder."
                )

    def clear_leftovers(self) -> None:
        """Remove what a killed training has left half written; for the one process that holds the run."""
        for name in (f"{CHECKPOINTS}.partial", "best.partial.keras", *(f"{n}.partial-*" for n in (CONFIG, ENVIRONMENT, HISTORY))):
            for path in self.path.glob(name):
                if path.is_dir():
                    shutil.rmtree(path)
                else:
                    path.unlink()

    def history(self) -> list[dict]:
        """The rows of `history.csv`, numbers as numbers, empty fields as None."""
        path = self.path / HISTORY
        if not path.is_file():
            return []
        try:
            with path.open(newline="", encoding="utf-8") as file:
                reader = csv.DictReader(file)
                rows = [{key: _number(key, text) for key, text in row.items()} for row in reader]
            if tuple(reader.fieldnames or ()) != COLUMNS:
                raise ValueError("other columns")
        except (TypeError, ValueError, csv.Error) as error:
            raise RunError(f"The history {path} is damaged ({error}): restore it; without it, what the epochs gave is lost.") from error
        return rows

    def write_history(self, rows: list[dict]) -> None:
        """Write `history.csv`, beside and renamed."""
        text = io.StringIO()
        writer = csv.DictWriter(text, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
        write_bytes(self.path / HISTORY, text.getvalue().encode())


def _of_a_killed_start(path: Path) -> bool:
    """Whether a file is what a process leaves that was killed while it made the run: all that comes before `config.json`."""
    return path.name == ENVIRONMENT or path.name.startswith((f"{ENVIRONMENT}.partial-", f"{CONFIG}.partial-"))


def _flat(config: dict) -> dict:
    """`prefix.name` → value of what must not change while a run goes on."""
    parts = {prefix: part for prefix, part in config.items() if isinstance(part, dict)}
    values = {f"{prefix}.{name}": value for prefix, part in parts.items() for name, value in part.items()}
    return {name: value for name, value in values.items() if name not in _FREE}


def _number(key: str, text: str) -> float | int | None:
    if text == "":
        return None
    return int(text) if key == "epoch" else float(text)


def rank(row: dict) -> tuple[np.float32, np.float32]:
    """How good an epoch with validation is, the larger the better: its sequence accuracy, then its loss, negated.

    In float32, as checkpoints hold the best so far: an equal figure of an earlier epoch must not look smaller.
    """
    return np.float32(row["validation_sequence_accuracy"]), -np.float32(row["validation_loss"])


def describe(data: DataSet) -> dict:
    """What a run remembers of its data set, so that a later evaluation can be held against it."""
    train = data.of_split("train")
    rates = [s.fps for s in train if s.fps > 0]
    return {
        "path": str(data.path.resolve()),
        "fingerprint": data.fingerprint,
        "dataset": data.dataset,
        "protocol": data.protocol,
        "leaks": data.leaks,
        "classes": list(data.classes),
        "train_subjects": sorted({s.subject for s in train}),
        "fps": float(np.median(rates)) if rates else 0.0,
    }


def environment() -> dict:
    """Versions, devices and the git commit that a run was made with."""
    import tensorflow as tf

    return {
        "python": sys.version.split()[0],
        "platform": platform.platform(),
        "cpus": os.cpu_count(),
        "devices": [device.name for device in tf.config.list_physical_devices()],
        "packages": {name: _version(name) for name in _PACKAGES},
        "git_commit": _git_commit(),
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:  # one of the two OpenCV packages is there, not both
        return None


def _git_commit() -> str | None:
    """The commit of the kit's own checkout; None where it was installed without one."""
    folder = Path(__file__).resolve().parent
    try:
        answer = subprocess.run(["git", "-C", str(folder), "rev-parse", "HEAD"], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.stdout.strip() or None
