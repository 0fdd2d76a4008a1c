"""Going on inside an epoch, and what stands in the way: torn checkpoints, other settings, other data, a full disk."""

import dataclasses
import json
import resource
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from steps import at_step, without_times

from dn3dlib.config import ConfigError, TrainConfig
from dn3dlib.data.clips import plan_training
from dn3dlib.data.manifest import DataSet
from dn3dlib.data.prepare import prepare
from dn3dlib.data.records import FrameReader
from dn3dlib.errors import Dn3dError, RunError
from dn3dlib.files import only_one_at
from dn3dlib.model.densenet3d import build_model
from dn3dlib.train import loop
from dn3dlib.train.checkpoint import Checkpoints, Progress
from dn3dlib.train.loop import resume, train
from dn3dlib.train.runs import Run
from dn3dlib.train.schedule import learning_rate_schedule

ALWAYS = 1e-9  # seconds between two checkpoints: one after each step
VALUE = ".ATTRIBUTES/VARIABLE_VALUE"  # the end of a variable's name in a checkpoint


def go_on(run_dir: Path, data_dir: Path | None = None) -> list[dict]:
    return resume(run_dir, data_dir, device="cpu", show_progress=False)


class Stopped(Exception):
    """Ends a training as a kill would: nothing is saved on the way out."""


def train_until(call: int, run_dir: Path, data_dir: Path, tiny, **settings) -> Path:
    """Train with a checkpoint after each step, and break off where the given step (from 1) would begin."""

    def stop() -> None:
        raise Stopped

    config = dataclasses.replace(tiny.train, **{"checkpoint_seconds": ALWAYS} | settings)
    with pytest.MonkeyPatch.context() as patch, pytest.raises(Stopped):
        at_step(patch, call, stop)
        train(data_dir, run_dir, tiny.clip, tiny.model, config, device="cpu", show_progress=False)
    return run_dir


@pytest.fixture(scope="module")
def killed(prepared, tiny, tmp_path_factory) -> Path:
    """A run that broke off after the second step of the second epoch, with checkpoints of its last two steps. Copy it first."""
    return train_until(6, tmp_path_factory.mktemp("killed") / "run", prepared, tiny)


# --- inside an epoch -------------------------------------------------------------------------------------------------


def test_a_run_goes_on_inside_the_epoch_to_the_same_end(killed, trained, tmp_path, differing):
    run_dir = Path(shutil.copytree(killed, tmp_path / "run"))
    assert [row["epoch"] for row in Run.open(run_dir).history()] == [1]
    assert without_times(go_on(run_dir)) == without_times(Run.open(trained).history())
    assert differing(trained, run_dir) == []


@pytest.mark.parametrize("seconds", [0.0, 3600.0])
def test_without_a_checkpoint_inside_it_the_epoch_is_repeated(prepared, tiny, trained, tmp_path, state_of, differing, seconds):
    run_dir = train_until(6, tmp_path / "run", prepared, tiny, checkpoint_seconds=seconds)
    state = state_of(run_dir)
    assert (state[f"epoch/{VALUE}"], state[f"step/{VALUE}"]) == (1, 0)
    go_on(run_dir)
    assert differing(trained, run_dir) == []


def test_what_was_seen_is_not_read_again_and_no_iterator_is_saved(prepared, tiny, tmp_path, state_of, monkeypatch):
    run_dir = train_until(6, tmp_path / "run", prepared, tiny, cache="disk")
    assert [name for name in state_of(run_dir) if "iterator" in name.lower() or "dataset" in name.lower()] == []
    read, clips = [], FrameReader.clips

    def noted(self, sequences, numbers):
        read.extend(zip(sequences.tolist(), numbers.tolist(), strict=True))
        return clips(self, sequences, numbers)

    figures = {"validation_loss": 1.0, "validation_clip_accuracy": 0.5, "validation_sequence_accuracy": 0.5}
    monkeypatch.setattr(FrameReader, "clips", noted)
    monkeypatch.setattr(loop._Training, "_validate", lambda self: figures)  # which would read its own
    go_on(run_dir)
    left = plan_training(DataSet.open(prepared), tiny.clip, 0, 2)[2 * 8 :]
    wanted = sorted(zip(left.sequence.tolist(), left.frames.tolist(), strict=True))
    assert sorted(read) == wanted and len(wanted) == 8


