"""A faster twin of a network for inference: the same variables, batch normalisation and ReLU fused or folded away.

At the published size two thirds of the time are the stem's convolution, which the twin leaves as it is. Measured and not kept:
that convolution over 2×2 pixels laid into channels (0.78 of the speed), and 1×1×1 convolutions as matrix products (no gain).
"""

import keras
import tensorflow as tf


class FusedNormReLU(keras.layers.Layer):
    """Batch normalisation in inference mode and ReLU, one kernel over the variables of a stock layer."""

    def __init__(self, norm: keras.layers.BatchNormalization):
        super().__init__(name=f"{norm.name}_fused", dtype="float32")
        self._norm = norm

    def call(self, x, mask=None):  # a stock layer takes a mask, so its place in the network passes one
        """Normalise float32 (batch, frames, height, width, channels) and cut off what is below zero."""
        norm, shape = self._norm, tf.shape(x)
        y, *_ = tf.raw_ops.FusedBatchNormV3(
            x=tf.reshape(x, (shape[0], shape[1] * shape[2], shape[3], x.shape[-1])),  # the kernel takes four dimensions
            scale=norm.gamma,
            offset=norm.beta,
            mean=norm.moving_mean,
            variance=norm.moving_variance,
            epsilon=norm.epsilon,
            is_training=False,
        )
        return tf.reshape(tf.nn.relu(y), shape)

    def compute_output_shape(self, input_shape):
        return input_shape


class FoldedConvolution(keras.layers.Layer):
    """A bottleneck's convolution with the batch normalisation and ReLU behind it: scaled kernel, bias, ReLU.

    The kernel is scaled anew at each call: the variables may change between two calls.
    """

    def __init__(self, convolution: keras.layers.Conv3D, norm: keras.layers.BatchNormalization):
        super().__init__(name=f"{convolution.name}_folded", dtype="float32")
        self._convolution, self._norm = convolution, norm

    def call(self, x, mask=None):
        """float32 (batch, frames, height, width, channels) → (batch, frames, height, width, filters)."""
        norm = self._norm
        scale = norm.gamma * tf.math.rsqrt(norm.moving_variance + norm.epsilon)
        y = tf.nn.conv3d(x, self._convolution.kernel * scale, (1, 1, 1, 1, 1), "SAME")
        return tf.nn.relu(tf.nn.bias_add(y, norm.beta - norm.moving_mean * scale))

    def compute_output_shape(self, input_shape):
        return *input_shape[:-1], self._convolution.filters


class DoneAlready(keras.layers.Layer):
    """In place of a layer that one before it has taken in."""

    def call(self, x, mask=None):
        """What comes in."""
        return x


def inference_twin(model: keras.Model) -> keras.Model:
    """A network for inference only, over the variables of `model`, of `build_model`; it follows when they change."""
    bottleneck = "_bottleneck_conv"
    folded = {layer.name.removesuffix(bottleneck) for layer in model.layers if layer.name.endswith(bottleneck)}

    def same_or_faster(layer):
        part, _, kind = layer.name.rpartition("_")
        if layer.name.endswith(bottleneck):
            return FoldedConvolution(layer, model.get_layer(f"{layer.name.removesuffix(bottleneck)}_bn"))
        if kind == "relu" or (kind == "bn" and part in folded):
            return DoneAlready(name=f"{layer.name}_done")
        return FusedNormReLU(layer) if kind == "bn" else layer

    return keras.models.clone_model(model, clone_function=same_or_faster)


def make_predict_step(model: keras.Model, strategy, clip_shape: tuple[int, ...]):
    """A function from clips float32 (batch, *clip_shape) to logits float32 (batch, classes), in inference mode.

    Args:
        model: of `build_model`; its variables may change between two calls.
        strategy: where it runs; several replicas each compute all clips.
        clip_shape: (frames, height, width, channels).
    """
    twin = inference_twin(model)

    @tf.function(input_signature=[tf.TensorSpec((None, *clip_shape), tf.float32)])
    def predict_step(clips):
        logits = strategy.run(lambda batch: twin(batch, training=False), args=(clips,))
        return strategy.experimental_local_results(logits)[0]

    return predict_step
