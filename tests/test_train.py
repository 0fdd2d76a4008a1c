"""Training for real, on a tiny set: what a run holds, that it can be repeated, interrupted and gone on with."""

import csv
import dataclasses
import json
import os
import shutil
import signal
from pathlib import Path

import keras
import numpy as np
import pytest
from keras.optimizers import schedules
from steps import EachEpoch, at_step, without_times

from dn3dlib.config import ModelConfig, TrainConfig
from dn3dlib.data.manifest import DataSet
from dn3dlib.errors import ConfigError, DataError, Dn3dError, RunError
from dn3dlib.evaluate.report import evaluate
from dn3dlib.model.densenet3d import build_model
from dn3dlib.train import loop
from dn3dlib.train.best import load_best
from dn3dlib.train.loop import resume, train
from dn3dlib.train.runs import COLUMNS, Run
from dn3dlib.train.schedule import learning_rate_schedule
from dn3dlib.train.steps import class_weights, decayed_variables, l2_penalty, make_train_step
from dn3dlib.train.strategy import choose_strategy


@pytest.fixture
def go(prepared, tiny, tmp_path):
    """A function that trains into a folder of this test; settings of TrainConfig by name."""

    def run(name: str, data_dir: Path = prepared, clip=tiny.clip, model=tiny.model, observers=(), init_from=None, **settings):
        config = dataclasses.replace(tiny.train, **settings)
        options = {"observers": observers, "init_from": init_from, "device": "cpu", "show_progress": False}
        return train(data_dir, tmp_path / name, clip, model, config, **options)

    return run


def go_on(run_dir: Path, data_dir: Path | None = None):
    return resume(run_dir, data_dir, device="cpu", show_progress=False)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture
def split_anew(prepared, tmp_path):
    """A function that copies the data set and splits it by another protocol."""

    def make(protocol: str, seed: int = 0) -> Path:
        path = Path(shutil.copytree(prepared, tmp_path / f"split-{seed}"))
        DataSet.open(path).split_by(protocol, seed)
        return path

    return make


# --- a run -----------------------------------------------------------------------------------------------------------


def test_a_run_holds_all_that_tells_of_it(trained, prepared, tiny):
    assert {p.name for p in trained.iterdir()} - {"evaluation.json", "uses.json"} == {
        "config.json", "environment.json", "history.csv", "checkpoints", "best.keras", "events",
    }  # fmt: skip
    run = Run.open(trained)
    assert (run.storage, run.clip, run.model, run.train) == (tiny.storage, tiny.clip, tiny.model, tiny.train)
    data = DataSet.open(prepared)
    assert run.data["fingerprint"] == data.fingerprint and run.classes == data.classes and not run.data["leaks"]
    assert run.data["train_subjects"] == sorted({s.subject for s in data.of_split("train")})
    environment = json.loads((trained / "environment.json").read_text())
    assert environment["packages"]["tensorflow"] and environment["devices"] and environment["python"]


def test_the_history_has_a_row_for_each_epoch(trained):
    with (trained / "history.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2"] and tuple(rows[0]) == COLUMNS
    for row in Run.open(trained).history():
        assert row["train_loss"] > 0 and row["validation_loss"] > 0 and row["clips_per_second"] > 0
        for name in ("train_clip_accuracy", "validation_clip_accuracy", "validation_sequence_accuracy"):
            assert 0 <= row[name] <= 1
        assert row["train_clip_accuracy"] * 24 == pytest.approx(round(row["train_clip_accuracy"] * 24)), "of 24 clips"


def test_events_for_tensorboard_are_those_of_the_history(trained):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(trained / "events"), size_guidance={"tensors": 0})
    events.Reload()
    history = Run.open(trained).history()
    assert set(events.Tags()["tensors"]) == set(COLUMNS) - {"epoch"}
    found = [(e.step, float(np.frombuffer(e.tensor_proto.tensor_content, np.float32)[0])) for e in events.Tensors("train_loss")]
    assert found == [(row["epoch"], pytest.approx(row["train_loss"])) for row in history]


# --- one seed --------------------------------------------------------------------------------------------------------


