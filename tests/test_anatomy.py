"""Shapes, parameters, operations and receptive fields against hand and experiment; memory before it is needed."""

import json
import math
import shutil
import subprocess
import sys
from pathlib import Path

import keras
import pytest
import tensorflow as tf
from steps import at_step

from dn3dlib.config import ModelConfig, TrainConfig
from dn3dlib.data.manifest import DataSet
from dn3dlib.errors import RunError
from dn3dlib.evaluate import report
from dn3dlib.model.anatomy import (
    TrainingMemory,
    anatomy,
    connections,
    field_by_experiment,
    parts,
    training_memory,
    whole,
)
from dn3dlib.model.densenet3d import build_model
from dn3dlib.presets import PRESETS
from dn3dlib.train import checks, loop, rates
from dn3dlib.train.memory import memory_advice, memory_warning


@pytest.fixture(scope="module")
def original():
    preset = PRESETS["original"]
    return build_model(preset.model, (preset.clip.frames, *preset.storage.frame_shape), 6)


def test_rows_stand_in_network_order_and_add_up(original):
    rows = anatomy(original)
    assert [row.name for row in rows] == [layer.name for layer in original.layers]
    assert sum(row.parameters for row in rows) == PRESETS["original"].parameters
    for row, layer in zip(rows, original.layers, strict=True):
        assert row.shape == tuple(layer.output.shape[1:]) and row.activations == math.prod(row.shape)


def test_operations_by_hand(original):
    rows = {row.name: row for row in anatomy(original)}
    assert rows["stem_conv"].flops == 2 * 7**3 * 3 * 24 * (16 * 50 * 60)
    assert rows["block1_layer1_bottleneck_conv"].flops == 2 * 24 * 48 * (16 * 25 * 30)
    assert rows["block1_layer1_conv"].flops == 2 * 27 * 48 * 12 * (16 * 25 * 30)
    assert rows["logits"].flops == 2 * 48 * 6
    assert rows["head_bn"].flops == rows["stem_pool"].flops == 0


def test_receptive_fields_by_hand(original):
    rows = {row.name: row.receptive_field for row in anatomy(original)}
    assert rows["clips"] == (1, 1, 1) and rows["stem_conv"] == (7, 7, 7)
    assert rows["stem_pool"] == (9, 11, 11)  # two more frames, two more places two pixels apart
    assert rows["block1_layer1_bottleneck_conv"] == (9, 11, 11)
    assert rows["block1_layer1_concat"] == (11, 19, 19)  # two more of everything, four pixels apart
    assert rows["head_pool"] == rows["logits"] == (16, 100, 120)


@pytest.mark.parametrize("variant", ["general", "lite"])
def test_receptive_fields_by_experiment(variant):
    """What changes an output in the middle, and nothing else, lies in its receptive field."""
    shape = (13, 64, 64, 1)
    keras.utils.set_random_seed(0)
    model = build_model(ModelConfig(variant=variant, growth_rate=2, depth=8, blocks=2, bottleneck=False), shape, 2)
    rows = {row.name: row for row in anatomy(model)}
    for name in ("stem_conv", "block1_layer1_concat", "block1_layer2_concat"):
        assert field_by_experiment(model, name) == rows[name].receptive_field, name


def test_parts_add_up_to_the_whole(original):
    rows, sums = parts(original), whole(original)
    layers = [f"block{block}_layer{layer}" for block in (1, 2, 3) for layer in (1, 2)]
    order = ["clips", "stem", *layers[:2], "transition1", *layers[2:4], "transition2", *layers[4:], "head"]
    assert [row.name for row in rows] == order
    for field in ("parameters", "flops", "activations"):
        assert sum(getattr(row, field) for row in rows) == getattr(sums, field) == sum(getattr(row, field) for row in anatomy(original))
    dense = rows[2]
    assert dense.shape == (16, 25, 30, 36) and dense.receptive_field == (11, 19, 19)
    assert dense.parameters == 2 * 24 + 24 * 48 + 2 * 48 + 27 * 48 * 12


@pytest.mark.parametrize("dropout", [0.0, 0.2])
@pytest.mark.parametrize("bottleneck", [True, False])
def test_a_layer_sees_all_before_it_in_its_block_and_nothing_else(bottleneck, dropout):
    """By names, and by numbers: what it sees adds up to the channels that its first normalisation has."""
    model = build_model(ModelConfig(growth_rate=2, depth=16, bottleneck=bottleneck, dropout=dropout), (4, 16, 16, 1), 3)
    links = connections(model)
    assert list(links)[:2] == ["clips", "stem_pool"] and links["clips"] == () and links["stem_pool"] == ("clips",)
    for block, source in ((1, "stem_pool"), (2, "transition1_pool"), (3, "transition2_pool")):
        names = [source, *(name for name in links if name.startswith(f"block{block}_"))]
        assert len(names) == 1 + (2 if bottleneck else 4)
        for place, name in enumerate(names[1:], start=1):
            assert links[name] == tuple(names[:place])
            first = f"block{block}_layer{place}{'_bottleneck' if bottleneck else ''}_bn"
            assert sum(model.get_layer(seen).output.shape[-1] for seen in links[name]) == model.get_layer(first).input.shape[-1]
        assert links["logits" if block == 3 else f"transition{block}_pool"] == tuple(names)


