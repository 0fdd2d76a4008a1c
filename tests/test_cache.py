"""Frames held in memory: the same clips and weights as from the disk, where they fit, and a sentence where they do not."""

import dataclasses
import json
import math
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.machinery import ModuleSpec, NamespaceLoader
from pathlib import Path
from time import sleep

import numpy as np
import psutil
import pytest

from dn3dlib.data import cache
from dn3dlib.data.cache import DecodedFrames, free_memory, held_in_memory, open_frames
from dn3dlib.data.clips import clip_dataset, plan_evaluation, plan_training
from dn3dlib.data.manifest import DataSet
from dn3dlib.data.records import FrameReader
from dn3dlib.errors import ConfigError, DataError
from dn3dlib.quiet import import_quietly
from dn3dlib.train.loop import resume, train
from dn3dlib.train.runs import CONFIG

BOTH = ("train", "validation")


@pytest.fixture
def data(prepared) -> DataSet:
    return DataSet.open(prepared)


def needed(data: DataSet, splits: tuple[str, ...]) -> int:
    """Bytes of the decoded frames."""
    return math.prod(data.storage.frame_shape) * sum(s.frames for split in splits for s in data.of_split(split))


@pytest.fixture
def free(monkeypatch):
    """A function that sets how many bytes of memory are free."""
    return lambda size: monkeypatch.setattr(cache, "free_memory", lambda: size)


# --- the same clips --------------------------------------------------------------------------------------------------


def test_memory_gives_the_clips_of_the_disk_bit_for_bit(data, tiny):
    held = DecodedFrames(data, BOTH, show_progress=False)
    assert tiny.clip.crop and tiny.clip.flip and tiny.clip.brightness and tiny.clip.extra_stride
    for plan in (plan_training(data, tiny.clip, 0, 1), plan_evaluation(data, tiny.clip, "validation")):
        sources = [clip_dataset(data, plan, tiny.clip, 8, frames).as_numpy_iterator() for frames in (None, FrameReader(data), held)]
        for batches in zip(*sources, strict=True):
            for parts in zip(*batches, strict=True):
                assert all(np.array_equal(parts[0], part) for part in parts)


def test_two_runs_from_memory_and_disk_end_alike_bit_for_bit(prepared, tiny, tmp_path, differing, capfd):
    for how in ("memory", "disk"):
        config = dataclasses.replace(tiny.train, cache=how)
        train(prepared, tmp_path / how, tiny.clip, tiny.model, config, device="cpu")
    assert differing(tmp_path / "memory", tmp_path / "disk") == []
    said = capfd.readouterr().err
    assert said.count("Frames are held in memory.") == 1 and said.count("Frames are read from the disk for each clip.") == 1


def test_only_the_splits_asked_for_are_held(data):
    held = DecodedFrames(data, ("validation",), show_progress=False)
    for place, sequence in enumerate(data.sequences):
        numbers = np.arange(sequence.frames)[None]
        if sequence.split == "validation":
            assert np.array_equal(held.clips(np.array([place]), numbers)[0], FrameReader(data).decoded(sequence))
        else:
            with pytest.raises(IndexError):
                held.clips(np.array([place]), numbers)


FIRST = """
import os, sys
from pathlib import Path
from dn3dlib.data.cache import DecodedFrames
from dn3dlib.data.manifest import DataSet
os.cpu_count = lambda: 8
assert "tensorflow" not in sys.modules
held = DecodedFrames(DataSet.open(Path(sys.argv[1])), ("train", "validation"), show_progress=False)
print(int(held._frames.sum(dtype="int64")))
print("still heard", file=sys.stderr)
"""


@pytest.mark.parametrize("time", range(3))
def test_many_threads_may_decode_before_all_else(data, time):
    """They all need TensorFlow at once, which none has imported."""
    done = subprocess.run([sys.executable, "-c", FIRST, data.path], capture_output=True, text=True, timeout=100)
    assert done.returncode == 0 and done.stderr.endswith("still heard\n"), done.stderr
    wanted = sum(int(FrameReader(data).decoded(s).sum(dtype=np.int64)) for s in data.sequences if s.split in BOTH)
    assert int(done.stdout) == wanted


