"""A kernel, asked as a page asks it: cells with an id, and messages to widgets while a cell runs."""

import textwrap
from collections.abc import Callable

from jupyter_client.manager import start_new_kernel


class Page:
    """Calling it runs code as JupyterLab would run the cell of that id, and gives what it prints."""

    def __init__(self):
        self._manager, self._client = start_new_kernel(kernel_name="python3")
        self.shown: dict[str, list[dict]] = {}  # of the last cell: display id → what was shown in that place, one after the other
        self.opened: dict[str, dict] = {}  # of the last cell: comm id → state of the widget at its start

    def __call__(self, source: str, cell_id: str = "", during: Callable[[], None] = lambda: None) -> str:
        """`during` is called at each message that comes while the cell runs."""
        content = {"code": textwrap.dedent(source), "silent": False, "store_history": True}
        content |= {"user_expressions": {}, "allow_stdin": False, "stop_on_error": True}
        message = self._client.session.msg("execute_request", content)
        message["metadata"] = {"cellId": cell_id} if cell_id else {}
        self._client.shell_channel.send(message)
        self.shown, self.opened, printed = {}, {}, ""
        while True:
            answer = self._client.get_iopub_msg(timeout=120)
            if answer["parent_header"].get("msg_id") != message["header"]["msg_id"]:
                continue
            kind, content = answer["msg_type"], answer["content"]
            assert kind != "error", "\n".join(content.get("traceback", []))
            if kind == "stream":
                printed += content["text"]
            elif kind in ("display_data", "update_display_data"):
                self.shown.setdefault(content["transient"].get("display_id", ""), []).append(content["data"])
            elif kind == "comm_open":
                self.opened[content["comm_id"]] = content["data"]["state"]
            elif kind == "status" and content["execution_state"] == "idle":
                return printed
            during()

    def press(self, comm_id: str) -> None:
        """Press a button as JupyterLab does while a cell runs: its message goes to a subshell, a thread of its own."""
        control = self._client.control_channel
        control.send(self._client.session.msg("create_subshell_request", {}))
        subshell = control.get_msg(timeout=30)["content"]["subshell_id"]
        message = self._client.session.msg("comm_msg", {"comm_id": comm_id, "data": {"method": "custom", "content": {"event": "click"}}})
        message["header"]["subshell_id"] = subshell
        self._client.shell_channel.send(message)

    def interrupt(self) -> None:
        """The ■ of the toolbar."""
        self._manager.interrupt_kernel()

    def close(self) -> None:
        """End the kernel."""
        self._client.stop_channels()
        self._manager.shutdown_kernel(now=True)
