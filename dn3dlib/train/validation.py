"""Logits of many clips, and what a network is worth on the validation split after each epoch."""

import numpy as np

from dn3dlib.config import ClipConfig
from dn3dlib.data.clips import ClipPlan, batches_of, clip_dataset, plan_evaluation
from dn3dlib.data.manifest import DataSet
from dn3dlib.metrics import cross_entropy, sequence_votes, softmax
from dn3dlib.train.runs import Run

FIGURES = ("validation_loss", "validation_clip_accuracy", "validation_sequence_accuracy")  # None each where nothing is validated


def predict_logits(step, data: DataSet, plan: ClipPlan, clip: ClipConfig, batch_size: int, bar=None, frames=None) -> np.ndarray:
    """The logits of the clips of a plan, float32 (clips, classes), in the plan's order.

    `step` is of `make_predict_step`; `bar`, where there is one, is moved on by each batch's clips; `frames` as in
    `clip_dataset`.
    """
    logits = []
    for clips, _, _ in batches_of(clip_dataset(data, plan, clip, batch_size, frames)):
        logits.append(step(clips).numpy())
        if bar is not None:
            bar.update(len(logits[-1]))
    return np.concatenate(logits)


def validate(step, run: Run, data: DataSet, frames, bar) -> dict:
    """Loss, clip accuracy and sequence accuracy on the validation split; None each where it is empty.

    `step` is of `make_predict_step`; `frames` as in `clip_dataset`; `bar` as in `predict_logits`.
    """
    if not data.of_split("validation"):
        return dict.fromkeys(FIGURES)
    plan = plan_evaluation(data, run.clip, "validation", run.train.seed)
    probabilities = softmax(predict_logits(step, data, plan, run.clip, run.train.batch_size, bar, frames))
    labels = np.array([data.classes.index(s.label) for s in data.sequences])
    sequences, votes = sequence_votes(probabilities, plan.sequence)
    truth = labels[plan.sequence]
    return {
        "validation_loss": cross_entropy(probabilities, truth),
        "validation_clip_accuracy": float((probabilities.argmax(axis=1) == truth).mean()),
        "validation_sequence_accuracy": float((votes.argmax(axis=1) == labels[sequences]).mean()),
    }
