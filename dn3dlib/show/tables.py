"""Tables of texts for notebooks, as HTML in the notebook's own colours.

Nothing here loads OpenCV, matplotlib or TensorFlow: a machine on which they are broken must still be told so in a table.
"""

import html

from IPython.display import HTML

from dn3dlib.machine import Finding


def table(lines: list[list[str]], numbers_from: int | None = None) -> HTML:
    """Lines of texts as a table, the first one its head; columns from `numbers_from` on stand at their right edge."""

    def cell(tag: str, place: int, text: str) -> str:
        side = "left" if numbers_from is None or place < numbers_from else "right"
        return f'<{tag} style="text-align:{side}">{html.escape(text)}</{tag}>'

    tags = ["th"] + ["td"] * (len(lines) - 1)
    rows = ["".join(cell(tag, place, text) for place, text in enumerate(line)) for tag, line in zip(tags, lines, strict=True)]
    return HTML("<table>" + "".join(f"<tr>{row}</tr>" for row in rows) + "</table>")


def machine_table(findings: list[Finding]) -> HTML:
    """What `check_machine` found, a line each, with what to do where something is not as needed. Taught in notebook 00."""
    lines = [["✓ good" if one.ok else "✗ MEND", one.name, one.found, "" if one.ok else one.remedy] for one in findings]
    return table([["", "what", "found", "what to do"], *lines])
