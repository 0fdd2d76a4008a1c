"""Pictures and tables of a network: what a kernel does, what the layers are, who reads whom. They compute no result."""

import re
from dataclasses import replace
from itertools import pairwise

import numpy as np
from IPython.display import HTML
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.patches import Polygon
from matplotlib.ticker import MaxNLocator

from dn3dlib.config import ModelConfig
from dn3dlib.model.anatomy import anatomy, connections, parts, whole
from dn3dlib.model.densenet3d import build_model
from dn3dlib.show.controls import with_controls
from dn3dlib.show.figures import GREY, LINE_STYLES, WIDTH, Picture, tidy
from dn3dlib.show.tables import table

# Okabe and Ito's colours, and a hatch that says the same once more.
_FACES = {
    "clip": {"facecolor": "white", "hatch": ""},
    "input": {"facecolor": "#56B4E9", "hatch": ""},
    "layer": {"facecolor": "#E69F00", "hatch": "////"},
    "all": {"facecolor": "#009E73", "hatch": "...."},
}
_OBLIQUE = np.array([0.32, 0.26])  # where a step back in time is drawn, in steps to the right and up
_WORDS = {"block": "block ", "layer": "layer ", "transition": "transition "}


def draw_convolution(frames: np.ndarray, kernel: np.ndarray, response: np.ndarray) -> Picture:
    """Frames, below each the slice of the kernel that falls on it, and beside them what the kernel answers. Taught in notebook 03.

    Args:
        frames: (n, height, width), drawn from black (0) to white (1).
        kernel: (n, rows, columns), numbers.
        response: (height, width); grey is 0, white the largest answer, black its opposite.
    """
    count = len(frames)
    ratio = frames.shape[1] / frames.shape[2]
    wide = min(2.6, (WIDTH - 0.6) / (count + 1.5))
    figure = Figure(figsize=(wide * (count + 1.5), wide * ratio + 1.8), dpi=100, facecolor="white", layout="constrained")
    grid = figure.add_gridspec(2, count + 1, width_ratios=[1] * count + [1.5], height_ratios=[wide * ratio, 1.2])
    for place, (frame, part) in enumerate(zip(frames, kernel, strict=True)):
        _image(figure.add_subplot(grid[0, place]), frame, (0, 1), f"frame {place + 1}" if count > 1 else "frame")
        ax = figure.add_subplot(grid[1, place])
        _image(ax, part, (-2 * np.abs(kernel).max(), 2 * np.abs(kernel).max()), "its weight" if part.size == 1 else "its weights")
        for y, x in np.ndindex(part.shape):
            ax.text(x, y, f"{part[y, x]:g}", ha="center", va="center", fontsize=10, color="black" if part[y, x] >= 0 else "white")
    most = max(np.abs(response).max(), 1e-9)
    _image(figure.add_subplot(grid[:, count]), response, (-most, most), "answer (grey: 0)")
    return Picture(figure, f"{count} frame{'s' * (count > 1)}, a kernel of {' × '.join(map(str, kernel.shape))} weights, and its answer in grey", colours=64)


def anatomy_table(model) -> HTML:
    """The parts of a network, a line each, and their sum: shape, parameters, operations, memory, receptive field. Taught in notebook 03.

    Memory is that of all the maps of one clip in float32, in millions of bytes; `model` is of `build_model`.
    """
    head = ["part", "gives (frames × height × width × channels)", "parameters", "million operations", "MB of maps", "sees (frames × height × width)"]
    lines = [
        [_in_words(row.name), _times(row.shape), f"{row.parameters:,}", f"{row.flops / 1e6:,.1f}", f"{4 * row.activations / 1e6:,.2f}", _times(row.receptive_field)]
        for row in (*parts(model), whole(model))
    ]
    return table([head, *lines], numbers_from=1)


def receptive_fields(networks: dict) -> Picture:
    """How much of the clip each part sees, in frames, rows and columns; a line for each network. Taught in notebook 03.

    Args:
        networks: name → network of `build_model`; eight at most.
    """
    figure = Figure(figsize=(WIDTH, 3.4), dpi=100, facecolor="white", layout="constrained")
    axes = figure.subplots(1, 3)
    for axis, (ax, unit) in enumerate(zip(axes, ("frames", "rows", "columns"), strict=True)):
        for (name, network), style in zip(networks.items(), LINE_STYLES, strict=False):
            ax.plot([row.receptive_field[axis] for row in parts(network)], label=name, markersize=5, **style)
            ax.axhline(network.input.shape[axis + 1], color=GREY, linestyle=":")
        ax.set(title=unit, xlabel="part (0: the clip)", ylim=(0, None))
        ax.title.set_fontsize(10)
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        tidy(ax)
    axes[0].legend(frameon=False, fontsize="small", loc="lower right")
    return Picture(figure, f"receptive field of each part in frames, rows and columns: {', '.join(networks)}", colours=64)


