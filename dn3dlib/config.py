"""The kit's parameters: four frozen dataclasses that check themselves, and their JSON form.

Each field's comment says its effect. A wrong value or name raises a ConfigError in one sentence.
"""

import dataclasses
import difflib
import json
import sys
from dataclasses import dataclass

from dn3dlib.errors import ConfigError

NORMALISATIONS = ("none", "divide_255", "divide_256", "std", "std_frame", "motion")
FOLLOWS = ("none", "motion")
CONTROLS = ("shuffled", "reversed", "frozen")  # orders of a clip's frames that leave the pictures and take or turn the motion


def _check_types(config) -> None:
    """Raise a ConfigError for the first field whose value has the wrong type."""
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        wanted = field.type if isinstance(field.type, type) else type(field.default)
        right = isinstance(value, int | float) if wanted is float else isinstance(value, wanted)
        if not right or (isinstance(value, bool) and wanted is not bool):
            raise ConfigError(f"{config.prefix}.{field.name} is {value!r}, but must be of type {wanted.__name__}.")
        if wanted is float and not -sys.float_info.max <= value <= sys.float_info.max:  # NaN too
            raise ConfigError(f"{config.prefix}.{field.name} is {value!r}, but must be a finite number.")


def _check(config, rules: dict[str, tuple[bool, str]]) -> None:
    """Raise a ConfigError for the first field whose value breaks its rule."""
    for name, (holds, wanted) in rules.items():
        if not holds:
            raise ConfigError(f"{config.prefix}.{name} is {getattr(config, name)!r}, but must be {wanted}.")


def _one_of(value, choices) -> tuple[bool, str]:
    return value in choices, "one of " + ", ".join(choices)


def _is_region(region: tuple) -> bool:
    if not region:
        return True
    if len(region) != 4 or any(isinstance(n, bool) or not isinstance(n, int | float) for n in region):
        return False
    left, top, right, bottom = region
    in_order = 0 <= left < right and 0 <= top < bottom  # not so with NaN
    return in_order and (max(region) <= 1 or all(isinstance(n, int) for n in region))


@dataclass(frozen=True)
class StorageConfig:
    """How frames are stored; fixed when a data set is prepared."""

    prefix = "storage"
    height: int = 64  # pixels
    width: int = 64  # pixels
    channels: int = 1  # 1: grey, 3: RGB
    fit: str = "stretch"  # how another aspect ratio is fitted: stretch, crop the centre, or pad with black
    encoding: str = "jpeg"  # jpeg: small; png: lossless
    quality: int = 95  # of jpeg, 1 to 100
    short_side: int = 0  # pixels; instead of height and width: the longer side follows the first video's aspect ratio
    follow: str = "none"  # none, or motion: a box of the stored aspect ratio that follows who moves, the whole picture where nobody does
    region: tuple = ()  # part of the video that is kept: left, top, right, bottom, in pixels, or as shares up to 1

    def __post_init__(self):
        if not isinstance(self.region, tuple):  # JSON has lists
            object.__setattr__(self, "region", tuple(self.region) if isinstance(self.region, list) else (self.region,))
        _check_types(self)
        _check(
            self,
            {
                "height": (8 <= self.height <= 4096, "from 8 to 4096"),
                "width": (8 <= self.width <= 4096, "from 8 to 4096"),
                "channels": (self.channels in (1, 3), "1 (grey) or 3 (RGB)"),
                "fit": _one_of(self.fit, ("stretch", "crop", "pad")),
                "encoding": _one_of(self.encoding, ("jpeg", "png")),
                "quality": (1 <= self.quality <= 100, "from 1 to 100"),
                "short_side": (self.short_side == 0 or 8 <= self.short_side <= 4096, "0 (off), or from 8 to 4096"),
                "follow": _one_of(self.follow, FOLLOWS),
                "region": (_is_region(self.region), "empty or left, top, right, bottom, as in [40,0,600,400] or [0.1,0,0.9,1]"),
            },
        )

    def for_frame(self, height: int, width: int) -> "StorageConfig":
        """The config with `short_side` turned into height and width, for frames (their `region`) of `height` × `width`."""
        if not self.short_side:
            return self
        scale = self.short_side / min(height, width)
        return dataclasses.replace(self, height=round(height * scale), width=round(width * scale), short_side=0)

    @property
    def frame_shape(self) -> tuple[int, int, int]:
        """(height, width, channels) of a stored frame."""
        return self.height, self.width, self.channels


