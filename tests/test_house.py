"""The house: dependencies, environments, the collection of tests, and what the README says of them."""

import dataclasses
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
LIBGL_MISSING = "ImportError: libGL.so.1: cannot open shared object file: No such file or directory"


def text_of(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def by_name(requirements) -> dict[str, Requirement]:
    return {canonicalize_name(r.name): r for r in map(Requirement, requirements)}


def direct_requirements(*extras: str) -> list[str]:
    project = PROJECT["project"]
    return project["dependencies"] + [r for extra in extras for r in project["optional-dependencies"][extra]]


def pinned() -> dict[str, str]:
    lines = [line for line in text_of("constraints.txt").splitlines() if line and not line.startswith("#")]
    pins = [line.split("==") for line in lines]
    return {canonicalize_name(name): version for name, version in pins}


@pytest.fixture
def set_up(monkeypatch):
    """The set-up script as a module; whatever it would run or install has to be replaced by the test."""
    spec = importlib.util.spec_from_file_location("set_up", ROOT / "tools" / "set_up.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "pip", lambda python, *arguments: pytest.fail(f"pip was called: {arguments}"))
    return module


# Dependencies


@pytest.mark.parametrize("requirement", direct_requirements("dev", "gpu"))
def test_a_dependency_says_why_it_is_there(requirement):
    line = next(line for line in text_of("pyproject.toml").splitlines() if f'"{requirement}"' in line)
    assert len(line.partition("# ")[2].split()) >= 3, f"no reason in a comment: {line}"


def test_constraints_pin_what_pyproject_asks_for():
    pins = pinned()
    for name, requirement in by_name(direct_requirements("dev", "gpu")).items():
        assert name in pins, f"{name} is not in constraints.txt"
        assert pins[name] in requirement.specifier, f"constraints.txt has {name} {pins[name]}, but {requirement} is wanted"
    assert pins["opencv-python-headless"] == pins["opencv-python"]


def test_constraints_cover_all_that_is_needed():
    """Follow the dependencies of what is installed: each is pinned."""
    from importlib.metadata import PackageNotFoundError, requires

    pins, waiting, seen = pinned(), list(by_name(direct_requirements("dev"))), set()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        assert name in pins, f"{name} is not in constraints.txt"
        try:
            needed = [Requirement(r) for r in requires(name) or []]
        except PackageNotFoundError:  # on a machine where opencv-python-headless stands in its place
            assert name == "opencv-python"
            continue
        waiting += [canonicalize_name(r.name) for r in needed if not r.marker or r.marker.evaluate({"extra": ""})]
    assert len(seen) > 50


def test_conda_makes_the_same_kit():
    dependencies = yaml.safe_load(text_of("environment.yml"))["dependencies"]
    from_conda = [d for d in dependencies if isinstance(d, str)]
    from_pip = next(d["pip"] for d in dependencies if isinstance(d, dict))
    assert by_name(from_conda)["python"].specifier == Requirement("python" + PROJECT["project"]["requires-python"]).specifier
    assert "-c constraints.txt" in from_pip
    assert "-e ." in from_pip
    listed = by_name(r for r in from_pip if not r.startswith("-"))
    wanted = by_name(direct_requirements("dev"))
    assert {n: r.specifier for n, r in listed.items()} == {n: r.specifier for n, r in wanted.items()}


def test_the_python_versions_agree(set_up):
    wanted = Requirement("python" + PROJECT["project"]["requires-python"]).specifier
    workflow = yaml.safe_load(text_of(".github/workflows/ci.yml"))
    versions = workflow["jobs"]["test"]["strategy"]["matrix"]["python"]
    assert versions == ["3.11", "3.12", "3.13"]
    for minor in range(9, 17):
        version = f"3.{minor}"
        assert (version in wanted) == (version in versions) == set_up.is_supported(version + ".4")


def test_the_version_stands_in_one_place():
    import dn3dlib

    assert PROJECT["project"]["dynamic"] == ["version"]
    assert re.fullmatch(r"\d+\.\d+\.\d+", dn3dlib.__version__)


# Set-up


class Machine:
    """Plays the commands of the set-up script on a machine that may lack libGL; remembers what pip was asked for."""

    def __init__(self, monkeypatch, module, installed="opencv-python", broken=("opencv-python",), error=LIBGL_MISSING):
        self.installed, self.broken, self.error, self.calls = installed, broken, error, []
        monkeypatch.setattr(module, "capture", self.capture)
        monkeypatch.setattr(module, "pip", self.pip)

    def capture(self, command):
        if command[1:] == ["-c", "import cv2"]:
            return (1, "", f"Traceback …\n{self.error}\n") if self.installed in self.broken else (0, "", "")
        assert "list" in command
        return 0, f"numpy==2.4.6\n{self.installed}==5.0.0.93\n", ""

    def pip(self, python, *arguments):
        self.calls.append(arguments)
        if arguments[0] == "install":
            self.installed = arguments[-1].partition("==")[0]


def test_opencv_stays_where_it_works(monkeypatch, set_up, capsys):
    machine = Machine(monkeypatch, set_up, broken=())
    set_up.mend_opencv("python")
    assert machine.calls == []
    assert capsys.readouterr().out == ""


def test_opencv_without_windows_comes_where_libgl_is_missing(monkeypatch, set_up, capsys):
    machine = Machine(monkeypatch, set_up)
    set_up.mend_opencv("python")
    assert [call[0] for call in machine.calls] == ["uninstall", "install"]
    assert "opencv-python" in machine.calls[0]
    assert machine.calls[1][-1] == "opencv-python-headless==5.0.0.93"
    said = capsys.readouterr().out
    assert "libGL.so.1" in said
    assert "opencv-python-headless==5.0.0.93" in said


def test_opencv_says_when_the_swap_does_not_help(monkeypatch, set_up):
    Machine(monkeypatch, set_up, broken=("opencv-python", "opencv-python-headless"))
    with pytest.raises(set_up.SetUpError, match=r"Even opencv-python-headless needs libGL\.so\.1"):
        set_up.mend_opencv("python")


def test_opencv_is_not_swapped_for_another_fault(monkeypatch, set_up):
    machine = Machine(monkeypatch, set_up, error="ImportError: numpy.core.multiarray failed to import")
    with pytest.raises(set_up.SetUpError, match="numpy.core.multiarray"):
        set_up.mend_opencv("python")
    assert machine.calls == []


def test_a_missing_library_is_recognised_in_a_real_python(monkeypatch, set_up, tmp_path):
    sentence = LIBGL_MISSING.partition(": ")[2]
    (tmp_path / "cv2.py").write_text(f"raise ImportError({sentence!r})\n", encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert set_up.missing_library(sys.executable) == "libGL.so.1"
    (tmp_path / "cv2.py").write_text("", encoding="utf-8")
    assert set_up.missing_library(sys.executable) == ""


def fake_python(folder: Path, name: str, version: str, complete: bool = True) -> str:
    """A program that answers the set-up script's question as a Python of that version would."""
    program = folder / name
    lines = [version, str(program)] + ["complete"] * complete
    program.write_text("#!/bin/sh\n" + "".join(f"echo '{line}'\n" for line in lines), encoding="utf-8")
    program.chmod(0o755)
    return str(program)


def test_the_first_python_that_fits_is_taken(set_up, tmp_path):
    old, good = fake_python(tmp_path, "python3", "3.9.2"), fake_python(tmp_path, "python3.12", "3.12.1")
    assert set_up.find_python([old, str(tmp_path / "absent"), good]) == (good, "3.12.1")


@pytest.mark.parametrize(
    ("version", "complete", "sentence"),
    [
        ("3.10.4", True, r"Python 3\.11, 3\.12 or 3\.13 is needed; found: only 3\.10\.4"),
        ("3.14.0", True, r"Python 3\.11, 3\.12 or 3\.13 is needed; found: only 3\.14\.0"),
        ("3.12.3", False, r"python3\.12-venv"),
    ],
)
def test_a_python_that_does_not_fit_gets_a_sentence(set_up, tmp_path, version, complete, sentence):
    with pytest.raises(set_up.SetUpError, match=sentence):
        set_up.find_python([fake_python(tmp_path, "python3", version, complete)])


def test_set_up_is_done_once_and_again_when_something_changes(monkeypatch, set_up, tmp_path):
    for name in set_up.INPUTS:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("one", encoding="utf-8")
    installs, makings = [], []
    monkeypatch.setattr(set_up, "ROOT", str(tmp_path))
    monkeypatch.setattr(set_up, "pip", lambda python, *arguments: installs.append(arguments))
    monkeypatch.setattr(set_up, "mend_opencv", lambda python: None)
    monkeypatch.setattr(set_up, "venv_version", lambda: "3.12.1" if makings else None)
    monkeypatch.setattr(set_up, "find_python", lambda candidates: ("python3.12", "3.12.1"))

    def make_venv(command):
        makings.append(command)
        (tmp_path / ".venv").mkdir(exist_ok=True)
        return 0

    monkeypatch.setattr(set_up.subprocess, "call", make_venv)
    set_up.set_up()
    assert len(makings) == 1
    assert len(installs) == 2
    set_up.set_up()
    assert len(installs) == 2, "nothing has changed"
    (tmp_path / "pyproject.toml").write_text("two", encoding="utf-8")
    set_up.set_up()
    assert len(makings) == 1
    assert len(installs) == 4, "the dependencies have changed"
    monkeypatch.setattr(set_up, "mend_opencv", lambda python: pytest.fail("interrupted"))
    (tmp_path / "pyproject.toml").write_text("three", encoding="utf-8")
    with pytest.raises(pytest.fail.Exception, match="interrupted"):
        set_up.set_up()
    monkeypatch.setattr(set_up, "mend_opencv", lambda python: None)
    set_up.set_up()
    assert len(installs) == 8, "what was interrupted is done again"
    (tmp_path / ".venv" / "dn3d-set-up").write_text("/another/folder\n", encoding="utf-8")
    set_up.set_up()
    assert len(makings) == 2, ".venv has been moved"


# Tests that are collected


def collect(folder: Path, *arguments: str) -> set[str]:
    """The files in which pytest finds tests, when it is called in `folder`."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return {line.partition("::")[0] for line in done.stdout.splitlines() if "::" in line}


def test_pytest_collects_notebooks_and_tests_only(tmp_path):
    cell = {"cell_type": "code", "execution_count": None, "metadata": {}, "outputs": [], "source": "1"}
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    notebook = json.dumps({"cells": [cell], "metadata": kernel, "nbformat": 4, "nbformat_minor": 4})
    wanted = {"notebooks/01_first.ipynb", "notebooks/solutions/01_first.ipynb", "tests/test_a.py", "tests/deep/test_b.py"}
    strays = {
        "out.ipynb",
        "out/02_train.ipynb",
        "runs/kth/executed.ipynb",
        "runs/kth/test_a.py",
        "data/mine/notes.ipynb",
        "my_run/02_train.ipynb",
        "checkpoints/x.ipynb",
        ".venv/lib/test_c.py",
        ".ipynb_checkpoints/01_first-checkpoint.ipynb",
        "notebooks/.ipynb_checkpoints/01_first-checkpoint.ipynb",
        "notebooks/solutions/.ipynb_checkpoints/01_first-checkpoint.ipynb",
        "notebooks/out.ipynb",
        "notebooks/out2.ipynb",
        "notebooks/Untitled.ipynb",
        "notebooks/01_first-Copy1.ipynb",
        "notebooks/runs/kth/executed.ipynb",
        "notebooks/my_run/executed.ipynb",
        "notebooks/some_run/checkpoints/executed.ipynb",
        "notebooks/data/x.partial-123/executed.ipynb",
    }
    for name in wanted | strays:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(notebook if path.suffix == ".ipynb" else "def test_it(): pass\n", encoding="utf-8")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    assert collect(tmp_path, "--nbval") == wanted
    assert collect(tmp_path) == {name for name in wanted if name.endswith(".py")}


def test_the_notebooks_folder_holds_only_what_belongs_there():
    if not (ROOT / ".git").exists() or not shutil.which("git"):
        pytest.skip("not run: only git can tell what belongs to the project, and this is no git checkout")
    listing = subprocess.run(["git", "ls-files", "notebooks"], cwd=ROOT, capture_output=True, text=True, check=True)
    belongs = re.compile(r"notebooks/((solutions/)?\d\d_\w+\.ipynb|images/\w+\.png|(README|glossary)\.md|\w+\.cfg)")
    assert [name for name in listing.stdout.splitlines() if not belongs.fullmatch(name)] == []


# What is promised


def test_importing_the_library_loads_no_tensorflow():
    code = "import sys, dn3dlib; print(*{'tensorflow', 'keras', 'matplotlib', 'ipywidgets', 'cv2'}.intersection(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_continuous_integration_runs_the_tests_and_those_in_a_browser():
    assert text_of(".ci/run").splitlines()[-2:] == ["make test", "exec make test-browser"]
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
    assert any(step.get("run") == ".ci/run" for step in yaml.safe_load(text_of(".github/workflows/ci.yml"))["jobs"]["test"]["steps"])


def test_what_is_no_python_is_installed_too():
    """Files beside the modules, such as the player's page: without them an installed kit would not start."""
    wanted = {path for path in (ROOT / "dn3dlib").rglob("*.*") if path.suffix not in (".py", ".pyc")}
    data = PROJECT["tool"]["setuptools"]["package-data"].items()
    packed = {path for package, patterns in data for pattern in patterns for path in (ROOT / package.replace(".", "/")).glob(pattern)}
    assert wanted and wanted <= packed, wanted - packed


def test_the_commands_of_the_readme_exist():
    readme = text_of("README.md")
    commands = [line.strip() for line in readme.splitlines() if line.startswith("    ")]
    assert [command.split("#")[0].split() for command in commands[:3]] == [["make", "train"], ["make", "test"], ["make", "lab"]]
    targets = set(re.findall(r"^([a-z-]+):", text_of("Makefile"), re.MULTILINE))
    assert set(re.findall(r"^ +make ([a-z-]+)|`make ([a-z-]+)`", readme, re.MULTILINE)) != set()
    named = {a or b for a, b in re.findall(r"^ +make ([a-z-]+)|`make ([a-z-]+)`", readme, re.MULTILINE)}
    assert {"train", "test", "lab", "setup"} <= named <= targets


def options_of(command) -> set[str]:
    """The options of a shell command and of those below it, as `dn3d sagemaker` has."""
    below = [options_of(child) for child in getattr(command, "commands", {}).values()]
    return {option for parameter in command.params for option in parameter.opts}.union(*below)


def test_the_shell_commands_and_options_of_the_readme_exist():
    import typer

    from dn3dlib.cli import app

    commands = typer.main.get_command(app).commands
    readme = text_of("README.md")
    assert set(re.findall(r"`dn3d ([a-z]+)`", readme)) == set(commands), "the table of commands"
    calls = re.findall(r"(?:^    |`)dn3d ([a-z]+)([^`\n]*)", readme + text_of("data/README.md"), re.MULTILINE)
    assert len(calls) > 10
    for command, rest in calls:
        options = options_of(commands[command])
        named = set(re.findall(r"(?<!\S)--[a-z-]+", rest))
        assert named <= options, f"dn3d {command} has no {sorted(named - options)}"
    everywhere = set().union(*map(options_of, commands.values()))
    older = {"--train", "--test", "--logs", "--no-logs", "--saves", "--no-saves", "--renew-logs", "--not-renew-logs"}
    older |= {"--model_type", "--growth_rate", "--depth", "--total_blocks", "--reduction", "--keep_prob", "--weight_decay"}
    older |= {"--nesterov_momentum", "--gpu_id"}
    others = {"--help", "--no-browser", "--nbval"}
    assert set(re.findall(r"`(--[a-z_-]+)", readme)) <= everywhere | older | others


def test_the_parameters_of_the_readme_exist():
    from dn3dlib.config import CONFIG_CLASSES

    there = {f"{p}.{field.name}" for p, cls in CONFIG_CLASSES.items() for field in dataclasses.fields(cls)}
    named = set(re.findall(r"\b(?:storage|clip|model|train)\.[a-z_]+", text_of("README.md")))
    assert len(named) > 10
    assert named <= there, f"the README names parameters that are not there: {sorted(named - there)}"


def test_the_files_that_the_readme_names_exist():
    for path in re.findall(r"`(dn3dlib/[\w/]+(?:\.py)?)`", text_of("README.md")):
        assert (ROOT / path).exists(), f"the README names {path}, which is not there"