def test_the_time_of_an_epoch_counts_over_the_interruption(killed, tmp_path, state_of):
    run_dir = Path(shutil.copytree(killed, tmp_path / "run"))
    spent = float(state_of(run_dir)[f"seconds/{VALUE}"])
    row = go_on(run_dir)[1]
    assert 0 < spent < row["seconds"] and row["clips_per_second"] == pytest.approx(24 / row["seconds"], rel=0.01)


def newest(run_dir: Path, kind: str) -> Path:
    return max((run_dir / "checkpoints").glob(f"*.{kind}*"), key=lambda path: int(path.name.split(".")[0][5:]))


def test_a_negative_interval_is_refused():
    with pytest.raises(ConfigError, match=r"train\.checkpoint_seconds is -1, but must be at least 0"):
        TrainConfig(checkpoint_seconds=-1)


def test_a_run_from_before_this_setting_opens(trained, tmp_path):
    copy = Path(shutil.copytree(trained, tmp_path / "copy"))
    config = json.loads((copy / "config.json").read_text())
    del config["train"]["checkpoint_seconds"]
    (copy / "config.json").write_text(json.dumps(config))
    assert Run.open(copy).train.checkpoint_seconds == 60 and len(go_on(copy)) == 2


# --- what a checkpoint holds -----------------------------------------------------------------------------------------


def make_optimizer(kind: str) -> keras.optimizers.Optimizer:
    inner = keras.optimizers.SGD(0.1, momentum=0.9, nesterov=True, use_ema=kind == "ema")
    return keras.optimizers.LossScaleOptimizer(inner, initial_scale=256.0, dynamic_growth_steps=2) if kind == "scaled" else inner


@pytest.mark.parametrize("kind", ["plain", "scaled", "ema"])
def test_weights_slots_averages_loss_scale_and_seeds_go_round(trained, tmp_path, kind):
    """Three steps, a checkpoint, two steps more: from the checkpoint, the two steps give the same numbers."""
    run = dataclasses.replace(Run.open(trained), path=tmp_path)
    clips = np.random.default_rng(0).normal(size=(4, *run.clip_shape)).astype(np.float32)

    def make():
        model, optimizer = build_model(run.model, run.clip_shape, 6), make_optimizer(kind)
        optimizer.build(model.trainable_variables)
        return model, optimizer, Checkpoints(run, model, optimizer, Progress())

    def step(model, optimizer):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(model(clips, training=True)))
            scaled = optimizer.scale_loss(loss)
        gradients = tape.gradient(scaled, model.trainable_variables)
        optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))

    def values(model, optimizer):
        seeds = [layer.seed_generator.state for layer in model.layers if isinstance(layer, keras.layers.Dropout)]
        assert seeds
        return [np.asarray(v) for v in (*model.variables, *optimizer.variables, *seeds)]

    model, optimizer, checkpoints = make()
    assert not checkpoints.restore()
    for _ in range(3):
        step(model, optimizer)
    checkpoints.save()
    before = values(model, optimizer)
    for _ in range(2):
        step(model, optimizer)
    after = values(model, optimizer)
    keras.utils.set_random_seed(99)
    model, optimizer, checkpoints = make()
    assert checkpoints.restore()
    assert all(np.array_equal(a, b) for a, b in zip(before, values(model, optimizer), strict=True))
    for _ in range(2):
        step(model, optimizer)
    assert all(np.array_equal(a, b) for a, b in zip(after, values(model, optimizer), strict=True))
    if kind == "scaled":
        assert float(optimizer.dynamic_scale) > 256, "the scale has grown, and its counter went round"


# --- torn and broken checkpoints -------------------------------------------------------------------------------------


def flip(path: Path, place: float) -> None:
    content = bytearray(path.read_bytes())
    content[int(place * (len(content) - 1))] ^= 8
    path.write_bytes(content)


def cut(path: Path, place: float) -> None:
    path.write_bytes(path.read_bytes()[: int(place * path.stat().st_size)])


DAMAGE = {
    "the index is empty": lambda run: cut(newest(run, "index"), 0),
    "the index is half": lambda run: cut(newest(run, "index"), 0.5),
    "the index lacks its end": lambda run: cut(newest(run, "index"), 0.99),
    "a bit of the index is another": lambda run: flip(newest(run, "index"), 0.4),
    "the data are half": lambda run: cut(newest(run, "data"), 0.5),
    "the data lack their end": lambda run: cut(newest(run, "data"), 0.999),
    "an early bit of the data is another": lambda run: flip(newest(run, "data"), 0.02),
    "a middle bit of the data is another": lambda run: flip(newest(run, "data"), 0.5),
    "the last bit of the data is another": lambda run: flip(newest(run, "data"), 1.0),
    "the data are missing": lambda run: newest(run, "data").unlink(),
    "the data are of the one before": lambda run: shutil.copy(
        sorted((run / "checkpoints").glob("*.data*"))[0], newest(run, "data")
    ),
}


