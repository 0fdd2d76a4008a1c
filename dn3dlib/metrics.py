"""Accuracy, votes, intervals and confusion: numbers in, numbers out. Taught in notebook 02."""

import numpy as np

RESAMPLES = 1000


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities, float64 (n, classes), of logits (n, classes)."""
    shifted = np.exp(np.asarray(logits, np.float64) - np.max(logits, axis=1, keepdims=True))
    return shifted / shifted.sum(axis=1, keepdims=True)


def cross_entropy(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Mean of −ln p(true class) in nats, over (n, classes) probabilities and (n,) labels."""
    true = probabilities[np.arange(len(labels)), labels]
    return float(-np.log(np.maximum(true, np.finfo(np.float64).tiny)).mean())


def sequence_votes(probabilities: np.ndarray, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """One vote for each sequence: the mean of its clips' probabilities.

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
    """Precision, recall and count of each class; precision is None where a class was never predicted, recall where absent."""
    from sklearn.metrics import precision_recall_fscore_support

    precision, recall, _, support = precision_recall_fscore_support(
        labels, predicted, labels=np.arange(len(classes)), zero_division=np.nan
    )
    return {
        name: {
            "precision": None if np.isnan(precision[i]) else float(precision[i]),
            "recall": None if np.isnan(recall[i]) else float(recall[i]),
            "sequences": int(support[i]),
        }
        for i, name in enumerate(classes)
    }
