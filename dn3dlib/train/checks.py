"""Checks before a training: what a good practitioner looks at first, each with what was seen and what to do."""

import dataclasses
import math
from collections import Counter
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

from dn3dlib.config import ClipConfig, ModelConfig, TrainConfig
from dn3dlib.data.clips import ClipPlan, batches_of, clip_dataset, normalise, plan_evaluation, plan_training
from dn3dlib.data.manifest import DataSet
from dn3dlib.data.records import FrameReader
from dn3dlib.model.densenet3d import build_model
from dn3dlib.progress import progress_bar
from dn3dlib.train.memory import memory_advice, out_of_memory_in_a_sentence
from dn3dlib.train.steps import class_weights, make_optimizer, make_train_step
from dn3dlib.train.strategy import choose_precision, choose_strategy

# An untrained head (Glorot, on normalised maps) gives logits of deviation 1 at most, which cost ½ nat on average; twice
# that leaves room for chance. Below ln(classes) there is only the chance of a small batch.
LOSS_ABOVE, LOSS_BELOW = 1.0, 0.25  # nats
HEART_STEPS, HEART_SHARE = 100, 0.1  # steps at most, and the share of ln(classes) below which a batch is known by heart
HEART_CLIPS = 8  # of that batch: they are shown to the network once a step
_GRADIENT_FACTOR = 100  # of the median of all parts, up or down; sound networks of depth 20 to 100 stay within 10
_STATISTICS_CLIPS, _LOOKED_AT = 32, 8
_ONE_VALUE = 1e-6  # a difference that is none
_RANGES = {"none": (0, 255), "divide_255": (0, 1), "divide_256": (0, 255 / 256)}
_UNITS = {"std": (1, 2, 3, 4), "std_frame": (2, 3, 4)}  # axes of clips that are brought to mean 0 and deviation 1 together
_SLACK = 0.01  # of that mean and deviation
_PROMISES = {how: f"values from {low} to {high:.4g}, no clip of one value" for how, (low, high) in _RANGES.items()}
_PROMISES |= {how: f"mean 0 and deviation 1 of each {unit}, no clip of one value" for how, unit in (("std", "clip"), ("std_frame", "frame"))}
_PROMISES["motion"] = "mean 0 over the frames at each place of a clip, no clip of one value"


@dataclass(frozen=True)
class Check:
    """What one check has seen. Taught in notebook 02."""

    name: str
    passed: bool
    values: dict  # what was measured, ready for JSON; None in the place of a number that is none
    expected: str
    sentence: str  # what was looked at and, where it failed, what to do


def run_checks(
    data: DataSet,
    clip: ClipConfig,
    model: ModelConfig,
    config: TrainConfig,
    *,
    device: str = "auto",
    show_progress: bool = True,
) -> list[Check]:
    """Make every check for a training with these settings; nothing is written. Taught in notebook 02.

    Args:
        data: the prepared data set.
        clip, model, config: what would be trained and how, as `train.loop.train` takes them.
        device: auto, cpu, gpu:0 …
        show_progress: a progress bar on standard error while one batch is learned by heart.

    Returns:
        A `Check` each: classes, input statistics, augmentation, validation, first loss, gradients, one batch.

    Raises:
        DataError: the data set is damaged or has no training sequences.
        RunError: memory has run out.
    """
    found = [
        classes_present(data),
        input_statistics(data, clip, config.seed),
        augmentation_varies(data, clip, config.seed),
        validation_is_plain(data, clip, config.seed),
    ]
    strategy, _ = choose_strategy(device)
    keras.utils.set_random_seed(config.seed)
    with strategy.scope():
        network = build_model(model, (clip.frames, *data.storage.frame_shape), len(data.classes))
    advice = memory_advice(network, choose_precision(config, strategy), None)
    with strategy.scope(), out_of_memory_in_a_sentence(lambda: f"in the checks. {advice}"):
        found += [first_loss(network, data, clip, config), gradient_norms(network, data, clip, config)]
        found.append(learns_one_batch(network, data, clip, config, show_progress=show_progress))
    return found


def classes_present(data: DataSet) -> Check:
    """Whether every class has training sequences."""
    counts = Counter(s.label for s in data.of_split("train"))
    values = {name: counts[name] for name in data.classes}
    absent = [name for name, count in values.items() if not count]
    looked = f"The training part has sequences of {len(data.classes) - len(absent)} of {len(data.classes)} classes."
    advice = f"It has none of {', '.join(absent)}: choose another protocol with `dn3d split`, or prepare without these classes."
    return _check("classes", not absent, values, "at least 1 training sequence of each class", looked, advice)


