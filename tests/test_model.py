"""The network's form: parameters, names, sizes that cannot be, saving. Its numbers are proved in test_reference."""

import dataclasses
import math

import keras
import numpy as np
import pytest

from dn3dlib.config import ModelConfig
from dn3dlib.errors import ConfigError
from dn3dlib.model.densenet3d import build_model
from dn3dlib.presets import PRESETS

SMALL = ModelConfig(growth_rate=2, depth=7, blocks=2)

# The table of the published configurations, and the two presets beside it.
PARAMETERS = {
    "quick": 114_006, "small-data": 114_006, "original": 130_470, "thesis-1": 559_950, "thesis-2": 107_718, "thesis-3": 107_718,
    "thesis-4": 363_510, "thesis-5": 423_942, "thesis-6": 901_542, "thesis-7": 901_542, "thesis-8": 1_438_374,
    "thesis-9": 130_470, "thesis-10": 1_483_878, "thesis-11": 1_483_878, "thesis-12": 1_483_878,
    "thesis-13": 1_483_878, "thesis-14": 1_483_878, "thesis-15": 5_056_518,
}  # fmt: skip


def trainable(model) -> int:
    return sum(math.prod(variable.shape) for variable in model.trainable_variables)


def layer_names(model, kind) -> list[str]:
    return [layer.name for layer in model.layers if isinstance(layer, kind)]


@pytest.mark.parametrize("name", PRESETS)
def test_presets_have_exactly_the_published_parameters(name):
    preset = PRESETS[name]
    model = build_model(preset.model, (preset.clip.frames, *preset.storage.frame_shape), 6)
    assert trainable(model) == preset.parameters == PARAMETERS[name]
    assert model.output_shape == (None, 6)


def test_every_preset_is_in_the_table():
    assert set(PRESETS) == set(PARAMETERS)


def test_layers_stand_in_network_order():
    model = build_model(ModelConfig(growth_rate=2, depth=12, blocks=2, dropout=0.1), (4, 16, 16, 1), 3)
    convolutions = layer_names(model, keras.layers.Conv3D)
    dense_layers = [[f"block{b}_layer{n}_{part}" for n in (1, 2) for part in ("bottleneck_conv", "conv")] for b in (1, 2)]
    assert convolutions == ["stem_conv", *dense_layers[0], "transition1_conv", *dense_layers[1]]
    assert model.layers[-1].name == "logits" and isinstance(model.layers[-1], keras.layers.Dense)
    assert layer_names(model, keras.layers.BatchNormalization)[-1] == "head_bn"
    assert len(layer_names(model, keras.layers.Dropout)) == len(convolutions) - 1, "after each convolution but the stem's"


@pytest.mark.parametrize(("variant", "bottleneck"), [("general", False), ("general", True), ("lite", False), ("lite", True)])
def test_the_depth_counts_the_layers_with_weights(variant, bottleneck):
    for depth in (9, 12):
        config = ModelConfig(variant=variant, bottleneck=bottleneck, growth_rate=2, depth=depth, blocks=2)
        model = build_model(config, (4, 16, 16, 1), 3)
        assert len(layer_names(model, keras.layers.Conv3D | keras.layers.Dense)) == config.true_depth <= depth


def test_no_convolution_has_a_bias_and_the_stem_is_as_the_thesis_has_it():
    general = build_model(dataclasses.replace(SMALL, variant="general"), (4, 16, 16, 1), 3)
    lite = build_model(SMALL, (4, 16, 16, 1), 3)
    for model in (general, lite):
        assert not any(layer.use_bias for layer in model.layers if isinstance(layer, keras.layers.Conv3D))
        assert model.get_layer("logits").use_bias
    assert general.get_layer("stem_conv").output.shape == (None, 4, 16, 16, 4)
    assert general.get_layer("transition1_pool").output.shape[1:4] == (4, 8, 8), "the first transition keeps all frames"
    assert lite.get_layer("stem_conv").output.shape == (None, 4, 8, 8, 4)
    assert lite.get_layer("stem_pool").output.shape[1:4] == (4, 4, 4)
    assert lite.get_layer("transition1_pool").output.shape[1:4] == (2, 2, 2)


