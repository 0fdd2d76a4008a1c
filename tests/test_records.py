"""Prepared data sets: what is stored is what was in the videos, and whatever is damaged is named."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from dn3dlib.config import StorageConfig
from dn3dlib.data import records, video
from dn3dlib.data.catalog import Catalog, Sequence, folder_catalog
from dn3dlib.data.kth import kth_catalog
from dn3dlib.data.manifest import FORMAT, MANIFEST, DataSet
from dn3dlib.data.prepare import prepare
from dn3dlib.data.records import FrameReader, verify
from dn3dlib.errors import ConfigError, DataError, Dn3dError
from dn3dlib.files import only_one_at

PNG = StorageConfig(height=32, width=32, channels=1, encoding="png")


def quietly(catalog: Catalog, out: Path, storage: StorageConfig = PNG, workers: int = 1) -> DataSet:
    return prepare(catalog, out, storage, workers, show_progress=False)


def values_of(data: DataSet, sequence) -> list[int]:
    """The grey value of each stored frame of a video from `numbered_video`."""
    frames = FrameReader(data).decoded(sequence)
    assert frames.shape == (sequence.frames, *data.storage.frame_shape) and frames.dtype == np.uint8
    assert (frames == frames[:, :1, :1]).all()
    return frames[:, 0, 0, 0].tolist()


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def rewrite(data_dir: Path, change) -> None:
    """Let `change` alter the manifest's values, as a damaged or foreign one."""
    values = json.loads((data_dir / MANIFEST).read_text())
    change(values)
    (data_dir / MANIFEST).write_text(json.dumps(values))


def flip(path: Path, position: int) -> None:
    data = bytearray(path.read_bytes())
    data[position] ^= 1
    path.write_bytes(data)


@pytest.fixture(scope="module")
def numbered(numbered_video, tmp_path_factory) -> Path:
    """A folder of two classes; frame n of each video has the value n, or 100 + n."""
    root = tmp_path_factory.mktemp("numbered")
    for subject in range(4):
        numbered_video(root / "count" / f"s{subject}.avi", 20 + subject)
        numbered_video(root / "late" / f"s{subject}.avi", 20 + subject, first=100)
    return root


@pytest.fixture(scope="module")
def rows(numbered) -> Catalog:
    """Ranges of the numbered videos: some overlap, some leave frames out."""
    ranges = {"count": [(0, 10), (5, 15), (17, 20)], "late": [(3, 4), (0, None)]}
    sequences = [
        Sequence(f"{label}/s{subject}#{number}", f"{label}/s{subject}.avi", label, f"s{subject}", start, stop)
        for label, parts in ranges.items() for subject in range(4) for number, (start, stop) in enumerate(parts)
    ]  # fmt: skip
    return Catalog("folder", numbered, tuple(sequences)).split_by("by-subject:0.5,0.25,0.25")


