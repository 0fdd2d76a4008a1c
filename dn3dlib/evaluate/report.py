"""How good a run is, said honestly: per clip, per sequence, with an interval, per class, and who was seen before."""

from pathlib import Path

import numpy as np

from dn3dlib.data.clips import plan_evaluation
from dn3dlib.data.manifest import DataSet
from dn3dlib.data.protocols import LEAKS
from dn3dlib.errors import ConfigError, RunError
from dn3dlib.files import read_json, write_json
from dn3dlib.metrics import confusion, per_class, sequence_votes, softmax, subject_interval
from dn3dlib.progress import progress_bar
from dn3dlib.train.loop import load_best, predict_logits
from dn3dlib.train.runs import Run
from dn3dlib.train.steps import make_predict_step
from dn3dlib.train.strategy import choose_strategy

EVALUATION = "evaluation.json"


def evaluate(
    run_dir: Path,
    data_dir: Path | None = None,
    split: str = "test",
    *,
    batch_size: int | None = None,
    device: str = "auto",
    show_progress: bool = True,
) -> dict:
    """Evaluate a run's best network on one split and note it in `evaluation.json`, by split. Taught in notebook 02.

    Args:
        run_dir: the run.
        data_dir: a prepared data set of the same size and classes; None: the one it was trained on.
        split: train, validation or test.
        batch_size: clips computed at once; None: as in training. It does not change the result.

    Returns:
        `clip_accuracy`, `sequence_accuracy` (one vote of all clips for each sequence), `sequence_accuracy_interval`
        (95 %, bootstrapped over subjects, None below two), `confusion` (rows true, columns predicted, counts of
        sequences), `per_class` (precision, recall, sequences), `classes`, `split`, `clips`, `sequences`, `subjects`,
        `predictions` (a row for each sequence), `warnings`.

    Raises:
        RunError: the data set has another size or other classes than the run.
    """
    if batch_size is not None and batch_size < 1:
        raise ConfigError(f"--batch-size is {batch_size}, but must be 1 or more.")
    run = Run.open(run_dir)
    data = run.open_data(data_dir)
    _check_fits(run, data)
    strategy, name = choose_strategy(device)
    plan = plan_evaluation(data, run.clip, split, run.train.seed)
    with strategy.scope():
        step = make_predict_step(load_best(run), strategy, run.clip_shape)
    with progress_bar(total=len(plan), desc=f"evaluate {split} on {name}", unit="clip", show=show_progress) as bar:
        logits = predict_logits(step, data, plan, run.clip, batch_size or run.train.batch_size, bar)
    report = _report(run, data, split, plan.sequence, softmax(logits))
    path = run.path / EVALUATION
    earlier = read_json(path, "evaluation") if path.is_file() else {}
    write_json(path, earlier | {split: report})
    return report


def _check_fits(run: Run, data: DataSet) -> None:
    if data.storage.frame_shape != run.storage.frame_shape:
        raise RunError(
            f"The run {run.path} reads frames of {_size(run.storage)}, but {data.path} holds {_size(data.storage)}: prepare the "
            f"data with --height {run.storage.height} --width {run.storage.width} --channels {run.storage.channels}."
        )
    if data.classes != run.classes:
        raise RunError(
            f"The run {run.path} knows the classes {', '.join(run.classes)}, but {data.path} has {', '.join(data.classes)}: "
            "evaluate on a data set of the same classes."
        )


def _size(storage) -> str:
    return f"{storage.height}×{storage.width}×{storage.channels} (height × width × channels)"


def _report(run: Run, data: DataSet, split: str, places: np.ndarray, probabilities: np.ndarray) -> dict:
    labels = np.array([data.classes.index(s.label) for s in data.sequences])
    sequences, votes = sequence_votes(probabilities, places)
    rows = [data.sequences[place] for place in sequences]
    truth, predicted = labels[sequences], votes.argmax(axis=1)
    interval = subject_interval(predicted == truth, [row.subject for row in rows])
    return {
        "split": split,
        "clip_accuracy": float((probabilities.argmax(axis=1) == labels[places]).mean()),
        "sequence_accuracy": float((predicted == truth).mean()),
        "sequence_accuracy_interval": list(interval) if interval else None,
        "clips": len(places),
        "sequences": len(rows),
        "subjects": len({row.subject for row in rows}),
        "classes": list(data.classes),
        "confusion": confusion(truth, predicted, len(data.classes)).tolist(),
        "per_class": per_class(truth, predicted, data.classes),
        "protocol": data.protocol,
        "warnings": _warnings(run, data, split),
        "predictions": [
            {
                "sequence": row.id,
                "subject": row.subject,
                "label": row.label,
                "predicted": data.classes[vote.argmax()],
                "probabilities": [round(float(p), 6) for p in vote],
            }
            for row, vote in zip(rows, votes, strict=True)
        ],
    }


def _warnings(run: Run, data: DataSet, split: str) -> list[str]:
    """What makes the figures say less than they seem to."""
    warnings = []
    if data.leaks or run.data["leaks"]:
        warnings.append(LEAKS)
    if split != "train" and data.dataset == run.data["dataset"]:
        seen = sorted({s.subject for s in data.of_split(split)} & set(run.data["train_subjects"]))
        if seen:
            warnings.append(f"The run was trained on {len(seen)} of these subjects ({', '.join(seen[:5])}): the accuracy is too high.")
    return warnings
