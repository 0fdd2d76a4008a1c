"""Tables of texts for notebooks, as HTML in the notebook's own colours."""

import html

from IPython.display import HTML


def table(lines: list[list[str]], numbers_from: int | None = None) -> HTML:
    """Lines of texts as a table, the first one its head; columns from `numbers_from` on stand at their right edge."""

    def cell(tag: str, place: int, text: str) -> str:
        side = "left" if numbers_from is None or place < numbers_from else "right"
        return f'<{tag} style="text-align:{side}">{html.escape(text)}</{tag}>'

    tags = ["th"] + ["td"] * (len(lines) - 1)
    rows = ["".join(cell(tag, place, text) for place, text in enumerate(line)) for tag, line in zip(tags, lines, strict=True)]
    return HTML("<table>" + "".join(f"<tr>{row}</tr>" for row in rows) + "</table>")
