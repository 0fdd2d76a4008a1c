"""Notebook 03 with other parameters than its own, and what its exercises say to wrong answers."""

import math
import re

import keras
import numpy as np
import pytest
from executed import outputs_of, printed
from keras import layers

from dn3dlib.config import ModelConfig
from dn3dlib.model.anatomy import parts
from dn3dlib.model.densenet3d import build_model
from dn3dlib.presets import PRESETS
from dn3dlib.show.exercises_03 import EXERCISES, convolution_first


def test_the_general_network_without_bottleneck_is_built_as_well(papermill, tmp_path):
    settings = {"variant": "general", "bottleneck": False, "growth_rate": 4, "depth": 10}
    done = papermill("03_build_the_network", **settings, frames=8, size=32, action="boxing")
    assert done.returncode == 0, done.stderr[-3000:]
    text = printed(tmp_path / "03_build_the_network.ipynb")
    model = build_model(ModelConfig(**settings), (8, 32, 32, 1), 6)
    assert f"yours {model.count_params():,} numbers, the library's {model.count_params():,}; logits (1, 6)" in text
    assert "8 + 4 = 12, + 4 = 16 channels; shape (8, 32, 32, 16)" in text
    assert "clip (8, 32, 32, 1): general (8, 32, 32, 8), lite (8, 8, 8, 8)" in text
    assert f"by experiment (5, 5, 5), in the table {parts(model)[2].receptive_field}" in text
    assert "block1_layer2_conv reads stem_conv, block1_layer1_conv" in text
    moving = dict(re.findall(r"^(as filmed|frozen|backwards) .* motion +([\d.]+)$", text, flags=re.M))
    assert float(moving["frozen"]) == 0 < float(moving["as filmed"]) == float(moving["backwards"])
    rows = re.findall(r"^row +(\d+): .* published +([\d,]+), counted +([\d,]+)$", text, flags=re.M)
    assert [(int(row), int(counted.replace(",", ""))) for row, _, counted in rows] == [
        (number, PRESETS[f"thesis-{number}"].parameters) for number in range(1, 16)
    ]
    shown = ["".join(output.get("data", {}).get("text/html", "")) for output in outputs_of(tmp_path / "03_build_the_network.ipynb")]
    (table,) = [html for html in shown if "<table>" in html]
    total = sum(math.prod(weights.shape) for weights in model.trainable_variables)
    assert f">{total:,}<" in table
    one, deeper = [html for html in shown if "data:image/svg" in html]
    assert "blocks of 2, 2, 2 dense layers" in one and "blocks of 5, 5, 5 dense layers" in deeper


def test_the_transition_of_the_exercise_sees_what_the_exercise_says():
    assert EXERCISES["transition_parameters"].oracle() == 2 * 60 + 60 * 30
    assert EXERCISES["strided_shape"].oracle() == [16, 13, 16]


def convolved(x, filters, size):
    return layers.Conv3D(filters, size, padding="same", use_bias=False)(x)


def normalised(x):
    return layers.ReLU()(layers.BatchNormalization()(x))


WRONG = {
    "there is no batch normalisation": lambda x, n, s: layers.ReLU()(convolved(x, n, s)),
    "there is no ReLU": lambda x, n, s: layers.BatchNormalization()(convolved(x, n, s)),
    "there is no convolution": lambda x, n, s: normalised(x),
    "in this order: batch normalisation, ReLU, convolution": lambda x, n, s: convolved(normalised(x), n, s),
    "in this order: convolution, ReLU, batch normalisation": lambda x, n, s: layers.BatchNormalization()(layers.ReLU()(convolved(x, n, s))),
    "has a bias": lambda x, n, s: normalised(layers.Conv3D(n, s, padding="same")(x)),
    "your answer has shape (2, 2, 4, 4, 4)": lambda x, n, s: normalised(layers.Conv3D(n, s, use_bias=False)(x)),
    "the largest difference is": lambda x, n, s: normalised(convolved(x, n, 1)),
    "must return the maps": lambda x, n, s: None,
    "raises ZeroDivisionError": lambda x, n, s: 1 / 0,
}


@pytest.mark.parametrize("sentence", WRONG)
def test_a_wrong_order_of_layers_is_told_what_is_wrong(sentence, capsys):
    assert not EXERCISES["convolution_first"].check(WRONG[sentence])
    said = capsys.readouterr().out
    assert said.startswith("not yet: ") and sentence in said


@pytest.mark.parametrize("bend", [layers.ReLU(), layers.Activation("relu"), keras.ops.relu])
def test_a_right_answer_may_be_written_in_several_ways(bend, capsys):
    def answer(x, filters, size):
        return bend(layers.BatchNormalization()(convolved(x, filters, size)))

    assert EXERCISES["convolution_first"].check(answer) and EXERCISES["convolution_first"].check(convolution_first)
    assert not EXERCISES["convolution_first"].check(...)
    assert "not yet: put your answer" in capsys.readouterr().out


def test_the_exercise_convolves_then_normalises_then_bends():
    """Computed without layers: by Keras's convolution, and batch normalisation with its statistics at 0 and 1."""
    clips = keras.Input((4, 6, 6, 3))
    network = keras.Model(clips, convolution_first(clips, 2, 3))
    kernel = next(layer for layer in network.layers if isinstance(layer, layers.Conv3D)).kernel
    values = np.random.default_rng(0).normal(size=(2, 4, 6, 6, 3)).astype(np.float32)
    expected = np.maximum(np.asarray(keras.ops.conv(values, kernel, padding="same")) / np.sqrt(1 + 1e-3), 0)
    np.testing.assert_allclose(network(values), expected, atol=1e-5)
