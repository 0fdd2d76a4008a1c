"""Protocols: which subject stands in which split, as data sets' papers say or as drawn from a seed."""

import difflib
import re
import zlib
from collections import defaultdict

import numpy as np

from dn3dlib.config import nearest
from dn3dlib.errors import ConfigError, DataError

SPLITS = ("train", "validation", "test")
BY_SUBJECT = "by-subject"
LEAVE_ONE_OUT = "loso"
FOLD = "fold"
LEAKING_PROTOCOL = "random-leaky"
LEAKS = "The protocol leaks on purpose: subjects stand in several splits, so the accuracy is too high."
DEFAULT_FRACTIONS = (0.6, 0.2, 0.2)
HELD_OUT_FRACTIONS = (5 / 6, 1 / 6, 0.0)  # of the training subjects, where an owner's lists have no validation part


def _places(who: str, **splits) -> dict[str, str]:
    return {f"{who}{number:02d}": split for split, numbers in splits.items() for number in numbers}


PROTOCOLS = {
    # The data set's own paper; the numbers stand in the head of 00sequences.txt.
    "schuldt2004": _places(
        "person", train=range(11, 19), validation=(19, 20, 21, 23, 24, 25, 1, 4), test=(22, 2, 3, 5, 6, 7, 8, 9, 10)
    ),
    # The thesis (Gu 2017, chapter 5): no validation part.
    "gu2017": _places("person", train=range(1, 17), test=range(17, 26)),
    # MERL Shopping's own paper (Singh et al., CVPR 2016).
    "singh2016": _places("subject", train=range(1, 21), validation=range(21, 27), test=range(27, 42)),
}


def check_seed(seed: int) -> None:
    """Raise ConfigError for a seed from which nothing can be drawn."""
    if seed < 0:
        raise ConfigError(f"The seed is {seed}, but must be 0 or more.")


def split_of_each(sequences, protocol: str, seed: int = 0) -> list[str]:
    """The split that `protocol` gives each sequence. Taught in notebook 01.

    Args:
        sequences: rows with `subject`, `label`, `video` and `listed`, of a catalog or of a prepared data set.
        protocol: a data set's own (schuldt2004, gu2017, singh2016); lists (ucf101-1, lists: if they do not say who
            validates, a sixth of each class's training subjects); `by-subject` (60 % / 20 % / 20 % of the subjects) or
            `by-subject:0.5,0.25,0.25`; `loso:<subject>` (leave one subject out: that one is tested, the next in sorted
            order validates); `fold:2/5` (the second of five folds: every fifth subject in sorted order is tested, from
            the second on, all others train, nobody validates; with as many folds as subjects one is left out in each); or
            `random-leaky` (sequences at random, subjects in several splits: for the lesson).
        seed: of the draw, where the protocol draws.

    Raises:
        ConfigError: no such protocol or subject, or shares that do not add up to 1.
        DataError: a subject without a place in the protocol, a video that its lists do not name, too few subjects for `loso`.
    """
    check_seed(seed)
    sequences = list(sequences)
    lists = sorted({name for sequence in sequences for name, _ in sequence.listed})
    name, colon, argument = protocol.partition(":")
    if protocol == LEAKING_PROTOCOL:
        return [_drawn_alone(sequence, seed) for sequence in sequences]
    if protocol in lists:
        return _by_lists(sequences, protocol, seed)
    if name == BY_SUBJECT:
        places = _subjects_by_fraction(sequences, _fractions(argument) if colon else DEFAULT_FRACTIONS, seed)
    elif name == LEAVE_ONE_OUT:
        places = _leave_one_out(sequences, argument)
    elif name == FOLD:
        places = _fold(sequences, argument)
    elif protocol in PROTOCOLS:
        places = PROTOCOLS[protocol]
    else:
        names = [*lists, *PROTOCOLS, BY_SUBJECT, f"{LEAVE_ONE_OUT}:SUBJECT", f"{FOLD}:NUMBER/FOLDS", LEAKING_PROTOCOL]
        raise ConfigError(f"There is no protocol {protocol!r}: {nearest(protocol, names)}")
    for sequence in sequences:
        if sequence.subject not in places:
            raise DataError(
                f"Protocol {protocol} has no place for subject {sequence.subject!r} ({sequence.video}): "
                f"choose protocol {BY_SUBJECT}, which takes any subject."
            )
    return [places[sequence.subject] for sequence in sequences]


def _by_lists(sequences: list, protocol: str, seed: int) -> list[str]:
    """What the owner's lists say; where they name no validation part, it is drawn from the training subjects."""
    splits = [dict(sequence.listed).get(protocol) for sequence in sequences]
    if None in splits:
        video = sequences[splits.index(None)].video
        raise DataError(f"The lists of protocol {protocol} do not name the video {video}: add it to one of them, or remove it.")
    if "validation" in splits:
        return splits
    training = [sequence for sequence, split in zip(sequences, splits, strict=True) if split == "train"]
    shown_by = defaultdict(set)
    for sequence in training:
        shown_by[sequence.label].add(sequence.subject)
    alone = set().union(*(subjects for subjects in shown_by.values() if len(subjects) == 1))  # training needs them
    places = _subjects_by_fraction([s for s in training if s.subject not in alone], HELD_OUT_FRACTIONS, seed)
    return [places.get(s.subject, split) if split == "train" else split for s, split in zip(sequences, splits, strict=True)]


def _leave_one_out(sequences: list, subject: str) -> dict[str, str]:
    subjects = sorted({sequence.subject for sequence in sequences})
    if subject not in subjects:
        close = difflib.get_close_matches(subject, subjects, n=3, cutoff=0)
        raise ConfigError(f"--protocol {LEAVE_ONE_OUT}:{subject} names no subject of this data set; the nearest are: {', '.join(close)}.")
    if len(subjects) < 3:
        raise DataError(f"--protocol {LEAVE_ONE_OUT}:{subject} needs three subjects, to train, to validate and to test, but there are {len(subjects)}.")
    following = subjects[(subjects.index(subject) + 1) % len(subjects)]
    return dict.fromkeys(subjects, "train") | {following: "validation", subject: "test"}


def _fold(sequences: list, which: str) -> dict[str, str]:
    """Sorted by name, subjects are dealt out like cards, so that neighbours, often alike, come into different folds."""
    subjects = sorted({sequence.subject for sequence in sequences})
    match = re.fullmatch(r"(\d+)/(\d+)", which)
    number, folds = (int(match[1]), int(match[2])) if match else (0, 0)
    if not 1 <= number <= folds or folds < 2:
        raise ConfigError(f"--protocol {FOLD}:{which} must name a fold and how many there are, 2 or more, as in {FOLD}:1/5.")
    if folds > len(subjects):
        raise DataError(f"--protocol {FOLD}:{which} needs {folds} subjects, one for each fold, but there are {len(subjects)}: take fewer folds.")
    return dict.fromkeys(subjects, "train") | dict.fromkeys(subjects[number - 1 :: folds], "test")


def _drawn_alone(sequence, seed: int) -> str:
    """A split at random that does not depend on which other sequences there are."""
    name = zlib.crc32(sequence.id.encode(errors="backslashreplace"))
    return str(np.random.default_rng([seed, name]).choice(SPLITS, p=DEFAULT_FRACTIONS))


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