def test_memory_grows_as_the_square_of_the_depth_and_recomputed_as_the_depth():
    def per_clip(depth: int, recompute: bool) -> float:
        return training_memory(build_model(ModelConfig(growth_rate=12, depth=depth), (16, 64, 64, 1), 6), recompute=recompute).per_clip

    plain, recomputed = ([per_clip(depth, way) for depth in (40, 100, 190)] for way in (False, True))
    assert plain[2] / plain[1] > 1.3 * 190 / 100, "faster than the depth"
    slopes = (recomputed[1] - recomputed[0]) / 60, (recomputed[2] - recomputed[1]) / 90
    assert slopes[0] == pytest.approx(slopes[1], rel=0.05), "a straight line"
    assert recomputed[1] < 0.33 * plain[1]


def test_half_as_many_bytes_of_a_number_take_half_of_the_maps(original):
    whole, half = training_memory(original), training_memory(original, bytes_of_number=2)
    read = 5 * 4 * math.prod(original.input.shape[1:])  # batches that wait are float32 whatever the precision
    assert whole.fixed == half.fixed and 2 * (half.per_clip - read) == whole.per_clip - read


def test_the_estimate_is_near_what_a_training_takes_and_recomputing_saves_it():
    """Peaks of real processes at depth 40, of 16 and of 48 clips."""
    script = Path(__file__).resolve().parents[1] / "benchmarks" / "memory.py"

    def measured(batch: int, recompute: bool) -> dict:
        command = [sys.executable, str(script), "--measure", "40", str(batch), str(int(recompute))]
        return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, timeout=300).stdout)

    slopes = {}
    for recompute in (False, True):
        few, many = measured(16, recompute), measured(48, recompute)
        slopes[recompute] = (many["peak"] - few["peak"]) / 32
        assert many["estimate"] == pytest.approx(slopes[recompute], rel=0.25)
    assert slopes[True] < 0.6 * slopes[False], "at depth 100 a fifth, see benchmarks/README.md"


def test_the_largest_batch_is_the_largest_that_fits():
    memory = TrainingMemory(fixed=1000, per_clip=300)
    assert memory.largest_batch(1900) == 3 and memory.of_batch(3) <= 1900 < memory.of_batch(4)
    assert memory.largest_batch(900) == 0


def test_the_warning_names_the_largest_batch_that_fits(original):
    config = TrainConfig(batch_size=64)
    memory = training_memory(original)
    assert memory_warning(original, config, memory.of_batch(64)) is None
    sentence = memory_warning(original, config, memory.of_batch(20))
    assert "train.batch_size=20 is the largest that fits" in sentence and "train.recompute=true" in sentence
    assert "not even one clip fits" in memory_warning(original, config, 1000)
    assert "a smaller train.batch_size" in memory_advice(original, config, None)
    assert "train.recompute" not in memory_advice(original, TrainConfig(recompute=True), None)


def test_a_training_that_will_not_fit_is_warned_of_at_the_start(prepared, tiny, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(loop, "free_memory", lambda: 10)
    loop.train(prepared, tmp_path / "run", tiny.clip, tiny.model, tiny.train, device="cpu", show_progress=True)
    assert "Warning: Steps of 8 clips take about" in capsys.readouterr().err


def run_out(*_) -> None:
    """As TensorFlow fails where memory runs out."""
    raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor")


def test_memory_that_runs_out_ends_in_a_sentence_and_loses_nothing(prepared, tiny, tmp_path, monkeypatch):
    at_step(monkeypatch, 5, run_out)
    with pytest.raises(RunError, match=r"Memory has run out in epoch 2 after step 1\. Steps of 8 clips take .* train.batch_size=\d+ is the largest that fits"):
        loop.train(prepared, tmp_path / "run", tiny.clip, tiny.model, tiny.train, device="cpu", show_progress=False)
    monkeypatch.undo()
    history = loop.resume(tmp_path / "run", device="cpu", show_progress=False)
    assert len(history) == 2 and DataSet.open(prepared)


def test_memory_that_runs_out_elsewhere_ends_in_a_sentence_too(prepared, trained, tiny, tmp_path, monkeypatch, shell):
    for module in (checks, rates):
        monkeypatch.setattr(module, "make_train_step", lambda *_: run_out)
    settings = ("--batch-size", 8, "--frames", 4, "--set", "clip.hop=4", "--set", "model.growth_rate=2", "--set", "model.depth=7", "--set", "model.blocks=2")
    for option, where in (("--check", "the checks"), ("--find-learning-rate", "the range test")):
        status, _, said = shell("train", "--data", prepared, option, "--device", "cpu", *settings)
        assert status == 2 and f"dn3d: error: Memory has run out in {where}. Steps of 8 clips take about" in said, said
    monkeypatch.setattr(report, "predict_logits", run_out)
    run_dir = Path(shutil.copytree(trained, tmp_path / "run"))
    status, _, said = shell("evaluate", "--run", run_dir, "--device", "cpu", "--batch-size", 5)
    assert status == 2 and "Memory has run out while 5 clips were evaluated at once: set a smaller --batch-size" in said
