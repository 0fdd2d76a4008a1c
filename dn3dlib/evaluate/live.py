"""What a camera sees, while it films: the same network and the same windows as for a file, a label for each."""

import math
from collections import deque
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dn3dlib.data.camera import frames_of
from dn3dlib.data.windows import USUAL_RATE, ahead, at_rate, cut_windows
from dn3dlib.errors import VideoError
from dn3dlib.evaluate.merging import certainties_of
from dn3dlib.evaluate.predict import Predictor
from dn3dlib.metrics import smoothed


@dataclass(frozen=True)
class LiveLabel:
    """What is seen at one moment. Taught in notebook 07."""

    time: float  # seconds from the first frame to the last of the newest window
    label: str | None  # class name; None: none of the classes
    certainty: float
    probabilities: np.ndarray  # float64 (classes,), averaged over the windows that share frames with the newest
    frame: np.ndarray  # uint8 (height, width, channels): the newest frame, as the network gets it, but for its normalisation


def predict_live(
    run_dir: Path, source: int | str | Path = 0, *, hop: int | None = None, threshold: float | None = None, device: str = "auto"
) -> Iterator[LiveLabel]:
    """Say what a camera sees, again after each `hop` frames, until it ends or the caller stops asking. Taught in notebook 07.

    Args:
        run_dir, hop, threshold, device: as `predict.predict`.
        source: the camera's number; or a video file, which is taken as if it came from one, as fast as it is asked for.

    Returns:
        An iterator; to end it (and let go of the camera) close it, or leave it.

    Raises:
        RunError, ConfigError: as `predict.predict`.
        VideoError: no such camera, or one that gives no picture any more; a file that is no video, or shorter than a clip.
    """
    predictor = Predictor(run_dir, hop, threshold, device)
    rate = predictor.rate or USUAL_RATE
    frames = frames_of(source, predictor.run.storage, rate)
    return _labels(predictor, source, at_rate(frames, rate, 1 / rate), rate)


def _labels(predictor: Predictor, source: int | str | Path, frames: Iterator, rate: float) -> Iterator[LiveLabel]:
    run = predictor.run
    kept = math.ceil(run.clip.span / predictor.hop) + 1  # windows that share frames with the newest, and it
    rows, starts = deque(maxlen=kept), deque(maxlen=kept)
    windows = cut_windows(frames, run.storage, run.clip, predictor.hop, 1, run.train.seed)
    with closing(ahead(windows)) as items:
        for window in items:
            rows.append(predictor.probabilities(window.clips)[0])
            starts.append(window.starts[0])
            of_windows = np.array(rows), np.array(starts), run.clip.span
            probabilities, certainty = smoothed(*of_windows)[-1], float(certainties_of(*of_windows)[-1])
            known = predictor.threshold is None or certainty >= predictor.threshold
            label = run.classes[probabilities.argmax()] if known else None
            yield LiveLabel((starts[-1] + run.clip.span) / rate, label, certainty, probabilities, window.clips[0, -1])
    if not rows:  # of a file: a camera never ends so
        span = f"{run.clip.span} frames at {rate:g} frames/s ({run.clip.span / rate:.2f} s)"
        raise VideoError(f"{source} is shorter than a clip of this run, {span}; give a longer video", "shorter than a clip")
