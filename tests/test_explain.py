"""Explanations: Grad-CAM against finite differences and planted evidence, occlusion, their pictures, and `dn3d explain`."""

import dataclasses
import json
import shutil

import imageio.v3 as imageio
import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from dn3dlib.config import ModelConfig
from dn3dlib.data.clips import clip_dataset, plan_evaluation
from dn3dlib.data.manifest import DataSet
from dn3dlib.data.one_clip import clip_of_plan, clip_of_video
from dn3dlib.data.video import read_frames
from dn3dlib.errors import ConfigError, VideoError
from dn3dlib.explain.gradcam import class_activation, enlarged, grad_cam
from dn3dlib.explain.layers import map_centres, map_layer, map_layers
from dn3dlib.explain.occlusion import occlude
from dn3dlib.metrics import softmax
from dn3dlib.model.densenet3d import build_model
from dn3dlib.show.explain import evidence_over_time, heat_strip, overlay, watchable
from dn3dlib.train.best import load_best
from dn3dlib.train.runs import Run

CELL = 2  # frames, rows and columns that a cell of the planted network looks at
PLACES = [(0, 0, 0), (3, 5, 2), (1, 0, 7), (2, 6, 6), (3, 7, 0)]  # cells


@pytest.fixture(scope="module")
def planted():
    """A network whose logit 0 is the mean of a map that fires where the clip is bright, logit 1 of one where it is dark."""
    clips = keras.Input((8, 16, 16, 1))
    x = layers.AveragePooling3D(CELL, name="cells")(clips)
    x = layers.Conv3D(2, 1, use_bias=False, name="bright_and_dark")(x)
    x = layers.ReLU(name="maps")(x)
    x = layers.GlobalAveragePooling3D(name="mean")(x)
    model = keras.Model(clips, layers.Dense(2, name="logits")(x))
    model.set_weights([np.array([[[[[1.0, -1.0]]]]]), 100 * np.eye(2), np.zeros(2)])
    return model


def clip_with(bright: tuple, dark: tuple) -> np.ndarray:
    """A grey clip, float32 (8, 16, 16, 1), with a bright and a dark cell."""
    clip = np.zeros((8, 16, 16, 1), np.float32)
    clip[cell(bright)], clip[cell(dark)] = 1.5, -1
    return clip


def cell(place: tuple) -> tuple:
    return tuple(slice(CELL * n, CELL * (n + 1)) for n in place)


