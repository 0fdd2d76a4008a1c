"""The three formats in which a network leaves the kit: how each is written, opened again, and used without the kit.

All take clips as they are decoded, uint8 (clips, frames, height, width, channels), and give probabilities float32 (clips, classes);
what there is to know besides lies as JSON in the file itself. LiteRT takes one clip at a time.
"""

import importlib.util
import json
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib import resources
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from dn3dlib.config import nearest
from dn3dlib.data.clips import normalise
from dn3dlib.deploy.flat import flat_function
from dn3dlib.errors import ConfigError, Dn3dError
from dn3dlib.files import write_bytes

ABOUT = "dn3d"  # the name under which the JSON lies in a file
PRECISIONS = ("float32", "float16", "int8")
Predict = Callable[[np.ndarray], np.ndarray]  # clips uint8 → probabilities float32


@dataclass(frozen=True)
class Source:
    """What is exported."""

    network: keras.Model  # of `build_model`
    normalisation: str  # of ClipConfig
    about: dict  # what goes along, ready for JSON
    calibration: np.ndarray | None = None  # clips, uint8, whose maps say how wide the numbers of int8 must reach

    @property
    def clip_shape(self) -> tuple[int, ...]:
        """(frames, height, width, channels)"""
        return self.network.input_shape[1:]

    def probabilities(self, clips: tf.Tensor) -> tf.Tensor:
        """The whole way from pixels uint8 (clips, frames, height, width, channels) to probabilities float32 (clips, classes)."""
        pixels = normalise(tf.cast(clips, tf.float32), self.normalisation)
        return tf.nn.softmax(self.network(pixels, training=False))


@dataclass(frozen=True)
class Format:
    """One format, in one precision."""

    kind: str  # as `dn3d export --to` names it
    precision: str
    name: str  # of the file or folder
    packages: tuple[str, ...]  # of the extra [export], as they are imported
    write: Callable[[Source, Path], None]
    open: Callable[[Path], Predict]

    @property
    def program_name(self) -> str:
        """Of the file with the program that uses it."""
        return f"use_{self.kind}_{self.precision}.py" if self.kind == "litert" else f"use_{self.kind}.py"

    def program(self, clip_shape: tuple[int, ...]) -> str:
        """A program in Python that uses the file without the kit."""
        text = resources.files("dn3dlib.deploy").joinpath(f"use_{self.kind}.txt").read_text(encoding="utf-8")
        return text.replace("NETWORK", self.name).replace("PROGRAM", self.program_name).replace("SHAPE", str(("clips", *clip_shape)).replace("'", ""))


def chosen_formats(to: list[str], precisions: list[str]) -> list[Format]:
    """The formats that `dn3d export --to … --precision …` asks for; a precision other than float32 is LiteRT's alone.

    Raises:
        ConfigError: no such format or precision, or a precision that the formats do not have.
        Dn3dError: a package of the extra [export] is not installed.
    """
    for name in to:
        if name not in NAMES:
            raise ConfigError(f"There is no format {name!r}: {nearest(name, NAMES)}")
    for name in precisions:
        if name not in PRECISIONS:
            raise ConfigError(f"There is no precision {name!r}: {nearest(name, PRECISIONS)}")
    if "litert" not in to and set(precisions) - {"float32"}:
        raise ConfigError(f"--precision {', '.join(precisions)} is for --to litert; {', '.join(to)} is written in float32: leave it out.")
    keys = [key for name in dict.fromkeys(to) for key in ([f"litert-{p}" for p in dict.fromkeys(precisions)] if name == "litert" else [name])]
    chosen = [FORMATS[key] for key in keys]
    for form in chosen:
        for package in form.packages:
            _check_installed(package)
    return chosen


def in_tensorflow(source: Source) -> Predict:
    """The network as TensorFlow runs it here, against which an exported one is held."""
    run = tf.function(source.probabilities, input_signature=[tf.TensorSpec((None, *source.clip_shape), tf.uint8)], autograph=False)
    return lambda clips: run(clips).numpy()


