"""Catalogs of KTH and of folders, by name and by the shell, and the check that no split leaks."""

import dataclasses
import json
import os
import re
import shutil
from pathlib import Path

import pytest

from dn3dlib.data.catalog import Sequence, check_leaks, find_videos, folder_catalog
from dn3dlib.data.examples import make_examples
from dn3dlib.data.kth import ANNOTATION, CLASSES, kth_catalog, read_annotation
from dn3dlib.data.manifest import DataSet
from dn3dlib.data.merl import BACKGROUND, merl_catalog
from dn3dlib.data.protocols import LEAKS, SPLITS
from dn3dlib.data.sources import DATASETS, read_catalog
from dn3dlib.errors import ConfigError, DataError

PEOPLE = {f"person{number:02d}" for number in range(1, 26)}
LISTED = "person01_boxing_d1 frames 1-9, 12-20\nperson02_walking_d3 frames 3-4\n"


def touch(root: Path, *names: str) -> Path:
    """Files that only have a name; catalogs do not look inside. Contents differ, so none is a copy."""
    for number, name in enumerate(names):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{number} {name}")
    return root


@pytest.fixture(scope="module")
def examples(tmp_path_factory) -> Path:
    return make_examples(tmp_path_factory.mktemp("examples") / "videos")


def refused(kind, call, *arguments, **named) -> str:
    with pytest.raises(kind) as caught:
        call(*arguments, **named)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# --- KTH -------------------------------------------------------------------------------------------------------------


def test_the_whole_annotation_of_kth(shared_data):
    ranges = read_annotation(shared_data / "kth" / ANNOTATION)
    assert len(ranges) == 599 and sum(map(len, ranges.values())) == 2391
    assert ranges["person01_boxing_d1"] == [(1, 95), (96, 185), (186, 245), (246, 360)]
    assert "person13_handclapping_d3" not in ranges
    assert {name.split("_")[0] for name in ranges} == PEOPLE


def test_real_kth(shared_data):
    catalog = kth_catalog(shared_data / "kth")
    assert len({s.video for s in catalog.sequences}) == 17 and len(catalog.sequences) == 68
    assert catalog.classes == CLASSES == tuple(sorted(CLASSES))
    first = next(s for s in catalog.sequences if s.id == "person01_boxing_d1#1")
    assert (first.start, first.stop, first.subject, first.label) == (0, 95, "person01", "boxing")
    assert first.video == "boxing/person01_boxing_d1_uncomp.avi" and (catalog.source_dir / first.video).is_file()
    split = catalog.split_by("schuldt2004")
    shows = {name: {s.label for s in split.sequences if s.split == name} for name in SPLITS}
    people = {name: {s.subject for s in split.sequences if s.split == name} for name in SPLITS}
    assert shows == {"train": set(CLASSES), "validation": set(CLASSES), "test": set()}
    assert people == {"train": {"person14", "person15", "person16"}, "validation": {"person01", "person04"}, "test": set()}


def test_all_of_kth_is_counted_without_its_videos(shared_data, tmp_path):
    shutil.copy(shared_data / "kth" / ANNOTATION, tmp_path)
    for source in (tmp_path, shared_data / "kth"):
        catalog = kth_catalog(source, annotated=True)
        assert len({s.video for s in catalog.sequences}) == 599 and len(catalog.sequences) == 2391
        assert len({s.id for s in catalog.sequences}) == 2391 and len({s.subject for s in catalog.sequences}) == 25
        for protocol, wanted in {"schuldt2004": (760, 768, 863), "gu2017": (1528, 0, 863)}.items():
            summary = catalog.split_by(protocol).summary()
            assert tuple(summary[split]["sequences"] for split in SPLITS) == wanted
        assert len(catalog.absent) == (599 if source == tmp_path else 582)


