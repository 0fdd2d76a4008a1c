"""What the defects of `explain.original` look like from outside: the small experiments of notebook 06."""

import dataclasses
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import cv2
import keras
import numpy as np
import tensorflow as tf
from keras import layers

from dn3dlib.data.clips import ClipPlan, clip_dataset, plan_evaluation, plan_training
from dn3dlib.data.examples import make_examples
from dn3dlib.data.fitting import as_asked
from dn3dlib.data.manifest import DataSet
from dn3dlib.explain import original
from dn3dlib.metrics import sequence_votes, softmax, subject_interval
from dn3dlib.model.densenet3d import build_model
from dn3dlib.places import next_run_dir
from dn3dlib.presets import find_preset
from dn3dlib.train.best import load_best
from dn3dlib.train.runs import Run
from dn3dlib.train.shipped import shipped_data, shipped_run, train_anew
from dn3dlib.train.steps import l2_penalty, make_optimizer, make_train_step

GROWTH_RATE = 8  # of the untrained networks, which are small so that they answer fast
KINDS = {"kernel": "kernels", "gamma": "scales of normalisation", "beta": "shifts of normalisation", "bias": "bias of the head"}


@dataclasses.dataclass(frozen=True)
class Witness:
    """A trained network and all clips of the test part. Taught in notebook 06."""

    run: Run
    data: DataSet
    network: keras.Model
    plan: ClipPlan
    clips: np.ndarray  # float32 (clips, frames, height, width, channels), normalised
    labels: np.ndarray  # int (clips,)
    probabilities: np.ndarray  # float64 (clips, classes), as the library asks

    def answers(self, ask: Callable, places) -> np.ndarray:
        """Probabilities, float64 (n, classes), of the clips at these places, asked together.

        `ask` takes network and clips and gives logits. What it may move in the network is put back.
        """
        before = self.network.get_weights()
        logits = ask(self.network, self.clips[np.asarray(places)])
        self.network.set_weights(before)
        return softmax(logits)

    def share_right(self, ask: Callable, places: np.ndarray, together: int) -> float:
        """The share of right answers to the clips at these places, of which `together` are asked at once."""
        parts = [self.answers(ask, places[at : at + together]) for at in range(0, len(places), together)]
        return float((np.concatenate(parts).argmax(axis=1) == self.labels[places]).mean())


def call_witness(data_dir: str = "", retrain: bool = False, device: str = "auto") -> Witness:
    """The shipped network, or with `retrain` one trained anew on `data_dir`, and the test clips of `data_dir`. Taught in notebook 06.

    Args:
        data_dir: the synthetic set, prepared for the preset quick; "": the kit's own, made if it is missing.
        retrain: train as the shipped network was trained, into a new folder of `runs_home()`.
        device: of that training: auto, cpu, gpu:0 …

    Raises as `train.shipped.shipped_run`, `shipped_data` and `train_anew`.
    """
    path = Path(data_dir) if data_dir else shipped_data().path
    run = train_anew("honest", next_run_dir("synthetic-quick"), data_dir=path, device=device) if retrain else shipped_run()
    data = run.open_data(path)
    plan = plan_evaluation(data, run.clip, "test")
    batches = [(clips, labels) for clips, labels, _ in clip_dataset(data, plan, run.clip, run.train.batch_size)]
    clips, labels = (np.concatenate(parts) for parts in zip(*batches, strict=True))
    network = load_best(run)
    probabilities = softmax(network.predict(clips, batch_size=run.train.batch_size, verbose=0))
    return Witness(run, data, network, plan, clips, labels, probabilities)


def parameters_of_block(block: Callable, depth: int) -> int:
    """Numbers that a block of `depth` dense layers with bottleneck learns, of growth rate 12; `block` is as `original.dense_block`. Taught in notebook 06."""
    maps = keras.Input((2, 2, 2, 24))
    return _parameters(keras.Model(maps, block(maps, depth, _dense_layer)).trainable_variables)


