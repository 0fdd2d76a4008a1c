"""What replicas of one network do together inside a step; with a single replica, the plain thing."""

from collections.abc import Iterator

import tensorflow as tf

from dn3dlib.config import ClipConfig
from dn3dlib.data.clips import ClipPlan, batches_of, clip_dataset
from dn3dlib.data.manifest import DataSet

_APART = 1_000_003  # between the seeds of two replicas; their second numbers count steps


def replica_batches(strategy, data: DataSet, plan: ClipPlan, clip: ClipConfig, batch_size: int, frames) -> Iterator[tuple]:
    """The clips and labels of each batch of a plan, as `clip_dataset` gives them; of several replicas, each of this process its share.

    TensorFlow's own way to share a data set out would draw other shares, agree on the end of the data before each step, and tune itself.
    """
    replicas = strategy.num_replicas_in_sync
    if replicas == 1:
        for clips, labels, _ in batches_of(clip_dataset(data, plan, clip, batch_size, frames)):
            yield clips, labels
        return
    values = strategy.experimental_distribute_values_from_function
    here = strategy.experimental_local_results(values(lambda context: context.replica_id_in_sync_group))
    readers = [batches_of(clip_dataset(data, plan, clip, batch_size, frames, (int(number), replicas))) for number in here]
    for parts in zip(*readers, strict=True):
        parts = dict(zip(map(int, here), parts, strict=True))
        yield tuple(values(lambda context, n=n, parts=parts: parts[context.replica_id_in_sync_group][n]) for n in (0, 1))


def assign_on_all(values: list[tuple]) -> None:
    """Set variables (of Keras) to values, on several replicas all to the mean of what each of them brings.

    Whole numbers must be the same on all. Keras makes running averages and seeds as variables that a replica may not set by itself.
    """
    if _replicas() == 1:
        for variable, value in values:
            variable.assign(value)
        return
    context = tf.distribute.get_replica_context()
    numbers = [value for _, value in values if value.dtype.is_floating]
    means = iter(())
    if numbers:  # none where all that has running averages is frozen
        mean = context.all_reduce(tf.distribute.ReduceOp.MEAN, tf.concat(numbers, 0))  # in one message
        means = iter(tf.split(mean, [number.shape[0] for number in numbers]))
    same = [next(means) if value.dtype.is_floating else value for _, value in values]

    def assign(strategy, *same):
        for (variable, _), value in zip(values, same, strict=True):
            strategy.extended.update(variable.value, lambda on_device, new: on_device.assign(new), (value,), group=False)

    context.merge_call(assign, tuple(same))


def different_seeds(seed: tf.Tensor) -> tf.Tensor:
    """A seed, int32 (2,), that is another on each replica but the first: two clips of a step should not lose the same maps."""
    if _replicas() == 1:
        return seed
    return seed + [_APART * tf.distribute.get_replica_context().replica_id_in_sync_group, 0]


def _replicas() -> int:
    return tf.distribute.get_strategy().num_replicas_in_sync
