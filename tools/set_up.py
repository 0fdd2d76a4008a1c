"""Set the kit up: make .venv, or bring it up to date. `make` runs this; it needs nothing but Python.

    python3 tools/set_up.py           .venv with the tested versions; does nothing where nothing has changed
    python3 tools/set_up.py opencv    in an environment of your own: put OpenCV right where `import cv2` fails

Where OpenCV cannot be imported because the machine lacks a library for windows (libGL, say), its twin without windows,
opencv-python-headless, is put in its place. Written so that an old Python 3 can still read it and say what is wrong.
"""

import hashlib
import os
import re
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
OLDEST, NEWEST = (3, 11), (3, 13)
INPUTS = ("pyproject.toml", "constraints.txt", os.path.join("tools", "set_up.py"))
PROBE = (
    "import sys; print('%d.%d.%d' % sys.version_info[:3]); print(getattr(sys, '_base_executable', sys.executable));"
    "import ensurepip, venv; print('complete')"
)


class SetUpError(Exception):
    """What is wrong and what to do, in one sentence."""


def say(text):
    print(f"set-up: {text}", flush=True)


def capture(command):
    """Exit status, standard output and standard error of a command; status 127 where it cannot be started."""
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True, cwd=ROOT)
    except OSError as error:
        return 127, "", str(error)
    return done.returncode, done.stdout, done.stderr


def pip(python, *arguments):
    """Run pip of that Python; its words go to the terminal."""
    command = [python, "-m", "pip", "--disable-pip-version-check"] + list(arguments)
    if subprocess.call(command, cwd=ROOT):
        raise SetUpError("pip failed, see its words above. The first set-up needs the network; run it again to go on.")


def is_supported(version):
    return OLDEST <= tuple(int(part) for part in version.split(".")[:2]) <= NEWEST


def find_python(candidates):
    """The first candidate that can make .venv, as (its path, its version); raises SetUpError where there is none."""
    seen, incomplete = [], []
    for candidate in candidates:
        _, output, _ = capture([candidate, "-c", PROBE])
        lines = output.splitlines()
        if len(lines) < 2:  # not there, or an empty shell such as a version manager's
            continue
        version, path = lines[:2]
        seen.append(version)
        if is_supported(version):
            if lines[-1] == "complete":
                return path, version
            incomplete.append(version)
    if incomplete:
        name = "python" + incomplete[0].rpartition(".")[0]
        raise SetUpError(
            f"Python {incomplete[0]} is here but cannot make virtual environments: install its modules venv and ensurepip "
            f"(on Debian and Ubuntu the package {name}-venv)."
        )
    found = "only " + ", ".join(sorted(set(seen))) if seen else "none"
    raise SetUpError(
        f"Python 3.11, 3.12 or 3.13 is needed; found: {found}. Install one of them, or name it: "
        "make setup PYTHON=/path/to/python3.12"
    )


def venv_python():
    folder, name = ("Scripts", "python.exe") if os.name == "nt" else ("bin", "python")
    return os.path.join(ROOT, ".venv", folder, name)


def venv_version():
    """The version of .venv's Python, or None where there is no .venv that works."""
    status, output, _ = capture([venv_python(), "-c", PROBE])
    version = output.split("\n")[0]
    return version if status == 0 and is_supported(version) else None


def fingerprint():
    """Changes with every file that decides what has to be installed."""
    digest = hashlib.sha256()
    for name in INPUTS:
        with open(os.path.join(ROOT, name), "rb") as file:
            digest.update(file.read())
    return digest.hexdigest()


def read_lines(path):
    """The lines of a text file, none where there is no such file."""
    if not os.path.isfile(path):
        return []
    with open(path, encoding="utf-8") as file:
        return file.read().splitlines()


def write_lines(path, lines):
    with open(path, "w", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")


def missing_library(python):
    """Try `import cv2`: the name of the shared library that it lacks, or "" where all is well.

    Raises SetUpError where the import fails for another reason.
    """
    status, _, errors = capture([python, "-c", "import cv2"])
    if status == 0:
        return ""
    last = (errors.strip().splitlines() or ["no reason given"])[-1]
    match = re.search(r"ImportError: (\S+\.so[.\d]*): cannot open shared object file", last)
    if not match:
        raise SetUpError(f"OpenCV cannot be imported ({last}): remove .venv and set up again.")
    return match.group(1)


def mend_opencv(python):
    """Swap in opencv-python-headless, in the same version, where the machine lacks a library that OpenCV needs."""
    library = missing_library(python)
    if not library:
        return
    _, output, _ = capture([python, "-m", "pip", "list", "--format=freeze", "--disable-pip-version-check"])
    match = re.search(r"^opencv-python(?:-headless)?==(\S+)", output, re.MULTILINE)
    if not match:
        raise SetUpError(f"OpenCV is not installed by pip here, so it cannot be swapped: install {library}.")
    headless = f"opencv-python-headless=={match.group(1)}"
    say(f"OpenCV needs {library}, which this machine lacks: putting {headless} in its place.")
    # Both packages fill the folder cv2/, so the one must be gone before the other comes.
    pip(python, "uninstall", "--yes", "opencv-python", "opencv-python-headless")
    pip(python, "install", "--no-deps", "-c", "constraints.txt", headless)
    library = missing_library(python)
    if library:
        raise SetUpError(f"Even opencv-python-headless needs {library}: install that library with the system's packages.")
    say("OpenCV works now: it reads and writes videos as before, and opens no windows of its own, which the kit never does.")


def set_up():
    """Make .venv or bring it up to date."""
    stamp = os.path.join(ROOT, ".venv", "dn3d-set-up")  # line 1: the folder it was made in; line 2, at the end: fingerprint
    noted = read_lines(stamp)
    version = venv_version() if noted[:1] == [ROOT] else None  # a .venv cannot be moved
    if version and noted[1:] == [fingerprint()]:
        say(f".venv is up to date (Python {version}).")
        return
    if version:
        say(f"bringing .venv up to date (Python {version}).")
    else:
        path, version = find_python([sys.executable, "python3", "python3.13", "python3.12", "python3.11"])
        say(f"making .venv with Python {version}; its packages take some minutes and about 3 GB of disk.")
        if subprocess.call([path, "-m", "venv", "--clear", os.path.join(ROOT, ".venv")]):
            raise SetUpError("the virtual environment could not be made, see above.")
    write_lines(stamp, [ROOT])
    python = venv_python()
    # setuptools first and no isolated build: once all packages are there, this works without the network.
    pip(python, "install", "-c", "constraints.txt", "setuptools")
    pip(python, "install", "-c", "constraints.txt", "--no-build-isolation", "-e", ".[dev]")
    mend_opencv(python)
    write_lines(stamp, [ROOT, fingerprint()])
    say("done.")


def main(arguments):
    try:
        if arguments == ["opencv"]:
            mend_opencv(sys.executable)
        elif arguments:
            raise SetUpError(f"there is no step {' '.join(arguments)}: leave it out, or say opencv.")
        else:
            set_up()
    except SetUpError as error:
        sys.exit(f"set-up: error: {error}")
    except KeyboardInterrupt:
        sys.exit("set-up: interrupted; run it again to go on.")


if __name__ == "__main__":
    main(sys.argv[1:])
