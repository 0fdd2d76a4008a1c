"""The command evaluate: how good a run is, in figures and in a short report."""

from pathlib import Path
from typing import Annotated

import typer

from dn3dlib.cli.shell import DEVICE, JSON, app, show

_MISTAKES_SHOWN = 5


@app.command()
def evaluate(
    run: Annotated[Path, typer.Option(help="The run.")],
    data: Annotated[Path | None, typer.Option(help="A prepared data set; default: the run's own.")] = None,
    split: Annotated[str, typer.Option(help="train, validation or test.")] = "test",
    views: Annotated[int | None, typer.Option(help="Clips of each sequence, spread evenly; default: one every --hop frames.")] = None,
    hop: Annotated[int | None, typer.Option(help="Frames between the starts of two clips; default: as in training.")] = None,
    control: Annotated[
        list[str] | None, typer.Option(help="shuffled, reversed or frozen frames beside the real ones; may be repeated, or a list with commas.")
    ] = None,
    batch_size: Annotated[int | None, typer.Option(help="Clips computed at once; default: as in training.")] = None,
    device: DEVICE = "auto",
    as_json: JSON = False,
) -> None:
    """Evaluate a run's best network on one split; each look is noted in the run."""
    from dn3dlib.evaluate.report import evaluate as evaluate_run

    controls = tuple(name.strip() for names in control or () for name in names.split(","))
    report = evaluate_run(run, data, split, views=views, hop=hop, controls=controls, batch_size=batch_size, device=device)
    show(as_json, report, lambda: _describe(report))


def _describe(report: dict) -> str:
    interval = report["sequence_accuracy_interval"]
    spread = f" (95 %: {interval[0]:.3f} to {interval[1]:.3f})" if interval else " (no interval: fewer than two subjects)"
    video = "none: a video shows several classes" if report["video_accuracy"] is None else f"{report['video_accuracy']:.3f}"
    cut = "1 clip" if report["views"] == 1 else f"{report['views']} clips" if report["views"] else f"a clip every {report['hop']} frames"
    lines = [
        f"{report['split']}: {report['sequences']} sequences of {report['subjects']} subjects in {report['videos']} videos, "
        f"{report['clips']} clips ({cut} of each sequence)",
        f"  sequence accuracy {report['sequence_accuracy']:.3f}{spread}",
        f"  clip accuracy     {report['clip_accuracy']:.3f}",
        f"  video accuracy    {video}",
        f"  balanced accuracy {report['balanced_accuracy']:.3f}, macro F1 {report['macro_f1']:.3f}, "
        f"expected calibration error {report['expected_calibration_error']:.3f}",
        *_classes(report),
        *_controls(report),
        *_mistakes(report),
        f"  looks at the test part with this run so far: {report['test_uses']}",
    ]
    return "\n".join(lines + [f"  Warning: {warning}" for warning in report["warnings"]])


def _classes(report: dict) -> list[str]:
    """Precision, recall and F1, and the row of the confusion matrix, of each class."""
    width = max(len(name) for name in report["classes"])
    lines = [f"  {'class':<{width}}  precision  recall     F1  confusion (columns predicted, in the order of the rows)"]
    for name, counts in zip(report["classes"], report["confusion"], strict=True):
        precision, recall, f1 = (_share(report["per_class"][name][figure]) for figure in ("precision", "recall", "f1"))
        lines.append(f"  {name:<{width}}  {precision:>9}  {recall:>6}  {f1:>5}  " + " ".join(f"{n:>4}" for n in counts))
    return lines


def _controls(report: dict) -> list[str]:
    rows = [(report["frame_order"], report), *report["controls"].items()] if report["controls"] else []
    return ["  frames      clips  sequences  videos" for _ in rows[:1]] + [
        f"  {name:<10}  {row['clip_accuracy']:.3f}  {row['sequence_accuracy']:>9.3f}  {_share(row['video_accuracy']):>6}" for name, row in rows
    ]


def _mistakes(report: dict) -> list[str]:
    wrong = [report["predictions"][place] for place in report["mistakes"]]
    lines = [f"  wrong sequences: {len(wrong)}" + (", the most certain first:" if wrong else "")]
    for row in wrong[:_MISTAKES_SHOWN]:
        lines.append(f"    {row['sequence']}: {row['predicted']} ({max(row['probabilities']):.2f}) instead of {row['label']}")
    return lines


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
