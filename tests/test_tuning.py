"""Fine-tuning: weights of another run as the start, a new head, and layers that stay as they are."""

import dataclasses
import json
import re
import shutil
import signal

import keras
import numpy as np
import pytest
import tensorflow as tf
from steps import at_step, without_times

from dn3dlib.config import ModelConfig, TrainConfig
from dn3dlib.data.prepare import prepare
from dn3dlib.errors import ConfigError, RunError
from dn3dlib.evaluate.crossval import crossval
from dn3dlib.evaluate.report import evaluate
from dn3dlib.model.densenet3d import build_model
from dn3dlib.train import steps
from dn3dlib.train.best import load_best
from dn3dlib.train.fused import inference_function, training_function
from dn3dlib.train.loop import resume, train
from dn3dlib.train.runs import Run
from dn3dlib.train.tuning import freeze, learned_numbers

SHAPE, CLASSES = (6, 20, 24, 3), 4
MODEL = ModelConfig(growth_rate=4, depth=16, blocks=2, dropout=0.2)
HANDS = ("boxing", "handclapping", "handwaving")
HERE = {"device": "cpu", "show_progress": False}


@pytest.fixture(scope="module")
def hands(catalog, tiny, tmp_path_factory):
    """The three actions of the hands alone, in frames of another size."""
    storage = dataclasses.replace(tiny.storage, height=40, width=48)
    return prepare(catalog.only_classes(HANDS), tmp_path_factory.mktemp("hands") / "data", storage, 1, show_progress=False).path


@pytest.fixture(scope="module")
def go(hands, trained, tiny, tmp_path_factory):
    """A function that trains on `hands` from the weights of `trained`; settings of TrainConfig by name."""

    def run(name: str, model=tiny.model, init_from=trained, **settings):
        run_dir = tmp_path_factory.mktemp(name) / "run"
        train(hands, run_dir, tiny.clip, model, dataclasses.replace(tiny.train, **settings), init_from=init_from, **HERE)
        return run_dir

    return run


def network(frozen: str = "none", model: ModelConfig = MODEL) -> keras.Model:
    keras.utils.set_random_seed(3)
    made = build_model(model, SHAPE, CLASSES)
    freeze(made, frozen, "a run")
    return made


def values_of(made: keras.Model) -> dict[str, list[np.ndarray]]:
    return {layer.name: layer.get_weights() for layer in made.layers if layer.weights}


def unchanged(before: dict, after: dict) -> set[str]:
    """The layers all of whose values are the same, to the bit."""
    return {name for name in before if all(map(np.array_equal, before[name], after[name]))}


def part(name: str) -> str:
    return re.match(r"stem|block\d|transition\d|head|logits", name)[0]


# --- the start -------------------------------------------------------------------------------------------------------


def test_other_classes_take_the_body_and_a_new_head_and_the_run_says_so(go, trained, capfd):
    run_dir = go("start", epochs=1, learning_rate=1e-12, weight_decay=0.0)
    old, new = (load_best(Run.open(path)) for path in (trained, run_dir))
    body = [(a, b) for a, b in zip(old.layers, new.layers, strict=True) if a.weights and a.name != "logits"]
    kernels = [(a.kernel, b.kernel) for a, b in body if hasattr(a, "kernel")]
    assert len(kernels) > 3 and all(np.allclose(a, b, atol=1e-7) for a, b in kernels)
    assert new.get_layer("logits").kernel.shape[1] == 3
    noted = json.loads((run_dir / "environment.json").read_text())
    assert noted["start"].startswith(f"The run began with the weights of {trained}, but with a new head: those stand for boxing")
    assert noted["start"].endswith("this one for boxing, handclapping, handwaving.")


def test_the_same_classes_keep_their_head(prepared, trained, tiny, tmp_path):
    train(prepared, tmp_path / "run", tiny.clip, tiny.model, TrainConfig(epochs=1, learning_rate=1e-12, weight_decay=0.0), init_from=trained, **HERE)
    old, new = (load_best(Run.open(path)).get_layer("logits").kernel for path in (trained, tmp_path / "run"))
    assert np.allclose(old, new, atol=1e-7)
    assert "head" not in json.loads((tmp_path / "run" / "environment.json").read_text())["start"]


