"""What is drawn of a network is what the network has; tables and controls show it as it is."""

import re
import statistics
import time
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from itertools import combinations
from urllib.parse import unquote

import numpy as np
import pytest
from matplotlib.font_manager import FontProperties, findfont
from PIL import ImageFont

from dn3dlib.config import ModelConfig
from dn3dlib.model.anatomy import anatomy, parts
from dn3dlib.model.densenet3d import build_model
from dn3dlib.model.sketch import sketch_model
from dn3dlib.show import network

LITE = ModelConfig(growth_rate=12, depth=20)
CONFIGS = [
    (LITE, (16, 64, 64, 1)),
    (replace(LITE, depth=40), (16, 64, 64, 1)),
    (replace(LITE, depth=40, bottleneck=False), (32, 128, 64, 3)),
    (replace(LITE, depth=10, blocks=2, dropout=0.1), (4, 16, 24, 1)),
    (replace(LITE, variant="general", growth_rate=4, compression=0.3), (16, 48, 48, 3)),
    (replace(LITE, variant="general", depth=13, bottleneck=False), (8, 32, 32, 1)),
]


ARC = re.compile(r"M([\d.]+) ([\d.]+)A([\d.]+) ([\d.]+) 0 0 1 ([\d.]+) ([\d.]+)")


def sketched(config: ModelConfig, shape: tuple):
    return sketch_model(config, shape, 6)


def elements(picture, tag: str, **attributes) -> list:
    """The elements of a drawing with these attributes; `kind` is the class."""
    wanted = {name.replace("kind", "class"): value for name, value in attributes.items()}
    found = ElementTree.fromstring(picture.svg).iter(f"{{http://www.w3.org/2000/svg}}{tag}")
    return [one for one in found if wanted.items() <= one.attrib.items()]


def arcs(picture, kind: str) -> list[tuple[float, ...]]:
    """(x, y, radius, height, x, y) of each arc, from its start to its end."""
    return [tuple(map(float, arc)) for path in elements(picture, "path", kind=kind) for arc in ARC.findall(path.get("d"))]


def boxes(picture, kind: str) -> list[np.ndarray]:
    """(left, top, width, height) of each box's front."""
    return [np.array([float(box.get(name)) for name in ("x", "y", "width", "height")]) for box in elements(picture, "rect", kind=kind)]


def words(picture) -> list[str]:
    return [one.text for one in elements(picture, "text")]


def extent(one) -> tuple[float, float, float, float]:
    """(left, top, right, bottom) of a text in the widest of its fonts."""
    bold = one.get("font-weight", "normal")
    font = ImageFont.truetype(findfont(FontProperties(family="DejaVu Sans", weight=bold)), 100)
    wide = font.getlength(one.text) * float(one.get("font-size")) / 100
    x, y, size = (float(one.get(name)) for name in ("x", "y", "font-size"))
    left = x if one.get("text-anchor") == "start" else x - wide / 2
    return left, y - 0.75 * size, left + wide, y + 0.2 * size


@pytest.mark.parametrize(("config", "shape"), CONFIGS)
def test_there_is_an_arc_for_each_dense_connection_and_a_box_for_each_part(config, shape):
    picture = network.draw_network(sketched(config, shape))
    layers = config.layers_per_block
    assert len(arcs(picture, "read")) == config.blocks * layers * (layers + 1) // 2
    assert len(arcs(picture, "gathered")) == config.blocks * (layers + 1)
    assert len(boxes(picture, "clip")) == 1 and len(boxes(picture, "input")) == len(boxes(picture, "all")) == config.blocks
    assert len(boxes(picture, "layer")) == config.blocks * layers
    assert f"{config.blocks * layers * (layers + 1) // 2} connections into them" in picture.alt


