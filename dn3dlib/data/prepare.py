"""Catalog → prepared data set: decode each video once, in parallel processes, and write its sequences as records.

Frames travel from the decoding processes to the writing one through files beside the target, so memory does not grow
with the length of a video.
"""

import hashlib
import json
from collections import Counter, deque
from collections.abc import Iterator
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from dn3dlib.config import StorageConfig, to_dict
from dn3dlib.data import video
from dn3dlib.data.catalog import Catalog, Sequence
from dn3dlib.data.manifest import DataSet, StoredSequence
from dn3dlib.data.records import ShardWriter, encode_frame
from dn3dlib.data.workers import worker_count, worker_pool
from dn3dlib.errors import DataError, VideoError
from dn3dlib.files import folder_written_beside
from dn3dlib.progress import progress_bar

_LENGTH_BYTES = 4  # before each encoded frame in a spool file


@dataclass(frozen=True)
class _Decoded:
    """What a decoding process tells of one video; its frames lie in the spool files."""

    fps: float = 0.0
    frames: tuple[int, ...] = ()  # of each sequence
    reason: str = ""  # why the video cannot be used; empty when it can


def prepare(
    catalog: Catalog, data_dir: Path, storage: StorageConfig, workers: int | None = None, show_progress: bool = True
) -> DataSet:
    """Decode the videos of a catalog and write a prepared data set. Taught in notebook 01.

    Args:
        catalog: sequences with their splits (`Catalog.split_by`).
        data_dir: the folder to make; if it already holds what these inputs give, nothing is done.
        storage: size, channels and encoding of the stored frames.
        workers: decoding processes; None: one for each core.
        show_progress: a progress bar with rate and time left on standard error.

    Returns:
        The data set, opened. Videos that cannot be read are listed in `rejected`, annotated sequences that the video does
        not reach in `shortened`.

    Raises:
        DataError: nothing to prepare, a class without a readable video, a folder that holds something else.
        Dn3dError: the disk is full, the folder cannot be written; what was there before stays.
    """
    data_dir = Path(data_dir)
    workers = worker_count(workers, len({s.video for s in catalog.sequences}))
    if not catalog.sequences or not all(s.split for s in catalog.sequences):
        raise DataError(f"The catalog of {catalog.source_dir} has no sequences with a split: apply a protocol first.")
    inputs = _inputs(catalog, storage)
    if data_dir.exists() and not (data_dir.is_dir() and not any(data_dir.iterdir())):
        return _existing(data_dir, inputs)
    with folder_written_beside(data_dir) as folder:
        _write(catalog, folder, storage, inputs, workers, show_progress)
    return DataSet.open(data_dir)


def _inputs(catalog: Catalog, storage: StorageConfig) -> str:
    """A checksum of all that decides what comes out: rows, split, storage, sizes and times of the source files."""
    videos = sorted({s.video for s in catalog.sequences})
    files = [catalog.source_dir / v for v in videos]
    stats = [[f.stat().st_size, f.stat().st_mtime_ns] if f.is_file() else None for f in files]
    rows = [[s.id, s.video, s.label, s.subject, s.start, s.stop, s.split] for s in catalog.sequences]
    content = [catalog.dataset, catalog.protocol, catalog.seed, to_dict(storage), rows, videos, stats]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def _existing(data_dir: Path, inputs: str) -> DataSet:
    if not data_dir.is_dir():
        raise DataError(f"{data_dir} is a file: name a folder that is not there yet.")
    try:
        data = DataSet.open(data_dir)
    except DataError as error:
        raise DataError(f"{data_dir} exists and is not a whole data set ({error}) Choose another folder, or remove it.") from error
    if data.inputs != inputs:
        raise DataError(
            f"{data_dir} already holds a data set made from other videos or settings ({data.dataset}, {data.protocol}, "
            f"{data.storage.width}×{data.storage.height}×{data.storage.channels}): choose another folder, or remove it. `dn3d split` changes "
            "the protocol alone."
        )
    return data