def input_statistics(data: DataSet, clip: ClipConfig, seed: int = 0) -> Check:
    """Whether training clips have the range, or the mean and deviation, that their normalisation promises.

    Returns:
        A check whose values are `mean`, `deviation`, `min`, `max` (a number for each channel), `constant` and
        `not_finite` (ids of sequences that gave clips of one value, or with values that are no numbers).
    """
    plan = plan_training(data, clip, seed, 1)[:_STATISTICS_CLIPS]
    clips = _decoded(data, plan, clip)
    measures = {"mean": clips.mean, "deviation": clips.std, "min": clips.min, "max": clips.max}
    values = {name: [_number(n) for n in measure(axis=(0, 1, 2, 3))] for name, measure in measures.items()}
    spread = np.ptp(clips, axis=(1, 2, 3, 4))
    odd = {"constant": spread < _ONE_VALUE, "not_finite": ~np.isfinite(spread)}
    odd = {name: sorted({data.sequences[place].id for place in plan.sequence[rows]}) for name, rows in odd.items()}
    advice = f"They do not have what clip.normalisation={clip.normalisation} promises: look at how the clips are made."
    if any(odd.values()):
        named = "; ".join(f"{name.replace('_', ' ')}: {', '.join(ids[:5])}" for name, ids in odd.items() if ids)
        advice = f"Look at these sequences, and leave them out where they show nothing ({named})."
    passed = _as_promised(clips, clip.normalisation) and not any(odd.values())
    looked = f"{len(plan)} training clips were measured after normalisation ({clip.normalisation})."
    return _check("input statistics", passed, values | odd, _PROMISES[clip.normalisation], looked, advice)


def augmentation_varies(data: DataSet, clip: ClipConfig, seed: int = 0) -> Check:
    """Whether each thing that is drawn at random in training changes the clips from epoch 1 to epoch 2.

    Returns:
        A check whose values are, for each draw of `ClipPlan` that is on, the share of clips that it makes look different.
    """
    plans = [plan_training(data, clip, seed, epoch) for epoch in (1, 2)]
    one, two = (plan[np.argsort(plan.sequence, kind="stable")] for plan in plans)
    values = {}
    for draw in _draws(data, clip):
        before, after = getattr(one, draw), getattr(two, draw)
        other = np.flatnonzero((before != after).reshape(len(one), -1).any(axis=1))
        some = other[:: math.ceil(max(len(other), 1) / _LOOKED_AT)]
        values[draw] = 0.0
        if len(some):  # this draw alone is taken from the second epoch
            first, second = one[some], dataclasses.replace(one[some], **{draw: after[some]})
            change = np.abs(_decoded(data, first, clip) - _decoded(data, second, clip)).max(axis=(1, 2, 3, 4))
            values[draw] = float((change > 1e-3).mean()) * len(other) / len(one)
    undone = "brightness" in values and clip.normalisation in (*_UNITS, "motion")
    same = [draw for draw, share in values.items() if not share and not (undone and draw == "brightness")]
    looked = f"The same sequences were cut and decoded for epochs 1 and 2; drawn at random: {', '.join(values)}."
    if not values:
        looked = "Nothing is drawn at random with these settings: every epoch shows the same clips."
    if undone:
        looked += f" Of clip.brightness, clip.normalisation={clip.normalisation} leaves only what meets black or white."
    advice = f"What is drawn does not change the clips: {', '.join(same)}. Look at how the clips are made, or switch it off."
    return _check("augmentation", not same, values, "each random draw changes some clips", looked, advice)