def only_there(heat: np.ndarray, place: tuple) -> bool:
    """Whether the heat's highest values lie in one cell alone, and everywhere in its inner corner."""
    hottest = np.argwhere(heat > 0.999 * heat.max())
    return bool((hottest // CELL == place).all()) and heat.max() > 0


@pytest.fixture(scope="module")
def network():
    """A network of the kit with random weights and running moments."""
    keras.utils.set_random_seed(3)
    model = small_network()
    rng = np.random.default_rng(3)
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.set_weights([rng.uniform(0.5, 1.5, value.shape) for value in layer.get_weights()])
    return model


def small_network() -> keras.Model:
    return build_model(ModelConfig(growth_rate=3, depth=13, blocks=2), (8, 32, 32, 1), 4)


@pytest.fixture(scope="module")
def exact(network):
    """The same network in float64, so that small differences are exact. TensorFlow pools float32 alone on a CPU."""
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float64")
    try:
        model = small_network()
    finally:
        keras.config.set_dtype_policy(policy)
    model.set_weights(network.get_weights())
    return model


def random_clips(count: int, model) -> np.ndarray:
    return np.random.default_rng(count).normal(size=(count, *model.input_shape[1:])).astype(np.float32)


# --- Grad-CAM --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layer", ["transition1_pool", "block2_layer1_concat", "block2_layer2_concat", "head_bn", "head_relu"])
def test_the_weights_of_the_maps_are_gradients_of_the_logit(network, exact, layer):
    """Against central differences: each whole map is raised and lowered, and sent through the rest of the network."""
    clips, target, step = random_clips(1, network), 2, 1e-6
    weights, _ = class_activation(network, clips, target, layer)
    maps = keras.Model(network.input, network.get_layer(layer).output)(clips, training=False).numpy().astype(np.float64)
    rest = keras.Model(exact.get_layer(layer).output, exact.get_layer("head_pool").output)
    kernel = exact.get_layer("logits").kernel.numpy().astype(np.float64)  # the logits are float32 in any network
    cells = np.prod(maps.shape[1:4])
    found = []
    for channel in range(maps.shape[-1]):
        moved = np.repeat(maps, 2, axis=0)
        moved[0, ..., channel] += step
        moved[1, ..., channel] -= step
        high, low = rest(moved, training=False).numpy() @ kernel[:, target]
        found.append((high - low) / (2 * step) / cells)
    np.testing.assert_allclose(weights[0], found, rtol=1e-4, atol=1e-6 * np.abs(found).max())
    assert np.abs(found).max() > 1e-5


def test_before_a_pooling_the_weights_are_those_behind_it_spread_over_more_cells(network):
    """To raise a whole map is to raise its average."""
    clips = random_clips(2, network)
    before, maps = class_activation(network, clips, 0, "transition1_conv")
    behind, pooled = class_activation(network, clips, 0, "transition1_pool")
    assert maps.shape == (2, 8, 8, 8) and pooled.shape == (2, 4, 4, 4)
    np.testing.assert_allclose(before * 8, behind, rtol=1e-4, atol=1e-8)


def test_before_the_head_the_weights_are_the_dense_layers(network):
    """Where only an average and a dense layer follow, Grad-CAM is CAM (Selvaraju et al. 2017, section 3.1)."""
    clips = random_clips(2, network)
    weights, maps = class_activation(network, clips, 1, "head_relu")
    column = network.get_layer("logits").kernel.numpy()[:, 1]
    features = keras.Model(network.input, network.get_layer("head_relu").output)(clips, training=False).numpy()
    np.testing.assert_allclose(weights, np.broadcast_to(column / np.prod(maps.shape[1:]), weights.shape), rtol=1e-5)
    np.testing.assert_allclose(maps, np.maximum(features @ (column / np.prod(maps.shape[1:])), 0), rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("place", PLACES)
def test_the_heat_is_where_and_when_the_evidence_was_planted(planted, place):
    dark = tuple((n + 2) % size for n, size in zip(place, (4, 8, 8), strict=True))
    clips = clip_with(place, dark)[None]
    assert only_there(grad_cam(planted, clips, 0)[0], place)
    assert only_there(grad_cam(planted, clips, 1)[0], dark)
    assert only_there(grad_cam(planted, clips)[0], place), "bright outweighs dark: it is the predicted class"


def test_each_clip_has_its_own_target_and_heat(planted):
    clips = np.stack([clip_with((0, 1, 2), (3, 4, 5)), clip_with((2, 2, 2), (1, 7, 0))])
    heat = grad_cam(planted, clips, np.array([1, 0]))
    assert heat.shape == (2, 8, 16, 16) and heat.dtype == np.float32
    assert only_there(heat[0], (3, 4, 5)) and only_there(heat[1], (2, 2, 2))
    assert heat.min() >= 0 and heat.max(axis=(1, 2, 3)).tolist() == [1, 1]


def test_a_clip_without_evidence_stays_cold(planted):
    clips = np.stack([np.zeros((8, 16, 16, 1)), clip_with((0, 0, 0), (1, 1, 1))])
    heat = grad_cam(planted, clips, 0)
    assert not heat[0].any() and heat[1].max() == 1


def test_in_a_batch_or_alone_the_heat_is_the_same(network):
    clips = random_clips(3, network)
    together = grad_cam(network, clips, layer="transition1_conv")
    alone = np.concatenate([grad_cam(network, clips[[n]], layer="transition1_conv") for n in range(3)])
    np.testing.assert_allclose(together, alone, atol=1e-6)
    assert (together.max(axis=(1, 2, 3)) == 1).all()


def test_the_network_is_left_as_it_was(network):
    before = [value.copy() for value in network.get_weights()]
    grad_cam(network, random_clips(2, network))
    assert all(np.array_equal(*pair) for pair in zip(before, network.get_weights(), strict=True))


# --- where maps lie in the clip --------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [64, 63, 50])
@pytest.mark.parametrize("padding", ["same", "valid"])
def test_cells_are_centred_on_what_they_see(size, padding):
    """The gradient of one cell with respect to the clip shows what it sees: its centre of mass is the cell's place."""
    clips = keras.Input((24, size, size, 1))
    x = layers.Conv3D(1, 7, strides=(1, 2, 2), padding="same", kernel_initializer="ones", name="conv")(clips)
    x = layers.AveragePooling3D(3, strides=(1, 2, 2), padding="same", name="pool")(x)
    x = layers.Concatenate(name="concat")([x, layers.Conv3D(1, 3, padding="same", kernel_initializer="ones", name="more")(x)])
    model = keras.Model(clips, layers.AveragePooling3D(2, padding=padding, name="last")(x))
    centres = map_centres(model, model.get_layer("last"))
    assert [len(places) for places in centres] == list(model.output.shape[1:4])
    values = tf.zeros((1, *model.input_shape[1:]))
    middle = [len(places) // 2 for places in centres]
    with tf.GradientTape() as tape:
        tape.watch(values)
        seen = tf.reduce_sum(model(values)[(0, *middle)])
    gradient = tape.gradient(seen, values).numpy()[0, ..., 0]
    for axis, places in enumerate(centres):
        profile = gradient.sum(axis=tuple({0, 1, 2} - {axis}))
        centre = (profile * np.arange(len(profile))).sum() / profile.sum()
        assert places[middle[axis]] == pytest.approx(centre, abs=1e-3)


def test_enlarged_maps_pass_through_their_cells_and_are_linear_between():
    maps = np.array([0.0, 4.0, 2.0], np.float32).reshape(1, 3, 1, 1)
    line = enlarged(maps, [np.array([1.0, 3.0, 5.0]), np.array([0.0]), np.array([2.5])], (7, 2, 3))
    assert line.shape == (1, 7, 2, 3) and line.dtype == np.float32
    np.testing.assert_allclose(line[0, :, 1, 2], [0, 0, 2, 4, 3, 2, 2])


def test_without_a_name_the_last_fine_maps_are_taken():
    def chosen(size: int) -> str:
        return map_layer(build_model(ModelConfig(growth_rate=2, depth=13, blocks=3), (16, size, size, 1), 3)).name

    assert chosen(64) == "transition2_conv", "8 × 8 cells; behind it 4 × 4"
    assert chosen(128) == "head_relu", "8 × 8 cells"
    assert chosen(16) == "transition2_conv", "no maps of this network are fine, but 2 × 2 cells say more than one"


def test_wrong_names_and_numbers_are_refused_in_one_sentence(network):
    clips = random_clips(1, network)
    assert "head_relu" in map_layers(network) and "logits" not in map_layers(network) and "clips" not in map_layers(network)
    with pytest.raises(ConfigError, match="no layer 'haed_relu': did you mean head_relu?"):
        grad_cam(network, clips, layer="haed_relu")
    with pytest.raises(ConfigError, match="The layer head_pool gives no maps"):
        grad_cam(network, clips, layer="head_pool")
    for target in (4, -1, 1.0, [0, 1], "walking"):
        with pytest.raises(ConfigError, match="whole number from 0 to 3"):
            grad_cam(network, clips, target)
    for wrong in (clips[0], clips[..., :-1, :], clips[:0]):
        with pytest.raises(ConfigError, match=r"takes clips \(clips, 8, 32, 32, 1\)"):
            grad_cam(network, wrong)


# --- occlusion -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", PLACES[:3])
def test_covering_the_planted_evidence_costs_most(planted, place):
    dark = tuple((n + 2) % size for n, size in zip(place, (4, 8, 8), strict=True))
    found = occlude(planted, clip_with(place, dark), size=(2, 2, 2), stride=(1, 1, 1))
    assert (found.target, found.drop.shape) == (0, (7, 15, 15))
    assert only_there(found.heat(), place)
    aligned = found.drop[::2, ::2, ::2]
    assert np.unravel_index(aligned.argmax(), aligned.shape) == place
    assert np.unravel_index(aligned.argmin(), aligned.shape) == dark and aligned.min() < 0, "without the dark cell it is surer"
    assert found.over_clip()[cell(dark)].mean() < 0


def test_the_drop_is_the_loss_of_probability(planted):
    clip = clip_with((1, 2, 3), (3, 4, 5))
    found = occlude(planted, clip, target=1, size=(4, 8, 16), stride=(4, 8, 16), batch_size=3)
    assert found.drop.shape == (2, 2, 1) and found.drop.dtype == np.float32
    covered = clip.copy()
    covered[4:, 8:] = clip.mean()
    both = softmax(planted(np.stack([clip, covered]), training=False).numpy())[:, 1]
    assert found.probability == pytest.approx(both[0])
    assert found.drop[1, 1, 0] == pytest.approx(both[0] - both[1], abs=1e-6) and found.drop[1, 1, 0] > 0.1


def test_places_reach_the_border_and_each_pixel_is_covered(planted):
    found = occlude(planted, clip_with((0, 0, 0), (1, 1, 1)), size=(3, 5, 16), stride=(2, 4, 1))
    assert [places.tolist() for places in found.starts] == [[0, 2, 4, 5], [0, 4, 8, 11], [0]]
    assert np.isfinite(found.over_clip()).all() and found.over_clip().shape == (8, 16, 16)


def test_a_pixel_has_the_mean_of_what_covered_it(planted):
    found = occlude(planted, clip_with((0, 0, 0), (3, 3, 3)), size=(4, 16, 16), stride=(2, 16, 16))
    first, second, third = found.drop[:, 0, 0]
    wanted = np.repeat([first, (first + second) / 2, (second + third) / 2, third], 2)
    np.testing.assert_allclose(found.over_clip()[:, 9, 9], wanted, rtol=1e-6)


def test_standing_still_takes_away_the_motion_alone():
    """Of a network that sees nothing but change, a picture that stands still hides the one frame at which something moves."""
    clips = keras.Input((8, 4, 4, 1))
    change = layers.ReLU()(layers.Conv3D(1, (2, 1, 1), use_bias=False)(clips))
    model = keras.Model(clips, layers.Dense(2, use_bias=False)(layers.GlobalAveragePooling3D()(change)))
    model.set_weights([np.array([-1.0, 1.0]).reshape(2, 1, 1, 1, 1), np.array([[5.0, 0.0]])])
    clip = np.zeros((8, 4, 4, 1), np.float32)
    clip[5:] = 1  # appears in frame 5 and stays
    drop = occlude(model, clip, 0, size=(1, 4, 4), stride=(1, 4, 4), cover="still").drop[:, 0, 0]
    assert np.flatnonzero(np.abs(drop) > 1e-6).tolist() == [], "one frame later it appears all the same"
    drop = occlude(model, clip, 0, size=(3, 4, 4), stride=(1, 4, 4), cover="still").drop[:, 0, 0]
    assert np.flatnonzero(np.abs(drop) > 1e-6).tolist() == [5], "behind the last covered frame nothing appears"
    everything = occlude(model, clip, 0, size=(8, 4, 4), cover="still")
    assert everything.drop.shape == (1, 1, 1) and everything.drop[0, 0, 0] > 0.1
    assert np.abs(occlude(model, np.ones_like(clip), 0, cover="still").heat()).max() == 0


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"size": (9, 2, 2)}, r"A cuboid of \(9, 2, 2\) does not fit"),
        ({"size": (0, 2, 2)}, "does not fit"),
        ({"size": (2, 2)}, "does not fit"),
        ({"size": (2, 2, 2), "stride": (1, 3, 1)}, "leaves gaps or stands still"),
        ({"stride": (0, 1, 1)}, "leaves gaps or stands still"),
        ({"cover": "grey"}, "must be one of mean, still"),
        ({"target": 2}, "whole number from 0 to 1"),
    ],
)
def test_impossible_covers_are_refused(planted, options, sentence):
    with pytest.raises(ConfigError, match=sentence):
        occlude(planted, np.zeros((8, 16, 16, 1)), **options)


