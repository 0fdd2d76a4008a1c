"""Pictures of the inside of a network: kernels, maps, units, connections, the plane of sequences. They compute no result."""

import cv2
import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from dn3dlib.show.figures import ACCENT, GREY, LINE_STYLES, WIDTH, Picture, frame_strips, point_style

_COLUMNS = 8  # maps beside each other in a grid
_ENLARGED = 4  # pixels for one of a frame on which a place is marked


def kernel_grey(kernels: np.ndarray) -> np.ndarray:
    """Kernels as pictures, uint8 of the same shape: grey is 0, white the largest weight of each kernel, black the same below 0."""
    axes = tuple(range(1, kernels.ndim))
    largest = np.maximum(np.abs(kernels).max(axis=axes, keepdims=True), 1e-12)
    return np.uint8(np.round((kernels / largest + 1) / 2 * 255))


def kernel_strips(kernels: np.ndarray, numbers) -> Picture:
    """Some kernels, a row each, time from left to right. Taught in notebook 04.

    Args:
        kernels: float32 (kernels, frames, height, width, 1 or 3).
        numbers: which of them.
    """
    grey = kernel_grey(kernels)
    rows = {f"kernel {number}": grey[number].repeat(8, axis=1).repeat(8, axis=2) for number in numbers}
    return frame_strips(rows, numbers=[f"t = {t}" for t in range(kernels.shape[1])], title="kernels over time")


