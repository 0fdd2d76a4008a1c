"""What the kit finds of the machine, and what it says where something is missing."""

import builtins
import importlib.metadata
import json
import shutil
import subprocess
import sys
from collections import namedtuple
from pathlib import Path
from types import SimpleNamespace

import pytest

from dn3dlib import machine
from dn3dlib.data import cache
from dn3dlib.machine import check_machine

NOTEBOOK_00 = Path(__file__).resolve().parents[1] / "notebooks" / "00_start_here.ipynb"
NAMES = ["Python", "packages", "reading videos", "playing videos", "memory", "disk", "device"]


def found(name: str):
    (finding,) = [finding for finding in check_machine() if finding.name == name]
    return finding


def test_this_machine_does():
    findings = check_machine()
    assert [finding.name for finding in findings] == NAMES
    assert all(finding.ok for finding in findings), [finding for finding in findings if not finding.ok]
    assert all(finding.found and finding.remedy.endswith((".", "constraints.txt")) for finding in findings)


def test_nothing_heavy_is_loaded_to_import_it():
    loaded = "import sys, dn3dlib.machine; sys.exit(bool({'tensorflow', 'cv2', 'numpy', 'psutil'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", loaded]).returncode == 0


def test_a_broken_opencv_reaches_the_table_of_notebook_00():
    """All that its code needs up to that table loads neither OpenCV, nor matplotlib, nor TensorFlow."""
    code = ["".join(cell["source"]) for cell in json.loads(NOTEBOOK_00.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"]
    end = next(place for place, source in enumerate(code) if "machine_table(" in source)
    imports = [line for source in code[: end + 1] for line in source.splitlines() if line.startswith(("from ", "import "))]
    assert "from dn3dlib.machine import check_machine" in imports
    loaded = "\n".join([*imports, "import sys; sys.exit(str({'tensorflow', 'keras', 'cv2', 'matplotlib'} & set(sys.modules)))"])
    told = subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True).stderr
    assert told.strip() == "set()"


def test_another_python(monkeypatch):
    monkeypatch.setattr(machine, "PYTHONS", ((3, 99), (3, 99)))
    assert not found("Python").ok and "Use Python 3.99" in found("Python").remedy


def test_a_missing_package_and_a_wrong_version_are_named(monkeypatch):
    monkeypatch.setattr(machine, "requires", lambda _: ["numpy>=99", "no-such-package>=1", "keras~=3.15", "pytest>=999; extra == 'dev'"])
    finding = found("packages")
    assert not finding.ok and finding.found == f"not as needed: numpy {importlib.metadata.version('numpy')}, no-such-package missing"
    assert "constraints.txt" in finding.remedy


def test_a_twin_without_windows_counts_as_opencv(monkeypatch):
    def version(name):
        if name != "opencv-python-headless":
            raise importlib.metadata.PackageNotFoundError(name)
        return "5.0.1"

    monkeypatch.setattr(machine, "version", version)
    monkeypatch.setattr(machine, "requires", lambda _: ["opencv-python>=5.0,<6"])
    assert found("packages").ok


def test_the_kit_itself_is_not_installed(monkeypatch):
    def requires(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(machine, "requires", requires)
    assert found("packages").found == "the kit itself is not installed"


@pytest.mark.parametrize(
    ("module", "name", "remedy"),
    [
        ("dn3dlib.data.video", "reading videos", "tools/set_up.py opencv"),
        ("dn3dlib.data.cache", "memory", "pip install"),
        ("imageio_ffmpeg", "playing videos", "pip install"),
    ],
)
def test_what_cannot_be_imported_is_found_too(monkeypatch, module, name, remedy):
    real = builtins.__import__

    def without(wanted, *args, **kwargs):
        if wanted == module:
            raise ImportError("libGL.so.1: cannot open shared object file")
        return real(wanted, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    assert not found(name).ok and "libGL" in found(name).found and remedy in found(name).remedy


def test_a_video_that_cannot_be_read(monkeypatch):
    from dn3dlib.data import video
    from dn3dlib.errors import VideoError

    def refuses(path, **_):
        raise VideoError(f"{path} cannot be read.", "no video stream")

    monkeypatch.setattr(video, "read_frames", refuses)
    assert not found("reading videos").ok and "cannot be read" in found("reading videos").found


def test_too_little_memory(monkeypatch):
    monkeypatch.setattr(cache, "free_memory", lambda: 1.2e9)
    assert not found("memory").ok and found("memory").found == "1.2 GB free" and "Close other programs" in found("memory").remedy


def test_a_full_disk_and_a_folder_that_is_not_yours(monkeypatch, tmp_path):
    monkeypatch.setenv("DN3D_RUNS", str(tmp_path / "not" / "there" / "yet"))
    usage = namedtuple("usage", "free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(1e8 if path == tmp_path else 9e9))
    assert not found("disk").ok and found("disk").found == "0.1 GB free where DN3D_RUNS points"
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(9e9))
    monkeypatch.setattr(machine.os, "access", lambda path, _: path != tmp_path)  # root may write everywhere
    assert "you may not write there where DN3D_RUNS points" in found("disk").found


def test_of_two_good_disks_the_smaller_one_counts(monkeypatch, tmp_path):
    monkeypatch.setenv("DN3D_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("DN3D_RUNS", str(tmp_path.parent))
    usage = namedtuple("usage", "free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(1e9 if path == tmp_path else 9e9))
    assert found("disk").ok and found("disk").found == "1.0 GB free"


def test_data_that_are_there_need_only_be_read(monkeypatch, tmp_path):
    monkeypatch.setenv("DN3D_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("DN3D_RUNS", str(tmp_path.parent))
    (tmp_path / "data").mkdir()
    monkeypatch.setattr(machine.os, "access", lambda path, _: path != tmp_path / "data")
    assert "you may not write there where DN3D_DATA points" in found("disk").found
    (tmp_path / "data" / "synthetic-quick").mkdir()
    assert found("disk").ok


def test_devices(monkeypatch):
    def config(*gpus):
        details = SimpleNamespace(get_device_details=lambda gpu: {"device_name": gpu})
        return SimpleNamespace(config=SimpleNamespace(list_physical_devices=lambda kind: gpus, experimental=details))

    monkeypatch.setattr(machine, "import_quietly", lambda name: config("NVIDIA H100"))
    assert found("device").found == "GPU: NVIDIA H100" and found("device").ok
    monkeypatch.setattr(machine, "import_quietly", lambda name: config())
    assert found("device").found.startswith("CPU, ")
