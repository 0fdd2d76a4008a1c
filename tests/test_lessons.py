"""What holds for every notebook: its skeleton, its length, what it stores, and that every picture can be read."""

import ast
import html
import json
import re
import statistics
from pathlib import Path

import pytest

from dn3dlib.show.players import MAX_BYTES

NOTEBOOKS = sorted((Path(__file__).resolve().parents[1] / "notebooks").glob("[0-9]*.ipynb"))
SOLUTIONS = [path.parent / "solutions" / path.name for path in NOTEBOOKS]
GLOSSARY = NOTEBOOKS[0].parent / "glossary.md"
# `# 03 · Name`, then these, with the steps between the fourth and the fifth.
SKELETON = ("You will", "You need", "Parameters", "Check yourself", "What you learned", "Exercises", "Next")
STEP = re.compile(r"Step (\d+) · \S")
PARAMETER = re.compile(r"\w+: (str|int|float|bool) = .+  # \S+ \S+.*")
# A number with a point or a per cent sign is a measurement, which a cell must print; these are none.
NO_MEASUREMENT = {"95 %": "the name of an interval", "1.2 GB": "the size of a published download"}
MEASUREMENT = re.compile(r"\d+[.,]\d+(?: [A-Z]?B\b)?|\d+ ?%")
MACHINE = re.compile(r"(?<![\w.:/])/(?:home|root|Users|tmp|work|mnt|opt|usr|var)/\S*|[A-Z]:\\\\\w")
WIDGET = re.compile(r"\b(?:with_controls|explore|\w+_explorer|Clickable)\(")
WITH_PLAYERS, WITHOUT = 1_500_000, 300_000  # bytes
ids = [path.name for path in NOTEBOOKS]
each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=ids)
each_stored = pytest.mark.parametrize("path", NOTEBOOKS + SOLUTIONS, ids=[*ids, *(f"solutions/{name}" for name in ids)])


