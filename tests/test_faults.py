"""Processes that are killed or told to stop, for real: what was good stays, and the next start goes on."""

import ctypes
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
import tensorflow as tf
from steps import without_times
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from dn3dlib.data.manifest import DataSet
from dn3dlib.data.records import verify
from dn3dlib.train.runs import Run

SETTINGS = """
    --device cpu --epochs 4 --batch-size 8 --frames 4 --set clip.hop=4 --set clip.extra_stride=1 --set model.growth_rate=2
    --set clip.clips_per_sequence=1 --set model.depth=7 --set model.blocks=2 --set model.dropout=0.1
""".split()

# A training that sends itself a signal while the given step is computed.
TRAIN = f"""
import os, sys
from pytest import MonkeyPatch
sys.path.insert(0, {str(Path(__file__).parent)!r})
from steps import at_step
from dn3dlib.cli import main

number, last = int(sys.argv[1]), int(sys.argv[2])
at_step(MonkeyPatch(), last, lambda: os.kill(os.getpid(), number))
sys.exit(main(sys.argv[3:]))
"""


def dn3d(*arguments: object) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "dn3dlib", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=200)


def train_with_signal(number: int, step: int, *arguments: object) -> subprocess.CompletedProcess:
    command = [sys.executable, "-c", TRAIN, str(int(number)), str(step), "train", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=200)


@contextmanager
def started(*arguments: object, log: Path, **options) -> Iterator[subprocess.Popen]:
    """`dn3d` with these arguments, what it says on standard error in `log`; killed, if it still runs, when the block ends."""
    with log.open("w") as file:
        process = subprocess.Popen([sys.executable, "-m", "dn3dlib", *map(str, arguments)], stderr=file, stdout=file, **options)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def newest(run_dir: Path) -> int:
    """The number of a run's newest checkpoint; 0 where there is none."""
    return max((int(path.stem[5:]) for path in (run_dir / "checkpoints").glob("ckpt-*.index")), default=0)


def wait_for(holds: Callable[[], bool], process: subprocess.Popen) -> None:
    """Wait until `holds()`, at most for 200 seconds, and not for a process that has ended."""
    deadline = time.monotonic() + 200
    while not holds():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.002)


def train_or_resume(run_dir: Path, data_dir: Path, epochs: int) -> list[object]:
    if (run_dir / "config.json").is_file():
        return ["train", "--resume", "--out", run_dir, "--device", "cpu"]
    augmented = ["--set", "clip.crop=2", "--set", "clip.flip=true", "--set", "clip.brightness=0.1", "--batch-size", "2"]
    each_step = ["--set", "train.checkpoint_seconds=1e-9"]
    return ["train", "--out", run_dir, "--data", data_dir, *SETTINGS, *augmented, *each_step, "--epochs", epochs]


@pytest.mark.parametrize(("kills", "epochs"), [(2, 6), pytest.param(10, 30, marks=pytest.mark.long)])
def test_a_training_killed_at_random_moments_ends_as_if_it_had_not_been(prepared, tmp_path, differing, kills, epochs):
    """With dropout and augmentation, and a checkpoint after each step: in starting, in steps, in saving, in validating."""
    whole, run, moments = tmp_path / "whole", tmp_path / "run", random.Random(kills)
    started_at = time.monotonic()
    with started(*train_or_resume(whole, prepared, epochs), log=tmp_path / "log") as process:
        wait_for(lambda: newest(whole) > 1, process)
        to_start, started_at = time.monotonic() - started_at, time.monotonic()
        assert process.wait(timeout=200) == 0, (tmp_path / "log").read_text()
    to_train = time.monotonic() - started_at

    logs, inside = [], False
    # The first is killed while it starts up; at least one is killed inside an epoch.
    while len(logs) < kills or not inside:
        logs.append(tmp_path / f"log-{len(logs)}")
        before = newest(run)
        with started(*train_or_resume(run, prepared, epochs), log=logs[-1]) as process:
            if len(logs) % 5 == 1:
                time.sleep(moments.uniform(0, to_start))
            else:
                wait_for(lambda first=before + (not before) + 1: newest(run) >= first, process)
                time.sleep(moments.uniform(0, to_train / (kills + 1)))
            process.kill()
            assert process.wait() == -signal.SIGKILL, f"it had ended before it was killed: {logs[-1].read_text()}"
        inside = inside or step_of(run) > 0
    logs.append(tmp_path / "log-last")
    with started(*train_or_resume(run, prepared, epochs), log=logs[-1]) as process:
        assert process.wait(timeout=200) == 0, logs[-1].read_text()

    assert any(re.search(r"Going on in epoch \d+ after step [1-9]", log.read_text()) for log in logs)
    assert not any("damaged" in log.read_text() for log in logs), "no checkpoint was torn"
    assert differing(whole, run) == []
    one, other = (Run.open(path).history() for path in (whole, run))
    assert without_times(one) == without_times(other) and len(other) == epochs
    assert {path.name for path in run.iterdir()} == {path.name for path in whole.iterdir()}
    assert set(events_of(run)) == set(events_of(whole)), "each epoch is there, and a repeated one has the same figures"