def draw_network(model) -> Picture:
    """A network as it is connected: a row for each block, a box for each layer's new maps, an arc for each reading. Taught in notebook 03.

    What is drawn is read off the network's own layers. A box is as high and wide as the maps, and as deep as they have
    frames; its sides grow as the square root, or the last ones would be dots.

    Args:
        model: of `build_model`.
    """
    links = connections(model)
    shapes = {row.name: row.shape for row in anatomy(model)}
    blocks = _blocks(links)
    slots = max(map(len, blocks)) + 3  # what comes in, the layers, all of them together, the logits
    slot = min(1.1, (WIDTH - 0.3) / slots)
    # The largest box, with its depth, fits between two others.
    depth, height, width = np.sqrt(model.input.shape[1:4])
    scale = min(0.84 * slot / (width + depth * _OBLIQUE[0]), 1.1 / (height + depth * _OBLIQUE[1]))
    arcs = min(1.15, 0.3 + 0.13 * slots)  # height of the widest, in inches
    heights = [0.9 + arcs + _size(shapes[block[0]], scale)[1] for block in blocks]
    heights[0] = max(heights[0], 0.9 + _size(shapes["clips"], scale)[1])
    figure = Figure(figsize=(slots * slot + 0.3, sum(heights) + 0.25), dpi=100, facecolor="white")
    ax = figure.add_axes((0, 0, 1, 1))
    ax.set(xlim=(0, slots * slot + 0.3), ylim=(-0.25, sum(heights)))
    ax.axis("off")
    readers = [block[0] for block in blocks[1:]] + [model.layers[-1].name]
    before = "clip"
    for row, (block, reader) in enumerate(zip(blocks, readers, strict=True)):
        floor = sum(heights[row + 1 :]) + 0.5
        drawing = _Row(ax, slot, floor, scale, arcs)
        drawing.title(f"block {row + 1}: maps of {_times(shapes[block[0]][:3])}", floor + heights[row] - 0.7)
        if row == 0:
            start = drawing.box(0, shapes["clips"], "clip", f"clip\n{_channels(shapes['clips'])}")
        else:
            start = drawing.word(0, before, "above")
        before = drawing.block(block, links, shapes, reader, start)
    drawing.word(len(blocks[-1]) + 2, f"→ {_channels(shapes[readers[-1]])}", "head\nlogits")
    ax.text(0.15, -0.05, "numbers: channels · solid: read by a dense layer · dotted: gathered for what comes next", fontsize=8, color=GREY)
    dense = sum(len(links[name]) for block in blocks for name in block[1:])
    counts = ", ".join(str(len(block) - 1) for block in blocks)
    alt = f"drawing of a network: blocks of {counts} dense layers, {dense} connections into them, smaller boxes from block to block"
    return Picture(figure, alt, colours=64)


def explore(config: ModelConfig, clip_shape: tuple[int, int, int, int]):
    """Table and drawing of a network below controls for its settings and its clip: each choice builds it. Taught in notebook 03.

    Args:
        config: what the controls show at the start; what has no control stays as it is.
        clip_shape: (frames, height, width, channels) at the start; the control `size` sets height and width.
    """
    frames, size, _, channels = clip_shape

    def draw(frames: int, size: int, **settings) -> tuple[HTML, Picture]:
        model = build_model(replace(config, **settings), (frames, size, size, channels), num_classes=6)
        return anatomy_table(model), draw_network(model)

    return with_controls(
        draw,
        depth=(min(config.depth, 40), 10, 40),
        growth_rate=(config.growth_rate, 4, max(32, config.growth_rate)),
        bottleneck=config.bottleneck,
        compression=_first(config.compression, (0.25, 0.5, 0.75, 1.0)),
        variant=_first(config.variant, ("general", "lite")),
        frames=(frames, min(4, frames), max(32, frames)),
        size=_first(size, (32, 64, 96, 128)),
    )


