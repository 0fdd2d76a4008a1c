"""Preparing again, more, interrupted, twice at once, without room: nothing is lost and nothing is done twice."""

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from broken_videos import REASONS, make_broken_videos

from dn3dlib.config import StorageConfig
from dn3dlib.data import decode, duplicates, records, video
from dn3dlib.data import prepare as prepare_module
from dn3dlib.data.catalog import Catalog, Sequence, folder_catalog
from dn3dlib.data.journal import JOURNAL
from dn3dlib.data.judgement import DOUBTFUL, kind_of
from dn3dlib.data.manifest import MANIFEST, DataSet
from dn3dlib.data.prepare import prepare
from dn3dlib.data.records import FrameReader, verify
from dn3dlib.data.scan import scan_folder
from dn3dlib.errors import ConfigError, DataError, Dn3dError
from dn3dlib.files import only_one_at

PNG = StorageConfig(height=32, width=32, channels=1, encoding="png")


def quietly(catalog: Catalog, out: Path, storage: StorageConfig = PNG, **options) -> DataSet:
    return prepare(catalog, out, storage, 1, show_progress=False, **options)


def by_subject(videos: Path) -> Catalog:
    return folder_catalog(videos, r"(s\d)").split_by("by-subject:0.5,0.25,0.25")


def first_values(data: DataSet) -> dict[str, int]:
    """The grey value of the first frame of each sequence."""
    reader = FrameReader(data)
    return {s.id: int(reader.decoded(s, np.array([0]))[0, 0, 0, 0]) for s in data.sequences}


class Killed(BaseException):
    """What no `except Exception` holds up: stands for a kill."""


@pytest.fixture
def videos(numbered_video, tmp_path) -> Path:
    """Twelve videos: frame n of the video of subject s shows 10 s + n, in class late 100 more."""
    for subject in range(6):
        numbered_video(tmp_path / "videos" / "count" / f"s{subject}.avi", 17, first=10 * subject)
        numbered_video(tmp_path / "videos" / "late" / f"s{subject}.avi", 17, first=100 + 10 * subject)
    return tmp_path / "videos"


@pytest.fixture
def decoded(monkeypatch) -> list[str]:
    """The names of the videos that were handed to a decoding process."""
    names = []
    whole = prepare_module.decode_all

    def noted(catalog, by_video, *rest):
        names.extend(name for name, _ in by_video)
        return whole(catalog, by_video, *rest)

    monkeypatch.setattr(prepare_module, "decode_all", noted)
    return names


WANTED = {f"count/s{n}": 10 * n for n in range(6)} | {f"late/s{n}": 100 + 10 * n for n in range(6)}


# --- again, and more -------------------------------------------------------------------------------------------------


def test_a_second_prepare_does_nothing_and_says_so(videos, tmp_path, decoded, capsys):
    catalog = by_subject(videos)
    one = prepare(catalog, tmp_path / "data", PNG, 1)
    times = {path: path.stat().st_mtime_ns for path in one.path.iterdir()}
    assert len(decoded) == 12
    capsys.readouterr()
    assert prepare(catalog, tmp_path / "data", PNG, 1) == one
    assert "already holds these 12 videos: nothing to do" in capsys.readouterr().err
    assert len(decoded) == 12 and {path: path.stat().st_mtime_ns for path in one.path.iterdir()} == times


def test_one_more_video_is_added_and_nothing_else_is_decoded(videos, numbered_video, tmp_path, decoded):
    one = quietly(by_subject(videos), tmp_path / "data")
    shard = (one.path / one.shards[0]["name"]).read_bytes()
    decoded.clear()
    numbered_video(videos / "count" / "s3b.avi", 17, first=77)
    two = quietly(by_subject(videos), tmp_path / "data")
    assert decoded == ["count/s3b.avi"]
    assert first_values(two) == WANTED | {"count/s3b": 77}
    assert [s["name"] for s in two.shards] == ["records-00000-of-00001.tfrecord", "records-00001-of-00002.tfrecord"]
    assert (two.path / two.shards[0]["name"]).read_bytes() == shard
    assert [s.id for s in two.sequences] == [s.id for s in quietly(by_subject(videos), tmp_path / "at-once").sequences]
    assert verify(two.path)["sequences"] == 13
    assert sorted(p.name for p in tmp_path.iterdir()) == ["at-once", "data", "videos"]


