"""What is drawn of a network is what the network has; tables and controls show it as it is."""

import io
import re
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from matplotlib.collections import LineCollection
from PIL import Image

from dn3dlib.config import ModelConfig
from dn3dlib.model.anatomy import anatomy, parts
from dn3dlib.model.densenet3d import build_model
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


def built(config: ModelConfig, shape: tuple):
    return build_model(config, shape, 6)


def arcs(picture, gid: str) -> list[np.ndarray]:
    collections = [c for c in picture.figure.axes[0].collections if isinstance(c, LineCollection) and c.get_gid() == gid]
    return [curve for collection in collections for curve in collection.get_segments()]


def boxes(picture, kind: str) -> list[np.ndarray]:
    """(left, bottom, width, height) of each box's front."""
    fronts = [patch.get_xy() for patch in picture.figure.axes[0].patches if patch.get_gid() == kind]
    return [np.array([*corners.min(axis=0), *np.ptp(corners, axis=0)]) for corners in fronts]


@pytest.mark.parametrize(("config", "shape"), CONFIGS)
def test_there_is_an_arc_for_each_dense_connection_and_a_box_for_each_part(config, shape):
    picture = network.draw_network(built(config, shape))
    layers = config.layers_per_block
    assert len(arcs(picture, "read")) == config.blocks * layers * (layers + 1) // 2
    assert len(arcs(picture, "gathered")) == config.blocks * (layers + 1)
    assert len(boxes(picture, "clip")) == 1 and len(boxes(picture, "input")) == len(boxes(picture, "all")) == config.blocks
    assert len(boxes(picture, "layer")) == config.blocks * layers
    assert f"{config.blocks * layers * (layers + 1) // 2} connections into them" in picture.alt


@pytest.mark.parametrize(("config", "shape"), CONFIGS)
def test_an_arc_goes_from_box_to_box_and_the_furthest_is_the_highest(config, shape):
    picture = network.draw_network(built(config, shape))
    everything = np.array(boxes(picture, "input") + boxes(picture, "layer") + boxes(picture, "all"))
    for curve in arcs(picture, "read") + arcs(picture, "gathered"):
        row = everything[np.isclose(everything[:, 1], everything[everything[:, 1] < curve[0, 1], 1].max())]
        for x in (curve[0, 0], curve[-1, 0]):
            assert np.any((row[:, 0] <= x) & (x <= row[:, 0] + row[:, 2] * 1.6)), "an end over no box"
        assert curve[0, 0] < curve[-1, 0], "from left to right"
    ends = {(round(c[0, 0], 3), round(c[0, 1], 3), round(c[-1, 0], 3)) for c in arcs(picture, "read")}
    assert len(ends) == len(arcs(picture, "read")), "no arc is drawn twice"


@pytest.mark.parametrize(("config", "shape"), CONFIGS)
def test_boxes_are_as_large_as_the_maps_and_say_their_channels(config, shape):
    model = built(config, shape)
    picture = network.draw_network(model)
    (clip,) = boxes(picture, "clip")
    scale = clip[2] / np.sqrt(shape[2])
    rows = {row.name: row for row in parts(model)}
    firsts = ["stem"] + [f"transition{block}" for block in range(1, config.blocks)]
    assert [box[2:] for box in boxes(picture, "input")] == [
        pytest.approx([scale * np.sqrt(rows[name].shape[2]), scale * np.sqrt(rows[name].shape[1])]) for name in firsts
    ]
    words = [text.get_text() for text in picture.figure.axes[0].texts]
    assert sum(f"+{config.growth_rate}" in word for word in words) == config.blocks * config.layers_per_block
    totals = [rows[f"block{block}_layer{config.layers_per_block}"].shape[-1] for block in range(1, config.blocks + 1)]
    assert [int(word.split("= ")[1]) for word in words if word.startswith("all")] == totals
    assert f"block 1: maps of {' × '.join(map(str, rows['stem'].shape[:3]))}" in words


@pytest.mark.parametrize(("config", "shape"), [*CONFIGS, (replace(LITE, depth=100), (16, 188, 288, 3))])
def test_nothing_is_cut_off_and_no_words_overlap(config, shape):
    picture = network.draw_network(built(config, shape))
    width, height = Image.open(io.BytesIO(picture.png())).size
    assert width <= 910
    texts = [text.get_window_extent() for text in picture.figure.axes[0].texts if text.get_text()]
    assert all(0 <= t.x0 and t.x1 <= width and 0 <= t.y0 and t.y1 <= height for t in texts)
    for one, other in combinations(texts, 2):
        assert not one.overlaps(other)
    shapes = [patch.get_window_extent() for patch in picture.figure.axes[0].patches]
    assert all(0 <= s.x0 and s.x1 <= width and 0 <= s.y0 and s.y1 <= height for s in shapes)


def cells_of(html: str) -> list[list[str]]:
    return [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", line) for line in re.findall(r"<tr>(.*?)</tr>", html)]


def test_the_table_has_a_line_for_each_part_and_their_sum():
    model = built(*CONFIGS[0])
    head, *lines, sums = cells_of(network.anatomy_table(model).data)
    assert [line[0] for line in lines[:5]] == ["clips", "stem", "block 1, layer 1", "block 1, layer 2", "transition 1"]
    assert len(head) == len(sums) == 6 and len(lines) == len(parts(model)) == 11
    assert lines[2][1:] == ["16 × 16 × 16 × 36", "16,848", "136.8", "3.93", "11 × 19 × 19"]
    assert sums[0] == "all" and sums[2] == "114,006"
    assert sums[3] == f"{sum(row.flops for row in anatomy(model)) / 1e6:,.1f}"
    assert float(sums[4].replace(",", "")) == pytest.approx(sum(float(line[4]) for line in lines), abs=0.06)


def test_receptive_fields_are_drawn_as_they_are():
    networks = {"lite": built(*CONFIGS[0]), "general": built(*CONFIGS[4])}
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


def test_controls_build_count_and_draw_another_network():
    box = network.explore(CONFIGS[0][0], CONFIGS[0][1])
    controls = {child.description: child for child in box.children[:-2]}
    words, image = box.children[-2:]
    assert set(controls) == {"depth", "growth_rate", "bottleneck", "compression", "variant", "frames", "size"}
    assert cells_of(words.value)[-1][2] == "114,006"
    first = bytes(image.value)
    controls["bottleneck"].value = False
    assert cells_of(words.value)[-1][2] == "566,238" and bytes(image.value) != first
    controls["variant"].value = "general"
    controls["size"].value = 32
    assert cells_of(words.value)[1][1] == "16 × 32 × 32 × 1" and cells_of(words.value)[2][1] == "16 × 32 × 32 × 24"


def test_an_impossible_choice_is_answered_by_a_sentence():
    box = network.explore(replace(CONFIGS[0][0], blocks=6, depth=20), CONFIGS[0][1])
    words, image = box.children[-2:]
    last = bytes(image.value)
    {child.description: child for child in box.children[:-2]}["depth"].value = 12
    assert "model.depth=12 leaves no layer for 6 blocks" in words.value and bytes(image.value) == last
