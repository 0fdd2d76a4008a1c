"""How fast does it train? Clips/s of the step on one fixed batch, and of training on real records, side by side.

    python benchmarks/train_step.py                      # the quick preset on the synthetic set
    python benchmarks/train_step.py --preset original    # the published repository's size

The two are measured in turn, round by round, in one process, so that a machine that slows down slows both.
"""

import argparse
import itertools
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from dn3dlib.presets import find_preset


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="quick")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=8, help="of a round")
    arguments = parser.parse_args()
    # Imported here: the processes that `prepare` starts import this file, and need none of it.
    from dn3dlib.data.clips import clip_dataset, plan_training
    from dn3dlib.data.prepare import prepare
    from dn3dlib.data.sources import DEFAULT_PROTOCOLS, read_catalog
    from dn3dlib.model.densenet3d import build_model, keras
    from dn3dlib.train.steps import make_train_step
    from dn3dlib.train.strategy import choose_strategy

    preset = find_preset(arguments.preset)
    # An epoch must be long enough for all rounds: the pipeline is measured running, not starting.
    clip = replace(preset.clip, clips_per_sequence=50)
    batch = preset.train.batch_size
    strategy, device = choose_strategy(arguments.device)
    with tempfile.TemporaryDirectory() as folder:
        catalog = read_catalog("synthetic").split_by(DEFAULT_PROTOCOLS["synthetic"])
        data = prepare(catalog, Path(folder) / "data", preset.storage)
        keras.utils.set_random_seed(0)
        shape = (clip.frames, *data.storage.frame_shape)
        with strategy.scope():
            model = build_model(preset.model, shape, len(data.classes))
            optimizer = keras.optimizers.SGD(1e-3, momentum=0.9, nesterov=True)
            optimizer.build(model.trainable_variables)
        step = make_train_step(model, optimizer, strategy, preset.train, shape)
        records = iter(clip_dataset(data, plan_training(data, clip, 0, 1), clip, batch))
        fixed = itertools.repeat(next(records))
        for source in (fixed, records):
            run_steps(step, source, batch, 3)  # warm up
        rates = [[batch * arguments.steps / run_steps(step, source, batch, arguments.steps) for source in (fixed, records)]
                 for _ in range(arguments.rounds)]
    fixed_rate, record_rate = (statistics.median(column) for column in zip(*rates, strict=True))
    ratio = statistics.median(record / alone for alone, record in rates)
    print(f"{preset.name} on {device}: batch {batch} of {'×'.join(map(str, shape))}, {arguments.rounds} rounds of {arguments.steps} steps")
    print(f"  one fixed batch  {fixed_rate:8.2f} clips/s (median)")
    print(f"  real records     {record_rate:8.2f} clips/s (median), {ratio:.3f} of the fixed batch's rate (median of rounds)")
    print(f"  the input keeps up (at least 0.9): {'yes' if ratio >= 0.9 else 'no'}")
    if preset.name == "original":
        print(f"  at least 13 clips/s on two idle cores: {'yes' if fixed_rate >= 13 else 'no'}")


def run_steps(step, source, batch: int, steps: int) -> float:
    """Seconds that `steps` training steps take; the last result is waited for."""
    started = time.perf_counter()
    for clips, labels, _ in itertools.islice(source, steps):
        sums = step(clips, labels, np.float32(batch))
    sums.numpy()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