def test_the_windows_of_the_published_original_over_the_annotation(shared_data):
    """16 frames every 10, over each video up to its last annotated frame; in one video the ranges are out of order."""
    ranges = read_annotation(shared_data / "kth" / ANNOTATION)
    lengths = {name: max(last for _, last in found) for name, found in ranges.items()}
    assert sum((frames - 16) // 10 + 1 for frames in lengths.values()) == 28_249
    assert [name for name, found in ranges.items() if found[-1][1] < lengths[name]] == ["person07_running_d4"]


def test_annotated_videos_that_are_not_there_are_named(tmp_path):
    touch(tmp_path, "boxing/person01_boxing_d1_uncomp.avi")
    (tmp_path / ANNOTATION).write_text(LISTED)
    catalog = kth_catalog(tmp_path)
    assert [(s.id, s.start, s.stop) for s in catalog.sequences] == [("person01_boxing_d1#1", 0, 9), ("person01_boxing_d1#2", 11, 20)]
    assert catalog.absent == ("walking/person02_walking_d3_uncomp.avi",)
    assert catalog.split_by("gu2017").absent == catalog.absent and catalog.only_classes(["boxing"]).absent == ()
    assert [s.id for s in kth_catalog(tmp_path, annotated=True).sequences][2:] == ["person02_walking_d3#1"]
    shutil.rmtree(tmp_path / "boxing")
    sentence = refused(DataError, kth_catalog, tmp_path)
    assert "None of the 2 videos that belong to kth is in" in sentence and "boxing/person01_boxing_d1_uncomp.avi" in sentence
    (tmp_path / ANNOTATION).unlink()
    assert f"There is no KTH annotation {ANNOTATION} in" in refused(DataError, kth_catalog, tmp_path, annotated=True)


def test_one_video_in_two_places_is_refused(tmp_path):
    touch(tmp_path, "boxing/person01_boxing_d1.avi", "copy/person01_boxing_d1_uncomp.avi")
    sentence = refused(DataError, kth_catalog, tmp_path)
    assert "boxing/person01_boxing_d1.avi and copy/person01_boxing_d1_uncomp.avi" in sentence


def test_kth_without_annotation_takes_whole_videos(tmp_path):
    touch(tmp_path, "boxing/person01_boxing_d1_uncomp.avi", "x/PERSON02_Walking_d3.AVI")
    rows = kth_catalog(tmp_path).sequences
    assert [(s.id, s.label, s.subject, s.start, s.stop) for s in rows] == [
        ("person01_boxing_d1", "boxing", "person01", 0, None),
        ("person02_walking_d3", "walking", "person02", 0, None),
    ]


def test_blanks_and_tabs_in_the_annotation_may_vary(tmp_path):
    path = tmp_path / ANNOTATION
    path.write_bytes(
        b"PERSON02_Boxing_D1 FRAMES 4-5\r\nSome words before.\r\n\r\nperson01_boxing_d1\t\tframes\t1-95,  96 -185,\r\n  person01_boxing_d2 frames 2-3 \n"
        b"person13_handclapping_d3\t\t*missing*\n"
    )
    assert read_annotation(path) == {
        "person02_boxing_d1": [(4, 5)], "person01_boxing_d1": [(1, 95), (96, 185)], "person01_boxing_d2": [(2, 3)],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("person01_boxing_d1 frames 10-9", "Line 2 .* holds a frame range that cannot be: '10-9'"),
        ("person01_boxing_d1 frames 0-9", "Line 2 .* holds a frame range that cannot be"),
        ("person01_boxing_d1 frames 1-9, x", "Line 2 .* holds a frame range that cannot be"),
        ("person01_boxing_d1 frames 1-" + 5000 * "9", "Line 2 .* holds a frame range that cannot be"),
        ("person01_boxing_d1 1-9", "Line 2 .* cannot be read"),
        (" \tPERSON01_boxing_d1 1-9", "Line 2 .* cannot be read"),
        ("person01_boxing_d1 frames 1-9\nPerson01_Boxing_d1 frames 1-9", "Line 3 .* names person01_boxing_d1 for the second time"),
        ("nothing", "names no video"),
    ],
)
def test_a_bad_line_of_the_annotation_is_named(tmp_path, line, said):
    path = tmp_path / ANNOTATION
    path.write_text(f"head\n{line}\n")
    with pytest.raises(DataError, match=said):
        read_annotation(path)


def test_kth_names_what_does_not_fit(tmp_path):
    assert "There is no KTH video in" in refused(DataError, kth_catalog, tmp_path)
    assert "does not exist" in refused(DataError, kth_catalog, tmp_path / "none")
    touch(tmp_path, "boxing/holiday.avi")
    assert "holiday.avi is not of KTH's form" in refused(DataError, kth_catalog, tmp_path)
    shutil.rmtree(tmp_path / "boxing")
    touch(tmp_path, "boxing/person01_dancing_d1.avi")
    assert "person01_dancing_d1.avi is not of KTH's form" in refused(DataError, kth_catalog, tmp_path)
    shutil.rmtree(tmp_path / "boxing")
    touch(tmp_path, "boxing/person01_boxing_d1.avi", ANNOTATION)
    (tmp_path / ANNOTATION).write_text("person02_boxing_d1 frames 1-9\n")
    assert "has no line for person01_boxing_d1" in refused(DataError, kth_catalog, tmp_path)