def test_compression_rounds_down_and_is_for_bottleneck_only():
    def channels(**changes):
        model = build_model(dataclasses.replace(SMALL, **changes), (4, 16, 16, 1), 3)
        return model.get_layer("transition1_conv").output.shape[-1]

    assert channels(growth_rate=3, compression=0.5) == 4  # of 9
    assert channels(compression=1.0) == 6
    assert channels(bottleneck=False, compression=0.5) == channels(bottleneck=False, compression=1.0) == 8


def test_compression_that_leaves_no_channel_is_refused():
    with pytest.raises(ConfigError, match="model.compression=0.1 leaves no channel after block 1"):
        build_model(dataclasses.replace(SMALL, compression=0.1), (4, 16, 16, 1), 3)


@pytest.mark.parametrize("variant", ["general", "lite"])
@pytest.mark.parametrize("shape", [(1, 37, 43, 3), (5, 21, 33, 1), (17, 11, 9, 2)])
def test_odd_sizes_are_built_and_run(variant, shape):
    model = build_model(dataclasses.replace(SMALL, variant=variant), shape, 4)
    logits = model(np.random.default_rng(0).random((2, *shape), np.float32)).numpy()
    assert logits.shape == (2, 4) and np.isfinite(logits).all() and not np.allclose(logits[0], logits[1])


@pytest.mark.parametrize(
    ("blocks", "place", "name"), [(3, 0, "clip.frames"), (2, 1, "storage.height"), (3, 1, "storage.height"), (3, 2, "storage.width")]
)
def test_a_clip_pooled_to_nothing_names_the_number_that_works(blocks, place, name):
    config = ModelConfig(variant="general", growth_rate=2, depth=3 * blocks + 1, blocks=blocks)
    shape = [64, 64, 64, 1]
    shape[place] = 1
    with pytest.raises(ConfigError) as caught:
        build_model(config, tuple(shape), 2)
    sentence = str(caught.value)
    assert sentence.startswith(f"{name}=1 is pooled to nothing in {blocks} blocks") and "model.blocks" in sentence
    shape = [16, 16, 16, 1]
    shape[place] = int(sentence.split(f"set {name} to ")[1].split()[0])
    assert all(build_model(config, tuple(shape), 2).get_layer("head_pool").input.shape[1:4])
    shape[place] -= 1
    with pytest.raises(ConfigError, match=name):
        build_model(config, tuple(shape), 2)


@pytest.mark.parametrize("shape", [(16, 32, 32), (16, 32, 32, 0), (16, 32.0, 32, 1), (-1, 32, 32, 1), (None, 32, 32, 1)])
def test_a_shape_that_is_none_is_refused(shape):
    with pytest.raises(ConfigError, match=r"\(frames, height, width, channels\), each at least 1"):
        build_model(SMALL, shape, 3)


@pytest.mark.parametrize("classes", [0, 1, 2.0])
def test_fewer_than_two_classes_are_refused(classes):
    with pytest.raises(ConfigError, match="at least 2 classes"):
        build_model(SMALL, (4, 16, 16, 1), classes)


def test_dropout_acts_in_training_only_and_adds_no_parameters():
    clips = np.random.default_rng(0).random((2, 4, 16, 16, 1), np.float32)
    plain = build_model(SMALL, (4, 16, 16, 1), 3)
    dropping = build_model(dataclasses.replace(SMALL, dropout=0.5), (4, 16, 16, 1), 3)
    assert trainable(plain) == trainable(dropping) and not layer_names(plain, keras.layers.Dropout)
    dropping.set_weights(list(plain.get_weights()) + dropping.get_weights()[len(plain.get_weights()) :])
    assert np.array_equal(plain(clips), dropping(clips))
    assert not np.array_equal(dropping(clips, training=True), dropping(clips, training=True))


def test_saved_and_loaded_with_dropout_the_outputs_are_equal(tmp_path):
    model = build_model(dataclasses.replace(SMALL, dropout=0.3), (4, 20, 24, 3), 5)
    clips = np.random.default_rng(0).random((3, 4, 20, 24, 3), np.float32)
    model(clips, training=True)  # moves the running means from their start
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras", compile=False, safe_mode=True)
    assert np.array_equal(model(clips), loaded(clips))
    assert all("dn3dlib" not in type(layer).__module__ for layer in loaded.layers)


def test_one_seed_gives_equal_weights():
    def weights(seed):
        keras.utils.set_random_seed(seed)
        return build_model(SMALL, (4, 16, 16, 1), 3).get_weights()

    first, again, other = weights(0), weights(0), weights(1)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(first, other, strict=True))
