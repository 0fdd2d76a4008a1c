"""The faster form of the network: each operation against the stock layers, the whole in other precisions and with less memory."""

import dataclasses
import subprocess
import sys
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf

from dn3dlib.config import ModelConfig, TrainConfig
from dn3dlib.errors import ConfigError
from dn3dlib.model.densenet3d import build_model
from dn3dlib.train import steps, strategy
from dn3dlib.train.fused import inference_function, training_function
from dn3dlib.train.kernels import convolve, drop_out, lite_stem
from dn3dlib.train.runs import Run
from dn3dlib.train.strategy import choose_precision, choose_strategy

SHAPE, CLASSES = (6, 20, 24, 3), 4
MODEL = ModelConfig(growth_rate=4, depth=16, blocks=2, dropout=0.2)


def numbers(*shape: int, seed: int = 0) -> tf.Tensor:
    return tf.constant(np.random.default_rng(seed).normal(size=shape).astype(np.float32))


def network(config: ModelConfig = MODEL) -> keras.Model:
    keras.utils.set_random_seed(3)
    return build_model(config, SHAPE, CLASSES)


def after_steps(config: TrainConfig, model_config: ModelConfig = MODEL, count: int = 2) -> tuple[list[np.ndarray], np.ndarray]:
    """All values of a network after some steps of training, and the last sums."""
    model = network(model_config)
    optimizer = steps.make_optimizer(0.01, config, model.trainable_variables)
    step = steps.make_train_step(model, optimizer, tf.distribute.get_strategy(), config, SHAPE)
    clips, labels = numbers(5, *SHAPE), np.arange(5, dtype=np.int32) % CLASSES
    for _ in range(count):
        sums = step(clips, labels, np.float32(5))
    return model.get_weights(), sums.numpy()


# --- operations ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("frames, height, width", [(6, 20, 24), (5, 21, 23), (1, 7, 9), (9, 37, 43)])
@pytest.mark.parametrize("filters", [8, 16, 24])
def test_the_stem_of_lite_is_the_stock_layers(frames, height, width, filters):
    """8 and 24 filters are computed in pairs of frames, 16 are not; odd sizes are padded unevenly."""
    clips, kernel = numbers(2, frames, height, width, 3), numbers(7, 7, 7, 3, filters, seed=1)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(kernel)
        maps = tf.nn.conv3d(clips, kernel, (1, 1, 2, 2, 1), "SAME")
        wanted = tf.nn.avg_pool3d(maps, 3, (1, 2, 2), "SAME")
        found = tf.function(lite_stem)(clips, kernel)
        weighted = tf.reduce_sum(wanted * tf.sin(wanted)), tf.reduce_sum(found * tf.sin(found))
    assert found.shape == wanted.shape
    np.testing.assert_allclose(found, wanted, atol=2e-4)
    one, other = (tape.gradient(value, kernel) for value in weighted)
    np.testing.assert_allclose(other, one, atol=1e-4 * np.abs(one).max())


@pytest.mark.parametrize("before, after", [(12, 4), (4, 12), (8, 8)])
@pytest.mark.parametrize("size", [1, 3])
def test_a_convolution_and_its_gradients_are_the_stock_ones(before, after, size):
    x, kernel = numbers(2, 4, 5, 6, before), numbers(size, size, size, before, after, seed=1)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch([x, kernel])
        wanted = tf.nn.conv3d(x, kernel, (1, 1, 1, 1, 1), "SAME")
        found = tf.function(convolve)(x, kernel)
        values = tf.reduce_sum(wanted**2), tf.reduce_sum(found**2)
    np.testing.assert_allclose(found, wanted, atol=1e-4)
    for one, other in zip(*(tape.gradient(value, [x, kernel]) for value in values), strict=True):
        np.testing.assert_allclose(other, one, atol=1e-5 * np.abs(one).max())


