"""The four configs refuse what cannot be, in one sentence that says what can, and survive JSON."""

import dataclasses
import inspect
import json
import re

import pytest

from dn3dlib import config
from dn3dlib.config import (
    CONFIG_CLASSES,
    ClipConfig,
    ModelConfig,
    StorageConfig,
    TrainConfig,
    apply_settings,
    from_dict,
    to_dict,
)
from dn3dlib.errors import ConfigError, Dn3dError
from dn3dlib.presets import PRESETS, find_preset

DEFAULTS = {prefix: cls() for prefix, cls in CONFIG_CLASSES.items()}


def refused(call, *arguments, **named) -> str:
    with pytest.raises(ConfigError) as caught:
        call(*arguments, **named)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("cls", "name", "value", "wanted"),
    [
        (StorageConfig, "height", 7, "from 8 to 4096"),
        (StorageConfig, "width", 4097, "from 8 to 4096"),
        (StorageConfig, "channels", 2, r"1 (grey) or 3 (RGB)"),
        (StorageConfig, "fit", "squeeze", "stretch, crop, pad"),
        (StorageConfig, "encoding", "gif", "jpeg, png"),
        (StorageConfig, "quality", 0, "from 1 to 100"),
        (ClipConfig, "frames", 0, "from 1 to 1024"),
        (ClipConfig, "stride", 0, "from 1 to 100"),
        (ClipConfig, "extra_stride", -1, "from 0 to 100"),
        (ClipConfig, "hop", 17, "from 1 to 16"),
        (ClipConfig, "clips_per_sequence", 0, "from 1 to 10000"),
        (ClipConfig, "padding", "mirror", "loop, hold"),
        (ClipConfig, "normalisation", "divide_254", "none, divide_255, divide_256, std, std_frame, motion"),
        (ClipConfig, "crop", -1, "from 0 to 1024"),
        (ClipConfig, "brightness", 1.5, "from 0 to 1"),
        (ClipConfig, "scale", 1.5, "from 0 to 1"),
        (ClipConfig, "speed", -0.5, "from 0 to 1"),
        (ClipConfig, "frame_order", "backward", "forward, shuffled, reversed, frozen"),
        (ModelConfig, "variant", "heavy", "general, lite"),
        (ModelConfig, "growth_rate", 0, "from 1 to 1024"),
        (ModelConfig, "depth", 0, "from 1 to 1000"),
        (ModelConfig, "blocks", 17, "from 1 to 16"),
        (ModelConfig, "compression", 0.0, "above 0 and at most 1"),
        (ModelConfig, "dropout", 1.0, "from 0 to below 1"),
        (ModelConfig, "bn_momentum", 1.0, "from 0 to below 1"),
        (ModelConfig, "bn_epsilon", 0.0, "above 0"),
        (TrainConfig, "epochs", 0, "from 1 to 100000"),
        (TrainConfig, "batch_size", 0, "from 1 to 4096"),
        (TrainConfig, "seed", -1, "from 0 to 2147483647"),
        (TrainConfig, "learning_rate", 0.0, "above 0"),
        (TrainConfig, "schedule", "linear", "step, exponential, cosine"),
        (TrainConfig, "decay_steps", 0, "at least 1"),
        (TrainConfig, "warmup", 1.0, "from 0 to below 1"),
        (TrainConfig, "momentum", 1.0, "from 0 to below 1"),
        (TrainConfig, "weight_decay", -1e-4, "at least 0"),
        (TrainConfig, "weight_decay_on", "biases", "all, kernels"),
        (TrainConfig, "class_weights", "equal", "none, balanced"),
        (TrainConfig, "cache", "ram", "auto, memory, disk"),
    ],
)
def test_impossible_values_are_refused(cls, name, value, wanted):
    sentence = refused(cls, **{name: value})
    assert sentence.startswith(f"{cls.prefix}.{name} is {value!r}, but must be ") and wanted in sentence