# --- clips of a video ------------------------------------------------------------------------------------------------


def test_a_clip_of_a_video_is_what_evaluation_feeds(trained, prepared, catalog):
    run, data = Run.open(trained), DataSet.open(prepared)
    plan = plan_evaluation(data, run.clip, "test")
    values = np.concatenate([clips for clips, *_ in clip_dataset(data, plan, run.clip, 8).as_numpy_iterator()])
    rows = {(row.video, row.start): row for row in catalog.sequences}
    starts = {s.id: next(r.start for r in rows.values() if r.id == s.id) for s in data.sequences}
    for row in (0, 5, len(plan) - 1):
        sequence = data.sequences[plan.sequence[row]]
        first = starts[sequence.id] + int(plan.frames[row, 0])
        one = clip_of_video(catalog.source_dir / sequence.video, run.storage, run.clip, first)
        np.testing.assert_allclose(one.values, values[row], rtol=0, atol=2e-6)  # eager and in a graph TensorFlow rounds differently
        assert one.numbers.tolist() == (starts[sequence.id] + plan.frames[row]).tolist()
        planned = clip_of_plan(data, plan, row, run.clip)
        np.testing.assert_array_equal(planned.frames, one.frames)
        np.testing.assert_array_equal(planned.values, one.values)


def test_jpeg_leaves_its_traces_in_a_clip_as_in_a_data_set(trained, source):
    run = Run.open(trained)
    video = next(source.rglob("*.avi"))
    coarse = dataclasses.replace(run.storage, encoding="jpeg", quality=5)
    exact, traced = (clip_of_video(video, storage, run.clip, 0).frames.astype(int) for storage in (run.storage, coarse))
    np.testing.assert_array_equal(exact, read_frames(video, 0, 4, height=32, width=32, channels=1))
    assert 1 < np.abs(exact - traced).mean() < 40


