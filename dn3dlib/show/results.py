"""Pictures of a run: how fast it learned, what it confuses. Figures come in, a Picture goes out."""

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from dn3dlib.errors import ConfigError
from dn3dlib.model.anatomy import parts, whole
from dn3dlib.show import svg
from dn3dlib.show.figures import COLOURS, GREY, LINE, LINE_STYLES, Picture, tidy
from dn3dlib.show.svg import Drawing

_ONE = 400  # pixels, the length of a bar of probability 1
# What tells bars apart without colours: nothing, strokes, dots.
_SIGNS = "", "<path d='M0 6L6 0' stroke='white' stroke-width='1.5'/>", "<circle cx='3' cy='3' r='1.4' fill='white'/>"
_MOST_WITH_NUMBERS = 20  # classes; beyond, numbers in the cells would not be legible


def confusion_matrix(report: dict) -> Picture:
    """Counts of sequences, rows true and columns predicted classes; the colour is the share of the row.

    Args:
        report: of `evaluate.report.evaluate`, or any dict with `classes` (n names), `confusion` (n × n counts), `split`.
    """
    classes, counts = report["classes"], np.asarray(report["confusion"])
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = 2.6 + 0.52 * min(len(classes), _MOST_WITH_NUMBERS)
    figure, ax = plt.subplots(figsize=(side + 0.9, side), dpi=80, facecolor="white", layout="constrained")
    image = ax.imshow(shares, cmap="cividis", vmin=0, vmax=1)
    _number_cells(ax, shares, classes, lambda y, x: counts[y, x])
    if len(classes) <= _MOST_WITH_NUMBERS:
        ax.set_yticks(range(len(classes)), classes)
    ax.set(xlabel="predicted class", ylabel="true class", title=f"{report['split']}: {counts.sum()} sequences")
    figure.colorbar(image, ax=ax, label="share of the true class", shrink=0.8)
    return _done(figure, f"confusion of {len(classes)} classes, true against predicted, on {report['split']}")


def reliability(report: dict) -> Picture:
    """Are the probabilities to be believed? The share of right answers against the probability of the predicted class.

    Args:
        report: of `evaluate.report.evaluate`, or any dict with its `calibration`, `expected_calibration_error` and `split`.

    Source: Guo et al. 2017, figure 1.
    """
    rows = [row for row in report["calibration"] if row["count"]]
    figure, (ax, counts) = plt.subplots(
        2, 1, figsize=(4.6, 5.4), dpi=80, height_ratios=(3, 1), sharex=True, facecolor="white", layout="constrained"
    )
    ax.plot([0, 1], [0, 1], color=GREY, linestyle=":", label="as it should be")
    ax.plot([row["confidence"] for row in rows], [row["accuracy"] for row in rows], label="sequences", **LINE_STYLES[0])
    ax.set(ylabel="share of right answers", xlim=(0, 1), ylim=(-0.03, 1.03))
    ax.set_title(f"{report['split']}: expected calibration error {report['expected_calibration_error']:.3f}", fontsize="medium")
    tidy(ax, legend=True)
    for row in rows:
        width = row["high"] - row["low"]
        counts.bar(row["low"], row["count"], width, align="edge", color=LINE, edgecolor="white")
    counts.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=4))
    counts.set(xlabel="probability of the predicted class", ylabel="sequences")
    tidy(counts)
    return _done(figure, f"share of right answers against the predicted class's probability, on {report['split']}")


def controls(report: dict) -> Picture:
    """How much of the accuracy is motion? Accuracies with the frames in the run's own order and under each control.

    Args:
        report: of `evaluate.report.evaluate` with controls; it holds `controls`, `frame_order`, `classes`, `split`, the accuracies.
    """
    rows = {report["frame_order"]: report, **report["controls"]}
    kinds = [name for name in ("clip", "sequence", "video") if report[f"{name}_accuracy"] is not None]
    figure, ax = plt.subplots(figsize=(2 + 1.5 * len(rows), 3.4), dpi=80, facecolor="white", layout="constrained")
    width = 0.8 / len(kinds)
    for place, (kind, colour, hatch) in enumerate(zip(kinds, COLOURS, ("", "//", ".."), strict=False)):
        shares = [row[f"{kind}_accuracy"] for row in rows.values()]
        x = np.arange(len(rows)) - 0.4 + width * (place + 0.5)
        bars = ax.bar(x, shares, width, label=f"{kind}s", color=colour, hatch=hatch, edgecolor="white")
        ax.bar_label(bars, fmt="%.2f", fontsize="small")
    ax.axhline(1 / len(report["classes"]), color=GREY, linestyle=":", label="guessing")
    ax.set_xticks(range(len(rows)), list(rows))
    ax.set(xlabel="frames of each clip", ylabel="accuracy", ylim=(0, 1.1), title=report["split"])
    tidy(ax)
    figure.legend(loc="outside right upper", frameon=False, fontsize="small")
    return _done(figure, f"accuracy on {report['split']} with frames {', '.join(rows)}, against guessing")


def learning_rate(schedule, steps: int) -> Picture:
    """The learning rate of each step of a training.

    Args:
        schedule: a function from a step, counted from 0, to the rate (`train.schedule.learning_rate_schedule`).
        steps: of the whole training.
    """
    places = np.unique(np.linspace(0, steps - 1, 400).astype(int))
    figure, ax = plt.subplots(figsize=(6, 2.8), dpi=80, facecolor="white", layout="constrained")
    ax.plot(places, [float(schedule(int(step))) for step in places], color=LINE)
    ax.set(xlabel="step", ylabel="learning rate", ylim=(0, None))
    tidy(ax)
    return _done(figure, f"learning rate over {steps} steps")


