"""The networks that ship with the kit, in `data/trained/`: each a run as any other, without its checkpoints."""

import filecmp
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from dn3dlib.config import apply_settings, nearest
from dn3dlib.data.catalog import Catalog
from dn3dlib.data.manifest import MANIFEST, DataSet
from dn3dlib.data.one_gait import UNSEEN, one_gait_catalog, unseen_catalog
from dn3dlib.data.prepare import prepare
from dn3dlib.data.sources import DEFAULT_PROTOCOLS, read_catalog
from dn3dlib.errors import ConfigError, RunError
from dn3dlib.files import only_one_at, plain_disk_errors, read_json
from dn3dlib.places import data_home, next_run_dir, runs_home, trained_home
from dn3dlib.presets import find_preset
from dn3dlib.train.runs import BEST, CONFIG, EVALUATION, Run


@dataclass(frozen=True)
class Recipe:
    """How a shipped network was trained: the preset quick, and what differs from it."""

    data: str  # its prepared data set: synthetic (ten people to train on), one-gait (each person in one gait only)
    protocol: str  # how that is split for this network
    settings: tuple[str, ...] = ()  # as of `dn3d train --set`


# Of single pictures, which hold no motion, nothing varied: all that is left to go by is who and what is seen.
_STILLS = ("clip.frames=1", "clip.hop=1", "clip.crop=0", "clip.flip=false", "clip.brightness=0.0", "train.epochs=40")
RECIPES = {
    "honest": Recipe("synthetic", "by-subject"),
    "leaking": Recipe("one-gait", "random-leaky", _STILLS),
    "mended": Recipe("one-gait", "by-subject", _STILLS),
}
_CATALOGS = {
    "synthetic": lambda: read_catalog("synthetic").split_by(DEFAULT_PROTOCOLS["synthetic"]),
    "one-gait": one_gait_catalog,
}


def shipped_run(name: str = "honest") -> Run:
    """A copy of a shipped run among the kit's runs, made when it is missing or another version was shipped. Taught in notebook 00.

    A copy, because each look at held-out data is noted in a run's folder, and what ships must stay as it is.

    Args:
        name: a folder of `data/trained/`: honest (split by subject); leaking (trained on people who were filmed in one gait
            each, its subjects stand on both sides of the split) and mended (the same people, split by subject).

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


def shipped_data(name: str = "honest", show_progress: bool = True) -> DataSet:
    """The prepared data set of a shipped network, `data_home()/synthetic-quick` for honest, split as for that network.

    What is missing of it is made; it takes a minute or two, once.

    Args:
        name: of RECIPES.
        show_progress: on standard error.

    Raises:
        ConfigError: there is no such network.
        DataError, Dn3dError: as `data.prepare.prepare`.
    """
    recipe = _recipe(name)
    data = _prepared(f"{recipe.data}-quick", _CATALOGS[recipe.data], show_progress)
    return data.as_split_by(recipe.protocol, data.seed)


def unseen_data(people: int = UNSEEN, show_progress: bool = True) -> DataSet:
    """People whom no shipped network has seen, prepared for `leaking` and `mended`; made where they are missing. Taught in notebook 05.

    Raises as `data.one_gait.unseen_catalog`, `data.prepare.prepare`.
    """
    return _prepared(f"unseen-{people}-quick", lambda: unseen_catalog(people), show_progress)


def _prepared(name: str, catalog: Callable[[], Catalog], show_progress: bool) -> DataSet:
    """The data set of that name in the kit's `data/`, as it is there, or prepared from the catalog as the preset quick does."""
    path = data_home() / name
    if (path / MANIFEST).is_file():
        return DataSet.open(path)
    return prepare(catalog(), path, find_preset("quick").storage, show_progress=show_progress)


def train_anew(name: str, run_dir: Path, *, data_dir: Path | None = None, epochs: int = 0, device: str = "auto", show_progress: bool = True) -> Run:
    """Train a shipped network anew, as it was trained. Taught in notebook 05.

    Args:
        name: of RECIPES.
        run_dir: the new run's folder.
        data_dir: its data set, prepared; None: the kit's own, made if missing.
        epochs: 0: as it was.
        device, show_progress: as `train.loop.train`.

    Raises:
        ConfigError: there is no such network.
        RunError, DataError: as `train.loop.train`.
    """
    from dn3dlib.train.loop import train

    recipe, preset = _recipe(name), find_preset("quick")
    more = [f"train.epochs={epochs}"] if epochs else []
    setup = apply_settings({prefix: preset.configs[prefix] for prefix in ("clip", "model", "train")}, [*recipe.settings, *more])
    data_dir = data_dir or shipped_data(name, show_progress).path
    where = {"device": device, "strategy": "one"}  # as they were trained
    train(data_dir, run_dir, *setup.values(), protocol=recipe.protocol, show_progress=show_progress, **where)
    return Run.open(run_dir)


def _recipe(name: str) -> Recipe:
    if name not in RECIPES:
        raise ConfigError(f"There is no trained network {name!r}: {nearest(name, RECIPES)}")
    return RECIPES[name]


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


def chosen_network(run_dir: str = "", retrain: bool = False, device: str = "auto"):
    """A run to look into, and its best network. Taught in notebook 04.

    Args:
        run_dir: a run of one's own; empty: the shipped one, honest.
        retrain: train the shipped one anew, as it was then, into a new folder of `runs_home()`; of no effect on one's own.
        device: auto, cpu, gpu:0 …: where the network lies.

    Returns:
        The Run, whose data set is there (that of the shipped one is made if missing), and its keras.Model.

    Raises:
        RunError: the run cannot be read, or has no network yet.
        ConfigError: there is no such device.
    """
    from dn3dlib.train.best import load_best  # TensorFlow is loaded when a network is, not before
    from dn3dlib.train.strategy import choose_strategy

    if not run_dir:
        shipped_data()
        run = train_anew("honest", next_run_dir("synthetic-quick"), device=device) if retrain else shipped_run()
        run_dir = run.path
    run = Run.open(run_dir)
    with choose_strategy(device)[0].scope():
        return run, load_best(run)


def _same(source: Path, target: Path) -> bool:
    return (target / CONFIG).is_file() and (target / BEST).is_file() and filecmp.cmp(source / BEST, target / BEST, shallow=False)


def _copy(source: Path, target: Path) -> None:
    """Copy a run beside its place and rename it."""
    partial = target.with_name(f"{target.name}.partial-copy")
    for left in (partial, target):
        if left.exists():
            shutil.rmtree(left)
    shutil.copytree(source, partial)
    partial.rename(target)
