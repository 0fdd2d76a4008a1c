"""The timeline of a video: every segment in its place, as high as it is certain, and it plays when it is chosen."""

import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest

from dn3dlib.data.segments import Segment
from dn3dlib.data.video import write_video
from dn3dlib.errors import ConfigError
from dn3dlib.evaluate.predict import Prediction
from dn3dlib.show import explorer
from dn3dlib.show.players import MAX_BYTES, play
from dn3dlib.show.timeline import clickable_timeline, segment_choice, timeline

CLASSES = ("boxing", "running", "walking")
FPS = 25.0


def prediction(*segments: Segment, frames: int = 200, classes=CLASSES, video=Path("long.avi")) -> Prediction:
    return Prediction(video, FPS, frames, classes, np.zeros(0, int), np.zeros((0, len(classes))), np.zeros(0), None, segments)


FOUND = (Segment(0, 3, "boxing", 1.0), Segment(3, 4, None, 0.25), Segment(4, 8, "walking", 0.5))


def parts(svg: str) -> dict[str, ElementTree.Element]:
    root = ElementTree.fromstring(svg)
    assert root.tag.endswith("svg") and root.get("aria-label")
    return {part.get("data-choice"): part for part in root.iter() if "data-choice" in part.attrib}


def track_and_bar(part) -> list[dict[str, float]]:
    rects = [rect for rect in part if rect.tag.endswith("rect")]
    return [{name: float(rect.get(name)) for name in ("x", "y", "width", "height")} for rect in rects]


def test_each_segment_stands_in_its_place_and_is_as_high_as_it_is_certain():
    drawn = parts(clickable_timeline(prediction(*FOUND)))
    assert list(drawn) == ["boxing 0.00–3.00 s", "none of these 3.00–4.00 s", "walking 4.00–8.00 s"]
    boxes = [track_and_bar(part) for part in drawn.values()]
    left, scale = boxes[0][0]["x"], (boxes[2][0]["x"] - boxes[0][0]["x"]) / 4
    for found, (track, bar) in zip(FOUND, boxes, strict=True):
        assert track["x"] == bar["x"] == pytest.approx(left + found.start * scale, abs=0.2)
        assert track["width"] == pytest.approx((found.end - found.start) * scale, abs=2)
        assert bar["height"] == pytest.approx(found.certainty * track["height"], abs=0.1)
        assert bar["y"] + bar["height"] == pytest.approx(track["y"] + track["height"], abs=0.1), "bars stand on one line"


def test_a_segment_says_in_words_what_it_is():
    drawn = parts(clickable_timeline(prediction(*FOUND)))
    assert [part.get("aria-label") for part in drawn.values()] == [
        "boxing, from 0.0 to 3.0 seconds, certainty 1.00",
        "none of these, from 3.0 to 4.0 seconds, certainty 0.25",
        "walking, from 4.0 to 8.0 seconds, certainty 0.50",
    ]
    assert timeline(prediction(*FOUND)).alt == "timeline of 8.0 s: boxing 0.0 to 3.0 s, none of these 3.0 to 4.0 s, walking 4.0 to 8.0 s"


def test_the_truth_stands_above_with_the_same_colours_and_is_not_chosen():
    true = (Segment(0, 4, "boxing"), Segment(4, 8, "falling"))
    svg = clickable_timeline(prediction(*FOUND), true)
    assert len(parts(svg)) == len(FOUND)
    titles = {title.text: group for group in ElementTree.fromstring(svg).iter() for title in group if title.tag.endswith("title")}
    above = titles["true: boxing, from 0.0 to 4.0 seconds"]
    fills = [rect.get("fill") for rect in above if rect.tag.endswith("rect")]
    assert fills[0] == [rect.get("fill") for rect in parts(svg)["boxing 0.00–3.00 s"] if rect.tag.endswith("rect")][1]
    assert "falling" in svg, "a true class that the network does not know has a colour, too"
    assert timeline(prediction(*FOUND), true).svg == svg


