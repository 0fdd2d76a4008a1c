"""How much memory does training take, and what does recomputing save? Peaks over batch sizes and depths.

    python benchmarks/memory.py                     # depth 100: memory of a clip and time of a step, plain and recomputed
    python benchmarks/memory.py --depths FILE.png   # peaks at depth 40, 100, 190 and 250, drawn

Lite, BC, k 12, clips of 16×64×64×1, float32. Each measurement is a process of its own, whose largest resident set counts;
those that are compared run in turn.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np

from dn3dlib.config import ModelConfig, TrainConfig

SHAPE, CLASSES = (16, 64, 64, 1), 6
DEPTH, BATCHES, DEPTHS = 100, (1, 16), (40, 100, 190, 250)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--depths", metavar="FILE.png", help="draw peaks over depths into this file")
    parser.add_argument("--measure", nargs=3, metavar=("DEPTH", "BATCH", "RECOMPUTE"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        depth, batch, recompute = map(int, arguments.measure)
        print(json.dumps(measure(depth, batch, bool(recompute))))
    elif arguments.depths:
        draw_depths(arguments.depths)
    else:
        compare(arguments.rounds)


def compare(rounds: int) -> None:
    found = {(batch, recompute): [] for recompute in (False, True) for batch in BATCHES}
    for _ in range(rounds):
        for (batch, recompute), rows in found.items():
            rows.append(in_process(DEPTH, batch, recompute))
    small, large = BATCHES
    slopes = {}
    for recompute in (False, True):
        peaks = [statistics.median(row["peak"] for row in found[batch, recompute]) for batch in BATCHES]
        slopes[recompute] = (peaks[1] - peaks[0]) / (large - small)
        seconds = statistics.median(row["seconds"] for row in found[large, recompute])
        name = "recomputed" if recompute else "plain"
        estimate = found[large, recompute][0]["estimate"]
        print(f"{name:11} peak {peaks[0] / 1e6:6.0f} MB at batch {small}, {peaks[1] / 1e6:6.0f} MB at batch {large}; {slopes[recompute] / 1e6:.1f} MB "
              f"a clip (estimated before: {estimate / 1e6:.1f}); {seconds:.2f} s a step of {large}")  # fmt: skip
    # Processor time: two processes that run one after the other meet other loads of the machine.
    cpu = [statistics.median(row["processor_seconds"] for row in found[large, recompute]) for recompute in (False, True)]
    memory, longer = slopes[True] / slopes[False], cpu[1] / cpu[0]
    print(f"memory of a clip: {memory:.3f} of plain (at most 0.33: {'yes' if memory <= 0.33 else 'no'})")
    print(f"processor time of a step: {longer:.2f} times plain (at most 1.3: {'yes' if longer <= 1.3 else 'no'})")


def draw_depths(path: str) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3.6), dpi=100, layout="constrained")
    ax = figure.subplots()
    for recompute, style in ((False, {"color": "#D55E00", "marker": "s", "linestyle": "--"}), (True, {"color": "#0072B2", "marker": "o"})):
        peaks = []
        for depth in DEPTHS:
            peaks.append(in_process(depth, BATCHES[1], recompute)["peak"] / 1e9)
            print(f"depth {depth:3}, {'recomputed' if recompute else 'plain'}: {peaks[-1]:.2f} GB at batch {BATCHES[1]}", flush=True)
        ax.plot(DEPTHS, peaks, label="train.recompute=true" if recompute else "plain", **style)
        if recompute:
            line = np.polyfit(DEPTHS, peaks, 1)
            off = np.abs(np.polyval(line, DEPTHS) - peaks).max() / np.ptp(peaks)
            print(f"recomputed: {line[0] * 1e3:.1f} MB a layer of depth; farthest from the straight line: {off:.1%} of the range")
    ax.set(xlabel="depth", ylabel=f"peak memory at batch {BATCHES[1]} in GB", ylim=(0, None))
    ax.grid(color="#DDDDDD")
    ax.legend(frameon=False)
    figure.savefig(path)


def in_process(depth: int, batch: int, recompute: bool) -> dict:
    command = [sys.executable, __file__, "--measure", str(depth), str(batch), str(int(recompute))]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


def measure(depth: int, batch: int, recompute: bool) -> dict:
    """Peak bytes of this process, and the seconds of the faster of two steps."""
    from dn3dlib.model.anatomy import training_memory
    from dn3dlib.model.densenet3d import build_model
    from dn3dlib.train.steps import make_optimizer, make_train_step
    from dn3dlib.train.strategy import choose_strategy

    config = replace(TrainConfig(), recompute=recompute)
    strategy, _ = choose_strategy("cpu")
    with strategy.scope():
        model = build_model(ModelConfig(growth_rate=12, depth=depth), SHAPE, CLASSES)
        optimizer = make_optimizer(1e-3, config, model.trainable_variables)
    step = make_train_step(model, optimizer, strategy, config, SHAPE)
    clips = np.random.default_rng(0).random((batch, *SHAPE), np.float32)
    labels = np.arange(batch, dtype=np.int32) % CLASSES
    step(clips, labels, np.float32(batch)).numpy()
    wall, processor = [], []
    for _ in range(2):
        started, used = time.perf_counter(), time.process_time()
        step(clips, labels, np.float32(batch)).numpy()
        wall.append(time.perf_counter() - started)
        processor.append(time.process_time() - used)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # Linux counts in KiB
    estimate = training_memory(model, recompute=recompute).per_clip
    return {"peak": peak, "seconds": min(wall), "processor_seconds": min(processor), "estimate": estimate}


if __name__ == "__main__":
    main()
