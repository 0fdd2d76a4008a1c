"""Every kind of broken or odd file is named with its reason, by a scan and by whoever reads the video to its end."""

import json
import os
import re
import shutil
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import imageio_ffmpeg
import pytest
from broken_videos import CODECS, REASONS, film, joined, make_broken_videos

from dn3dlib.data import judgement, scan
from dn3dlib.data.judgement import DOUBTFUL, UNUSABLE, VideoInfo, doubts, kind_of
from dn3dlib.data.scan import scan_folder
from dn3dlib.data.video import iter_frames, probe
from dn3dlib.errors import DataError, Dn3dError, VideoError


def shown(name: str) -> str:
    return name.encode(errors="backslashreplace").decode()


@pytest.fixture(scope="module")
def broken(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("broken") / "videos"
    make_broken_videos(folder)
    (folder / "notes.txt").touch()
    (folder / ".hidden.avi").touch()
    return folder


@pytest.fixture(scope="module")
def found(broken) -> dict:
    return scan_folder(broken, workers=2)


@pytest.mark.parametrize("name", REASONS, ids=map(shown, REASONS))
def test_a_scan_names_every_broken_file_with_its_reason(found, name):
    (row,) = [row for row in found["videos"] if row["video"] == shown(name)]
    assert re.fullmatch(REASONS[name], row["reason"])
    assert row["usable"] == (not row["reason"] or kind_of(row["reason"]) in DOUBTFUL)
    assert (row["frames"] is not None) == row["usable"]
    assert bool(row["problem"]) == bool(row["reason"]) and "\n" not in row["problem"]


@pytest.mark.parametrize("name", REASONS, ids=map(shown, REASONS))
def test_reading_to_the_end_judges_alike(broken, found, name):
    (row,) = [row for row in found["videos"] if row["video"] == shown(name)]
    frames = 0
    try:
        for _ in iter_frames(broken / name, height=24, width=32, channels=1):
            frames += 1
    except VideoError as error:
        assert (error.reason, str(error)) == (row["reason"], row["problem"]) and not row["usable"]
    else:
        assert row["usable"] and frames == row["frames"] > 0


def test_the_summary(found):
    kinds = [kind_of(row["reason"]) for row in found["videos"] if row["reason"]]
    assert found["bad"] == sum(kind in UNUSABLE for kind in kinds) == 26
    assert found["reasons"] == {kind: kinds.count(kind) for kind in kinds}
    assert list(found["reasons"].values()) == sorted(found["reasons"].values(), reverse=True)
    assert found["other_files"] == 1
    assert [pair["videos"] for pair in found["near_duplicates"]] == [["promises_less.avi", "promises_more.avi"]]
    json.dumps(found, ensure_ascii=False).encode()


def test_every_word_of_the_list_is_tested_and_explained(found):
    elsewhere = {"unreadable permission", "disk error"}  # test_video: a superuser can read every file
    elsewhere |= {"smaller than the region"}  # test_prepare
    assert set(found["reasons"]) | elsewhere == set(UNUSABLE + DOUBTFUL)
    page = (Path(__file__).parents[1] / "data" / "README.md").read_text(encoding="utf-8")
    assert [word for word in UNUSABLE + DOUBTFUL if f"`{word}" not in page] == []


def test_real_files_whose_headers_lie(shared_data):
    rows = {row["video"]: row["reason"] for row in scan_folder(shared_data / "odd", workers=1)["videos"]}
    assert rows == {
        "32_frames_h264.mp4": "",
        "six_fps_h264.mp4": "",
        "header_says_427_decodes_430.avi": "header and content disagree (427 frames promised, 430 decoded)",
        "header_says_85_decodes_84.avi": "header and content disagree (85 frames promised, 84 decoded)",
    }


def test_the_length_of_a_clip_is_the_users(broken, tmp_path):
    for name in ("good.avi", "short.avi"):
        shutil.copy(broken / name, tmp_path)
    reasons = [[row["reason"] for row in scan_folder(tmp_path, 1, frames)["videos"]] for frames in (8, 51)]
    assert reasons == [["", ""], ["shorter than a clip (50 of 51 frames)", "shorter than a clip (8 of 51 frames)"]]


def test_several_doubts_stand_together(tmp_path):
    info = VideoInfo(tmp_path, 32, 32, 3, 4, 25.0, "MJPG")
    assert [kind_of(reason) for reason in doubts(info, 16)] == ["header and content disagree", "shorter than a clip"]
    assert doubts(VideoInfo(tmp_path, 32, 32, 16, 0, 25.0, "png"), 16) == [], "a header without a promise is not wrong"


def test_a_folder_that_cannot_be_scanned(broken, tmp_path, monkeypatch):
    with pytest.raises(DataError, match="good.avi is a file, and a scan looks through a folder: `dn3d info"):
        scan_folder(broken / "good.avi")
    with pytest.raises(DataError, match="none does not exist"):
        scan_folder(tmp_path / "none")
    assert scan_folder(tmp_path)["videos"] == []

    @contextmanager
    def dying(workers):
        def broke(*_):
            raise BrokenProcessPool

        yield SimpleNamespace(map=broke)

    monkeypatch.setattr(scan, "worker_pool", dying)
    with pytest.raises(DataError, match="process that decoded videos .* died .*: scan it in parts"):
        scan_folder(broken)


def test_the_table_of_the_shell(shell, broken):
    status, out, _ = shell("scan", broken, "--workers", 2)
    lines = out.splitlines()
    assert status == 0 and sum(line.startswith("unusable ") for line in lines) == 26
    assert sum(line.startswith("doubtful ") for line in lines) == 4
    assert [line for line in lines if line.startswith("ok ")][0].split()[1:] == ["50", "50", "160×120", "25.00", "FMP4", "good.avi"]
    assert f"{len(REASONS)} videos, 26 that cannot be used; 1 other files passed over" in lines
    assert "      7 truncated" in lines and lines[-2] == "Look-alikes, both of a pair to be kept in one split (1):"
    status, out, _ = shell("scan", broken, "--workers", 2, "--frames", 8, "--json")
    assert status == 0 and "shorter than a clip" not in json.loads(out)["reasons"]


# --- frames that change their size -----------------------------------------------------------------------------------


@pytest.mark.parametrize("behind", [-68, -40, -10, -1, 0, 1, 2, 3, 4, 5, 1000])
def test_a_change_far_behind_the_beginning_is_seen(tmp_path, behind):
    """In the second block of bytes that is searched, and across the border of the two."""
    data = joined(tmp_path, tmp_path / "changed.avi", *CODECS["mpeg4.avi"]).read_bytes()
    headers = [match.start() for match in re.finditer(rb"\0\0\x01\x20", data)]
    first = data[headers[0] :][:14]
    changed = next(place for place in headers if data[place:][:14] != first)
    movi = data.index(b"movi")
    far = VideoInfo(tmp_path / "far.avi", 160, 120, 50, 50, 25.0, "FMP4")
    far.path.write_bytes(data[:movi] + bytes(judgement._BLOCK + 4 - changed + behind) + data[movi:])
    assert not judgement._states_one_size(far)
    far.path.write_bytes(far.path.read_bytes()[: judgement._BLOCK + 4 + behind])
    assert judgement._states_one_size(far), "nothing but the second size gave it away"


def test_only_what_needs_it_is_decoded_a_second_time(broken, shared_data, monkeypatch):
    asked = []
    for name, answer in (("_shown_sizes", set()), ("_is_damaged", False)):
        monkeypatch.setattr(judgement, name, lambda path, name=name, answer=answer: (asked.append((path.name, name)), answer)[1])
    for path in (*shared_data.glob("kth/*/*_d1_*.avi"), *shared_data.glob("ucf101/*/*.avi"), broken / "good.avi"):
        probe(path)
    assert asked == [], "the bytes tell"
    for name in ("changed_mpeg4.avi", "changed_vp8.webm", "promises_more.avi", "promises_less.avi"):
        probe(broken / name)
    assert asked == [("changed_mpeg4.avi", "_shown_sizes"), ("changed_vp8.webm", "_shown_sizes"), ("promises_more.avi", "_is_damaged")]


def test_a_beginning_of_one_size_can_be_read(broken):
    frames = list(iter_frames(broken / "changed_h264.ts", 0, 40))
    assert len(frames) == 40 and frames[0].shape == (120, 160, 3)


def test_odd_names_reach_ffmpeg_unchanged(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("-x.mp4", "concat:x.mp4", "%02d.mp4", "a b;'c.mp4"):
        film(tmp_path / "x.mp4", "-c:v", "libx264").rename(name)
        assert judgement._shown_sizes(Path(name)) == {(160, 120)} and not judgement._is_damaged(Path(name))


def test_without_ffmpeg_a_sentence_says_what_to_install(broken, monkeypatch):
    def none():
        raise RuntimeError("No ffmpeg exe could be found")

    monkeypatch.setattr(imageio_ffmpeg, "get_ffmpeg_exe", none)
    with pytest.raises(Dn3dError, match="ffmpeg is not there, .*: install imageio-ffmpeg"):
        probe(broken / "changed_h264.ts")
    assert probe(broken / "good.avi").frames == 50


def test_a_scan_leaves_nothing_behind(broken, found):
    assert set(os.listdir(broken)) == set(REASONS) | {"notes.txt", ".hidden.avi"}
