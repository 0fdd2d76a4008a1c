"""Equal files, hashes that outlive compression, and pairs of videos that look alike, against a plain reckoning."""

import os
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from broken_videos import ffmpeg

from dn3dlib.data import duplicates
from dn3dlib.data.acting import render_video
from dn3dlib.data.duplicates import (
    HASH_EVERY,
    HASHES,
    NEAR,
    crossing_pairs,
    frame_hash,
    identical_files,
    near_pairs,
    sample_hashes,
)
from dn3dlib.data.kth import kth_catalog
from dn3dlib.data.scan import scan_folder
from dn3dlib.data.video import read_frames, write_video

BITS = 312


def bits(value: str) -> np.ndarray:
    return np.unpackbits(np.frombuffer(bytes.fromhex(value), np.uint8))


def differing_bits(one: str, other: str) -> int:
    return int((bits(one) != bits(other)).sum())


def random_hashes(count: int, seed: int = 0) -> list[str]:
    return [row.tobytes().hex() for row in np.random.default_rng(seed).integers(0, 256, (count, BITS // 8), dtype=np.uint8)]


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    return render_video("walking", subject=1, scenario=1, frames=1)[0]


# --- equal files -----------------------------------------------------------------------------------------------------


def test_identical_files(tmp_path):
    contents = {"a": b"one" * 1000, "b": b"two" * 1000, "c": b"one" * 1000, "d": b"longer" * 1000, "e": b"one" * 1000, "f": b""}
    paths = [tmp_path / name for name in contents]
    for path in paths:
        path.write_bytes(contents[path.name])
    assert identical_files(paths) == {tmp_path / "c": tmp_path / "a", tmp_path / "e": tmp_path / "a"}
    assert identical_files(reversed(paths)) == {tmp_path / "c": tmp_path / "e", tmp_path / "a": tmp_path / "e"}
    assert identical_files([]) == {}


def test_only_files_of_one_size_are_read_and_odd_ones_left_out(tmp_path, monkeypatch):
    for name, data in {"a": b"xx", "b": b"xx", "c": b"xxx", "secret": b"xx"}.items():
        (tmp_path / name).write_bytes(data)
    os.mkfifo(tmp_path / "pipe")
    opened, whole = [], Path.open

    def watched(self, *arguments):
        opened.append(self.name)
        if self.name == "secret":
            raise PermissionError(13, "Permission denied")
        return whole(self, *arguments)

    monkeypatch.setattr(Path, "open", watched)
    found = identical_files([tmp_path / name for name in ("a", "b", "c", "secret", "pipe", "none")])
    assert found == {tmp_path / "b": tmp_path / "a"} and sorted(opened) == ["a", "b", "secret"]


# --- the hash of a frame ---------------------------------------------------------------------------------------------


def test_the_hash_is_what_it_says():
    """One pixel for each region: the comparisons can be counted by hand."""
    frame = np.random.default_rng(0).integers(20, 256, (13, 13), dtype=np.uint8)
    vertical = [frame[y, x] > frame[y - 1, x] for y in range(1, 13) for x in range(13)]
    horizontal = [frame[y, x] > frame[y, x - 1] for x in range(1, 13) for y in range(13)]
    assert (bits(frame_hash(frame)) == vertical + horizontal).all() and len(bits(frame_hash(frame))) == BITS


def test_a_grey_frame_and_a_coloured_one_of_it_have_one_hash(picture):
    assert frame_hash(picture) == frame_hash(picture[..., np.newaxis]) == frame_hash(np.dstack([picture] * 3))


@pytest.mark.parametrize(
    "change",
    [
        lambda frame: cv2.imdecode(cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, 30])[1], cv2.IMREAD_GRAYSCALE),
        lambda frame: (frame * 0.7 + 40).astype(np.uint8),
        lambda frame: cv2.resize(frame, (64, 64), interpolation=cv2.INTER_AREA),
        lambda frame: cv2.resize(frame, (640, 480), interpolation=cv2.INTER_CUBIC),
        lambda frame: cv2.copyMakeBorder(frame, 30, 30, 0, 50, cv2.BORDER_CONSTANT),
        lambda frame: frame[2:-2, 2:-2],
    ],
    ids=["compressed", "brightened", "shrunk", "enlarged", "padded", "trimmed"],
)
def test_a_copy_keeps_most_bits(picture, change):
    other = render_video("walking", subject=2, scenario=1, frames=1)[0]
    kept = differing_bits(frame_hash(picture), frame_hash(change(picture)))
    assert kept < 0.2 * BITS < differing_bits(frame_hash(picture), frame_hash(other))


def test_a_picture_that_shows_nothing_has_no_hash():
    faint = np.full((120, 160), 100, np.uint8)
    faint[::2] += 3
    for frame in (np.zeros((120, 160), np.uint8), np.full((64, 64, 3), 200, np.uint8), faint, np.zeros((1, 1, 1), np.uint8)):
        assert frame_hash(frame) == ""


def test_the_hashes_kept_are_spread_evenly():
    values = [f"{number:02x}" for number in range(9)]
    assert sample_hashes(values) == ("00", "02", "04", "06", "08")
    assert sample_hashes(["", "a1", "", "b2"]) == ("a1", "b2") and sample_hashes([""]) == () == sample_hashes([])
    assert len(sample_hashes(values * 100)) == HASHES


# --- pairs -----------------------------------------------------------------------------------------------------------


def slow_pairs(hashes: list) -> dict[tuple[int, int], float]:
    """The definition, without a matrix product."""
    signs = [[bits(value).astype(float) * 2 - 1 for value in values] for values in hashes]
    every = [sign for values in signs for sign in values]
    mean = sum(every) / (len(every) + 10)

    def similarity(one: np.ndarray, other: np.ndarray) -> float:
        one, other = one - mean, other - mean
        return one @ other / np.sqrt((one @ one) * (other @ other))

    pairs = {}
    for i in range(len(signs)):
        for j in range(i + 1, len(signs)):
            best = max((similarity(one, other) for one in signs[i] for other in signs[j]), default=-1)
            if best >= NEAR:
                pairs[i, j] = round(best, 3)
    return pairs


@pytest.mark.parametrize("rows", [1, 3, 64])
def test_pairs_are_those_of_the_definition(monkeypatch, rows):
    monkeypatch.setattr(duplicates, "_ROWS", rows)
    rng, base = np.random.default_rng(1), random_hashes(12)
    hashes = []
    for number in range(40):
        some = rng.choice(len(base), size=number % 4, replace=False)  # none at all in every fourth
        noise = (np.packbits(rng.random(BITS) < 0.15) for _ in some)
        hashes.append([(np.frombuffer(bytes.fromhex(base[b]), np.uint8) ^ n).tobytes().hex() for b, n in zip(some, noise, strict=True)])
    found = near_pairs(hashes)
    assert {(i, j): similarity for i, j, similarity in found} == pytest.approx(slow_pairs(hashes), abs=0.0011)
    assert 20 < len(found) < 600
    assert [pair[2] for pair in found] == sorted((pair[2] for pair in found), reverse=True)


def test_pairs_of_few():
    one, other = random_hashes(2)
    assert near_pairs([]) == near_pairs([[one]]) == near_pairs([[], [one], []]) == near_pairs([[one], [other]]) == []
    assert near_pairs([[one], [], [one]]) == [(0, 2, 1.0)], "two equal videos alone are a pair"


def test_what_all_share_says_nothing():
    """One room: nine tenths of the bits are the same in every video."""
    rng, room = np.random.default_rng(2), bits(random_hashes(1)[0])
    videos = []
    for _ in range(30):
        bits_of_one = room.copy()
        bits_of_one[rng.choice(BITS, BITS // 10, replace=False)] ^= 1
        videos.append([np.packbits(bits_of_one).tobytes().hex()])
    assert differing_bits(videos[0][0], videos[1][0]) < 0.2 * BITS and near_pairs(videos) == []
    assert near_pairs([*videos, videos[7]]) == [(7, 30, 1.0)]


def sequence(name: str, split: str, *hashes: str) -> SimpleNamespace:
    return SimpleNamespace(id=f"{name}#1", video=f"{name}.avi", split=split, hashes=hashes)


def both(sequences):
    return sequences, near_pairs([sequence.hashes for sequence in sequences])


def test_crossing_pairs_name_both_sides():
    a, b, c = random_hashes(3)
    rows = [sequence("one", "train", a, b), sequence("two", "train", a), sequence("three", "test", c, b), sequence("four", "test")]
    assert crossing_pairs(rows, near_pairs([row.hashes for row in rows])) == [
        {"sequences": ["one#1", "three#1"], "videos": ["one.avi", "three.avi"], "splits": ["train", "test"], "similarity": 1.0}
    ]


def with_hashes(catalog, protocol: str) -> list[SimpleNamespace]:
    rows = []
    for row in catalog.split_by(protocol).sequences:
        frames = read_frames(catalog.source_dir / row.video, row.start, row.stop, height=64, width=64, channels=1)[::HASH_EVERY]
        rows.append(SimpleNamespace(id=row.id, video=row.video, split=row.split, hashes=sample_hashes(map(frame_hash, frames))))
    return rows


def test_a_random_split_of_kth_is_crossed_and_one_by_subject_is_not(shared_data):
    catalog = kth_catalog(shared_data / "kth", "kth")
    leaky = crossing_pairs(*both(with_hashes(catalog, "random-leaky")))
    assert sum(pair["videos"][0] == pair["videos"][1] for pair in leaky) > 40, "two sequences of one video"
    assert crossing_pairs(*both(with_hashes(catalog, "by-subject"))) == []


def test_synthetic_subjects_do_not_look_alike(source):
    rows = with_hashes(kth_catalog(source, "synthetic"), "by-subject")
    found = {(i, j) for i, j, _ in near_pairs([row.hashes for row in rows])}
    same = {(i, j) for i in range(len(rows)) for j in range(i + 1, len(rows)) if rows[i].video == rows[j].video}
    standing = {(i, j) for i, j in same if rows[i].video.startswith(("boxing", "hand"))}
    assert standing <= found <= same and len(standing) == 12


def test_a_scan_finds_a_shortened_shrunk_brightened_copy(tmp_path):
    for subject in range(1, 7):
        write_video(tmp_path / f"{subject}.avi", render_video("boxing", subject, scenario=1, frames=50), 25, "MJPG")
    change = "scale=112:84,eq=brightness=0.08:contrast=0.8"
    ffmpeg("-ss", 0.4, "-i", tmp_path / "3.avi", "-vf", change, "-c:v", "libx264", "-crf", 28, tmp_path / "copy.mp4")
    (pair,) = scan_folder(tmp_path, workers=1)["near_duplicates"]
    assert pair["videos"] == ["3.avi", "copy.mp4"] and NEAR <= pair["similarity"] < 1