@pytest.mark.parametrize("how", DAMAGE)
def test_a_damaged_newest_checkpoint_is_passed_over_as_a_whole(killed, tmp_path, capsys, how):
    """Nothing of the damaged one stays in the variables."""
    run_dir = Path(shutil.copytree(killed, tmp_path / "run"))
    whole = newest(run_dir, "index").with_suffix("")
    DAMAGE[how](run_dir)
    checkpoints, progress, variables = checkpoints_of(run_dir)
    assert checkpoints.restore()
    said = capsys.readouterr().err
    assert f"Passed over a damaged checkpoint: {whole} (" in said and said.count("\n") == 1
    older = tf.train.load_checkpoint(str(whole.with_name("ckpt-5")))
    types, apart = older.get_variable_to_dtype_map(), ("sums/", "best/")
    kept = [older.get_tensor(name) for name in types if types[name] == tf.float32 and not name.startswith(apart)]
    found = [np.asarray(v) for v in variables if v.dtype == "float32"]
    assert sorted(v.tobytes() for v in kept) == sorted(v.tobytes() for v in found) and len(found) > 40
    assert (int(progress.epoch), int(progress.step)) == (1, 1)


@pytest.mark.parametrize("how", ["the index is half", "the last bit of the data is another"])
def test_after_a_damaged_checkpoint_the_end_is_the_same(killed, trained, tmp_path, differing, how):
    run_dir = Path(shutil.copytree(killed, tmp_path / "run"))
    DAMAGE[how](run_dir)
    assert without_times(go_on(run_dir)) == without_times(Run.open(trained).history())
    assert differing(trained, run_dir) == []
    assert len(list((run_dir / "checkpoints").iterdir())) == 4, "two checkpoints of two files, none of them the damaged one"


def test_a_save_is_whole_or_not_there_at_every_moment(killed, tmp_path, monkeypatch):
    """Broken off before each of its renames and removals, a save leaves a checkpoint that restores: the old or the new."""
    replace, unlink, found = Path.replace, Path.unlink, []
    for last in range(1, 10):
        run_dir = Path(shutil.copytree(killed, tmp_path / f"run-{last}"))
        checkpoints, progress, _ = checkpoints_of(run_dir)
        assert checkpoints.restore() and progress.step == 2
        progress.step.assign(7)
        calls = []

        def counted(act, last=last, calls=calls):
            def called(*arguments, **options):
                calls.append(1)
                if len(calls) == last:
                    raise Stopped
                return act(*arguments, **options)

            return called

        with monkeypatch.context() as patch:
            patch.setattr(Path, "replace", counted(replace))
            patch.setattr(Path, "unlink", counted(unlink))
            try:
                checkpoints.save()
            except Stopped:
                pass
        checkpoints, progress, _ = checkpoints_of(run_dir)
        assert checkpoints.restore()
        found.append(int(progress.step))
        progress.step.assign(9)
        checkpoints.save()
        files = [path.name for path in (run_dir / "checkpoints").iterdir()]
        assert len(files) == 4 and not list(run_dir.glob("*.partial*"))
    # data renamed, index renamed, then index and data of the oldest removed
    assert found == [2, 2, 7, 7, 7, 7, 7, 7, 7]


def checkpoints_of(run_dir: Path) -> tuple[Checkpoints, Progress, list]:
    """What a training holds of a run before it starts: its checkpoints, its progress, and variables of network and optimiser."""
    run = Run.open(run_dir)
    model, progress = build_model(run.model, run.clip_shape, len(run.classes)), Progress()
    optimizer = keras.optimizers.SGD(learning_rate_schedule(run.train, 6), momentum=0.9, nesterov=True)
    optimizer.build(model.trainable_variables)
    return Checkpoints(run, model, optimizer, progress), progress, [*model.variables, *optimizer.variables]


