"""The network against weights, outputs and training steps recorded from the thesis's own code."""

import json

import keras
import numpy as np
import pytest

from dn3dlib.config import ModelConfig, TrainConfig
from dn3dlib.model.densenet3d import build_model

FILES = (
    "general_bc_k12_d20_b3_16x24x16x3",
    "general_bc_k4_d16_b3_8x16x16x3",
    "general_k4_d10_b3_8x16x20x3",
    "lite_bc_k4_d16_b3_8x32x32x3",
    "lite_bc_k6_d14_b2_9x37x43x1",
    "lite_k4_d10_b3_8x32x40x3",
)


@pytest.fixture(params=FILES, ids=FILES)
def reference(request, shared_reference):
    """One recorded network: meta, arrays, and a model of ours with the recorded weights."""
    arrays = np.load(shared_reference / f"{request.param}.npz")
    meta = json.loads(bytes(arrays["meta"]))
    config = ModelConfig(
        variant=meta["variant"],
        bottleneck=meta["bottleneck"],
        growth_rate=meta["growth_rate"],
        depth=meta["depth"],
        blocks=meta["blocks"],
        compression=meta["reduction"],
        bn_momentum=meta["bn_decay"],
        bn_epsilon=meta["bn_epsilon"],
    )
    model = build_model(config, tuple(meta["clip_shape"]), meta["num_classes"])
    for variable, value in zip(variables_in_order(model), recorded(arrays, "before"), strict=True):
        variable.assign(value)
    return meta, arrays, model


def variables_in_order(model):
    """Our variables in the recorded order: trainable ones by layer, then the running means and variances."""
    trainable, running = [], []
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            trainable += [layer.beta, layer.gamma]
            running += [layer.moving_mean, layer.moving_variance]
        elif isinstance(layer, keras.layers.Conv3D | keras.layers.Dense):
            trainable += layer.trainable_variables
    return trainable + running


def recorded(arrays, when):
    return [arrays[name] for name in sorted(arrays.files) if name.startswith(f"{when}/")]


def test_parameters_are_counted_exactly(reference):
    meta, _, model = reference
    assert sum(v.value.shape.num_elements() for v in model.trainable_variables) == meta["params"]


def test_logits_match_in_inference_and_training_mode(reference):
    _, arrays, model = reference
    np.testing.assert_allclose(model(arrays["videos"], training=False), arrays["logits_inference"], atol=1e-5, rtol=0)
    np.testing.assert_allclose(model(arrays["videos"], training=True), arrays["logits_training"], atol=1e-5, rtol=0)


def test_the_inference_twin_is_the_network_and_follows_its_weights(reference):
    import tensorflow as tf

    from dn3dlib.train.steps import make_predict_step

    meta, arrays, model = reference
    step = make_predict_step(model, tf.distribute.get_strategy(), tuple(meta["clip_shape"]))
    np.testing.assert_allclose(step(arrays["videos"]), arrays["logits_inference"], atol=1e-5, rtol=0)
    for variable, value in zip(variables_in_order(model), recorded(arrays, "after2"), strict=True):
        variable.assign(value)
    changed = model(arrays["videos"], training=False)
    assert np.abs(changed - arrays["logits_inference"]).max() > 1e-3
    np.testing.assert_allclose(step(arrays["videos"]), changed, atol=1e-5, rtol=0)


@pytest.mark.parametrize("recompute", [False, True], ids=["plain", "recomputed"])
def test_two_training_steps_match(reference, recompute):
    import tensorflow as tf

    from dn3dlib.train.steps import l2_penalty, make_train_step

    meta, arrays, model = reference
    config = TrainConfig(weight_decay=meta["weight_decay"], weight_decay_on="all", recompute=recompute)
    strategy = tf.distribute.get_strategy()
    optimizer = keras.optimizers.SGD(meta["learning_rate"], momentum=meta["momentum"], nesterov=meta["nesterov"])
    optimizer.build(model.trainable_variables)
    step = make_train_step(model, optimizer, strategy, config, tuple(meta["clip_shape"]))
    penalty = meta["weight_decay"] * float(l2_penalty(model.trainable_variables))
    assert penalty == pytest.approx(float(arrays["l2"]), rel=1e-5)

    labels = arrays["labels"].astype(np.int32)
    for number in (1, 2):
        sums = step(arrays["videos"], labels, np.float32(len(labels)))
        if number == 1:
            assert float(sums[0]) / len(labels) == pytest.approx(float(arrays["cross_entropy"]), abs=1e-5)
        for variable, wanted in zip(variables_in_order(model), recorded(arrays, f"after{number}"), strict=True):
            np.testing.assert_allclose(variable.numpy(), wanted, atol=1e-3, rtol=0, err_msg=variable.path)


def test_saved_and_loaded_without_custom_code(reference, tmp_path):
    _, arrays, model = reference
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras", safe_mode=True)
    np.testing.assert_array_equal(again(arrays["videos"], training=False), model(arrays["videos"], training=False))
