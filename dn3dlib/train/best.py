"""The best network of a run, `best.keras`: written and read."""

import keras

from dn3dlib.errors import RunError
from dn3dlib.train.runs import BEST, Run


def save_best(run: Run, network: keras.Model) -> None:
    """Write a network as the run's best, beside and renamed."""
    partial = run.path / "best.partial.keras"
    try:
        network.save(partial)
        partial.replace(run.path / BEST)
    finally:
        partial.unlink(missing_ok=True)


def load_best(run: Run) -> keras.Model:
    """The network of a run at its best epoch, no layer frozen; nothing in the file is executed.

    Raises:
        RunError: the run has none yet, or the file is damaged.
    """
    path = run.path / BEST
    if not path.is_file():
        raise RunError(f"The run {run.path} has no {BEST} yet: it is written after the first epoch; train on with --resume.")
    try:
        network = keras.models.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # zip, JSON, HDF5 and Keras each have their own; to the user they are one
        raise RunError(f"The network {path} is damaged ({type(error).__name__}): train again.") from error
    for layer in network.layers:  # or what its training froze would look as if it learned nothing
        layer.trainable = True
    return network
