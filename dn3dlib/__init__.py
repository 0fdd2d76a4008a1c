"""dn3d: video action recognition with 3D-DenseNet and 3D-DenseNet-BC, to learn from and to work with.

Names are loaded on first use (PEP 562), so that `import dn3dlib` and `dn3d --help` do not wait for TensorFlow.
"""

from importlib import import_module

__version__ = "0.1.0"

_HOMES = {
    "Dn3dError": "dn3dlib.errors",
    "StorageConfig": "dn3dlib.config",
    "ClipConfig": "dn3dlib.config",
    "ModelConfig": "dn3dlib.config",
    "TrainConfig": "dn3dlib.config",
    "PRESETS": "dn3dlib.presets",
    "Catalog": "dn3dlib.data.catalog",
    "DataSet": "dn3dlib.data.manifest",
    "build_model": "dn3dlib.model.densenet3d",
    "sketch_model": "dn3dlib.model.sketch",
}

__all__ = ["__version__", *_HOMES]


def __getattr__(name: str):
    if name not in _HOMES:
        raise AttributeError(f"module 'dn3dlib' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
