"""Operations of a 3D-DenseNet in the forms that TensorFlow runs fastest; each gives what the stock layer gives.

What they gain, and what was tried and gained nothing, `benchmarks/README.md` says.
"""

import tensorflow as tf

_SAME, _HALF = (1, 1, 1, 1, 1), (1, 1, 2, 2, 1)  # strides
_BUT_CHANNELS = (0, 1, 2, 3)  # axes of maps
_FILTERS_AT_ONCE = 16  # float32 numbers in a register of AVX-512


def normalise_batch(x: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor, epsilon: float) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Batch normalisation in training mode by one fused kernel; Keras normalises five dimensions step by step.

    Args:
        x: (batch, frames, height, width, channels).
        gamma, beta: float32 (channels,).

    Returns:
        The normalised maps, and the batch's mean and variance (over n), float32 (channels,).
    """
    none = tf.zeros(0)
    y, mean, variance = _fused_normalisation(x, gamma, beta, none, none, epsilon, is_training=True)
    count = tf.cast(tf.size(x), tf.float32) / x.shape[-1]
    # The kernel divides by n − 1, Keras and the thesis by n.
    return y, mean, variance * (count - 1) / count


def normalise_over_replicas(x: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor, epsilon: float) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """`normalise_batch` by the mean and variance of the clips of all replicas; each must call it with its own.

    What one replica gives another depends on its maps, so on the way back sums go round, too. One message suffices for the variance as
    mean of squares less squared mean, which loses digits where the mean is large: 3e-5 of the variance at a mean of ten standard
    deviations was seen, 3e-6 at three, the most in the trained networks that come with the kit.
    """

    def over_all(*vectors: tf.Tensor) -> list[tf.Tensor]:
        sums = tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, tf.concat(vectors, 0))
        return tf.split(sums, [vector.shape[0] for vector in vectors])

    @tf.custom_gradient
    def normalised(x, gamma, beta):
        mean, variance = tf.nn.moments(tf.cast(x, tf.float32), _BUT_CHANNELS)
        count = tf.cast(tf.size(x), tf.float32) / x.shape[-1]
        means, squares, count = over_all(count * mean, count * (variance + mean**2), count[None])
        mean = means / count
        variance = tf.maximum(squares / count - mean**2, 0)

        def gradient(dy, *_):
            dy, inverse = tf.cast(dy, tf.float32), tf.math.rsqrt(variance + epsilon)
            scaled = (tf.cast(x, tf.float32) - mean) * inverse
            to_gamma, to_beta = tf.reduce_sum(dy * scaled, _BUT_CHANNELS), tf.reduce_sum(dy, _BUT_CHANNELS)
            of_gamma, of_beta = over_all(to_gamma, to_beta)
            to_x = gamma * inverse * (dy - (of_beta + scaled * of_gamma) / count)
            return tf.cast(to_x, x.dtype), to_gamma, to_beta  # the optimiser sums those by gamma and beta over replicas

        return (_fused_normalisation(x, gamma, beta, mean, variance, epsilon, is_training=False)[0], mean, variance), gradient

    return normalised(x, gamma, beta)


def normalise_by_running_moments(x: tf.Tensor, layer) -> tf.Tensor:
    """What a layer of batch normalisation gives in inference mode; (batch, frames, height, width, channels) throughout."""
    moments = layer.moving_mean, layer.moving_variance
    return _fused_normalisation(x, layer.gamma, layer.beta, *moments, layer.epsilon, is_training=False)[0]


def _fused_normalisation(x, gamma, beta, mean, variance, epsilon, is_training) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Normalised maps, mean, variance. The kernel takes four dimensions: frames and rows are laid together for it."""
    shape = tf.shape(x)
    y, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
        x=tf.reshape(x, (shape[0], shape[1] * shape[2], shape[3], x.shape[-1])),
        scale=gamma,
        offset=beta,
        mean=mean,
        variance=variance,
        epsilon=epsilon,
        is_training=is_training,
    )
    return tf.ensure_shape(tf.reshape(y, shape), x.shape), mean, variance


