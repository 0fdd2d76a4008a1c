"""Train the networks that ship in data/trained/ anew: `python tools/train_shipped.py [NAME …]`, all of them without a name.

Each is a run of the preset quick on the synthetic set. What goes on needs (checkpoints), events and what tells of this
machine are left out; the network, its settings, its history, its environment and its report on the test part are kept.
"""

import argparse
import platform
import shutil
import sys
import tempfile
from pathlib import Path

from dn3dlib.data.prepare import prepare
from dn3dlib.data.sources import read_catalog
from dn3dlib.evaluate.report import evaluate
from dn3dlib.files import read_json, write_json
from dn3dlib.places import data_home, trained_home
from dn3dlib.presets import find_preset
from dn3dlib.train.loop import train
from dn3dlib.train.runs import BEST, CONFIG, ENVIRONMENT, EVALUATION, HISTORY

PROTOCOLS = {"honest": "by-subject"}  # name → how the synthetic set is split


def train_shipped(name: str, folder: Path) -> dict:
    """Train one network as `folder`, evaluate it, and give its report on the test part."""
    preset = find_preset("quick")
    data_dir = data_home() / "synthetic-quick"
    data = prepare(read_catalog("synthetic", "").split_by("by-subject"), data_dir, preset.storage)
    with tempfile.TemporaryDirectory() as temporary:
        run_dir = Path(temporary) / name
        train(data.path, run_dir, preset.clip, preset.model, preset.train, protocol=PROTOCOLS[name], device="cpu")
        report = evaluate(run_dir, controls=("shuffled", "reversed", "frozen"), device="cpu")
        config = read_json(run_dir / CONFIG, "run configuration")
        config["data"]["path"] = data_dir.name  # below data_home(), wherever that is
        write_json(run_dir / CONFIG, config)
        environment = read_json(run_dir / ENVIRONMENT, "environment")
        write_json(run_dir / ENVIRONMENT, environment | {"platform": f"{platform.system()} {platform.machine()}"})
        if folder.exists():
            shutil.rmtree(folder)
        folder.mkdir(parents=True)
        for file in (BEST, CONFIG, ENVIRONMENT, EVALUATION, HISTORY):
            shutil.copyfile(run_dir / file, folder / file)
    return report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=list(PROTOCOLS), metavar="NAME", help=f"of {', '.join(PROTOCOLS)}")
    for name in parser.parse_args().names:
        if name not in PROTOCOLS:
            sys.exit(f"There is no network {name!r} to ship: choose from {', '.join(PROTOCOLS)}.")
        report = train_shipped(name, trained_home() / name)
        print(f"{name}: test sequence accuracy {report['sequence_accuracy']:.3f}, clip accuracy {report['clip_accuracy']:.3f}")


if __name__ == "__main__":
    main()
