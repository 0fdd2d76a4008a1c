"""The ten defects of the published original, each rebuilt small: wrong on purpose, for notebook 06, which hunts them.

Source: github.com/frankgu/3d-DenseNet, commit ce113ed. The lines are written anew for today's libraries; what is wrong in
them is what was wrong there. Nothing else in the kit calls them.
"""

import io
import itertools
import os
from collections.abc import Callable
from pathlib import Path

import cv2
import keras
import numpy as np
import tensorflow as tf
from PIL import Image


def dense_block(x, layers: int, add_layer: Callable):
    """Defect 1: however many `layers`, one is added; `add_layer(x, number)` gives the maps with one layer more. Taught in notebook 06."""
    for number in range(1, layers + 1):
        x = add_layer(x, number)
        return x


def predict(network: keras.Model, clips: np.ndarray) -> np.ndarray:
    """Defect 2: logits, float32 (clips, classes), of a network that still trains: they depend on the batch. Taught in notebook 06."""
    return network(clips, training=True).numpy()


def losses(cross_entropy: float, variables: list, weight_decay: float) -> tuple[float, float]:
    """Defect 3: what is minimised, and what is reported as the loss, in nats: the second lacks a part. Taught in notebook 06.

    `variables` are all that are trained, normalisation's scales and shifts among them.
    """
    penalty = sum(float(tf.nn.l2_loss(v)) for v in variables)
    minimised = cross_entropy + weight_decay * penalty
    return minimised, cross_entropy


def start_of_kernels(layer: keras.layers.Layer) -> keras.layers.Layer:
    """Defect 4: a layer as `layer`, but a convolution's kernel starts with deviation 1, whatever its size. Taught in notebook 06."""
    config = layer.get_config()
    if isinstance(layer, keras.layers.Conv3D):
        config["kernel_initializer"] = keras.initializers.RandomNormal(stddev=1.0, seed=0)
    return type(layer).from_config(config)


def pool(layer: keras.layers.Layer) -> keras.layers.Layer:
    """Defect 5: a layer as `layer`, but where the thesis takes the average this takes the maximum. Taught in notebook 06."""
    others = {
        keras.layers.AveragePooling3D: keras.layers.MaxPooling3D,
        keras.layers.GlobalAveragePooling3D: keras.layers.GlobalMaxPooling3D,
    }
    return others.get(type(layer), type(layer)).from_config(layer.get_config())


def labels_of(listing: list[str]) -> dict[str, int]:
    """Defect 6: class name → label, in the order in which a disk happens to list the class folders. Taught in notebook 06."""
    return {name: label for label, name in enumerate(listing)}


def first_three_quarters(listing: list[str]) -> tuple[list[str], list[str]]:
    """Defect 6: the videos to train and to test on, as a class's folder happens to list them. Taught in notebook 06."""
    cut = len(listing) * 3 // 4
    return listing[:cut], listing[cut:]


def clip_starts(length: int, frames: int, hop: int) -> list[int]:
    """Defect 7: first frames of the clips of a video of `length` frames; all but the first are one too early. Taught in notebook 06."""
    starts, start = [], 0
    while start + frames <= length:
        starts.append(start)
        start = len(starts) * hop - 1  # counted from 1, used as if from 0
    return starts


def store_frame(frame: np.ndarray, height: int, width: int) -> np.ndarray:
    """Defect 8: a frame as OpenCV reads it, uint8 (height, width, 3), as the network gets to see it. Taught in notebook 06.

    Stretched by taking nearest pixels, its blue taken for red, through a JPEG file of the library's default quality.
    """
    small = cv2.resize(frame, (width, height), interpolation=cv2.INTER_NEAREST)
    file = io.BytesIO()
    Image.fromarray(small).save(file, "jpeg")  # Pillow expects red, green, blue; OpenCV gives blue, green, red
    return np.asarray(Image.open(file))


def find_videos(folder: Path) -> list[str]:
    """Defect 9: names of the videos in a folder; an ending in capitals, or any other than avi, is not seen. Taught in notebook 06."""
    return [name for name in sorted(os.listdir(folder)) if name.endswith("avi")]


def read_video(path: Path) -> list[np.ndarray]:
    """Defect 9: the frames of a video as OpenCV gives them; damage looks like its end. Taught in notebook 06."""
    capture, frames = cv2.VideoCapture(str(path)), []
    while True:
        readable, frame = capture.read()
        if not readable:
            return frames
        frames.append(frame)


def evaluation_order(clips: int, counted: int, batch_size: int, seed: int) -> np.ndarray:
    """Defect 10: which clips an evaluation looks at, int64 (n,): shuffled, then repeated until the batches are full. Taught in notebook 06.

    Args:
        clips: how many there are.
        counted: how many there are according to the number that was copied into this script by hand.
        batch_size: clips of a batch; every batch is full.
        seed: of the shuffle.
    """
    rng = np.random.default_rng(seed)
    endless = (clip for _ in itertools.count() for clip in rng.permutation(clips))
    batches = -(-counted // batch_size)
    return np.fromiter(itertools.islice(endless, batches * batch_size), int)
