"""The inside of a network: maps, units, kernels, connections, embedding; and that the pictures of it draw what they are given."""

import io

import keras
import numpy as np
import pytest
from PIL import Image

from dn3dlib import DataSet, ModelConfig, build_model
from dn3dlib.data.clips import clip_dataset, plan_evaluation
from dn3dlib.errors import ConfigError
from dn3dlib.explain import connections, embedding, features, kernels
from dn3dlib.explain.occlusion import agreement
from dn3dlib.places import data_home
from dn3dlib.show import inside
from dn3dlib.show.exercises_04 import EXERCISES
from dn3dlib.train.best import load_best
from dn3dlib.train.runs import Run
from dn3dlib.train.shipped import chosen_network

keras.utils.set_random_seed(1)


@pytest.fixture(scope="module")
def network(trained):
    return load_best(Run.open(trained))


@pytest.fixture(scope="module")
def plan(prepared, tiny):
    return plan_evaluation(DataSet.open(prepared), tiny.clip, "test")


def all_clips(prepared, plan, tiny) -> np.ndarray:
    return np.concatenate([clips.numpy() for clips, _, _ in clip_dataset(DataSet.open(prepared), plan, tiny.clip, 8)])


# Maps and units


def test_feature_maps_are_what_the_layers_compute_one_after_the_other(network):
    clips = np.random.default_rng(0).normal(size=(2, *network.input.shape[1:])).astype("float32")
    stem = network.get_layer("stem_conv")(clips)
    np.testing.assert_allclose(features.feature_maps(network, clips, "stem_conv"), stem, atol=1e-5)
    np.testing.assert_allclose(features.feature_maps(network, clips, "stem_pool"), network.get_layer("stem_pool")(stem), atol=1e-5)


def test_maps_are_those_of_inference(network):
    """In training mode batch normalisation and dropout would make a clip's maps depend on its neighbours and on chance."""
    clips = np.random.default_rng(0).normal(size=(3, *network.input.shape[1:])).astype("float32")
    together = features.feature_maps(network, clips, "head_relu")
    alone = np.concatenate([features.feature_maps(network, clip[None], "head_relu") for clip in clips])
    np.testing.assert_allclose(together, alone, atol=1e-4)


def test_the_strongest_clips_are_those_of_a_search_over_all_at_once(network, prepared, plan, tiny):
    data, layer = DataSet.open(prepared), "block1_layer1_conv"
    maps = features.feature_maps(network, all_clips(prepared, plan, tiny), layer)
    found = features.strongest_clips(network, data, plan, tiny.clip, layer, (0, 1), top=3)
    for unit, responses in found.items():
        values = maps[..., unit].max(axis=(1, 2, 3))
        of_sequence = {place: values[plan.sequence == place].max() for place in np.unique(plan.sequence)}
        np.testing.assert_allclose([r.value for r in responses], sorted(of_sequence.values(), reverse=True)[:3], rtol=1e-4)
        assert len({plan.sequence[r.row] for r in responses}) == 3, "one clip of each sequence"
        assert [values[r.row] for r in responses] == pytest.approx([r.value for r in responses], rel=1e-4)


def test_the_peak_lies_on_a_spot_that_was_planted(prepared, plan, tiny, monkeypatch):
    """A unit that answers to brightness, and clips that are dark but for one spot each."""
    clips = keras.Input((4, 32, 32, 1))
    bright = keras.layers.Conv3D(1, (1, 2, 2), strides=(1, 2, 2), kernel_initializer="ones", name="bright")
    network = keras.Model(clips, keras.layers.Dense(2)(keras.layers.GlobalAveragePooling3D()(bright(clips))))
    spots = [(t, y, x) for t, y, x in zip(range(4), (3, 9, 20, 30), (31, 2, 17, 8), strict=True)]

    def planted(part, data, plan, clip):
        for row, spot in enumerate(spots):
            values = np.zeros((1, 4, 32, 32, 1), np.float32)
            values[0, *spot] = 1 + row
            yield range(row, row + 1), part(values).numpy()

    monkeypatch.setattr(features, "through", planted)
    places = np.unique(plan.sequence, return_index=True)[1][:4]
    found = features.strongest_clips(network, DataSet.open(prepared), plan[places], tiny.clip, "bright", [0])[0]
    assert [r.value for r in found] == [4, 3, 2, 1] and [r.row for r in found] == [3, 2, 1, 0]
    for response, (t, y, x) in zip(found, spots[::-1], strict=True):
        assert response.peak[0] == t and abs(response.peak[1] - y) <= 1 and abs(response.peak[2] - x) <= 1


