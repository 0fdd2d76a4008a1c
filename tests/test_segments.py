"""From windows to segments: rates, windows, smoothing, merging, the threshold, and how segments are scored. No network here."""

import threading
import weakref
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dn3dlib.config import ClipConfig, StorageConfig
from dn3dlib.data.acting import render_video
from dn3dlib.data.one_clip import clip_of_video
from dn3dlib.data.segments import Segment
from dn3dlib.data.strung import string_together
from dn3dlib.data.video import read_frames, write_video
from dn3dlib.data.windows import ahead, at_rate, cut_windows
from dn3dlib.errors import ConfigError, VideoError
from dn3dlib.evaluate.merging import certainties_of, segments_of
from dn3dlib.evaluate.threshold import chosen_threshold
from dn3dlib.metrics import frame_accuracy, segment_f1, smoothed

STORAGE = StorageConfig(height=8, width=8, encoding="png")


def numbered(count: int, rate: float = 25.0) -> list:
    return [(n / rate, np.full((8, 8, 1), n % 256, np.uint8)) for n in range(count)]


def numbers_at(count: int, own: float, rate: float) -> list[int]:
    return [number for number, _ in at_rate(numbered(count, own), rate, 1 / own)]


# --- rates -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("own", "rate", "wanted"),
    [
        (25, 25, [0, 1, 2, 3, 4, 5]),
        (50, 25, [0, 2, 4]),
        (10, 25, [0, 0, 1, 1, 2, 2, 2, 3, 3, 4, 4, 4, 5, 5]),
    ],
)
def test_frames_are_taken_at_the_rate_asked_for(own, rate, wanted):
    found = numbers_at(6, own, rate)
    assert found[: len(wanted)] == wanted and abs(len(found) - 6 * rate / own) <= 1


@given(st.integers(1, 60), st.floats(3, 120), st.floats(3, 120))
def test_each_is_the_nearest_in_time(count, own, rate):
    found = np.array(numbers_at(count, own, rate))
    off = np.abs(found / own - np.arange(len(found)) / rate)
    assert len(found) and found[0] == 0 and (off <= 0.5 / own + 1e-6).all()
    assert abs(len(found) / rate - count / own) <= 1 / rate + 0.5 / own + 1e-6, "the video lasts as long"


# --- windows ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("frames", "hop", "wanted"), [(16, 8, [0]), (15, 8, []), (17, 8, [0, 1]), (32, 8, [0, 8, 16]), (33, 8, [0, 8, 16, 17]), (20, 1, [0, 1, 2, 3, 4])]
)
def test_windows_start_at_the_hop_and_one_ends_with_the_last_frame(frames, hop, wanted):
    clip = ClipConfig(frames=16)
    found = list(cut_windows(((n, frame) for n, (_, frame) in enumerate(numbered(frames))), STORAGE, clip, hop, 2, 0))
    assert [start for windows in found for start in windows.starts] == wanted
    for windows in found:
        assert len(windows.starts) <= 2 and windows.numbers.tolist() == windows.starts.tolist()
        assert (windows.clips[:, :, 0, 0, 0] == windows.starts[:, None] + np.arange(16)).all()


@pytest.mark.parametrize("order", ["forward", "reversed", "shuffled", "frozen"])
def test_a_window_is_the_clip_that_evaluation_would_cut(tmp_path, order):
    path, clip = tmp_path / "walk.avi", ClipConfig(frames=5, stride=3, hop=4, frame_order=order)
    write_video(path, render_video("walking", 1, 1, frames=30), 25)
    storage = StorageConfig(height=32, width=40)
    frames = enumerate(read_frames(path, height=32, width=40, channels=1))
    (windows,) = cut_windows(frames, storage, clip, 4, 100, 7)
    for start, frames in zip(windows.starts, windows.clips, strict=True):
        np.testing.assert_array_equal(frames, clip_of_video(path, storage, clip, int(start), 7).frames)


def test_frames_do_not_pile_up():
    alive, most = [], 0

    class Frame(np.ndarray):
        pass

    def frames():
        nonlocal most
        for number in range(500):
            frame = np.zeros((8, 8, 1), np.uint8).view(Frame)
            alive.append(number)
            weakref.finalize(frame, alive.remove, number)
            most = max(most, len(alive))
            yield number / 25, frame

    count = 0
    for windows in ahead(cut_windows(at_rate(frames(), 25, 1 / 25), STORAGE, ClipConfig(frames=16), 8, 4, 0)):
        count += len(windows.starts)
    assert count == 62 and most <= 4, "frames are stored in windows, and these come a few at a time"