# --- folders ---------------------------------------------------------------------------------------------------------


def test_a_folder_of_class_folders(tmp_path):
    touch(tmp_path, "wave/b.mp4", "wave/A.AVI", "Jump/x.MoV", "wave/deeper/c.mkv", "wave/notes.txt", "wave/.hidden.avi", ".git/y.avi")
    catalog = folder_catalog(tmp_path)
    assert catalog.classes == ("Jump", "wave") == tuple(sorted(catalog.classes))
    assert [s.video for s in catalog.sequences] == ["Jump/x.MoV", "wave/A.AVI", "wave/b.mp4", "wave/deeper/c.mkv"]
    assert [s.id for s in catalog.sequences] == ["Jump/x", "wave/A", "wave/b", "wave/deeper/c"]
    assert len({s.subject for s in catalog.sequences}) == 4, "each video is its own subject"


def test_labels_follow_the_sorted_class_names_whatever_the_order(tmp_path):
    catalog = folder_catalog(touch(tmp_path, "c/1.avi", "a/2.avi", "b/3.avi"))
    backwards = dataclasses.replace(catalog, sequences=catalog.sequences[::-1])
    assert catalog.classes == backwards.classes == ("a", "b", "c")


def test_files_that_differ_in_the_ending_keep_it_in_their_ids(tmp_path):
    catalog = folder_catalog(touch(tmp_path, "a/1.avi", "a/1.mp4", "a/2.avi"))
    assert [s.id for s in catalog.sequences] == ["a/1", "a/1.mp4", "a/2"]


def test_subjects_from_a_pattern(tmp_path):
    touch(tmp_path, "jump/PS7A1P2T1.mp4", "wave/PS7A2P2T1.mp4", "wave/PS7A2P3T1.mp4")
    catalog = folder_catalog(tmp_path, r"P(\d)T")
    assert [s.subject for s in catalog.sequences] == ["2", "2", "3"]


def test_subjects_and_classes_from_folders_inside(tmp_path):
    touch(tmp_path, "jump/anna/1.avi", "jump/bob/a/1.avi", "wave/anna/2.mp4")
    catalog = folder_catalog(tmp_path, r"^\w+/(\w+)/")
    assert [(s.label, s.subject, s.id) for s in catalog.sequences] == [
        ("jump", "anna", "jump/anna/1"), ("jump", "bob", "jump/bob/a/1"), ("wave", "anna", "wave/anna/2"),
    ]  # fmt: skip
    assert [s.label for s in folder_catalog(tmp_path, label_pattern=r"/(\w+)/").sequences] == ["anna", "bob", "anna"]


def test_classes_from_file_names(tmp_path):
    touch(tmp_path, "PS7A1P2T1.avi", "PS7A2P2T1.AVI", "more/PS7A1P3T1.mp4", "notes/readme.txt")
    catalog = folder_catalog(tmp_path, r"P(\d)T", r"PS7A(\d)P")
    assert catalog.classes == ("1", "2")
    assert {s.video: (s.label, s.subject) for s in catalog.sequences} == {
        "PS7A1P2T1.avi": ("1", "2"), "PS7A2P2T1.AVI": ("2", "2"), "more/PS7A1P3T1.mp4": ("1", "3"),
    }  # fmt: skip


def test_a_real_folder_without_class_folders(shared_data):
    catalog = folder_catalog(shared_data / "ps7", r"P(\d)T", r"PS7A(\d)P")
    for subject in "123":
        summary = catalog.split_by(f"loso:{subject}").summary()
        assert summary["classes"] == {label: {"train": 3, "validation": 3, "test": 3, "all": 9} for label in "123"}
        assert {split: summary[split]["subjects"] for split in SPLITS} == dict.fromkeys(SPLITS, 1)


