"""Where to compute, and in which precision: choose devices, let their memory grow, and give the strategy that runs there."""

import re
from dataclasses import replace
from functools import cache
from pathlib import Path

import tensorflow as tf

from dn3dlib.config import TrainConfig
from dn3dlib.errors import ConfigError
from dn3dlib.train.cluster import Cluster, cluster_of_environment, join

STRATEGIES = ("auto", "one", "mirrored", "multiworker")
_CPU = Path("/proc/cpuinfo")  # of Linux

tf.get_logger().setLevel("WARNING")  # in a notebook it is INFO, and tells twice of each message between replicas


def choose_strategy(device: str = "auto", strategy: str = "one") -> tuple[tf.distribute.Strategy, str]:
    """Where and how to compute, and words that name it. Taught in notebook 08.

    Args:
        device: `cpu`, `gpu:0` (or another number), or `auto`: all GPUs that the strategy can use, else the CPU; `cpus:2` (or more) is the
            CPU as two devices, for trial and teaching.
        strategy: `one` device; `mirrored` over several of this process; `multiworker` over all processes that TF_CONFIG names; `auto`:
            multiworker where it names more than one, mirrored where `device` means several, else one.

    Raises:
        ConfigError: another word, a GPU that TensorFlow does not see, too few devices or workers, a worker that does not come.
    """
    if strategy not in STRATEGIES:
        raise ConfigError(f"--strategy is {strategy!r}, but must be one of {', '.join(STRATEGIES)}.")
    if not re.fullmatch(r"auto|cpu|gpu:\d+|cpus:[1-9]\d*", device):
        raise ConfigError(f"--device is {device!r}, but must be cpu, auto, or gpu: with a number, as in gpu:0; or cpus:2 to try several.")
    gpus = _gpus(device)
    cluster = cluster_of_environment() if strategy in ("auto", "multiworker") else None
    if strategy == "auto":
        several = device.startswith("cpus:") or (device == "auto" and len(gpus) > 1)
        strategy = "multiworker" if cluster else "mirrored" if several else "one"
    if strategy == "multiworker":
        return _workers(cluster, device, gpus)
    return _mirrored(device, gpus) if strategy == "mirrored" else _one(device, gpus)


def _gpus(device: str) -> list:
    """The GPUs that TensorFlow sees, whose memory grows from now on; raises ConfigError where `device` is none of them."""
    gpus = tf.config.list_physical_devices("GPU")
    for gpu in gpus:
        try:
            tf.config.experimental.set_memory_growth(gpu, True)
        except RuntimeError:  # already in use in this process, where it has been set
            break
    if device.startswith("gpu:") and int(device[4:]) >= len(gpus):
        raise ConfigError(
            f"--device {device} is not there: TensorFlow sees {len(gpus)} GPUs; use --device cpu, or install the extra [gpu]."
        )
    return gpus


def _one(device: str, gpus: list) -> tuple[tf.distribute.Strategy, str]:
    if device.startswith("cpus:"):
        raise ConfigError(f"--device {device} is for several replicas: train with --strategy mirrored, or use --device cpu.")
    if device == "cpu" or not gpus:
        return tf.distribute.OneDeviceStrategy("/cpu:0"), "CPU"
    device = "gpu:0" if device == "auto" else device
    return tf.distribute.OneDeviceStrategy(f"/{device}"), f"{_name(gpus[int(device[4:])])} ({device})"


def _mirrored(device: str, gpus: list) -> tuple[tf.distribute.Strategy, str]:
    if device.startswith("cpus:"):
        count = int(device[5:])
        _split_processor(count)
        return _mirrors("cpu", count), f"CPU as {count} devices"
    if device != "auto" or len(gpus) < 2:
        raise ConfigError(
            f"--strategy mirrored needs several devices, but --device {device} means one: TensorFlow sees {len(gpus)} GPUs; use --strategy one, "
            "or --device cpus:2 to try it."
        )
    return _mirrors("gpu", len(gpus)), f"{len(gpus)} × {_name(gpus[0])}"


@cache
def _mirrors(kind: str, count: int) -> tf.distribute.MirroredStrategy:
    """One for all trainings of a process: a second one would number its messages from the start again, and TensorFlow mix them up."""
    return tf.distribute.MirroredStrategy([f"/{kind}:{number}" for number in range(count)])


