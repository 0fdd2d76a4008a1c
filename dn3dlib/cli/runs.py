"""Commands about networks: train, evaluate, info, presets."""

from pathlib import Path
from typing import Annotated

import typer

from dn3dlib.cli.shell import DEVICE, INTERRUPTED, JSON, SETTINGS, app, show
from dn3dlib.config import apply_settings, nearest, to_dict
from dn3dlib.errors import ConfigError, DataError
from dn3dlib.presets import PRESETS, Preset, find_preset


@app.command()
def train(
    out: Annotated[Path, typer.Option(help="The run's folder, new; with --resume the one to go on with.")],
    data: Annotated[Path | None, typer.Option(help="A prepared data set; with --resume only where it has moved.")] = None,
    preset: Annotated[str | None, typer.Option(help="Clip, model and training; see `dn3d presets`.")] = None,
    epochs: Annotated[int | None, typer.Option(help="train.epochs")] = None,
    batch_size: Annotated[int | None, typer.Option(help="train.batch_size")] = None,
    frames: Annotated[int | None, typer.Option(help="clip.frames")] = None,
    seed: Annotated[int | None, typer.Option(help="train.seed")] = None,
    settings: SETTINGS = None,
    init_from: Annotated[Path | None, typer.Option(help="Start from the best weights of this run.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with an interrupted run.")] = False,
    device: DEVICE = "auto",
    as_json: JSON = False,
) -> None:
    """Train a network; an existing run is refused without --resume."""
    given = given_settings(epochs, batch_size, frames, seed, settings)
    if resume:
        history = _resume(out, data, device, preset, init_from, given)
    else:
        history = _train_new(out, data, device, preset, init_from, given)
    from dn3dlib.train.runs import Run

    run, last = Run.open(out), history[-1] if history else {}
    values = {"run": str(out), "epochs": len(history), "of_epochs": run.train.epochs, "last": last, "warnings": run.warnings}
    show(as_json, values, lambda: _describe_run(out, last, run.warnings))
    if len(history) < run.train.epochs:
        raise typer.Exit(INTERRUPTED)


def given_settings(epochs: int | None, batch_size: int | None, frames: int | None, seed: int | None, settings: list[str] | None) -> list[str]:
    """Settings as `--set` takes them, from those that have an option of their own and the rest."""
    short = {"train.epochs": epochs, "train.batch_size": batch_size, "clip.frames": frames, "train.seed": seed}
    return [f"{name}={value}" for name, value in short.items() if value is not None] + (settings or [])


def chosen_configs(data, preset: str | None, given: list[str]) -> dict:
    """The clip, model and train configs of a preset that fits the opened data set, with the given settings."""
    chosen = find_preset(preset or "quick")
    if preset:
        check_storage_fits(chosen, data)
    return apply_settings({name: chosen.configs[name] for name in ("clip", "model", "train")}, given)


def _train_new(out: Path, data: Path | None, device: str, preset: str | None, init_from: Path | None, given: list[str]) -> list[dict]:
    from dn3dlib.data.manifest import DataSet
    from dn3dlib.train.loop import train as train_network

    if data is None:
        raise ConfigError("--data is missing: name the prepared data set to train on; `dn3d prepare` makes one.")
    configs = chosen_configs(DataSet.open(data), preset, given)
    return train_network(data, out, configs["clip"], configs["model"], configs["train"], init_from=init_from, device=device)


def _resume(out: Path, data: Path | None, device: str, preset: str | None, init_from: Path | None, given: list[str]) -> list[dict]:
    from dn3dlib.train.loop import resume
    from dn3dlib.train.runs import Run

    run = Run.open(out)
    if preset or init_from:
        raise ConfigError(f"--resume goes on with the settings of {out}: leave out --preset and --init-from.")
    own = {"clip": run.clip, "model": run.model, "train": run.train}
    for name, config in apply_settings(own, given).items():
        for field, value in to_dict(config).items():
            if value != getattr(own[name], field):
                raise ConfigError(
                    f"--resume goes on with the settings of {out}: {name}.{field} is {getattr(own[name], field)!r} there, not "
                    f"{value!r}; leave it out, or start a new run with --init-from {out}."
                )
    return resume(out, data, device=device)


def check_storage_fits(preset: Preset, data) -> None:
    """Raise ConfigError where a data set was prepared in another size than a preset wants, with the command that fits."""
    if data.storage.frame_shape != preset.storage.frame_shape:
        raise ConfigError(
            f"The preset {preset.name} wants frames of {preset.storage.frame_shape} (height, width, channels), but {data.path} holds "
            f"{data.storage.frame_shape}. This, with whatever other options it was prepared with, makes one that fits: dn3d prepare --dataset {data.dataset} --source … "
            f"--protocol {data.protocol} --preset {preset.name} --out …"
        )


@app.command()
def evaluate(
    run: Annotated[Path, typer.Option(help="The run.")],
    data: Annotated[Path | None, typer.Option(help="A prepared data set; default: the run's own.")] = None,
    split: Annotated[str, typer.Option(help="train, validation or test.")] = "test",
    batch_size: Annotated[int | None, typer.Option(help="Clips computed at once; default: as in training.")] = None,
    device: DEVICE = "auto",
    as_json: JSON = False,
) -> None:
    """Evaluate a run's best network on one split."""
    from dn3dlib.evaluate.report import evaluate as evaluate_run

    report = evaluate_run(run, data, split, batch_size=batch_size, device=device)
    show(as_json, report, lambda: _describe_report(report))


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
    """Depth and parameters as really built."""
    from dn3dlib.model.densenet3d import build_model

    network = build_model(model, (preset.clip.frames, *preset.storage.frame_shape), 6)
    parameters = sum(variable.value.shape.num_elements() for variable in network.trainable_variables)
    return {"true_depth": model.true_depth, "layers_per_block": model.layers_per_block, "parameters": parameters}


def _describe_run(out: Path, last: dict, warnings: list[str]) -> str:
    figures = ", ".join(f"{name} {value:.4g}" for name, value in last.items() if isinstance(value, int | float))
    return "\n".join([f"{out}: {figures or 'no epoch finished yet'}", *(f"  Warning: {warning}" for warning in warnings)])


def _describe_report(report: dict) -> str:
    interval = report["sequence_accuracy_interval"]
    spread = f" (95 %: {interval[0]:.3f} to {interval[1]:.3f})" if interval else " (no interval: fewer than two subjects)"
    lines = [
        f"{report['split']}: {report['sequences']} sequences of {report['subjects']} subjects, {report['clips']} clips",
        f"  sequence accuracy {report['sequence_accuracy']:.3f}{spread}",
        f"  clip accuracy     {report['clip_accuracy']:.3f}",
        *described_confusion(report),
    ]
    return "\n".join(lines + [f"  Warning: {warning}" for warning in report["warnings"]])


def described_confusion(report: dict) -> list[str]:
    """The lines of a report's `confusion`, under a heading."""
    width = max(len(name) for name in report["classes"])
    rows = zip(report["classes"], report["confusion"], strict=True)
    heading = "  confusion (rows true, columns predicted, in the order of the rows):"
    return [heading, *(f"    {name:<{width}} " + " ".join(f"{n:>4}" for n in row) for name, row in rows)]


def _describe_values(values: dict, indent: str = "") -> str:
    lines = []
    for name, value in values.items():
        if isinstance(value, dict) and value:
            lines += [f"{indent}{name}:", _describe_values(value, indent + "  ")]
        else:
            shown = ", ".join(map(str, value)) if isinstance(value, list | tuple) else value
            lines.append(f"{indent}{name}: {shown}")
    return "\n".join(lines)
