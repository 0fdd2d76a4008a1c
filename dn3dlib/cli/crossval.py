"""The command that cross-validates."""

from pathlib import Path
from typing import Annotated

import typer

from dn3dlib.cli.runs import given_settings
from dn3dlib.cli.shell import (
    BATCH_SIZE,
    DEVICE,
    EPOCHS,
    FRAMES,
    INIT_FROM,
    INTERRUPTED,
    JSON,
    PRECISION,
    PRESET,
    SEED,
    SETTINGS,
    app,
    show,
)
from dn3dlib.errors import ConfigError
from dn3dlib.presets import chosen_configs


@app.command()
def crossval(
    data: Annotated[Path, typer.Option(help="A prepared data set; its own split does not matter.")],
    out: Annotated[Path, typer.Option(help="The folder of all folds; called again, it does only what is missing.")],
    folds: Annotated[str, typer.Option(help="loso: leave one subject out at a time; or into how many groups the subjects are dealt.")] = "loso",
    preset: PRESET = None,
    epochs: EPOCHS = None,
    batch_size: BATCH_SIZE = None,
    frames: FRAMES = None,
    seed: SEED = None,
    precision: PRECISION = None,
    settings: SETTINGS = None,
    init_from: INIT_FROM = None,
    device: DEVICE = "auto",
    as_json: JSON = False,
) -> None:
    """Train and test once for each group of subjects, without a validation part: the last epoch's network is tested."""
    from dn3dlib.data.manifest import DataSet
    from dn3dlib.evaluate.crossval import crossval as cross_validate

    if folds != "loso" and not folds.isdecimal():
        raise ConfigError(f"--folds is {folds!r}, but must be loso or a whole number from 2 on, as in --folds 5.")
    given = given_settings(settings, epochs=epochs, batch_size=batch_size, frames=frames, seed=seed, precision=precision)
    _, configs = chosen_configs(DataSet.open(data), preset, given)
    number = None if folds == "loso" else int(folds)
    options = {"init_from": init_from, "device": device}
    result = cross_validate(data, out, configs["clip"], configs["model"], configs["train"], number, **options)
    show(as_json, result, lambda: _describe(out, result))
    if len(result["folds"]) < result["of_folds"]:
        raise typer.Exit(INTERRUPTED)


def _describe(out: Path, result: dict) -> str:
    rows = result["folds"]
    lines = [f"{out}: {len(rows)} of {result['of_folds']} folds"]
    for row in rows:
        figures = f"sequence accuracy {row['sequence_accuracy']:.3f}, clip accuracy {row['clip_accuracy']:.3f}"
        lines.append(f"  {row['run']}: {figures}, {row['sequences']} sequences of {', '.join(row['subjects'])}")
    if rows:
        spread, interval = result["spread"], result["sequence_accuracy_interval"]
        lines.append(f"  mean sequence accuracy {result['mean_sequence_accuracy']:.3f}" + (f", spread {spread:.3f}" if spread is not None else ""))
        within = f" (95 %: {interval[0]:.3f} to {interval[1]:.3f})" if interval else ""
        lines += [f"  of all sequences together {result['sequence_accuracy']:.3f}{within}", *_describe_confusion(result)]
    lines += [f"  Warning: {warning}" for warning in sorted({w for row in rows for w in row["warnings"]})]
    return "\n".join(lines)


def _describe_confusion(report: dict) -> list[str]:
    """The lines of a report's `confusion`, under a heading."""
    width = max(len(name) for name in report["classes"])
    rows = zip(report["classes"], report["confusion"], strict=True)
    heading = "  confusion (rows true, columns predicted, in the order of the rows):"
    return [heading, *(f"    {name:<{width}} " + " ".join(f"{n:>4}" for n in row) for name, row in rows)]
