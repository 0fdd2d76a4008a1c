"""Several replicas: which are chosen, what each takes of a batch, and that together they do what one does."""

import dataclasses
import json
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf

from dn3dlib.config import TrainConfig
from dn3dlib.data.clips import plan_training, shares_of_batches
from dn3dlib.data.manifest import DataSet
from dn3dlib.errors import ConfigError
from dn3dlib.train import cluster, replicas
from dn3dlib.train.cluster import Cluster, cluster_of_environment, wait_for_all
from dn3dlib.train.runs import Run
from dn3dlib.train.start import describe_start
from dn3dlib.train.strategy import choose_strategy, fit_to_replicas

TWO = '{"cluster": {"worker": ["127.0.0.1:1", "127.0.0.1:2"]}, "task": {"type": "worker", "index": 1}}'


# --- what is chosen --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "device, strategy, sentence",
    [
        ("auto", "miror", "--strategy is 'miror', but must be one of auto, one, mirrored, multiworker"),
        ("cpu", "mirrored", "--strategy mirrored needs several devices, but --device cpu means one"),
        ("cpus:2", "one", "--device cpus:2 is for several replicas"),
        ("cpus:0", "auto", "--device is 'cpus:0', but must be cpu, auto"),
        ("auto", "multiworker", "needs the environment variable TF_CONFIG with the addresses of two workers or more"),
    ],
)
def test_what_does_not_fit_is_refused(device, strategy, sentence, monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    with pytest.raises(ConfigError, match=sentence):
        choose_strategy(device, strategy)


@pytest.mark.parametrize("look", ["--check", "--find-learning-rate"])
def test_what_looks_at_one_device_takes_no_strategy(shell, prepared, look):
    status, _, told = shell("train", "--data", prepared, look, "--strategy", "mirrored")
    assert status == 2 and "leave out --strategy" in told.splitlines()[-1]


@pytest.mark.parametrize("settings, said", [([], "needs the environment variable TF_CONFIG"), (["--strategy", "mirrored"], "needs several devices")])
def test_the_shell_says_so_and_makes_no_folder(shell, prepared, tmp_path, monkeypatch, settings, said):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    arguments = ["train", "--data", prepared, "--out", tmp_path / "run", "--device", "cpu", "--strategy", "multiworker", *settings]
    status, _, told = shell(*arguments)
    assert status == 2 and said in told.splitlines()[-1] and not (tmp_path / "run").exists()


def test_a_process_that_has_computed_is_not_split_any_more():
    choose_strategy("cpu")[0].run(lambda: np.zeros(1))
    with pytest.raises(ConfigError, match="--device cpus:2 comes too late"):
        choose_strategy("cpus:2", "auto")


@pytest.mark.parametrize(
    "text, sentence",
    [
        ("{", "cannot be used"),
        ("[]", "cannot be used"),
        (TWO.replace('"index": 1', '"index": 2'), "there is no task 2"),
        (TWO.replace('"index": 1', '"index": -1'), "there is no task -1"),
        (TWO.replace('"index": 1', '"index": "1"'), "there is no task '1'"),
        (TWO.replace("127.0.0.1:2", "127.0.0.1:99999"), "'127.0.0.1:99999' is no address"),
        (TWO.replace('"type": "worker"', '"type": "helper"'), "'helper'"),
        (TWO.replace("127.0.0.1:2", "127.0.0.1"), "'127.0.0.1' is no address"),
        (TWO.replace("127.0.0.1:2", "127.0.0.1:1"), "two workers have the same address"),
        (TWO.replace('"cluster": {', '"cluster": {"ps": ["a:1"], '), "its cluster has ps"),
    ],
)
def test_a_broken_tf_config_is_named(text, sentence, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(ConfigError, match="The environment variable TF_CONFIG") as error:
        choose_strategy("cpu", "auto")
    assert sentence in str(error.value)


def test_workers_are_read_chief_first(monkeypatch):
    monkeypatch.setenv("TF_CONFIG", TWO)
    assert cluster_of_environment() == Cluster(("127.0.0.1:1", "127.0.0.1:2"), 1)
    monkeypatch.setenv("TF_CONFIG", TWO.replace('"cluster": {', '"cluster": {"chief": ["a:5"], '))
    assert cluster_of_environment() == Cluster(("a:5", "127.0.0.1:1", "127.0.0.1:2"), 2)
    monkeypatch.setenv("TF_CONFIG", '{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 0}}')
    assert cluster_of_environment() is None
    assert choose_strategy("cpu", "auto")[1] == "CPU"


def test_a_batch_smaller_than_the_replicas_is_refused_and_the_rate_follows_its_rule():
    four = SimpleNamespace(num_replicas_in_sync=4)
    with pytest.raises(ConfigError, match=r"train\.batch_size=3 .* all 4 replicas .* set it to 4 or more"):
        fit_to_replicas(TrainConfig(batch_size=3), four)
    assert fit_to_replicas(TrainConfig(learning_rate=0.1), four) == TrainConfig(learning_rate=0.1)
    assert fit_to_replicas(TrainConfig(learning_rate=0.1, scale_learning_rate="linear"), four) == TrainConfig(learning_rate=0.4)


def test_the_memory_of_each_gpu_grows_as_needed(monkeypatch):
    """With none here, TensorFlow is told of two."""
    grown = []
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: ["first", "second"] if kind == "GPU" else [])
    monkeypatch.setattr(tf.config.experimental, "set_memory_growth", lambda gpu, grows: grown.append((gpu, grows)))
    monkeypatch.setattr(tf.config.experimental, "get_device_details", lambda gpu: {"device_name": f"the {gpu} card"})
    assert choose_strategy("gpu:1")[1] == "the second card (gpu:1)"
    assert grown == [("first", True), ("second", True)]


@pytest.mark.parametrize("device, waits", [("/gpu:0", True), ("/job:localhost/replica:0/task:0/device:GPU:1", True), ("/cpu:0", False)])
def test_batches_wait_in_the_memory_of_a_gpu(device, waits, prepared, tiny, monkeypatch):
    asked, data = [], DataSet.open(prepared)
    monkeypatch.setattr(replicas, "ahead_on", lambda dataset, device: asked.append(device) or dataset)
    strategy = SimpleNamespace(num_replicas_in_sync=1, extended=SimpleNamespace(worker_devices=(device,)))
    plan = plan_training(data, tiny.clip, 0, 1)[:5]
    batches = list(replicas.replica_batches(strategy, data, plan, tiny.clip, 4, None))
    assert [len(labels) for _, labels in batches] == [4, 1]
    assert asked == [device] * waits


# --- who has come ----------------------------------------------------------------------------------------------------


@pytest.fixture
def addresses():
    doors = [socket.socket() for _ in range(3)]
    for door in doors:
        door.bind(("127.0.0.1", 0))
    found = tuple(f"127.0.0.1:{door.getsockname()[1]}" for door in doors)
    for door in doors:
        door.close()
    return found


def test_all_wait_for_the_last(addresses):
    come = []

    def worker(index):
        wait_for_all(Cluster(addresses, index), seconds=30)
        come.append(index)

    threads = [threading.Thread(target=worker, args=(index,)) for index in range(3)]
    for thread in threads[:2]:
        thread.start()
    threads[0].join(timeout=1)
    assert come == []
    threads[2].start()
    for thread in threads:
        thread.join(timeout=20)
    assert sorted(come) == [0, 1, 2]


def test_who_does_not_come_is_named(addresses):
    with pytest.raises(ConfigError, match=f"After 1 seconds there is still no worker 0 at {addresses[0]}, worker 2 at {addresses[2]}: start one"):
        wait_for_all(Cluster(addresses, 1), seconds=1)


def test_a_port_that_is_taken_is_named(addresses):
    with socket.socket() as other:
        port = int(addresses[0].partition(":")[2])
        other.bind(("127.0.0.1", port))
        other.listen()
        with pytest.raises(ConfigError, match=f"Worker 0 cannot listen at its port {port}"):
            wait_for_all(Cluster(addresses, 0), seconds=1)


def test_a_port_that_is_taken_after_that_is_named(addresses, monkeypatch):
    def refuse():
        raise tf.errors.UnknownError(None, None, "Could not start gRPC server")

    monkeypatch.setattr(cluster, "wait_for_all", lambda _: None)
    monkeypatch.setattr(tf.distribute, "MultiWorkerMirroredStrategy", refuse)
    with pytest.raises(ConfigError, match=f"Worker 1 cannot serve at {addresses[1]} .Could not start gRPC server.: give it another port"):
        cluster.join(Cluster(addresses, 1))


# --- what each takes -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("clips, batch_size, replicas", [(24, 16, 2), (21, 10, 2), (23, 8, 3), (9, 8, 8), (5, 8, 8), (100, 7, 5)])
def test_each_clip_is_taken_once_by_shares_that_differ_by_one(clips, batch_size, replicas):
    shares = np.stack([shares_of_batches(clips, batch_size, replica, replicas) for replica in range(replicas)], axis=1)
    rows = []
    for start, batch in zip(range(0, clips, batch_size), shares, strict=True):
        size, counts = min(batch_size, clips - start), batch[:, 1] - batch[:, 0]
        if size < replicas:  # whole to each
            assert (batch == [start, start + size]).all()
            batch = batch[:1]
        else:
            assert counts.min() >= 1 and counts.max() - counts.min() <= 1
        rows += [row for first, end in batch for row in range(first, end)]
    assert rows == list(range(clips))


@pytest.mark.parametrize("replicas, said", [(2, "Each of 2 replicas takes 8 of the 16 clips"), (3, "Each of 3 replicas takes 5 or 6 of the 16 clips")])
def test_a_training_says_what_each_takes(replicas, said, trained):
    run = Run.open(trained)
    run = dataclasses.replace(run, train=dataclasses.replace(run.train, batch_size=16))
    sentences = describe_start(run, "two", replicas, 30, 2, True, SimpleNamespace(count_params=lambda: 1000))
    assert said in sentences[1] and f"began with 1 replicas and goes on with {replicas}" in sentences[2]


# --- what they do together -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def measured(prepared, tmp_path_factory) -> dict:
    """What `replicas.py` has measured in a process of its own."""
    script, folder = Path(__file__).with_name("replicas.py"), tmp_path_factory.mktemp("replicas")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(script.parents[1]), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run([sys.executable, script, prepared, folder], env=environment, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


def test_two_replicas_with_common_statistics_do_what_one_does(measured):
    """Two steps of 16 clips; of 7 and 1, shared unevenly and whole; with maps computed again; with frozen layers. Here 4e-7 was seen."""
    assert measured["name"] == "CPU as 2 devices" and measured["replicas"] == 2
    found = {steps: measured["differences"][steps] for steps in ("[16, 16] none", "[7, 1] none", "[16, 1] none recompute", "[7, 1] block1", "[7, 1] body")}
    assert max(weights for weights, _ in found.values()) < 1e-5
    assert max(sums for _, sums in found.values()) < 1e-4


def test_losses_stay_together_for_twenty_steps(measured):
    """In float32 they drift apart; here by 3e-7."""
    losses = measured["differences"]["losses of twenty"]
    assert len(losses) == 20 and max(losses) < 1e-3


def test_without_common_statistics_running_ones_are_the_mean_of_the_replicas(measured):
    own = measured["own"]
    assert own["from the mean of halves"] < 1e-6 < 1e-5 < own["between halves"]
    assert own["between replicas"] == 0


def test_replicas_draw_other_masks(measured):
    first, second = measured["seeds"]
    assert first == [5, 3] and second[0] != 5 and second[1] == 3


def test_an_epoch_shows_each_clip_once(measured):
    """21 clips in batches of 10: the last clip is shown whole to both replicas, and counts half each."""
    seen = measured["seen"]
    assert seen["sizes"] == [[5, 5], [5, 5], [1, 1]]
    assert seen["labels"][:21] == seen["wanted"] and len(set(seen["wanted"])) > 3


def test_batches_brought_to_another_device_are_the_same(measured):
    assert measured["ahead"] == {"same": True, "batches": 3, "devices": ["CPU:1"]}


def test_a_training_on_two_replicas_goes_on_bit_for_bit(measured):
    assert measured["gone on"] == {"same rows": True, "rate": pytest.approx(0.2), "epochs alone": 2}
