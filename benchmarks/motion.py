"""Does the network learn the actions, and does it see motion? Sequence accuracies on unseen subjects, over seeds.

    python benchmarks/motion.py

Six classes with the quick preset, as `make train` trains; then walking, jogging and running alone, with the frames of
every clip in order and shuffled, at training and test, for as many steps. Some 15 minutes on two cores.
"""

import argparse
import statistics
import tempfile
from dataclasses import replace
from pathlib import Path

from dn3dlib.presets import find_preset

GAITS = ("walking", "jogging", "running")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    arguments = parser.parse_args()
    # Imported here: the processes that `prepare` starts import this file, and need none of it.
    from dn3dlib.data.prepare import prepare
    from dn3dlib.data.sources import DEFAULT_PROTOCOLS, read_catalog

    preset = find_preset("quick")
    catalog = read_catalog("synthetic")
    twice = replace(preset.train, epochs=2 * preset.train.epochs)  # half the classes: as many steps
    shuffled = replace(preset.clip, frame_order="shuffled")
    with tempfile.TemporaryDirectory() as folder:
        places = {}
        for name, part in (("six classes", catalog), ("three gaits", catalog.only_classes(GAITS))):
            places[name] = Path(folder) / name
            prepare(part.split_by(DEFAULT_PROTOCOLS["synthetic"]), places[name], preset.storage)
        six = compare("six classes", places["six classes"], preset.clip, preset.model, preset.train, arguments.seeds)
        in_order = compare("three gaits, in order", places["three gaits"], preset.clip, preset.model, twice, arguments.seeds)
        without = compare("three gaits, shuffled", places["three gaits"], shuffled, preset.model, twice, arguments.seeds)
    print(f"six classes at least 0.90: {'yes' if six >= 0.9 else 'no'}")
    print(f"what the order of the frames is worth: {in_order - without:.3f}; at least 0.20: {'yes' if in_order - without >= 0.2 else 'no'}")


def compare(name: str, data_dir: Path, clip, model, config, seeds: list[int]) -> float:
    """Train once for each seed; print and return the mean sequence accuracy on the test subjects."""
    from dn3dlib.evaluate.report import evaluate
    from dn3dlib.train.loop import train

    accuracies = []
    for seed in seeds:
        run_dir = data_dir.parent / f"{name} {seed}"
        train(data_dir, run_dir, clip, model, replace(config, seed=seed), show_progress=False)
        accuracies.append(evaluate(run_dir, show_progress=False)["sequence_accuracy"])
        print(f"{name}, seed {seed}: {accuracies[-1]:.3f}", flush=True)
    print(f"{name}: mean {statistics.mean(accuracies):.3f}", flush=True)
    return statistics.mean(accuracies)


if __name__ == "__main__":
    main()
