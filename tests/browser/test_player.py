"""The clip player in Chromium, in a page without kernel or network: what a learner presses, and the pixels that answer."""

import re
import time

import numpy as np
import pytest

from dn3dlib.show.players import play

pytestmark = pytest.mark.browser
# Copied first: Chromium warns of reading one canvas often.
PIXELS = """() => [...document.querySelectorAll('canvas')].map((canvas) => {
  const copy = new OffscreenCanvas(canvas.width, canvas.height).getContext('2d', { willReadFrequently: true });
  copy.drawImage(canvas, 0, 0);
  return [...copy.getImageData(0, 0, canvas.width, canvas.height).data];
})"""


def levels(count: int, size: int = 32) -> np.ndarray:
    """Frames of one grey each, ten steps apart."""
    return np.broadcast_to(np.uint8(10 + 10 * np.arange(count))[:, None, None, None], (count, size, size, 1)).copy()


@pytest.fixture
def opened(browser, tmp_path):
    """A function that opens a player in an empty page and gives the page inside its frame; nothing may go wrong in it."""
    pages, said = [], []

    def open_player(player):
        path = tmp_path / f"{len(pages)}.html"
        path.write_text(f"<!DOCTYPE html><meta charset='utf-8'>{player.data}", encoding="utf-8")
        page = browser.new_page()
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.goto(path.as_uri())
        pages.append(page)
        frame = page.query_selector("iframe").content_frame()
        frame.wait_for_function("media.complete || media.readyState >= 2")
        wait_for(lambda: frame.evaluate(PIXELS)[0][3] == 255)
        return frame

    yield open_player
    for page in pages:
        page.close()
    assert not said


