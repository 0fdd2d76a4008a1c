"""Records → clips: which frames make each clip (a plan, in NumPy), and the tf.data pipeline that carries it out.

All chance is in the plan, drawn by (seed, epoch) and looked up by index; the pipeline itself draws nothing. To go on
in the middle of an epoch is to start the plan later: no frame is decoded to be thrown away.
"""

import dataclasses
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from dn3dlib.config import ClipConfig
from dn3dlib.data.cache import DecodedFrames
from dn3dlib.data.manifest import DataSet
from dn3dlib.data.records import FrameReader
from dn3dlib.errors import ConfigError, DataError
from dn3dlib.quiet import import_quietly


@dataclass(frozen=True)
class ClipPlan:
    """Which frames make each of n clips, and how each is augmented. Taught in notebook 01."""

    sequence: np.ndarray  # int32 (n,): place in the data set's sequences
    frames: np.ndarray  # int32 (n, frames): frame numbers in the sequence
    shift: np.ndarray  # int32 (n, 2): pixels by which the picture moves in y and x
    flip: np.ndarray  # bool (n,): mirrored left to right
    brightness: np.ndarray  # float32 (n,): share of full white that is added
    scale: np.ndarray  # float32 (n,): factor by which the picture grows about its centre

    def __len__(self) -> int:
        return len(self.sequence)

    def __getitem__(self, rows) -> "ClipPlan":
        """A part of the plan, by slice or by index array."""
        return ClipPlan(*(getattr(self, field.name)[rows] for field in dataclasses.fields(self)))


def plan_training(data: DataSet, config: ClipConfig, seed: int, epoch: int, split: str = "train") -> ClipPlan:
    """An epoch of training clips: each sequence `clips_per_sequence` times, in random order, from random starts.

    Args:
        data: the prepared data set.
        config: frames, stride, augmentation. A clip that is played faster or slower takes the nearest frames.
        seed, epoch: what is drawn depends on these two and on the clip's index alone.
        split: whose sequences.

    Raises:
        DataError: the split has no sequences.
    """
    rows, lengths = _rows(data, split)
    rows = np.repeat(rows, config.clips_per_sequence)
    lengths = np.repeat(lengths, config.clips_per_sequence)
    count = len(rows)
    rng = np.random.default_rng([seed, epoch])
    later = np.random.default_rng([seed, epoch, 1])  # of what came later, so that older plans stay as they were
    strides = config.stride + rng.integers(0, config.extra_stride + 1, count)
    strides = strides * _factors(config.speed, count, later)
    spans = np.rint((config.frames - 1) * strides) + 1
    starts = (rng.random(count) * (np.maximum(lengths - spans, 0) + 1)).astype(np.int64)
    frames = _frame_numbers(starts, strides, lengths, config)
    plan = ClipPlan(
        sequence=rows,
        frames=in_order(frames, config, rng),
        shift=rng.integers(-config.crop, config.crop + 1, (count, 2), dtype=np.int32),
        flip=rng.random(count) < (0.5 if config.flip else 0),
        brightness=(rng.uniform(-1, 1, count) * config.brightness).astype(np.float32),
        scale=_factors(config.scale, count, later).astype(np.float32),
    )
    return plan[rng.permutation(count)]


def plan_evaluation(data: DataSet, config: ClipConfig, split: str, seed: int = 0, views: int | None = None) -> ClipPlan:
    """The clips that cover each sequence from its first frame to its last, in the manifest's order; nothing is augmented.

    Args:
        data: the prepared data set.
        config: frames, stride, hop, frame order.
        split: whose sequences.
        seed: of `frame_order="shuffled"`.
        views: clips of each sequence, spread evenly from its first frame to its last, a single one in its middle; fewer
            where a sequence has no more places. None: a clip every `hop` frames and one at the end, so that of any `stride`
            frames in a row at least one is in a clip.

    Raises:
        DataError: the split has no sequences.
    """
    rows, lengths = _rows(data, split)
    starts = [_evaluation_starts(length, config, views) for length in lengths]
    counts = [len(s) for s in starts]
    rows, lengths, starts = np.repeat(rows, counts), np.repeat(lengths, counts), np.concatenate(starts)
    count = len(rows)
    frames = _frame_numbers(starts, np.full(count, config.stride), lengths, config)
    return ClipPlan(
        sequence=rows,
        frames=in_order(frames, config, np.random.default_rng(seed)),
        shift=np.zeros((count, 2), np.int32),
        flip=np.zeros(count, bool),
        brightness=np.zeros(count, np.float32),
        scale=np.ones(count, np.float32),
    )


