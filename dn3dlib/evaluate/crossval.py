"""Cross-validation over subjects: each is tested once, by a network that has never seen them."""

import sys
from pathlib import Path

import numpy as np

from dn3dlib.config import ClipConfig, ModelConfig, TrainConfig, to_dict
from dn3dlib.data.clips import check_augmentation
from dn3dlib.data.manifest import DataSet
from dn3dlib.data.protocols import FOLD
from dn3dlib.errors import ConfigError, RunError
from dn3dlib.evaluate.report import evaluate
from dn3dlib.files import only_one_at, plain_disk_errors, read_json, write_json
from dn3dlib.metrics import confusion, subject_interval
from dn3dlib.train.loop import resume, train
from dn3dlib.train.runs import CONFIG
from dn3dlib.train.strategy import choose_precision, choose_strategy

RESULT = "crossval.json"


def crossval(
    data_dir: Path,
    out_dir: Path,
    clip: ClipConfig,
    model: ModelConfig,
    config: TrainConfig,
    folds: int | None = None,
    *,
    init_from: Path | None = None,
    device: str = "auto",
    show_progress: bool = True,
) -> dict:
    """Train and test once for each fold; called again, it does only what is missing.

    There is no validation part: every subject that is not tested trains, and the network of the last epoch is tested, so
    that nothing is chosen on those whom it is tested on. Each fold is a run of its own, `<out_dir>/fold-1-of-5` …

    Args:
        data_dir: the prepared data set; its own split does not matter and stays as it is.
        out_dir: the folder of all folds, new, empty, or of a cross-validation with the same settings.
        clip, model, config: what to train and how, the same in each fold.
        folds: into how many groups the subjects are dealt (`protocols.split_of_each`, `fold:1/5`); None: one for each
            subject, which leaves one subject out at a time.
        init_from: a run whose weights each fold starts from, as of `train`; it must not know the subjects.
        device: auto, cpu, gpu:0 …
        show_progress: which fold it is, time left and the bars of each training, on standard error.

    Returns:
        What `crossval.json` holds: the settings, `folds` (a row for each finished one: `subjects`, `sequence_accuracy`,
        `clip_accuracy`, `predictions` …), `of_folds`, and over all finished folds `mean_sequence_accuracy`,
        `mean_clip_accuracy`, `spread` (standard deviation of the folds' sequence accuracies, None below two),
        `sequence_accuracy` (of all sequences together), `sequence_accuracy_interval` (95 %, bootstrapped over subjects),
        `confusion`, `classes`. After an interrupt there are fewer `folds` than `of_folds`.

    Raises:
        ConfigError: fewer than 2 folds.
        DataError: more folds than subjects, a damaged data set.
        RunError: `out_dir` holds something else, or a cross-validation with other settings.
    """
    data = DataSet.open(data_dir)
    subjects = len({s.subject for s in data.sequences})
    of_folds = subjects if folds is None else folds
    if of_folds < 2:
        raise ConfigError(f"The number of folds is {of_folds}, but a network needs subjects to train on and others to be tested on: take 2 folds or more.")
    check_augmentation(clip, data.storage.frame_shape, data.classes)
    config = choose_precision(config, choose_strategy(device)[0])
    settings = {
        "of_folds": of_folds,
        "data": {"dataset": data.dataset, "fingerprint": data.as_split_by(f"{FOLD}:1/{of_folds}").fingerprint},
        **{c.prefix: to_dict(c) for c in (clip, model, config)},
        "classes": list(data.classes),
        "init_from": str(Path(init_from).resolve()) if init_from else None,
    }
    path = Path(out_dir)
    with plain_disk_errors(path), only_one_at(path):
        result = _begin(path, settings)
        for number in range(len(result["folds"]) + 1, of_folds + 1):
            if show_progress:
                print(_what_comes(data, number, result), file=sys.stderr)
            options = {"device": device, "show_progress": show_progress}
            row = _fold(data, path, number, of_folds, (clip, model, config), init_from, options)
            if row is None:
                break
            rows = [*result["folds"], row]
            result = settings | {"folds": rows} | _figures(rows, data.classes)
            write_json(path / RESULT, result)
    return result


