"""Each data set that the kit knows, by name: how its raw videos become a catalog."""

from pathlib import Path

from dn3dlib.config import nearest
from dn3dlib.data.catalog import Catalog, folder_catalog
from dn3dlib.data.kth import kth_catalog
from dn3dlib.data.lists import list_catalog
from dn3dlib.data.merl import merl_catalog
from dn3dlib.data.protocols import BY_SUBJECT, check_seed
from dn3dlib.data.synthetic import make_synthetic
from dn3dlib.data.ucf101 import ucf101_catalog
from dn3dlib.errors import ConfigError
from dn3dlib.places import data_home

DEFAULT_PROTOCOLS = {
    "synthetic": BY_SUBJECT, "kth": "schuldt2004", "merl": "singh2016", "ucf101": "ucf101-1", "list": "lists", "folder": BY_SUBJECT,
}  # fmt: skip
DATASETS = tuple(DEFAULT_PROTOCOLS)


def read_catalog(
    dataset: str,
    source_dir: Path | str = "",
    *,
    subject_pattern: str = "",
    label_pattern: str = "",
    background: bool = False,
    lists: dict[str, Path] | None = None,
    annotated: bool = False,
    seed: int = 0,
) -> Catalog:
    """The catalog of a data set's raw videos, not yet split. Taught in notebook 01.

    Args:
        dataset: synthetic (made first, if it is not there yet), kth, merl, ucf101, list, or folder.
        source_dir: the raw videos; of synthetic, empty: below the kit's own `data/`.
        subject_pattern: of folder and list: a regular expression with one group that finds the subject.
        label_pattern: of folder: one that finds the class, where there are no class folders.
        background: of merl: add the class of what lies between the labelled instances.
        lists: of list: split → list file.
        annotated: of kth, merl, ucf101 and list: take also the sequences of videos that are not there, to count them.
        seed: of the synthetic set, and of the background windows.

    Raises:
        ConfigError: another data set's name, or an option that this one does not have.
        DataError: see `kth_catalog`, `merl_catalog`, `ucf101_catalog`, `list_catalog`, `folder_catalog`, `make_synthetic`.
    """
    if dataset not in DATASETS:
        raise ConfigError(f"There is no data set {dataset!r}: {nearest(dataset, DATASETS)}")
    check_seed(seed)
    for option, given, owners in (
        ("--subject-pattern", subject_pattern, ("folder", "list")),
        ("--label-pattern", label_pattern, ("folder",)),
        ("--background", background, ("merl",)),
        ("--train-list, --validation-list or --test-list", lists, ("list",)),
        ("--annotated", annotated, ("kth", "merl", "ucf101", "list")),
    ):
        if given and dataset not in owners:
            raise ConfigError(f"{option} is for --dataset {' or '.join(owners)}, not for {dataset}: leave it out.")
    if not source_dir:
        if dataset != "synthetic":
            raise ConfigError(f"The source folder is missing: name the folder that holds the videos of {dataset}.")
        source_dir = data_home() / f"synthetic-{seed}"
    source_dir = Path(source_dir)
    match dataset:
        case "synthetic":
            return kth_catalog(make_synthetic(source_dir, seed=seed), dataset)
        case "kth":
            return kth_catalog(source_dir, annotated=annotated)
        case "merl":
            return merl_catalog(source_dir, background, annotated, seed)
        case "ucf101":
            return ucf101_catalog(source_dir, annotated)
        case "list":
            return list_catalog(source_dir, lists or {}, subject_pattern, annotated)
        case "folder":
            return folder_catalog(source_dir, subject_pattern, label_pattern)
