"""What several test files share: where the real data and the reference values lie."""

import os
import subprocess
import sys
import urllib.request
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from page import Page

from dn3dlib.config import ClipConfig, ModelConfig, StorageConfig, TrainConfig
from dn3dlib.data.catalog import Catalog
from dn3dlib.data.kth import kth_catalog
from dn3dlib.data.synthetic import make_synthetic
from dn3dlib.data.video import write_video

ROOT = Path(__file__).resolve().parents[1]


def _shared(name: str) -> Path:
    root = Path(os.environ.get("DN3D_SHARED") or Path(__file__).resolve().parents[2] / "shared")
    if not (root / name).is_dir():
        pytest.skip(f"not run: this test needs the folder {name} in {root} (or where DN3D_SHARED points)")
    return root / name


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real videos, `shared/data`; without it the test is skipped."""
    return _shared("data")


@pytest.fixture(scope="session")
def shared_reference() -> Path:
    """The folder of reference values, `shared/reference`; without it the test is skipped."""
    return _shared("reference")


@pytest.fixture(scope="session")
def tiny() -> SimpleNamespace:
    """Configurations that train in a second, with dropout and every augmentation on."""
    return SimpleNamespace(
        storage=StorageConfig(height=32, width=32, channels=1, encoding="png"),
        clip=ClipConfig(frames=4, hop=4, extra_stride=1, crop=2, flip=True, brightness=0.1),
        model=ModelConfig(growth_rate=2, depth=7, blocks=2, dropout=0.1),
        train=TrainConfig(epochs=2, batch_size=8),
    )


@pytest.fixture(scope="session")
def source(tmp_path_factory) -> Path:
    """Synthetic videos of 4 subjects in one scenario: 24 videos of 24 frames, 48 sequences."""
    folder = tmp_path_factory.mktemp("synthetic") / "source"
    return make_synthetic(folder, subjects=4, scenarios=1, frames=24, workers=1)


@pytest.fixture(scope="session")
def catalog(source) -> Catalog:
    """The catalog of `source`: two subjects to train on, one to validate, one to test."""
    return kth_catalog(source, "synthetic").split_by("by-subject:0.5,0.25,0.25")


@pytest.fixture(scope="session")
def prepared(catalog, tiny, tmp_path_factory) -> Path:
    """`catalog` as a prepared data set. Tests that change one copy it first."""
    from dn3dlib.data.prepare import prepare

    return prepare(catalog, tmp_path_factory.mktemp("prepared") / "data", tiny.storage, 1, show_progress=False).path


@pytest.fixture(scope="session")
def trained(prepared, tiny, tmp_path_factory) -> Path:
    """A finished run of two epochs on `prepared`. Tests that change one copy it first."""
    from dn3dlib.train.loop import train

    run_dir = tmp_path_factory.mktemp("trained") / "run"
    train(prepared, run_dir, tiny.clip, tiny.model, tiny.train, device="cpu", show_progress=False)
    return run_dir


@pytest.fixture(scope="session")
def small_set(tmp_path_factory) -> Path:
    """24 drawn videos of 4 subjects, prepared for the preset quick; two of the subjects are the test part: 48 clips."""
    from dn3dlib.data.prepare import prepare
    from dn3dlib.presets import find_preset

    folder = tmp_path_factory.mktemp("small set")
    videos = make_synthetic(folder / "source", subjects=4, scenarios=1, frames=40, workers=1)
    catalog = kth_catalog(videos, "synthetic").split_by("by-subject:0.25,0.25,0.5")
    return prepare(catalog, folder / "data", find_preset("quick").storage, 1, show_progress=False).path


@pytest.fixture(scope="session")
def numbered_video():
    """A function that writes a lossless 32×32 video; every pixel of its frame n is first + n."""

    def write(path: Path, frames: int, first: int = 0) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        numbers = np.arange(first, first + frames, dtype=np.uint8)[:, None, None]
        write_video(path, np.broadcast_to(numbers, (frames, 32, 32)).copy(), fps=25, codec="FFV1")
        return path

    return write


@pytest.fixture
def papermill(tmp_path):
    """A function that runs a notebook from the project's root; what the kit makes lands in the test's own folder."""
    homes = {"DN3D_DATA": str(tmp_path / "data"), "DN3D_RUNS": str(tmp_path / "runs")}

    def run(name: str, **parameters: object) -> subprocess.CompletedProcess:
        command = [sys.executable, "-m", "papermill", "--no-progress-bar", f"notebooks/{name}.ipynb", str(tmp_path / f"{name}.ipynb")]
        for parameter, value in parameters.items():
            command += ["-p", parameter, str(value)]
        return subprocess.run(command, cwd=ROOT, env=os.environ | homes, capture_output=True, text=True, timeout=500)

    return run


@pytest.fixture(scope="module")
def cell():
    """A kernel that is asked as a page asks it: a function of code and a cell's id, see `page.Page`."""
    page = Page()
    yield page
    page.close()


@pytest.fixture
def shell(capfd):
    """A function that runs `dn3d` here and gives its exit status, standard output and standard error."""
    from dn3dlib.cli import main

    def run(*arguments: object) -> tuple[int, str, str]:
        capfd.readouterr()
        status = main([str(argument) for argument in arguments])
        return status, *capfd.readouterr()

    return run


@pytest.fixture(scope="session")
def state_of():
    """A function that gives all that a run has learned: each value of its newest checkpoint, and its best weights."""
    import keras
    import tensorflow as tf

    def read(run_dir: Path) -> dict[str, np.ndarray]:
        newest = max((run_dir / "checkpoints").glob("*.index"), key=lambda path: int(path.stem.removeprefix("ckpt-")))
        reader = tf.train.load_checkpoint(str(newest.with_suffix("")))
        names = [n for n in reader.get_variable_to_shape_map() if not n.startswith(("_CHECKPOINTABLE_OBJECT_GRAPH", "settings"))]
        best = keras.models.load_model(run_dir / "best.keras", compile=False).get_weights()
        return {n: reader.get_tensor(n) for n in names} | {f"best {i}": weights for i, weights in enumerate(best)}

    return read


@pytest.fixture(scope="session")
def differing(state_of):
    """A function that names the values in which two runs differ, be it by one bit."""

    def compare(one: Path, other: Path) -> list[str]:
        left, right = state_of(one), state_of(other)
        assert left.keys() == right.keys() and len(left) > 20
        return [name for name in left if not np.array_equal(left[name], right[name])]

    return compare


@pytest.fixture(scope="session")
def moto_server() -> str:
    """The address on this machine where moto plays S3 and SageMaker."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    yield "http://{}:{}".format(*server.get_host_and_port())
    server.stop()


@pytest.fixture
def nothing_of_aws(monkeypatch, tmp_path):
    """No credentials, region or settings of whoever runs the tests, and nobody who answers."""
    for name in ("AWS_PROFILE", "AWS_DEFAULT_REGION", "AWS_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")


@pytest.fixture
def cloud(nothing_of_aws, moto_server, monkeypatch) -> SimpleNamespace:
    """An account in eu-west-1 with an empty bucket and no job, played by moto; clients of S3 and SageMaker."""
    import boto3

    monkeypatch.setenv("AWS_ENDPOINT_URL", moto_server)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    urllib.request.urlopen(urllib.request.Request(f"{moto_server}/moto-api/reset", method="POST")).close()
    s3, jobs = (boto3.client(name, region_name="eu-west-1") for name in ("s3", "sagemaker"))
    s3.create_bucket(Bucket="videos-123456789012", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    return SimpleNamespace(s3=s3, jobs=jobs, endpoint=moto_server)
