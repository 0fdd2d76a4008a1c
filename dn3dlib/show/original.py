"""Pictures and the table of notebook 06: what a defect does, before and after it is mended. They compute no result."""

import numpy as np
from IPython.display import HTML
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, StrMethodFormatter

from dn3dlib.errors import ConfigError
from dn3dlib.show.figures import GREY, LINE_STYLES, WIDTH, Picture, tidy
from dn3dlib.show.tables import table

MENDED, ORIGINAL = LINE_STYLES[:2]


def two_curves(x, original, mended, xlabel: str, ylabel: str, *, names=("original", "mended"), log: bool = False, level: float | None = None) -> Picture:
    """Two lines over one axis. Taught in notebook 06.

    Args:
        x: numbers or names (n,).
        original, mended: numbers (n,).
        xlabel, ylabel: what they are, with their units.
        names: of the two lines.
        log: a logarithmic scale upwards.
        level: a dotted line at this height.
    """
    figure = Figure(figsize=(WIDTH * 0.75, 3.2), dpi=100, facecolor="white", layout="constrained")
    ax = figure.subplots()
    for values, name, style in zip((original, mended), names, (ORIGINAL, MENDED), strict=True):
        ax.plot(x, values, label=name, markersize=5, **style)
    if level is not None:
        ax.axhline(level, color=GREY, linestyle=":")
    ax.set(xlabel=xlabel, ylabel=ylabel)
    if log:
        ax.set_yscale("log")
    else:
        ax.margins(y=0.12)
        ax.yaxis.set_major_formatter(StrMethodFormatter("{x:,g}"))
    if isinstance(x[0], str):
        ax.set_xticks(range(len(x)), x, rotation=40, ha="right", rotation_mode="anchor", fontsize=8)
    else:
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    tidy(ax)
    figure.legend(loc="outside right upper", frameon=False, fontsize=9)
    return Picture(figure, f"{ylabel} against {xlabel}: {' and '.join(names)}", colours=256)


def cost_table(rows: list[dict]) -> HTML:
    """What each defect cost, a line each: rows of `explain.defects.measure`, each with its `cost` and its `group` as well. Taught in notebook 06."""
    head = ["case", "defect", "measured", "mended", "original", "difference", "group"]
    lines = [
        [str(row["case"]), row["defect"], row["measure"], _figures(row["mended"]), _figures(row["original"]), f"{row['cost']:+.3g}", row["group"]]
        for row in rows
    ]
    return table([head, *lines], numbers_from=3)


def cost_dots(rows: list[dict]) -> Picture:
    """The accuracies among the rows of `explain.defects.measure`: a mark for each, mended and original. Taught in notebook 06.

    Raises:
        ConfigError: no row is an accuracy.
    """
    rows = [row for row in rows if "accuracy" in row["measure"]]
    if not rows:
        raise ConfigError("There is no accuracy among the figures to draw: measure them anew with benchmarks/defects.py.")
    figure = Figure(figsize=(WIDTH, 1.1 + 0.42 * len(rows)), dpi=100, facecolor="white", layout="constrained")
    ax = figure.subplots()
    for place, row in enumerate(rows):
        for kind, style, height in (("mended", MENDED, -0.14), ("original", ORIGINAL, 0.14)):
            heights = np.full(len(row[kind]), place + height)
            label = kind if place == 0 else None
            ax.plot(row[kind], heights, color=style["color"], marker=style["marker"], linestyle="", markersize=6, label=label)
        ax.axhline(place + 0.5, color="#DDDDDD", linewidth=0.8)
    ax.set_yticks(range(len(rows)), [f"{row['case']} · {row['defect']}" for row in rows], fontsize=8)
    ax.set(xlim=(-0.02, 1.02), xlabel="accuracy (share), one mark for each seed, or one in all")
    ax.invert_yaxis()
    ax.grid(axis="x", color="#DDDDDD", linewidth=0.8)
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside lower right", frameon=False, fontsize=9, ncols=2)
    told = (f"{row['case']} · {row['defect']}: {_figures(row['mended'])} and {_figures(row['original'])}" for row in rows)
    return Picture(figure, f"accuracy, mended and original: {'; '.join(told)}", colours=256)


def _figures(values: list[float]) -> str:
    return " · ".join(f"{value:.3g}" for value in values)
