"""Players: frames as a video inside the notebook, to watch, stop and scrub; they need neither kernel nor network."""

import base64
import html
import math
import tempfile
from pathlib import Path

import cv2
import numpy as np
from IPython.display import HTML

from dn3dlib.errors import ConfigError

MAX_BYTES = 100_000  # of one video: a notebook holds several
SMALL, LARGE = 240, 400  # pixels: a picture narrower than the one is enlarged, wider than the other reduced
CONSTANT_RATE_FACTORS = (23, 28, 33, 38, 43)  # of H.264, from fine to coarse: the first that fits is taken


def play(frames: np.ndarray, fps: float = 25.0, label: str = "") -> HTML:
    """A player for a few seconds of video: play, stop, scrub, by mouse or keyboard. Taught in notebook 01.

    Args:
        frames: uint8 (frames, height, width, channels), with 1 (grey) or 3 (RGB) channels; (frames, height, width) is grey.
        fps: frames shown in a second; below the video's own it is slow motion.
        label: what is seen, below the picture and for screen readers.

    Returns:
        HTML that holds the video, H.264, in at most MAX_BYTES.

    Raises:
        ConfigError: another array, an impossible rate, more frames than fit.
    """
    frames = _checked(frames)
    if not (isinstance(fps, int | float) and math.isfinite(fps) and fps > 0):
        raise ConfigError(f"fps is {fps!r}, but must be a positive number of frames in a second.")
    shown = _in_size(frames)
    data = base64.b64encode(_encoded(shown, fps)).decode("ascii")
    name = html.escape(label or f"a clip of {len(frames)} frames", quote=True)
    height, width = shown.shape[1:3]
    return HTML(
        f'<figure style="display:inline-block;margin:4px"><video controls loop muted playsinline width="{width}" '
        f'height="{height}" aria-label="{name}" title="{name}" src="data:video/mp4;base64,{data}"></video>'
        f'<figcaption style="text-align:center">{html.escape(label)}</figcaption></figure>'
    )


def side_by_side(*players: HTML) -> HTML:
    """Several players of `play` in one row, which breaks where the page is too narrow."""
    return HTML('<div style="display:flex;flex-wrap:wrap">' + "".join(player.data for player in players) + "</div>")


def _checked(frames) -> np.ndarray:
    """The frames with a channel axis."""
    found = np.asarray(frames)
    if found.ndim == 3:
        found = found[..., np.newaxis]
    if found.dtype != np.uint8 or found.ndim != 4 or found.shape[3] not in (1, 3) or 0 in found.shape:
        raise ConfigError(
            f"A player needs frames as uint8 (frames, height, width, 1 or 3), but these are {found.dtype} "
            f"{np.shape(frames)}: normalised clips are drawn by `frame_strips`."
        )
    return found


def _in_size(frames: np.ndarray) -> np.ndarray:
    """RGB frames of a size that can be watched, with even sides, which H.264 needs."""
    height, width = frames.shape[1:3]
    if width > LARGE:
        height, width = max(2, round(height * LARGE / width)), LARGE
        frames = np.stack([cv2.resize(f, (width, height), interpolation=cv2.INTER_AREA).reshape(height, width, -1) for f in frames])
    factor = math.ceil(SMALL / width)
    frames = frames.repeat(factor, axis=1).repeat(factor, axis=2)  # whole pixels stay whole
    odd = [(0, side % 2) for side in frames.shape[1:3]]
    return np.pad(np.broadcast_to(frames, (*frames.shape[:3], 3)), ((0, 0), *odd, (0, 0)), mode="edge")


def _encoded(frames: np.ndarray, fps: float) -> bytes:
    """The frames as an MP4 file that fits into a notebook."""
    for factor in CONSTANT_RATE_FACTORS:
        data = mp4(frames, fps, factor)
        if len(data) <= MAX_BYTES * 3 // 4:  # base64 writes three bytes as four letters
            return data
    raise ConfigError(f"{len(frames)} frames do not fit into a player of {MAX_BYTES // 1000} KB: show fewer.")


def mp4(frames: np.ndarray, fps: float, factor: int = CONSTANT_RATE_FACTORS[0]) -> bytes:
    """Frames as an MP4 file that browsers play, H.264, with a key frame every 12, so that scrubbing answers at once.

    Args:
        frames: uint8 RGB (frames, height, width, 3), height and width even.
        fps: frames shown in a second.
        factor: constant rate factor; the larger, the coarser and smaller.
    """
    import imageio.v3 as imageio

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip.mp4"
        imageio.imwrite(
            path, frames, plugin="FFMPEG", fps=fps, codec="libx264", pixelformat="yuv420p", macro_block_size=2,
            quality=None, ffmpeg_log_level="error",
            output_params=["-crf", str(factor), "-g", "12", "-movflags", "+faststart", "-threads", "1"],
        )  # fmt: skip
        return path.read_bytes()
