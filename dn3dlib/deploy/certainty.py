"""The threshold of "none of these", where prediction has chosen one for a run: it goes wherever the network goes."""

import hashlib
from pathlib import Path

from dn3dlib.files import read_json, write_json
from dn3dlib.train.runs import BEST, Run

THRESHOLD = "threshold.json"


def kept_threshold(run: Run) -> dict:
    """What a run's folder keeps: `threshold` (a certainty), `kept` (share of the rightly classified), `windows`; empty where it is of another network."""
    path = run.path / THRESHOLD
    kept = read_json(path, "threshold") if path.is_file() else {}
    return {name: value for name, value in kept.items() if name != "network"} if kept.get("network") == _of_network(run.path) else {}


def keep_threshold(run_dir: Path, kept: dict) -> None:
    """Note a threshold as that of the best network in a run's folder."""
    write_json(run_dir / THRESHOLD, kept | {"network": _of_network(run_dir)})


def _of_network(run_dir: Path) -> str:
    return hashlib.sha256((run_dir / BEST).read_bytes()).hexdigest()