def test_weights_of_another_form_are_refused_with_the_layer(go, tiny):
    with pytest.raises(RunError, match=r"do not fit this network: stem_conv is \[\(7, 7, 7, 1, 4\)\] there, but \[\(7, 7, 7, 1, 8\)\] here"):
        go("wider", model=dataclasses.replace(tiny.model, growth_rate=4))
    with pytest.raises(RunError, match=r"block1_layer1_bn is .* there, but .* here|bottleneck_bn is .* there, but missing here"):
        go("plain", model=dataclasses.replace(tiny.model, bottleneck=False, compression=1.0))


def test_people_whom_the_first_run_knows_are_told_of(prepared, trained, tiny, tmp_path):
    known = Run.open(trained).data["train_subjects"][0]
    config = dataclasses.replace(tiny.train, epochs=1)
    train(prepared, tmp_path / "run", tiny.clip, tiny.model, config, init_from=trained, protocol=f"loso:{known}", **HERE)
    said = json.loads((tmp_path / "run" / "environment.json").read_text())["start"]
    assert f"they were trained on {known}, on whom they are to be tested here" in said


def test_another_normalisation_is_told_of(hands, trained, tiny, tmp_path):
    clip = dataclasses.replace(tiny.clip, normalisation="motion")
    train(hands, tmp_path / "run", clip, tiny.model, dataclasses.replace(tiny.train, epochs=1), init_from=trained, **HERE)
    said = json.loads((tmp_path / "run" / "environment.json").read_text())["start"]
    assert said.endswith("they know clips of the normalisation std_frame, not motion.")


# --- what stays as it is ---------------------------------------------------------------------------------------------

STAYS = {
    "stem": {"stem"},
    "block1": {"stem", "block1"},
    "block2": {"stem", "block1", "transition1", "block2"},
    "body": {"stem", "block1", "transition1", "block2", "head"},
}


@pytest.mark.parametrize("last", STAYS)
@pytest.mark.parametrize("settings", [{}, {"recompute": True}, {"weight_decay_on": "all", "precision": "bfloat16"}], ids=["plain", "recompute", "bfloat16"])
def test_frozen_layers_keep_every_bit_and_the_others_move(last, settings):
    config = TrainConfig(**settings)
    made = network(last)
    before = values_of(made)
    optimizer = steps.make_optimizer(0.1, config, made.trainable_variables)
    step = steps.make_train_step(made, optimizer, tf.distribute.get_strategy(), config, SHAPE)
    clips = np.random.default_rng(0).normal(size=(5, *SHAPE)).astype(np.float32)
    for _ in range(2):
        assert np.isfinite(step(clips, np.arange(5, dtype=np.int32) % CLASSES, np.float32(5))).all()
    stayed = unchanged(before, values_of(made))
    assert {part(name) for name in stayed} == STAYS[last]
    assert not {name for name in before if part(name) in STAYS[last]} - stayed


@pytest.mark.parametrize("last", STAYS)
def test_the_frozen_network_trains_as_stock_keras_does(last):
    """Without dropout: Keras sets values to zero also where a layer is frozen, we do not."""
    made = network(last, dataclasses.replace(MODEL, dropout=0.0))
    clips = tf.constant(np.random.default_rng(0).normal(size=(4, *SHAPE)).astype(np.float32))
    start = made.get_weights()

    def run(forward):
        made.set_weights(start)
        with tf.GradientTape() as tape:
            logits = forward(clips)
            loss = tf.reduce_sum(logits * tf.sin(logits))
        return [logits, *tape.gradient(loss, made.trainable_variables)], made.get_weights()

    wanted, wanted_values = run(lambda clips: made(clips, training=True))
    found, found_values = run(tf.function(training_function(made), autograph=False))
    for a, b in zip(wanted, found, strict=True):
        np.testing.assert_allclose(b, a, atol=2e-4 * max(1, np.abs(a).max()))
    for a, b in zip(wanted_values, found_values, strict=True):
        np.testing.assert_allclose(b, a, atol=1e-5)


def test_a_frozen_network_infers_as_before():
    clips = tf.constant(np.random.default_rng(0).normal(size=(2, *SHAPE)).astype(np.float32))
    plain, frozen = (inference_function(network(last))(clips) for last in ("none", "body"))
    assert np.array_equal(plain, frozen)