@dataclass(frozen=True)
class ClipConfig:
    """How clips are cut from sequences and turned into the network's input. Taught in notebook 01."""

    prefix = "clip"
    frames: int = 16  # frames of a clip
    stride: int = 1  # frames between two sampled frames
    extra_stride: int = 0  # training draws the stride of each clip from stride … stride + extra_stride
    hop: int = 8  # frames between the starts of two evaluation clips of a sequence
    clips_per_sequence: int = 1  # training clips drawn from each sequence in an epoch
    padding: str = "loop"  # a sequence shorter than a clip starts again (loop) or stands still (hold)
    normalisation: str = "std_frame"  # none, divide_255, divide_256, std (per clip), std_frame (per frame: the thesis), motion (std, less what stands still)
    crop: int = 0  # augmentation: shift the picture by up to this many pixels
    flip: bool = False  # augmentation: mirror every second clip, left to right
    flip_despite_sides: bool = False  # flip also where two classes differ by left and right alone
    brightness: float = 0.0  # augmentation: add up to this share of full white, or take it away
    scale: float = 0.0  # augmentation: zoom in or out, by a factor from 1 / (1 + scale) to 1 + scale
    speed: float = 0.0  # augmentation: play faster or slower, by a factor from 1 / (1 + speed) to 1 + speed
    frame_order: str = "forward"  # forward, or a control: shuffled, reversed, frozen (the middle frame throughout)

    def __post_init__(self):
        _check_types(self)
        _check(
            self,
            {
                "frames": (1 <= self.frames <= 1024, "from 1 to 1024"),
                "stride": (1 <= self.stride <= 100, "from 1 to 100"),
                "extra_stride": (0 <= self.extra_stride <= 100, "from 0 to 100"),
                "hop": (1 <= self.hop <= self.span, f"from 1 to {self.span}, the frames that a clip spans, or some are skipped"),
                "clips_per_sequence": (1 <= self.clips_per_sequence <= 10_000, "from 1 to 10000"),
                "padding": _one_of(self.padding, ("loop", "hold")),
                "normalisation": _one_of(self.normalisation, NORMALISATIONS),
                "crop": (0 <= self.crop <= 1024, "from 0 to 1024"),
                "brightness": (0 <= self.brightness <= 1, "from 0 to 1"),
                "scale": (0 <= self.scale <= 1, "from 0 to 1"),
                "speed": (0 <= self.speed <= 1, "from 0 to 1"),
                "frame_order": _one_of(self.frame_order, ("forward", *CONTROLS)),
            },
        )

    @property
    def span(self) -> int:
        """Frames of a sequence from a clip's first to its last, both included."""
        return (self.frames - 1) * self.stride + 1


@dataclass(frozen=True)
class ModelConfig:
    """A 3D-DenseNet of the thesis (chapter 4) or a sibling of it. Taught in notebook 02."""

    prefix = "model"
    variant: str = "lite"  # the stem: general (3×3×3, full resolution) or lite (7×7×7, a quarter of the resolution)
    bottleneck: bool = True  # BC: a 1×1×1 convolution before each 3×3×3, and transitions that compress
    growth_rate: int = 12  # k, the feature maps that each dense layer adds
    depth: int = 20  # layers with weights, before rounding down to whole blocks
    blocks: int = 3  # dense blocks
    compression: float = 0.5  # channels that a transition keeps, as a share; without bottleneck always 1
    dropout: float = 0.0  # share of feature maps' values set to zero after each convolution in training
    bn_momentum: float = 0.9  # share of the running mean and variance that stays at each step
    bn_epsilon: float = 1e-3  # added to the variance before the square root

    def __post_init__(self):
        _check_types(self)
        _check(
            self,
            {
                "variant": _one_of(self.variant, ("general", "lite")),
                "growth_rate": (1 <= self.growth_rate <= 1024, "from 1 to 1024"),
                "depth": (1 <= self.depth <= 1000, "from 1 to 1000"),
                "blocks": (1 <= self.blocks <= 16, "from 1 to 16"),
                "compression": (0 < self.compression <= 1, "above 0 and at most 1"),
                "dropout": (0 <= self.dropout < 1, "from 0 to below 1"),
                "bn_momentum": (0 <= self.bn_momentum < 1, "from 0 to below 1"),
                "bn_epsilon": (self.bn_epsilon > 0, "above 0"),
            },
        )
        per_layer = 2 if self.bottleneck else 1
        least = self.blocks * per_layer + self.blocks + 1
        if self.layers_per_block < 1:
            raise ConfigError(
                f"model.depth={self.depth} leaves no layer for {self.blocks} blocks "
                f"{'with' if self.bottleneck else 'without'} bottleneck: set model.depth to {least} or more, or model.blocks to fewer."
            )

    @property
    def layers_per_block(self) -> int:
        """Dense layers of each block: (depth − blocks − 1) // blocks, halved with bottleneck, both rounded down."""
        layers = (self.depth - self.blocks - 1) // self.blocks
        return layers // 2 if self.bottleneck else layers

    @property
    def true_depth(self) -> int:
        """Layers with weights that are really built: the rounding can make it less than `depth`."""
        return 1 + self.blocks * self.layers_per_block * (2 if self.bottleneck else 1) + (self.blocks - 1) + 1


