"""A training in processes of its own, started from a notebook and followed by a bar, as somebody in a shell would start it."""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from dn3dlib.errors import RunError
from dn3dlib.progress import progress_bar
from dn3dlib.train.runs import HISTORY

_LOOK = 0.05  # seconds between two looks


class BackgroundTraining:
    """`dn3d train` in the background, of several workers by `dn3d launch`. Taught in notebook 08.

    Args:
        run_dir: the run's folder, new; with `--resume` among the words that to go on with.
        words: what else follows `dn3d train`.
        workers: processes that train together.
    """

    def __init__(self, run_dir: Path, *words: object, workers: int = 1):
        self.run_dir = Path(run_dir)
        together = ["launch", "--workers", workers, "--"] if workers > 1 else []
        command = [sys.executable, "-m", "dn3dlib", *together, "train", "--out", run_dir, *words]
        self._told = tempfile.TemporaryFile()  # not a pipe: nobody reads while it goes on
        self._process = subprocess.Popen(list(map(str, command)), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=self._told)

    def follow(self, epochs: int, until: int | None = None) -> None:
        """Draw a bar of so many epochs until they are done, or `until` of them, or the training has ended."""
        with progress_bar(total=epochs, initial=self.epochs_done(), unit="epoch", desc=self.run_dir.name) as bar:
            running = True
            while running and bar.n < (until or epochs):
                time.sleep(_LOOK)
                running = self._process.poll() is None
                bar.update(self.epochs_done() - bar.n)

    def epochs_done(self) -> int:
        """So far, by the run's history."""
        history = self.run_dir / HISTORY
        return max(0, history.read_text(encoding="utf-8").count("\n") - 1) if history.is_file() else 0

    def kill_worker(self, index: int) -> None:
        """End one of several workers at once, as a machine that fails would.

        Raises:
            RunError: there is none of that number, or the training has ended.
        """
        workers = psutil.Process(self._process.pid).children() if self._process.poll() is None else []
        victims = [worker for worker in workers if f'"index": {index}' in worker.environ().get("TF_CONFIG", "")]
        if not victims:
            raise RunError(f"The training in {self.run_dir.name} has no worker {index} that could be killed, or has ended already.")
        victims[0].kill()

    def wait(self) -> tuple[int, str]:
        """Wait for its end; its exit status, and the last line of what it said, with the folder of runs called `runs`."""
        status = self._process.wait()
        with self._told as told:
            told.seek(0)
            lines = told.read().decode(errors="replace").strip().splitlines()
        return status, (lines or [""])[-1].replace(str(self.run_dir.parent), "runs")

    def finish(self, epochs: int) -> None:
        """Follow it to its end.

        Raises:
            RunError: that was another one than done; with what it said last.
        """
        self.follow(epochs)
        status, sentence = self.wait()
        if status:
            raise RunError(f"The training in {self.run_dir.name} ended with status {status}: {sentence}")
