"""UCF101: the official lists, their groups, and videos wherever they lie."""

import shutil
from collections import Counter
from pathlib import Path

import pytest

from dn3dlib.data.catalog import Catalog
from dn3dlib.data.protocols import SPLITS
from dn3dlib.data.ucf101 import ucf101_catalog
from dn3dlib.errors import DataError

PROTOCOLS = ("ucf101-1", "ucf101-2", "ucf101-3")


def video(label: str, group: int, clip: int = 1) -> str:
    return f"{label}/v_{label}_g{group:02d}_c{clip:02d}.avi"


@pytest.fixture
def lists(tmp_path) -> Path:
    """Lists of two classes in the official form: nine groups each, three of them tested, other ones in each split."""
    folder = tmp_path / "ucfTrainTestlist"
    folder.mkdir()
    (folder / "classInd.txt").write_bytes(b"1 Archery\r\n2 Diving\r\n")
    groups = [(label, number, group) for number, label in ((1, "Archery"), (2, "Diving")) for group in range(1, 10)]
    for split in (1, 2, 3):
        tested = range(3 * split - 2, 3 * split + 1)
        train = [f"{video(label, g, c)} {number}\r\n" for label, number, g in groups if g not in tested for c in (1, 2)]
        test = [f"{video(label, g, c)}\r\n" for label, _, g in groups if g in tested for c in (1, 2)]
        (folder / f"trainlist0{split}.txt").write_bytes("".join(train).encode())
        (folder / f"testlist0{split}.txt").write_bytes("".join(test).encode())
    return folder


def put(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)


def sides(catalog: Catalog) -> dict[str, set[str]]:
    return {split: {s.subject for s in catalog.sequences if s.split == split} for split in SPLITS}


def test_the_whole_of_ucf101(shared_data):
    catalog = ucf101_catalog(shared_data, annotated=True)
    assert len(catalog.sequences) == 13_320 and len(catalog.classes) == 101 and len(catalog.absent) == 13_316
    assert len({s.id for s in catalog.sequences}) == 13_320 and len({s.subject for s in catalog.sequences}) == 101 * 25
    for protocol, tested in zip(PROTOCOLS, (3783, 3734, 3696), strict=True):
        split = catalog.split_by(protocol)
        groups = sides(split)
        assert [len(groups[name]) for name in SPLITS] == [101 * 15, 101 * 3, 101 * 7]
        assert not groups["train"] & groups["test"] and not groups["validation"] & (groups["train"] | groups["test"])
        assert split.summary()["test"]["sequences"] == tested
        assert Counter(subject.split("_")[0] for subject in groups["validation"]).most_common()[-1][1] == 3


def test_real_videos_lie_beside_other_data_sets(shared_data):
    catalog = ucf101_catalog(shared_data)
    assert [(s.id, s.video, s.subject) for s in catalog.sequences] == [
        (f"{name}", f"ucf101/{name}.avi", f"{name.split('/')[0]}_{name[-7:-4]}")
        for name in ("Archery/v_Archery_g03_c03", "Bowling/v_Bowling_g01_c01", "Diving/v_Diving_g01_c01", "IceDancing/v_IceDancing_g01_c01")
    ]
    assert all((shared_data / s.video).is_file() for s in catalog.sequences)
    assert [s.split for s in catalog.split_by("ucf101-2").sequences] == ["train"] * 4


@pytest.mark.parametrize("place", ["UCF-101", "deep/er", "."])
def test_videos_are_found_wherever_the_class_folders_lie(lists, place):
    put(lists.parent / place, *(video(label, group) for label in ("Archery", "Diving") for group in range(1, 10)))
    put(lists.parent, "holiday.avi", "elsewhere/v_Archery_g01_c01.mp4")
    catalog = ucf101_catalog(lists.parent)
    assert len(catalog.sequences) == 18 and catalog.absent[0] == video("Archery", 1, 2) and len(catalog.absent) == 18
    assert catalog.sequences[0].listed == (("ucf101-1", "test"), ("ucf101-2", "train"), ("ucf101-3", "train"))
    groups = sides(catalog.split_by("ucf101-3"))
    assert groups["test"] == {f"{label}_g{group:02d}" for label in ("Archery", "Diving") for group in (7, 8, 9)}
    assert Counter(subject.split("_")[0] for subject in groups["validation"]) == {"Archery": 1, "Diving": 1}