def test_the_middle_clip_stride_and_frame_order(trained, numbered_video, tmp_path):
    run = Run.open(trained)
    video = numbered_video(tmp_path / "numbers.avi", 21)
    clip = dataclasses.replace(run.clip, stride=3)
    assert clip_of_video(video, run.storage, clip).numbers.tolist() == [5, 8, 11, 14]
    assert clip_of_video(video, run.storage, clip).frames[:, 0, 0, 0].tolist() == [5, 8, 11, 14]
    turned = clip_of_video(video, run.storage, dataclasses.replace(clip, frame_order="reversed"), 11)
    assert turned.numbers.tolist() == turned.frames[:, 0, 0, 0].tolist() == [20, 17, 14, 11]
    with pytest.raises(ConfigError, match="start at 11 or earlier"):
        clip_of_video(video, run.storage, clip, 12)
    with pytest.raises(VideoError, match="has 21 frames, but a clip of this run spans 22"):
        clip_of_video(video, run.storage, dataclasses.replace(run.clip, stride=7))


# --- pictures --------------------------------------------------------------------------------------------------------


def clip_and_heat(count: int = 3) -> tuple[np.ndarray, np.ndarray]:
    frames = np.random.default_rng(0).integers(0, 256, (count, 8, 12, 1), dtype=np.uint8)
    heat = np.zeros((count, 8, 12))
    heat[1, :4] = 1
    return frames, heat


