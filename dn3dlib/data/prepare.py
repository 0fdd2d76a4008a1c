"""Catalog → prepared data set: decode each video once, in parallel processes, and write its sequences as records.

Frames travel from the decoding processes to the writing one through files beside the target, so memory does not grow
with the length of a video. A journal says which videos are done: what was interrupted goes on where it stopped.
"""

import dataclasses
import hashlib
import json
import shutil
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

from dn3dlib.config import StorageConfig, to_dict
from dn3dlib.data import video
from dn3dlib.data.catalog import Catalog, Sequence
from dn3dlib.data.decode import Decoded, decode_all, frame_form, read_spool
from dn3dlib.data.duplicates import identical_files, near_pairs
from dn3dlib.data.journal import JOURNAL, Journal
from dn3dlib.data.manifest import MANIFEST, DataSet, StoredSequence
from dn3dlib.data.records import ShardWriter, encode_frame
from dn3dlib.data.workers import worker_count
from dn3dlib.errors import DataError, Dn3dError, VideoError
from dn3dlib.files import only_one_at, plain_disk_errors
from dn3dlib.progress import progress_bar

_FEWEST_BYTES = 16  # of a frame in a video


def prepare(
    catalog: Catalog,
    data_dir: Path,
    storage: StorageConfig,
    workers: int | None = None,
    show_progress: bool = True,
    strict: bool = False,
) -> DataSet:
    """Decode the videos of a catalog and write a prepared data set. Taught in notebook 01.

    What `data_dir` already holds of these videos is not decoded again, nor what an interrupted call has finished.

    Args:
        catalog: sequences with their splits (`Catalog.split_by`).
        data_dir: the folder to make, or to add the catalog's new videos to.
        storage: size, channels and encoding of the stored frames.
        workers: decoding processes; None: one for each core.
        show_progress: on standard error, what there is to do and a progress bar with rate and time left.
        strict: stop at the first video that is absent, cannot be used, is doubtful or ends before its annotation.

    Returns:
        The data set, opened. Videos that cannot be used are listed in `rejected`, those to look at in `doubtful`, annotated
        sequences that their video does not reach in `shortened`.

    Raises:
        DataError: nothing to prepare, a class without a readable video, a folder that holds something else; with `strict`,
            the first fault.
        Dn3dError: the disk is too small or full, the folder cannot be written, another process prepares it. What was
            there before stays.
    """
    data_dir = Path(data_dir).resolve()
    if not catalog.sequences or not all(s.split for s in catalog.sequences):
        raise DataError(f"The catalog of {catalog.source_dir} has no sequences with a split: apply a protocol first.")
    workers = worker_count(workers, len({s.video for s in catalog.sequences}))
    if strict and catalog.absent:
        raise DataError(f"--strict: {len(catalog.absent)} annotated videos are not in {catalog.source_dir}: fetch {catalog.absent[0]} first.")
    storage = _with_size(storage, catalog, data_dir)
    sources = _sources(catalog)
    old = _existing(data_dir, catalog, storage, sources)
    standing = old and _standing(old, catalog, sources)
    if standing and strict:
        _refuse_faults(vars(standing))
    if standing and len(standing.videos) == len(sources) and standing == old:  # else a row is of a video that is gone
        _clear_leftovers(data_dir)
        if show_progress:
            print(f"{data_dir} already holds these {len(sources)} videos: nothing to do.", file=sys.stderr)
        return old
    if data_dir.is_mount():
        raise DataError(f"{data_dir} is a disk of its own, and the finished folder is renamed into place: name a folder on it.")
    with plain_disk_errors(data_dir), only_one_at(data_dir):
        old = _existing(data_dir, catalog, storage, sources)  # another process may have made it in the meantime
        standing = old and _standing(old, catalog, sources)
        _write(catalog, data_dir, storage, sources, standing, workers, show_progress, strict)
    return DataSet.open(data_dir)


