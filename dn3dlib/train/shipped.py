"""The networks that ship with the kit, in `data/trained/`: each a run as any other, without its checkpoints."""

import filecmp
import shutil
from pathlib import Path

from dn3dlib.config import nearest
from dn3dlib.data.manifest import MANIFEST, DataSet
from dn3dlib.data.prepare import prepare
from dn3dlib.data.sources import DEFAULT_PROTOCOLS, read_catalog
from dn3dlib.errors import ConfigError, RunError
from dn3dlib.files import only_one_at, plain_disk_errors, read_json, write_json
from dn3dlib.places import data_home, next_run_dir, runs_home, trained_home
from dn3dlib.presets import find_preset
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


def shipped_data() -> DataSet:
    """The data set of the shipped networks, `data_home()/synthetic-quick`: the synthetic videos as the preset quick prepares them.

    What is missing of it is made; it takes a minute or two, once.
    """
    path = data_home() / "synthetic-quick"
    if (path / MANIFEST).is_file():
        return DataSet.open(path)
    return prepare(read_catalog("synthetic", "").split_by(DEFAULT_PROTOCOLS["synthetic"]), path, find_preset("quick").storage)


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
    from dn3dlib.train.loop import train
    from dn3dlib.train.strategy import choose_strategy

    if not run_dir:
        data, preset = shipped_data(), find_preset("quick")
        run_dir = shipped_run().path
        if retrain:
            run_dir = next_run_dir("synthetic-quick")
            train(data.path, run_dir, preset.clip, preset.model, preset.train, device=device)
    run = Run.open(run_dir)
    with choose_strategy(device)[0].scope():
        return run, load_best(run)


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