@pytest.mark.parametrize(
    ("cls", "name", "value", "wanted"),
    [
        (ClipConfig, "frames", 16.0, "int"),
        (ClipConfig, "frames", True, "int"),
        (ClipConfig, "frames", "16", "int"),
        (ClipConfig, "flip", 1, "bool"),
        (ClipConfig, "flip", "yes", "bool"),
        (ClipConfig, "padding", 3, "str"),
        (ModelConfig, "dropout", "0.1", "float"),
        (ModelConfig, "dropout", True, "float"),
        (ModelConfig, "depth", None, "int"),
        (ModelConfig, "depth", [20], "int"),
        (TrainConfig, "learning_rate", float("nan"), "finite number"),
        (TrainConfig, "learning_rate", float("inf"), "finite number"),
    ],
)
def test_values_of_another_type_are_refused(cls, name, value, wanted):
    sentence = refused(cls, **{name: value})
    assert f"{cls.prefix}.{name} is " in sentence and re.search(f"must be (a|of type) {wanted}", sentence)


def test_every_field_has_a_comment_of_its_effect():
    source = inspect.getsource(config)
    for cls in CONFIG_CLASSES.values():
        for field in dataclasses.fields(cls):
            line = next(line for line in source.splitlines() if line.startswith(f"    {field.name}: "))
            assert "  # " in line, line


def test_a_whole_number_serves_where_a_share_is_wanted():
    assert ModelConfig(compression=1).compression == 1
    assert TrainConfig(learning_rate=1).learning_rate == 1


def test_nesterov_needs_momentum():
    assert "train.momentum" in refused(TrainConfig, momentum=0.0)
    assert not TrainConfig(momentum=0.0, nesterov=False).nesterov


def test_a_hop_may_be_as_long_as_a_clip_spans():
    assert ClipConfig(frames=4, stride=3, hop=10).span == 10
    assert "from 1 to 10" in refused(ClipConfig, frames=4, stride=3, hop=11)


def test_configs_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        ModelConfig().depth = 40


@pytest.mark.parametrize(
    ("bottleneck", "depth", "blocks", "layers", "true_depth"),
    [
        (True, 20, 3, 2, 16),  # 2.5 layers a block, rounded down
        (True, 40, 3, 6, 40),
        (True, 30, 3, 4, 28),
        (False, 20, 3, 5, 19),
        (False, 22, 3, 6, 22),
        (True, 100, 3, 16, 100),
        (True, 7, 2, 1, 7),
        (False, 3, 1, 1, 3),
    ],
)
def test_depth_is_rounded_as_the_thesis_does(bottleneck, depth, blocks, layers, true_depth):
    built = ModelConfig(bottleneck=bottleneck, depth=depth, blocks=blocks)
    assert (built.layers_per_block, built.true_depth) == (layers, true_depth)


@pytest.mark.parametrize("bottleneck", [True, False])
@pytest.mark.parametrize("blocks", [1, 2, 3, 7, 16])
def test_a_depth_that_leaves_no_layer_names_the_least_that_works(bottleneck, blocks):
    sentence = refused(ModelConfig, bottleneck=bottleneck, depth=1, blocks=blocks)
    least = int(sentence.split("set model.depth to ")[1].split()[0])
    assert "model.depth=1 " in sentence and "model.blocks" in sentence
    assert ModelConfig(bottleneck=bottleneck, depth=least, blocks=blocks).layers_per_block == 1
    refused(ModelConfig, bottleneck=bottleneck, depth=least - 1, blocks=blocks)


# --- settings --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("setting", "prefix", "name", "value"),
    [
        ("model.depth=40", "model", "depth", 40),
        (" model.depth=40", "model", "depth", 40),
        ("model.bottleneck=false", "model", "bottleneck", False),
        ("model.bottleneck=False", "model", "bottleneck", False),
        ("clip.flip=true", "clip", "flip", True),
        ("clip.flip=True", "clip", "flip", True),
        ("train.learning_rate=1e-2", "train", "learning_rate", 0.01),
        ("train.learning_rate=1", "train", "learning_rate", 1),
        ("model.variant=general", "model", "variant", "general"),
        ('model.variant="general"', "model", "variant", "general"),
        ("storage.encoding=png", "storage", "encoding", "png"),
    ],
)
def test_a_setting_changes_one_field(setting, prefix, name, value):
    changed = apply_settings(DEFAULTS, [setting])
    assert getattr(changed[prefix], name) == value and type(getattr(changed[prefix], name)) is type(value)
    assert changed == DEFAULTS | {prefix: dataclasses.replace(DEFAULTS[prefix], **{name: value})}


