"""MERL Shopping: its label files, and that every labelled frame, and no other, arrives in the prepared data."""

import dataclasses
import shutil
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from dn3dlib.config import StorageConfig
from dn3dlib.data.manifest import DataSet
from dn3dlib.data.merl import BACKGROUND, CLASSES, merl_catalog, read_labels
from dn3dlib.data.prepare import prepare
from dn3dlib.data.records import FrameReader
from dn3dlib.data.video import write_video
from dn3dlib.errors import DataError

NOTHING = np.zeros((0, 0), np.uint8)  # as the published files say it
SIZE, CELL = (48, 64), 16  # of the drawn pictures, in pixels: 12 cells for 12 bits
STORAGE = StorageConfig(height=48, width=64, channels=1)


def write_labels(path: Path, *cells, name: str = "tlabs", shape: tuple[int, int] = (5, 1)) -> Path:
    """A label file of `cells`, in the order of the classes; those that are not given are empty."""
    array = np.empty(5, object)
    for place in range(5):
        array[place] = np.asarray(cells[place]) if place < len(cells) else NOTHING
    path.parent.mkdir(parents=True, exist_ok=True)
    savemat(path, {name: array.reshape(shape)})
    return path


def write_frames(path: Path, count: int, around: tuple[int, int] = (0, 0)) -> None:
    """A video in MERL's format whose frames show their number in black and white cells, which compression leaves readable.

    `around`: rows and columns of stripes above and below, left and right of the cells.
    """
    bits = np.arange(count)[:, None] >> np.arange(12) & 1
    cells = bits.reshape(-1, SIZE[0] // CELL, SIZE[1] // CELL).astype(np.uint8) * 255
    (height, width), (rows, columns) = SIZE, around
    frames = np.zeros((count, height + 2 * rows, width + 2 * columns), np.uint8)
    frames[:, ::8] = frames[:, :, ::8] = 255
    frames[:, rows : rows + height, columns : columns + width] = cells.repeat(CELL, 1).repeat(CELL, 2)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_video(path, frames, fps=30, codec="mp4v")


def numbers_shown(data: DataSet, sequence) -> list[int]:
    """What the stored frames of a sequence say which they are."""
    frames = FrameReader(data).decoded(sequence)[..., 0]
    means = frames.reshape(len(frames), SIZE[0] // CELL, CELL, SIZE[1] // CELL, CELL).mean((2, 4))
    assert (np.abs(means - 127.5) > 100).all(), "every cell is black or white"
    return ((means > 127.5).reshape(-1, 12) @ (1 << np.arange(12))).tolist()


def quietly(catalog, out: Path, storage: StorageConfig = STORAGE) -> DataSet:
    return prepare(catalog, out, storage, 1, show_progress=False)


# --- the label files -------------------------------------------------------------------------------------------------


def test_all_of_the_labels(shared_data):
    catalog = merl_catalog(shared_data / "merl_labels", annotated=True)
    counts = Counter(s.label for s in catalog.sequences)
    assert [counts[label] for label in CLASSES] == [1711, 1621, 562, 674, 809] and len(catalog.sequences) == 5377
    assert len({s.id for s in catalog.sequences}) == 5377 and catalog.classes == tuple(sorted(CLASSES))
    assert {s.subject for s in catalog.sequences} == {f"subject{n:02d}" for n in range(1, 42)}
    assert len(catalog.absent) == len({s.video for s in catalog.sequences}) == 106
    first = catalog.sequences[0]
    assert (first.id, first.label, first.subject) == ("1_1#reach-to-shelf-01", "reach to shelf", "subject01")
    assert first.video == "Videos_MERL_Shopping_Dataset/1_1_crop.mp4"


def test_the_protocol_of_the_paper(shared_data):
    split = merl_catalog(shared_data / "merl_labels", annotated=True).split_by("singh2016")
    videos = {name: len({s.video for s in split.sequences if s.split == name}) for name in ("train", "validation", "test")}
    assert videos == {"train": 60, "validation": 18, "test": 28}
    assert {s.split for s in split.sequences if s.subject in ("subject20", "subject21", "subject27")} == {"train", "validation", "test"}


def test_the_labels_hold_no_instance_twice(shared_data):
    rows = merl_catalog(shared_data / "merl_labels", annotated=True).sequences
    assert len({(s.video, s.label, s.start, s.stop) for s in rows}) == len(rows)


def test_frames_are_counted_from_0(tmp_path):
    path = write_labels(tmp_path / "1_1_label.mat", [[1, 1], [5, 20]], NOTHING, np.array([[7.0, 9.0]]))
    found = read_labels(path)
    assert found == {"reach to shelf": [(0, 1), (4, 20)], "retract from shelf": [], "hand in shelf": [(6, 9)], "inspect product": [], "inspect shelf": []}
    assert all(type(frame) is int for ranges in found.values() for pair in ranges for frame in pair)


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        ([[[0, 5]]], "a frame range that cannot be, for reach to shelf: 0 to 5"),
        ([NOTHING, [[9, 5]]], "a frame range that cannot be, for retract from shelf: 9 to 5"),
        ([[[1.0, 5.5]]], "a frame range that cannot be"),
        ([[[1.0, 1e300]]], "a frame range that cannot be"),
        ([[[1.0, np.nan]]], "no N×2 array of frames for reach to shelf"),
        ([[[1.0, np.inf]]], "no N×2 array of frames"),
        ([[[1, 5, 9]]], "no N×2 array of frames"),
        (["1-5"], "no N×2 array of frames"),
        ([], "names no instance"),
    ],
)
def test_labels_that_cannot_be_are_named(tmp_path, cells, said):
    path = write_labels(tmp_path / "1_1_label.mat", *cells)
    with pytest.raises(DataError, match=f"The label file .*1_1_label.mat.*{said}"):
        merl_catalog(tmp_path, annotated=True)
    assert path.exists()