@pytest.mark.parametrize("before, after, size", [(8, 2, 3), (48, 12, 3), (12, 48, 3), (16, 4, 3), (3, 24, 3), (24, 48, 1), (48, 24, 1)])
@pytest.mark.parametrize("extent", [(4, 8, 8), (3, 13, 15), (2, 4, 4), (8, 16, 16)])
def test_a_convolution_in_bfloat16_is_near_that_in_float32(before, after, size, extent):
    """TensorFlow's own gradient by the kernel is not: see `kernels._kernel_gradient`."""
    x, kernel = numbers(8, *extent, before), numbers(size, size, size, before, after, seed=1)
    dy = numbers(8, *extent, after, seed=2)

    @tf.function(autograph=False)
    def gradients(x, kernel, dy):
        with tf.GradientTape() as tape:
            tape.watch([x, kernel])
            y = convolve(x, kernel)
        return y, *tape.gradient(y, [x, kernel], output_gradients=dy)

    exact = gradients(x, kernel, dy)
    for _ in range(2):
        rough = gradients(*(tf.cast(value, tf.bfloat16) for value in (x, kernel, dy)))
        for one, other in zip(exact, rough, strict=True):
            np.testing.assert_allclose(tf.cast(other, tf.float32), one, atol=0.02 * np.abs(one).max())


@pytest.mark.parametrize("frames, channels, filters", [(4, 1, 4), (9, 3, 24), (8, 1, 48)])
def test_the_stem_in_bfloat16_is_near_that_in_float32(frames, channels, filters):
    clips, kernel = numbers(4, frames, 21, 32, channels), numbers(7, 7, 7, channels, filters, seed=1)

    @tf.function(autograph=False)
    def both(clips, kernel):
        with tf.GradientTape() as tape:
            tape.watch(kernel)
            y = lite_stem(clips, kernel)
        return y, tape.gradient(y, kernel)

    exact, rough = both(clips, kernel), both(tf.cast(clips, tf.bfloat16), tf.cast(kernel, tf.bfloat16))
    for one, other in zip(exact, rough, strict=True):
        np.testing.assert_allclose(tf.cast(other, tf.float32), one, atol=0.02 * np.abs(one).max())


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_dropout_drops_its_share_and_its_gradient_follows(rate):
    x = 1 + tf.abs(numbers(400_003))  # no multiple of four
    shares = []
    for number in range(30):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = drop_out(x, rate, tf.constant([7, number]))
        kept = y.numpy() != 0
        assert np.array_equal(y.numpy()[kept], x.numpy()[kept]) and np.array_equal(tape.gradient(y, x).numpy(), kept)
        shares.append(1 - kept.mean())
    assert np.mean(shares) == pytest.approx(rate, abs=0.0015), "on average, though one call meets it to a 256th"
    assert max(abs(share - rate) for share in shares) < 1 / 256 + 0.003
    assert np.array_equal(drop_out(x, rate, tf.constant([7, 0])), drop_out(x, rate, tf.constant([7, 0])))


def test_dropout_is_scaled_so_that_its_mean_stays():
    """What the normalisation behind the first bottleneck sees, over many draws, against the same without dropout."""
    clips = numbers(4, *SHAPE)

    def mean_behind_the_bottleneck(rate: float, draws: int) -> np.ndarray:
        model = network(dataclasses.replace(MODEL, dropout=rate, bn_momentum=0.0))  # the running mean is that of the batch
        forward = tf.function(training_function(model), autograph=False)
        moving, means = model.get_layer("block1_layer1_bn").moving_mean, []
        for _ in range(draws):
            forward(clips)
            means.append(moving.numpy())
        return np.mean(means, axis=0)

    assert mean_behind_the_bottleneck(0.5, 60) == pytest.approx(mean_behind_the_bottleneck(0.0, 1), abs=0.03)


# --- the whole -------------------------------------------------------------------------------------------------------


