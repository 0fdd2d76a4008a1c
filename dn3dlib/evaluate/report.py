"""How good a run is, said honestly: per clip, sequence and video, with an interval, per class, and who was seen before."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from dn3dlib.config import CONTROLS, ClipConfig, nearest
from dn3dlib.data.cache import open_frames
from dn3dlib.data.manifest import DataSet
from dn3dlib.data.protocols import LEAKS
from dn3dlib.errors import ConfigError, RunError
from dn3dlib.evaluate.clips import distinct_clips, evaluation_plans
from dn3dlib.evaluate.uses import check_use_can_be_noted, note_use
from dn3dlib.metrics import calibration, class_mean, confusion, per_class, sequence_votes, softmax, subject_interval
from dn3dlib.progress import progress_bar
from dn3dlib.train.best import load_best
from dn3dlib.train.memory import out_of_memory_in_a_sentence
from dn3dlib.train.runs import Run
from dn3dlib.train.steps import make_predict_step
from dn3dlib.train.strategy import choose_strategy
from dn3dlib.train.validation import predict_logits


def evaluate(
    run_dir: Path,
    data_dir: Path | None = None,
    split: str = "test",
    *,
    views: int | None = None,
    hop: int | None = None,
    controls: tuple[str, ...] = (),
    batch_size: int | None = None,
    device: str = "auto",
    show_progress: bool = True,
) -> dict:
    """Evaluate a run's best network on one split and note it in the run: `evaluation.json`, `uses.json`. Taught in notebook 02.

    Args:
        run_dir: the run.
        data_dir: a prepared data set of the same size and classes; None: the one it was trained on.
        split: train, validation or test.
        views: clips of each sequence, spread evenly over it; None: as many as the hop gives.
        hop: frames between the starts of two clips of a sequence; None: as in training.
        controls: `shuffled`, `reversed`, `frozen`: the same clips with their frames in another order, to see how much of the
            accuracy is motion. A clip that several of them share is computed once.
        batch_size: clips computed at once; None: as in training. It does not change the result.

    Returns:
        `clip_accuracy`, `sequence_accuracy` (one vote of all clips for each sequence), `sequence_accuracy_interval`
        (95 %, bootstrapped over subjects, None below two), `video_accuracy` (one vote of all clips for each video; None where
        a video shows several classes); `balanced_accuracy` (mean recall) and `macro_f1` of sequences; `per_class` (precision,
        recall, f1, sequences), `confusion` (rows true, columns predicted, counts of sequences); `expected_calibration_error`
        and its bins, `calibration`, of the sequences' votes; `controls` (by name the three accuracies, and `recall` by class); `classes`, `split`,
        `clips`, `sequences`, `videos`, `subjects`, `protocol`, `views`, `hop` (None with views), `frame_order` (the run's); `predictions` (a row for each
        sequence) and `mistakes` (which of these are wrong, the most certain first); `test_uses` (how often this run's figures
        on the test split have been looked at), `warnings`.

    Raises:
        RunError: the data set has another size or other classes than the run, the run's folder cannot be written to, or memory has run out.
        ConfigError: views, hop, controls, split or batch size that cannot be.
    """
    if batch_size is not None and batch_size < 1:
        raise ConfigError(f"--batch-size is {batch_size}, but must be 1 or more.")
    run = Run.open(run_dir)
    clip = _asked_clip(run.clip, views, hop, controls)
    data = run.open_data(data_dir)
    check_fits(run, data)
    plans = evaluation_plans(data, clip, split, run.train.seed, views, controls)
    check_use_can_be_noted(run.path)
    probabilities = _probabilities(run, data, split, list(plans.values()), batch_size or run.train.batch_size, device, show_progress)
    found = dict(zip(plans, probabilities, strict=True))
    report = _report(run, data, split, plans[clip.frame_order].sequence, found[clip.frame_order])
    report |= {"views": views, "hop": None if views else clip.hop, "frame_order": clip.frame_order}
    report["controls"] = {name: _control(data, plans[name].sequence, found[name]) for name in controls}
    use = {"time": datetime.now(UTC).isoformat(timespec="seconds"), "data": str(data.path.resolve()), "fingerprint": data.fingerprint}
    told = ("split", "protocol", "views", "hop", "clip_accuracy", "sequence_accuracy", "video_accuracy", "controls")
    return note_use(run.path, report, use | {name: report[name] for name in told})


def _asked_clip(clip: ClipConfig, views: int | None, hop: int | None, controls: tuple[str, ...]) -> ClipConfig:
    """The run's clips at the hop that is asked for; refuses what cannot be asked for."""
    if views is not None and hop is not None:
        raise ConfigError("--views and --hop both say which clips are cut: leave one of them out.")
    if views is not None and views < 1:
        raise ConfigError(f"--views is {views}, but must be 1 or more.")
    for name in controls:
        if name not in CONTROLS:
            raise ConfigError(f"There is no control {name!r}: {nearest(name, CONTROLS)}")
    return clip if hop is None else replace(clip, hop=hop)


