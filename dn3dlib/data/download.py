"""Fetch a data set from its owners, check it, and unpack it into the layout that `prepare` takes.

Written on urllib because pooch cannot go on with a broken download, and KTH is 1.2 GB from slow servers.
"""

import hashlib
import re
import shlex
import shutil
import stat
import struct
import urllib.request as web
import zlib
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipFile, ZipInfo

from dn3dlib.config import nearest
from dn3dlib.data.kth import ANNOTATION, read_annotation
from dn3dlib.errors import ConfigError, DataError
from dn3dlib.files import only_one_at, plain_disk_errors, write_bytes
from dn3dlib.places import data_home
from dn3dlib.progress import progress_bar

TIMEOUT = 30.0  # seconds without a byte
ROUNDS = 3  # times that a mirror is asked for one file
BLOCK = 1 << 18  # bytes


@dataclass(frozen=True)
class Published:
    """A file that the owners of a data set offer, and how to know it again."""

    name: str  # <class>.zip, or the annotation
    size: int  # bytes, about; unpacked as many again, since videos hardly shrink; twice as many are never taken
    known_by: str  # what `identity` says of it
    videos: int = 0  # in a zip

    @property
    def place(self) -> str:
        """Where its content lies in the finished folder, as a pattern."""
        label = self.name.removesuffix(".zip")
        return f"{label}/person??_{label}_d?_uncomp.avi" if self.videos else self.name

    def identity(self, path: Path) -> str:
        """What distinguishes the file at `path`: of a zip its checksum, of the annotation, which was published without, its counts."""
        if self.videos:
            with path.open("rb") as file:
                return "sha1 " + hashlib.file_digest(file, "sha1").hexdigest()
        try:
            ranges = read_annotation(path)
        except DataError:
            return "no annotation"
        return f"{len(ranges)} videos, {sum(map(len, ranges.values()))} sequences"


MIRRORS = {"kth": ("https://www.csc.kth.se/cvap/actions/", "http://www.nada.kth.se/cvap/actions/")}
FILES = {
    "kth": (
        Published(ANNOTATION, 38_081, "599 videos, 2391 sequences"),
        Published("boxing.zip", 194 << 20, "sha1 adb36ed9c29c846d44d2ba15f348bd115c951bbd", 100),
        Published("handclapping.zip", 176 << 20, "sha1 d3b81261aa822ef63d0d1523f945bfaff27814d2", 99),
        Published("handwaving.zip", 218 << 20, "sha1 0792f7cd69f7f895a205c08ac212ddaa7177e370", 100),
        Published("jogging.zip", 168 << 20, "sha1 21943bdbcef9dad106db0d74661e49eaeaa15a25", 100),
        Published("running.zip", 149 << 20, "sha1 da83bb313edfd4455fffdda6263696fa10d43c6f", 100),
        Published("walking.zip", 242 << 20, "sha1 a3e81537271a0ab4576591774baa38c2d97b7e3a", 100),
    )
}

_WEB = web.OpenerDirector()  # http and https alone: no file: or ftp:, even where a server redirects there
for _handler in (web.ProxyHandler, web.HTTPHandler, web.HTTPSHandler, web.HTTPRedirectHandler, web.HTTPErrorProcessor,
                 web.HTTPDefaultErrorHandler, web.UnknownHandler):  # fmt: skip
    _WEB.add_handler(_handler())


class _WrongFile(Exception):
    """A mirror gives something else than the file: there is no use in asking it again."""


def download(dataset: str, out_dir: Path | None = None, from_dir: Path | None = None) -> dict:
    """Bring a data set into a folder that `prepare` takes. What is there already stays, and is not fetched again.

    Args:
        dataset: kth.
        out_dir: the folder; None: `<dataset>-videos` in the kit's own `data/`.
        from_dir: holds the published files already: nothing is fetched, and they stay.

    Returns:
        `dataset`, `source` (the folder), `videos`, the files `taken` this time, and the command that comes `next`.

    Raises:
        ConfigError: no such data set.
        DataError: too little space, a file that no mirror gives, one of `from_dir` that is missing or another, a zip that
            is damaged or not to be trusted, another process at work in the folder.
        Dn3dError: the disk is full, the folder cannot be written.
    """
    if dataset not in FILES:
        raise ConfigError(f"There is no data set {dataset!r} to download: {nearest(dataset, FILES)}")
    files, out = FILES[dataset], Path(out_dir or data_home() / f"{dataset}-videos")
    with plain_disk_errors(out), only_one_at(out):
        out.mkdir(parents=True, exist_ok=True)
        wanted = [file for file in files if not _is_there(file, out)]
        names = [file.name for file in wanted]
        if from_dir and (missing := [name for name in names if not (Path(from_dir) / name).is_file()]):
            raise DataError(f"There is no {', '.join(missing)} in {from_dir}: add what is missing (from {MIRRORS[dataset][0]}), or leave out --from to fetch it.")
        _check_space(wanted, out, fetching=not from_dir)
        for file in files:
            part = out / f"{file.name}.part"
            if file in wanted:
                _take(file, Path(from_dir) / file.name if from_dir else _fetch(MIRRORS[dataset], file, part), out)
            part.unlink(missing_ok=True)
    command = ["dn3d", "prepare", "--dataset", dataset, "--source", str(out), "--out", str(data_home() / dataset)]
    videos = sum(file.videos for file in files)
    return {"dataset": dataset, "source": str(out), "videos": videos, "taken": names, "next": shlex.join(command)}


def _is_there(file: Published, out: Path) -> bool:
    """Whether all that a file holds lies in its place already; videos were checked when they were unpacked."""
    if not file.videos:
        return (out / file.name).is_file() and file.identity(out / file.name) == file.known_by
    return sum(path.stat().st_size > 0 for path in out.glob(file.place)) == file.videos


