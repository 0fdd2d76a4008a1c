"""Processes for work on many videos at once."""

import multiprocessing
import os
import threading
from concurrent.futures import ProcessPoolExecutor

from dn3dlib.errors import ConfigError


def worker_count(workers: int | None, tasks: int) -> int:
    """How many processes to start: as asked for, or one for each core, but no more than there are tasks."""
    if workers is not None and workers < 1:
        raise ConfigError(f"--workers is {workers}, but must be 1 or more.")
    return min(workers or os.cpu_count() or 1, max(tasks, 1))


def worker_pool(workers: int) -> ProcessPoolExecutor:
    """A pool of `workers` processes that end when the process that started them is killed."""
    # spawn: a forked copy of a process that runs TensorFlow's threads may hang.
    return ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _end_with_parent)


def _end_with_parent() -> None:
    """On its own, a worker whose parent was killed would wait for work for ever."""

    def watch() -> None:
        multiprocessing.parent_process().join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