def test_settings_that_only_fit_together_are_applied_together():
    changed = apply_settings(DEFAULTS, ["clip.frames=4", "clip.hop=4", "train.momentum=0", "train.nesterov=false"])
    assert (changed["clip"].frames, changed["clip"].hop, changed["train"].nesterov) == (4, 4, False)


def test_of_two_settings_of_one_field_the_last_holds():
    assert apply_settings(DEFAULTS, ["model.depth=40", "model.depth=30"])["model"].depth == 30


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("model.dept=40", "did you mean depth?"),
        ("model.grow_rate=4", "did you mean growth_rate?"),
        ("clip.normalization=std", "did you mean normalisation?"),
        ("model.xyz=1", "there are: variant, bottleneck"),
        ("modle.depth=40", "did you mean model?"),
        ("depth=40", "'depth=40' does not read like model.depth=40"),
        ("model.depth", "'model.depth' does not read like model.depth=40"),
        ("=40", "does not read like model.depth=40"),
        ("", "does not read like model.depth=40"),
        ("model.depth=forty", "model.depth is 'forty', but must be of type int"),
        ("model.depth=", "model.depth is '', but must be of type int"),
        ("model.depth=null", "model.depth is None, but must be of type int"),
        ("train.learning_rate=NaN", "finite number"),
        ("train.learning_rate=1e999", "finite number"),
        (f"train.learning_rate=1{'0' * 400}", "finite number"),
        (f"model.depth=1{'0' * 5000}", "model.depth is "),
        ("model.prefix=clip", "no parameter model.prefix"),
    ],
)
def test_a_wrong_setting_says_what_is_right(setting, said):
    assert said in refused(apply_settings, DEFAULTS, [setting])


def test_settings_know_only_the_configs_at_hand():
    here = {"model": ModelConfig()}
    assert "no settings 'storage' here" in refused(apply_settings, here, ["storage.height=32"])


# --- JSON and presets ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PRESETS)
def test_json_and_back(name):
    for part in PRESETS[name].configs.values():
        assert from_dict(type(part), json.loads(json.dumps(to_dict(part)))) == part


def test_json_of_another_form_is_refused():
    assert "must be an object" in refused(from_dict, ModelConfig, [1])
    assert "did you mean depth?" in refused(from_dict, ModelConfig, {"deepth": 20})
    assert from_dict(ModelConfig, {"depth": 40}) == ModelConfig(depth=40)


def test_an_unknown_preset_names_the_nearest():
    assert "did you mean thesis-6?" in refused(find_preset, "thesis6")
    assert "there are: quick, small-data, original, thesis-1" in refused(find_preset, "zzz")


def test_thesis_presets_train_as_the_thesis_did():
    for row in range(1, 16):
        preset = find_preset(f"thesis-{row}")
        assert preset.storage.channels == 3 and preset.clip.normalisation == "std_frame"
        train = preset.train
        assert (train.schedule, train.learning_rate, train.momentum, train.nesterov) == ("step", 0.1, 0.9, True)
        assert (train.weight_decay, train.weight_decay_on) == (1e-4, "all") and 70 <= train.epochs <= 100
        assert preset.protocol == ("gu2017" if "KTH" in preset.published else "singh2016")
    original = find_preset("original")
    assert (original.train.schedule, original.train.decay_steps, original.train.batch_size) == ("exponential", 5000, 20)
    assert original.model.dropout == pytest.approx(0.1)


def test_a_config_error_is_an_error_of_the_kit():
    assert issubclass(ConfigError, Dn3dError) and not issubclass(ConfigError, ValueError)