@pytest.mark.parametrize(("config", "shape"), CONFIGS)
def test_an_arc_goes_from_box_to_box_and_the_furthest_is_the_highest(config, shape):
    picture = network.draw_network(sketched(config, shape))
    everything = boxes(picture, "input") + boxes(picture, "layer") + boxes(picture, "all")
    drawn = arcs(picture, "read") + arcs(picture, "gathered")
    for start, base, radius, _, end, end_base in drawn:
        floor = min(box[1] + box[3] for box in everything if box[1] > base)
        row = [box for box in everything if box[1] + box[3] == pytest.approx(floor, abs=0.2)]
        for x in (start, end):
            assert any(box[0] <= x <= box[0] + box[2] * 1.6 for box in row), "an end over no box"
        assert start < end and base == end_base and 2 * radius == pytest.approx(end - start), "from left to right, half an ellipse"
    for kind in ("read", "gathered"):
        for base in {arc[1] for arc in drawn}:
            heights = [high for _, high in sorted({(arc[2], arc[3]) for arc in arcs(picture, kind) if arc[1] == base})]
            assert heights == sorted(set(heights)) and heights, "the further, the higher"
    assert len({(arc[0], arc[1], arc[4]) for arc in arcs(picture, "read")}) == len(arcs(picture, "read")), "no arc is drawn twice"


@pytest.mark.parametrize(("config", "shape"), CONFIGS)
def test_boxes_are_as_large_as_the_maps_and_say_their_channels(config, shape):
    sketch = sketched(config, shape)
    picture = network.draw_network(sketch)
    (clip,) = boxes(picture, "clip")
    scale = clip[2] / np.sqrt(shape[2])
    rows = {row.name: row for row in parts(sketch)}
    firsts = ["stem"] + [f"transition{block}" for block in range(1, config.blocks)]
    assert [box[2:] for box in boxes(picture, "input")] == [
        pytest.approx([scale * np.sqrt(rows[name].shape[2]), scale * np.sqrt(rows[name].shape[1])], abs=0.1) for name in firsts
    ]
    said = words(picture)
    assert said.count(f"+{config.growth_rate}") == config.blocks * config.layers_per_block
    totals = [rows[f"block{block}_layer{config.layers_per_block}"].shape[-1] for block in range(1, config.blocks + 1)]
    assert [int(total.removeprefix("= ")) for word, total in zip(said, said[1:], strict=False) if word == "all"] == totals
    assert f"block 1: maps of {' × '.join(map(str, rows['stem'].shape[:3]))}" in said


@pytest.mark.parametrize(("config", "shape"), [*CONFIGS, (replace(LITE, depth=100), (16, 188, 288, 3))])
def test_nothing_is_cut_off_and_no_words_overlap(config, shape):
    picture = network.draw_network(sketched(config, shape))
    (sheet,) = elements(picture, "svg")
    width, height = float(sheet.get("width")), float(sheet.get("height"))
    assert width <= 910
    extents = [extent(one) for one in elements(picture, "text")]
    for one, other in combinations(extents, 2):
        assert one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1], "words overlap"
    fronts = [(left, top, left + wide, top + high) for kind in ("clip", "input", "layer", "all") for left, top, wide, high in boxes(picture, kind)]
    tops = [(arc[0], arc[1] - arc[3], arc[4], arc[1]) for kind in ("read", "gathered") for arc in arcs(picture, kind)]
    for left, top, right, bottom in extents + fronts + tops:
        assert 0 <= left < right <= width and 0 <= top < bottom <= height


def test_a_drawing_of_the_network_and_of_its_sketch_is_one_drawing():
    """And so is each further one: nbval compares what is stored with what is drawn anew."""
    config, shape = CONFIGS[2]
    picture = network.draw_network(sketched(config, shape))
    assert picture == network.draw_network(build_model(config, shape, 6)) == network.draw_network(sketched(config, shape))


def test_a_page_shows_the_drawing_as_an_image_with_words():
    picture = network.draw_network(sketched(*CONFIGS[2]))
    bundle = picture._repr_mimebundle_()
    source, alt = re.fullmatch(r'<img src="data:image/svg\+xml,([^"<>]*)" alt="([^"]*)" style="[^"]*">', bundle["text/html"]).groups()
    assert unquote(source) == picture.svg and alt == picture.alt and bundle["text/plain"] == f"<picture: {picture.alt}>"
    assert len(bundle["text/html"]) < 60_000
    assert picture.file() == ("svg+xml", picture.svg.encode())


