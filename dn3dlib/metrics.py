"""Accuracy, votes, intervals and confusion: numbers in, numbers out. Taught in notebook 02."""

import numpy as np

RESAMPLES = 1000
BINS = 15  # of confidence, as in Guo et al. 2017


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities, float64 (n, classes), of logits (n, classes)."""
    shifted = np.exp(np.asarray(logits, np.float64) - np.max(logits, axis=1, keepdims=True))
    return shifted / shifted.sum(axis=1, keepdims=True)


def cross_entropy(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Mean of −ln p(true class) in nats, over (n, classes) probabilities and (n,) labels."""
    true = probabilities[np.arange(len(labels)), labels]
    return float(-np.log(np.maximum(true, np.finfo(np.float64).tiny)).mean())


def sequence_votes(probabilities: np.ndarray, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """One vote for each sequence (or video, or what else groups clips): the mean of its clips' probabilities.

    Args:
        probabilities: (clips, classes).
        places: int (clips,), the sequence of each clip.

    Returns:
        The sequences, sorted, int (sequences,); and their votes, float64 (sequences, classes). Predict with `argmax`: a
        tie goes to the lower class.
    """
    sequences, inverse = np.unique(places, return_inverse=True)
    votes = np.zeros((len(sequences), probabilities.shape[1]))
    np.add.at(votes, inverse, probabilities)
    return sequences, votes / np.bincount(inverse)[:, None]


def subject_interval(correct: np.ndarray, subjects: list[str], seed: int = 0) -> tuple[float, float] | None:
    """The 95 % interval of an accuracy, bootstrapped over subjects.

    Sequences of one person are alike, so persons are drawn, not sequences: what another group of people would give.

    Args:
        correct: bool (sequences,).
        subjects: who acts in each.
        seed: of the 1000 draws.

    Returns:
        (low, high) as shares, or None below two subjects.
    """
    names, inverse = np.unique(np.asarray(subjects), return_inverse=True)
    if len(names) < 2:
        return None
    right = np.bincount(inverse, weights=np.asarray(correct, float))
    count = np.bincount(inverse)
    drawn = np.random.default_rng(seed).integers(0, len(names), (RESAMPLES, len(names)))
    accuracies = right[drawn].sum(axis=1) / count[drawn].sum(axis=1)
    low, high = np.percentile(accuracies, (2.5, 97.5))
    return float(low), float(high)


def confusion(labels: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """Counts, int (classes, classes): rows are true classes, columns predicted ones."""
    from sklearn.metrics import confusion_matrix

    return confusion_matrix(labels, predicted, labels=np.arange(classes))


def per_class(labels: np.ndarray, predicted: np.ndarray, classes: tuple[str, ...]) -> dict[str, dict]:
    """Precision, recall, F1 and count of each class.

    Precision is None where a class was never predicted, recall where it is absent, F1 where it is both.
    """
    from sklearn.metrics import precision_recall_fscore_support

    *figures, support = precision_recall_fscore_support(
        labels, predicted, labels=np.arange(len(classes)), zero_division=np.nan
    )
    rows = {}
    for i, name in enumerate(classes):
        values = zip(("precision", "recall", "f1"), figures, strict=True)
        rows[name] = {figure: None if np.isnan(column[i]) else float(column[i]) for figure, column in values}
        rows[name]["sequences"] = int(support[i])
    return rows


def class_mean(rows: dict[str, dict], figure: str) -> float:
    """The mean of a figure of `per_class` over the classes that have it: of recall balanced accuracy, of F1 macro F1."""
    return float(np.mean([row[figure] for row in rows.values() if row[figure] is not None]))


def calibration(probabilities: np.ndarray, labels: np.ndarray) -> tuple[float, list[dict]]:
    """How far the probability of the predicted class is from the share of right answers.

    Args:
        probabilities: (n, classes).
        labels: int (n,), the true classes.

    Returns:
        The expected calibration error, Σ n_b / n · |accuracy_b − confidence_b| over 15 bins b of equal width (an upper edge
        belongs to its bin), 0 at best; and of each bin `low`, `high`, `count`, `confidence` (mean probability of the predicted
        class) and `accuracy` (share of right answers), the last two None where it is empty.

    Source: Guo et al. 2017, On Calibration of Modern Neural Networks, section 2.
    """
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    edges = np.linspace(0, 1, BINS + 1)
    places = np.digitize(confidence, edges[1:-1], right=True)
    counts, sums, hits = (np.bincount(places, weights, BINS) for weights in (None, confidence, right))
    rows = [
        {
            "low": float(edges[b]),
            "high": float(edges[b + 1]),
            "count": int(counts[b]),
            "confidence": float(sums[b] / counts[b]) if counts[b] else None,
            "accuracy": float(hits[b] / counts[b]) if counts[b] else None,
        }
        for b in range(BINS)
    ]
    return float(np.abs(hits - sums).sum() / len(labels)), rows
