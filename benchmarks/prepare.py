"""How fast is prepare, and how much memory does it take? Beside a plain loop in one process over the same videos.

    python benchmarks/prepare.py                # 48 videos of 400 frames, 160×120 → 64×64 grey
    python benchmarks/prepare.py --preset original
    python benchmarks/prepare.py --repeat 10    # ten times as many videos: memory must not grow

Each runs in a process of its own; frames/s count from the first video on, without imports.
"""

import argparse
import contextlib
import multiprocessing
import os
import tempfile
import time
from concurrent.futures import Future, ProcessPoolExecutor
from pathlib import Path

import psutil

from dn3dlib.data.acting import CLASSES, FPS, render_video
from dn3dlib.data.kth import kth_catalog
from dn3dlib.data.prepare import prepare
from dn3dlib.data.records import ShardWriter, encode_frame
from dn3dlib.data.video import iter_frames, write_video
from dn3dlib.presets import find_preset
from dn3dlib.quiet import import_quietly


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="quick")
    parser.add_argument("--repeat", type=int, default=1, help="times the 48 videos")
    arguments = parser.parse_args()
    storage = find_preset(arguments.preset).storage
    with tempfile.TemporaryDirectory() as folder:
        videos = make_videos(Path(folder) / "videos", arguments.repeat)
        for name, work in (("prepare", run_prepare), ("plain loop", run_plain_loop)):
            with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
                job = pool.submit(work, videos, Path(folder) / work.__name__, storage)
                peak = peak_memory(job)
            figures = job.result()
            print(
                f"{name:<11}{figures['frames'] / figures['seconds']:8.0f} frames/s, {figures['bytes'] / 1e6:6.1f} MB written, "
                f"peak memory of all processes {peak / 1e6:.0f} MB"
            )
            if work is run_prepare:
                fast, small = figures["frames"] / figures["seconds"] >= 3000, peak < 1.5e9
                print(f"  at least 3000 frames/s: {'yes' if fast else 'no'}; under 1500 MB: {'yes' if small else 'no'}")


def peak_memory(job: Future) -> int:
    """Bytes that the processes below this one hold at most, TensorFlow included, while `job` runs."""
    peak = 0
    while not job.done():
        held = 0
        for process in psutil.Process().children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                held += process.memory_info().rss
        peak = max(peak, held)
        time.sleep(0.05)
    return peak


def make_videos(folder: Path, repeat: int) -> Path:
    """48 videos of 400 frames, 160×120, by way of hard links more often."""
    subjects = 48 // len(CLASSES)
    for label in CLASSES:
        (folder / label).mkdir(parents=True)
        for subject in range(1, subjects + 1):
            path = folder / label / f"person{subject:02d}_{label}_d1_uncomp.avi"
            write_video(path, render_video(label, subject, 1, frames=400), FPS, codec="XVID")
            for number in range(1, repeat):
                os.link(path, path.with_name(f"person{subject + subjects * number:02d}_{label}_d1_uncomp.avi"))
    return folder


def run_prepare(videos: Path, target: Path, storage) -> dict:
    import_quietly("tensorflow")
    catalog = kth_catalog(videos).split_by("by-subject:1,0,0")
    started = time.perf_counter()
    data = prepare(catalog, target, storage, show_progress=False)
    return measured(started, sum(s.frames for s in data.sequences), sum(shard["bytes"] for shard in data.shards))


def run_plain_loop(videos: Path, target: Path, storage) -> dict:
    """Decode, resize, encode and write in one process, one frame after the other."""
    import_quietly("tensorflow")
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
