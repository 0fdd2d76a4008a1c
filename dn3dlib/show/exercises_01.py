"""The exercises of notebook 01; the oracle of each is the library itself."""

from pathlib import Path

import numpy as np

from dn3dlib.config import ClipConfig, StorageConfig
from dn3dlib.data.clips import normalise, plan_evaluation
from dn3dlib.data.manifest import DataSet, StoredSequence
from dn3dlib.show.lesson import Exercise


def small_clip() -> np.ndarray:
    """A clip of 3 frames that grows dark: float64 (3, 4, 4, 1), pixels from 0 to 255."""
    picture = np.arange(16.0).reshape(4, 4, 1)
    return np.stack([16 * picture, 8 * picture, 4 * picture])


def _clips(length: int, frames: int, stride: int, hop: int = 1) -> np.ndarray:
    """Frame numbers of the evaluation clips of one sequence, int32 (clips, frames), from the library."""
    sequence = StoredSequence("one", "action", "somebody", "test", "one.avi", 0, 25.0, length, ())
    data = DataSet(Path(), "exercise", "", 0, StorageConfig(), ("action",), (sequence,), ())
    return plan_evaluation(data, ClipConfig(frames=frames, stride=stride, hop=hop), "test").frames


EXERCISES = {
    "clips_of_a_sequence": Exercise(
        oracle=lambda: len(_clips(length=70, frames=16, stride=2, hop=12)),
        hints=(
            "A clip spans (frames - 1) * stride + 1 frames; how late can the last clip start?",
            "It spans 31 frames, so the last start is 70 - 31 = 39. Count the hops from 0 that do not pass it.",
            "The starts are 0, 12, 24, 36; does the clip from 36 reach the last frame, 69? If not, one more clip does.",
        ),
    ),
    "last_clip": Exercise(
        oracle=lambda length, frames, stride: _clips(length, frames, stride)[-1],
        cases=((50, 16, 1), (50, 8, 3), (31, 16, 2), (10, 16, 1), (5, 4, 3)),
        hints=(
            "Where does it start? Its span has to end at the sequence's end: start = length - span.",
            "A sequence shorter than the span has no such start: take max(0, length - span).",
            "Past the end the sequence starts again: the remainder, number % length, does that.",
        ),
    ),
    "normalise_a_clip": Exercise(
        oracle=lambda: np.asarray(normalise(small_clip(), "std")),
        hints=(
            "`std_frame` takes the mean and the deviation of each frame; `std` takes one of each for the whole clip.",
            "Which axes belong to the whole clip? All four: clip.mean() and clip.std() need no axis.",
            "(clip - clip.mean()) / clip.std()",
        ),
    ),
}