def test_an_overlay_darkens_what_is_cold_and_lights_what_is_hot():
    frames, heat = clip_and_heat()
    laid = overlay(frames, heat, width=12)
    assert laid.dtype == np.uint8 and laid.shape == (3, 8, 12, 3)
    np.testing.assert_allclose(laid[0], 0.4 * np.broadcast_to(frames[0], (8, 12, 3)), atol=3)  # inferno's darkest is almost black
    hot, cold = laid[1, :4].astype(int), laid[1, 4:].astype(int)
    assert (hot[..., 0] > hot[..., 2] + 30).all() and (np.ptp(cold, axis=-1) <= 3).all(), "yellow and grey"
    assert overlay(frames, heat).shape == (3, 170, 256, 3)


def test_watchable_frames_keep_colours_and_aspect():
    frames = np.zeros((2, 10, 20, 3), np.uint8)
    frames[..., 1] = 200
    large = watchable(frames, 64)
    assert large.shape == (2, 32, 64, 3) and (large == [0, 200, 0]).all()


def test_a_strip_shows_the_frames_and_each_heat_below_them():
    frames, heat = clip_and_heat(3)
    picture = heat_strip(frames, {"Grad-CAM": heat, "occlusion": 0 * heat}, [17, 18, 19], "waving")
    drawn = [np.asarray(image.get_array())[..., :3] for image in picture.figure.images]
    width = drawn[0].shape[1]
    wanted = [*watchable(frames, width), *overlay(frames, heat, width), *overlay(frames, 0 * heat, width)]
    assert len(drawn) == 9
    for image, expected in zip(drawn, wanted, strict=True):
        np.testing.assert_array_equal(image, expected)
    texts = [text.get_text() for text in picture.figure.texts]
    assert {"waving", "clip", "Grad-CAM", "occlusion", "17", "18", "19"} <= set(texts)
    assert "Grad-CAM, occlusion" in picture.alt and picture.png()[:4] == b"\x89PNG"