def test_no_more_than_the_top_is_kept_and_of_equals_the_earlier():
    kept = {}
    for sequence, value in [(5, 1.0), (6, 3.0), (7, 1.0), (5, 2.0), (8, 2.0), (9, 0.5), (6, 2.5)]:
        features._keep(kept, sequence, (value, sequence, ()), top=2)
        assert len(kept) <= 2
    assert {sequence: one[0] for sequence, one in kept.items()} == {5: 2.0, 6: 3.0}


@pytest.mark.parametrize(
    ("layer", "units", "sentence"),
    [
        ("block1_layer1_con", [0], "did you mean block1_layer1_conv"),
        ("head_pool", [0], "gives no maps"),
        ("stem_conv", [0, 4], "has the units 0 to 3, but these are asked for: \\[0, 4\\]"),
        ("stem_conv", [-1], "has the units 0 to 3"),
        ("stem_conv", [], "has the units 0 to 3"),
    ],
)
def test_a_unit_that_is_none_is_refused(network, prepared, plan, tiny, layer, units, sentence):
    with pytest.raises(ConfigError, match=sentence):
        features.strongest_clips(network, DataSet.open(prepared), plan, tiny.clip, layer, units)


def test_clips_of_another_size_are_refused(network):
    with pytest.raises(ConfigError, match="The network takes clips"):
        features.feature_maps(network, np.zeros((1, 4, 16, 16, 1)), "stem_conv")


# Kernels


@pytest.mark.parametrize(("direction", "step"), [(0, (0, 2)), (90, (2, 0)), (180, (0, -2)), (270, (-2, 0)), (45, (2**0.5, 2**0.5))])
def test_the_bar_moves_in_its_direction(direction, step):
    bar = kernels.moving_bar((5, 33, 33, 1), direction, speed=2)[..., 0]
    y, x = np.mgrid[:33, :33] - 16
    along = y * np.sin(np.deg2rad(direction)) + x * np.cos(np.deg2rad(direction))
    middles = np.array([(along * frame).sum() / frame.sum() for frame in bar])
    np.testing.assert_allclose(np.diff(middles), np.hypot(*step), atol=0.2)
    assert bar.max() == 255 and middles[2] == pytest.approx(0, abs=1e-3), "it crosses the middle at half time"


def test_a_kernel_that_follows_an_edge_prefers_its_direction():
    """A film of a bar that moves to the right by a pixel each frame answers most to just that."""
    clips = keras.Input((7, 21, 21, 1))
    stem = keras.layers.Conv3D(2, (5, 1, 5), padding="same", use_bias=False, name="stem_conv")
    network = keras.Model(clips, keras.layers.Dense(2)(keras.layers.GlobalAveragePooling3D()(stem(clips))))
    film = np.eye(5, dtype=np.float32)  # frame t looks at column t
    still = np.full((5, 5), 0.2, np.float32)
    stem.kernel.assign(np.stack([film - film.mean(), still], axis=-1)[:, None, :, None, :])
    np.testing.assert_array_equal(kernels.first_kernels(network)[0, :, 0, :, 0], film - film.mean())
    directions = [0, 90, 180, 270]
    answers = kernels.direction_tuning(network, "divide_255", "stem_conv", directions, speed=1)
    preference = kernels.direction_preference(answers)
    assert answers.shape == (2, 4) and answers[0].argmax() == 0 and answers[0, 2] < answers[0, 0] / 2
    assert preference[0] > 0.5 and preference[1] == pytest.approx(0, abs=1e-5)
    still_bar = kernels.direction_preference(kernels.direction_tuning(network, "divide_255", "stem_conv", directions, speed=0))
    np.testing.assert_allclose(still_bar, 0, atol=1e-5)


