"""Where to compute: choose a device, let its memory grow, and give the strategy that runs there."""

import re

import tensorflow as tf

from dn3dlib.errors import ConfigError


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
