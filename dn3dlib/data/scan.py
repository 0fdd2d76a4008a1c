"""Which videos of a folder can be used, and why the others cannot."""

from pathlib import Path

from dn3dlib.data.catalog import find_videos
from dn3dlib.data.video import probe
from dn3dlib.data.workers import worker_count, worker_pool
from dn3dlib.errors import VideoError
from dn3dlib.progress import progress_bar


def scan_folder(folder: Path, workers: int | None = None) -> list[dict]:
    """Decode every video below `folder`, in parallel.

    Returns:
        A row for each video, sorted by path: `video` (relative), `width` and `height` in pixels, `frames` that decode,
        `frames_in_header`, `fps`, `codec`, and `problem` with its `reason`; a bad one has None for the rest.

    Raises:
        DataError: no such folder.
    """
    videos = find_videos(Path(folder))
    with worker_pool(worker_count(workers, len(videos))) as pool:
        rows = list(progress_bar(pool.map(_row, videos), total=len(videos), desc="scan", unit="video"))
    return [{"video": str(path.relative_to(folder)), **row} for path, row in zip(videos, rows, strict=True)]


def _row(path: Path) -> dict:
    try:
        found = probe(path)
    except VideoError as error:
        blank = dict.fromkeys(("width", "height", "frames", "frames_in_header", "fps", "codec"))
        return {**blank, "problem": str(error), "reason": error.reason}
    names = ("width", "height", "frames", "frames_in_header", "fps", "codec")
    return {**{name: getattr(found, name) for name in names}, "problem": "", "reason": ""}
