"""How soon does a notebook's picture follow a moved control? In the kernel, from the new value to the new picture.

    python benchmarks/reaction.py

Positions add up from line to line, so that the last lines of a widget are its most expensive ones. Each is the median of
several moves there from the position before; the page then has to show what was sent.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import replace

from dn3dlib import sketch_model
from dn3dlib.presets import find_preset
from dn3dlib.show import network, results
from dn3dlib.show.controls import with_controls

PRESET = find_preset("quick")
CLIP_SHAPE = (PRESET.clip.frames, *PRESET.storage.frame_shape)


def channels() -> tuple:
    """Notebook 02: the channels through the network."""

    def draw(**choices):
        return results.channel_growth({"this network": sketch_model(replace(PRESET.model, **choices), CLIP_SHAPE, 6)})

    box = with_controls(draw, growth_rate=(12, 4, 32), depth=(20, 10, 40), bottleneck=True)
    return box, [("growth_rate", 32), ("depth", 40), ("bottleneck", False)]


def architecture() -> tuple:
    """Notebook 03: table and drawing of the network."""
    moves = [("growth_rate", 13), ("depth", 21), ("size", 32), ("frames", 32), ("size", 128), ("growth_rate", 32), ("depth", 40)]
    return network.explore(PRESET.model, CLIP_SHAPE), [*moves, ("variant", "general"), ("bottleneck", False)]


# Each gives a widget and moves of its controls: (description of the control, position).
WIDGETS: dict[str, Callable[[], tuple]] = {"02 channels": channels, "03 architecture": architecture}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=9, help="moves of which the median is taken (default: %(default)s)")
    arguments = parser.parse_args()
    print(f"{'widget':18}{'control':14}{'position':>10}{'ms':>8}")
    for name, make in WIDGETS.items():
        box, moves = make()
        controls = {getattr(child, "description", ""): child for child in box.children}
        for control, position in moves:
            milliseconds = 1000 * reaction(controls[control], position, arguments.repeats)
            print(f"{name:18}{control:14}{position!s:>10}{milliseconds:8.1f}", flush=True)


def reaction(control, position, repeats: int) -> float:
    """Seconds that a move of a control takes, with all that listens to it; the control stays there."""
    before, seconds = control.value, []
    for _ in range(repeats):
        control.value = before
        started = time.perf_counter()
        control.value = position
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)


if __name__ == "__main__":
    main()
