"""The entry point inside SageMaker's training container: the same `dn3d train`, told by SageMaker's environment what to do.

    python -m dn3dlib.deploy.container

It reads SM_CHANNEL_DATA (the prepared data set), SM_HPS (preset and settings), SM_HOSTS, SM_CURRENT_HOST and SM_NUM_GPUS. The run's
folder lies where checkpoints are kept, so that a machine that takes over goes on with `--resume`; in the end the run without its checkpoints
is in SM_MODEL_DIR, its TensorBoard events in SM_OUTPUT_DATA_DIR, and the sentence of a failure in the file `failure`. SAGEMAKER_BASE_DIR moves
the tree from /opt/ml elsewhere, as it does for SageMaker's own toolkit.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from dn3dlib.config import CONFIG_CLASSES
from dn3dlib.data.manifest import DataSet
from dn3dlib.errors import ConfigError, DataError, Dn3dError
from dn3dlib.train.runs import BEST, CONFIG

BASE = "/opt/ml"
CHECKPOINTS = f"{BASE}/checkpoints"
CHANNEL = "data"
PRESET = "preset"  # the hyperparameter of that name
_PORT = 23456  # on which the hosts of a job find each other
_OTHERS = ("model_dir",)  # hyperparameters that AWS's own containers add
_ERROR, _INTERRUPTED = "dn3d: error: ", 130  # as `dn3d` says and returns it


def main() -> int:
    """Train as the environment says; returns the exit status of `dn3d train`, and leaves a sentence where it is not 0."""
    base = Path(os.environ.get("SAGEMAKER_BASE_DIR", BASE))
    run_dir = base / "checkpoints" / "run"
    try:
        status, sentence = _dn3d(train_arguments(os.environ, run_dir), tf_config(os.environ))
        if status == 0 and is_chief(os.environ):
            status, sentence = _evaluate(run_dir, os.environ["SM_CHANNEL_DATA"])
        if is_chief(os.environ):
            hand_over(run_dir, Path(os.environ["SM_MODEL_DIR"]), Path(os.environ["SM_OUTPUT_DATA_DIR"]))
    except Dn3dError as error:
        status, sentence = 2, str(error)
        print(f"{_ERROR}{sentence}", file=sys.stderr)
    if status:
        failure = base / "output" / "failure"
        failure.parent.mkdir(parents=True, exist_ok=True)
        failure.write_text(sentence, encoding="utf-8")
    return status


def train_arguments(environment: Mapping[str, str], run_dir: Path) -> list[str]:
    """What follows `dn3d`: a new training, or `--resume` where an earlier machine has begun it.

    Args:
        environment: SageMaker's variables.
        run_dir: the run's folder.

    Raises:
        DataError: there is no channel of the name `data`.
        ConfigError: a hyperparameter that is none.
    """
    data = environment.get(f"SM_CHANNEL_{CHANNEL.upper()}")
    if not data:
        raise DataError(f"The job has no input channel {CHANNEL!r}: give it the prepared data set under that name.")
    gpus = int(environment.get("SM_NUM_GPUS", "0"))
    # GPUs that TensorFlow does not see would be paid for and not used: asked for by name, they are refused.
    arguments = ["train", "--data", data, "--out", str(run_dir), "--device", {0: "cpu", 1: "gpu:0"}.get(gpus, "auto")]
    if gpus > 1 and len(_hosts(environment)) == 1:
        arguments += ["--strategy", "mirrored"]
    if (run_dir / CONFIG).is_file():
        return [*arguments, "--resume"]
    for name, value in json.loads(environment.get("SM_HPS", "{}")).items():
        if name == PRESET:
            arguments += ["--preset", value]
        elif name.partition(".")[0] in CONFIG_CLASSES:
            arguments += ["--set", f"{name}={value if isinstance(value, str) else json.dumps(value)}"]
        elif name not in _OTHERS:
            raise ConfigError(f"The hyperparameter {name!r} is none of dn3d's: there are {PRESET} and settings such as model.depth.")
    return arguments


def tf_config(environment: Mapping[str, str]) -> dict[str, str]:
    """TF_CONFIG, by which TensorFlow knows the other hosts; empty for a single one."""
    hosts = _hosts(environment)
    if len(hosts) == 1:
        return {}
    task = {"type": "worker", "index": hosts.index(environment["SM_CURRENT_HOST"])}
    return {"TF_CONFIG": json.dumps({"cluster": {"worker": [f"{host}:{_PORT}" for host in hosts]}, "task": task})}


def is_chief(environment: Mapping[str, str]) -> bool:
    """Whether this host is the one that writes results."""
    return environment.get("SM_CURRENT_HOST", "") in ("", _hosts(environment)[0])


def hand_over(run_dir: Path, model_dir: Path, output_dir: Path) -> None:
    """Copy a run to where SageMaker looks for results, without its checkpoints; a run without a best network is left out."""
    if not (run_dir / BEST).is_file():
        return
    leave = shutil.ignore_patterns("checkpoints*", "events", "*.partial*", "*.lock")
    shutil.copytree(run_dir, model_dir, ignore=leave, dirs_exist_ok=True)
    if (run_dir / "events").is_dir():
        shutil.copytree(run_dir / "events", output_dir / "events", dirs_exist_ok=True)


def _hosts(environment: Mapping[str, str]) -> list[str]:
    return sorted(json.loads(environment.get("SM_HOSTS", "[]"))) or ["localhost"]


def _evaluate(run_dir: Path, data: str) -> tuple[int, str]:
    """Report on the validation split, where there is one: a look at the test part is for a person to decide."""
    if not DataSet.open(data).of_split("validation"):
        return 0, ""
    return _dn3d(["evaluate", "--run", str(run_dir), "--data", data, "--split", "validation"], {})


def _dn3d(arguments: list[str], more: dict[str, str]) -> tuple[int, str]:
    """Run `dn3d` with more variables; its exit status, and a sentence that tells what was wrong.

    SIGTERM and SIGINT go on to it: it writes a checkpoint and ends.
    """
    print(*(f"{name}={value}" for name, value in more.items()), "dn3d", *arguments, file=sys.stderr, flush=True)
    command = [sys.executable, "-m", "dn3dlib", *arguments]
    # Read as lines, a progress bar gives one line each time it is drawn.
    child = subprocess.Popen(command, env=os.environ | more, stderr=subprocess.PIPE, text=True, encoding="utf-8", errors="replace")
    before = {number: signal.signal(number, lambda n, frame: child.send_signal(n)) for number in (signal.SIGTERM, signal.SIGINT)}
    sentence = ""
    try:
        for line in child.stderr:
            print(line, end="", file=sys.stderr, flush=True)
            sentence = line.strip().removeprefix(_ERROR) if line.startswith(_ERROR) else sentence
        status = child.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    status = 128 - status if status < 0 else status  # ended by a signal, as shells count it
    return status, sentence or f"dn3d {arguments[0]} ended with status {status}{' (interrupted)' if status == _INTERRUPTED else ''}: its log tells more."


if __name__ == "__main__":
    sys.exit(main())
