"""Explorers: what a slider or a click shows is the data that it names, at once, and nothing is left of earlier runs."""

import base64
import re
import statistics
import time
import xml.etree.ElementTree as ElementTree
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from joggers import CLASSES, taken_for_runners
from matplotlib.colors import to_rgb

from dn3dlib.config import ModelConfig
from dn3dlib.data.manifest import DataSet
from dn3dlib.errors import ConfigError
from dn3dlib.model.densenet3d import build_model
from dn3dlib.show import drawings, explorer, inside, mistakes
from dn3dlib.show.figures import ACCENT
from dn3dlib.show.players import play

COUNT = "from IPython import get_ipython; print(len(get_ipython().kernel.comm_manager.comms))"


def pictures(widget) -> dict[str, np.ndarray]:
    """The pictures in an HTML widget, RGB uint8 (height, width, 3), by the words for who cannot see them."""
    found = re.findall(r'<img src="data:image/png;base64,([^"]+)" alt="([^"]+)"', widget.value)
    return {alt: cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR)[..., ::-1] for data, alt in found}


def framed(strip: np.ndarray) -> list[int]:
    """The columns of a strip's upper edge that carry the mark."""
    return np.flatnonzero((strip[0] == tuple(bytes.fromhex(ACCENT[1:]))).all(axis=-1)).tolist()


def choices(drawing: str) -> dict[str, str]:
    """The parts to choose of a drawing: name → what it is in words."""
    root = ElementTree.fromstring(drawing)
    parts = [part for part in root.iter() if "data-choice" in part.attrib]
    assert root.tag.endswith("svg") and root.get("aria-label") and len({part.get("data-choice") for part in parts}) == len(parts)
    return {part.get("data-choice"): part.get("aria-label") for part in parts}


def inner(widget):
    """Of an explorer to click: the drawing, the player, the strips."""
    return *widget.children[0].children, widget.children[1]


# --- feature maps ----------------------------------------------------------------------------------------------------


@pytest.fixture
def features():
    """A clip whose pixels say its frame; a layer with as many frames and three units, a layer with a quarter and one."""
    frames = np.broadcast_to(np.arange(16, dtype=np.uint8)[:, None, None, None] * 10, (16, 8, 8, 1)).copy()
    maps = {"early": np.random.default_rng(0).normal(size=(16, 4, 4, 3)).astype(np.float32), "late": np.zeros((4, 2, 2, 2), np.float32)}
    maps["late"][2, 0, 1, 1] = 3
    return explorer.feature_explorer(frames, maps, {"early": np.arange(16.0), "late": np.arange(1.5, 16, 4)}, "early", 2), frames, maps


def test_each_slider_shows_the_clip_and_the_map_that_it_names(features):
    widget, frames, maps = features
    layer, unit, moment, picture = widget.children
    assert (layer.value, unit.value, moment.value) == ("early", 2, 8)
    for slider, value in ((moment, 3), (unit, 1), (moment, 15)):
        slider.value = value
        clip, film, *strips = pictures(picture).values()
        assert np.array_equal(clip, frames[moment.value].repeat(3, axis=-1))
        assert np.array_equal(film, inside.coloured(maps["early"][..., unit.value])[moment.value]), "one scale for all times"
        low, high = maps["early"][..., unit.value].min(), maps["early"][..., unit.value].max()
        assert f"{low:.2f}" in picture.value and f"{high:.2f}" in picture.value
        step = strips[0].shape[1] // 16
        assert all(framed(strip) == list(range(moment.value * step, (moment.value + 1) * step)) for strip in strips)


