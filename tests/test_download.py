"""The downloader against a server on this machine that misbehaves, and against zips that are not to be trusted."""

import hashlib
import io
import json
import os
import random
import shlex
import shutil
import signal
import stat
import subprocess
import sys
import threading
import time
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest

from dn3dlib.data import download as module
from dn3dlib.data.download import FILES, MIRRORS, Published, download
from dn3dlib.data.kth import ANNOTATION, CLASSES, kth_catalog, read_annotation
from dn3dlib.errors import ConfigError, DataError, Dn3dError
from dn3dlib.files import only_one_at

PAGE = b"\n<!DOCTYPE html><html><body>Please log in.</body></html>"
VIDEOS = {"boxing": 4, "handclapping": 3}  # person02_handclapping_d2 does not exist


# --- what is published, and a server with it -----------------------------------------------------------------------


def video_bytes(label: str) -> dict[str, bytes]:
    names = [f"person{person:02d}_{label}_d{scenario}_uncomp.avi" for person in (1, 2) for scenario in (1, 2)]
    return {name: random.Random(name).randbytes(30_000 + 7 * i) for i, name in enumerate(names[: VIDEOS[label]])}


def zip_of(members: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content, compression)
    return buffer.getvalue()


def annotation_of(names: list[str]) -> bytes:
    return b"\r\nThe database.\r\n\r\n" + "".join(f"{name}\t\tframes\t1-5, 6-10\r\n" for name in names).encode()


def without_last_line(text: bytes) -> bytes:
    return b"".join(text.splitlines(keepends=True)[:-1])


def published(contents: dict[str, bytes], videos: dict[str, int]) -> tuple[Published, ...]:
    total = sum(videos.values())
    annotation = Published(ANNOTATION, len(contents[ANNOTATION]), f"{total} videos, {2 * total} sequences")
    zips = [(f"{label}.zip", contents[f"{label}.zip"], count) for label, count in videos.items()]
    return (annotation, *(Published(n, len(c), f"sha1 {hashlib.sha1(c).hexdigest()}", count) for n, c, count in zips))


class Handler(BaseHTTPRequestHandler):
    """Serves `/<mirror>/<name>`, honestly or with the trick set for that mirror and name."""

    def do_GET(self):
        mirror, name = self.path.strip("/").split("/")
        site, asked = self.server.site, self.headers.get("Range")
        site.log.append((mirror, name, asked))
        content = site.contents[name]
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked else 0
        tricks = [site.tricks[key] for key in ((mirror, name), mirror) if key in site.tricks]
        try:
            (tricks[0] if tricks else honest)(self, content, start)
        except (BrokenPipeError, ConnectionResetError):
            site.hung_up.append(name)
        self.close_connection = True

    def begin(self, status: int, length: int | None):
        self.send_response(status)
        if length is not None:
            self.send_header("Content-Length", str(length))
        self.end_headers()

    def log_message(self, *arguments):
        """Nothing on standard error."""


def honest(handler, content, start):
    if start >= len(content):
        return handler.begin(416, 0)
    handler.begin(206 if start else 200, len(content) - start)
    handler.wfile.write(content[start:])


def breaks_off(after):
    """Announces the whole and closes after `after` bytes."""

    def trick(handler, content, start):
        handler.begin(206 if start else 200, len(content) - start)
        handler.wfile.write(content[start : start + after])

    return trick


def knows_no_ranges(handler, content, start):
    handler.begin(200, len(content))
    handler.wfile.write(content)


def says_too_much(handler, content, start):
    handler.begin(206 if start else 200, len(content) - start + 1000)
    handler.wfile.write(content[start:])


def says_too_much_and_waits(handler, content, start):
    says_too_much(handler, content, start)
    handler.wfile.flush()
    handler.server.site.end.wait(20)


def says_too_little(handler, content, start):
    handler.begin(200, len(content) - 100)
    handler.wfile.write(content)


def sends_more(handler, content, start):
    handler.begin(200, None)
    handler.wfile.write(content + b"more")


def never_ends(handler, content, start):
    handler.begin(200, None)
    for _ in range(5000):
        handler.wfile.write(content)


def stalls(handler, content, start):
    handler.begin(206 if start else 200, len(content) - start)
    handler.wfile.write(content[start : start + 20_000])
    handler.wfile.flush()
    handler.server.site.end.wait(20)


