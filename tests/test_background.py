"""Trainings in the background: how they are followed, that one worker can be killed, and what they said last."""

import sys

import pytest

from dn3dlib.errors import RunError
from dn3dlib.show import background
from dn3dlib.show.background import BackgroundTraining

# In the place of `dn3d`: two workers, told apart by TF_CONFIG; the first to end is reported. Worker 1 sleeps, worker 0 waits for it.
LAUNCH = """
import json, os, subprocess, sys, time
def worker(index):
    config = json.dumps({"task": {"type": "worker", "index": index}})
    return subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], env=os.environ | {"TF_CONFIG": config})
zero, one = worker(0), worker(1)
open(os.path.join(sys.argv[-1], "started"), "w").close()
status = one.wait()
print("first line", file=sys.stderr)
print(f"worker 1 ended with {status}, worker 0 with {zero.poll()}; see {sys.argv[-1]}", file=sys.stderr)
zero.kill()
sys.exit(2)
"""


@pytest.fixture
def instead(monkeypatch):
    """A function that lets some lines of Python run in the place of `dn3d`; they find the run's folder as their last argument."""

    def use(lines: str) -> None:
        popen = background.subprocess.Popen

        def start(command, **options):
            return popen([sys.executable, "-c", lines, *command[3:], command[command.index("--out") + 1]], **options)

        monkeypatch.setattr(background.subprocess, "Popen", start)

    return use


def test_it_is_followed_to_where_it_is_asked(instead, tmp_path):
    lines = "import sys, time, pathlib\nhistory = pathlib.Path(sys.argv[-1], 'history.csv')\n"
    lines += "for n in range(4):\n    history.write_text('head\\n' + 'row\\n' * n)\n    time.sleep(0.4)\nprint('done', sys.argv[1:4], file=sys.stderr)\n"
    instead(lines)
    training = BackgroundTraining(tmp_path, "--epochs", 3)
    assert training.epochs_done() == 0
    training.follow(3, until=2)
    assert training.epochs_done() == 2
    training.follow(3)
    assert training.epochs_done() == 3
    status, said = training.wait()
    assert status == 0 and said == "done ['train', '--out', 'runs/" + tmp_path.name + "']"


def test_one_that_ends_early_is_not_waited_for(instead, tmp_path):
    instead("import sys; sys.exit('dn3d: error: there is no such thing.')")
    with pytest.raises(RunError, match="The training in run ended with status 1: dn3d: error: there is no such thing."):
        BackgroundTraining(tmp_path / "run").finish(1000)


def test_a_worker_is_killed_and_the_other_is_not(instead, tmp_path):
    instead(LAUNCH)
    training = BackgroundTraining(tmp_path, workers=2)
    while not (tmp_path / "started").exists():
        background.time.sleep(0.05)
    with pytest.raises(RunError, match="has no worker 7 that could be killed"):
        training.kill_worker(7)
    training.kill_worker(1)
    status, said = training.wait()
    with pytest.raises(RunError, match="or has ended already"):
        training.kill_worker(0)
    assert status == 2 and said == f"worker 1 ended with -9, worker 0 with None; see runs/{tmp_path.name}"


def test_what_dn3d_refuses_is_heard(tmp_path):
    training = BackgroundTraining(tmp_path / "run", "--data", tmp_path / "nothing", workers=2)
    training.follow(2)
    status, said = training.wait()
    assert status == 2 and said.startswith("dn3d: error: ") and not (tmp_path / "run").exists()
