"""The training loop: epochs of steps, a validation after each, a checkpoint, and a clean stop at any time."""

import math
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from dn3dlib.config import ClipConfig, ModelConfig, TrainConfig
from dn3dlib.data.cache import DecodedFrames, held_in_memory, open_frames
from dn3dlib.data.clips import ClipPlan, batches_of, check_flip, clip_dataset, plan_evaluation, plan_training
from dn3dlib.data.manifest import DataSet
from dn3dlib.errors import RunError
from dn3dlib.files import plain_disk_errors, tensorflow_errors_as_os_errors
from dn3dlib.metrics import cross_entropy, sequence_votes, softmax
from dn3dlib.model.densenet3d import build_model
from dn3dlib.progress import progress_bar
from dn3dlib.train.checkpoint import Checkpoints, Progress
from dn3dlib.train.runs import BEST, Run
from dn3dlib.train.schedule import learning_rate_schedule
from dn3dlib.train.steps import class_weights, make_predict_step, make_train_step
from dn3dlib.train.strategy import choose_strategy

_SPLITS = ("train", "validation")  # whose clips are read
_CHECK_EVERY = 20  # steps between two looks at the loss: each look waits for the device

Observer = Callable[[list[dict]], None]


def train(
    data_dir: Path,
    run_dir: Path,
    clip: ClipConfig,
    model: ModelConfig,
    config: TrainConfig,
    *,
    protocol: str = "",
    init_from: Path | None = None,
    device: str = "auto",
    observers: tuple[Observer, ...] = (),
    show_progress: bool = True,
) -> list[dict]:
    """Train a new network on a prepared data set. Taught in notebook 02.

    Args:
        data_dir: the prepared data set.
        run_dir: the run's folder, new or empty.
        clip, model, config: what to train and how.
        protocol: splits the data set for this run alone (`protocols.split_of_each`); empty: as it is split.
        init_from: a run whose best weights are the start; its network must have the same form.
        device: auto, cpu, gpu:0 …
        observers: called after each epoch with the history so far.
        show_progress: a progress bar with rate and time left on standard error.

    Returns:
        The history: a row for each finished epoch (`runs.COLUMNS`). An interrupt (Ctrl-C, the ■ button, SIGTERM) saves a
        checkpoint and returns what there is; `resume` goes on from there.

    Raises:
        RunError: the folder is taken, the weights do not fit, the loss is no number any more.
        DataError: the data set is damaged or has no training sequences.
        ConfigError: the memory that `config.cache` asks for is not free, or clips of sides are mirrored (`clips.check_flip`).
    """
    data = DataSet.open(data_dir)
    if protocol:
        data = data.as_split_by(protocol, data.seed)
        data.check_split()
    check_flip(clip, data.classes)
    plan_training(data, clip, config.seed, 0)  # refuses an empty split before a folder is made
    held_in_memory(data, _SPLITS, config.cache)  # refuses what does not fit
    weights = load_best(Run.open(init_from)) if init_from else None
    strategy, name = choose_strategy(device)
    keras.utils.set_random_seed(config.seed)
    with strategy.scope():
        network = build_model(model, (clip.frames, *data.storage.frame_shape), len(data.classes))
    if weights:
        _copy_weights(weights, network, init_from)
    run = Run.create(run_dir, data, clip, model, config, str(Path(init_from).resolve()) if init_from else "", bool(protocol))
    return _Training(run, data, network, strategy, name, observers, show_progress).go()


def resume(
    run_dir: Path,
    data_dir: Path | None = None,
    *,
    device: str = "auto",
    observers: tuple[Observer, ...] = (),
    show_progress: bool = True,
) -> list[dict]:
    """Go on with a run that was interrupted, to the same end as without the interruption, bit for bit on one CPU.

    Args:
        run_dir: the run.
        data_dir: its data set, where it has moved since; None: where it was.

    Returns:
        The whole history, as `train` does. A run that is finished is returned as it is.

    Raises:
        RunError: no run there, another data set, a checkpoint that cannot be read.
    """
    run = Run.open(run_dir)
    data = run.open_data(data_dir)
    run.check_same_data(data)
    strategy, name = choose_strategy(device)
    keras.utils.set_random_seed(run.train.seed)
    with strategy.scope():
        network = build_model(run.model, run.clip_shape, len(run.classes))
    if run.init_from and not (run.path / "checkpoints" / "checkpoint").is_file():
        _copy_weights(load_best(Run.open(run.init_from)), network, run.init_from)
    return _Training(run, data, network, strategy, name, observers, show_progress).go()


def load_best(run: Run) -> keras.Model:
    """The network of a run at its best epoch; nothing in the file is executed.

    Raises:
        RunError: the run has none yet, or the file is damaged.
    """
    path = run.path / BEST
    if not path.is_file():
        raise RunError(f"The run {run.path} has no {BEST} yet: it is written after the first epoch; train on with --resume.")
    try:
        return keras.models.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # zip, JSON, HDF5 and Keras each have their own; to the user they are one
        raise RunError(f"The network {path} is damaged ({type(error).__name__}): train again.") from error