def gives(content):
    return lambda handler, _, start: (handler.begin(200, len(content)), handler.wfile.write(content))


def answers(status):
    return lambda handler, content, start: handler.begin(status, 0)


def redirects(address):
    def trick(handler, content, start):
        handler.send_response(302)
        handler.send_header("Location", address)
        handler.end_headers()

    return trick


@pytest.fixture
def site(monkeypatch):
    """Two mirrors of a small KTH, one server; `tricks` sets how it misbehaves, `log` says what was asked."""
    contents = {f"{label}.zip": zip_of({f"{label}/{n}": c for n, c in video_bytes(label).items()}) for label in VIDEOS}
    contents[ANNOTATION] = annotation_of([name[:-11] for label in VIDEOS for name in video_bytes(label)])
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    site = server.site = SimpleNamespace(contents=contents, tricks={}, log=[], hung_up=[], end=threading.Event())
    site.mirrors = tuple(f"http://127.0.0.1:{server.server_port}/{name}/" for name in ("one", "two"))
    site.files = published(contents, VIDEOS)
    site.asked = lambda name: [(mirror, asked) for mirror, other, asked in site.log if other == name]
    monkeypatch.setitem(MIRRORS, "kth", site.mirrors)
    monkeypatch.setitem(FILES, "kth", site.files)
    monkeypatch.setattr(module, "TIMEOUT", 0.5)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield site
    site.end.set()
    server.shutdown()
    server.server_close()


def publish(site, monkeypatch, content: bytes) -> None:
    """Make `content` the published boxing.zip, checksum and all."""
    site.contents["boxing.zip"] = content
    monkeypatch.setitem(FILES, "kth", published(site.contents, VIDEOS))


