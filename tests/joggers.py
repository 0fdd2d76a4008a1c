"""A report in which one mistake is made, again and again: for tests of what shows the clips behind a figure."""

import numpy as np

from dn3dlib.data.manifest import DataSet

CLASSES = ["boxing", "handclapping", "handwaving", "jogging", "running", "walking"]


def taken_for_runners(data: DataSet) -> dict:
    """Every jogger of the data set is taken for a runner, the later ones with more certainty; all others are right."""
    rows = []
    for number, stored in enumerate(data.sequences):
        answer = "running" if stored.label == "jogging" else stored.label
        sure = 0.5 + 0.01 * number
        probabilities = [sure if name == answer else (1 - sure) / 5 for name in CLASSES]
        rows.append({"sequence": stored.id, "label": stored.label, "predicted": answer, "probabilities": probabilities})
    confusion = np.diag([8] * 6)
    confusion[3] = [0, 0, 0, 0, 8, 0]
    return {"classes": CLASSES, "predictions": rows, "confusion": confusion.tolist(), "split": "test"}
