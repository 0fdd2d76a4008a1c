"""The exercises of notebook 04: each answer is held against the library."""

import numpy as np

from dn3dlib.metrics import softmax
from dn3dlib.quiet import import_quietly
from dn3dlib.show.lesson import Exercise

# TensorFlow is loaded when an answer is checked, not before: the library is imported in the functions that ask it.


def small_network():
    """A network for clips of (6, 4, 4, 1): one convolution with three maps, called `maps`, its average, and two logits."""
    keras = import_quietly("keras")
    start = keras.initializers.HeNormal
    clips = keras.Input((6, 4, 4, 1), name="clips")
    maps = keras.layers.Conv3D(3, 3, padding="same", activation="relu", kernel_initializer=start(seed=8), name="maps")(clips)
    pooled = keras.layers.GlobalAveragePooling3D(name="head_pool")(maps)
    return keras.Model(clips, keras.layers.Dense(2, kernel_initializer=start(seed=9), name="logits")(pooled))


def small_clip() -> np.ndarray:
    """A clip for `small_network`, float32 (6, 4, 4, 1): a bright spot that moves over noise."""
    clip = np.random.default_rng(4).normal(size=(6, 4, 4, 1))
    for frame in range(4):
        clip[frame + 1, frame, frame] += 8
    return clip.astype(np.float32)


def _places(step: tuple[int, int, int]) -> int:
    """How many places the library covers, counted on a network that costs nothing."""
    from dn3dlib.explain.occlusion import occlude

    keras = import_quietly("keras")
    clips = keras.Input((32, 64, 64, 1))
    network = keras.Model(clips, keras.layers.Dense(2)(keras.layers.GlobalAveragePooling3D()(clips)))
    return occlude(network, np.zeros(clips.shape[1:], np.float32), size=(8, 16, 16), stride=step).drop.size


def _connection(kernel: np.ndarray, before: int) -> float:
    """What the library says of a reader with this kernel, in a network that ends with it."""
    from dn3dlib.explain.connections import connection_strength

    layers = import_quietly("keras").layers
    clips = layers.Input((4, 4, 4, 1))
    first = layers.Conv3D(before, 1, name="stem_conv")(clips)
    both = layers.Concatenate()([first, layers.Conv3D(kernel.shape[3] - before, 1, name="block1_layer1_conv")(first)])
    reader = layers.Conv3D(kernel.shape[4], kernel.shape[:3], padding="same", use_bias=False, name="transition1_conv")
    network = import_quietly("keras").Model(clips, reader(both))
    reader.kernel.assign(kernel)
    (block,) = connection_strength(network)
    return float(block.strength[block.sources.index("block1_layer1"), block.targets.index("transition1")])


def _class_activation(target: int) -> tuple[np.ndarray, np.ndarray]:
    """The library's weights (maps,) and heat (frames, height, width)."""
    from dn3dlib.explain.gradcam import class_activation

    weights, heat = class_activation(small_network(), small_clip()[np.newaxis], target, "maps")
    return weights[0], heat[0]


def _before_relu() -> np.ndarray:
    from dn3dlib.explain.features import feature_maps

    return feature_maps(small_network(), small_clip()[np.newaxis], "maps")[0] @ _class_activation(1)[0]


def _drops(step: int) -> np.ndarray:
    from dn3dlib.explain.occlusion import occlude

    return occlude(small_network(), small_clip(), 1, size=(2, 4, 4), stride=(step, 4, 4)).drop.ravel()


def _drops_by_hand(cover: float, of=softmax) -> np.ndarray:
    """As `_drops`, with another cover, or `of` the logits something else than their softmax."""
    clips = np.repeat(small_clip()[np.newaxis], 6, axis=0)
    for first in range(5):
        clips[first + 1, first : first + 2] = cover
    scores = of(small_network()(clips, training=False).numpy())[:, 1]
    return scores[0] - scores[1:]


def _kernel(*shape: int) -> np.ndarray:
    return np.random.default_rng(shape).normal(size=shape).astype(np.float32)


EXERCISES = {
    "cost_of_occlusion": Exercise(
        oracle=lambda: _places((4, 8, 8)),
        hints=(
            "Count the places along one axis first: how often can a box of 16 move by 8 within 64?",
            "The first box starts at 0, the last at length − size: that makes (length − size) / step + 1 places.",
            "Do so for frames, rows and columns, and multiply the three.",
        ),
        mistakes=(
            (lambda: 24 // 4 * (48 // 8) ** 2, "along each axis one place is missing: the first one, before any step, counts as well."),
            (lambda: _places((8, 16, 16)), "these are boxes side by side: in steps of half a box they overlap, and there are more."),
            (lambda: 32 // 4 * (64 // 8) ** 2, "the last boxes would stick out of the clip: a box must start at length − size or earlier."),
        ),
    ),
    "connection": Exercise(
        oracle=_connection,
        cases=((_kernel(1, 1, 1, 3, 4), 2), (_kernel(1, 1, 1, 5, 3), 2), (_kernel(3, 3, 3, 4, 2), 1)),
        hints=(
            "Which axis of the kernel holds the channels in? The last but one.",
            "kernel[..., before:, :] is the piece that reads the layer's channels, all after the first `before`.",
            "A mean of plain weights lets + and − cancel: take np.abs first.",
        ),
        mistakes=(
            (lambda kernel, before: kernel[..., before:, :].mean(), "positive and negative weights cancel each other: take their absolute values first."),
            (lambda kernel, before: np.abs(kernel[..., :before, :]).mean(), "that is the connection to what came before the block: the layer's channels follow behind it."),
            (lambda kernel, before: np.abs(kernel[..., before:]).mean(), "you have cut the last axis, the channels out: the channels in are the axis before it."),
            (lambda kernel, before: np.abs(kernel[..., before:, :]).sum(), "that is a sum, so larger kernels look stronger: take the mean."),
        ),
    ),
    "grad_cam": Exercise(
        oracle=lambda: _class_activation(1)[1],
        hints=(
            "Step 5 has all of it: a model with two outputs, and the logit of class 1 inside a tf.GradientTape.",
            "tape.gradient(score, maps)[0] has the shape of the maps; its mean over the first three axes gives one weight a map.",
            "Multiply the maps by their weights, add up over the last axis, and cut what is below 0.",
        ),
        mistakes=(
            (_before_relu, "what speaks against the class is still in it: cut off what is below 0."),
            (lambda: 6 * 4 * 4 * _class_activation(1)[1], "the weights are sums of the gradient, not means: divide by the 6 · 4 · 4 places."),
            (lambda: _class_activation(0)[1], "that is the heat of class 0."),
            (lambda: _class_activation(1)[1] / _class_activation(1)[1].max(), "the shape of it is right, but it has been scaled: leave it as the sum gives it."),
        ),
    ),
    "occlusion_in_time": Exercise(
        oracle=lambda: _drops(1),
        hints=(
            "First the probability of class 1 with nothing covered: softmax of the two logits.",
            "For each first frame from 0 to 4: copy the clip, set copy[first:first + 2] to clip.mean(), and ask again.",
            "The drop is the probability before minus that after: five numbers, negative where the cover helps class 1.",
        ),
        mistakes=(
            (lambda: -_drops(1), "the sign is turned round: a drop is positive where the probability falls, so before minus after."),
            (lambda: _drops_by_hand(0), "you cover with 0: this clip's mean is another number."),
            (lambda: _drops_by_hand(small_clip().mean(), of=np.asarray), "these are drops of the logit: take softmax first, then the differences."),
            (lambda: _drops(2), "your pairs lie side by side: the next pair begins one frame later, not two."),
        ),
    ),
}