def test_of_many_classes_each_has_its_own_pair_of_colour_and_hatching():
    classes = tuple(f"class {n}" for n in range(40))
    found = [Segment(n, n + 1, name) for n, name in enumerate(classes)]
    svg = clickable_timeline(prediction(*found, frames=1000, classes=classes))
    patterns = re.findall(r"<pattern [^>]*id='class\d+'[^>]*>(.+?)</pattern>", svg)
    assert len(patterns) == len(set(patterns)) == 40
    assert float(ElementTree.fromstring(svg).get("height")) < 400, "the legend stands in rows"


def test_names_that_mean_something_in_html_stay_names():
    svg = clickable_timeline(prediction(Segment(0, 8, "<b>&'"), classes=("<b>&'",)), [Segment(0, 8, "<b>&'")])
    assert list(parts(svg)) == ["<b>&' 0.00–8.00 s"]


@pytest.mark.parametrize("seconds", [0.4, 8, 59, 3600, 50_000])
def test_the_axis_has_a_few_numbers_at_any_length(seconds):
    svg = clickable_timeline(prediction(Segment(0, seconds, "boxing"), frames=round(seconds * FPS)))
    root = ElementTree.fromstring(svg)
    numbers = [text.text for text in root.iter() if text.tag.endswith("text") and re.fullmatch(r"[\d.]+", text.text) and "." not in text.text]
    assert 1 <= len(numbers) <= 13 and numbers[0] == "0"


# --- it plays --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def video(tmp_path_factory) -> Path:
    """Twenty seconds whose brightness says the frame's place."""
    frames = np.broadcast_to(np.linspace(0, 250, 500).astype(np.uint8)[:, None, None], (500, 48, 64))
    path = tmp_path_factory.mktemp("timeline") / "long.avi"
    write_video(path, frames, FPS, "FFV1")
    return path


def inner(widget):
    """Of the timeline's explorer: the player, the drawing."""
    return widget.children[0].children


def test_it_begins_in_the_least_certain_segment_and_plays_what_is_chosen(video):
    player, drawing = inner(explorer.timeline_explorer(prediction(*FOUND, frames=500, video=video)))
    assert drawing.choice == "none of these 3.00–4.00 s" and drawing.words == "none of these 3.00–4.00 s, certainty 0.25"
    for found in (FOUND[0], FOUND[2]):
        drawing.set_state({"choice": segment_choice(found)})  # what the page sends
        frames, fps = explorer.segment_frames(video, FPS, found)
        assert player.value == play(frames, fps, segment_choice(found)).data
        assert len(frames) / fps == pytest.approx(found.end - found.start, abs=1 / fps), "the tempo stays"
        assert abs(int(frames[0].mean()) - found.start * FPS / 2) <= 1, "it begins where the segment does"
        assert found.name in drawing.words


def test_of_a_long_segment_its_beginning_plays_and_it_is_said(video):
    long = Segment(1, 20, "running")
    player, drawing = inner(explorer.timeline_explorer(prediction(long, frames=500, video=video)))
    assert drawing.words.endswith("its first 8 seconds play") and len(player.value) <= MAX_BYTES
    frames, fps = explorer.segment_frames(video, FPS, long)
    assert len(frames) / fps == pytest.approx(8, abs=1 / fps)


def test_a_wide_video_is_made_small(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (50, 60, 80), dtype=np.uint8).repeat(12, 1).repeat(12, 2)
    write_video(tmp_path / "wide.avi", noise, FPS)
    wide = Segment(0, 2, "running")
    frames, _ = explorer.segment_frames(tmp_path / "wide.avi", FPS, wide)
    assert frames.shape[1:] == (240, 320, 3)


def test_what_is_not_there_is_said(video, tmp_path):
    with pytest.raises(ConfigError, match="no segments of"):
        explorer.timeline_explorer(prediction(video=video))
    player, drawing = inner(explorer.timeline_explorer(prediction(*FOUND, video=tmp_path / "gone.avi")))
    assert "gone.avi does not exist" in drawing.words and not player.value
    player, drawing = inner(explorer.timeline_explorer(prediction(*FOUND, frames=500, video=video)))
    drawing.choice = "flying"
    assert "no segment 'flying' in this timeline" in drawing.words and not player.value
