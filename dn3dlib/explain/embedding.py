"""Where the network sees each sequence: its features before the head, and a plane to look at them."""

import keras
import numpy as np

from dn3dlib.config import ClipConfig
from dn3dlib.data.clips import ClipPlan
from dn3dlib.data.manifest import DataSet
from dn3dlib.explain.features import through


def sequence_embedding(model: keras.Model, data: DataSet, plan: ClipPlan, clip: ClipConfig) -> tuple[np.ndarray, np.ndarray]:
    """The pooled features that the head's classifier sees, averaged over the clips of each sequence. Taught in notebook 04.

    Args:
        model: of `build_model`.
        data: the prepared data set.
        plan: the clips, of `plan_evaluation`.
        clip: as the network was trained with.

    Returns:
        Places of the sequences in `data.sequences`, int (sequences,); and their features, float64 (sequences, features).
    """
    part = keras.Model(model.input, model.get_layer("head_pool").output)
    sequences, place = np.unique(plan.sequence, return_inverse=True)
    sums = np.zeros((len(sequences), part.output.shape[-1]))
    for rows, features in through(part, data, plan, clip):
        np.add.at(sums, place[rows], features)
    return sequences, sums / np.bincount(place)[:, None]


def in_two_dimensions(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The plane in which points of many dimensions differ most: their principal components. Taught in notebook 04.

    Not t-SNE: here distances stay distances (shortened, never stretched), the same points give the same plane without any
    chance, and one number says how much is lost.

    Args:
        features: float (points, features), at least two of each.

    Returns:
        float (points, 2); and the share of the variance that each of the two axes shows, float (2,).
    """
    from sklearn.decomposition import PCA

    plane = PCA(2, svd_solver="full").fit(features)
    return plane.transform(features), plane.explained_variance_ratio_


def neighbours_alike(features: np.ndarray, labels: list[str]) -> float:
    """The share of points whose nearest other point has the same label. Taught in notebook 04.

    Args:
        features: float (points, features), at least two points; distances are Euclidean.
        labels: of the points.
    """
    from sklearn.neighbors import NearestNeighbors

    nearest = NearestNeighbors(n_neighbors=1).fit(features).kneighbors(return_distance=False)[:, 0]
    labels = np.asarray(labels)
    return float((labels[nearest] == labels).mean())
