"""Where the network sees each sequence: its features before the head, and a plane to look at them."""

import keras
import numpy as np

from dn3dlib.config import ClipConfig
from dn3dlib.data.clips import plan_evaluation
from dn3dlib.data.manifest import DataSet
from dn3dlib.explain.features import through


def sequence_embedding(
    model: keras.Model, data: DataSet, clip: ClipConfig, split: str, views: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """The pooled features that the head's classifier sees, averaged over the clips of each sequence. Taught in notebook 04.

    Args:
        model: of `build_model`.
        data: the prepared data set.
        clip: as the network was trained with.
        split: train, validation or test.
        views: clips of each sequence, spread evenly; None: as many as the hop gives.

    Returns:
        Places of the sequences in `data.sequences`, int (sequences,); and their features, float64 (sequences, features).

    Raises:
        DataError: the split has no sequences.
    """
    part = keras.Model(model.input, model.get_layer("head_pool").output)
    plan = plan_evaluation(data, clip, split, views=views)
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
