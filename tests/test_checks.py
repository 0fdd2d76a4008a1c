"""Checks before a training: each passes on what is sound and fails on a fault that was planted; the range test."""

import dataclasses
import json
import math

import keras
import numpy as np
import pytest

from dn3dlib.config import NORMALISATIONS, ClipConfig, ModelConfig, StorageConfig, TrainConfig
from dn3dlib.data import clips as clips_module
from dn3dlib.data.catalog import folder_catalog
from dn3dlib.data.clips import plan_training
from dn3dlib.data.manifest import DataSet
from dn3dlib.data.prepare import prepare
from dn3dlib.errors import ConfigError
from dn3dlib.model.densenet3d import build_model
from dn3dlib.train import checks, rates
from dn3dlib.train.checks import Check, run_checks

NAMES = ["classes", "input statistics", "augmentation", "validation", "first loss", "gradients", "one batch"]


@pytest.fixture(scope="module")
def data(prepared) -> DataSet:
    return DataSet.open(prepared)


@pytest.fixture(scope="module")
def clip(tiny) -> ClipConfig:
    return dataclasses.replace(tiny.clip, clips_per_sequence=2)


@pytest.fixture(scope="module")
def model() -> ModelConfig:
    """Large enough to learn a batch by heart, with dropout on."""
    return ModelConfig(growth_rate=4, depth=10, blocks=2, dropout=0.2)


@pytest.fixture
def network(model, data, clip) -> keras.Model:
    keras.utils.set_random_seed(0)
    return build_model(model, (clip.frames, *data.storage.frame_shape), len(data.classes))


@pytest.fixture(scope="module")
def config() -> TrainConfig:
    return TrainConfig(batch_size=8, learning_rate=0.1)


def names_of(found: list[Check], passed: bool) -> list[str]:
    return [check.name for check in found if check.passed is passed]


# --- all together ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("variant", ["lite", "general"])
def test_sound_settings_pass_every_check(data, clip, model, config, variant):
    model = dataclasses.replace(model, variant=variant)
    found = run_checks(data, clip, model, config, device="cpu", show_progress=False)
    assert [check.name for check in found] == NAMES and names_of(found, False) == []
    json.dumps([dataclasses.asdict(check) for check in found], allow_nan=False)
    assert all(check.sentence.endswith(".") and check.expected for check in found)


def test_the_checks_change_neither_weights_nor_statistics_nor_files(network, data, clip, config):
    before = [weights.copy() for weights in network.get_weights()]
    files = {path: path.stat().st_mtime_ns for path in data.path.iterdir()}
    checks.first_loss(network, data, clip, config)
    checks.gradient_norms(network, data, clip, config)
    checks.learns_one_batch(network, data, clip, config, show_progress=False)
    assert all(np.array_equal(one, two) for one, two in zip(before, network.get_weights(), strict=True))
    assert {path: path.stat().st_mtime_ns for path in data.path.iterdir()} == files


# --- data ------------------------------------------------------------------------------------------------------------


def test_a_class_without_training_sequences_is_named(data):
    rows = tuple(dataclasses.replace(s, split="test") if s.label == "boxing" else s for s in data.sequences)
    check = checks.classes_present(dataclasses.replace(data, sequences=rows))
    assert not check.passed and "none of boxing:" in check.sentence and check.values["boxing"] == 0


@pytest.mark.parametrize("normalisation", ["none", "divide_255", "divide_256", "std", "std_frame"])
def test_statistics_are_as_each_normalisation_promises(data, clip, normalisation):
    check = checks.input_statistics(data, dataclasses.replace(clip, normalisation=normalisation))
    assert check.passed, check
    mean, deviation = check.values["mean"][0], check.values["deviation"][0]
    assert check.values["min"][0] <= mean <= check.values["max"][0] and len(check.values["mean"]) == 1
    if normalisation.startswith("std"):
        assert mean == pytest.approx(0, abs=1e-3) and deviation == pytest.approx(1, abs=1e-3)
    else:
        assert check.values["max"][0] > (100 if normalisation == "none" else 0.4)


