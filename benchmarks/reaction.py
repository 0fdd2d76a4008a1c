"""How soon does a widget of the notebooks answer? From a moved slider or a click to the new picture, in the kernel.

    python benchmarks/reaction.py

Median and longest time of some positions of each control, for the network that ships with the kit; sending and
showing it come on top. A moved slider should answer within 150 ms on two cores.
"""

import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from dn3dlib import sketch_model
from dn3dlib.quiet import import_quietly
from dn3dlib.show import controls, explorer, figures, inside, results
from dn3dlib.show.network import explore
from dn3dlib.train import shipped

WITHIN = 150  # ms, for sliders


def main() -> None:
    network = import_quietly("keras").models.load_model(shipped.shipped_run().path / "best.keras", compile=False)
    print(f"{'control':42}{'positions':>10}{'median ms':>11}{'longest ms':>12}")
    slow = []
    for rows in (start_here, clips, channels, architecture, kernels_and_units, feature_maps, confusion, embedding):
        for name, seconds in rows(network, shipped.shipped_data()):
            found = [1000 * one for one in seconds]
            print(f"{name:42}{len(found):10}{statistics.median(found):11.1f}{max(found):12.1f}", flush=True)
            slow += [name] if statistics.median(found) > WITHIN and "click" not in name else []
    print(f"every slider within {WITHIN} ms: {'no: ' + ', '.join(slow) if slow else 'yes'}")


def timed(control, trait: str, positions) -> list[float]:
    """Seconds that each new position takes; the widget draws before the assignment returns."""
    seconds = []
    for position in positions:
        start = time.perf_counter()
        setattr(control, trait, position)
        seconds.append(time.perf_counter() - start)
    return seconds


def moved(name: str, draw: Callable, **starts) -> Iterator[tuple[str, list[float]]]:
    """Seconds of each slider of `with_controls`, moved over its whole range."""
    yield from sliders(name, controls.with_controls(draw, **starts))


def sliders(name: str, box) -> Iterator[tuple[str, list[float]]]:
    """Seconds of each slider in a box, moved over its whole range, twelve positions at most."""
    for slider in (child for child in box.children if hasattr(child, "max")):
        positions = np.linspace(slider.min, slider.max, min(12, slider.max - slider.min + 1)).astype(int)
        yield f"{name}: {slider.description}", timed(slider, "value", [int(p) for p in positions if p != slider.value])


def start_here(network, data):
    """Notebook 00: the network is asked at each move."""
    from dn3dlib.data.clips import normalise
    from dn3dlib.show.mistakes import sequence_frames

    clip, frames = shipped.shipped_run().clip, sequence_frames(data, data.of_split("test")[0].id)

    def draw(start, stride):
        chosen = frames[(start + stride * np.arange(clip.frames)) % len(frames)]
        logits = network(normalise(chosen[np.newaxis].astype("float32"), clip.normalisation), training=False).numpy()[0]
        powers = np.exp(logits)
        return results.class_probabilities({f"from frame {start}, stride {stride}": powers / powers.sum()}, data.classes, "boxing")

    yield from moved("00 network asked anew", draw, start=(0, 0, 34), stride=(1, 1, 4))


def clips(network, data):
    """Notebook 01: a plan of the split at each move."""
    from dn3dlib.data.clips import plan_evaluation

    clip, example = shipped.shipped_run().clip, data.sequences[0]

    def draw(stride, hop):
        plan = plan_evaluation(data, replace(clip, stride=stride, hop=hop), example.split)
        return figures.clip_diagram(plan.frames[plan.sequence == 0][:20], example.frames)

    yield from moved("01 clips of a sequence", draw, stride=(1, 1, 4), hop=(clip.hop, 1, clip.frames))


def channels(network, data):
    """Notebook 02: a network is sketched at each move."""
    model, shape = shipped.shipped_run().model, shipped.shipped_run().clip_shape

    def draw(**choices):
        return results.channel_growth({"this network": sketch_model(replace(model, **choices), shape, 6)})

    yield from moved("02 channels", draw, growth_rate=(12, 4, 32), depth=(20, 10, 40), bottleneck=True)


def architecture(network, data):
    """Notebook 03: a network is sketched, tabled and drawn at each move; last the largest network."""
    box = explore(shipped.shipped_run().model, shipped.shipped_run().clip_shape)
    yield from sliders("03 architecture", box)
    choices = {child.description: child for child in box.children if hasattr(child, "description")}
    for name, value in {"variant": "general", "depth": 40, "growth_rate": 32}.items():
        choices[name].value = value
    yield "03 architecture: the largest network", timed(choices["bottleneck"], "value", [False, True, False])


def kernels_and_units(network, data):
    """Notebook 04: what is drawn has been computed before."""
    directions, answers = np.arange(0, 360, 45), np.random.default_rng(0).normal(size=(24, 8))
    frames = np.random.default_rng(0).integers(0, 255, (3, 16, 64, 64, 1), np.uint8)

    def draw_directions(kernel):
        return inside.direction_curves({f"kernel {kernel}": answers[kernel]}, directions)

    def draw_unit(unit):
        return inside.strongest_strips(list(frames), ["walking"] * 3, [(unit, 20, 20)] * 3, reach=4)

    yield from moved("04 directions of a kernel", draw_directions, kernel=(0, 0, 23))
    yield from moved("04 strongest clips", draw_unit, unit=(0, 0, 11))


def feature_maps(network, data):
    """Notebook 04: maps of all layers, computed once."""
    from dn3dlib.data.clips import plan_evaluation
    from dn3dlib.data.one_clip import clip_of_plan
    from dn3dlib.explain import features, layers

    run = shipped.shipped_run()
    clip = clip_of_plan(data, plan_evaluation(data, run.clip, "test", views=1), 0, run.clip)
    names = [name for name in layers.map_layers(network) if name.endswith(("_conv", "_pool"))]
    maps = {name: features.feature_maps(network, clip.values[None], name)[0] for name in names}
    centres = {name: layers.map_centres(network, network.get_layer(name))[0] for name in names}
    layer, unit, moment, _ = explorer.feature_explorer(clip.frames, maps, centres, names[0]).children
    for slider, positions in ((moment, range(16)), (unit, range(12)), (layer, names[::-1])):
        yield f"04 feature maps: {slider.description}", timed(slider, "value", positions)


def confusion(network, data):
    """Notebook 05: strips are drawn and a video is encoded."""
    report = shipped.shipped_report("honest")
    clickable = explorer.confusion_explorer(data, report).children[0].children[0]
    yield "05 confusion matrix: click", timed(clickable, "choice", [f"{name} → {name}" for name in report["classes"]])


def embedding(network, data):
    """Notebook 04: a video is encoded."""
    from dn3dlib.data.clips import plan_evaluation
    from dn3dlib.data.one_clip import clip_of_plan

    run, sequences = shipped.shipped_run(), data.of_split("test")
    plan, points = plan_evaluation(data, run.clip, "test", views=1), np.random.default_rng(0).normal(size=(len(sequences), 2))
    plane = explorer.embedding_explorer(points, sequences, np.ones(2), lambda n: clip_of_plan(data, plan, n, run.clip).frames)
    yield "04 sequences in a plane: click", timed(plane.children[0].children[0], "choice", [s.id for s in sequences[1:8]])


if __name__ == "__main__":
    main()
