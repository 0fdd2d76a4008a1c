"""A faster twin of a network for training: the same variables, with TensorFlow's fused batch normalisation."""

import keras
import tensorflow as tf


class FusedBatchNormalization(keras.layers.Layer):
    """Batch normalisation in training mode by one fused kernel, over the variables of a stock layer.

    Keras normalises tensors of five dimensions step by step; TensorFlow's kernel takes four, so frames and rows are laid
    together for it: statistics over (batch, frames, height, width) do not mind.
    """

    def __init__(self, stock: keras.layers.BatchNormalization):
        super().__init__(name=f"{stock.name}_fused")
        self._stock = stock

    def call(self, x, mask=None):  # a stock layer takes a mask, so its place in the network passes one
        """Normalise float32 (batch, frames, height, width, channels) and move the running mean and variance."""
        stock, shape = self._stock, tf.shape(x)
        y, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=tf.reshape(x, (shape[0], shape[1] * shape[2], shape[3], x.shape[-1])),
            scale=stock.gamma,
            offset=stock.beta,
            mean=tf.zeros(0),
            variance=tf.zeros(0),
            epsilon=stock.epsilon,
            is_training=True,
        )
        # The kernel divides by n − 1, Keras and the thesis by n.
        count = tf.cast(tf.reduce_prod(shape[:-1]), tf.float32)
        self._move(stock.moving_mean, mean)
        self._move(stock.moving_variance, variance * (count - 1) / count)
        return tf.reshape(y, shape)

    def compute_output_shape(self, input_shape):
        return input_shape

    def _move(self, average: keras.Variable, value: tf.Tensor) -> None:
        momentum = self._stock.momentum
        average.assign(average * momentum + value * (1 - momentum))


def fused_twin(model: keras.Model) -> keras.Model:
    """A network of the layers of `model` itself, its batch normalisations fused; for training only.

    Training the twin trains `model`: they share every variable. `model` is what is saved.
    """

    def same_or_fused(layer):
        return FusedBatchNormalization(layer) if isinstance(layer, keras.layers.BatchNormalization) else layer

    return keras.models.clone_model(model, clone_function=same_or_fused)
