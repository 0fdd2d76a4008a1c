"""The shards of a prepared data set: TFRecord files, one record a sequence; write, read at random, verify."""

import hashlib
import os
import struct
import threading
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import cv2
import google_crc32c
import numpy as np

from dn3dlib.config import StorageConfig
from dn3dlib.data.manifest import DataSet, Record, StoredSequence
from dn3dlib.errors import DataError, Dn3dError
from dn3dlib.quiet import import_quietly

MAX_SHARD_BYTES = 100_000_000
MAX_RECORD_FRAMES = 600
MAX_RECORD_BYTES = 50_000_000  # of frames; one frame may be larger
_HEAD, _TAIL = 12, 4  # a TFRecord's length and its checksum before the data, the data's checksum behind


class FrameReader:
    """Reads frames of sequences at random; open files are shared by all threads, a record is checked when it is first met."""

    def __init__(self, data: DataSet):
        self._data = data
        self._files: dict[int, int] = {}
        self._spans: dict[Record, np.ndarray] = {}
        self._lock = threading.Lock()

    def clips(self, sequences: np.ndarray, numbers: np.ndarray) -> np.ndarray:
        """Clips, uint8 (n, frames, height, width, channels), out of the sequences at these places (n,), by frame numbers (n, frames)."""
        clips = np.empty((*numbers.shape, *self._data.storage.frame_shape), np.uint8)
        for clip, place, wanted in zip(clips, sequences, numbers, strict=True):
            self.decoded(self._data.sequences[place], wanted, clip)
        return clips

    def decoded(self, sequence: StoredSequence, numbers: np.ndarray | None = None, out: np.ndarray | None = None) -> np.ndarray:
        """Frames as uint8 (frames, height, width, channels), RGB or grey, in `out` if given; all of the sequence without `numbers`."""
        numbers = np.arange(sequence.frames) if numbers is None else numbers
        frames = np.empty((len(numbers), *self._data.storage.frame_shape), np.uint8) if out is None else out
        for place, frame in enumerate(self.encoded(sequence, numbers)):
            frames[place] = decode_frame(frame, self._data.storage)
        return frames

    def encoded(self, sequence: StoredSequence, numbers: np.ndarray) -> list[bytes]:
        """The encoded frames of a sequence, one for each number counted from 0.

        Raises:
            DataError: a record whose bytes are not those that were written; names shard and record.
        """
        firsts = np.cumsum([0, *(record.frames for record in sequence.records)])
        frames = []
        for number, place in zip(numbers, np.searchsorted(firsts, numbers, side="right") - 1, strict=True):
            start, end = self._spans_of(sequence, place)[number - firsts[place]]
            frames.append(os.pread(self._file(sequence.records[place].shard), end - start, start))
        return frames

    def _spans_of(self, sequence: StoredSequence, place: int) -> np.ndarray:
        """Where each frame of a record starts and ends in its shard, in bytes, int64 (frames, 2)."""
        record = sequence.records[place]
        if record not in self._spans:
            data = os.pread(self._file(record.shard), record.length, record.offset)
            if zlib.crc32(data) != record.crc32:
                raise DataError(damage(self._data, sequence, place))
            example = import_quietly("tensorflow").train.Example.FromString(data)
            spans, end = [], 0
            for frame in example.features.feature["frames"].bytes_list.value:  # stored one behind the other
                start = data.index(frame, end)
                end = start + len(frame)
                spans.append((start, end))
            self._spans[record] = np.array(spans) + record.offset
        return self._spans[record]

    def _file(self, shard: int) -> int:
        with self._lock:
            if shard not in self._files:
                self._files[shard] = os.open(self._data.path / self._data.shards[shard]["name"], os.O_RDONLY)
            return self._files[shard]

    def __del__(self):
        for file in self._files.values():
            os.close(file)


