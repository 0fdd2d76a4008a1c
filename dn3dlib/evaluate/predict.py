"""What is in a video: windows at a hop, smoothed, merged into segments; several videos, decoded while the network works."""

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np

from dn3dlib.config import ClipConfig
from dn3dlib.data.clips import normalise
from dn3dlib.data.decode import frame_form
from dn3dlib.data.segments import Segment
from dn3dlib.data.video import header, iter_frames
from dn3dlib.data.windows import USUAL_RATE, Windows, ahead, at_rate, cut_windows
from dn3dlib.errors import ConfigError, Dn3dError, RunError, VideoError
from dn3dlib.evaluate.merging import certainties_of, segments_of
from dn3dlib.evaluate.threshold import threshold_of
from dn3dlib.metrics import smoothed, softmax
from dn3dlib.progress import progress_bar, say_beside_bars
from dn3dlib.train.best import load_best
from dn3dlib.train.memory import out_of_memory_in_a_sentence
from dn3dlib.train.runs import Run
from dn3dlib.train.steps import make_predict_step
from dn3dlib.train.strategy import choose_strategy

_BATCH = 4  # windows computed at once, or fewer where the run trained on fewer: 16 take 300 MB more and are no faster
_LEAST = 2  # spans of a clip: the windows around a cut between two actions see both, and a third one in it, for about so long


@dataclass(frozen=True)
class Prediction:
    """What a run's best network finds in a video. Taught in notebook 07."""

    video: Path
    fps: float  # frames/s of the video, by which frames become seconds
    frames: int  # of the video; where it was stopped on the way, those up to there
    classes: tuple[str, ...]
    starts: np.ndarray  # int (windows,): number of each window's first frame
    probabilities: np.ndarray  # float64 (windows, classes), smoothed
    certainties: np.ndarray  # float64 (windows,), how certain each is of whatever it sees: `merging.certainties_of`
    threshold: float | None  # a window of a lower certainty shows none of the classes; None: each shows one
    segments: tuple[Segment, ...]  # from the first frame to the last, without gaps
    complete: bool = True  # False: stopped on the way

    @property
    def vote(self) -> np.ndarray:
        """The mean probabilities of all windows, float64 (classes,): what a short clip shows."""
        return self.probabilities.mean(axis=0)


@dataclass(frozen=True)
class _Opened:
    """The first that comes of a video: at what rate, and how many frames its header promises (0: no promise)."""

    video: Path
    fps: float
    promised: int


@dataclass(frozen=True)
class _Ended:
    """The last that comes of a video: how many frames it has."""

    frames: int


