"""The training loop: epochs of steps, a validation after each, a checkpoint, and a clean stop at any time."""

import math
import sys
import threading
import time
from contextlib import ExitStack, nullcontext
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from dn3dlib.config import ClipConfig, ModelConfig, TrainConfig
from dn3dlib.data.cache import DecodedFrames, free_memory, held_in_memory, open_frames
from dn3dlib.data.clips import check_augmentation, plan_training
from dn3dlib.data.manifest import DataSet
from dn3dlib.errors import RunError
from dn3dlib.files import only_one_at, plain_disk_errors, tensorflow_errors_as_os_errors
from dn3dlib.model.densenet3d import build_model
from dn3dlib.progress import progress_bar
from dn3dlib.train.best import save_best
from dn3dlib.train.checkpoint import Checkpoints, Progress
from dn3dlib.train.cluster import is_chief, lost_worker_in_a_sentence, meet, processes_of
from dn3dlib.train.interrupt import stop_on_interrupt
from dn3dlib.train.memory import memory_advice, memory_warning, out_of_memory_in_a_sentence
from dn3dlib.train.observer import Observer, Report, check_observers
from dn3dlib.train.replicas import replica_batches
from dn3dlib.train.runs import BEST, CHECKPOINTS, Run
from dn3dlib.train.schedule import learning_rate_schedule
from dn3dlib.train.start import describe_start
from dn3dlib.train.steps import class_weights, make_optimizer, make_predict_step, make_train_step
from dn3dlib.train.strategy import choose_precision, choose_strategy, fit_to_replicas, gpu_of
from dn3dlib.train.tuning import copy_weights, freeze, learned_numbers
from dn3dlib.train.validation import FIGURES, validate
from dn3dlib.train.watch import Watch

_SPLITS = ("train", "validation")  # whose clips are read
_CHECK_EVERY = 20  # steps between two looks at the loss: each look waits for the device


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
    strategy: str = "auto",
    observers: tuple[Observer, ...] = (),
    show_progress: bool = True,
) -> list[dict]:
    """Train a new network on a prepared data set. Taught in notebook 02.

    Args:
        data_dir: the prepared data set.
        run_dir: the run's folder, new or empty.
        clip, model, config: what to train and how.
        protocol: splits the data set for this run alone (`protocols.split_of_each`); empty: as it is split.
        init_from: a run whose best weights are the start, with a new head where the classes are other ones (`tuning.copy_weights`).
        device, strategy: as in `strategy.choose_strategy`; a batch is that of all replicas together.
        observers: told of the start, of moments on the way, of each epoch and of the end (`observer.Observer`).
        show_progress: a progress bar with rate and time left on standard error.

    Returns:
        The history: a row for each finished epoch (`runs.COLUMNS`). An interrupt (Ctrl-C, the ■ button, SIGTERM) saves a
        checkpoint and returns what there is; `resume` goes on from there. Of several workers the chief alone writes and validates:
        the others' rows are without validation.

    Raises:
        RunError: the folder is taken, the weights do not fit, the loss is no number any more, another worker has gone.
        DataError: the data set is damaged or has no training sequences.
        ConfigError: the memory that `config.cache` asks for is not free, augmentation does harm (`clips.check_augmentation`), no
            observers, or devices, workers and batch that do not fit (`choose_strategy`, `fit_to_replicas`).
    """
    check_observers(observers)
    data = DataSet.open(data_dir)
    if protocol:
        data = data.as_split_by(protocol, data.seed)
        data.check_split()
    check_augmentation(clip, data.storage.frame_shape, data.classes)
    plan_training(data, clip, config.seed, 0)  # refuses an empty split before a folder is made
    held_in_memory(data, _SPLITS, config.cache)  # refuses what does not fit
    engine, name = choose_strategy(device, strategy)  # before anything is computed
    config = fit_to_replicas(choose_precision(config, engine), engine)
    keras.utils.set_random_seed(config.seed)
    with engine.scope():
        network = build_model(model, (clip.frames, *data.storage.frame_shape), len(data.classes))
    source = str(Path(init_from).resolve()) if init_from else ""
    notes = {"parameters": learned_numbers(network), "replicas": engine.num_replicas_in_sync}
    if source:
        notes["start"] = copy_weights(Run.open(init_from), network, data, clip)
    freeze(network, config.freeze, source)
    notes["trained_parameters"] = learned_numbers(network)
    run = Run.create(run_dir, data, clip, model, config, source, notes, bool(protocol), is_chief(engine))
    with _held(run, engine):
        return _Training(run, data, network, engine, name, observers, show_progress).go()


