"""Each data set that the kit knows, by name: how its raw videos become a catalog."""

from pathlib import Path

from dn3dlib.config import nearest
from dn3dlib.data.catalog import Catalog, folder_catalog
from dn3dlib.data.kth import kth_catalog
from dn3dlib.data.protocols import BY_SUBJECT
from dn3dlib.data.synthetic import make_synthetic
from dn3dlib.errors import ConfigError
from dn3dlib.places import data_home

DATASETS = ("synthetic", "kth", "folder")
DEFAULT_PROTOCOLS = {"synthetic": BY_SUBJECT, "kth": "schuldt2004", "folder": BY_SUBJECT}


def read_catalog(dataset: str, source_dir: Path | str = "", subject_pattern: str = "", seed: int = 0) -> Catalog:
    """The catalog of a data set's raw videos, not yet split. Taught in notebook 01.

    Args:
        dataset: synthetic (made first, if it is not there yet), kth, or folder.
        source_dir: the raw videos; of synthetic, empty: below the kit's own `data/`.
        subject_pattern: of dataset folder: a regular expression with one group that finds the subject in a file's name.
        seed: of the synthetic set.

    Raises:
        ConfigError: another data set's name, or an option that this one does not have.
        DataError: see `kth_catalog`, `folder_catalog` and `make_synthetic`.
    """
    if dataset not in DATASETS:
        raise ConfigError(f"There is no data set {dataset!r}: {nearest(dataset, DATASETS)}")
    if subject_pattern and dataset != "folder":
        raise ConfigError(f"--subject-pattern is for --dataset folder: the subjects of {dataset} stand in its own file names.")
    if not source_dir:
        if dataset != "synthetic":
            raise ConfigError(f"The source folder is missing: name the folder that holds the videos of {dataset}.")
        source_dir = data_home() / f"synthetic-{seed}"
    if dataset == "folder":
        return folder_catalog(source_dir, subject_pattern)
    if dataset == "synthetic":
        source_dir = make_synthetic(Path(source_dir), seed=seed)
    return kth_catalog(source_dir, dataset)