def test_the_statistics_are_those_of_the_clips(data, clip):
    clip = dataclasses.replace(clip, normalisation="divide_255")
    plan = plan_training(data, clip, 0, 1)[:32]
    whole = np.concatenate([batch.numpy() for batch, _, _ in clips_module.clip_dataset(data, plan, clip, 7)])
    values = checks.input_statistics(data, clip).values
    found = [values[name][0] for name in ("mean", "deviation", "min", "max")]
    np.testing.assert_allclose(found, [whole.mean(), whole.std(), whole.min(), whole.max()], rtol=1e-4)


@pytest.mark.parametrize("normalisation", ["divide_255", "divide_256", "std", "std_frame"])
def test_pixels_that_were_not_normalised_are_found(monkeypatch, data, clip, normalisation):
    monkeypatch.setattr(clips_module, "normalise", lambda clips, how: clips)
    check = checks.input_statistics(data, dataclasses.replace(clip, normalisation=normalisation))
    assert not check.passed and f"clip.normalisation={normalisation} promises" in check.sentence


def test_clips_with_numbers_that_are_none_are_named(monkeypatch, data, clip):
    monkeypatch.setattr(clips_module, "normalise", lambda clips, how: clips * math.nan)
    check = checks.input_statistics(data, clip)
    assert not check.passed and check.values["mean"] == [None] and "not finite: person" in check.sentence


def test_videos_that_show_nothing_are_named(numbered_video, tmp_path):
    for label in ("a", "b"):
        for take in range(3):
            numbered_video(tmp_path / "videos" / label / f"{take}.avi", 10, first=20 * take + 10 * (label == "b"))
    storage = StorageConfig(height=32, width=32, encoding="png")
    catalog = folder_catalog(tmp_path / "videos").split_by("by-subject:1,0,0")
    data = prepare(catalog, tmp_path / "data", storage, 1, show_progress=False)
    check = checks.input_statistics(data, ClipConfig(frames=4, hop=4))  # each frame is of one grey: nothing is left of it
    assert not check.passed and len(check.values["constant"]) == 6 and "constant: a/0" in check.sentence


# --- what is drawn ---------------------------------------------------------------------------------------------------


def test_every_draw_that_is_on_is_looked_at(data, clip):
    check = checks.augmentation_varies(data, dataclasses.replace(clip, normalisation="none"))
    assert check.passed and set(check.values) == {"frames", "shift", "flip", "brightness"}
    assert all(0.1 < share <= 1 for share in check.values.values())


def test_without_augmentation_and_room_nothing_is_drawn(data):
    longest = max(s.frames for s in data.sequences)
    check = checks.augmentation_varies(data, ClipConfig(frames=longest, hop=4))
    assert check.passed and check.values == {} and "Nothing is drawn at random" in check.sentence


def test_epochs_that_draw_the_same_are_found(monkeypatch, data, clip):
    monkeypatch.setattr(checks, "plan_training", lambda data, clip, seed, epoch: plan_training(data, clip, seed, 1))
    check = checks.augmentation_varies(data, clip)
    assert not check.passed and "clips: frames, shift, flip. Look" in check.sentence


def test_a_draw_that_is_not_carried_out_is_found(monkeypatch, data, clip):
    move = clips_module.move
    monkeypatch.setattr(clips_module, "move", lambda pixels, shift, flip: move(pixels, (0, 0), flip))
    check = checks.augmentation_varies(data, dataclasses.replace(clip, normalisation="none"))
    assert not check.passed and "does not change the clips: shift." in check.sentence


def test_a_draw_that_is_too_small_to_see_is_found(data):
    check = checks.augmentation_varies(data, ClipConfig(frames=4, hop=4, normalisation="divide_255", brightness=1e-6))
    assert not check.passed and "does not change the clips: brightness." in check.sentence


@pytest.mark.parametrize("normalisation", ["std", "std_frame"])
def test_brightness_that_the_normalisation_takes_away_is_told(data, normalisation):
    check = checks.augmentation_varies(data, ClipConfig(frames=4, hop=4, normalisation=normalisation, brightness=0.001))
    assert check.passed and check.values["brightness"] == 0  # too little to meet black or white
    assert f"Of clip.brightness, clip.normalisation={normalisation} leaves only" in check.sentence