def test_a_layer_with_fewer_units_and_times_is_followed(features):
    widget, _, maps = features
    layer, unit, moment, picture = widget.children
    layer.value, moment.value = "late", 11
    assert (unit.value, unit.max) == (1, 1), "unit 2 is not there"
    assert "late, unit 1: map 2 of 0 to 3, centred on frame 9.5 of the clip" in picture.value
    assert np.array_equal(list(pictures(picture).values())[1], inside.coloured(maps["late"][..., 1])[2])
    strip = pictures(picture)["the map at all times"]
    assert framed(strip)[0] == round(9.5 * strip.shape[1] / 16), "it stands below the frames that it sees"
    unit.value = 0
    assert "this unit is silent: 0.00 everywhere" in picture.value
    layer.value = "early"
    assert unit.max == 2


def test_what_is_not_there_is_refused(features):
    with pytest.raises(ConfigError, match="'erly': did you mean early"):
        explorer.feature_explorer(features[1], features[2], {}, "erly")
    with pytest.raises(ConfigError, match="maps of late, but no centres"):
        explorer.feature_explorer(features[1], features[2], {"early": np.arange(16.0)}, "early")
    with pytest.raises(ConfigError, match="no maps to show"):
        explorer.feature_explorer(features[1], {}, {}, "early")
    for report in ({}, {"classes": []}):
        with pytest.raises(ConfigError, match="no classes"):
            explorer.confusion_explorer(None, report)
    with pytest.raises(ConfigError, match="no point in place 1: 1 points are here"):
        explorer.embedding_explorer(np.zeros((1, 2)), [], np.ones(2), None, 1)


def test_a_drag_is_followed_within_150_ms():
    """Every position of the sliders over all maps of the network of the preset quick; on an idle machine it is some 3 ms."""
    network = build_model(ModelConfig(growth_rate=12, depth=20), (16, 64, 64, 1), 6)
    shapes = {layer.name: layer.output.shape[1:] for layer in network.layers if len(layer.output.shape) == 5 and "conv" in layer.name}
    maps = {name: np.random.default_rng(0).normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    centres = {name: np.linspace(0, 15, shape[0]) for name, shape in shapes.items()}
    widget = explorer.feature_explorer(np.zeros((16, 64, 64, 1), np.uint8), maps, centres, "stem_conv")
    layer, unit, moment, picture = widget.children
    seconds = []
    for slider, values in ((layer, shapes), (unit, range(unit.max)), (moment, range(16))):
        for value in values:
            before, start = picture.value, time.perf_counter()
            slider.value = value
            if picture.value != before:
                seconds.append(time.perf_counter() - start)
    assert len(seconds) > 20 and statistics.median(seconds) < 0.15, seconds


# --- the confusion matrix --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def data(prepared) -> DataSet:
    return DataSet.open(prepared)


@pytest.fixture(scope="module")
def report(data) -> dict:
    return taken_for_runners(data)


def test_a_matrix_has_a_cell_to_choose_for_each_pair_and_says_its_count(report):
    found = choices(drawings.matrix(report))
    assert list(found) == [f"{true} → {predicted}" for true in CLASSES for predicted in CLASSES]
    assert found["jogging → running"] == "true jogging, taken for running: 8 of 8 sequences"
    assert found["boxing → boxing"] == "true boxing, rightly named: 8 of 8 sequences"
    assert found["walking → boxing"] == "true walking, taken for boxing: 0 of 8 sequences"


def test_each_number_can_be_read_on_its_colour():
    """The contrast that the guidelines for accessible pages ask of small letters: 4.5 to 1."""
    report = {"classes": ["a", "b"], "split": "test"}
    for count in range(1, 51):
        drawn = ElementTree.fromstring(drawings.matrix(report | {"confusion": [[count, 50 - count], [0, 1]]}))
        cell = next(part for part in drawn.iter() if part.get("data-choice") == "a → a")
        field, number = (next(part for part in cell if part.tag.endswith(tag)) for tag in ("rect", "text"))
        lights = sorted(luminance(part.get("fill")) + 0.05 for part in (field, number))
        assert number.text == str(count) and lights[1] / lights[0] >= 4.5


def luminance(colour: str) -> float:
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour)]
    return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))


