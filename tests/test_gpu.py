"""What training on a GPU asks for, as far as it can be tried without one: kernels for each operation, and float16."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.framework.kernels import get_registered_kernels_for_op  # which no public name gives

from dn3dlib.config import ModelConfig, TrainConfig
from dn3dlib.model.densenet3d import build_model
from dn3dlib.train import kernels
from dn3dlib.train.steps import make_optimizer, make_train_step

SHAPE, CLASSES = (4, 12, 12, 1), 3
CLIPS = np.random.default_rng(0).normal(size=(4, *SHAPE)).astype(np.float32)
LABELS = np.array([0, 1, 2, 1], np.int32)


def training(config: TrainConfig, variant: str):
    """A small network with all kinds of layers, its optimiser and step."""
    keras.utils.set_random_seed(3)
    model = build_model(ModelConfig(variant=variant, growth_rate=2, depth=7, blocks=2, dropout=0.1), SHAPE, CLASSES)
    optimizer = make_optimizer(0.01, config, model.trainable_variables)
    return model, optimizer, make_train_step(model, optimizer, tf.distribute.get_strategy(), config, SHAPE)


# --- where operations run --------------------------------------------------------------------------------------------


def gpu_kernel(operation):
    """What TensorFlow would run on a GPU; None: it would send the operation to the CPU."""
    for kernel in get_registered_kernels_for_op(operation.type).kernel:
        fits = all(operation.get_attr(rule.name) in [tf.as_dtype(number) for number in rule.allowed_values.list.type] for rule in kernel.constraint)
        if fits and kernel.device_type in ("GPU", "DEFAULT"):
            return kernel
    return None


def inputs_by_name(operation):
    """(name, tensor) of all that goes into an operation; a list's tensors share its name."""
    inputs = iter(operation.inputs)
    for argument in operation.op_def.input_arg:
        many = operation.get_attr(argument.number_attr) if argument.number_attr else 1
        yield from ((argument.name, next(inputs)) for _ in range(many))


@pytest.mark.skipif(not tf.test.is_built_with_cuda(), reason="this TensorFlow knows no kernels for GPUs")
@pytest.mark.parametrize("precision", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("variant, recompute", [("lite", False), ("general", True)])
def test_a_step_stays_on_the_gpu(variant, recompute, precision, monkeypatch):
    """Each operation has a kernel there; and from the GPU to the host go shapes and labels alone, which are small, not maps or masks."""
    monkeypatch.setattr(kernels, "_on_cpu", lambda: False)
    _, _, step = training(TrainConfig(precision=precision, recompute=recompute), variant)
    operations = step.get_concrete_function().graph.get_operations()
    found = {operation: gpu_kernel(operation) for operation in operations}
    assert {"Conv3DBackpropFilterV2", "FusedBatchNormGradV3", "AvgPool3DGrad", "Bitcast"} <= {operation.type for operation in found}
    assert not {operation.type for operation, kernel in found.items() if kernel is None}
    to_host = {
        (operation.type, tensor.name)
        for operation, kernel in found.items()
        for name, tensor in inputs_by_name(operation)
        if name in kernel.host_memory_arg and tensor.shape.num_elements() is None
    }
    assert {kind for kind, _ in to_host} == {"Equal", "Shape", "Size"}, "of labels: which are right, and how many"


# --- float16 ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def half():
    """A training in float16, compiled by XLA: TensorFlow itself has no kernels for it on a CPU."""
    model, optimizer, step = training(TrainConfig(precision="float16"), "general")
    return model, optimizer, tf.function(step.python_function, autograph=False, jit_compile=True)


def test_float16_does_nearly_what_float32_does(half):
    exact, _, exact_step = training(TrainConfig(), "general")
    rough, optimizer, step = half
    before = rough.get_weights()
    for _ in range(2):
        sums, wanted = (one(CLIPS, LABELS, np.float32(4)) for one in (step, exact_step))
    assert float(optimizer.dynamic_scale) == 2**15 and {variable.dtype for variable in rough.trainable_variables} == {"float32"}
    np.testing.assert_allclose(sums, wanted, rtol=0.01)
    moved = np.concatenate([np.ravel(new - old) for new, old in zip(exact.get_weights(), before, strict=True)])
    apart = np.concatenate([np.ravel(one - other) for one, other in zip(exact.get_weights(), rough.get_weights(), strict=True)])
    assert 0 < np.linalg.norm(apart) < 0.05 * np.linalg.norm(moved)


def test_a_step_that_overflows_is_left_out_and_the_scale_is_halved_and_saved(half, tmp_path):
    model, optimizer, step = half
    learned = [variable.numpy() for variable in model.trainable_variables]
    optimizer.dynamic_scale.assign(2.0**40)
    assert np.isfinite(step(CLIPS, LABELS, np.float32(4))).all()
    assert all(map(np.array_equal, learned, [variable.numpy() for variable in model.trainable_variables]))
    assert float(optimizer.dynamic_scale) == 2.0**39
    saved = tf.train.Checkpoint(optimizer=optimizer).write(str(tmp_path / "ckpt"))
    optimizer.dynamic_scale.assign(1.0)
    tf.train.Checkpoint(optimizer=optimizer).read(saved).assert_existing_objects_matched()
    assert float(optimizer.dynamic_scale) == 2.0**39
