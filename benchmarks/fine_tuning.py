"""Does it help to start from the shipped network, on a few videos of other actions? Each person left out in turn.

    python benchmarks/fine_tuning.py
    python benchmarks/fine_tuning.py --follow none --rate 0.1 --seeds 0 1

The videos are ps7: 27 real ones, 3 actions by 3 persons, so that two persons are trained on and the third is tested. The network is
`data/trained/honest`, which has seen drawn people doing six other actions. All trainings take the same steps, on frames and clips as that
network knows them (64×64, grey, std_frame); with --follow motion, the default, a box around the person is cut out first, since the
network knows people who fill the picture. The videos are looked for in `../shared/data`, or below the folder that `DN3D_SHARED` names.
"""

import argparse
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from small_data import SHARED, make_catalog

from dn3dlib.config import FOLLOWS

# name → whether it starts from the shipped network, and what stays as it is
STARTS = {
    "from scratch": (False, "none"),
    "all trains": (True, "none"),
    "stem frozen": (True, "stem"),
    "up to block2 frozen": (True, "block2"),
    "only the head trains": (True, "body"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", type=Path, default=SHARED, help="the folder that holds the folder ps7")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--rate", type=float, default=0.03, help="the learning rate at the end of the warm-up")
    parser.add_argument("--follow", choices=FOLLOWS, default="motion")
    parser.add_argument("--starts", nargs="+", choices=STARTS, default=list(STARTS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    arguments = parser.parse_args()
    # Imported here: the processes that `prepare` starts import this file, and need none of it.
    from dn3dlib.data.prepare import prepare
    from dn3dlib.evaluate.crossval import crossval
    from dn3dlib.places import trained_home
    from dn3dlib.train.runs import Run

    shipped = Run.open(trained_home() / "honest")
    steps(shipped)
    with tempfile.TemporaryDirectory() as folder:
        catalog = make_catalog("ps7", arguments.source, Path(folder))
        if catalog is None:
            parser.error(f"there is no folder {arguments.source / 'ps7'}")
        data = prepare(catalog, Path(folder) / "ps7", replace(shipped.storage, follow=arguments.follow), show_progress=False)
        for seed in arguments.seeds:
            for name in arguments.starts:
                taken, last = STARTS[name]
                wishes = {"epochs": arguments.epochs, "learning_rate": arguments.rate, "batch_size": 8, "seed": seed, "freeze": last}
                config = replace(shipped.train, **wishes)
                out = Path(folder) / f"{name} {seed}"
                result = crossval(data.path, out, shipped.clip, shipped.model, config, init_from=shipped.path if taken else None, show_progress=False)
                show(f"{name}, seed {seed}", result, [Run.open(out / row["run"]).history() for row in result["folds"]])


def steps(shipped) -> None:
    """Processor time of a step, in turn, the least of some: of batches of 8 clips that are drawn at random."""
    import keras
    import numpy as np
    import tensorflow as tf

    from dn3dlib.model.densenet3d import build_model
    from dn3dlib.train.steps import make_optimizer, make_train_step
    from dn3dlib.train.tuning import freeze, learned_numbers

    clips, labels = np.random.default_rng(0).normal(size=(8, *shipped.clip_shape)).astype(np.float32), np.arange(8, dtype=np.int32) % 3
    made = {}
    for last in dict.fromkeys(last for _, last in STARTS.values()):
        keras.utils.set_random_seed(0)
        network = build_model(shipped.model, shipped.clip_shape, 3)
        freeze(network, last, "honest")
        optimizer = make_optimizer(0.01, shipped.train, network.trainable_variables)
        step = make_train_step(network, optimizer, tf.distribute.get_strategy(), shipped.train, shipped.clip_shape)
        step(clips, labels, np.float32(8))
        made[last] = (step, learned_numbers(network), [])
    for _ in range(6):
        for step, _, seconds in made.values():
            started = time.process_time()
            step(clips, labels, np.float32(8)).numpy()
            seconds.append(time.process_time() - started)
    for last, (_, numbers, seconds) in made.items():
        print(f"train.freeze={last}: {numbers:,} numbers train, {1000 * min(seconds):.0f} ms of processor time for a step of 8 clips", flush=True)


def show(name: str, result: dict, histories: list[list[dict]]) -> None:
    low, high = result["sequence_accuracy_interval"]
    folds = ", ".join(f"{row['sequence_accuracy']:.2f}" for row in result["folds"])
    # The first epoch also builds the step.
    rates = [row["clips_per_second"] for history in histories for row in history[1:]]
    figures = f"{result['sequence_accuracy']:.3f} of {sum(row['sequences'] for row in result['folds'])} sequences (95 %: {low:.3f} to {high:.3f}; persons {folds})"
    print(f"{name}: {figures}; {sum(rates) / len(rates):.0f} clips/s in training", flush=True)


if __name__ == "__main__":
    main()
