"""The way in: `make lab` opens the first notebook, and nobody comes in without the token."""

import re
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest
from lab import IN_THE_PAGE, PANEL, ROOT, free_port, jupyter_homes, running
from playwright.sync_api import expect

pytestmark = pytest.mark.browser


def test_without_the_token_the_server_refuses(browser, server):
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(f"{server.url}/api/contents", timeout=10)
    stranger = browser.new_context()
    page = stranger.new_page()
    page.goto(f"{server.url}/lab/tree/00_start_here.ipynb")
    assert "/login" in page.url and page.locator(PANEL).count() == 0
    stranger.close()


@pytest.fixture
def clone(tmp_path):
    """A fresh clone, with the Makefile as it lies here."""
    if not (ROOT / ".git").exists() or not shutil.which("git"):
        pytest.skip("not run: a clone is made by git, and this is no git checkout")
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(tmp_path / "clone")], check=True)
    shutil.copy(ROOT / "Makefile", tmp_path / "clone")
    return tmp_path / "clone"


def test_make_lab_opens_the_first_notebook(browser, clone, tmp_path):
    """A fresh clone's players are there before any cell has run: its notebooks are trusted; one that was changed is not."""
    changed = clone / "notebooks" / "01_prepare_data.ipynb"
    changed.write_text(changed.read_text(encoding="utf-8").replace("# 01 ·", "# 1 ·"), encoding="utf-8")
    command = ["make", "-C", str(clone), "-o", "setup", "lab", f"RUN={sys.executable} -m",
               f"LAB_ARGS=--no-browser --port {free_port()} --allow-root --expose-app-in-browser"]  # fmt: skip
    log = tmp_path / "make.log"
    with running(command, log, jupyter_homes(tmp_path)):
        context = browser.new_context()
        context.add_init_script(IN_THE_PAGE)
        page = context.new_page()
        page.goto(printed_address(log))
        page.wait_for_function("window.kit && window.jupyterapp && kit.idle()", timeout=60_000)
        assert page.locator(f"{PANEL} h1").first.inner_text().startswith("00 · Start here")
        assert page.evaluate("kit.trusted()")
        expect(page.locator(f"{PANEL} .jp-OutputArea").locator("iframe")).to_have_count(1)
        page.get_by_role("listitem").filter(has_text="01_prepare_data.ipynb").dblclick()
        page.wait_for_function("kit.panel().title.label.startsWith('01') && kit.idle()", timeout=60_000)
        assert not page.evaluate("kit.trusted()")
        still = page.locator(f"{PANEL} img[alt$='first, middle and last frame']").first
        still.scroll_into_view_if_needed()
        assert still.evaluate("(e) => e.decode().then(() => e.naturalWidth)") > 100, "a picture stands in for what may not run"
        assert page.locator(f"{PANEL} iframe").count() == 0
        context.close()


def printed_address(log) -> str:
    """The address with the token that JupyterLab prints for who has no browser here."""
    for _ in range(300):
        if found := re.search(r"http://127\.0\.0\.1:\d+/lab\S*token=\w+", log.read_text(encoding="utf-8")):
            return found[0]
        time.sleep(0.2)
    raise AssertionError(log.read_text(encoding="utf-8"))