def test_two_runs_with_one_seed_are_equal_bit_for_bit(prepared, trained, tmp_path, tiny, differing, capfd):
    assert tiny.model.dropout == 0.1 and tiny.clip.flip and tiny.clip.crop and tiny.clip.brightness
    grown = []
    observers = (EachEpoch(lambda rows: grown.append(len(rows))),)
    history = train(prepared, tmp_path / "again", tiny.clip, tiny.model, tiny.train, device="cpu", observers=observers)
    assert differing(trained, tmp_path / "again") == []
    assert without_times(history) == without_times(Run.open(trained).history())
    assert grown == [1, 2], "an observer sees the history grow"
    said = capfd.readouterr()
    assert "Training on CPU: 24 clips an epoch, 3 steps." in said.err and "epoch 2/2" in said.err and not said.out


def test_another_seed_gives_other_weights(go, trained, tmp_path, differing):
    go("other", seed=1)
    assert len(differing(trained, tmp_path / "other")) > 10


# --- the best network ------------------------------------------------------------------------------------------------


def test_best_is_accuracy_then_loss_then_the_earlier_epoch(go, tmp_path, monkeypatch):
    script = iter([(0.5, 1.0), (0.5, 0.9), (0.4, 0.1), (0.5, 0.9), (0.7, 9.0), (0.7, 9.5)])

    def validate(training):
        accuracy, loss = next(script)
        return {"validation_loss": loss, "validation_clip_accuracy": 0.5, "validation_sequence_accuracy": accuracy}

    monkeypatch.setattr(loop._Training, "_validate", validate)
    best = []
    go("run", epochs=6, observers=(EachEpoch(lambda rows: best.append((tmp_path / "run" / "best.keras").read_bytes())),))
    changed = [1 + epoch for epoch in range(6) if epoch == 0 or best[epoch] != best[epoch - 1]]
    assert changed == [1, 2, 5]
    assert not list((tmp_path / "run").glob("*.partial*"))


def test_without_a_validation_split_the_newest_is_the_best(go, split_anew, tmp_path, state_of):
    history = go("run", split_anew("by-subject:0.5,0,0.5"))
    assert [row["validation_loss"] for row in history] == [None, None]
    assert (tmp_path / "run" / "history.csv").read_text().count(",,,") == 2
    assert Run.open(tmp_path / "run").history() == history
    state = state_of(tmp_path / "run")
    stem = [value for name, value in state.items() if value.shape == (7, 7, 7, 1, 4) and not name.startswith("best")]
    assert any(np.array_equal(value, state["best 0"]) for value in stem)
    assert evaluate(tmp_path / "run", device="cpu", show_progress=False)["subjects"] == 2


# --- refusals --------------------------------------------------------------------------------------------------------


def test_an_existing_run_is_refused_and_left_alone(go, trained, prepared, tiny, tmp_path):
    before = contents(trained)
    with pytest.raises(RunError, match="already exists and is not empty: go on with --resume"):
        train(prepared, trained, tiny.clip, tiny.model, tiny.train, device="cpu", show_progress=False)
    assert contents(trained) == before
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.txt").write_text("mine")
    with pytest.raises(RunError, match="already exists and is not empty: choose another folder"):
        go("notes")
    assert contents(tmp_path / "notes") == {"a.txt": b"mine"}


def test_what_cannot_be_trained_leaves_no_folder(go, split_anew, tmp_path, tiny):
    with pytest.raises(DataError, match="The split train .* has no sequences"):
        go("run", split_anew("by-subject:0,0,1"))
    with pytest.raises(ConfigError, match="pooled to nothing"):
        go("run", model=ModelConfig(variant="general", blocks=8, depth=100), clip=tiny.clip)
    with pytest.raises(DataError, match="no prepared data set"):
        go("run", tmp_path / "none")
    assert not (tmp_path / "run").exists()


def test_a_damaged_record_stops_training_with_its_name(go, prepared, tmp_path):
    copy = Path(shutil.copytree(prepared, tmp_path / "copy"))
    data = DataSet.open(copy)
    sequence = data.of_split("train")[0]
    shard = copy / data.shards[sequence.records[0].shard]["name"]
    content = bytearray(shard.read_bytes())
    content[sequence.records[0].offset + 200] ^= 4
    shard.write_bytes(content)
    with pytest.raises(DataError, match=f"Record 1 of 1 of sequence {sequence.id}, in the shard .*{shard.name}"):
        go("run", copy)


def test_resume_refuses_other_data(trained, split_anew):
    with pytest.raises(RunError, match="differ in protocol: by-subject:0.5,0.25,0.25 against by-subject:0.25,0.25,0.5"):
        go_on(trained, split_anew("by-subject:0.25,0.25,0.5"))
    with pytest.raises(RunError, match=r"differ in content or split, as their fingerprints say: \w{16} against \w{16}\. Go on with its own"):
        go_on(trained, split_anew("by-subject:0.5,0.25,0.25", seed=2))