def validation_is_plain(data: DataSet, clip: ClipConfig, seed: int = 0, split: str = "validation") -> Check:
    """Whether two validations see the same clips, and these as they are stored: only normalised."""
    expected = "two validations with identical clips, equal to the stored frames after normalisation"
    if not data.of_split(split):
        return _check("validation", True, {"clips": 0}, expected, f"There is no {split} part to look at.", "")
    plans = [plan_evaluation(data, clip, split, seed) for _ in range(2)]
    some = np.unique(np.linspace(0, min(map(len, plans)) - 1, _LOOKED_AT).astype(int))
    looks = [_decoded(data, plan[some], clip) for plan in plans]
    pixels = FrameReader(data).clips(plans[0].sequence[some], plans[0].frames[some])
    plain = normalise(pixels.astype(np.float32), clip.normalisation)
    values = {
        "clips": len(some),
        "between_validations": _number(np.abs(looks[0] - looks[1]).max()),
        "to_stored_frames": _number(np.abs(looks[0] - plain).max()),
    }
    passed = values["between_validations"] == 0 and values["to_stored_frames"] is not None and values["to_stored_frames"] < 1e-3
    looked = f"{len(some)} clips of the {split} part were decoded twice and compared with their stored frames."
    advice = "Something is drawn or changed where nothing may be: its figures cannot be compared between epochs."
    return _check("validation", passed, values, expected, looked, advice)


def first_loss(network: keras.Model, data: DataSet, clip: ClipConfig, config: TrainConfig) -> Check:
    """Whether an untrained network's loss is about ln(classes): it must know nothing, and believe nothing strongly.

    Each class counts the same, so that a common class that the random weights happen to like does not hide or feign
    anything. The network works as in training (batch statistics) without dropout; it is not changed.
    """
    clips, labels = _few_clips(data, clip, config, max(config.batch_size, HEART_CLIPS))
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, _copy(network)(clips, training=True)).numpy()
    loss = float(np.mean([losses[labels == label].mean() for label in np.unique(labels)]))
    guess = math.log(len(data.classes))
    low, high = guess - LOSS_BELOW, guess + LOSS_ABOVE
    looked = f"The untrained network's loss on {len(losses)} clips, every class weighed alike, is {loss:.2f} nats."
    advice = "Above, its logits are too large: look at how the last layer starts. Below, it knows something already."
    if not math.isfinite(loss):
        advice = "That is no number: look at the input statistics and at how the weights start."
    expected = f"from {low:.2f} to {high:.2f} nats, about ln {len(data.classes)} = {guess:.2f}"
    return _check("first loss", low <= loss <= high, {"loss": _number(loss), "ln_classes": guess}, expected, looked, advice)


def gradient_norms(network: keras.Model, data: DataSet, clip: ClipConfig, config: TrainConfig) -> Check:
    """Whether the gradient of the loss reaches every part of the network, and none much more than the others.

    Returns:
        A check whose values are the 2-norm of the gradient for each part in network order: stem, block1, transition1, …,
        head. A part is what the layers' names begin with. The network is not changed.
    """
    twin = _copy(network)
    clips, labels = _few_clips(data, clip, config, min(config.batch_size, HEART_CLIPS))
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, twin(clips, training=True)))
    squares: dict[str, float] = {}
    gradients = tape.gradient(loss, twin.trainable_variables, unconnected_gradients="zero")
    for variable, gradient in zip(twin.trainable_variables, gradients, strict=True):
        part = variable.path.split("/")[0].split("_")[0].replace("logits", "head")
        squares[part] = squares.get(part, 0.0) + float(tf.reduce_sum(tf.square(gradient)))
    norms = {part: _number(math.sqrt(square)) for part, square in squares.items()}
    low, high = gradient_bounds(list(norms.values()))
    odd = [part for part, norm in norms.items() if norm is None or not low <= norm <= high]
    expected = f"from {low:.3g} to {high:.3g}: a hundredth to a hundred times the median"
    looked = f"The gradient of the first loss was measured in {len(norms)} parts of the network."
    advice = f"It vanishes, explodes or is no number in {', '.join(odd)}: look at how the weights of that part start."
    return _check("gradients", not odd, norms, expected, looked, advice)


def gradient_bounds(norms: list[float | None]) -> tuple[float, float]:
    """From a hundredth to a hundred times the median of those that are positive numbers; (nan, nan) where none is."""
    sound = [norm for norm in norms if norm]
    middle = float(np.median(sound)) if sound else math.nan
    return middle / _GRADIENT_FACTOR, middle * _GRADIENT_FACTOR


