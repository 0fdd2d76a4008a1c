"""How well does the preset small-data do on people whom the network has never seen? Each person left out in turn.

    python benchmarks/small_data.py
    python benchmarks/small_data.py --sets ps7 --seeds 0 1

ps7: 27 real videos, 3 actions by 3 persons. kth: 17 real videos, 6 actions by 5 persons, of whom two show one action only.
drawn: 48 videos, 6 actions by 8 subjects, drawn by the kit, in four folds of two subjects. The real videos are looked for
in `../shared/data`, or below the folder that `DN3D_SHARED` names; what is not there is passed over.
"""

import argparse
import os
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from dn3dlib.presets import find_preset

SHARED = Path(os.environ.get("DN3D_SHARED") or Path(__file__).resolve().parents[2] / "shared") / "data"
# name → folds, None: one for each person
FOLDS = {"ps7": None, "kth": None, "drawn": 4}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", type=Path, default=SHARED, help="the folder that holds the folders ps7 and kth")
    parser.add_argument("--sets", nargs="+", choices=FOLDS, default=list(FOLDS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    arguments = parser.parse_args()
    # Imported here: the processes that `prepare` starts import this file, and need none of it.
    from dn3dlib.data.prepare import prepare
    from dn3dlib.evaluate.crossval import crossval

    preset, means = find_preset("small-data"), {}
    with tempfile.TemporaryDirectory() as folder:
        for name in arguments.sets:
            catalog = make_catalog(name, arguments.source, Path(folder))
            if catalog is None:
                print(f"{name}: not measured, since there is no folder {arguments.source / name}")
                continue
            data = prepare(catalog, Path(folder) / name, preset.storage, show_progress=False)
            for seed in arguments.seeds:
                started = time.perf_counter()
                config = replace(preset.train, seed=seed)
                result = crossval(data.path, Path(folder) / f"{name} {seed}", preset.clip, preset.model, config, FOLDS[name])
                means.setdefault(name, []).append(result["mean_sequence_accuracy"])
                show(f"{name}, seed {seed}", result, (time.perf_counter() - started) / 60)
    for name, found in means.items():
        print(f"{name}: mean of {len(found)} seeds {statistics.mean(found):.3f}")


def make_catalog(name: str, source: Path, folder: Path):
    """The videos of a set, or None where they are not there."""
    from dn3dlib.data.sources import read_catalog
    from dn3dlib.data.synthetic import make_synthetic

    if name == "drawn":
        make_synthetic(folder / "drawn videos", subjects=8, scenarios=1)
        return read_catalog("kth", folder / "drawn videos").split_by("by-subject")
    if not (source / name).is_dir():
        return None
    if name == "ps7":
        patterns = {"label_pattern": r"PS7A(\d)P", "subject_pattern": r"A\d(P\d)T"}
        return read_catalog("folder", source / name, **patterns).split_by("by-subject")
    return read_catalog("kth", source / name).split_by("by-subject")


def show(name: str, result: dict, minutes: float) -> None:
    for row in result["folds"]:
        print(f"{name}: {', '.join(row['subjects'])}: {row['sequence_accuracy']:.3f} of {row['sequences']} sequences")
    low, high = result["sequence_accuracy_interval"]
    spread = f"mean {result['mean_sequence_accuracy']:.3f}, spread {result['spread']:.3f}"
    print(f"{name}: {spread}; of all sequences {result['sequence_accuracy']:.3f} (95 %: {low:.3f} to {high:.3f}); {minutes:.1f} minutes", flush=True)


if __name__ == "__main__":
    main()