def test_files_that_are_no_label_files_are_named(tmp_path):
    path = write_labels(tmp_path / "1_1_label.mat", [[1, 5]])
    whole = path.read_bytes()
    for content in (b"", b"no labels", whole[:150], whole[: len(whole) - 40], whole[:128] + bytes(300), b"\x89HDF\r\n\x1a\n" * 20):
        path.write_bytes(content)
        with pytest.raises(DataError, match="The label file .*1_1_label.mat .* fetch it again"):
            read_labels(path)
    for options in ({"name": "labels"}, {"shape": (1, 5)}):
        with pytest.raises(DataError, match="holds no 5×1 cell array `tlabs`"):
            read_labels(write_labels(path, [[1, 5]], **options))
    savemat(path, {"tlabs": np.ones((5, 1))})
    with pytest.raises(DataError, match="holds no 5×1 cell array"):
        read_labels(path)


def test_what_is_not_there_is_named(tmp_path):
    with pytest.raises(DataError, match="There is no label file <subject>_<session>_label.mat in"):
        merl_catalog(tmp_path)
    write_labels(tmp_path / "Labels_MERL_Shopping_Dataset" / "2_1_label.mat", [[1, 5]])
    write_labels(tmp_path / "Labels_MERL_Shopping_Dataset" / "10_1_label.mat", [[1, 5]])
    with pytest.raises(DataError, match="None of the 2 videos that belong to merl is in"):
        merl_catalog(tmp_path)
    (tmp_path / "2_1_crop.mp4").touch()
    catalog = merl_catalog(tmp_path)
    assert [s.video for s in catalog.sequences] == ["2_1_crop.mp4"]
    assert catalog.absent == ("Videos_MERL_Shopping_Dataset/10_1_crop.mp4",)
    (tmp_path / "3_1_crop.mp4").touch()
    with pytest.raises(DataError, match="The video 3_1_crop.mp4 has no label file 3_1_label.mat in"):
        merl_catalog(tmp_path)
    (tmp_path / "3_1_crop.mp4").rename(tmp_path / "holiday.mp4")
    with pytest.raises(DataError, match="holiday.mp4 is not of MERL's form"):
        merl_catalog(tmp_path)
    (tmp_path / "holiday.mp4").unlink()
    shutil.copytree(tmp_path / "Labels_MERL_Shopping_Dataset", tmp_path / "copy")
    with pytest.raises(DataError, match="have one name: remove one of them"):
        merl_catalog(tmp_path)


