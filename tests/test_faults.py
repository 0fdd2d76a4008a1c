"""Processes that are killed or told to stop, for real: what was good stays, and the next start goes on."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil

from dn3dlib.data.manifest import DataSet
from dn3dlib.data.records import verify
from dn3dlib.train.runs import Run

SETTINGS = """
    --device cpu --epochs 4 --batch-size 8 --frames 4 --set clip.hop=4 --set clip.extra_stride=1 --set model.growth_rate=2
    --set clip.clips_per_sequence=1 --set model.depth=7 --set model.blocks=2 --set model.dropout=0.1
""".split()

# A training that sends itself a signal while the given step is computed.
TRAIN = """
import os, sys
from dn3dlib.cli import main
from dn3dlib.train import loop

number, last = int(sys.argv[1]), int(sys.argv[2])
make, done = loop.make_train_step, []

def make_and_count(*arguments):
    step = make(*arguments)

    def counted(*batch):
        done.append(1)
        if len(done) == last:
            os.kill(os.getpid(), number)
        return step(*batch)

    return counted

loop.make_train_step = make_and_count
sys.exit(main(sys.argv[3:]))
"""


def dn3d(*arguments: object) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "dn3dlib", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=200)


def train_with_signal(number: int, step: int, *arguments: object) -> subprocess.CompletedProcess:
    command = [sys.executable, "-c", TRAIN, str(int(number)), str(step), "train", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=200)


def without_times(run_dir: Path) -> list[dict]:
    return [{k: v for k, v in row.items() if k not in ("seconds", "clips_per_second")} for row in Run.open(run_dir).history()]


def test_a_training_killed_in_epoch_3_goes_on_bit_for_bit(prepared, tmp_path, differing):
    """Of 4 epochs of 3 steps, with dropout; the undisturbed one, too, is a real process."""
    whole = dn3d("train", "--data", prepared, "--out", tmp_path / "whole", *SETTINGS)
    assert whole.returncode == 0, whole.stderr
    killed = train_with_signal(signal.SIGKILL, 8, "--data", prepared, "--out", tmp_path / "killed", *SETTINGS)
    assert killed.returncode == -signal.SIGKILL
    assert [row["epoch"] for row in Run.open(tmp_path / "killed").history()] == [1, 2]
    resumed = dn3d("train", "--resume", "--out", tmp_path / "killed", "--device", "cpu", "--json")
    assert resumed.returncode == 0, resumed.stderr
    assert json.loads(resumed.stdout)["epochs"] == 4
    assert differing(tmp_path / "whole", tmp_path / "killed") == []
    assert without_times(tmp_path / "whole") == without_times(tmp_path / "killed")


def test_sigterm_ends_a_training_with_130_and_what_it_had(prepared, tmp_path):
    done = train_with_signal(signal.SIGTERM, 5, "--data", prepared, "--out", tmp_path / "run", "--json", *SETTINGS)
    assert done.returncode == 130, done.stderr
    found = json.loads(done.stdout)
    assert (found["epochs"], found["of_epochs"]) == (1, 4) and "--resume" in done.stderr and "Traceback" not in done.stderr
    assert [row["epoch"] for row in Run.open(tmp_path / "run").history()] == [1]
    assert (tmp_path / "run" / "checkpoints" / "checkpoint").is_file()


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
