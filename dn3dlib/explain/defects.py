"""What each defect of the published original costs, measured on the synthetic set: small networks are trained, and asked."""

import dataclasses
import math
import tempfile
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from dn3dlib.config import ClipConfig, ModelConfig, TrainConfig, to_dict
from dn3dlib.data.cache import DecodedFrames
from dn3dlib.data.clips import batches_of, clip_dataset, plan_evaluation, plan_training
from dn3dlib.data.manifest import DataSet
from dn3dlib.data.scan import scan_folder
from dn3dlib.data.sources import read_catalog
from dn3dlib.explain import original
from dn3dlib.explain.symptoms import Witness, broken_videos, bytes_to_shuffle, split_by_listings, two_counts
from dn3dlib.metrics import softmax
from dn3dlib.model.densenet3d import build_model
from dn3dlib.presets import find_preset
from dn3dlib.progress import progress_bar
from dn3dlib.train.runs import environment
from dn3dlib.train.schedule import learning_rate_schedule
from dn3dlib.train.steps import decayed_variables, l2_penalty, make_optimizer
from dn3dlib.train.validation import predict_logits

PEOPLE = "accuracy on unseen people"


@dataclasses.dataclass(frozen=True)
class Setting:
    """A training: data, what it reads its frames from, settings, and a change of the network's layers."""

    data: DataSet
    frames: "DecodedFrames | StoredAsOriginal"
    clip: ClipConfig
    model: ModelConfig
    train: TrainConfig
    change: Callable | None = None  # layer → layer, of `original`

    def network(self) -> keras.Model:
        """The untrained network."""
        keras.utils.set_random_seed(self.train.seed)
        network = build_model(self.model, (self.clip.frames, *self.data.storage.frame_shape), len(self.data.classes))
        return keras.models.clone_model(network, clone_function=self.change) if self.change else network


def measure(
    witness: Witness, source_dir: Path | str = "", seeds: tuple[int, ...] = (0, 1), epochs: int = 4, growth_rate: int = 8
) -> dict:
    """Measure every defect: those of a training by small networks with and without it, the others on one network. Taught in notebook 06.

    Args:
        witness: the network whose evaluation is done wrongly, and the synthetic set, prepared for the preset quick and split by subject.
        source_dir: its raw videos; "": the kit's own.
        seeds: of the small networks, a training each.
        epochs, growth_rate: of every training; the rest is as the preset quick says.

    Returns:
        `settings`, `data` (its fingerprint), `versions`, and `rows`: `case`, `defect`, `measure`, and the figures `mended` and
        `original`, a list each with one figure a seed, or one in all where nothing is trained.
    """
    preset, data = find_preset("quick"), witness.data
    model, config = dataclasses.replace(preset.model, growth_rate=growth_rate), dataclasses.replace(preset.train, epochs=epochs)
    frames = DecodedFrames(data, ("train", "validation", "test"), show_progress=False)
    stored = StoredAsOriginal(data, source_dir or read_catalog("synthetic").source_dir)
    rows: dict[tuple, dict] = {}

    def note(case: int, defect: str, what: str, mended: float, wrong: float) -> None:
        row = rows.setdefault((case, what), {"case": case, "defect": defect, "measure": what, "mended": [], "original": []})
        row["mended"].append(mended)
        row["original"].append(wrong)

    with progress_bar(total=7 * len(seeds) * epochs, desc="measure", unit="epoch") as bar:
        for seed in seeds:
            for row in _of_one_seed(Setting(data, frames, preset.clip, model, dataclasses.replace(config, seed=seed)), stored, bar):
                note(*row)
    for row in (*_of_the_witness(witness), *_of_broken_videos()):
        note(*row)
    settings = {"preset": preset.name, "seeds": list(seeds), "model": to_dict(model), "train": to_dict(config)}
    found = {"settings": settings, "data": data.fingerprint, "versions": environment()["packages"]}
    return found | {"rows": sorted(rows.values(), key=lambda row: row["case"])}


