"""Controls in a notebook: sliders, boxes, lists and drawings to click. What a cell opened is closed when the cell runs again."""

import base64
import html
from collections.abc import Callable, Iterable
from pathlib import Path

import anywidget
import traitlets
from IPython import get_ipython
from ipywidgets import HTML, Checkbox, Dropdown, IntSlider, VBox, Widget

from dn3dlib.errors import Dn3dError

_opened: dict[str, tuple[str, list[Widget]]] = {}  # cell → the run of it that opened these widgets


class Clickable(anywidget.AnyWidget):
    """A drawing whose parts are chosen by mouse, or by Tab, the arrow keys and Enter.

    Args:
        drawing: SVG or HTML; a part to choose has `data-choice`, its name, and `aria-label`, what it is in words.
        choice: the name of the part that is chosen; observe it.
        words: below the drawing, read out by a screen reader when they change.
    """

    _esm = Path(__file__).with_name("clickable.js")
    _css = Path(__file__).with_name("clickable.css")
    drawing = traitlets.Unicode().tag(sync=True)
    choice = traitlets.Unicode().tag(sync=True)
    words = traitlets.Unicode().tag(sync=True)

    def __init__(self, **state: str):
        super().__init__(**state)
        opened(self)


def with_controls(draw: Callable, **controls: tuple[int, int, int] | bool | list) -> VBox:
    """A picture below sliders, boxes to tick and lists to choose from, drawn anew when one changes.

    No Output widget captures anything here: where a notebook runs without a browser, its messages back to the kernel
    are one thing more to wait for.

    Args:
        draw: takes a value for each control, by name; gives a `Picture` of `show.figures` or a `Drawing` of `show.svg`, or a tuple:
            tables or players as HTML, which stand above it, then the Picture or Drawing. What it raises stands above the last picture.
        controls: name → (value at the start, lowest, highest) for a slider of whole numbers, a bool for a box, or a list
            of the choices, the first of them chosen.

    Returns:
        A widget, for the end of a cell.
    """
    widgets = {name: control(name, start) for name, start in controls.items()}
    words, image = HTML(), HTML()  # not an Image: that has no place for words

    box = opened(VBox([*widgets.values(), words, image]))

    def redraw() -> None:
        shown = draw(**{name: widget.value for name, widget in widgets.items()})
        *tables, picture = shown if isinstance(shown, tuple) else (shown,)
        words.value = "".join(table.data for table in tables)
        image.value = image_html(*picture.file(), picture.alt)

    def tell(sentence: str) -> None:
        words.value = f"<b>{html.escape(sentence)}</b>"

    answer_to(widgets.values(), "value", redraw, tell)
    return box


def answer_to(controls: Iterable[Widget], trait: str, answer: Callable[[], None], tell: Callable[[str], None]) -> None:
    """Call `answer` now, and again whenever that trait of one of the controls changes; `tell` the sentence of its Dn3dError.

    Later it tells of every exception: nothing else on the page would say why the picture stays as it is. Now, in the running
    cell, any other is an error of the cell.
    """

    def again(_) -> None:
        try:
            answer()
        except Exception as error:
            tell(str(error) if isinstance(error, Dn3dError) else f"{type(error).__name__}: {error}")

    for control in controls:
        control.observe(again, trait)
    try:
        answer()
    except Dn3dError as error:
        tell(str(error))


def image_html(kind: str, data: bytes, alt: str, form: str = 'style="max-width:100%"') -> str:
    """A picture of a format such as png in the page, with words for who cannot see it. Decoded at once: nothing flickers when it changes."""
    source = base64.b64encode(data).decode("ascii")
    return f'<img src="data:image/{kind};base64,{source}" alt="{html.escape(alt)}" decoding="sync" {form}>'


def control(name: str, start: tuple[int, int, int] | bool | list) -> Widget:
    """A slider (followed while it is dragged), a box or a list, as `with_controls` describes them."""
    if isinstance(start, bool):
        return Checkbox(start, description=name)
    if isinstance(start, list):
        return Dropdown(options=start, description=name)
    return IntSlider(*start, description=name)


def opened(widget: Widget) -> Widget:
    """The same widget, noted as its cell's; what an earlier run of that cell opened is closed, with all that is in it.

    Else each run of a cell would leave its widgets, and the arrays that they draw from, in the kernel and in the page.
    Where the cell is not known, as without a page, nothing is noted.
    """
    cell, run = _cell_and_run()
    if cell:
        earlier, widgets = _opened.get(cell, ("", []))
        if earlier != run:
            for old in widgets:
                close(old)
            widgets = []
        _opened[cell] = run, [*widgets, widget]
    return widget


def close(widget: Widget) -> None:
    """Close a widget and all widgets in it: here, on the page, and whoever listens to it."""
    for name in widget.keys:
        value = getattr(widget, name)
        for part in value if isinstance(value, tuple | list) else (value,):
            if isinstance(part, Widget):
                close(part)
    widget.unobserve_all()
    widget.close()


def heard_while_its_cell_runs(widget: Widget) -> Widget:
    """The same widget, whose messages from the page may arrive while the cell that made it still runs, in another thread.

    JupyterLab sends them to a subshell, a thread of the kernel's own. ipykernel 7.4 sends them on to the shell from which it last
    spoke through this widget; here that is the running cell's, where they would wait for its end. Forgotten, the page's choice holds.
    """
    vars(widget.comm).pop("_reply_subshell_id", None)
    return widget


def on_a_page() -> bool:
    """Whether a page asked for what runs now, such as JupyterLab; papermill and nbval name no cell when they ask."""
    return bool(_cell_and_run()[0])


def _cell_and_run() -> tuple[str, str]:
    """The cell that runs now and which of its runs it is, as the page names them; empty where there is no page."""
    kernel = getattr(get_ipython(), "kernel", None)
    parent = kernel.get_parent() if kernel else {}
    return parent.get("metadata", {}).get("cellId") or "", parent.get("header", {}).get("msg_id", "")
