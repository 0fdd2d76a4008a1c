"""Whether a training fits into memory, said before it starts and where it did not."""

import keras

from dn3dlib.config import TrainConfig
from dn3dlib.model.anatomy import training_memory

_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}


def memory_advice(network: keras.Model, config: TrainConfig, free: int | None = None) -> str:
    """A sentence on what a training takes, and what would take less.

    Args:
        network: of `build_model`.
        config: with a precision that is not `auto`.
        free: bytes that are free; None where nobody knows, as on a GPU.
    """
    memory = training_memory(network, _BYTES[config.precision], config.recompute)
    sentence = (
        f"Steps of {config.batch_size} clips take about {memory.of_batch(config.batch_size) / 1e9:.1f} GB of memory, "
        f"{memory.per_clip / 1e6:.0f} MB a clip"
    )
    if free is None:
        sentence += "; set a smaller train.batch_size"
    else:
        largest = memory.largest_batch(free)
        fits = f"train.batch_size={largest} is the largest that fits" if largest else "not even one clip fits"
        sentence += f"; {free / 1e9:.1f} GB were free at the start: {fits}"
    if config.recompute:
        return f"{sentence}, or use smaller frames or fewer."
    less = training_memory(network, _BYTES[config.precision], recompute=True)
    batch = f", with which {less.largest_batch(free)} clips fit" if free is not None else ""
    return f"{sentence}, or train.recompute=true, which takes {less.per_clip / 1e6:.0f} MB a clip{batch}."


def memory_warning(network: keras.Model, config: TrainConfig, free: int) -> str | None:
    """`memory_advice` where a training will probably not fit into `free` bytes; None where it will."""
    memory = training_memory(network, _BYTES[config.precision], config.recompute)
    return memory_advice(network, config, free) if memory.of_batch(config.batch_size) > free else None