def test_items_are_made_ahead_in_another_thread_and_errors_come_in_their_place():
    made, second = [], threading.Event()

    def items():
        for number in range(3):
            made.append(threading.current_thread())
            if number == 1:
                second.set()
            yield number
        raise VideoError("broken", "empty")

    found = ahead(items())
    assert next(found) == 0
    assert second.wait(10), "made before it was asked for"
    assert [next(found), next(found)] == [1, 2] and threading.main_thread() not in made
    with pytest.raises(VideoError, match="broken"):
        next(found)


def test_who_stops_asking_leaves_no_thread():
    before = threading.active_count()
    found = ahead(iter(range(1000)))
    assert next(found) == 0
    found.close()
    assert threading.active_count() == before


# --- smoothing and merging -------------------------------------------------------------------------------------------


def test_smoothing_weighs_by_common_frames():
    probabilities = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    found = smoothed(probabilities, np.array([0, 8, 16]), 16)
    np.testing.assert_allclose(found, [[1 / 1.5, 0.5 / 1.5], [1 / 2, 1 / 2], [1 / 1.5, 0.5 / 1.5]])
    np.testing.assert_allclose(smoothed(probabilities, np.array([0, 16, 32]), 16), probabilities, err_msg="no common frame")
    np.testing.assert_allclose(smoothed(probabilities[:1], np.array([0]), 16), probabilities[:1])


def test_at_a_cut_between_two_actions_the_windows_are_still_certain():
    probabilities, starts = np.repeat([[0.99, 0.01], [0.01, 0.99]], 4, axis=0), np.arange(8) * 4
    assert smoothed(probabilities, starts, 16).max(axis=1).min() < 0.7
    assert certainties_of(probabilities, starts, 16).min() > 0.98


def segments(labels: str, certain: float = 0.9, threshold: float | None = None, least: float = 0.0) -> str:
    """Each letter a window of one second: a, b, c classes, a dot one that nobody knows; gives `a0-3 …`."""
    classes = "abc"
    probabilities = np.array([[certain if name == letter else (1 - certain) / 2 for name in classes] if letter != "." else [0.34, 0.33, 0.33] for letter in labels])
    found = segments_of(probabilities, probabilities.max(axis=1), np.arange(len(labels) + 1.0), tuple(classes), threshold, least)
    assert found[0].start == 0 and found[-1].end == len(labels)
    assert all(one.end == other.start and one.label != other.label for one, other in zip(found, found[1:], strict=False))
    return " ".join(f"{s.label or '.'}{s.start:g}-{s.end:g}" for s in found)


def test_windows_of_one_label_are_one_segment():
    assert segments("aaabbc") == "a0-3 b3-5 c5-6"
    assert segments("aaa..bb", threshold=0.5) == "a0-3 .3-5 b5-7"
    assert segments("aaa..bb") == "a0-5 b5-7", "without a threshold each window has a class"
    assert segments("aabb", certain=0.4, threshold=0.5) == ".0-4"


def test_what_is_too_short_goes_to_its_neighbours():
    assert segments("aaacbbb", least=2) == "a0-3 b3-7"
    assert segments("aaaccbbb", least=3) == "a0-4 b4-8", "half and half"
    assert segments("aaabaaa", least=2) == "a0-7"
    assert segments("caaa", least=2) == "a0-4" and segments("aaac", least=2) == "a0-4"
    assert segments("aaa.bbb", least=2, threshold=0.5) == "a0-3 b3-7"
    assert segments("aaa...bbb", least=2, threshold=0.5) == "a0-3 .3-6 b6-9"
    assert segments("a", least=9) == "a0-1"


