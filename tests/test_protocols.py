"""Protocols: published, drawn, leaving one subject out, by the owner's lists; and the counts that they give."""

import dataclasses
import re
import shutil
from collections import Counter
from pathlib import Path

import pytest

from dn3dlib.data.catalog import Catalog, Sequence, check_leaks, folder_catalog
from dn3dlib.data.manifest import DataSet
from dn3dlib.data.protocols import LEAKING_PROTOCOL, PROTOCOLS, SPLITS, split_of_each
from dn3dlib.data.sources import read_catalog
from dn3dlib.errors import ConfigError, DataError

ROOT = Path(__file__).resolve().parents[1]


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


# --- published and drawn ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "who", "people"), [("schuldt2004", "person", 25), ("gu2017", "person", 25), ("singh2016", "subject", 41)])
def test_a_published_protocol_places_every_person_once(name, who, people):
    assert set(PROTOCOLS[name]) == {f"{who}{number:02d}" for number in range(1, people + 1)}
    assert set(PROTOCOLS[name].values()) <= set(SPLITS)


def test_no_published_protocol_goes_unchecked():
    assert set(PROTOCOLS) == {"schuldt2004", "gu2017", "singh2016"}


def test_the_published_protocols_are_as_published():
    def people(protocol, split):
        return [int(person[-2:]) for person, place in PROTOCOLS[protocol].items() if place == split]

    assert sorted(people("schuldt2004", "train")) == [11, 12, 13, 14, 15, 16, 17, 18]
    assert sorted(people("schuldt2004", "validation")) == [1, 4, 19, 20, 21, 23, 24, 25]
    assert sorted(people("schuldt2004", "test")) == [2, 3, 5, 6, 7, 8, 9, 10, 22]
    assert people("gu2017", "train") == [*range(1, 17)] and people("gu2017", "test") == [*range(17, 26)]
    assert [people("singh2016", split) for split in SPLITS] == [[*range(1, 21)], [*range(21, 27)], [*range(27, 42)]]


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
    for path in (tmp_path / label / f"{n}.avi" for label in "abc" for n in range(videos)):
        path.parent.mkdir(exist_ok=True)
        path.write_text(str(path))
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


def test_random_leaky_draws_each_sequence_alone(catalog, prepared):
    whole = {s.id: s.split for s in catalog.split_by(LEAKING_PROTOCOL, 3).sequences}
    some = dataclasses.replace(catalog, sequences=catalog.sequences[::-5])
    assert {s.id: s.split for s in some.split_by(LEAKING_PROTOCOL, 3).sequences}.items() < whole.items()
    assert {s.id: s.split for s in DataSet.open(prepared).as_split_by(LEAKING_PROTOCOL, 3).sequences} == whole
    assert set(whole.values()) == set(SPLITS)


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


# --- leave one subject out -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("tested", "validates"), [("s0", "s1"), ("s2", "s3"), ("s4", "s0")])
def test_leave_one_subject_out(tested, validates):
    split = made_up(5).split_by(f"loso:{tested}")
    places = {s.subject: s.split for s in split.sequences}
    assert {split: [s for s in places if places[s] == split] for split in ("test", "validation")} == {"test": [tested], "validation": [validates]}
    assert Counter(places.values())["train"] == 3 and split.protocol == f"loso:{tested}"


def test_leaving_out_each_in_turn_tests_everyone_once():
    catalog = made_up(4)
    tested = [s.id for n in range(4) for s in catalog.split_by(f"loso:s{n}").sequences if s.split == "test"]
    assert sorted(tested) == sorted(s.id for s in catalog.sequences)


def test_leaving_out_somebody_who_is_not_there_names_the_nearest():
    sentence = refused(ConfigError, made_up(30).split_by, "loso:s299")
    assert "names no subject of this data set" in sentence and "s29" in sentence.split("nearest are: ")[1].split(", ")
    assert "nearest are: s" in refused(ConfigError, made_up(5).split_by, "loso")
    assert len(sentence) < 200, "not all thirty"


