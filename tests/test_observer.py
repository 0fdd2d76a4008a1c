"""Who watches a training: what is told, how often, and that a flag set from outside ends it cleanly."""

import dataclasses
import shutil
import threading
from types import SimpleNamespace

import numpy as np
import pytest
from steps import at_step, without_times

from dn3dlib.errors import ConfigError, RunError
from dn3dlib.train.loop import resume, train
from dn3dlib.train.observer import EVERY, Moment, Observer, Report
from dn3dlib.train.runs import Run


class Notes(Observer):
    """Writes down all that it is told."""

    def __init__(self):
        self.calls, self.stop = [], None

    def start(self, run, history, stop):
        self.stop = stop
        self.calls.append(("start", run.train.epochs, len(history)))

    def moment(self, moment):
        self.calls.append(moment)

    def epoch(self, history):
        self.calls.append(("epoch", len(history)))

    def end(self, ending):
        self.calls.append(("end", ending))

    @property
    def moments(self) -> list[Moment]:
        return [call for call in self.calls if isinstance(call, Moment)]

    @property
    def others(self) -> list[tuple]:
        return [call for call in self.calls if not isinstance(call, Moment)]


class Sums:
    """Loss, right answers and clips of an epoch so far; counts how often it is read."""

    def __init__(self):
        self.reads, self.value = 0, np.zeros(3, np.float32)

    def numpy(self):
        self.reads += 1
        return self.value


@pytest.fixture
def watched():
    """Ten steps of 8 clips an epoch, two epochs, on a clock that a test moves on; step n has the rate n."""
    notes, sums, clock = Notes(), Sums(), SimpleNamespace(now=100.0)
    run = SimpleNamespace(train=SimpleNamespace(epochs=2))
    report = Report((notes,), run, 80, 10, lambda step: step, lambda: clock.now)

    def step(epoch: int, number: int, seconds: float) -> float:
        clock.now += seconds
        sums.value = np.array([16 * number, 4 * number, 8 * number], np.float32)  # loss 2, half of them right
        before = len(notes.moments)
        report.step(epoch, number, sums)
        return clock.now if len(notes.moments) > before else 0.0

    return SimpleNamespace(notes=notes, sums=sums, clock=clock, report=report, step=step)


def test_moments_are_half_a_second_apart_and_only_they_read_the_loss(watched):
    told = [watched.step(1, number, 0.2) for number in range(1, 11)]
    told = [when for when in told if when]
    assert len(told) == 4 and all(np.diff(told) >= EVERY), "after steps 1, 4, 7 and 10"
    assert watched.sums.reads == 4
    watched.clock.now += 0.3
    watched.report.update(8)
    assert len(watched.notes.moments) == 4, "a batch of the validation after 0.3 seconds"
    watched.clock.now += 0.3
    watched.report.update(8)
    assert watched.notes.moments[-1].validating and watched.notes.moments[-1].step == 10


def test_a_moment_tells_where_it_is_how_good_how_fast_and_how_long_still(watched):
    for number in range(1, 11):
        watched.step(1, number, 1.0)
    first, *_, last = watched.notes.moments
    assert first == Moment(1, 2, 1, 10, False, 0.0, 2.0, 0.5, None, None), "one step has no rate yet"
    assert last == Moment(1, 2, 10, 10, False, 9.0, 2.0, 0.5, pytest.approx(8.0), pytest.approx(10.0))
    watched.step(2, 1, 5.0)
    assert watched.notes.moments[-1].clips_per_second == pytest.approx(8.0), "the pause of 5 seconds is no training"
    watched.step(2, 2, 1.0)
    found = watched.notes.moments[-1]
    assert (found.epoch, found.step, found.learning_rate) == (2, 2, 11.0)
    assert found.seconds_left == pytest.approx(8 + 5), "8 steps, and one more pause"


@pytest.mark.parametrize("observers", [Observer(), [lambda history: None], (Observer,), None])
def test_who_cannot_be_told_is_refused_before_a_folder_is_made(prepared, tiny, tmp_path, observers):
    with pytest.raises(ConfigError, match="must be a tuple of observers"):
        train(prepared, tmp_path / "run", tiny.clip, tiny.model, tiny.train, observers=observers)
    assert not (tmp_path / "run").exists()