def test_the_index_comes_by_renaming_and_last(killed, tmp_path, monkeypatch):
    run_dir = Path(shutil.copytree(killed, tmp_path / "run"))
    checkpoints, *_ = checkpoints_of(run_dir)
    checkpoints.restore()
    renamed, replace = [], Path.replace
    monkeypatch.setattr(Path, "replace", lambda self, target: (renamed.append(Path(target).name), replace(self, target))[1])
    checkpoints.save()
    assert renamed == ["ckpt-7.data-00000-of-00001", "ckpt-7.index"]


def test_what_a_killed_process_left_half_written_is_cleared_away(killed, trained, tmp_path, differing):
    run_dir = Path(shutil.copytree(killed, tmp_path / "run"))
    (run_dir / "checkpoints.partial").mkdir()
    (run_dir / "checkpoints.partial" / "ckpt-7.index").write_bytes(b"half")
    (run_dir / "best.partial.keras").write_bytes(b"half")
    (run_dir / "history.csv.partial-4242").write_bytes(b"half")
    (run_dir / "checkpoints.lock").touch()
    others = {"evaluation.json.partial-77", "notes.partial.txt"}  # of an evaluation beside it, and of the user
    for name in others:
        (run_dir / name).touch()
    (run_dir / "checkpoints" / "ckpt-7.data-00000-of-00001").write_bytes(b"half")
    go_on(run_dir)
    assert {path.name for path in run_dir.iterdir()} == {path.name for path in trained.iterdir()} - {"evaluation.json", "uses.json"} | others
    assert differing(trained, run_dir) == []


def test_a_start_that_was_killed_before_it_was_a_run_is_made_anew(prepared, tiny, tmp_path):
    run_dir = tmp_path / "run"
    run_dir.mkdir()
    (run_dir / "environment.json").write_text("{}")
    (run_dir / "config.json.partial-77").write_text("{")
    config = dataclasses.replace(tiny.train, epochs=1)
    assert len(train(prepared, run_dir, tiny.clip, tiny.model, config, device="cpu", show_progress=False)) == 1
    assert json.loads((run_dir / "environment.json").read_text())["python"] and not list(run_dir.glob("*.partial*"))


# --- another configuration, other data -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("section", "field", "value", "said"),
    [
        ("model", "depth", 11, r"model\.depth is 7 there, but 11 in config\.json"),
        ("model", "dropout", 0.5, r"model\.dropout is 0\.1 there, but 0\.5 in config\.json"),
        ("train", "learning_rate", 0.2, r"train\.learning_rate is 0\.1 there, but 0\.2 in config\.json"),
        ("clip", "flip", False, r"clip\.flip is True there, but False in config\.json"),
        ("data", "protocol", "x", r"data\.protocol is 'by-subject:0\.5,0\.25,0\.25' there, but 'x' in config\.json"),
    ],
)
def test_a_configuration_changed_by_hand_is_refused_with_both_values(killed, tmp_path, section, field, value, said):
    run_dir = Path(shutil.copytree(killed, tmp_path / "run"))
    config = json.loads((run_dir / "config.json").read_text())
    config[section][field] = value
    (run_dir / "config.json").write_text(json.dumps(config))
    if section == "data":  # found before the checkpoints are read
        said = "was trained on another data set"
    before = {path.name: path.read_bytes() for path in (run_dir / "checkpoints").iterdir()}
    with pytest.raises(RunError, match=said):
        go_on(run_dir)
    assert {path.name: path.read_bytes() for path in (run_dir / "checkpoints").iterdir()} == before


def test_two_changes_are_both_named(killed, tmp_path):
    run_dir = Path(shutil.copytree(killed, tmp_path / "run"))
    config = json.loads((run_dir / "config.json").read_text())
    config["model"]["growth_rate"], config["train"]["seed"] = 3, 5
    (run_dir / "config.json").write_text(json.dumps(config))
    with pytest.raises(RunError, match=r"model\.growth_rate is 2 there, but 3 in config\.json; train\.seed is 0 there, but 5 .*--init-from"):
        go_on(run_dir)


def test_what_changes_nothing_that_is_learned_may_be_changed(killed, trained, tmp_path, differing):
    run_dir = Path(shutil.copytree(killed, tmp_path / "run"))
    config = json.loads((run_dir / "config.json").read_text())
    config["train"] |= {"cache": "disk", "checkpoint_seconds": 0.0}
    (run_dir / "config.json").write_text(json.dumps(config))
    go_on(run_dir)
    assert differing(trained, run_dir) == []