def lite_stem(clips: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
    """The stem of the variant lite: a convolution 7×7×7, stride (1, 2, 2), and an average pool 3×3×3 of the same stride.

    Processors compute 16 filters at once. Where the filters are no multiple of it, two neighbouring frames are computed as
    one with twice the filters, from 8 frames of the clip instead of 2 · 7. Averages over rows and columns come first, and
    over frames then: that is the same.

    Args:
        clips: (batch, frames, height, width, channels).
        kernel: (7, 7, 7, channels, filters).

    Returns:
        (batch, frames, ⌈height / 4⌉, ⌈width / 4⌉, filters).
    """

    @tf.custom_gradient
    def pooled_in_space(clips, kernel):
        filters = kernel.shape[-1]
        in_pairs = filters % _FILTERS_AT_ONCE != 0 and _on_cpu()
        maps = _convolve_in_pairs(clips, kernel) if in_pairs else tf.nn.conv3d(clips, kernel, _HALF, "SAME")
        maps = tf.nn.avg_pool3d(maps, (1, 3, 3), (1, 2, 2), "SAME")
        if in_pairs:
            _, pairs, height, width, _ = maps.shape
            maps = tf.transpose(tf.reshape(maps, (-1, pairs, height, width, 2, filters)), (0, 1, 4, 2, 3, 5))
            maps = tf.reshape(maps, (-1, 2 * pairs, height, width, filters))[:, : clips.shape[1]]

        def gradient(dy):
            batch, frames, height, width = *tf.unstack(tf.shape(clips)[:2]), -(-clips.shape[2] // 2), -(-clips.shape[3] // 2)
            spread = tf.raw_ops.AvgPool3DGrad(
                orig_input_shape=[batch, frames, height, width, filters], grad=dy, ksize=(1, 1, 3, 3, 1), strides=_HALF, padding="SAME"
            )
            # Nobody needs the gradient by the clips.
            return None, _kernel_gradient(clips, spread, kernel.shape, _HALF)

        return maps, gradient

    return tf.nn.avg_pool3d(pooled_in_space(clips, kernel), (3, 1, 1), 1, "SAME")


def _on_cpu() -> bool:
    """Whether what is computed here runs on a CPU: as the device in force says, or where none is, for want of a GPU."""
    device = tf.zeros([]).device
    return "CPU" in device.upper() or ("GPU" not in device.upper() and not tf.config.list_logical_devices("GPU"))


def _convolve_in_pairs(clips: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
    """(batch, ⌈frames / 2⌉, …, 2 · filters): those of an even frame, then those of the odd one after it."""
    twice = tf.concat([tf.pad(kernel, [[0, 1], *[[0, 0]] * 4]), tf.pad(kernel, [[1, 0], *[[0, 0]] * 4])], -1)
    pads = [[0, 0], [3, 3 + clips.shape[1] % 2]]
    for size in clips.shape[2:4]:  # as padding `same` does: an odd one stands at the end
        total = max((-(-size // 2) - 1) * 2 + 7 - size, 0)
        pads.append([total // 2, total - total // 2])
    return tf.nn.conv3d(tf.pad(clips, [*pads, [0, 0]]), twice, (1, 2, 2, 2, 1), "VALID")


def convolve(x: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
    """Conv3D with padding `same`, stride 1 and no bias; (batch, frames, height, width, channels) → the same form."""
    return tf.nn.conv3d(x, kernel, _SAME, "SAME") if kernel.shape[0] == 1 else _convolution_of_neighbours(x, kernel)


@tf.custom_gradient
def _convolution_of_neighbours(x, kernel):
    """A convolution whose kernel's gradient is computed with maps and gradient in each other's place where that is faster.

    Correlating a with b is correlating b with a, mirrored.
    """

    def gradient(dy):
        to_x = tf.raw_ops.Conv3DBackpropInputV2(
            input_sizes=tf.shape(x), filter=kernel, out_backprop=dy, strides=_SAME, padding="SAME"
        )
        if kernel.shape[4] >= kernel.shape[3]:
            return to_x, _kernel_gradient(x, dy, kernel.shape, _SAME)
        mirrored = _kernel_gradient(dy, x, (*kernel.shape[:3], kernel.shape[4], kernel.shape[3]), _SAME)
        return to_x, tf.transpose(mirrored[::-1, ::-1, ::-1], (0, 1, 2, 4, 3))

    return tf.nn.conv3d(x, kernel, _SAME, "SAME"), gradient


def _kernel_gradient(x: tf.Tensor, dy: tf.Tensor, shape, strides: tuple[int, ...]) -> tf.Tensor:
    """The gradient by the kernel of `shape` of a convolution of x whose output's gradient is dy.

    In bfloat16 on the CPU, TensorFlow 2.21 computes it wrongly for kernels larger than 1×1×1, and may write where it must not
    (`benchmarks/README.md`): there it is computed in float32.
    """
    exact = tf.float32 if x.dtype == tf.bfloat16 and _on_cpu() else x.dtype
    found = tf.raw_ops.Conv3DBackpropFilterV2(
        input=tf.cast(x, exact), filter_sizes=shape, out_backprop=tf.cast(dy, exact), strides=strides, padding="SAME"
    )
    return tf.cast(found, x.dtype)


def drop_out(x: tf.Tensor, rate: float, seed: tf.Tensor) -> tf.Tensor:
    """Set a share `rate` of the values to zero; `seed` is int32 (2,). The rest is not scaled here.

    What dropout costs is drawing, so each drawn number of 32 bits decides on four values, a byte each. The threshold for
    bytes, rate · 256, is rounded up or down at random, so that the rate is met on average (and is 255/256 at most).
    """
    count = tf.size(x)
    # Of int32, TensorFlow would bring all numbers from a GPU to the host to take the last one.
    drawn = tf.random.stateless_uniform([(count + 3) // 4 + 1], seed, minval=None, maxval=None, dtype=tf.uint32)
    last = tf.bitcast(drawn[-1], tf.int32)
    threshold = tf.minimum(tf.floor(rate * 256 + tf.cast(last, tf.float32) / 2**32 + 0.5), 255)
    values = tf.reshape(tf.bitcast(drawn, tf.uint8), [-1])[:count]
    keep = tf.reshape(values >= tf.cast(threshold, tf.uint8), tf.shape(x))

    def thin_out(values):
        return values * tf.cast(keep, values.dtype)

    @tf.custom_gradient
    def with_gradient(values):  # so that bytes are kept for the way back, not numbers
        return thin_out(values), thin_out

    return with_gradient(x)