def test_where_one_cannot_start_all_hear_of_the_end():
    notes, broken = Notes(), Notes()
    broken.start = lambda *_: 1 / 0
    report = Report((notes, broken), SimpleNamespace(train=SimpleNamespace(epochs=1)), 8, 1, None)
    with pytest.raises(ZeroDivisionError), report.from_start_to_end([], threading.Event()):
        pytest.fail("the block must not run")
    assert notes.others == [("start", 1, 0), ("end", "failed")] and broken.others == [("end", "failed")]


def test_epochs_shorter_than_a_moment_have_a_rate_too(watched):
    for epoch in (1, 2):
        for number in range(1, 11):
            watched.step(epoch, number, 0.34 if (epoch, number) == (2, 1) else 0.04)
    assert [(moment.epoch, moment.step) for moment in watched.notes.moments] == [(1, 1), (2, 1)]
    watched.step(2, 10, 0.5)
    assert watched.notes.moments[-2].clips_per_second == pytest.approx(8 / 0.04)


def test_without_observers_neither_clock_nor_loss_is_read():
    report = Report((), SimpleNamespace(train=SimpleNamespace(epochs=1)), 8, 1, None, clock=None)
    report.step(1, 1, None)
    report.update(8)
    with report.from_start_to_end([], threading.Event()):
        report.epoch([{}])


def test_a_training_tells_start_epochs_and_end(prepared, tiny, tmp_path):
    notes = Notes()
    history = train(prepared, tmp_path / "run", tiny.clip, tiny.model, tiny.train, device="cpu", observers=(notes,), show_progress=False)
    assert notes.others == [("start", 2, 0), ("epoch", 1), ("epoch", 2), ("end", "finished")]
    first = notes.moments[0]
    assert (first.epoch, first.epochs, first.step, first.steps, first.validating) == (1, 2, 1, 3, False)
    assert first.loss > 0 and 0 <= first.clip_accuracy <= 1 and first.learning_rate == pytest.approx(tiny.train.learning_rate)
    again = Notes()
    assert resume(tmp_path / "run", device="cpu", observers=(again,), show_progress=False) == Run.open(tmp_path / "run").history()
    assert again.calls == [("start", 2, 2), ("end", "finished")] and len(history) == 2


def test_a_validation_is_seen(prepared, tiny, tmp_path, monkeypatch):
    monkeypatch.setattr("dn3dlib.train.observer.EVERY", 0.0)
    notes = Notes()
    train(prepared, tmp_path / "run", tiny.clip, tiny.model, tiny.train, device="cpu", observers=(notes,), show_progress=False)
    seen = [(moment.epoch, moment.step, moment.validating) for moment in notes.moments]
    steps = [(1, 1, False), (1, 2, False), (1, 3, False)]
    assert seen[:4] == [*steps, (1, 3, True)] and seen[-1] == (2, 3, True)


def test_a_flag_set_from_another_thread_ends_it_and_it_goes_on_to_the_same_end(prepared, trained, tiny, tmp_path, monkeypatch, differing):
    notes = Notes()

    def set_elsewhere():
        other = threading.Thread(target=lambda: notes.stop.set())
        other.start()
        other.join()

    at_step(monkeypatch, 5, set_elsewhere)  # the second of the second epoch
    history = train(prepared, tmp_path / "run", tiny.clip, tiny.model, tiny.train, device="cpu", observers=(notes,), show_progress=False)
    assert notes.others == [("start", 2, 0), ("epoch", 1), ("end", "stopped")] and len(history) == 1
    again = Notes()
    whole = resume(tmp_path / "run", device="cpu", observers=(again,), show_progress=False)
    assert again.others == [("start", 2, 1), ("epoch", 2), ("end", "finished")]
    assert again.moments[0].step == 3, "two steps were saved"
    assert without_times(whole) == without_times(Run.open(trained).history()) and differing(trained, tmp_path / "run") == []


def test_an_error_ends_it_as_failed(prepared, tiny, tmp_path, trained):
    notes = Notes()
    config = dataclasses.replace(tiny.train, learning_rate=1e30, warmup=0.0)
    with pytest.raises(RunError, match="not a number any more"):
        train(prepared, tmp_path / "run", tiny.clip, tiny.model, config, device="cpu", observers=(notes,), show_progress=False)
    assert notes.others[-1] == ("end", "failed")
    lost = shutil.copytree(trained, tmp_path / "lost")
    shutil.rmtree(lost / "checkpoints")
    silent = Notes()
    with pytest.raises(RunError, match="its checkpoints are gone"):
        resume(lost, device="cpu", observers=(silent,), show_progress=False)
    assert silent.calls == [], "what never starts does not end"
