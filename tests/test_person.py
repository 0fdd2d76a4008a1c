"""The box that follows the moving person, on drawn people whose place is known."""

import cv2
import numpy as np
import pytest

from dn3dlib.config import ClipConfig, StorageConfig
from dn3dlib.data import acting
from dn3dlib.data.kth import kth_catalog
from dn3dlib.data.manifest import DataSet
from dn3dlib.data.one_clip import clip_of_video
from dn3dlib.data.person import REACH, follow_motion
from dn3dlib.data.prepare import prepare
from dn3dlib.data.records import FrameReader
from dn3dlib.data.synthetic import make_synthetic
from dn3dlib.data.video import iter_boxes, iter_frames, read_frames, write_video
from dn3dlib.errors import ConfigError, VideoError
from dn3dlib.show.person import draw_boxes, play_person

SLACK = 2  # pixels by which a hand or a foot may reach beyond the box
STORAGE = StorageConfig(height=64, width=64, channels=1, follow="motion", encoding="png")


class Recorder(acting._Pen):
    """A pen that notes where it has drawn."""

    def limb(self, start, end, radii, grey):
        ends = ((self.foot[0] + self.facing * x * self.scale, self.foot[1] - y * self.scale) for x, y in (start, end))
        for (x, y), radius in zip(ends, (radius * self.scale for radius in radii), strict=True):
            drawn[-1].append((x - radius, y - radius, x + radius, y + radius))
        super().limb(start, end, radii, grey)


drawn: list[list[tuple]] = []  # of each frame the limbs: left, top, right, bottom


def truth() -> np.ndarray:
    """The box of each frame's figure, float (frames, 4)."""
    limbs = [np.array(frame) for frame in drawn]
    return np.array([[*frame[:, :2].min(axis=0), *frame[:, 2:].max(axis=0)] for frame in limbs])


def filmed(action: str, monkeypatch, subject: int = 1, scenario: int = 1) -> np.ndarray:
    """The kit's own drawn video, uint8 (frames, 120, 160): the camera goes with who walks."""
    drawn.clear()

    def pen(*arguments):
        drawn.append([])
        return Recorder(*arguments)

    monkeypatch.setattr(acting, "_Pen", pen)
    return acting.render_video(action, subject, scenario, frames=80)


def at_a_distance(action: str, way: tuple[float, float], frames: int = 100, tall: int = 70) -> np.ndarray:
    """A small figure before a camera that stands, uint8 (frames, 240, 320); its feet go from one share of the width to another."""
    drawn.clear()
    act, actor, rng = acting.performance(action, 3, 1), acting._actor(3, 0, 1), np.random.default_rng(0)
    meadow = cv2.GaussianBlur(rng.integers(60, 255, (240, 320)).astype(np.uint8), (0, 0), 2)
    video = np.empty((frames, 240, 320), np.uint8)
    for number in range(frames):
        drawn.append([])
        picture = meadow.copy()
        foot = (320 * (way[0] + (way[1] - way[0]) * number / frames), 200)
        pose = acting.POSES[action](act.start + act.cadence * number, act, actor)
        acting._draw(Recorder(picture, foot, tall, 1 if way[1] >= way[0] else -1, 1.0), pose, actor, action.startswith("hand"))
        video[number] = np.clip(picture + rng.normal(0, 2, picture.shape), 0, 255)
    return video


def found(video: np.ndarray, height: int = 64, width: int = 64) -> list:
    return [box for _, box in follow_motion((cv2.cvtColor(frame, cv2.COLOR_GRAY2BGR) for frame in video), height, width)]


def held(boxes: list, figures: np.ndarray) -> float:
    """The share of frames whose box holds the figure."""
    beyond = [max(b[0] - f[0], b[1] - f[1], f[2] - b[2], f[3] - b[3]) for b, f in zip(boxes, figures, strict=True)]
    return float(np.mean(np.array(beyond) <= SLACK))


