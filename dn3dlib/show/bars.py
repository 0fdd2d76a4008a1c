"""Progress bars in a notebook: plain HTML, which stays in the saved notebook and leaves no widget to close."""

import html

from IPython import get_ipython
from IPython.display import display
from tqdm.std import tqdm


def in_a_kernel() -> bool:
    """Whether a Jupyter kernel runs this, for a page, papermill or nbval; IPython in a terminal has none and shows no HTML."""
    return getattr(get_ipython(), "kernel", None) is not None


class HtmlBar(tqdm):
    """A tqdm bar that is one output of its cell: it is drawn anew in its place, and the last state stays."""

    monitor_interval = 0  # no thread of tqdm's draws: its messages would belong to no cell
    _handle = None  # of the output, once there is one: with `delay`, not before

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options, gui=True)  # gui: nothing is written to standard error
        if not self.disable and self.delay <= 0:
            self.refresh()

    def display(self, msg=None, pos=None) -> None:
        """Draw it as it stands; tqdm calls this when it is time."""
        shown = {"text/html": self._drawn(), "text/plain": "".join(self._words())}
        if self._handle is None:
            self._handle = display(shown, raw=True, display_id=True)
        else:
            self._handle.update(shown, raw=True)

    def close(self) -> None:
        """Draw the end; the rate is now that of the whole."""
        if self._handle is not None and not self.disable:
            self._ema_dt = lambda: None
            self.refresh()
        super().close()

    def _words(self) -> list[str]:
        """What tqdm writes before and behind its bar."""
        state = self.format_dict | {"bar_format": "{l_bar}<bar/>{r_bar}", "ncols": None}
        before, behind = self.format_meter(**state).split("<bar/>")
        return [before.rstrip("|"), behind.lstrip("|")]

    def _drawn(self) -> str:
        before, behind = (html.escape(words) for words in self._words())
        bar = f'<progress value="{self.n}" max="{self.total}" aria-label="{html.escape(self.desc)}"></progress>' if self.total else ""
        return f'<div style="font-family:monospace">{before} {bar}{behind}</div>'