def parameters_of_library_block(depth: int) -> int:
    """The same, of the first block of a network that the library builds. Taught in notebook 06."""
    config = dataclasses.replace(find_preset("quick").model, depth=6 * depth + 4)  # three blocks of two convolutions a layer
    network = build_model(config, (4, 16, 16, 1), 2)
    return _parameters([v for v in network.trainable_variables if v.path.startswith("block1")])


def _dense_layer(x, number: int):
    new = x
    for size, filters in ((1, 48), (3, 12)):
        new = layers.ReLU()(layers.BatchNormalization()(new))
        new = layers.Conv3D(filters, size, padding="same", use_bias=False)(new)
    return layers.Concatenate()([x, new])


def _parameters(variables) -> int:
    return sum(int(np.prod(variable.shape)) for variable in variables)


def untrained(witness: Witness) -> dict[str, keras.Model]:
    """Two networks before any training, equal but for how their kernels start: `original` and `library`. Taught in notebook 06."""
    keras.utils.set_random_seed(0)
    model = dataclasses.replace(witness.run.model, growth_rate=GROWTH_RATE)
    sound = build_model(model, witness.run.clip_shape, len(witness.data.classes))
    return {"original": keras.models.clone_model(sound, clone_function=original.start_of_kernels), "library": sound}


def two_losses(witness: Witness, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """The loss that the original minimises and the one that it reports, in nats, (steps,) each, from its own start. Taught in notebook 06."""
    run, network = witness.run, untrained(witness)["original"]
    config = dataclasses.replace(run.train, weight_decay_on="all")
    optimizer = make_optimizer(config.learning_rate, config, network.trainable_variables)
    step = make_train_step(network, optimizer, tf.distribute.get_strategy(), config, run.clip_shape)
    plan, found = plan_training(witness.data, run.clip, 0, 1)[: config.batch_size * steps], []
    for clips, labels, _ in clip_dataset(witness.data, plan, run.clip, config.batch_size):
        cross_entropy = float(step(clips, labels, np.float32(len(labels)))[0]) / len(labels)
        found.append(original.losses(cross_entropy, network.trainable_variables, config.weight_decay))
    minimised, reported = np.transpose(found)
    return minimised, reported


def penalty_shares(network: keras.Model) -> dict[str, float]:
    """Whose squares the L2 term of all variables is made of: kind of variable → its share. Taught in notebook 06."""
    variables = network.trainable_variables
    whole = float(l2_penalty(variables))
    return {words: float(l2_penalty([v for v in variables if v.name == name])) / whole for name, words in KINDS.items()}


@dataclasses.dataclass(frozen=True)
class Start:
    """An untrained network on a few clips. Taught in notebook 06."""

    spreads: dict[str, float]  # name of a convolution → standard deviation of what it writes
    loss: float  # nats
    moved: float  # the share of its length by which a first step of rate 0.1 moves the first 3×3×3 kernel


def how_they_start(witness: Witness, count: int = 8) -> dict[str, Start]:
    """The two networks of `untrained`, in training mode, on `count` clips: the original's on raw pixels. Taught in notebook 06."""
    places = np.linspace(0, len(witness.clips) - 1, count).astype(int)
    raw = dataclasses.replace(witness.run.clip, normalisation="none")
    pixels = next(iter(clip_dataset(witness.data, witness.plan[places], raw, count)))[0]
    clips = {"original": pixels, "library": witness.clips[places]}
    return {name: _start(network, clips[name], witness.labels[places]) for name, network in untrained(witness).items()}


def _start(network: keras.Model, clips, labels: np.ndarray) -> Start:
    convolutions = [layer for layer in network.layers if isinstance(layer, layers.Conv3D)]
    kernel = network.get_layer("block1_layer1_conv").kernel
    listened = keras.Model(network.input, [network.output, *(layer.output for layer in convolutions)])
    with tf.GradientTape() as tape:
        logits, *maps = listened(clips, training=True)
        loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))
    moved = 0.1 * float(tf.norm(tape.gradient(loss, kernel)) / tf.norm(kernel))
    spreads = {layer.name.removesuffix("_conv"): float(np.std(m)) for layer, m in zip(convolutions, maps, strict=True)}
    return Start(spreads, float(loss), moved)