def channel_growth(networks: dict) -> Picture:
    """Channels after the stem, each dense layer and each transition, one line for each network; its parameters in the legend. Taught in notebook 02.

    Args:
        networks: name → network of `build_model` or `sketch_model`; eight at most.
    """
    figure = Figure(figsize=(7, 3.2), dpi=80, facecolor="white")
    ax = figure.add_axes((0.09, 0.16, 0.89, 0.81))  # a layout that is worked out would double the time, and a slider waits for it
    labels = [f"{name}: {whole(network).parameters:,} parameters" for name, network in networks.items()]
    for label, network, style in zip(labels, networks.values(), LINE_STYLES, strict=False):
        between = parts(network)[1:-1]  # the clip and the head
        ax.plot([part.shape[-1] for part in between], label=label, markersize=5, **style)
    ax.set(xlabel="place in the network (0: after the stem)", ylabel="channels", ylim=(0, ax.dataLim.y1 * (1.06 + 0.1 * len(networks))))
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    tidy(ax)
    ax.legend(loc="upper left", frameon=False, fontsize="small")  # always there, in the room left above the lines
    return Picture(figure, f"channels through the network – {'; '.join(labels)}", colours=256)


def vote_of_clips(probabilities, vote, classes) -> Picture:
    """What each clip of a sequence says, and below it their vote.

    Args:
        probabilities: (clips, n), rows that add up to 1.
        vote: (n,).
        classes: n names.
    """
    rows = np.vstack([probabilities, vote])
    size = (3.2 + 0.75 * min(len(classes), _MOST_WITH_NUMBERS), 1.5 + 0.32 * min(len(rows), 24))
    figure, ax = plt.subplots(figsize=size, dpi=80, facecolor="white", layout="constrained")
    image = ax.imshow(rows, cmap="cividis", vmin=0, vmax=1, aspect="auto")
    _number_cells(ax, rows, classes, lambda y, x: f"{rows[y, x]:.2f}")
    ax.set_yticks(range(len(rows)), [f"clip {n}" for n in range(1, len(rows))] + ["vote"])
    ax.axhline(len(rows) - 1.5, color="white", linewidth=3)
    figure.colorbar(image, ax=ax, label="probability")
    return _done(figure, f"probabilities of {len(classes)} classes for each of {len(probabilities)} clips; the highest in their mean – {_top(vote, classes)}")


def class_probabilities(rows: dict, classes, shown: str = "") -> Drawing:
    """How sure a network is of each class, a bar each, for one clip or two or three beside each other. Taught in notebook 00.

    Args:
        rows: what was asked about → probabilities (n,); three at most.
        classes: n names.
        shown: the class that is really seen, marked with an arrow; "": not known.

    Raises:
        ConfigError: no rows, or more than three.
    """
    if not 1 <= len(rows) <= len(_SIGNS):
        raise ConfigError(f"{len(rows)} rows of probabilities cannot be drawn beside each other: give one to {len(_SIGNS)}.")
    names = [f"▶ {name}" if name == shown else name for name in classes]
    thick = {1: 20, 2: 12, 3: 9}[len(rows)]
    left, top, step = 24 + 7 * max(map(len, names)), 14 + 20 * len(rows), 10 + thick * len(rows)
    bottom = top + step * len(classes)
    parts = [svg.element("path", d=f"M{left} {top}V{bottom}H{left + _ONE}", fill="none", stroke=GREY)]
    parts += [svg.text(f"{tenths / 10:.1f}", left + _ONE * tenths / 10, bottom + 16, 11) for tenths in range(0, 11, 2)]
    parts.append(svg.text("probability" + (" (▶: what is really seen)" if shown else ""), left + _ONE / 2, bottom + 34, 12))
    parts += [svg.text(name, left - 8, top + step * (place + 0.5) + 4, 12, text_anchor="end") for place, name in enumerate(names)]
    for row, ((name, shares), colour, sign) in enumerate(zip(rows.items(), COLOURS, _SIGNS, strict=False)):
        fill = f"url(#row{row})"
        parts += [svg.hatched(f"row{row}", colour, sign), svg.element("rect", x=left, y=8 + 20 * row, width=20, height=12, fill=fill)]
        parts.append(svg.text(name, left + 28, 18 + 20 * row, 12, text_anchor="start"))
        for place, share in enumerate(shares):
            y, length = top + step * place + 5 + thick * row, _ONE * share
            parts.append(svg.element("rect", class_=f"row{row}", x=left, y=y, width=length, height=thick - 1, fill=fill))
            parts.append(svg.text(f"{share:.2f}", left + length + 5, y + thick / 2 + 3, 10, text_anchor="start"))
    highest = "; ".join(f"{name}: {_top(row, classes)}" for name, row in rows.items())
    return svg.sheet(left + _ONE + 60, bottom + 44, parts, f"probabilities of {len(classes)} classes; the highest – {highest}")


def _top(probabilities, classes) -> str:
    """The most probable class and its probability, in words."""
    top = int(np.argmax(probabilities))
    return f"{classes[top]} {probabilities[top]:.2f}"


def _number_cells(ax: Axes, shares: np.ndarray, classes, text) -> None:
    """Class names below the columns and `text(y, x)` in the cells of an image of shares, unless there are too many."""
    if len(classes) > _MOST_WITH_NUMBERS:
        return
    ax.set_xticks(range(len(classes)), classes, rotation=40, ha="right", rotation_mode="anchor")
    for y, x in np.ndindex(shares.shape):
        ax.text(x, y, text(y, x), ha="center", va="center", color="black" if shares[y, x] > 0.55 else "white")


def _done(figure: Figure, alt: str) -> Picture:
    """Out of pyplot's hands: a notebook shows the figure once, where it is the cell's value, and memory is freed."""
    plt.close(figure)
    return Picture(figure, alt, colours=256)
