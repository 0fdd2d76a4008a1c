"""Clips: which frames make each, how they are moved and scaled, and that all chance hangs on (seed, epoch, index)."""

import dataclasses

import numpy as np
import pytest

from dn3dlib.config import NORMALISATIONS, ClipConfig, StorageConfig
from dn3dlib.data import records
from dn3dlib.data.catalog import Catalog, Sequence
from dn3dlib.data.clips import check_augmentation, clip_dataset, move, normalise, plan_evaluation, plan_training, zoom
from dn3dlib.data.manifest import DataSet
from dn3dlib.data.prepare import prepare
from dn3dlib.data.records import FrameReader, decode_frame
from dn3dlib.errors import ConfigError, DataError

LENGTHS = {"a": (3, 8, 30), "b": (9, 17, 4)}
PLAIN = ClipConfig(frames=4, hop=4, normalisation="none")


@pytest.fixture(scope="module")
def data(numbered_video, tmp_path_factory) -> DataSet:
    """Six sequences of some frames; the value of each pixel of frame n is n. Small records, so that some take several."""
    root = tmp_path_factory.mktemp("clips")
    rows = []
    for label, lengths in LENGTHS.items():
        for number, length in enumerate(lengths):
            numbered_video(root / "videos" / label / f"{number}.avi", length)
            rows.append(Sequence(f"{label}/{number}", f"{label}/{number}.avi", label, f"{label}{number}"))
    catalog = Catalog("folder", root / "videos", tuple(rows)).split_by("by-subject:1,0,0")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(records, "MAX_RECORD_FRAMES", 5)
        storage = StorageConfig(height=32, width=32, channels=1, encoding="png")
        return prepare(catalog, root / "data", storage, 1, show_progress=False)


def arrays(plan):
    return [getattr(plan, field.name) for field in dataclasses.fields(plan)]


def equal(one, other) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(arrays(one), arrays(other), strict=True))


def batches(data, plan, config, batch_size=4):
    return [tuple(part.numpy() for part in batch) for batch in clip_dataset(data, plan, config, batch_size)]


def values(data, plan, config) -> np.ndarray:
    """The grey value of each frame of each clip, (clips, frames); all pixels of a frame are equal."""
    clips = np.concatenate([clips for clips, _, _ in batches(data, plan, config)])
    assert (clips == clips[:, :, :1, :1]).all()
    return clips[:, :, 0, 0, 0]


# --- training --------------------------------------------------------------------------------------------------------

EVERYTHING = ClipConfig(frames=4, hop=4, extra_stride=2, clips_per_sequence=5, crop=3, flip=True, brightness=0.2, scale=0.3, speed=0.5)


def test_a_plan_hangs_on_seed_and_epoch_alone(data):
    plan = plan_training(data, EVERYTHING, seed=1, epoch=2)
    assert equal(plan, plan_training(data, EVERYTHING, seed=1, epoch=2))
    for seed, epoch in ((1, 3), (2, 2), (2, 1), (0, 2)):
        assert not equal(plan, plan_training(data, EVERYTHING, seed, epoch))


def test_the_pipeline_adds_no_chance_of_its_own(data):
    plan = plan_training(data, EVERYTHING, 0, 1)
    once, again = batches(data, plan, EVERYTHING), batches(data, plan, EVERYTHING)
    assert all(np.array_equal(a, b) for one, other in zip(once, again, strict=True) for a, b in zip(one, other, strict=True))