def test_checkpoints_of_another_network_are_refused(killed, prepared, tiny, tmp_path):
    other = dataclasses.replace(tiny.model, growth_rate=3)
    train(prepared, tmp_path / "other", tiny.clip, other, tiny.train, device="cpu", show_progress=False)
    run_dir = Path(shutil.copytree(killed, tmp_path / "run"))
    shutil.rmtree(run_dir / "checkpoints")
    shutil.copytree(tmp_path / "other" / "checkpoints", run_dir / "checkpoints")
    with pytest.raises(RunError, match=r"model\.growth_rate is 3 there, but 2 in config\.json"):
        go_on(run_dir)


def test_data_prepared_anew_from_other_frames_are_refused(killed, catalog, tiny, tmp_path):
    storage = dataclasses.replace(tiny.storage, fit="crop")
    other = prepare(catalog, tmp_path / "data", storage, 1, show_progress=False)
    with pytest.raises(RunError, match=r"differ in content or split, as their fingerprints say: \w{16} against \w{16}"):
        go_on(killed, other.path)


# --- places ----------------------------------------------------------------------------------------------------------


def test_a_run_and_its_data_moved_elsewhere_go_on(killed, prepared, trained, tmp_path, differing):
    data = Path(shutil.copytree(prepared, tmp_path / "elsewhere" / "data"))
    run_dir = Path(shutil.move(shutil.copytree(killed, tmp_path / "run"), tmp_path / "elsewhere" / "moved"))
    history = go_on(run_dir, data)
    assert without_times(history) == without_times(Run.open(trained).history())
    assert differing(trained, run_dir) == [] and not (tmp_path / "run").exists()
    assert dict(events_of(run_dir, "train_loss")) == {row["epoch"]: pytest.approx(row["train_loss"]) for row in history}


def events_of(run_dir: Path, name: str) -> list[tuple[int, float]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run_dir / "events"), size_guidance={"tensors": 0})
    events.Reload()
    return [(e.step, float(np.frombuffer(e.tensor_proto.tensor_content, np.float32)[0])) for e in events.Tensors(name)]


def test_events_have_every_epoch_and_an_epoch_finished_twice_looks_the_same(prepared, tiny, tmp_path, monkeypatch):
    """A kill between an epoch's events and its checkpoint repeats them; TensorBoard draws one point upon the other."""
    save, calls = loop.Checkpoints.save, []

    def killed(self):
        calls.append(1)
        if len(calls) == 2:
            raise Stopped
        save(self)

    with monkeypatch.context() as patch, pytest.raises(Stopped):
        patch.setattr(loop.Checkpoints, "save", killed)
        train(prepared, tmp_path / "run", tiny.clip, tiny.model, tiny.train, device="cpu", show_progress=False)
    history = go_on(tmp_path / "run")
    found = events_of(tmp_path / "run", "train_loss")
    assert sorted(step for step, _ in found) == [1, 1, 2]
    assert set(found) == {(row["epoch"], float(np.float32(row["train_loss"]))) for row in history}


def test_two_at_once_in_one_run_are_refused(killed, tmp_path):
    run_dir = Path(shutil.copytree(killed, tmp_path / "run"))
    with only_one_at(run_dir / "checkpoints"), pytest.raises(Dn3dError, match="Another process is at work on .*run/checkpoints: wait"):
        go_on(run_dir)
    assert len(go_on(run_dir)) == 2


@pytest.mark.parametrize("share", [0, 0.01, 0.5, 0.999])
def test_a_disk_that_fills_during_a_checkpoint(killed, trained, tmp_path, monkeypatch, differing, share):
    """The kernel lets no file grow over a share of a checkpoint's size while the checkpoint is written; afterwards there is room again."""
    run_dir, save = Path(shutil.copytree(killed, tmp_path / "run")), loop.Checkpoints.save
    before = {path.name: path.read_bytes() for path in (run_dir / "checkpoints").iterdir()}
    size = int(share * newest(run_dir, "data").stat().st_size)

    def save_on_a_full_disk(self):
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
        try:
            save(self)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    with monkeypatch.context() as patch, pytest.raises(Dn3dError, match=rf"The disk is full .* while writing {run_dir}: free some space"):
        patch.setattr(loop.Checkpoints, "save", save_on_a_full_disk)
        go_on(run_dir)
    assert {path.name: path.read_bytes() for path in (run_dir / "checkpoints").iterdir()} == before
    assert not list(run_dir.glob("*.partial*")), "the room that it took is given back"
    go_on(run_dir)
    assert differing(trained, run_dir) == []