def test_the_training_function_is_the_network_in_training_mode():
    for config in (MODEL, ModelConfig(variant="general", bottleneck=False, growth_rate=3, depth=7, blocks=2)):
        model, twin = (network(dataclasses.replace(config, dropout=0.0)) for _ in range(2))
        clips = numbers(3, *SHAPE)
        found = tf.function(training_function(twin), autograph=False)(clips)
        np.testing.assert_allclose(found, model(clips, training=True), atol=1e-5)
        for one, other in zip(model.get_weights(), twin.get_weights(), strict=True):
            np.testing.assert_allclose(other, one, atol=1e-5, err_msg="the running means and variances moved alike")
        np.testing.assert_allclose(inference_function(twin)(clips), model(clips, training=False), atol=1e-5)


@pytest.mark.parametrize("bottleneck", [True, False])
def test_recomputing_changes_neither_outputs_nor_gradients(bottleneck):
    """With dropout: the same values are dropped when they are computed again."""
    model = dataclasses.replace(MODEL, bottleneck=bottleneck)
    plain, sums = after_steps(TrainConfig(), model)
    recomputed, again = after_steps(TrainConfig(recompute=True), model)
    assert sums == pytest.approx(again, abs=1e-5)
    for one, other in zip(plain, recomputed, strict=True):
        np.testing.assert_allclose(other, one, atol=1e-5)


@pytest.mark.parametrize("bottleneck", [True, False])
def test_recomputed_gradients_are_those_of_the_plain_form_to_1e_5(bottleneck):
    clips = numbers(4, *SHAPE)

    def gradients(recompute: bool) -> list[np.ndarray]:
        model = network(dataclasses.replace(MODEL, bottleneck=bottleneck))
        forward = training_function(model, recompute=recompute)

        @tf.function(autograph=False)
        def compute():
            with tf.GradientTape() as tape:
                logits = forward(clips)
                loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits([0, 1, 2, 3], logits))
            return [logits, *tape.gradient(loss, model.trainable_variables)]

        return [value.numpy() for value in compute()]

    for one, other in zip(gradients(False), gradients(True), strict=True):
        np.testing.assert_allclose(other, one, atol=1e-5)


def test_recomputing_joins_the_maps_of_each_layer_anew():
    def joined(recompute: bool) -> int:
        model = network()
        config = TrainConfig(recompute=recompute)
        optimizer = steps.make_optimizer(0.01, config, model.trainable_variables)
        step = steps.make_train_step(model, optimizer, tf.distribute.get_strategy(), config, SHAPE)
        operations = step.get_concrete_function().graph.get_operations()
        return sum(op.type == "ConcatV2" and op.outputs[0].shape[1:].rank == 4 for op in operations)

    assert joined(True) - joined(False) == MODEL.blocks * MODEL.layers_per_block


def test_bfloat16_is_near_float32_and_gives_float32():
    exact, _ = after_steps(TrainConfig(), dataclasses.replace(MODEL, dropout=0.0))
    rough, sums = after_steps(TrainConfig(precision="bfloat16"), dataclasses.replace(MODEL, dropout=0.0))
    assert sums.dtype == np.float32 and all(values.dtype == np.float32 for values in rough if values.dtype.kind == "f")
    largest = max(np.abs(one - other).max() for one, other in zip(exact, rough, strict=True))
    assert 0 < largest < 0.02
    logits = tf.function(training_function(network(), "bfloat16"), autograph=False)(numbers(2, *SHAPE))
    assert logits.dtype == tf.float32


