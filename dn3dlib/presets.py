"""Presets: storage, clip, model and training that fit together, under one name."""

from dataclasses import dataclass, field

from dn3dlib.config import ClipConfig, ModelConfig, StorageConfig, TrainConfig, apply_settings, nearest
from dn3dlib.errors import ConfigError


@dataclass(frozen=True)
class Preset:
    """Four configs that fit together, with where they come from."""

    name: str
    about: str
    storage: StorageConfig
    clip: ClipConfig
    model: ModelConfig
    train: TrainConfig
    parameters: int  # of the network for six classes
    published: str = ""  # accuracy as published, where there is one
    protocol: str = field(default="by-subject")  # that the published figure, or the preset's own, stands on

    @property
    def configs(self) -> dict:
        """Prefix → config, as `config.apply_settings` takes them."""
        return {"storage": self.storage, "clip": self.clip, "model": self.model, "train": self.train}


def _quick() -> Preset:
    """Minutes on two cores: what the notebooks use."""
    return Preset(
        name="quick",
        about="minutes on a laptop: lite BC, k 12, depth 20, on 16 grey frames of 64×64",
        storage=StorageConfig(height=64, width=64, channels=1),
        clip=ClipConfig(frames=16, hop=8, clips_per_sequence=4, normalisation="std_frame", crop=4, flip=True, brightness=0.1),
        model=ModelConfig(variant="lite", bottleneck=True, growth_rate=12, depth=20, bn_momentum=0.9),
        # BN momentum 0.9: a run of some hundred steps must leave the start values of mean and variance behind.
        train=TrainConfig(epochs=8, batch_size=16, learning_rate=0.1, schedule="cosine"),
        parameters=114_006,
    )


def _small_data() -> Preset:
    """Some tens of short videos of few people: what counts is what holds for people who are not among them."""
    return Preset(
        name="small-data",
        about="some tens of short videos, camera fixed: lite BC, k 12, depth 20, on 16 grey frames of 64×80",
        storage=StorageConfig(height=64, width=80, channels=1),
        # `motion` takes away rooms and clothes, which a few people would teach by heart; every second frame shows more of an
        # action; zoom and tempo differ between people as crops and flips do.
        clip=ClipConfig(
            frames=16, stride=2, hop=8, clips_per_sequence=4, normalisation="motion", crop=4, flip=True, scale=0.15, speed=0.25,
        ),
        model=ModelConfig(variant="lite", bottleneck=True, growth_rate=12, depth=20, bn_momentum=0.9),
        train=TrainConfig(epochs=20, batch_size=8, learning_rate=0.1, schedule="cosine"),
        parameters=114_006,
    )


def _original() -> Preset:
    """The published repository's default, its network built with all its layers."""
    return Preset(
        name="original",
        about="the 2018 repository's default: lite BC, k 12, depth 20, on 16 RGB frames of 100×120",
        storage=StorageConfig(height=100, width=120, channels=3),
        clip=ClipConfig(frames=16, hop=10, clips_per_sequence=12, normalisation="none"),
        model=ModelConfig(variant="lite", growth_rate=12, depth=20, dropout=0.1, bn_momentum=0.99),
        train=TrainConfig(
            epochs=10, batch_size=20, learning_rate=0.1, schedule="exponential", decay_steps=5000,
            weight_decay=1e-4, weight_decay_on="all",
        ),
        parameters=130_470,
    )


