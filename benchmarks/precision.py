"""What does bfloat16 cost in accuracy? The synthetic set, trained in float32 and in bfloat16, over seeds.

    python benchmarks/precision.py

The quick preset, unseen subjects; a seed is trained in both precisions in turn, for twice the preset's epochs: after those
alone, two seeds of one precision differ by up to 0.1. Some 18 minutes on two cores.
"""

import argparse
import statistics
import tempfile
from dataclasses import replace
from pathlib import Path

from dn3dlib.presets import find_preset

PRECISIONS = ("float32", "bfloat16")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=16)
    arguments = parser.parse_args()
    # Imported here: the processes that `prepare` starts import this file, and need none of it.
    from dn3dlib.data.prepare import prepare
    from dn3dlib.data.sources import DEFAULT_PROTOCOLS, read_catalog
    from dn3dlib.evaluate.report import evaluate
    from dn3dlib.train.loop import train

    preset = find_preset("quick")
    found = {precision: [] for precision in PRECISIONS}
    with tempfile.TemporaryDirectory() as folder:
        data = prepare(read_catalog("synthetic").split_by(DEFAULT_PROTOCOLS["synthetic"]), Path(folder) / "data", preset.storage)
        for seed in arguments.seeds:
            for precision in PRECISIONS:
                run_dir = Path(folder) / f"{precision}-{seed}"
                config = replace(preset.train, epochs=arguments.epochs, seed=seed, precision=precision)
                history = train(data.path, run_dir, preset.clip, preset.model, config, show_progress=False)
                report = evaluate(run_dir, show_progress=False)
                found[precision].append((report["sequence_accuracy"], report["clip_accuracy"]))
                minutes = sum(row["seconds"] for row in history) / 60
                accuracies = "sequence accuracy {:.3f}, clip accuracy {:.3f}".format(*found[precision][-1])
                print(f"seed {seed}, {precision}: {accuracies}, {minutes:.1f} minutes", flush=True)
    for place, name in enumerate(("sequence", "clip")):
        exact, rough = (statistics.mean(row[place] for row in found[precision]) for precision in PRECISIONS)
        within = "yes" if abs(exact - rough) <= 0.02 else "no"
        print(f"mean {name} accuracy: float32 {exact:.3f}, bfloat16 {rough:.3f}; within 0.02: {within}")


if __name__ == "__main__":
    main()
