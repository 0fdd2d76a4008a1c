"""Pictures of notebook 08: gradients of replicas, numbers that are lost, and what more devices cost. They compute no result."""

import numpy as np
from IPython.display import HTML
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from dn3dlib.show.figures import COLOURS, DPI, GREY, LINE_STYLES, WIDTH, Picture, tidy
from dn3dlib.show.tables import table

_PARTS = (("compute", ""), ("waiting", "//"), ("exchange", ".."))  # of a step, with a hatch for who sees no colours


def gradient_points(gradients: dict[str, np.ndarray], inside: str) -> Picture:
    """Gradients of the same parameters, a point each. Taught in notebook 08.

    Args:
        gradients: who computed them → numbers (n,).
        inside: which of them is drawn small, to lie inside another's mark where the two are equal.
    """
    figure, ax = _figure(WIDTH * 0.85, 3.0)
    for (name, values), style in zip(gradients.items(), LINE_STYLES, strict=False):
        size, face = (4, style["color"]) if name == inside else (9, "none")
        ax.plot(range(1, len(values) + 1), values, label=name, markersize=size, markerfacecolor=face, **style | {"linestyle": ""})
    ax.axhline(0, color=GREY, linewidth=0.8)
    ax.set(xlabel="parameter", ylabel="gradient")
    tidy(ax)
    figure.legend(loc="outside right upper", frameon=False, fontsize="small")
    return Picture(figure, f"gradients of {len(values)} parameters: {', '.join(gradients)}", colours=256)


def errors_by_size(sizes: np.ndarray, errors: dict[str, np.ndarray]) -> Picture:
    """Relative errors against the size of a number, both logarithmic. Taught in notebook 08.

    Args:
        sizes: above 0, rising (n,).
        errors: format → shares (n,); 1: the number is lost.
    """
    figure, ax = _figure(WIDTH * 0.8, 3.2)
    for (name, shares), style in zip(errors.items(), LINE_STYLES, strict=False):
        ax.plot(sizes, np.maximum(shares, 1e-5), label=name, markersize=5, markevery=max(1, len(sizes) // 12), **style)
    ax.axhline(1, color=GREY, linestyle=":", label="lost")
    ax.set(xscale="log", yscale="log", ylim=(1e-5, 3), xlabel="size of a gradient", ylabel="relative error")
    tidy(ax)
    figure.legend(loc="outside right upper", frameon=False, fontsize="small")
    return Picture(figure, f"relative error of gradients by their size: {', '.join(errors)}", colours=256)


def cost_picture(costs) -> Picture:
    """What a step's time is spent on, and clips per second beside what nobody can reach. Taught in notebook 08.

    Args:
        costs: of `train.scaling.scaling_costs`, one number of devices or more.
    """
    figure = Figure(figsize=(WIDTH, 3.2), dpi=DPI, facecolor="white", layout="constrained")
    bars, line = figure.subplots(1, 2)
    devices, left = [cost.devices for cost in costs], np.zeros(len(costs))
    for (part, hatch), colour in zip(_PARTS, (COLOURS[0], COLOURS[4], COLOURS[1]), strict=True):
        milliseconds = np.array([1000 * getattr(cost, part) for cost in costs])
        bars.barh([str(n) for n in devices], milliseconds, left=left, color=colour, hatch=hatch, edgecolor="white", label=part)
        left += milliseconds
    bars.invert_yaxis()
    bars.set(xlabel="milliseconds of a step", ylabel="devices")
    rates, ideal = [cost.clips_per_second for cost in costs], costs[0].clips_per_second / costs[0].devices
    line.plot(devices, [ideal * n for n in devices], label="each as if alone", color=GREY, linestyle=":")
    line.plot(devices, rates, label="by the model", **LINE_STYLES[0])
    line.set_xscale("log", base=2)
    line.set_yscale("log")
    line.set_xticks(devices, [str(n) for n in devices])
    line.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    line.set(xlabel="devices", ylabel="clips per second")
    for ax in (bars, line):
        tidy(ax)
    handles = [*zip(*bars.get_legend_handles_labels(), strict=True), *zip(*line.get_legend_handles_labels(), strict=True)]
    figure.legend(*zip(*handles, strict=True), loc="outside lower center", ncols=5, frameon=False, fontsize="small")
    told = "; ".join(f"{cost.devices} device{'s' * (cost.devices > 1)}: step {1000 * cost.step:.3g} ms, efficiency {cost.efficiency:.2f}" for cost in costs)
    return Picture(figure, f"cost of a step: {told}", colours=256)


def cost_table(costs) -> HTML:
    """The same in numbers, a line for each number of devices. Taught in notebook 08."""
    head = ["devices", "clips of a step", "step, ms", "clips per second", "efficiency", "epoch, minutes", "device-hours"]
    lines = [
        [str(c.devices), f"{c.batch_size:,}", f"{1000 * c.step:.3g}", f"{c.clips_per_second:,.0f}", f"{c.efficiency:.2f}", f"{c.epoch_seconds / 60:.3g}", f"{c.device_hours:.3g}"]
        for c in costs
    ]
    return table([head, *lines], numbers_from=0)


def _figure(width: float, height: float):
    figure = Figure(figsize=(width, height), dpi=DPI, facecolor="white", layout="constrained")
    return figure, figure.subplots()