def test_names_that_mean_something_in_html_stay_names():
    report = {"classes": ["<b>&", 'a "b"'], "confusion": [[1, 2], [3, 4]], "split": "test"}
    assert list(choices(drawings.matrix(report)))[1] == '<b>& → a "b"'


def test_of_very_many_classes_those_with_the_fullest_mistakes_are_drawn():
    classes, counts = [f"class {n}" for n in range(101)], np.diag([50] * 101)
    counts[90, 7], counts[20, 100] = 9, 8
    report = {"classes": classes, "confusion": counts.tolist(), "split": "test"}
    kept = drawings.drawn_classes(report)
    assert len(kept) == drawings.MOST_CLASSES and {"class 90", "class 7", "class 20", "class 100"} <= set(kept)
    assert kept == sorted(kept, key=classes.index)
    drawing = drawings.matrix(report)
    assert choices(drawing)["class 90 → class 7"] == "true class 90, taken for class 7: 9 of 59 sequences"
    assert f"these {drawings.MOST_CLASSES} of 101 classes" in drawing and len(drawing) < 500_000


def test_a_chosen_cell_shows_its_sequences(data, report):
    cells, player, strips = inner(explorer.confusion_explorer(data, report))
    assert cells.choice == "jogging → running", "the fullest mistake"
    assert "8 sequences, the surest with probability 0." in cells.words
    first = strips.value
    for true, predicted in (("jogging", "running"), ("boxing", "boxing")):
        cells.set_state({"choice": f"{true} → {predicted}"})  # what the page sends
        surest = max((row for row in report["predictions"] if row["label"] == true), key=lambda row: max(row["probabilities"]))
        assert player.value == play(mistakes.sequence_frames(data, surest["sequence"]), fps=12.5, label=surest["sequence"]).data
        ((alt, _),) = pictures(strips).items()
        assert alt.startswith(f"{true} → {predicted}: 5 of 8 sequences")
    assert strips.value != first


@pytest.mark.parametrize(("choice", "said"), [("boxing → walking", "no sequence"), ("boxing", "no cell 'boxing' in this matrix")])
def test_an_empty_and_an_unknown_cell_say_so(data, report, choice, said):
    cells, player, strips = inner(explorer.confusion_explorer(data, report))
    cells.choice = choice
    assert said in cells.words and not player.value and not strips.value


def test_a_sequence_that_is_gone_is_said_and_the_next_choice_works(data, report):
    rows = [row | {"sequence": "gone"} if row["label"] == "boxing" else row for row in report["predictions"]]
    cells, player, _ = inner(explorer.confusion_explorer(data, report | {"predictions": rows}))
    cells.choice = "boxing → boxing"
    assert "no sequence 'gone'" in cells.words and not player.value
    cells.choice = "walking → walking"
    assert "8 sequences" in cells.words and player.value


def test_a_sequence_too_long_for_a_player_leaves_words_and_strips(data, report, monkeypatch):
    cells, player, strips = inner(explorer.confusion_explorer(data, report))
    noise = np.random.default_rng(0).integers(0, 256, (300, 120, 160, 1), dtype=np.uint8)
    monkeypatch.setattr(explorer, "sequence_frames", lambda data, name: noise)
    cells.choice = "boxing → boxing"
    assert "8 sequences" in cells.words and "boxing" in strips.value
    assert "do not fit into a player" in player.value and "<iframe" not in player.value


# --- sequences in a plane --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def embedded(data):
    sequences = data.of_split("test")
    points = np.random.default_rng(0).normal(size=(len(sequences), 2)) * (3, 1)
    return points, sequences, np.array([0.5, 0.25])


