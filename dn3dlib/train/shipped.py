"""The networks that ship with the kit, in `data/trained/`: each a run as any other, without its checkpoints."""

import filecmp
import shutil
from pathlib import Path

from dn3dlib.config import nearest
from dn3dlib.errors import ConfigError, RunError
from dn3dlib.files import only_one_at, plain_disk_errors, read_json, write_json
from dn3dlib.places import data_home, runs_home, trained_home
from dn3dlib.train.runs import BEST, CONFIG, EVALUATION, Run


def shipped_run(name: str = "honest") -> Run:
    """A copy of a shipped run among the kit's runs, made when it is missing or another version was shipped. Taught in notebook 00.

    A copy, because each look at held-out data is noted in a run's folder, and what ships must stay as it is.

    Args:
        name: a folder of `data/trained/`: honest (split by subject), leaking (its subjects stand on both sides of the split).

    Returns:
        The run, in `runs_home()/shipped-<name>`; its data set is looked for in `data_home()`.

    Raises:
        ConfigError: there is no such network.
        RunError: the kit was installed without its `data/` folder, or the copy cannot be written.
    """
    source, target = _shipped(name), runs_home() / f"shipped-{name}"
    with plain_disk_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        with only_one_at(target, 60):
            if not _same(source, target):
                _copy(source, target)
    return Run.open(target)


def shipped_report(name: str) -> dict:
    """What a shipped network's evaluation on its own test part gave, as it ships. Taught in notebook 05.

    Raises as `shipped_run`; the report is of `evaluate.report.evaluate`.
    """
    return read_json(_shipped(name) / EVALUATION, "evaluation")["test"]


def _shipped(name: str) -> Path:
    """The folder of a network that ships; raises as `shipped_run`."""
    home = trained_home()
    if home is None:
        raise RunError("The trained networks lie in the kit's folder data/trained, and this installation has none: work in a checkout of the kit.")
    names = sorted(path.parent.name for path in home.glob(f"*/{BEST}"))
    if name not in names:
        raise ConfigError(f"There is no trained network {name!r}: {nearest(name, names)}")
    return home / name


def _same(source: Path, target: Path) -> bool:
    return (target / CONFIG).is_file() and (target / BEST).is_file() and filecmp.cmp(source / BEST, target / BEST, shallow=False)


def _copy(source: Path, target: Path) -> None:
    """Copy a run beside its place and rename it; its data set lies where this user's data lie."""
    partial = target.with_name(f"{target.name}.partial-copy")
    for left in (partial, target):
        if left.exists():
            shutil.rmtree(left)
    shutil.copytree(source, partial)
    config = read_json(partial / CONFIG, "run configuration")
    config["data"]["path"] = str(data_home() / config["data"]["path"])
    write_json(partial / CONFIG, config)
    partial.rename(target)
