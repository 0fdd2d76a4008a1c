"""Many runs side by side: what differs in their settings, how good and how fast each was."""

import os
from pathlib import Path

from dn3dlib.config import nearest, to_dict
from dn3dlib.errors import ConfigError, Dn3dError, RunError
from dn3dlib.files import read_json
from dn3dlib.places import runs_home
from dn3dlib.train.runs import CONFIG, ENVIRONMENT, EVALUATION, Run, rank

# Figures of a row, with their title and form in a table; None where a run has no such figure.
FIGURES = {
    "epochs": ("epochs", "{}"),
    "of_epochs": ("of", "{}"),
    "best_epoch": ("best", "{}"),
    "validation_sequence_accuracy": ("validation accuracy", "{:.3f}"),  # of the best epoch, as the next
    "validation_loss": ("loss", "{:.3f}"),
    "test_sequence_accuracy": ("test accuracy", "{:.3f}"),  # as last evaluated, as the next
    "test_clip_accuracy": ("of clips", "{:.3f}"),
    "seconds": ("seconds", "{:,.0f}"),  # of all epochs, validation included
    "clips_per_second": ("clips/s", "{:.1f}"),
    "parameters": ("parameters", "{:,}"),
}


def compare_runs(*folders: Path) -> list[dict]:
    """All runs in and below some folders, sorted by name. Taught in notebook 02.

    Args:
        folders: where to look; none: the kit's own `runs/`.

    Returns:
        A row each: `run` (its folder), `name` (the folder as seen from the one that was given), `settings` (dotted name →
        value, only those in which the runs differ), the FIGURES, `warnings`, and `problem`: None, or why it cannot be read.

    Raises:
        RunError: a folder that was named does not exist.
    """
    rows, settings = [], []
    for folder in map(Path, folders or [runs_home()]):
        if folders and not folder.is_dir():
            raise RunError(f"There is no folder {folder} to look for runs in: check the path.")
        for path in _runs_below(folder):
            inside = str(path.relative_to(folder))
            row = {"run": str(path), "name": str(path) if len(folders) > 1 else path.name if inside == "." else inside}
            row |= {"settings": {}, **dict.fromkeys(FIGURES), "warnings": [], "problem": None}
            try:
                run = Run.open(path)
                row |= _figures(run) | {"warnings": run.warnings}
                settings.append((row, _settings(run)))
            except Dn3dError as error:
                row["problem"] = str(error)
            rows.append(row)
    differing = [name for name in (settings[0][1] if settings else ()) if len({str(values[name]) for _, values in settings}) > 1]
    for row, values in settings:
        row["settings"] = {name: values[name] for name in differing}
    return sorted(rows, key=lambda row: row["name"])


def sort_runs(rows: list[dict], by: str) -> list[dict]:
    """Rows sorted by a figure, a setting that differs, or `name`: accuracies and rates from high to low, all else upwards.

    Raises:
        ConfigError: a name that is none; the nearest right one is suggested.
    """
    names = ["name", *FIGURES, *dict.fromkeys(name for row in rows for name in row["settings"])]
    if by not in names:
        raise ConfigError(f"Runs cannot be sorted by {by!r}: {nearest(by, names)}")
    falling = by.endswith(("accuracy", "clips_per_second"))

    def place(row: dict):
        value = row["settings"].get(by, row.get(by))
        return (True, 0) if value is None else (False, -value if falling else value)

    return sorted(rows, key=place)


def table_cells(rows: list[dict]) -> list[list[str]]:
    """The rows as texts for a table, its head first; runs that cannot be read are left out."""
    sound = [row for row in rows if not row["problem"]]
    lines = [["run", *(title for title, _ in FIGURES.values()), *(sound[0]["settings"] if sound else ())]]
    for row in sound:
        figures = ["–" if row[name] is None else form.format(row[name]) for name, (_, form) in FIGURES.items()]
        lines.append([row["name"], *figures, *map(str, row["settings"].values())])
    return lines


def best_of(history: list[dict]) -> dict | None:
    """The row of the best epoch: highest validation sequence accuracy, lower loss, earlier; without validation the last."""
    judged = [row for row in history if row["validation_loss"] is not None]
    if not judged:
        return history[-1] if history else None
    return max(judged, key=lambda row: (*rank(row), -row["epoch"]))


def _runs_below(folder: Path) -> list[Path]:
    found = []
    for place, folders, files in os.walk(folder):
        if CONFIG in files or ENVIRONMENT in files:  # the one alone: damaged, and to be told of
            found.append(Path(place))
            folders.clear()
    return found


def _figures(run: Run) -> dict:
    history = run.history()
    best = best_of(history)
    figures = {"epochs": len(history), "of_epochs": run.train.epochs}
    if best:
        seconds = sum(row["seconds"] for row in history)
        clips = sum(row["seconds"] * row["clips_per_second"] for row in history)
        figures |= {name: best[name] for name in ("validation_sequence_accuracy", "validation_loss")}
        figures |= {"best_epoch": best["epoch"], "seconds": seconds, "clips_per_second": clips / seconds if seconds else None}
    test = _json_of(run, EVALUATION).get("test", {})
    figures |= {f"test_{name}": test.get(name) for name in ("sequence_accuracy", "clip_accuracy")}
    return figures | {"parameters": _json_of(run, ENVIRONMENT).get("parameters")}  # older runs have not noted it


def _json_of(run: Run, name: str) -> dict:
    return read_json(run.path / name, name) if (run.path / name).is_file() else {}


def _settings(run: Run) -> dict:
    """Dotted name → value. Of the data what tells sets apart: path, classes and subjects follow from the fingerprint."""
    values = {f"data.{name}": run.data[name] for name in ("dataset", "protocol", "fingerprint")}
    for config in (run.storage, run.clip, run.model, run.train):
        values |= {f"{config.prefix}.{name}": value for name, value in to_dict(config).items()}
    return values | {"init_from": run.init_from}
