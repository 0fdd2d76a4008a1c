"""From which probability on a prediction is believed: below it the answer is "none of these". Chosen on validation."""

import hashlib

import numpy as np

from dn3dlib.data.clips import plan_evaluation
from dn3dlib.errors import DataError, Dn3dError
from dn3dlib.evaluate.merging import certainties_of
from dn3dlib.files import read_json, write_json
from dn3dlib.metrics import smoothed, softmax
from dn3dlib.train.runs import BEST, Run
from dn3dlib.train.validation import predict_logits

THRESHOLD = "threshold.json"
KEPT = 0.95  # share of the rightly classified windows that the threshold lets through


def chosen_threshold(certainties: np.ndarray, right: np.ndarray, kept: float = KEPT) -> float | None:
    """The highest threshold that keeps so many of the rightly classified. Taught in notebook 07.

    Args:
        certainties: (n,), how certain the network is of each of n windows.
        right: bool (n,), whether it is right.
        kept: share of the rightly classified whose certainty is to reach the threshold.

    Returns:
        A certainty; None where nothing is rightly classified.

    Source: the highest softmax probability as a sign of what the network does not know: Hendrycks & Gimpel 2017, A Baseline for
    Detecting Misclassified and Out-of-Distribution Examples in Neural Networks.
    """
    known = certainties[right]
    return float(np.quantile(known, 1 - kept, method="lower")) if len(known) else None


def threshold_of(run: Run, step, batch_size: int) -> tuple[float | None, str]:
    """The threshold of a run's best network; chosen on the run's validation split and kept in its folder where it is not there yet.

    Args:
        run: the run.
        step: of `make_predict_step`, of its best network.
        batch_size: clips computed at once.

    Returns:
        The threshold, None where there is none; and a sentence for the user, empty where there is nothing to say.
    """
    path, network = run.path / THRESHOLD, hashlib.sha256((run.path / BEST).read_bytes()).hexdigest()
    kept = read_json(path, "threshold") if path.is_file() else {}
    if kept.get("network") == network and isinstance(kept.get("threshold"), float):
        return kept["threshold"], ""
    try:
        threshold, windows = _choose(run, step, batch_size)
    except Dn3dError as error:
        return None, f"Each window gets a class, be it none of these: the run has no threshold yet, and its validation split cannot be used. {error}"
    if threshold is None:
        return None, "Each window gets a class, be it none of these: the network is never right on its validation split."
    try:
        write_json(path, {"threshold": threshold, "kept": KEPT, "windows": windows, "network": network})
    except Dn3dError as error:
        return threshold, f"The threshold {threshold:.3f} is chosen anew each time. {error}"
    return threshold, f"Chosen on {windows} windows of the validation split, and kept in {path}: below {threshold:.3f} a window is none of these."


def _choose(run: Run, step, batch_size: int) -> tuple[float | None, int]:
    """The threshold, and on how many windows it was chosen."""
    data = run.open_data()
    if data.classes != run.classes or data.storage.frame_shape != run.storage.frame_shape:
        raise DataError(f"The data set {data.path} has other classes or another size than the run {run.path}: prepare it again.")
    plan = plan_evaluation(data, run.clip, "validation", run.train.seed)
    raw = softmax(predict_logits(step, data, plan, run.clip, batch_size))
    firsts = plan.frames.min(axis=1)
    labels = np.array([data.classes.index(data.sequences[place].label) for place in plan.sequence])
    certainties, right = np.empty(len(plan)), np.empty(len(plan), bool)
    for sequence in np.unique(plan.sequence):  # each as `predict` takes a video
        rows = plan.sequence == sequence
        of_windows = raw[rows], firsts[rows], run.clip.span
        certainties[rows] = certainties_of(*of_windows)
        right[rows] = smoothed(*of_windows).argmax(axis=1) == labels[rows]
    return chosen_threshold(certainties, right), len(plan)