def wait_for(condition, seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "nothing has changed"
        time.sleep(0.05)


def shown(frame) -> list[np.ndarray]:
    """The pixels of each clip, uint8 (height, width, 4)."""
    return [np.array(pixels, np.uint8).reshape(side := round((len(pixels) / 4) ** 0.5), side, 4) for pixels in frame.evaluate(PIXELS)]


def number(frame) -> int:
    return int(re.match(r"frame (\d+) of", frame.inner_text("#now"))[1])


def test_exact_pixels_frame_by_frame_by_button_and_by_key(opened):
    frames = np.random.default_rng(0).integers(0, 256, (5, 16, 16, 3), dtype=np.uint8)
    player = opened(play(frames, exact=True))
    for at in range(5):
        assert number(player) == at and np.array_equal(shown(player)[0][..., :3], frames[at])
        player.click("#on") if at < 2 else player.page.keyboard.press("ArrowRight")
    assert number(player) == 4, "the last frame stays"
    player.page.keyboard.press("Home")
    player.click("#back")
    assert number(player) == 0 and np.array_equal(shown(player)[0][..., :3], frames[0])
    player.page.keyboard.press("End")
    assert number(player) == 4 and np.array_equal(shown(player)[0][..., :3], frames[4])


def test_a_coded_film_stops_at_each_frame(opened):
    frames = levels(20)
    player = opened(play(frames, fps=25))
    player.focus("#time")
    for at in (0, 1, 7, 19, 13):
        player.fill("#time", str(at))
        wait_for(lambda at=at: abs(int(shown(player)[0][16, 16, 0]) - int(frames[at, 0, 0, 0])) < 4)
        assert number(player) == at
    assert player.get_attribute("#time", "aria-valuetext") == "frame 13 of 0 to 19, 0.52 seconds"


@pytest.mark.parametrize("exact", [False, True])
def test_clips_play_in_step_and_stop(opened, exact):
    clips = {"clip": levels(20), "map": levels(10, 16)}
    player = opened(play(clips, {"clip": 10, "map": 5}, exact=exact))
    player.click("#play")
    wait_for(lambda: number(player) >= 4)
    assert player.get_attribute("#play", "aria-label") == "pause"
    player.click("#play")
    assert player.get_attribute("#play", "aria-label") == "play"
    for _ in range(4):
        player.page.wait_for_timeout(300)
        at = number(player)
        clip, small = (int(pixels[8, 8, 0]) for pixels in shown(player))
        assert abs(clip - (10 + 10 * at)) < 5 and abs(small - (10 + 10 * (at // 2))) < 5
        player.click("#on")


@pytest.mark.parametrize("exact", [False, True])
def test_it_begins_again_at_the_end_or_stays(opened, exact):
    player = opened(play(levels(6), fps=10, exact=exact))
    player.page.keyboard.press("Tab")  # into the player
    player.focus("#time")
    player.page.keyboard.press(" ")
    seen = set()
    wait_for(lambda: (seen.add(number(player)), 5 in seen and number(player) < 3)[1])
    player.page.keyboard.press("l")
    assert player.get_attribute("#loop", "aria-pressed") == "false"
    wait_for(lambda: player.get_attribute("#play", "aria-label") == "play")
    assert number(player) == 5
    player.page.wait_for_timeout(300)
    assert abs(int(shown(player)[0][8, 8, 0]) - 60) < 4
    player.click("#stage")
    wait_for(lambda: number(player) < 5)  # from the beginning


@pytest.mark.parametrize("exact", [False, True])
def test_slow_motion_is_slower(opened, exact):
    player = opened(play(levels(24), fps=4, exact=exact))  # 6 seconds
    player.select_option("#speed", "0.1")
    player.click("#play")
    player.page.wait_for_timeout(1000)
    slow = number(player)
    for _ in range(4):
        player.page.keyboard.press("ArrowUp")
    assert player.input_value("#speed") == "2"
    player.page.wait_for_timeout(1000)
    assert slow <= 2 and number(player) - slow >= 3


def test_zoomed_clips_scroll_together(opened):
    player = opened(play({"clip": levels(3, 60), "map": levels(3, 15)}, exact=True))
    width = player.evaluate("views[0].canvas.getBoundingClientRect().width")
    player.click("#closer")
    player.page.keyboard.press("+")
    assert player.evaluate("views[0].canvas.getBoundingClientRect().width") == 3 * width
    assert player.evaluate("getComputedStyle(views[0].canvas).imageRendering") == "pixelated"
    before = player.evaluate("views.map(({ view }) => view.scrollLeft)")
    assert abs(before[0] - width) <= 1, "zooming keeps the middle"
    player.evaluate("views[0].view.scrollTo(90, 30)")
    player.wait_for_function("views[1].view.scrollLeft === 90 && views[1].view.scrollTop === 30")
    player.evaluate("views[0].view.focus()")
    at = number(player)
    player.page.keyboard.press("ArrowRight")
    player.wait_for_function("views[0].view.scrollLeft > 90 && views[1].view.scrollLeft > 90")
    assert number(player) == at, "the arrows of a zoomed picture scroll it"
    for _ in range(9):
        player.page.keyboard.press("-")
    assert player.evaluate("views[0].canvas.getBoundingClientRect().width") == width


def test_keys_do_not_reach_the_page_around(opened):
    player = opened(play(levels(3)))
    player.page.evaluate("window.pressed = []; window.addEventListener('keydown', (event) => window.pressed.push(event.key))")
    player.focus("#play")
    for key in (" ", "ArrowDown", "ArrowLeft", "l"):
        player.page.keyboard.press(key)
    assert player.page.evaluate("window.pressed") == []


def test_a_screen_reader_hears_names(opened):
    player = opened(play({"stored": levels(3), "moved": levels(3)}, label="two clips"))
    names = player.evaluate("[...document.querySelectorAll('button, input, select, canvas')].map((one) => one.getAttribute('aria-label'))")
    assert names[:2] == ["stored", "moved"] and all(names) and {"play", "one frame back", "one frame on", "loop"} < set(names)
    assert player.get_attribute("main", "aria-label") == "two clips"
    assert player.page.get_attribute("iframe", "title") == "player: two clips"
    assert player.page.query_selector("img") is None, "the still frames have made way"


def test_the_player_needs_no_second_scroll_bar(opened):
    for clips in (levels(3), {"a": levels(3), "b": levels(3), "c": levels(3)}, {str(n): levels(3, 80) for n in range(7)}):
        player = opened(play(clips))
        high, room, wide, across = player.evaluate(
            "[document.body.scrollHeight, innerHeight, document.body.scrollWidth, innerWidth]"
        )
        assert high <= room + 1 and wide <= across