def _check_space(files: list[Published], out: Path, fetching: bool) -> None:
    """A fetched zip goes as soon as it is unpacked, so at most one, the largest, lies beside the videos."""
    sizes = [file.size for file in files]
    there = [path for file in files for pattern in (f"{file.name}.part", file.place) for path in out.glob(pattern)]
    needed = sum(sizes) + max(sizes, default=0) * fetching - sum(path.stat().st_size for path in there)
    if needed > (free := shutil.disk_usage(out).free):
        short = f"about {needed / 1e9:,.2f} GB more, but its disk has {free / 1e9:,.2f} GB free"
        raise DataError(f"{out} needs {short}: make room, or choose another --out.")


def _fetch(mirrors: tuple[str, ...], file: Published, part: Path) -> Path:
    """Receive a file into `part`, going on with what is there, from the first mirror that gives it whole."""
    failures, wrong = {}, set()
    for mirror in mirrors * ROUNDS:
        if mirror in wrong:
            continue
        try:
            _fetch_from(mirror, file, part)
            return part
        except _WrongFile as error:
            wrong.add(mirror)
            failures[mirror] = f"gave {error}"
        except (OSError, HTTPException, ValueError) as error:  # ValueError: an address to which it redirects
            failures[mirror] = " ".join(str(error).strip("<>").split())
    said = "; ".join(f"{mirror}: {why}" for mirror, why in failures.items())
    raise DataError(
        f"{file.name} cannot be fetched ({said}). Run this again later, it goes on where it stopped; or get the files by other "
        "means and name their folder with --from."
    )


def _fetch_from(mirror: str, file: Published, part: Path) -> None:
    """Raises _WrongFile for something else than the file; OSError or HTTPException where trying again may help."""
    resumed, limit = part.is_file(), 2 * file.size
    if resumed and file.identity(part) == file.known_by:
        return
    announced = _receive(mirror + file.name, part, limit)
    found, size = file.identity(part), part.stat().st_size
    if found == file.known_by:
        return
    if size < min(announced, limit):
        raise ConnectionError(f"broke off after {size:,} of {announced:,} bytes")
    part.unlink()
    if not resumed:
        raise _WrongFile(f"{size:,} bytes with {found}, not {file.known_by}")
    _fetch_from(mirror, file, part)  # the fault may lie in what was there before


def _receive(url: str, part: Path, limit: int) -> int:
    """Append what `part` lacks, or write it anew where the server knows no ranges; the size that the server announces, or 0."""
    start = part.stat().st_size if part.is_file() else 0
    headers = {"User-Agent": "dn3d"} | ({"Range": f"bytes={start}-"} if start else {})
    try:
        response = _WEB.open(web.Request(url, headers=headers), timeout=TIMEOUT)
    except web.HTTPError as error:
        if error.code == 416:  # nothing follows what is there
            return 0
        raise
    with response:
        start = start if response.status == 206 else 0
        announced = start + response.length if response.length else 0
        block = response.read1(BLOCK)
        if not start and block.lstrip().startswith(b"<"):  # no page may take the place of what has come from elsewhere
            raise _WrongFile(f"an HTML page instead of {part.stem}")
        bar = progress_bar(desc=part.stem, total=announced or None, initial=start, unit="B", unit_scale=True)
        with plain_disk_errors(part), part.open("ab" if start else "wb") as file, bar:
            while block and file.tell() < limit:
                bar.update(file.write(block[: limit - file.tell()]))
                block = response.read1(BLOCK)
    return announced


def _take(file: Published, path: Path, out: Path) -> None:
    """Check a file that has come, and put its content into its place."""
    try:
        if (found := file.identity(path)) != file.known_by:
            raise DataError(f"{path} is not the published {file.name} ({found}, not {file.known_by}): get it again.")
        if not file.videos:
            return write_bytes(out / file.name, path.read_bytes())
        with ZipFile(path) as archive:
            _unpack(archive, file, (out / file.place).parent)
    except (OSError, BadZipFile, EOFError, struct.error, zlib.error, RuntimeError, ValueError) as error:
        raise DataError(f"{path} cannot be unpacked ({error}): get it again.") from error


def _unpack(archive: ZipFile, file: Published, folder: Path) -> None:
    """Write the videos that are not there yet, each beside and renamed; no more than expected, whatever the zip says of its sizes."""
    members, left = _members(archive, file), 2 * file.size
    folder.mkdir(exist_ok=True)
    for leftover in folder.glob("*.partial-*"):  # of a process that was killed: this one holds the folder
        leftover.unlink()
    for name in progress_bar(sorted(members), desc=f"unpack {file.name}", unit="video"):
        path = folder / name
        if not path.exists() or not path.stat().st_size:
            with archive.open(members[name]) as member:
                content = member.read(left + 1)
            left -= len(content)
            if left < 0:
                raise BadZipFile("it unpacks to more than twice of what was published")
            write_bytes(path, content)


def _members(archive: ZipFile, file: Published) -> dict[str, ZipInfo]:
    """The videos in a zip by name, in whatever folder of it; anything else, and any path that leads out, is passed over."""
    label = file.name.removesuffix(".zip")
    inside = re.compile(rf"(?:(?!\.\.)[^/\\:]+/)*(person\d\d_{label}_d\d_uncomp\.avi)")
    members = {}
    for entry in archive.infolist():
        match = inside.fullmatch(entry.filename)
        plain = entry.compress_type in (ZIP_STORED, ZIP_DEFLATED) and not stat.S_ISLNK(entry.external_attr >> 16)
        if match and plain:
            members[match[1]] = entry
    if len(members) != file.videos:
        raise BadZipFile(f"it holds {len(members)} plain files inside its folders that are named as published, not {file.videos}")
    return members