def test_a_segments_certainty_is_the_mean_over_its_time():
    probabilities = np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8]])
    first, second = segments_of(probabilities, probabilities.max(axis=1), np.array([0.0, 1.0, 4.0, 5.0]), ("a", "b"), None, 0.0)
    assert first == Segment(0.0, 4.0, "a", pytest.approx((0.9 + 3 * 0.6) / 4)) and second.certainty == pytest.approx(0.8)


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=200))
def test_the_threshold_keeps_as_many_as_promised(rows):
    certainties, right = np.array([row[0] for row in rows]), np.array([row[1] for row in rows])
    threshold = chosen_threshold(certainties, right)
    if not right.any():
        assert threshold is None
    else:
        assert (certainties[right] >= threshold).mean() >= 0.95
        higher = np.unique(certainties[right][certainties[right] > threshold])
        assert not len(higher) or (certainties[right] >= higher[0]).mean() < 0.95 + 1 / right.sum(), "none much higher keeps so many"


# --- scores ----------------------------------------------------------------------------------------------------------


def told(text: str) -> list[Segment]:
    """`a0-3 .3-5` as segments."""
    parts = [(word[0], *map(float, word[1:].split("-"))) for word in text.split()]
    return [Segment(start, end, None if label == "." else label) for label, start, end in parts]


@pytest.mark.parametrize(
    ("found", "truth", "accuracy", "f1"),
    [
        ("a0-4 b4-8", "a0-4 b4-8", 1.0, 1.0),
        ("a0-8", "a0-4 b4-8", 0.5, 2 / 3),  # a overlaps its own by half: right; b is missed
        ("a0-3 b3-8", "a0-4 b4-8", 7 / 8, 1.0),  # bounds count for little
        ("a0-2 b2-3 a3-4 b4-8", "a0-4 b4-8", 7 / 8, 4 / 6),  # a in pieces, of which the first is half of it
        ("b0-4 a4-8", "a0-4 b4-8", 0.0, 0.0),
        (".0-4 b4-8", ".0-4 b4-8", 1.0, 1.0),
        (".0-8", ".0-4 b4-8", 0.5, 0.0),
        (".0-8", ".0-8", 1.0, 0.0),
    ],
)
def test_scores_by_hand(found, truth, accuracy, f1):
    assert frame_accuracy(told(found), told(truth)) == pytest.approx(accuracy)
    assert segment_f1(told(found), told(truth)) == pytest.approx(f1)


def test_the_least_overlap_can_be_chosen():
    assert segment_f1(told("a0-4"), told("a0-5"), 0.8) == 1.0
    assert segment_f1(told("a0-4"), told("a0-5"), 0.81) == 0.0


def test_scores_take_anything_with_bounds_and_a_label():
    one = [SimpleNamespace(start=0, end=1, label="a")]
    assert frame_accuracy(one, one) == segment_f1(one, one) == 1.0


# --- strings ---------------------------------------------------------------------------------------------------------


def test_videos_are_strung_together_and_the_truth_is_known(tmp_path, numbered_video):
    parts = [(numbered_video(tmp_path / f"{n}.avi", frames, first), label) for n, (frames, first, label) in enumerate([(10, 0, "a"), (5, 50, "a"), (20, 100, None)])]
    truth = string_together(parts, tmp_path / "all.avi", "FFV1")
    assert truth == (Segment(0.0, 0.6, "a"), Segment(0.6, 1.4, None)), "neighbours of one class are one segment"
    shown = read_frames(tmp_path / "all.avi", channels=1)[:, 0, 0, 0]
    assert shown.tolist() == [*range(10), *range(50, 55), *range(100, 120)]


def test_another_size_and_rate_follow_the_first(tmp_path, numbered_video):
    first = numbered_video(tmp_path / "first.avi", 10)
    write_video(tmp_path / "fast.avi", np.full((20, 64, 48), 200, np.uint8), 50, "FFV1")
    truth = string_together([(first, "a"), (tmp_path / "fast.avi", "b")], tmp_path / "all.avi", "FFV1")
    assert truth[1] == Segment(0.4, 0.8, "b")
    assert read_frames(tmp_path / "all.avi").shape == (20, 32, 32, 3)


def test_what_cannot_be_strung_is_refused_and_leaves_nothing(tmp_path, numbered_video):
    with pytest.raises(ConfigError, match="at least one"):
        string_together([], tmp_path / "all.avi")
    (tmp_path / "text.avi").write_text("no video")
    with pytest.raises(VideoError, match="no video stream"):
        string_together([(numbered_video(tmp_path / "one.avi", 3), "a"), (tmp_path / "text.avi", "b")], tmp_path / "all.avi")
    assert {path.name for path in tmp_path.iterdir()} == {"one.avi", "text.avi"}
