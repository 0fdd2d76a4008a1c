"""Drawings as SVG, written as text: small, sharp at any size, and made quickly enough to follow a slider that is dragged."""

import html
from dataclasses import dataclass
from urllib.parse import quote

_FONT = "DejaVu Sans, Verdana, sans-serif"


@dataclass(frozen=True)
class Drawing:
    """An SVG that a notebook shows, with a sentence for who cannot see it.

    It stands on the page as an image with that sentence: so it is shown in a notebook that is not trusted, too, and the page's styles do not reach into it.
    """

    svg: str
    alt: str

    def file(self) -> tuple[str, bytes]:
        """Its format and its bytes, for a widget."""
        return "svg+xml", self.svg.encode()

    def _repr_mimebundle_(self, include=None, exclude=None):
        source = quote(self.svg, safe=" /:;=,.()'")
        shown = f'<img src="data:image/svg+xml,{source}" alt="{html.escape(self.alt)}" style="max-width:100%">'
        return {"text/html": shown, "text/plain": f"<picture: {self.alt}>"}


def sheet(width: float, height: float, parts: list[str], alt: str) -> Drawing:
    """Parts on a white sheet, so that they can be read on a dark page, too. Lengths are in pixels, from the upper left corner."""
    white = element("rect", width=width, height=height, rx=4, fill="white")
    named = {"xmlns": "http://www.w3.org/2000/svg", "role": "img", "aria_label": alt, "font_family": _FONT}
    return Drawing(element("svg", white + "".join(parts), width=width, height=height, viewBox=f"0 0 {number(width)} {number(height)}", **named), alt)


def element(tag: str, content: str = "", **attributes) -> str:
    """An element around its content, which is SVG; the attribute `font_size` is written font-size, `class_` class."""
    written = "".join(f" {name.rstrip('_').replace('_', '-')}='{_value(value)}'" for name, value in attributes.items())
    return f"<{tag}{written}>{content}</{tag}>" if content else f"<{tag}{written}/>"


def text(words: str, x: float, y: float, size: float, **attributes) -> str:
    """Words in the middle around x, unless `text_anchor` says otherwise; y is the line that they stand on."""
    return element("text", html.escape(words), x=x, y=y, font_size=size, **{"text_anchor": "middle", **attributes})


def hatched(name: str, colour: str, sign: str) -> str:
    """A pattern of 6×6 pixels, the sign on the colour, to be named in `fill` as url(#name)."""
    size = {"width": 6, "height": 6}
    return element("pattern", element("rect", fill=colour, **size) + sign, id=name, patternUnits="userSpaceOnUse", **size)


def number(value: float) -> str:
    """To a tenth of a pixel: one drawing is one text on every machine."""
    return f"{round(float(value), 1):g}"


def _value(value) -> str:
    return html.escape(value) if isinstance(value, str) else number(value)
