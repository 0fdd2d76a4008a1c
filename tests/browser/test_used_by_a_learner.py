"""What a learner does: drags a slider, presses keys, trains and stops, clicks into a drawing, runs a cell again and again."""

import csv
import re
from pathlib import Path

import pytest
from lab import (
    PANEL,
    PICTURES,
    WIDGET_VIEW,
    cell,
    edit_cell,
    open_notebook,
    place_of,
    ran_until,
    run_all,
    run_cell,
    state,
)
from playwright.sync_api import Locator, Page, expect

pytestmark = pytest.mark.browser
LOSSES = "svg svg path[stroke='#0072B2'][stroke-width='2']"  # the board's curve of the training loss, then that of the accuracy
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
@pytest.mark.parametrize("stop", ["[data-command='notebook:interrupt-kernel']", "button:has-text('■ Stop')"], ids=["toolbar", "board"])
def test_a_training_grows_and_is_stopped(ran: Page, home: Path, stop: str):
    before = set((home / "runs").glob("*"))
    edit_cell(ran, "epochs: int", "epochs: int = 2 ", "epochs: int = 500 ")
    for words in ("epochs: int", "chosen = {"):
        run_cell(ran, words)
    run_cell(ran, "history = train(", wait=False)
    place = place_of(ran, "history = train(")
    board = cell(ran, "history = train(")
    ran_until(ran, lambda cells: len(_epochs(home, before)) >= 1 and board.locator(LOSSES).count(), seconds=60)
    points = _points(board)
    ran_until(ran, lambda cells: _points(board) > points + 1, seconds=60)  # the curve grows
    assert "learning rate" in board.inner_text() and "clips/s" in board.inner_text()
    ran.screenshot(path=PICTURES / f"training-{'board' if 'Stop' in stop else 'toolbar'}.png")
    ran.locator(f"{PANEL} {stop}").click()
    ran_until(ran, lambda cells: cells[place]["count"] and not cells[place]["running"], seconds=60)
    assert ran.locator(".jp-Dialog").count() == 0
    assert "Stopped" in board.inner_text() and board.locator("button:has-text('Stop')").count() == 0, "the board stays, its button goes"
    run_cell(ran, "assert history and")  # an error would fail here
    assert 2 <= len(_epochs(home, before)) < 500


def _epochs(home: Path, before: set[Path]) -> list[dict]:
    """The history of the run that was not there before, as far as it is written."""
    new = set((home / "runs").glob("*")) - before
    return [row for run in new for history in run.glob("history.csv") for row in csv.DictReader(history.open(encoding="utf-8"))]


def _points(board: Locator) -> int:
    """How many epochs the curve of the training loss shows."""
    return board.locator(LOSSES).first.get_attribute("d").count(",")


@on("01_prepare_data")
def test_a_clip_is_played_frame_by_frame(ran: Page):
    frame = cell(ran, "play(pixels, fps").locator("iframe")
    frame.scroll_into_view_if_needed()
    where, player, picture = ran.evaluate(ACTIVE), frame.content_frame, frame.screenshot()
    player.locator("#play").click()
    expect(player.locator("#now")).not_to_have_text(re.compile("^frame 0 "))
    ran.keyboard.press(" ")
    expect(player.get_by_role("button", name="play", exact=True)).to_be_visible()
    stopped = player.locator("#now").inner_text()
    assert frame.screenshot() != picture, "another picture is shown"
    for key in ("ArrowRight", "ArrowDown", "x", "b", "ArrowRight"):  # JupyterLab would cut a cell, make a new one
        ran.keyboard.press(key)
    number = int(re.match(r"frame (\d+)", stopped)[1])
    expect(player.locator("#now")).to_have_text(re.compile(f"^frame {min(number + 2, 49)} "))
    assert ran.evaluate(ACTIVE) == where, "JupyterLab has not taken the keys for its own"
    ran.screenshot(path=PICTURES / "player.png")


@on("04_look_inside")
def test_feature_maps_follow_the_time_slider(ran: Page):
    explorer = cell(ran, "explorer.feature_explorer(").locator(WIDGET_VIEW)
    picture, time = explorer.locator(".widget-html").last, explorer.locator(".noUi-handle").nth(2)
    first = changed(picture)
    time.scroll_into_view_if_needed()
    box = time.bounding_box()
    ran.mouse.move(box["x"] + 5, box["y"] + 5)
    ran.mouse.down()
    ran.mouse.move(box["x"] + 90, box["y"] + 5, steps=4)
    dragged = changed(picture, first)  # while the button is still held
    ran.mouse.up()
    unit = explorer.locator(".noUi-handle").nth(1)
    unit.focus()
    at_the_end = unit.get_attribute("aria-valuenow") == unit.get_attribute("aria-valuemax")
    ran.keyboard.press("ArrowLeft" if at_the_end else "ArrowRight")
    assert ", unit " in changed(picture, dragged)
    ran.screenshot(path=PICTURES / "feature-maps.png")


@on("04_look_inside")
def test_a_point_is_clicked_and_its_clip_plays(ran: Page):
    explorer = cell(ran, "explorer.embedding_explorer(").locator(WIDGET_VIEW)
    clicked_and_played(ran, explorer, explorer.locator("[data-choice][aria-pressed=false]").first, "plane")


@on("05_evaluate")
def test_a_cell_of_the_confusion_matrix_is_clicked_and_its_clips_play(ran: Page):
    explorer = cell(ran, "explorer.confusion_explorer(").locator(WIDGET_VIEW)
    full = explorer.locator("[data-choice][aria-pressed=false]").filter(has_text=re.compile(r"\d$"))
    clicked_and_played(ran, explorer, full.first, "matrix")
    assert explorer.locator("img[alt*=strip]").count() == 1, "and strips of several"
    empty = explorer.locator("[data-choice][aria-label*=': 0 of']").first
    empty.click()
    expect(explorer.get_by_text("no sequence")).to_be_visible()


@on("07_your_own_videos")
def test_a_segment_of_the_timeline_is_clicked_and_plays(ran: Page):
    explorer = cell(ran, "explorer.timeline_explorer(").locator(WIDGET_VIEW)
    first = explorer.locator("[data-choice]").first
    clicked_and_played(ran, explorer, explorer.locator("[data-choice][aria-pressed=false]").last, "timeline")
    first.click()
    ran.keyboard.press("ArrowRight")
    second = explorer.locator("[data-choice]").nth(1)
    expect(second).to_be_focused()
    ran.keyboard.press("Enter")
    expect(second).to_have_attribute("aria-pressed", "true")
    expect(explorer.locator("iframe")).to_have_attribute("title", f"player: {second.get_attribute('data-choice')}")


def clicked_and_played(page: Page, explorer: Locator, part: Locator, name: str) -> None:
    """Click a part of a drawing: another clip stands there, and it plays."""
    explorer.locator("iframe").wait_for()
    before, choice = explorer.locator("iframe").get_attribute("title"), part.get_attribute("data-choice")
    part.click()
    expect(explorer.locator(f"[data-choice='{choice}']")).to_have_attribute("aria-pressed", "true")
    expect(explorer.locator("iframe")).not_to_have_attribute("title", before)
    player = explorer.locator("iframe").content_frame
    player.locator("#play").click()
    expect(player.locator("#now")).not_to_have_text(re.compile("^frame 0 "))
    player.locator("#play").click()
    page.screenshot(path=PICTURES / f"{name}.png")


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