def test_a_later_start_gives_the_later_part(data):
    plan = plan_training(data, EVERYTHING, 0, 1)
    whole, rest = batches(data, plan, EVERYTHING), batches(data, plan[8:], EVERYTHING)
    assert len(plan[8:]) == len(plan) - 8 and len(rest) == len(whole) - 2
    assert all(np.array_equal(a, b) for one, other in zip(whole[2:], rest, strict=True) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("clips", [1, 5])
def test_each_sequence_is_visited_as_often_as_configured(data, clips):
    plan = plan_training(data, dataclasses.replace(PLAIN, clips_per_sequence=clips), 0, 0)
    assert np.bincount(plan.sequence).tolist() == [clips] * 6
    orders = {tuple(plan_training(data, PLAIN, 0, epoch).sequence) for epoch in range(4)}
    assert len(orders) == 4, "another order in each epoch"


def test_frames_lie_within_the_sequence_at_the_drawn_strides(data):
    config = dataclasses.replace(PLAIN, stride=2, extra_stride=2, clips_per_sequence=200)
    plan = plan_training(data, config, 0, 0)
    lengths = np.array([s.frames for s in data.sequences])[plan.sequence]
    assert (plan.frames >= 0).all() and (plan.frames < lengths[:, None]).all()
    long = plan.frames[lengths >= 13]  # where no stride needs padding
    steps = np.diff(long, axis=1)
    assert (steps == steps[:, :1]).all() and set(steps[:, 0]) == {2, 3, 4}
    thirty = plan.frames[lengths == 30]
    assert thirty.min() == 0 and thirty.max() == 29, "every place of the sequence has its turn"


def test_starts_are_drawn_evenly(data):
    plan = plan_training(data, dataclasses.replace(PLAIN, clips_per_sequence=4000), 0, 0)
    lengths = np.array([s.frames for s in data.sequences])[plan.sequence]
    counts = np.bincount(plan.frames[lengths == 8][:, 0])
    assert len(counts) == 5 and counts.min() > 650 and counts.max() < 950  # 800 each, and five deviations


@pytest.mark.parametrize(("padding", "three", "four"), [("loop", [0, 1, 2, 0, 1, 2], [0, 1, 2, 3, 0, 1]), ("hold", [0, 1, 2, 2, 2, 2], [0, 1, 2, 3, 3, 3])])
def test_a_shorter_sequence_is_padded_as_named(data, padding, three, four):
    config = dataclasses.replace(PLAIN, frames=6, padding=padding)
    for plan in (plan_training(data, config, 0, 0), plan_evaluation(data, config, "train")):
        lengths = np.array([s.frames for s in data.sequences])[plan.sequence]
        assert plan.frames[lengths == 3].tolist() == [three] and plan.frames[lengths == 4].tolist() == [four]
        assert np.array_equal(values(data, plan, config), plan.frames)


def test_clips_hold_the_frames_of_their_plan_over_several_records(data):
    config = dataclasses.replace(PLAIN, extra_stride=2, clips_per_sequence=10)
    plan = plan_training(data, config, 0, 0)
    assert max(len(s.records) for s in data.sequences) == 6
    assert np.array_equal(values(data, plan, config), plan.frames)


def test_a_record_is_checked_once_however_many_clips_it_gives(data, monkeypatch):
    checked, crc32 = [], records.zlib.crc32
    monkeypatch.setattr(records.zlib, "crc32", lambda content: checked.append(len(content)) or crc32(content))
    plan = plan_training(data, dataclasses.replace(PLAIN, clips_per_sequence=40), 0, 0)
    clips = FrameReader(data).clips(plan.sequence, plan.frames)
    assert clips.shape == (240, 4, 32, 32, 1) and np.array_equal(clips[:, :, 0, 0, 0], plan.frames)
    assert sorted(checked) == sorted(record.length for sequence in data.sequences for record in sequence.records)


@pytest.mark.parametrize("content", [b"", b"no picture", records.encode_frame(np.zeros((32, 31, 1), np.uint8), StorageConfig(channels=1))])
def test_a_frame_that_is_no_picture_of_the_size_is_refused(content):
    with pytest.raises(DataError, match="is no picture of 32×32"):
        decode_frame(content, StorageConfig(height=32, width=32))


def test_batches_agree_with_the_manifest(data):
    plan = plan_training(data, dataclasses.replace(PLAIN, clips_per_sequence=3), 0, 0)
    found = batches(data, plan, PLAIN)
    assert [len(labels) for _, labels, _ in found] == [4, 4, 4, 4, 2]
    assert {clips.shape[1:] for clips, _, _ in found} == {(4, 32, 32, 1)}
    assert {(c.dtype, y.dtype, p.dtype) for c, y, p in found} == {(np.dtype("float32"), np.dtype("int32"), np.dtype("int32"))}
    labels, places = np.concatenate([y for _, y, _ in found]), np.concatenate([p for _, _, p in found])
    assert np.array_equal(places, plan.sequence)
    assert labels.tolist() == [data.classes.index(data.sequences[place].label) for place in places]


def test_a_split_without_sequences_is_named(data):
    for make in (lambda: plan_training(data, PLAIN, 0, 0, "test"), lambda: plan_evaluation(data, PLAIN, "validation")):
        with pytest.raises(DataError, match="has no sequences: choose another split"):
            make()
    with pytest.raises(ConfigError, match="no split 'valid'"):
        plan_evaluation(data, PLAIN, "valid")


# --- evaluation ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("length", "hop", "stride", "starts"),
    [
        (30, 4, 1, [0, 4, 8, 12, 16, 20, 24, 26]),
        (8, 4, 1, [0, 4]),
        (9, 4, 1, [0, 4, 5]),
        (4, 4, 1, [0]),
        (3, 4, 1, [0]),
        (17, 7, 3, [0, 7]),
        (9, 10, 3, [0]),
        (8, 1, 2, [0, 1]),
    ],
)
def test_evaluation_clips_start_at_every_hop_and_reach_the_end(data, length, hop, stride, starts):
    plan = plan_evaluation(data, dataclasses.replace(PLAIN, hop=hop, stride=stride), "train")
    rows = np.array([s.frames for s in data.sequences])[plan.sequence] == length
    assert plan.frames[rows][:, 0].tolist() == starts