def test_a_subject_that_is_added_takes_part_in_the_draw(videos, numbered_video, tmp_path):
    quietly(by_subject(videos), tmp_path / "data")
    for label, first in (("count", 60), ("late", 160)):
        numbered_video(videos / label / "s6.avi", 17, first=first)
        numbered_video(videos / label / "s7.avi", 17, first=first + 10)
    catalog = by_subject(videos)
    data = quietly(catalog, tmp_path / "data")
    assert {s.id: s.split for s in data.sequences} == {s.id: s.split for s in catalog.sequences}
    assert data.summary()["test"]["subjects"] == 2


def test_a_new_class_needs_a_new_data_set(videos, numbered_video, tmp_path):
    quietly(by_subject(videos), tmp_path / "data")
    numbered_video(videos / "third" / "s0.avi", 17)
    with pytest.raises(DataError, match="its list of classes is"):
        quietly(by_subject(videos), tmp_path / "data")


def test_a_rejected_video_is_not_tried_again_until_it_changes(videos, tmp_path, decoded):
    (videos / "count" / "s0b.avi").write_text("no film")
    data = quietly(by_subject(videos), tmp_path / "data")
    assert [(row["file"], row["reason"]) for row in data.rejected] == [("count/s0b.avi", "no video stream")]
    decoded.clear()
    assert quietly(by_subject(videos), tmp_path / "data") == data and decoded == []


def test_a_rejected_video_that_has_been_mended_is_added(videos, numbered_video, tmp_path, decoded):
    for name in ("s0b", "s1b"):
        (videos / "count" / f"{name}.avi").touch()
    data = quietly(by_subject(videos), tmp_path / "data")
    assert [row["file"] for row in data.rejected] == ["count/s0b.avi", "count/s1b.avi"]
    decoded.clear()
    numbered_video(videos / "count" / "s0b.avi", 17, first=77)
    (videos / "count" / "s1b.avi").unlink()
    data = quietly(by_subject(videos), tmp_path / "data")
    assert decoded == ["count/s0b.avi"] and data.rejected == ()
    assert first_values(data) == WANTED | {"count/s0b": 77} and verify(data.path)["sequences"] == 13


def test_a_rejected_video_that_is_deleted_is_forgotten(videos, tmp_path, decoded):
    (videos / "count" / "s0b.avi").touch()
    assert len(quietly(by_subject(videos), tmp_path / "data").rejected) == 1
    decoded.clear()
    (videos / "count" / "s0b.avi").unlink()
    assert quietly(by_subject(videos), tmp_path / "data").rejected == () and decoded == []
    data = DataSet.open(tmp_path / "data")
    assert data.rejected == () and len(data.videos) == 12 and first_values(data) == WANTED


def test_a_video_that_was_too_short_for_its_annotation_and_is_longer_now(videos, numbered_video, tmp_path, decoded):
    path = numbered_video(videos / "count" / "s0b.avi", 17, first=77)
    rows = by_subject(videos)
    late = dataclasses.replace(rows, sequences=tuple(dataclasses.replace(s, start=20, stop=30) if s.video == "count/s0b.avi" else s for s in rows.sequences))
    data = quietly(late, tmp_path / "data")
    assert data.shortened == ({"sequence": "count/s0b", "annotated": 10, "frames": 0},) and first_values(data) == WANTED
    numbered_video(path, 40, first=77)
    decoded.clear()
    data = quietly(late, tmp_path / "data")
    assert decoded == ["count/s0b.avi"] and data.shortened == () and first_values(data) == WANTED | {"count/s0b": 97}


def test_a_video_behind_a_dangling_link_is_tried_again(videos, numbered_video, tmp_path, decoded):
    (videos / "count" / "s0b.avi").symlink_to(tmp_path / "disk" / "s0b.avi")
    for _ in range(2):
        decoded.clear()
        data = quietly(by_subject(videos), tmp_path / "data")
        assert [row["reason"] for row in data.rejected] == ["missing"] and "count/s0b.avi" in decoded
    numbered_video(tmp_path / "disk" / "s0b.avi", 17, first=77)
    data = quietly(by_subject(videos), tmp_path / "data")
    assert data.rejected == () and first_values(data) == WANTED | {"count/s0b": 77}


