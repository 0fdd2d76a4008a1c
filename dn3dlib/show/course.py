"""The course as its notebooks tell it themselves: how much there is to read in each, and how long its cells computed.

`python -m dn3dlib.show.course` prints the table of `notebooks/README.md`.
"""

import json
import re
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from IPython.display import HTML

from dn3dlib.errors import RunError
from dn3dlib.places import notebooks_home
from dn3dlib.show.tables import table

WORDS_A_MINUTE = 200  # of plain prose


class Lesson(NamedTuple):
    """One notebook of the course."""

    title: str
    file: str
    words: int  # of its prose
    exercises: int
    seconds: float | None  # that its cells took when it was last executed; None where that was not noted

    @property
    def minutes(self) -> tuple[str, str]:
        """To read it, and for the machine to compute it, rounded up."""
        computing = "–" if self.seconds is None else "under 1" if self.seconds < 60 else str(-int(-self.seconds // 60))
        return str(-(-self.words // WORDS_A_MINUTE)), computing


def course() -> list[Lesson]:
    """Every notebook of the kit, in order. Taught in notebook 00.

    Raises:
        RunError: the kit was installed without its `notebooks/` folder.
    """
    home = notebooks_home()
    if home is None:
        raise RunError("The course lies in the kit's folder notebooks, and this installation has none: work in a checkout of the kit.")
    return [_lesson(path) for path in sorted(home.glob("[0-9]*.ipynb"))]


def course_table(lessons: list[Lesson]) -> HTML:
    """The notebooks in a table: what is read, and how long the machine computes. Taught in notebook 00."""
    return table([_HEAD, *(_line(lesson) for lesson in lessons)], numbers_from=1)


_HEAD = ["notebook", "minutes to read", "minutes to compute", "exercises"]


def _line(lesson: Lesson) -> list[str]:
    return [lesson.title, *lesson.minutes, str(lesson.exercises)]


def _lesson(path: Path) -> Lesson:
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    prose = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
    (title,) = re.findall(r"^# (.+)$", prose, flags=re.M)[:1] or [path.stem]
    times = [_seconds(cell) for cell in cells if cell["cell_type"] == "code"]
    exercises = len(re.findall(r"^\*\*\d\.\*\*", prose, flags=re.M))
    return Lesson(title, path.name, len(prose.split()), exercises, None if None in times else sum(times))


def _seconds(cell: dict) -> float | None:
    """How long a cell took, from the times that nbconvert and JupyterLab note in it."""
    noted = cell["metadata"].get("execution", {})
    if not {"iopub.status.busy", "iopub.status.idle"} <= noted.keys():
        return None
    busy, idle = (datetime.fromisoformat(noted[f"iopub.status.{state}"]) for state in ("busy", "idle"))
    return (idle - busy).total_seconds()


if __name__ == "__main__":
    for line in [_HEAD, ["---"] * len(_HEAD), *([f"[{x.title}]({x.file})", *_line(x)[1:]] for x in course())]:
        print("|", " | ".join(line), "|")
