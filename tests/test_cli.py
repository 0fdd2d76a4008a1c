"""The shell command: one JSON object where it is asked for, one sentence and status 2 where the input is wrong."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from dn3dlib import __version__, cli
from dn3dlib.cli import runs
from dn3dlib.config import CONFIG_CLASSES
from dn3dlib.data.manifest import DataSet
from dn3dlib.presets import PRESETS
from dn3dlib.train.runs import Run

SMALL = """
    --device cpu --epochs 1 --batch-size 8 --frames 4 --seed 3 --set clip.hop=4 --set model.growth_rate=2
    --set clip.clips_per_sequence=1 --set model.depth=7 --set model.blocks=2
""".split()


@pytest.fixture
def answer(shell):
    """A function that runs a command with --json and gives the one object that it printed."""

    def run(*arguments: object) -> dict:
        status, out, err = shell(*arguments, "--json")
        assert status == 0, err
        value = json.loads(out)
        assert isinstance(value, dict)
        return value

    return run


@pytest.fixture
def refused(shell):
    """A function that runs a command whose input is wrong and gives the sentence."""

    def run(*arguments: object) -> str:
        status, out, err = shell(*arguments)
        last = err.splitlines()[-1]
        assert status == 2 and not out and "Traceback" not in err
        assert last.startswith("dn3d: error: ")
        return last.removeprefix("dn3d: error: ")

    return run


# --- what works ------------------------------------------------------------------------------------------------------


def test_from_videos_to_figures(answer, shell, source, tmp_path):
    data, run = tmp_path / "data", tmp_path / "run"
    options = ["--dataset", "kth", "--source", source, "--out", data, "--height", 32, "--width", 40, "--channels", 1]
    options += ["--protocol", "by-subject:0.5,0.25,0.25", "--set", "storage.encoding=png", "--workers", 1]
    prepared = answer("prepare", *options)
    assert {name: prepared[name]["sequences"] for name in ("train", "validation", "test")} == {"train": 24, "validation": 12, "test": 12}
    assert prepared["train"] == {"sequences": 24, "frames": 288, "subjects": 2} and prepared["rejected"] == []
    assert DataSet.open(data).storage.frame_shape == (32, 40, 1)
    assert answer("prepare", *options) == prepared, "a second time nothing is done"

    found = answer("verify", data)
    assert (found["sequences"], found["frames"]) == (48, 576)

    trained = answer("train", "--data", data, "--out", run, *SMALL)
    assert (trained["run"], trained["epochs"], trained["of_epochs"]) == (str(run), 1, 1)
    assert 0 <= trained["last"]["validation_sequence_accuracy"] <= 1
    opened = Run.open(run)
    assert (opened.train.epochs, opened.train.batch_size, opened.train.seed, opened.clip.frames) == (1, 8, 3, 4)
    assert (opened.model.depth, opened.clip_shape) == (7, (4, 32, 40, 1))
    assert answer("train", "--resume", "--out", run, "--device", "cpu")["last"] == trained["last"]

    report = answer("evaluate", "--run", run, "--device", "cpu")
    promised = "clip_accuracy sequence_accuracy sequence_accuracy_interval classes confusion split clips sequences subjects"
    assert set(promised.split()) <= set(report) and report["split"] == "test"
    assert answer("evaluate", "--run", run, "--data", data, "--split", "train", "--device", "cpu")["sequences"] == 24

    split = answer("split", data, "--protocol", "random-leaky")
    assert sum(split[name]["sequences"] for name in ("train", "validation", "test")) == 48 and DataSet.open(data).leaks
    status, out, _ = shell("split", data, "--protocol", "random-leaky")
    assert status == 0 and "leaks on purpose" in out
    status, out, _ = shell("evaluate", "--run", run, "--device", "cpu")
    assert status == 0 and "sequence accuracy" in out and "Warning: The protocol leaks on purpose" in out


def test_a_readable_report(shell, answer, trained, tmp_path):
    run = shutil.copytree(trained, tmp_path / "run", ignore=shutil.ignore_patterns("evaluation.json", "uses.json"))
    report = answer("evaluate", "--run", run, "--device", "cpu", "--control", "shuffled,reversed", "--control", "frozen", "--hop", 2)
    assert list(report["controls"]) == ["shuffled", "reversed", "frozen"] and report["hop"] == 2 and report["test_uses"] == 1
    status, out, _ = shell("evaluate", "--run", run, "--device", "cpu", "--views", 1, "--control", "frozen")
    lines = [line.strip() for line in out.splitlines()]
    assert status == 0 and lines[0] == "test: 12 sequences of 1 subjects in 6 videos, 12 clips (1 clip of each sequence)"
    assert any(line.startswith("sequence accuracy") and "no interval: fewer than two subjects" in line for line in lines)
    assert [line.split()[0] for line in lines if line.startswith(("forward", "frozen"))] == ["forward", "frozen"]
    wrong = lines.index(next(line for line in lines if line.startswith("wrong sequences: ")))
    shown = [line for line in lines[wrong + 1 :] if " instead of " in line]
    assert 0 < len(shown) <= 5 and lines[wrong].endswith(", the most certain first:")
    assert lines[-1] == "Warning: The test part has been looked at 2 times with this run: a figure chosen among them is too high."


def test_scan(answer, shell, numbered_video, tmp_path):
    numbered_video(tmp_path / "a" / "good.avi", 12)
    (tmp_path / "text.avi").write_text("no film")
    found = answer("scan", tmp_path, "--workers", 1)
    assert found["bad"] == 1 and [row["video"] for row in found["videos"]] == ["a/good.avi", "text.avi"]
    good, bad = found["videos"]
    assert (good["width"], good["height"], good["frames"], good["fps"]) == (32, 32, 12, 25.0)
    assert good["usable"] and good["reason"] == "shorter than a clip (12 of 16 frames)"
    assert bad["reason"] == "no video stream" and bad["frames"] is None
    status, out, _ = shell("scan", tmp_path, "--workers", 1)
    assert status == 0 and "2 videos, 1 that cannot be used; 0 other files passed over" in out.splitlines()


def test_scan_of_real_videos_whose_headers_lie(answer, shared_data):
    found = answer("scan", shared_data / "odd")
    assert len(found["videos"]) > 0
    assert any(row["frames"] != row["frames_in_header"] for row in found["videos"] if row["usable"])


def test_info_of_a_preset(answer):
    found = answer("info", "quick")
    assert (found["preset"], found["parameters"]) == ("quick", PRESETS["quick"].parameters)
    assert (found["true_depth"], found["layers_per_block"]) == (16, 2), "20 with bottleneck builds 2 layers a block"
    assert found["clip"]["frames"] == PRESETS["quick"].clip.frames and found["model"]["depth"] == 20
    assert 0 < found["training_memory_mb"]["per_clip_recomputed"] < found["training_memory_mb"]["per_clip"] < 100


def test_info_of_a_data_set_a_run_and_a_video(answer, shell, prepared, trained, source, tmp_path):
    data = answer("info", prepared)
    assert data["dataset"] == "synthetic" and data["storage"]["height"] == 32 and data["train"]["subjects"] == 2
    assert data["fingerprint"] == DataSet.open(prepared).fingerprint
    run = answer("info", trained)
    assert run["epochs_done"] == 2 and run["model"]["growth_rate"] == 2 and run["last"]["epoch"] == 2
    video = answer("info", source / "boxing" / "person01_boxing_d1_uncomp.avi")
    assert (video["width"], video["height"], video["frames"], video["fps"]) == (160, 120, 24, 25.0)
    status, out, _ = shell("info", trained)
    assert status == 0 and "growth_rate: 2" in out


def test_presets(answer, shell):
    assert [row["name"] for row in answer("presets")["presets"]] == list(PRESETS)
    status, out, _ = shell("presets")
    assert status == 0 and len(out.splitlines()) == len(PRESETS) and "KTH 90.56 %" in out


def test_only_some_classes(answer, source, tmp_path):
    answer("prepare", "--dataset", "kth", "--source", source, "--out", tmp_path / "data", "--classes", "walking, running",
           "--protocol", "by-subject", "--height", 32, "--width", 32, "--workers", 1)  # fmt: skip
    assert DataSet.open(tmp_path / "data").classes == ("running", "walking")


def test_a_folder_with_a_subject_pattern(answer, numbered_video, tmp_path):
    for label in ("a", "b"):
        for person in range(3):
            for trial in range(2):
                numbered_video(tmp_path / "videos" / label / f"P{person}T{trial}.avi", 10, first=10 * (person + 3 * trial))
    found = answer("prepare", "--dataset", "folder", "--source", tmp_path / "videos", "--out", tmp_path / "data",
                   "--subject-pattern", r"P(\d)T", "--protocol", "by-subject:1,0,0", "--workers", 1)  # fmt: skip
    assert found["train"] == {"sequences": 12, "frames": 120, "subjects": 3}


def test_version_and_help(shell):
    assert shell("--version") == (0, f"dn3d {__version__}\n", "")
    status, out, _ = shell("--help")
    assert status == 0 and all(name in out for name in "prepare split train evaluate scan verify info presets".split())
    assert shell()[0] == 0


# --- what is wrong ---------------------------------------------------------------------------------------------------


def test_a_mistyped_option_or_command_suggests_the_right_one(refused, tmp_path):
    assert "--epochs" in refused("train", "--epoch", 5, "--out", tmp_path / "run")
    assert "--protocol" in refused("split", tmp_path, "--protocl", "gu2017")
    assert "train" in refused("trian")
    assert "--data" in refused("train")
    assert "--epochs" in refused("train", "--out", tmp_path / "run", "--epochs", "five")


def test_an_unknown_preset(refused, source, prepared, tmp_path):
    for command in (
        ("prepare", "--dataset", "kth", "--source", source, "--out", tmp_path / "data", "--preset", "thesis6"),
        ("train", "--data", prepared, "--out", tmp_path / "run", "--preset", "thesis6"),
    ):
        assert refused(*command) == "There is no preset 'thesis6': did you mean thesis-6?"
    assert "did you mean quick?" in refused("info", "quik")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("model.dept=40", "There is no parameter model.dept: did you mean depth?"),
        ("depth=40", "does not read like model.depth=40"),
        ("storage.height=40", "no settings 'storage' here"),
        ("model.depth=forty", "model.depth is 'forty', but must be of type int"),
        ("model.depth=3", "set model.depth to "),
        ("clip.frames=0", "clip.frames is 0"),
        ("train.learning_rate=fast", "train.learning_rate is 'fast', but must be of type float"),
    ],
)
def test_a_wrong_setting(refused, prepared, tmp_path, setting, said):
    assert said in refused("train", "--data", prepared, "--out", tmp_path / "run", "--set", setting)
    assert not (tmp_path / "run").exists()


def test_every_parameter_can_be_set(shell, prepared, tmp_path):
    for prefix in ("clip", "model", "train"):
        for name, field in CONFIG_CLASSES[prefix].__dataclass_fields__.items():
            value = getattr(PRESETS["quick"].configs[prefix], name)
            setting = f"{prefix}.{name}={json.dumps(value)}"
            status, _, err = shell("train", "--data", prepared, "--out", tmp_path / "run", "--set", setting, "--set", "train.epochs=0")
            assert status == 2 and "train.epochs is 0" in err, (field, err)


def test_sources_that_are_none(refused, shell, numbered_video, tmp_path):
    (tmp_path / "empty").mkdir()
    out = tmp_path / "data"
    for dataset in ("kth", "folder"):
        assert f"There is no {'KTH ' if dataset == 'kth' else ''}video in" in refused("prepare", "--dataset", dataset, "--source", tmp_path / "empty", "--out", out)
        assert "does not exist" in refused("prepare", "--dataset", dataset, "--source", tmp_path / "none", "--out", out)
    assert "source folder is missing" in refused("prepare", "--dataset", "kth", "--out", out)
    assert "There is no data set 'ucf'" in refused("prepare", "--dataset", "ucf", "--source", tmp_path / "empty", "--out", out)
    numbered_video(tmp_path / "videos" / "a" / "1.avi", 10)
    (tmp_path / "videos" / "b").mkdir()
    command = ("prepare", "--dataset", "folder", "--source", tmp_path / "videos", "--out", out, "--workers", 1)
    assert "class folder" in refused(*command) and "holds no video" in refused(*command)
    (tmp_path / "videos" / "b" / "text.avi").write_text("Dear diary, this is not a film.")
    assert "Class b in " in (sentence := refused(*command)) and "text.avi has no video stream" in sentence
    assert not out.exists()
    numbered_video(tmp_path / "videos" / "b" / "2.avi", 10, first=50)
    status, said, _ = shell(*command)
    assert status == 0 and "rejected b/text.avi: " in said and "no video stream" in said


def test_data_sets_protocols_splits_and_devices_that_are_none(refused, prepared, trained, tmp_path):
    assert "There is no prepared data set at" in refused("train", "--data", tmp_path / "none", "--out", tmp_path / "run")
    assert "--data is missing" in refused("train", "--out", tmp_path / "run")
    assert "did you mean gu2017?" in refused("split", prepared, "--protocol", "gu2071")
    assert "no split 'tst'" in refused("evaluate", "--run", trained, "--split", "tst", "--device", "cpu")
    assert "--views and --hop both" in refused("evaluate", "--run", trained, "--views", 2, "--hop", 2)
    assert "There is no control 'still'" in refused("evaluate", "--run", trained, "--control", "still")
    assert "--device is 'gpu0'" in refused("evaluate", "--run", trained, "--device", "gpu0")
    assert "--device gpu:99 is not there" in refused("train", "--data", prepared, "--out", tmp_path / "run", "--device", "gpu:99")
    assert "There is no prepared data set at" in refused("verify", tmp_path / "none")
    assert f"There is neither a file nor a folder {tmp_path / 'none'} nor a preset" in refused("info", tmp_path / "none")
    assert "neither a prepared data set nor a run" in refused("info", tmp_path)
    assert "does not exist" in refused("scan", tmp_path / "none")
    assert not (tmp_path / "run").exists()


def test_runs_that_are_none_or_are_there_already(refused, prepared, trained, tmp_path):
    assert "There is no run at" in refused("evaluate", "--run", tmp_path / "none")
    assert "There is no run at" in refused("train", "--resume", "--out", tmp_path / "none")
    assert "already exists and is not empty: go on with --resume" in refused("train", "--data", prepared, "--out", trained, "--device", "cpu")
    said = refused("train", "--resume", "--out", trained, "--epochs", 7)
    assert "train.epochs is 2 there, not 7" in said and f"--init-from {trained}" in said
    assert "leave out --preset" in refused("train", "--resume", "--out", trained, "--preset", "quick")


def test_data_of_another_size_prints_the_prepare_command_that_fits(refused, answer, prepared, source, tmp_path):
    sentence = refused("train", "--data", prepared, "--out", tmp_path / "run", "--preset", "thesis-6")
    assert "(128, 64, 3)" in sentence and "(32, 32, 1)" in sentence
    command = sentence.split("dn3d ")[-1].split()
    assert command[:3] == ["prepare", "--dataset", "synthetic"] and "--preset thesis-6" in sentence
    command[command.index("--dataset") + 1] = "kth"  # the videos are there already
    command[command.index("--source") + 1], command[command.index("--out") + 1] = source, tmp_path / "data"
    answer(*command, "--classes", "boxing,walking")
    assert DataSet.open(tmp_path / "data").storage == PRESETS["thesis-6"].storage


def test_a_flipped_byte_a_foreign_manifest_and_another_runs_data(refused, prepared, trained, tmp_path):
    copy = Path(shutil.copytree(prepared, tmp_path / "data"))
    DataSet.open(copy).split_by("by-subject:0.25,0.25,0.5", 1)
    assert "was trained on another data set" in refused("train", "--resume", "--out", trained, "--data", copy, "--device", "cpu")
    shard = next(copy.glob("*.tfrecord"))
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    assert str(shard) in (sentence := refused("verify", copy)) and "Record 1 of 1 of sequence person" in sentence
    manifest = json.loads((copy / "manifest.json").read_text()) | {"format": 77}
    (copy / "manifest.json").write_text(json.dumps(manifest))
    for command in (("verify", copy), ("info", copy), ("train", "--data", copy, "--out", tmp_path / "run")):
        assert "has format 77" in refused(*command)


def test_a_fault_of_ours_is_not_hidden(monkeypatch):
    monkeypatch.setattr(runs, "_info", lambda target: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        cli.main(["info", "quick"])


# --- as a process ----------------------------------------------------------------------------------------------------


def python(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, timeout=100)


def test_python_m_dn3dlib_is_dn3d(tmp_path):
    done = python("-m", "dn3dlib", "--version")
    assert (done.returncode, done.stdout) == (0, f"dn3d {__version__}\n")
    done = python("-m", "dn3dlib", "info", str(tmp_path / "none"))
    assert done.returncode == 2 and done.stderr.splitlines()[-1].startswith("dn3d: error:") and not done.stdout


@pytest.mark.parametrize("arguments", [["--help"], ["train", "--help"], ["presets", "--json"], ["nonsense"]])
def test_quick_commands_do_not_wait_for_tensorflow(arguments):
    done = python("-c", "import sys; from dn3dlib.cli import main; main(sys.argv[1:]); print(*sys.modules, file=sys.stderr)", *arguments)
    loaded = done.stderr.splitlines()[-1].split()
    assert "dn3dlib.cli" in loaded and not {"tensorflow", "keras", "matplotlib", "ipywidgets"} & set(loaded)


def test_a_fault_of_ours_ends_with_1(tmp_path):
    done = python("-c", "import sys; from dn3dlib import cli; cli.runs._info = None; sys.exit(cli.main(['info', 'quick']))")
    assert done.returncode == 1 and "Traceback" in done.stderr


def test_a_reader_that_leaves_early_is_no_fault():
    command = f"{sys.executable} -m dn3dlib presets | head -1"
    done = subprocess.run(["bash", "-c", f"set -o pipefail; {command}"], capture_output=True, text=True, timeout=100)
    assert done.returncode == 0
    assert done.stdout.startswith("quick") and "Traceback" not in done.stderr and "BrokenPipe" not in done.stderr


def test_resume_takes_auto_for_the_precision_that_the_run_has(answer, refused, prepared, tmp_path):
    run = tmp_path / "run"
    first = answer("train", "--data", prepared, "--out", run, *SMALL, "--precision", "auto")
    assert Run.open(run).train.precision in ("float32", "bfloat16"), "what was chosen is written down"
    assert answer("train", "--resume", "--out", run, "--device", "cpu", "--precision", "auto")["last"] == first["last"]
    assert "float16" in refused("train", "--resume", "--out", run, "--device", "cpu", "--precision", "float16")