# --- where it is -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scenario", [1, 2, 4])  # outdoors, with a camera that zooms, indoors
@pytest.mark.parametrize("action", acting.CLASSES)
def test_the_box_holds_the_drawn_person_though_the_camera_moves(action, scenario, monkeypatch):
    video = filmed(action, monkeypatch, subject=scenario, scenario=scenario)
    assert held(found(video), truth()) >= 0.95


@pytest.mark.parametrize("action, way, size", [("walking", (0.2, 0.8), (64, 64)), ("jogging", (0.85, 0.1), (64, 80)), ("running", (0.05, 0.95), (128, 64))])
def test_the_box_goes_with_a_person_who_crosses_the_picture(action, way, size):
    video = at_a_distance(action, way)
    boxes, figures = found(video, *size), truth()
    assert held(boxes, figures) >= 0.95
    left, top, right, bottom = np.array(boxes).T
    assert left.min() >= 0 and top.min() >= 0 and right.max() <= 320 and bottom.max() <= 240
    assert np.abs((bottom - top) - (right - left) * size[0] / size[1]).max() <= 1.5, "the aspect ratio of what is stored"
    assert np.abs(np.diff(np.array(boxes), axis=0)).max() <= 8, "no jump"
    middle = (figures[:, 0] + figures[:, 2]) / 2
    away = np.abs((left + right) / 2 - middle)[(left > 0) & (right < 320)]
    assert np.median(away) <= 6, "who crosses the picture is in the middle of the box"
    assert (right - left).mean() < 320 * 0.6, "less than the picture"


@pytest.mark.parametrize("action", ["boxing", "handclapping", "handwaving"])
def test_of_who_stands_still_the_moving_arms_are_held(action):
    boxes = found(at_a_distance(action, (0.7, 0.7)))
    truth_of_all = truth()
    arms = truth_of_all.copy()
    arms[:, 3] = truth_of_all[:, 1] + 0.4 * (truth_of_all[:, 3] - truth_of_all[:, 1])  # the upper part, where the arms are
    assert held(boxes, arms) >= 0.95


def test_a_picture_in_which_nothing_moves_has_no_box_and_is_stored_whole(tmp_path):
    rng = np.random.default_rng(0)
    meadow = rng.integers(60, 200, (120, 160))
    video = np.clip(meadow + rng.normal(0, 2, (60, 120, 160)), 0, 255).astype(np.uint8)
    assert found(video) == [None] * 60
    write_video(tmp_path / "still.avi", video, 25, "FFV1")
    form = {"height": 64, "width": 64, "channels": 1, "fit": "pad"}
    assert np.array_equal(read_frames(tmp_path / "still.avi", **form), read_frames(tmp_path / "still.avi", follow="motion", **form))


@pytest.mark.parametrize("frames", [1, 2, REACH, 2 * REACH + 1])
def test_a_video_of_any_length_has_a_box_or_none_for_each_frame(frames):
    assert len(found(at_a_distance("running", (0.2, 0.5), frames))) == frames


def test_no_more_frames_are_held_than_it_looks_ahead():
    taken, most = [], 0

    def frames():
        for frame in at_a_distance("walking", (0.2, 0.8), 120):
            taken.append(1)
            yield cv2.cvtColor(frame, cv2.COLOR_GRAY2BGR)

    for given, _ in enumerate(follow_motion(frames(), 64, 64), 1):
        most = max(most, len(taken) - given)
    assert most == REACH


# --- the same way for all --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def crossing(tmp_path_factory):
    path = tmp_path_factory.mktemp("crossing") / "crossing.avi"
    write_video(path, at_a_distance("jogging", (0.1, 0.9), 90), 25, "FFV1")
    return path


FORM = {"height": 64, "width": 64, "channels": 1, "follow": "motion"}


@pytest.mark.parametrize("start, stop", [(0, 20), (7, 30), (40, 41), (60, 90), (85, None)])
def test_a_stretch_is_cut_as_it_is_in_the_whole_video(crossing, start, stop):
    whole = read_frames(crossing, **FORM)
    assert len(whole) == 90
    assert np.array_equal(read_frames(crossing, start, stop, **FORM), whole[start:stop])