@pytest.mark.parametrize("count", [1, 8, 9, 16, 40])
def test_a_strip_fits_into_a_notebook_and_nothing_lies_outside(count):
    frames, heat = clip_and_heat(40)
    picture = heat_strip(frames[:count], {"evidence": heat[:count]}, title="a title")
    wide, tall = picture.figure.get_size_inches() * 100
    assert wide <= 910 and len(picture.figure.images) == 2 * min(count, 16)
    numbers = [int(text.get_text()) for text in picture.figure.texts if text.get_text().isdigit()]
    assert numbers[0] == 0 and numbers[-1] == count - 1 and numbers == sorted(set(numbers))
    for image in picture.figure.images:
        height, width = image.get_array().shape[:2]
        assert image.ox >= 0 and image.ox + width <= wide and image.oy >= 0 and image.oy + height <= tall


def test_evidence_over_time_draws_the_curves_that_it_is_given():
    curves = {"Grad-CAM": np.array([0.1, 0.5, 0.2]), "occlusion": np.array([0.0, -0.1, 0.4])}
    ax = evidence_over_time(curves, [7, 8, 9], "walking", "fall of the probability").figure.axes[0]
    assert ax.get_ylabel() == "fall of the probability"
    for line, (label, curve) in zip(ax.get_lines(), curves.items(), strict=True):
        assert (line.get_label(), line.get_xdata().tolist()) == (label, [7, 8, 9])
        np.testing.assert_array_equal(line.get_ydata(), curve)
    assert len({line.get_marker() for line in ax.get_lines()}) == 2 and ax.get_ylim()[0] < -0.1


def test_heat_that_does_not_fit_is_refused():
    frames, heat = clip_and_heat()
    for wrong in (heat[:2], heat[:, :-1]):
        with pytest.raises(ConfigError, match="of the same size"):
            overlay(frames, wrong)
    with pytest.raises(ConfigError, match="of the same size"):
        overlay(frames / 255, heat)
    with pytest.raises(ConfigError, match="no heat to draw"):
        heat_strip(frames, {})


# --- dn3d explain ----------------------------------------------------------------------------------------------------


@pytest.fixture
def video(source):
    return sorted((source / "walking").glob("*.avi"))[0]


@pytest.mark.parametrize("method", ["gradcam", "occlusion"])
def test_explain_tells_what_is_predicted_and_draws_it(shell, trained, video, tmp_path, method):
    out = tmp_path / "new" / "strip.png"
    status, printed, err = shell("explain", "--run", trained, video, "--out", out, "--method", method, "--device", "cpu", "--json")
    assert status == 0, err
    found = json.loads(printed)
    assert found["frames"] == [10, 11, 12, 13] and found["target"] == found["predicted"]
    assert found["layer"] == (None if method == "occlusion" else map_layer(load_best(Run.open(trained))).name)
    shares = found["probabilities"]
    assert set(shares) == set(Run.open(trained).classes) and sum(shares.values()) == pytest.approx(1, abs=1e-4)
    assert max(shares, key=shares.get) == found["predicted"]
    run = Run.open(trained)
    clip = clip_of_video(video, run.storage, run.clip, 10).values
    logits = load_best(run)(clip[None], training=False).numpy()
    np.testing.assert_allclose(list(shares.values()), softmax(logits)[0], atol=1e-5)
    picture = imageio.imread(out)
    assert found["out"] == str(out) and picture.shape[1] > 300 and picture.std() > 20
    assert [path.name for path in out.parent.iterdir()] == ["strip.png"]


