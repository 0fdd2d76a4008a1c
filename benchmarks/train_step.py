"""How fast does it train? Side by side, round by round: our step, the same network in PyTorch, matrix products, real records.

    python benchmarks/train_step.py                      # the published repository's network and size
    python benchmarks/train_step.py --preset quick       # the notebooks' (grey clips of 64×64)

All are measured in turn in one run, so that a machine that slows down slows all of them. PyTorch (`pip install -e ".[bench]"`)
runs in a process of its own; without it the run goes on and says so. Matrix products (float32, 3000×3000) tell what the
machine can do at most; the share of it counts the multiplications and additions of convolutions alone, three times those
of a forward pass, less the gradient by the clips, which nobody needs (`model/anatomy.py`).
"""

import argparse
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
from steps import SIDE, in_turn, make_task, matrix_products, on_one_batch, on_records

from dn3dlib.config import to_dict
from dn3dlib.presets import Preset, find_preset

# of the published repository's size: name → (which, against which, at least)
TARGETS = {
    "float32 / PyTorch float32": ("ours float32", "PyTorch float32", 1.7),
    "bfloat16 / PyTorch bfloat16": ("ours bfloat16", "PyTorch bfloat16", 1.3),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="original", help="a network of variant lite with bottleneck")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=2, help="of a round")
    parser.add_argument("--dropout", type=float, help="default: the preset's")
    arguments = parser.parse_args()
    preset = find_preset(arguments.preset)
    if arguments.dropout is not None:
        preset = replace(preset, model=replace(preset.model, dropout=arguments.dropout))
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        ways, flops = our_ways(preset, arguments.device, folder)
        if importlib.util.find_spec("torch"):
            for precision in ("float32", "bfloat16"):
                ways[f"PyTorch {precision}"] = torch_steps(stack, folder / "network.npz", precision)
        else:
            print('PyTorch is not installed: it is not measured. To have it: pip install -e ".[bench]"')
        seconds = in_turn(ways, arguments.steps, arguments.rounds)
    report(preset, seconds, flops)


def our_ways(preset: Preset, device: str, folder: Path) -> tuple[dict[str, Callable[[int], float]], int]:
    """Name → a function from a number of steps to the seconds that they take; and the operations of a step."""
    # Imported here: the processes that `prepare` starts import this file, and need none of it.
    from dn3dlib.train.strategy import choose_strategy

    strategy, name = choose_strategy(device)
    task = make_task(preset, strategy, folder)
    print(f"{preset.name} on {name}: {task}")
    batch, ways = task.fixed_batch(), {}
    for precision in ("float32", "bfloat16"):
        step, model = task.step(precision)
        if precision == "float32":
            save_network(folder / "network.npz", preset, model, *(part.numpy() for part in batch))
        ways[f"ours {precision}"] = on_one_batch(step, task, batch)
    step, _ = task.step("float32")
    ways |= {"ours float32, real records": on_records(step, task), "matrix products": matrix_products(device=strategy.extended.worker_devices[0])}
    return ways, task.flops()


def save_network(path: Path, preset: Preset, model, clips: np.ndarray, labels: np.ndarray) -> None:
    """Weights in network order, a batch, and the plain network's logits: what the peer needs to be the same network."""
    about = {"model": to_dict(preset.model), "layers": preset.model.layers_per_block, "classes": model.output.shape[-1]}
    weights = {f"weight{number:04d}": value for number, value in enumerate(model.get_weights())}
    logits = model(clips, training=False).numpy()
    meta = json.dumps(about | {"threads": os.cpu_count()})
    np.savez(path, meta=meta, clips=clips, labels=labels, logits=logits, **weights)


def torch_steps(stack: ExitStack, network: Path, precision: str) -> Callable[[int], float]:
    """Start the peer, which ends with `stack`; a function from a number of steps to seconds."""
    command = [sys.executable, str(Path(__file__).with_name("densenet3d_torch.py")), str(network), precision]
    peer = stack.enter_context(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
    stack.callback(peer.stdin.close)
    if peer.stdout.readline().strip() != "ready":
        sys.exit(f"The network in PyTorch ({precision}) did not start: see its message above.")

    def run(steps: int) -> float:
        print(steps, file=peer.stdin, flush=True)
        return float(peer.stdout.readline())

    return run


def report(preset: Preset, seconds: list[dict[str, float]], flops: int) -> None:
    """Print medians over the rounds; ratios are medians of each round's own ratio."""

    def median(name: str) -> float:
        return statistics.median(row[name] for row in seconds)

    def ratio(name: str, other: str) -> float:
        """How many times as fast as `other`."""
        return statistics.median(row[other] / row[name] for row in seconds)

    batch = preset.train.batch_size
    peak = statistics.median(2 * SIDE**3 / row["matrix products"] for row in seconds)
    share = statistics.median(flops / row["ours float32"] / (2 * SIDE**3 / row["matrix products"]) for row in seconds)
    for name in seconds[0]:
        if name != "matrix products":
            print(f"  {name:28}{batch / median(name):8.2f} clips/s")
    print(f"  {'matrix products':28}{peak / 1e9:8.1f} GFLOP/s; a step has {flops / 1e9:.1f} GFLOP")
    print(f"  ours float32: {share:.2f} of the rate of matrix products{verdict(preset, share, 0.75)}")
    print(f"  ours bfloat16 / float32: {ratio('ours bfloat16', 'ours float32'):.2f}")
    for name, (ours, theirs, least) in TARGETS.items():
        if theirs in seconds[0]:
            found = ratio(ours, theirs)
            print(f"  ours {name}: {found:.2f}{verdict(preset, found, least)}")
    found = ratio("ours float32, real records", "ours float32")
    print(f"  real records / one fixed batch: {found:.3f} (at least 0.9: {'yes' if found >= 0.9 else 'no'})")


def verdict(preset: Preset, found: float, least: float) -> str:
    """Whether a target is met, where it is one: it was set for the published repository's size."""
    return f" (at least {least}: {'yes' if found >= least else 'no'})" if preset.name == "original" else ""


if __name__ == "__main__":
    main()
