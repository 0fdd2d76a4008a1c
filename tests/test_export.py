"""A network in other formats: the same answers as the network's, usable without the kit, measured truthfully."""

import importlib.util
import json
import resource
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest
import tensorflow as tf

from dn3dlib.config import NORMALISATIONS, ModelConfig, StorageConfig
from dn3dlib.data.clips import plan_evaluation
from dn3dlib.data.manifest import DataSet
from dn3dlib.data.prepare import prepare
from dn3dlib.data.records import FrameReader
from dn3dlib.deploy import export as export_module
from dn3dlib.deploy.export import REPORT, export
from dn3dlib.deploy.flat import flat_function
from dn3dlib.deploy.formats import FORMATS, PRECISIONS, Source, in_tensorflow
from dn3dlib.errors import ConfigError, DataError, Dn3dError, RunError
from dn3dlib.model.densenet3d import build_model
from dn3dlib.train.best import load_best
from dn3dlib.train.runs import Run

TRAINED = Path(__file__).resolve().parents[1] / "data" / "trained"
KINDS = ["savedmodel", "onnx", "litert"]
# Runs a program as `python -I` does, from elsewhere, where the kit cannot be imported though it is installed.
WITHOUT_KIT = "import runpy, sys; sys.modules['dn3dlib'] = None; sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"


@pytest.fixture(scope="module")
def report(trained, tmp_path_factory) -> dict:
    """What `export` returns for a run in every format and precision; `folder` says where they lie."""
    folder = tmp_path_factory.mktemp("exported") / "out"
    return export(trained, folder, KINDS, list(PRECISIONS), clips=8, show_progress=False) | {"folder": folder}


@pytest.fixture(scope="module")
def clips(prepared, trained) -> np.ndarray:
    """Eight clips of the test part, uint8."""
    data = DataSet.open(prepared)
    plan = plan_evaluation(data, Run.open(trained).clip, "test")[:8]
    return FrameReader(data).clips(plan.sequence, plan.frames)


@pytest.fixture(scope="module")
def answers(trained, clips) -> np.ndarray:
    """What the run's network says of `clips`."""
    run = Run.open(trained)
    return in_tensorflow(Source(load_best(run), run.clip.normalisation, {}))(clips)


def random_network(model: ModelConfig, clip_shape: tuple[int, ...], classes: int):
    """A network whose every weight, running mean and variance counts."""
    network, rng = build_model(model, clip_shape, classes), np.random.default_rng(0)
    network.set_weights([weights + 0.3 * rng.random(weights.shape, np.float32) for weights in network.get_weights()])
    return network


# --- the same answers ------------------------------------------------------------------------------------------------


def test_every_file_is_measured_and_those_of_float32_agree(report):
    rows = report["files"]
    names = ["best.keras", "savedmodel", "network.onnx", "network-float32.tflite", "network-float16.tflite", "network-int8.tflite"]
    assert [row["file"] for row in rows] == names
    for row in rows:
        assert row["largest_difference"] < 1e-5 or row["precision"] != "float32", row
        assert row["clips_per_second"] > 0 and 0 <= row["agreement"] <= 1
    assert all(row["agreement"] == 1 for row in rows if row["precision"] == "float32")
    float16, int8 = rows[-2:]
    assert 0 < float16["largest_difference"] < 0.02 < 1, "weights were rounded, and not much is lost"
    assert 0 < int8["largest_difference"], "and int8 rounds more"
    assert float16["bytes"] < rows[-3]["bytes"]
    assert "8 clips of the validation part" in report["checked_on"], "the test part stays unseen"


def test_the_report_lies_beside_the_files(report):
    folder = report["folder"]
    assert json.loads((folder / REPORT).read_text()) == {name: report[name] for name in ("about", "checked_on", "files")}
    written = {row[key] for row in report["files"][1:] for key in ("file", "program")}
    assert {path.name for path in folder.iterdir()} == written | {REPORT}
    for row in report["files"][2:]:
        assert row["bytes"] == (folder / row["file"]).stat().st_size


