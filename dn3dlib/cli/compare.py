"""The command that puts runs side by side."""

from pathlib import Path
from typing import Annotated

import typer

from dn3dlib.cli.shell import JSON, app, show


@app.command()
def runs(
    folders: Annotated[list[Path] | None, typer.Argument(metavar="[DIR]...", help="Where to look; default: the kit's own runs/.")] = None,
    sort: Annotated[str, typer.Option(help="name, a figure (as in --json) or a setting that differs.")] = "name",
    as_json: JSON = False,
) -> None:
    """Compare all runs in and below some folders: what differs, how good, how long."""
    from dn3dlib.train.compare import compare_runs, sort_runs

    rows = sort_runs(compare_runs(*folders or []), sort)
    show(as_json, {"runs": rows}, lambda: _describe_runs(rows))


def _describe_runs(rows: list[dict]) -> str:
    from dn3dlib.train.compare import table_cells

    if not rows:
        return "There is no run here yet: `dn3d train` makes one."
    table = table_cells(rows)
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = ["  ".join(f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True)).rstrip() for line in table]
    lines += [f"Warning: {row['name']}: {warning}" for row in rows for warning in row["warnings"]]
    return "\n".join(lines + [f"Cannot be read: {row['name']}: {row['problem']}" for row in rows if row["problem"]])
