"""What does the device give? Clips/s of a training step per precision, with and without XLA, as a share of matrix products.

    python benchmarks/gpu.py                                  # the published repository's network and size, on the first GPU
    python benchmarks/gpu.py --preset thesis-15 --rounds 7
    python benchmarks/gpu.py --device cpu --preset quick --rounds 2   # a try without a GPU, a minute

All ways run in turn in one call. Matrix products are in the way's own precision (TensorFlow lets float32 ones run in TF32 on cards
that have it); the share counts the operations of convolutions and the head alone (`model/anatomy.py`). Input stall is the share of a
training's time in which the step waits for clips from real records, against one batch that lies in the device's memory. Peak memory
is what a step takes beyond what lies there already: weights, batches and matrices of all that is measured.
"""

import argparse
import statistics
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from steps import SIDE, Task, in_turn, make_task, matrix_products, on_one_batch, on_records

from dn3dlib.errors import ConfigError, Dn3dError
from dn3dlib.presets import find_preset

PRECISIONS = ("float32", "float16", "bfloat16")
LARGE = 8192  # side of matrices that keep a GPU busy
STEPS = {"CPU": 4, "GPU": 20}  # of a round


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="original")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precisions", nargs="+", choices=PRECISIONS, default=PRECISIONS, help="default: all that the device has")
    parser.add_argument("--batch-size", type=int, help="default: the preset's")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, help="of a round; default: 20 on a GPU, 4 on a CPU")
    parser.add_argument("--xla", action=argparse.BooleanOptionalAction, help="default: on a GPU; on a CPU it is twenty times slower")
    try:
        measure(parser.parse_args())
    except Dn3dError as error:
        sys.exit(str(error))


def measure(arguments: argparse.Namespace) -> None:
    """Run all ways, and print what they gave."""
    from dn3dlib.train.strategy import choose_strategy, gpu_of

    strategy, name = choose_strategy(arguments.device)
    gpu = gpu_of(strategy)
    if gpu is None:
        print("There is no GPU in use: what follows is about the CPU.")
    xla = gpu is not None if arguments.xla is None else arguments.xla
    preset = find_preset(arguments.preset)
    if arguments.batch_size:
        preset = replace(preset, train=replace(preset.train, batch_size=arguments.batch_size))
    with tempfile.TemporaryDirectory() as folder:
        task = make_task(preset, strategy, Path(folder))
        print(f"{preset.name} on {name}: {task}")
        precisions = [precision for precision in arguments.precisions if has(precision, task)]
        side = SIDE if gpu is None else LARGE
        ways, peaks = {}, {}
        for precision in precisions:
            ways |= {way: run for way, run in ways_of(precision, task, xla, side).items() if fits(way, run)}
        steps = arguments.steps or STEPS["CPU" if gpu is None else "GPU"]
        seconds = in_turn(ways, steps, arguments.rounds)
        if gpu is not None:
            peaks = {way: peak_memory(run, gpu) for way, run in ways.items() if not is_product(way)}
    report(task, precisions, seconds, side, peaks)


def has(precision: str, task: Task) -> bool:
    """Whether the device has a precision; prints why not."""
    from dn3dlib.train.strategy import choose_precision

    try:
        choose_precision(replace(task.preset.train, precision=precision), task.strategy)
    except ConfigError as error:
        print(f"Left out: {error}")
        return False
    return True


def fits(way: str, run: Callable[[int], float]) -> bool:
    """Whether the device's memory holds what a way takes; prints where it does not."""
    import tensorflow as tf

    try:
        run(1)
    except tf.errors.ResourceExhaustedError:
        print(f"Left out: {way} takes more memory than there is; try a smaller --batch-size.")
        return False
    return True


def ways_of(precision: str, task: Task, xla: bool, side: int) -> dict[str, Callable[[int], float]]:
    """Name → a function from a number of steps, or products, to seconds."""
    device = task.strategy.extended.worker_devices[0]
    batch, (step, _) = task.fixed_batch(), task.step(precision)
    ways = {precision: on_one_batch(step, task, batch)}
    if xla:
        ways[f"{precision}, XLA"] = on_one_batch(compiled(task.step(precision)[0], device), task, batch)
    ways[f"{precision}, real records"] = on_records(step, task)
    ways[products_in(precision)] = matrix_products(precision, side, device)
    return ways


def compiled(step, device: str) -> Callable:
    """A step compiled by XLA, which computes where it is called: else on the first GPU, wherever the weights are."""
    import tensorflow as tf

    function = tf.function(step.python_function, autograph=False, jit_compile=True)

    def call(*batch):
        with tf.device(device):
            return function(*batch)

    return call


def products_in(precision: str) -> str:
    return f"matrix products {precision}"


def is_product(way: str) -> bool:
    return way.startswith("matrix products")


def peak_memory(run: Callable[[int], float], gpu: str) -> int:
    """Bytes of the GPU's memory that a step takes at most, beyond what TensorFlow held before it."""
    from tensorflow.config.experimental import get_memory_info, reset_memory_stats

    reset_memory_stats(f"GPU:{gpu}")
    before = get_memory_info(f"GPU:{gpu}")["current"]
    run(1)
    return get_memory_info(f"GPU:{gpu}")["peak"] - before


def report(task: Task, precisions: list[str], seconds: list[dict[str, float]], side: int, peaks: dict[str, int]) -> None:
    """Print medians over the rounds; ratios are medians of each round's own ratio."""

    def median(figure: Callable[[dict[str, float]], float]) -> float:
        return statistics.median(map(figure, seconds))

    flops, products = task.flops(), 2 * side**3
    print(f"  {'':24}{'clips/s':>10}{'ms a step':>11}{'of products':>13}{'peak memory':>13}")
    for way in seconds[0]:
        if not is_product(way) and products_in(way.partition(",")[0]) in seconds[0]:
            took = median(lambda row, way=way: row[way])
            rate = products_in(way.partition(",")[0])
            share = median(lambda row, way=way, rate=rate: flops / row[way] / (products / row[rate]))
            peak = f"{peaks[way] / 1e6:,.0f} MB" if way in peaks else "not told"
            print(f"  {way:24}{task.batch / took:10.2f}{took * 1e3:11.1f}{share:13.3f}{peak:>13}")
    for precision in precisions:
        if not {precision, f"{precision}, real records", products_in(precision)} <= set(seconds[0]):
            continue  # one of them was left out
        found = products / median(lambda row, precision=precision: row[products_in(precision)])
        stall = median(lambda row, precision=precision: 1 - row[precision] / row[f"{precision}, real records"])
        print(f"  {precision}: matrix products of {side}×{side} give {found / 1e9:,.0f} GFLOP/s; input stall {stall:.1%} of a training's time")
    print(f"  A step has {flops / 1e9:.1f} GFLOP in convolutions and the head.")


if __name__ == "__main__":
    main()