def test_names_in_upper_case_are_found_and_hidden_folders_passed_over(tmp_path):
    write_labels(tmp_path / "1_1_LABEL.MAT", [[1, 5]])
    write_labels(tmp_path / ".trash" / "1_1_label.mat", [[1, 9]])
    write_labels(tmp_path / ".trash" / "2_1_label.mat", [[1, 9]])
    (tmp_path / ".trash" / "1_1_crop.mp4").touch()
    (tmp_path / "1_1_CROP.MP4").touch()
    (row,) = merl_catalog(tmp_path).sequences
    assert (row.id, row.video, row.stop) == ("1_1#reach-to-shelf-01", "1_1_CROP.MP4", 5)
    assert len(merl_catalog(tmp_path, annotated=True).sequences) == 1


# --- background ------------------------------------------------------------------------------------------------------


def test_background_touches_no_instance(shared_data):
    source = shared_data / "merl_labels"
    catalog, plain = merl_catalog(source, background=True, annotated=True), merl_catalog(source, annotated=True)
    windows = [s for s in catalog.sequences if s.label == BACKGROUND]
    assert tuple(s for s in catalog.sequences if s.label != BACKGROUND) == plain.sequences
    assert len(catalog.classes) == 6 and len({s.id for s in catalog.sequences}) == len(catalog.sequences)
    instances, drawn = defaultdict(list), Counter(s.video for s in windows)
    for s in plain.sequences:
        instances[s.video].append((s.start, s.stop))
    for s in windows:
        assert s.stop - s.start == 32 and 0 <= s.start and s.stop <= max(stop for _, stop in instances[s.video])
        assert all(s.stop <= start or stop <= s.start for start, stop in instances[s.video])
    assert all(1 <= drawn[video] <= max(1, round(len(found) / 5)) for video, found in instances.items())
    assert len(windows) > 1000


def test_the_seed_draws_the_background(tmp_path):
    write_labels(tmp_path / "1_1_label.mat", [[401, 440], [1001, 1010]], [[420, 450]], [[460, 470]])
    write_labels(tmp_path / "1_2_label.mat", [[32, 40]], [[41, 60]])
    rows = [[s for s in merl_catalog(tmp_path, True, True, seed).sequences if s.label == BACKGROUND] for seed in range(5)]
    assert len({tuple(found) for found in rows}) > 1 and rows[0] == [s for s in merl_catalog(tmp_path, True, True).sequences if s.label == BACKGROUND]
    for found in rows:
        assert len(found) == 1 and found[0].id == "1_1#background-01", "four instances of five classes: one; no room in the other"
        assert found[0].start % 32 == 0 and found[0].start <= 400 - 32 or (found[0].start - 470) % 32 == 0 and found[0].stop <= 1000


# --- from videos to records ------------------------------------------------------------------------------------------