def group_of(row: dict) -> str:
    """In which group a row of `measure` falls: do the figures of original and mended overlap? Taught in notebook 06.

    Args:
        row: its `measure`, and the figures `mended` and `original`, a list each.

    Returns:
        For an accuracy: `costly`, every figure of the original is lower than every mended one; `higher`, every one is higher; or
        `not shown`, they overlap. For any other figure: `counted`.
    """
    if "accuracy" not in row["measure"]:
        return "counted"
    if max(row["original"]) < min(row["mended"]):
        return "costly"
    return "higher" if min(row["original"]) > max(row["mended"]) else "not shown"


def _of_one_seed(setting: Setting, stored: "StoredAsOriginal", bar) -> list[tuple]:
    """Rows (case, defect, measure, mended, original) of the defects of a training, of one seed."""
    mended = accuracy(setting, train_network(setting, bar), "test")
    one_layer = dataclasses.replace(setting.model, depth=3 * setting.model.blocks + 1)
    raw = dataclasses.replace(setting.clip, normalisation="none")
    all_variables = dataclasses.replace(setting.train, weight_decay_on="all")
    others = {
        (1, "one layer in each block"): dataclasses.replace(setting, model=one_layer),
        (3, "weight decay pulls at normalisation too"): dataclasses.replace(setting, train=all_variables),
        (4, "kernels of deviation 1, raw pixels"): dataclasses.replace(setting, clip=raw, change=original.start_of_kernels),
        (5, "pooling takes the maximum"): dataclasses.replace(setting, change=original.pool),
        (8, "nearest pixels, low JPEG quality"): dataclasses.replace(setting, frames=stored),
    }
    rows = []
    for (case, defect), other in others.items():
        wrong = train_network(other, bar)
        rows.append((case, defect, PEOPLE, mended, accuracy(other, wrong, "test")))
        if case == 3:
            penalty = other.train.weight_decay * float(l2_penalty(wrong.trainable_variables))
            rows.append((3, "the loss is reported without its L2 term", "nats left out of the reported loss", 0.0, penalty))
    leak = dataclasses.replace(setting, data=split_by_listings(setting.data, setting.train.seed, held_out=("test",)))
    wrong = train_network(leak, bar)
    claimed, true = (accuracy(leak, wrong, split) for split in ("validation", "test"))
    return [*rows, (6, "the same people on both sides", "claimed accuracy, against that on unseen people", true, claimed)]


def _of_the_witness(witness: Witness) -> list[tuple]:
    """Rows of the defects of an evaluation: one sound network, asked and counted wrongly; and of the memory of a shuffle."""
    data, plan = witness.data, witness.plan
    count, batch_size = len(plan), witness.run.train.batch_size
    mixed = np.random.default_rng(0).permutation(count)
    batches = [mixed[at : at + batch_size] for at in range(0, count, batch_size)]
    alone = [np.flatnonzero(plan.sequence == place) for place in np.unique(plan.sequence)]  # as one asks for a video of one's own

    def in_training_mode(groups: list[np.ndarray]) -> float:
        probabilities = np.empty_like(witness.probabilities)
        for places in groups:
            probabilities[places] = witness.answers(original.predict, places)
        return two_counts(data, plan, probabilities)["mended"][0]

    (clips, too_narrow), (votes, width) = two_counts(data, plan, witness.probabilities).values()
    right = witness.probabilities.argmax(axis=1) == witness.labels
    too_few = count - 20  # clips of the test part, as a number says that was copied by hand
    orders = [original.evaluation_order(count, too_few, batch_size, seed) for seed in range(20)]
    held, needed = (size / 1e6 for size in bytes_to_shuffle(witness).values())
    return [
        (2, "training mode, batches of mixed clips", PEOPLE, votes, in_training_mode(batches)),
        (2, "training mode, one sequence at a time", f"{PEOPLE}, asked one by one", votes, in_training_mode(alone)),
        (7, "clips counted without a vote", PEOPLE, votes, clips),
        (7, "clips taken for independent", "width of the 95 % interval", width, too_narrow),
        (10, "evaluation shuffled and repeated", "range of 20 evaluations", 0.0, float(np.ptp([right[order].mean() for order in orders]))),
        (10, "the whole set shuffled in memory", "MB held to shuffle an epoch", needed, held),
    ]


