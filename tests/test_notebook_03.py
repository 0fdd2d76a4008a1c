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
from dn3dlib.show.exercises_03 import EXERCISES, composite


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
    tables = ["".join(output["data"]["text/html"]) for output in outputs_of(tmp_path / "03_build_the_network.ipynb") if "text/html" in output.get("data", {})]
    total = sum(math.prod(weights.shape) for weights in model.trainable_variables)
    assert len(tables) == 1 and f">{total:,}<" in tables[0]


def test_the_transition_of_the_exercise_sees_what_the_exercise_says():
    assert EXERCISES["transition_parameters"].oracle() == 2 * 60 + 60 * 30
    assert EXERCISES["strided_shape"].oracle() == [16, 13, 16]


def normalised(x):
    return layers.ReLU()(layers.BatchNormalization()(x))


WRONG = {
    "there is no batch normalisation": lambda x, n, s: layers.Conv3D(n, s, padding="same", use_bias=False)(layers.ReLU()(x)),
    "there is no ReLU": lambda x, n, s: layers.Conv3D(n, s, padding="same", use_bias=False)(layers.BatchNormalization()(x)),
    "there is no convolution": lambda x, n, s: normalised(x),
    "in this order: convolution, batch normalisation, ReLU": lambda x, n, s: normalised(layers.Conv3D(n, s, padding="same", use_bias=False)(x)),
    "has a bias": lambda x, n, s: layers.Conv3D(n, s, padding="same")(normalised(x)),
    "your answer has shape (2, 2, 4, 4, 4)": lambda x, n, s: layers.Conv3D(n, s, use_bias=False)(normalised(x)),
    "the largest difference is": lambda x, n, s: layers.Conv3D(n, 1, padding="same", use_bias=False)(normalised(x)),
    "must return the maps": lambda x, n, s: None,
    "raises ZeroDivisionError": lambda x, n, s: 1 / 0,
}


@pytest.mark.parametrize("sentence", WRONG)
def test_a_wrong_composite_is_told_what_is_wrong(sentence, capsys):
    assert not EXERCISES["composite"].check(WRONG[sentence])
    said = capsys.readouterr().out
    assert said.startswith("not yet: ") and sentence in said


@pytest.mark.parametrize("bend", [layers.ReLU(), layers.Activation("relu"), keras.ops.relu])
def test_a_right_composite_may_be_written_in_several_ways(bend, capsys):
    def answer(x, filters, size):
        return layers.Conv3D(filters, size, padding="same", use_bias=False)(bend(layers.BatchNormalization()(x)))

    assert EXERCISES["composite"].check(answer) and EXERCISES["composite"].check(composite)
    assert not EXERCISES["composite"].check(...)
    assert "not yet: put your answer" in capsys.readouterr().out


def test_the_composite_of_the_exercise_is_the_library_s():
    model = build_model(ModelConfig(growth_rate=4, depth=10, bottleneck=False), (4, 16, 16, 1), 2)
    start = model.get_layer("block1_layer1_concat").input[0]
    theirs = keras.Model(start, model.get_layer("block1_layer1_conv").output)
    mine = keras.Model(start, composite(start, 4, 3))
    mine.set_weights(theirs.get_weights())
    values = np.random.default_rng(0).normal(size=(2, *start.shape[1:]))
    assert np.allclose(mine(values), theirs(values), atol=1e-5)
