"""Fine-tuning: a training that starts with the weights of another run, and the layers that stay as they are."""

import math
import re

import keras

from dn3dlib.config import ClipConfig
from dn3dlib.data.manifest import DataSet
from dn3dlib.errors import ConfigError, RunError
from dn3dlib.train.best import load_best
from dn3dlib.train.runs import Run

_HEAD = "logits"  # the layer that gives a number for each class; all before it is the body
_PART = re.compile(r"stem|block\d+")  # of the names that `build_model` gives


def copy_weights(source: Run, network: keras.Model, data: DataSet, clip: ClipConfig) -> str:
    """Give a new network the best weights of a run; where the classes are other ones, those of the body alone. Taught in notebook 07.

    Frames may have another size: the network averages over all places before it decides.

    Args:
        source: the run.
        network: of `build_model`; its head keeps its random weights where it stands for other classes.
        data: what it will be trained on.
        clip: how its clips are made.

    Returns:
        What the network starts with, for whoever reads the run: also another normalisation, and whether the first run has trained on
        people who are held out here.

    Raises:
        RunError: the run has no weights, or they have another form.
    """
    weights = load_best(source)
    same = source.classes == data.classes
    for old, new in _pairs(source, weights, network, whole=same):
        new.set_weights(old.get_weights())
    start = f"The run began with the weights of {source.path.resolve()}"
    if not same:
        start += f", but with a new head: those stand for {', '.join(source.classes)}, this one for {', '.join(data.classes)}"
    if source.clip.normalisation != clip.normalisation:
        start += f"; they know clips of the normalisation {source.clip.normalisation}, not {clip.normalisation}"
    known = {s.subject for s in data.sequences if s.split != "train"} & set(source.data["train_subjects"])
    if source.data["dataset"] == data.dataset and known:
        start += f"; they were trained on {', '.join(sorted(known))}, on whom they are to be tested here: those figures say too little"
    return f"{start}."


def freeze(network: keras.Model, last: str, init_from: str) -> None:
    """Let the first layers of a network stay as they are: neither weights nor running statistics move in training. Taught in notebook 07.

    They work as in inference then, without dropout, and no gradient is computed for them.

    Args:
        network: of `build_model`.
        last: the last part that stays: none, stem, block1, block2 … (what follows trains, its transition included), or body,
            all but the layer that gives the logits.
        init_from: the run that the weights are from; empty: they are random.

    Raises:
        ConfigError: the network has no such part, or random weights would stay as they are.
    """
    ends = {"none": 0}  # part → its last layer; that of 0 is the input
    for place, layer in enumerate(network.layers):
        if part := _PART.match(layer.name):
            ends[part[0]] = place
    ends["body"] = len(network.layers) - 2
    if last not in ends:
        raise ConfigError(f"train.freeze is {last!r}, but must be a part of this network: {', '.join(ends)}.")
    if last != "none" and not init_from:
        raise ConfigError(
            f"train.freeze={last} keeps layers as they start, but without --init-from they start at random: "
            "name a run whose weights they shall have, or leave it out."
        )
    for layer in network.layers[1 : ends[last] + 1]:
        layer.trainable = False


def learned_numbers(network: keras.Model) -> int:
    """How many numbers training changes by gradients, of layers that are not frozen."""
    return sum(math.prod(variable.shape) for variable in network.trainable_variables)


def _pairs(source: Run, old: keras.Model, new: keras.Model, whole: bool) -> list[tuple]:
    """The layers that belong together, the head only of `whole` networks; raises RunError where one of them has another form."""
    forms = [{layer.name: [tuple(w.shape) for w in layer.weights] for layer in n.layers if layer.weights} for n in (old, new)]
    names = [name for name in dict.fromkeys((*forms[0], *forms[1])) if whole or name != _HEAD]
    for name in names:
        one, other = (form.get(name, "missing") for form in forms)
        if one != other:
            raise RunError(
                f"The weights of {source.path} do not fit this network: {name} is {one} there, but {other} here. "
                "Use the same model settings and as many channels."
            )
    return [(old.get_layer(name), new.get_layer(name)) for name in names]
