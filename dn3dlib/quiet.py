"""Import TensorFlow without the notes that it writes for its own developers."""

import importlib
import importlib.abc
import importlib.machinery
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

# Without a GPU, TensorFlow reports missing CUDA libraries as errors; what really fails comes as a Python exception.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

_ONE_AT_A_TIME = threading.RLock()  # a second thread would meet the module half imported, and standard error closed


def import_quietly(name: str) -> ModuleType:
    """Import a module whose libraries write to the process's standard error before they can be told not to."""
    with _ONE_AT_A_TIME:
        if name not in sys.modules:
            with _standard_error_closed():
                importlib.import_module(name)
        return sys.modules[name]


class _QuietFinder(importlib.abc.MetaPathFinder):
    """Finds one module as Python does, and has it executed with standard error closed."""

    def __init__(self, name: str):
        self.name = name

    def find_spec(self, name, path=None, target=None):
        spec = importlib.machinery.PathFinder.find_spec(name, path) if name == self.name else None
        if spec:
            spec.loader.exec_module = _standard_error_closed()(spec.loader.exec_module)
        return spec


def quiet_when_imported(name: str) -> None:
    """Let a module be imported quietly when it is needed, by whatever imports it first, and not before."""
    if not any(isinstance(finder, _QuietFinder) and finder.name == name for finder in sys.meta_path):
        sys.meta_path.insert(0, _QuietFinder(name))


@contextmanager
def _standard_error_closed() -> Iterator[None]:
    """Send file descriptor 2 to nowhere: the notes do not pass through `sys.stderr`."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
