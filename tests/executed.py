"""What tests read out of a notebook that has been executed."""

import json
from pathlib import Path


def outputs_of(notebook: Path) -> list[dict]:
    """All outputs of its cells, none of which may be an error."""
    outputs = [output for cell in json.loads(notebook.read_text())["cells"] for output in cell.get("outputs", [])]
    assert not any(output["output_type"] == "error" for output in outputs)
    return outputs


def printed(notebook: Path) -> str:
    """All that its cells print."""
    return "".join("".join(output["text"]) for output in outputs_of(notebook) if output["output_type"] == "stream")