def _workers(cluster: Cluster | None, device: str, gpus: list) -> tuple[tf.distribute.Strategy, str]:
    if cluster is None:
        raise ConfigError(
            "--strategy multiworker needs the environment variable TF_CONFIG with the addresses of two workers or more; "
            "`dn3d launch --workers 2 -- train …` starts them on this machine."
        )
    if device.startswith("cpus:"):
        raise ConfigError(f"--device {device} splits one process; a worker of several takes --device auto, cpu or gpu:0.")
    used = gpus if device == "auto" else [] if device == "cpu" else [gpus[int(device[4:])]]
    try:
        tf.config.set_visible_devices(used, "GPU")
    except RuntimeError as error:  # `join` says it for all
        if used != gpus:
            raise ConfigError(f"--device {device} comes too late for this process ({error}): start a new one.") from error
    on = f"{len(used)} × {_name(used[0])}" if used else "CPU"
    return join(cluster), f"worker {cluster.index} of {len(cluster.addresses)}, {on} each"


def _split_processor(count: int) -> None:
    """Let TensorFlow see the CPU as so many devices."""
    try:
        tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * count)
    except RuntimeError as error:
        if len(tf.config.list_logical_devices("CPU")) != count:
            raise ConfigError(
                f"--device cpus:{count} comes too late: this process has computed with TensorFlow before; start a new one (in a notebook: "
                "restart the kernel)."
            ) from error


def _name(gpu) -> str:
    return tf.config.experimental.get_device_details(gpu).get("device_name", "GPU")


def gpu_of(strategy: tf.distribute.Strategy) -> str | None:
    """The number of the GPU that a strategy computes on (the first of several); None on a CPU."""
    if strategy.num_replicas_in_sync > 1:
        device = strategy.extended.worker_devices[0]
    else:
        device = strategy.run(lambda: tf.zeros([])).device
    found = re.search(r"GPU:(\d+)", device)
    return found[1] if found else None


def choose_precision(config: TrainConfig, strategy: tf.distribute.Strategy) -> TrainConfig:
    """`config` with a precision that the device of `strategy` has, in place of `auto`.

    `auto` is bfloat16 where the device computes products of it by itself (NVIDIA from compute capability 8.0, processors
    with AVX512-BF16 or AMX), else float16 on GPUs from 7.0 on, else float32.

    Raises:
        ConfigError: float16 without a GPU, or with several replicas.
    """
    gpu, several = gpu_of(strategy), strategy.num_replicas_in_sync > 1
    if config.precision == "float16" and several:  # Keras's scaling of the loss looks at one replica's gradients alone
        raise ConfigError("train.precision=float16 is for one device: use bfloat16, float32 or auto with several replicas.")
    if config.precision == "float16" and not gpu:
        raise ConfigError("train.precision=float16 needs a GPU: use bfloat16, float32 or auto on a CPU.")
    if config.precision != "auto":
        return config
    if gpu:
        details = tf.config.experimental.get_device_details(tf.config.list_physical_devices("GPU")[int(gpu)])
        generation = details.get("compute_capability", (0, 0))
        fastest = "bfloat16" if generation >= (8, 0) else "float16" if generation >= (7, 0) and not several else "float32"
    else:
        flags = set(_CPU.read_text(encoding="utf-8").split()) if _CPU.is_file() else set()
        fastest = "bfloat16" if flags & {"avx512_bf16", "amx_bf16"} else "float32"
    return replace(config, precision=fastest)


def fit_to_replicas(config: TrainConfig, strategy: tf.distribute.Strategy) -> TrainConfig:
    """`config` with the learning rate that its rule gives for the replicas of `strategy`, in place of the rule.

    Raises:
        ConfigError: a batch has fewer clips than there are replicas.
    """
    replicas = strategy.num_replicas_in_sync
    if config.batch_size < replicas:
        raise ConfigError(
            f"train.batch_size={config.batch_size} is the batch of all {replicas} replicas together, and each needs a clip: set it to {replicas} "
            "or more, or use --strategy one."
        )
    factor = replicas if config.scale_learning_rate == "linear" else 1
    return replace(config, learning_rate=config.learning_rate * factor, scale_learning_rate="none")