@dataclass(frozen=True)
class TrainConfig:
    """How a network is trained. Taught in notebook 02."""

    prefix = "train"
    epochs: int = 10  # times that every training sequence is visited
    batch_size: int = 8  # clips of a step, of all replicas together
    seed: int = 0  # of the weights, the order of clips, their starts, augmentation and dropout
    learning_rate: float = 0.1  # at the start (cosine: at the end of the warm-up)
    scale_learning_rate: str = "none"  # linear: learning_rate is that of one replica's share, times the replicas (Goyal et al. 2017); the run notes the product
    schedule: str = "cosine"  # step: ÷ 10 at half and at three quarters; exponential: ÷ 10 every decay_steps; cosine: to 0
    decay_steps: int = 5000  # of schedule exponential, in steps
    warmup: float = 0.05  # of schedule cosine: share of all steps in which the rate rises from 0
    momentum: float = 0.9  # of SGD
    nesterov: bool = True  # look ahead along the momentum (the thesis)
    weight_decay: float = 1e-4  # factor of ½‖w‖² in the loss
    weight_decay_on: str = "kernels"  # all (the thesis: batch normalisation and biases too) or kernels
    precision: str = "float32"  # of convolutions and maps in training: float32, bfloat16, float16 (GPU), auto: the fastest here
    recompute: bool = False  # keep less for the way back and compute it again: deeper networks and larger batches fit, slower
    checkpoint_seconds: float = 60.0  # between two checkpoints inside an epoch; 0: one at the end of each epoch only
    sync_batch_norm: bool = False  # batch statistics over the clips of all replicas, as one device would have them; else over each replica's own
    class_weights: str = "none"  # balanced: rare classes weigh more in the loss, so that all classes together weigh the same
    freeze: str = "none"  # layers that keep the weights of --init-from: none, stem, block1, block2 … (up to and with it), body (all but the logits)
    cache: str = "auto"  # decoded frames: disk (read for each clip), memory (held), auto: memory if a quarter of the free holds them

    def __post_init__(self):
        _check_types(self)
        _check(
            self,
            {
                "epochs": (1 <= self.epochs <= 100_000, "from 1 to 100000"),
                "batch_size": (1 <= self.batch_size <= 4096, "from 1 to 4096"),
                "seed": (0 <= self.seed < 2**31, "from 0 to 2147483647"),
                "learning_rate": (self.learning_rate > 0, "above 0"),
                "scale_learning_rate": _one_of(self.scale_learning_rate, ("none", "linear")),
                "schedule": _one_of(self.schedule, ("step", "exponential", "cosine")),
                "decay_steps": (self.decay_steps >= 1, "at least 1"),
                "warmup": (0 <= self.warmup < 1, "from 0 to below 1"),
                "momentum": (0 <= self.momentum < 1, "from 0 to below 1"),
                "nesterov": (self.momentum > 0 or not self.nesterov, "false where train.momentum is 0"),
                "weight_decay": (self.weight_decay >= 0, "at least 0"),
                "weight_decay_on": _one_of(self.weight_decay_on, ("all", "kernels")),
                "precision": _one_of(self.precision, ("float32", "bfloat16", "float16", "auto")),
                "checkpoint_seconds": (self.checkpoint_seconds >= 0, "at least 0"),
                "class_weights": _one_of(self.class_weights, ("none", "balanced")),
                "cache": _one_of(self.cache, ("auto", "memory", "disk")),
            },
        )


CONFIG_CLASSES = {cls.prefix: cls for cls in (StorageConfig, ClipConfig, ModelConfig, TrainConfig)}


def nearest(name: str, names) -> str:
    """The end of an error sentence: the nearest right name, or all of them."""
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return f"did you mean {close[0]}?" if close else "there are: " + ", ".join(names) + "."


def from_dict(cls, values: dict):
    """A config of class `cls` from a dict as read from JSON; raises ConfigError for an unknown name or bad value."""
    if not isinstance(values, dict):
        raise ConfigError(f"The {cls.prefix} settings are {type(values).__name__}, but must be an object of names and values.")
    names = [field.name for field in dataclasses.fields(cls)]
    for name in values:
        if name not in names:
            raise ConfigError(f"There is no parameter {cls.prefix}.{name}: {nearest(name, names)}")
    return cls(**values)


def to_dict(config) -> dict:
    """The fields of a config, ready for JSON."""
    return dataclasses.asdict(config)


def apply_settings(configs: dict, settings: list[str]) -> dict:
    """Configs by prefix, with settings such as `model.depth=40` applied.

    Args:
        configs: prefix ("storage", "clip", "model", "train") → config.
        settings: texts `prefix.name=value`; the value is read as JSON, or as text where it is none.

    Raises:
        ConfigError: an unknown prefix or name (the nearest right one is suggested), or an impossible value.
    """
    changes: dict[str, dict] = {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        prefix, dot, field = name.strip().partition(".")
        if not equals or not dot:
            raise ConfigError(f"The setting {setting!r} does not read like model.depth=40: prefix, point, name, equals sign, value.")
        if prefix not in configs:
            raise ConfigError(f"There are no settings {prefix!r} here ({setting}): {nearest(prefix, configs)}")
        try:
            value = json.loads(text.lower() if text in ("True", "False") else text)
        except ValueError:  # no JSON, or a number of thousands of digits
            value = text
        changes.setdefault(prefix, {})[field] = value
    return {
        prefix: from_dict(type(config), to_dict(config) | changes.get(prefix, {})) for prefix, config in configs.items()
    }
