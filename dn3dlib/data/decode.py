"""Videos → encoded frames of their sequences, in parallel processes; the frames travel through spool files."""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from dn3dlib.config import ClipConfig, StorageConfig
from dn3dlib.data import video
from dn3dlib.data.catalog import Catalog, Sequence
from dn3dlib.data.duplicates import HASH_EVERY, frame_hash, sample_hashes
from dn3dlib.data.judgement import doubts
from dn3dlib.data.records import encode_frame
from dn3dlib.data.workers import worker_pool
from dn3dlib.errors import DataError, VideoError

_LENGTH_BYTES = 4  # before each encoded frame in a spool file


@dataclass(frozen=True)
class Decoded:
    """What a decoding process tells of one video; its frames lie in the spool files."""

    fps: float = 0.0
    frames: tuple[int, ...] = ()  # of each sequence
    hashes: tuple[tuple[str, ...], ...] = ()  # of each sequence
    doubts: tuple[str, ...] = ()  # reasons to look at it, though it can be used
    reason: str = ""  # why it cannot be used; empty when it can
    problem: str = ""  # the same as a sentence


def frame_form(storage: StorageConfig) -> dict:
    """The form of stored frames, as `video.iter_frames` takes it."""
    return {name: getattr(storage, name) for name in ("height", "width", "channels", "fit", "region", "follow")}


def decode_all(
    catalog: Catalog, by_video: list[tuple[str, list[Sequence]]], storage: StorageConfig, folder: Path, workers: int
) -> Iterator[tuple[str, list[Sequence], list[Path], Decoded]]:
    """Decode videos, a few ahead of who takes them; both look-ahead and disk space stay bounded.

    Args:
        catalog: says where the videos lie.
        by_video: file → its sequences, in the order in which they are to come.
        storage: the form of the frames.
        folder: for the spool files; whoever has read them removes them.
        workers: processes.

    Yields:
        File, its sequences, the spool file of each, and what was found.

    Raises:
        DataError: a process died.
    """
    with worker_pool(workers) as pool:
        waiting: deque[tuple[str, list[Sequence], list[Path], Future]] = deque()
        try:
            for number, (name, rows) in enumerate(by_video):
                spools = [folder / f"spool-{number}-{place}" for place in range(len(rows))]
                ranges = [(row.start, row.stop) for row in rows]
                waiting.append((name, rows, spools, pool.submit(_decode, catalog.source_dir / name, ranges, spools, storage)))
                if len(waiting) > 2 * workers:
                    yield _finished(*waiting.popleft())
            while waiting:
                yield _finished(*waiting.popleft())
        finally:
            for *_, future in waiting:
                future.cancel()


def _finished(name: str, rows: list[Sequence], spools: list[Path], future: Future):
    try:
        return name, rows, spools, future.result()
    except BrokenProcessPool as error:
        raise DataError(
            f"The process that decoded videos near {name} died (killed, or out of memory): start again with fewer --workers; "
            "if it happens again, remove this video."
        ) from error


def _decode(path: Path, ranges: list[tuple[int, int | None]], spools: list[Path], storage: StorageConfig) -> Decoded:
    """In a process of its own: encode the frames of each range into its spool file, and judge the whole video."""
    counts, hashes = [0] * len(ranges), [[] for _ in ranges]
    number = -1
    try:
        with ExitStack() as stack:
            files = [stack.enter_context(spool.open("wb")) for spool in spools]
            for number, frame in enumerate(video.iter_frames(path, **frame_form(storage))):
                places = [place for place, (start, stop) in enumerate(ranges) if start <= number and (stop is None or number < stop)]
                data = encode_frame(frame, storage) if places else b""
                for place in places:
                    files[place].write(len(data).to_bytes(_LENGTH_BYTES, "little") + data)
                    if counts[place] % HASH_EVERY == 0:
                        hashes[place].append(frame_hash(frame))
                    counts[place] += 1
        found = replace(video.header(path), frames=number + 1)
    except VideoError as error:
        return Decoded(reason=error.reason, problem=str(error))
    return Decoded(found.fps, tuple(counts), tuple(map(sample_hashes, hashes)), tuple(doubts(found, ClipConfig().frames)))


def read_spool(spool: Path) -> Iterator[bytes]:
    """The encoded frames that a spool file holds."""
    with spool.open("rb") as file:
        while length := file.read(_LENGTH_BYTES):
            yield file.read(int.from_bytes(length, "little"))