def test_validation_shows_the_stored_frames(data, clip):
    check = checks.validation_is_plain(data, clip)
    assert check.passed and check.values == {"clips": 8, "between_validations": 0, "to_stored_frames": 0}


def test_validation_with_augmentation_is_found(monkeypatch, data, clip):
    drawn = iter((1, 2))
    monkeypatch.setattr(checks, "plan_evaluation", lambda data, clip, split, seed: plan_training(data, clip, seed, next(drawn), split))
    check = checks.validation_is_plain(data, clip)
    assert not check.passed and check.values["between_validations"] > 0


def test_validation_that_is_always_changed_alike_is_found(monkeypatch, data, clip):
    monkeypatch.setattr(checks, "plan_evaluation", lambda data, clip, split, seed: plan_training(data, clip, seed, 1, split))
    check = checks.validation_is_plain(data, clip)
    assert not check.passed and check.values["between_validations"] == 0 < check.values["to_stored_frames"]


def test_without_a_validation_part_there_is_nothing_to_see(data, clip):
    check = checks.validation_is_plain(data.as_split_by("by-subject:0.5,0,0.5"), clip)
    assert check.passed and "no validation part" in check.sentence


# --- the network -----------------------------------------------------------------------------------------------------


def test_logits_that_start_too_large_are_found(network, data, clip, config):
    network.get_layer("logits").kernel.assign(np.random.default_rng(0).normal(size=network.get_layer("logits").kernel.shape) * 10)
    check = checks.first_loss(network, data, clip, config)
    assert not check.passed and check.values["loss"] > math.log(6) + checks.LOSS_ABOVE and "logits are too large" in check.sentence


def test_a_network_that_knows_already_is_found(network, data, clip, config, monkeypatch):
    monkeypatch.setattr(checks, "_copy", lambda network: network)  # so that the network itself learns the clips
    assert checks.learns_one_batch(network, data, clip, config, show_progress=False).passed
    check = checks.first_loss(network, data, clip, config)
    assert not check.passed and check.values["loss"] < math.log(6) - checks.LOSS_BELOW and "it knows something already" in check.sentence


def test_a_loss_that_is_no_number_is_found(network, data, clip, config):
    network.get_layer("stem_conv").kernel.assign(np.full(network.get_layer("stem_conv").kernel.shape, math.nan))
    check = checks.first_loss(network, data, clip, config)
    assert not check.passed and check.values["loss"] is None and "no number" in check.sentence
    check = checks.gradient_norms(network, data, clip, config)
    assert not check.passed and set(check.values.values()) == {None}


def test_a_common_class_that_is_liked_by_chance_does_not_hide_a_leaning_head(network, data, clip, config):
    """Five in six sequences are of the class to which the head leans: the plain mean of the losses would look sound."""
    seen, rows = 0, []
    for s in data.sequences:
        seen += s.label != "boxing"
        rows.append(s if s.label == "boxing" or seen % 5 == 0 else dataclasses.replace(s, label="boxing"))
    bias = np.zeros(6, np.float32)
    bias[data.classes.index("boxing")] = 5
    network.get_layer("logits").bias.assign(bias)
    assert not checks.first_loss(network, dataclasses.replace(data, sequences=tuple(rows)), clip, config).passed


def test_gradients_come_for_each_part_in_order(network, data, clip, config):
    check = checks.gradient_norms(network, data, clip, config)
    assert check.passed and list(check.values) == ["stem", "block1", "transition1", "block2", "head"]


