"""Windows with their probabilities → segments: stretches of one label, none of them shorter than can be."""

import numpy as np

from dn3dlib.data.segments import Segment
from dn3dlib.metrics import smoothed

_NONE = -1  # in place of a class


def certainties_of(probabilities: np.ndarray, starts: np.ndarray, span: int) -> np.ndarray:
    """How certain each window is of whatever it sees: its own highest probability, averaged as `metrics.smoothed` does.

    Not the highest of the smoothed probabilities: where one action ends and another begins, windows before and after are
    certain, each of its own, and the mean of their probabilities is not.

    Args:
        probabilities: (windows, classes), not smoothed.
        starts, span: as `metrics.smoothed` takes them.

    Returns:
        float64 (windows,).
    """
    return smoothed(probabilities.max(axis=1, keepdims=True), starts, span)[:, 0]


def segments_of(
    probabilities: np.ndarray, certainties: np.ndarray, bounds: np.ndarray, classes: tuple[str, ...], threshold: float | None, least: float
) -> tuple[Segment, ...]:
    """The segments of a video.

    Args:
        probabilities: (n, classes), smoothed, of n windows in order.
        certainties: (n,), of `certainties_of`.
        bounds: (n + 1,), in seconds: where the stretch of each window begins and ends.
        classes: their names.
        threshold: a window of a lower certainty shows none of the classes; None: each shows one.
        least: seconds; shorter segments are given to their neighbours.
    """
    labels = probabilities.argmax(axis=1)
    if threshold is not None:
        labels[certainties < threshold] = _NONE
    labels, lengths = _without_short(labels, bounds, least), np.diff(bounds)
    segments = []
    for first, last in _runs(labels):
        label = labels[first]
        certain = certainties if label == _NONE else probabilities[:, label]
        certainty = np.average(certain[first:last], weights=lengths[first:last])
        segments.append(Segment(float(bounds[first]), float(bounds[last]), None if label == _NONE else classes[label], float(certainty)))
    return tuple(segments)


def _without_short(labels: np.ndarray, bounds: np.ndarray, least: float) -> np.ndarray:
    """Labels (n,) in which runs shorter than `least` seconds, the shortest first, have been given half and half to their neighbours."""
    while True:
        runs = _runs(labels)
        lengths = [bounds[last] - bounds[first] for first, last in runs]
        place = int(np.argmin(lengths))
        if len(runs) == 1 or lengths[place] >= least:
            return labels
        first, last = runs[place]
        middle = first if place == 0 else last if last == len(labels) else (first + last) // 2
        if middle > first:
            labels[first:middle] = labels[first - 1]
        if middle < last:
            labels[middle:last] = labels[last]


def _runs(labels: np.ndarray) -> list[tuple[int, int]]:
    """First place and the place after the last of each run of equal labels."""
    edges = [0, *(np.flatnonzero(np.diff(labels)) + 1).tolist(), len(labels)]
    return list(zip(edges[:-1], edges[1:], strict=True))
