"""The card of a run, in Markdown: what it is, on whom it was trained, how good it is, and what it is not for."""

from dn3dlib.data.decode import frame_form
from dn3dlib.model.anatomy import whole
from dn3dlib.model.sketch import sketch_model
from dn3dlib.train.runs import Run

_SIZE = ("height", "width", "channels")
_NOT_FOR = """## What it is not for

- Not for watching, judging or recognising people, and for no decision about anybody: it tells apart actions that were acted for a camera.
- Not for anything on which safety or health depends: a figure above says how often it is right, and on other videos it is right less often.
- It knows the classes above alone and gives one of them for every clip, also where nobody is seen or something else is done.
- People, places, cameras, speeds and pictures that differ from those it was trained on were not tested; test it on your own, by people
  whom you did not train on."""


def card(run: Run, name: str, environment: dict, reports: dict, threshold: float | None, pictures: list[str]) -> str:
    """The card of a run as Markdown.

    Args:
        run: the run.
        name: the heading.
        environment: of its `environment.json`.
        reports: split → report of `evaluate.report.evaluate`; empty where it was never evaluated.
        threshold: certainty below which a window is none of the classes; None: not chosen.
        pictures: file names, shown below the figures.
    """
    parts = [
        f"# {name}",
        f"A 3D-DenseNet that tells apart {len(run.classes)} actions in short clips of video: {', '.join(run.classes)}.",
        "## Data\n\n" + _lines(_data(run)),
        "## How good it is\n\n" + _accuracy(reports),
        *(f"![{picture.removesuffix('.png')}]({picture})" for picture in pictures),
        "## Clips\n\n" + _lines(_clips(run, threshold)),
        "## Network and training\n\n" + _lines(_network(run, environment)),
        _NOT_FOR,
    ]
    return "\n\n".join(parts) + "\n"


def _lines(rows: dict[str, object]) -> str:
    return "\n".join(f"- {name}: {value}" for name, value in rows.items())


def _data(run: Run) -> dict[str, object]:
    subjects = run.data["train_subjects"]
    shown = ", ".join(subjects[:30]) + (" …" if len(subjects) > 30 else "")
    rows = {
        "data set": run.data["dataset"],
        "protocol (who trains, validates, tests)": run.data["protocol"],
        "trained on": f"{len(subjects)} subjects: {shown}",
        "fingerprint of content and split": run.data["fingerprint"],
    }
    return rows | ({"**warning**": " ".join(run.warnings)} if run.warnings else {})


def _accuracy(reports: dict) -> str:
    if not reports:
        return "It was not evaluated: nothing is known of how good it is. `dn3d evaluate --run RUN --data DATA` tells."
    lines = [
        "| part | sequence accuracy | its 95 % interval over subjects | clip accuracy | sequences | subjects |",
        "|---|---|---|---|---|---|",
    ]
    notes = []
    for split, report in reports.items():
        interval = report["sequence_accuracy_interval"]
        within = f"{interval[0]:.3f} to {interval[1]:.3f}" if interval else "none: fewer than two subjects"
        figures = f"{report['sequence_accuracy']:.3f} | {within} | {report['clip_accuracy']:.3f} | {report['sequences']} | {report['subjects']}"
        lines.append(f"| {split} | {figures} |")
        notes += [f"{split}: {warning}" for warning in report["warnings"]]
    if "test" in reports:
        guess = 1 / len(reports["test"]["classes"])
        notes.append(f"guessing gives {guess:.3f}; looks at the test part with this run: {reports['test'].get('test_uses', 1)}")
    else:
        notes.append("it was not evaluated on a test part: the figure of a part that it was trained or chosen on is too high")
    return "\n".join([*lines, "", *(f"- {note}" for note in notes)])


def _clips(run: Run, threshold: float | None) -> dict[str, object]:
    storage, clip = run.storage, run.clip
    colours = "RGB" if storage.channels == 3 else "grey"
    return {
        "a clip": f"{clip.frames} frames, {'every one' if clip.stride == 1 else f'one of {clip.stride}'}, in the order {clip.frame_order}",
        "a frame": f"{storage.height} × {storage.width} pixels (height × width), {colours}",
        "how it is cut from the video": ", ".join(f"{name} {value or 'whole'}" for name, value in frame_form(storage).items() if name not in _SIZE),
        "frames a second": run.data.get("fps") or "as in the data set",
        "normalisation": clip.normalisation,
        "below which certainty a window is none of these": "not chosen" if threshold is None else f"{threshold:.3f}",
    }


def _network(run: Run, environment: dict) -> dict[str, object]:
    model, train, packages = run.model, run.train, environment.get("packages", {})
    kind = f"{model.variant}{' BC' if model.bottleneck else ''}, growth rate {model.growth_rate}, depth {model.depth}, {model.blocks} blocks"
    parameters = whole(sketch_model(model, run.clip_shape, len(run.classes))).parameters
    return {
        "network": f"{kind}, {parameters:,} parameters",
        "training": f"{train.epochs} epochs at most, batches of {train.batch_size}, learning rate {train.learning_rate} ({train.schedule}), seed {train.seed}",
        "started from": run.init_from or "random weights",
        "weights": "of the best epoch by validation, where there was one, else of the last",
        "versions": ", ".join(f"{package} {number}" for package, number in packages.items() if number) or "not noted",
    }
