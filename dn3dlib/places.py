"""Where the kit keeps what it makes when nobody says otherwise."""

import os
from pathlib import Path


def data_home() -> Path:
    """The kit's own `data/` folder, from wherever it is called; `DN3D_DATA` points elsewhere.

    An installation that is no checkout has no such folder: there it is `dn3d-data` in the working directory.
    """
    if chosen := os.environ.get("DN3D_DATA"):
        return Path(chosen)
    checkout = _checkout()
    return checkout / "data" if checkout else Path("dn3d-data").absolute()


def next_run_dir(name: str) -> Path:
    """The first folder `runs/<name>-001`, `-002` … of the kit that is not there yet; `DN3D_RUNS` points elsewhere."""
    home = Path(os.environ.get("DN3D_RUNS") or (_checkout() or Path.cwd()) / "runs")
    number = 1
    while (home / f"{name}-{number:03d}").exists():
        number += 1
    return home / f"{name}-{number:03d}"


def _checkout() -> Path | None:
    """The kit's checkout, if it runs from one."""
    folder = Path(__file__).resolve().parents[1]
    return folder if (folder / "notebooks").is_dir() else None
