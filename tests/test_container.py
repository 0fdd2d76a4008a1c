"""The entry point in SageMaker's container: in a tree as in /opt/ml, with SageMaker's variables, and under its own toolkit."""

import csv
import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from dn3dlib.deploy import container
from dn3dlib.deploy.source import PROGRAM, source_archive
from dn3dlib.errors import ConfigError, DataError
from dn3dlib.train.observer import EPOCH_FIGURES, figure_pattern
from dn3dlib.train.runs import Run

SETTINGS = {
    "train.batch_size": 4, "clip.frames": 4, "clip.hop": 4, "clip.crop": 2, "clip.clips_per_sequence": 2,
    "model.growth_rate": 2, "model.depth": 7, "model.blocks": 2, "model.variant": "lite", "clip.flip": True,
}  # fmt: skip


@pytest.fixture
def machine(tmp_path, prepared):
    """A function that gives the variables of a container whose tree lies in the test's folder, as SageMaker's toolkit sets them."""

    def variables(current: str = "algo-1", hosts: tuple[str, ...] = ("algo-1",), **settings) -> dict[str, str]:
        base = tmp_path / current
        for name in ("model", "output/data", "checkpoints"):
            (base / name).mkdir(parents=True, exist_ok=True)
        places = {"SM_CHANNEL_DATA": prepared, "SM_MODEL_DIR": base / "model", "SM_OUTPUT_DATA_DIR": base / "output" / "data"}
        places = {name: str(path) for name, path in places.items()} | {"SAGEMAKER_BASE_DIR": str(base)}
        hyperparameters = SETTINGS | settings | {"model_dir": "s3://…"}  # which AWS's TensorFlow image adds
        return places | {"SM_HPS": json.dumps(hyperparameters), "SM_HOSTS": json.dumps(hosts), "SM_CURRENT_HOST": current, "SM_NUM_GPUS": "0"}

    return variables


@pytest.fixture
def run_here(monkeypatch, capfd):
    """A function that runs the entry point in this process with some variables; its exit status and standard error."""

    def run(variables: dict[str, str]) -> tuple[int, str]:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        capfd.readouterr()
        return container.main(), capfd.readouterr().err

    return run


def test_a_training_that_is_taken_away_goes_on_and_its_results_lie_where_sagemaker_looks(machine, tmp_path):
    variables = machine(**{"train.epochs": 9})
    command = [sys.executable, "-m", "dn3dlib.deploy.container"]
    job = subprocess.Popen(command, env=os.environ | variables, stderr=subprocess.PIPE, text=True)
    for line in job.stderr:
        if line.startswith("epoch 1/9: learning_rate"):
            job.send_signal(signal.SIGTERM)
    assert job.wait(60) == 130
    base = tmp_path / "algo-1"
    assert (base / "output" / "failure").read_text() == "dn3d train ended with status 130 (interrupted): its log tells more."
    (base / "output" / "failure").unlink()
    done = subprocess.run(command, env=os.environ | variables, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "--resume" in done.stderr and "epoch 9/9: learning_rate" in done.stderr and "epoch 1/9: learning_rate" not in done.stderr
    run = Run.open(base / "model")
    assert [row["epoch"] for row in run.history()] == list(range(1, 10))
    assert {"best.keras", "config.json", "history.csv", "environment.json", "evaluation.json"} <= {p.name for p in (base / "model").iterdir()}
    assert not (base / "model" / "checkpoints").exists() and list((base / "checkpoints" / "run" / "checkpoints").glob("*.index"))
    assert "validation" in json.loads((base / "model" / "evaluation.json").read_text())
    assert list((base / "output" / "data" / "events").glob("events.*"))
    assert not (base / "output" / "failure").exists()
    with (base / "model" / "history.csv").open(newline="") as file:
        last = list(csv.DictReader(file))[-1]
    line = next(line for line in done.stderr.splitlines() if line.startswith("epoch 9/9: learning_rate"))
    for name in EPOCH_FIGURES:
        assert float(re.search(figure_pattern(name), line)[1]) == pytest.approx(float(last[name]), rel=1e-4), name


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"model.dept": 40}, ("model.dept", "did you mean depth")),
        ({"deep": 40}, ("'deep'", "model.depth")),
        ({"train.epochs": 0}, ("train.epochs", "from 1")),
    ],
)
def test_a_wrong_hyperparameter_leaves_its_sentence(run_here, machine, tmp_path, settings, words):
    status, err = run_here(machine(**settings))
    failure = (tmp_path / "algo-1" / "output" / "failure").read_text()
    assert status == 2 and "Traceback" not in err and "dn3d: error:" not in failure and len(failure.splitlines()) == 1
    assert all(word in failure for word in words)
    assert list((tmp_path / "algo-1" / "model").iterdir()) == []