def damage(data: DataSet, sequence: StoredSequence, place: int) -> str:
    """The sentence for a record whose content has changed."""
    shard = data.shards[sequence.records[place].shard]["name"]
    return (
        f"Record {place + 1} of {len(sequence.records)} of sequence {sequence.id}, in the shard {data.path / shard} at byte "
        f"{sequence.records[place].offset}, is damaged: prepare the data set again."
    )


def encode_frame(frame: np.ndarray, storage: StorageConfig) -> bytes:
    """A frame, uint8 (height, width, channels), RGB or grey, as JPEG or PNG."""
    picture = frame if storage.channels == 1 else cv2.cvtColor(frame, cv2.COLOR_RGB2BGR)
    if storage.encoding == "png":
        return cv2.imencode(".png", picture)[1].tobytes()
    return cv2.imencode(".jpg", picture, (cv2.IMWRITE_JPEG_QUALITY, storage.quality))[1].tobytes()


def decode_frame(data: bytes, storage: StorageConfig) -> np.ndarray:
    """A stored frame as uint8 (height, width, channels), RGB or grey."""
    flag = cv2.IMREAD_GRAYSCALE if storage.channels == 1 else cv2.IMREAD_COLOR_RGB
    frame = cv2.imdecode(np.frombuffer(data, np.uint8), flag) if data else None
    if frame is None or frame.shape[:2] != (storage.height, storage.width):
        raise DataError(f"A stored frame is no picture of {storage.width}×{storage.height}: prepare the data set again.")
    return frame.reshape(storage.frame_shape)


class ShardWriter:
    """Writes sequences into TFRecord shards of at most MAX_SHARD_BYTES, and remembers where each record lies."""

    def __init__(self, folder: Path, first: int = 0, done: Iterable[Record] = ()):
        """Go on in `folder`.

        Args:
            folder: where the shards lie while they are written.
            first: number of the first shard.
            done: records that an earlier writer has left there; what it wrote behind them is cut off.

        Raises:
            DataError: those records are not there.
        """
        self._folder = folder
        self._first = first
        self._writer = None
        self._offset = 0
        self._records: list[int] = []  # how many each shard holds
        ends: dict[int, int] = {}
        for record in done:
            ends[record.shard] = max(ends.get(record.shard, 0), record.offset + record.length + _TAIL)
            self._records += [0] * (record.shard - first + 1 - len(self._records))
            self._records[record.shard - first] += 1
        for path in folder.glob("shard-*"):
            end = ends.pop(int(path.name.removeprefix("shard-")), 0)
            if path.stat().st_size < end:
                raise DataError(f"The unfinished shard {path} is damaged: remove the folder {folder} and start again.")
            os.truncate(path, end) if end else path.unlink()
        if ends:
            raise DataError(f"Unfinished shards are missing in {folder}: remove this folder and start again.")

    def write(self, features: dict, frames: Iterable[bytes]) -> tuple[Record, ...]:
        """Append one sequence.

        Args:
            features: name → text or number, stored with each of its records.
            frames: its encoded frames in order; held in memory for one record at a time.

        Returns:
            The records that hold it.
        """
        records = []
        for chunk in _chunks(frames):
            data = _example(features, chunk)
            self._make_room(len(data))
            head = struct.pack("<Q", len(data))
            self._writer.write(head + _checksum(head) + data + _checksum(data))
            number = self._first + len(self._records) - 1
            records.append(Record(number, self._offset + _HEAD, len(data), len(chunk), zlib.crc32(data)))
            self._offset += _HEAD + len(data) + _TAIL
            self._records[-1] += 1
        return tuple(records)

    def flush(self) -> None:
        """Hand all that was written to the system: it outlives this process."""
        if self._writer:
            self._writer.flush()

    def close(self) -> tuple[dict, ...]:
        """Finish: name the shards `records-00000-of-00007.tfrecord` and give their name, bytes, sha256 and records."""
        self._close_shard()
        shards, end = [], self._first + len(self._records)
        for number, records in enumerate(self._records, self._first):
            path = (self._folder / f"shard-{number:05d}").rename(self._folder / f"records-{number:05d}-of-{end:05d}.tfrecord")
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
                os.fsync(file.fileno())
            shards.append({"name": path.name, "bytes": path.stat().st_size, "sha256": digest, "records": records})
        return tuple(shards)

    def _make_room(self, size: int) -> None:
        if self._writer and self._offset + _HEAD + size + _TAIL <= MAX_SHARD_BYTES:
            return
        self._close_shard()
        path = self._folder / f"shard-{self._first + len(self._records):05d}"
        self._records.append(0)
        self._writer = path.open("wb")

    def _close_shard(self) -> None:
        if self._writer:
            self._writer.close()
        self._writer, self._offset = None, 0


