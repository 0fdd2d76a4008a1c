"""What does each defect of the published original cost? Notebook 06 shows the answer as a table.

    python benchmarks/defects.py

Trains seven small networks on the synthetic set for each seed, does the evaluation of the shipped network wrongly, reads
broken videos, and writes data/trained/defects.json. Some ten to twenty minutes on two cores.
"""

import argparse
from pathlib import Path

from dn3dlib.files import write_json
from dn3dlib.places import trained_home

OUT = "defects.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--out", type=Path, default=trained_home() / OUT)
    arguments = parser.parse_args()
    # Imported here: the processes that `scan_folder` starts import this file, and need none of it.
    from dn3dlib.explain.defects import measure
    from dn3dlib.explain.symptoms import call_witness

    found = measure(call_witness(), seeds=tuple(arguments.seeds), epochs=arguments.epochs)
    write_json(arguments.out, {"command": "python benchmarks/defects.py"} | found)
    for row in found["rows"]:
        figures = ["/".join(f"{figure:.3g}" for figure in row[kind]) for kind in ("mended", "original")]
        print(f"{row['case']:2} {row['defect']}: {row['measure']}: mended {figures[0]}, original {figures[1]}")


if __name__ == "__main__":
    main()