def test_a_target_behind_a_link_stays_there(videos, numbered_video, tmp_path):
    (tmp_path / "disk" / "real").mkdir(parents=True)
    (tmp_path / "data").symlink_to(tmp_path / "disk" / "real")
    assert first_values(quietly(by_subject(videos), tmp_path / "data")) == WANTED
    numbered_video(videos / "count" / "s3b.avi", 17, first=77)
    quietly(by_subject(videos), tmp_path / "data")
    assert (tmp_path / "data").is_symlink() and [path.name for path in (tmp_path / "disk").iterdir()] == ["real"]
    assert first_values(DataSet.open(tmp_path / "data")) == WANTED | {"count/s3b": 77}


def test_a_split_keeps_what_was_added_in_the_meantime(videos, numbered_video, tmp_path):
    old = quietly(by_subject(videos), tmp_path / "data")
    numbered_video(videos / "count" / "s3b.avi", 17, first=77)
    quietly(by_subject(videos), tmp_path / "data")
    new = old.split_by("by-subject:1,0,0")
    assert len(old.sequences) == 12 and len(new.sequences) == 13 and new == DataSet.open(tmp_path / "data")


# --- interrupted -----------------------------------------------------------------------------------------------------


def interrupted_at(monkeypatch, place, call: int):
    """Let the call number `call` of place[0].place[1] be the last thing that happens."""
    owner, name = place
    whole, calls = getattr(owner, name), []

    def counted(*arguments, **options):
        calls.append(1)
        if len(calls) == call:
            raise Killed
        return whole(*arguments, **options)

    monkeypatch.setattr(owner, name, counted)


PLACES = [
    ((records.ShardWriter, "flush"), 1),
    ((records.ShardWriter, "flush"), 5),
    ((prepare_module.Journal, "add"), 1),
    ((prepare_module.Journal, "add"), 12),
    ((prepare_module, "_merged"), 1),
    ((DataSet, "write_manifest"), 1),
    ((Path, "rename"), 1),
    ((Path, "rename"), 2),
    ((Path, "rename"), 3),
]


@pytest.mark.parametrize("more", [False, True], ids=["first", "added"])
@pytest.mark.parametrize(("place", "call"), PLACES)
def test_a_prepare_stopped_anywhere_goes_on(videos, numbered_video, tmp_path, monkeypatch, decoded, place, call, more):
    monkeypatch.setattr(records, "MAX_SHARD_BYTES", 700)  # several shards
    wanted = dict(WANTED)
    if more:
        old = quietly(by_subject(videos), tmp_path / "data")
        for number in range(12):
            wanted[f"count/s{number % 6}x{number}"] = 60 + number
            numbered_video(videos / "count" / f"s{number % 6}x{number}.avi", 17, first=60 + number)
    decoded.clear()
    with monkeypatch.context() as patch:
        interrupted_at(patch, place, call)
        with pytest.raises(Killed):
            quietly(by_subject(videos), tmp_path / "data")
    if more:
        assert DataSet.open(tmp_path / "data") == old and verify(tmp_path / "data")["sequences"] == 12
    else:
        assert not (tmp_path / "data" / MANIFEST).exists()
    assert len(decoded) == 12
    decoded.clear()
    data = quietly(by_subject(videos), tmp_path / "data")
    noted = {"flush": call - 1, "add": call - 1}.get(place[1], 12)
    assert len(decoded) == 12 - noted, "only what is missing is decoded"
    assert first_values(data) == wanted and verify(data.path)["sequences"] == len(wanted)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["data", "videos"]
    files = {path.name for path in data.path.iterdir()}
    assert files == {MANIFEST, *(shard["name"] for shard in data.shards)}