def test_resume_of_no_run_or_a_damaged_one_is_refused(trained, tmp_path):
    with pytest.raises(RunError, match="There is no run at"):
        go_on(tmp_path / "none")
    copy = Path(shutil.copytree(trained, tmp_path / "copy"))
    for change, said in (
        (lambda values: values.update(format=99), "has format 99"),
        (lambda values: values.pop("clip"), "is damaged"),
        (lambda values: values["model"].update(depth="deep"), "is damaged"),
    ):
        values = json.loads((trained / "config.json").read_text())
        change(values)
        (copy / "config.json").write_text(json.dumps(values))
        with pytest.raises(RunError, match=said):
            Run.open(copy)
    (copy / "best.keras").write_bytes((trained / "best.keras").read_bytes()[:1000])
    shutil.copy(trained / "config.json", copy)
    with pytest.raises(RunError, match="best.keras is damaged"):
        load_best(Run.open(copy))


def test_a_run_from_before_folds_and_class_weights_opens(trained, tmp_path):
    copy = Path(shutil.copytree(trained, tmp_path / "copy"))
    values = json.loads((copy / "config.json").read_text())
    del values["data"]["own_split"], values["train"]["class_weights"]
    for name in ("scale", "speed", "flip_despite_sides"):
        del values["clip"][name]
    (copy / "config.json").write_text(json.dumps(values))
    old, run = Run.open(copy), Run.open(trained)
    assert dataclasses.replace(old, path=trained) == run and old.data["own_split"] is False
    assert go_on(copy) == run.history()


@pytest.mark.parametrize(("device", "said"), [("tpu", "but must be cpu, auto, or gpu:"), ("gpu", "but must be"), ("gpu:77", "is not there")])
def test_a_device_that_is_none_is_refused(device, said):
    with pytest.raises(ConfigError, match=said):
        choose_strategy(device)


# --- going on --------------------------------------------------------------------------------------------------------


def test_resume_of_a_finished_run_gives_its_history(trained, differing, tmp_path):
    copy = Path(shutil.copytree(trained, tmp_path / "copy"))
    assert go_on(copy) == Run.open(trained).history()
    assert differing(trained, copy) == []


def test_a_damaged_checkpoint_is_passed_over(trained, differing, tmp_path, capsys):
    copy = Path(shutil.copytree(trained, tmp_path / "copy"))
    newest = max((copy / "checkpoints").glob("*.data*"))
    newest.write_bytes(b"")
    go_on(copy)
    assert "Passed over a damaged checkpoint" in capsys.readouterr().err
    assert differing(trained, copy) == []


def test_without_any_whole_checkpoint_nothing_is_trained_anew(trained, tmp_path):
    copy = Path(shutil.copytree(trained, tmp_path / "copy"))
    for path in (copy / "checkpoints").glob("*.data*"):
        path.write_bytes(b"")
    with pytest.raises(RunError, match="No checkpoint"):
        go_on(copy)
    shutil.rmtree(copy / "checkpoints")
    with pytest.raises(RunError, match="checkpoints are gone"):
        go_on(copy)
    assert Run.open(copy).history() == Run.open(trained).history()


@pytest.mark.parametrize("content", [b"garbage", b"epoch\n1\n", b"\xff\xfe"])
def test_a_damaged_history_is_named(trained, tmp_path, content):
    copy = Path(shutil.copytree(trained, tmp_path / "copy"))
    (copy / "history.csv").write_bytes(content)
    with pytest.raises(RunError, match="history .* is damaged"):
        Run.open(copy).history()


def test_a_history_that_lacks_epochs_is_not_gone_on_with(trained, tmp_path):
    copy = Path(shutil.copytree(trained, tmp_path / "copy"))
    lines = (copy / "history.csv").read_text().splitlines(keepends=True)
    for rows in (1, 0):
        (copy / "history.csv").write_text("".join(lines[: 1 + rows]))
        with pytest.raises(RunError, match=f"has rows for {rows} of the 2 epochs that its checkpoint has finished: restore history"):
            go_on(copy)
    (copy / "history.csv").unlink()
    with pytest.raises(RunError, match="rows for 0 of the 2 epochs"):
        go_on(copy)


