"""Occlusion in space and time: cover a part of the clip and see how much less the network believes in the class.

Source: Zeiler and Fergus 2014, *Visualizing and Understanding Convolutional Networks*, section 4.2, with time as a third
dimension. It needs no gradient and no layer, so it is a second opinion on Grad-CAM; it needs a pass for each place.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import keras
import numpy as np

from dn3dlib.errors import ConfigError
from dn3dlib.explain.gradcam import checked_clips, checked_target
from dn3dlib.metrics import softmax
from dn3dlib.progress import progress_bar

COVERS = ("mean", "still")


@dataclass(frozen=True)
class Occlusion:
    """What covering each part of one clip did. Taught in notebook 04."""

    target: int  # the class
    probability: float  # of the class, with nothing covered
    drop: np.ndarray  # float32 (t, y, x): by how much the probability fell where each cuboid was; below 0: it rose
    starts: tuple[np.ndarray, ...]  # int (t,), (y,), (x,): first frame, row and column of the cuboids
    size: tuple[int, int, int]  # frames, rows and columns of a cuboid
    clip_size: tuple[int, int, int]  # frames, rows and columns of the clip

    def over_clip(self) -> np.ndarray:
        """float32 (frames, height, width): for each pixel, the mean drop of all cuboids that covered it."""
        total, count = np.zeros(self.clip_size), np.zeros(self.clip_size)
        for place, corner in zip(np.ndindex(self.drop.shape), itertools.product(*self.starts), strict=True):
            inside = _inside(corner, self.size)
            total[inside] += self.drop[place]
            count[inside] += 1
        return (total / count).astype(np.float32)

    def heat(self) -> np.ndarray:
        """float32 (frames, height, width) from 0 to 1, as `grad_cam` gives it for one clip: only what speaks for the class."""
        drop = np.maximum(self.over_clip(), 0)
        return drop / drop.max() if drop.any() else drop


def occlude(
    model: keras.Model,
    clip: np.ndarray,
    target: int | None = None,
    size: tuple[int, int, int] | None = None,
    stride: tuple[int, int, int] | None = None,
    cover: str = "mean",
    batch_size: int = 16,
    show_progress: bool = False,
) -> Occlusion:
    """Cover a cuboid of a clip, at every place in turn, and measure the target's probability. Taught in notebook 04.

    Args:
        model: clips → logits.
        clip: float32 (frames, height, width, channels), normalised as in training.
        target: the class, counted from 0; None: the one that the network predicts.
        size: frames, rows and columns that are covered at once; None: a quarter of the clip each way. With all rows and
            columns it asks when, not where.
        stride: frames, rows and columns from one place to the next; None: half of `size`. The last place of each axis
            ends at the clip's border.
        cover: `mean`: with the clip's mean, which takes the picture away (0 for clips normalised per frame); `still`: with the frame
            before the cuboid (at the clip's beginning: behind it), which leaves a picture and takes the motion away.
        batch_size: covered clips that are computed at once.
        show_progress: a progress bar on standard error.

    Returns:
        The drop for each place, and what lays it on the clip.

    Raises:
        ConfigError: a clip, class, size, stride or cover that cannot be.
    """
    clip = np.asarray(clip, np.float32)
    logits = model(checked_clips(model, clip[np.newaxis]), training=False).numpy()
    target = int(checked_target(logits, target)[0])
    probability = softmax(logits)[0, target]
    size = size or tuple(max(1, length // 4) for length in clip.shape[:3])
    stride = stride or tuple(max(1, length // 2) for length in size)
    _check(clip.shape[:3], size, stride, cover)
    starts = tuple(_starts(*axis) for axis in zip(clip.shape[:3], size, stride, strict=True))
    corners = list(itertools.product(*starts))
    covered = (_covered(clip, corner, size, cover) for corner in corners)
    with progress_bar(total=len(corners), desc="occlusion", unit="place", show=show_progress) as bar:
        left = _probabilities(model, covered, batch_size, bar)[:, target]
    drop = probability - left.reshape([len(places) for places in starts])
    return Occlusion(target, float(probability), drop.astype(np.float32), starts, tuple(size), clip.shape[:3])


def _probabilities(model: keras.Model, clips: Iterator[np.ndarray], batch_size: int, bar) -> np.ndarray:
    """Of each class, float (clips, classes); no more clips are made at once than are computed at once."""
    found = []
    while batch := list(itertools.islice(clips, batch_size)):
        found.append(softmax(model(np.stack(batch), training=False).numpy()))
        bar.update(len(batch))
    return np.concatenate(found)


def _starts(length: int, size: int, stride: int) -> np.ndarray:
    """Every `stride`, and at the end once more where some would be left over."""
    last = length - size
    return np.unique(np.append(np.arange(0, last + 1, stride), last))


def _inside(corner: tuple[int, ...], size: tuple[int, int, int]) -> tuple[slice, ...]:
    return tuple(slice(first, first + length) for first, length in zip(corner, size, strict=True))


def _covered(clip: np.ndarray, corner: tuple[int, ...], size: tuple[int, int, int], cover: str) -> np.ndarray:
    """A copy of the clip with one cuboid covered."""
    covered, inside = clip.copy(), _inside(corner, size)
    if cover == "mean":
        covered[inside] = clip.mean(axis=(0, 1, 2))
    else:
        start, behind = corner[0], corner[0] + size[0]
        kept = start - 1 if start else min(behind, len(clip) - 1)
        covered[inside] = clip[(kept, *inside[1:])]
    return covered


def _check(clip: tuple, size: tuple, stride: tuple, cover: str) -> None:
    if len(size) != 3 or any(not 1 <= n <= most for n, most in zip(size, clip, strict=True)):
        raise ConfigError(f"A cuboid of {size} does not fit: frames, rows and columns go from 1 to those of the clip, {clip}.")
    if len(stride) != 3 or any(not 1 <= n <= most for n, most in zip(stride, size, strict=True)):
        raise ConfigError(f"A stride of {stride} leaves gaps or stands still: each number goes from 1 to that of the cuboid, {size}.")
    if cover not in COVERS:
        raise ConfigError(f"The cover is {cover!r}, but must be one of {', '.join(COVERS)}.")


def agreement(heat: np.ndarray, other: np.ndarray) -> float:
    """How far two heat maps of one clip rise and fall together: their correlation over all pixels and frames. Taught in notebook 04.

    Args:
        heat, other: float (frames, height, width).

    Returns:
        From -1 to 1; 0 where one of them is the same everywhere and so says nothing.
    """
    if not (heat.std() and other.std()):
        return 0.0
    return float(np.corrcoef(heat.ravel(), other.ravel())[0, 1])
