"""A training as it goes: a board with curves, figures and a stop button, or plain lines where no page is."""

import threading
import time
from collections.abc import Sequence

from IPython.display import HTML, display
from ipywidgets import Button

from dn3dlib.errors import ConfigError
from dn3dlib.show.bars import in_a_kernel
from dn3dlib.show.board import PANELS, Board, row_in_words
from dn3dlib.show.controls import close, heard_while_its_cell_runs, on_a_page, opened
from dn3dlib.train.observer import EVERY, Moment, Observer
from dn3dlib.train.runs import Run

_ENDINGS = {
    "finished": "Finished",
    "stopped": "Stopped: what was learned is saved, and `resume` of its folder goes on from there",
    "failed": "Ended by an error; the last good checkpoint is kept",
}
_STOPPING = "Stopping after this step…"


class LiveBoard(Observer):
    """Shows a training while it runs: `train(..., observers=(LiveBoard(),))`. Taught in notebook 02.

    On a page it draws at most twice a second; its button ■ Stop ends the training cleanly after the current step. Where a kernel
    gets no messages while a cell runs (ipykernel before 7, JupyterLab before 4.4), the ■ of the toolbar does the same. In
    the end the last picture stays as an ordinary output, which a saved notebook keeps. Without a page it prints a line for
    each epoch, and in a kernel, as under papermill, the last picture.
    """

    def __init__(self, against: Sequence[dict] = (), name: str = "an earlier run"):
        """`against`: the history of an earlier run (rows of `runs.COLUMNS`), drawn dashed and grey; `name`: what it is called. Other rows raise ConfigError."""
        columns = {column for panel in PANELS.values() for column in panel} | {"epoch"}
        if not isinstance(against, list | tuple) or not all(isinstance(row, dict) and columns <= set(row) for row in against):
            raise ConfigError(f"LiveBoard(against=…) is the history of a run, as Run.history() gives it, not {str(against)[:60]}.")
        self._against, self._name = against, name

    def start(self, run: Run, history: list[dict], stop: threading.Event) -> None:
        self._board = Board(run.train.epochs, len(run.classes), history, self._against, self._name, state="Starting: the first step takes longest")
        self._stop, self._drawn, self._picture = stop, float("-inf"), None
        if on_a_page():
            button = Button(description="■ Stop", tooltip="end the training cleanly after the current step", layout={"width": "max-content"})
            self._button = heard_while_its_cell_runs(opened(button))
            self._button.on_click(self._on_click)
            self._place = display(self._button, display_id=True)
            self._picture = display(self._bundle(), raw=True, display_id=True)

    def moment(self, moment: Moment) -> None:
        self._board.add(moment)
        self._redraw()

    def epoch(self, history: list[dict]) -> None:
        self._board.finish_epoch(history)
        if self._picture is None:
            print(row_in_words(history[-1]))
        self._redraw()

    def end(self, ending: str) -> None:
        self._board.state, self._board.moment = _ENDINGS[ending], None
        if self._picture is not None:
            close(self._button)
            self._place.update(HTML(""))  # a closed widget's place would say so in the saved notebook
            self._picture.update(self._bundle(), raw=True)
        elif in_a_kernel():
            display(self._bundle(), raw=True)

    def _redraw(self) -> None:
        now = time.monotonic()
        if self._picture is None or now - self._drawn < EVERY:
            return
        self._drawn = now
        self._board.state = _STOPPING if self._stop.is_set() else "Training"
        self._picture.update(self._bundle(), raw=True)

    def _bundle(self) -> dict[str, str]:
        return {"text/html": self._board.html(), "text/plain": "\n".join(self._board.words())}

    def _on_click(self, button: Button) -> None:
        """In another thread, while a step is computed: a flag is set, and the button says so."""
        self._stop.set()
        button.description, button.disabled = _STOPPING, True
