"""What does each defect of the published original cost? Notebook 06 shows the answer as a table.

    python benchmarks/defects.py

Trains seven small networks on the synthetic set for each seed, measures what a training does not show, and writes
data/trained/defects.json. Some 12 minutes on two cores.
"""

import argparse
from pathlib import Path

from dn3dlib.files import write_json
from dn3dlib.places import data_home, trained_home
from dn3dlib.presets import find_preset

OUT = "defects.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--out", type=Path, default=trained_home() / OUT)
    arguments = parser.parse_args()
    # Imported here: the processes that `prepare` starts import this file, and need none of it.
    from dn3dlib.data.prepare import prepare
    from dn3dlib.data.sources import read_catalog
    from dn3dlib.explain.defects import measure

    catalog = read_catalog("synthetic").split_by("by-subject")
    data = prepare(catalog, data_home() / "synthetic-quick", find_preset("quick").storage)
    found = measure(data, catalog.source_dir, tuple(arguments.seeds), arguments.epochs)
    write_json(arguments.out, {"command": "python benchmarks/defects.py"} | found)
    for row in found["rows"]:
        figures = ["/".join(f"{figure:.3g}" for figure in row[kind]) for kind in ("mended", "original")]
        print(f"{row['case']:2} {row['defect']}: {row['measure']}: mended {figures[0]}, original {figures[1]}")


if __name__ == "__main__":
    main()