def test_explain_makes_a_video_for_a_browser(shell, trained, video, tmp_path):
    out = tmp_path / "heat.mp4"
    options = ["--start", 3, "--target", "boxing", "--layer", "transition1_relu", "--device", "cpu"]
    status, printed, err = shell("explain", "--run", trained, video, "--out", out, *options)
    assert status == 0, err
    assert "frames 3 to 6 (counted from 0)" in printed and "evidence for boxing, Grad-CAM at layer transition1_relu" in printed
    about = imageio.immeta(out, plugin="FFMPEG")
    shown = imageio.imread(out, plugin="FFMPEG")
    assert about["codec"] == "h264" and "yuv420p" in about["pix_fmt"] and about["fps"] == pytest.approx(25 / 4, abs=0.01)
    run = Run.open(trained)
    clip = clip_of_video(video, run.storage, run.clip, 3)
    heat = grad_cam(load_best(run), clip.values[None], run.classes.index("boxing"), "transition1_relu")[0]
    wanted = np.concatenate([watchable(clip.frames), overlay(clip.frames, heat)], axis=2)
    assert shown.shape == wanted.shape == (4, 256, 512, 3)
    assert np.abs(shown.astype(int) - wanted).mean() < 6


def test_explain_writes_nothing_where_something_is(shell, trained, video, tmp_path):
    out = tmp_path / "mine.png"
    out.write_text("mine")
    status, printed, err = shell("explain", "--run", trained, video, "--out", out, "--device", "cpu")
    assert status == 2 and "already exists: choose another name" in err and not printed
    assert out.read_text() == "mine"


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"run": "nowhere"}, "There is no run at nowhere"),
        ({"video": "nothing.avi"}, "nothing.avi does not exist"),
        ({"video": __file__}, "has no video stream"),
        ({"layer": "transition1_rule"}, "did you mean transition1_relu?"),
        ({"layer": "logits"}, "gives no maps over time and space"),
        ({"layer": "head_relu", "method": "occlusion"}, "--layer belongs to --method gradcam"),
        ({"method": "gradcom"}, "did you mean gradcam?"),
        ({"target": "wolking"}, "knows no class 'wolking': did you mean walking?"),
        ({"start": 21}, "which has 24, does not hold so many: start at 20 or earlier"),
        ({"start": 400}, "start at 20 or earlier"),
        ({"start": -1}, "frames count from 0"),
        ({"out": "heat.gif"}, "ends in neither .png nor .mp4"),
        ({"out": "heat"}, "ends in neither .png nor .mp4"),
        ({"out": "/dev/null/heat.png"}, "/dev/null/heat.png cannot be made"),
        ({"device": "gpu:99"}, "--device gpu:99 is not there"),
    ],
)
def test_wrong_input_of_explain_is_one_sentence(shell, trained, video, tmp_path, options, sentence):
    given = {"run": trained, "video": video, "out": tmp_path / "heat.png", "device": "cpu"} | options
    given["out"] = tmp_path / given["out"]
    film = given.pop("video")
    status, printed, err = shell("explain", film, *(word for name, value in given.items() for word in (f"--{name}", value)))
    assert status == 2 and not printed and "Traceback" not in err
    last = err.splitlines()[-1]
    assert last.startswith("dn3d: error: ") and sentence in last
    assert not list(tmp_path.iterdir()), "nothing is left half written"


def test_broken_and_short_videos_are_one_sentence(shell, trained, video, numbered_video, tmp_path):
    cut = tmp_path / "cut.avi"
    cut.write_bytes(video.read_bytes()[: video.stat().st_size // 2])
    short = numbered_video(tmp_path / "short.avi", 3)
    whole = ("truncated", "has 3 frames, but a clip of this run spans 4; give a longer video")
    for film, sentence in zip((cut, short), whole, strict=True):
        status, _, err = shell("explain", "--run", trained, film, "--out", tmp_path / "heat.png", "--device", "cpu")
        assert status == 2 and sentence in err.splitlines()[-1] and "Traceback" not in err


def test_a_run_without_a_network_is_one_sentence(shell, trained, video, tmp_path):
    copy = shutil.copytree(trained, tmp_path / "run")
    (copy / "best.keras").unlink()
    status, _, err = shell("explain", "--run", copy, video, "--out", tmp_path / "heat.png", "--device", "cpu")
    assert status == 2 and "has no best.keras yet" in err.splitlines()[-1]
