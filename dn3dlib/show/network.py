"""Pictures and tables of a network: what a kernel does, what the layers are, who reads whom. They compute no result."""

import re
from collections import defaultdict
from dataclasses import dataclass, replace
from itertools import pairwise

import ipywidgets
import numpy as np
from IPython.display import HTML
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from dn3dlib.config import ModelConfig
from dn3dlib.model.anatomy import anatomy, connections, parts, whole
from dn3dlib.model.sketch import sketch_model
from dn3dlib.show.controls import with_controls
from dn3dlib.show.figures import DPI, GREY, LINE_STYLES, WIDTH, Picture, tidy
from dn3dlib.show.svg import Drawing, element, hatched, number, sheet, text
from dn3dlib.show.tables import table

# Okabe and Ito's colours, and a hatch that says the same once more.
_HATCHES = {
    "layer": ("#E69F00", element("path", d="M0 6L6 0M-1 1L1 -1M5 7L7 5", stroke="black", stroke_width=1.2)),
    "all": ("#009E73", element("circle", cx=2.5, cy=2.5, r=1, fill="black")),
}
_FACES = {"clip": "white", "input": "#56B4E9", "layer": "url(#layer)", "all": "url(#all)"}
_OBLIQUE = np.array([0.32, 0.26])  # where a step back in time is drawn, in steps to the right and up
_MARGIN = 15  # pixels
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


def anatomy_table(network) -> HTML:
    """The parts of a network, a line each, and their sum: shape, parameters, operations, memory, receptive field. Taught in notebook 03.

    Memory is that of all the maps of one clip in float32, in millions of bytes; `network` is of `build_model` or `sketch_model`.
    """
    head = ["part", "gives (frames × height × width × channels)", "parameters", "million operations", "MB of maps", "sees (frames × height × width)"]
    lines = [
        [_in_words(row.name), _times(row.shape), f"{row.parameters:,}", f"{row.flops / 1e6:,.1f}", f"{4 * row.activations / 1e6:,.2f}", _times(row.receptive_field)]
        for row in (*parts(network), whole(network))
    ]
    return table([head, *lines], numbers_from=1)


def receptive_fields(networks: dict) -> Picture:
    """How much of the clip each part sees, in frames, rows and columns; a line for each network. Taught in notebook 03.

    Args:
        networks: name → network of `build_model` or `sketch_model`; eight at most.
    """
    figure = Figure(figsize=(WIDTH, 3.4), dpi=100, facecolor="white", layout="constrained")
    axes = figure.subplots(1, 3)
    for axis, (ax, unit) in enumerate(zip(axes, ("frames", "rows", "columns"), strict=True)):
        for (name, network), style in zip(networks.items(), LINE_STYLES, strict=False):
            rows = parts(network)
            ax.plot([row.receptive_field[axis] for row in rows], label=name, markersize=5, **style)
            ax.axhline(rows[0].shape[axis], color=GREY, linestyle=":")
        ax.set(title=unit, xlabel="part (0: the clip)", ylim=(0, None))
        ax.title.set_fontsize(10)
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        tidy(ax)
    axes[0].legend(frameon=False, fontsize="small", loc="lower right")
    return Picture(figure, f"receptive field of each part in frames, rows and columns: {', '.join(networks)}", colours=64)


def draw_network(network) -> Drawing:
    """A network as it is connected: a row for each block, a box for each layer's new maps, an arc for each reading. Taught in notebook 03.

    What is drawn is read off the network's own layers. A box is as high and wide as the maps, and as deep as they have
    frames; its sides grow as the square root, or the last ones would be dots.

    Args:
        network: of `build_model` or `sketch_model`.
    """
    links = connections(network)
    shapes = {row.name: row.shape for row in anatomy(network)}
    blocks = _blocks(links)
    slots = max(map(len, blocks)) + 3  # what comes in, the layers, all of them together, the logits
    slot = min(110, int((WIDTH * DPI - 2 * _MARGIN) / slots))  # whole pixels, so that rounding bends no arc
    # The largest box, with its depth, fits between two others.
    depth, height, width = np.sqrt(shapes["clips"][:3])
    scale = min(0.84 * slot / (width + depth * _OBLIQUE[0]), 110 / (height + depth * _OBLIQUE[1]))
    arcs = min(115, 30 + 13 * slots)  # height of the widest
    readers = [block[0] for block in blocks[1:]] + [list(links)[-1]]
    floor, before, parts = 0, "", [hatched(kind, colour, sign) for kind, (colour, sign) in _HATCHES.items()]
    for place, (block, reader) in enumerate(zip(blocks, readers, strict=True)):
        tallest = arcs + _size(shapes[block[0]], scale)[1]
        top = floor + 50 * (place > 0)
        floor = top + 40 + (tallest if place else max(tallest, _size(shapes["clips"], scale)[1]))
        row = _Row(slot, floor, scale, arcs, parts)
        parts.append(text(f"block {place + 1}: maps of {_times(shapes[block[0]][:3])}", _MARGIN, top + 30, 13, text_anchor="start", font_weight="bold"))
        start = row.word(0, before, "above") if place else row.box(0, shapes["clips"], "clip", "clip", str(_channels(shapes["clips"])))
        before = row.block(block, links, shapes, reader, start)
    row.word(len(blocks[-1]) + 2, f"→ {_channels(shapes[readers[-1]])}", "head", "logits")
    said = "numbers: channels · solid: read by a dense layer · dotted: gathered for what comes next"
    parts.append(text(said, _MARGIN, floor + 64, 11, text_anchor="start", fill=GREY))
    dense = sum(len(links[name]) for block in blocks for name in block[1:])
    counts = ", ".join(str(len(block) - 1) for block in blocks)
    alt = f"drawing of a network: blocks of {counts} dense layers, {dense} connections into them, smaller boxes from block to block"
    return sheet(slots * slot + 2 * _MARGIN, floor + 75, parts, alt)