@pytest.mark.parametrize("option", ["subject_pattern", "label_pattern"])
@pytest.mark.parametrize(
    ("pattern", "kind", "said"),
    [
        (r"Q(\d)", DataError, r"'Q\(\\\\d\)' does not match the file name jump/P2.mp4"),
        (r"P\d", ConfigError, "has 0 groups, but must have one"),
        (r"(P)(\d)", ConfigError, "has 2 groups, but must have one"),
        (r"P(\d", ConfigError, "is no regular expression"),
    ],
)
def test_a_pattern_that_does_not_fit_is_refused(tmp_path, pattern, kind, said, option):
    touch(tmp_path, "jump/P2.mp4")
    sentence = refused(kind, folder_catalog, tmp_path, **{option: pattern})
    assert re.search(said, sentence) and f"--{option.replace('_', '-')} " in sentence


def test_folders_that_are_no_data_set_are_refused(tmp_path):
    assert f"There is no video in {tmp_path}" in refused(DataError, folder_catalog, tmp_path)
    assert "does not exist" in refused(DataError, folder_catalog, tmp_path / "none")
    touch(tmp_path, "a/1.avi", "b/readme.txt")
    assert f"The class folder {tmp_path / 'b'} holds no video" in refused(DataError, folder_catalog, tmp_path)
    touch(tmp_path, "b/1.avi", "2.avi")
    sentence = refused(DataError, folder_catalog, tmp_path)
    assert f"{tmp_path / '2.avi'} lies outside every class folder" in sentence and "<class>/2.avi" in sentence and "--label-pattern" in sentence
    assert "is a file, not a folder" in refused(DataError, folder_catalog, tmp_path / "2.avi")


def test_find_videos_is_sorted(tmp_path):
    touch(tmp_path, "b/2.avi", "a/9.webm", "a/10.MPG", "x.txt")
    assert [str(p.relative_to(tmp_path)) for p in find_videos(tmp_path)] == ["a/10.MPG", "a/9.webm", "b/2.avi"]


def test_endings_of_cameras_and_of_raw_video(tmp_path):
    touch(tmp_path, "a/1.mxf", "a/2.Y4M", "a/3.y4mx", "a/mxf")
    assert [path.name for path in find_videos(tmp_path)] == ["1.mxf", "2.Y4M"]


def test_linked_folders_are_entered_once(tmp_path):
    touch(tmp_path, "disk/wave/1.avi", "disk/wave/deep/2.avi", "videos/jump/3.avi")
    (tmp_path / "videos" / "wave").symlink_to(tmp_path / "disk" / "wave")
    (tmp_path / "disk" / "wave" / "deep" / "loop").symlink_to(tmp_path / "videos")
    catalog = folder_catalog(tmp_path / "videos")
    assert [(s.label, s.video) for s in catalog.sequences] == [
        ("jump", "jump/3.avi"), ("wave", "wave/1.avi"), ("wave", "wave/deep/2.avi"),
    ]  # fmt: skip


def test_a_folder_that_cannot_be_read_is_named(tmp_path, monkeypatch):
    touch(tmp_path, "a/1.avi", "b/2.avi")
    scandir = os.scandir

    def closed(path):  # by hand: the superuser may read everywhere
        if Path(path).name == "b":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", closed)
    sentence = refused(DataError, folder_catalog, tmp_path)
    assert f"The folder {tmp_path / 'b'} cannot be read (Permission denied)" in sentence


def test_some_classes_alone(tmp_path):
    catalog = folder_catalog(touch(tmp_path, "a/1.avi", "b/2.avi", "c/3.avi"))
    assert catalog.only_classes(["c", "a"]).classes == ("a", "c")
    assert "There is no class 'd'" in refused(DataError, catalog.only_classes, ["a", "d"])
    assert "No class is chosen" in refused(DataError, catalog.only_classes, [])


# --- by name, and by the shell ---------------------------------------------------------------------------------------


def test_data_sets_by_name(source, tmp_path):
    assert DATASETS == ("synthetic", "kth", "merl", "ucf101", "list", "folder")
    assert read_catalog("kth", source).classes == CLASSES
    assert "did you mean synthetic?" in refused(ConfigError, read_catalog, "sinthetic", source)
    assert "source folder is missing" in refused(ConfigError, read_catalog, "kth")
    assert "The seed is -1" in refused(ConfigError, read_catalog, "merl", source, background=True, seed=-1)
    for dataset in ("kth", "merl", "ucf101", "folder"):
        assert "does not exist" in refused(DataError, read_catalog, dataset, tmp_path / "none")


