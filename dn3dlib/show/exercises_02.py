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


EXERCISES = {
    "parameters_of_a_layer": Exercise(
        _parameters_of_a_layer,
        hints=(
            "How many channels does the layer see? The stem makes 2k, the first dense layer adds k.",
            "Batch normalisation learns two numbers for each channel that it sees, a convolution without bias size³ × in × out.",
            "With c = 3k channels: 2·c + 1·c·4k for the bottleneck, then 2·4k + 27·4k·k.",
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
        ),
    ),
    "channels_after_blocks": Exercise(
        _channels_after_blocks,
        hints=(
            "Start with 2k. A block adds k channels for each of its layers: note the sum at its end.",
            "Between two blocks a transition keeps a share of the channels, rounded down: int(channels * compression).",
            "for block in range(blocks): add layers * growth_rate, append, then compress; the last compression is not used.",
        ),
        cases=((12, 2, 3, 0.5), (8, 3, 2, 1.0), (10, 1, 4, 0.3)),
    ),
}