@pytest.mark.parametrize("key, value", [("path", 5), ("fingerprint", None), ("classes", "ab")])
def test_a_configuration_with_other_types_is_damaged(trained, tmp_path, key, value):
    copy = Path(shutil.copytree(trained, tmp_path / "copy"))
    config = json.loads((copy / "config.json").read_text())
    config["data"][key] = value
    (copy / "config.json").write_text(json.dumps(config))
    with pytest.raises(RunError, match="is damaged"):
        Run.open(copy)


def test_a_disk_that_fills_while_training_is_named(prepared, tiny, tmp_path, monkeypatch):
    def full(self):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(loop.Checkpoints, "save", full)
    with pytest.raises(Dn3dError, match="disk is full"):
        train(prepared, tmp_path / "run", tiny.clip, tiny.model, tiny.train, show_progress=False)


def signal_at(patch, call: int, number: int) -> None:
    """Send this process a signal while the `call`-th step of a training is computed."""
    at_step(patch, call, lambda: os.kill(os.getpid(), number))


@pytest.mark.parametrize(
    ("call", "number", "epochs", "step"),
    [
        (4, signal.SIGINT, 1, 1),  # in the first step of the second epoch
        (5, signal.SIGTERM, 1, 2),
        (3, signal.SIGINT, 1, 0),  # in an epoch's last step: the epoch is finished first
        (1, signal.SIGINT, 0, 1),
    ],
)
def test_an_interrupted_run_goes_on_to_the_same_end(go, trained, tmp_path, monkeypatch, state_of, differing, call, number, epochs, step):
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with monkeypatch.context() as patch:
        signal_at(patch, call, number)
        history = go("run")
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
    assert [row["epoch"] for row in history] == [*range(1, epochs + 1)]
    if epochs:
        state = state_of(tmp_path / "run")
        assert any(name.startswith("step") and value == step for name, value in state.items())
    finished = go_on(tmp_path / "run")
    assert without_times(finished) == without_times(Run.open(trained).history())
    assert differing(trained, tmp_path / "run") == []


def test_an_interrupt_in_the_last_epoch_s_last_step_finishes(go, trained, tmp_path, monkeypatch, differing):
    signal_at(monkeypatch, 6, signal.SIGINT)
    assert len(go("run")) == 2 and differing(trained, tmp_path / "run") == []


def test_init_from_starts_at_the_best_weights_of_a_run(go, trained, tmp_path, tiny):
    go("run", init_from=trained, epochs=1, learning_rate=1e-12, weight_decay=0.0)
    old, new = load_best(Run.open(trained)), load_best(Run.open(tmp_path / "run"))
    for a, b in zip(old.trainable_variables, new.trainable_variables, strict=True):
        assert np.allclose(a, b, atol=1e-7)
    assert Run.open(tmp_path / "run").init_from == str(trained)
    with pytest.raises(RunError, match="do not fit this network"):
        go("other", init_from=trained, model=dataclasses.replace(tiny.model, growth_rate=4))
    with pytest.raises(RunError, match="There is no run at"):
        go("other", init_from=tmp_path / "none")
    assert not (tmp_path / "other").exists()


def test_a_diverged_run_stops_with_the_reason_and_keeps_what_was_good(go, tmp_path, monkeypatch, state_of):
    with monkeypatch.context() as patch:
        signal_at(patch, 3, signal.SIGINT)
        go("run", checkpoint_seconds=1e-9)
    before = state_of(tmp_path / "run")
    monkeypatch.setattr(loop, "learning_rate_schedule", lambda config, steps: schedules.PiecewiseConstantDecay([10**6], [1e30, 1e30]))
    with pytest.raises(RunError, match=r"output of the network is not a number any more in epoch 2, at step 1: .* lower train\.learning_rate"):
        go_on(tmp_path / "run")
    after = state_of(tmp_path / "run")
    assert all(np.array_equal(before[name], after[name]) for name in before)
    assert len(Run.open(tmp_path / "run").history()) == 1


@pytest.mark.parametrize("every", [1, 20])  # steps between two looks
def test_the_step_in_which_the_loss_broke_is_named_exactly(go, tmp_path, monkeypatch, every):
    make, losses = loop.make_train_step, []

    def make_and_note(*arguments):
        step = make(*arguments)

        def noted(*batch):
            sums = step(*batch)
            losses.append(float(sums[0]))
            return sums

        return noted

    monkeypatch.setattr(loop, "make_train_step", make_and_note)
    monkeypatch.setattr(loop, "_CHECK_EVERY", every)
    # Each step multiplies the weights, until they are no numbers any more.
    rates = schedules.PiecewiseConstantDecay([5], [0.01, 1e30])
    monkeypatch.setattr(loop, "learning_rate_schedule", lambda config, steps: rates)
    with pytest.raises(RunError, match="The loss is not a number any more in epoch 1, at step") as error:
        go("run", batch_size=1)
    first = 1 + [np.isfinite(loss) for loss in losses].index(False)
    assert f"at step {first}: " in str(error.value) and 6 < first < 20
    assert len(losses) == (first if every == 1 else 20), "the loop reads the loss only when it looks"
    assert [path.name for path in (tmp_path / "run" / "checkpoints").glob("*.index")] == ["ckpt-1.index"]


