"""Train the networks that ship in data/trained/ anew: `python tools/train_shipped.py [NAME …]`, all of them without a name.

Each is a run of the preset quick on drawn people (`dn3dlib.train.shipped.RECIPES`). What going on needs (checkpoints), events
and what tells of this machine are left out; the network, its settings, its history, its environment, its report on the
test part and its threshold of "none of these" are kept. Prints each network's line for data/trained/README.md.
"""

import argparse
import platform
import shutil
import sys
import tempfile
import zipfile
from pathlib import Path

from dn3dlib.evaluate.predict import Predictor
from dn3dlib.evaluate.report import evaluate
from dn3dlib.evaluate.threshold import THRESHOLD
from dn3dlib.files import read_json, write_json
from dn3dlib.places import trained_home
from dn3dlib.train.runs import BEST, CONFIG, ENVIRONMENT, EVALUATION, HISTORY, Run
from dn3dlib.train.shipped import RECIPES, train_anew


def train_shipped(name: str, folder: Path) -> dict:
    """Train one network as `folder`, evaluate it, and give its report on the test part."""
    with tempfile.TemporaryDirectory() as temporary:
        run = train_anew(name, Path(temporary) / name, device="cpu")
        report = evaluate(run.path, controls=("shuffled", "reversed", "frozen"), device="cpu")
        config = read_json(run.path / CONFIG, "run configuration")
        config["data"]["path"] = Path(run.data["path"]).name  # below data_home(), wherever that is
        write_json(run.path / CONFIG, config)
        environment = read_json(run.path / ENVIRONMENT, "environment")
        write_json(run.path / ENVIRONMENT, environment | {"platform": f"{platform.system()} {platform.machine()}"})
        _compress(run.path / BEST)
        Predictor(run.path, device="cpu")  # chooses the threshold, and keeps it beside the network that it is of
        if folder.exists():
            shutil.rmtree(folder)
        folder.mkdir(parents=True)
        for file in (BEST, CONFIG, ENVIRONMENT, EVALUATION, HISTORY, THRESHOLD):
            shutil.copyfile(run.path / file, folder / file)
    return report


def _compress(network: Path) -> None:
    """Write a .keras file, which is a zip archive without compression, with it."""
    whole = network.with_suffix(".whole")
    network.rename(whole)
    with zipfile.ZipFile(whole) as old, zipfile.ZipFile(network, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as new:
        for entry in old.infolist():
            new.writestr(zipfile.ZipInfo(entry.filename, (1980, 1, 1, 0, 0, 0)), old.read(entry), zipfile.ZIP_DEFLATED)


def readme_row(name: str, folder: Path) -> str:
    """The line of data/trained/README.md that tells of a network."""
    run, report = Run.open(folder), read_json(folder / EVALUATION, "evaluation")["test"]
    low, high = report["sequence_accuracy_interval"]
    people = f"{len(run.data['train_subjects'])} people of `{RECIPES[name].data}`"
    figures = (f"{report['clip_accuracy']:.3f}", f"{report['sequence_accuracy']:.3f}", f"{low:.3f} to {high:.3f}")
    asked = f"{report['sequences']} of {report['subjects']}"
    cells = (f"`{name}`", people, f"`{run.data['protocol']}`", run.train.epochs, asked, *figures, run.data["fingerprint"])
    return f"| {' | '.join(map(str, cells))} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=list(RECIPES), metavar="NAME", help=f"of {', '.join(RECIPES)}")
    for name in parser.parse_args().names:
        if name not in RECIPES:
            sys.exit(f"There is no network {name!r} to ship: choose from {', '.join(RECIPES)}.")
        train_shipped(name, trained_home() / name)
        print(readme_row(name, trained_home() / name))


if __name__ == "__main__":
    main()
