"""A data set with a trap, for the lesson on leaks: each person was filmed in one gait only, so that who it is says what it is."""

import dataclasses

from dn3dlib.data.acting import GAITS
from dn3dlib.data.catalog import Catalog
from dn3dlib.data.kth import kth_catalog
from dn3dlib.data.sources import read_catalog
from dn3dlib.data.synthetic import make_synthetic
from dn3dlib.places import data_home

FILMED, UNSEEN = 15, 10  # people: of the data set; never filmed for it, to find out the truth
UNSEEN_SEED = 1  # another seed, other people: the synthetic set has seed 0
SPLIT_SEED = 4  # the first that gives, by subject and by sequence, 36 sequences to train on, 12 to validate and 12 to test


def one_gait_catalog() -> Catalog:
    """Fifteen people of the synthetic set, five in each gait and none in two, split by subject. Taught in notebook 05.

    The set is drawn where it is missing; raises DataError where the kit's `data/` cannot take it.
    """
    whole = read_catalog("synthetic")
    number = {s.subject: int(s.subject.removeprefix("person")) for s in whole.sequences}
    rows = (s for s in whole.sequences if number[s.subject] <= FILMED and s.label == GAITS[number[s.subject] % len(GAITS)])
    return dataclasses.replace(whole, sequences=tuple(rows)).split_by("by-subject", SPLIT_SEED)


def unseen_catalog(people: int = UNSEEN) -> Catalog:
    """Other people in all three gaits, all of them test; drawn where they are missing. Taught in notebook 05.

    Raises ConfigError for an impossible number of people, DataError where the kit's `data/` cannot take the videos.
    """
    name = f"unseen-{people}"
    source = make_synthetic(data_home() / f"synthetic-{name}", UNSEEN_SEED, people)
    return kth_catalog(source, name).only_classes(GAITS).split_by("by-subject:0,0,1")
