"""The notebooks as they lie here, exported as HTML and opened from the disk: no network, no kernel."""

import re
import shutil

import pytest
from lab import ROOT
from nbconvert import HTMLExporter
from playwright.sync_api import expect

pytestmark = pytest.mark.browser
NAMES = sorted(path.stem for path in (ROOT / "notebooks").glob("[0-9]*.ipynb"))
# nbconvert's pages ask for these two by address. Offline they are not there, and nothing of the kit needs them: MathJax sets formulas, of which the
# course has none, and require.js loads widgets with a stored state, of which it stores none (below each stands a picture).
NOT_NEEDED = re.compile(r"https://[^/]+/ajax/libs/(require\.js|mathjax)/\S*")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where the pages lie: beside the pictures that the notebooks' text shows."""
    made = tmp_path_factory.mktemp("exported")
    shutil.copytree(ROOT / "notebooks" / "images", made / "images")
    return made


@pytest.mark.parametrize("name", NAMES)
def test_an_exported_notebook_stands_alone(browser, folder, name):
    path = folder / f"{name}.html"
    path.write_text(HTMLExporter().from_filename(ROOT / "notebooks" / f"{name}.ipynb")[0], encoding="utf-8")
    context = browser.new_context(offline=True)
    page = context.new_page()
    asked, said = [], []
    page.on("requestfailed", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("console", lambda message: said.append(f"{message.text} {message.location['url']}") if message.type == "error" else None)
    page.goto(path.as_uri(), wait_until="load")
    assert [url for url in asked if not NOT_NEEDED.match(url)] == []
    assert [words for words in said if not re.search(r"ERR_INTERNET_DISCONNECTED " + NOT_NEEDED.pattern, words)] == []
    pictures = page.eval_on_selector_all("img", "(all) => Promise.all(all.map(async (e) => { await e.decode(); return [e.naturalWidth, e.alt]; }))")
    assert pictures and all(width > 0 and alt for width, alt in pictures), "each notebook has pictures"
    frames = page.locator("iframe").all()
    assert len(frames) == (ROOT / "notebooks" / f"{name}.ipynb").read_text(encoding="utf-8").count("<iframe ")
    for frame in frames:
        frame.scroll_into_view_if_needed()
        frame.content_frame.locator("#play").click()
        expect(frame.content_frame.locator("#now")).not_to_have_text(re.compile("^frame 0 "))
    context.close()