@pytest.mark.parametrize("more", [False, True], ids=["first", "added"])
def test_a_prepare_killed_after_its_last_step_is_cleared_up(videos, numbered_video, tmp_path, monkeypatch, decoded, more):
    if more:
        quietly(by_subject(videos), tmp_path / "data")
        numbered_video(videos / "count" / "s3b.avi", 17, first=77)
    unlink = Path.unlink

    def killed(self, *arguments, **options):
        if self.name == JOURNAL:
            raise Killed
        unlink(self, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", killed)
        interrupted_at(patch, (shutil, "rmtree"), 1)
        with pytest.raises(Killed):
            quietly(by_subject(videos), tmp_path / "data")
    (tmp_path / "data.lock").touch()  # as a kill leaves it
    assert list(tmp_path.glob(f"data*/{JOURNAL}")), "something was left"
    decoded.clear()
    data = quietly(by_subject(videos), tmp_path / "data")
    assert decoded == [] and sorted(p.name for p in tmp_path.iterdir()) == ["data", "videos"]
    assert {path.name for path in data.path.iterdir()} == {MANIFEST, *(shard["name"] for shard in data.shards)}
    assert first_values(data) == (WANTED | {"count/s3b": 77} if more else WANTED) and verify(data.path)


def test_other_settings_begin_anew(videos, tmp_path, monkeypatch, decoded):
    with monkeypatch.context() as patch:
        interrupted_at(patch, (prepare_module.Journal, "add"), 6)
        with pytest.raises(Killed):
            quietly(by_subject(videos), tmp_path / "data")
    decoded.clear()
    grown = quietly(by_subject(videos), tmp_path / "data", dataclasses.replace(PNG, height=40))
    assert len(decoded) == 12 and grown.storage.height == 40 and verify(grown.path)["sequences"] == 12


@pytest.mark.parametrize("torn", ['{"video": {"file": "cou', "\x00\x00\x00\n", '{"video": {"file": "gone.avi"}, "sequences": []}\n'])
def test_a_torn_journal_costs_at_most_what_it_does_not_name(videos, tmp_path, monkeypatch, torn):
    with monkeypatch.context() as patch:
        interrupted_at(patch, (prepare_module.Journal, "add"), 6)
        with pytest.raises(Killed):
            quietly(by_subject(videos), tmp_path / "data")
    with (tmp_path / "data.partial" / "journal.jsonl").open("a") as journal:
        journal.write(torn)
    data = quietly(by_subject(videos), tmp_path / "data")
    assert first_values(data) == WANTED and verify(data.path)["sequences"] == 12


def test_unfinished_shards_that_were_damaged_are_named(videos, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        interrupted_at(patch, (prepare_module.Journal, "add"), 6)
        with pytest.raises(Killed):
            quietly(by_subject(videos), tmp_path / "data")
    shard = next((tmp_path / "data.partial").glob("shard-*"))
    os.truncate(shard, 100)
    with pytest.raises(DataError, match="unfinished shard .* is damaged: remove the folder"):
        quietly(by_subject(videos), tmp_path / "data")
    shard.unlink()
    with pytest.raises(DataError, match="Unfinished shards are missing"):
        quietly(by_subject(videos), tmp_path / "data")


def test_the_second_of_two_at_once_is_refused(videos, tmp_path):
    out = tmp_path / "data"
    holding = "import sys, pathlib, dn3dlib.files as f\nwith f.only_one_at(pathlib.Path(sys.argv[1])):\n    print('held', flush=True); input()"
    other = subprocess.Popen([sys.executable, "-c", holding, out], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert other.stdout.readline() == "held\n"
    with pytest.raises(Dn3dError, match="Another process is at work on"):
        quietly(by_subject(videos), out)
    other.kill()
    other.communicate()
    assert first_values(quietly(by_subject(videos), out)) == WANTED, "a kill frees it"
    with only_one_at(out), pytest.raises(Dn3dError, match="Another process"), only_one_at(out):
        pass


# --- room ------------------------------------------------------------------------------------------------------------


def test_too_small_a_disk_is_noticed_before_the_work(videos, tmp_path, monkeypatch, decoded):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1000))
    with pytest.raises(Dn3dError, match=r"12 videos need about \S+ GB in .*, but only \S+ GB are free"):
        quietly(by_subject(videos), tmp_path / "data")
    assert decoded == [] and not (tmp_path / "data").exists()
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=100_000))
    assert len(quietly(by_subject(videos), tmp_path / "data").sequences) == 12


