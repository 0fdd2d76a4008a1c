"""A stretch of a video and what it shows: what a prediction finds, and the truth that it is held against."""

from dataclasses import dataclass

NONE = "none of these"  # in place of a class, where none is certain enough


@dataclass(frozen=True)
class Segment:
    """A stretch of a video that shows one thing. Taught in notebook 07."""

    start: float  # seconds from the video's first frame
    end: float  # seconds; the next segment starts here
    label: str | None  # class name; None: none of the classes
    certainty: float = 1.0  # mean probability of the class; of None that of the likeliest class

    @property
    def name(self) -> str:
        """The label in words."""
        return NONE if self.label is None else self.label
