"""How fast are prepare and scan, and how much memory do they take? Beside a plain loop in one process over the same videos.

    python benchmarks/prepare.py                # 48 videos of 400 frames, 160×120 → 120×100 RGB, JPEG quality 75
    python benchmarks/prepare.py --preset quick
    python benchmarks/prepare.py --repeat 10    # ten times as many videos: memory must not grow
    python benchmarks/prepare.py --length 10    # ten times as long: likewise

Each runs in a process of its own. Frames/s count from the first video on, without imports; "whole" is the process from its
start to its end.
"""

import argparse
import contextlib
import dataclasses
import multiprocessing
import os
import tempfile
import time
from concurrent.futures import Future, ProcessPoolExecutor
from pathlib import Path

import numpy as np
import psutil

from dn3dlib.data.acting import CLASSES, FPS, render_video
from dn3dlib.data.kth import kth_catalog
from dn3dlib.data.prepare import prepare
from dn3dlib.data.records import ShardWriter, encode_frame
from dn3dlib.data.scan import scan_folder
from dn3dlib.data.video import iter_frames, write_video
from dn3dlib.presets import find_preset


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="original")
    parser.add_argument("--repeat", type=int, default=1, help="times the 48 videos")
    parser.add_argument("--length", type=int, default=1, help="times the 400 frames")
    arguments = parser.parse_args()
    storage = find_preset(arguments.preset).storage
    if arguments.preset == "original":
        storage = dataclasses.replace(storage, quality=75)
    with tempfile.TemporaryDirectory() as folder:
        videos = make_videos(Path(folder) / "videos", arguments.repeat, arguments.length)
        for name, work in (("prepare", run_prepare), ("scan", run_scan), ("plain loop", run_plain_loop)):
            started = time.perf_counter()
            with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
                job = pool.submit(work, videos, Path(folder) / work.__name__, storage)
                peak, largest = peak_memory(job)
            figures = job.result()
            rate, whole = figures["frames"] / figures["seconds"], time.perf_counter() - started
            print(
                f"{name:<11}{rate:8.0f} frames/s, whole {whole:5.1f} s, {figures['bytes'] / 1e6:6.1f} MB written, peak memory of all "
                f"processes {peak / 1e6:.0f} MB, of the largest worker {largest / 1e6:.0f} MB"
            )
            if work is run_prepare and arguments.preset == "original" and arguments.repeat * arguments.length == 1:
                verdict("at least 4500 frames/s", rate >= 4500)
                verdict("whole process under 8 s", whole < 8)
                verdict("at most 55 MB", figures["bytes"] <= 55e6)
            if work is not run_plain_loop:
                verdict("under 600 MB a worker", largest < 600e6)


def verdict(target: str, met: bool) -> None:
    print(f"  {target}: {'yes' if met else 'no'}")


def peak_memory(job: Future) -> tuple[int, int]:
    """Bytes held at most while `job` runs: by all processes below this one; by one worker of the job."""
    peak = largest = 0
    while not job.done():
        held = []
        for depth, processes in enumerate((psutil.Process().children(), workers())):
            for process in processes:
                with contextlib.suppress(psutil.NoSuchProcess):
                    held.append(process.memory_info().rss)
                    largest = max(largest, held[-1] * depth)
        peak = max(peak, sum(held))
        time.sleep(0.05)
    return peak, largest


def workers() -> list[psutil.Process]:
    """The processes that the job has started."""
    found = []
    for job in psutil.Process().children():
        with contextlib.suppress(psutil.NoSuchProcess):
            found += job.children(recursive=True)
    return found


def make_videos(folder: Path, repeat: int, length: int) -> Path:
    """48 videos of 400 frames, 160×120, `length` times as long, by way of hard links `repeat` times as many."""
    subjects = 48 // len(CLASSES)
    for label in CLASSES:
        (folder / label).mkdir(parents=True)
        for subject in range(1, subjects + 1):
            path = folder / label / f"person{subject:02d}_{label}_d1_uncomp.avi"
            write_video(path, np.concatenate([render_video(label, subject, 1, frames=400)] * length), FPS, codec="XVID")
            for number in range(1, repeat):
                os.link(path, path.with_name(f"person{subject + subjects * number:02d}_{label}_d1_uncomp.avi"))
    return folder


def run_prepare(videos: Path, target: Path, storage) -> dict:
    catalog = kth_catalog(videos).split_by("by-subject:1,0,0")
    started = time.perf_counter()
    data = prepare(catalog, target, storage, show_progress=False)
    return measured(started, sum(s.frames for s in data.sequences), sum(shard["bytes"] for shard in data.shards))


def run_scan(videos: Path, target: Path, storage) -> dict:
    started = time.perf_counter()
    rows = scan_folder(videos)["videos"]
    return measured(started, sum(row["frames"] for row in rows), 0)


def run_plain_loop(videos: Path, target: Path, storage) -> dict:
    """Decode, resize, encode and write in one process, one frame after the other."""
    target.mkdir()
    writer, frames = ShardWriter(target), 0
    started = time.perf_counter()
    for path in sorted(videos.rglob("*.avi")):
        pictures = iter_frames(path, height=storage.height, width=storage.width, channels=storage.channels)
        frames += sum(r.frames for r in writer.write({"sequence/id": path.stem}, (encode_frame(p, storage) for p in pictures)))
    return measured(started, frames, sum(shard["bytes"] for shard in writer.close()))


def measured(started: float, frames: int, size: int) -> dict:
    return {"seconds": time.perf_counter() - started, "frames": frames, "bytes": size}


if __name__ == "__main__":
    main()