def test_a_run_that_diverges_in_an_epoch_s_last_step_is_not_saved_as_good(go, tmp_path):
    with pytest.raises(RunError, match="output of the network is not a number any more in epoch 1, at step 1"):
        go("run", learning_rate=1e30, batch_size=24, epochs=3, warmup=0.0)
    assert not (tmp_path / "run" / "best.keras").exists()
    start = {path.name for path in (tmp_path / "run" / "checkpoints").glob("*.index")}
    assert start == {"ckpt-1.index"}  # of the untrained network
    assert not (tmp_path / "run" / "history.csv").exists()


def test_a_kill_before_the_first_epoch_s_checkpoint_repeats_the_epoch(prepared, tiny, trained, differing, tmp_path, monkeypatch):
    save, calls = loop.Checkpoints.save, []

    def killed(self):
        calls.append(1)
        if len(calls) == 2:  # the epoch's history and best network are on the disk
            raise KeyboardInterrupt
        save(self)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(loop.Checkpoints, "save", killed)
        train(prepared, tmp_path / "run", tiny.clip, tiny.model, tiny.train, device="cpu", show_progress=False)
    assert (tmp_path / "run" / "history.csv").exists()
    go_on(tmp_path / "run")
    assert differing(trained, tmp_path / "run") == []


# --- learning --------------------------------------------------------------------------------------------------------


def test_a_tiny_set_is_learned_by_heart(prepared, tiny, tmp_path):
    clip = dataclasses.replace(tiny.clip, frames=8, hop=8, extra_stride=0, crop=0, flip=False, brightness=0.0)
    model = ModelConfig(growth_rate=8, depth=7, blocks=2)
    config = TrainConfig(epochs=20, batch_size=4, learning_rate=0.05)
    copy = Path(shutil.copytree(prepared, tmp_path / "data"))
    DataSet.open(copy).split_by("by-subject:0.25,0,0.75")
    history = train(copy, tmp_path / "run", clip, model, config, device="cpu", show_progress=False)
    assert history[-1]["train_clip_accuracy"] == 1 and history[-1]["train_loss"] < 0.5 * history[0]["train_loss"]
    report = evaluate(tmp_path / "run", split="train", device="cpu", show_progress=False)
    assert report["sequence_accuracy"] == 1 and report["sequences"] == 12


def test_weight_decay_pulls_all_or_kernels():
    model = build_model(ModelConfig(growth_rate=2, depth=7, blocks=2), (4, 16, 16, 1), 3)
    assert decayed_variables(model, "all") == model.trainable_variables
    kernels = decayed_variables(model, "kernels")
    wanted = [layer.kernel for layer in model.layers if isinstance(layer, keras.layers.Conv3D | keras.layers.Dense)]
    assert [id(v) for v in kernels] == [id(v) for v in wanted]
    assert float(l2_penalty(kernels)) == pytest.approx(sum(0.5 * np.square(np.asarray(v)).sum() for v in wanted), rel=1e-5)


def test_weight_decay_acts(go, tmp_path):
    def size(name):
        model = load_best(Run.open(tmp_path / name))
        return [float(np.square(np.asarray(v)).sum()) for v in model.trainable_variables if v.name == "kernel"]

    for decay in (0.0, 1.0):
        go(f"{decay}", epochs=1, weight_decay=decay, learning_rate=0.05)
    assert sum(size("1.0")) < 0.9 * sum(size("0.0"))


def test_balanced_weights_of_classes():
    labels = ["walk"] * 6 + ["run"] * 2 + ["box"]
    found = class_weights(labels, ("box", "fly", "run", "walk"), "balanced")
    assert found == pytest.approx([9 / 3, 9 / 3, 9 / 6, 9 / 18]) and found.dtype == np.float32  # fly: never in training
    assert np.mean([found[("box", "fly", "run", "walk").index(label)] for label in labels]) == pytest.approx(1)
    assert class_weights(labels, ("box", "run", "walk"), "none") is None


