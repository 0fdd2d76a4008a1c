"""Import TensorFlow without the notes that it writes for its own developers."""

import importlib
import importlib.abc
import logging
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

# Without a GPU, TensorFlow reports missing CUDA libraries as errors; what really fails comes as a Python exception.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

_LOCK = threading.Lock()
_closed: list[int] = []  # one entry for each import under way; the first is where standard error really goes


def import_quietly(name: str) -> ModuleType:
    """Import a module whose libraries write to the process's standard error before they can be told not to."""
    quiet_when_imported(name)
    return importlib.import_module(name)  # waits where another thread is at it


def quiet_when_imported(name: str) -> None:
    """Let a module be imported quietly when it is needed, by whatever imports it first, and not before."""
    with _LOCK:
        if not any(isinstance(finder, _QuietFinder) and finder.name == name for finder in sys.meta_path):
            sys.meta_path.insert(0, _QuietFinder(name))


class _QuietFinder(importlib.abc.MetaPathFinder):
    """Finds one module as the other finders do, and has it executed with standard error closed."""

    def __init__(self, name: str):
        self.name = name

    def find_spec(self, name, path=None, target=None):
        if name != self.name:
            return None
        others = (finder.find_spec(name, path, target) for finder in sys.meta_path if finder is not self)
        if spec := next(filter(None, others), None):
            spec.loader.exec_module = standard_error_closed()(spec.loader.exec_module)
        return spec


@contextmanager
def standard_error_closed() -> Iterator[None]:
    """Send file descriptor 2 to nowhere: the notes do not pass through `sys.stderr`. Imports in several threads share it."""
    with _LOCK:
        sys.stderr.flush()
        _closed.append(os.dup(2))
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 2)
        os.close(nowhere)
    try:
        yield
    finally:
        with _LOCK:
            kept = _closed.pop()
            if not _closed:
                os.dup2(kept, 2)
            os.close(kept)


@contextmanager
def logs_held_back() -> Iterator[None]:
    """Let no log record below an error through: in a notebook TensorFlow's go to the page, not to file descriptor 2."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
