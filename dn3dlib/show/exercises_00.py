"""The exercises of notebook 00; the oracle of each is the library itself, or NumPy."""

import math

import numpy as np

from dn3dlib.config import ClipConfig
from dn3dlib.show.lesson import Exercise


def _ranked(probabilities, classes) -> list[str]:
    """Class names, the most probable first; of two equal ones the earlier."""
    return [classes[place] for place in np.argsort(-np.asarray(probabilities), kind="stable")]


EXERCISES = {
    "numbers_of_a_clip": Exercise(
        oracle=lambda: math.prod((16, 112, 112, 3)),
        hints=(
            "The shape is (frames, height, width, channels); colour means three channels.",
            "How many pixels has one frame? Each of them is as many numbers as there are channels.",
            "Multiply the four numbers of the shape.",
        ),
        mistakes=(
            (lambda: 112 * 112 * 3, "that is one frame: a clip has sixteen of them."),
            (lambda: 16 * 112 * 112, "those are the pixels, of which each is one number in grey: in colour it is three."),
            (lambda: 16 + 112 + 112 + 3, "you added the axes: each number of one axis comes with each of the others, so multiply."),
        ),
    ),
    "seconds_of_a_clip": Exercise(
        oracle=lambda: (ClipConfig(frames=16, stride=2).span - 1) / 25,
        hints=(
            "Between 16 frames lie 15 steps. How many frames of the video is each of them?",
            "A step of stride 2 is two frames of the video, and one frame takes 1/25 of a second.",
            "15 · 2 frames of the video, divided by 25 frames a second.",
        ),
        mistakes=(
            (lambda: 15 / 25, "that is stride 1: with stride 2 each step is two frames of the video."),
            (lambda: 16 / 25, "that is the time of 16 frames in a row: with stride 2 the clip reaches about twice as far, and has 15 steps."),
            (lambda: 16 * 2 / 25, "between 16 frames lie 15 steps, not 16: count the gaps of a fence, not its posts."),
            (lambda: 31 / 25, "31 is how many frames of the video the clip spans, from the first to the last: between them pass 30 steps of one frame."),
            (lambda: 15 * 2, "that is counted in frames of the video: there are 25 in a second."),
        ),
    ),
    "ranked": Exercise(
        oracle=_ranked,
        hints=(
            "np.argsort gives the places of the numbers, from the smallest number to the largest.",
            "The largest is wanted first: turn the places round with [::-1], or sort the negative probabilities.",
            "[classes[place] for place in …]: the name that stands at each place.",
        ),
        cases=(
            ([0.1, 0.7, 0.2], ["boxing", "running", "walking"]),
            ([0.02, 0.03, 0.1, 0.5, 0.2, 0.15], ["boxing", "handclapping", "handwaving", "jogging", "running", "walking"]),
            ([0.6, 0.4], ["yes", "no"]),
        ),
        mistakes=(
            (lambda p, c: c[int(np.argmax(p))], "that is the first of them: the names of all are wanted, in a list."),
            (lambda p, c: [int(place) for place in np.argsort(p)[::-1]], "the places are right: now give the names that stand there, classes[place]."),
            (lambda p, c: sorted(p, reverse=True), "you sorted the probabilities themselves, and lost which class each belongs to: sort the places, with np.argsort."),
            (lambda p, c: [c[place] for place in np.argsort(p)], "from the least to the most probable: it should be the other way round."),
            (lambda p, c: sorted(c), "you sorted the names by letter: their probabilities should say the order."),
        ),
    ),
}
