"""The exercises of notebook 05: each answer is held against the library."""

import numpy as np

from dn3dlib.metrics import RESAMPLES, calibration, class_mean, per_class, subject_interval
from dn3dlib.show.lesson import Exercise


def _balanced_accuracy(confusion) -> float:
    """The library's mean recall, of the sequences that a confusion matrix counts."""
    counts = np.asarray(confusion)
    labels, predicted = (np.repeat(places.ravel(), counts.ravel()) for places in np.indices(counts.shape))
    return class_mean(per_class(labels, predicted, tuple(map(str, range(len(counts))))), "recall")


def _worst_gap(probabilities, labels, least: int) -> float:
    """The library's bins, but their largest gap in the place of the mean one."""
    _, bins = calibration(np.asarray(probabilities), np.asarray(labels))
    return max((abs(b["accuracy"] - b["confidence"]) for b in bins if b["count"] >= max(least, 1)), default=0.0)


def _difference_interval(first, second, labels, subjects) -> tuple[float, float]:
    """The draws of `metrics.subject_interval`, but each class counts alike in every draw."""
    _, person = np.unique(subjects, return_inverse=True)
    classes, label = np.unique(labels, return_inverse=True)
    gained, count = np.zeros((2, person.max() + 1, len(classes)))
    np.add.at(gained, (person, label), np.asarray(first, float) - np.asarray(second, float))
    np.add.at(count, (person, label), 1)
    drawn = np.random.default_rng(0).integers(0, len(count), (RESAMPLES, len(count)))
    total = count[drawn].sum(axis=1)
    of_class = np.divide(gained[drawn].sum(axis=1), total, out=np.full(total.shape, np.nan), where=total > 0)
    low, high = np.percentile(np.nanmean(of_class, axis=1), (2.5, 97.5))
    return float(low), float(high)


def _of_plain_accuracies(first, second, labels, subjects) -> tuple[float, float] | None:
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
    "worst_gap": Exercise(
        _worst_gap,
        hints=(
            "The bins are those of step 7. Which of them holds `least` sequences or more?",
            "In each of these compare the mean confidence with the share of right answers. Step 7 then takes a weighted mean; here you want the largest.",
            "max(gaps, default=0.0) answers also where no bin holds enough.",
        ),
        cases=(
            ([[0.9, 0.1], [0.92, 0.08], [0.9, 0.1], [0.6, 0.4], [0.3, 0.7]], [0, 0, 1, 1, 1], 2),  # one sequence alone has the largest gap
            ([[0.71, 0.29], [0.95, 0.05], [0.3, 0.7], [0.2, 0.8]], [0, 1, 1, 0], 1),  # several bins, of different weight
            ([[0.5, 0.3, 0.2], [0.1, 0.8, 0.1], [0.3, 0.3, 0.4]], [0, 1, 2], 2),  # no bin holds enough
        ),
        mistakes=(
            (lambda p, y, least: _worst_gap(p, y, 1), "a bin with fewer than `least` sequences has a say here: its gap is chance."),
            (lambda p, y, least: calibration(np.asarray(p), np.asarray(y))[0], "this is the weighted mean of the gaps, as in step 7: the largest is asked for."),
        ),
    ),
    "difference_interval": Exercise(
        _difference_interval,
        hints=(
            "Both networks saw the same people. Take the difference first (1, 0 or -1 for each sequence), then draw people once, as in step 4.",
            "Step 4 keeps a sum and a count for each person. Here keep them for each person and class: two arrays (people, classes).",
            "Draw rows of both, sum over the drawn people, divide: (draws, classes). A class that nobody drawn shows gives 0 / 0, "
            "which np.nanmean(…, axis=1) leaves out; then np.percentile(…, (2.5, 97.5)).",
        ),
        cases=(
            # walking is rare: it weighs as much as running, though one sequence in four shows it
            ([1, 1, 1, 0, 1, 1, 0, 1], [1, 0, 1, 1, 1, 0, 1, 1], list("rrrwrrrw"), list("aaaabbbb")),
            ([1, 0, 1, 1, 0, 1, 1], [0, 0, 1, 1, 1, 1, 1], list("rwrrwww"), list("aaabbcd")),  # who is drawn alone shows one class
        ),
        mistakes=(
            (_of_plain_accuracies, "this is the difference of plain accuracies: the frequent class has more say. Take the mean over the classes in each draw."),
            (
                lambda first, second, labels, subjects: _difference_interval(first, second, labels, range(len(subjects))),
                "sequences are drawn here, as if each were another person: draw people, each with all sequences.",
            ),
        ),
    ),
}
