"""What a run keeps of its evaluations: the newest report of each split, and every look at data it was not trained on.

A figure chosen among many looks at the test part is too high, so no look goes unnoted.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dn3dlib.errors import Dn3dError, RunError
from dn3dlib.files import only_one_at, plain_disk_errors, read_json, write_json
from dn3dlib.train.runs import EVALUATION

USES = "uses.json"
_PATIENCE = 60  # seconds that another evaluation of the run has for writing what it has found


def read_uses(run_dir: Path) -> list[dict]:
    """The looks so far, the oldest first, as `note_use` wrote them; raises RunError where their file is damaged."""
    path = Path(run_dir) / USES
    uses = read_json(path, "list of uses").get("uses") if path.is_file() else []
    if not isinstance(uses, list) or not all(isinstance(use, dict) for use in uses):
        raise RunError(f"The list of uses {path} is damaged: restore it from a copy of the run.")
    return uses


def check_use_can_be_noted(run_dir: Path) -> None:
    """Raise RunError where a look could not be written down, before anything is computed."""
    try:
        with _held(run_dir):
            _write_uses(run_dir, read_uses(run_dir))
    except RunError:
        raise
    except Dn3dError as error:
        raise RunError(
            f"The run {run_dir} cannot be evaluated, because every look at the data is noted in its folder: {error} Or copy the "
            "run to a folder that you can write to, and evaluate the copy."
        ) from error


def note_use(run_dir: Path, report: dict, use: dict) -> dict:
    """Write a report and the look at the data that it is; two processes that do so at once both come in.

    Args:
        run_dir: the run.
        report: of `evaluate.report.evaluate`.
        use: what is to be known of it, with `split` and the data set's `fingerprint`; not noted where the split is train.

    Returns:
        The report with `test_uses`, how often the test split of this data set has been looked at by now, and from the
        second time on with a warning.
    """
    with _held(run_dir):
        uses = read_uses(run_dir) + ([use] if use["split"] != "train" else [])
        _write_uses(run_dir, uses)
        looks = sum(u.get("split") == "test" and u.get("fingerprint") == use["fingerprint"] for u in uses)
        report = report | {"test_uses": looks}
        if use["split"] == "test" and looks > 1:
            sentence = f"The test part has been looked at {looks} times with this run: a figure chosen among them is too high."
            report["warnings"] = [*report["warnings"], sentence]
        path = Path(run_dir) / EVALUATION
        write_json(path, (read_json(path, "evaluation") if path.is_file() else {}) | {use["split"]: report})
    return report


def _write_uses(run_dir: Path, uses: list[dict]) -> None:
    write_json(Path(run_dir) / USES, {"uses": uses})


@contextmanager
def _held(run_dir: Path) -> Iterator[None]:
    path = Path(run_dir) / USES
    with plain_disk_errors(path), only_one_at(path, _PATIENCE):
        yield