def cells_of(html: str) -> list[list[str]]:
    return [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", line) for line in re.findall(r"<tr>(.*?)</tr>", html)]


def test_the_table_has_a_line_for_each_part_and_their_sum():
    model = build_model(*CONFIGS[0], 6)
    head, *lines, sums = cells_of(network.anatomy_table(model).data)
    assert [line[0] for line in lines[:5]] == ["clips", "stem", "block 1, layer 1", "block 1, layer 2", "transition 1"]
    assert len(head) == len(sums) == 6 and len(lines) == len(parts(model)) == 11
    assert lines[2][1:] == ["16 × 16 × 16 × 36", "16,848", "136.8", "3.93", "11 × 19 × 19"]
    assert sums[0] == "all" and sums[2] == "114,006"
    assert sums[3] == f"{sum(row.flops for row in anatomy(model)) / 1e6:,.1f}"
    assert float(sums[4].replace(",", "")) == pytest.approx(sum(float(line[4]) for line in lines), abs=0.06)


def test_receptive_fields_are_drawn_as_they_are():
    networks = {"lite": build_model(*CONFIGS[0], 6), "general": sketched(*CONFIGS[4])}
    axes = network.receptive_fields(networks).figure.axes
    assert [ax.get_title() for ax in axes] == ["frames", "rows", "columns"]
    for axis, ax in enumerate(axes):
        drawn = {line.get_label(): list(line.get_ydata()) for line in ax.lines}
        for name, model in networks.items():
            assert drawn[name] == [row.receptive_field[axis] for row in parts(model)]


def test_a_kernel_and_its_answer_are_drawn_as_they_are():
    rng = np.random.default_rng(0)
    frames, kernel, answer = rng.random((3, 12, 16)), np.array([-1.0, 0.0, 2.5]).reshape(3, 1, 1), rng.normal(size=(12, 16))
    picture = network.draw_convolution(frames, kernel, answer)
    images = [ax.images[0].get_array() for ax in picture.figure.axes]
    assert len(images) == 7
    for place in range(3):
        assert np.array_equal(images[2 * place], frames[place]) and np.array_equal(images[2 * place + 1], kernel[place])
    assert np.array_equal(images[6], answer)
    low, high = picture.figure.axes[6].images[0].get_clim()
    assert low == -high, "grey is 0"
    assert [text.get_text() for ax in picture.figure.axes for text in ax.texts] == ["-1", "0", "2.5"]


def explored(config: ModelConfig, shape: tuple) -> tuple:
    """The controls by name, then words, image and table of an explorer."""
    *controls, words, image, lines = network.explore(config, shape).children
    return {control.description: control for control in controls}, words, image, lines


def test_controls_lay_out_count_and_draw_another_network():
    controls, words, image, lines = explored(*CONFIGS[0])
    assert set(controls) == {"depth", "growth_rate", "bottleneck", "compression", "variant", "frames", "size"}
    assert cells_of(lines.value)[-1][2] == "114,006"
    first = image.value
    assert "data:image/svg+xml;base64," in first and 'alt="drawing of a network: blocks of 2, 2, 2 dense layers' in first and not words.value
    controls["bottleneck"].value = False
    assert cells_of(lines.value)[-1][2] == "566,238" and image.value != first
    controls["variant"].value = "general"
    controls["size"].value = 32
    assert cells_of(lines.value)[1][1] == "16 × 32 × 32 × 1" and cells_of(lines.value)[2][1] == "16 × 32 × 32 × 24"


def test_a_moved_slider_is_answered_within_150_ms():
    """In the kernel, from the moved slider to the new drawing and table, for the default network of notebook 03."""
    controls, _, image, _ = explored(*CONFIGS[0])
    seconds = []
    for name, value in [("depth", 30), ("growth_rate", 32), ("depth", 40), ("growth_rate", 4), ("depth", 10), ("depth", 20), ("growth_rate", 12)]:
        before, started = image.value, time.perf_counter()
        controls[name].value = value
        seconds.append(time.perf_counter() - started)
        assert image.value != before
    assert statistics.median(seconds) < 0.15, seconds
    assert controls["depth"].continuous_update, "so a drag is followed"


def test_an_impossible_choice_is_answered_by_a_sentence():
    controls, words, image, _ = explored(replace(CONFIGS[0][0], blocks=6, depth=20), CONFIGS[0][1])
    last = image.value
    controls["depth"].value = 12
    assert "model.depth=12 leaves no layer for 6 blocks" in words.value and image.value == last