def test_a_unit_that_never_answers_prefers_no_direction():
    """A kernel whose answers are all below 0, or 0, has no preference; one with some is measured by what is above 0."""
    answers = np.array([[-1.0, -2, -3, -4], [0, 0, 0, 0], [4, 1, -2, 1]])
    np.testing.assert_array_equal(kernels.direction_preference(answers), [0, 0, 1])


# Connections


@pytest.mark.parametrize("bottleneck", [True, False])
@pytest.mark.parametrize("variant", ["general", "lite"])
def test_each_connection_is_the_mean_of_its_piece_of_the_kernel(variant, bottleneck):
    """Every reader's weights are set to s + 1 for channels of its source s (0: before the block), with either sign."""
    depth = 13 if bottleneck else 9
    network = build_model(ModelConfig(variant=variant, bottleneck=bottleneck, growth_rate=2, depth=depth, blocks=2, dropout=0.1), (4, 16, 16, 1), 3)
    layers = 2 if bottleneck else 3
    for block in (1, 2):
        before = network.get_layer("stem_conv" if block == 1 else "transition1_conv").output.shape[-1]
        first = "_bottleneck_conv" if bottleneck else "_conv"
        readers = [f"block{block}_layer{n}{first}" for n in range(1, layers + 1)] + ["transition1_conv" if block == 1 else "logits"]
        for name in readers:
            kernel = network.get_layer(name).kernel
            source = np.concatenate([np.zeros(before), 1 + np.arange(kernel.shape[-2] - before) // 2])
            signs = np.random.default_rng(0).choice([-1, 1], kernel.shape)
            kernel.assign(signs * (source + 1)[:, None])
    found = connections.connection_strength(network)
    assert [block.targets[-1] for block in found] == ["transition1", "logits"]
    assert found[0].sources[1:] == tuple(f"block1_layer{n}" for n in range(1, layers + 1)) == found[0].targets[:-1]
    assert found[0].sources[0] == ("stem_pool" if variant == "lite" else "stem") and found[1].sources[0] == "transition1_pool"
    sources, targets = np.indices((layers + 1, layers + 1))
    for block in found:
        np.testing.assert_allclose(block.strength, np.where(sources <= targets, sources + 1.0, np.nan), atol=1e-6)


def test_taps_are_means_over_all_but_time():
    network = build_model(ModelConfig(growth_rate=2, depth=7, blocks=2), (4, 16, 16, 1), 3)
    stem = network.get_layer("stem_conv").kernel
    stem.assign(np.broadcast_to(np.arange(-3, 4)[:, None, None, None, None], stem.shape))
    taps = connections.tap_strength(network)
    np.testing.assert_allclose(taps["stem_conv"], [3, 2, 1, 0, 1, 2, 3])
    assert set(taps) == {"stem_conv", "block1_layer1_conv", "block2_layer1_conv"}, "a bottleneck has no extent in time"


# Embedding and agreement


def test_the_embedding_is_the_mean_over_the_clips_of_each_sequence(network, prepared, plan, tiny):
    places, found = embedding.sequence_embedding(network, DataSet.open(prepared), plan, tiny.clip)
    pooled = features.feature_maps(network, all_clips(prepared, plan, tiny), "head_relu").mean(axis=(1, 2, 3))
    assert list(places) == sorted(set(plan.sequence.tolist())) and found.shape == (len(places), 5)
    for place, row in zip(places, found, strict=True):
        np.testing.assert_allclose(row, pooled[plan.sequence == place].mean(axis=0), atol=1e-4)


def test_the_plane_shows_the_directions_of_largest_spread():
    random = np.random.default_rng(0).normal(size=(40, 5))
    independent = np.linalg.qr(random - random.mean(axis=0))[0]  # columns of mean 0 and equal length that do not depend on each other
    points = independent * [1, 8, 2, 4, 1] + [5, 0, 0, 0, 7]
    plane, shares = embedding.in_two_dimensions(points)
    np.testing.assert_allclose(np.abs(plane), np.abs(points[:, [1, 3]]), atol=1e-9)
    np.testing.assert_allclose(shares, [64 / 86, 16 / 86])
    assert np.array_equal(plane, embedding.in_two_dimensions(points)[0]), "no chance in it"


def test_neighbours_alike():
    points = np.array([[0.0], [1.0], [10.0], [11.5], [12.0]])
    assert embedding.neighbours_alike(points, ["a", "a", "b", "b", "b"]) == 1
    assert embedding.neighbours_alike(points, ["a", "b", "b", "b", "b"]) == pytest.approx(3 / 5)


def test_agreement_is_a_correlation_and_0_where_a_heat_says_nothing():
    heat = np.random.default_rng(0).random((2, 3, 4))
    assert agreement(heat, 2 * heat + 1) == pytest.approx(1) and agreement(heat, -heat) == pytest.approx(-1)
    assert agreement(heat, np.zeros((2, 3, 4))) == 0


# Which network


def test_a_run_of_ones_own_is_looked_into_without_touching_any_other(trained, network, tmp_path, monkeypatch):
    monkeypatch.setenv("DN3D_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("DN3D_DATA", str(tmp_path / "data"))
    run, found = chosen_network(str(trained), retrain=True, device="cpu")
    assert run.path == trained and not any(tmp_path.iterdir())
    assert all(np.array_equal(a, b) for a, b in zip(found.get_weights(), network.get_weights(), strict=True))


@pytest.mark.parametrize("retrain", [False, True])
def test_the_shipped_network_or_the_same_training_anew(retrain, prepared, tmp_path, monkeypatch, trained):
    """The training itself, minutes long, is another test's: here it is seen what is trained, and where."""
    import shutil

    from dn3dlib.presets import find_preset
    from dn3dlib.train import loop

    monkeypatch.setenv("DN3D_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("DN3D_DATA", str(tmp_path / "data"))
    shutil.copytree(prepared, data_home() / "synthetic-quick")
    asked = []
    monkeypatch.setattr(loop, "train", lambda *wanted, device, **_: (asked.append((*wanted, device)), shutil.copytree(trained, wanted[1])))
    run, found = chosen_network(retrain=retrain, device="cpu")
    preset, folder = find_preset("quick"), tmp_path / "runs" / "synthetic-quick-001"
    assert asked == ([(data_home() / "synthetic-quick", folder, preset.clip, preset.model, preset.train, "cpu")] if retrain else [])
    assert run.path == (folder if retrain else tmp_path / "runs" / "shipped-honest")
    assert found.input.shape[1:] == run.clip_shape and run.open_data().path == (prepared if retrain else data_home() / "synthetic-quick")


# Pictures


def drawn(picture) -> np.ndarray:
    pixels = np.asarray(Image.open(io.BytesIO(picture.png())).convert("RGB"))
    assert pixels.shape[1] <= 912 and tuple(pixels[0, 0]) == (255, 255, 255) and len(picture.alt.split()) >= 3
    return pixels


def test_kernels_are_scaled_one_by_one_and_0_is_grey():
    films = np.zeros((2, 3, 4, 4, 1), np.float32)
    films[0, 0, 0, 0], films[0, 1, 0, 0], films[1, 2, 3, 3] = 5, -2.5, 0.1
    grey = inside.kernel_grey(films)
    assert (grey[0, 0, 0, 0, 0], grey[0, 1, 0, 0, 0], grey[1, 2, 3, 3, 0]) == (255, 64, 255)
    assert grey[0, 2, 1, 1, 0] == grey[1, 0, 0, 0, 0] == 128
    assert (inside.kernel_grey(np.zeros((1, 2, 2, 2, 1))) == 128).all()
    strips = inside.kernel_strips(films, [1, 0])
    assert len(strips.figure.images) == 6 and [t.get_text() for t in strips.figure.texts][1] == "kernel 1"
    drawn(strips)


@pytest.mark.parametrize(("count", "channels"), [(4, 1), (7, 3)])
def test_the_film_holds_every_kernel_in_its_field(count, channels):
    films = np.random.default_rng(0).normal(size=(count, 3, 5, 5, channels)).astype("float32")
    film, grey = inside.kernel_film(films, columns=3), inside.kernel_grey(films)
    assert film.shape == (3, -(-count // 3) * 48, 3 * 48, channels) and film.dtype == np.uint8
    for number in range(count):
        field = film[:, number // 3 * 48 :, number % 3 * 48 :][:, :40:8, :40:8]
        np.testing.assert_array_equal(field, grey[number])


def test_direction_curves_are_closed_and_relative():
    axis = inside.direction_curves({"one": np.array([1.0, 2, 4, 2]), "two": np.array([3.0, 3, 3, 3])}, np.arange(0, 360, 90)).figure.axes[0]
    one, two = axis.lines
    assert list(one.get_ydata()) == [0.25, 0.5, 1, 0.5, 0.25] and set(two.get_ydata()) == {1}
    np.testing.assert_allclose(one.get_xdata(), np.deg2rad([0, 90, 180, 270, 0]))
    assert one.get_marker() != two.get_marker() and one.get_linestyle() != two.get_linestyle()


def test_a_unit_that_never_answers_is_drawn_in_the_middle():
    curves = {"below": np.array([-1.0, -2, -3, -2]), "none": np.zeros(4), "some": np.array([2.0, 1, -2, 1])}
    below, none, some = inside.direction_curves(curves, np.arange(0, 360, 90)).figure.axes[0].lines
    assert set(below.get_ydata()) == set(none.get_ydata()) == {0}
    assert list(some.get_ydata()) == [1, 0.5, 0, 0.5, 1]


def test_a_map_runs_from_dark_blue_to_yellow():
    film = inside.coloured(np.array([[[-1.0, 0], [0, 3]], [[0, 0], [0, 1]]]))
    assert film.shape == (2, 2, 2, 3) and film.dtype == np.uint8
    assert film[0, 0, 0, 2] > 60 > film[0, 0, 0, 0] and film[0, 1, 1].tolist()[:2] > [200, 200]
    assert film[..., 1].argmax() == 3 and len(np.unique(inside.coloured(np.ones((2, 2, 2))))) <= 3


def test_the_grid_has_a_numbered_field_for_each_map():
    maps = np.random.default_rng(0).normal(size=(4, 5, 10))
    picture = inside.map_grid(maps, "a layer")
    fields = [axis for axis in picture.figure.axes if axis.images and axis.get_title()]
    assert [axis.get_title() for axis in fields] == [str(n) for n in range(10)]
    for number, axis in enumerate(fields):
        np.testing.assert_array_equal(axis.images[0].get_array(), maps[..., number])
        assert axis.images[0].get_clim() == (maps.min(), maps.max())
    drawn(picture)


def test_maps_stand_below_the_frames_of_their_time():
    frames = np.zeros((8, 16, 16, 1), np.uint8)
    maps = {"a_conv": np.zeros((4, 2, 2, 3), np.float32)}
    maps["a_conv"][2, 0, 1, 1] = 1  # of four frames the third: frames 4 and 5 of the clip
    picture = inside.map_strips(frames, maps, [("a_conv", 1)])
    rows = [image.get_array() for image in picture.figure.images]
    assert len(rows) == 8 and "a\nunit 1" in [text.get_text() for text in picture.figure.texts]
    bright = [bool((row[..., 0] > 200).any()) for row in rows[4:]]
    assert bright == [False, False, True, False], "the columns are frames 0, 2, 4, 6"
    right_half = rows[6][: len(rows[6]) // 2, rows[6].shape[1] // 2 :]
    assert (right_half[..., 0] > 200).all()


@pytest.mark.parametrize(("time", "first"), [(0, 0), (5, 2), (9, 3)])
def test_the_place_of_the_peak_is_marked_in_its_frame_alone(time, first):
    frames = np.repeat(np.arange(10, dtype=np.uint8)[:, None, None, None], 32, axis=1).repeat(32, axis=2)
    picture = inside.strongest_strips([frames], ["walking"], [(time, 20, 8)], reach=4)
    images = [image.get_array() for image in picture.figure.images]
    assert len(images) == 7 and [text.get_text() for text in picture.figure.texts][1] == f"1. walking\nframe {time}"
    marked = [n for n, image in enumerate(images) if (image[..., 0].astype(int) - image[..., 2] > 50).any()]
    assert marked == [time - first]
    rows, columns = np.nonzero(images[time - first][..., 0].astype(int) - images[time - first][..., 2] > 50)
    scale = len(images[0]) / 32
    assert rows.mean() / scale == pytest.approx(20.5, abs=0.5) and columns.mean() / scale == pytest.approx(8.5, abs=0.5)
    drawn(picture)


def test_connections_are_drawn_as_they_are_with_white_for_none():
    strength = np.array([[0.2, 0.1], [np.nan, 0.4]])
    blocks = [connections.Connections(("stem", "block1_layer1"), ("block1_layer1", "transition1"), strength)] * 2
    picture = inside.connection_matrices({"trained": blocks, "untrained": blocks})
    panels = [axis for axis in picture.figure.axes if axis.images]
    assert len(panels) == 4
    for axis in panels:
        np.testing.assert_array_equal(np.asarray(axis.images[0].get_array().filled(np.nan)), strength)
        assert axis.images[0].get_clim() == (0, 0.4)
        assert [text.get_text() for text in axis.texts] == ["0.20", "0.10", "0.40"]
        assert [label.get_text() for label in axis.get_xticklabels()] == ["block1_layer1", "transition1"]
        assert [label.get_text() for label in axis.get_yticklabels()] == ["stem", "block1_layer1"]
    drawn(picture)


def test_sequences_are_points_of_their_class_and_the_chosen_one_is_ringed(prepared):
    sequences = DataSet.open(prepared).of_split("test")
    points = np.random.default_rng(0).normal(size=(len(sequences), 2))
    frames = np.arange(11, dtype=np.uint8)[:, None, None, None] * np.ones((1, 8, 8, 1), np.uint8)
    picture = inside.sequence_plane(points, sequences, np.array([0.5, 0.25]), 3, frames)
    plane, *panels = picture.figure.get_axes()
    *groups, ring = plane.lines
    for line in groups:
        wanted = points[[s.label == line.get_label() for s in sequences]]
        np.testing.assert_array_equal(line.get_xydata(), wanted)
    assert len(groups) == 6 and len({line.get_marker() for line in groups}) == len({line.get_color() for line in groups}) == 6
    np.testing.assert_array_equal(ring.get_xydata(), points[[3]])
    assert [panel.get_title() for panel in panels] == [f"frame {n}" for n in (0, 2, 4, 6, 8, 10)]
    assert [int(panel.images[0].get_array()[0, 0, 0]) for panel in panels] == [0, 2, 4, 6, 8, 10]
    assert "50% of the variance" in plane.get_xlabel() and sequences[3].subject in picture.alt
    drawn(picture)


def test_taps_are_drawn_around_the_middle():
    picture = inside.tap_curves({"one": np.array([1.0, 2, 3]), "two": np.array([1.0, 1, 1, 1, 1])})
    one, two = picture.figure.axes[0].lines[:2]
    assert one.get_xydata().tolist() == [[-1, 0.5], [0, 1], [1, 1.5]] and list(two.get_xdata()) == [-2, -1, 0, 1, 2]
    drawn(picture)


# Exercises


def test_answers_found_by_hand_are_right(capsys):
    assert EXERCISES["cost_of_occlusion"].check(7 * 7 * 7)
    assert EXERCISES["connection"].check(lambda kernel, before: np.mean(np.abs(kernel[:, :, :, before:])))
    assert capsys.readouterr().out.count("right: ") == 2