def _of_broken_videos() -> list[tuple]:
    """Rows of the defects of reading: what is not told of a folder of broken videos."""
    with tempfile.TemporaryDirectory() as folder:
        broken = broken_videos(folder)
        scanned = scan_folder(broken, workers=1)["videos"]
        seen = original.find_videos(broken)
        read = {row["video"]: len(original.read_video(broken / row["video"])) if row["video"] in seen else 0 for row in scanned}
    damaged = [row["video"] for row in scanned if not row["usable"]]
    return [
        (9, "a read error is taken for the end", "damaged videos taken for whole ones", 0, sum(read[name] > 0 for name in damaged)),
        (9, "what gives no frame, or ends in AVI, is not seen", "videos that vanish without a word", 0, sum(n == 0 for n in read.values())),
    ]


def train_network(setting: Setting, bar=None) -> keras.Model:
    """Train a network by plain Keras calls, which any change of its layers survives. Taught in notebook 06.

    Args:
        setting: what is trained, on what; the training part of its data, float32 (batch, frames, height, width, channels) at a step.
        bar: a progress bar, moved on by 1 after each epoch; None: none.

    Returns:
        The network as it is after the last epoch: clips as above → logits, float32 (batch, classes).
    """
    network, config, data = setting.network(), setting.train, setting.data
    plans = [plan_training(data, setting.clip, config.seed, epoch) for epoch in range(1, config.epochs + 1)]
    steps = sum(math.ceil(len(plan) / config.batch_size) for plan in plans)
    optimizer = make_optimizer(learning_rate_schedule(config, steps), config, network.trainable_variables)
    decayed = decayed_variables(network, config.weight_decay_on)

    @tf.function(reduce_retracing=True, autograph=False)
    def step(clips, labels):
        with tf.GradientTape() as tape:
            cross_entropy = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, network(clips, training=True))
            loss = tf.reduce_mean(cross_entropy) + config.weight_decay * l2_penalty(decayed)
        gradients = tape.gradient(loss, network.trainable_variables)
        optimizer.apply_gradients(zip(gradients, network.trainable_variables, strict=True))

    for plan in plans:
        for clips, labels, _ in batches_of(clip_dataset(data, plan, setting.clip, config.batch_size, setting.frames)):
            step(clips, labels)
        if bar is not None:
            bar.update()
    return network


def accuracy(setting: Setting, network: keras.Model, split: str) -> float:
    """Sequence accuracy of a network. Taught in notebook 06.

    Args:
        setting: how the network was trained; its data, frames and clips are asked.
        network: clips, float32 (batch, frames, height, width, channels) → logits, float32 (batch, classes).
        split: train, validation or test.

    Returns:
        The share, 0 to 1, of the split's sequences that the vote of their clips names rightly.
    """
    plan = plan_evaluation(setting.data, setting.clip, split)
    step = tf.function(lambda clips: network(clips, training=False), reduce_retracing=True, autograph=False)
    logits = predict_logits(step, setting.data, plan, setting.clip, setting.train.batch_size, frames=setting.frames)
    return two_counts(setting.data, plan, softmax(logits))["mended"][0]


class StoredAsOriginal:
    """All frames of a data set of grey videos, read from the raw videos in the original's way; a stand-in for DecodedFrames."""

    def __init__(self, data: DataSet, source_dir: Path):
        read = {name: original.read_video(Path(source_dir) / name) for name in {s.video for s in data.sequences}}
        height, width, _ = data.storage.frame_shape
        self._frames = []
        for sequence in data.sequences:
            frames, number = read[sequence.video], int(sequence.id.rsplit("#", 1)[1])  # sequences of equal length, one after the other
            part = frames[(number - 1) * sequence.frames : number * sequence.frames]
            self._frames.append(np.stack([original.store_frame(frame, height, width)[..., :1] for frame in part]))

    def clips(self, sequences: np.ndarray, numbers: np.ndarray) -> np.ndarray:
        """Clips, uint8 (n, frames, height, width, 1), of the sequences at these places, by frame numbers (n, frames)."""
        return np.stack([self._frames[place][wanted] for place, wanted in zip(sequences, numbers, strict=True)])