def test_each_sequence_is_a_point_of_its_class_in_its_place(embedded):
    points, sequences, _ = embedded
    drawing = drawings.plane(*embedded)
    assert choices(drawing) == {s.id: f"sequence {s.id}, {s.label}" for s in sequences}
    root = ElementTree.fromstring(drawing)
    groups = [part for part in root.iter() if "data-choice" in part.attrib]
    placed = np.array([re.findall(r"[\d.]+", next(p for p in g if "transform" in p.attrib).get("transform")) for g in groups], float)
    distances, wanted = (np.hypot(*(p[:, None] - p[None]).T) for p in (placed, points))
    assert np.allclose(distances / distances.max(), wanted / wanted.max(), atol=0.002), "distances can be compared"
    assert (np.sign(placed[1:] - placed[:-1])[:, 1] == -np.sign(points[1:] - points[:-1])[:, 1]).all(), "up is up"
    marks = {s.label: [(p.get("d"), p.get("fill")) for p in g.iter() if p.tag.endswith("path")] for g, s in zip(groups, sequences, strict=True)}
    shapes, colours = zip(*(mark for (mark,) in marks.values()), strict=True)
    assert len(set(shapes)) == len(set(colours)) == len(marks) == 6
    assert "first axis (50% of the variance)" in drawing and "second axis (25%)" in drawing
    assert {text.text for text in root.iter() if text.tag.endswith("text")} >= set(marks), "the legend"


def test_more_classes_than_colours_are_told_apart_by_pairs_of_colour_and_marker():
    sequences = [SimpleNamespace(id=str(n), label=f"class {n:02}") for n in range(40)]
    drawing = drawings.plane(np.random.default_rng(0).normal(size=(40, 2)), sequences, np.ones(2))
    groups = [part for part in ElementTree.fromstring(drawing).iter() if "data-choice" in part.attrib]
    marks = {(p.get("d"), p.get("fill")) for g in groups for p in g.iter() if p.tag.endswith("path")}
    assert len(marks) == 40 and float(ElementTree.fromstring(drawing).get("height")) < 700, "the legend stands in columns"


def test_equal_points_and_a_single_one_are_drawn(embedded):
    _, sequences, shares = embedded
    for count in (1, 2):
        assert len(choices(drawings.plane(np.zeros((count, 2)), sequences[:count], shares))) == count


def test_a_chosen_point_plays_its_sequence(embedded):
    points, sequences, shares = embedded

    def frames_of(place):
        return np.full((4, 8, 8, 1), 10 * place, np.uint8)

    plane, player, _ = inner(explorer.embedding_explorer(points, sequences, shares, frames_of, 3))
    assert plane.choice == sequences[3].id
    for place in (3, 7):
        plane.choice = sequences[place].id
        assert player.value == play(frames_of(place), fps=12.5, label=sequences[place].id).data
        assert f"{sequences[place].label}, {sequences[place].subject}" in plane.words
    plane.choice = "nobody"
    assert "no sequence 'nobody' in this plane" in plane.words and not player.value


# --- again and again -------------------------------------------------------------------------------------------------


def test_ten_runs_of_a_cell_leave_one_runs_widgets(cell):
    make = """
    from types import SimpleNamespace
    import numpy as np
    from dn3dlib.config import ModelConfig
    from dn3dlib.show import explorer, network
    frames = np.zeros((4, 8, 8, 1), np.uint8)
    one = SimpleNamespace(id="a", label="walking", subject="person01")
    explorer.feature_explorer(frames, {"a": np.ones((4, 2, 2, 3))}, {"a": np.arange(4.0)}, "a")
    explorer.embedding_explorer(np.ones((1, 2)), [one], np.ones(2), lambda place: frames)
    report = {"classes": ["a", "b"], "confusion": [[0, 0], [0, 0]], "predictions": [], "split": "test"}
    explorer.confusion_explorer(None, report)
    network.explore(ModelConfig(), (4, 16, 16, 1))
    """
    cell(make, "one")
    comms = int(cell(COUNT))
    for _ in range(10):
        cell(make, "one")
    assert int(cell(COUNT)) == comms > 0