def _probabilities(run: Run, data: DataSet, split: str, plans: list, batch_size: int, device: str, show_progress: bool) -> list[np.ndarray]:
    """For each plan the probabilities of its clips, float64 (clips, classes); each distinct clip goes through the network once."""
    strategy, name = choose_strategy(device)
    plan, places = distinct_clips(plans)
    with strategy.scope():
        step = make_predict_step(load_best(run), strategy, run.clip_shape)
    # Where most frames are wanted more than once, they are decoded once if they fit into memory.
    often = plan.frames.size > sum(sequence.frames for sequence in data.of_split(split))
    frames = open_frames(data, (split,), "auto" if often else "disk", show_progress)
    too_large = f"while {batch_size} clips were evaluated at once: set a smaller --batch-size; it does not change the figures."
    bar = progress_bar(total=len(plan), desc=f"evaluate {split} on {name}", unit="clip", show=show_progress)
    with bar, out_of_memory_in_a_sentence(lambda: too_large):
        computed = softmax(predict_logits(step, data, plan, run.clip, batch_size, bar, frames))
    return [computed[rows] for rows in places]


def check_fits(run: Run, data: DataSet) -> None:
    """Raise RunError where a data set's frames or classes are not those of a run."""
    if data.storage.frame_shape != run.storage.frame_shape:
        raise RunError(
            f"The run {run.path} reads frames of {_size(run.storage)}, but {data.path} holds {_size(data.storage)}: prepare the "
            f"data with --height {run.storage.height} --width {run.storage.width} --channels {run.storage.channels}."
        )
    if data.classes != run.classes:
        raise RunError(
            f"The run {run.path} knows the classes {', '.join(run.classes)}, but {data.path} has {', '.join(data.classes)}: "
            "choose a data set of the same classes."
        )


def _size(storage) -> str:
    return f"{storage.height}×{storage.width}×{storage.channels} (height × width × channels)"


def _accuracies(data: DataSet, places: np.ndarray, probabilities: np.ndarray) -> dict:
    """Clip, sequence and video accuracy out of the same clips' probabilities (clips, classes); `places`: their sequences."""
    labels = np.array([data.classes.index(s.label) for s in data.sequences])
    videos = np.unique([s.video for s in data.sequences], return_inverse=True)[1]
    shown = {(video, label) for video, label in zip(videos[places], labels[places], strict=True)}
    several = len(shown) > len({video for video, _ in shown})  # a video of several classes has no class of its own
    found = {}
    for name, groups in (("clip", np.arange(len(places))), ("sequence", places), ("video", videos[places])):
        _, votes = sequence_votes(probabilities, groups)
        truth = labels[places][np.unique(groups, return_index=True)[1]]
        found[f"{name}_accuracy"] = float((votes.argmax(axis=1) == truth).mean())
    return found | {"video_accuracy": None} if several else found


def _control(data: DataSet, places: np.ndarray, probabilities: np.ndarray) -> dict:
    """The accuracies, and the share of each class's sequences whose vote is right, None where it is absent."""
    truth, votes = _truth_and_votes(data, places, probabilities)
    recall = {name: row["recall"] for name, row in per_class(truth, votes.argmax(axis=1), data.classes).items()}
    return _accuracies(data, places, probabilities) | {"recall": recall}


def _truth_and_votes(data: DataSet, places: np.ndarray, probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of each sequence among `places`, in their order: its class, int (sequences,), and its vote (sequences, classes)."""
    sequences, votes = sequence_votes(probabilities, places)
    return np.array([data.classes.index(data.sequences[place].label) for place in sequences]), votes


def _report(run: Run, data: DataSet, split: str, places: np.ndarray, probabilities: np.ndarray) -> dict:
    truth, votes = _truth_and_votes(data, places, probabilities)
    rows = [data.sequences[place] for place in np.unique(places)]
    predicted = votes.argmax(axis=1)
    interval = subject_interval(predicted == truth, [row.subject for row in rows])
    classes = per_class(truth, predicted, data.classes)
    error, bins = calibration(votes, truth)
    wrong = np.flatnonzero(predicted != truth)
    return {
        "split": split,
        **_accuracies(data, places, probabilities),
        "sequence_accuracy_interval": list(interval) if interval else None,
        "balanced_accuracy": class_mean(classes, "recall"),
        "macro_f1": class_mean(classes, "f1"),
        "expected_calibration_error": error,
        "clips": len(places),
        "sequences": len(rows),
        "videos": len({row.video for row in rows}),
        "subjects": len({row.subject for row in rows}),
        "classes": list(data.classes),
        "confusion": confusion(truth, predicted, len(data.classes)).tolist(),
        "per_class": classes,
        "calibration": bins,
        "protocol": data.protocol,
        "warnings": _warnings(run, data, split),
        "mistakes": wrong[np.argsort(-votes[wrong].max(axis=1), kind="stable")].tolist(),
        "predictions": [
            {
                "sequence": row.id,
                "video": row.video,
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
