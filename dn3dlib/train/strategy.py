"""Where to compute, and in which precision: choose a device, let its memory grow, and give the strategy that runs there."""

import re
from dataclasses import replace
from pathlib import Path

import tensorflow as tf

from dn3dlib.config import TrainConfig
from dn3dlib.errors import ConfigError

_CPU = Path("/proc/cpuinfo")  # of Linux


def choose_strategy(device: str = "auto") -> tuple[tf.distribute.Strategy, str]:
    """The strategy for one device, and a sentence that names it.

    Args:
        device: `cpu`, `gpu:0` (or another number), or `auto`: the first GPU if there is one, else the CPU.

    Raises:
        ConfigError: another word, or a GPU that TensorFlow does not see.
    """
    gpus = tf.config.list_physical_devices("GPU")
    for gpu in gpus:
        try:
            tf.config.experimental.set_memory_growth(gpu, True)
        except RuntimeError:  # already in use in this process, where it has been set
            break
    if device == "auto":
        device = "gpu:0" if gpus else "cpu"
    if device == "cpu":
        return tf.distribute.OneDeviceStrategy("/cpu:0"), "CPU"
    match = re.fullmatch(r"gpu:(\d+)", device)
    if not match:
        raise ConfigError(f"--device is {device!r}, but must be cpu, auto, or gpu: with a number, as in gpu:0.")
    number = int(match[1])
    if number >= len(gpus):
        raise ConfigError(
            f"--device {device} is not there: TensorFlow sees {len(gpus)} GPUs; use --device cpu, or install the extra [gpu]."
        )
    name = tf.config.experimental.get_device_details(gpus[number]).get("device_name", "GPU")
    return tf.distribute.OneDeviceStrategy(f"/gpu:{number}"), f"{name} ({device})"


def gpu_of(strategy: tf.distribute.Strategy) -> str | None:
    """The number of the GPU that a strategy computes on (the first of several); None on a CPU."""
    device = strategy.experimental_local_results(strategy.run(lambda: tf.zeros([])))[0].device
    found = re.search(r"GPU:(\d+)", device)
    return found[1] if found else None


def choose_precision(config: TrainConfig, strategy: tf.distribute.Strategy) -> TrainConfig:
    """`config` with a precision that the device of `strategy` has, in place of `auto`.

    `auto` is bfloat16 where the device computes products of it by itself (NVIDIA from compute capability 8.0, processors
    with AVX512-BF16 or AMX), else float16 on GPUs from 7.0 on, else float32.

    Raises:
        ConfigError: float16 without a GPU.
    """
    gpu = gpu_of(strategy)
    if config.precision == "float16" and not gpu:
        raise ConfigError("train.precision=float16 needs a GPU: use bfloat16, float32 or auto on a CPU.")
    if config.precision != "auto":
        return config
    if gpu:
        details = tf.config.experimental.get_device_details(tf.config.list_physical_devices("GPU")[int(gpu)])
        generation = details.get("compute_capability", (0, 0))
        fastest = "bfloat16" if generation >= (8, 0) else "float16" if generation >= (7, 0) else "float32"
    else:
        flags = set(_CPU.read_text(encoding="utf-8").split()) if _CPU.is_file() else set()
        fastest = "bfloat16" if flags & {"avx512_bf16", "amx_bf16"} else "float32"
    return replace(config, precision=fastest)
