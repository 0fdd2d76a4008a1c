"""Players: clips as a film inside the notebook, to watch, stop, step and zoom; they need neither kernel nor network."""

import base64
import html
import io
import json
import math
import re
import tempfile
from dataclasses import dataclass
from numbers import Real
from pathlib import Path

import cv2
import numpy as np
from IPython.display import HTML
from PIL import Image

from dn3dlib.errors import ConfigError

MAX_BYTES = 100_000  # of a player, for each clip in it: a notebook holds several
SMALL, LARGE = 240, 400  # pixels: a picture narrower than the one is shown larger, one wider than the other is reduced
WIDEST = 880  # pixels of a row of clips
CONSTANT_RATE_FACTORS = (18, 23, 28, 33, 38, 43)  # of H.264, from fine to coarse: the first that fits is taken
_BLOCK = 16  # pixels: H.264 works in blocks of this size, which no two clips may share
_SHEET, _LONGEST = 8192, 16383  # pixels: the widest film and sheet of frames, which browsers still draw; the highest sheet, where WebP ends
_PAGE = Path(__file__).with_name("player.html")
_GAP, _WORDS, _BAR, _ONE_ROW = 6, 20, 64, 470  # pixels of the page: between clips, below each, for the controls, where these need no second row


@dataclass(frozen=True)
class _Clip:
    """One clip of a film: its frames, uint8 RGB (frames, height, width, 3), how many in a second, how large a pixel is shown."""

    label: str
    frames: np.ndarray
    fps: float
    scale: int = 1