def explore(config: ModelConfig, clip_shape: tuple[int, int, int, int]):
    """Drawing and table of a network below controls for its settings and its clip: each choice is laid out anew. Taught in notebook 03.

    Args:
        config: what the controls show at the start; what has no control stays as it is.
        clip_shape: (frames, height, width, channels) at the start; the control `size` sets height and width.
    """
    frames, size, _, channels = clip_shape
    lines = ipywidgets.HTML()

    def draw(frames: int, size: int, **settings) -> Drawing:
        network = sketch_model(replace(config, **settings), (frames, size, size, channels), num_classes=6)
        lines.value = anatomy_table(network).data
        return draw_network(network)

    box = with_controls(
        draw,
        depth=(min(config.depth, 40), 10, 40),
        growth_rate=(config.growth_rate, 4, max(32, config.growth_rate)),
        bottleneck=config.bottleneck,
        compression=_first(config.compression, (0.25, 0.5, 0.75, 1.0)),
        variant=_first(config.variant, ("general", "lite")),
        frames=(frames, min(4, frames), max(32, frames)),
        size=_first(size, (32, 64, 96, 128)),
    )
    box.children += (lines,)  # last, so that the drawing stays in its place when the table grows
    return box


@dataclass
class _Row:
    """Draws one block, from left to right, in slots of equal width; lengths are in pixels."""

    slot: int
    floor: float  # on which the boxes stand
    scale: float
    arcs: float
    parts: list[str]  # what has been drawn

    def block(self, names: list[str], links: dict, shapes: dict, reader: str, start: float) -> str:
        """The input, with an arrow from `start`, the dense layers, and all of them together as `reader` sees them; gives their channels."""
        places = {name: 1 + number for number, name in enumerate(names)}
        shape, last, total = shapes[names[0]], len(names) + 1, f"= {sum(_channels(shapes[name]) for name in names)}"
        for name, place in places.items():
            word = _in_words(name).split(", ")[-1]
            if self.slot < 62:
                word = word.replace("layer ", "").replace("transition", "trans.")
            self.box(place, shapes[name], "layer" if place > 1 else "input", word, f"{'+' * (place > 1)}{_channels(shapes[name])}")
        self.box(last, shape, "all", "all", total)
        self._arrow(start, self._middle(1) - _size(shape, self.scale)[0] / 2, self.floor - 10)
        read = [(places[source], place) for name, place in places.items() if place > 1 for source in links[name]]
        self._draw_arcs(read, shape, class_="read")
        self._draw_arcs([(places[source], last) for source in links[reader]], shape, class_="gathered", stroke_dasharray="1.5 2.5")
        return total

    def box(self, place: int, shape: tuple[int, ...], kind: str, *words: str) -> float:
        """A cuboid in a slot, its words below; gives its right edge."""
        width, height = _front(shape, self.scale)
        right, up = np.sqrt(shape[0]) * self.scale * _OBLIQUE
        left, top = self._middle(place) - (width + right) / 2, self.floor - height
        back = f"M{number(left)} {number(top)}l{number(right)} {number(-up)}h{number(width)}v{number(height)}l{number(-right)} {number(up)}v{number(-height)}l{number(right)} {number(-up)}"
        self.parts.append(element("path", d=back, fill="white", stroke="black", stroke_width=0.8))
        self.parts.append(element("rect", class_=kind, x=left, y=top, width=width, height=height, fill=_FACES[kind], stroke="black", stroke_width=0.8))
        self._below(place, words)
        return left + width + right

    def word(self, place: int, words: str, *below: str) -> float:
        """A text in a slot, others below; gives its right edge."""
        self.parts.append(text(words, self._middle(place), self.floor - 6, 12.5))
        self._below(place, below)
        return self._middle(place) + 25

    def _below(self, place: int, lines: tuple[str, ...]) -> None:
        self.parts += [text(line, self._middle(place), self.floor + 16 + 14 * number, 11 if self.slot > 50 else 9.5) for number, line in enumerate(lines)]

    def _middle(self, place: int) -> float:
        return _MARGIN + (place + 0.5) * self.slot

    def _arrow(self, start: float, end: float, y: float) -> None:
        line = f"M{number(start)} {number(y)}H{number(end)}m-5 -3l5 3l-5 3"
        self.parts.append(element("path", d=line, fill="none", stroke="black"))

    def _draw_arcs(self, pairs: list[tuple[int, int]], shape: tuple[int, ...], **style) -> None:
        """Half ellipses from box to box, those of one source in a colour; the further, the higher."""
        base = self.floor - _size(shape, self.scale)[1] - 3
        furthest = max(end - start for start, end in pairs)
        curves = defaultdict(list)  # source → its arcs
        for start, end in pairs:
            high = self.arcs * ((end - start) / (furthest + 1)) ** 0.8
            radii = f"{number((end - start) * self.slot / 2)} {number(high)}"
            curves[start].append(f"M{number(self._middle(start))} {number(base)}A{radii} 0 0 1 {number(self._middle(end))} {number(base)}")
        colours = colormaps["viridis"](np.linspace(0, 0.88, max(end for _, end in pairs)))
        for start, arcs in curves.items():
            self.parts.append(element("path", d="".join(arcs), fill="none", stroke=to_hex(colours[start - 1]), stroke_width=1.5, **style))


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
