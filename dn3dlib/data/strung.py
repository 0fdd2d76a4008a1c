"""Several videos as one long video, of which is known when it shows what."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import accumulate
from pathlib import Path

import numpy as np

from dn3dlib.data.segments import Segment
from dn3dlib.data.video import header, iter_frames, write_frames
from dn3dlib.data.windows import USUAL_RATE, at_rate
from dn3dlib.errors import ConfigError


def string_together(parts: Sequence[tuple[Path, str | None]], out: Path, codec: str = "MJPG") -> tuple[Segment, ...]:
    """Write videos one after the other as one video, in the size and at the rate of the first. Taught in notebook 07.

    Args:
        parts: video and its class, None where it shows none of the classes.
        out: the new video; one that is there is replaced.
        codec: as `video.write_video` takes it; FFV1 is lossless.

    Returns:
        The truth: a segment for each part; neighbours of one class are one segment.

    Raises:
        ConfigError: no part.
        VideoError: a part cannot be read, or `out` not be written.
    """
    if not parts:
        raise ConfigError("There is no video to string together: give at least one, with its class.")
    first = header(parts[0][0])
    rate, size = first.fps or USUAL_RATE, (first.height - first.height % 2, first.width - first.width % 2)
    counts = [0] * len(parts)

    def frames() -> Iterator[np.ndarray]:
        for place, (path, _) in enumerate(parts):
            own = header(path).fps or rate
            read = ((number / own, frame) for number, frame in enumerate(iter_frames(path, height=size[0], width=size[1])))
            for _, frame in at_rate(read, rate, 1 / own):
                counts[place] += 1
                yield frame

    write_frames(out, frames(), rate, codec)
    ends = [end / rate for end in accumulate(counts)]
    truth: list[Segment] = []
    for start, end, (_, label) in zip([0.0, *ends], ends, parts, strict=False):
        if truth and truth[-1].label == label:
            truth[-1] = replace(truth[-1], end=end)
        else:
            truth.append(Segment(start, end, label))
    return tuple(truth)
