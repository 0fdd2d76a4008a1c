"""Pictures of how far figures can be trusted: intervals, views, controls by class. They compute no result."""

import numpy as np
from matplotlib.figure import Figure

from dn3dlib.errors import ConfigError
from dn3dlib.show.figures import DPI, GREY, LINE_STYLES, WIDTH, Picture, tidy


def intervals(rows: dict[str, dict[str, tuple]], title: str = "", guessing: float | None = None) -> Picture:
    """Accuracies and their intervals, a line of the chart for each row. Taught in notebook 05.

    Args:
        rows: row → {series → (accuracy, (low, high))}, shares; an interval may be None. Eight series at most, the same in
            every row's order of colours.
        title: above the picture.
        guessing: what one gets for nothing, as a dotted line; None: not drawn.

    Raises:
        ConfigError: no rows, or more series than can be told apart.
    """
    names = list(dict.fromkeys(name for series in rows.values() for name in series))
    if not rows or len(names) > len(LINE_STYLES):
        raise ConfigError(f"{len(names)} series in {len(rows)} rows cannot be drawn: give a row at least, and {len(LINE_STYLES)} series at most.")
    figure, ax = _figure(WIDTH * 0.85, 0.9 + 0.3 * bool(title) + sum(0.16 + 0.24 * len(series) for series in rows.values()))
    for y, series in enumerate(rows.values()):
        for name, (accuracy, interval) in series.items():
            place = names.index(name)
            spread = 0.24 * (list(series).index(name) - (len(series) - 1) / 2)
            style = LINE_STYLES[place] | {"linestyle": ""}
            low, high = (accuracy, accuracy) if interval is None else interval
            error = [[max(accuracy - low, 0)], [max(high - accuracy, 0)]]
            ax.errorbar(accuracy, y + spread, xerr=error, capsize=4, markersize=6, label=name, **style)
            ax.annotate(f"{accuracy:.2f}", (accuracy, y + spread), (0, 5), textcoords="offset points", ha="center", fontsize=8)
    if guessing is not None:
        ax.axvline(guessing, color=GREY, linestyle=":", label="guessing")
    ax.set_yticks(range(len(rows)), list(rows))
    ax.set(ylim=(len(rows) - 0.45, -0.55), xlabel="accuracy, with its 95 % interval", title=title)
    ax.title.set_fontsize(11)
    tidy(ax)
    if len(names) > 1 or guessing is not None:
        handles = dict(zip(*reversed(ax.get_legend_handles_labels()), strict=True))
        figure.legend(handles.values(), handles, loc="outside right upper", frameon=False, fontsize="small")
    return Picture(figure, f"{title or 'accuracies'}, with intervals: {', '.join(rows)}", colours=256)


def accuracy_by_views(views: list[int], accuracies: dict[str, list[float]], title: str = "") -> Picture:
    """Accuracy against the number of clips of each sequence that vote. Taught in notebook 05.

    Args:
        views: clips of a sequence, rising.
        accuracies: name → a share for each number of views; eight lines at most.
        title: above the picture.
    """
    figure, ax = _figure(WIDTH * 0.7, 3.2)
    for (name, shares), style in zip(accuracies.items(), LINE_STYLES, strict=False):
        ax.plot(views, shares, label=name, markersize=6, **style)
    lowest = min(map(min, accuracies.values()))  # with room below it: a step of one sequence must not fill the picture
    ax.set_xscale("log", base=2)
    ax.set_xticks(views, [str(n) for n in views])
    ax.minorticks_off()
    ax.set(xlabel="views: clips of each sequence", ylabel="accuracy", title=title, ylim=(max(lowest - 0.1, -0.02), 1.02))
    ax.title.set_fontsize(11)
    ax.legend(frameon=False, fontsize="small")
    tidy(ax)
    return Picture(figure, f"accuracy with {', '.join(map(str, views))} views: {', '.join(accuracies)}", colours=256)


def recall_by_control(report: dict) -> Picture:
    """Which classes need motion? Of each class the share of right sequences, real frames above and each control below.

    Taught in notebook 05.

    Args:
        report: of `evaluate.report.evaluate` with controls; a class without sequences gets an empty field.
    """
    rows = {report["frame_order"]: {name: row["recall"] for name, row in report["per_class"].items()}}
    rows |= {name: row["recall"] for name, row in report["controls"].items()}
    shares = np.array([[row[name] for name in report["classes"]] for row in rows.values()], float)
    figure, ax = _figure(min(WIDTH, 2.6 + 0.9 * len(report["classes"])), 1.5 + 0.42 * len(rows))
    image = ax.imshow(shares, cmap="cividis", vmin=0, vmax=1, aspect="auto")
    for y, x in zip(*np.nonzero(np.isfinite(shares)), strict=True):
        ax.text(x, y, f"{shares[y, x]:.2f}", ha="center", va="center", color="black" if shares[y, x] > 0.55 else "white")
    ax.set_xticks(range(shares.shape[1]), report["classes"], rotation=30, ha="right", rotation_mode="anchor")
    ax.set_yticks(range(len(rows)), list(rows))
    ax.set_title(f"{report['split']}: share of right sequences of each class", fontsize=11)
    figure.colorbar(image, ax=ax, label="share")
    return Picture(figure, f"share of right sequences of each class with frames {', '.join(rows)}", colours=256)


def _figure(width: float, height: float):
    figure = Figure(figsize=(width, height), dpi=DPI, facecolor="white", layout="constrained")
    return figure, figure.subplots()
