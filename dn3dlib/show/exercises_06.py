"""The exercises of notebook 06: three defects to mend, held against what the library does."""

from functools import reduce
from pathlib import Path

from dn3dlib.config import ClipConfig, StorageConfig
from dn3dlib.data.catalog import Catalog, Sequence
from dn3dlib.data.clips import plan_evaluation
from dn3dlib.data.manifest import DataSet, StoredSequence
from dn3dlib.show.lesson import Exercise


class _AddLayer:
    """A layer for trying out: maps are a number, and a layer writes its own number behind it."""

    def __call__(self, x: int, number: int) -> int:
        return 10 * x + number

    def __str__(self) -> str:
        return "add_layer: x, number → 10 * x + number"


def _block(x: int, layers: int, add_layer: _AddLayer) -> int:
    """What a block of so many layers makes of `x`."""
    return reduce(add_layer, range(1, layers + 1), x)


def _labels(listing: list[str]) -> list[int]:
    """The label of each name, as the catalog gives them."""
    rows = tuple(Sequence(f"{place}", f"{name}/{place}.avi", name, "somebody") for place, name in enumerate(listing))
    classes = Catalog("exercise", Path(), rows).classes
    return [classes.index(name) for name in listing]


def starts_of_the_library(length: int, frames: int, hop: int) -> list[int]:
    """First frames of the clips with which the library evaluates one sequence."""
    sequence = StoredSequence("one", "action", "somebody", "test", "one.avi", 0, 25.0, length, ())
    data = DataSet(Path(), "exercise", "", 0, StorageConfig(), ("action",), (sequence,), ())
    return plan_evaluation(data, ClipConfig(frames=frames, hop=hop), "test").frames[:, 0].tolist()


def _places_in_listing(listing: list[str]) -> list[int]:
    """As the original: a label is where the disk names the class first."""
    return [list(dict.fromkeys(listing)).index(name) for name in listing]


def _one_frame_early(length: int, frames: int, hop: int) -> list[int]:
    """As the original: all but the first clip start one frame too early."""
    return [max(0, start - 1) for start in range(0, length - frames + 2, hop)]


EXERCISES = {
    "dense_block": Exercise(
        _block,
        hints=(
            "`return` ends a function at once, wherever it stands. When should this one end?",
            "After the loop, not in it: how far must the line with `return` move to the left?",
            "Move it four spaces to the left, so that it stands below the `for`: the loop then runs to its end.",
        ),
        cases=((7, 1, _AddLayer()), (7, 3, _AddLayer()), (0, 6, _AddLayer())),
        mistakes=(
            (lambda x, layers, add_layer: add_layer(x, 1), "however many layers are asked for, yours adds one: where does `return` stand?"),
            (lambda x, layers, add_layer: add_layer(x, layers), "every layer must get what the layer before it gave, not the block's first input."),
            (lambda x, layers, add_layer: reduce(add_layer, range(layers), x), "the layers are numbered from 1; yours from 0."),
            (lambda x, layers, add_layer: reduce(add_layer, range(1, layers), x), "the last layer is missing: `range` stops before its end."),
        ),
    ),
    "labels": Exercise(
        _labels,
        hints=(
            "Two machines must give one name the same label. What do they have in common, whatever their disks say?",
            "The names themselves have an order: sorted(set(listing)) holds each name once, in that order.",
            "The label of a name is its place in that order: the method `index` of a list finds it.",
        ),
        cases=(
            (["boxing", "jogging", "walking"],),
            (["walking", "boxing", "jogging"],),
            (["walking", "walking", "boxing", "running", "boxing"],),
        ),
        mistakes=(
            (_places_in_listing, "another listing of the same names gives them other labels: on another machine the network would name everything wrongly."),
            (lambda listing: [sorted(listing).index(name) for name in listing], "a name that comes twice is counted twice: each class needs one place."),
            (lambda listing: list(range(len(listing))), "each video gets a label of its own: videos of one class need the same one."),
        ),
    ),
    "clip_starts": Exercise(
        starts_of_the_library,
        hints=(
            "The starts are multiples of the hop, from 0 on: which is the last from which a whole clip fits?",
            "The last place is length - frames, and a clip may start there: range(0, length - frames + 1, hop).",
            "If the last of these starts lies before length - frames, the last frames are in no clip: add one start more, at that place.",
        ),
        cases=((50, 16, 8), (16, 16, 8), (40, 16, 10), (48, 16, 8), (17, 16, 8)),
        mistakes=(
            (_one_frame_early, "every clip but the first starts one frame early, as in the original."),
            (lambda length, frames, hop: list(range(0, length - frames + 1, hop)), "the last frames of some sequences are in no clip."),
            (lambda length, frames, hop: list(range(0, length - frames, hop)), "a clip that just fits is left out: `range` stops before its end."),
            (lambda length, frames, hop: list(range(0, length, hop)), "some clips reach beyond the end of the sequence."),
        ),
    ),
}
