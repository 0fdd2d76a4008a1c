"""One step of training and one of prediction, as `tf.function`s over `strategy.run`; one device is the plain case."""

import keras
import numpy as np
import tensorflow as tf

from dn3dlib.config import TrainConfig
from dn3dlib.train.fused import inference_function, training_function


def decayed_variables(model: keras.Model, weight_decay_on: str) -> list:
    """The variables that weight decay pulls to zero: `all` trainable ones (the thesis), or `kernels` only."""
    variables = model.trainable_variables
    return variables if weight_decay_on == "all" else [v for v in variables if v.name == "kernel"]


def l2_penalty(variables: list) -> tf.Tensor:
    """Σ ½‖w‖², a float32 scalar."""
    return tf.add_n([tf.nn.l2_loss(tf.convert_to_tensor(v)) for v in variables])


def make_optimizer(rate, config: TrainConfig, variables: list) -> keras.optimizers.Optimizer:
    """SGD as `config` says, built over `variables`; where the precision is float16 it scales the loss, so that small gradients survive.

    Args:
        rate: the learning rate, a number or a schedule.
    """
    optimizer = keras.optimizers.SGD(rate, momentum=config.momentum, nesterov=config.nesterov)
    if config.precision == "float16":
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    optimizer.build(variables)
    return optimizer


def class_weights(labels: list[str], classes: tuple[str, ...], how: str) -> np.ndarray | None:
    """The weight of each class in the loss, float32 (classes,): n / (C · n_c) where `how` is balanced; None where it is none.

    `labels` are those of the n training sequences, n_c of them of class c, of C classes that are there at all: over all
    sequences the weights have the mean 1.
    """
    if how == "none":
        return None
    counts = np.array([labels.count(name) for name in classes])
    return (len(labels) / (np.count_nonzero(counts) * np.maximum(counts, 1))).astype(np.float32)


def make_train_step(model, optimizer, strategy, config: TrainConfig, clip_shape: tuple[int, ...], weights=None, stop=None):
    """A function that trains on one batch.

    Args:
        model: clips → logits.
        optimizer: built under `strategy.scope()`.
        clip_shape: (frames, height, width, channels).
        weights: of the classes in the loss, as `class_weights` gives them; None: all the same.
        stop: where several processes train together, a variable float32 (): 1 where this one wants to stop, else 0.

    Returns:
        A function of clips float32 (batch, *clip_shape) and labels int32 (batch,), both per replica, and of the global
        batch's size. Replicas bring their share of the batch; one smaller than their number they bring whole
        (`clips.shares_of_batches`), and each counts for a part only. It updates the weights by the gradient of mean weighted
        cross-entropy + weight_decay · Σ ½‖w‖², and gives float32 (3,): the sums over the batch of the cross-entropy in nats,
        without weights so that runs compare, of the correct clips, and of the clips; with `stop` float32 (4,): above 0 where a
        process wants to stop, the same in all.
    """
    decayed = decayed_variables(model, config.weight_decay_on)
    variables = model.trainable_variables
    replicas = strategy.num_replicas_in_sync
    network = training_function(model, config.precision, config.recompute, config.sync_batch_norm and replicas > 1)

    def times(batch_size):  # that each clip is there
        return tf.where(batch_size < replicas, float(replicas), 1.0)

    def replica_step(clips, labels, batch_size):
        with tf.GradientTape() as tape:
            logits = network(clips)
            cross_entropy = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
            weighted = cross_entropy if weights is None else tf.gather(weights, labels) * cross_entropy
            loss = tf.reduce_sum(weighted) / (batch_size * times(batch_size))
            if config.weight_decay:
                # Gradients are summed over replicas, so each replica carries its share of the penalty.
                loss += config.weight_decay * l2_penalty(decayed) / replicas
            loss = optimizer.scale_loss(loss)  # where float16 needs it; `apply_gradients` undoes it
        optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
        return _sums(cross_entropy, logits, labels, stop)

    # One trace for all batches, the epoch's last and smaller one included.
    # Without AutoGraph: nothing in it depends on a tensor's value.
    @tf.function(input_signature=_signature(strategy, clip_shape), autograph=False)
    def train_step(clips, labels, batch_size):
        sums = strategy.run(replica_step, args=(clips, labels, batch_size))
        return strategy.reduce(tf.distribute.ReduceOp.SUM, sums, axis=None) / times(batch_size)

    return train_step


def make_predict_step(model, strategy, clip_shape: tuple[int, ...]):
    """A function from clips float32 (batch, *clip_shape) to logits float32 (batch, classes), in inference mode.

    Args:
        model: of `build_model`; its variables may change between two calls.
        strategy: where it runs; several replicas each compute all clips.
        clip_shape: (frames, height, width, channels).
    """
    network = inference_function(model)

    @tf.function(input_signature=[tf.TensorSpec((None, *clip_shape), tf.float32)], autograph=False)
    def predict_step(clips):
        logits = strategy.run(network, args=(clips,))
        return strategy.experimental_local_results(logits)[0]

    return predict_step


def _sums(cross_entropy, logits, labels, stop) -> tf.Tensor:
    correct = tf.cast(tf.argmax(logits, axis=1, output_type=labels.dtype) == labels, tf.float32)
    sums = [tf.reduce_sum(cross_entropy), tf.reduce_sum(correct), tf.cast(tf.size(labels), tf.float32)]
    return tf.stack(sums if stop is None else [*sums, stop])


def _signature(strategy, clip_shape):
    """Shapes with an open batch; several replicas bring a value each of clips and labels."""
    batch = [tf.TensorSpec((None, *clip_shape), tf.float32), tf.TensorSpec((None,), tf.int32)]
    if strategy.num_replicas_in_sync > 1:
        example = strategy.experimental_distribute_values_from_function(lambda _: tf.zeros([]))
        here = len(strategy.experimental_local_results(example))  # replicas of this process
        batch = [type(tf.type_spec_from_value(example))(*[spec] * here) for spec in batch]
    return [*batch, tf.TensorSpec((), tf.float32)]
