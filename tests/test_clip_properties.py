"""What holds for any ranges, clip lengths, strides, hops and paddings, whichever hypothesis thinks of."""

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dn3dlib.config import ClipConfig, StorageConfig
from dn3dlib.data import records
from dn3dlib.data.catalog import Catalog, Sequence
from dn3dlib.data.clips import clip_dataset, plan_evaluation, plan_training
from dn3dlib.data.manifest import DataSet, StoredSequence
from dn3dlib.data.prepare import prepare
from dn3dlib.data.records import FrameReader

STORAGE = StorageConfig(height=32, width=32, channels=1, encoding="png")
VIDEO_FRAMES = 60


@st.composite
def clip_configs(draw, frames: int = 20) -> ClipConfig:
    count, stride = draw(st.integers(1, frames)), draw(st.integers(1, 7))
    return ClipConfig(
        frames=count,
        stride=stride,
        hop=draw(st.integers(1, (count - 1) * stride + 1)),
        extra_stride=draw(st.integers(0, 3)),
        speed=draw(st.sampled_from([0.0, 0.3, 1.0])),
        clips_per_sequence=draw(st.integers(1, 5)),
        padding=draw(st.sampled_from(["loop", "hold"])),
        frame_order=draw(st.sampled_from(["forward", "shuffled", "reversed"])),
        normalisation="none",
    )


def ranges():
    """Annotated ranges of one video: some overlap, some hold a single frame."""
    pair = st.tuples(st.integers(0, VIDEO_FRAMES - 1), st.integers(1, VIDEO_FRAMES))
    return st.lists(pair.map(lambda p: (p[0], min(p[0] + p[1], VIDEO_FRAMES))), min_size=1, max_size=4)


def data_set_of(lengths: list[int]) -> DataSet:
    """A data set as its manifest describes it; nothing lies on the disk."""
    rows = tuple(StoredSequence(f"s{n}", "a", "1", "train", "v.avi", 1, 25.0, length, ()) for n, length in enumerate(lengths))
    return DataSet(Path("nowhere"), "folder", "by-subject", 0, STORAGE, ("a",), rows, ())


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.lists(st.integers(1, 150), min_size=1, max_size=4), clip_configs())
def test_evaluation_covers_every_sequence(lengths, config):
    plan = plan_evaluation(data_set_of(lengths), config, "train")
    for place, length in enumerate(lengths):
        frames = np.sort(plan.frames[plan.sequence == place], axis=1)
        assert frames.min() == 0 and frames.max() < length, "no clip leaves its sequence"
        # The frame before the first and the one behind the last end the gaps between frames that are seen.
        gaps = np.diff([-1, *np.unique(frames), length])
        assert gaps.max() <= config.stride, "of any `stride` frames in a row one is seen; with stride 1, every frame"
        spanned = {number for clip in frames for number in range(clip[0], clip[-1] + 1)}
        assert len(spanned) == length or length < config.span, "every frame lies between the ends of a clip"


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.lists(st.integers(1, 150), min_size=1, max_size=4), clip_configs(), st.integers(0, 2**31 - 1), st.integers(0, 50))
def test_no_training_clip_leaves_its_sequence(lengths, config, seed, epoch):
    plan = plan_training(data_set_of(lengths), config, seed, epoch)
    ends = np.array(lengths)[plan.sequence]
    assert (plan.frames >= 0).all() and (plan.frames < ends[:, None]).all()
    assert np.bincount(plan.sequence, minlength=len(lengths)).tolist() == [config.clips_per_sequence] * len(lengths)


def test_what_came_later_leaves_older_plans_as_they_were():
    """Drawn before there were scale and speed: a run that goes on must meet the clips that it was started with."""
    config = ClipConfig(frames=4, hop=4, extra_stride=2, clips_per_sequence=2, crop=3, flip=True, brightness=0.2)
    plan = plan_training(data_set_of([3, 8, 30, 9, 17, 4]), config, seed=1, epoch=2)
    assert plan.sequence.tolist() == [4, 0, 2, 3, 5, 0, 4, 5, 3, 1, 1, 2]
    ends = [[1, 10], [0, 0], [14, 17], [5, 8], [0, 3], [0, 0], [1, 10], [0, 3], [1, 4], [0, 1], [0, 6], [23, 29]]
    assert plan.frames[:, [0, -1]].tolist() == ends
    assert plan.shift[:5].tolist() == [[1, 3], [3, -2], [3, -3], [-1, 1], [-3, 0]]
    assert plan.flip.tolist() == [False, False, True, True, True, False, False, True, True, True, True, True]
    assert plan.brightness[:4] == pytest.approx([0.0655253, -0.1464896, 0.0431709, -5.22e-05], abs=1e-7)


@pytest.fixture(scope="module")
def videos(numbered_video, tmp_path_factory) -> Path:
    """One video; the value of each pixel of frame n is n."""
    return numbered_video(tmp_path_factory.mktemp("videos") / "a.avi", VIDEO_FRAMES).parent


@settings(max_examples=15, deadline=None, derandomize=True)
@given(ranges(), st.integers(1, 20), clip_configs(frames=8))
def test_the_reader_yields_what_the_manifest_counts(videos, parts, record_frames, config):
    rows = [Sequence(f"s{n}", "a.avi", "a", "1", start, stop) for n, (start, stop) in enumerate(parts)]
    catalog = Catalog("folder", videos, tuple(rows)).split_by("by-subject:1,0,0")
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(records, "MAX_RECORD_FRAMES", record_frames)
        data = prepare(catalog, Path(folder) / "data", STORAGE, 1, show_progress=False)
        starts = np.array([parts[int(s.id[1:])][0] for s in data.sequences])
        assert sorted((start, start + s.frames) for start, s in zip(starts, data.sequences, strict=True)) == sorted(parts)
        for start, sequence in zip(starts, data.sequences, strict=True):
            assert sequence.frames == sum(record.frames for record in sequence.records)
            assert FrameReader(data).decoded(sequence)[:, 0, 0, 0].tolist() == list(range(start, start + sequence.frames))
        for plan in (plan_evaluation(data, config, "train"), plan_training(data, config, 0, 1)):
            found = list(clip_dataset(data, plan, config, batch_size=5).as_numpy_iterator())
            clips = np.concatenate([clips for clips, _, _ in found])
            assert clips.shape == (len(plan), config.frames, *STORAGE.frame_shape)
            assert (clips == (starts[plan.sequence][:, None] + plan.frames)[..., None, None, None]).all()
            assert np.array_equal(np.concatenate([places for _, _, places in found]), plan.sequence)
