"""How fast does it evaluate? Clips/s from records to probabilities, against clips/s of training, in turn in one process.

    python benchmarks/evaluate.py                      # the quick preset on the synthetic set
    python benchmarks/evaluate.py --preset original    # the published repository's size

Evaluation is that of the whole test part: frames decoded anew in each round, normalised, put through the network. Training is
its step on batches from records whose frames are decoded already. Who else uses the machine slows both, not always alike:
measure on an idle one.
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
    parser.add_argument("--steps", type=int, default=8, help="training steps of a round")
    arguments = parser.parse_args()
    # Imported here: the processes that `prepare` starts import this file, and need none of it.
    from dn3dlib.data.cache import open_frames
    from dn3dlib.data.clips import clip_dataset, plan_training
    from dn3dlib.data.prepare import prepare
    from dn3dlib.data.sources import DEFAULT_PROTOCOLS, read_catalog
    from dn3dlib.evaluate.clips import distinct_clips, evaluation_plans
    from dn3dlib.model.densenet3d import build_model, keras
    from dn3dlib.train.steps import make_predict_step, make_train_step
    from dn3dlib.train.strategy import choose_strategy
    from dn3dlib.train.validation import predict_logits

    preset = find_preset(arguments.preset)
    clip = replace(preset.clip, clips_per_sequence=50)  # an epoch long enough for all rounds
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
        train_step = make_train_step(model, optimizer, strategy, preset.train, shape)
        predict_step = make_predict_step(model, strategy, shape)
        plan, _ = distinct_clips(list(evaluation_plans(data, clip, "test", 0, None, ()).values()))
        held = open_frames(data, ("train",), "auto")
        batches = iter(clip_dataset(data, plan_training(data, clip, 0, 1), clip, batch, held))

        def train() -> float:
            started = time.perf_counter()
            for clips, labels, _ in itertools.islice(batches, arguments.steps):
                sums = train_step(clips, labels, np.float32(batch))
            sums.numpy()
            return arguments.steps * batch / (time.perf_counter() - started)

        def evaluate() -> float:
            started = time.perf_counter()
            predict_logits(predict_step, data, plan, clip, batch, frames=open_frames(data, ("test",), "auto", show_progress=False))
            return len(plan) / (time.perf_counter() - started)

        train(), evaluate()  # warm up
        rates = [(train(), evaluate()) for _ in range(arguments.rounds)]
    trained, evaluated = (statistics.median(column) for column in zip(*rates, strict=True))
    ratio = statistics.median(fast / slow for slow, fast in rates)
    print(f"{preset.name} on {device}: batches of {batch} of {'×'.join(map(str, shape))}, {arguments.rounds} rounds")
    print(f"  training    {trained:8.2f} clips/s (median)")
    print(f"  evaluation  {evaluated:8.2f} clips/s (median), {ratio:.2f} times the training rate (median of rounds)")
    print(f"  at least 2.5 times: {'yes' if ratio >= 2.5 else 'no'}")


if __name__ == "__main__":
    main()
