"""The folders import downwards only, as the flow of the data goes, and pictures are made in one place."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "dn3dlib"
# Each may import from those before it; modules of one folder may import each other.
ORDER = ("errors", "quiet", "config", "presets", "files", "places", "progress", "data", "model", "metrics", "train", "evaluate", "show", "cli")
MODULES = sorted(PACKAGE.rglob("*.py"))


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            found.add(node.module)
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_folder_imports_only_from_those_above_it(path):
    place = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    if place in ("__init__", "__main__"):
        return
    for name in imports(path):
        if name.startswith("dn3dlib."):
            assert ORDER.index(name.split(".")[1]) <= ORDER.index(place), f"{path.name} imports {name}"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_only_show_draws(path):
    drawing = {name for name in imports(path) if name.split(".")[0] in ("matplotlib", "ipywidgets", "IPython")}
    assert not drawing or path.parent.name == "show"


def test_the_library_stays_small():
    assert sum(len(path.read_text(encoding="utf-8").splitlines()) for path in MODULES) < 6000