class SlowToFind:
    """Stands in `sys.meta_path` for a library that takes its time."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        if name == "slow_library":
            sleep(0.2)
            return ModuleSpec(name, NamespaceLoader(name, [], None))


def test_threads_that_import_at_once_leave_standard_error_as_it_was(monkeypatch):
    monkeypatch.setattr(sys, "meta_path", [SlowToFind, *sys.meta_path])
    before = os.fstat(2)
    with ThreadPoolExecutor(4) as pool:
        (module,) = set(pool.map(import_quietly, ["slow_library"] * 4))
    assert module is sys.modules.pop("slow_library") and os.path.samestat(os.fstat(2), before)


# --- where they fit --------------------------------------------------------------------------------------------------


def test_auto_takes_memory_up_to_a_quarter_of_the_free(data, free):
    free(4 * needed(data, BOTH))
    assert held_in_memory(data, BOTH, "auto") and not held_in_memory(data, BOTH, "disk")
    assert isinstance(open_frames(data, BOTH, "auto", show_progress=False), DecodedFrames)
    free(4 * needed(data, BOTH) - 1)
    assert not held_in_memory(data, BOTH, "auto") and held_in_memory(data, ("train",), "auto")
    assert isinstance(open_frames(data, BOTH, "auto", show_progress=False), FrameReader)


def test_memory_is_refused_where_it_is_not_free(data, free, tiny, tmp_path):
    free(needed(data, BOTH))
    assert held_in_memory(data, BOTH, "memory")
    free(needed(data, BOTH) - 1)
    sentence = r"The decoded frames of .+ \(train, validation\) take 0\.00 GB of memory, but only 0\.00 GB are free: .+ train\.cache=disk "
    with pytest.raises(ConfigError, match=sentence):
        held_in_memory(data, BOTH, "memory")
    with pytest.raises(ConfigError, match=sentence):
        config = dataclasses.replace(tiny.train, cache="memory")
        train(data.path, tmp_path / "run", tiny.clip, tiny.model, config, device="cpu", show_progress=False)
    assert not (tmp_path / "run").exists()


def test_a_run_goes_on_from_the_disk_where_memory_is_gone(trained, free, tmp_path):
    run = Path(shutil.copytree(trained, tmp_path / "run"))
    free(0)
    config = json.loads((run / CONFIG).read_text())
    config["train"]["cache"] = "memory"
    (run / CONFIG).write_text(json.dumps(config))
    with pytest.raises(ConfigError, match=r"in its config\.json"):
        resume(run, device="cpu", show_progress=False)
    config["train"]["cache"] = "disk"
    (run / CONFIG).write_text(json.dumps(config))
    assert len(resume(run, device="cpu", show_progress=False)) == 2


def test_a_container_has_less_memory_than_its_machine(tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "CONTAINER", tmp_path)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: type("Memory", (), {"available": 5000}))
    assert free_memory() == 5000, "no container"
    (tmp_path / "memory.current").write_text("1000\n")
    (tmp_path / "memory.stat").write_text("anon 300\ninactive_file 600\nactive_file 100\n")
    for limit, left in (("max", 5000), ("3000", 2600), ("100000", 5000)):
        (tmp_path / "memory.max").write_text(limit + "\n")
        assert free_memory() == left


# --- damage ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("split", "named"), [("train", True), ("test", False)])
def test_damage_is_named_where_it_is_decoded(prepared, tmp_path, split, named):
    data = DataSet.open(shutil.copytree(prepared, tmp_path / "copy"))
    sequence = data.of_split(split)[-1]
    record = sequence.records[0]
    shard = data.path / data.shards[record.shard]["name"]
    content = bytearray(shard.read_bytes())
    content[record.offset + record.length // 2] ^= 1
    shard.write_bytes(content)
    if named:
        with pytest.raises(DataError, match=f"Record 1 of 1 of sequence {sequence.id}, in the shard {shard} .* is damaged"):
            DecodedFrames(data, BOTH, show_progress=False)
    else:
        assert DecodedFrames(data, BOTH, show_progress=False).clips(np.array([0]), np.array([[0]])).shape == (1, 1, 32, 32, 1)
