"""Does this machine do? What the kit needs of it, each with what was found and what to do where it does not."""

import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import NamedTuple

from packaging.requirements import Requirement

from dn3dlib.errors import Dn3dError
from dn3dlib.places import data_home, runs_home
from dn3dlib.quiet import import_quietly

PYTHONS = ((3, 11), (3, 13))  # the oldest and the newest
MEMORY, DISK = 2e9, 0.5e9  # bytes: of one notebook at work; of the synthetic videos, prepared, and some runs
TWINS = {"opencv-python": "opencv-python-headless"}  # where its window libraries are missing, its twin does the same
_INSTALL = 'pip install -e ".[dev]" -c constraints.txt'


class Finding(NamedTuple):
    """One thing that the kit needs of a machine."""

    name: str
    found: str
    ok: bool
    remedy: str  # what to do where it is not ok


def check_machine() -> list[Finding]:
    """Look at all that the notebooks need of this machine; it takes some seconds, most of them to load TensorFlow. Taught in notebook 00.

    Returns:
        A `Finding` each: Python, packages, reading videos, playing videos, memory, disk, device. Nothing is raised for what is
        missing: it is found.
    """
    return [_looked_at(name, look) for name, look in _LOOKS.items()]


def _looked_at(name: str, look: Callable[[], tuple[str, bool, str]]) -> Finding:
    try:
        return Finding(name, *look())
    except ImportError as error:
        return Finding(name, f"cannot be looked at: {error}", False, f"In the kit's folder: {_INSTALL}")


def _python() -> tuple[str, bool, str]:
    oldest, newest = PYTHONS
    ok = oldest <= sys.version_info[:2] <= newest
    remedy = f"Use Python {oldest[0]}.{oldest[1]} to {newest[0]}.{newest[1]}: python3.12 -m venv .venv, then install the kit in it."
    return platform.python_version(), ok, remedy


def _packages() -> tuple[str, bool, str]:
    try:
        needed = [Requirement(text) for text in requires("dn3d") or []]
    except PackageNotFoundError:
        return "the kit itself is not installed", False, f"In the kit's folder: {_INSTALL}"
    needed = [one for one in needed if one.marker is None or one.marker.evaluate({"extra": ""})]
    wrong = [f"{one.name} {_version(one.name) or 'missing'}" for one in needed if not _fits(one)]
    main = ", ".join(f"{name} {_version(name)}" for name in ("tensorflow", "keras", "numpy"))
    found = f"not as needed: {', '.join(wrong)}" if wrong else f"all {len(needed)}, with {main}"
    return found, not wrong, f"In the kit's folder: {_INSTALL}"


def _version(name: str) -> str:
    """The installed version of a package or its twin; "" without any."""
    for one in filter(None, (name, TWINS.get(name))):
        try:
            return version(one)
        except PackageNotFoundError:
            continue
    return ""


def _fits(needed: Requirement) -> bool:
    return bool(_version(needed.name)) and needed.specifier.contains(_version(needed.name), prereleases=True)


def _reading() -> tuple[str, bool, str]:
    """Write a small video as KTH's are, MPEG-4 in an AVI file, and read it again."""
    remedy = "OpenCV lacks FFmpeg or a library: python tools/set_up.py opencv puts its twin without windows in its place."
    try:
        import numpy as np

        from dn3dlib.data.video import read_frames, write_video
    except ImportError as error:
        return f"OpenCV cannot be loaded: {error}", False, remedy
    frames = np.repeat(np.arange(0, 250, 10, dtype=np.uint8), 64 * 64).reshape(25, 64, 64, 1)
    with tempfile.TemporaryDirectory() as folder:
        try:
            write_video(Path(folder) / "small.avi", frames, 25.0, "XVID")
            back = read_frames(Path(folder) / "small.avi", channels=1)
        except Dn3dError as error:
            return str(error).replace(folder, "the temporary folder"), False, remedy
    off = int(np.abs(back.astype(int) - frames).max()) if back.shape == frames.shape else 255
    return f"{len(back)} of 25 frames of an MPEG-4 video, pixels off by {off} at most", off <= 16, remedy


def _playing() -> tuple[str, bool, str]:
    """The encoder of what a browser plays, which imageio brings as a program."""
    from imageio_ffmpeg import get_ffmpeg_exe, get_ffmpeg_version

    remedy = "pip install --force-reinstall imageio-ffmpeg, or point IMAGEIO_FFMPEG_EXE to an ffmpeg of your own."
    try:
        get_ffmpeg_exe()
        return f"ffmpeg {get_ffmpeg_version()}", True, remedy
    except (RuntimeError, OSError) as error:
        return f"no ffmpeg: {error}", False, remedy


def _memory() -> tuple[str, bool, str]:
    from dn3dlib.data.cache import free_memory

    free = free_memory()
    remedy = f"Close other programs and other notebooks' kernels: one notebook at work takes up to {MEMORY / 1e9:.1f} GB."
    return f"{free / 1e9:.1f} GB free", free >= MEMORY, remedy


def _disk() -> tuple[str, bool, str]:
    """Room and permission where data and runs are kept: of the two places the worse. Data that are there need only be read."""
    homes = {"DN3D_RUNS": runs_home()}
    if not (data_home() / "synthetic-quick").is_dir():
        homes["DN3D_DATA"] = data_home()
    looked_at = []
    for variable, home in homes.items():
        there = next(path for path in (home, *home.parents) if path.exists())
        looked_at.append((os.access(there, os.W_OK), shutil.disk_usage(there).free, variable))
    writable, free, variable = min(looked_at)
    remedy = f"Set {variable} to a folder of yours on a disk with {DISK / 1e9:.1f} GB to spare, before you start Jupyter."
    found = f"{free / 1e9:.1f} GB free" + ("" if writable else ", but you may not write there")
    if writable and free >= DISK:
        return found, True, remedy
    return f"{found} where {variable} points", False, remedy


def _device() -> tuple[str, bool, str]:
    """What TensorFlow computes on; a card that it cannot use is worth a word."""
    tf = import_quietly("tensorflow")
    remedy = 'TensorFlow does not see your NVIDIA card: pip install -e ".[gpu]" -c constraints.txt. All works without it, only slower.'
    if gpus := tf.config.list_physical_devices("GPU"):
        names = [tf.config.experimental.get_device_details(gpu).get("device_name", "GPU") for gpu in gpus]
        return f"GPU: {', '.join(names)}", True, remedy
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    card = Path("/proc/driver/nvidia/version").is_file()
    return f"CPU, {cores} cores" + (", and an NVIDIA card that is not used" if card else ""), not card, remedy


_LOOKS = {
    "Python": _python,
    "packages": _packages,
    "reading videos": _reading,
    "playing videos": _playing,
    "memory": _memory,
    "disk": _disk,
    "device": _device,
}
