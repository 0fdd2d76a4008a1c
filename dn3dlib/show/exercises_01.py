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


def _without_wrapping(length: int, frames: int, stride: int) -> np.ndarray:
    return max(0, length - (frames - 1) * stride - 1) + stride * np.arange(frames)


def _normalised(mean, deviation) -> np.ndarray:
    return (small_clip() - mean) / deviation


_FRAME = {"axis": (1, 2, 3), "keepdims": True}  # one mean for each frame of a clip

EXERCISES = {
    "clips_of_a_sequence": Exercise(
        oracle=lambda: len(_clips(length=90, frames=16, stride=2, hop=12)),
        hints=(
            "A clip spans (frames - 1) * stride + 1 frames; how late can the last clip start?",
            "It spans 31 frames, so the last start is 90 - 31 = 59. Count the hops from 0 that do not pass it.",
            "The starts are 0, 12, 24, 36, 48; does the clip from 48 reach the last frame, 89? If not, one more clip does.",
        ),
        mistakes=(
            (lambda: len(range(0, 59 + 1, 12)), "frames at the end of the sequence are left over: one clip more is needed to reach them."),
            (lambda: len(_clips(90, 16, 1, 12)), "these are clips of stride 1: with stride 2 a clip spans nearly twice as many frames."),
            (lambda: 90 // 12, "a clip cannot start at every twelfth frame up to the end: the last ones would not fit in any more."),
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
        mistakes=(
            (_without_wrapping, "long sequences are right, but in a short one your numbers pass the end: there the clip starts again from 0."),
            (
                lambda *clip: np.minimum(_without_wrapping(*clip), clip[0] - 1),
                "long sequences are right, but in a short one yours stays at the last frame: it should start again from 0.",
            ),
            (
                lambda length, frames, stride: (max(0, length - frames * stride) + stride * np.arange(frames)) % length,
                "your clip ends too early: between the first and the last of its frames lie frames - 1 strides, not as many as it has frames.",
            ),
            (lambda *clip: _clips(*clip)[0], "that is the first clip, from frame 0 on: the last one is wanted."),
        ),
    ),
    "normalise_a_clip": Exercise(
        oracle=lambda: np.asarray(normalise(small_clip(), "std")),
        hints=(
            "`std_frame` takes the mean and the deviation of each frame; `std` takes one of each for the whole clip.",
            "Which axes belong to the whole clip? All four: clip.mean() and clip.std() need no axis.",
            "(clip - clip.mean()) / clip.std()",
        ),
        mistakes=(
            (
                lambda: _normalised(small_clip().mean(**_FRAME), small_clip().std(**_FRAME)),
                "that is std_frame: each frame has a mean and a deviation of its own, and the fading is gone. Take one of each for the whole clip.",
            ),
            (lambda: _normalised(0, small_clip().std()), "the deviation is right, but the mean was not taken away."),
            (lambda: _normalised(small_clip().mean(), 1), "the mean is taken away; now divide by the deviation."),
            (lambda: _normalised(small_clip().mean(), small_clip().var()), "you divided by the variance: the deviation is its square root."),
        ),
    ),
}
