"""Each notebook of the course in a real JupyterLab: all cells run, nothing goes wrong on the page, and it stays small."""

import json
import re

import pytest
from lab import PANEL, PICTURES, ROOT, WIDGET, WIDGET_VIEW, screenshots, state

pytestmark = pytest.mark.browser
NAMES = sorted(path.stem for path in (ROOT / "notebooks").glob("[0-9]*.ipynb"))
each_notebook = pytest.mark.parametrize("ran", NAMES, indirect=True)
LARGEST = 3_000_000  # bytes of outputs in the browser's memory
# Of a picture: its width, its words, how it is written. JupyterLab 4.6 makes no `alt` of the words that a PNG brings, as nbconvert does: these are
# looked for in the notebook.
LOOKS = """(all) => all.map((e) => [e.naturalWidth, e.alt || e.title || (e.closest(".jp-RenderedImage") && "in the notebook"), e.outerHTML.slice(0, 200)])"""


def name_of(page) -> str:
    return re.search(r"/tree/(\w+)\.ipynb", page.url)[1]


@each_notebook
def test_all_cells_run_and_nothing_goes_wrong(ran):
    assert "token" not in ran.url, "the token is asked for once"
    outputs = [output for cell in state(ran) for output in cell["outputs"]]
    assert ["".join(output["text"]) for output in outputs if output.get("name") == "stderr"] == [], "a warning stands in a coloured box"
    assert ran.locator(f"{PANEL} [data-mime-type='application/vnd.jupyter.stderr']").count() == 0
    assert ran.locator(f"{PANEL} [data-mime-type='application/vnd.jupyter.error']").count() == 0
    assert ran.locator(".jp-Dialog").count() == 0
    assert ran.said == [], "in the browser's console"


@each_notebook
def test_every_picture_and_every_widget_is_there(ran):
    screenshots(ran, name_of(ran))  # having been scrolled through, everything has been drawn
    pictures = ran.eval_on_selector_all(f"{PANEL} .jp-OutputArea img", LOOKS)
    assert pictures and [html for width, _, html in pictures if not width] == [], "pictures that are not decoded"
    assert [html for _, words, html in pictures if not words] == [], "pictures without words for who cannot see them"
    outputs = [output for one in state(ran) for output in one["outputs"] if "image/png" in output.get("data", {})]
    assert all(output["metadata"]["image/png"]["alt"] for output in outputs)
    wanted = sum(WIDGET in output.get("data", {}) for cell in state(ran) for output in cell["outputs"])
    assert ran.locator(f"{PANEL} {WIDGET_VIEW}").count() == wanted
    text = ran.locator(f"{PANEL} .jp-Notebook").inner_text()
    assert "Error displaying widget" not in text and "Loading widget" not in text


@each_notebook
def test_the_page_stays_small(ran):
    """Counted are the outputs as the page's model of the notebook holds them, and the state of all its widgets; bytes of JSON, binary data as base64."""
    outputs = sum(len(json.dumps(cell["outputs"])) for cell in state(ran))
    widgets = len(ran.evaluate("kit.widgets()"))
    print(f"{name_of(ran)}: outputs {outputs:,} bytes, widgets {widgets:,}")
    assert 0 < outputs + widgets <= LARGEST


@pytest.mark.parametrize("ran", ["04_look_inside"], indirect=True)
def test_in_the_dark(ran):
    """Whether the kit's pictures and players can be read there is seen in the screenshots."""
    theme(ran, "JupyterLab Dark")
    background = ran.eval_on_selector(f"{PANEL} .jp-WindowedPanel-outer", "(e) => getComputedStyle(e).backgroundColor")
    assert max(map(int, re.findall(r"\d+", background)[:3])) < 60
    screenshots(ran, "04_look_inside-dark")
    theme(ran, "JupyterLab Light")
    assert list(PICTURES.glob("04_look_inside-dark-*.png"))


def theme(page, name: str) -> None:
    """As Settings → Theme."""
    page.evaluate("(theme) => window.jupyterapp.commands.execute('apputils:change-theme', { theme })", name)
    page.wait_for_function("(theme) => document.body.dataset.jpThemeName === theme", arg=name)
