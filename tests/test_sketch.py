"""A sketch of a network is that network: each layer, what it reads, its shape, its weights."""

from dataclasses import replace

import keras
import pytest

from dn3dlib.config import ModelConfig
from dn3dlib.errors import ConfigError
from dn3dlib.model.anatomy import anatomy, connections, training_memory
from dn3dlib.model.densenet3d import build_model
from dn3dlib.model.sketch import layers_of, origins, sketch_model
from dn3dlib.presets import PRESETS

LITE = ModelConfig(growth_rate=12, depth=20)
SHAPE = (16, 64, 64, 1)
# The ends of each slider of notebooks 02 and 03, with both stems, with and without bottleneck, and each compression.
SETTINGS = [
    replace(LITE, variant=variant, bottleneck=bottleneck, depth=depth, growth_rate=rate)
    for variant in ("lite", "general")
    for bottleneck in (True, False)
    for depth, rate in ((10, 32), (11, 4), (40, 4))
]
SETTINGS += [replace(LITE, variant=variant, compression=share) for variant in ("lite", "general") for share in (0.25, 0.75, 1.0)]
SETTINGS += [replace(LITE, depth=40, blocks=4, dropout=0.2, growth_rate=3, compression=0.3)]
CLIPS = [(4, 32, 32, 1), (5, 96, 96, 1), (32, 128, 128, 1), (16, 37, 43, 3), (7, 33, 21, 2)]


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_sketched_as_it_is_built(name):
    preset = PRESETS[name]
    what = preset.model, (preset.clip.frames, *preset.storage.frame_shape), 6
    assert list(layers_of(build_model(*what)).values()) == sketch_model(*what).layers


@pytest.mark.parametrize("config", SETTINGS, ids=str)
def test_settings_are_sketched_as_they_are_built(config):
    assert list(layers_of(build_model(config, SHAPE, 6)).values()) == sketch_model(config, SHAPE, 6).layers


@pytest.mark.parametrize("variant", ["lite", "general"])
@pytest.mark.parametrize("shape", CLIPS)
def test_clips_of_any_size_are_sketched_as_they_are_built(shape, variant):
    config = replace(LITE, variant=variant, growth_rate=2)
    assert list(layers_of(build_model(config, shape, 2)).values()) == sketch_model(config, shape, 2).layers


def test_what_is_read_off_a_network_is_what_keras_has():
    """The sketch is held against what is read off, so that must be right on its own."""
    model = build_model(replace(LITE, dropout=0.1), SHAPE, 6)
    layers = layers_of(model)
    assert list(layers) == [layer.name for layer in model.layers]
    for layer in model.layers:
        found = layers[layer.name]
        assert found.kind == type(layer).__name__ and (None, *found.shape) == tuple(layer.output.shape)
        assert list(found.weights) == [tuple(variable.shape) for variable in layer.trainable_variables]
        assert found.size == getattr(layer, "kernel_size", getattr(layer, "pool_size", (1, 1, 1)))
        assert found.strides == getattr(layer, "strides", (1, 1, 1))
    assert layers["clips"].reads == () and layers["stem_conv"].reads == ("clips",)
    assert layers["block1_layer2_concat"].reads == ("block1_layer1_concat", "block1_layer2_dropout")
    assert origins(layers, "transition1_conv") == ["stem_pool", "block1_layer1_conv", "block1_layer2_conv"]


def test_a_sketch_stands_for_the_network_in_its_anatomy():
    model, sketch = build_model(LITE, SHAPE, 6), sketch_model(LITE, SHAPE, 6)
    assert anatomy(sketch) == anatomy(model)
    assert connections(sketch) == connections(model)
    assert training_memory(sketch) == training_memory(model)


def test_a_sketch_makes_no_weights(monkeypatch):
    monkeypatch.setattr(keras.Variable, "__init__", lambda *_, **__: pytest.fail("a variable was made"))
    assert sketch_model(LITE, SHAPE, 6).layers


def test_what_cannot_be_built_cannot_be_sketched():
    with pytest.raises(ConfigError, match="pooled to nothing"):
        sketch_model(replace(LITE, variant="general"), (1, 64, 64, 1), 6)
