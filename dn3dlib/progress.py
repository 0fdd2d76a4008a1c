"""Progress bars with rate and time left, on standard error or as a widget in a notebook."""

import sys

from tqdm.auto import tqdm


def progress_bar(iterable=None, *, show: bool = True, **options) -> tqdm:
    """A tqdm bar; where nobody watches (a log file), it prints every ten seconds instead of twice a second."""
    watched = sys.stderr.isatty() or "ipykernel" in sys.modules
    return tqdm(iterable, disable=not show, mininterval=0.5 if watched else 10, dynamic_ncols=watched, **options)
