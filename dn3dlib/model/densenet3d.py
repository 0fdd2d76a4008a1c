"""3D-DenseNet and 3D-DenseNet-BC (Gu 2017, chapter 4; Huang et al. 2017, section 3), in stock Keras layers only.

What is built here is what is saved and exported: `keras.models.load_model` reads it back without this package.
"""

import keras

from dn3dlib.config import ModelConfig
from dn3dlib.errors import ConfigError


def build_model(config: ModelConfig, clip_shape: tuple[int, int, int, int], num_classes: int) -> keras.Model:
    """Build the network that maps clips to class logits. Taught in notebook 02.

    Args:
        config: variant, depth, growth rate and the rest.
        clip_shape: (frames, height, width, channels) of a clip, without the batch.
        num_classes: classes, at least 2.

    Returns:
        A keras.Model: float32 (batch, frames, height, width, channels) → float32 logits (batch, num_classes). Layers
        stand in network order.

    Raises:
        ConfigError: the clip would be pooled to nothing, or a number is impossible.

    Source: Gu 2017, sections 4.1 to 4.3; the shape of each part is the table of the thesis's own code.
    """
    clips, logits = lay_out(keras.layers, config, clip_shape, num_classes)
    return keras.Model(clips, logits, name=f"densenet3d_{config.variant}{'_bc' if config.bottleneck else ''}")


def lay_out(layers, config: ModelConfig, clip_shape: tuple[int, int, int, int], num_classes: int) -> tuple:
    """Lay out the network from its input to its logits, and give both.

    Args:
        layers: `keras.layers`, or what makes layers of the same names and writes them down (`sketch.Sketch`).
        config, clip_shape, num_classes: as of `build_model`.

    Raises:
        ConfigError: as `build_model` does.
    """
    _check_shape(config, clip_shape, num_classes)
    clips = layers.Input(shape=clip_shape, name="clips")
    x = _stem(layers, clips, config)
    for block in range(1, config.blocks + 1):
        for layer in range(1, config.layers_per_block + 1):
            x = _dense_layer(layers, x, config, name=f"block{block}_layer{layer}")
        if block < config.blocks:
            x = _transition(layers, x, config, block)
    x = _batch_norm(layers, x, config, "head_bn")
    x = layers.ReLU(name="head_relu")(x)
    x = layers.GlobalAveragePooling3D(name="head_pool")(x)
    return clips, layers.Dense(num_classes, kernel_initializer="glorot_uniform", dtype="float32", name="logits")(x)


def _stem(layers, x, config: ModelConfig):
    """The first convolution, 2k filters: general keeps the resolution, lite leaves a quarter of it in y and x."""
    if config.variant == "general":
        return _conv(layers, x, 2 * config.growth_rate, 3, name="stem_conv")
    x = _conv(layers, x, 2 * config.growth_rate, 7, strides=(1, 2, 2), name="stem_conv")
    return layers.AveragePooling3D(3, strides=(1, 2, 2), padding="same", name="stem_pool")(x)


def _dense_layer(layers, x, config: ModelConfig, name: str):
    """concat(x, H(x)): k new maps from all maps before them, with bottleneck by way of 4k maps."""
    new = x
    if config.bottleneck:
        new = _composite(layers, new, config, 4 * config.growth_rate, 1, f"{name}_bottleneck")
    new = _composite(layers, new, config, config.growth_rate, 3, name)
    return layers.Concatenate(name=f"{name}_concat")([x, new])


def _transition(layers, x, config: ModelConfig, block: int):
    """Between two blocks: compress the channels, pool the volume."""
    kept = int(x.shape[-1] * config.compression) if config.bottleneck else x.shape[-1]
    x = _composite(layers, x, config, kept, 1, f"transition{block}")
    pool, padding = _transition_pool(config, block)
    return layers.AveragePooling3D(pool, strides=pool, padding=padding, name=f"transition{block}_pool")(x)


def _transition_pool(config: ModelConfig, block: int) -> tuple[tuple[int, int, int], str]:
    if config.variant == "lite":
        return (2, 2, 2), "same"
    return ((1, 2, 2) if block == 1 else (2, 2, 2)), "valid"  # the first keeps all frames


def _composite(layers, x, config: ModelConfig, filters: int, size: int, name: str):
    """H(filters, size): batch normalisation, ReLU, convolution, dropout (Huang et al. 2017, "Composite function")."""
    x = _batch_norm(layers, x, config, f"{name}_bn")
    x = layers.ReLU(name=f"{name}_relu")(x)
    x = _conv(layers, x, filters, size, name=f"{name}_conv")
    return layers.Dropout(config.dropout, name=f"{name}_dropout")(x) if config.dropout else x


def _batch_norm(layers, x, config: ModelConfig, name: str):
    return layers.BatchNormalization(momentum=config.bn_momentum, epsilon=config.bn_epsilon, name=name)(x)


def _conv(layers, x, filters: int, size: int, name: str, strides=1):
    return layers.Conv3D(
        filters, size, strides=strides, padding="same", use_bias=False, kernel_initializer="he_normal", name=name
    )(x)


def _check_shape(config: ModelConfig, clip_shape, num_classes: int) -> None:
    """Refuse what cannot be built, naming the number to change and to what."""
    if len(clip_shape) != 4 or any(not isinstance(n, int) or n < 1 for n in clip_shape):
        raise ConfigError(f"A clip's shape is (frames, height, width, channels), each at least 1, not {tuple(clip_shape)}.")
    if not isinstance(num_classes, int) or num_classes < 2:
        raise ConfigError(f"A network needs at least 2 classes to tell apart, not {num_classes}: add a class to the data set.")
    channels = 2 * config.growth_rate
    least = [1, 1, 1]  # frames, height, width that survive every pooling
    for block in range(1, config.blocks):
        channels += config.layers_per_block * config.growth_rate
        channels = int(channels * config.compression) if config.bottleneck else channels
        if channels < 1:
            raise ConfigError(
                f"model.compression={config.compression} leaves no channel after block {block}: raise it, or model.growth_rate."
            )
        pool, padding = _transition_pool(config, block)
        if padding == "valid":
            least = [size * factor for size, factor in zip(least, pool, strict=True)]
    names = ("clip.frames", "storage.height", "storage.width")
    for name, size, needed in zip(names, clip_shape, least, strict=False):
        if size < needed:
            raise ConfigError(
                f"{name}={size} is pooled to nothing in {config.blocks} blocks of the general network: "
                f"set {name} to {needed} or more, or model.blocks to fewer."
            )