@pytest.mark.parametrize("frames", [1, 4, 7])
@pytest.mark.parametrize("hop", [1, 3, 4])
def test_evaluation_covers_every_frame(data, frames, hop):
    config = ClipConfig(frames=frames, hop=min(hop, frames))
    plan = plan_evaluation(data, config, "train")
    assert (np.diff(plan.sequence) >= 0).all(), "in the manifest's order"
    for place, sequence in enumerate(data.sequences):
        assert set(plan.frames[plan.sequence == place].ravel()) == set(range(sequence.frames))


def test_evaluation_is_neither_augmented_nor_drawn(data):
    plan = plan_evaluation(data, EVERYTHING, "train", seed=0)
    assert not plan.shift.any() and not plan.flip.any() and not plan.brightness.any() and (plan.scale == 1).all()
    assert equal(plan, plan_evaluation(data, EVERYTHING, "train", seed=1))
    assert set(np.diff(plan.frames[plan.sequence == 2], axis=1).ravel()) == {1}, "the stride is not drawn"


def test_shuffled_frames_are_a_permutation_of_those_in_order(data):
    config = dataclasses.replace(PLAIN, frames=8, clips_per_sequence=10, frame_order="shuffled")
    for plan in (plan_training(data, config, 0, 0), plan_evaluation(data, config, "train")):
        lengths = np.array([s.frames for s in data.sequences])[plan.sequence]
        long = plan.frames[lengths >= 8]
        ordered = np.sort(long, axis=1)
        assert (np.diff(ordered, axis=1) == 1).all() and (long != ordered).any(axis=1).mean() > 0.9
    assert equal(plan, plan_evaluation(data, config, "train"))


