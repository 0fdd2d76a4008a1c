"""The kit's own code as SageMaker's training containers take it: an archive with a program and a list of requirements."""

import gzip
import io
import re
import tarfile
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

from dn3dlib.errors import Dn3dError

PROGRAM = "train_dn3d.py"  # at the archive's root: run from inside the package, its neighbours would hide libraries of their names
_PROGRAM_TEXT = "from dn3dlib.deploy.container import main\n\nraise SystemExit(main())\n"
# What a training and an evaluation import; the rest of the kit's requirements is for notebooks.
NEEDED = (
    "tensorflow", "keras", "numpy", "opencv-python", "scikit-learn", "tqdm", "typer", "google-crc32c", "filelock", "packaging", "psutil",
)  # fmt: skip


def source_archive() -> bytes:
    """The installed package, its program and `requirements.txt` as a .tar.gz; the same bytes for the same code.

    Raises:
        Dn3dError: the kit is not installed, so that it does not know what it needs.
    """
    package = Path(__file__).resolve().parents[1]
    texts = {PROGRAM: _PROGRAM_TEXT.encode(), "requirements.txt": ("\n".join(requirements()) + "\n").encode()}
    files = sorted(path for path in package.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    texts |= {f"{package.name}/{path.relative_to(package).as_posix()}": path.read_bytes() for path in files}
    buffer = io.BytesIO()
    with gzip.GzipFile(fileobj=buffer, mode="wb", mtime=0) as packed, tarfile.open(fileobj=packed, mode="w") as archive:
        for name, data in texts.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(data), 0o644
            archive.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


def requirements() -> list[str]:
    """The lines of `requirements.txt`: what a training needs, in the bounds of the installed kit.

    Containers have no windows and lack their libraries, so OpenCV comes without them.
    """
    try:
        lines = [line for line in requires("dn3d") or [] if ";" not in line]  # those with a condition belong to extras
    except PackageNotFoundError as error:
        raise Dn3dError("The kit is not installed as a package: `pip install -e .` in its folder, then submit again.") from error
    named = {re.match(r"[\w-]+", line)[0]: line for line in lines}
    return [named[name].replace("opencv-python", "opencv-python-headless") for name in NEEDED]
