"""What the browser tests share: Chromium, the course with small parameters, JupyterLab on it, and each notebook run once."""

import contextlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from lab import IN_THE_PAGE, PICTURES, ROOT, Server, end_kernels, open_notebook, run_all, served
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from dn3dlib.places import data_home

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# No sandbox: as root, in a container, Chromium starts only so; what it opens here is the kit's own. The others keep it off the network.
CHROMIUM_OPTIONS = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
                    "--disable-component-update", "--disable-sync")  # fmt: skip
ONE_SCREEN = {"width": 1280, "height": 1400}


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items):
    """The tests on one notebook stand together: it is opened and run once for all of them."""
    items.sort(key=lambda item: getattr(item, "callspec", None) and item.callspec.params.get("ran") or "")


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of Chromium; where there is none the test is skipped."""
    found = os.environ.get("DN3D_CHROMIUM") or next(filter(None, map(shutil.which, BROWSERS)), None)
    if not found:
        pytest.skip("not run: no Chromium was found; install it (on Debian: apt-get install chromium), or let DN3D_CHROMIUM name its path")
    return found


@pytest.fixture(scope="session")
def browser(chromium) -> Browser:
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=chromium, args=CHROMIUM_OPTIONS)
        yield opened
        opened.close()


@pytest.fixture(scope="session")
def small_run(small_set, tmp_path_factory) -> Path:
    """A run of the preset quick, three epochs on `small_set`: large enough a picture, little to compute."""
    from dataclasses import replace

    from dn3dlib.presets import find_preset
    from dn3dlib.train.loop import train

    setup, run_dir = find_preset("quick"), tmp_path_factory.mktemp("small run") / "small-run"
    train(small_set, run_dir, setup.clip, setup.model, replace(setup.train, epochs=3), device="cpu", show_progress=False)
    return run_dir


@pytest.fixture(scope="session")
def home(tmp_path_factory) -> Path:
    """A folder for all that JupyterLab and the notebooks make."""
    return tmp_path_factory.mktemp("browser")


@pytest.fixture(scope="session")
def notebooks(home, small_set, small_run) -> Path:
    """A copy of the course, its parameters small, without outputs."""
    folder = home / "notebooks"
    shutil.copytree(ROOT / "notebooks", folder, ignore=shutil.ignore_patterns(".ipynb_checkpoints"))
    videos = str(small_set.parent / "source")
    small = {
        "00_start_here": {},
        "01_prepare_data": {"dataset": "folder", "source_dir": videos},
        "02_train": {"dataset": "folder", "data_dir": str(small_set), "epochs": 2},
        "03_build_the_network": {"frames": 8, "size": 32},
        "04_look_inside": {"run_dir": str(small_run), "views": 1, "patch": 32},
        "05_evaluate": {"run_dir": str(small_run), "unseen_people": 2},
        "06_debug_the_original": {"data_dir": str(small_set), "steps": 3},
    }
    for name, parameters in small.items():
        shrink(folder / f"{name}.ipynb", parameters | ({} if name[:2] in ("01", "03") else {"device": "cpu"}))
    return folder


def shrink(path: Path, parameters: dict) -> None:
    """Give the notebook's parameters other values, as a learner who edits that cell, and clear all outputs."""
    notebook = json.loads(path.read_text(encoding="utf-8"))
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            cell["outputs"], cell["execution_count"] = [], None
            if "parameters" in cell["metadata"].get("tags", []):
                source = "".join(cell["source"])
                for name, value in parameters.items():
                    source, changed = re.subn(rf"^({name}: \w+) = \S+", lambda found, value=value: f"{found[1]} = {value!r}", source, flags=re.M)
                    assert changed == 1, f"{path.name} declares no parameter {name}"
                cell["source"] = source
    path.write_text(json.dumps(notebook), encoding="utf-8")


@pytest.fixture(scope="session")
def server(home, notebooks) -> Server:
    data = home / "data"
    data.mkdir()
    drawn = data_home() / "synthetic-0"
    if drawn.is_dir():  # else the first notebook that needs it draws it
        (data / "synthetic-0").symlink_to(drawn.resolve())
    with served(notebooks, home, {"DN3D_DATA": str(data), "DN3D_RUNS": str(home / "runs"), "PYTHONPATH": str(ROOT)}) as started:
        yield started


@pytest.fixture(scope="session")
def context(browser) -> BrowserContext:
    """A browser in which a learner has been from the first notebook on."""
    opened = browser.new_context(viewport=ONE_SCREEN)
    opened.add_init_script(IN_THE_PAGE)
    yield opened
    opened.close()


@pytest.fixture
def page(context, server) -> Page:
    """An empty page of that browser, and no kernel."""
    with new_page(context, server) as opened:
        yield opened


@pytest.fixture(scope="session")
def ran(context, server, request) -> Page:
    """The notebook of that name, opened and all its cells run; until the last test with it the console stays silent."""
    with new_page(context, server) as opened:
        open_notebook(opened, server, f"{request.param}.ipynb", token=True)
        run_all(opened)
        yield opened
        assert opened.said == [], "in the browser's console"


@contextlib.contextmanager
def new_page(context: BrowserContext, server: Server) -> Iterator[Page]:
    """A page that remembers what goes wrong in it, in `page.said`."""
    page = context.new_page()
    page.said = []
    page.on("console", lambda message: page.said.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: page.said.append(f"uncaught: {error}"))
    try:
        yield page
    finally:
        page.close()
        end_kernels(server)


@pytest.fixture(scope="session", autouse=True)
def pictures() -> None:
    """The screenshots of an earlier run are of no use."""
    shutil.rmtree(PICTURES, ignore_errors=True)
