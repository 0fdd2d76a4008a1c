"""Catalogs of KTH and of folders, protocols, and the check that no split leaks."""

import dataclasses
import shutil
from collections import Counter
from pathlib import Path

import pytest

from dn3dlib.data.catalog import Catalog, Sequence, check_leaks, find_videos, folder_catalog
from dn3dlib.data.kth import ANNOTATION, CLASSES, kth_catalog, read_annotation
from dn3dlib.data.protocols import LEAKING_PROTOCOL, PROTOCOLS, SPLITS, split_of_each
from dn3dlib.data.sources import read_catalog
from dn3dlib.errors import ConfigError, DataError

PEOPLE = {f"person{number:02d}" for number in range(1, 26)}


def touch(root: Path, *names: str) -> Path:
    """Files that only have a name; catalogs do not look inside. Contents differ, so none is a copy."""
    for number, name in enumerate(names):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{number} {name}")
    return root


def made_up(subjects: int, classes=("a", "b"), videos: int = 2) -> Catalog:
    rows = [
        Sequence(f"s{s}-{label}-{v}", f"{label}/s{s}-{v}.avi", label, f"s{s}")
        for s in range(subjects) for label in classes for v in range(videos)
    ]  # fmt: skip
    return Catalog("folder", Path("nowhere"), tuple(rows))


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
        b"Some words before.\r\n\r\nperson01_boxing_d1\t\tframes\t1-95,  96 -185,\r\n  person01_boxing_d2 frames 2-3 \n"
        b"person13_handclapping_d3\t\t*missing*\n"
    )
    assert read_annotation(path) == {"person01_boxing_d1": [(1, 95), (96, 185)], "person01_boxing_d2": [(2, 3)]}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("person01_boxing_d1 frames 10-9", "Line 2 .* holds a frame range that cannot be: '10-9'"),
        ("person01_boxing_d1 frames 0-9", "Line 2 .* holds a frame range that cannot be"),
        ("person01_boxing_d1 frames 1-9, x", "Line 2 .* holds a frame range that cannot be"),
        ("person01_boxing_d1 1-9", "Line 2 .* cannot be read"),
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
    assert "'dancing'" in refused(DataError, kth_catalog, tmp_path)
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
    assert [s.id for s in catalog.sequences] == ["a/1.avi", "a/1.mp4", "a/2"]


def test_subjects_from_a_pattern(tmp_path):
    touch(tmp_path, "jump/PS7A1P2T1.mp4", "wave/PS7A2P2T1.mp4", "wave/PS7A2P3T1.mp4")
    catalog = folder_catalog(tmp_path, r"P(\d)T")
    assert [s.subject for s in catalog.sequences] == ["2", "2", "3"]


@pytest.mark.parametrize(
    ("pattern", "kind", "said"),
    [
        (r"Q(\d)", DataError, r"'Q\(\\\\d\)' does not match the file name jump/P2.mp4"),
        (r"P\d", ConfigError, "has 0 groups, but must have one"),
        (r"(P)(\d)", ConfigError, "has 2 groups, but must have one"),
        (r"P(\d", ConfigError, "is no regular expression"),
    ],
)
def test_a_pattern_that_does_not_fit_is_refused(tmp_path, pattern, kind, said):
    touch(tmp_path, "jump/P2.mp4")
    with pytest.raises(kind, match=said):
        folder_catalog(tmp_path, pattern)


def test_folders_that_are_no_data_set_are_refused(tmp_path):
    assert f"There is no video in {tmp_path}" in refused(DataError, folder_catalog, tmp_path)
    assert "does not exist" in refused(DataError, folder_catalog, tmp_path / "none")
    touch(tmp_path, "a/1.avi", "b/readme.txt")
    assert f"The class folder {tmp_path / 'b'} holds no video" in refused(DataError, folder_catalog, tmp_path)
    touch(tmp_path, "b/1.avi", "2.avi")
    sentence = refused(DataError, folder_catalog, tmp_path)
    assert f"{tmp_path / '2.avi'} lies outside every class folder" in sentence and "<class>/2.avi" in sentence
    assert "is a file, not a folder" in refused(DataError, folder_catalog, tmp_path / "2.avi")


def test_find_videos_is_sorted(tmp_path):
    touch(tmp_path, "b/2.avi", "a/9.webm", "a/10.MPG", "x.txt")
    assert [str(p.relative_to(tmp_path)) for p in find_videos(tmp_path)] == ["a/10.MPG", "a/9.webm", "b/2.avi"]


def test_some_classes_alone(tmp_path):
    catalog = folder_catalog(touch(tmp_path, "a/1.avi", "b/2.avi", "c/3.avi"))
    assert catalog.only_classes(["c", "a"]).classes == ("a", "c")
    assert "There is no class 'd'" in refused(DataError, catalog.only_classes, ["a", "d"])


def test_data_sets_by_name(source, tmp_path):
    assert read_catalog("kth", source).classes == CLASSES
    assert "did you mean synthetic?" in refused(ConfigError, read_catalog, "sinthetic", source)
    assert "source folder is missing" in refused(ConfigError, read_catalog, "kth")
    assert "is for --dataset folder" in refused(ConfigError, read_catalog, "kth", source, "(x)")


# --- protocols -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PROTOCOLS)
def test_a_published_protocol_places_every_person_once(name):
    assert set(PROTOCOLS[name]) == PEOPLE and set(PROTOCOLS[name].values()) <= set(SPLITS)


