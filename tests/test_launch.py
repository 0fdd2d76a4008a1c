"""Workers on this machine: how they are started, watched and ended; and that a job that lost one reaches the same end."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from steps import without_times

from dn3dlib.deploy import launch as module
from dn3dlib.deploy.launch import launch
from dn3dlib.errors import ConfigError, RunError
from dn3dlib.train.loop import train
from dn3dlib.train.runs import Run

# --- how they are watched: with workers that do not train -------------------------------------------------------------

WORKER = """
import json, os, signal, sys, time
task = json.loads(os.environ["TF_CONFIG"])["task"]["index"]
print(f"dn3d: error: worker {task} says why.", file=sys.stderr, flush=True)
"""


@pytest.fixture
def workers(tmp_path, monkeypatch):
    """A function that launches three workers which run some lines each, in the place of `dn3d`."""

    def run(lines: str) -> int:
        script = tmp_path / "worker.py"
        script.write_text(WORKER + lines)
        monkeypatch.setattr(module, "_COMMAND", [sys.executable, str(script)])
        monkeypatch.setattr(module, "_GRACE", 1.0)
        return launch(["train", "--out", str(tmp_path / "run")], 3)

    return run


def test_each_gets_its_place_and_a_log(workers, tmp_path, capfd):
    assert workers("print(os.environ['TF_CONFIG'], sys.argv[1:])") == 0
    shown, told = capfd.readouterr()
    configs = [(tmp_path / "run.logs" / f"worker-{index}.log").read_text() for index in (1, 2)]
    assert "'train', '--out'" in shown and "worker 0 says why" in told and "worker 1" not in told
    one, two = (json.loads(text.splitlines()[1].rpartition(" [")[0]) for text in configs)
    assert one["cluster"] == two["cluster"] and len(set(one["cluster"]["worker"])) == 3
    assert all(address.startswith("127.0.0.1:") for address in one["cluster"]["worker"])


@pytest.mark.parametrize(
    "lines, sentence",
    [
        ("sys.exit(2) if task == 1 else time.sleep(60)", r"Worker 1 failed with status 2, so all were ended: worker 1 says why. Its log is [^;]*log\.$"),
        ("os.kill(os.getpid(), 9) if task == 2 else time.sleep(60)", r"Worker 2 was killed \(SIGKILL\), so all were ended. Its log is [^;]*log\.$"),
    ],
)
def test_when_one_fails_all_are_ended(workers, lines, sentence):
    started = time.monotonic()
    with pytest.raises(RunError, match=sentence):
        workers(lines)
    assert time.monotonic() - started < 20
    assert [child for child in psutil.Process().children() if "worker.py" in " ".join(child.cmdline())] == []


def test_an_interrupt_reaches_each_once(workers, tmp_path):
    """Whoever is interrupted twice does not save; here, the second one would end a worker with another status."""
    lines = f"""
def stop(number, frame):
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    time.sleep(1)
    sys.exit(130)
signal.signal(signal.SIGINT, stop)
open({str(tmp_path)!r} + f"/ready-{{task}}", "w").close()
time.sleep(60)
"""

    def interrupt():
        while len(list(tmp_path.glob("ready-*"))) < 3:
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    assert workers(lines) == 130


def test_the_way_on_is_told_where_there_is_a_checkpoint(workers, tmp_path):
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    (tmp_path / "run" / "checkpoints" / "1.index").touch()
    with pytest.raises(RunError, match=r"log; the same command with --resume goes on from the last checkpoint\.$"):
        workers("sys.exit(2)")


def test_an_interrupt_before_workers_are_ready_is_one(workers, tmp_path):
    """Python itself, still starting, dies of it."""

    def interrupt():
        while len(list(tmp_path.glob("ready-*"))) < 3:
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    lines = f"signal.signal(signal.SIGINT, signal.SIG_DFL); open({str(tmp_path)!r} + f'/ready-{{task}}', 'w').close(); time.sleep(60)"
    assert workers(lines) == 130


@pytest.mark.parametrize("dashes", [["--"], []])
def test_what_follows_train_is_the_trainings(shell, monkeypatch, dashes):
    given = []
    monkeypatch.setattr(module, "launch", lambda *arguments: given.append(arguments) or 0)
    assert shell("launch", "--workers", 3, *dashes, "train", "--data", "data", "--out=run")[0] == 0
    assert given == [(["train", "--data", "data", "--out=run"], 3)]


@pytest.mark.parametrize(
    "arguments, workers, sentence",
    [
        (["train", "--out", "run"], 1, "--workers is 1, but must be 2 or more"),
        (["evaluate", "--out", "run"], 2, "What is launched must be a training"),
        (["train", "--data", "data"], 2, "--out is missing"),
        (["train", "--out", "run", "--strategy", "one"], 2, "--strategy is 'one', but workers train together by multiworker alone"),
        (["train", "--out", "run", "--strategy=mirrored"], 2, "--strategy is 'mirrored'"),
    ],
)
def test_what_cannot_be_launched_is_refused(arguments, workers, sentence):
    with pytest.raises(ConfigError, match=sentence):
        launch(arguments, workers)


# --- two workers that train -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def job(prepared, tiny):
    """A function that gives the shell's command for a training of two workers: batch 16, common statistics, no dropout."""
    clip, model = vars(tiny.clip).items(), vars(tiny.model).items()
    settings = [f"clip.{name}={json.dumps(value)}" for name, value in clip] + [f"model.{name}={json.dumps(value)}" for name, value in model]
    settings += ["model.dropout=0.0", "train.batch_size=16", "train.learning_rate=0.01", "train.sync_batch_norm=true"]

    def command(run_dir: Path, *more: str) -> list[str]:
        new = ["--data", str(prepared), *(part for setting in settings for part in ("--set", setting))]
        given = ["--resume"] if "--resume" in more else [*new, *more]
        return [sys.executable, "-m", "dn3dlib", "launch", "--workers", "2", "--", "train", "--out", str(run_dir), "--device", "cpu", *given]

    return command