def resume(
    run_dir: Path,
    data_dir: Path | None = None,
    *,
    device: str = "auto",
    strategy: str = "auto",
    observers: tuple[Observer, ...] = (),
    show_progress: bool = True,
) -> list[dict]:
    """Go on with a run that was interrupted, to the same end as without the interruption, bit for bit on CPUs, as many as before.

    Args:
        run_dir: the run.
        data_dir: its data set, where it has moved since; None: where it was.

    Returns:
        The whole history, as `train` does. A run that is finished is returned as it is.

    Raises:
        RunError: no run there, another data set, other settings than its checkpoints have, no checkpoint that can be read.
        Dn3dError: another process trains it, or the folder cannot be written.
    """
    check_observers(observers)
    run = Run.open(run_dir)
    data = run.open_data(data_dir)
    run.check_same_data(data)
    engine, name = choose_strategy(device, strategy)
    fit_to_replicas(choose_precision(run.train, engine), engine)  # refuses what is not there, or does not fit
    keras.utils.set_random_seed(run.train.seed)
    with engine.scope():
        network = build_model(run.model, run.clip_shape, len(run.classes))
    if run.init_from and not any((run.path / CHECKPOINTS).glob("*.index")):
        copy_weights(Run.open(run.init_from), network, data, run.clip)
    freeze(network, run.train.freeze, run.init_from)
    with _held(run, engine):
        return _Training(run, data, network, engine, name, observers, show_progress).go()


def _held(run: Run, strategy):
    """The run's folder, held against other trainings by the one process that writes into it."""
    return only_one_at(run.path / CHECKPOINTS) if is_chief(strategy) else nullcontext()