@pytest.mark.parametrize("weights", [None, [3.0, 1.5, 0.5]])
def test_class_weights_act_in_the_loss_and_not_in_the_history(weights):
    """One step of plain SGD on the bias of the logits: it moves by the weighted mean of softmax − one-hot."""
    strategy, _ = choose_strategy("cpu")
    keras.utils.set_random_seed(0)
    model = build_model(ModelConfig(growth_rate=2, depth=7, blocks=2), (4, 16, 16, 1), 3)
    optimizer = keras.optimizers.SGD(0.5)
    optimizer.build(model.trainable_variables)
    config = TrainConfig(momentum=0.0, nesterov=False, weight_decay=0.0)
    step = make_train_step(model, optimizer, strategy, config, (4, 16, 16, 1), None if weights is None else np.float32(weights))
    clips, labels = np.random.default_rng(0).normal(size=(4, 4, 16, 16, 1)).astype(np.float32), np.int32([0, 2, 2, 1])
    logits = np.asarray(model(clips, training=True), np.float64)
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    loss, _, count = step(clips, labels, np.float32(4)).numpy()
    assert loss == pytest.approx(-np.log(p[range(4), labels]).sum(), rel=1e-4) and count == 4, "the history is without weights"
    share = np.ones(3) if weights is None else np.array(weights)
    gradient = (share[labels][:, None] * (p - np.eye(3)[labels])).mean(axis=0)
    bias = next(v for v in model.trainable_variables if v.path.endswith("logits/bias"))
    assert np.asarray(bias) == pytest.approx(-0.5 * gradient, abs=1e-4)


def test_balanced_classes_train_as_without_weights(go, trained, tmp_path, differing):
    """Of classes that are all as large, each weighs 1."""
    go("run", class_weights="balanced")
    assert differing(trained, tmp_path / "run") == []


def test_mirrored_sides_are_refused_before_a_folder_is_made(prepared, tiny, tmp_path):
    sides = Path(shutil.copytree(prepared, tmp_path / "data"))
    text = (sides / "manifest.json").read_text().replace('"boxing"', '"turn_left"').replace('"handclapping"', '"turn_right"')
    (sides / "manifest.json").write_text(text)
    with pytest.raises(ConfigError, match="turn_left looks like turn_right: train with clip.flip=false"):
        train(sides, tmp_path / "run", tiny.clip, tiny.model, tiny.train, device="cpu", show_progress=False)
    assert not (tmp_path / "run").exists()


def rates(steps: int = 400, **settings) -> np.ndarray:
    schedule = learning_rate_schedule(TrainConfig(learning_rate=0.1, **settings), steps)
    return np.array([float(schedule(step)) for step in range(0, steps, 10)])


def test_the_step_schedule_divides_at_half_and_three_quarters():
    found = rates(schedule="step")
    steps = np.arange(0, 400, 10)
    wanted = np.where(steps <= 200, 0.1, np.where(steps <= 300, 0.01, 0.001))
    assert found == pytest.approx(wanted)


def test_the_exponential_schedule_divides_every_so_many_steps():
    assert rates(schedule="exponential", decay_steps=100) == pytest.approx(0.1 * 0.1 ** (np.arange(0, 400, 10) // 100))


def test_the_cosine_schedule_warms_up_and_falls_to_zero():
    steps = np.arange(0, 400, 10)
    found = rates(schedule="cosine", warmup=0.1)
    falling = 0.05 * (1 + np.cos(np.pi * (steps - 40) / 360))
    assert found == pytest.approx(np.where(steps < 40, 0.1 * steps / 40, falling), abs=1e-7)
    assert rates(schedule="cosine", warmup=0.0) == pytest.approx(0.05 * (1 + np.cos(np.pi * steps / 400)), abs=1e-7)


@pytest.mark.parametrize("schedule", ["step", "exponential", "cosine"])
@pytest.mark.parametrize("steps", [1, 2, 3])
def test_the_shortest_training_has_a_rate(schedule, steps):
    found = learning_rate_schedule(TrainConfig(schedule=schedule), steps)
    assert all(np.isfinite(float(found(step))) and float(found(step)) >= 0 for step in range(steps + 1))


def test_the_history_shows_the_rate_that_was_used(go, tiny):
    history = go("run", schedule="step", learning_rate=0.08, epochs=4)
    assert [row["learning_rate"] for row in history] == pytest.approx([0.08, 0.08, 0.008, 0.0008], rel=1e-3)