def _check_installed(package: str) -> None:
    if importlib.util.find_spec(package) is None:
        raise Dn3dError(
            f'The package {package} is not installed: pip install "dn3d[export]" (in a checkout: -e ".[export]"), or export --to savedmodel.'
        )


class _Saved(tf.Module):
    """What is written as a SavedModel: called with clips it gives probabilities, `about()` gives the JSON."""

    def __init__(self, source: Source):
        super().__init__()
        self.network = source.network  # so that its variables are found
        spec = tf.TensorSpec((None, *source.clip_shape), tf.uint8, name="clips")
        self.__call__ = tf.function(source.probabilities, input_signature=[spec], autograph=False)
        self.about = tf.function(lambda: tf.constant(json.dumps(source.about)), input_signature=[], autograph=False)


def _write_savedmodel(source: Source, path: Path) -> None:
    saved = _Saved(source)
    named = tf.function(lambda clips: {"probabilities": saved.__call__(clips)}, input_signature=saved.__call__.input_signature, autograph=False)
    about = tf.function(lambda: {ABOUT: saved.about()}, input_signature=[], autograph=False)
    tf.saved_model.save(saved, str(path), signatures={"serving_default": named, "about": about})


def _open_savedmodel(path: Path) -> Predict:
    network = tf.saved_model.load(str(path))
    return lambda clips: network(clips).numpy()


class _Complete(keras.Model):
    """The network from pixels to probabilities, in the form that Keras exports."""

    def __init__(self, source: Source):
        super().__init__(name="complete")
        self.network, self.source = source.network, source

    def call(self, clips):
        return {"probabilities": self.source.probabilities(clips)}


def _write_onnx(source: Source, path: Path) -> None:
    import onnx

    spec = tf.TensorSpec((None, *source.clip_shape), tf.uint8, name="clips")
    complete = _Complete(source)
    complete(np.zeros((1, *source.clip_shape), np.uint8))  # Keras exports what has been called
    complete.export(str(path), format="onnx", input_signature=[spec], verbose=False)
    model = onnx.load(path)
    onnx.helper.set_model_props(model, {ABOUT: json.dumps(source.about)})
    onnx.checker.check_model(model)
    write_bytes(path, model.SerializeToString())


def _open_onnx(path: Path) -> Predict:
    import onnxruntime

    network = onnxruntime.InferenceSession(path)
    return lambda clips: network.run(["probabilities"], {"clips": clips})[0]


def _write_litert(precision: str, source: Source, path: Path) -> None:
    """A flat buffer; behind it, as is the custom for files that go along with a model, a ZIP archive."""
    flat = flat_function(source.network)

    @tf.function(input_signature=[tf.TensorSpec((1, *source.clip_shape), tf.uint8, name="clips")], autograph=False)
    def network(clips):
        return {"probabilities": tf.nn.softmax(flat(normalise(tf.cast(clips[0], tf.float32), source.normalisation)))}

    converter = tf.lite.TFLiteConverter.from_concrete_functions([network.get_concrete_function()], tf.Module())
    if precision != "float32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if precision == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if precision == "int8":
        converter.representative_dataset = lambda: ({"clips": clip[None]} for clip in source.calibration)
    path.write_bytes(converter.convert())
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(zipfile.ZipInfo(f"{ABOUT}.json", (1980, 1, 1, 0, 0, 0)), json.dumps(source.about))


def _open_litert(path: Path) -> Predict:
    from ai_edge_litert.interpreter import Interpreter

    network = Interpreter(str(path)).get_signature_runner()
    return lambda clips: np.concatenate([network(clips=clip[None])["probabilities"] for clip in clips])


FORMATS = {
    "savedmodel": Format("savedmodel", "float32", "savedmodel", (), _write_savedmodel, _open_savedmodel),
    "onnx": Format("onnx", "float32", "network.onnx", ("onnx", "tf2onnx", "onnxruntime"), _write_onnx, _open_onnx),
    **{
        f"litert-{precision}": Format("litert", precision, f"network-{precision}.tflite", ("ai_edge_litert",), partial(_write_litert, precision), _open_litert)
        for precision in PRECISIONS
    },
}
NAMES = tuple(dict.fromkeys(form.kind for form in FORMATS.values()))