def start(command: list[str]) -> subprocess.Popen:
    root = Path(__file__).resolve().parents[1]
    return subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def epochs_of(run_dir: Path) -> int:
    return len((run_dir / "history.csv").read_text().splitlines()) - 1 if (run_dir / "history.csv").is_file() else 0


def at_epoch(run_dir: Path, epoch: int, process: subprocess.Popen, number: int) -> tuple[int, str, float]:
    """Send a signal to worker 1 of a job when an epoch is done; its exit status, its last words, and the seconds it took to end."""
    while epochs_of(run_dir) < epoch and process.poll() is None:
        time.sleep(0.02)
    (worker,) = [child for child in psutil.Process(process.pid).children() if '"index": 1' in child.environ()["TF_CONFIG"]]
    worker.send_signal(number)
    sent = time.monotonic()
    _, said = process.communicate(timeout=100)
    return process.returncode, said.strip().splitlines()[-1], time.monotonic() - sent


def alone(prepared, tiny, run_dir: Path, epochs: int) -> list[dict]:
    model = dataclasses.replace(tiny.model, dropout=0.0)
    config = dataclasses.replace(tiny.train, batch_size=16, learning_rate=0.01, epochs=epochs)
    return train(prepared, run_dir, tiny.clip, model, config, device="cpu", show_progress=False)


@pytest.fixture(scope="module")
def undisturbed(job, tmp_path_factory) -> Path:
    run_dir = tmp_path_factory.mktemp("job") / "run"
    process = start(job(run_dir, "--epochs", "20"))
    _, said = process.communicate(timeout=200)
    assert process.returncode == 0, said[-3000:]
    return run_dir


def test_two_workers_do_what_one_does(job, prepared, tiny, tmp_path, state_of):
    """After two steps, weights are the same to 1e-5."""
    process = start(job(tmp_path / "two", "--epochs", "1"))
    alone(prepared, tiny, tmp_path / "one", 1)
    output, said = process.communicate(timeout=200)
    assert process.returncode == 0 and "Each of 2 replicas takes 8 of the 16 clips" in said and "epoch 1" in output
    one, two = state_of(tmp_path / "one"), state_of(tmp_path / "two")
    learned = [name for name in one if name.startswith(("model", "best", "optimizer"))]
    assert len(learned) > 20 and max(np.abs(one[name] - two[name]).max() for name in learned) < 1e-5
    assert json.loads((tmp_path / "two" / "environment.json").read_text())["replicas"] == 2


def test_losses_of_two_workers_stay_with_those_of_one(undisturbed, prepared, tiny, tmp_path):
    """Twenty epochs of two steps; float32 lets them drift apart."""
    rows, others = alone(prepared, tiny, tmp_path / "run", 20), Run.open(undisturbed).history()
    assert len(rows) == len(others) == 20
    assert max(abs(row["train_loss"] - other["train_loss"]) for row, other in zip(rows[:10], others[:10], strict=True)) < 1e-3
    assert max(abs(row["validation_loss"] - other["validation_loss"]) for row, other in zip(rows[:10], others[:10], strict=True)) < 1e-2


def test_a_job_that_lost_a_worker_reaches_the_same_end(undisturbed, job, tmp_path, differing):
    """One worker is told to stop: all stop after the same step, and save. Going on, it is killed; then they go on to the end."""
    run_dir = tmp_path / "run"
    status, _, _ = at_epoch(run_dir, 2, start(job(run_dir, "--epochs", "20")), signal.SIGTERM)
    done = epochs_of(run_dir)
    assert status == 130 and 2 <= done < 20
    status, words, seconds = at_epoch(run_dir, done + 2, start(job(run_dir, "--resume")), signal.SIGKILL)
    assert status == 2 and seconds < 60 and epochs_of(run_dir) < 20
    assert "dn3d: error: Another worker has gone" in (tmp_path / "run.logs" / "worker-0.log").read_text()
    assert words.startswith("dn3d: error: Worker 1 was killed (SIGKILL), so all were ended.") and "--resume" in words
    process = start(job(run_dir, "--resume"))
    _, said = process.communicate(timeout=200)
    assert process.returncode == 0, said[-3000:]
    assert without_times(Run.open(run_dir).history()) == without_times(Run.open(undisturbed).history())
    assert differing(undisturbed, run_dir) == []
