"""A run's network in formats that others read, normalisation inside, each held against the network itself on real clips."""

import time
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf
from numpy.random import default_rng

from dn3dlib import __version__
from dn3dlib.data.clips import plan_evaluation
from dn3dlib.data.decode import frame_form
from dn3dlib.data.manifest import DataSet
from dn3dlib.data.records import FrameReader
from dn3dlib.deploy.formats import Format, Predict, Source, chosen_formats, in_tensorflow
from dn3dlib.errors import ConfigError, DataError, Dn3dError
from dn3dlib.evaluate.report import check_fits
from dn3dlib.evaluate.threshold import kept_threshold
from dn3dlib.files import folder_written_beside, plain_disk_errors, tensorflow_errors_as_os_errors, write_json
from dn3dlib.progress import progress_bar
from dn3dlib.quiet import logs_held_back, standard_error_closed
from dn3dlib.train.best import load_best
from dn3dlib.train.runs import BEST, Run

REPORT = "export.json"
_LARGEST = 1e-3  # difference of probabilities that float32 may show: another order of sums explains less
_CALIBRATION = 64  # clips; with 16, int8 is clearly worse, with 256 no better


def export(
    run_dir: Path,
    out_dir: Path,
    to: Sequence[str],
    precisions: Sequence[str] = ("float32",),
    *,
    data_dir: Path | None = None,
    clips: int = 32,
    show_progress: bool = True,
) -> dict:
    """Write a run's best network in formats that need neither this kit nor Keras, and measure each against the network. Taught in notebook 07.

    Every format takes clips as they are decoded, uint8 (clips, frames, height, width, channels) from 0 to 255, LiteRT one at a time,
    and gives probabilities float32 (clips, classes). Classes and clip settings lie in the file; a program beside it uses it.

    Args:
        run_dir: the run.
        out_dir: a new folder: the files, a program for each, and `export.json`, what this returns.
        to: savedmodel, onnx, litert.
        precisions: of litert: float32, float16 (of weights), int8 (of weights and maps, scaled on training clips).
        data_dir: a prepared data set of the run's size and classes; None: the run's own. Where that is gone, noise takes the
            place of clips, except for int8.
        clips: on how many each file is held against the network.

    Returns:
        `about` (what lies in the files), `checked_on` (in words), and `files`, a dict each, the Keras network first: `format`,
        `precision`, `file`, `program`, `bytes`, `largest_difference` (of probabilities), `agreement` (share of clips with the same
        class), `clips_per_second` (one clip at a time, on the processor).

    Raises:
        RunError: there is no such run, it has no network yet, or the data set does not fit it.
        ConfigError: a format, precision or number of clips that cannot be, or `out_dir` is there already.
        DataError: int8 without a data set.
        Dn3dError: the extra [export] is not installed, a float32 file does not give what the network gives, or the disk is full.
    """
    run, forms, out_dir = Run.open(run_dir), chosen_formats(list(to), list(precisions)), Path(out_dir)
    if clips < 1:
        raise ConfigError(f"--clips is {clips}, but must be 1 or more.")
    if out_dir.exists():
        raise ConfigError(f"--out {out_dir} already exists: choose another name.")
    calibrate = any(form.precision == "int8" for form in forms)
    data = _data_of(run, data_dir, needed=calibrate)
    calibration = _clips_of(run, data, "train", _CALIBRATION) if calibrate else None
    source = Source(load_best(run), run.clip.normalisation, describe(run, data), calibration)
    pixels, checked_on = _test_clips(run, data, clips)
    expected, keras_row = _measure(in_tensorflow(source), pixels, None)
    size = {"format": "keras", "precision": "float32", "file": BEST, "program": None, "bytes": (run.path / BEST).stat().st_size}
    rows = [size | keras_row]
    with folder_written_beside(out_dir) as folder:
        for form in progress_bar(forms, desc="export", unit="file", show=show_progress):
            rows.append(_export_one(form, source, folder, pixels, expected))
        report = {"about": source.about, "checked_on": checked_on, "files": rows}
        write_json(folder / REPORT, report)
    return report


