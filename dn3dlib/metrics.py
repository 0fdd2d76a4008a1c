"""Accuracy, votes, intervals and confusion: numbers in, numbers out. Taught in notebook 02."""

from collections.abc import Sequence

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


def smoothed(probabilities: np.ndarray, starts: np.ndarray, span: int) -> np.ndarray:
    """Probabilities of overlapping clips, each averaged with all clips that share frames with it, by the share of common frames.

    Args:
        probabilities: (clips, classes), in the order of their starts.
        starts: int (clips,), first frames.
        span: frames from a clip's first to its last, both included.

    Returns:
        float64 (clips, classes).
    """
    total, weights = np.array(probabilities, np.float64), np.ones((len(starts), 1))
    for step in range(1, len(starts)):
        common = np.clip(1 - (starts[step:] - starts[:-step]) / span, 0, None)[:, None]
        if not common.any():
            break
        total[step:] += common * probabilities[:-step]
        total[:-step] += common * probabilities[step:]
        weights[step:] += common
        weights[:-step] += common
    return total / weights


def frame_accuracy(found: Sequence, truth: Sequence) -> float:
    """The share of a video's time, and so of its frames, in which the found label is the true one. Taught in notebook 07.

    Args:
        found, truth: segments of one video, each with `start` and `end` in seconds and a `label`; what the truth does not cover
            does not count, and where it says None (none of the classes), None is right.
    """
    common = sum(_common(f, t) for f in found for t in truth if f.label == t.label)
    return common / sum(t.end - t.start for t in truth)


def segment_f1(found: Sequence, truth: Sequence, overlap: float = 0.5) -> float:
    """The segmental F1 score: how many segments were found, not how exact their bounds are. Taught in notebook 07.

    A found segment is right where its intersection over union with a true segment of its label is `overlap` or more, and no
    found segment before it had the same true one; each other one is wrong, and so one true stretch found in pieces costs.

    Args:
        found, truth: segments of one video, as `frame_accuracy` takes them; those of no class (None) do not count.
        overlap: least intersection over union.

    Returns:
        F1 from 0 to 1; 0 where neither holds a segment of a class.

    Source: Lea et al. 2017, Temporal Convolutional Networks for Action Segmentation and Detection, section 4.1.
    """
    found, truth = ([s for s in segments if s.label is not None] for segments in (found, truth))
    right, taken = 0, set()
    for segment in found:
        shares = [_common(segment, t) / _union(segment, t) if t.label == segment.label else 0.0 for t in truth]
        best = int(np.argmax(shares)) if shares else 0
        if shares and shares[best] >= overlap and best not in taken:
            taken.add(best)
            right += 1
    return 2 * right / (len(found) + len(truth)) if found or truth else 0.0


def _common(one, other) -> float:
    return max(0.0, min(one.end, other.end) - max(one.start, other.start))


def _union(one, other) -> float:
    return (one.end - one.start) + (other.end - other.start) - _common(one, other)
