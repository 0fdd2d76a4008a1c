"""Progress bars with rate and time left: on standard error, or as whoever shows notebooks has them drawn."""

import sys

from tqdm.std import tqdm

_kind: type[tqdm] = tqdm


def draw_bars_as(kind: type[tqdm]) -> None:
    """From now on every bar is of this class.

    `dn3dlib.show` says so where a kernel runs: it imports from here, never the other way, and this way nobody who counts
    videos has to know of notebooks.
    """
    global _kind
    _kind = kind


def progress_bar(iterable=None, *, show: bool = True, **options) -> tqdm:
    """A tqdm bar; where nobody watches (a log file), it prints every ten seconds instead of twice a second."""
    watched = sys.stderr.isatty() or "ipykernel" in sys.modules
    return _kind(iterable, disable=not show, mininterval=0.5 if watched else 10, dynamic_ncols=watched, **options)


def say_beside_bars(line: str) -> None:
    """Print a line on standard error; a bar that stands there is drawn anew below it."""
    tqdm.write(line, file=sys.stderr)