def test_the_published_protocols_are_as_published():
    def people(protocol, split):
        return [int(person[-2:]) for person, place in PROTOCOLS[protocol].items() if place == split]

    assert sorted(people("schuldt2004", "train")) == [11, 12, 13, 14, 15, 16, 17, 18]
    assert sorted(people("schuldt2004", "validation")) == [1, 4, 19, 20, 21, 23, 24, 25]
    assert sorted(people("schuldt2004", "test")) == [2, 3, 5, 6, 7, 8, 9, 10, 22]
    assert people("gu2017", "train") == [*range(1, 17)] and people("gu2017", "test") == [*range(17, 26)]


def test_a_published_protocol_has_no_place_for_strangers():
    sentence = refused(DataError, made_up(3).split_by, "gu2017")
    assert "'s0'" in sentence and "by-subject" in sentence


@pytest.mark.parametrize("seed", range(5))
def test_by_subject_keeps_each_subject_in_one_split(seed):
    split = made_up(10).split_by("by-subject", seed)
    places = {}
    for row in split.sequences:
        assert places.setdefault(row.subject, row.split) == row.split
    assert Counter(places.values()) == {"train": 6, "validation": 2, "test": 2}
    assert split == made_up(10).split_by("by-subject", seed)
    assert (split.protocol, split.seed) == ("by-subject", seed)


def test_the_seed_decides_who_stands_where():
    assert len({made_up(10).split_by("by-subject", seed).sequences for seed in range(5)}) > 1


def test_by_subject_does_not_depend_on_the_order_of_rows():
    catalog = made_up(10)
    backwards = dataclasses.replace(catalog, sequences=catalog.sequences[::-1])
    assert set(catalog.split_by("by-subject").sequences) == set(backwards.split_by("by-subject").sequences)


@pytest.mark.parametrize(
    ("protocol", "counts"),
    [
        ("by-subject:0.5,0.25,0.25", (4, 2, 2)),
        ("by-subject:1,0,0", (8, 0, 0)),
        ("by-subject:0.5,0,0.5", (4, 0, 4)),
        ("by-subject:0.98,0.01,0.01", (6, 1, 1)),  # a share, however small, is at least one subject
        ("by-subject:0,0,1", (0, 0, 8)),
    ],
)
def test_shares_of_the_subjects(protocol, counts):
    places = {s.subject: s.split for s in made_up(8).split_by(protocol).sequences}
    found = Counter(places.values())
    assert tuple(found[split] for split in SPLITS) == counts


@pytest.mark.parametrize("videos", [3, 4, 5, 9, 20])
def test_every_split_sees_every_class_where_each_video_is_its_own_subject(tmp_path, videos):
    touch(tmp_path, *(f"{label}/{n}.avi" for label in "abc" for n in range(videos)))
    for seed in range(3):
        rows = folder_catalog(tmp_path).split_by("by-subject", seed).sequences
        assert {(s.label, s.split) for s in rows} == {(label, split) for label in "abc" for split in SPLITS}


@pytest.mark.parametrize(
    "fractions", ["0.5,0.5", "0.5,0.5,0.5", "0.6,0.2,0.1", "-0.2,0.6,0.6", "a,b,c", "", "0.6,0.2,0.2,0", "nan,0.5,0.5", "inf,0,0"]
)
def test_shares_that_are_none_are_refused(fractions):
    assert "by-subject" in refused(ConfigError, made_up(5).split_by, f"by-subject:{fractions}")


def test_an_unknown_protocol_names_the_nearest():
    assert "did you mean schuldt2004?" in refused(ConfigError, made_up(5).split_by, "schuld2004")
    assert "did you mean by-subject?" in refused(ConfigError, made_up(5).split_by, "by_subject")


def test_random_leaky_leaks_and_says_so():
    split = made_up(10).split_by(LEAKING_PROTOCOL, 0)
    places = {(s.subject, s.split) for s in split.sequences}
    assert len(places) > 10 and split.protocol == LEAKING_PROTOCOL
    assert split == made_up(10).split_by(LEAKING_PROTOCOL, 0) != made_up(10).split_by(LEAKING_PROTOCOL, 1)
    with pytest.raises(DataError, match="leaks"):
        check_leaks(split.sequences)


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


def of_subjects(shown: dict[str, str]) -> list[Sequence]:
    """One sequence for each letter of what a subject shows."""
    return [Sequence(f"{who} {label}", f"{who} {label}.avi", label, who) for who, labels in shown.items() for label in labels]


def test_subjects_who_show_different_classes_are_dealt_out_too():
    rows = of_subjects({"p1": "abcdef", "p2": "a", "p3": "ab", "p4": "bc", "p5": "acd"})
    splits = split_of_each(rows, "by-subject")
    assert [len({r.subject for r, s in zip(rows, splits, strict=True) if s == split}) for split in SPLITS] == [3, 1, 1]


def test_a_split_without_a_share_gets_nobody():
    rows = of_subjects({f"p{n}": "ab" for n in range(5)})
    assert set(split_of_each(rows, "by-subject:0,0.5,0.5")) == {"validation", "test"}


def test_a_negative_seed_is_refused():
    with pytest.raises(ConfigError, match="seed is -1"):
        split_of_each(of_subjects({"p": "a"}), "by-subject", -1)


def test_a_subject_pattern_that_finds_nothing_is_refused(tmp_path):
    (tmp_path / "wave").mkdir()
    (tmp_path / "wave" / "one.avi").touch()
    with pytest.raises(DataError, match="does not match"):
        folder_catalog(tmp_path, r"(\d)?")


def test_a_folder_named_like_a_video_is_none(tmp_path):
    (tmp_path / "wave" / "old.avi").mkdir(parents=True)
    assert find_videos(tmp_path) == []