def split_by_listings(data: DataSet, seed: int, held_out: tuple[str, ...] = ()) -> DataSet:
    """The data set split as the original did: the first three quarters of each class's videos train, the others are the test. Taught in notebook 06.

    Args:
        data: split by subject.
        seed: of the order in which a disk lists the videos: none.
        held_out: splits that stay as they are; the others then validate instead.
    """
    train, rng = set(), np.random.default_rng(seed)
    other = "validation" if held_out else "test"
    for label in data.classes:
        listing = sorted({s.video for s in data.sequences if s.label == label and s.split not in held_out})
        train |= set(original.first_three_quarters(rng.permutation(listing).tolist())[0])
    rows = [s if s.split in held_out else dataclasses.replace(s, split="train" if s.video in train else other) for s in data.sequences]
    return dataclasses.replace(data, sequences=tuple(rows))


def two_counts(data: DataSet, plan: ClipPlan, probabilities: np.ndarray) -> dict[str, tuple[float, float]]:
    """An accuracy and the width of its 95 % interval, from the same answers: `original` and `mended`. Taught in notebook 06.

    The original counts clips, as if each were independent (normal approximation); the library counts the votes of sequences and draws
    people. A width is nan where there is one person alone.
    """
    labels = np.array([data.classes.index(s.label) for s in data.sequences])
    right = probabilities.argmax(axis=1) == labels[plan.sequence]
    share = float(right.mean())
    sequences, votes = sequence_votes(probabilities, plan.sequence)
    voted = votes.argmax(axis=1) == labels[sequences]
    low, high = subject_interval(voted, [data.sequences[i].subject for i in sequences]) or (np.nan, np.nan)
    width = 2 * 1.96 * np.sqrt(share * (1 - share) / len(right))
    return {"original": (share, float(width)), "mended": (float(voted.mean()), float(high - low))}


def errors_of_storing(frame: np.ndarray, height: int, width: int) -> dict[str, float]:
    """How far `original.store_frame` is from a careful reduction, in grey levels on average, fault by fault. Taught in notebook 06.

    `frame` is uint8 (height, width, 3), as OpenCV reads it.
    """
    careful = as_asked(frame, (height, width), 3, "stretch").astype(int)
    nearest = cv2.resize(frame, (width, height), interpolation=cv2.INTER_NEAREST)[..., ::-1]
    stored = original.store_frame(frame, height, width)
    faults = {"nearest pixels": nearest, "… and JPEG": stored[..., ::-1], "… and blue for red": stored}
    return {name: float(np.abs(found - careful).mean()) for name, found in faults.items()}


def broken_videos(home: Path | str) -> Path:
    """Make a folder below `home` with a sound video, six that are not, and one ending in capitals; give it. Taught in notebook 06."""
    folder = make_examples(Path(home) / "examples") / "broken"
    (folder / "good_copy.avi").rename(folder / "good_copy.AVI")
    return folder


def times_asked(order: np.ndarray, clips: int) -> dict[str, int]:
    """How many of the clips an evaluation in this order asks never, once, and more often. Taught in notebook 06."""
    counts = Counter(np.minimum(np.bincount(order, minlength=clips), 2).tolist())
    return {"never": counts[0], "once": counts[1], "twice or more": counts[2]}


def bytes_to_shuffle(witness: Witness) -> dict[str, int]:
    """Bytes in memory to shuffle an epoch of training: of all clips in a buffer, and of the library's plan. Taught in notebook 06."""
    plan = plan_training(witness.data, witness.run.clip, 0, 1)
    of_plan = sum(getattr(plan, field.name).nbytes for field in dataclasses.fields(plan))
    return {"all clips in a buffer": plan.frames.size * int(np.prod(witness.data.storage.frame_shape)), "the plan": of_plan}