def test_the_numbers_that_train_are_counted_and_an_unknown_part_is_refused():
    counts = [learned_numbers(network(last)) for last in ("none", *STAYS)]
    assert counts == sorted(counts, reverse=True) and len(set(counts)) == 5
    head = network().get_layer("logits")
    assert counts[-1] == head.kernel.shape[0] * CLASSES + CLASSES
    with pytest.raises(ConfigError, match=r"train\.freeze is 'block3', but must be a part of this network: none, stem, block1, block2, body\."):
        network("block3")
    with pytest.raises(ConfigError, match=r"train\.freeze=stem keeps layers .* without --init-from they start at random"):
        freeze(network(), "stem", "")


# --- whole trainings -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tuned(go):
    return go("tuned", freeze="block1")


def test_after_a_training_frozen_weights_and_statistics_are_those_of_the_first_run(tuned, trained):
    old, new = (load_best(Run.open(path)) for path in (trained, tuned))
    before, after = values_of(old), values_of(new)
    del before["logits"]  # of another form
    assert {part(name) for name in unchanged(before, after)} == {"stem", "block1"}
    assert new.trainable_variables and len(new.trainable_variables) == len(old.trainable_variables)
    noted = json.loads((tuned / "environment.json").read_text())
    assert 0 < noted["trained_parameters"] < noted["parameters"] == learned_numbers(new)


def test_a_resumed_run_freezes_again_and_needs_the_first_run_no_more(go, hands, trained, tuned, tmp_path, monkeypatch, differing):
    first = shutil.copytree(trained, tmp_path / "first")
    with monkeypatch.context() as patch:
        at_step(patch, 4, lambda: signal.raise_signal(signal.SIGINT))
        run_dir = go("stopped", freeze="block1", init_from=first)
    shutil.rmtree(first)
    history = resume(run_dir, **HERE)
    assert without_times(history) == without_times(Run.open(tuned).history()) and differing(tuned, run_dir) == []
    assert evaluate(run_dir, hands, **HERE)["classes"] == list(HANDS)


def test_killed_before_its_first_checkpoint_it_starts_from_the_same_weights(go, tuned, monkeypatch, differing, tmp_path):
    from dn3dlib.train.checkpoint import Checkpoints

    def die(*_):
        raise KeyboardInterrupt

    made = []
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Run, "create", classmethod(lambda cls, run_dir, *rest, make=Run.create: made.append(make(run_dir, *rest)) or made[0]))
        patch.setattr(Checkpoints, "save", die)
        go("killed", freeze="block1")
    resume(made[0].path, **HERE)
    assert differing(tuned, made[0].path) == []


def test_the_shell_tunes_and_says_what_trains(shell, hands, trained, tmp_path):
    tiny = ["--set", "model.growth_rate=2", "--set", "model.depth=7", "--set", "model.blocks=2", "--frames", 4, "--set", "clip.hop=4", "--epochs", 1]
    where = ["--data", hands, "--device", "cpu"]
    status, _, said = shell("train", *where, "--out", tmp_path / "run", "--init-from", trained, "--set", "train.freeze=block2", *tiny)
    assert status == 0
    assert re.search(r"Only [\d,]+ of them train: train\.freeze=block2\.", said) and "but with a new head" in said
    status, _, said = shell("train", *where, "--out", tmp_path / "none", "--set", "train.freeze=blok2", "--init-from", trained, *tiny)
    assert status == 2 and "none, stem, block1, block2, body" in said.splitlines()[-1] and not (tmp_path / "none").exists()
    status, _, said = shell("train", *where, "--check", "--set", "train.freeze=block2")
    assert status == 2 and "leave out train.freeze" in said.splitlines()[-1]


def test_each_fold_of_a_cross_validation_starts_from_the_run(hands, trained, tiny, tmp_path):
    config, out = dataclasses.replace(tiny.train, epochs=1, freeze="block1"), tmp_path / "out"
    result = crossval(hands, out, tiny.clip, tiny.model, config, 2, init_from=trained, **HERE)
    assert [Run.open(out / row["run"]).init_from for row in result["folds"]] == [str(trained)] * 2
    with pytest.raises(RunError, match="was begun with init_from"):
        crossval(hands, out, tiny.clip, tiny.model, config, 2, **HERE)
