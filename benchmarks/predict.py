"""How fast and in how much memory does `dn3d predict` go through a video, and how right is the timeline?

    python benchmarks/predict.py                        # all three; an hour of video takes some minutes
    python benchmarks/predict.py --parts speed --minutes 5
    python benchmarks/predict.py --parts drawn kth

speed: a long video of 160×120 through the default network of the 2018 repository (preset `original`, not trained: the time is
the same): factor against real time, and the peak memory of a process of its own. drawn: strings of the twelve videos of each
subject of the synthetic set that the shipped network `honest` was tested on. kth: the real videos of person 15, one of each
action, looked for in `../shared/data/kth` or below the folder that `DN3D_SHARED` names, as `honest` sees them, which has seen
drawn people alone, and as a network of the preset `small-data` does that was trained on the videos of the other four people.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

SHARED = Path(os.environ.get("DN3D_SHARED") or Path(__file__).resolve().parents[2] / "shared") / "data"
PARTS = ("speed", "drawn", "kth")
ORDERS = 3  # in which the parts of a string follow each other


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--minutes", type=float, default=60, help="of video, for speed")
    parser.add_argument("--kth", type=Path, default=SHARED / "kth")
    parser.add_argument("--alone", nargs=2, type=Path, help=argparse.SUPPRESS)  # run and video, in the process that is measured
    arguments = parser.parse_args()
    if arguments.alone:
        return measure(*arguments.alone)
    with tempfile.TemporaryDirectory() as folder:
        os.environ.setdefault("DN3D_RUNS", folder)
        for part in arguments.parts:
            {"speed": lambda: speed(Path(folder), arguments.minutes), "drawn": lambda: drawn(Path(folder)), "kth": lambda: kth(Path(folder), arguments.kth)}[part]()


def speed(folder: Path, minutes: float) -> None:
    from dn3dlib.data.strung import string_together

    videos = of_subjects(1)
    count = max(1, round(minutes * 60 / 4))  # each is four seconds long
    video, run_dir = folder / "long.avi", folder / "run"
    string_together([videos[number % len(videos)] for number in range(count)], video, "XVID")
    make_run(run_dir)
    subprocess.run([sys.executable, __file__, "--alone", str(run_dir), str(video)], check=True)


def make_run(run_dir: Path) -> None:
    """A run of the preset `original` that has not learned anything."""
    from dn3dlib.data.acting import CLASSES, FPS
    from dn3dlib.files import write_json
    from dn3dlib.model.densenet3d import build_model
    from dn3dlib.presets import find_preset
    from dn3dlib.train.best import save_best
    from dn3dlib.train.runs import CONFIG, Run

    preset = find_preset("original")
    data = {"path": "", "fingerprint": "", "dataset": "none", "protocol": "", "leaks": False, "own_split": False, "classes": list(CLASSES), "train_subjects": []}
    run = Run(run_dir, preset.storage, preset.clip, preset.model, preset.train, data | {"fps": float(FPS)})
    run_dir.mkdir()
    write_json(run_dir / CONFIG, run.to_dict())
    save_best(run, build_model(preset.model, run.clip_shape, len(CLASSES)))


def measure(run_dir: Path, video: Path) -> None:
    from dn3dlib.evaluate.predict import predict

    before = time.perf_counter()
    predictions = predict(run_dir, [video], threshold=0.0)
    loaded = time.perf_counter()
    worked = time.process_time()
    (prediction,) = predictions
    seconds, played, worked = time.perf_counter() - loaded, prediction.frames / prediction.fps, time.process_time() - worked
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    print(f"speed: {played / 60:.1f} minutes of video in {seconds:.1f} s, {played / seconds:.1f} times as fast as it plays; {len(prediction.starts)} windows")
    print(f"speed: {worked:.1f} s of processor time; on an idle machine, shared by its {os.cpu_count()} cores, {played / worked * os.cpu_count():.1f} times as fast")
    print(f"speed: to load and trace the network {loaded - before:.1f} s; peak memory of the process {peak / 1e6:.0f} MB")


def drawn(folder: Path) -> None:
    from dn3dlib.train.shipped import shipped_data, shipped_run

    data, run = shipped_data("honest"), shipped_run("honest")
    tested = sorted({int(s.subject.removeprefix("person")) for s in data.of_split("test")})
    for subject in tested:
        score(f"drawn, subject {subject}", run.path, of_subjects(subject), folder)


def of_subjects(subject: int) -> list[tuple[Path, str]]:
    """The videos of a subject of the synthetic set, each with its class."""
    from dn3dlib.data.sources import read_catalog

    catalog = read_catalog("synthetic")
    return sorted({(catalog.source_dir / s.video, s.label) for s in catalog.sequences if s.subject == f"person{subject:02d}"})


def kth(folder: Path, source: Path) -> None:
    if not source.is_dir():
        return print(f"kth: not measured, since there is no folder {source}")
    from dn3dlib.data.prepare import prepare
    from dn3dlib.data.sources import read_catalog
    from dn3dlib.presets import find_preset
    from dn3dlib.train.loop import train
    from dn3dlib.train.shipped import shipped_run

    catalog = read_catalog("kth", source).split_by("loso:person15")
    parts = sorted({(source / s.video, s.label) for s in catalog.sequences if s.subject == "person15"})
    score("kth, person 15, by honest", shipped_run("honest").path, parts, folder)
    preset = find_preset("small-data")
    data = prepare(catalog, folder / "kth", preset.storage, show_progress=False)
    train(data.path, folder / "small", preset.clip, preset.model, preset.train)
    score("kth, person 15, by small-data", folder / "small", parts, folder)


def score(name: str, run_dir: Path, parts: list[tuple[Path, str]], folder: Path) -> None:
    """Frame accuracy and segment F1 of strings of these videos in several orders, with and without the threshold."""
    from dn3dlib.data.strung import string_together
    from dn3dlib.evaluate.predict import predict
    from dn3dlib.metrics import frame_accuracy, segment_f1

    rows = []
    for seed in range(ORDERS):
        video = folder / f"string-{seed}.avi"
        truth = string_together([parts[place] for place in np.random.default_rng(seed).permutation(len(parts))], video)
        for threshold in (None, 0.0):
            (found,) = predict(run_dir, [video], threshold=threshold, show_progress=False)
            rows.append((threshold, found.threshold, frame_accuracy(found.segments, truth), segment_f1(found.segments, truth)))
    for threshold, words in ((None, "with the run's own threshold"), (0.0, "each window with a class")):
        own, accuracy, f1 = zip(*(row[1:] for row in rows if row[0] == threshold), strict=True)
        limit = "none" if own[0] is None else f"{own[0]:.3f}"
        print(f"{name}, {len(parts)} videos in {ORDERS} orders, {words} ({limit}): frame accuracy {show(accuracy)}, segment F1@0.5 {show(f1)}", flush=True)


def show(values: tuple[float, ...]) -> str:
    return f"{np.mean(values):.3f} ({min(values):.3f} to {max(values):.3f})"


if __name__ == "__main__":
    main()