def check_augmentation(config: ClipConfig, frame_shape: tuple[int, int, int], classes: tuple[str, ...]) -> None:
    """Raise ConfigError where augmentation takes away what is to be learned.

    That is where pictures of `frame_shape` (height, width, channels) can be shifted by half of a side or more, or where clips are
    mirrored though two classes differ by left and right alone, as turn_left and turn_right.
    """
    smaller = min(frame_shape[:2])
    if config.crop > 0 and 2 * config.crop >= smaller:
        raise ConfigError(
            f"clip.crop={config.crop} shifts pictures by up to half of their smaller side of {smaller} pixels or more, and the action "
            f"out of them: set it to {max(0, (smaller - 1) // 2)} at most; a sixteenth of the side is usual."
        )
    if not config.flip or config.flip_despite_sides:
        return
    names = {name.lower(): name for name in classes}
    for name in names:
        other = re.sub("left|right", lambda side: "right" if side[0] == "left" else "left", name)
        if name < other and other in names:
            raise ConfigError(
                f"clip.flip mirrors clips, but mirrored {names[name]} looks like {names[other]}: train with clip.flip=false, or with "
                "clip.flip_despite_sides=true if left and right do not show in your videos."
            )


def _rows(data: DataSet, split: str) -> tuple[np.ndarray, np.ndarray]:
    data.of_split(split)  # refuses a name that is no split
    rows = np.array([i for i, s in enumerate(data.sequences) if s.split == split], np.int32)
    if not len(rows):
        raise DataError(
            f"The split {split} of {data.path} (protocol {data.protocol}) has no sequences: choose another split, or another "
            f"protocol with `dn3d split {data.path} --protocol …`."
        )
    return rows, np.array([data.sequences[i].frames for i in rows])