@pytest.mark.parametrize(
    ("dataset", "options", "said"),
    [
        ("kth", {"subject_pattern": "(x)"}, "--subject-pattern is for --dataset folder or list, not for kth"),
        ("list", {"label_pattern": "(x)"}, "--label-pattern is for --dataset folder, not for list"),
        ("ucf101", {"background": True}, "--background is for --dataset merl, not for ucf101"),
        ("folder", {"lists": {"test": Path("x")}}, "--test-list is for --dataset list, not for folder"),
        ("folder", {"annotated": True}, "--annotated is for --dataset kth or merl or ucf101 or list, not for folder"),
    ],
)
def test_an_option_of_another_data_set_is_refused(source, dataset, options, said):
    assert said in refused(ConfigError, read_catalog, dataset, source, **options)


def test_the_shell_counts_before_anything_is_decoded(shell, tmp_path):
    touch(tmp_path, "boxing/person01_boxing_d1_uncomp.avi")
    (tmp_path / ANNOTATION).write_text(LISTED)
    command = ("catalog", "--dataset", "kth", "--source", tmp_path, "--protocol", "gu2017")
    status, out, _ = shell(*command, "--json")
    found = json.loads(out)
    assert status == 0 and found["train"] == {"videos": 1, "sequences": 2, "subjects": 1}
    assert found["classes"] == {"boxing": {"train": 2, "validation": 0, "test": 0, "all": 2}}
    assert (found["dataset"], found["protocol"], found["absent"]) == ("kth", "gu2017", ["walking/person02_walking_d3_uncomp.avi"])
    status, out, _ = shell(*command)
    rows = {line.split()[0]: line.split()[1:] for line in out.splitlines()}
    assert status == 0 and rows["class"] == ["train", "validation", "test", "all"]
    assert rows["boxing"] == rows["sequences"] == ["2", "0", "0", "2"] and rows["subjects"] == ["1", "0", "0", "1"]
    assert "not there, though the annotation or a list names them (1): walking/person02_walking_d3_uncomp.avi\n" in out
    status, out, _ = shell(*command, "--annotated", "--classes", "walking", "--json")
    assert status == 0 and json.loads(out)["classes"] == {"walking": {"train": 1, "validation": 0, "test": 0, "all": 1}}


def test_prepare_names_what_is_not_there(shell, source, tmp_path):
    video = "boxing/person01_boxing_d1_uncomp.avi"
    (tmp_path / "kth" / "boxing").mkdir(parents=True)
    shutil.copy(source / video, tmp_path / "kth" / video)
    (tmp_path / "kth" / ANNOTATION).write_text(LISTED)
    status, out, _ = shell("prepare", "--dataset", "kth", "--source", tmp_path / "kth", "--out", tmp_path / "data", "--workers", 1)
    assert status == 0 and "not there, though the annotation or a list names them (1): walking/" in out


def test_absent_videos_of_other_classes_do_not_count(shell, source, tmp_path):
    shutil.copytree(source, tmp_path / "kth")
    (tmp_path / "kth" / "jogging" / "person01_jogging_d1_uncomp.avi").unlink()
    options = ("--dataset", "kth", "--source", tmp_path / "kth", "--out", tmp_path / "data", "--workers", 1, "--strict", "--height", 32, "--width", 32)
    status, _, err = shell("prepare", *options, "--classes", "jogging")
    assert status == 2 and "--strict: 1 annotated videos are not in" in err
    status, _, err = shell("prepare", *options, "--classes", ",")
    assert status == 2 and "No class is chosen" in err and not (tmp_path / "data").exists()
    status, out, err = shell("prepare", *options, "--classes", "walking, ", "--json")
    assert status == 0 and json.loads(out)["absent"] == [] and DataSet.open(tmp_path / "data").classes == ("walking",), err


OWN_PROTOCOLS = {
    "synthetic": ("by-subject", []),
    "kth": ("schuldt2004", []),
    "merl": ("singh2016", ["--source", "merl"]),
    "ucf101": ("ucf101-1", ["--source", "ucf101"]),
    "list": ("lists", ["--source", "lists", "--train-list", "lists/train.txt"]),
    "folder": ("by-subject", ["--source", "flat", "--label-pattern", r"A(\d)"]),
}


