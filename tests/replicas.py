"""Run as a program: several replicas on one processor against one replica; prints what it measured as JSON.

A process of its own, for TensorFlow can be told to see the processor as several devices only before it has computed anything.
"""

import dataclasses
import json
import shutil
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from steps import at_step, without_times

from dn3dlib.config import ClipConfig, ModelConfig, TrainConfig
from dn3dlib.data.clips import plan_training, shares_of_batches
from dn3dlib.data.manifest import DataSet
from dn3dlib.model.densenet3d import build_model
from dn3dlib.train import loop
from dn3dlib.train.replicas import different_seeds, replica_batches
from dn3dlib.train.runs import Run
from dn3dlib.train.steps import make_optimizer, make_train_step
from dn3dlib.train.strategy import choose_strategy
from dn3dlib.train.tuning import freeze

SHAPE = (4, 32, 32, 1)
MODEL = ModelConfig(growth_rate=2, depth=7, blocks=2, dropout=0.0)
SYNCHRONISED = TrainConfig(sync_batch_norm=True)


def trained(strategy, config: TrainConfig, sizes: list[int], model: ModelConfig = MODEL, alike: bool = False):
    """Network and sums (steps, 3) after steps of such sizes at learning rate 0.01; `alike`: all clips of a step are the same one."""
    keras.utils.set_random_seed(1)
    with strategy.scope():
        network = build_model(model, SHAPE, 6)
        freeze(network, config.freeze, "a run")
        optimizer = make_optimizer(0.01, config, network.trainable_variables)
    step = make_train_step(network, optimizer, strategy, config, SHAPE)
    rng, sums, replicas = np.random.default_rng(0), [], strategy.num_replicas_in_sync
    for size in sizes:
        clips, labels = rng.normal(size=(size, *SHAPE)).astype(np.float32), rng.integers(0, 6, size).astype(np.int32)
        if alike:
            clips[:], labels[:] = clips[:1], labels[:1]
        if replicas > 1:
            parts = [slice(*shares_of_batches(size, size, replica, replicas)[0]) for replica in range(replicas)]
            clips, labels = (
                strategy.experimental_distribute_values_from_function(lambda c, v=v, p=parts: tf.constant(v[p[c.replica_id_in_sync_group]]))
                for v in (clips, labels)
            )
        sums.append(step(clips, labels, np.float32(size)).numpy())
    return network, np.array(sums)


def farthest(one: keras.Model, other: keras.Model) -> float:
    return max(float(np.abs(a - b).max()) for a, b in zip(one.get_weights(), other.get_weights(), strict=True))


def differences(one, several) -> dict:
    """How far several replicas are from one: weights after two steps of such sizes, sums, and the losses of twenty steps."""
    found = {}
    recompute = dataclasses.replace(SYNCHRONISED, recompute=True)
    frozen = [dataclasses.replace(SYNCHRONISED, freeze=last) for last in ("block1", "body")]
    for config, sizes in ((SYNCHRONISED, [16, 16]), (SYNCHRONISED, [7, 1]), (recompute, [16, 1]), *((config, [7, 1]) for config in frozen)):
        (network, sums), (other, others) = (trained(strategy, config, sizes) for strategy in (one, several))
        found[f"{sizes} {config.freeze}{' recompute' if config.recompute else ''}"] = [farthest(network, other), float(np.abs(sums - others).max())]
    (_, sums), (_, others) = (trained(strategy, SYNCHRONISED, [16] * 20) for strategy in (one, several))
    return found | {"losses of twenty": (np.abs(sums - others)[:, 0] / 16).tolist(), "first": float(sums[0, 0] / 16), "last": float(sums[-1, 0] / 16)}


def first_variance(network: keras.Model) -> np.ndarray:
    """The running variance of the first normalisation: no other one comes before it."""
    return next(layer for layer in network.layers if isinstance(layer, keras.layers.BatchNormalization)).moving_variance.numpy()


def own_statistics(one, several) -> dict:
    """Without synchronisation: the first running variance is the mean of what the replicas would have; all hold the same numbers."""
    config = TrainConfig(batch_size=16)
    network, _ = trained(several, config, [16])
    halves = []
    for half in (slice(0, 8), slice(8, 16)):
        clips = np.random.default_rng(0).normal(size=(16, *SHAPE)).astype(np.float32)[half]
        keras.utils.set_random_seed(1)
        with one.scope():
            alone = build_model(MODEL, SHAPE, 6)
        alone(clips, training=True)
        halves.append(first_variance(alone))
    held = [[v.numpy() for v in several.experimental_local_results(w.value)] for w in network.weights]
    return {
        "from the mean of halves": float(np.abs(first_variance(network) - np.mean(halves, axis=0)).max()),
        "between halves": float(np.abs(halves[0] - halves[1]).max()),
        "between replicas": max(float(np.abs(a - b).max()) for a, *rest in held for b in rest),
    }


def seeds(several) -> list[list[int]]:
    """What each replica makes of one seed."""
    made = tf.function(lambda: several.run(lambda: different_seeds(tf.constant([5, 3]))), autograph=False)()
    return [seed.numpy().tolist() for seed in several.experimental_local_results(made)]


def seen(several, data: DataSet, clip: ClipConfig) -> dict:
    """The clips that an epoch's batches of 10 bring to all replicas, against its plan; sizes of the replicas' parts."""
    plan = plan_training(data, clip, 0, 1)[:21]
    sizes, labels = [], []
    for _, values in replica_batches(several, data, plan, clip, 10, None):
        parts = [value.numpy() for value in several.experimental_local_results(values)]
        sizes.append([len(part) for part in parts])
        labels += [int(label) for part in parts for label in part]
    return {"sizes": sizes, "labels": labels, "wanted": [data.classes.index(data.sequences[place].label) for place in plan.sequence]}


def gone_on(data_dir: Path, folder: Path, clip: ClipConfig) -> dict:
    """A training with dropout on two replicas, broken off in its second epoch and gone on with, against one that was not."""

    def stop():
        raise KeyboardInterrupt

    model, config = dataclasses.replace(MODEL, dropout=0.1), TrainConfig(epochs=2, batch_size=10, checkpoint_seconds=1e-9, scale_learning_rate="linear")
    where = {"device": "cpus:2", "show_progress": False}
    whole = loop.train(data_dir, folder / "whole", clip, model, config, **where)
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        at_step(patch, 5, stop)
        loop.train(data_dir, folder / "broken", clip, model, config, **where)
    shutil.copytree(folder / "broken", folder / "alone")
    history = loop.resume(folder / "broken", **where)
    alone = loop.resume(folder / "alone", device="cpu", show_progress=False)  # to much the same end
    rate = Run.open(folder / "whole").train.learning_rate
    return {"same rows": without_times(history) == without_times(whole), "rate": rate, "epochs alone": len(alone)}


def main(data_dir: Path, folder: Path) -> None:
    clip = ClipConfig(frames=4, hop=4, extra_stride=1, crop=2, flip=True, brightness=0.1)
    several, name = choose_strategy("cpus:2", "auto")
    one, _ = choose_strategy("cpu")
    data = DataSet.open(data_dir)
    measured = {"name": name, "replicas": several.num_replicas_in_sync, "differences": differences(one, several)}
    measured |= {"own": own_statistics(one, several), "seeds": seeds(several), "seen": seen(several, data, clip)}
    print(json.dumps(measured | {"gone on": gone_on(data_dir, folder, clip)}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
