"""What a learner does: drags a slider, presses keys, trains and stops, clicks into a drawing, runs a cell again and again."""

import csv
from pathlib import Path

import pytest
from lab import PANEL, WIDGET_VIEW, cell, edit_cell, open_notebook, place_of, ran_until, run_all, run_cell, state
from playwright.sync_api import Locator, Page, expect

pytestmark = pytest.mark.browser
ACTIVE = "[kit.panel().content.activeCellIndex, kit.panel().content.mode]"


def on(name: str):
    """For a test of the notebook `name`, all of whose cells have run."""
    return pytest.mark.parametrize("ran", [name], indirect=True)


def changed(drawn: Locator, before: str = "") -> str:
    """What is drawn there, as HTML, once it differs from `before` and has come to rest."""
    now = ""
    for _ in range(100):
        earlier, now = now, drawn.inner_html()
        if now == earlier != before:
            return now
        drawn.page.wait_for_timeout(200)
    raise AssertionError("nothing changes")


@on("01_prepare_data")
def test_a_slider_is_dragged_and_moved_by_keyboard(ran: Page):
    output = cell(ran, "with_controls(draw, stride").locator(WIDGET_VIEW)
    handle, picture = output.locator(".noUi-handle").nth(1), output.locator(".widget-html").last
    first = changed(picture)
    handle.scroll_into_view_if_needed()
    box = handle.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    ran.mouse.move(x, y)
    ran.mouse.down()
    ran.mouse.move(x + 60, y, steps=6)
    ran.mouse.up()
    dragged = changed(picture, first)
    where = ran.evaluate(ACTIVE)
    handle.focus()
    ran.keyboard.press("ArrowLeft")
    assert changed(picture, dragged) != first, "back by one step, not to the start"
    assert picture.locator("img").evaluate("(e) => e.naturalWidth") > 0
    assert ran.evaluate(ACTIVE) == where, "the key belongs to the slider, not to JupyterLab"


@on("02_train")
def test_a_training_grows_and_is_stopped(ran: Page, home: Path):
    edit_cell(ran, "epochs: int", "epochs: int = 2", "epochs: int = 500")
    for words in ("epochs: int", "chosen = {"):
        run_cell(ran, words)
    run_cell(ran, "history = train(", wait=False)
    place = place_of(ran, "history = train(")
    shown = []
    ran_until(ran, lambda cells: _grown(shown, cells[place]["outputs"]) and len(_epochs(home)) >= 2, seconds=60)
    ran.locator(f"{PANEL} [data-command='notebook:interrupt-kernel']").click()
    ran_until(ran, lambda cells: cells[place]["count"] and not cells[place]["running"], seconds=60)
    assert ran.locator(".jp-Dialog").count() == 0
    run_cell(ran, "assert history and")  # an error would fail here
    assert 2 <= len(_epochs(home)) < 500


def _epochs(home: Path) -> list[dict]:
    """The history of the training that was asked for 500 epochs, as far as it is written."""
    return [row for history in (home / "runs").glob("*epochs500*/history.csv") for row in csv.DictReader(history.open(encoding="utf-8"))]


def _grown(shown: list, outputs: list) -> bool:
    """Whether what a training shows has changed twice since it began to show something."""
    if outputs and outputs not in shown:
        shown.append(outputs)
    return len(shown) >= 3


@pytest.fixture(scope="module")
def scratch(notebooks):
    """A function that writes a notebook of the given cells beside the course and gives its name."""
    import nbformat

    def write(name: str, *sources: str) -> str:
        written = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in sources])
        written.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
        nbformat.write(written, notebooks / name)
        return name

    return write


SQUARES = "".join(
    f'<rect data-choice="{name}" aria-label="the square {name}" x="{x}" y="{y}" width="40" height="40" fill="#0072B2"/>'
    for name, x, y in (("a", 0, 0), ("b", 50, 0), ("c", 0, 50), ("d", 50, 50))
)


def test_a_drawing_is_clicked_and_used_by_keyboard(page, server, scratch):
    drawing = f"from dn3dlib.show.controls import Clickable\ndrawing = Clickable(drawing='<svg width=\"100\" height=\"100\">{SQUARES}</svg>')\ndrawing"
    open_notebook(page, server, scratch("clickable.ipynb", drawing, "print(drawing.choice)"), token=True)
    run_all(page)
    cell(page, "Clickable(").locator("[data-choice]").first.wait_for()
    page.locator("[data-choice=b]").click()
    assert _chosen(page) == "b"
    page.locator("[data-choice=b]").click()
    where = page.evaluate(ACTIVE)
    for key, reached in (("ArrowDown", "d"), ("ArrowLeft", "c"), ("ArrowUp", "a"), ("ArrowRight", "b"), ("ArrowDown", "d")):
        page.keyboard.press(key)
        expect(page.locator(f"[data-choice={reached}]")).to_be_focused()
    expect(page.locator("[data-choice=b]")).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("Enter")
    expect(page.locator("[data-choice=d]")).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("Shift+Tab")
    expect(page.locator("[data-choice]:focus")).to_have_count(0)
    page.keyboard.press("Tab")
    expect(page.locator("[data-choice=d]")).to_be_focused()
    page.keyboard.press("ArrowUp")
    page.keyboard.press(" ")
    expect(page.locator("[data-choice=b]")).to_have_attribute("aria-pressed", "true")
    assert page.evaluate(ACTIVE) == where, "JupyterLab has not taken the keys for its own"
    page.locator("[data-choice=c]").click()
    assert _chosen(page) == "c"
    assert page.said == []


def _chosen(page: Page) -> str:
    """What the kernel knows."""
    run_cell(page, "print(drawing.choice)")
    return "".join(state(page)[-1]["outputs"][0]["text"]).strip()


def test_ten_runs_of_a_cell_leave_one_runs_widgets(page, server, scratch):
    """In the page: models of widgets and their views; in the kernel: comms."""
    sliders = "from dn3dlib.show import controls, figures\ncontrols.with_controls(lambda n: figures.bar_chart({'a': n}, 'things'), n=(1, 1, 3))"
    comms = "print(len(get_ipython().kernel.comm_manager.comms))"
    open_notebook(page, server, scratch("again.ipynb", sliders, comms), token=True)
    run_all(page)
    counted = _counted(page)
    assert min(counted) > 0
    for _ in range(10):
        run_cell(page, "with_controls")
    assert _counted(page) == counted
    assert page.locator(f"{PANEL} {WIDGET_VIEW}").count() == 1
    assert page.said == []


def _counted(page: Page) -> tuple[int, int]:
    run_cell(page, "comm_manager")
    return page.evaluate("kit.models()"), int("".join(state(page)[-1]["outputs"][0]["text"]))