@pytest.fixture(scope="module")
def numbers(rows, tmp_path_factory) -> DataSet:
    """`rows`, prepared with small records and small shards."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(records, "MAX_RECORD_FRAMES", 7)
        patch.setattr(records, "MAX_SHARD_BYTES", 5000)
        return quietly(rows, tmp_path_factory.mktemp("numbers") / "data")


@pytest.fixture
def copy(numbers, tmp_path) -> Path:
    """A copy of `numbers`, to damage."""
    return Path(shutil.copytree(numbers.path, tmp_path / "copy"))


# --- what is stored --------------------------------------------------------------------------------------------------


def test_every_sequence_holds_exactly_its_frames(rows, numbers):
    assert {s.id for s in numbers.sequences} == {s.id for s in rows.sequences}
    wanted = {s.id: (s.start, s.stop) for s in rows.sequences}
    for sequence in numbers.sequences:
        start, stop = wanted[sequence.id]
        frames = np.arange(20 + int(sequence.subject[1:])) + (100 if sequence.label == "late" else 0)
        assert values_of(numbers, sequence) == frames[start:stop].tolist()


def test_a_long_sequence_in_several_records_is_read_as_one(numbers):
    whole = next(s for s in numbers.sequences if s.id == "late/s3#1")
    assert [record.frames for record in whole.records] == [7, 7, 7, 2]
    order = np.array([22, 0, 6, 7, 7, 13, 14, 21, 1])
    assert (FrameReader(numbers).decoded(whole, order)[:, 0, 0, 0] == 100 + order).all()


def test_png_is_lossless_and_jpeg_is_near(prepared, catalog, source, tmp_path):
    data, reader = DataSet.open(prepared), FrameReader(DataSet.open(prepared))
    by_id = {s.id: s for s in catalog.sequences}
    for sequence in data.sequences[::7]:
        row = by_id[sequence.id]
        frames = video.read_frames(source / row.video, row.start, row.stop, height=32, width=32, channels=1)
        assert np.array_equal(reader.decoded(sequence), frames)
    storage = StorageConfig(height=40, width=48, channels=3, encoding="jpeg", fit="crop")
    colour = quietly(catalog.only_classes(["boxing"]).split_by("by-subject:1,0,0"), tmp_path / "jpeg", storage)
    sequence = colour.sequences[0]
    row = by_id[sequence.id]
    frames = video.read_frames(source / row.video, row.start, row.stop, height=40, width=48, fit="crop")
    stored = FrameReader(colour).decoded(sequence)
    difference = np.abs(stored.astype(int) - frames)
    assert stored.shape == (12, 40, 48, 3) and 0 < difference.mean() < 2


def test_colours_keep_their_order(tmp_path):
    frames = np.zeros((8, 32, 32, 3), np.uint8)
    frames[..., 0], frames[..., 2] = 200, 30
    for name in ("a/1.avi", "b/2.avi"):
        (tmp_path / "videos" / name).parent.mkdir(parents=True)
        video.write_video(tmp_path / "videos" / name, frames, 25, codec="FFV1")
    for encoding in ("png", "jpeg"):
        storage = StorageConfig(height=32, width=32, channels=3, encoding=encoding)
        data = quietly(folder_catalog(tmp_path / "videos").split_by("by-subject:1,0,0"), tmp_path / encoding, storage)
        pixel = FrameReader(data).decoded(data.sequences[0])[3, 16, 16].astype(int)
        assert np.abs(pixel - (200, 0, 30)).max() <= 6


def test_the_manifest_says_what_there_is(rows, numbers, numbered):
    values = json.loads((numbers.path / MANIFEST).read_text())
    assert values["format"] == FORMAT and values["classes"] == ["count", "late"]
    assert values["protocol"] == "by-subject:0.5,0.25,0.25" and values["dataset"] == "folder"
    assert values["storage"] == {
        "height": 32, "width": 32, "channels": 1, "fit": "stretch", "encoding": "png", "quality": 95, "short_side": 0, "follow": "none", "region": [],
    }  # fmt: skip
    assert [shard["bytes"] for shard in values["shards"]] == [(numbers.path / s["name"]).stat().st_size for s in values["shards"]]
    assert sum(shard["records"] for shard in values["shards"]) == sum(len(s.records) for s in numbers.sequences)
    splits = {s.id: s.split for s in rows.sequences}
    for sequence in numbers.sequences:
        assert sequence.split == splits[sequence.id] and sequence.fps == 25.0
        assert sequence.video_bytes == (numbered / sequence.video).stat().st_size
        assert sequence.frames == sum(record.frames for record in sequence.records)
    assert [s.subject for s in numbers.sequences] == sorted(s.subject for s in numbers.sequences), "sorted by subject"


def test_records_are_ordinary_tfrecords_of_examples(numbers):
    import tensorflow as tf

    found = []
    for shard in numbers.shards:
        for raw in tf.data.TFRecordDataset(str(numbers.path / shard["name"])):
            feature = tf.train.Example.FromString(raw.numpy()).features.feature
            texts = [feature[name].bytes_list.value[0].decode() for name in ("sequence/id", "video/id", "subject")]
            frames = len(feature["frames"].bytes_list.value)
            found.append((*texts, feature["label"].int64_list.value[0], feature["fps"].float_list.value[0], frames))
    assert found == [
        (s.id, s.video, s.subject, numbers.classes.index(s.label), 25.0, record.frames)
        for s in numbers.sequences for record in s.records
    ]  # fmt: skip


def test_shards_are_bounded_and_numbered(numbers):
    count = len(numbers.shards)
    assert count > 2
    assert [s["name"] for s in numbers.shards] == [f"records-{n:05d}-of-{count:05d}.tfrecord" for n in range(count)]
    assert all(shard["bytes"] <= 5000 for shard in numbers.shards)
    assert {path.name for path in numbers.path.iterdir()} == {MANIFEST, *(s["name"] for s in numbers.shards)}


def test_a_record_larger_than_a_shard_has_one_for_itself(rows, tmp_path, monkeypatch):
    monkeypatch.setattr(records, "MAX_SHARD_BYTES", 1)
    data = quietly(rows.only_classes(["late"]), tmp_path / "data")
    assert [shard["records"] for shard in data.shards] == [1] * len(data.sequences)
    assert verify(data.path)["records"] == len(data.sequences)


def test_a_record_is_closed_before_it_has_too_many_bytes(rows, numbers, tmp_path, monkeypatch):
    monkeypatch.setattr(records, "MAX_RECORD_BYTES", 400)
    data = quietly(rows, tmp_path / "data")
    for sequence, wanted in zip(data.sequences, numbers.sequences, strict=True):
        sizes = [len(frame) for frame in FrameReader(data).encoded(sequence, np.arange(sequence.frames))]
        parts = np.split(sizes, np.cumsum([record.frames for record in sequence.records])[:-1])
        assert all(part.sum() <= 400 for part in parts) and all(part.sum() + following[0] > 400 for part, following in zip(parts, parts[1:], strict=False))
        assert values_of(data, sequence) == values_of(numbers, wanted) and sequence.sha256 == wanted.sha256
    assert max(len(s.records) for s in data.sequences) > 2 and verify(data.path)


@pytest.mark.parametrize("limit", [1, 10])
def test_a_frame_of_more_bytes_than_a_record_has_one_for_itself(monkeypatch, limit):
    monkeypatch.setattr(records, "MAX_RECORD_BYTES", limit)
    assert list(records._chunks([b"x" * 11, b"yy", b"z" * 12])) == [[b"x" * 11], [b"yy"], [b"z" * 12]]


def test_the_sizes_of_the_design():
    assert records.MAX_SHARD_BYTES == 100_000_000 and records.MAX_RECORD_FRAMES == 600
    assert records.MAX_RECORD_BYTES == 50_000_000


def test_the_number_of_workers_does_not_matter(rows, tmp_path):
    quietly(rows, tmp_path / "one", workers=1)
    quietly(rows, tmp_path / "two", workers=2)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["one", "two"], "nothing is left beside"


def test_the_summary_counts_each_split(numbers):
    summary = numbers.summary()
    assert [summary[split]["subjects"] for split in ("train", "validation", "test")] == [2, 1, 1]
    assert [summary[split]["sequences"] for split in ("train", "validation", "test")] == [10, 5, 5]
    assert sum(summary[split]["frames"] for split in ("train", "validation", "test")) == sum(s.frames for s in numbers.sequences)
    assert summary["rejected"] == summary["shortened"] == []


# --- preparing -------------------------------------------------------------------------------------------------------


def test_a_second_prepare_does_nothing(rows, numbers):
    before = {path: path.stat().st_mtime_ns for path in numbers.path.iterdir()}
    assert quietly(rows, numbers.path) == numbers
    assert {path: path.stat().st_mtime_ns for path in numbers.path.iterdir()} == before


@pytest.mark.parametrize(
    ("what", "sentence"),
    [("storage", "its storage is"), ("protocol", "its protocol is by-subject:0.5,0.25,0.25, seed 0"), ("rows", "its list of classes")],
)
def test_other_settings_for_an_existing_data_set_are_refused(rows, numbers, what, sentence):
    other = {
        "storage": (rows, StorageConfig(height=32, width=32, channels=3, encoding="png")),
        "protocol": (rows.split_by("by-subject:1,0,0"), PNG),
        "rows": (rows.only_classes(["late"]), PNG),
    }[what]
    before = contents(numbers.path)
    with pytest.raises(DataError, match=f"already holds another data set: {sentence}"):
        quietly(other[0], numbers.path, other[1])
    assert contents(numbers.path) == before


def test_changed_source_videos_are_noticed(numbered_video, tmp_path):
    for name in ("a/1.avi", "b/2.avi", "b/3.avi"):
        numbered_video(tmp_path / "videos" / name, 10)
    catalog = folder_catalog(tmp_path / "videos").split_by("by-subject:1,0,0")
    quietly(catalog, tmp_path / "data")
    numbered_video(tmp_path / "videos" / "a/1.avi", 11)
    with pytest.raises(DataError, match="a/1.avi has changed since"):
        quietly(catalog, tmp_path / "data")
    (tmp_path / "videos" / "b/3.avi").unlink()
    with pytest.raises(DataError, match="b/3.avi is gone since|a/1.avi has changed since"):
        quietly(folder_catalog(tmp_path / "videos").split_by("by-subject:1,0,0"), tmp_path / "data")


def test_a_folder_of_other_things_is_refused_and_left_alone(rows, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "thesis.txt").write_text("years of work")
    with pytest.raises(DataError, match="exists and is not a whole data set"):
        quietly(rows, tmp_path / "data")
    (tmp_path / "file").write_text("years of work")
    with pytest.raises(DataError, match="is a file"):
        quietly(rows, tmp_path / "file")
    assert contents(tmp_path / "data") == {"thesis.txt": b"years of work"}
    assert (tmp_path / "file").read_text() == "years of work"


def test_an_empty_folder_is_filled(rows, tmp_path):
    (tmp_path / "data").mkdir()
    assert len(quietly(rows.only_classes(["late"]), tmp_path / "data").sequences) == 8


def test_catalogs_and_numbers_that_cannot_be_are_refused(numbered, rows, tmp_path):
    with pytest.raises(DataError, match="apply a protocol first"):
        quietly(folder_catalog(numbered), tmp_path / "data")
    with pytest.raises(DataError, match="no sequences"):
        quietly(Catalog("folder", numbered, ()), tmp_path / "data")
    with pytest.raises(ConfigError, match="--workers is 0"):
        quietly(rows, tmp_path / "data", workers=0)
    assert not list(tmp_path.iterdir())


def test_an_annotation_beyond_the_end_is_shortened_and_listed(numbered, rows, tmp_path):
    extra = [
        Sequence("count/s0#late", "count/s0.avi", "count", "s0", 15, 50),
        Sequence("count/s0#never", "count/s0.avi", "count", "s0", 30, 50),
    ]
    catalog = Catalog("folder", numbered, (*rows.sequences, *extra)).split_by("by-subject:1,0,0")
    data = quietly(catalog, tmp_path / "data")
    assert data.shortened == (
        {"sequence": "count/s0#late", "annotated": 35, "frames": 5},
        {"sequence": "count/s0#never", "annotated": 20, "frames": 0},
    )
    stored = {s.id: s for s in data.sequences}
    assert values_of(data, stored["count/s0#late"]) == [15, 16, 17, 18, 19]
    assert values_of(data, stored["count/s0#0"]) == list(range(10)), "the others are whole"
    assert "count/s0#never" not in stored and data.summary()["shortened"] == list(data.shortened)
    assert verify(data.path)["sequences"] == len(data.sequences)


def test_a_video_that_cannot_be_read_is_listed_with_its_reason(numbered_video, tmp_path):
    for name in ("a/1.avi", "a/3.avi", "b/2.avi"):
        numbered_video(tmp_path / "videos" / name, 10)
    (tmp_path / "videos" / "a" / "text.avi").write_text("This is not a film.\n" * 100)
    (tmp_path / "videos" / "a" / "empty.avi").touch()
    whole = (tmp_path / "videos" / "a" / "3.avi").read_bytes()
    (tmp_path / "videos" / "a" / "3.avi").write_bytes(whole[: len(whole) // 2])
    data = quietly(folder_catalog(tmp_path / "videos").split_by("by-subject:1,0,0"), tmp_path / "data")
    reasons = {row["file"]: row["reason"] for row in data.rejected}
    assert set(reasons) == {"a/text.avi", "a/empty.avi", "a/3.avi"}
    assert "no video stream" in reasons["a/text.avi"] and reasons["a/empty.avi"] == "empty" and "truncated" in reasons["a/3.avi"]
    assert [s.id for s in data.sequences] == ["a/1", "b/2"] and data.summary()["rejected"] == list(data.rejected)


def test_a_class_without_a_readable_video_is_refused(numbered_video, tmp_path):
    numbered_video(tmp_path / "videos" / "a" / "1.avi", 10)
    (tmp_path / "videos" / "b").mkdir()
    (tmp_path / "videos" / "b" / "2.avi").write_text("no film")
    with pytest.raises(DataError, match=r"Class b in .* has no frame that can be read \(.*2\.avi has no video stream"):
        quietly(folder_catalog(tmp_path / "videos").split_by("by-subject:1,0,0"), tmp_path / "data")
    assert not (tmp_path / "data").exists(), "what is done waits beside it, in case the videos are mended"


FULL_DISK = """
import resource, sys
from dn3dlib.cli import main
if __name__ == "__main__":
    limit = int(sys.argv[1])
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    sys.exit(main(sys.argv[2:]))
"""


@pytest.mark.parametrize("limit", [2_000, 60_000])  # below one video's frames; above them, below the shard
def test_a_full_disk_while_preparing(source, tmp_path, limit):
    script = tmp_path / "full.py"
    script.write_text(FULL_DISK)
    out = tmp_path / "out" / "data"
    out.parent.mkdir()
    command = f"prepare --dataset kth --protocol by-subject --source {source} --out {out} --height 32 --width 32 --set storage.encoding=png"
    done = subprocess.run(
        [sys.executable, script, str(limit), *command.split(), "--workers", "2"], capture_output=True, text=True, timeout=100
    )
    last = done.stderr.splitlines()[-1]
    assert done.returncode == 2, done.stderr
    assert last.startswith("dn3d: error: The disk is full (File too large) while writing ") and str(out) in last
    assert "Traceback" not in done.stderr and not out.exists()
    again = [sys.executable, "-m", "dn3dlib", *command.split()]
    assert subprocess.run(again, capture_output=True, timeout=100).returncode == 0, "with room it goes on"
    assert verify(out)["sequences"] == 48 and [path.name for path in out.parent.iterdir()] == ["data"]


def test_a_folder_that_may_not_be_written_is_named(rows, tmp_path, monkeypatch):
    def refused(self, *arguments, **options):  # by hand: the superuser may write everywhere
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "mkdir", refused)
    with pytest.raises(Dn3dError, match="cannot be written"):
        quietly(rows, tmp_path / "locked" / "data")


def test_a_target_inside_a_file_is_named(rows, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(Dn3dError, match="cannot be made"):
        quietly(rows, tmp_path / "file" / "data")


# --- damage ----------------------------------------------------------------------------------------------------------


def test_a_whole_data_set_passes(numbers):
    assert verify(numbers.path) == {
        "sequences": len(numbers.sequences),
        "records": sum(len(s.records) for s in numbers.sequences),
        "frames": sum(s.frames for s in numbers.sequences),
        "bytes": sum(shard["bytes"] for shard in numbers.shards),
    }


@pytest.mark.parametrize("share", [0.0, 0.3, 0.7, 1.0])
@pytest.mark.parametrize("number", [0, 5, -1])
def test_one_flipped_byte_in_a_record_is_named_and_refused(copy, number, share):
    data = DataSet.open(copy)
    sequence = data.sequences[number]
    place = len(sequence.records) - 1
    record = sequence.records[place]
    shard = copy / data.shards[record.shard]["name"]
    flip(shard, record.offset + int(share * (record.length - 1)))
    with pytest.raises(DataError) as caught:
        verify(copy)
    assert f"Record {place + 1} of {len(sequence.records)} of sequence {sequence.id}, in the shard {shard} " in str(caught.value)
    with pytest.raises(DataError) as caught:  # what training reads with
        FrameReader(DataSet.open(copy)).encoded(sequence, np.array([sequence.frames - 1]))
    assert sequence.id in str(caught.value) and shard.name in str(caught.value)


@pytest.mark.parametrize("behind", [False, True])
def test_a_flipped_byte_between_records_is_named(copy, behind):
    data = DataSet.open(copy)
    record = data.sequences[4].records[0]
    shard = copy / data.shards[record.shard]["name"]
    flip(shard, record.offset + record.length + 1 if behind else record.offset - 12)  # checksum behind, length before
    with pytest.raises(DataError, match=f"The shard {shard} has changed between its records"):
        verify(copy)


def test_the_last_byte_counts(copy):
    shard = copy / DataSet.open(copy).shards[-1]["name"]
    flip(shard, -1)
    with pytest.raises(DataError, match=shard.name):
        verify(copy)


@pytest.mark.parametrize("what", ["missing", "shorter", "longer"])
def test_a_shard_that_is_missing_or_has_another_size_is_named(copy, what):
    shard = copy / DataSet.open(copy).shards[1]["name"]
    content = shard.read_bytes()
    shard.unlink() if what == "missing" else shard.write_bytes(content[:-1] if what == "shorter" else content + b"x")
    with pytest.raises(DataError) as caught:
        DataSet.open(copy)
    said = "is missing" if what == "missing" else f"has {shard.stat().st_size} bytes instead of {len(content)}"
    assert f"The shard {shard} {said}" in str(caught.value)


@pytest.mark.parametrize("version", [FORMAT + 1, 0, None, "1"])
def test_a_manifest_of_another_version_is_refused(copy, version):
    rewrite(copy, lambda values: values.update(format=version))
    with pytest.raises(DataError, match=f"has format {version!r}, but this version of dn3d reads format {FORMAT}"):
        DataSet.open(copy)


def _first(values, key):
    return values[key][0]


@pytest.mark.parametrize(
    "change",
    [
        lambda values: values.pop("classes"),
        lambda values: values.pop("sequences"),
        lambda values: values.pop("storage"),
        lambda values: values.update(extra=1),
        lambda values: values.update(classes=["count"]),
        lambda values: values.update(sequences=[1]),
        lambda values: values.update(sequences=None),
        lambda values: values["storage"].update(height="32"),
        lambda values: values["storage"].update(depth=3),
        lambda values: _first(values, "sequences").pop("label"),
        lambda values: _first(values, "sequences").update(split="training"),
        lambda values: _first(values, "sequences").update(frames=0),
        lambda values: _first(values, "sequences").update(frames=11),
        lambda values: _first(values, "sequences").update(records=[[0, 1]]),
        lambda values: _first(values, "sequences").update(records=[]),
        lambda values: _first(values, "sequences")["records"][0].__setitem__(0, 99),
        lambda values: _first(values, "sequences")["records"][0].__setitem__(0, -1),
        lambda values: _first(values, "shards").pop("bytes"),
        lambda values: _first(values, "shards").pop("sha256"),
        lambda values: _first(values, "shards").update(name="../other/records-00000-of-00001.tfrecord"),
        lambda values: _first(values, "shards").update(name="/etc/passwd"),
        lambda values: _first(values, "shards").update(name=".."),
        lambda values: _first(values, "shards").update(name=1),
        lambda values: values.update(shards={"name": "x"}),
        lambda values: values.update(look_alikes=[[0, len(values["sequences"]), 0.5]]),
        lambda values: values.update(look_alikes=[[-1, 1, 0.5]]),
        lambda values: values.update(look_alikes=[[1, 1, 0.5]]),
        lambda values: values.update(look_alikes=[[0, 1]]),
        lambda values: values.pop("look_alikes"),
    ],
)
def test_a_manifest_that_cannot_be_is_refused(copy, change):
    rewrite(copy, change)
    with pytest.raises(DataError) as caught:
        DataSet.open(copy)
    assert str(copy) in str(caught.value) and "prepare the data set again" in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b"null"])
def test_a_manifest_that_is_no_json_is_refused(copy, content):
    (copy / MANIFEST).write_bytes(content)
    with pytest.raises(Dn3dError, match=f"The manifest {copy / MANIFEST} .*: restore it, or make it again"):
        DataSet.open(copy)


def test_what_is_no_data_set_is_refused(tmp_path, numbered):
    with pytest.raises(DataError, match="There is no prepared data set at"):
        DataSet.open(tmp_path / "none")
    with pytest.raises(DataError, match=f"holds no {MANIFEST}"):
        DataSet.open(numbered)


# --- splitting anew --------------------------------------------------------------------------------------------------


def test_split_changes_the_protocol_and_touches_no_shard(copy):
    before = contents(copy)
    old = DataSet.open(copy)
    new = old.split_by("by-subject:0.25,0.25,0.5", 3)
    assert new == DataSet.open(copy) and (new.protocol, new.seed) == ("by-subject:0.25,0.25,0.5", 3)
    assert [new.summary()[split]["subjects"] for split in ("train", "validation", "test")] == [1, 1, 2]
    assert new.fingerprint != old.fingerprint
    after = contents(copy)
    assert {name for name in after if after[name] != before[name]} == {MANIFEST}
    again = new.split_by(old.protocol, old.seed)
    assert again.fingerprint == old.fingerprint and verify(copy)["sequences"] == len(old.sequences)


def test_a_split_that_cannot_be_leaves_the_data_set_as_it_was(copy):
    before = contents(copy)
    with pytest.raises(DataError, match="no place for subject"):
        DataSet.open(copy).split_by("gu2017")
    with pytest.raises(ConfigError, match="did you mean gu2017"):
        DataSet.open(copy).split_by("gu2018")
    assert contents(copy) == before


def test_a_leaking_split_is_marked(copy):
    data = DataSet.open(copy)
    assert not data.leaks and data.summary()["leaks"] is False
    assert data.split_by("random-leaky").leaks and DataSet.open(copy).leaks
    summary = DataSet.open(copy).summary()
    assert (summary["protocol"], summary["leaks"], summary["near_duplicates"]) == ("random-leaky", True, [])


def test_a_data_set_that_another_process_holds_is_not_split(copy):
    before = contents(copy)
    with only_one_at(copy), pytest.raises(Dn3dError, match=f"Another process is at work on {copy}"):
        DataSet.open(copy).split_by("random-leaky")
    assert contents(copy) == before and not copy.with_name("copy.lock").exists()
    assert DataSet.open(copy).split_by("random-leaky").leaks


def test_split_refuses_two_copies_of_one_video(numbered_video, tmp_path):
    for label in "ab":
        for number in range(6):
            numbered_video(tmp_path / "videos" / label / f"{number}.avi", 10, first=10 * number + (100 if label == "b" else 0))
    shutil.copy(tmp_path / "videos" / "a" / "0.avi", tmp_path / "videos" / "a" / "copy.avi")
    data = quietly(folder_catalog(tmp_path / "videos").split_by("by-subject:1,0,0"), tmp_path / "data")
    sentence = ""
    for seed in range(6):
        before = contents(data.path)
        try:
            places = {s.id: s.split for s in data.split_by("by-subject", seed).sequences}
            assert places["a/0"] == places["a/copy"]
        except DataError as error:
            sentence = str(error)
            assert contents(data.path) == before
    assert "a/0 (" in sentence and "a/copy (" in sentence and "identical" in sentence


def test_an_unknown_split_is_refused(numbers):
    with pytest.raises(ConfigError, match="There is no split 'valid'"):
        numbers.of_split("valid")


# --- real KTH --------------------------------------------------------------------------------------------------------


def test_real_kth_is_stored_as_annotated(shared_data, tmp_path):
    catalog = kth_catalog(shared_data / "kth").split_by("schuldt2004").only_classes(["boxing"])
    data = quietly(catalog, tmp_path / "data", PNG, workers=2)
    assert len(data.sequences) == len(catalog.sequences) == 16 and not data.rejected
    row = next(s for s in catalog.sequences if s.id == "person01_boxing_d1#2")
    stored = next(s for s in data.sequences if s.id == row.id)
    frames = video.read_frames(catalog.source_dir / row.video, 95, 185, height=32, width=32, channels=1)
    assert stored.frames == 90 and np.array_equal(FrameReader(data).decoded(stored), frames)
