"""Votes, intervals, confusion: against numbers worked out by hand."""

import numpy as np
import pytest

from dn3dlib.metrics import (
    calibration,
    class_mean,
    confusion,
    cross_entropy,
    per_class,
    sequence_votes,
    softmax,
    subject_interval,
)


def test_softmax_and_cross_entropy():
    probabilities = softmax(np.array([[0.0, 0.0], [0.0, np.log(3)], [1000.0, 0.0]]))
    assert probabilities == pytest.approx(np.array([[0.5, 0.5], [0.25, 0.75], [1.0, 0.0]]))
    assert cross_entropy(probabilities[:2], np.array([0, 1])) == pytest.approx((np.log(2) + np.log(4 / 3)) / 2)
    assert np.isfinite(cross_entropy(probabilities[2:], np.array([1]))), "a sure and wrong answer is bad, not infinite"


def test_a_vote_is_the_mean_over_a_sequences_clips():
    probabilities = np.array([[0.9, 0.1], [0.2, 0.8], [0.4, 0.6], [0.3, 0.7]])
    sequences, votes = sequence_votes(probabilities, np.array([7, 3, 7, 7]))
    assert sequences.tolist() == [3, 7]
    assert votes == pytest.approx(np.array([[0.2, 0.8], [1.6 / 3, 1.4 / 3]]))
    assert votes.argmax(axis=1).tolist() == [1, 0], "two clips of three were for class 1, but less surely"


def test_a_tie_goes_to_the_lower_class():
    _, votes = sequence_votes(np.array([[0.25, 0.75, 0.0], [0.75, 0.25, 0.0], [0.0, 0.5, 0.5]]), np.array([0, 0, 1]))
    assert votes.argmax(axis=1).tolist() == [0, 1]


def test_no_interval_below_two_subjects():
    assert subject_interval(np.array([True, False]), ["a", "a"]) is None
    assert subject_interval(np.array([True, False]), ["a", "b"]) is not None


def test_the_interval_is_drawn_from_subjects_and_one_seed():
    correct = np.array([True] * 30 + [False] * 10)
    four = ["a"] * 10 + ["b"] * 10 + ["c"] * 10 + ["d"] * 10
    low, high = subject_interval(correct, four)
    assert (low, high) == subject_interval(correct, four) and 0 <= low < 0.75 < high <= 1
    # Forty people, one sequence each: the same accuracy is known much better.
    narrow = subject_interval(correct, [str(n) for n in range(40)])
    assert narrow[1] - narrow[0] < high - low
    assert subject_interval(np.ones(4, bool), ["a", "b", "c", "d"]) == (1.0, 1.0)
    # One of two people is always right, one never: a quarter of the draws takes each of them twice.
    assert subject_interval(np.array([True, False]), ["a", "b"]) == (0.0, 1.0)


def test_the_interval_weighs_subjects_by_their_sequences():
    low, high = subject_interval(np.array([True] * 9 + [False]), ["a"] * 9 + ["b"])
    assert (low, high) == (0.0, 1.0)
    draws = np.random.default_rng(0).integers(0, 2, (1000, 2))
    accuracies = np.array([[1.0, 0.9], [0.9, 0.0]])[draws[:, 0], draws[:, 1]]
    assert (low, high) == tuple(np.percentile(accuracies, (2.5, 97.5)))


def test_confusion_has_true_classes_in_rows():
    found = confusion(np.array([0, 0, 0, 2]), np.array([0, 2, 2, 2]), 4)
    assert found.tolist() == [[1, 0, 2, 0], [0, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0]]


def test_precision_recall_and_f1_by_hand():
    truth, predicted = np.array([0, 0, 0, 1, 1, 2]), np.array([0, 0, 1, 1, 0, 0])
    rows = per_class(truth, predicted, ("a", "b", "c", "d"))
    assert rows == {
        "a": {"precision": pytest.approx(2 / 4), "recall": pytest.approx(2 / 3), "f1": pytest.approx(4 / 7), "sequences": 3},
        "b": {"precision": pytest.approx(1 / 2), "recall": pytest.approx(1 / 2), "f1": pytest.approx(1 / 2), "sequences": 2},
        "c": {"precision": None, "recall": 0.0, "f1": 0.0, "sequences": 1},
        "d": {"precision": None, "recall": None, "f1": None, "sequences": 0},
    }
    assert class_mean(rows, "recall") == pytest.approx((2 / 3 + 1 / 2 + 0) / 3)
    assert class_mean(rows, "f1") == pytest.approx((4 / 7 + 1 / 2 + 0) / 3)


def test_means_over_classes_are_those_of_scikit_learn():
    from sklearn.metrics import balanced_accuracy_score, f1_score

    truth, predicted = np.random.default_rng(0).integers(0, 5, (2, 200))
    rows = per_class(truth, predicted, tuple("abcde"))
    assert class_mean(rows, "recall") == pytest.approx(balanced_accuracy_score(truth, predicted))
    assert class_mean(rows, "f1") == pytest.approx(f1_score(truth, predicted, average="macro"))


def test_the_calibration_error_by_hand():
    sure = np.array([0.9, 0.9, 0.9, 0.9, 0.5, 0.5])
    probabilities = np.column_stack([sure, 1 - sure])
    # Of four answers with 0.9 three are right, of two with 0.5 both: 4/6 · |0.75 − 0.9| + 2/6 · |1 − 0.5|.
    error, bins = calibration(probabilities, np.array([0, 0, 0, 1, 0, 0]))
    assert error == pytest.approx(4 / 6 * 0.15 + 2 / 6 * 0.5)
    assert len(bins) == 15 and sum(row["count"] for row in bins) == 6
    full = [row for row in bins if row["count"]]
    assert [row["count"] for row in full] == [2, 4]
    assert full[1] == {"low": pytest.approx(13 / 15), "high": pytest.approx(14 / 15), "count": 4,
                       "confidence": pytest.approx(0.9), "accuracy": 0.75}  # fmt: skip
    assert {(row["confidence"], row["accuracy"]) for row in bins if not row["count"]} == {(None, None)}


def test_an_edge_belongs_to_the_bin_below_and_certainty_to_the_last():
    _, bins = calibration(np.array([[1.0, 0.0], [0.6, 0.4], [1.0, 0.0]]), np.array([0, 0, 0]))
    assert [b for b, row in enumerate(bins) if row["count"]] == [8, 14] and bins[14]["accuracy"] == 1.0
    assert calibration(np.array([[1.0, 0.0]]), np.array([0]))[0] == 0