def describe(run: Run, data: DataSet | None = None) -> dict:
    """What whoever uses the network has to know: the classes, and how clips are cut from videos."""
    rates = [sequence.fps for sequence in data.sequences if sequence.fps > 0] if data else []
    return {
        "made_with": f"dn3d {__version__}",
        "classes": list(run.classes),
        "input": "clips: uint8 (clips, frames, height, width, channels), 0 to 255, normalised inside",
        "output": "probabilities: float32 (clips, classes)",
        "frames": run.clip.frames,
        "stride": run.clip.stride,
        "fps": run.data.get("fps") or (float(np.median(rates)) if rates else None),
        **frame_form(run.storage),  # height, width, channels, fit …
        "region": list(run.storage.region),  # as JSON has it
        "colours": "RGB" if run.storage.channels == 3 else "grey",
        "frame_order": run.clip.frame_order,
        "normalisation": run.clip.normalisation,
        "threshold": kept_threshold(run).get("threshold"),  # of a certainty, below which it is none of these; None: not chosen
        "trained_on": run.data["dataset"],
        "protocol": run.data["protocol"],
        "warnings": run.warnings,
    }


def _data_of(run: Run, data_dir: Path | None, needed: bool) -> DataSet | None:
    """The data set that is named, or the run's own where it is still there."""
    try:
        data = run.open_data(data_dir)
    except DataError as error:
        if data_dir is not None:
            raise
        if needed:
            raise DataError(f"--precision int8 is scaled on clips of a prepared data set: name one with --data. {error}") from error
        return None
    check_fits(run, data)
    return data


def _test_clips(run: Run, data: DataSet | None, count: int) -> tuple[np.ndarray, str]:
    """Clips uint8 to compare on, and what they are in words; never those of the test part, whose every look counts."""
    for split in ("validation", "train"):
        if data and data.of_split(split):
            found = _clips_of(run, data, split, count)
            return found, f"{len(found)} clips of the {split} part of {data.path.resolve().name}"
    noise = default_rng(0).integers(0, 256, (count, *run.clip_shape), np.uint8)
    return noise, f"{count} clips of noise, since the run's data set is not there"


def _clips_of(run: Run, data: DataSet, split: str, count: int) -> np.ndarray:
    """Clips uint8 (clips, frames, height, width, channels), `count` of them where there are so many, spread evenly over a split."""
    plan = plan_evaluation(data, run.clip, split, run.train.seed)
    plan = plan[np.unique(np.linspace(0, len(plan) - 1, count).astype(int))]
    return FrameReader(data).clips(plan.sequence, plan.frames)


def _export_one(form: Format, source: Source, folder: Path, pixels: np.ndarray, expected: np.ndarray) -> dict:
    path, program = folder / form.name, folder / form.program_name
    # Converters talk to their own developers.
    with plain_disk_errors(path), tensorflow_errors_as_os_errors(), standard_error_closed(), logs_held_back(), warnings.catch_warnings(action="ignore"):
        form.write(source, path)
        program.write_text(form.program(source.clip_shape), encoding="utf-8")
        _, row = _measure(form.open(path), pixels, expected)
    if form.precision == "float32" and not row["largest_difference"] <= _LARGEST:  # not so with NaN
        raise Dn3dError(
            f"{form.name} gives probabilities that differ by {row['largest_difference']:.2g} from those of the network, so it was not kept: "
            "install the tested versions of constraints.txt, or choose another format."
        )
    named = {"format": form.kind, "precision": form.precision, "file": form.name, "program": form.program_name, "bytes": _size(path)}
    return named | row


def _measure(predict: Predict, pixels: np.ndarray, expected: np.ndarray | None) -> tuple[np.ndarray, dict]:
    """The probabilities of clips that go through a network one at a time, and how they compare with those expected.

    On the processor throughout, where all formats run; a GPU would round TensorFlow's convolutions otherwise.
    """
    with tf.device("/CPU:0"):
        predict(pixels[:1])  # the first call makes ready
        start = time.perf_counter()
        found = np.concatenate([predict(clip[None]) for clip in pixels])
        speed = len(pixels) / (time.perf_counter() - start)
    expected = found if expected is None else expected
    same = found.argmax(axis=1) == expected.argmax(axis=1)
    row = {"largest_difference": float(np.abs(found - expected).max()), "agreement": float(same.mean()), "clips_per_second": round(speed, 1)}
    return found, row


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