def _chunks(frames: Iterable[bytes]) -> Iterator[list[bytes]]:
    """The frames of each record."""
    chunk, size = [], 0
    for frame in frames:
        if chunk and (len(chunk) == MAX_RECORD_FRAMES or size + len(frame) > MAX_RECORD_BYTES):
            yield chunk
            chunk, size = [], 0
        chunk.append(frame)
        size += len(frame)
    if chunk:
        yield chunk


def _checksum(data: bytes) -> bytes:
    """The four bytes that follow each part of a TFRecord: its CRC-32C, rotated and shifted, as the format has it."""
    crc = google_crc32c.value(data)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def _example(features: dict, frames: list[bytes]) -> bytes:
    """A tf.train.Example, encoded by hand: to import TensorFlow for it costs seconds and half a gigabyte."""
    named = {name: _feature(value) for name, value in features.items()}
    named["frames"] = _part(1, b"".join(_part(1, frame) for frame in frames))  # Feature.bytes_list.value
    entries = (_part(1, _part(1, name.encode()) + _part(2, feature)) for name, feature in named.items())
    return _part(1, b"".join(entries))  # Example.features.feature


def _feature(value: str | float | int) -> bytes:
    """A tf.train.Feature of one value: a bytes_list (1), float_list (2) or int64_list (3)."""
    if isinstance(value, str):
        return _part(1, _part(1, value.encode()))
    if isinstance(value, float):
        return _part(2, _part(1, struct.pack("<f", value)))
    return _part(3, _part(1, _varint(value)))


def _part(number: int, content: bytes) -> bytes:
    """A field of a protocol buffer whose content has a length."""
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _varint(number: int) -> bytes:
    """A number of 0 or more, seven bits a byte, the lowest first; the highest bit says that more follows."""
    encoded = bytearray()
    while number > 127:
        encoded.append(number & 127 | 128)
        number >>= 7
    return bytes([*encoded, number])


def verify(data_dir: Path, progress=iter) -> dict:
    """Read every byte of a prepared data set and decode every frame.

    Args:
        data_dir: the data set.
        progress: wraps the list of sequences, for a progress bar.

    Returns:
        `sequences`, `records`, `frames` and `bytes` that were found whole.

    Raises:
        DataError: the first damage, naming shard and record.
    """
    data = DataSet.open(data_dir)
    reader = FrameReader(data)
    totals = {"sequences": 0, "records": 0, "frames": 0}
    for sequence in progress(data.sequences):
        for place, record in enumerate(sequence.records):
            _verify_record(data, reader, sequence, place)
            totals["records"] += 1
            totals["frames"] += record.frames
        totals["sequences"] += 1
    for shard in data.shards:
        with (data.path / shard["name"]).open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != shard["sha256"]:
                raise DataError(f"The shard {data.path / shard['name']} has changed between its records: prepare the data set again.")
    return totals | {"bytes": sum(shard["bytes"] for shard in data.shards)}


def _verify_record(data: DataSet, reader: FrameReader, sequence: StoredSequence, place: int) -> None:
    record = sequence.records[place]
    first = sum(r.frames for r in sequence.records[:place])
    try:
        frames = reader.decoded(sequence, np.arange(first, first + record.frames))
    except (Dn3dError, IndexError) as error:
        raise DataError(damage(data, sequence, place)) from error
    if len(frames) != record.frames:
        raise DataError(damage(data, sequence, place))
