"""A real JupyterLab in a real Chromium, and what a learner does there: open a notebook, run it, look, drag, press a key."""

import contextlib
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Locator, Page

ROOT = Path(__file__).resolve().parents[2]
PICTURES = ROOT / "out" / "browser"  # the screenshots, to be looked at
PANEL = ".jp-NotebookPanel:not(.lm-mod-hidden)"  # the notebook in front
WIDGET = "application/vnd.jupyter.widget-view+json"
WIDGET_VIEW = ".jp-OutputArea-output > .jupyter-widgets"

# In the page: the notebook that is open, its code cells, and the manager of its widgets. JupyterLab shows itself as `jupyterapp`
# with --expose-app-in-browser. Whoever asks a WidgetRenderer for its manager gets the one that all widgets of the notebook share.
IN_THE_PAGE = """
window.kit = {
  panel: () => window.jupyterapp.shell.currentWidget,
  code: () => kit.panel().content.widgets.filter((cell) => cell.model.type === "code"),
  idle: () => kit.panel()?.sessionContext?.session?.kernel?.status === "idle" && kit.panel().content.model?.cells.length > 0,
  state: () => kit.code().map((cell) => ({
    id: cell.model.id, source: cell.model.sharedModel.source, count: cell.model.executionCount,
    running: cell.model.executionState !== "idle", outputs: cell.model.outputs.toJSON() })),
  trusted: () => kit.code().every((cell) => cell.model.trusted),
  manager: () => kit.panel().content.rendermime.createRenderer("application/vnd.jupyter.widget-view+json")._manager.promise,
  models: async () => Object.keys((await kit.manager())._models).length,
  widgets: async () => JSON.stringify(await (await kit.manager()).get_state()),
};
"""


@dataclass
class Server:
    """A JupyterLab that runs: its address and its token."""

    url: str
    token: str


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@contextlib.contextmanager
def served(root: Path, home: Path, environment: dict[str, str]) -> Iterator[Server]:
    """JupyterLab on the notebooks in `root`, with settings of its own in `home`, until the block ends."""
    server = Server(f"http://127.0.0.1:{free_port()}", secrets.token_hex(24))
    options = {
        "ServerApp.ip": "127.0.0.1", "ServerApp.port": server.url.rpartition(":")[2], "ServerApp.port_retries": 0,
        "IdentityProvider.token": server.token, "ServerApp.open_browser": False, "ServerApp.allow_root": True,
        "LabApp.expose_app_in_browser": True, "LabApp.extension_manager": "readonly",
    }  # fmt: skip
    command = [sys.executable, "-m", "jupyterlab", *(f"--{name}={value}" for name, value in options.items()), str(root)]
    with running(command, home / "server.log", environment | jupyter_homes(home)) as process:
        wait_for(server, process, home / "server.log")
        yield server


def jupyter_homes(home: Path) -> dict[str, str]:
    """Where JupyterLab keeps what is the user's: here, a folder of the test, so that nobody's own settings play a part."""
    settings = home / "settings" / "@jupyterlab" / "apputils-extension" / "notification.jupyterlab-settings"
    settings.parent.mkdir(parents=True, exist_ok=True)
    settings.write_text('{"fetchNews": "false", "checkForUpdates": false}', encoding="utf-8")  # both would ask the network
    names = {"JUPYTER_CONFIG_DIR": "config", "JUPYTER_DATA_DIR": "data", "JUPYTER_RUNTIME_DIR": "runtime",
             "JUPYTERLAB_SETTINGS_DIR": "settings", "JUPYTERLAB_WORKSPACES_DIR": "workspaces"}  # fmt: skip
    return {variable: str(home / name) for variable, name in names.items()}


@contextlib.contextmanager
def running(command: list[str], log: Path, environment: dict[str, str]) -> Iterator[subprocess.Popen]:
    """A process, its words in `log`; asked to end, with its children, when the block ends."""
    with log.open("w", encoding="utf-8") as words:
        process = subprocess.Popen(command, cwd=ROOT, env=os.environ | environment, stdout=words, stderr=subprocess.STDOUT, start_new_session=True)
        try:
            yield process
        finally:
            os.killpg(process.pid, signal.SIGTERM)  # its own group: make, the server; the server ends its kernels
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def wait_for(server: Server, process: subprocess.Popen, log: Path) -> bytes:
    until = time.monotonic() + 90
    while True:
        with contextlib.suppress(OSError):  # nobody listens there yet
            return asked(server, "/api/status")
        if process.poll() is not None or time.monotonic() > until:
            raise RuntimeError(f"JupyterLab does not answer at {server.url}:\n{log.read_text(encoding='utf-8')[-3000:]}")
        time.sleep(0.3)