def step_of(run_dir: Path) -> int:
    """The step inside its epoch after which a run's newest checkpoint was made; 0 where there is none."""
    path = run_dir / "checkpoints" / f"ckpt-{newest(run_dir)}"
    return int(tf.train.load_checkpoint(str(path)).get_tensor("step/.ATTRIBUTES/VARIABLE_VALUE")) if newest(run_dir) else 0


def events_of(run_dir: Path) -> list[tuple[int, bytes]]:
    events = EventAccumulator(str(run_dir / "events"), size_guidance={"tensors": 0})
    events.Reload()
    return [(event.step, event.tensor_proto.tensor_content) for event in events.Tensors("train_loss")]


def test_sigterm_ends_a_training_with_130_and_what_it_had(prepared, tmp_path):
    done = train_with_signal(signal.SIGTERM, 5, "--data", prepared, "--out", tmp_path / "run", "--json", *SETTINGS)
    assert done.returncode == 130, done.stderr
    found = json.loads(done.stdout)
    assert (found["epochs"], found["of_epochs"]) == (1, 4) and "--resume" in done.stderr and "Traceback" not in done.stderr
    assert [row["epoch"] for row in Run.open(tmp_path / "run").history()] == [1]
    assert newest(tmp_path / "run") > 1


def test_a_second_process_is_refused_while_one_trains(prepared, tmp_path):
    run = tmp_path / "run"
    with started(*train_or_resume(run, prepared, 1000), log=tmp_path / "log") as process:
        wait_for(lambda: newest(run) > 1, process)
        second = dn3d(*train_or_resume(run, prepared, 1000))
        assert process.poll() is None, "the first goes on"
    assert second.returncode == 2
    assert second.stderr.splitlines()[-1].startswith(f"dn3d: error: Another process is at work on {run / 'checkpoints'}: wait")


def without_root_s_rights() -> None:
    """What a folder's mode forbids is forbidden, for the superuser too (its rights to pass over it end with the next exec)."""
    if os.geteuid() == 0:
        drop, override, search = 24, 1, 2  # PR_CAPBSET_DROP, CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
        libc = ctypes.CDLL(None, use_errno=True)
        for right in (override, search):
            if libc.prctl(drop, right, 0, 0, 0):
                raise OSError(ctypes.get_errno(), "prctl")


@pytest.mark.parametrize("left", [(), ("checkpoints.lock", "best.partial.keras")], ids=["whole", "of a killed one"])
def test_a_read_only_run_folder_is_refused_in_a_sentence(trained, tmp_path, left):
    run = Path(shutil.copytree(trained, tmp_path / "run"))
    for name in left:
        (run / name).touch()
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    folders = [run, *(path for path in run.rglob("*") if path.is_dir())]
    for path in folders:
        path.chmod(0o555)
    try:
        with started("train", "--resume", "--out", run, log=tmp_path / "log", preexec_fn=without_root_s_rights) as process:
            assert process.wait(timeout=200) == 2
    finally:
        for path in folders:
            path.chmod(0o755)
    last = (tmp_path / "log").read_text().splitlines()[-1]
    assert last.startswith(f"dn3d: error: {run}") and "cannot be written (Permission denied): choose a folder of your own." in last
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def test_a_prepare_killed_midway_leaves_no_target_and_no_process_and_goes_on(source, tmp_path):
    out, work = tmp_path / "data", tmp_path / "data.partial"
    options = ["--dataset", "kth", "--protocol", "by-subject", "--source", source, "--out", out, "--workers", "2"]
    options = [str(option) for option in options]
    process = subprocess.Popen([sys.executable, "-m", "dn3dlib", "prepare", *options], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 100
    journal = work / "journal.jsonl"
    while not (journal.is_file() and journal.read_bytes().count(b"\n") > 3) and time.monotonic() < deadline:
        assert process.poll() is None, "prepare ended before it could be killed"
        time.sleep(0.002)
    children = psutil.Process(process.pid).children(recursive=True)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert children and not out.exists()
    done = journal.read_bytes().count(b"\n") - 1
    assert 3 <= done < 24
    gone, alive = psutil.wait_procs(children, timeout=60)
    assert not alive, "the workers end with the process that started them"

    again = dn3d("prepare", *options, "--json")
    assert again.returncode == 0, again.stderr
    assert f"{done}/24" in again.stderr, "what is done is not done again"
    assert [path.name for path in tmp_path.iterdir()] == ["data"], "the leftovers are cleared away"
    assert verify(out)["sequences"] == len(DataSet.open(out).sequences) == 48
