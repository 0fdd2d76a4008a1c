"""How well do near duplicates tell sequences of one video from those of different people?

    python benchmarks/look_alikes.py                # the synthetic set
    python benchmarks/look_alikes.py DATA …         # prepared data sets

Counts, among all pairs of sequences, those that are found: two of one video, two of one person in different videos, and
two of different people, which must not be found.
"""

import argparse
import tempfile
import time
from collections import Counter
from itertools import combinations
from pathlib import Path

from dn3dlib.data.duplicates import near_pairs
from dn3dlib.data.manifest import DataSet
from dn3dlib.data.prepare import prepare
from dn3dlib.data.sources import read_catalog
from dn3dlib.presets import find_preset


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="*", type=Path)
    sets = parser.parse_args().data
    with tempfile.TemporaryDirectory() as folder:
        if not sets:
            catalog = read_catalog("synthetic", Path(folder) / "videos").split_by("by-subject")
            sets = [prepare(catalog, Path(folder) / "synthetic", find_preset("quick").storage).path]
        for path in sets:
            measure(DataSet.open(path))


def measure(data: DataSet) -> None:
    started = time.perf_counter()
    pairs = near_pairs([s.hashes for s in data.sequences])
    seconds = time.perf_counter() - started
    there = Counter(kind(one, other) for one, other in combinations(data.sequences, 2))
    found = Counter(kind(data.sequences[i], data.sequences[j]) for i, j, _ in pairs)
    print(f"{data.path.name}: {len(data.sequences)} sequences, {seconds:.1f} s")
    for name, count in there.items():
        print(f"  {name:<28}{found[name]:>6} of {count:>8} pairs found")


def kind(one, other) -> str:
    if one.video == other.video:
        return "one video"
    return "one person, another video" if one.subject == other.subject else "different people"


if __name__ == "__main__":
    main()