def test_every_sequence_shows_its_labelled_frames_and_no_other(shared_data, tmp_path):
    """Real labels, one video of just their length and one that ends early."""
    labels = tmp_path / "Labels_MERL_Shopping_Dataset"
    labels.mkdir()
    missing = {"3_3": 0, "8_1": 30}  # frames that the video lacks of the annotation
    last = {}
    for name, frames in missing.items():
        shutil.copy(shared_data / "merl_labels" / f"{name}_label.mat", labels)
        last[name] = max(stop for ranges in read_labels(labels / f"{name}_label.mat").values() for _, stop in ranges)
        write_frames(tmp_path / "Videos_MERL_Shopping_Dataset" / f"{name}_crop.mp4", last[name] - frames)
    assert max(last.values()) < 1 << 12
    catalog = merl_catalog(tmp_path, background=True)
    data = quietly(catalog.split_by("singh2016"), tmp_path / "data")
    stored, ends = {s.id: s for s in data.sequences}, {f"Videos_MERL_Shopping_Dataset/{name}_crop.mp4": last[name] - missing[name] for name in missing}
    shortened = {row["sequence"]: (row["annotated"], row["frames"]) for row in data.shortened}
    for row in catalog.sequences:
        stop = min(row.stop, ends[row.video])
        if row.start < stop:
            assert numbers_shown(data, stored[row.id]) == list(range(row.start, stop)), row.id
        if stop < row.stop:
            assert shortened.pop(row.id) == (row.stop - row.start, max(0, stop - row.start))
    assert not shortened and data.shortened and not data.rejected
    assert {s.id for s in catalog.sequences if s.start < ends[s.video]} == set(stored)
    lengths = [s.frames for s in data.sequences]
    assert min(lengths) < 16 and sum(lengths) > len({n for s in catalog.sequences for n in range(s.start, s.stop)}), "short ones, and overlaps"


def test_odd_instances(tmp_path):
    """Identical, nested, of one frame, at both ends of the video and beyond its last frame."""
    write_labels(tmp_path / "1_1_label.mat", [[1, 40], [1, 40]], [[11, 20]], [[1, 1]], [[200, 200]], [[191, 230], [201, 260], [300, 310]])
    write_frames(tmp_path / "1_1_crop.mp4", 200)
    data = quietly(merl_catalog(tmp_path).split_by("singh2016"), tmp_path / "data")
    assert {s.id: tuple(numbers_shown(data, s)[i] for i in (0, -1)) for s in data.sequences} == {
        "1_1#reach-to-shelf-01": (0, 39),
        "1_1#reach-to-shelf-02": (0, 39),
        "1_1#retract-from-shelf-01": (10, 19),
        "1_1#hand-in-shelf-01": (0, 0),
        "1_1#inspect-product-01": (199, 199),
        "1_1#inspect-shelf-01": (190, 199),
    }
    assert [(row["sequence"], row["frames"]) for row in data.shortened] == [("1_1#inspect-shelf-01", 10), ("1_1#inspect-shelf-02", 0), ("1_1#inspect-shelf-03", 0)]


@pytest.mark.parametrize("region", [(32, 24, 96, 72), (0.25, 0.25, 0.75, 0.75)])
def test_only_the_region_of_interest_is_stored(tmp_path, region):
    write_labels(tmp_path / "1_1_label.mat", [[11, 40]], [[31, 60]])
    write_frames(tmp_path / "1_1_crop.mp4", 60, around=(24, 32))
    data = quietly(merl_catalog(tmp_path).split_by("singh2016"), tmp_path / "data", dataclasses.replace(STORAGE, region=region))
    assert [numbers_shown(data, s) for s in data.sequences] == [list(range(10, 40)), list(range(30, 60))]


def test_the_shell_prepares_merl(shell, tmp_path):
    for subject in (1, 22, 30):
        cells = [[[1 + 20 * place + subject, 18 + 20 * place + subject]] for place in range(5)]
        write_labels(tmp_path / "merl" / f"{subject}_1_label.mat", *cells[:4], [*cells[4], [250, 260]])
        write_frames(tmp_path / "merl" / f"{subject}_1_crop.mp4", 280 + subject)
    options = ("--dataset", "merl", "--source", tmp_path / "merl", "--background")
    status, out, err = shell("catalog", *options)
    assert status == 0 and "background                  1          1          1          3" in out, err
    status, _, err = shell("prepare", *options, "--out", tmp_path / "data", "--workers", 1)
    assert status == 0, err
    data = DataSet.open(tmp_path / "data")
    assert data.classes == tuple(sorted([*CLASSES, BACKGROUND])) and len(data.of_split("test")) == 7