def _begin(path: Path, settings: dict) -> dict:
    """The result so far: of a new folder none; raises RunError where the folder is another's."""
    if (path / RESULT).is_file():
        result = read_json(path / RESULT, "cross-validation")
        _check_same(path, result, settings)
        return result
    if path.exists() and (not path.is_dir() or any(not p.name.startswith(f"{RESULT}.partial-") for p in path.iterdir())):
        raise RunError(f"The folder {path} already exists and is not empty, and holds no {RESULT}: choose another folder.")
    path.mkdir(parents=True, exist_ok=True)
    result = settings | {"folds": []}
    write_json(path / RESULT, result)
    return result


def _check_same(path: Path, result: dict, settings: dict) -> None:
    """Raise RunError with the first setting in which the cross-validation in `path` differs."""
    for name, wanted in settings.items():
        mine, wanted = (value if isinstance(value, dict) else {"": value} for value in (result.get(name), wanted))
        for field, value in wanted.items():
            if mine.get(field) != value:
                raise RunError(
                    f"The cross-validation {path} was begun with {'.'.join(filter(None, (name, field)))} {mine.get(field)!r}, not "
                    f"{value!r}: go on with the same data and settings, or choose another folder."
                )


def _what_comes(data: DataSet, number: int, result: dict) -> str:
    tested = sorted({s.subject for s in data.as_split_by(f"{FOLD}:{number}/{result['of_folds']}").of_split("test")})
    sentence = f"Fold {number} of {result['of_folds']} tests {', '.join(tested)}"
    if not result["folds"]:
        return f"{sentence}."
    minutes = np.mean([row["seconds"] for row in result["folds"]]) * (result["of_folds"] - number + 1) / 60
    return f"{sentence}; about {minutes:.0f} minutes left."


def _fold(data: DataSet, path: Path, number: int, of_folds: int, configs: tuple, init_from: Path | None, options: dict) -> dict | None:
    """Train a fold from where it stands, and test it; None where the training was interrupted."""
    run_dir = path / f"fold-{number}-of-{of_folds}"
    if (run_dir / CONFIG).is_file():
        history = resume(run_dir, data.path, strategy="one", **options)
    else:
        start = {"protocol": f"{FOLD}:{number}/{of_folds}", "init_from": init_from, "strategy": "one"}
        history = train(data.path, run_dir, *configs, **start, **options)
    if len(history) < configs[-1].epochs:
        return None
    report = evaluate(run_dir, data.path, **options)
    predictions = [{key: row[key] for key in ("sequence", "subject", "label", "predicted")} for row in report["predictions"]]
    return {
        "run": run_dir.name,
        "subjects": sorted({row["subject"] for row in predictions}),
        "seconds": round(sum(row["seconds"] for row in history), 1),  # of training
        **{key: report[key] for key in ("sequences", "clips", "sequence_accuracy", "clip_accuracy", "warnings")},
        "predictions": predictions,
    }


def _figures(rows: list[dict], classes: tuple[str, ...]) -> dict:
    """Over folds: mean and spread; over all their sequences together: accuracy, interval and confusion."""
    predictions = [prediction for row in rows for prediction in row["predictions"]]
    truth, predicted = (np.array([classes.index(p[key]) for p in predictions]) for key in ("label", "predicted"))
    accuracies = [row["sequence_accuracy"] for row in rows]
    interval = subject_interval(truth == predicted, [p["subject"] for p in predictions])
    return {
        "mean_sequence_accuracy": float(np.mean(accuracies)),
        "mean_clip_accuracy": float(np.mean([row["clip_accuracy"] for row in rows])),
        "spread": float(np.std(accuracies, ddof=1)) if len(rows) > 1 else None,
        "sequence_accuracy": float((truth == predicted).mean()),
        "sequence_accuracy_interval": list(interval) if interval else None,
        "confusion": confusion(truth, predicted, len(classes)).tolist(),
    }