def test_a_dead_block_and_an_exploding_part_are_named(network, data, clip, config):
    for layer in network.layers:
        if layer.name.startswith("block2") and isinstance(layer, keras.layers.Conv3D):
            layer.kernel.assign(np.zeros(layer.kernel.shape))
    check = checks.gradient_norms(network, data, clip, config)
    assert not check.passed and check.values["block2"] == 0 and "in block2:" in check.sentence
    stem = network.get_layer("stem_conv").kernel
    stem.assign(stem.value * 1e-5)  # batch normalisation after it: the smaller the kernel, the larger its gradient
    for layer in network.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.epsilon = 1e-12
    check = checks.gradient_norms(network, data, clip, config)
    assert "in stem, block2:" in check.sentence


def test_a_batch_is_learned_by_heart_whatever_the_dropout(data, clip, config, model):
    keras.utils.set_random_seed(0)
    network = build_model(dataclasses.replace(model, dropout=0.9), (clip.frames, *data.storage.frame_shape), 6)
    check = checks.learns_one_batch(network, data, clip, config, show_progress=False)
    assert check.passed and check.values["steps"] < checks.HEART_STEPS and check.values["last_loss"] < 0.1 * math.log(6)


def test_dropout_that_stays_on_prevents_it(monkeypatch, data, clip, config, model):
    keras.utils.set_random_seed(0)
    network = build_model(dataclasses.replace(model, dropout=0.9), (clip.frames, *data.storage.frame_shape), 6)
    monkeypatch.setattr(checks, "_copy", keras.models.clone_model)
    assert not checks.learns_one_batch(network, data, clip, config, show_progress=False).passed


@pytest.mark.parametrize("rate", [1e-9, 1e6])
def test_a_learning_rate_that_is_far_off_is_found(network, data, clip, config, rate):
    check = checks.learns_one_batch(network, data, clip, dataclasses.replace(config, learning_rate=rate), show_progress=False)
    assert not check.passed and f"Try another train.learning_rate (it is {rate})" in check.sentence


def test_shuffled_labels_can_be_learned_by_heart_all_the_same(network, data, clip, config):
    """What the check does not see: a few clips are learned with any labels."""
    labels = np.random.default_rng(0).permutation([s.label for s in data.sequences])
    rows = tuple(dataclasses.replace(s, label=str(label)) for s, label in zip(data.sequences, labels, strict=True))
    check = checks.learns_one_batch(network, dataclasses.replace(data, sequences=rows), clip, config, show_progress=False)
    assert check.passed


# --- the range test --------------------------------------------------------------------------------------------------


def test_the_range_test_rises_geometrically_and_suggests_a_tenth_of_the_best(data, clip, model, config):
    test = rates.lr_range_test(data, clip, model, config, first=1e-3, last=1.0, steps=40, device="cpu", show_progress=False)
    assert len(test.rates) == len(test.losses) == len(test.smoothed) == 40
    np.testing.assert_allclose(test.rates, np.geomspace(1e-3, 1, 40))
    mean, expected = 0.0, []
    for n, loss in enumerate(test.losses, 1):
        mean = 0.9 * mean + 0.1 * loss
        expected.append(mean / (1 - 0.9**n))
    np.testing.assert_allclose(test.smoothed, expected)
    assert test.lowest == test.rates[test.smoothed.argmin()] and test.suggested == test.lowest / 10
    assert test.smoothed.min() < test.smoothed[0], "it has learned something on the way"


def test_the_range_test_trains_at_the_rates_that_it_names(monkeypatch, data, clip, model, config):
    seen = []
    make = rates.make_train_step

    def spying(network, optimizer, *arguments):
        step = make(network, optimizer, *arguments)

        def spy(*batch):
            seen.append(float(optimizer.learning_rate))
            return step(*batch)

        return spy

    monkeypatch.setattr(rates, "make_train_step", spying)
    test = rates.lr_range_test(data, clip, model, config, first=1e-3, last=1.0, steps=10, device="cpu", show_progress=False)
    np.testing.assert_allclose(seen, test.rates, rtol=1e-4)


def test_the_range_test_ends_where_the_loss_explodes(data, clip, model, config):
    test = rates.lr_range_test(data, clip, model, config, first=1e-2, last=1e8, steps=60, device="cpu", show_progress=False)
    assert len(test.rates) < 60 and np.isfinite(test.losses).all() and test.lowest < 100