def kernel_film(kernels: np.ndarray, columns: int = 6) -> np.ndarray:
    """All kernels side by side as one film for `players.play`: uint8 (frames, height, width, 1 or 3). Taught in notebook 04."""
    grey = np.pad(kernel_grey(kernels), ((0, 0), (0, 0), (0, 1), (0, 1), (0, 0)), constant_values=255).repeat(8, axis=2).repeat(8, axis=3)
    rows = -(-len(grey) // columns)
    _, frames, height, width, channels = grey.shape
    film = np.full((frames, rows, height, columns, width, channels), 255, np.uint8)
    for number, kernel in enumerate(grey):
        film[:, number // columns, :, number % columns] = kernel
    return film.reshape(frames, rows * height, columns * width, channels)


def direction_curves(curves: dict[str, np.ndarray], directions) -> Picture:
    """Answers to a moving bar around a circle, a line each, as shares of its largest. Taught in notebook 04.

    Args:
        curves: name → (directions,); eight at most. What is below 0 is no answer and lies in the middle.
        directions: in degrees, 0 to the right, 90 downwards.
    """
    figure = Figure(figsize=(WIDTH * 0.62, 4.0), dpi=100, facecolor="white", layout="constrained")
    axis = figure.add_subplot(projection="polar")
    axis.set_theta_direction(-1)  # clockwise, as the rows of a picture run down
    axis.set_xticks(np.deg2rad([0, 90, 180, 270]), ["right", "down", "left", "up"])
    axis.tick_params(axis="x", pad=9)
    for (name, values), style in zip(curves.items(), LINE_STYLES, strict=False):
        closed = np.append(np.arange(len(values)), 0)
        shares = np.maximum(values, 0) / (max(values.max(), 0) or 1)
        axis.plot(np.deg2rad(directions)[closed], shares[closed], label=name, **style)
    axis.set(ylim=(0, 1.05), yticks=(0.25, 0.5, 0.75, 1))
    axis.tick_params(axis="y", labelsize=7, labelcolor=GREY)
    figure.legend(loc="outside right upper", frameon=False, fontsize=9)
    return Picture(figure, f"answers to a moving bar by its direction: {', '.join(curves)}", colours=256)


def coloured(maps: np.ndarray) -> np.ndarray:
    """A map over time in colours, uint8 (frames, height, width, 3): dark blue is the lowest value of all, yellow the highest."""
    low, high = float(maps.min()), float(maps.max())
    return np.uint8(matplotlib.colormaps["cividis"]((maps - low) / (high - low or 1.0))[..., :3] * 255)


def map_grid(maps: np.ndarray, title: str = "") -> Picture:
    """All maps of a layer at one time, each with its number; one scale of colours for all. Taught in notebook 04.

    Args:
        maps: float32 (height, width, channels).
    """
    channels = maps.shape[-1]
    rows = -(-channels // _COLUMNS)
    figure = Figure(figsize=(WIDTH, 0.4 + 1.15 * rows), dpi=100, facecolor="white", layout="constrained")
    axes = figure.subplots(rows, _COLUMNS, squeeze=False).ravel()
    for number, axis in enumerate(axes):
        axis.set_axis_off()
        if number < channels:
            image = axis.imshow(maps[..., number], cmap="cividis", vmin=maps.min(), vmax=maps.max())
            axis.set_title(str(number), fontsize=8, pad=2)
    figure.colorbar(image, ax=axes.tolist(), label="value", aspect=12, shrink=0.9)
    figure.suptitle(title, fontsize=10)
    return Picture(figure, f"{title or 'maps'}: {channels} maps of {maps.shape[0]} × {maps.shape[1]} places", colours=256)


def map_strips(frames: np.ndarray, maps: dict[str, np.ndarray], chosen: list[tuple[str, int]], every: int = 2) -> Picture:
    """Frames of a clip above maps of it at the same times; each map has its own scale of colours. Taught in notebook 04.

    Args:
        frames: uint8 (frames, height, width, 1 or 3).
        maps: layer → float32 (frames', height', width', channels), with as many frames as the clip or fewer.
        chosen: which maps: layer and unit.
        every: frames from one column to the next.
    """
    times = np.arange(0, len(frames), every)
    rows = {"clip": frames[times]}
    for layer, unit in chosen:
        film = coloured(maps[layer][..., unit])
        large = [cv2.resize(picture, frames.shape[2:0:-1], interpolation=cv2.INTER_NEAREST) for picture in film]
        rows[f"{layer.removesuffix('_conv')}\nunit {unit}"] = np.stack(large)[times * len(film) // len(frames)]
    return frame_strips(rows, numbers=times, title="maps below the frames of the clip")


def strongest_strips(clips: list[np.ndarray], names: list[str], peaks: list[tuple[int, int, int]], reach: int, columns: int = 7) -> Picture:
    """Clips around the place where a unit answered most, a row each, the place marked at its time. Taught in notebook 04.

    Args:
        clips: uint8 (frames, height, width, 1 or 3) each, the strongest first.
        names: of the clips.
        peaks: the place in each: frame, row, column.
        reach: pixels from the place to the mark's edge.
        columns: frames of each row, those nearest to the place.
    """
    rows = {}
    for number, (frames, name, (time, y, x)) in enumerate(zip(clips, names, peaks, strict=True), 1):
        start = min(max(time - columns // 2, 0), max(len(frames) - columns, 0))
        shown = np.broadcast_to(frames, (*frames.shape[:3], 3)).repeat(_ENLARGED, axis=1).repeat(_ENLARGED, axis=2)
        corners = [[_ENLARGED * (c + sign * reach) + _ENLARGED // 2 for c in (x, y)] for sign in (-1, 1)]
        cv2.rectangle(shown[time], *corners, tuple(bytes.fromhex(ACCENT[1:])), 2 * _ENLARGED)
        rows[f"{number}. {name}\nframe {time}"] = shown[start : start + columns]
    return frame_strips(rows, title="around the highest answer")


def connection_matrices(networks: dict[str, list]) -> Picture:
    """Strength of dense connections, a row for each network, a panel for each block; no connection stays white. Taught in notebook 04.

    Args:
        networks: name → of `explain.connections.connection_strength`; one scale of colours for all.

    Source: Huang et al. 2017, figure 5.
    """
    blocks = max(map(len, networks.values()))
    highest = max(np.nanmax(block.strength) for found in networks.values() for block in found)
    figure = Figure(figsize=(WIDTH, 0.3 + 2.6 * len(networks)), dpi=100, facecolor="white", layout="constrained")
    axes = figure.subplots(len(networks), blocks, squeeze=False)
    for row, (name, found) in zip(axes, networks.items(), strict=True):
        for axis, block in zip(row, found, strict=False):
            image = axis.imshow(block.strength, cmap="cividis", vmin=0, vmax=highest)
            if block.strength.size <= 64:
                _write_values(axis, block.strength, highest)
            axis.set_xticks(range(len(block.targets)), block.targets, rotation=30, ha="right", rotation_mode="anchor", fontsize=7)
            axis.set_yticks(range(len(block.sources)), block.sources, fontsize=7)
            axis.set_xlabel("read by", fontsize=8)
        row[0].set_ylabel(f"{name}\nmade by", fontsize=9)
    figure.colorbar(image, ax=axes, label="mean absolute weight", shrink=0.7, aspect=30)
    return Picture(figure, f"strength of the dense connections in {blocks} blocks: {', '.join(networks)}", colours=256)


def _write_values(axis, values: np.ndarray, highest: float) -> None:
    for y, x in np.argwhere(np.isfinite(values)):
        colour = "black" if values[y, x] > 0.55 * highest else "white"
        axis.text(x, y, f"{values[y, x]:.2f}", ha="center", va="center", fontsize=8, color=colour)


def sequence_plane(points: np.ndarray, sequences: list, shares: np.ndarray, chosen: int, frames: np.ndarray) -> Picture:
    """Sequences as points in a plane, coloured by class; the chosen one ringed, with frames of it beside. Taught in notebook 04.

    Args:
        points: float (points, 2).
        sequences: of each point, with `label` and `subject`.
        shares: of the variance that each axis shows, (2,).
        chosen: which point is ringed.
        frames: uint8 (frames, height, width, 1 or 3), a clip of the chosen one; six are drawn, evenly spread.
    """
    figure = Figure(figsize=(WIDTH, 4.6), dpi=100, facecolor="white", layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=(1.7, 1))
    labels = [sequence.label for sequence in sequences]
    axis = left.subplots()
    for place, label in enumerate(sorted(set(labels))):
        style = point_style(place) | {"linestyle": ""}
        axis.plot(*points[[name == label for name in labels]].T, label=label, alpha=0.85, **style)
    axis.plot(*points[chosen], "o", markersize=17, markerfacecolor="none", markeredgecolor="black", markeredgewidth=2)
    axis.set(xlabel=f"first axis ({shares[0]:.0%} of the variance)", ylabel=f"second axis ({shares[1]:.0%})")
    axis.set_aspect("equal", adjustable="datalim")  # distances can be compared
    axis.spines[["top", "right"]].set_visible(False)
    left.legend(loc="outside upper center", ncols=3, frameon=False, fontsize=9)
    for panel, time in zip(right.subplots(3, 2).flat, np.linspace(0, len(frames) - 1, 6).round().astype(int), strict=True):
        panel.imshow(np.broadcast_to(frames[time], (*frames.shape[1:3], 3)))
        panel.set_title(f"frame {time}", fontsize=8, pad=2)
        panel.set_axis_off()
    title = f"{labels[chosen]}, {sequences[chosen].subject}"
    right.suptitle(title, fontsize=9)
    return Picture(figure, f"{len(points)} sequences of {len(set(labels))} classes in a plane; ringed: {title}", colours=256)


def tap_curves(taps: dict[str, np.ndarray]) -> Picture:
    """Mean absolute weights of convolutions by their place in time, a line each, eight at most. Taught in notebook 04.

    Args:
        taps: name → values as of `explain.connections.tap_strength`; each is drawn as a share of its own mean.
    """
    figure = Figure(figsize=(WIDTH * 0.75, 3.2), dpi=100, facecolor="white", layout="constrained")
    axis = figure.subplots()
    for (name, values), style in zip(taps.items(), LINE_STYLES, strict=False):
        axis.plot(np.arange(len(values)) - len(values) // 2, values / values.mean(), label=name, **style)
    axis.axhline(1, color=GREY, linestyle=":")
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.set(xlabel="frames before (−) and after (+) the middle", ylabel="weight, 1: the layer's mean")
    axis.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside right upper", frameon=False, fontsize=8)
    return Picture(figure, f"mean absolute weight by place in time of {', '.join(taps)}", colours=256)
