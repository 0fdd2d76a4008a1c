"""Who watches a training: what an observer is told of it, and how often."""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from dn3dlib.errors import ConfigError
from dn3dlib.progress import say_beside_bars
from dn3dlib.train.runs import COLUMNS, Run

EVERY = 0.5  # seconds between two moments at least: to read the loss is to wait for the device
_WINDOW = 20  # moments over which the rate is measured: ten seconds where steps are short


@dataclass(frozen=True)
class Moment:
    """Where a training is, between two of its steps or two batches of a validation."""

    epoch: int  # from 1
    epochs: int
    step: int  # of this epoch, from 1: the one that is done
    steps: int  # of an epoch
    validating: bool  # all steps of the epoch are done, and the network is tried on the validation split
    learning_rate: float  # of this step
    loss: float  # mean of the epoch's clips so far, in nats, without class weights
    clip_accuracy: float  # share of the epoch's clips so far
    clips_per_second: float | None  # of the last seconds of training; None: not known yet
    seconds_left: float | None  # of the whole training; validation counts from the second epoch on, when one has been timed


class Observer:
    """What `train` and `resume` tell; a child takes what it wants.

    All calls come from the thread that trains, between two steps, and the training waits for them.
    """

    def start(self, run: Run, history: list[dict], stop: threading.Event) -> None:
        """The first step is next; a resumed run has a history. Whoever sets `stop`, from any thread, ends the training after a step."""

    def moment(self, moment: Moment) -> None:
        """This far it is; every half second at most, so not after each step."""

    def epoch(self, history: list[dict]) -> None:
        """An epoch is finished and saved: the rows of all so far (`runs.COLUMNS`)."""

    def end(self, ending: str) -> None:
        """It is over: `finished`; `stopped`, saved before its last epoch; or `failed`, an error follows."""


def check_observers(observers) -> None:
    """Raise ConfigError where one of them cannot be told anything: before a folder is made for the training."""
    if not isinstance(observers, tuple | list) or not all(isinstance(one, Observer) for one in observers):
        raise ConfigError(f"observers is {observers!r}, but must be a tuple of observers, such as (LiveBoard(),).")


EPOCH_FIGURES = tuple(name for name in COLUMNS if name not in ("epoch", "seconds"))


class EpochLines(Observer):
    """Says each epoch's figures in a line on standard error, for logs and for what reads them (`figure_pattern`)."""

    def start(self, run: Run, history: list[dict], stop: threading.Event) -> None:
        self._epochs = run.train.epochs

    def epoch(self, history: list[dict]) -> None:
        figures = ", ".join(f"{name} {history[-1][name]:.6g}" for name in EPOCH_FIGURES if history[-1][name] is not None)
        say_beside_bars(f"epoch {history[-1]['epoch']}/{self._epochs}: {figures}")


def figure_pattern(name: str) -> str:
    """The regular expression that finds a figure (`EPOCH_FIGURES`) in the lines of `EpochLines`, as its one group."""
    return rf"epoch \d+/\d+: .*\b{name} ([0-9.e+-]+)"


class Report:
    """What the loop tells its observers, from the start to the end; without observers it reads neither clock nor loss."""

    def __init__(
        self,
        observers: tuple[Observer, ...],
        run: Run,
        clips: int,
        steps: int,
        learning_rate: Callable[[int], float],
        clock: Callable[[], float] = time.monotonic,
    ):
        """`clips` and `steps`: of an epoch; `learning_rate`: of each step of the training, counted from 0."""
        self._observers, self._run, self._clips, self._steps = observers, run, clips, steps
        self._learning_rate, self._clock = learning_rate, clock
        self._told = self._stepped = float("-inf")  # when, as the clock says: the last moment, the last step
        self._marks: deque[tuple[float, float]] = deque(maxlen=_WINDOW)  # (when, clips of the whole training done), without pauses
        self._rate: float | None = None
        self._pause = 0.0  # seconds from the last step of an epoch to the first of the next
        self._aside = (0.0, 0.0)  # seconds of all pauses so far, and clips of the steps at their ends: no measure of training
        self._at = (0, 0)  # epoch and step

    @contextmanager
    def from_start_to_end(self, history: list[dict], stop: threading.Event) -> Iterator[None]:
        """Tell the start, run the block, which adds to `history`, and tell how it ended."""
        ending = "failed"
        try:
            for observer in self._observers:
                observer.start(self._run, list(history), stop)
            yield
            ending = "finished" if len(history) == self._run.train.epochs else "stopped"
        finally:
            for observer in self._observers:
                observer.end(ending)

    def step(self, epoch: int, step: int, sums) -> None:
        """A step is done; the variable `sums`, float32 (3,): loss, right answers and clips of the epoch so far, is read only when it is time."""
        if not self._observers:
            return
        now = self._clock()
        if epoch != self._at[0]:
            self._pause = now - self._stepped if self._at[0] else 0.0
            self._aside = self._aside[0] + self._pause, self._aside[1] + (self._clips / self._steps if self._at[0] else 0)
        self._at, self._sums, self._stepped = (epoch, step), sums, now
        self._tell(now, validating=False)

    def update(self, clips: int) -> None:
        """A batch of a validation is done: `validation.predict_logits` moves this on as it does a progress bar."""
        if self._observers:
            self._tell(self._clock(), validating=True)

    def epoch(self, history: list[dict]) -> None:
        """An epoch is finished and saved."""
        for observer in self._observers:
            observer.epoch(list(history))

    def _tell(self, now: float, validating: bool) -> None:
        if now - self._told < EVERY:
            return
        loss, correct, count = (float(number) for number in self._sums.numpy())
        self._told = self._clock()  # now all steps so far are really done
        (epoch, step), epochs = self._at, self._run.train.epochs
        done = (epoch - 1) * self._clips + int(count)
        if not validating:
            self._marks.append((self._told - self._aside[0], done - self._aside[1]))
            (since, first), (until, last) = self._marks[0], self._marks[-1]
            self._rate = (last - first) / (until - since) if until > since else self._rate
        left = None
        if self._rate:
            pauses = (epochs - epoch + 1) * self._pause - (self._told - self._stepped)
            left = (epochs * self._clips - done) / self._rate + max(pauses, 0.0)
        rate = float(self._learning_rate((epoch - 1) * self._steps + step - 1))
        moment = Moment(epoch, epochs, step, self._steps, validating, rate, loss / count, correct / count, self._rate, left)
        for observer in self._observers:
            observer.moment(moment)