def predict_logits(step, data: DataSet, plan: ClipPlan, clip: ClipConfig, batch_size: int, bar=None, frames=None) -> np.ndarray:
    """The logits of the clips of a plan, float32 (clips, classes), in the plan's order.

    `step` is of `make_predict_step`; `bar`, where there is one, is moved on by each batch's clips; `frames` as in
    `clip_dataset`.
    """
    logits = []
    for clips, _, _ in batches_of(clip_dataset(data, plan, clip, batch_size, frames)):
        logits.append(step(clips).numpy())
        if bar is not None:
            bar.update(len(logits[-1]))
    return np.concatenate(logits)


def _copy_weights(source: keras.Model, target: keras.Model, run_dir) -> None:
    try:
        target.set_weights(source.get_weights())
    except ValueError as error:
        raise RunError(
            f"The weights of {run_dir} do not fit this network ({error}): use the same model settings, clip size and classes."
        ) from error


class _Training:
    """One training under way: its run, data, network and how far it has come."""

    def __init__(self, run: Run, data: DataSet, network: keras.Model, strategy, device: str, observers, show_progress: bool):
        self.run, self.data, self.network, self.strategy, self.device = run, data, network, strategy, device
        self.observers, self.show_progress = observers, show_progress
        self.frames = open_frames(data, _SPLITS, run.train.cache, show_progress)
        self.clips = len(plan_training(data, run.clip, run.train.seed, 0))  # of an epoch
        self.steps = math.ceil(self.clips / run.train.batch_size)  # of an epoch
        self.schedule = learning_rate_schedule(run.train, self.steps * run.train.epochs)
        with strategy.scope():
            optimizer = keras.optimizers.SGD(self.schedule, momentum=run.train.momentum, nesterov=run.train.nesterov)
            optimizer.build(network.trainable_variables)
        self.progress = Progress()
        self.checkpoints = Checkpoints(run.path / "checkpoints", network, optimizer, self.progress)
        weights = class_weights([s.label for s in data.of_split("train")], data.classes, run.train.class_weights)
        self.train_step = make_train_step(network, optimizer, strategy, run.train, run.clip_shape, weights)
        self.predict_step = make_predict_step(network, strategy, run.clip_shape)
        self.events = tf.summary.create_file_writer(str(run.path / "events"))
        self.stop = threading.Event()

    def go(self) -> list[dict]:
        """Train from where the newest checkpoint stands to the last epoch, or to an interrupt."""
        restored = self.checkpoints.restore()
        if not restored and (self.run.history() or (self.run.path / BEST).exists()):
            raise RunError(
                f"The run {self.run.path} has finished epochs, but its checkpoints are gone: put them back, or start a new run "
                f"with --init-from {self.run.path}, which takes its best weights."
            )
        done = int(self.progress.epoch)
        history = [row for row in self.run.history() if row["epoch"] <= done]
        self._say(f"Training on {self.device}: {self.clips} clips an epoch, {self.steps} steps.")
        self._say(f"Frames are {'held in memory' if isinstance(self.frames, DecodedFrames) else 'read from the disk for each clip'}.")
        self._say(f"The network has {self.network.count_params():,} numbers in {self.run.model.true_depth} layers with weights.")
        with ExitStack() as stack:
            stack.enter_context(plain_disk_errors(self.run.path))
            stack.enter_context(tensorflow_errors_as_os_errors())
            stack.enter_context(_stop_on_interrupt(self.stop))
            if not restored:  # before any epoch's files: a run that has some and no checkpoint has lost it
                self.checkpoints.save()
            bar = stack.enter_context(self._bar())
            for epoch in range(done + 1, self.run.train.epochs + 1):
                row = self._epoch(epoch, bar)
                if row is None:
                    self.checkpoints.save()
                    self._say(f"Stopped in epoch {epoch} after step {int(self.progress.step)}; go on with --resume.")
                    break
                history.append(row)
                self._finish_epoch(history)
                if self.stop.is_set() and epoch < self.run.train.epochs:
                    self._say(f"Stopped after epoch {epoch}; go on with --resume.")
                    break
        return history

    def _epoch(self, epoch: int, bar) -> dict | None:
        """Train an epoch and validate; None where it was interrupted on the way."""
        run, progress, started = self.run, self.progress, time.perf_counter()
        first = int(progress.step)
        plan = plan_training(self.data, run.clip, run.train.seed, epoch)[first * run.train.batch_size :]
        batches = self._distributed(clip_dataset(self.data, plan, run.clip, run.train.batch_size, self.frames))
        bar.set_description(f"epoch {epoch}/{run.train.epochs}")
        for step, (clips, labels, _) in enumerate(batches_of(batches), first + 1):
            size = min(run.train.batch_size, self.clips - (step - 1) * run.train.batch_size)
            progress.sums.assign_add(self.train_step(clips, labels, np.float32(size)))
            progress.step.assign(step)
            if step % _CHECK_EVERY == 0 or step == self.steps:
                self._check_loss(epoch, step, bar)
            bar.update()
            if self.stop.is_set() and step < self.steps:
                self._check_loss(epoch, step, bar)  # a broken state is not worth keeping
                return None
        seconds = time.perf_counter() - started
        loss, correct, count = (float(n) for n in progress.sums)
        row = {
            "epoch": epoch,
            "learning_rate": float(self.schedule(self.steps * epoch - 1)),
            "train_loss": loss / count,
            "train_clip_accuracy": correct / count,
            **self._validate(),
            "seconds": round(seconds, 3),
            "clips_per_second": round(len(plan) / seconds, 2),
        }
        # The loss of the last step is that of the weights before it.
        sound = all(np.isfinite(weights).all() for weights in self.network.get_weights())
        if not sound or not math.isfinite(row["validation_loss"] or 0):
            raise self._diverged(epoch, self.steps)
        return row

    def _distributed(self, dataset):
        """Each replica's part of the batches. One device takes them whole: the wrapper would tune itself, see `clips`."""
        if self.strategy.num_replicas_in_sync == 1:
            return dataset
        return self.strategy.experimental_distribute_dataset(dataset)

    def _diverged(self, epoch: int, step: int) -> RunError:
        return RunError(
            f"The loss is not a number any more in epoch {epoch}, at step {step} or up to {_CHECK_EVERY} before: the learning "
            f"rate {self.run.train.learning_rate} is probably too high; start a new run with a lower train.learning_rate. "
            f"The last good checkpoint of {self.run.path} is kept."
        )

    def _check_loss(self, epoch: int, step: int, bar) -> None:
        loss, correct, count = (float(n) for n in self.progress.sums)
        if not math.isfinite(loss):
            raise self._diverged(epoch, step)
        bar.set_postfix_str(f"loss {loss / count:.3f}, clip accuracy {correct / count:.2f}", refresh=False)

    def _validate(self) -> dict:
        """Loss, clip accuracy and sequence accuracy on the validation split; None each where it is empty."""
        names = ("validation_loss", "validation_clip_accuracy", "validation_sequence_accuracy")
        if not self.data.of_split("validation"):
            return dict.fromkeys(names)
        run = self.run
        plan = plan_evaluation(self.data, run.clip, "validation", run.train.seed)
        labels = np.array([self.data.classes.index(s.label) for s in self.data.sequences])
        batch_size = run.train.batch_size
        probabilities = softmax(predict_logits(self.predict_step, self.data, plan, run.clip, batch_size, frames=self.frames))
        sequences, votes = sequence_votes(probabilities, plan.sequence)
        truth = labels[plan.sequence]
        return {
            "validation_loss": cross_entropy(probabilities, truth),
            "validation_clip_accuracy": float((probabilities.argmax(axis=1) == truth).mean()),
            "validation_sequence_accuracy": float((votes.argmax(axis=1) == labels[sequences]).mean()),
        }

    def _finish_epoch(self, history: list[dict]) -> None:
        """History, then the best network, then the checkpoint: a kill in between only repeats the epoch."""
        row = history[-1]
        self.run.write_history(history)
        if self._is_best(row):
            self._save_best()
        self.progress.epoch.assign(row["epoch"])
        self.progress.step.assign(0)
        self.progress.sums.assign(tf.zeros(3))
        self.checkpoints.save()
        with self.events.as_default(step=row["epoch"]):
            for name, value in row.items():
                if name != "epoch" and value is not None:
                    tf.summary.scalar(name, value)
        self.events.flush()
        for observer in self.observers:
            observer(history)

    def _is_best(self, row: dict) -> bool:
        """Highest validation sequence accuracy, then lower loss, then earlier epoch; without validation, the latest."""
        if row["validation_loss"] is None:
            return True
        accuracy, loss = (float(n) for n in self.progress.best)
        # Compared in float32, as stored: an equal figure of an earlier epoch must not look smaller.
        new = np.float32(row["validation_sequence_accuracy"]), -np.float32(row["validation_loss"])
        if new <= (np.float32(accuracy), -np.float32(loss)):
            return False
        self.progress.best.assign([row["validation_sequence_accuracy"], row["validation_loss"]])
        return True

    def _save_best(self) -> None:
        partial = self.run.path / "best.partial.keras"
        try:
            self.network.save(partial)
            partial.replace(self.run.path / BEST)
        finally:
            partial.unlink(missing_ok=True)

    def _bar(self):
        done = int(self.progress.epoch) * self.steps + int(self.progress.step)
        total = self.run.train.epochs * self.steps
        return progress_bar(total=total, initial=done, unit="step", show=self.show_progress)

    def _say(self, sentence: str) -> None:
        if self.show_progress:
            print(sentence, file=sys.stderr)


@contextmanager
def _stop_on_interrupt(stop: threading.Event) -> Iterator[None]:
    """While the block runs, SIGINT and SIGTERM set `stop`; a second one interrupts at once."""
    if threading.current_thread() is not threading.main_thread():
        yield  # signals reach the main thread only
        return

    def on_signal(number, frame):
        stop.set()
        signal.signal(number, before[number])

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in before:
        signal.signal(number, on_signal)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