# row: (variant, bottleneck, growth rate, depth, parameters, frames, height, width, batch, data set, accuracy)
_THESIS_ROWS = {
    1: ("general", False, 12, 20, 559_950, 16, 100, 100, 10, "MERL", 75.54),
    2: ("general", True, 12, 20, 107_718, 16, 100, 100, 10, "MERL", 75.59),
    3: ("general", True, 12, 20, 107_718, 16, 128, 64, 10, "KTH", 87.01),
    4: ("general", True, 12, 40, 363_510, 16, 64, 64, 10, "MERL", 76.98),
    5: ("general", True, 24, 20, 423_942, 16, 100, 100, 10, "MERL", 77.32),
    6: ("general", True, 24, 30, 901_542, 32, 128, 64, 4, "KTH", 90.56),
    7: ("general", True, 24, 30, 901_542, 16, 128, 64, 8, "KTH", 89.59),
    8: ("general", True, 24, 40, 1_438_374, 16, 64, 64, 8, "MERL", 78.22),
    9: ("lite", True, 12, 20, 130_470, 16, 128, 128, 10, "MERL", 70.46),
    10: ("lite", True, 24, 40, 1_483_878, 16, 128, 128, 10, "MERL", 73.31),
    11: ("lite", True, 24, 40, 1_483_878, 32, 128, 256, 10, "MERL", 84.32),
    12: ("lite", True, 24, 40, 1_483_878, 16, 256, 256, 10, "MERL", 78.35),
    13: ("lite", True, 24, 40, 1_483_878, 16, 188, 288, 10, "MERL", 78.63),
    14: ("lite", True, 24, 40, 1_483_878, 16, 256, 400, 6, "MERL", 79.91),
    15: ("lite", True, 24, 100, 5_056_518, 16, 128, 128, 10, "MERL", 72.50),
}


def _thesis(row: int) -> Preset:
    """A row of the thesis's results: trained 70 to 100 epochs with the step schedule."""
    variant, bottleneck, growth_rate, depth, parameters, frames, height, width, batch, data, accuracy = _THESIS_ROWS[row]
    kind = f"{variant}{' BC' if bottleneck else ''}, k {growth_rate}, depth {depth}"
    return Preset(
        name=f"thesis-{row}",
        about=f"thesis, row {row}: {kind}, on {frames} RGB frames of {height}×{width} of {data}",
        storage=StorageConfig(height=height, width=width, channels=3),
        # The thesis cut a clip every 10 frames: some 12 clips of a KTH sequence, which the annotation makes about 4 to 12.
        clip=ClipConfig(frames=frames, hop=10, clips_per_sequence=12 if data == "KTH" else 4, normalisation="std_frame"),
        # The original's BN decay, 0.999, needs thousands of steps to forget its start values; 0.99 some hundreds.
        model=ModelConfig(variant=variant, bottleneck=bottleneck, growth_rate=growth_rate, depth=depth, bn_momentum=0.99),
        train=TrainConfig(epochs=100, batch_size=batch, learning_rate=0.1, schedule="step", weight_decay=1e-4, weight_decay_on="all"),
        parameters=parameters,
        published=f"{data} {accuracy:.2f} %",
        protocol="gu2017" if data == "KTH" else "singh2016",
    )


PRESETS = {preset.name: preset for preset in (_quick(), _small_data(), _original(), *map(_thesis, _THESIS_ROWS))}


def find_preset(name: str) -> Preset:
    """The preset of that name; raises ConfigError with the nearest right name."""
    if name not in PRESETS:
        raise ConfigError(f"There is no preset {name!r}: {nearest(name, PRESETS)}")
    return PRESETS[name]


def chosen_configs(data, preset: str | None, given: list[str]) -> tuple[Preset, dict]:
    """The preset (None: quick) and its clip, model and train configs with the given settings, for an opened data set that must fit it."""
    chosen = find_preset(preset or "quick")
    if preset:
        _check_storage_fits(chosen, data)
    return chosen, apply_settings({name: chosen.configs[name] for name in ("clip", "model", "train")}, given)


def _check_storage_fits(preset: Preset, data) -> None:
    """Raise ConfigError where a data set was prepared in another size than a preset wants, with the command that fits."""
    if data.storage.frame_shape != preset.storage.frame_shape:
        raise ConfigError(
            f"The preset {preset.name} wants frames of {preset.storage.frame_shape} (height, width, channels), but {data.path} holds "
            f"{data.storage.frame_shape}. This, with whatever other options it was prepared with, makes one that fits: dn3d prepare --dataset {data.dataset} --source … "
            f"--protocol {data.protocol} --preset {preset.name} --out …"
        )
