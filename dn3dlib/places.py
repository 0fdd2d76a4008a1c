"""Where the kit keeps what it makes when nobody says otherwise."""

import os
import re
from pathlib import Path

from dn3dlib.config import to_dict
from dn3dlib.presets import Preset

_LONGEST_NAME = 80  # characters of a run's name, so that paths stay legible


def data_home() -> Path:
    """The kit's own `data/` folder, from wherever it is called; `DN3D_DATA` points elsewhere.

    An installation that is no checkout has no such folder: there it is `dn3d-data` in the working directory.
    """
    if chosen := os.environ.get("DN3D_DATA"):
        return Path(chosen)
    checkout = _checkout()
    return checkout / "data" if checkout else Path("dn3d-data").absolute()


def runs_home() -> Path:
    """The kit's own `runs/` folder; `DN3D_RUNS` points elsewhere. No checkout: `runs` in the working directory."""
    return Path(os.environ.get("DN3D_RUNS") or (_checkout() or Path.cwd()) / "runs")


def trained_home() -> Path | None:
    """Where the networks that ship with the kit lie; None: an installation that is no checkout has none."""
    checkout = _checkout()
    return checkout / "data" / "trained" if checkout else None


def notebooks_home() -> Path | None:
    """Where the course lies; None: an installation that is no checkout has none."""
    checkout = _checkout()
    return checkout / "notebooks" if checkout else None


def next_run_dir(name: str) -> Path:
    """The first folder `<name>-001`, `-002` … of `runs_home()` that is not there yet."""
    number = 1
    while (runs_home() / f"{name}-{number:03d}").exists():
        number += 1
    return runs_home() / f"{name}-{number:03d}"


def run_name(dataset: str, preset: Preset, configs: dict) -> str:
    """A run's name that tells its settings, as in `kth-quick-depth40-seed1`, safe in every file system.

    Args:
        dataset: of the data.
        preset: what was started from.
        configs: prefix ("clip", "model", "train") → config; what differs from the preset is named.
    """
    parts = [dataset[:20], preset.name]
    for prefix, config in configs.items():
        usual = to_dict(preset.configs[prefix])
        for name, value in to_dict(config).items():
            if value != usual[name]:
                number = isinstance(value, int | float) and not isinstance(value, bool)
                parts.append(f"{name}{value}" if number else f"{name}-{value}".lower())
    whole = len(parts)
    while len("-".join(parts)) > _LONGEST_NAME:
        parts.pop()
    more = [f"and-{whole - len(parts)}-more"] if len(parts) < whole else []
    return re.sub(r"[^A-Za-z0-9._+-]+", "-", "-".join(parts + more))


def _checkout() -> Path | None:
    """The kit's checkout, if it runs from one."""
    folder = Path(__file__).resolve().parents[1]
    return folder if (folder / "notebooks").is_dir() else None