def play(clips: np.ndarray | dict[str, np.ndarray], fps: float | dict[str, float] = 25.0, label: str = "", exact: bool = False) -> HTML:
    """A player for a few seconds of video, or for several clips in step: play, stop, scrub, frame by frame, speed, zoom. Taught in notebook 01.

    Everything works by mouse and by keyboard. Where scripts are not run (an untrusted notebook, a preview), its first, middle
    and last frame stand there instead.

    Args:
        clips: uint8 (frames, height, width, channels), with 1 (grey) or 3 (RGB) channels; (frames, height, width) is grey; or
            label → such an array, to see them side by side. A clip that ends before the others waits in its last frame.
        fps: frames shown in a second; below the video's own it is slow motion; label → fps where they differ, as those of a
            clip and of feature maps that have half its frames.
        label: what is seen, for who cannot see it; of one clip it stands below the picture as well.
        exact: every pixel as it is (WebP without loss), to look at pixels; else H.264, which is far smaller, and of clips wider
            than LARGE pixels a reduced picture.

    Returns:
        HTML that holds the frames once, in at most MAX_BYTES for each clip.

    Raises:
        ConfigError: other arrays, an impossible rate, more frames than fit.
    """
    film = _in_scale(_named(clips, fps, label) if exact else [_reduced(clip) for clip in _named(clips, fps, label)])
    label = label or ", ".join(clip.label for clip in film if clip.label) or f"a clip of {len(film[0].frames)} frames"
    rate = max(clip.fps for clip in film)
    ticks = max(math.ceil(len(clip.frames) / clip.fps * rate - 1e-9) for clip in film)
    joined, places = _joined(film, rate, ticks)
    columns = min(ticks, _SHEET // joined.shape[2])
    if not columns or math.ceil(ticks / columns) * joined.shape[1] > _LONGEST:
        raise ConfigError(f"{len(film)} clips of {ticks} frames, {joined.shape[2]} pixels wide beside each other, are too large for a player: show fewer, smaller ones.")
    still, limit = _still(joined), MAX_BYTES * len(film)
    facts = {
        "label": label, "video": not exact, "fps": rate, "ticks": ticks, "columns": columns,
        "width": joined.shape[2], "height": joined.shape[1],
        "clips": [{"label": c.label, "width": c.frames.shape[2], "height": c.frames.shape[1], "x": x, "scale": c.scale}
                  for c, x in zip(film, places, strict=True)],
    }  # fmt: skip
    room = limit - len(_page(facts, "", still, film))
    source = _sheet(joined, columns) if exact else _video(joined, rate, room)
    if len(source) > room:
        advice = "show fewer." if not exact else "show fewer, smaller ones, or without `exact`."
        raise ConfigError(f"{ticks} frames do not fit into a player of {limit // 1000} KB: {advice}")
    return HTML(_page(facts, source, still, film))


def mp4(frames: np.ndarray, fps: float, factor: int = 23) -> bytes:
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


def _named(clips, fps, label: str) -> list[_Clip]:
    """The clips as they are given, checked, each with its label and rate."""
    given = {str(name): frames for name, frames in clips.items()} if isinstance(clips, dict) else {label: clips}
    if not given:
        raise ConfigError("There is no clip to play: give at least one.")
    rates = {str(name): rate for name, rate in fps.items()} if isinstance(fps, dict) else dict.fromkeys(given, fps)
    if set(rates) != set(given):
        raise ConfigError(f"fps is for {', '.join(map(repr, rates))}, but the clips are {', '.join(map(repr, given))}.")
    for rate in rates.values():
        if not (isinstance(rate, Real) and not isinstance(rate, bool) and math.isfinite(rate) and rate > 0):
            raise ConfigError(f"fps is {rate!r}, but must be a positive number of frames in a second.")
    return [_Clip(name, _checked(frames), float(rates[name])) for name, frames in given.items()]


def _checked(frames) -> np.ndarray:
    """The frames in RGB."""
    found = np.asarray(frames)
    if found.ndim == 3:
        found = found[..., np.newaxis]
    if found.dtype != np.uint8 or found.ndim != 4 or found.shape[3] not in (1, 3) or 0 in found.shape:
        raise ConfigError(
            f"A player needs frames as uint8 (frames, height, width, 1 or 3), but these are {found.dtype} "
            f"{found.shape}: normalised clips are drawn by `frame_strips`, several clips are given as label → frames."
        )
    return np.broadcast_to(found, (*found.shape[:3], 3))


def _in_scale(film: list[_Clip]) -> list[_Clip]:
    """The clips in a size that can be watched: whole pixels, about as wide as the widest, so that maps match their clip."""
    widest = max(clip.frames.shape[2] for clip in film)
    target = widest * math.ceil(SMALL / widest)
    return [_Clip(clip.label, clip.frames, clip.fps, max(1, round(target / clip.frames.shape[2]))) for clip in film]


def _reduced(clip: _Clip) -> _Clip:
    height, width = clip.frames.shape[1:3]
    if width <= LARGE:
        return clip
    size = LARGE, max(2, round(height * LARGE / width))
    return _Clip(clip.label, np.stack([cv2.resize(frame, size, interpolation=cv2.INTER_AREA) for frame in clip.frames]), clip.fps)


def _joined(film: list[_Clip], rate: float, ticks: int) -> tuple[np.ndarray, list[int]]:
    """All clips side by side in the frames of one film, (ticks, height, width, 3), and where each begins, in pixels from the left."""
    up = [math.ceil(clip.frames.shape[2] / _BLOCK) * _BLOCK for clip in film]
    places = [sum(up[:number]) for number in range(len(film))]
    tall = max(clip.frames.shape[1] for clip in film)
    joined = np.zeros((ticks, tall + tall % 2, sum(up), 3), np.uint8)
    for clip, x, width in zip(film, places, up, strict=True):
        shown = np.minimum((np.arange(ticks) * clip.fps / rate + 1e-9).astype(int), len(clip.frames) - 1)
        pad = (0, 0), (0, joined.shape[1] - clip.frames.shape[1]), (0, width - clip.frames.shape[2]), (0, 0)
        joined[:, :, x : x + width] = np.pad(clip.frames[shown], pad, mode="edge")
    return joined, places


def _video(frames: np.ndarray, fps: float, room: int) -> str:
    """The frames as H.264, as fine as fits, for a page."""
    for factor in CONSTANT_RATE_FACTORS:
        source = _in_page("video/mp4", mp4(frames, fps, factor))
        if len(source) <= room:
            break
    return source


def _sheet(frames: np.ndarray, columns: int) -> str:
    """The frames beside and below each other in one picture without loss, for a page."""
    rows = math.ceil(len(frames) / columns)
    filled = np.concatenate([frames, np.zeros((rows * columns - len(frames), *frames.shape[1:]), np.uint8)])
    sheet = filled.reshape(rows, columns, *frames.shape[1:]).swapaxes(1, 2).reshape(rows * frames.shape[1], -1, 3)
    return _in_page("image/webp", _webp(sheet, lossless=True))


def _still(frames: np.ndarray) -> str:
    """The first, the middle and the last frame as one picture, for a page where nothing moves."""
    chosen = frames[sorted({0, len(frames) // 2, len(frames) - 1})]
    picture = np.concatenate(list(chosen), axis=1)
    if picture.shape[1] > 2 * WIDEST:
        picture = cv2.resize(picture, (2 * WIDEST, max(1, picture.shape[0] * 2 * WIDEST // picture.shape[1])), interpolation=cv2.INTER_AREA)
    return _in_page("image/webp", _webp(picture, quality=50))


def _webp(picture: np.ndarray, **options) -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "webp", method=4, **options)
    return file.getvalue()


def _in_page(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"


def _page(facts: dict, source: str, still: str, film: list[_Clip]) -> str:
    """The player as HTML for an output: a page of its own in a frame, so that neither keys nor styles get mixed up with the notebook's."""
    page = re.sub(r"\n\s*", "\n", _PAGE.read_text(encoding="utf-8"))
    # In a script, `</` would end it.
    page = page.replace("FILM", json.dumps(facts | {"source": source}).replace("<", "\\u003c"), 1)
    width, height = _size(film)
    name = html.escape(facts["label"])
    return (
        '<div style="display:grid;justify-items:start">'
        f'<img src="{still}" alt="{name}: first, middle and last frame" style="grid-area:1/1;max-width:100%">'
        f'<iframe sandbox="allow-scripts" title="player: {name}" width="{width}" height="{height}" onload="this.previousElementSibling?.remove()" '
        f'style="grid-area:1/1;border:0;border-radius:6px;max-width:100%;background:#1c1c1c" srcdoc="{html.escape(page)}"></iframe></div>'
    )


def _size(film: list[_Clip]) -> tuple[int, int]:
    """Width and height of the player, in pixels: its clips stand in rows of at most WIDEST."""
    rows, width, across = [], 0, 0
    for clip in film:
        tall, wide = (side * clip.scale for side in clip.frames.shape[1:3])
        if rows and across + _GAP + wide <= WIDEST:
            across, rows[-1] = across + _GAP + wide, max(rows[-1], tall)
        else:
            across = wide
            rows.append(tall)
        width = max(width, across)
    return max(width, 270) + 2 * _GAP, sum(rows) + len(rows) * (_WORDS + _GAP) + _BAR + 28 * (width < _ONE_ROW)
