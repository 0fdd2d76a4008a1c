"""The small imitations of published data sets are read by the code that reads the real ones."""

from collections import Counter
from pathlib import Path

import pytest

from dn3dlib.config import StorageConfig
from dn3dlib.data.examples import make_examples, make_phone_videos
from dn3dlib.data.manifest import DataSet
from dn3dlib.data.prepare import prepare
from dn3dlib.data.scan import scan_folder
from dn3dlib.data.sources import read_catalog

PNG = StorageConfig(height=32, width=32, channels=1, encoding="png")


@pytest.fixture(scope="module")
def examples(tmp_path_factory) -> Path:
    return make_examples(tmp_path_factory.mktemp("examples") / "made")


def prepared(catalog, out: Path) -> DataSet:
    return prepare(catalog, out, PNG, 1, show_progress=False)


def test_the_merl_imitation_holds_what_the_real_labels_hold(examples, tmp_path):
    catalog = read_catalog("merl", examples / "merl", background=True).split_by("singh2016")
    assert Counter(s.split for s in catalog.sequences) == {"train": 7, "test": 7} and len(catalog.classes) == 6
    data = prepared(catalog, tmp_path / "data")
    assert {row["sequence"]: (row["frames"], row["annotated"]) for row in data.shortened} == {
        "1_1#inspect-shelf-01": (20, 30), "27_1#inspect-shelf-01": (20, 30),
    }  # fmt: skip
    assert min(s.frames for s in data.sequences) == 4 and len(data.sequences) == 14


def test_the_ucf101_imitation_keeps_groups_together(examples):
    catalog = read_catalog("ucf101", examples / "ucf101")
    for number in (1, 2, 3):
        split = catalog.split_by(f"ucf101-{number}")
        assert {s.subject[-3:] for s in split.sequences if s.split == "test"} == {f"g0{number}"}
        assert split.summary()["validation"] == {"videos": 4, "sequences": 4, "subjects": 2}


def test_the_lists_and_the_flat_folder_are_read(examples):
    lists = {"train": examples / "lists" / "train.txt", "test": examples / "lists" / "test.txt"}
    listed = read_catalog("list", examples / "lists", lists=lists).split_by("lists")
    assert listed.summary()["test"]["videos"] == 3 and listed.classes == ("boxing", "handwaving", "walking")
    flat = read_catalog("folder", examples / "flat", label_pattern=r"A(\d)", subject_pattern=r"P(\d)").split_by("loso:2")
    assert {s.subject for s in flat.sequences if s.split == "test"} == {"2"} and flat.classes == ("1", "2", "3")


def test_each_broken_video_has_its_reason(examples):
    found = scan_folder(examples / "broken", workers=1)
    assert {row["video"]: row["reason"] for row in found["videos"]} == {
        "gone.avi": "missing",
        "good.avi": "",
        "good_copy.avi": "duplicate of good.avi",
        "half.avi": "truncated at frame 17 of 40",
        "no_frames.avi": "truncated at frame 0 of 40",
        "nothing.avi": "empty",
        "short.avi": "shorter than a clip (6 of 16 frames)",
        "text.avi": "no video stream",
    }
    assert found["bad"] == 5


def test_what_is_there_is_taken(examples):
    times = {path: path.lstat().st_mtime_ns for path in examples.rglob("*")}
    assert make_examples(examples) == examples
    assert {path: path.lstat().st_mtime_ns for path in examples.rglob("*")} == times


def test_the_phone_s_videos_are_five_takes_of_each_exercise_by_each_person(tmp_path):
    folder = make_phone_videos(tmp_path / "phone")
    catalog = read_catalog("folder", folder, subject_pattern=r"([a-z]+)_\d").split_by("by-subject:0.4,0.2,0.4")
    assert Counter((s.label, s.subject) for s in catalog.sequences) == dict.fromkeys(
        [(label, person) for label in ("side_bending", "squatting", "standing", "star_jumping") for person in ("anna", "ben", "cleo", "dev", "eda")], 5
    )
    assert {split: len({s.subject for s in catalog.sequences if s.split == split}) for split in ("train", "validation", "test")} == {
        "train": 2, "validation": 1, "test": 2,
    }  # fmt: skip
    found = scan_folder(folder, 1)
    assert not found["bad"] and {row["frames"] for row in found["videos"]} == {100}
    alike = [[Path(video).name.split("_")[0] for video in pair["videos"]] for pair in found["near_duplicates"]]
    assert alike and all(one == other for one, other in alike), "takes of one person in one place, which stay on one side of the split"
    assert make_phone_videos(folder) == folder, "what is there is taken as it is"
