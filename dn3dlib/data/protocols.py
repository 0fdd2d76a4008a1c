"""Protocols: which subject stands in which split, as data sets' papers say or as drawn from a seed."""

from collections import defaultdict

import numpy as np

from dn3dlib.config import nearest
from dn3dlib.errors import ConfigError, DataError

SPLITS = ("train", "validation", "test")
BY_SUBJECT = "by-subject"
LEAKING_PROTOCOL = "random-leaky"
DEFAULT_FRACTIONS = (0.6, 0.2, 0.2)


def _people(numbers) -> list[str]:
    return [f"person{number:02d}" for number in numbers]


def _places(**splits) -> dict[str, str]:
    return {person: split for split, numbers in splits.items() for person in _people(numbers)}


PROTOCOLS = {
    # The data set's own paper; the numbers stand in the head of 00sequences.txt.
    "schuldt2004": _places(
        train=range(11, 19), validation=(19, 20, 21, 23, 24, 25, 1, 4), test=(22, 2, 3, 5, 6, 7, 8, 9, 10)
    ),
    # The thesis (Gu 2017, chapter 5): no validation part.
    "gu2017": _places(train=range(1, 17), test=range(17, 26)),
}


def split_of_each(sequences, protocol: str, seed: int = 0) -> list[str]:
    """The split that `protocol` gives each sequence. Taught in notebook 01.

    Args:
        sequences: rows with `subject`, `label` and `video`, of a catalog or of a prepared data set.
        protocol: a data set's own (schuldt2004, gu2017), `by-subject` (60 % / 20 % / 20 % of the subjects),
            `by-subject:0.5,0.25,0.25`, or `random-leaky` (sequences at random, subjects in several splits: for the lesson).
        seed: of the draw, where the protocol draws.

    Raises:
        ConfigError: no such protocol, or shares that do not add up to 1.
        DataError: a subject without a place in the protocol.
    """
    if seed < 0:
        raise ConfigError(f"The seed is {seed}, but must be 0 or more.")
    sequences = list(sequences)
    name, colon, argument = protocol.partition(":")
    if name == BY_SUBJECT:
        places = _subjects_by_fraction(sequences, _fractions(argument) if colon else DEFAULT_FRACTIONS, seed)
    elif protocol == LEAKING_PROTOCOL:
        return [str(s) for s in np.random.default_rng(seed).choice(SPLITS, size=len(sequences), p=DEFAULT_FRACTIONS)]
    elif protocol in PROTOCOLS:
        places = PROTOCOLS[protocol]
    else:
        names = [*PROTOCOLS, BY_SUBJECT, LEAKING_PROTOCOL]
        raise ConfigError(f"There is no protocol {protocol!r}: {nearest(protocol, names)}")
    for sequence in sequences:
        if sequence.subject not in places:
            raise DataError(
                f"Protocol {protocol} has no place for subject {sequence.subject!r} ({sequence.video}): "
                f"choose protocol {BY_SUBJECT}, which takes any subject."
            )
    return [places[sequence.subject] for sequence in sequences]


def _fractions(argument: str) -> tuple[float, ...]:
    try:
        fractions = tuple(float(part) for part in argument.split(","))
    except ValueError:
        fractions = ()
    if len(fractions) != 3 or min(fractions) < 0 or not abs(sum(fractions) - 1) <= 1e-6:  # not: NaN
        raise ConfigError(
            f"--protocol {BY_SUBJECT}:{argument} needs three shares that add up to 1, for {', '.join(SPLITS)}: as in "
            f"{BY_SUBJECT}:0.6,0.2,0.2."
        )
    return fractions


def _subjects_by_fraction(sequences: list, fractions: tuple[float, ...], seed: int) -> dict[str, str]:
    """Draw subjects into splits, among those who show the same classes, so that every split sees every class.

    Groups too small to be in every split are drawn together.
    """
    shows = defaultdict(set)
    for sequence in sequences:
        shows[sequence.subject].add(sequence.label)
    groups = defaultdict(list)
    for subject in sorted(shows):
        groups[tuple(sorted(shows[subject]))].append(subject)
    parts = sum(fraction > 0 for fraction in fractions)
    large = [groups[key] for key in sorted(groups) if len(groups[key]) >= parts]
    rest = [subject for key in sorted(groups) if len(groups[key]) < parts for subject in groups[key]]
    rng = np.random.default_rng(seed)
    places = {}
    for group in [*large, rest]:
        subjects = [group[i] for i in rng.permutation(len(group))]
        for split, chosen in zip(SPLITS, _cut(subjects, fractions), strict=True):
            places.update(dict.fromkeys(chosen, split))
    return places


def _cut(subjects: list[str], fractions: tuple[float, ...]) -> list[list[str]]:
    """Cut a list by shares, the largest remainders rounded up; whoever has a share gets a subject as long as there are enough."""
    exact = np.array(fractions) * len(subjects)
    counts = np.floor(exact + 1e-9).astype(int)
    for place in np.argsort(counts - exact, kind="stable")[: len(subjects) - counts.sum()]:
        counts[place] += 1
    for place, fraction in enumerate(fractions):
        if fraction > 0 and not counts[place] and counts.max() > 1:
            counts[counts.argmax()] -= 1
            counts[place] += 1
    return [list(part) for part in np.split(np.array(subjects, object), np.cumsum(counts)[:-1])]
