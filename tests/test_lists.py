"""List files: what their lines say, and what they must not."""

import json
from pathlib import Path

import pytest

from dn3dlib.data.lists import list_catalog, read_lists
from dn3dlib.errors import ConfigError, DataError


def written(folder: Path, **lists: str) -> dict[str, Path]:
    """List files by split."""
    paths = {split: folder / f"{split}.txt" for split in lists}
    for split, text in lists.items():
        paths[split].write_bytes(text.encode())
    return paths


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    return root


def test_lines_of_every_kind(tmp_path):
    train = "\ufeffa/1.avi jump\r\n\r\n  b/my old video.mp4\twave \r\n./c//3.MOV 7\n"
    assert read_lists(written(tmp_path, train=train, test="d/4.avi\nd/the end.avi\nd/5.avi\tpick  up a cup\n")) == {
        "a/1.avi": ("train", "jump"),
        "b/my old video.mp4": ("train", "wave"),
        "c/3.MOV": ("train", "7"),
        "d/4.avi": ("test", ""),
        "d/the end.avi": ("test", ""),
        "d/5.avi": ("test", "pick  up a cup"),
    }


@pytest.mark.parametrize(
    ("lists", "said"),
    [
        ({"train": "a/1.avi x\n../b/2.avi x\n"}, "Line 2 of .*train.txt leaves the source folder: '../b/2.avi'"),
        ({"train": "a/../../2.avi x\n"}, "Line 1 .* leaves the source folder"),
        ({"train": "/etc/2.avi x\n"}, "Line 1 .* leaves the source folder: '/etc/2.avi'"),
        ({"train": "a/1.avi x\n\na/1.avi x\n"}, "a/1.avi stands in .*train.txt .train., and line 3 of .*train.txt names it again"),
        ({"train": "a/1.avi x\n", "test": "./a/1.avi x\n"}, "a/1.avi stands in .*train.txt .train., and line 1 of .*test.txt puts it in test, which leaks"),
        ({"train": "a/1.avi x\njump 3\n"}, "Line 2 of .*train.txt reads 'jump 3', but must be the path of a video"),
        ({"train": "jump\n"}, "Line 1 of .* reads 'jump'"),
        ({"train": "a/1.avi 16 3\n"}, "reads 'a/1.avi 16 3'"),
        ({"train": " \r\n\n"}, "train.txt names no video"),
    ],
)
def test_a_bad_line_is_named(tmp_path, lists, said):
    with pytest.raises(DataError, match=said):
        read_lists(written(tmp_path, **lists))


def test_a_list_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(DataError, match="none.txt cannot be read"):
        read_lists({"train": tmp_path / "none.txt"})
    (tmp_path / "bytes.txt").write_bytes(b"a/\xff.avi x\n")
    with pytest.raises(DataError, match="bytes.txt cannot be read"):
        read_lists({"train": tmp_path / "bytes.txt"})


def test_a_catalog_of_list_files(tmp_path):
    lists = written(tmp_path, train="x/ann_1.avi jump\nx/bob_1.avi jump\nx/ann_2.avi wave\nx/gone_1.avi wave\n", test="x/cy_1.avi wave\n", validation="y/dan_1.mp4 jump\n")
    touch(tmp_path, "x/ann_1.avi", "x/bob_1.avi", "x/ann_2.avi", "x/cy_1.avi", "y/dan_1.mp4", "x/unlisted.avi")
    catalog = list_catalog(tmp_path, lists, r"(\w+)_\d")
    assert (catalog.dataset, catalog.classes) == ("list", ("jump", "wave"))
    assert {s.id: (s.label, s.subject) for s in catalog.sequences}["y/dan_1"] == ("jump", "dan")
    assert [s.split for s in catalog.split_by("lists").sequences] == ["train"] * 3 + ["test", "validation"]
    assert catalog.absent == ("x/gone_1.avi",) and len(list_catalog(tmp_path, lists, annotated=True).sequences) == 6
    with pytest.raises(DataError, match="--subject-pattern .* does not match the file name x/bob_1.avi"):
        list_catalog(tmp_path, lists, r"(ann)_\d")


def test_without_a_validation_list_a_sixth_of_the_subjects_validates(tmp_path):
    train = "".join(f"{label}/p{n}_{take}.avi {label}\n" for label in "ab" for n in range(12) for take in range(2))
    lists = written(tmp_path, train=train, test="a/p99_0.avi a\n")
    catalog = list_catalog(tmp_path, lists, r"(p\d+)_", annotated=True)
    places = {s.subject: s.split for s in catalog.split_by("lists", 3).sequences}
    assert sorted(places.values()) == ["test"] + ["train"] * 10 + ["validation"] * 2
    alone = list_catalog(tmp_path, lists, annotated=True).split_by("lists").summary()
    assert {label: row["validation"] for label, row in alone["classes"].items()} == {"a": 4, "b": 4}, "each video is its own subject"


def test_classes_from_folders_where_no_line_has_one(tmp_path):
    lists = written(tmp_path, train="wave/1.avi\nwave/1.mp4\n", test="jump/deep/2.avi\n")
    rows = list_catalog(tmp_path, lists, annotated=True).sequences
    assert [(s.id, s.label) for s in rows] == [("wave/1", "wave"), ("wave/1.mp4", "wave"), ("jump/deep/2", "jump")]


@pytest.mark.parametrize("train", ["wave/1.avi\nwave/2.avi wave\n", "1.avi\n"])
def test_a_class_that_some_lines_lack_is_refused(tmp_path, train):
    with pytest.raises(DataError, match="The lists name no class for "):
        list_catalog(tmp_path, written(tmp_path, train=train), annotated=True)


def test_lists_without_training_or_without_any_video_there_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="--train-list is missing"):
        list_catalog(tmp_path, written(tmp_path, test="a/1.avi a\n"))
    with pytest.raises(DataError, match="None of the 1 videos that belong to list is in .* such as a/1.avi"):
        list_catalog(tmp_path, written(tmp_path, train="a/1.avi a\n"))


def test_lists_in_the_shell(shell, numbered_video, tmp_path):
    for n in range(4):
        numbered_video(tmp_path / "videos" / f"{n}.avi", 6, first=10 * n)
    lists = written(tmp_path, train="0.avi up\n1.avi down\n", validation="2.avi up\n", test="3.avi down\n")
    options = ["--dataset", "list", "--source", tmp_path / "videos"]
    options += [part for split, path in lists.items() for part in (f"--{split}-list", path)]
    status, out, err = shell("catalog", *options, "--json")
    assert status == 0, err
    assert json.loads(out)["classes"] == {
        "down": {"train": 1, "validation": 0, "test": 1, "all": 2}, "up": {"train": 1, "validation": 1, "test": 0, "all": 2},
    }  # fmt: skip
    status, out, err = shell("prepare", *options, "--out", tmp_path / "data", "--workers", 1, "--json")
    assert status == 0, err
    assert {split: json.loads(out)[split]["frames"] for split in lists} == {"train": 12, "validation": 6, "test": 6}