def test_a_class_list_with_a_byte_order_mark(lists):
    plain = ucf101_catalog(lists.parent, annotated=True)
    path = lists / "classInd.txt"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert ucf101_catalog(lists.parent, annotated=True) == plain and plain.classes == ("Archery", "Diving")


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("trainlist02.txt", lambda text: text.replace("Diving/", "Dining/", 1), "trainlist02.txt names 'Dining/v_Diving_g01_c01.avi 2'"),
        ("trainlist01.txt", lambda text: text.replace("c01.avi 1", "c01.avi 2", 1), "trainlist01.txt names 'Archery/v_Archery_g04_c01.avi 2'"),
        ("testlist03.txt", lambda text: text.replace("v_Archery_g07_c01", "holiday"), "names 'Archery/holiday.avi', which is not of UCF101's form"),
        ("testlist01.txt", lambda text: text + "../../v_Archery_g01_c09.avi\n", "Line 13 .* leaves the source folder"),
        ("testlist01.txt", lambda text: text + f"{video('Archery', 4)}\n", "v_Archery_g04_c01.avi stands in .*trainlist01.txt .train., and line 13 .* leaks"),
        ("testlist02.txt", lambda text: text + text, "line 13 of .*testlist02.txt names it again"),
        ("classInd.txt", lambda text: text.replace("2 Diving", "2"), "trainlist01.txt names 'Diving/v_Diving_g04_c01.avi 2'"),
        ("classInd.txt", lambda text: "", "trainlist01.txt names 'Archery/"),
    ],
)
def test_lists_that_do_not_fit_together_are_refused(lists, name, change, said):
    path = lists / name
    path.write_text(change(path.read_text()))
    with pytest.raises(DataError, match=said):
        ucf101_catalog(lists.parent, annotated=True)


def test_a_group_on_both_sides_is_refused(lists):
    path = lists / "testlist01.txt"
    path.write_text(path.read_text() + f"{video('Archery', 4, 9)}\n")
    with pytest.raises(DataError, match="The split leaks: subject Archery_g04"):
        ucf101_catalog(lists.parent, annotated=True).split_by("ucf101-1")


def test_lists_must_be_there_once_and_whole(lists):
    shutil.copytree(lists, lists.parent / "again")
    with pytest.raises(DataError, match="must lie once in .*, but there is .*again/classInd.txt and .*ucfTrainTestlist/classInd.txt"):
        ucf101_catalog(lists.parent)
    shutil.rmtree(lists.parent / "again")
    (lists / "testlist03.txt").unlink()
    with pytest.raises(DataError, match="testlist03.txt cannot be read"):
        ucf101_catalog(lists.parent)
    shutil.rmtree(lists)
    with pytest.raises(DataError, match="must lie once in .*, but there is none"):
        ucf101_catalog(lists.parent)


def test_videos_that_no_list_names_or_that_are_there_twice_are_refused(lists):
    with pytest.raises(DataError, match="None of the 36 videos that belong to ucf101 is in"):
        ucf101_catalog(lists.parent)
    put(lists.parent, f"one/{video('Diving', 1)}", "one/Diving/mine.avi")
    with pytest.raises(DataError, match="No list of UCF101 names the video .*one/Diving/mine.avi"):
        ucf101_catalog(lists.parent)
    (lists.parent / "one/Diving/mine.avi").unlink()
    put(lists.parent, f"two/{video('Diving', 1)}")
    with pytest.raises(DataError, match="is there twice, as one/Diving/.* and as two/Diving/"):
        ucf101_catalog(lists.parent)


def test_a_prepared_set_changes_its_official_split_without_the_lists(shell, shared_data, tmp_path):
    status, out, _ = shell("prepare", "--dataset", "ucf101", "--source", shared_data, "--out", tmp_path / "data", "--workers", 1,
                           "--height", 32, "--width", 32)  # fmt: skip
    assert status == 0 and "a list names them (13316): ApplyEyeMakeup/" in out
    status, out, err = shell("split", tmp_path / "data", "--protocol", "ucf101-2")
    assert status == 0 and "train           4 sequences" in out, err