@pytest.mark.parametrize("count", [1, 7, 8])
def test_reversed_and_frozen_frames(data, count):
    forward = dataclasses.replace(PLAIN, frames=count, hop=1, clips_per_sequence=5)
    for make in (lambda c: plan_training(data, c, 0, 0), lambda c: plan_evaluation(data, c, "train")):
        plain = make(forward)
        turned = make(dataclasses.replace(forward, frame_order="reversed"))
        frozen = make(dataclasses.replace(forward, frame_order="frozen"))
        assert turned.frames.tolist() == [row[::-1] for row in plain.frames.tolist()]
        assert frozen.frames.tolist() == [[row[count // 2]] * count for row in plain.frames.tolist()]
        assert np.array_equal(values(data, turned, forward), turned.frames)


@pytest.mark.parametrize(
    ("views", "starts"),
    [
        (1, {3: [0], 4: [0], 8: [2], 9: [2], 17: [6], 30: [13]}),
        (2, {3: [0], 4: [0], 8: [0, 4], 9: [0, 5], 17: [0, 13], 30: [0, 26]}),
        (3, {3: [0], 4: [0], 8: [0, 2, 4], 9: [0, 2, 5], 17: [0, 6, 13], 30: [0, 13, 26]}),
        (99, {3: [0], 4: [0], 8: [0, 1, 2, 3, 4]}),
    ],
)
def test_views_are_spread_evenly_and_none_is_there_twice(data, views, starts):
    plan = plan_evaluation(data, PLAIN, "train", views=views)
    lengths = np.array([s.frames for s in data.sequences])[plan.sequence]
    for length, wanted in starts.items():
        assert plan.frames[lengths == length][:, 0].tolist() == wanted


# --- augmentation ----------------------------------------------------------------------------------------------------


def test_each_switch_moves_its_own_part(data):
    base = dataclasses.replace(PLAIN, clips_per_sequence=50)
    plain = plan_training(data, base, 0, 0)
    assert not plain.shift.any() and not plain.flip.any() and not plain.brightness.any()
    crop = plan_training(data, dataclasses.replace(base, crop=2), 0, 0)
    assert set(np.unique(crop.shift)) == {-2, -1, 0, 1, 2} and not crop.flip.any() and not crop.brightness.any()
    flip = plan_training(data, dataclasses.replace(base, flip=True), 0, 0)
    assert 0.35 < flip.flip.mean() < 0.65 and not flip.shift.any() and not flip.brightness.any()
    bright = plan_training(data, dataclasses.replace(base, brightness=0.2), 0, 0)
    assert -0.2 <= bright.brightness.min() < -0.15 and 0.15 < bright.brightness.max() <= 0.2
    assert not bright.shift.any() and not bright.flip.any()
    scale = plan_training(data, dataclasses.replace(base, scale=0.25), 0, 0)
    assert 0.8 <= scale.scale.min() < 0.83 and 1.2 < scale.scale.max() <= 1.25 and 0.4 < (scale.scale > 1).mean() < 0.6
    assert equal(dataclasses.replace(scale, scale=plain.scale), plain) and (plain.scale == 1).all()
    speed = plan_training(data, dataclasses.replace(base, speed=0.5), 0, 0)
    assert not np.array_equal(speed.frames, plain.frames)
    assert equal(dataclasses.replace(speed, frames=plain.frames), plain)


def test_a_clip_plays_faster_or_slower_within_its_sequence(data):
    config = dataclasses.replace(PLAIN, frames=5, stride=2, speed=1.0, clips_per_sequence=400)
    plan = plan_training(data, config, 0, 0)
    lengths = np.array([s.frames for s in data.sequences])[plan.sequence]
    long = plan.frames[lengths == 30]
    spans = long[:, -1] - long[:, 0]
    assert spans.min() == 4 and spans.max() == 16, "8 frames from first to last, halved and doubled"
    steps = np.diff(long, axis=1)
    assert (np.ptp(steps, axis=1) <= 1).all(), "a real-valued stride, rounded to frames"
    assert 0.4 < (spans > 8).mean() + (spans == 8).mean() / 2 < 0.6, "slower as often as faster"
    assert long.min() == 0 and long.max() == 29, "every place of the sequence has its turn"


def picture(frames=3, height=6, width=7, channels=2) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (frames, height, width, channels), dtype=np.uint8)


def test_moving_repeats_the_border():
    clip = picture()
    moved = move(clip, (2, -1), flip=False)
    assert moved.shape == clip.shape
    assert np.array_equal(moved[:, 2:, :-1], clip[:, :-2, 1:])
    assert np.array_equal(moved[:, :2, :-1], np.repeat(clip[:, :1, 1:], 2, axis=1)), "the upper border, twice"
    assert np.array_equal(moved[:, 2:, -1], clip[:, :-2, -1])
    assert np.array_equal(move(clip, (0, 0), flip=True), clip[:, :, ::-1])
    assert np.array_equal(move(clip, (0, 0), flip=False), clip)
    assert np.array_equal(move(clip, (100, 0), flip=False), np.repeat(clip[:, :1], 6, axis=1)), "moved out of sight"


def test_zooming_keeps_the_centre_and_spreads_the_rest():
    y, x = np.mgrid[0:9, 0:11].astype(np.float64)
    clip = np.stack([np.stack([100 + 8 * (x - 5), 100 + 6 * (y - 4)], axis=-1)] * 2).astype(np.uint8)
    grown = clip.copy()
    zoom(grown, 2.0)
    assert np.abs(grown[..., 0] - (100 + 4 * (x - 5))).max() <= 1 and np.abs(grown[..., 1] - (100 + 3 * (y - 4))).max() <= 1
    shrunken = clip.copy()
    zoom(shrunken, 0.5)
    inside = shrunken[:, 2:7, 3:8]
    assert np.abs(inside[..., 0] - (100 + 16 * (x - 5))[2:7, 3:8]).max() <= 1
    assert (shrunken[:, :, :2, 0] == 60).all() and (shrunken[:, :, 9:, 0] == 140).all(), "the border is repeated"
    grey = clip[..., :1].copy()
    zoom(grey, 2.0)
    assert np.array_equal(grey[..., 0], grown[..., 0]), "of one channel as of several"


@pytest.mark.parametrize(
    ("classes", "pair"),
    [
        (("turn_left", "turn_right", "walk"), "turn_left looks like turn_right"),
        (("LeftHand", "righthand"), "LeftHand looks like righthand"),
        (("left_to_right", "right_to_left"), "left_to_right looks like right_to_left"),
        (("turn_left", "walk"), ""),
        (("bright", "walk"), ""),
    ],
)
def test_classes_that_differ_by_sides_are_not_mirrored(classes, pair):
    size = (32, 32, 1)
    check_augmentation(ClipConfig(), size, classes)
    check_augmentation(ClipConfig(flip=True, flip_despite_sides=True), size, classes)
    if not pair:
        check_augmentation(ClipConfig(flip=True), size, classes)
        return
    with pytest.raises(ConfigError, match=f"{pair}.*clip.flip=false.*clip.flip_despite_sides=true"):
        check_augmentation(ClipConfig(flip=True), size, classes)


@pytest.mark.parametrize(("side", "most"), [(32, 15), (33, 16), (2, 0)])
def test_pictures_are_not_shifted_out_of_sight(side, most):
    check_augmentation(ClipConfig(crop=most), (side, 64, 3), ("a", "b"))
    with pytest.raises(ConfigError, match=rf"clip.crop={most + 1} .* smaller side of {side} pixels.*set it to {most} at most"):
        check_augmentation(ClipConfig(crop=most + 1), (64, side, 3), ("a", "b"))


def test_all_frames_of_a_clip_are_augmented_alike(prepared, tiny):
    data = DataSet.open(prepared)
    config = dataclasses.replace(tiny.clip, normalisation="none", brightness=0.3, scale=0.2, clips_per_sequence=3)
    plan = plan_training(data, config, 0, 0)
    bare = dataclasses.replace(plan, shift=0 * plan.shift, flip=np.zeros_like(plan.flip), brightness=0 * plan.brightness, scale=np.ones_like(plan.scale))
    seen = np.concatenate([clips for clips, _, _ in batches(data, plan, config)])
    plain = np.concatenate([clips for clips, _, _ in batches(data, bare, config)])
    assert plan.flip.any() and plan.shift.any()
    for index, (clip, frames) in enumerate(zip(seen, plain, strict=True)):
        zoomed = frames.astype(np.uint8)
        zoom(zoomed, float(plan.scale[index]))
        moved = move(zoomed, plan.shift[index], plan.flip[index])
        assert clip == pytest.approx(np.clip(moved + 255 * plan.brightness[index], 0, 255), abs=1e-3)
    assert 0 <= seen.min() and seen.max() <= 255


# --- normalisation ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", NORMALISATIONS)
def test_normalisation_against_numpy(how):
    clips = np.random.default_rng(0).uniform(0, 255, (2, 3, 5, 6, 3)).astype(np.float32)
    wanted = {
        "none": lambda x: x,
        "divide_255": lambda x: x / 255,
        "divide_256": lambda x: x / 256,
        "std": lambda x: (x - x.mean(axis=(1, 2, 3, 4), keepdims=True)) / x.std(axis=(1, 2, 3, 4), keepdims=True),
        "std_frame": lambda x: (x - x.mean(axis=(2, 3, 4), keepdims=True)) / x.std(axis=(2, 3, 4), keepdims=True),
        "motion": lambda x: (x - x.mean(axis=1, keepdims=True)) / x.std(axis=(1, 2, 3, 4), keepdims=True),
    }[how](clips.astype(np.float64))
    assert np.asarray(normalise(clips, how)) == pytest.approx(wanted, abs=1e-4)
    assert np.asarray(normalise(clips[0], how)) == pytest.approx(wanted[0], abs=1e-4), "of one clip as of a batch"


@pytest.mark.parametrize("how", ["std", "std_frame", "motion"])
def test_a_picture_of_one_colour_becomes_zero(how):
    assert not np.asarray(normalise(np.full((2, 4, 4, 1), 77, np.float32), how)).any()


def test_motion_leaves_what_moves():
    picture = np.random.default_rng(0).uniform(0, 200, (4, 8, 8, 1)).astype(np.float32)
    picture[:] = picture[0]  # nothing moves
    assert np.abs(np.asarray(normalise(picture, "motion"))).max() < 1e-5
    picture[2, 3, 5] += 40
    moved = np.asarray(normalise(picture, "motion"))
    assert np.argwhere(np.abs(moved).max(axis=0)[..., 0] > 1e-5).tolist() == [[3, 5]]
    assert moved[2, 3, 5, 0] == pytest.approx(30 / picture.std(), rel=1e-3) and moved[0, 3, 5, 0] == pytest.approx(-10 / picture.std(), rel=1e-3)


def test_clips_come_out_normalised(prepared, tiny):
    data = DataSet.open(prepared)
    plan = plan_training(data, tiny.clip, 0, 0)
    clips = np.concatenate([clips for clips, _, _ in batches(data, plan, tiny.clip)])
    assert clips.mean(axis=(2, 3, 4)) == pytest.approx(0, abs=1e-4) and clips.std(axis=(2, 3, 4)) == pytest.approx(1, abs=1e-3)
