"""Synthetic KTH: the six KTH actions by drawn people, in KTH's own file names and format, from one seed."""

import json
import os
from concurrent.futures import as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import cv2

from dn3dlib.data.acting import CLASSES, FPS, MAX_FRAMES, MAX_SCENARIOS, MAX_SUBJECTS, SIZE, check_range, render_video
from dn3dlib.data.kth import ANNOTATION
from dn3dlib.data.workers import worker_pool
from dn3dlib.errors import DataError
from dn3dlib.files import folder_written_beside
from dn3dlib.progress import progress_bar

MARKER = "synthetic.json"  # written last: a folder without it is not a complete set
VERSION = 1  # raise it when the pictures change, so that an older set is not taken for this one
FILE_TIME = 1_514_764_800  # of every video: made anew, a set is the one that a data set was prepared from


def make_synthetic(out_dir: Path, seed: int = 0, subjects: int = 16, scenarios: int = 2, frames: int = 100,
                   workers: int | None = None) -> Path:  # fmt: skip
    """Write a whole set in KTH's layout and return its folder.

    The set holds 6 x `subjects` x `scenarios` videos of `frames` frames, two sequences in each, `00sequences.txt` and
    `synthetic.json`. A complete set of the same parameters is left as it is. `workers` is the number of processes:
    every core by default, 1 for none but this one. The set is written beside `out_dir` and renamed at the end.
    Raises ConfigError for a number out of range, DataError where `out_dir` holds something else or cannot be written.
    Taught in notebook 01.
    """
    out_dir = Path(out_dir)
    check_range("seed", seed, 0, 2**63 - 1)
    check_range("subjects", subjects, 1, MAX_SUBJECTS)
    check_range("scenarios", scenarios, 1, MAX_SCENARIOS)
    check_range("frames", frames, 2, MAX_FRAMES)  # two sequences
    if workers is not None:
        check_range("workers", workers, 1, 1024)
    wanted = {"version": VERSION, "seed": seed, "subjects": subjects, "scenarios": scenarios, "frames": frames}
    if _is_complete(out_dir, wanted):
        return out_dir
    try:
        with folder_written_beside(out_dir) as folder:
            _write_videos(folder, seed, subjects, scenarios, frames, workers)
            (folder / ANNOTATION).write_bytes(_sequences_text(subjects, scenarios, frames).encode("ascii"))
            (folder / MARKER).write_text(json.dumps(wanted, indent=2) + "\n", encoding="utf-8")
    except BrokenProcessPool as error:
        raise DataError(
            f"The synthetic set could not be written to {out_dir} because a drawing process died: give workers=1, or in a "
            "script call this below `if __name__ == '__main__':`."
        ) from error
    return out_dir


def _is_complete(out_dir: Path, wanted: dict[str, int]) -> bool:
    """Whether the set is there already; DataError where something else is."""
    if not out_dir.exists() or (out_dir.is_dir() and not any(out_dir.iterdir())):
        return False
    way_out = "choose another folder, or delete this one if nothing in it is needed"
    try:
        found = json.loads((out_dir / MARKER).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise DataError(f"{out_dir} cannot take the synthetic set because it holds something else: {way_out}") from None
    if found != wanted:
        raise DataError(f"{out_dir} cannot take the synthetic set because it holds one made with other parameters "
                        f"({found} instead of {wanted}): {way_out}")  # fmt: skip
    names = [ANNOTATION, *(_video_name(*task) for task in _tasks(wanted["subjects"], wanted["scenarios"]))]
    missing = [name for name in names if not (out_dir / name).is_file()]
    if missing:
        raise DataError(f"The synthetic set in {out_dir} is incomplete because {len(missing)} of its files are gone "
                        f"(the first is {missing[0]}): delete the folder and make the set again")  # fmt: skip
    return True


def _tasks(subjects: int, scenarios: int) -> list[tuple[str, int, int]]:
    return [(label, subject, scenario) for label in CLASSES
            for subject in range(1, subjects + 1) for scenario in range(1, scenarios + 1)]  # fmt: skip


def _video_name(label: str, subject: int, scenario: int) -> str:
    return f"{label}/person{subject:02d}_{label}_d{scenario}_uncomp.avi"


def _sequences_text(subjects: int, scenarios: int, frames: int) -> str:
    """The annotation in KTH's own form: frames counted from 1, both ends included, Windows line ends."""
    lines = ["", "Drawn videos in the form of the KTH action database: each video holds two sequences.", ""]
    for subject in range(1, subjects + 1):
        for label in CLASSES:
            names = (f"person{subject:02d}_{label}_d{scenario}" for scenario in range(1, scenarios + 1))
            lines += [f"{name}\t\tframes\t1-{frames // 2}, {frames // 2 + 1}-{frames}" for name in names]
        lines.append("")
    return "\r\n".join(lines)


def _write_videos(folder: Path, seed: int, subjects: int, scenarios: int, frames: int, workers: int | None) -> None:
    for label in CLASSES:
        (folder / label).mkdir()
    tasks = _tasks(subjects, scenarios)
    workers = workers or min(os.cpu_count() or 1, max(1, len(tasks) // 12))  # a process costs as much as some videos
    with progress_bar(total=len(tasks), desc="drawing", unit="video") as progress:
        if workers == 1:
            for task in tasks:
                _write_video(folder, *task, seed, frames)
                progress.update()
            return
        with worker_pool(workers) as pool:
            jobs = [pool.submit(_write_video, folder, *task, seed, frames) for task in tasks]
            try:
                for job in as_completed(jobs):
                    job.result()
                    progress.update()
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise


def _write_video(folder: Path, label: str, subject: int, scenario: int, seed: int, frames: int) -> None:
    path = folder / _video_name(label, subject, scenario)
    # MPEG-4 as in KTH. One grey channel goes in, so that the three that come out are equal.
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter_fourcc(*"XVID"), FPS, SIZE[::-1], isColor=False)
    if not writer.isOpened():
        raise DataError(f"{path} cannot be written because OpenCV opens no video file there: check that the disk has "
                        "room and that OpenCV was installed with its FFmpeg")  # fmt: skip
    for frame in render_video(label, subject, scenario, seed, frames):
        writer.write(frame)
    writer.release()
    # A full disk goes unnoticed by the writer, so count what arrived.
    reader, arrived = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG), 0
    while reader.grab():
        arrived += 1
    reader.release()
    if arrived != frames:
        raise DataError(f"{path} holds {arrived} of its {frames} frames because writing stopped early: "
                        "make room on the disk and try again")  # fmt: skip
    os.utime(path, (FILE_TIME, FILE_TIME))