def learns_one_batch(
    network: keras.Model, data: DataSet, clip: ClipConfig, config: TrainConfig, *, show_progress: bool = True
) -> Check:
    """Whether a few fixed clips can be learned by heart: what cannot do that will learn nothing else.

    A copy of the network is trained on them by the training's own step and settings, at the full learning rate and
    without dropout, until the loss is small or HEART_STEPS are over. The network is not changed.
    """
    twin = _copy(network)
    clips, labels = _few_clips(data, clip, config, max(2, min(config.batch_size, HEART_CLIPS)))
    strategy = tf.distribute.get_strategy()
    config = choose_precision(config, strategy)
    optimizer = make_optimizer(config.learning_rate, config, twin.trainable_variables)
    weights = class_weights([s.label for s in data.of_split("train")], data.classes, config.class_weights)
    step = make_train_step(twin, optimizer, strategy, config, tuple(clips.shape[1:]), weights)
    bound, losses = HEART_SHARE * math.log(len(data.classes)), []
    with progress_bar(total=HEART_STEPS, desc="learn one batch by heart", unit="step", show=show_progress) as bar:
        while len(losses) < HEART_STEPS and (not losses or bound <= losses[-1] < math.inf):
            losses.append(float(step(clips, labels, np.float32(len(labels)))[0]) / len(labels))
            bar.update()
    values = {"first_loss": _number(losses[0]), "last_loss": _number(losses[-1]), "steps": len(losses)}
    expected = f"below {bound:.2f} nats within {HEART_STEPS} steps"
    looked = f"{len(labels)} clips were shown again and again; after {len(losses)} steps the loss is {losses[-1]:.3g} nats."
    advice = f"Try another train.learning_rate (it is {config.learning_rate}), and look whether gradients and labels are right."
    return _check("one batch", losses[-1] < bound, values, expected, looked, advice)


def _check(name: str, passed: bool, values: dict, expected: str, looked: str, advice: str) -> Check:
    return Check(name, bool(passed), values, expected, looked if passed else f"{looked} {advice}")


def _number(value) -> float | None:
    """None for what is no number: JSON has no NaN."""
    return float(value) if math.isfinite(value) else None


def _as_promised(clips: np.ndarray, normalisation: str) -> bool:
    """Whether clips (n, frames, height, width, channels) are as their normalisation promises; NaN never is."""
    if normalisation in _RANGES:
        low, high = _RANGES[normalisation]
        return bool(clips.min() >= low and clips.max() <= high)
    if normalisation == "motion":
        return bool((np.abs(clips.mean(axis=1)) < _SLACK).all())
    axes = _UNITS[normalisation]
    flat = np.ptp(clips, axes) < _ONE_VALUE  # a frame of one colour has no deviation
    return bool((np.abs(clips.mean(axes)) < _SLACK).all() and (flat | (np.abs(clips.std(axes) - 1) < _SLACK)).all())


def _draws(data: DataSet, clip: ClipConfig) -> list[str]:
    """The fields of a `ClipPlan` that are drawn at random with these settings."""
    starts = any(s.frames > clip.span for s in data.of_split("train"))
    frames = starts or clip.extra_stride > 0 or clip.speed > 0 or clip.frame_order == "shuffled"
    switches = {"frames": frames, "shift": clip.crop > 0, "flip": clip.flip, "brightness": clip.brightness > 0, "scale": clip.scale > 0}
    return [name for name, on in switches.items() if on]


def _decoded(data: DataSet, plan: ClipPlan, clip: ClipConfig) -> np.ndarray:
    return np.concatenate([clips.numpy() for clips, _, _ in batches_of(clip_dataset(data, plan, clip, _LOOKED_AT))])


def _few_clips(data: DataSet, clip: ClipConfig, config: TrainConfig, count: int) -> tuple[tf.Tensor, np.ndarray]:
    """`count` training clips as they are stored, the classes in turn, and their labels."""
    plan = plan_evaluation(data, clip, "train", config.seed)
    plan = plan[np.random.default_rng(config.seed).permutation(len(plan))]  # not all of one subject
    labels = np.array([data.sequences[place].label for place in plan.sequence])
    turn = np.zeros(len(plan), int)  # how many clips of its class come before each
    for label in np.unique(labels):
        turn[labels == label] = np.arange((labels == label).sum())
    ((clips, labels, _),) = batches_of(clip_dataset(data, plan[np.lexsort((labels, turn))[:count]], clip, count))
    return clips, labels.numpy()


def _copy(network: keras.Model) -> keras.Model:
    """A network with the same weights and without dropout."""

    def same(layer):
        return keras.layers.Dropout(0.0, name=layer.name) if isinstance(layer, keras.layers.Dropout) else layer.from_config(layer.get_config())

    twin = keras.models.clone_model(network, clone_function=same)
    twin.set_weights(network.get_weights())
    return twin