@pytest.mark.parametrize("growth_rate, recompute", [(2, False), (2, True), (4, False), (12, True)])
def test_a_training_in_bfloat16_survives(prepared, tmp_path, growth_rate, recompute):
    """In a process of its own: what writes beyond its memory ends it."""
    settings = f"model.growth_rate={growth_rate} model.depth=7 model.blocks=2 model.dropout=0.1 train.recompute={recompute} clip.frames=4 clip.hop=4"
    command = [sys.executable, "-m", "dn3dlib", "train", "--data", str(prepared), "--out", str(tmp_path / "run"), "--device", "cpu"]
    command += ["--precision", "bfloat16", "--epochs", "2", "--batch-size", "8"]
    command += [part for setting in settings.split() for part in ("--set", setting)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert all(np.isfinite(row["train_loss"]) for row in Run.open(tmp_path / "run").history())


# --- precision -------------------------------------------------------------------------------------------------------


def test_float16_scales_the_loss_and_takes_it_back(monkeypatch):
    """The arithmetic of float16 needs a GPU; the loss scale does not."""
    config = dataclasses.replace(MODEL, dropout=0.0)
    plain, _ = after_steps(TrainConfig(), config)
    monkeypatch.setattr(steps, "training_function", lambda model, precision, *more: training_function(model, "float32", *more))
    scaled, _ = after_steps(TrainConfig(precision="float16"), config)
    for one, other in zip(plain, scaled, strict=True):
        np.testing.assert_allclose(other, one, atol=1e-5)


def test_a_step_that_overflows_is_left_out_and_the_scale_falls(monkeypatch):
    monkeypatch.setattr(steps, "training_function", lambda model, precision, *more: training_function(model, "float32", *more))
    config = TrainConfig(precision="float16")
    model = network()
    optimizer = steps.make_optimizer(0.01, config, model.trainable_variables)
    step = steps.make_train_step(model, optimizer, tf.distribute.get_strategy(), config, SHAPE)
    before, scale = [v.numpy() for v in model.trainable_variables], float(optimizer.dynamic_scale)
    step(numbers(2, *SHAPE) * np.inf, np.zeros(2, np.int32), np.float32(2))
    assert all(np.array_equal(value, v.numpy()) for value, v in zip(before, model.trainable_variables, strict=True))
    assert float(optimizer.dynamic_scale) < scale


def test_auto_takes_what_the_processor_has(monkeypatch, tmp_path):
    here, _ = choose_strategy("cpu")
    for flags, wanted in (("fpu avx512_bf16", "bfloat16"), ("fpu amx_bf16", "bfloat16"), ("fpu avx512f", "float32")):
        (tmp_path / "cpuinfo").write_text(f"flags\t\t: {flags}\n")
        monkeypatch.setattr(strategy, "_CPU", tmp_path / "cpuinfo")
        assert choose_precision(TrainConfig(precision="auto"), here).precision == wanted
    monkeypatch.setattr(strategy, "_CPU", tmp_path / "none")  # no Linux
    assert choose_precision(TrainConfig(precision="auto"), here).precision == "float32"
    assert choose_precision(TrainConfig(precision="bfloat16"), here).precision == "bfloat16"
    with pytest.raises(ConfigError, match="float16 needs a GPU"):
        choose_precision(TrainConfig(precision="float16"), here)


@pytest.mark.parametrize("capability, wanted", [((9, 0), "bfloat16"), ((7, 5), "float16"), ((6, 1), "float32")])
def test_auto_takes_what_the_gpu_has(monkeypatch, capability, wanted):
    class Gpu:
        num_replicas_in_sync = 1

        def run(self, function):
            return SimpleNamespace(device="/job:localhost/replica:0/task:0/device:GPU:0")

        def experimental_local_results(self, value):
            return (value,)

    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: ["the first"])
    monkeypatch.setattr(tf.config.experimental, "get_device_details", lambda device: {"compute_capability": capability})
    assert choose_precision(TrainConfig(precision="auto"), Gpu()).precision == wanted
    both = SimpleNamespace(num_replicas_in_sync=2, extended=SimpleNamespace(worker_devices=("/device:GPU:0", "/device:GPU:1")))
    assert choose_precision(TrainConfig(precision="auto"), both).precision == ("float32" if wanted == "float16" else wanted)
    with pytest.raises(ConfigError, match="float16 is for one device"):
        choose_precision(TrainConfig(precision="float16"), both)