def _evaluation_starts(length: int, config: ClipConfig, views: int | None) -> np.ndarray:
    """Evenly spread, or every hop and at the end once more where the last frames would be left over."""
    last = max(int(length) - config.span, 0)
    if views:
        return np.unique(np.linspace(0, last, views).round().astype(int)) if views > 1 else np.array([last // 2])
    starts = np.arange(0, last + 1, config.hop)
    return starts if starts[-1] == last else np.append(starts, last)


def _factors(most: float, count: int, rng: np.random.Generator) -> np.ndarray:
    """float64 (count,) from 1 / (1 + most) to 1 + most, as often below 1 as above; exactly 1 where `most` is 0."""
    return (1 + most) ** rng.uniform(-1, 1, count)


def _frame_numbers(starts: np.ndarray, strides: np.ndarray, lengths: np.ndarray, config: ClipConfig) -> np.ndarray:
    """int32 (n, frames): start, start + stride, …, rounded; past the sequence's end it starts again or stands still."""
    numbers = starts[:, None] + np.rint(strides[:, None] * np.arange(config.frames)).astype(np.int64)
    ends = lengths[:, None]
    padded = numbers % ends if config.padding == "loop" else np.minimum(numbers, ends - 1)
    return padded.astype(np.int32)


def in_order(frames: np.ndarray, config: ClipConfig, rng: np.random.Generator) -> np.ndarray:
    """Frame numbers, int (clips, frames), in the config's frame order; `rng` is drawn from where they are shuffled."""
    if config.frame_order == "shuffled":
        return rng.permuted(frames, axis=1)
    if config.frame_order == "reversed":
        return frames[:, ::-1]
    if config.frame_order == "frozen":
        return np.repeat(frames[:, config.frames // 2, None], config.frames, axis=1)
    return frames


def shares_of_batches(clips: int, batch_size: int, replica: int = 0, replicas: int = 1) -> np.ndarray:
    """Which clips of each batch one of several replicas takes: int64 (batches, 2), its first row of the plan and the row after its last.

    Shares of a batch follow each other and differ by one clip at most. Where fewer clips are left than there are replicas, each takes
    all of them: a share of no clips has no batch statistics. Then each counts for a part only, see `train.steps.make_train_step`.
    It is clips that are shared out: a record of which an epoch has several clips may be read by several replicas, or two of them would
    not do together what one does.
    """
    starts = np.arange(0, clips, batch_size)
    sizes = np.minimum(clips - starts, batch_size)
    bounds = np.stack([starts + sizes * place // replicas for place in (replica, replica + 1)], axis=1)
    return np.where((sizes < replicas)[:, None], np.stack([starts, starts + sizes], axis=1), bounds)


def clip_dataset(
    data: DataSet,
    plan: ClipPlan,
    config: ClipConfig,
    batch_size: int,
    frames: FrameReader | DecodedFrames | None = None,
    share: tuple[int, int] = (0, 1),
):
    """The clips of a plan, decoded, augmented, normalised and batched, in the plan's order.

    Args:
        data: the prepared data set.
        plan: n clips.
        config: frames and normalisation.
        batch_size: clips of a batch; the last one may be smaller.
        frames: a FrameReader or, where they are held in memory, DecodedFrames; None: a FrameReader.
        share: (replica, of how many replicas): its share of each batch alone is read, see `shares_of_batches`.

    Returns:
        A tf.data.Dataset of (clips float32 (batch, frames, height, width, channels), labels int32 (batch,), places of the
        clips' sequences in `data.sequences` int32 (batch,)).
    """
    tf = import_quietly("tensorflow")
    frames = frames or FrameReader(data)
    labels = np.array([data.classes.index(s.label) for s in data.sequences], np.int32)
    shape = (None, config.frames, *data.storage.frame_shape)

    def read(bounds):
        rows = tf.range(bounds[0], bounds[1])
        pixels = tf.numpy_function(lambda r: _read_clips(frames, plan[r]), [rows], tf.uint8, stateful=False)
        clips = tf.cast(tf.ensure_shape(pixels, shape), tf.float32)
        if plan.brightness.any():
            added = 255 * tf.gather(plan.brightness, rows)
            clips = tf.clip_by_value(clips + added[:, None, None, None, None], 0, 255)
        places = tf.gather(plan.sequence, rows)
        return normalise(clips, config.normalisation), tf.gather(labels, places), places

    # No autotuning: TensorFlow 2.21 ends an iterator only when its tuning thread wakes, after up to a minute.
    options = tf.data.Options()
    options.autotune.enabled = False
    batches = tf.data.Dataset.from_tensor_slices(shares_of_batches(len(plan), batch_size, *share))
    readers = min(os.cpu_count() or 1, 8)  # each holds a batch in memory
    # Without AutoGraph: nothing in it depends on a tensor's value, and what it imports is not for TensorFlow to convert.
    read = tf.autograph.experimental.do_not_convert(read)
    return batches.map(read, num_parallel_calls=readers, deterministic=True).prefetch(2).with_options(options)


def batches_of(dataset) -> Iterator:
    """The batches of a clip dataset; a damaged record ends them with its own sentence, a DataError, not with TensorFlow's."""
    tf = import_quietly("tensorflow")
    batches = iter(dataset)
    while True:
        try:
            batch = next(batches)
        except StopIteration:
            return
        except tf.errors.OpError as error:
            sentence = re.search(r"DataError: (.+)", error.message)
            if not sentence:
                raise
            raise DataError(sentence[1]) from error
        yield batch


def _read_clips(frames: FrameReader | DecodedFrames, plan: ClipPlan) -> np.ndarray:
    """The clips of a plan, uint8 (n, frames, height, width, channels), zoomed, moved and mirrored: all frames of a clip alike."""
    clips = frames.clips(plan.sequence, plan.frames)
    for place in np.flatnonzero(plan.scale != 1):
        zoom(clips[place], float(plan.scale[place]))
    for place in np.flatnonzero(plan.flip | plan.shift.any(axis=1)):
        clips[place] = move(clips[place], plan.shift[place], bool(plan.flip[place]))
    return clips


def zoom(clip: np.ndarray, factor: float) -> None:
    """Let the picture of a clip grow (factor above 1) or shrink about its centre, in place; a shrunken one repeats its border.

    The clip is uint8 (frames, height, width, channels); pixels are interpolated linearly.
    """
    height, width = clip.shape[1:3]
    offset_x, offset_y = ((size - 1) / 2 * (1 - factor) for size in (width, height))
    matrix = np.array([[factor, 0, offset_x], [0, factor, offset_y]])
    for frame in clip:
        frame[:] = cv2.warpAffine(frame, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE).reshape(frame.shape)


def move(clip: np.ndarray, shift: Iterable[int], flip: bool) -> np.ndarray:
    """Shift a clip by (y, x) pixels, repeating its border, and mirror it; (frames, height, width, channels) throughout."""
    y, x = (int(n) for n in shift)
    if y or x:
        reach = ((0, 0), (abs(y), abs(y)), (abs(x), abs(x)), (0, 0))
        height, width = clip.shape[1:3]
        clip = np.pad(clip, reach, mode="edge")[:, abs(y) - y : abs(y) - y + height, abs(x) - x : abs(x) - x + width]
    if flip:  # OpenCV mirrors ten times as fast as a NumPy slice of pixels of three bytes
        clip = cv2.flip(clip.reshape(-1, *clip.shape[2:]), 1).reshape(clip.shape)
    return clip


def normalise(clips, how: str):
    """Scale pixels for the network. Taught in notebook 01.

    Args:
        clips: float32 tensor (…, frames, height, width, channels) of pixels from 0 to 255.
        how: `none`; `divide_255`, `divide_256`; `std`: each clip to mean 0 and deviation 1; `std_frame`: each frame so
            (Gu 2017, section 5.2); `motion`: as `std`, then less the mean over the clip's frames, which takes away background
            and clothes that stand still.

    Returns:
        A float32 tensor of the same shape.
    """
    tf = import_quietly("tensorflow")
    if how == "none":
        return clips
    if how in ("divide_255", "divide_256"):
        return clips / float(how.removeprefix("divide_"))
    axes = [-3, -2, -1] if how == "std_frame" else [-4, -3, -2, -1]
    clips = clips - tf.reduce_mean(clips, axes, keepdims=True)
    variance = tf.reduce_mean(tf.square(clips), axes, keepdims=True)
    # A frame of one colour has no deviation: it becomes zero, not infinite.
    clips = clips * tf.math.rsqrt(tf.maximum(variance, 1e-6))
    return clips - tf.reduce_mean(clips, -4, keepdims=True) if how == "motion" else clips
