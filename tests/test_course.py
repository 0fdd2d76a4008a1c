"""The course in a table: what its notebooks tell of themselves; and every page and link that leads through it."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from dn3dlib.errors import RunError
from dn3dlib.machine import Finding
from dn3dlib.show import course as page
from dn3dlib.show.course import course, course_table
from dn3dlib.show.tables import machine_table

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "notebooks" / "README.md", ROOT / "notebooks" / "glossary.md", ROOT / "data" / "README.md"]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))


def notebook(folder: Path, title: str, words: int, seconds: tuple[float | None, ...]) -> None:
    def code(second):
        noted = {"iopub.status.busy": "2026-01-01T00:00:00.000000Z", "iopub.status.idle": f"2026-01-01T00:0{int(second or 0) // 60}:{(second or 0) % 60:09.6f}Z"}
        return {"cell_type": "code", "source": [], "metadata": {"execution": noted} if second is not None else {}}

    prose = {"cell_type": "markdown", "metadata": {}, "source": [f"# {title}\n", "word " * words, "\n**1.** one\n", "\n**2.** two\n"]}
    (folder / f"{title[:2]}_x.ipynb").write_text(json.dumps({"cells": [prose, *map(code, seconds)]}))


def test_a_course_of_two(tmp_path, monkeypatch):
    monkeypatch.setattr(page, "notebooks_home", lambda: tmp_path)
    notebook(tmp_path, "01 · Later", 1000, (61.5, 0.25))
    notebook(tmp_path, "00 · First", 10, (3.0, None))
    first, later = course()
    assert (first.title, first.file, first.exercises, first.seconds) == ("00 · First", "00_x.ipynb", 2, None)
    assert later.seconds == pytest.approx(61.75) and later.minutes == ("6", "2") and first.minutes == ("1", "–")
    html = course_table([first, later]).data
    assert html.count("<tr>") == 3 and "<td style=\"text-align:right\">2</td>" in html


def test_no_course_without_a_checkout(monkeypatch):
    monkeypatch.setattr(page, "notebooks_home", lambda: None)
    with pytest.raises(RunError, match="work in a checkout"):
        course()


def test_the_command_prints_a_line_for_each_notebook():
    told = subprocess.run([sys.executable, "-m", "dn3dlib.show.course"], capture_output=True, text=True, check=True, cwd=ROOT).stdout
    assert [line.split("](")[1].split(")")[0] for line in told.splitlines()[2:]] == [path.name for path in NOTEBOOKS]


def test_the_stored_table_of_notebook_00_has_a_line_for_each_notebook():
    outputs = [output for cell in json.loads(NOTEBOOKS[0].read_text(encoding="utf-8"))["cells"] for output in cell.get("outputs", [])]
    (table,) = [html for output in outputs if "minutes to read" in (html := "".join(output.get("data", {}).get("text/html", "")))]
    assert re.findall(r"<tr><td[^>]*>(.*?)</td>", table) == [lesson.title for lesson in course()]


def test_the_machine_in_a_table():
    html = machine_table([Finding("disk", "<1 GB free", False, "Make room."), Finding("memory", "9 GB", True, "Close others.")]).data
    assert "✗ MEND" in html and "&lt;1 GB free" in html and "Make room." in html
    assert "✓ good" in html and "Close others." not in html, "no remedy where none is needed"


def slugs(path: Path) -> set[str]:
    headings = [line.lstrip("#").strip() for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("#")]
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_each_link_leads_somewhere(path):
    for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text(encoding="utf-8")):
        if target.startswith(("http://", "https://")):
            continue
        file, _, anchor = target.partition("#")
        there = (path.parent / file).resolve() if file else path
        assert there.exists(), target
        assert not anchor or anchor in slugs(there), target


@pytest.mark.parametrize("path", PAGES[:2], ids=lambda path: str(path.relative_to(ROOT)))
def test_each_notebook_is_listed_and_each_listed_one_is_there(path):
    rows = re.findall(r"^\|[^|]*?(\d\d_\w+)(?:\.ipynb)?[`)]", path.read_text(encoding="utf-8"), flags=re.M)
    assert sorted(set(rows)) == [notebook.stem for notebook in NOTEBOOKS]


def test_the_page_tells_the_times_of_every_notebook():
    """The table is what the command prints; how long computing takes may have changed since."""
    told = (ROOT / "notebooks" / "README.md").read_text(encoding="utf-8").split("## How long it takes", 1)[1].split("\n## ", 1)[0]
    rows = [[field.strip() for field in line.split("|")[1:-1]] for line in told.splitlines() if line.startswith("| [")]
    assert [(row[0], row[3]) for row in rows] == [(f"[{one.title}]({one.file})", str(one.exercises)) for one in course()]