def _with_size(storage: StorageConfig, catalog: Catalog, data_dir: Path) -> StorageConfig:
    """The storage with height and width, where only the short side was given: of what is there, or of the first video."""
    if not storage.short_side:
        return storage
    if (data_dir / MANIFEST).is_file():
        there = DataSet.open(data_dir).storage
        if min(there.height, there.width) == storage.short_side:
            return dataclasses.replace(storage, height=there.height, width=there.width, short_side=0)
    for row in catalog.sequences:
        try:
            frame = next(video.iter_frames(catalog.source_dir / row.video, 0, 1, region=storage.region))
        except VideoError:
            continue
        return storage.for_frame(*frame.shape[:2])
    raise DataError(f"No video in {catalog.source_dir} can be read: `dn3d scan {catalog.source_dir}` says why.")


def _sources(catalog: Catalog) -> dict[str, dict]:
    """What tells a video that has been prepared from one that is new or has changed: size, time, annotation."""
    rows = defaultdict(list)
    for s in catalog.sequences:
        rows[s.video].append([s.id, s.label, s.subject, s.start, s.stop, s.listed])
    sources = {}
    for file, annotation in rows.items():
        path = catalog.source_dir / file
        status = path.stat() if path.is_file() else None
        sources[file] = {
            "file": file,
            "bytes": status and status.st_size,
            "modified": status and status.st_mtime_ns,
            "rows": hashlib.sha256(json.dumps(annotation).encode()).hexdigest()[:16],
        }
    return sources


def _existing(data_dir: Path, catalog: Catalog, storage: StorageConfig, sources: dict[str, dict]) -> DataSet | None:
    """What is there already, if the catalog only adds videos to it; refuses what is something else."""
    if not data_dir.exists() or (data_dir.is_dir() and not any(data_dir.iterdir())):
        return None
    if not data_dir.is_dir():
        raise DataError(f"{data_dir} is a file: name a folder that is not there yet.")
    try:
        old = DataSet.open(data_dir)
    except DataError as error:
        raise DataError(f"{data_dir} exists and is not a whole data set ({error}) Choose another folder, or remove it.") from error
    there = (old.dataset, to_dict(old.storage), old.classes, f"{old.protocol}, seed {old.seed}")
    wanted = (catalog.dataset, to_dict(storage), catalog.classes, f"{catalog.protocol}, seed {catalog.seed}")
    faults = [
        f"its {what} is {is_}, not {asked}"
        for what, is_, asked in zip(("data set", "storage", "list of classes", "protocol"), there, wanted, strict=True)
        if is_ != asked
    ]
    changed = {known["file"] for known in old.videos if sources.get(known["file"]) != known}
    stored = {s.video for s in old.sequences}
    faults += [
        f"{file} {'has changed since, or is of another source folder' if file in sources else 'is gone since'}"
        for file in sorted(changed & stored)
    ]
    if faults:
        raise DataError(
            f"{data_dir} already holds another data set: {faults[0]}. Choose another folder, or remove it; `dn3d split` changes the "
            "protocol alone."
        )
    return old


def _standing(old: DataSet, catalog: Catalog, sources: dict[str, dict]) -> DataSet:
    """What is there less what it says of unused videos that may have been mended since: those are as good as new."""
    changed = {known["file"] for known in old.videos if sources.get(known["file"]) != known}
    retried = changed | {row["file"] for row in old.rejected if row["reason"] in ("missing", "unreadable permission", "disk error")}
    kept = {name: tuple(row for row in getattr(old, name) if row["file"] not in retried) for name in ("videos", "rejected", "doubtful")}
    known = {s.id for s in catalog.sequences if s.video not in retried}
    kept["shortened"] = tuple(row for row in old.shortened if row["sequence"] in known)
    return dataclasses.replace(old, **kept)


def _clear_leftovers(data_dir: Path) -> None:
    """Remove what a process left that was killed after its work was done."""
    work, journal = _working_folder(data_dir), data_dir / JOURNAL
    if work.exists() or journal.exists():
        with plain_disk_errors(data_dir), only_one_at(data_dir):
            shutil.rmtree(work, ignore_errors=True)
            journal.unlink(missing_ok=True)


def _working_folder(data_dir: Path) -> Path:
    return data_dir.with_name(f"{data_dir.name}.partial")