@pytest.mark.parametrize("key", FORMATS)
def test_a_program_uses_the_file_where_the_kit_cannot_be_imported(key, report, clips, answers, tmp_path):
    row = next(row for row in report["files"] if f"{row['format']}-{row['precision']}" == key or row["format"] == key)
    np.save(tmp_path / "clips.npy", clips)
    command = [sys.executable, "-I", "-c", WITHOUT_KIT, str(report["folder"] / row["program"]), "clips.npy"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    lines = [line.split(" ") for line in done.stdout.splitlines()]
    found = np.array([[float(number) for number in line[1:]] for line in lines])
    allowed = {"float32": 1e-5, "float16": 0.02, "int8": 0.5}[row["precision"]]
    assert found.shape == answers.shape and np.abs(found - answers).max() < allowed
    assert [line[0] for line in lines] == [report["about"]["classes"][place] for place in found.argmax(axis=1)]


def test_the_programs_are_short(report):
    """Three lines between what is given and what is printed."""
    for program in report["folder"].glob("use_*.py"):
        blocks = program.read_text().split('"""')[2].strip().split("\n\n")
        assert len(blocks[-2].splitlines()) == 3 and len(blocks[-1].splitlines()) == 2
        assert "dn3dlib" not in program.read_text()


@pytest.mark.parametrize("variant", ["general", "lite"])
@pytest.mark.parametrize("bottleneck", [True, False])
@pytest.mark.parametrize("shape", [(5, 13, 18, 3), (8, 16, 16, 1)])
def test_the_two_dimensional_network_is_the_same_function(variant, bottleneck, shape):
    """Odd sizes, too: what padding adds must not enter the means."""
    network = random_network(ModelConfig(variant=variant, bottleneck=bottleneck, growth_rate=3, depth=15, blocks=2, dropout=0.1), shape, 5)
    clip = np.random.default_rng(1).normal(size=shape).astype(np.float32)
    expected = network(clip[None], training=False).numpy()
    assert np.abs(flat_function(network)(tf.constant(clip)).numpy() - expected).max() < 1e-5 * np.abs(expected).max()


@pytest.mark.parametrize("normalisation", NORMALISATIONS)
def test_every_normalisation_is_inside(normalisation, tmp_path):
    shape = (3, 12, 12, 1)
    source = Source(random_network(ModelConfig(growth_rate=2, depth=7, blocks=2), shape, 3), normalisation, {"classes": ["a", "b", "c"]})
    clips = np.random.default_rng(2).integers(0, 256, (2, *shape), np.uint8)
    clips[1, 1] = 77  # a frame of one colour has no deviation
    expected = in_tensorflow(source)(clips)
    for key in ("savedmodel", "onnx", "litert-float32"):
        FORMATS[key].write(source, tmp_path / FORMATS[key].name)
        assert np.abs(FORMATS[key].open(tmp_path / FORMATS[key].name)(clips) - expected).max() < 1e-5, key


def test_shipped_networks_are_exported_on_noise_where_their_data_are_not_there(tmp_path, monkeypatch):
    monkeypatch.setenv("DN3D_DATA", str(tmp_path))
    for name in ("honest", "mended"):
        found = export(TRAINED / name, tmp_path / name, ["litert"], clips=2, show_progress=False)
        assert found["checked_on"] == "2 clips of noise, since the run's data set is not there"
        assert found["files"][1]["largest_difference"] < 1e-5


# --- what is known of the network lies in the file --------------------------------------------------------------------


def test_classes_and_clip_settings_are_in_the_file_itself(report, trained, prepared):
    run, about, folder = Run.open(trained), report["about"], report["folder"]
    assert json.loads(tf.saved_model.load(str(folder / "savedmodel")).about().numpy()) == about
    assert {p.key: json.loads(p.value) for p in onnx.load(folder / "network.onnx").metadata_props} == {"dn3d": about}
    for precision in PRECISIONS:
        assert json.loads(zipfile.ZipFile(folder / f"network-{precision}.tflite").read("dn3d.json")) == about
    assert tuple(about["classes"]) == run.classes
    assert (about["frames"], about["stride"], about["fps"]) == (run.clip.frames, run.clip.stride, 25)
    assert (about["height"], about["width"], about["channels"], about["colours"]) == (*run.storage.frame_shape, "grey")
    assert about["normalisation"] == run.clip.normalisation


def test_the_signature_of_the_savedmodel_names_what_goes_in_and_out(report):
    signature = tf.saved_model.load(str(report["folder"] / "savedmodel")).signatures["serving_default"]
    (clips,) = signature.structured_input_signature[1].values()
    assert (clips.name, clips.dtype, clips.shape.as_list()) == ("clips", tf.uint8, [None, 4, 32, 32, 1])
    assert list(signature.structured_outputs) == ["probabilities"]


# --- what cannot be exported -----------------------------------------------------------------------------------------


def refused(error: type, sentence: str, out: Path, run: Path, to=("savedmodel",), **options) -> None:
    with pytest.raises(error, match=sentence):
        export(run, out, list(to), show_progress=False, **options)
    assert not out.exists() and not list(out.parent.glob("*.partial*")), "nothing is left behind"


def test_names_that_are_none_get_the_nearest(trained, tmp_path):
    refused(ConfigError, "no format 'saved_model': did you mean savedmodel", tmp_path / "out", trained, ["saved_model"])
    refused(ConfigError, "no precision 'float61': did you mean float16", tmp_path / "out", trained, ["litert"], precisions=["float61"])
    refused(ConfigError, "is for --to litert; onnx is written in float32", tmp_path / "out", trained, ["onnx"], precisions=["int8"])
    refused(ConfigError, "--clips is 0", tmp_path / "out", trained, clips=0)


def test_int8_needs_clips(tmp_path, monkeypatch):
    monkeypatch.setenv("DN3D_DATA", str(tmp_path))
    refused(DataError, "name one with --data", tmp_path / "out", TRAINED / "honest", ["litert"], precisions=["int8"])


def test_data_of_another_size_are_refused(catalog, trained, tmp_path):
    other = prepare(catalog, tmp_path / "other", StorageConfig(height=16, width=16), 1, show_progress=False).path
    refused(RunError, "reads frames of 32×32×1", tmp_path / "out", trained, data_dir=other)


def test_a_run_without_weights_is_refused(trained, tmp_path):
    run = Path(shutil.copytree(trained, tmp_path / "run"))
    (run / "best.keras").unlink()
    refused(RunError, "has no best.keras yet", tmp_path / "out", run)


def test_a_folder_that_is_there_stays(trained, tmp_path):
    (tmp_path / "out").mkdir()
    with pytest.raises(ConfigError, match="already exists"):
        export(trained, tmp_path / "out", ["savedmodel"])
    assert not list((tmp_path / "out").iterdir())


def test_without_the_extra_a_sentence_names_it(trained, tmp_path, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "tf2onnx" else find(name, *rest))
    refused(Dn3dError, r'tf2onnx is not installed: pip install "dn3d\[export\]"', tmp_path / "out", trained, ["onnx"])


def test_a_float32_file_with_other_answers_is_not_kept(trained, tmp_path, monkeypatch):
    monkeypatch.setattr(export_module, "_LARGEST", -1.0)
    refused(Dn3dError, "so it was not kept", tmp_path / "out", trained)


@pytest.mark.parametrize("kind", KINDS)
def test_a_full_disk_leaves_a_sentence_and_nothing_else(kind, trained, tmp_path):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        refused(Dn3dError, "The disk is full", tmp_path / "out", trained, [kind], clips=1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


# --- the shell -------------------------------------------------------------------------------------------------------


def test_the_shell_prints_one_json_object_or_a_table(trained, tmp_path, shell):
    status, out, _ = shell("export", "--run", trained, "--to", "litert", "--precision", "float32,float16", "--out", tmp_path / "a", "--clips", 2, "--json")
    assert status == 0
    found = json.loads(out)
    assert found["out"] == str(tmp_path / "a") and len(found["files"]) == 3
    status, out, _ = shell("export", "--run", trained, "--to", "savedmodel", "--to", "litert", "--out", tmp_path / "b", "--clips", 2)
    assert status == 0
    heading, *rows = [line.split() for line in out.splitlines()[1:5]]
    assert heading[0] == "file" and [row[0] for row in rows] == ["best.keras", "savedmodel", "network-float32.tflite"]
    assert out.splitlines()[-1].endswith("use_savedmodel.py, use_litert_float32.py")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((), "Say either what to export to"),
        (("--to", "onnx", "--bundle", "x"), "Say either what to export to"),
        (("--to", "onnx"), "--out is missing"),
        (("--bundle", "x", "--data", "y"), "--bundle takes the run as it is"),
    ],
)
def test_the_shell_says_what_is_missing_or_too_much(arguments, sentence, trained, shell):
    status, _, err = shell("export", "--run", trained, *arguments)
    assert status == 2 and f"dn3d: error: {sentence}" in err