def test_a_disk_that_fills_up_leaves_the_old_data_set_whole(videos, numbered_video, tmp_path, monkeypatch):
    old = quietly(by_subject(videos), tmp_path / "data")
    numbered_video(videos / "count" / "s3b.avi", 17, first=77)

    def full(self):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(records.ShardWriter, "flush", full)
        with pytest.raises(Dn3dError, match="The disk is full"):
            quietly(by_subject(videos), tmp_path / "data")
    assert DataSet.open(tmp_path / "data") == old and verify(tmp_path / "data")["sequences"] == 12
    assert len(quietly(by_subject(videos), tmp_path / "data").sequences) == 13


# --- strict ----------------------------------------------------------------------------------------------------------


def test_strict_stops_at_the_first_fault(videos, tmp_path):
    catalog = by_subject(videos)
    with pytest.raises(DataError, match="--strict: 1 annotated videos are not in .*: fetch absent.avi first"):
        quietly(dataclasses.replace(catalog, absent_sequences=(Sequence("x", "absent.avi", "late", "s1"),)), tmp_path / "data", strict=True)
    beyond = Sequence("late/s5#far", "late/s5.avi", "late", "s5", 5, 50, catalog.sequences[-1].split)
    longer = dataclasses.replace(catalog, sequences=(*catalog.sequences, beyond))
    with pytest.raises(DataError, match=r"--strict: late/s5#far: its video ends after 12 of 45 annotated frames\. Mend"):
        quietly(longer, tmp_path / "data", strict=True)
    (videos / "count" / "s0b.avi").touch()
    with pytest.raises(DataError, match="--strict: count/s0b.avi: empty"):
        quietly(by_subject(videos), tmp_path / "data", strict=True)
    assert not (tmp_path / "data").exists()
    (videos / "count" / "s0b.avi").unlink()
    assert len(quietly(catalog, tmp_path / "data", strict=True).sequences) == 12


def test_strict_stops_again_at_a_fault_that_is_known(videos, numbered_video, tmp_path):
    (videos / "late" / "s5b.avi").touch()  # the last one: the others are done by then
    for _ in range(2):
        with pytest.raises(DataError, match="--strict: late/s5b.avi: empty"):
            quietly(by_subject(videos), tmp_path / "unfinished", strict=True)
        assert not (tmp_path / "unfinished").exists()
    assert len(quietly(by_subject(videos), tmp_path / "finished").sequences) == 12
    for _ in range(2):
        with pytest.raises(DataError, match="--strict: late/s5b.avi: empty"):
            quietly(by_subject(videos), tmp_path / "finished", strict=True)
    assert first_values(DataSet.open(tmp_path / "finished")) == WANTED
    numbered_video(videos / "count" / "s3b.avi", 17, first=77)
    with pytest.raises(DataError, match="--strict: late/s5b.avi: empty"):
        quietly(by_subject(videos), tmp_path / "finished", strict=True)


# --- the form of what is stored --------------------------------------------------------------------------------------


@pytest.fixture
def ramp(tmp_path) -> Path:
    """Videos of 40×64 pixels; each pixel tells its place: red is 4 × row, green 3 × column."""
    rows, columns = np.mgrid[:40, :64]
    frame = np.stack([4 * rows, 3 * columns, 0 * rows], axis=-1).astype(np.uint8)
    for label in "ab":
        for number in range(2):
            (tmp_path / "ramps" / label).mkdir(parents=True, exist_ok=True)
            frames = np.repeat(frame[None], 6, axis=0)
            frames[..., 2] = 100 * (label == "b") + 10 * number
            video.write_video(tmp_path / "ramps" / label / f"{number}.avi", frames, 25, codec="FFV1")
    return tmp_path / "ramps"


def stored_frame(ramp: Path, out: Path, **storage) -> np.ndarray:
    catalog = folder_catalog(ramp).split_by("by-subject:1,0,0")
    data = quietly(catalog, out, StorageConfig(**({"channels": 3, "encoding": "png"} | storage)))
    return FrameReader(data).decoded(data.sequences[0])[0].astype(int)