def _write(catalog: Catalog, folder: Path, storage: StorageConfig, inputs: str, workers: int, show_progress: bool) -> None:
    """Write shards and manifest into `folder`."""
    order = sorted(catalog.sequences, key=lambda s: (s.subject, s.video, s.start, s.id))
    by_video = [(name, list(rows)) for name, rows in groupby(order, key=lambda s: s.video)]
    writer, stored, rejected, shortened = ShardWriter(folder), [], [], []
    frames = 0
    with progress_bar(total=len(by_video), desc="prepare", unit="video", show=show_progress) as bar:
        for name, rows, spools, decoded in _decode_all(catalog, by_video, storage, folder, workers):
            if decoded.reason:
                rejected.append({"file": name, "reason": decoded.reason})
            for row, spool, count in zip(rows, spools, decoded.frames, strict=False):
                if count:
                    stored.append(_store(writer, catalog, row, spool, decoded.fps, count))
                    frames += count
                if row.stop is not None and count < row.stop - row.start:
                    shortened.append({"sequence": row.id, "annotated": row.stop - row.start, "frames": count})
            for spool in spools:
                spool.unlink(missing_ok=True)
            bar.set_postfix_str(f"{frames / max(bar.format_dict['elapsed'], 1e-9):.0f} frames/s", refresh=False)
            bar.update()
    _check_classes(catalog, stored, rejected)
    data = DataSet(
        folder, catalog.dataset, catalog.protocol, catalog.seed, storage, catalog.classes, tuple(stored),
        writer.close(), tuple(rejected), tuple(shortened), inputs,
    )
    data.write_manifest()


def _check_classes(catalog: Catalog, stored: list[StoredSequence], rejected: list[dict]) -> None:
    found = Counter(sequence.label for sequence in stored)
    for label in catalog.classes:
        if not found[label]:
            reasons = [r["reason"] for r in rejected if any(s.video == r["file"] and s.label == label for s in catalog.sequences)]
            why = f" ({reasons[0]})" if reasons else ""
            raise DataError(f"Class {label} in {catalog.source_dir} has no readable video{why}: mend its videos or remove the class.")


def _store(writer: ShardWriter, catalog: Catalog, row: Sequence, spool: Path, fps: float, frames: int) -> StoredSequence:
    features = {
        "sequence/id": row.id,
        "video/id": row.video,
        "subject": row.subject,
        "label": catalog.classes.index(row.label),
        "fps": float(fps),
    }
    size = (catalog.source_dir / row.video).stat().st_size
    digest = hashlib.sha256()
    records = writer.write(features, _hashed(_read_spool(spool), digest))
    sha256 = digest.hexdigest()
    return StoredSequence(row.id, row.label, row.subject, row.split, row.video, size, fps, frames, records, sha256)


def _hashed(frames: Iterator[bytes], digest) -> Iterator[bytes]:
    for frame in frames:
        digest.update(frame)
        yield frame


def _decode_all(catalog, by_video, storage, folder, workers) -> Iterator[tuple[str, list[Sequence], list[Path], _Decoded]]:
    """Decode the videos in order, a few ahead of the writer; both look-ahead and disk space stay bounded."""
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


def _decode(path: Path, ranges: list[tuple[int, int | None]], spools: list[Path], storage: StorageConfig) -> _Decoded:
    """In a process of its own: encode the frames of each range into its spool file."""
    counts = [0] * len(ranges)
    first = min(start for start, _ in ranges)
    last = None if any(stop is None for _, stop in ranges) else max(stop for _, stop in ranges)
    try:
        with ExitStack() as stack:
            files = [stack.enter_context(spool.open("wb")) for spool in spools]
            frames = video.iter_frames(
                path, first, last, height=storage.height, width=storage.width, channels=storage.channels, fit=storage.fit
            )
            for number, frame in enumerate(frames, first):
                data = encode_frame(frame, storage)
                for place, (start, stop) in enumerate(ranges):
                    if start <= number and (stop is None or number < stop):
                        files[place].write(len(data).to_bytes(_LENGTH_BYTES, "little") + data)
                        counts[place] += 1
    except VideoError as error:
        # An annotation that goes on after a sound video's last frame costs its last sequences some frames, not the video.
        if not error.reason.startswith("ended at frame") or not any(counts):
            return _Decoded(reason=str(error))
    return _Decoded(video.frame_rate(path), tuple(counts))


def _read_spool(spool: Path) -> Iterator[bytes]:
    with spool.open("rb") as file:
        while length := file.read(_LENGTH_BYTES):
            yield file.read(int.from_bytes(length, "little"))
