"""Write beside, then rename: a reader sees a whole file or folder, or none."""

import errno
import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
from filelock import FileLock, Timeout

from dn3dlib.errors import Dn3dError
from dn3dlib.quiet import import_quietly

_PARTIAL = re.compile(r"\.partial-(\d+)$")


@contextmanager
def folder_written_beside(target: Path) -> Iterator[Path]:
    """A new empty folder beside `target`, renamed to it when the block ends well, removed when it does not.

    What processes that were killed have left beside `target` is removed first.

    Raises:
        Dn3dError: `target` has appeared in the meantime, or the disk is full.
    """
    target = Path(target).absolute()
    remove_leftovers(target)
    partial = target.with_name(f"{target.name}.partial-{os.getpid()}")
    try:
        with plain_disk_errors(target):
            partial.mkdir(parents=True)
            yield partial
            if target.is_dir() and not any(target.iterdir()):
                target.rmdir()
            elif target.exists():
                raise Dn3dError(f"{target} has appeared while it was being made: another process makes it too; choose another name.")
            partial.rename(target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def remove_leftovers(target: Path) -> list[Path]:
    """Remove the partial folders beside `target` whose process is gone, and name them."""
    leftovers = []
    for path in target.parent.glob(f"{target.name}.partial-*"):
        match = _PARTIAL.search(path.name)
        if match and not psutil.pid_exists(int(match[1])):
            shutil.rmtree(path, ignore_errors=True)
            leftovers.append(path)
    return leftovers


@contextmanager
def only_one_at(target: Path, wait: float = 0) -> Iterator[None]:
    """Hold `target` against other processes; a kill frees it.

    Raises Dn3dError where another holds it for `wait` more seconds, or where nobody can.
    """
    path = target.with_name(f"{target.name}.lock")
    lock = FileLock(path)
    try:
        with plain_disk_errors(target):
            path.parent.mkdir(parents=True, exist_ok=True)
            lock.acquire(timeout=wait)
    except Timeout as error:
        if not path.exists():
            raise Dn3dError(f"{target} cannot be written: choose a folder of your own.") from error
        raise Dn3dError(f"Another process is at work on {target}: wait until it is done, or choose another folder.") from error
    try:
        yield
    finally:
        with plain_disk_errors(target):
            path.unlink(missing_ok=True)  # while it is held: whoever opens it next makes a new one
        lock.release()


@contextmanager
def plain_disk_errors(target: Path) -> Iterator[None]:
    """Turn a full disk, a file too large or a folder without permission into a Dn3dError about `target`."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise Dn3dError(f"The disk is full ({error.strerror}) while writing {target}: free some space and run it again.") from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise Dn3dError(f"{target} cannot be written ({error.strerror}): choose a folder of your own.") from error
        if error.errno in (errno.ENOTDIR, errno.ENOENT, errno.EEXIST, errno.EISDIR, errno.ENAMETOOLONG, errno.EINVAL):
            raise Dn3dError(f"{target} cannot be made ({error.strerror}): check the path.") from error
        raise


@contextmanager
def tensorflow_errors_as_os_errors() -> Iterator[None]:
    """TensorFlow has errors of its own for a full disk and the like, which say why in words only."""
    tf = import_quietly("tensorflow")
    try:
        yield
    except tf.errors.OpError as error:
        for number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EROFS):
            if os.strerror(number) in error.message:
                raise OSError(number, os.strerror(number)) from error
        raise


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file beside, bring it to the disk, and rename it."""
    path = Path(path)
    partial = path.with_name(f"{path.name}.partial-{os.getpid()}")
    try:
        with plain_disk_errors(path):
            with partial.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write_json(path: Path, value) -> None:
    """Write `value` as indented JSON, beside and renamed."""
    # A file's name that is not UTF-8 is written as JSON escapes it, and read as it was.
    write_bytes(path, (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode(errors="backslashreplace"))


def read_json(path: Path, what: str) -> dict:
    """The JSON object in `path`; raises Dn3dError, which calls the file `what`, where there is none."""
    try:
        value = json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise Dn3dError(f"There is no {what} at {path}: check the path.") from error
    except (UnicodeDecodeError, json.JSONDecodeError, OSError) as error:
        raise Dn3dError(f"The {what} {path} cannot be read ({error}): restore it, or make it again.") from error
    if not isinstance(value, dict):
        raise Dn3dError(f"The {what} {path} does not hold a JSON object: restore it, or make it again.")
    return value