def test_a_missing_channel_leaves_its_sentence(run_here, machine, tmp_path, monkeypatch):
    monkeypatch.delenv("SM_CHANNEL_DATA", raising=False)
    variables = machine()
    del variables["SM_CHANNEL_DATA"]
    status, _ = run_here(variables)
    assert status == 2
    assert (tmp_path / "algo-1" / "output" / "failure").read_text().startswith("The job has no input channel 'data'")
    with pytest.raises(DataError, match="no input channel"):
        container.train_arguments(variables, tmp_path)


def test_hyperparameters_become_options(machine, tmp_path):
    arguments = container.train_arguments(machine(preset="quick"), tmp_path / "run")
    assert arguments[:3] == ["train", "--data", machine()["SM_CHANNEL_DATA"]]
    assert arguments[arguments.index("--preset") + 1] == "quick"
    assert "clip.flip=true" in arguments and "model.depth=7" in arguments and "model.variant=lite" in arguments
    assert not any("model_dir" in argument for argument in arguments)
    with pytest.raises(ConfigError, match="'depht'"):
        container.train_arguments(machine(depht=3), tmp_path / "run")


@pytest.mark.parametrize(
    ("gpus", "hosts", "device", "strategy"),
    [("0", 1, "cpu", None), ("1", 1, "gpu:0", None), ("4", 1, "auto", "mirrored"), ("0", 2, "cpu", None), ("1", 2, "gpu:0", None), ("4", 2, "auto", None)],
)
def test_the_device_is_what_is_paid_for(machine, tmp_path, gpus, hosts, device, strategy):
    variables = machine(hosts=tuple(f"algo-{n + 1}" for n in range(hosts))) | {"SM_NUM_GPUS": gpus}
    arguments = container.train_arguments(variables, tmp_path / "run")
    assert arguments[arguments.index("--device") + 1] == device
    assert ("--strategy" in arguments) == bool(strategy) and (not strategy or arguments[arguments.index("--strategy") + 1] == strategy)


def test_two_hosts_know_each_other_and_the_first_hands_over(machine, run_here, trained, tmp_path, monkeypatch):
    hosts, seen = ("algo-2", "algo-1"), []
    assert container.tf_config(machine()) == {}

    def played(arguments, more):
        seen.append((arguments[0], json.loads(more["TF_CONFIG"]) if more else None))
        return 0, ""

    monkeypatch.setattr(container, "_dn3d", played)
    for current in ("algo-1", "algo-2"):
        variables = machine(current, hosts)
        (tmp_path / current / "checkpoints" / "run").symlink_to(trained)
        assert run_here(variables)[0] == 0
    cluster = {"worker": ["algo-1:23456", "algo-2:23456"]}
    configs = [{"cluster": cluster, "task": {"type": "worker", "index": index}} for index in (0, 1)]
    assert seen == [("train", configs[0]), ("evaluate", None), ("train", configs[1])]
    assert (tmp_path / "algo-1" / "model" / "best.keras").is_file()
    assert list((tmp_path / "algo-2" / "model").iterdir()) == []


# --- SageMaker's own toolkit -----------------------------------------------------------------------------------------


@pytest.fixture
def toolkit(tmp_path):
    """A function that has SageMaker's own toolkit train in a tree as SageMaker lays it out, for one host of a job."""
    if importlib.util.find_spec("sagemaker_training") is None:
        pytest.skip("not run: SageMaker's own toolkit is not installed; pip install sagemaker-training==5.1.4 (it needs a C compiler) brings it")

    def run(base: Path, hosts: list[str], data: Path, hyperparameters: dict[str, str], **more: str) -> subprocess.CompletedProcess:
        for name in ("input/config", "input/data", "model", "output/data", "checkpoints"):
            (base / name).mkdir(parents=True)
        (base / "input" / "data" / "data").symlink_to(data)
        configs = {
            "hyperparameters": hyperparameters,
            "resourceconfig": {"current_host": base.name, "hosts": hosts, "network_interface_name": "lo"},
            "inputdataconfig": {"data": {"TrainingInputMode": "File", "S3DistributionType": "FullyReplicated"}},
        }
        for name, value in configs.items():
            (base / "input" / "config" / f"{name}.json").write_text(json.dumps(value))
        own = {"SAGEMAKER_BASE_DIR": str(base), "PIP_NO_INDEX": "1", "PYTHONPATH": windowless_opencv(tmp_path), **more}
        command = [sys.executable, "-m", "sagemaker_training.cli.train"]
        return subprocess.run(command, cwd=tmp_path, env=os.environ | own, capture_output=True, text=True, timeout=200)

    return run