def files_in(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def whole() -> dict[str, bytes]:
    return {f"{label}/{name}": content for label in VIDEOS for name, content in video_bytes(label).items()}


def assert_whole(out: Path) -> None:
    """Every video with every byte, the annotation, and nothing else."""
    assert files_in(out) == {ANNOTATION, *whole()}
    assert all((out / name).read_bytes() == content for name, content in whole().items())
    assert len(kth_catalog(out).sequences) == 14


def refused(out: Path, *arguments, kind=DataError) -> str:
    with pytest.raises(kind) as caught:
        download("kth", out, *arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# --- what works ------------------------------------------------------------------------------------------------------


def test_what_is_published_of_kth(shared_data):
    annotation, *zips = FILES["kth"]
    assert tuple(file.name for file in zips) == tuple(f"{label}.zip" for label in CLASSES)
    ranges = read_annotation(shared_data / "kth" / ANNOTATION)
    assert {file.name: file.videos for file in zips} == {f"{c}.zip": sum(f"_{c}_" in name for name in ranges) for c in CLASSES}
    assert annotation.identity(shared_data / "kth" / ANNOTATION) == annotation.known_by
    page = (Path(__file__).resolve().parents[1] / "data" / "README.md").read_text(encoding="utf-8")
    for file in zips:
        assert f"{file.known_by.removeprefix('sha1 ')}  {file.name}" in page and file.place.startswith(file.name[:-4])
    for mirror in MIRRORS["kth"]:
        assert f"<{mirror}>" in page


def test_a_download_from_the_first_mirror(site, tmp_path):
    found = download("kth", tmp_path / "kth")
    assert_whole(tmp_path / "kth")
    assert found["videos"] == 7 and found["taken"] == [ANNOTATION, "boxing.zip", "handclapping.zip"]
    assert site.log == [("one", name, None) for name in found["taken"]]
    again = download("kth", tmp_path / "kth")
    assert again == {**found, "taken": []} and len(site.log) == 3, "a second time nothing is asked for"


def test_from_the_shell_to_a_data_set(site, source, shell, monkeypatch, tmp_path):
    """The real thing: zips of videos that decode, the default folder, and the command that is printed at the end."""
    monkeypatch.setenv("DN3D_DATA", str(tmp_path / "my data"))
    for label in CLASSES:
        site.contents[f"{label}.zip"] = zip_of({path.name: path.read_bytes() for path in (source / label).iterdir()}, zipfile.ZIP_STORED)
    site.contents[ANNOTATION] = (source / ANNOTATION).read_bytes()
    monkeypatch.setitem(FILES, "kth", published(site.contents, dict.fromkeys(CLASSES, 4)))
    status, out, err = shell("download", "kth", "--json")
    found = json.loads(out)
    assert status == 0 and found["videos"] == 24 and found["source"] == str(tmp_path / "my data" / "kth-videos")
    assert "boxing.zip: 100%" in err and "B/s" in err, "progress with its rate, on standard error"
    status, out, err = shell("download", "kth")
    assert status == 0 and out.splitlines()[-1].strip() == found["next"]
    program, *command = shlex.split(found["next"])
    status, out, err = shell(*command, "--protocol", "by-subject", "--workers", 1, "--json")
    assert program == "dn3d" and status == 0, err
    assert json.loads(out)["train"]["sequences"] and not json.loads(out)["rejected"]


def test_zips_that_are_there_already(site, tmp_path):
    given, out = tmp_path / "given", tmp_path / "kth"
    given.mkdir()
    for name in ("boxing.zip", ANNOTATION):
        (given / name).write_bytes(site.contents[name])
    assert f"There is no handclapping.zip in {given}" in refused(out, given) and not files_in(out)
    assert f"There is no {ANNOTATION}, boxing.zip, handclapping.zip in" in refused(out, tmp_path / "nowhere")
    (given / "handclapping.zip").write_bytes(PAGE)
    sha1 = hashlib.sha1(PAGE).hexdigest()
    assert f"{given}/handclapping.zip is not the published handclapping.zip (sha1 {sha1}, not " in refused(out, given)
    (given / "handclapping.zip").write_bytes(site.contents["handclapping.zip"])
    assert download("kth", out, given)["taken"] == ["handclapping.zip"], "the rest was right and is there"
    assert_whole(out)
    assert files_in(given) == set(site.contents) and site.log == []


def test_a_wrong_annotation_is_named(site, tmp_path):
    for name, content in site.contents.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / ANNOTATION).write_bytes(without_last_line(site.contents[ANNOTATION]))
    assert "(6 videos, 12 sequences, not 7 videos, 14 sequences)" in refused(tmp_path / "out", tmp_path)
    (tmp_path / ANNOTATION).write_bytes(b"\x00\xff" * 50)
    assert "(no annotation, not 7 videos" in refused(tmp_path / "out", tmp_path)


# --- mirrors that misbehave ------------------------------------------------------------------------------------------

WRONG = {
    "page": (gives(PAGE), "gave an HTML page instead of boxing.zip"),
    "other zip": (gives(zip_of({"person01_boxing_d1_uncomp.avi": b"other"})), "bytes with sha1 "),
    "empty": (gives(b""), "gave 0 bytes with sha1 "),
    "says too little": (says_too_little, "bytes with sha1 "),
    "sends more": (sends_more, "bytes with sha1 "),
    "never ends": (never_ends, "bytes with sha1 "),
    "not found": (answers(404), "HTTP Error 404: Not Found"),
    "fault": (answers(500), "HTTP Error 500"),
    "breaks off": (breaks_off(10), "broke off after 60 of "),
    "stalls": (stalls, "timed out"),
    "a file": (redirects("file:///etc/passwd"), "file:///etc/passwd' is not allowed"),
    "ftp": (redirects("ftp://127.0.0.1/boxing.zip"), "unknown url type: ftp"),
    "no address": (redirects("http://[bad/"), "IPv6"),
    "in circles": (redirects("/one/boxing.zip"), "HTTP Error 302"),
}


@pytest.mark.parametrize("trick", WRONG, ids=str)
def test_the_second_mirror_helps(site, tmp_path, trick):
    site.tricks["one", "boxing.zip"] = WRONG[trick][0]
    download("kth", tmp_path)
    assert_whole(tmp_path)


@pytest.mark.parametrize("trick", [name for name in WRONG if name != "stalls"], ids=str)
def test_nothing_that_looks_good_comes_from_two_bad_mirrors(site, tmp_path, trick):
    for mirror in ("one", "two"):
        site.tricks[mirror, "boxing.zip"] = WRONG[trick][0]
    message = refused(tmp_path)
    assert message.startswith("boxing.zip cannot be fetched (http://127.0.0.1") and WRONG[trick][1] in message
    assert all(mirror in message for mirror in site.mirrors) and "--from" in message
    assert files_in(tmp_path) == {ANNOTATION} | ({"boxing.zip.part"} if trick == "breaks off" else set())
    size = len(site.contents["boxing.zip"])
    asked = [mirror for mirror, _ in site.asked("boxing.zip")]
    if trick == "never ends":
        deadline = time.monotonic() + 10
        while len(site.hung_up) < 2 and time.monotonic() < deadline:  # the server may notice a moment later
            time.sleep(0.01)
        assert f"gave {2 * size:,} bytes" in message and len(site.hung_up) == 2
    if trick == "other zip":
        assert asked == ["one", "two"], "who gives another file is not asked again"
    if trick == "breaks off":
        assert asked == ["one", "two"] * 3
    site.tricks.clear()
    download("kth", tmp_path)
    assert_whole(tmp_path)


def test_a_mirror_that_stalls_is_left_and_what_came_is_kept(site, monkeypatch, tmp_path):
    monkeypatch.setattr(module, "ROUNDS", 1)
    site.tricks.update({("one", "boxing.zip"): stalls, ("two", "boxing.zip"): answers(404)})
    start = time.monotonic()
    message = refused(tmp_path)
    assert time.monotonic() - start < 10 and "/one/: timed out; " in message and "404" in message
    assert (tmp_path / "boxing.zip.part").read_bytes() == site.contents["boxing.zip"][:20_000]


@pytest.mark.parametrize("trick", [says_too_much, says_too_much_and_waits])
def test_a_whole_file_counts_whatever_was_announced(site, tmp_path, trick):
    site.tricks["one", "boxing.zip"] = trick
    site.tricks["two", "boxing.zip"] = gives(PAGE)
    download("kth", tmp_path)
    assert_whole(tmp_path)
    assert site.asked("boxing.zip") == [("one", None)]


def test_mirrors_that_cannot_be_reached(site, monkeypatch, tmp_path):
    monkeypatch.setitem(MIRRORS, "kth", ("http://127.0.0.1:9/", "http://name.invalid/"))
    assert "Connection refused" in refused(tmp_path) and files_in(tmp_path) == set()


def test_an_annotation_must_be_complete(site, tmp_path):
    site.tricks["one", ANNOTATION] = gives(without_last_line(site.contents[ANNOTATION]))
    site.tricks["two", ANNOTATION] = gives(b"no words for it")
    message = refused(tmp_path)
    assert "with 6 videos, 12 sequences, not 7 videos, 14 sequences" in message and "with no annotation, not" in message
    assert files_in(tmp_path) == set()


# --- broken downloads are resumed --------------------------------------------------------------------------------------


def test_only_what_is_missing_is_asked_for(site, tmp_path):
    size = len(site.contents["boxing.zip"])
    site.tricks["one", "boxing.zip"] = breaks_off(50_000)
    site.tricks["two", "boxing.zip"] = breaks_off(30_000)
    download("kth", tmp_path)
    assert_whole(tmp_path)
    assert 80_000 < size <= 130_000
    assert site.asked("boxing.zip") == [("one", None), ("two", "bytes=50000-"), ("one", "bytes=80000-")]


def test_a_later_run_goes_on_where_it_stopped(site, tmp_path):
    (tmp_path / "boxing.zip.part").write_bytes(site.contents["boxing.zip"][:77_777])
    download("kth", tmp_path)
    assert_whole(tmp_path)
    assert site.asked("boxing.zip") == [("one", "bytes=77777-")]


def test_a_server_without_ranges_starts_anew(site, tmp_path):
    (tmp_path / "boxing.zip.part").write_bytes(site.contents["boxing.zip"][:77_777])
    site.tricks["one"] = knows_no_ranges
    download("kth", tmp_path)
    assert_whole(tmp_path)
    assert site.asked("boxing.zip") == [("one", "bytes=77777-")]


def test_a_page_does_not_take_the_place_of_what_has_come(site, tmp_path):
    (tmp_path / "boxing.zip.part").write_bytes(site.contents["boxing.zip"][:77_777])
    site.tricks["one"] = gives(PAGE)
    download("kth", tmp_path)
    assert_whole(tmp_path)
    assert site.asked("boxing.zip") == [("one", "bytes=77777-"), ("two", "bytes=77777-")]


@pytest.mark.parametrize("extra", [-5_000, 0, 5_000], ids=["shorter", "as long", "longer"])
def test_a_part_of_something_else_is_fetched_anew(site, tmp_path, extra):
    """One that is as long as the file, or longer, is answered with 416."""
    (tmp_path / "boxing.zip.part").write_bytes(b"x" * (len(site.contents["boxing.zip"]) + extra))
    download("kth", tmp_path)
    assert_whole(tmp_path)
    assert [mirror for mirror, _ in site.asked("boxing.zip")] == ["one", "one"] and site.asked("boxing.zip")[1][1] is None


def test_a_whole_part_needs_no_server(site, tmp_path):
    """As a kill between the last byte and the unpacking leaves it."""
    (tmp_path / "boxing.zip.part").write_bytes(site.contents["boxing.zip"])
    download("kth", tmp_path)
    assert_whole(tmp_path)
    assert site.asked("boxing.zip") == []


def test_a_finished_class_is_skipped_and_a_part_of_it_cleared_away(site, tmp_path):
    download("kth", tmp_path)
    (tmp_path / "boxing.zip.part").write_bytes(b"left over")
    lost = tmp_path / "handclapping" / "person01_handclapping_d2_uncomp.avi"
    lost.unlink()
    (tmp_path / "handclapping" / f"{lost.name}.partial-1").write_bytes(b"of a killed process")
    kept = tmp_path / "handclapping" / "person01_handclapping_d1_uncomp.avi"
    kept.write_bytes(b"mine")
    site.log.clear()
    assert download("kth", tmp_path)["taken"] == ["handclapping.zip"]
    assert [name for _, name, _ in site.log] == ["handclapping.zip"]
    assert kept.read_bytes() == b"mine", "what is there is never written over"
    kept.write_bytes(whole()[f"handclapping/{kept.name}"])
    assert_whole(tmp_path)


def test_what_lies_there_and_is_nothing_is_fetched_anew(site, tmp_path):
    download("kth", tmp_path)
    (tmp_path / "boxing" / "person01_boxing_d1_uncomp.avi").write_bytes(b"")
    (tmp_path / ANNOTATION).write_bytes(b"\x00\xff" * 50)
    site.log.clear()
    assert download("kth", tmp_path)["taken"] == [ANNOTATION, "boxing.zip"]
    assert_whole(tmp_path)
    assert [name for _, name, _ in site.log] == [ANNOTATION, "boxing.zip"]


def test_a_class_with_too_many_videos_is_not_taken_as_whole(site, tmp_path):
    extra = tmp_path / "handclapping" / "person09_handclapping_d1_uncomp.avi"
    lost = tmp_path / "handclapping" / "person01_handclapping_d1_uncomp.avi"
    download("kth", tmp_path)
    lost.rename(extra)
    shutil.copy(extra, extra.with_name("person08_handclapping_d1_uncomp.avi"))
    assert download("kth", tmp_path)["taken"] == ["handclapping.zip"]
    assert lost.read_bytes() == whole()[f"handclapping/{lost.name}"]


PROGRAM = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell lets what it runs in the background ignore it
from dn3dlib import cli
from dn3dlib.data import download
download.MIRRORS["kth"] = eval(sys.argv[1])
download.FILES["kth"] = eval(sys.argv[2], {"Published": download.Published})
sys.exit(cli.main(sys.argv[3:]))
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_process_that_is_stopped_is_followed_by_one_that_goes_on(site, tmp_path, number):
    site.tricks["one", "boxing.zip"] = stalls
    out = tmp_path / "kth"
    command = [sys.executable, "-c", PROGRAM, repr(site.mirrors), repr(site.files), "download", "kth", "--out", str(out)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not ((out / "boxing.zip.part").is_file() and (out / "boxing.zip.part").stat().st_size) and time.monotonic() < deadline:
        assert process.poll() is None
        time.sleep(0.01)
    assert "Another process is at work on" in refused(out, kind=Dn3dError), "two at once do not get in each other's way"
    os.kill(process.pid, number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == (-signal.SIGKILL if number == signal.SIGKILL else 130) and "Traceback" not in err
    assert files_in(out) == {ANNOTATION, "boxing.zip.part"}
    site.tricks.clear()
    site.log.clear()
    download("kth", out)
    assert_whole(out)
    assert site.log == [("one", "boxing.zip", "bytes=20000-"), ("one", "handclapping.zip", None)]


# --- zips that are not to be trusted, though their checksum is the published one ------------------------------------------


def test_videos_may_lie_deep_and_beside_other_files(site, monkeypatch, tmp_path):
    members = {f"KTH/2004 v1.0/boxing/{name}": content for name, content in video_bytes("boxing").items()}
    publish(site, monkeypatch, zip_of({"KTH/Thumbs.db": b"", "boxing/../x.txt": b"out", **members, "/root.avi": b"out"}))
    download("kth", tmp_path / "a" / "out")
    assert_whole(tmp_path / "a" / "out")
    assert {path.name for path in tmp_path.rglob("*")}.isdisjoint({"x.txt", "root.avi", "Thumbs.db"})


@pytest.mark.parametrize("path", ["../", "boxing/../../", "/", "//", "..\\", "boxing\\", "C:/", "../boxing/"])
def test_a_path_out_of_the_folder_is_no_video(site, monkeypatch, tmp_path, path):
    members = {f"{path if 'person02' in name else ''}{name}": content for name, content in video_bytes("boxing").items()}
    publish(site, monkeypatch, zip_of(members))
    message = refused(tmp_path / "a" / "out")
    assert "boxing.zip.part cannot be unpacked (it holds 2 plain files inside its folders" in message
    assert files_in(tmp_path) == {f"a/out/{ANNOTATION}", "a/out/boxing.zip.part"}


def entry(name: str, **values) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    for key, value in values.items():
        setattr(info, key, value)
    return info


def broken_in_the_middle(content: bytes) -> bytes:
    where = content.find(b"person02_boxing_d1") + 5000
    return content[:where] + bytes(byte ^ 0xFF for byte in content[where : where + 8]) + content[where + 8 :]


def with_first_entry(**values) -> bytes:
    """A zip of the right names whose first entry is something special."""
    buffer, (first, *others) = io.BytesIO(), video_bytes("boxing").items()
    with zipfile.ZipFile(buffer, "w") as archive:
        content = values.pop("content", first[1])
        archive.writestr(entry(first[0], **values), content, values.get("compress_type"))
        for name, content in others:
            archive.writestr(name, content)
    return buffer.getvalue()


CRAFTED = {
    "link": (lambda: with_first_entry(external_attr=(stat.S_IFLNK | 0o777) << 16, content=b"/etc/passwd"), "it holds 3 plain files"),
    "lzma": (lambda: with_first_entry(compress_type=zipfile.ZIP_LZMA), "it holds 3 plain files"),
    "folder": (lambda: zip_of({f"{name}/": b"" for name in video_bytes("boxing")}), "it holds 0 plain files"),
    "another name": (lambda: zip_of({"person01_boxing_d1.avi": b""} | dict(list(video_bytes("boxing").items())[1:])), "it holds 3 plain files"),
    "too many": (lambda: zip_of({"person03_boxing_d1_uncomp.avi": b"", **video_bytes("boxing")}), "it holds 5 plain files"),
    "broken": (lambda: broken_in_the_middle(zip_of(video_bytes("boxing"), zipfile.ZIP_STORED)), "Bad CRC-32"),
    "cut": (lambda: zip_of(video_bytes("boxing"))[:-30], "File is not a zip file"),
    "no zip": (lambda: b"PK\x03\x04" + b"x" * 1000, "File is not a zip file"),
}


@pytest.mark.parametrize("kind", CRAFTED)
def test_a_zip_with_something_else_in_it(site, monkeypatch, tmp_path, kind):
    make, reason = CRAFTED[kind]
    publish(site, monkeypatch, make())
    message = refused(tmp_path)
    assert f"{tmp_path}/boxing.zip.part cannot be unpacked (" in message and reason in message
    assert all((tmp_path / name).read_bytes() == whole()[name] for name in files_in(tmp_path) if name.endswith(".avi"))
    assert len(list(tmp_path.glob("boxing/*"))) == (2 if kind == "broken" else 0)


def test_a_bomb_is_measured_while_it_unpacks(site, monkeypatch, tmp_path):
    """50 MB of zeros in 200 kB, also where the zip says that they are few."""
    bomb = with_first_entry(content=bytes(50_000_000), compress_type=zipfile.ZIP_DEFLATED)
    publish(site, monkeypatch, bomb)
    assert "unpacks to more than twice of what was published" in refused(tmp_path) and not list(tmp_path.glob("boxing/*"))
    lie = bomb.replace((50_000_000).to_bytes(4, "little"), (1000).to_bytes(4, "little"))
    assert lie != bomb
    publish(site, monkeypatch, lie)
    assert "Bad CRC-32" in refused(tmp_path) and not list(tmp_path.glob("boxing/*"))


def test_an_encrypted_zip(site, monkeypatch, tmp_path):
    content = bytearray(zip_of(video_bytes("boxing")))
    for header, flag in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.find(header) + flag] |= 1
    publish(site, monkeypatch, bytes(content))
    assert "is encrypted" in refused(tmp_path)


# --- the disk, and wrong words -------------------------------------------------------------------------------------------


def test_free_space_is_checked_before_anything_is_fetched(site, monkeypatch, tmp_path):
    sizes = {file.name: file.size for file in site.files}
    needed = sum(sizes.values()) + max(sizes.values())
    free = [needed - 1]
    monkeypatch.setattr(module.shutil, "disk_usage", lambda path: SimpleNamespace(free=free[0]))
    assert f"{tmp_path} needs about 0.00 GB more, but its disk has 0.00 GB free: make room" in refused(tmp_path)
    assert site.log == [] and files_in(tmp_path) == set()
    (tmp_path / "boxing.zip.part").write_bytes(site.contents["boxing.zip"][:50_000])
    free[0] = needed - 50_000
    download("kth", tmp_path)
    assert_whole(tmp_path)
    free[0] = 0
    assert download("kth", tmp_path)["taken"] == [], "where nothing is to be done, no space is needed"


def test_space_in_the_words_of_the_real_set(monkeypatch, tmp_path):
    monkeypatch.setattr(module.shutil, "disk_usage", lambda path: SimpleNamespace(free=400_000_000))
    assert "needs about 1.46 GB more, but its disk has 0.40 GB free" in refused(tmp_path)


def test_zips_that_are_given_need_no_room_for_themselves(site, monkeypatch, tmp_path):
    for name, content in site.contents.items():
        (tmp_path / name).write_bytes(content)
    free = sum(file.size for file in site.files)
    monkeypatch.setattr(module.shutil, "disk_usage", lambda path: SimpleNamespace(free=free))
    download("kth", tmp_path / "out", tmp_path)
    assert_whole(tmp_path / "out")


def test_a_full_disk_is_no_fault_of_the_mirrors(site, monkeypatch, tmp_path):
    if not Path("/dev/full").exists():
        pytest.skip("not run: this system has no /dev/full")
    (tmp_path / "boxing.zip.part").symlink_to("/dev/full")
    monkeypatch.setattr(module.Published, "identity", lambda self, path: self.known_by if self.name == ANNOTATION else "?")
    monkeypatch.setattr(Path, "is_file", lambda self, real=Path.is_file: self.name != "boxing.zip.part" and real(self))
    message = refused(tmp_path, kind=Dn3dError)
    assert "The disk is full" in message and "mirror" not in message
    assert site.asked("boxing.zip") == [("one", None)], "no other mirror is tried"


def test_a_folder_that_cannot_be_made(site, tmp_path):
    (tmp_path / "file").write_text("")
    assert "cannot be made" in refused(tmp_path / "file" / "kth", kind=Dn3dError)
    (tmp_path / "kth").mkdir()
    (tmp_path / "kth" / "boxing").write_text("in the way")
    assert "cannot be unpacked" in refused(tmp_path / "kth") and site.asked("handclapping.zip") == []


def test_a_folder_that_another_process_holds(site, tmp_path):
    with only_one_at(tmp_path):
        assert f"Another process is at work on {tmp_path}" in refused(tmp_path, kind=Dn3dError)
    assert site.log == []
    download("kth", tmp_path)
    assert_whole(tmp_path)


def test_the_shell_says_what_is_wrong(site, shell, tmp_path):
    site.tricks.update(one=answers(503), two=gives(PAGE))
    for arguments, words in [
        (("kht",), "There is no data set 'kht' to download: did you mean kth?"),
        (("kth", "--out", tmp_path), f"{ANNOTATION} cannot be fetched ("),
        (("kth", "--out", tmp_path, "--from", tmp_path / "none"), f"There is no {ANNOTATION}, boxing.zip, handclapping.zip in"),
    ]:
        status, out, err = shell("download", *arguments, "--json")
        assert status == 2 and not out and "Traceback" not in err
        assert err.splitlines()[-1].startswith(f"dn3d: error: {words}")
    with pytest.raises(ConfigError):
        download("merl")