def test_leaving_one_of_two_out_leaves_nobody_to_train():
    assert "needs three subjects" in refused(DataError, made_up(2).split_by, "loso:s0")


def test_a_prepared_data_set_leaves_one_out_too(shell, prepared, tmp_path):
    copy = Path(shutil.copytree(prepared, tmp_path / "data"))
    status, _, err = shell("split", copy, "--protocol", "loso:person03")
    assert status == 0, err
    assert {s.subject for s in DataSet.open(copy).of_split("test")} == {"person03"}
    assert {s.subject for s in DataSet.open(copy).of_split("validation")} == {"person04"}
    status, _, err = shell("split", copy, "--protocol", "loso:person33")
    assert status == 2 and "nearest are: person03" in err
    assert DataSet.open(copy).protocol == "loso:person03"


# --- folds -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("folds", [2, 3, 5, 7])
def test_folds_test_each_subject_once_and_keep_nobody_to_validate(folds):
    catalog = made_up(7)
    tested = Counter()
    for number in range(1, folds + 1):
        places = dict(zip((s.subject for s in catalog.sequences), split_of_each(catalog.sequences, f"fold:{number}/{folds}"), strict=True))
        assert set(places.values()) == {"train", "test"}
        members = [subject for subject, split in places.items() if split == "test"]
        assert len(members) in (7 // folds, -(-7 // folds))
        assert sorted(places)[number - 1] in members, "the first fold holds the first subject, the second the second …"
        tested.update(members)
    assert tested == dict.fromkeys((f"s{s}" for s in range(7)), 1)


def test_every_fold_sees_every_class_where_each_video_is_its_own_subject():
    rows = [Sequence(f"{label}{n}", f"{label}/{n}.avi", label, f"{label}/{n}") for label in "abc" for n in range(6)]
    for number in (1, 2, 3):
        splits = split_of_each(rows, f"fold:{number}/3")
        assert Counter(row.label for row, split in zip(rows, splits, strict=True) if split == "test") == dict.fromkeys("abc", 2)


@pytest.mark.parametrize("which", ["", "2", "0/3", "4/3", "1/1", "a/b", "1/3/5", "-1/3", "1.5/3"])
def test_a_fold_that_is_none_is_refused(which):
    said = refused(ConfigError, split_of_each, made_up(7).sequences, f"fold:{which}")
    assert f"--protocol fold:{which} must name a fold and how many there are" in said and "fold:1/5" in said


def test_more_folds_than_subjects_are_refused():
    said = refused(DataError, split_of_each, made_up(3).sequences, "fold:1/4")
    assert "needs 4 subjects, one for each fold, but there are 3" in said


# --- the owner's lists -----------------------------------------------------------------------------------------------


def listed(groups: dict[str, int], protocol: str = "mine", videos: int = 2) -> Catalog:
    """So many groups of each class, each of `videos` videos; one more of each class in the test list."""
    rows = []
    for label, count in groups.items():
        for group in range(count + 1):
            place = ((protocol, "train" if group < count else "test"),)
            rows += [Sequence(f"{label}{group}-{v}", f"{label}/{group}-{v}.avi", label, f"{label}{group}", listed=place) for v in range(videos)]
    return Catalog("list", Path("nowhere"), tuple(rows))


def groups_by_class(catalog: Catalog, split: str) -> Counter:
    return Counter(label for label, _ in {(s.label, s.subject) for s in catalog.sequences if s.split == split})


@pytest.mark.parametrize("seed", range(4))
def test_a_sixth_of_each_classs_training_groups_validates(seed):
    split = listed({"a": 18, "b": 12, "c": 2, "d": 3, "e": 1}).split_by("mine", seed)
    assert groups_by_class(split, "train") == {"a": 15, "b": 10, "c": 1, "d": 2, "e": 1}
    assert groups_by_class(split, "validation") == {"a": 3, "b": 2, "c": 1, "d": 1}
    assert groups_by_class(split, "test") == dict.fromkeys("abcde", 1)
    assert all(s.split == "test" for s in split.sequences if ("mine", "test") in s.listed)
    check_leaks(split.sequences)


def test_the_seed_draws_the_validation_part_and_nothing_else():
    catalog = listed({"a": 18})
    drawn = {tuple(s.split for s in catalog.split_by("mine", seed).sequences) for seed in range(5)}
    assert len(drawn) > 1 and len({tuple(split == "test" for split in splits) for splits in drawn}) == 1
    assert catalog.split_by("mine", 3) == catalog.split_by("mine", 3)


def test_a_validation_list_is_taken_as_it_is():
    rows = listed({"a": 6}).sequences
    moved = tuple(dataclasses.replace(s, listed=(("mine", "validation"),)) if s.subject == "a0" else s for s in rows)
    split = Catalog("list", Path("nowhere"), moved).split_by("mine", 1)
    assert [s.split for s in split.sequences] == ["validation"] * 2 + ["train"] * 10 + ["test"] * 2


def test_lists_that_put_a_group_on_both_sides_are_refused():
    rows = listed({"a": 6}).sequences
    moved = tuple(dataclasses.replace(s, subject="a0") if s.subject == "a6" else s for s in rows)
    sentence = refused(DataError, Catalog("list", Path("nowhere"), moved).split_by, "mine")
    assert "The split leaks: subject a0" in sentence


def test_a_video_that_the_lists_leave_out_is_named():
    rows = listed({"a": 6}).sequences + (Sequence("x", "a/x.avi", "a", "x"),)
    assert "do not name the video a/x.avi" in refused(DataError, split_of_each, rows, "mine")


def test_a_mistyped_list_protocol_names_the_nearest():
    assert "did you mean ucf101-1?" in refused(ConfigError, listed({"a": 2}, "ucf101-1").split_by, "ucf101_1")


# --- the counts of the literature ------------------------------------------------------------------------------------

SOURCES = {"kth": "kth", "merl": "merl_labels", "ucf101": "."}  # below shared/data
COUNTED = {"kth": ["schuldt2004", "gu2017"], "merl": ["singh2016"], "ucf101": ["ucf101-1", "ucf101-2", "ucf101-3"]}


def counts_in_readme(heading: str) -> dict[str, list[int]]:
    """The rows of the tables in one section of data/README.md: protocol or class → its numbers."""
    text = (ROOT / "data" / "README.md").read_text(encoding="utf-8").partition(heading)[2].partition("\n\n**")[0]
    rows = re.findall(r"^\| `?([\w -]+?)`? \|([ \d,|]+)\|$", text, re.MULTILINE)
    return {name: [int(number.replace(",", "")) for number in numbers.split("|")] for name, numbers in rows}


@pytest.mark.parametrize(("dataset", "heading"), [("kth", "**KTH Actions.**"), ("merl", "**MERL Shopping.**"), ("ucf101", "**UCF101.**")])
def test_the_readme_of_data_counts_what_the_owners_publish(shared_data, dataset, heading):
    catalog = read_catalog(dataset, shared_data / SOURCES[dataset], annotated=True)
    rows = counts_in_readme(heading)
    classes = {name: rows.pop(name) for name in catalog.classes if name in rows}
    assert list(rows) == COUNTED[dataset]
    for protocol, numbers in rows.items():
        summary = catalog.split_by(protocol).summary()
        assert numbers == [summary["all"]["videos"], *(summary[part]["sequences"] for part in (*SPLITS, "all"))], protocol
        assert all(classes[name] == list(summary["classes"][name].values()) for name in classes)
    assert len(classes) == {"kth": 0, "merl": 5, "ucf101": 0}[dataset]