def windowless_opencv(folder: Path) -> str:
    """PYTHONPATH on which pip finds what `requirements.txt` asks for, though here OpenCV may be the twin with windows."""
    about = folder / "site" / "opencv_python_headless-5.0.0.93.dist-info"
    about.mkdir(parents=True, exist_ok=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: opencv-python-headless\nVersion: 5.0.0.93\n")
    (about / "RECORD").write_text("")
    return str(folder / "site")


def test_a_submitted_job_goes_through_the_toolkit_and_comes_back(toolkit, cloud, shell, prepared, tmp_path):
    """What SageMaker does between `submit` and `fetch` is done here: data down, the toolkit run, the model packed and up."""
    settings = [word for name, value in (SETTINGS | {"train.epochs": 1}).items() for word in ("--set", f"{name}={value}")]
    where = ["--bucket", "s3://videos-123456789012/dn3d", "--role", "arn:aws:iam::123456789012:role/trainer", "--region", "eu-west-1"]
    status, _, err = shell("sagemaker", "submit", "--data", prepared, *where, "--name", "whole", *settings)
    assert status == 0, err
    job = cloud.jobs.describe_training_job(TrainingJobName="dn3d-whole")
    folder = job["InputDataConfig"][0]["DataSource"]["S3DataSource"]["S3Uri"].removeprefix("s3://videos-123456789012/")
    data, base = tmp_path / "downloaded", tmp_path / "localhost"
    data.mkdir()
    for entry in cloud.s3.list_objects_v2(Bucket="videos-123456789012", Prefix=folder)["Contents"]:
        cloud.s3.download_file("videos-123456789012", entry["Key"], str(data / entry["Key"].removeprefix(folder)))
    done = toolkit(base, ["localhost"], data, job["HyperParameters"], S3_ENDPOINT_URL=cloud.endpoint)
    assert done.returncode == 0 and "Reporting training SUCCESS" in done.stdout + done.stderr, done.stdout + done.stderr
    assert (base / "code" / "dn3dlib" / "deploy" / "container.py").is_file()
    assert (base / "output" / "success").is_file() and not (base / "output" / "failure").exists()
    packed = tmp_path / "model.tar.gz"
    with tarfile.open(packed, "w:gz") as archive:
        archive.add(base / "model", ".")
    place = job["ModelArtifacts"]["S3ModelArtifacts"].removeprefix("s3://videos-123456789012/")
    cloud.s3.upload_file(str(packed), "videos-123456789012", place)
    run = tmp_path / "run"
    status, _, err = shell("sagemaker", "fetch", "dn3d-whole", "--region", "eu-west-1", "--out", run)
    assert status == 0, err
    assert len(Run.open(run).history()) == 1 and Run.open(run).model.depth == 7
    status, out, err = shell("evaluate", "--run", run, "--data", prepared, "--device", "cpu", "--json")
    assert status == 0 and json.loads(out)["split"] == "test", err


def test_the_toolkit_gives_two_hosts_their_places(toolkit, prepared, tmp_path):
    hosts, archive = ["127.0.0.1", "localhost"], tmp_path / "source.tar.gz"
    archive.write_bytes(source_archive())
    program = {"sagemaker_program": PROGRAM, "sagemaker_submit_directory": str(archive), "sagemaker_region": "eu-west-1"}
    for index, current in enumerate(hosts):
        base = tmp_path / current
        done = toolkit(base, hosts, prepared, program | {"train.epochs": "0"})  # refused, so that neither waits for the other
        assert done.returncode != 0
        config = json.loads(re.search(r"TF_CONFIG=({.*}) dn3d train", done.stdout + done.stderr)[1])
        assert config == {"cluster": {"worker": ["127.0.0.1:23456", "localhost:23456"]}, "task": {"type": "worker", "index": index}}
        assert (base / "output" / "failure").read_text().startswith("train.epochs is 0, but must be")