class Predictor:
    """A run's best network, ready to be asked about windows of videos; raises RunError and ConfigError as `predict`."""

    def __init__(self, run_dir: Path, hop: int | None = None, threshold: float | None = None, device: str = "auto"):
        """`run_dir`, `hop`, `threshold` and `device` as in `predict`."""
        self.run = Run.open(run_dir)
        clip = self.run.clip
        if hop is not None and not 1 <= hop <= clip.span:
            raise ConfigError(f"--hop is {hop}, but must be from 1 to {clip.span}, the frames that a clip of this run spans, or some frames are skipped.")
        if threshold is not None and not 0 <= threshold <= 1:
            raise ConfigError(f"--threshold is {threshold}, but must be from 0 to 1: a probability; 0 gives each window a class.")
        self.hop, self.batch_size = hop or clip.hop, min(self.run.train.batch_size, _BATCH)
        strategy, self.device = choose_strategy(device)
        with strategy.scope():
            network = load_best(self.run)
            self._check_fits(network)
            self._step = make_predict_step(network, strategy, self.run.clip_shape)
        self.probabilities(np.zeros((1, *self.run.clip_shape), np.uint8))  # traced now: the first video is not to wait for it
        self.notes: list[str] = []  # what the user should know
        self.rate = self._rate()
        self.threshold = threshold
        if threshold is None:
            self.threshold, note = threshold_of(self.run, self._step, self.batch_size)
            self.notes += [note] if note else []

    def _check_fits(self, network) -> None:
        for what, has, wanted in (
            ("takes clips of", network.input_shape[1:], self.run.clip_shape),
            ("tells apart", network.output_shape[1:], (len(self.run.classes),)),
        ):
            if tuple(has) != tuple(wanted):
                has, wanted = ("×".join(map(str, shape)) for shape in (has, wanted))
                raise RunError(
                    f"The network of the run {self.run.path} {what} {has} (frames × height × width × channels, or classes), but its configuration "
                    f"says {wanted}: one of the two files is another run's; put the right one back, or train again."
                )

    def _rate(self) -> float:
        """Frames/s of what the run was trained on, 0.0 where nobody knows; older runs do not tell, but their data set does."""
        if self.run.data["fps"]:
            return self.run.data["fps"]
        try:
            return float(median([s.fps for s in self.run.open_data().of_split("train") if s.fps > 0] or [0.0]))
        except Dn3dError:
            self.notes.append("The run does not tell the frame rate that it was trained at, and its data set is gone: each video is taken at its own.")
            return 0.0

    def probabilities(self, clips: np.ndarray) -> np.ndarray:
        """Probabilities, float64 (n, classes), of clips uint8 (n, frames, height, width, channels)."""
        with out_of_memory_in_a_sentence(lambda: f"while {len(clips)} windows were computed at once: use a machine with more, or --device cpu."):
            return softmax(self._step(normalise(clips.astype(np.float32), self.run.clip.normalisation)).numpy())


def predict(
    run_dir: Path,
    videos: Iterable[Path],
    *,
    hop: int | None = None,
    threshold: float | None = None,
    device: str = "auto",
    show_progress: bool = True,
    stop: threading.Event | None = None,
    refused: Callable[[VideoError], None] | None = None,
) -> Iterator[Prediction]:
    """Say what a run's best network sees in videos, when, and how certain it is. Taught in notebook 07.

    Frames are fitted, stored and normalised as those of the run's data, at its frame rate. A video shorter than two windows
    gets one segment, from the mean of its windows; else each moment belongs to the window whose middle is nearest, and no segment
    is shorter than two windows. Frames count as evenly spaced: of a file whose rate varies, as phones film in the dark, times are off.
    Memory does not grow with a video's length, but for a row of probabilities for each window.

    Args:
        run_dir: the run.
        videos: files of any size, rate, orientation and format that OpenCV reads.
        hop: frames, at the run's rate, between the starts of two windows; None: as in training.
        threshold: a window less certain than this shows none of the classes; 0 gives each a class; None: the run's own, chosen on its validation split (`threshold.chosen_threshold`), where there is one.
        device: auto, cpu, gpu:0 …
        show_progress: a bar for each video and how fast it went, and what is to be known, on standard error.
        stop: once it is set, what has been found by then of the video at work comes as the last prediction, not complete.
        refused: called with the error of a video that cannot be used, and the others go on; None: it is raised.

    Returns:
        An iterator of predictions, one for each usable video, in order; the next one's frames are decoded ahead.

    Raises:
        RunError: no run, no network yet or a damaged one, one that does not fit the run's configuration, memory has run out.
        ConfigError: an impossible hop or threshold, no such device.
        VideoError: where `refused` is None, a video cannot be read or is shorter than a clip.
    """
    predictor = Predictor(run_dir, hop, threshold, device)
    if show_progress:
        for note in predictor.notes:
            say_beside_bars(note)
    return _predictions(predictor, [Path(video) for video in videos], show_progress, stop or threading.Event(), refused)


def _predictions(predictor: Predictor, videos: list[Path], show: bool, stop: threading.Event, refused) -> Iterator[Prediction]:
    with closing(ahead(_decoded(predictor, videos, stop))) as items:
        for item in items:
            try:
                if isinstance(item, VideoError):
                    raise item
                prediction = _one(predictor, item, items, show, stop)
            except VideoError as error:
                if refused is None:
                    raise
                refused(error)
                continue
            if prediction:
                yield prediction
            if stop.is_set():
                return


