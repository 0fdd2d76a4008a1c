"""Which videos of a folder can be used, what is odd about them, and which show the same footage."""

from collections import Counter
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from dn3dlib.data.catalog import find_files, find_videos
from dn3dlib.data.duplicates import HASH_EVERY, frame_hash, identical_files, near_pairs, sample_hashes
from dn3dlib.data.judgement import doubts, kind_of
from dn3dlib.data.video import probe
from dn3dlib.data.workers import worker_count, worker_pool
from dn3dlib.errors import DataError, VideoError
from dn3dlib.progress import progress_bar

_MEASURES = ("width", "height", "frames", "frames_in_header", "fps", "codec")


def scan_folder(folder: Path, workers: int | None = None, clip_frames: int = 16) -> dict:
    """Decode every video below `folder`, in parallel, and judge it as `prepare` does. Taught in notebook 01.

    Args:
        folder: the raw videos, however nested.
        workers: decoding processes; None: one for each core.
        clip_frames: a video with fewer frames is named.

    Returns:
        `videos`: a row for each, sorted by path: `video` (relative), `width` and `height` in pixels, `frames` that decode,
        `frames_in_header`, `fps`, `codec` (None where it cannot be read), `usable`, `reason` (out of `judgement`'s list; of
        several, "; " between them; empty where there is none) and `problem`, the same as a sentence.
        `bad`: how many cannot be used. `reasons`: how often each occurs. `near_duplicates`: pairs of `videos` that look
        alike, with their `similarity`, the most alike first, without the equal ones. `other_files`: how many files have
        no video's ending; hidden ones do not count.

    Raises:
        DataError: no such folder.
    """
    folder = Path(folder)
    if folder.is_file():
        raise DataError(f"{folder} is a file, and a scan looks through a folder: `dn3d info {folder}` looks at one video.")
    paths = find_videos(folder)
    try:
        with worker_pool(worker_count(workers, len(paths))) as pool:
            judged = pool.map(partial(_judge, clip_frames=clip_frames), paths)
            videos = list(progress_bar(judged, total=len(paths), desc="scan", unit="video"))
    except BrokenProcessPool as error:
        raise DataError(f"A process that decoded videos of {folder} died (killed, or out of memory): scan it in parts.") from error
    # A name that is not UTF-8 could not be printed.
    names = {path: str(path.relative_to(folder)).encode(errors="backslashreplace").decode() for path in paths}
    repeated = identical_files(video.path for video in videos if not video.fault)
    for video in videos:
        if video.path in repeated:
            video.reasons.append(f"duplicate of {names[repeated[video.path]]}")
    alone = [video for video in videos if video.path not in repeated]
    near = near_pairs([video.hashes for video in alone])
    return {
        "videos": [{"video": names[video.path], **video.row()} for video in videos],
        "bad": sum(bool(video.fault) for video in videos),
        "reasons": dict(Counter(kind_of(reason) for video in videos for reason in video.reasons).most_common()),
        "near_duplicates": [
            {"videos": [names[alone[i].path], names[alone[j].path]], "similarity": similarity} for i, j, similarity in near
        ],
        "other_files": len(find_files(folder)) - len(paths),
    }


@dataclass(frozen=True)
class _Judged:
    """What a decoding process tells of one video."""

    path: Path
    measures: dict
    reasons: list[str]
    hashes: tuple[str, ...] = ()
    fault: str = ""  # the sentence that says why it cannot be used

    def row(self) -> dict:
        reason = "; ".join(self.reasons)
        doubt = f"{self.path} can be used, but: {reason}" if reason else ""
        return {**self.measures, "usable": not self.fault, "reason": reason, "problem": self.fault or doubt}


def _judge(path: Path, clip_frames: int) -> _Judged:
    hashes: list[str] = []
    try:
        video = probe(path, lambda frame: hashes.append(frame_hash(frame)), HASH_EVERY)
    except VideoError as error:
        return _Judged(path, dict.fromkeys(_MEASURES), [error.reason], fault=str(error))
    measures = {name: getattr(video, name) for name in _MEASURES}
    return _Judged(path, measures, doubts(video, clip_frames), sample_hashes(hashes))