def read(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


def cells_of(path: Path, kind: str) -> list[str]:
    return ["".join(cell["source"]) for cell in read(path)["cells"] if cell["cell_type"] == kind]


def headings_of(path: Path, level: int) -> list[str]:
    lines = "\n".join(cells_of(path, "markdown")).splitlines()
    return [line[level + 1 :] for line in lines if line.startswith("#" * level + " ")]


def section(path: Path, heading: str) -> str:
    """The text of a section, code and markdown, without its heading."""
    whole = "\n\n".join("".join(cell["source"]) for cell in read(path)["cells"])
    return re.split(r"^## ", whole.split(f"## {heading}\n", 1)[1], maxsplit=1, flags=re.M)[0]


def code_lines(source: str) -> list[str]:
    return [line for line in source.splitlines() if line.strip() and not line.strip().startswith("#")]


def prose(path: Path) -> str:
    """Markdown without code, links' targets and tables' rulers."""
    text = "\n\n".join(cells_of(path, "markdown"))
    return re.sub(r"```.*?```|`[^`\n]*`|^(?: {4}).*$|\]\([^)]*\)|<[^>]*>", " ", text, flags=re.M | re.S)


@each_notebook
def test_the_skeleton(path):
    (title,) = headings_of(path, 1)
    assert title.startswith(f"{path.name[:2]} · ")
    headings = headings_of(path, 2)
    steps = [match.group(1) for heading in headings if (match := STEP.match(heading))]
    assert [int(number) for number in steps] == list(range(1, len(steps) + 1)) and steps
    assert [heading for heading in headings if not STEP.match(heading)] == list(SKELETON)
    assert all(STEP.match(heading) for heading in headings[3:-4])


@each_notebook
def test_parameters_are_declared_explained_and_checked(path):
    first, second = [cell for cell in read(path)["cells"] if cell["cell_type"] == "code"][:2]
    assert first["metadata"]["tags"] == ["parameters"] and not first["outputs"]
    for line in "".join(first["source"]).splitlines():
        assert PARAMETER.fullmatch(line), line
    assert "check_parameters(globals())" in "".join(second["source"])
    for cell in read(path)["cells"]:
        assert "parameters" not in cell["metadata"].get("tags", []) or cell == first


@each_notebook
def test_cells_are_short(path):
    lengths = [len(code_lines(source)) for source in cells_of(path, "code")]
    assert max(lengths) <= 25 and sum(lengths) <= 150, lengths
    assert 1 <= statistics.median(lengths) <= 6


@each_stored
def test_stored_as_one_clean_run(path):
    notebook = read(path)
    assert notebook["metadata"]["kernelspec"]["name"] == "python3"
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    outputs = [output for cell in code for output in cell["outputs"]]
    assert not [output for output in outputs if output["output_type"] == "error"]
    assert not [output for output in outputs if output.get("name") == "stderr" and "Traceback" in "".join(output["text"])]
    assert "papermill" not in notebook["metadata"] and "widgets" not in notebook["metadata"]


@each_stored
def test_no_path_of_a_machine(path):
    found = [match for cell in read(path)["cells"] for match in MACHINE.findall(json.dumps(cell))]
    assert not [match for match in found if not match.startswith("/path/to/")], found


@each_stored
def test_the_size(path):
    players = [page for page in htmls_of(path) if "srcdoc=" in page]
    size = path.stat().st_size
    assert size <= (WITH_PLAYERS if players else WITHOUT), f"{path.name} has {size:,} bytes"


def htmls_of(path: Path) -> list[str]:
    outputs = [output for cell in read(path)["cells"] for output in cell.get("outputs", [])]
    return ["".join(output["data"].get("text/html", "")) for output in outputs if "data" in output]


@each_notebook
def test_players_are_small_and_never_compared(path):
    """Another version of the codec writes other bytes, which is no fault."""
    for cell in read(path)["cells"]:
        for output in cell.get("outputs", []):
            page = html.unescape("".join(output.get("data", {}).get("text/html", "")))
            if "srcdoc=" in page:
                assert len(page) <= MAX_BYTES * len(json.loads(re.search(r"const film = (\{.*?\});\n", page)[1])["clips"])
                assert "nbval-ignore-output" in cell["metadata"].get("tags", [])


@each_stored
def test_pictures_have_words(path):
    """For who cannot see it an alternative text; for who can, what to read in it, said before."""
    before = ""
    for cell in read(path)["cells"]:
        if cell["cell_type"] == "markdown":
            before = "".join(cell["source"])
        for output in cell.get("outputs", []):
            for alt in alts_of(output):
                assert len(alt.split()) >= 3, f"{path.name}: a picture without alt text after {before[:60]!r}"
                assert re.search(r"\b[Rr]ead\b", before), f"{path.name}: nothing says what to read in the picture after {before[:60]!r}"


def alts_of(output: dict) -> list[str]:
    """The alternative text of each picture of an output, of a PNG and of images in HTML but for players; empty where there is none."""
    data = output.get("data", {})
    found = [output["metadata"].get("image/png", {}).get("alt", "")] if "image/png" in data else []
    page = "".join(data.get("text/html", ""))
    images = [] if "srcdoc=" in page else re.findall(r"<img\b[^>]*>", page)
    return found + ["".join(re.findall(r' alt="([^"]*)"', image)) for image in images]


@each_notebook
def test_each_widget_has_its_static_twin(path):
    """A cell that shows a widget stores none; a picture stands in the code cell after it, or the matrix itself in the one before."""
    code = [cell for cell in read(path)["cells"] if cell["cell_type"] == "code"]
    pictured = [any(map(alts_of, cell["outputs"])) for cell in code]
    for place, cell in enumerate(code):
        source = "".join(cell["source"])
        if WIDGET.search(code_lines(source)[-1]):
            assert not cell["outputs"], f"{path.name}: something is stored in {source[-60:]!r}"
            before = "confusion" in source and pictured[place - 1]
            assert before or pictured[place + 1], f"{path.name}: no picture beside {source[-60:]!r}"


@each_stored
def test_no_measured_number_in_prose(path):
    found = [text for text in MEASUREMENT.findall(prose(path)) if text not in NO_MEASUREMENT]
    assert not found, f"{path.name}: print these, or render them from a variable: {found}"


@each_notebook
def test_three_exercises_that_are_checked_and_untouched(path):
    text = section(path, "Exercises")
    assert len(re.findall(r"^\*\*\d\.\*\*", text, flags=re.M)) >= 3
    checked = re.findall(r'EXERCISES\["(\w+)"\]\.check\(', text)
    assert len(set(checked)) >= 3 and len(re.findall(r"= \.\.\.$", text, flags=re.M)) >= 3
    solved = "\n".join(cells_of(path.parent / "solutions" / path.name, "code"))
    for name in checked:
        assert f'assert EXERCISES["{name}"].check(' in solved, f"no solution asserts {name}"


@each_notebook
def test_the_questions_explain_each_wrong_choice(path):
    """A question in bold, then three choices or more that open; each says why it is right or wrong; one is right."""
    text = section(path, "Check yourself")
    questions = re.split(r"^\*\*(?=.+\?\*\*$)", text, flags=re.M)[1:]
    assert len(questions) >= 3
    for question in questions:
        answers = re.findall(r"<details><summary>(.+?)</summary>\s*(.+?)\s*</details>", question, flags=re.S)
        assert len(answers) >= 3, question
        assert sum(answer.startswith("Right") for _, answer in answers) == 1, question
        assert all(answer.startswith(("Right", "No")) and len(answer.split()) >= 5 for _, answer in answers), question


@each_notebook
def test_words_are_linked_to_the_glossary(path):
    """Every link leads to a word that is there; each notebook explains some."""
    words = {re.sub(r"[^a-z0-9]+", "-", line[3:].lower()).strip("-") for line in GLOSSARY.read_text(encoding="utf-8").splitlines() if line.startswith("## ")}
    linked = re.findall(r"\]\(glossary\.md#([^)]+)\)", "\n".join(cells_of(path, "markdown")))
    assert len(set(linked)) >= 3 and set(linked) <= words, set(linked) - words
    assert len(linked) == len(set(linked)), "a word is linked at its first use"


@each_notebook
def test_nothing_is_asserted_that_cannot_fail(path):
    for source in cells_of(path, "code"):
        for node in ast.walk(ast.parse(re.sub(r"^%.*$", "", source, flags=re.M))):
            assert not (isinstance(node, ast.Assert) and isinstance(node.test, ast.Constant)), source