def _write(
    catalog: Catalog, data_dir: Path, storage: StorageConfig, sources: dict, old: DataSet | None, workers: int, show_progress: bool, strict: bool
) -> None:
    """Decode what is missing into a working folder beside `data_dir`, then make it part of the data set."""
    work = _working_folder(data_dir)
    work.mkdir(parents=True, exist_ok=True)
    _take_back(work, data_dir, old)
    known = {row["file"] for row in old.videos} if old else set()
    new = {file: source for file, source in sources.items() if file not in known}
    first = len(old.shards) if old else 0
    settings = {"dataset": catalog.dataset, "classes": catalog.classes, "storage": to_dict(storage), "first": first}
    journal = Journal(work, settings, new)
    writer = ShardWriter(work, first, [r for outcome in journal.outcomes for s in outcome["sequences"] for r in s.records])
    done = {outcome["video"]["file"] for outcome in journal.outcomes}
    order = sorted(catalog.sequences, key=lambda s: (s.subject, s.video, s.start, s.id))
    by_video = [(file, list(rows)) for file, rows in groupby(order, key=lambda s: s.video) if file in new and file not in done]
    for outcome in journal.outcomes if strict else []:
        _refuse_faults(outcome)
    _check_space(catalog, by_video, storage, work, workers)
    repeated = _repeated(catalog, [*known, *new])
    frames = 0
    with progress_bar(total=len(new), initial=len(done), desc="prepare", unit="video", show=show_progress) as bar:
        for file, rows, spools, decoded in decode_all(catalog, by_video, storage, work, workers):
            outcome = _store(writer, catalog, sources[file], rows, spools, decoded)
            outcome["doubtful"] += [] if outcome["rejected"] else repeated.get(file, [])
            writer.flush()
            journal.add(outcome)
            for spool in spools:
                spool.unlink(missing_ok=True)
            if strict:
                _refuse_faults(outcome)
            frames += sum(decoded.frames)
            bar.set_postfix_str(f"{frames / max(bar.format_dict['elapsed'], 1e-9):.0f} frames/s", refresh=False)
            bar.update()
    _finish(_merged(catalog, storage, sources, old, journal.outcomes), writer, work, data_dir, old)


def _take_back(work: Path, data_dir: Path, old: DataSet | None) -> None:
    """Undo what a process did that was killed while it finished: shards that are in no manifest become unfinished again."""
    named = {shard["name"] for shard in old.shards} if old else set()
    for path in [*work.glob("records-*.tfrecord"), *data_dir.glob("records-*.tfrecord")]:
        if path.name not in named:
            path.rename(work / f"shard-{path.name[8:13]}")
    for spool in work.glob("spool-*"):
        spool.unlink()


