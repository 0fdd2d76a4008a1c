"""Does it help to cut out the moving person? On real KTH videos, each person left out in turn.

    python benchmarks/person.py
    python benchmarks/person.py --epochs 20 --clips 4 --seeds 0 1

17 real videos, 6 actions by 5 persons, of whom two show one action only, in the preset small-data: once as they are, once with
storage.follow=motion, with the same steps. They are looked for in `../shared/data`, or below the folder that `DN3D_SHARED` names. First it is measured
how fast frames are read, as they are and with the box.
"""

import argparse
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from small_data import SHARED, make_catalog, show

from dn3dlib.config import FOLLOWS
from dn3dlib.presets import find_preset


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", type=Path, default=SHARED, help="the folder that holds the folder kth")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--clips", type=int, default=2, help="clips of a sequence in an epoch")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    arguments = parser.parse_args()
    # Imported here: the processes that `prepare` starts import this file, and need none of it.
    from dn3dlib.data.prepare import prepare
    from dn3dlib.evaluate.crossval import crossval

    preset = find_preset("small-data")
    clip = replace(preset.clip, clips_per_sequence=arguments.clips)
    with tempfile.TemporaryDirectory() as folder:
        catalog = make_catalog("kth", arguments.source, Path(folder))
        if catalog is None:
            parser.error(f"there is no folder {arguments.source / 'kth'}")
        print(f"frames/s that are read: {reading(catalog, preset.storage)}", flush=True)
        data = {f: prepare(catalog, Path(folder) / f, replace(preset.storage, follow=f), show_progress=False) for f in FOLLOWS}
        for seed in arguments.seeds:
            for follow, prepared in data.items():
                started = time.perf_counter()
                config = replace(preset.train, epochs=arguments.epochs, seed=seed)
                result = crossval(prepared.path, Path(folder) / f"{follow} {seed}", clip, preset.model, config, show_progress=False)
                show(f"follow {follow}, seed {seed}", result, (time.perf_counter() - started) / 60)


def reading(catalog, storage) -> str:
    """Frames in a second that one process reads of the first video, in turn, the better of two times."""
    from dn3dlib.data.decode import frame_form
    from dn3dlib.data.video import read_frames

    rates = dict.fromkeys(FOLLOWS, 0.0)
    for _ in range(2):
        for follow in FOLLOWS:
            started = time.perf_counter()
            frames = len(read_frames(catalog.source_dir / catalog.sequences[0].video, **frame_form(replace(storage, follow=follow))))
            rates[follow] = max(rates[follow], frames / (time.perf_counter() - started))
    return ", ".join(f"follow {follow} {rate:.0f}" for follow, rate in rates.items())


if __name__ == "__main__":
    main()
