"""How fast are clips read? From the disk and from memory, bare and augmented and normalised, side by side.

    python benchmarks/read_clips.py

Clips of 16×100×120×3 out of drawn videos, stored as JPEG of quality 95 and 75. All ways are measured in turn, round by
round, so that a machine that slows down slows all; each round starts its way anew, as an epoch does.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

from dn3dlib.data.cache import DecodedFrames
from dn3dlib.data.clips import clip_dataset, plan_training
from dn3dlib.data.kth import kth_catalog
from dn3dlib.data.prepare import prepare
from dn3dlib.data.synthetic import make_synthetic
from dn3dlib.presets import find_preset

# name → clips/s that it must reach on two idle cores
WAYS = {
    "disk, JPEG 95": 800,
    "disk, JPEG 75": 800,
    "disk, JPEG 95, augmented, std_frame": 400,
    "memory, bytes": 5000,
    "memory": None,
    "memory, augmented, std_frame": None,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=1.0, help="of a way in a round")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        ways = dict(zip(WAYS, make_ways(Path(folder)), strict=True))
        rounds = [{name: rate(way(), arguments.seconds) for name, way in ways.items()} for _ in range(arguments.rounds)]
    print(f"clips/s, median of {arguments.rounds} rounds; against the first way, median of the rounds' ratios")
    for name, least in WAYS.items():
        median = statistics.median(r[name] for r in rounds)
        ratio = statistics.median(r[name] / r["disk, JPEG 95"] for r in rounds)
        target = f"  at least {least}: {'yes' if median >= least else 'no'}" if least else ""
        print(f"  {name:<36}{median:8.0f}{ratio:8.2f}×{target}")


def make_ways(folder: Path) -> list[Callable[[], Iterable]]:
    """For each of WAYS, in their order, a function that starts it: batches of clips, uint8 where the name says bytes, else float32."""
    preset = find_preset("original")
    batch = preset.train.batch_size
    plain = replace(preset.clip, clips_per_sequence=1000, normalisation="none")
    augmented = replace(plain, normalisation="std_frame", crop=4, flip=True, brightness=0.1)
    videos = make_synthetic(folder / "videos", subjects=4, scenarios=1, frames=400)
    catalog = kth_catalog(videos, "synthetic").split_by("by-subject:1,0,0")
    fine, coarse = (prepare(catalog, folder / f"quality-{q}", replace(preset.storage, quality=q)) for q in (95, 75))
    held = DecodedFrames(fine, ("train",))
    plan, moved = plan_training(fine, plain, 0, 1), plan_training(fine, augmented, 0, 1)
    parts = [plan[start : start + batch] for start in range(0, len(plan), batch)]
    return [
        lambda: float32(clip_dataset(fine, plan, plain, batch)),
        lambda: float32(clip_dataset(coarse, plan, plain, batch)),
        lambda: float32(clip_dataset(fine, moved, augmented, batch)),
        lambda: (held.clips(part.sequence, part.frames) for part in parts),
        lambda: float32(clip_dataset(fine, plan, plain, batch, held)),
        lambda: float32(clip_dataset(fine, moved, augmented, batch, held)),
    ]


def float32(dataset) -> Iterable:
    return (clips for clips, _, _ in dataset)


def rate(batches: Iterable, seconds: float) -> float:
    """Clips per second after the first batch, for that long or to the end."""
    batches, clips = iter(batches), 0
    next(batches)
    started = time.perf_counter()
    for batch in batches:
        clips += len(batch)
        if time.perf_counter() - started >= seconds:
            break
    return clips / (time.perf_counter() - started)


if __name__ == "__main__":
    main()