class _Row:
    """Draws one block, from left to right, in slots of equal width; lengths are in inches."""

    def __init__(self, ax: Axes, slot: float, floor: float, scale: float, arcs: float):
        self._ax, self._slot, self._floor, self._scale, self._arcs = ax, slot, floor, scale, arcs
        self._small = {"ha": "center", "va": "top", "fontsize": 8 if slot > 0.5 else 7, "linespacing": 1.25}

    def title(self, text: str, top: float) -> None:
        self._ax.text(0.15, top, text, fontsize=9.5, va="top", weight="bold")

    def block(self, names: list[str], links: dict, shapes: dict, reader: str, start: float) -> str:
        """The input, with an arrow from `start`, the dense layers, and all of them together as `reader` sees them; gives their channels."""
        places = {name: 1 + number for number, name in enumerate(names)}
        shape, last, total = shapes[names[0]], len(names) + 1, f"= {sum(_channels(shapes[name]) for name in names)}"
        for name, place in places.items():
            word = _in_words(name).split(", ")[-1]
            if self._slot < 0.62:
                word = word.replace("layer ", "").replace("transition", "trans.")
            self.box(place, shapes[name], "layer" if place > 1 else "input", f"{word}\n{'+' * (place > 1)}{_channels(shapes[name])}")
        self.box(last, shape, "all", f"all\n{total}")
        ends = (self._middle(1) - _size(shape, self._scale)[0] / 2, self._floor + 0.1), (start, self._floor + 0.1)
        self._ax.annotate("", *ends, arrowprops={"arrowstyle": "->", "color": "black", "shrinkA": 0, "shrinkB": 0, "mutation_scale": 8})
        read = [(places[source], place) for name, place in places.items() if place > 1 for source in links[name]]
        self._draw_arcs(read, shape, "read", "-")
        self._draw_arcs([(places[source], last) for source in links[reader]], shape, "gathered", ":")
        return total

    def box(self, place: int, shape: tuple[int, ...], kind: str, words: str) -> float:
        """A cuboid in a slot, its words below; gives its right edge."""
        width, height = _front(shape, self._scale)
        back = np.sqrt(shape[0]) * self._scale * _OBLIQUE
        left = self._middle(place) - (width + back[0]) / 2
        front = np.array([(left, self._floor), (left + width, self._floor), (left + width, self._floor + height), (left, self._floor + height)])
        side, top = np.array([front[1], front[1] + back, front[2] + back, front[2]]), np.array([front[3], front[2], front[2] + back, front[3] + back])
        for corners in (side, top):
            self._ax.add_patch(Polygon(corners, facecolor="white", edgecolor="black", linewidth=0.6))
        self._ax.add_patch(Polygon(front, edgecolor="black", linewidth=0.6, gid=kind, **_FACES[kind]))
        self._ax.text(self._middle(place), self._floor - 0.05, words, **self._small)
        return left + width + back[0]

    def word(self, place: int, text: str, words: str) -> float:
        """A text in a slot, its words below; gives its right edge."""
        self._ax.text(self._middle(place), self._floor + 0.1, text, ha="center", va="center", fontsize=9)
        self._ax.text(self._middle(place), self._floor - 0.05, words, **self._small)
        return self._middle(place) + 0.25

    def _middle(self, place: int) -> float:
        return 0.15 + (place + 0.5) * self._slot

    def _draw_arcs(self, pairs: list[tuple[int, int]], shape: tuple[int, ...], gid: str, line: str) -> None:
        """Half ellipses from box to box, each in the colour of its source; the further, the higher."""
        turn = np.linspace(np.pi, 0, 40)
        base = self._floor + _size(shape, self._scale)[1] + 0.03
        furthest = max(end - start for start, end in pairs)
        curves = []
        for start, end in pairs:
            middle, radius = (self._middle(start) + self._middle(end)) / 2, (end - start) * self._slot / 2
            high = self._arcs * ((end - start) / (furthest + 1)) ** 0.8
            curves.append(np.stack([middle + radius * np.cos(turn), base + high * np.sin(turn)], axis=1))
        colours = _colours(max(end for _, end in pairs))[[start - 1 for start, _ in pairs]]
        self._ax.add_collection(LineCollection(curves, colors=colours, linewidths=1.2, linestyles=line, gid=gid))


def _blocks(links: dict[str, tuple[str, ...]]) -> list[list[str]]:
    """The names of each block: what comes into it, then its dense layers. A block begins where a layer sees one source alone."""
    names = list(links)
    blocks: list[list[str]] = []
    for name, following in pairwise(names[1:]):
        if links[following] == (name,):
            blocks.append([])
        blocks[-1].append(name)
    return blocks


def _front(shape: tuple[int, ...], scale: float) -> tuple[float, float]:
    """Width and height of a box's front."""
    return np.sqrt(shape[2]) * scale, np.sqrt(shape[1]) * scale


def _size(shape: tuple[int, ...], scale: float) -> np.ndarray:
    """Width and height of a whole box, its depth included."""
    return np.array(_front(shape, scale)) + np.sqrt(shape[0]) * scale * _OBLIQUE


def _channels(shape: tuple[int, ...]) -> int:
    return shape[-1]


def _colours(count: int) -> np.ndarray:
    from matplotlib import colormaps

    return colormaps["viridis"](np.linspace(0, 0.88, count))


def _image(ax: Axes, values: np.ndarray, limits: tuple[float, float], title: str) -> None:
    ax.imshow(values, cmap="gray", vmin=limits[0], vmax=limits[1])
    ax.set_title(title, fontsize=9)
    ax.set(xticks=[], yticks=[])


def _in_words(name: str) -> str:
    """`block1_layer2_conv` → block 1, layer 2."""
    return ", ".join(_WORDS[word] + number for word, number in re.findall(r"(block|layer|transition)(\d+)", name)) or name.split("_")[0]


def _times(numbers) -> str:
    return " × ".join(map(str, numbers))


def _first(chosen, choices) -> list:
    return [chosen, *(choice for choice in choices if choice != chosen)]
