"""What tests do at a step of a training, and how two histories are compared."""

from collections.abc import Callable

import pytest

from dn3dlib.train import loop
from dn3dlib.train.observer import Observer


class EachEpoch(Observer):
    """An observer that does one thing with the history after each epoch."""

    def __init__(self, act: Callable[[list[dict]], None]):
        self.epoch = act


def at_step(patch: pytest.MonkeyPatch, call: int, act: Callable[[], None]) -> None:
    """Call `act` before the `call`-th step (from 1) that any training of this process computes from now on."""
    make, done = loop.make_train_step, []

    def make_and_count(*arguments):
        step = make(*arguments)

        def counted(*batch):
            done.append(1)
            if len(done) == call:
                act()
            return step(*batch)

        return counted

    patch.setattr(loop, "make_train_step", make_and_count)


def without_times(rows: list[dict]) -> list[dict]:
    """Rows of a history or of folds without what differs from one time to the next."""
    return [{name: value for name, value in row.items() if name not in ("seconds", "clips_per_second")} for row in rows]
