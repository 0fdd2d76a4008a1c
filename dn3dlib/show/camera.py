"""A live label: what a camera, or a file in its place, shows, while the cell runs. The picture is the one that the network gets."""

import html
import threading
import time
from pathlib import Path

import cv2
import numpy as np
from IPython.display import HTML, display
from ipywidgets import Button

from dn3dlib.data.segments import NONE
from dn3dlib.errors import VideoError
from dn3dlib.evaluate.live import LiveLabel, predict_live
from dn3dlib.show.bars import in_a_kernel
from dn3dlib.show.controls import close, heard_while_its_cell_runs, image_html, on_a_page, opened
from dn3dlib.train.interrupt import stop_on_interrupt

_WIDE = 320  # pixels of the picture


def show_live(
    run_dir: Path, source: int | str | Path = 0, seconds: float = 20.0, instead: Path | None = None, device: str = "auto"
) -> list[LiveLabel]:
    """Show what a run's best network sees in a camera's picture, for so many seconds or until ■ Stop. Taught in notebook 07.

    Without a page, as under papermill, a line for each change is printed. The last picture stays as an ordinary output.

    Args:
        run_dir: the run.
        source: the camera's number, or a video file, which on a page plays as fast as it was filmed.
        seconds: after these it ends by itself.
        instead: a video file that is taken where there is no camera; None: then the VideoError is raised.
        device: auto, cpu, gpu:0 …

    Returns:
        What was seen, a label for each window.
    """
    try:
        labels = predict_live(run_dir, source, device=device)
    except VideoError as error:
        if instead is None:
            raise
        print(f"{error}. Here {Path(instead).name} stands for it.")
        source = instead
        labels = predict_live(run_dir, instead, device=device)
    stop, seen, board = threading.Event(), [], _LiveBoard()
    board.start(stop)
    started = time.monotonic()
    try:
        with stop_on_interrupt(stop):
            for label in labels:
                if on_a_page() and not isinstance(source, int):  # a file would be through at once
                    stop.wait(max(0.0, label.time - (time.monotonic() - started)))
                seen.append(label)
                board.show(label)
                if stop.is_set() or label.time >= seconds:
                    break
    finally:
        labels.close()
        board.end()
    return seen


class _LiveBoard:
    """The picture with its label, and the button; without a page lines."""

    def __init__(self):
        self._last, self._picture, self._said = None, None, ()

    def start(self, stop: threading.Event) -> None:
        if on_a_page():
            self._button = heard_while_its_cell_runs(opened(Button(description="■ Stop", tooltip="end the live label", layout={"width": "max-content"})))
            self._button.on_click(lambda _: stop.set())
            self._place = display(self._button, display_id=True)
            self._picture = display(HTML("Waiting for the first picture…"), display_id=True)

    def show(self, label: LiveLabel) -> None:
        self._last = label
        if self._picture is not None:
            self._picture.update(HTML(_html(label)))
        elif (label.label,) != self._said:
            self._said = (label.label,)
            print(_words(label))

    def end(self) -> None:
        if self._picture is not None:
            close(self._button)
            self._place.update(HTML(""))  # a closed widget's place would say so in the saved notebook
        elif self._last is not None and in_a_kernel():
            display(HTML(_html(self._last)))


def _html(label: LiveLabel) -> str:
    frame = label.frame
    size = _WIDE, max(1, round(frame.shape[0] * _WIDE / frame.shape[1]))
    large = cv2.resize(frame, size, interpolation=cv2.INTER_LINEAR)
    data = cv2.imencode(".jpg", large if large.ndim == 2 else cv2.cvtColor(large, cv2.COLOR_RGB2BGR), (cv2.IMWRITE_JPEG_QUALITY, 80))[1]
    words = _words(label)
    style = "background:#1c1c1c;color:white;font:600 18px sans-serif;padding:6px 8px"
    picture = image_html("jpeg", np.asarray(data).tobytes(), words, 'style="display:block;width:100%"')
    return f'<div style="width:{_WIDE}px">{picture}<div style="{style}" aria-live="polite">{html.escape(words)}</div></div>'


def _words(label: LiveLabel) -> str:
    return f"{label.time:.1f} s: {label.label or NONE}, certainty {label.certainty:.2f}"
