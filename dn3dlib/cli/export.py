"""The command export: a network in formats that others read, or a whole run as one file; and the command import."""

from pathlib import Path
from typing import Annotated

import typer

from dn3dlib.cli.shell import JSON, app, show
from dn3dlib.errors import ConfigError


@app.command()
def export(
    run: Annotated[Path, typer.Option(help="The run.")],
    to: Annotated[
        list[str] | None, typer.Option(help="savedmodel, onnx or litert; may be repeated, or a list with commas. onnx and litert need the extra [export].")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Of --to: a new folder for the files, a program for each, and what was measured.")] = None,
    precision: Annotated[list[str] | None, typer.Option(help="Of litert: float32, float16 or int8; may be repeated, or a list with commas.")] = None,
    data: Annotated[Path | None, typer.Option(help="Of --to: a prepared data set whose clips are measured on; default: the run's own.")] = None,
    clips: Annotated[int, typer.Option(help="Of --to: how many clips are measured on.")] = 32,
    bundle: Annotated[Path | None, typer.Option(help="Instead of --to: a new file that holds the run, its figures and a card; `dn3d import` reads it.")] = None,
    as_json: JSON = False,
) -> None:
    """Bring a run's best network out of the kit: in another format, measured against the original, or as one file to share."""
    if bool(to) == bool(bundle):
        raise ConfigError("Say either what to export to, as in --to onnx --out FOLDER, or --bundle FILE for the whole run as one file.")
    if bundle and (out or data or precision):
        raise ConfigError("--bundle takes the run as it is: leave out --out, --data and --precision.")
    if bundle:
        return _export_bundle(run, bundle, as_json)
    if out is None:
        raise ConfigError("--out is missing: name a new folder for what is exported.")
    from dn3dlib.deploy.export import export as export_network

    report = export_network(run, out, _split(to), _split(precision or ["float32"]), data_dir=data, clips=clips)
    show(as_json, {"out": str(out), **report}, lambda: _describe(out, report))


def _split(texts: list[str]) -> list[str]:
    return [name.strip() for text in texts for name in text.split(",")]


def _describe(out: Path, report: dict) -> str:
    heading = ("file", "bytes", "largest difference", "same class", "clips/s")
    rows = [
        (row["file"], f"{row['bytes']:,}", f"{row['largest_difference']:.1e}", f"{row['agreement']:.1%}", f"{row['clips_per_second']:.1f}")
        for row in report["files"]
    ]
    widths = [max(map(len, column)) for column in zip(heading, *rows, strict=True)]
    lines = [f"{out}: measured on {report['checked_on']}, one at a time on the processor; differences are of probabilities, to those of {rows[0][0]}"]
    lines += ["  " + "  ".join(f"{cell:<{w}}" if not n else f"{cell:>{w}}" for n, (cell, w) in enumerate(zip(row, widths, strict=True))) for row in (heading, *rows)]
    programs = [row["program"] for row in report["files"] if row["program"]]
    return "\n".join([*lines, "  Programs that use them without dn3d: " + ", ".join(programs)])


def _export_bundle(run: Path, file: Path, as_json: bool) -> None:
    from dn3dlib.deploy.bundle import write_bundle

    found = write_bundle(run, file)
    told = f"{file}: {found['bytes']:,} bytes, {len(found['files'])} files. Read it with: dn3d import {file} --out RUN"
    show(as_json, found, lambda: f"{told}\n  It names the subjects and videos of its data set: share it only if they may be named.")


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="A file of `dn3d export --bundle`.")],
    out: Annotated[Path, typer.Option(help="The run's folder, new.")],
    as_json: JSON = False,
) -> None:
    """Make a run's folder out of a bundle, once everything in it has been checked."""
    from dn3dlib.deploy.bundle import open_bundle

    run = open_bundle(file, out)
    show(as_json, {"run": str(out), "classes": list(run.classes)}, lambda: f"The run is in {out}; {out / 'card.md'} says what it is and what it is not for.")
