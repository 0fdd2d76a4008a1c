"""Pictures of data."""

import io
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from dn3dlib.data.examples import make_examples
from dn3dlib.data.scan import scan_folder
from dn3dlib.errors import ConfigError
from dn3dlib.show import checks, figures


def ramp(count: int, height: int, width: int, channels: int = 1) -> np.ndarray:
    """Frames of one grey each, growing brighter."""
    values = np.linspace(20, 230, count).astype(np.uint8)
    return np.broadcast_to(values[:, None, None, None], (count, height, width, channels)).copy()


# Pictures


def row(subject="a", label="run", split="train", frames=50):
    return SimpleNamespace(subject=subject, label=label, split=split, frames=frames)


def pixels_of(picture) -> np.ndarray:
    bundle, metadata = picture._repr_mimebundle_()
    assert bundle["text/plain"] == f"<picture: {picture.alt}>"
    assert metadata["image/png"]["alt"] == picture.alt
    return np.asarray(Image.open(io.BytesIO(bundle["image/png"])).convert("RGB"))


def test_a_strip_draws_every_frame_with_its_number():
    picture = figures.frame_strip(ramp(6, 60, 80), numbers=range(0, 18, 3), title="a title")
    assert picture.alt == "a title: 1 strip of 6 frames"
    assert len(picture.figure.images) == 6
    assert [text.get_text() for text in picture.figure.texts] == ["a title", "", "0", "3", "6", "9", "12", "15"]
    assert len(np.unique(pixels_of(picture)[..., 0])) > 6


def test_strips_may_differ_in_length_size_and_colour():
    picture = figures.frame_strips({"one": ramp(3, 64, 64), "two": ramp(5, 200, 300, 3)})
    assert len(picture.figure.images) == 8
    assert "2 strips of 5 frames (one, two)" in picture.alt


def test_the_pixels_of_a_small_frame_are_not_blurred():
    frame = np.zeros((1, 64, 64, 1), np.uint8)
    frame[:, :, ::2] = 255
    assert set(np.unique(pixels_of(figures.frame_strip(frame)))) == {0, 255}


def test_zero_is_grey_in_a_normalised_clip():
    values = np.float32([[-9, 0], [0, 9]]).repeat(20, 0).repeat(20, 1)[None, ..., None]
    drawn = pixels_of(figures.frame_strip(values))
    assert {0, 127, 255} <= {int(v) for v in np.unique(drawn)}


@pytest.mark.parametrize("rows", [{}, {"x": np.zeros((4, 64, 64))}, {"x": np.zeros((4, 64, 64, 1), np.int64)}])
def test_a_strip_refuses_what_is_no_row_of_frames(rows):
    with pytest.raises(ConfigError):
        figures.frame_strips(rows)


def test_a_leak_is_named_in_the_chart_of_subjects():
    rows = [row("a"), row("a", split="test"), row("b"), row("c", split="test")]
    assert "3 subjects in 2 splits, 1 of them in more than one" in figures.split_by_subject(rows).alt
    assert "0 of them in more than one" in figures.split_by_subject(rows[1:]).alt


def test_charts_are_white_and_take_many_subjects():
    many = [row(f"person{n}", label=f"class{n % 3}", split=("train", "test")[n % 2], frames=10 + n) for n in range(200)]
    for picture in (figures.split_by_subject(many, "title"), figures.class_balance(many), figures.sequence_lengths(many, 16)):
        drawn = pixels_of(picture)
        assert drawn.shape[1] <= 920
        assert tuple(drawn[0, 0]) == (255, 255, 255)


def test_subjects_with_the_names_of_videos_leave_room_for_the_chart(recwarn):
    """matplotlib warns where labels squeeze a chart to nothing; in a notebook that is a red box."""
    videos = [row(f"running/person{n:02}_running_d1_uncomp", split=("train", "test")[n % 2]) for n in range(24)]
    pixels_of(figures.split_by_subject(videos, "title"))
    assert not recwarn.list


def test_the_diagram_shows_stride_and_hop():
    frames = np.array([0, 7, 10])[:, None] + 3 * np.arange(8)
    picture = figures.clip_diagram(frames, 32)
    axis = picture.figure.axes[0]
    assert {"stride 3", "hop 7"} <= {text.get_text() for text in axis.texts}
    assert all(np.array_equal(line.get_xdata(), numbers) for line, numbers in zip(axis.lines, frames, strict=False))
    pixels_of(figures.clip_diagram(np.zeros((1, 1), int), 1))


def test_the_gallery_shows_the_six_actions():
    picture = figures.action_gallery()
    assert len(picture.figure.images) == 36
    assert picture.figure.bbox.width <= 920
    assert len(picture.png()) < 150_000


# What is wrong with videos


def test_the_scan_table_shows_every_video_with_its_reason_and_its_frames(tmp_path):
    folder = make_examples(tmp_path / "examples") / "broken"
    rows = scan_folder(folder, workers=1)["videos"]
    picture = checks.scan_table(rows, folder)
    assert picture.alt.count(";") == 7 and "half.avi: truncated at frame 17 of 40" in picture.alt and "good.avi: sound" in picture.alt
    drawn = pixels_of(picture).astype(int)
    line = checks.THUMBNAIL[0] + 2 * figures.GAP
    assert len(drawn) == len(rows) * line
    heads = {row["video"]: drawn[n * line + 10 : n * line + 50, 10:70] for n, row in enumerate(rows)}
    assert abs(heads["good.avi"] - heads["good_copy.avi"]).mean() < 1
    assert heads["good.avi"].mean() < 180 < heads["nothing.avi"].mean(), "frames are darker than an empty field"


def test_a_timeline_has_a_bar_where_each_sequence_lies():
    picture = figures.timeline({"one": (0, 10), "two": (30, 40)}, "a video")
    assert picture.alt == "a video: one 0 to 10, two 30 to 40"
    bars = [(bar.get_x(), bar.get_width()) for bar in picture.figure.axes[0].patches]
    assert bars == [(0, 10), (30, 10)]


def test_a_bar_chart_names_its_numbers():
    picture = figures.bar_chart({"honest": 0, "leaky": 83}, "pairs")
    assert picture.alt == "bars, pairs: honest 0, leaky 83"
    assert [bar.get_width() for bar in picture.figure.axes[0].patches] == [0, 83]
    assert "83" in [text.get_text() for text in picture.figure.axes[0].texts]
