"""The exercises of notebook 07: each answer is held against the library."""

import numpy as np

from dn3dlib.config import ClipConfig, StorageConfig
from dn3dlib.data.segments import Segment
from dn3dlib.data.windows import cut_windows
from dn3dlib.evaluate.threshold import chosen_threshold
from dn3dlib.metrics import segment_f1
from dn3dlib.show.lesson import Exercise

_TINY = StorageConfig(height=8, width=8, channels=1)


def _on_both_sides(names: list[str], splits: list[str]) -> list[str]:
    """The people of files such as anna_1.mp4 who stand in several splits, sorted."""
    stands = {(name.split("_")[0], split) for name, split in zip(names, splits, strict=True)}
    people = [person for person, _ in stands]
    return sorted({person for person in people if people.count(person) > 1})


def _window_starts(frames: int, span: int, hop: int) -> list[int]:
    """The windows that the library cuts of so many black frames."""
    black = ((number, np.zeros((8, 8, 1), np.uint8)) for number in range(frames))
    windows = cut_windows(black, _TINY, ClipConfig(frames=span, hop=hop), hop, 8, 0)
    return [int(start) for some in windows for start in some.starts]


def _threshold(certainties, right, kept: float) -> float | None:
    return chosen_threshold(np.asarray(certainties, float), np.asarray(right, bool), kept)


def _f1(found: list[tuple], truth: list[tuple]) -> float:
    """The library's, of rows (start, end, label)."""
    return segment_f1(*([Segment(*row) for row in rows] for rows in (found, truth)))


def _f1_by_center(found, truth) -> float:
    """Right where the middle of what was found lies in a true segment of its label."""
    right = sum(any(t[2] == f[2] and t[0] <= (f[0] + f[1]) / 2 < t[1] for t in truth) for f in found)
    return 2 * right / (len(found) + len(truth))


def _f1_often(found, truth) -> float:
    """One true segment makes several found ones right."""
    right = sum(any(_f1([f], [t]) == 1 for t in truth) for f in found)
    return 2 * right / (len(found) + len(truth))


EXERCISES = {
    "on_both_sides": Exercise(
        _on_both_sides,
        hints=(
            "The person is what stands before the first underscore: name.split('_')[0].",
            "Collect for each person a set of splits. Who has more than one of them?",
            "sides = {}; then for each pair sides.setdefault(person, set()).add(split); in the end sorted(p for p, s in sides.items() if len(s) > 1).",
        ),
        cases=(
            (["anna_1.mp4", "anna_2.mp4", "ben_1.mp4", "ben_2.mp4"], ["train", "test", "test", "test"]),
            (["cleo_1.mp4", "ben_1.mp4", "cleo_2.mp4", "ben_9.mp4", "anna_1.mp4"], ["train", "validation", "test", "train", "test"]),
        ),
        mistakes=((lambda names, splits: [], "nobody is named: anna_1.mp4 and anna_2.mp4 are two files, but one person."),),
    ),
    "window_starts": Exercise(
        _window_starts,
        hints=(
            "The last window that fits starts at frames - span. Is that a multiple of the hop?",
            "range(0, frames - span + 1, hop) gives all that fit at the hop; a range is empty where there are fewer frames than a window spans.",
            "Where the last of these does not start at frames - span, some frames come after it: then one more starts just there.",
        ),
        cases=((100, 16, 8), (48, 16, 8), (16, 16, 4), (15, 16, 4), (41, 10, 7)),
        mistakes=(
            (lambda frames, span, hop: list(range(0, frames - span + 1, hop)), "the frames after the last window are never seen: one more window ends with the last frame."),
            (lambda frames, span, hop: list(range(0, frames, hop)), "some of these windows reach beyond the end of the video."),
        ),
    ),
    "threshold": Exercise(
        _threshold,
        hints=(
            "Which windows have a say? Those that are named rightly: nobody wants to keep the others.",
            "Sort their certainties. So and so many may fall below the threshold: the share 1 - kept of them, rounded down.",
            "np.quantile(certainties[right], 1 - kept, method='lower') is one of the certainties themselves: the others lie above or at it.",
        ),
        cases=(
            ([0.9, 0.8, 0.3, 0.7, 0.6, 0.95, 0.2], [True, True, False, True, True, True, False], 0.75),
            ([0.5, 0.6, 0.7, 0.8, 0.9, 0.4, 0.99, 0.45], [True, True, True, True, True, False, True, True], 0.95),
        ),
        mistakes=(
            (
                lambda sure, right, kept: float(np.quantile(sure, 1 - kept, method="lower")),
                "wrong answers have a say here, too: take the certainties of the right ones alone.",
            ),
            (
                lambda sure, right, kept: float(np.quantile(np.asarray(sure)[right], kept, method="lower")),
                "this lets the share 1 - kept through, not kept: count from the other end.",
            ),
        ),
    ),
    "segment_f1": Exercise(
        _f1,
        hints=(
            "Intersection: min of the ends less max of the starts, and never below 0. Union: the sum of both lengths less the intersection.",
            "Go through `found` in order. Of all true segments with its label take the one with the largest share; note which true ones are taken.",
            "It is right if the share is at least one half and its true segment was not taken before. F1 is 2 · right / (len(found) + len(truth)).",
        ),
        cases=(
            ([(0, 4, "a"), (4, 8, "b")], [(0, 5, "a"), (5, 8, "b")]),
            ([(0, 3, "a"), (3, 6, "a"), (6, 9, "b")], [(0, 5, "a"), (5, 9, "b")]),  # the second one takes the same true segment, with too little in common
            ([(0, 9, "a")], [(0, 4, "a"), (4, 9, "b")]),  # its middle lies in b
            ([(1, 3, "a"), (5, 6, "a")], [(0, 3, "a"), (3, 9, "a")]),
            ([(0, 10, "a"), (0, 9, "a")], [(0, 9.5, "a")]),  # found twice
        ),
        mistakes=(
            (_f1_often, "a true segment makes two found ones right here: each counts once, and what is found again is wrong."),
            (_f1_by_center, "a found segment is right here wherever its middle lies in a true one: ask how much of both they have in common."),
        ),
    ),
}