@pytest.mark.parametrize("dataset", DATASETS)
def test_each_data_set_has_its_protocol(shell, source, examples, monkeypatch, dataset):
    protocol, options = OWN_PROTOCOLS[dataset]
    monkeypatch.chdir(examples)
    monkeypatch.setattr("dn3dlib.data.sources.make_synthetic", lambda folder, seed: source)
    status, out, err = shell("catalog", "--dataset", dataset, *(options or ["--source", source]), "--json")
    assert status == 0, err
    assert json.loads(out)["protocol"] == protocol and json.loads(out)["all"]["sequences"] > 0


def test_the_leaking_protocol_warns(shell, source):
    command = ("catalog", "--dataset", "kth", "--source", source)
    assert f"  Warning: {LEAKS}\n" in shell(*command, "--protocol", "random-leaky")[1]
    assert "Warning" not in shell(*command, "--protocol", "by-subject")[1]


def test_the_seed_reaches_whatever_draws(shell, examples, prepared, tmp_path):
    windows = {seed: [s for s in merl_catalog(examples / "merl", True, seed=seed).sequences if s.label == BACKGROUND] for seed in range(9)}
    other = next(seed for seed in windows if windows[seed] != windows[0])
    merl = ("--dataset", "merl", "--source", examples / "merl")
    counts, stored = {}, {}
    for seed in (0, other):
        found = json.loads(shell("catalog", *merl, "--protocol", "random-leaky", "--seed", seed, "--json")[1])
        assert found["seed"] == seed
        counts[seed] = found["classes"]
        out = tmp_path / f"data{seed}"
        assert shell("prepare", *merl, "--background", "--seed", seed, "--out", out, "--workers", 1, "--height", 32, "--width", 32)[0] == 0
        stored[seed] = {s.id: s.sha256 for s in DataSet.open(out).sequences}
    assert counts[0] != counts[other]
    assert {name for name in stored[0] if stored[0][name] != stored[other][name]} == {
        one.id for one, two in zip(windows[0], windows[other], strict=True) if one != two
    }  # fmt: skip
    shutil.copytree(prepared, tmp_path / "data")
    assert shell("split", tmp_path / "data", "--protocol", "random-leaky", "--seed", 5)[0] == 0
    assert DataSet.open(tmp_path / "data") == dataclasses.replace(DataSet.open(prepared), path=tmp_path / "data").as_split_by("random-leaky", 5)


# --- leaks -----------------------------------------------------------------------------------------------------------


def row(name: str, video: str, subject: str, split: str) -> Sequence:
    return Sequence(name, video, "a", subject, split=split)


def test_a_subject_in_two_splits_is_refused_naming_both():
    sentence = refused(DataError, check_leaks, [row("one", "1.avi", "ann", "train"), row("two", "2.avi", "ann", "test")])
    assert "subject ann stands in train (one) and in test (two)" in sentence


def test_a_video_in_two_splits_is_refused_naming_both():
    rows = [row("one", "1.avi", "ann", "train"), row("two", "1.avi", "bob", "validation")]
    assert "video 1.avi stands in train (one) and in validation (two)" in refused(DataError, check_leaks, rows)


def test_a_clean_split_passes():
    check_leaks([row("1", "1.avi", "ann", "train"), row("2", "1.avi", "ann", "train"), row("3", "3.avi", "bob", "test")])


def test_two_copies_of_one_file_in_two_splits_are_refused_naming_both(tmp_path):
    touch(tmp_path, *(f"a/{n}.avi" for n in range(5)))
    names = [f"a/{n}.avi" for n in range(5)]
    placed = {s.video: s.split for s in folder_catalog(tmp_path).split_by("by-subject").sequences}
    one = next(name for name in names if placed[name] == "train")
    other = next(name for name in names if placed[name] == "test")
    (tmp_path / other).write_bytes((tmp_path / one).read_bytes())
    sentence = refused(DataError, folder_catalog(tmp_path).split_by, "by-subject")
    assert f"{one} (train)" in sentence and f"{other} (test)" in sentence and "identical" in sentence
    # The same copy within one split is no leak.
    assert folder_catalog(tmp_path).split_by("by-subject:1,0,0").classes == ("a",)


def test_a_subject_pattern_that_finds_nothing_is_refused(tmp_path):
    (tmp_path / "wave").mkdir()
    (tmp_path / "wave" / "one.avi").touch()
    with pytest.raises(DataError, match="does not match"):
        folder_catalog(tmp_path, r"(\d)?")


def test_a_folder_named_like_a_video_is_none(tmp_path):
    (tmp_path / "wave" / "old.avi").mkdir(parents=True)
    assert find_videos(tmp_path) == []
