"""A data set with a trap, for the lesson on leaks: each person was filmed in one gait only, so that who it is says what it is."""

import dataclasses

from dn3dlib.data.acting import GAITS
from dn3dlib.data.catalog import Catalog, Sequence
from dn3dlib.data.kth import kth_catalog
from dn3dlib.data.sources import read_catalog
from dn3dlib.data.synthetic import make_synthetic
from dn3dlib.places import data_home

FILMED, UNSEEN = 15, 10  # people: of the data set; never filmed for it, to find out the truth
UNSEEN_SEED = 1  # another seed, other people: the synthetic set has seed 0
SPLIT_SEED = 17  # the first that gives, by subject and by sequence, 72 sequences to train on, 24 to validate and 24 to test


def one_gait_catalog() -> Catalog:
    """Fifteen people of the synthetic set, five in each gait and none in two, split by subject. Taught in notebook 05.

    Each of their two videos is cut into four sequences. The set is drawn where it is missing; raises DataError where the
    kit's `data/` cannot take it.
    """
    whole = read_catalog("synthetic")
    number = {s.subject: int(s.subject.removeprefix("person")) for s in whole.sequences}
    rows = (s for s in whole.sequences if number[s.subject] <= FILMED and s.label == GAITS[number[s.subject] % len(GAITS)])
    halves = tuple(half for s in rows for half in _halves(s))
    return dataclasses.replace(whole, sequences=halves).split_by("by-subject", SPLIT_SEED)


def unseen_catalog(people: int = UNSEEN) -> Catalog:
    """Other people in all three gaits, all of them test; drawn where they are missing. Taught in notebook 05.

    Cut as those of `one_gait_catalog`. Raises ConfigError for an impossible number of people, DataError where the kit's
    `data/` cannot take the videos.
    """
    name = f"unseen-{people}"
    source = make_synthetic(data_home() / f"synthetic-{name}", UNSEEN_SEED, people)
    whole = kth_catalog(source, name).only_classes(GAITS)
    halves = tuple(half for s in whole.sequences for half in _halves(s))
    return dataclasses.replace(whole, sequences=halves).split_by("by-subject:0,0,1")


def _halves(sequence: Sequence) -> tuple[Sequence, Sequence]:
    """A sequence as two, as if it had been annotated so; of "…#1" come "…#1" and "…#2", of "…#2" "…#3" and "…#4"."""
    name, number = sequence.id.split("#")
    middle = (sequence.start + sequence.stop) // 2
    first = dataclasses.replace(sequence, id=f"{name}#{2 * int(number) - 1}", stop=middle)
    return first, dataclasses.replace(sequence, id=f"{name}#{2 * int(number)}", start=middle)
