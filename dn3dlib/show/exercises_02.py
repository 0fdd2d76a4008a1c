"""The exercises of notebook 02: each answer is held against the library."""

import numpy as np

from dn3dlib.config import ModelConfig
from dn3dlib.metrics import sequence_votes
from dn3dlib.show.lesson import Exercise


def _parameters_of_a_layer() -> int:
    """Learned numbers of the second dense layer of a network with bottleneck and growth rate 16, counted by Keras."""
    network = _small_network(growth_rate=16, layers=2, blocks=1, compression=1.0)
    parts = [layer for layer in network.layers if layer.name.startswith("block1_layer2")]
    return sum(int(np.prod(v.shape)) for layer in parts for v in layer.trainable_variables)


def _vote(probabilities) -> int:
    """The class that the library's vote gives one sequence."""
    probabilities = np.asarray(probabilities)
    _, votes = sequence_votes(probabilities, np.zeros(len(probabilities), int))
    return int(votes[0].argmax())


def _channels_after_blocks(growth_rate: int, layers: int, blocks: int, compression: float) -> list[int]:
    """Channels after the last dense layer of each block, read off a network that the library builds."""
    network = _small_network(growth_rate, layers, blocks, compression)
    return [network.get_layer(f"block{block}_layer{layers}_concat").output.shape[-1] for block in range(1, blocks + 1)]


def _small_network(growth_rate: int, layers: int, blocks: int, compression: float):
    """A network with bottleneck on the smallest clips that it takes: its channels do not depend on their size."""
    from dn3dlib.model.densenet3d import build_model  # TensorFlow is loaded when an answer is checked, not before

    depth = 2 * layers * blocks + blocks + 1
    config = ModelConfig(growth_rate=growth_rate, depth=depth, blocks=blocks, compression=compression)
    return build_model(config, clip_shape=(2, 8, 8, 1), num_classes=2)


def _by_formula(seen: int, norms: tuple[int, ...] = (), kernels: tuple[int, ...] = (64, 27 * 64 * 16), of_norm: int = 2) -> int:
    """Numbers of a layer of growth rate 16: `kernels` hold the factors behind `seen` channels, `norms` the channels normalised."""
    return of_norm * sum(norms) + seen * kernels[0] + sum(kernels[1:])


def _wrong_channels(start: int, compress: bool = True, round_off=int, note_before: bool = True):
    """An oracle of the channels that makes one mistake; `start` times the growth rate leave the stem."""

    def channels(growth_rate: int, layers: int, blocks: int, compression: float) -> list[int]:
        now, after = start * growth_rate, []
        for _ in range(blocks):
            now += layers * growth_rate
            kept = round_off(now * compression) if compress else now
            after.append(now if note_before else kept)
            now = kept
        return after

    return channels


EXERCISES = {
    "parameters_of_a_layer": Exercise(
        _parameters_of_a_layer,
        hints=(
            "How many channels does the layer see? The stem makes 2k, the first dense layer adds k.",
            "Batch normalisation learns two numbers for each channel that it sees, a convolution without bias size³ × in × out.",
            "With c = 3k channels: 2·c + 1·c·4k for the bottleneck, then 2·4k + 27·4k·k.",
        ),
        mistakes=(
            (lambda: _by_formula(48), "the convolutions are right, but both batch normalisations are missing: each learns two numbers a channel."),
            (lambda: _by_formula(48, (48,)), "the batch normalisation of the bottleneck is there, that before the 3×3×3 convolution is missing."),
            (lambda: _by_formula(48, (64,)), "the batch normalisation before the bottleneck is missing: it sees all the channels so far."),
            (lambda: _by_formula(48, (48, 64), of_norm=1), "batch normalisation learns two numbers a channel, a scale and a shift; you counted one."),
            (
                lambda: _by_formula(48, (48, 64), of_norm=4),
                "you also counted the mean and the variance of batch normalisation: they are collected while training, not learned.",
            ),
            (lambda: _by_formula(32, (32, 64)), "that is the first dense layer: the second sees the channels that the first has added, too."),
            (lambda: _by_formula(48, (48, 64)) + 64 + 16, "you counted a bias for each map: the convolutions here have none."),
            (lambda: _by_formula(48, (48,), (27 * 16,)), "that is a dense layer without bottleneck: a 1×1×1 convolution to 4k maps comes first."),
            (lambda: _by_formula(48, (48, 64), (64, 9 * 64 * 16)), "you counted kernels of 3×3: they have a third axis, time."),
        ),
    ),
    "vote": Exercise(
        _vote,
        hints=(
            "Rows are clips, columns are classes: average over the rows first.",
            "np.mean(probabilities, axis=0) gives one number for each class; which is the largest?",
            "np.argmax gives its place, and of two equal ones the first: as the kit does.",
        ),
        cases=(
            ([[0.7, 0.2, 0.1]],),
            ([[0.4, 0.5, 0.1], [0.4, 0.5, 0.1], [0.9, 0.05, 0.05]],),  # two clips say 1, but the third is surer
            ([[0.5, 0.5], [0.5, 0.5]],),  # a tie goes to the lower class
            ([[0.1, 0.9], [0.75, 0.25], [0.75, 0.25], [0.75, 0.25]],),  # one sure clip is outvoted by three
            ([[0.2, 0.3, 0.5], [0.5, 0.1, 0.4]],),
        ),
        mistakes=(
            (
                lambda rows: int(np.bincount(np.argmax(rows, axis=1)).argmax()),
                "you count which class most clips prefer. That forgets how sure each clip is: take the mean of the probabilities first.",
            ),
            (lambda rows: int(np.argmax(np.max(rows, axis=0))), "you take the class of the surest clip: the vote is the mean of all clips."),
            (lambda rows: np.mean(rows, axis=0), "the mean is right; now say which class has the largest: one number, its place."),
            (lambda rows: int(np.argmax(rows[0])), "you look at the first clip alone: all clips vote."),
            (lambda rows: int(np.argmax(np.mean(rows, axis=1))), "you take the mean along the wrong axis: over the clips, axis 0, not over the classes."),
            (lambda rows: float(np.max(np.mean(rows, axis=0))), "that is the largest probability: its place is wanted, which np.argmax gives."),
        ),
    ),
    "channels_after_blocks": Exercise(
        _channels_after_blocks,
        hints=(
            "Start with 2k. A block adds k channels for each of its layers: note the sum at its end.",
            "Between two blocks a transition keeps a share of the channels, rounded down: int(channels * compression).",
            "for block in range(blocks): add layers * growth_rate, append, then compress; the last compression is not used.",
        ),
        cases=((12, 2, 3, 0.5), (8, 3, 2, 1.0), (10, 1, 4, 0.3), (6, 1, 3, 0.4)),
        mistakes=(
            (_wrong_channels(0), "you start with no channels: the stem has already made two times the growth rate."),
            (_wrong_channels(1), "you start with the growth rate: the stem makes two times as many channels."),
            (_wrong_channels(2, compress=False), "nothing is compressed: between two blocks only a share of the channels goes on."),
            (_wrong_channels(2, note_before=False), "you note the channels behind the transition: those at the end of the block, before it, are wanted."),
            (_wrong_channels(2, round_off=lambda x: -int(-x // 1)), "a transition rounds down; yours rounds up."),
            (_wrong_channels(2, round_off=round), "a transition rounds down; yours rounds to the nearest."),
        ),
    ),
}
