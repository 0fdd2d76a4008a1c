"""Whether a training fits into memory, said before it starts and where it did not."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import keras
import tensorflow as tf

from dn3dlib.config import TrainConfig
from dn3dlib.errors import RunError
from dn3dlib.model.anatomy import training_memory

_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}


@contextmanager
def out_of_memory_in_a_sentence(say: Callable[[], str]) -> Iterator[None]:
    """Turn what TensorFlow and Python raise when memory runs out into a RunError; `say` gives where, and what would take less."""
    try:
        yield
    except (tf.errors.ResourceExhaustedError, MemoryError) as error:
        raise RunError(f"Memory has run out {say()}") from error


def memory_advice(network: keras.Model, config: TrainConfig, free: int | None) -> str:
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
