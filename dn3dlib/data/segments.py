"""Stretches of a video, each with what it shows: what a prediction finds, and the truth that it is held against."""

from collections.abc import Iterable
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Segment:
    """A stretch of a video that shows one thing. Taught in notebook 07."""

    start: float  # seconds from the video's first frame
    end: float  # seconds; the next segment starts here
    label: str | None  # class name; None: none of the classes
    certainty: float = 1.0  # probability of the label, the mean over the segment; of None that of the likeliest class


def merged(segments: Iterable[Segment]) -> tuple[Segment, ...]:
    """Segments in order, neighbours of one label made one; their certainty is the mean, weighted by their lengths in time."""
    found: list[Segment] = []
    for segment in segments:
        last = found[-1] if found else None
        if last and last.label == segment.label and last.end == segment.start:
            certain = (last.end - last.start) * last.certainty + (segment.end - segment.start) * segment.certainty
            found[-1] = replace(last, end=segment.end, certainty=certain / (segment.end - last.start))
        else:
            found.append(segment)
    return tuple(found)
