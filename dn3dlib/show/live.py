"""A training as it goes: an observer for `train` that redraws one picture after each epoch. It computes nothing."""

from dn3dlib.show.results import training_curves


class LiveCurve:
    """Give it to `train(..., observers=(LiveCurve(),))`. Taught in notebook 02.

    In a notebook it redraws one figure in place, and the last one stays (papermill keeps it as well); elsewhere it
    prints a line for each epoch.
    """

    def __init__(self, classes: int | None = None):
        """`classes`: their number, to draw what guessing gives; None: not drawn."""
        self._classes = classes
        self._handle = None  # of the picture in the notebook, once there is one

    def __call__(self, history: list[dict]) -> None:
        """Show the history so far; rows of `runs.COLUMNS`."""
        if not history:
            return
        if not _in_notebook():
            print(_line(history[-1]))
            return
        from IPython.display import display

        picture = training_curves(history, self._classes)
        if self._handle is None:
            self._handle = display(picture, display_id=True)
        else:
            self._handle.update(picture)


def _in_notebook() -> bool:
    """Whether a Jupyter kernel runs this; IPython in a terminal has none and shows no pictures."""
    try:
        from IPython import get_ipython
    except ImportError:
        return False
    return getattr(get_ipython(), "kernel", None) is not None


def _line(row: dict) -> str:
    """One epoch in words; validation is left out where there is none."""
    text = f"epoch {row['epoch']}: loss {row['train_loss']:.3f}, clip accuracy {row['train_clip_accuracy']:.2f}"
    if row["validation_loss"] is None:
        return text
    return f"{text}; validation loss {row['validation_loss']:.3f}, sequence accuracy {row['validation_sequence_accuracy']:.2f}"
