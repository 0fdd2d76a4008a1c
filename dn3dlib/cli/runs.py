"""Commands about networks: train, info, presets."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from dn3dlib.cli.checks import check_training, find_learning_rate
from dn3dlib.cli.shell import (
    BATCH_SIZE,
    DEVICES,
    EPOCHS,
    FRAMES,
    INIT_FROM,
    INTERRUPTED,
    JSON,
    PRECISION,
    PRESET,
    SEED,
    SETTINGS,
    STRATEGY,
    app,
    show,
)
from dn3dlib.config import apply_settings, nearest, to_dict
from dn3dlib.errors import ConfigError, DataError
from dn3dlib.places import next_run_dir, run_name
from dn3dlib.presets import PRESETS, Preset, chosen_configs


@app.command()
def train(
    out: Annotated[
        Path | None, typer.Option(help="The run's folder, new (default: in runs/, named by the settings); with --resume that to go on with.")
    ] = None,
    data: Annotated[Path | None, typer.Option(help="A prepared data set; with --resume only where it has moved.")] = None,
    preset: PRESET = None,
    epochs: EPOCHS = None,
    batch_size: BATCH_SIZE = None,
    frames: FRAMES = None,
    seed: SEED = None,
    precision: PRECISION = None,
    settings: SETTINGS = None,
    init_from: INIT_FROM = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with an interrupted run.")] = False,
    check: Annotated[bool, typer.Option("--check", help="Make the checks before a training and do not train; status 2 where one fails.")] = False,
    find_rate: Annotated[bool, typer.Option("--find-learning-rate", help="Try rising learning rates and do not train.")] = False,
    device: DEVICES = "auto",
    strategy: STRATEGY = "auto",
    as_json: JSON = False,
) -> None:
    """Train a network; an existing run is refused without --resume."""
    given = given_settings(settings, epochs=epochs, batch_size=batch_size, frames=frames, seed=seed, precision=precision)
    if resume or check or find_rate:
        _refuse_together(out, init_from, resume, check, find_rate)
    if resume:
        history = _resume(out, data, {"device": device, "strategy": strategy}, preset, init_from, given)
    else:
        opened = _open_data(data)
        chosen, configs = chosen_configs(opened, preset, given)
        if (check or find_rate) and configs["train"].freeze != "none":
            raise ConfigError("--check and --find-learning-rate look at a network that starts at random, all of which trains: leave out train.freeze.")
        if check:
            return check_training(opened, configs, device, as_json)
        if find_rate:
            return find_learning_rate(opened, configs, device, as_json)
        out = out or _new_folder(run_name(opened.dataset, chosen, configs))
        history = _train_new(out, data, {"device": device, "strategy": strategy}, init_from, configs)
    from dn3dlib.train.runs import CONFIG

    there = (out / CONFIG).is_file()  # else this is a worker, whose chief alone writes, on another disk
    if len(history) < (_tell_result(out, history, as_json) if there else configs["train"].epochs):
        raise typer.Exit(INTERRUPTED)


def _tell_result(out: Path, history: list[dict], as_json: bool) -> int:
    """Say what a training has come to; gives the epochs that it was to have."""
    from dn3dlib.train.runs import Run

    run, last = Run.open(out), history[-1] if history else {}
    values = {"run": str(out), "epochs": len(history), "of_epochs": run.train.epochs, "last": last, "warnings": run.warnings}
    show(as_json, values, lambda: _describe_run(out, last, run.warnings))
    return run.train.epochs


def _refuse_together(out: Path | None, init_from: Path | None, resume: bool, check: bool, find_rate: bool) -> None:
    if resume and out is None:
        raise ConfigError("--out is missing: name the run's folder to go on with.")
    if check + find_rate + resume > 1 or (init_from and not resume):
        raise ConfigError("--check and --find-learning-rate each look at a new training: leave out the other, --resume and --init-from.")


def given_settings(settings: list[str] | None, **short) -> list[str]:
    """Settings as `--set` takes them, from those that have an option of their own and the rest."""
    return [f"{'clip' if name == 'frames' else 'train'}.{name}={value}" for name, value in short.items() if value is not None] + (settings or [])


def _open_data(data: Path | None):
    from dn3dlib.data.manifest import DataSet

    if data is None:
        raise ConfigError("--data is missing: name the prepared data set to train on; `dn3d prepare` makes one.")
    return DataSet.open(data)


def _new_folder(name: str) -> Path:
    path = next_run_dir(name)
    print(f"The run's folder is {path}.", file=sys.stderr)
    return path


def _train_new(out: Path, data: Path, where: dict[str, str], init_from: Path | None, configs: dict) -> list[dict]:
    from dn3dlib.train.loop import train as train_network
    from dn3dlib.train.observer import EpochLines

    options = {"init_from": init_from, "observers": (EpochLines(),), **where}
    return train_network(data, out, configs["clip"], configs["model"], configs["train"], **options)


def _resume(out: Path, data: Path | None, where: dict[str, str], preset: str | None, init_from: Path | None, given: list[str]) -> list[dict]:
    from dn3dlib.train.loop import resume
    from dn3dlib.train.observer import EpochLines
    from dn3dlib.train.runs import Run

    run = Run.open(out)
    if preset or init_from:
        raise ConfigError(f"--resume goes on with the settings of {out}: leave out --preset and --init-from.")
    own = {"clip": run.clip, "model": run.model, "train": run.train}
    for name, config in apply_settings(own, given).items():
        for field, value in to_dict(config).items():
            if value != getattr(own[name], field) and (field, value) != ("precision", "auto"):  # the run has what `auto` gave
                raise ConfigError(
                    f"--resume goes on with the settings of {out}: {name}.{field} is {getattr(own[name], field)!r} there, not "
                    f"{value!r}; leave it out, or start a new run with --init-from {out}."
                )
    return resume(out, data, observers=(EpochLines(),), **where)


@app.command()
def info(
    target: Annotated[str, typer.Argument(metavar="PATH-or-PRESET", help="A prepared data set, a run, a video or a preset.")],
    as_json: JSON = False,
) -> None:
    """Say what a data set, a run, a video or a preset is."""
    value = _info(target)
    show(as_json, value, lambda: _describe_values(value))


@app.command()
def presets(as_json: JSON = False) -> None:
    """List the presets: storage, clip, model and training that fit together."""
    rows = [{"name": p.name, "about": p.about, "parameters": p.parameters, "published": p.published} for p in PRESETS.values()]
    lines = [f"{r['name']:<10} {r['parameters']:>9,} parameters  {r['about']}" + f"  {r['published']}" for r in rows]
    show(as_json, {"presets": rows}, lambda: "\n".join(line.rstrip() for line in lines))


def _info(target: str) -> dict:
    from dn3dlib.data.manifest import MANIFEST, DataSet
    from dn3dlib.train.runs import CONFIG, Run

    path = Path(target)
    if target in PRESETS and not path.exists():
        preset = PRESETS[target]
        values = {name: to_dict(config) for name, config in preset.configs.items()}
        return {"preset": target, "about": preset.about, "published": preset.published, **_network(preset.model, preset), **values}
    if (path / MANIFEST).is_file():
        data = DataSet.open(path)
        about = {"dataset": data.dataset, "classes": list(data.classes), "fingerprint": data.fingerprint}
        return {"data": target, **about, "storage": to_dict(data.storage), **data.summary()}
    if (path / CONFIG).is_file():
        run = Run.open(path)
        rows = run.history()
        done = {"epochs_done": len(rows), "last": rows[-1] if rows else {}, "warnings": run.warnings}
        return {"run": target, **done, "true_depth": run.model.true_depth, **run.to_dict()}
    if path.is_file():
        from dn3dlib.data.video import probe

        return {name: str(value) if isinstance(value, Path) else value for name, value in vars(probe(path)).items()}
    if path.is_dir():
        raise DataError(f"The folder {path} is neither a prepared data set nor a run: `dn3d scan {path}` looks at its videos.")
    raise ConfigError(f"There is neither a file nor a folder {target} nor a preset of that name: {nearest(target, PRESETS)}")


def _network(model, preset: Preset) -> dict:
    """Depth and parameters as really built, and the memory that training is estimated to take, in MB."""
    from dn3dlib.model.anatomy import training_memory
    from dn3dlib.model.densenet3d import build_model

    network = build_model(model, (preset.clip.frames, *preset.storage.frame_shape), 6)
    parameters = sum(variable.value.shape.num_elements() for variable in network.trainable_variables)
    plain, less = training_memory(network), training_memory(network, recompute=True)
    memory = {"fixed": plain.fixed // 10**6, "per_clip": plain.per_clip // 10**6, "per_clip_recomputed": less.per_clip // 10**6}
    about = {"true_depth": model.true_depth, "layers_per_block": model.layers_per_block, "parameters": parameters}
    return {**about, "training_memory_mb": memory}


def _describe_run(out: Path, last: dict, warnings: list[str]) -> str:
    figures = ", ".join(f"{name} {value:.4g}" for name, value in last.items() if isinstance(value, int | float))
    return "\n".join([f"{out}: {figures or 'no epoch finished yet'}", *(f"  Warning: {warning}" for warning in warnings)])


def _describe_values(values: dict, indent: str = "") -> str:
    lines = []
    for name, value in values.items():
        if isinstance(value, dict) and value:
            lines += [f"{indent}{name}:", _describe_values(value, indent + "  ")]
        else:
            shown = ", ".join(map(str, value)) if isinstance(value, list | tuple) else value
            lines.append(f"{indent}{name}: {shown}")
    return "\n".join(lines)