def _check_space(catalog: Catalog, by_video: list[tuple[str, list[Sequence]]], storage: StorageConfig, folder: Path, workers: int) -> None:
    """Refuse to begin what will not fit on the disk, judging by the first frames of a few videos.

    What is on its way from the decoding processes to the shards lies there twice.
    """
    sizes = []
    for file, rows in by_video[:: max(1, len(by_video) // 8)]:
        path = catalog.source_dir / file
        try:
            frame = next(video.iter_frames(path, 0, 1, **frame_form(storage)))
            length = min(video.header(path).frames_in_header, path.stat().st_size // _FEWEST_BYTES)  # a header may lie
        except VideoError:
            continue
        frames = sum((length if row.stop is None else row.stop) - row.start for row in rows)
        sizes.append(len(encode_frame(frame, storage)) * max(frames, 0))
    needed = (len(by_video) + min(len(by_video), 2 * workers + 1)) * sum(sizes) / max(len(sizes), 1)
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise Dn3dError(
            f"{len(by_video)} videos need about {needed / 1e9:.2g} GB in {folder.parent}, but only {free / 1e9:.2g} GB are free: make room, "
            "choose another folder, or smaller frames."
        )


def _repeated(catalog: Catalog, files: list[str]) -> dict[str, list[dict]]:
    """The doubt about each video that is byte for byte an earlier one: file → as in `DataSet.doubtful`."""
    paths = {catalog.source_dir / file: file for file in files}
    pairs = identical_files(paths).items()
    return {paths[path]: [{"file": paths[path], "reason": f"duplicate of {paths[first]}"}] for path, first in pairs}


def _store(writer: ShardWriter, catalog: Catalog, source: dict, rows: list[Sequence], spools: list[Path], decoded: Decoded) -> dict:
    """Write a video's sequences; the outcome is what the journal and the manifest say of it."""
    file = source["file"]
    outcome = {
        "video": source,
        "sequences": [],
        "rejected": [{"file": file, "reason": decoded.reason, "problem": decoded.problem}] if decoded.reason else [],
        "doubtful": [{"file": file, "reason": reason} for reason in decoded.doubts],
        "shortened": [],
    }
    for row, spool, count, hashes in zip(rows, spools, decoded.frames, decoded.hashes, strict=False):
        if count:
            features = {
                "sequence/id": row.id,
                "video/id": file,
                "subject": row.subject,
                "label": catalog.classes.index(row.label),
                "fps": float(decoded.fps),
            }
            digest = hashlib.sha256()
            records = writer.write(features, _hashed(read_spool(spool), digest))
            outcome["sequences"].append(
                StoredSequence(
                    row.id, row.label, row.subject, row.split, file, source["bytes"], decoded.fps, count, records,
                    digest.hexdigest(), hashes, row.listed,
                )
            )  # fmt: skip
        if row.stop is not None and count < row.stop - row.start:
            outcome["shortened"].append({"sequence": row.id, "annotated": row.stop - row.start, "frames": count})
    return outcome


def _hashed(frames: Iterator[bytes], digest) -> Iterator[bytes]:
    for frame in frames:
        digest.update(frame)
        yield frame


def _refuse_faults(outcome: dict) -> None:
    for kind in ("rejected", "doubtful", "shortened"):
        for fault in outcome[kind]:
            why = fault.get("reason") or f"its video ends after {fault['frames']} of {fault['annotated']} annotated frames"
            raise DataError(f"--strict: {fault.get('file') or fault['sequence']}: {why}. Mend or remove the video, or leave out --strict.")


def _merged(catalog: Catalog, storage: StorageConfig, sources: dict, old: DataSet | None, outcomes: list[dict]) -> DataSet:
    """The data set of what was there and what is new, in the catalog's order and with its splits; shards still missing."""
    rows = {s.id: s for s in catalog.sequences}
    stored = [s for outcome in outcomes for s in outcome["sequences"]] + (list(old.sequences) if old else [])
    stored.sort(key=lambda s: (s.subject, s.video, rows[s.id].start, s.id))
    stored = tuple(dataclasses.replace(s, split=rows[s.id].split) for s in stored)

    def all_of(kind: str) -> tuple:
        return (getattr(old, kind) if old else ()) + tuple(fault for outcome in outcomes for fault in outcome[kind])

    rejected = all_of("rejected")
    _check_classes(catalog, stored, rejected)
    return DataSet(
        Path(), catalog.dataset, catalog.protocol, catalog.seed, storage, catalog.classes, stored, (),
        rejected, all_of("doubtful"), all_of("shortened"), catalog.absent, tuple(near_pairs([s.hashes for s in stored])), tuple(sources.values()),
    )  # fmt: skip


def _check_classes(catalog: Catalog, stored: tuple[StoredSequence, ...], rejected: tuple[dict, ...]) -> None:
    """Refuse a data set in which a class has lost all of its videos."""
    there = Counter(s.label for s in stored)
    for label in catalog.classes:
        if not there[label]:
            files = {s.video for s in catalog.sequences if s.label == label}
            problems = [row["problem"] for row in rejected if row["file"] in files]
            why = problems[0] if problems else f"{min(files)} and the others end before their annotated frames"
            raise DataError(f"Class {label} in {catalog.source_dir} has no frame that can be read ({why}): mend its videos or remove the class.")


def _finish(data: DataSet, writer: ShardWriter, work: Path, data_dir: Path, old: DataSet | None) -> None:
    """Make the new shards part of the data set; its manifest comes last, so that before it all is as it was."""
    shards = writer.close()
    if old:
        for shard in shards:
            (work / shard["name"]).rename(data_dir / shard["name"])
        dataclasses.replace(data, path=data_dir, shards=old.shards + shards).write_manifest()
        shutil.rmtree(work)
        return
    dataclasses.replace(data, path=work, shards=shards).write_manifest()
    if data_dir.exists():
        data_dir.rmdir()  # it is empty
    work.rename(data_dir)
    (data_dir / JOURNAL).unlink()
