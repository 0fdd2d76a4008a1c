"""Pictures and tables around a training: checks before it, learning rates, runs side by side. They compute no result."""

import html

import numpy as np
from IPython.display import HTML
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from dn3dlib.errors import ConfigError
from dn3dlib.show.figures import ACCENT, GREY, LINE, LINE_STYLES, WIDTH, Picture, tidy
from dn3dlib.show.tables import table
from dn3dlib.train.checks import Check, gradient_bounds
from dn3dlib.train.compare import table_cells
from dn3dlib.train.rates import RangeTest

_PANELS = {
    "validation_sequence_accuracy": "validation sequence accuracy",
    "train_loss": "training loss in nats",
    "validation_loss": "validation loss in nats",
}


def checks_table(checks: list[Check]) -> HTML:
    """What each check has seen, a line each: passed or failed, what was looked at, what is expected. Taught in notebook 02."""
    lines = [["", "check", "what was seen", "expected"]]
    return table(lines + [["✓ passed" if c.passed else "✗ FAILED", c.name, c.sentence, c.expected] for c in checks])


def runs_table(rows: list[dict]) -> HTML:
    """Runs side by side, of `train.compare.compare_runs`; what cannot be read stands below. Taught in notebook 02."""
    problems = [f"<p>{html.escape(row['name'])}: {html.escape(row['problem'])}</p>" for row in rows if row["problem"]]
    return HTML(table(table_cells(rows)).data + "".join(problems))


def gradient_bars(check: Check) -> Picture:
    """The gradient's norm in each part of the network, on a logarithmic scale, between the two bounds.

    Args:
        check: of `train.checks.gradient_norms`; a part whose norm is zero or no number gets a word instead of a bar.
    """
    names, norms = list(check.values), np.array([np.nan if n is None else n for n in check.values.values()])
    sound = np.isfinite(norms) & (norms > 0)
    figure, ax = _figure(0.9 + 0.34 * len(names))
    ax.barh(names, np.where(sound, norms, 0), color=LINE)
    if sound.any():
        bounds = gradient_bounds(list(check.values.values()))
        for bound in bounds:
            ax.axvline(bound, color=ACCENT, linestyle="--")
        ends = [*bounds, *norms[sound]]
        ax.set(xscale="log", xlim=(min(ends) / 3, max(ends) * 3))
    else:
        ax.set_xticks([])
    patch = {"facecolor": "white", "edgecolor": "none", "pad": 1.5}
    for place in np.flatnonzero(~sound):
        word = "0" if norms[place] == 0 else "no number"
        ax.text(0.01, place, word, color=ACCENT, va="center", transform=ax.get_yaxis_transform(), bbox=patch)
    ax.invert_yaxis()
    ax.set_xlabel("norm of the gradient (dashed: what is allowed)")
    tidy(ax)
    return Picture(figure, f"bars: gradient norms of {', '.join(names)}; {'all' if check.passed else 'not all'} within the bounds")


def range_test(test: RangeTest) -> Picture:
    """The loss against the rising learning rate: each batch, the running mean, and the rate that is suggested."""
    figure, ax = _figure(3.4)
    ax.plot(test.rates, test.losses, ".", color=GREY, alpha=0.5, label="each batch")
    ax.plot(test.rates, test.smoothed, color=LINE, linewidth=2, label="running mean")
    ax.axvline(test.lowest, color=GREY, linestyle=":", label=f"lowest: {test.lowest:.2g}")
    ax.axvline(test.suggested, color=ACCENT, linestyle="--", label=f"suggested, a tenth: {test.suggested:.2g}")
    ax.set(xscale="log", xlabel="learning rate", ylabel="loss in nats", ylim=(0, 1.5 * test.smoothed[0]))
    tidy(ax, legend=True)
    return Picture(figure, f"loss against learning rate; lowest at {test.lowest:.2g}, suggested {test.suggested:.2g}", colours=256)


def compare_curves(histories: dict[str, list[dict]]) -> Picture:
    """Validation sequence accuracy, training loss and validation loss over epochs, a line for each run.

    Args:
        histories: name → rows of `runs.COLUMNS`, as `Run.history` gives them; eight runs at most.

    Raises:
        ConfigError: more runs than can be told apart.
    """
    if len(histories) > len(LINE_STYLES):
        raise ConfigError(f"{len(histories)} runs cannot be told apart in one figure: choose {len(LINE_STYLES)} at most.")
    figure = Figure(figsize=(WIDTH, 3.2 + 0.11 * len(histories)), dpi=100, facecolor="white", layout="constrained")
    axes = figure.subplots(1, len(_PANELS))
    for ax, (column, title) in zip(axes, _PANELS.items(), strict=True):
        for (name, history), style in zip(histories.items(), LINE_STYLES, strict=False):
            rows = [row for row in history if row[column] is not None]
            points = [row["epoch"] for row in rows], [row[column] for row in rows]
            ax.plot(*points, label=name, markersize=5, **style)
        ax.set(xlabel="epoch", title=title, ylim=(-0.02, 1.02) if column.endswith("accuracy") else (0, None))
        ax.title.set_fontsize(10)
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        tidy(ax)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower left", frameon=False, fontsize="small", ncols=2)
    return Picture(figure, f"accuracy and losses over epochs of {'1 run' if len(histories) == 1 else f'{len(histories)} runs'}: {', '.join(histories)}", colours=256)


def _figure(height: float):
    figure = Figure(figsize=(WIDTH * 0.75, height), dpi=100, facecolor="white", layout="constrained")
    return figure, figure.subplots()
