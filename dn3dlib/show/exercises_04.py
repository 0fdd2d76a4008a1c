"""The exercises of notebook 04: each answer is held against the library."""

import numpy as np

from dn3dlib.show.lesson import Exercise


def small_network():
    """A network for clips of (6, 4, 4, 1): one convolution with three maps, called `maps`, its average, and two logits."""
    import keras  # TensorFlow is loaded when an answer is checked, not before

    keras.utils.set_random_seed(4)
    clips = keras.Input((6, 4, 4, 1), name="clips")
    maps = keras.layers.Conv3D(3, 3, padding="same", activation="relu", name="maps")(clips)
    pooled = keras.layers.GlobalAveragePooling3D(name="head_pool")(maps)
    return keras.Model(clips, keras.layers.Dense(2, kernel_initializer="he_normal", name="logits")(pooled))


def small_clip() -> np.ndarray:
    """A clip for `small_network`, float32 (6, 4, 4, 1): a bright spot that moves over noise."""
    clip = np.random.default_rng(4).normal(size=(6, 4, 4, 1))
    for frame in range(4):
        clip[frame + 1, frame, frame] += 8
    return clip.astype(np.float32)


def _cost_of_occlusion() -> int:
    """The places that the library tries, counted on a network that costs nothing."""
    import keras

    from dn3dlib.explain.occlusion import occlude

    clips = keras.Input((32, 64, 64, 1))
    network = keras.Model(clips, keras.layers.Dense(2)(keras.layers.GlobalAveragePooling3D()(clips)))
    return occlude(network, np.zeros(clips.shape[1:], np.float32), size=(8, 16, 16), stride=(4, 8, 8)).drop.size


def _connection(kernel, before: int) -> float:
    """What the library says of a reader with this kernel, in a network that ends with it."""
    import keras

    from dn3dlib.explain.connections import connection_strength

    kernel = np.asarray(kernel, np.float32)
    clips = keras.Input((4, 4, 4, 1))
    first = keras.layers.Conv3D(before, 1, name="stem_conv")(clips)
    new = keras.layers.Conv3D(kernel.shape[3] - before, 1, name="block1_layer1_conv")(first)
    both = keras.layers.Concatenate()([first, new])
    reader = keras.layers.Conv3D(kernel.shape[4], kernel.shape[:3], padding="same", use_bias=False, name="transition1_conv")
    network = keras.Model(clips, reader(both))
    reader.kernel.assign(kernel)
    (block,) = connection_strength(network)
    return float(block.strength[block.sources.index("block1_layer1"), block.targets.index("transition1")])


def _grad_cam() -> np.ndarray:
    from dn3dlib.explain.gradcam import class_activation

    return class_activation(small_network(), small_clip()[np.newaxis], 1, "maps")[1][0]


def _occlusion_in_time() -> np.ndarray:
    from dn3dlib.explain.occlusion import occlude

    return occlude(small_network(), small_clip(), 1, size=(2, 4, 4), stride=(1, 4, 4)).drop.ravel()


def _kernel(*shape: int) -> list:
    return np.random.default_rng(len(shape)).normal(size=shape).round(2).tolist()


EXERCISES = {
    "cost_of_occlusion": Exercise(
        _cost_of_occlusion,
        hints=(
            "Count the places along one axis first: how often can a box of 16 move by 8 within 64?",
            "The first box starts at 0, the last at length − size: that makes (length − size) / step + 1 places.",
            "Do so for frames, rows and columns, and multiply the three.",
        ),
    ),
    "connection": Exercise(
        _connection,
        hints=(
            "Which axis of the kernel holds the channels in? The last but one.",
            "kernel[..., before:, :] is the piece that reads the layer's channels, all after the first `before`.",
            "A mean of plain weights lets + and − cancel: take np.abs first.",
        ),
        cases=((_kernel(1, 1, 1, 3, 2), 2), (_kernel(1, 1, 1, 5, 2), 2), (_kernel(3, 1, 1, 3, 1), 1)),
    ),
    "grad_cam": Exercise(
        _grad_cam,
        hints=(
            "Step 5 has all of it: a model with two outputs, and the logit of class 1 inside a tf.GradientTape.",
            "tape.gradient(score, maps)[0] has the shape of the maps; its mean over the first three axes gives one weight a map.",
            "Multiply the maps by their weights, add up over the last axis, and cut what is below 0.",
        ),
    ),
    "occlusion_in_time": Exercise(
        _occlusion_in_time,
        hints=(
            "First the probability of class 1 with nothing covered: softmax of the two logits.",
            "For each first frame from 0 to 4: copy the clip, set copy[first:first + 2] to clip.mean(), and ask again.",
            "The drop is the probability before minus that after: five numbers, negative where the cover helps class 1.",
        ),
    ),
}