def asked(server: Server, path: str, method: str = "GET") -> bytes:
    """What the server answers to who has the token."""
    request = urllib.request.Request(server.url + path, headers={"Authorization": f"token {server.token}"}, method=method)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return answer.read()


def end_kernels(server: Server) -> None:
    """As File → Shut Down All: a TensorFlow for each notebook would fill the memory."""
    for session in json.loads(asked(server, "/api/sessions")):
        asked(server, f"/api/sessions/{session['id']}", "DELETE")


# What a learner does


def open_notebook(page: Page, server: Server, name: str, token: bool = False) -> None:
    """Open `name`, a path below the server's root, alone in its workspace, and wait until its kernel is there."""
    more = f"&token={server.token}" if token else ""
    page.goto(f"{server.url}/lab/workspaces/{Path(name).stem}/tree/{name}?reset{more}")
    page.wait_for_function("window.kit && window.jupyterapp && kit.idle()", timeout=90_000)


def run_all(page: Page, seconds: float = 150) -> list[dict]:
    """Run → Run All Cells, as a learner would; wait until all have run. An error in a cell fails at once."""
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    return ran_until(page, lambda cells: all(cell["count"] and not cell["running"] for cell in cells), seconds)


def run_cell(page: Page, containing: str, seconds: float = 120, wait: bool = True) -> None:
    """Select the code cell that contains these words and press Control-Enter, which makes no new cell after the last one."""
    place = place_of(page, containing)
    before = state(page)[place]["count"]
    cell(page, containing).locator(".jp-InputPrompt").click()
    page.keyboard.press("Control+Enter")
    if wait:
        ran_until(page, lambda cells: cells[place]["count"] not in (None, before) and not cells[place]["running"], seconds)


def ran_until(page: Page, finished, seconds: float) -> list[dict]:
    """Wait until `finished` holds for the state of the code cells; give that state."""
    until = time.monotonic() + seconds
    while True:
        cells = state(page)
        for one in cells:
            for output in one["outputs"]:
                assert output["output_type"] != "error", f"{one['source']}\n→ {output['ename']}: {output['evalue']}"
        if finished(cells):
            return cells
        waiting = [one["source"] for one in cells if one["running"]]
        assert time.monotonic() < until, f"not done after {seconds} seconds; first of {len(waiting)} that wait: {waiting[:1]}"
        page.wait_for_timeout(300)


def state(page: Page) -> list[dict]:
    """Of each code cell: id, source, count (of its run), running (or waiting to), outputs."""
    return page.evaluate("kit.state()")


def place_of(page: Page, containing: str) -> int:
    """The number of the one code cell that contains these words."""
    places = [place for place, one in enumerate(state(page)) if containing in one["source"]]
    assert len(places) == 1, f"{len(places)} code cells contain {containing!r}"
    return places[0]


def cell(page: Page, containing: str) -> Locator:
    """That cell on the page, scrolled into view."""
    found = page.locator(f"{PANEL} .jp-CodeCell").nth(place_of(page, containing))
    found.scroll_into_view_if_needed()
    return found


def edit_cell(page: Page, containing: str, old: str, new: str) -> None:
    """Replace words in a cell's source, as typed."""
    page.evaluate(
        "([n, old, replacement]) => { const model = kit.code()[n].model.sharedModel; model.setSource(model.source.replace(old, replacement)); }",
        [place_of(page, containing), old, new],
    )


def screenshots(page: Page, name: str) -> None:
    """The notebook from top to bottom, screen by screen, as `out/browser/NAME-01.png` …; it is looked at by people."""
    pane = page.locator(f"{PANEL} .jp-WindowedPanel-outer")
    pane.evaluate("(e) => e.scrollTo(0, 0)")
    for number in range(1, 100):  # how high the notebook is turns out on the way: what has not been in view is not laid out yet
        page.wait_for_timeout(150)
        page.screenshot(path=PICTURES / f"{name}-{number:02}.png")
        at_the_end = pane.evaluate("(e) => { const before = e.scrollTop; e.scrollBy(0, e.clientHeight - 60); return e.scrollTop === before; }")
        if at_the_end:
            break