def _decoded(predictor: Predictor, videos: list[Path], stop: threading.Event) -> Iterator[_Opened | Windows | _Ended | VideoError]:
    """In another thread: of each video that it was opened, its windows, and its end; or in place of the rest why it cannot be used."""
    run = predictor.run
    for path in videos:
        try:
            info = header(path)
            fps = info.fps or predictor.rate or USUAL_RATE
            yield _Opened(path, fps, info.frames_in_header)
            count = 0

            def timed(path=path, fps=fps) -> Iterator[tuple[float, np.ndarray]]:
                nonlocal count
                for frame in iter_frames(path, **frame_form(run.storage)):
                    if stop.is_set():
                        return
                    yield count / fps, frame
                    count += 1

            frames = at_rate(timed(), predictor.rate or fps, 1 / fps)
            yield from cut_windows(frames, run.storage, run.clip, predictor.hop, predictor.batch_size, run.train.seed)
            if not stop.is_set():
                yield _Ended(count)
        except VideoError as error:
            yield error
        if stop.is_set():
            return


def _one(predictor: Predictor, opened: _Opened, items: Iterator, show: bool, stop: threading.Event) -> Prediction | None:
    """The prediction of the video whose windows come next; None where it was stopped before the first."""
    started, rows, starts, numbers, frames, complete = time.perf_counter(), [], [], [], 0, False
    with progress_bar(total=opened.promised or None, desc=f"{opened.video.name} on {predictor.device}", unit="frame", show=show) as bar:
        for item in items:
            if isinstance(item, VideoError):
                raise item
            if isinstance(item, _Ended):
                frames, complete = item.frames, True
                bar.update(frames - bar.n)
                break
            if stop.is_set():
                break
            rows.append(predictor.probabilities(item.clips))
            starts.append(item.starts)
            numbers.append(item.numbers)
            bar.update(int(item.numbers[-1]) - bar.n)
    rate = predictor.rate or opened.fps
    if not rows:
        if not complete:
            return None
        raise _too_short(opened, frames, predictor.run.clip, rate)
    starts = np.concatenate(starts)
    if not complete:  # up to the end of the last window
        frames = round((starts[-1] + predictor.run.clip.span) / rate * opened.fps)
    prediction = _prediction(predictor, opened, frames, starts, np.concatenate(numbers), np.concatenate(rows), complete)
    if show:
        seconds, played = time.perf_counter() - started, prediction.segments[-1].end
        say_beside_bars(f"{opened.video}: {played:.1f} s of video in {seconds:.1f} s, {played / seconds:.1f} times as fast as it plays")
    return prediction


def _prediction(predictor: Predictor, opened: _Opened, frames: int, starts, numbers, rows, complete: bool) -> Prediction:
    run, rate = predictor.run, predictor.rate or opened.fps
    span, duration = run.clip.span, frames / opened.fps
    probabilities, certainties = smoothed(rows, starts, span), certainties_of(rows, starts, span)
    if complete and duration * rate < 2 * span:
        bounds, of_segments = np.array([0, duration]), (probabilities.mean(axis=0, keepdims=True), certainties.mean(keepdims=True))
    else:
        middles = (starts + span / 2) / rate
        bounds, of_segments = np.array([0, *(middles[1:] + middles[:-1]) / 2, duration]), (probabilities, certainties)
    segments = segments_of(*of_segments, bounds, run.classes, predictor.threshold, _LEAST * span / rate)
    return Prediction(opened.video, opened.fps, frames, run.classes, numbers, probabilities, certainties, predictor.threshold, segments, complete)


def _too_short(opened: _Opened, frames: int, clip: ClipConfig, rate: float) -> VideoError:
    message = (
        f"{opened.video} has {frames} frame{'s' * (frames != 1)} at {opened.fps:g} frames/s ({frames / opened.fps:.2f} s), but a clip of this run spans {clip.span} at "
        f"{rate:g} ({clip.span / rate:.2f} s); give a longer video"
    )
    return VideoError(message, f"shorter than a clip ({frames} of {clip.span} frames)")
