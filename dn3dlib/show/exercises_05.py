"""The exercises of notebook 05: each answer is held against the library."""

import numpy as np

from dn3dlib.metrics import calibration, class_mean, per_class, subject_interval
from dn3dlib.show.lesson import Exercise


def _balanced_accuracy(confusion) -> float:
    """The library's mean recall, of the sequences that a confusion matrix counts."""
    counts = np.asarray(confusion)
    labels, predicted = (np.repeat(places.ravel(), counts.ravel()) for places in np.indices(counts.shape))
    return class_mean(per_class(labels, predicted, tuple(map(str, range(len(counts))))), "recall")


def _calibration_error(probabilities, labels) -> float:
    return calibration(np.asarray(probabilities), np.asarray(labels))[0]


def _difference_interval(first, second, subjects) -> tuple[float, float] | None:
    """The bootstrap over subjects takes any numbers: here 1, 0 and −1 for each sequence."""
    return subject_interval(np.asarray(first, float) - np.asarray(second, float), subjects)


EXERCISES = {
    "balanced_accuracy": Exercise(
        _balanced_accuracy,
        hints=(
            "A row is a true class. Its recall is what stands on the diagonal, divided by the sum of the row.",
            "A class without a sequence has no recall: leave its row out, or you divide by zero.",
            "rows = counts[counts.sum(axis=1) > 0] loses the diagonal's place: take np.diag(counts) and the sums first, then choose.",
        ),
        cases=(
            ([[8, 2], [1, 1]],),  # accuracy would be 9 of 12
            ([[3, 0, 0], [0, 0, 0], [1, 0, 1]],),  # the second class is absent
            ([[0, 5], [0, 95]],),  # always the frequent class
        ),
    ),
    "calibration_error": Exercise(
        _calibration_error,
        hints=(
            "Confidence is the largest probability of a row. Cut 0 to 1 into 15 bins: which rows fall into each?",
            "In each bin compare the mean confidence with the share of right answers; an empty bin counts nothing.",
            "A bin weighs as much as it holds: np.sum(count / n * np.abs(share_right - mean_confidence)).",
        ),
        cases=(
            ([[0.9, 0.1], [0.9, 0.1], [0.9, 0.1], [0.9, 0.1]], [0, 0, 0, 1]),
            ([[0.71, 0.29], [0.95, 0.05], [0.3, 0.7], [0.2, 0.8]], [0, 1, 1, 0]),  # several bins, of different weight
            ([[0.5, 0.3, 0.2], [0.1, 0.8, 0.1], [0.3, 0.3, 0.4]], [0, 1, 2]),  # all are right, and too modest
        ),
    ),
    "difference_interval": Exercise(
        _difference_interval,
        hints=(
            "Both networks saw the same people. Take the difference first (1, 0 or -1 for each sequence), then draw people once.",
            "Sum the differences of each person and count the sequences of each; draw as in the lesson: "
            "np.random.default_rng(0).integers(0, people, (1000, people)).",
            "Each draw gives summed differences / summed counts; np.percentile(…, (2.5, 97.5)) gives the two ends.",
        ),
        cases=(
            ([1, 1, 1, 0, 1, 1], [1, 0, 1, 0, 1, 0], ["a", "a", "b", "b", "c", "c"]),
            ([1, 0, 1, 1, 0, 1, 1], [0, 0, 1, 1, 1, 1, 1], ["a", "a", "a", "b", "b", "c", "d"]),  # not equally many each
        ),
    ),
}