@pytest.mark.parametrize("region", [(8, 10, 56, 30), [8, 10, 56, 30], (0.125, 0.25, 0.875, 0.75)])
def test_a_region_is_cut_out_first(ramp, tmp_path, region):
    frame = stored_frame(ramp, tmp_path / "data", height=20, width=48, region=region)
    rows, columns = np.mgrid[10:30, 8:56]
    assert np.abs(frame[..., 0] - 4 * rows).max() <= 3 and np.abs(frame[..., 1] - 3 * columns).max() <= 3  # YUV in between
    assert DataSet.open(tmp_path / "data").storage.region == tuple(region)


def test_a_region_outside_the_video_is_named(ramp, tmp_path):
    with pytest.raises(DataError, match=r"has only 64×40 pixels, but storage.region is \[0, 0, 65, 40\]"):
        stored_frame(ramp, tmp_path / "data", height=20, width=20, region=(0, 0, 65, 40))


def test_a_video_smaller_than_the_region_is_rejected_alone(videos, tmp_path):
    video.write_video(videos / "count" / "s0small.avi", np.zeros((17, 24, 24), np.uint8), 25)
    data = quietly(by_subject(videos), tmp_path / "data", dataclasses.replace(PNG, region=(0, 0, 32, 32)))
    assert [(row["file"], row["reason"]) for row in data.rejected] == [("count/s0small.avi", "smaller than the region")]
    assert first_values(data) == WANTED


@pytest.mark.parametrize("region", [(1, 2, 3), (5, 0, 4, 9), (0, 0, 0, 1), (-1, 0, 9, 9), (0.5, 0, 9, 9), ("0", 0, 1, 1), (0, 0, float("nan"), 1)])
def test_a_region_that_is_no_box_is_refused(region):
    with pytest.raises(ConfigError, match="storage.region is .* left, top, right, bottom"):
        StorageConfig(region=region)


def test_the_smallest_share_is_still_a_pixel(ramp, tmp_path):
    frame = stored_frame(ramp, tmp_path / "data", height=8, width=8, region=(0.999, 0.999, 1.0, 1.0))
    assert np.abs(frame[..., :2] - (4 * 39, 3 * 63)).max() <= 3


@pytest.mark.parametrize(
    ("storage", "shape"),
    [
        ({"short_side": 20}, (20, 32, 3)),
        ({"short_side": 80}, (80, 128, 3)),
        ({"short_side": 20, "region": (0, 0, 20, 40)}, (40, 20, 3)),
        ({"height": 24, "width": 24}, (24, 24, 3)),
    ],
)
def test_the_short_side_keeps_the_aspect_ratio(ramp, tmp_path, storage, shape):
    assert stored_frame(ramp, tmp_path / "data", **storage).shape == shape
    data = DataSet.open(tmp_path / "data")
    assert data.storage.frame_shape == shape and data.storage.short_side == 0
    stored_frame(ramp, tmp_path / "data", **storage)  # the same inputs: nothing to do


def test_videos_are_added_in_the_size_that_is_there(ramp, tmp_path):
    wide = quietly(folder_catalog(ramp).split_by("by-subject:1,0,0"), tmp_path / "data", StorageConfig(short_side=20))
    video.write_video(ramp / "a" / "-1.avi", np.zeros((17, 64, 40), np.uint8), 25)  # upright, and the first in order
    data = quietly(folder_catalog(ramp).split_by("by-subject:1,0,0"), tmp_path / "data", StorageConfig(short_side=20))
    assert data.sequences[0].id == "a/-1" and len(data.sequences) == 5
    assert data.storage == wide.storage and data.storage.frame_shape[:2] == (20, 32) and verify(data.path)


@pytest.mark.parametrize(("storage", "error"), [({"encoding": "png"}, 0), ({"quality": 95}, 1.8), ({"quality": 75}, 4.0)])
def test_decoded_pixels_stay_near_the_source(shared_data, tmp_path, storage, error):
    """Mean absolute error over a whole real video at its own size, in grey levels."""
    source = tmp_path / "kth" / "boxing"
    source.mkdir(parents=True)
    for person in ("person01", "person04"):
        shutil.copy(shared_data / "kth" / "boxing" / f"{person}_boxing_d1_uncomp.avi", source)
    form = StorageConfig(height=120, width=160, channels=1, **({"encoding": "jpeg"} | storage))
    data = quietly(folder_catalog(tmp_path / "kth").split_by("by-subject:1,0,0"), tmp_path / "data", form)
    sequence = data.sequences[0]
    wanted = video.read_frames(tmp_path / "kth" / sequence.video, channels=1)
    found = np.abs(FrameReader(data).decoded(sequence).astype(int) - wanted).mean()
    assert found == 0 if error == 0 else 0 < found < error


