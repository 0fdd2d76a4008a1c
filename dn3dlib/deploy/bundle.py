"""A run as one file to share: a ZIP archive of plain JSON, CSV, Markdown, PNG and numbers, with a checksum of each.

Checksums find what was damaged on its way. They do not say who made a file, so whatever comes out of one is checked as a stranger's: the
weights are bare numbers, and the network that takes them is built here, from the configuration.
"""

import hashlib
import io
import json
import os
import zipfile
from pathlib import Path

from dn3dlib import __version__
from dn3dlib.deploy.card import card
from dn3dlib.deploy.unpack import BUNDLE_FORMAT, CARD, CONTENTS, FIGURES, WEIGHTS, Bundle, refused
from dn3dlib.errors import ConfigError, RunError
from dn3dlib.evaluate.threshold import THRESHOLD, keep_threshold, kept_threshold
from dn3dlib.evaluate.uses import USES, read_uses
from dn3dlib.files import folder_written_beside, plain_disk_errors, read_json, write_bytes, write_json
from dn3dlib.model.densenet3d import build_model
from dn3dlib.train.best import load_best, save_best
from dn3dlib.train.runs import CONFIG, ENVIRONMENT, EVALUATION, HISTORY, Run

_CURVES, _CONFUSION = FIGURES
_FIXED = (1980, 1, 1, 0, 0, 0)  # the time of every member, so that equal runs give equal files


def write_bundle(run_dir: Path, file: Path) -> dict:
    """Write a run as one file: its best weights, configuration, history, evaluation, figures and a card. Taught in notebook 07.

    Folders of this machine are left out: of the data set and of the run that it started from, the names alone go along.

    Args:
        run_dir: the run; checkpoints and TensorBoard events are not shared.
        file: a new file.

    Returns:
        `bundle` (the file), `bytes`, and `files`: name → `bytes`, `sha256`.

    Raises:
        RunError: there is no such run, it has no network yet, or its network is not that of its configuration.
        ConfigError: the file is there already.
        Dn3dError: the disk is full, or the folder cannot be written.
    """
    run, file = Run.open(run_dir), Path(file)
    if file.exists():
        raise ConfigError(f"The file {file} already exists: choose another name.")
    members = _members(run)
    files = {name: {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()} for name, data in members.items()}
    contents = {"format": BUNDLE_FORMAT, "made_with": f"dn3d {__version__}", "files": files}
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, data in {CONTENTS: _json(contents), **members}.items():
            info = zipfile.ZipInfo(name, _FIXED)
            info.compress_type, info.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
            packed.writestr(info, data)
    with plain_disk_errors(file):
        file.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(file, archive.getvalue())
    return {"bundle": str(file), "bytes": file.stat().st_size, "files": files}


def open_bundle(file: Path, run_dir: Path) -> Run:
    """Make a run's folder out of a bundle; nothing is written before all has been checked, and nothing in it is executed. Taught in notebook 07.

    Args:
        file: of `write_bundle`.
        run_dir: a new folder. The run in it can be evaluated, explained, exported and started from; it has no checkpoints to go on from.

    Returns:
        The run; its data set is looked for in `data_home()`, under its name.

    Raises:
        RunError: there is no such file, it is damaged, or it holds what a bundle does not hold.
        ConfigError: the folder is there already.
        Dn3dError: the disk is full, or the folder cannot be written.
    """
    run_dir = Path(run_dir)
    if run_dir.exists():
        raise ConfigError(f"--out {run_dir} already exists: choose another name.")
    bundle = Bundle.read(file)
    network = build_model(bundle.run.model, bundle.run.clip_shape, len(bundle.run.classes))
    network.set_weights(bundle.weights([variable.shape for variable in network.weights]))
    with folder_written_beside(run_dir) as folder:
        write_json(folder / CONFIG, bundle.run.to_dict())
        for name, data in bundle.others.items():
            (folder / name).write_bytes(data)
        _check_readable(Path(file), Run.open(folder))
        save_best(Run.open(folder), network)
        if bundle.threshold:
            keep_threshold(folder, bundle.threshold)
    return Run.open(run_dir)


def _check_readable(file: Path, run: Run) -> None:
    for name, read in ((HISTORY, run.history), (USES, lambda: read_uses(run.path))):
        try:
            read()
        except RunError as error:
            raise refused(file, name, "it is damaged") from error


def _members(run: Run) -> dict[str, bytes]:
    """Name → content of all that a bundle holds but for the list of it, in the order in which it is written."""
    weights = _weights(run)
    history, environment = run.history(), _environment(run)
    reports, uses = _read(run.path / EVALUATION), _read(run.path / USES)
    pictures = _pictures(run, history, reports)
    shared = Run.from_dict(run.path, _without_folders(run.to_dict()))
    threshold = kept_threshold(run)
    about = card(shared, run.path.resolve().name, environment, reports, threshold.get("threshold"), list(pictures))
    members = {
        CARD: about.encode(),
        CONFIG: _json(shared.to_dict()),
        ENVIRONMENT: _json(environment),
        HISTORY: (run.path / HISTORY).read_bytes() if history else b"",
        EVALUATION: _json(reports) if reports else b"",
        THRESHOLD: _json(threshold) if threshold else b"",
        USES: _json({"uses": [use | {"data": _name(use.get("data", ""))} for use in uses.get("uses", [])]}) if uses else b"",
        **pictures,
        WEIGHTS: weights,
    }
    return {name: data for name, data in members.items() if data}


def _weights(run: Run) -> bytes:
    """All weights in the order of `build_model`, float32, little-endian."""
    found, network = load_best(run), build_model(run.model, run.clip_shape, len(run.classes))
    if [(v.path, v.shape) for v in found.weights] != [(v.path, v.shape) for v in network.weights]:
        raise RunError(f"The network of {run.path} is not the one that its {CONFIG} describes: put the file back as it was, or train again.")
    return b"".join(weights.astype("<f4").tobytes() for weights in found.get_weights())


def _pictures(run: Run, history: list[dict], reports: dict) -> dict[str, bytes]:
    """Curves of the training, and the confusion of the most telling evaluation, as PNG files."""
    from dn3dlib.show.results import confusion_matrix
    from dn3dlib.show.training import compare_curves

    pictures = {_CURVES: compare_curves({run.path.resolve().name: history}).png()} if history else {}
    for split in ("test", "validation", "train"):
        if split in reports:
            return pictures | {_CONFUSION: confusion_matrix(reports[split]).png()}
    return pictures


def _read(path: Path) -> dict:
    return read_json(path, f"file {path.name}") if path.is_file() else {}


def _environment(run: Run) -> dict:
    """What is noted of how the run was made; the run that it started from by its name alone."""
    noted = _read(run.path / ENVIRONMENT)
    return noted | ({"start": noted["start"].replace(run.init_from, _name(run.init_from))} if "start" in noted else {})


def _without_folders(config: dict) -> dict:
    data = config["data"] | {"path": _name(config["data"]["path"])}
    return config | {"data": data, "init_from": _name(config["init_from"])}


def _name(path: str) -> str:
    return os.path.basename(path.rstrip("/\\"))


def _json(value: dict) -> bytes:
    return (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode()
