"""Sliders and drawings to click: they draw anew, and a cell that runs again leaves nothing of its earlier runs."""

import base64
import json
import re

import numpy as np
import pytest

from dn3dlib.errors import ConfigError
from dn3dlib.show import controls, figures
from dn3dlib.show.controls import with_controls

COUNT = """
import gc, ipywidgets, psutil
from IPython import get_ipython
gc.collect()
print(len(get_ipython().kernel.comm_manager.comms), psutil.Process().memory_info().rss // 1_000_000)
"""


def test_a_slider_draws_anew():
    drawn = []

    def draw(stride, hop):
        drawn.append((stride, hop))
        return figures.clip_diagram(np.array([[0, stride], [hop, hop + stride]]), 40)

    box = with_controls(draw, stride=(1, 1, 4), hop=(8, 1, 16))
    slider, _, _, image = box.children
    first = image.value
    slider.value = 3
    assert drawn == [(1, 8), (3, 8)]
    assert image.value != first
    data, alt = re.fullmatch(r'<img src="data:image/png;base64,(\S+)" alt="(.+)" decoding="sync" style=".+">', first).groups()
    assert base64.b64decode(data).startswith(b"\x89PNG") and "clip" in alt


def test_an_error_stands_in_a_sentence_and_the_next_move_draws_again():
    def draw(n):
        if n == 2:
            raise ConfigError("two <is> too many.")
        return figures.bar_chart({"a": 1 // (3 - n)}, "things")

    slider, words, image = with_controls(draw, n=(1, 1, 4)).children
    first = image.value
    slider.value = 2
    assert words.value == "<b>two &lt;is&gt; too many.</b>" and image.value == first
    slider.value = 3
    assert "ZeroDivisionError" in words.value and image.value == first, "no page shows a traceback then"
    slider.value = 4
    assert words.value == "" and image.value != first
    with pytest.raises(ZeroDivisionError):
        with_controls(draw, n=(3, 1, 4))


def test_closing_reaches_all_that_is_inside():
    box = with_controls(lambda n: figures.bar_chart({"a": n}, "things"), n=(1, 1, 3))
    inside = [box, box.layout, *box.children, *(child.layout for child in box.children)]
    assert all(widget.comm is not None for widget in inside)
    controls.close(box)
    assert all(widget.comm is None for widget in inside)


def test_ten_runs_of_a_cell_leave_one_runs_widgets(cell):
    """Each run would hold 40 MB if the widgets of the earlier ones were kept."""
    widget = """
    import numpy as np
    from dn3dlib.show import controls, figures
    def make():
        large = np.ones(5_000_000)
        return controls.with_controls(lambda n: figures.bar_chart({"a": int(large[n])}, "things"), n=(1, 1, 3))
    make()
    """
    cell(widget, "one")
    comms, memory = map(int, cell(COUNT).split())
    for _ in range(10):
        cell(widget, "one")
    after, grown = map(int, cell(COUNT).split())
    assert after == comms > 0
    assert grown < memory + 120, "megabytes"
    cell(widget, "two")
    assert int(cell(COUNT).split()[0]) == 2 * comms, "another cell's widgets stay"


def test_a_cell_that_fails_leaves_nothing_when_it_runs_again(cell):
    failing = """
    from dn3dlib.show import controls
    try:
        controls.with_controls(lambda n: 1 / 0, n=(1, 1, 3))
    except ZeroDivisionError:
        controls.Clickable(drawing="<svg/>")
    """
    cell(failing, "failing")
    comms = int(cell(COUNT).split()[0])
    for _ in range(5):
        cell(failing, "failing")
    assert int(cell(COUNT).split()[0]) == comms


def test_a_page_is_told_from_papermill(cell):
    ask = "from dn3dlib.show.controls import on_a_page; print(on_a_page())"
    assert cell(ask, "one").strip() == "True"
    assert cell(ask).strip() == "False"
    assert not controls.on_a_page()


def test_a_drawing_to_click_tells_what_was_chosen():
    drawing = controls.Clickable(drawing='<svg><rect data-choice="a" aria-label="the first"/></svg>')
    seen = []
    drawing.observe(lambda change: seen.append(change.new), "choice")
    drawing.set_state({"choice": "a"})  # what the page sends
    assert seen == ["a"]
    assert "Enter" in drawing.get_state()["_esm"] and json.dumps(drawing.get_state()["drawing"])
