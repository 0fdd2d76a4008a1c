"""Where the kit keeps what it makes when nobody says otherwise."""

import os
from pathlib import Path


def data_home() -> Path:
    """The kit's own `data/` folder, from wherever it is called; `DN3D_DATA` points elsewhere.

    An installation that is no checkout has no such folder: there it is `dn3d-data` in the working directory.
    """
    if chosen := os.environ.get("DN3D_DATA"):
        return Path(chosen)
    checkout = Path(__file__).resolve().parents[1]
    return checkout / "data" if (checkout / "notebooks").is_dir() else Path("dn3d-data").absolute()