def test_the_frames_are_what_the_boxes_hold(crossing):
    whole = read_frames(crossing)
    for (frame, box), stored, picture in zip(iter_boxes(crossing, height=64, width=64), iter_frames(crossing, **FORM), whole, strict=True):
        assert np.array_equal(frame, picture)
        left, top, right, bottom = box
        cut = cv2.resize(frame[top:bottom, left:right, 0], (64, 64), interpolation=cv2.INTER_AREA)
        assert np.abs(cut.astype(int) - stored[..., 0]).max() <= 1


def test_who_asks_for_frames_that_are_not_there_is_told_as_ever(crossing):
    with pytest.raises(VideoError, match="ended at frame 90 of 95 asked for"):
        list(iter_frames(crossing, 80, 95, **FORM))
    with pytest.raises(VideoError, match="ended at frame 90 of 201 asked for"):
        list(iter_frames(crossing, 200, **FORM))


def test_what_cannot_be_followed_is_refused(crossing):
    with pytest.raises(ConfigError, match="follow is 'hog', but must be one of none, motion"):
        iter_frames(crossing, height=64, width=64, follow="hog")
    with pytest.raises(ConfigError, match="follow .* give height and width"):
        iter_frames(crossing, follow="motion")
    with pytest.raises(ConfigError, match=r"storage\.follow is 'hog', but must be one of none, motion"):
        StorageConfig(follow="hog")


def test_prepared_frames_are_those_of_a_clip_of_the_video(tmp_path):
    videos = make_synthetic(tmp_path / "videos", subjects=3, scenarios=1, frames=64, workers=1)
    catalog = kth_catalog(videos, "synthetic").only_classes(["boxing", "running"]).split_by("by-subject:0.34,0.33,0.33")
    data = prepare(catalog, tmp_path / "data", STORAGE, 1, show_progress=False)
    assert DataSet.open(data.path).storage.follow == "motion"
    reader, clip = FrameReader(data), ClipConfig(frames=8, hop=8, normalisation="none")
    second = next(s for s in data.sequences if s.id.endswith("2") or s.frames == 32)
    stored = reader.decoded(second)
    first = next(s for s in catalog.sequences if s.id == second.id).start
    asked = clip_of_video(videos / second.video, STORAGE, clip, start=first + 5)
    assert np.array_equal(asked.frames, stored[5:13])
    plain = clip_of_video(videos / second.video, StorageConfig(channels=1, encoding="png"), clip, start=first + 5)
    assert not np.array_equal(asked.frames, plain.frames)


def test_the_shell_prepares_with_it(shell, source, tmp_path):
    where = ["--dataset", "kth", "--source", source, "--out", tmp_path / "data", "--classes", "boxing,running", "--workers", 1]
    status, _, _ = shell("prepare", *where, "--set", "storage.follow=motion", "--protocol", "by-subject:0.5,0.25,0.25")
    assert status == 0 and DataSet.open(tmp_path / "data").storage.follow == "motion"


# --- shown -----------------------------------------------------------------------------------------------------------


def test_the_box_is_drawn_on_its_edge_and_nowhere_else():
    frames = [np.full((120, 160, 3), 90, np.uint8)] * 2
    shown = draw_boxes(frames, [(10, 20, 60, 70), None])
    assert (shown[1] == 90).all() and (frames[0] == 90).all()
    assert tuple(shown[0, 20, 10]) == tuple(shown[0, 69, 59]) == (240, 228, 66) and tuple(shown[0, 21, 11]) == (0, 0, 0)
    changed = (shown[0] != 90).any(axis=2)
    assert changed.sum() == 50**2 - 46**2 and not changed[22:68, 12:58].any()


def test_a_player_shows_the_video_with_the_box_and_what_is_stored(crossing):
    page = play_person(crossing, STORAGE, 10).data
    assert "80 frames of crossing.avi with the box" in page and "what is stored" in page and len(page) < 200_000
