"""One clip, as evaluation would feed it to a network, with the frames that it was made of: of a video file, or of a plan."""

from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from dn3dlib.config import ClipConfig, StorageConfig
from dn3dlib.data.clips import ClipPlan, in_order, normalise
from dn3dlib.data.decode import frame_form
from dn3dlib.data.manifest import DataSet
from dn3dlib.data.records import FrameReader, decode_frame, encode_frame
from dn3dlib.data.video import iter_frames, probe
from dn3dlib.errors import ConfigError, Dn3dError, VideoError


@dataclass(frozen=True)
class OneClip:
    """A clip and what it shows. Taught in notebook 04."""

    values: np.ndarray  # float32 (frames, height, width, channels), normalised: what the network takes
    frames: np.ndarray  # uint8 (frames, height, width, channels), RGB or grey: what one looks at
    numbers: np.ndarray  # int (frames,): which frames of the video or sequence these are, counted from 0


def clip_of_plan(data: DataSet, plan: ClipPlan, row: int, config: ClipConfig) -> OneClip:
    """The clip in one row of a plan of `plan_evaluation`, for a prepared data set. Taught in notebook 04."""
    frames = FrameReader(data).clips(plan.sequence[[row]], plan.frames[[row]])[0]
    return _one_clip(frames, plan.frames[row], config)


def clip_of_video(path: Path, storage: StorageConfig, config: ClipConfig, start: int | None = None, seed: int = 0) -> OneClip:
    """One clip of a video file; its frames are fitted, stored and normalised as those of a prepared data set. Taught in notebook 04.

    Args:
        path: a video of any format.
        storage, config: of the run; nothing is augmented.
        start: the clip's first frame, counted from 0; None: the clip in the middle of the video.
        seed: of `frame_order="shuffled"`.

    Raises:
        VideoError: the video cannot be read, or is shorter than a clip.
        ConfigError: from `start` on there are not enough frames.
    """
    if start is None:
        start = max(0, probe(path).frames - config.span) // 2
    if start < 0:
        raise ConfigError(f"The clip's first frame is {start}, but frames count from 0: start at 0 or later.")
    try:
        read = iter_frames(path, start, start + config.span, **frame_form(storage))
        stored = [decode_frame(encode_frame(frame, storage), storage) for frame in islice(read, 0, config.span, config.stride)]
    except VideoError as error:
        raise (_no_room(path, config, start) if error.reason.startswith("ended at") else error) from None
    places = in_order(np.arange(config.frames)[np.newaxis], config, np.random.default_rng(seed))[0]
    return _one_clip(np.stack(stored)[places], start + config.stride * places, config)


def _no_room(path: Path, config: ClipConfig, start: int) -> Dn3dError:
    length = probe(path).frames
    if length < config.span:
        message = f"{path} has {length} frames, but a clip of this run spans {config.span}; give a longer video"
        return VideoError(message, f"shorter than a clip ({length} of {config.span} frames)")
    return ConfigError(
        f"A clip of this run spans {config.span} frames, and from frame {start} on {path}, which has {length}, does not hold so many: "
        f"start at {length - config.span} or earlier."
    )


def _one_clip(frames: np.ndarray, numbers: np.ndarray, config: ClipConfig) -> OneClip:
    return OneClip(np.asarray(normalise(frames.astype(np.float32), config.normalisation)), frames, numbers)