class _Training:
    """One training under way: its run, data, network and how far it has come."""

    def __init__(self, run: Run, data: DataSet, network: keras.Model, strategy, device: str, observers, show_progress: bool):
        self.run, self.data, self.network, self.strategy, self.device = run, data, network, strategy, device
        self.chief, self.show_progress = is_chief(strategy), show_progress and is_chief(strategy)
        self.frames = open_frames(data, _SPLITS, run.train.cache, self.show_progress)
        self.clips = len(plan_training(data, run.clip, run.train.seed, 0))  # of an epoch
        self.steps = math.ceil(self.clips / run.train.batch_size)  # of an epoch
        self.schedule = learning_rate_schedule(run.train, self.steps * run.train.epochs)
        self.report = Report(observers if self.chief else (), run, self.clips, self.steps, self.schedule)
        with strategy.scope():
            optimizer = make_optimizer(self.schedule, run.train, network.trainable_variables)
        self.progress = Progress()
        self.checkpoints = Checkpoints(run, network, optimizer, self.progress)
        weights = class_weights([s.label for s in data.of_split("train")], data.classes, run.train.class_weights)
        alone = processes_of(strategy) == 1
        self.wish = None if alone else tf.Variable(0.0)  # 1 where this process wants to stop, told to the others in each step
        self.agreed = False  # whether one of all wanted to stop in the last step
        self.train_step = make_train_step(network, optimizer, strategy, run.train, run.clip_shape, weights, self.wish)
        self.predict_step = make_predict_step(network, strategy, run.clip_shape)
        # Of a GPU TensorFlow does not tell what is free, and other workers may be on other machines.
        self.free = None if gpu_of(strategy) or not alone else free_memory()
        self.stop = threading.Event()
        self.saved = 0.0  # when, in time.monotonic()
        self.watch = Watch(run, network)

    def go(self) -> list[dict]:
        """Train from where the newest checkpoint stands to the last epoch, or to an interrupt."""
        with ExitStack() as stack:
            stack.enter_context(plain_disk_errors(self.run.path))
            stack.enter_context(tensorflow_errors_as_os_errors())
            stack.enter_context(out_of_memory_in_a_sentence(self._where_and_what_to_do))
            stack.enter_context(lost_worker_in_a_sentence(self.strategy))
            stack.enter_context(stop_on_interrupt(self.stop))
            self._start()
            done = int(self.progress.epoch)
            history = [row for row in self.run.history() if row["epoch"] <= done]
            if len(history) < done:
                raise RunError(
                    f"The history of {self.run.path} has rows for {len(history)} of the {done} epochs that its checkpoint has finished: "
                    "restore history.csv; without it, what they gave is lost."
                )
            stack.enter_context(self.report.from_start_to_end(history, self.stop))
            bar = stack.enter_context(self._bar())
            for epoch in range(done + 1, self.run.train.epochs + 1):
                row = self._epoch(epoch, bar)
                if row is None:
                    self._say(f"Stopped in epoch {epoch} after step {int(self.progress.step)}; go on with --resume.")
                    break
                history.append(row)
                self._finish_epoch(history)
                if self._asked_to_stop() and epoch < self.run.train.epochs:
                    self._say(f"Stopped after epoch {epoch}; go on with --resume.")
                    break
            meet(self.strategy)  # whoever leaves earlier would be missed
        return history

    def _start(self) -> None:
        """Restore the newest checkpoint, or make the first: before any epoch's files, or a run that has lost it looks new."""
        if self.chief:
            self.run.clear_leftovers()
        restored = self.checkpoints.restore()
        if not restored and (self.run.history() or (self.run.path / BEST).exists()):
            raise RunError(
                f"The run {self.run.path} has finished epochs, but its checkpoints are gone: put them back, or start a new run "
                f"with --init-from {self.run.path}, which takes its best weights."
            )
        meet(self.strategy)  # all have read the same checkpoint before the next is written
        self._describe()
        if not restored:
            self._save()
        self.saved = time.monotonic()
        if self.chief:
            self.events = tf.summary.create_file_writer(str(self.run.path / "events"))

    def _where_and_what_to_do(self) -> str:
        """The end of the sentence on memory that has run out."""
        where = f"in epoch {int(self.progress.epoch) + 1} after step {int(self.progress.step)}"
        advice = memory_advice(self.network, self.run.train, self.free)
        return f"{where}. {advice} The last good checkpoint of {self.run.path} is kept."

    def _epoch(self, epoch: int, bar) -> dict | None:
        """Train an epoch, or what is left of it, and validate; None where it was interrupted on the way."""
        run, progress = self.run, self.progress
        started = time.perf_counter() - float(progress.seconds)
        first = int(progress.step)
        plan = plan_training(self.data, run.clip, run.train.seed, epoch)[first * run.train.batch_size :]
        batches = replica_batches(self.strategy, self.data, plan, run.clip, run.train.batch_size, self.frames)
        bar.set_description(f"epoch {epoch}/{run.train.epochs}")
        for step, (clips, labels) in enumerate(batches, first + 1):
            size = min(run.train.batch_size, self.clips - (step - 1) * run.train.batch_size)
            sums = self._train_step(clips, labels, size)
            self.watch.add(sums)
            progress.sums.assign_add(sums)
            progress.step.assign(step)
            bar.update()
            self.report.step(epoch, step, progress.sums)
            stop = self._asked_to_stop() and step < self.steps  # a whole epoch is finished first
            if stop or self._is_due(step):
                self._check(epoch, step, clips)
                progress.seconds.assign(time.perf_counter() - started)
                self._save()
            elif step % _CHECK_EVERY == 0:
                self.watch.check_loss(epoch, step)
                self._show_loss(bar)
            if stop:
                return None
        self._check(epoch, self.steps, clips)
        self._show_loss(bar)
        seconds = time.perf_counter() - started
        loss, correct, count = (float(n) for n in progress.sums)
        row = {
            "epoch": epoch,
            "learning_rate": float(self.schedule(self.steps * epoch - 1)),
            "train_loss": loss / count,
            "train_clip_accuracy": correct / count,
            **self._validate(),
            "seconds": round(seconds, 3),
            "clips_per_second": round(self.clips / seconds, 2),
        }
        if not math.isfinite(row["validation_loss"] or 0):
            raise self.watch.diverged("validation loss", epoch, self.steps)
        return row

    def _train_step(self, clips, labels, size: int) -> tf.Tensor:
        """Train on a batch of so many clips, and give its sums, float32 (3,)."""
        if self.wish is None:
            return self.train_step(clips, labels, np.float32(size))
        self.wish.assign(float(self.stop.is_set()))
        sums = self.train_step(clips, labels, np.float32(size))
        self.agreed = float(sums[3]) > 0
        return sums[:3]

    def _asked_to_stop(self) -> bool:
        """Whether it is to end here; several processes all say so after the same step, or they would wait for each other."""
        return self.stop.is_set() if self.wish is None else self.agreed

    def _check(self, epoch: int, step: int, clips) -> None:
        """Raise RunError where this state is broken, tried on clips of the step just done."""
        self.watch.check(epoch, step, self.predict_step(self.strategy.experimental_local_results(clips)[0]))

    def _show_loss(self, bar) -> None:
        loss, correct, count = (float(n) for n in self.progress.sums)
        bar.set_postfix_str(f"loss {loss / count:.3f}, clip accuracy {correct / count:.2f}", refresh=False)

    def _is_due(self, step: int) -> bool:
        """Whether it is time for a checkpoint inside the epoch."""
        interval = self.run.train.checkpoint_seconds
        return self.chief and 0 < interval <= time.monotonic() - self.saved and step < self.steps

    def _save(self) -> None:
        if self.chief:
            self.checkpoints.save()
        self.saved = time.monotonic()

    def _validate(self) -> dict:
        if not self.chief:  # it does so for all; the others wait in the next step
            return dict.fromkeys(FIGURES)
        return validate(self.predict_step, self.run, self.data, self.frames, self.report)

    def _finish_epoch(self, history: list[dict]) -> None:
        """History, the best network and the events, then the checkpoint: a kill in between only repeats the epoch's end."""
        row = history[-1]
        if self.chief:
            self._write(history)
        self.progress.epoch.assign(row["epoch"])
        self.progress.step.assign(0)
        self.progress.sums.assign(tf.zeros(3))
        self.progress.seconds.assign(0)
        self._save()
        self.report.epoch(history)

    def _write(self, history: list[dict]) -> None:
        row = history[-1]
        self.run.write_history(history)
        if self.progress.keep_if_best(row):
            save_best(self.run, self.network)
        with self.events.as_default(step=row["epoch"]):
            for name, value in row.items():
                if name != "epoch" and value is not None:
                    tf.summary.scalar(name, value)
        self.events.flush()

    def _describe(self) -> None:
        """Say where and how it trains."""
        in_memory, replicas = isinstance(self.frames, DecodedFrames), self.strategy.num_replicas_in_sync
        for sentence in describe_start(self.run, self.device, replicas, self.clips, self.steps, in_memory, self.network):
            self._say(sentence)
        if self.free is not None and (warning := memory_warning(self.network, self.run.train, self.free)):
            print(f"Warning: {warning}", file=sys.stderr)
        epoch, step = int(self.progress.epoch), int(self.progress.step)
        if epoch + step and epoch < self.run.train.epochs:
            self._say(f"Going on in epoch {epoch + 1} after step {step}.")

    def _bar(self):
        done = int(self.progress.epoch) * self.steps + int(self.progress.step)
        total = self.run.train.epochs * self.steps
        return progress_bar(total=total, initial=done, unit="step", show=self.show_progress)

    def _say(self, sentence: str) -> None:
        if self.show_progress:
            print(sentence, file=sys.stderr)