@pytest.mark.parametrize(("first", "last", "steps"), [(0, 1, 20), (1, 0.1, 20), (0.1, 1, 9), (0.1, math.inf, 20)])
def test_a_range_that_is_none(data, clip, model, config, first, last, steps):
    with pytest.raises(ConfigError, match="at least 10 steps from a small rate to a larger one"):
        rates.lr_range_test(data, clip, model, config, first=first, last=last, steps=steps)


# --- in the shell ----------------------------------------------------------------------------------------------------

SHELL = "--device cpu --batch-size 8 --frames 4 --set clip.hop=4 --set model.growth_rate=4 --set model.depth=10 --set model.blocks=2".split()


def test_train_check_passes_and_makes_no_run(shell, prepared, tmp_path, monkeypatch):
    monkeypatch.setenv("DN3D_RUNS", str(tmp_path / "runs"))
    status, out, err = shell("train", "--check", "--data", prepared, *SHELL, "--json")
    found = json.loads(out)
    assert status == 0 and found["passed"] and [check["name"] for check in found["checks"]] == NAMES, err
    status, out, _ = shell("train", "--check", "--data", prepared, "--out", tmp_path / "run", *SHELL)
    assert status == 0 and [line.split(":")[0] for line in out.splitlines()[::2]] == [f"passed  {name}" for name in NAMES]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("settings", "failed"),
    [
        (["train.learning_rate=1e-9"], ["one batch"]),
        (["clip.brightness=1e-6", "clip.normalisation=divide_255"], ["augmentation"]),
        (["model.bn_epsilon=1e6"], ["gradients", "one batch"]),  # batch normalisation that makes everything small
    ],
)
def test_train_check_fails_on_settings_that_cannot_work(shell, prepared, settings, failed):
    options = [option for setting in settings for option in ("--set", setting)]
    status, out, err = shell("train", "--check", "--data", prepared, *SHELL, *options, "--json")
    found = json.loads(out)
    assert not found["passed"] and [check["name"] for check in found["checks"] if not check["passed"]] == failed
    last = err.splitlines()[-1]
    assert status == 2
    assert last.startswith(f"dn3d: error: {len(failed)} of 7 checks of a training on {prepared} failed ({', '.join(failed)}). ")


def test_train_find_learning_rate(shell, prepared, tmp_path, monkeypatch):
    monkeypatch.setenv("DN3D_RUNS", str(tmp_path / "runs"))
    status, out, err = shell("train", "--find-learning-rate", "--data", prepared, *SHELL)
    assert status == 0 and "a tenth of it is suggested: --set train.learning_rate=" in out.splitlines()[-1], err
    status, out, _ = shell("train", "--find-learning-rate", "--data", prepared, *SHELL, "--json")
    found = json.loads(out)
    assert len(found["rates"]) == len(found["losses"]) and found["suggested"] == pytest.approx(found["lowest"] / 10)
    assert not list(tmp_path.iterdir())


def test_what_does_not_go_together(shell, prepared, trained):
    for options in (
        ["--check", "--resume", "--out", trained],
        ["--check", "--init-from", trained, "--data", prepared],
        ["--check", "--find-learning-rate", "--data", prepared],
    ):
        status, _, err = shell("train", *options)
        assert status == 2 and "leave out the other" in err.splitlines()[-1]


@pytest.mark.parametrize("setting", ["scale", "speed"])
def test_zoom_and_speed_are_looked_at(prepared, tiny, setting):
    alone = dataclasses.replace(tiny.clip, extra_stride=0, crop=0, flip=False, brightness=0.0, **{setting: 0.5})
    found = checks.augmentation_varies(DataSet.open(prepared), alone, 0)
    assert found.passed and ("scale" if setting == "scale" else "frames") in found.values


@pytest.mark.parametrize("normalisation", NORMALISATIONS)
def test_every_normalisation_keeps_its_promise(prepared, tiny, normalisation):
    clip = dataclasses.replace(tiny.clip, normalisation=normalisation)
    found = checks.input_statistics(DataSet.open(prepared), clip)
    assert found.passed, found.sentence