# --- bad videos ------------------------------------------------------------------------------------------------------


def test_prepare_judges_as_a_scan_does(shell, numbered_video, tmp_path):
    """Also a file whose name is no UTF-8: through the journal, the manifest and the terminal."""
    make_broken_videos(tmp_path / "videos" / "all")
    for number in range(2):
        numbered_video(tmp_path / "videos" / "all" / f"whole{number}.avi", 17, first=number)
    command = ["prepare", "--dataset", "folder", "--source", tmp_path / "videos", "--out", tmp_path / "data"]
    command += ["--protocol", "by-subject:1,0,0", "--height", 32, "--width", 32, "--workers", 2]
    status, out, err = shell(*command, "--json")
    assert status == 0, err
    data = DataSet.open(tmp_path / "data")
    assert json.loads(out)["rejected"] == list(data.rejected) and json.loads(out)["doubtful"] == list(data.doubtful)

    def shown(rows) -> dict[str, str]:
        return {row["file"].encode(errors="backslashreplace").decode(): row["reason"] for row in rows}

    scanned = {row["video"]: row["reason"] for row in scan_folder(tmp_path / "videos", 2)["videos"] if row["reason"]}
    doubtful = {name for name, reason in scanned.items() if kind_of(reason) in DOUBTFUL}
    assert shown(data.doubtful) == {name: scanned[name] for name in doubtful} and len(doubtful) == 4
    assert shown(data.rejected) == {name: scanned[name] for name in scanned.keys() - doubtful}
    assert {row["file"] for row in data.rejected + data.doubtful} == {f"all/{name}" for name, reason in REASONS.items() if reason}
    assert len(data.sequences) == 2 + 1 + 4 and min(s.frames for s in data.sequences) > 0 and verify(data.path)["sequences"] == 7
    status, out, err = shell(*command)
    assert status == 0 and "  rejected all/\\udcff.avi: unusable name\n" in out, err


def test_equal_empty_files_are_no_duplicates(videos, tmp_path):
    for subject in range(6):
        (videos / "count" / f"s{subject}b.avi").touch()
    shutil.copy(videos / "count" / "s0.avi", videos / "count" / "s0copy.avi")
    data = quietly(by_subject(videos), tmp_path / "data")
    assert [row["reason"] for row in data.rejected] == ["empty"] * 6
    assert data.doubtful == ({"file": "count/s0copy.avi", "reason": "duplicate of count/s0.avi"},)
    assert first_values(data) == WANTED | {"count/s0copy": 0}


def test_look_alikes_are_found_once(ramp, tmp_path, monkeypatch):
    data = quietly(folder_catalog(ramp).split_by("by-subject:1,0,0"), tmp_path / "data")
    assert len(data.look_alikes) == 6 and data.crossing_pairs() == [], "four ramps, each like the others"
    for module in (duplicates, prepare_module):
        monkeypatch.setattr(module, "near_pairs", None)
    data = DataSet.open(data.path).split_by("by-subject:0.5,0.25,0.25")
    assert len(data.crossing_pairs()) == 5, "all but the pair in training"
    assert data.summary()["near_duplicates"] == data.crossing_pairs() == DataSet.open(data.path).crossing_pairs()


def test_the_decoding_process_reports_what_it_found(videos, tmp_path):
    spools = [tmp_path / "one", tmp_path / "two"]
    found = decode._decode(videos / "count" / "s1.avi", [(2, 5), (4, None)], spools, PNG)
    assert found.frames == (3, 13) and found.reason == "" and found.fps == 25.0
    assert [len(list(decode.read_spool(spool))) for spool in spools] == [3, 13]
    found = decode._decode(videos / "count" / "gone.avi", [(0, None)], spools[:1], PNG)
    assert found.reason == "missing" and "does not exist" in found.problem
    assert json.dumps(dataclasses.asdict(found))
