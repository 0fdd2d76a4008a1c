"""The shell command `dn3d`, also `python -m dn3dlib`: reads arguments, calls the library, prints.

Exit status: 0 done, 2 the user's input is wrong, 1 a fault of ours, 130 interrupted (a run can be resumed).
"""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from dn3dlib import __version__
from dn3dlib.config import apply_settings, nearest, to_dict
from dn3dlib.errors import ConfigError, DataError, Dn3dError
from dn3dlib.presets import PRESETS, Preset, find_preset

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    help="Video action recognition with 3D-DenseNet: prepare videos, train, evaluate.",
)

JSON = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output and nothing else.")]
DEVICE = Annotated[str, typer.Option(help="auto, cpu, gpu:0 …")]
SETTINGS = Annotated[list[str] | None, typer.Option("--set", help="A parameter, as in --set model.depth=40; may be repeated.")]
DATA = Annotated[Path, typer.Argument(help="A prepared data set.")]
DATASET = Annotated[str, typer.Option(help="synthetic, kth, merl, ucf101, list or folder; see data/README.md.")]
SOURCE = Annotated[Path | None, typer.Option(help="The raw videos; of synthetic: where they are made.")]
PROTOCOLS = "schuldt2004, gu2017, singh2016, ucf101-1 … 3, lists, by-subject[:0.6,0.2,0.2], loso:SUBJECT, random-leaky"
PROTOCOL = Annotated[str, typer.Option(help=f"Who trains, validates and tests: {PROTOCOLS}.")]
CLASSES = Annotated[str, typer.Option(help="These classes alone, separated by commas.")]
SUBJECT_PATTERN = Annotated[str, typer.Option(help="Of folder and list: a regular expression with one group, the subject.")]
LABEL_PATTERN = Annotated[str, typer.Option(help="Of folder: a regular expression with one group, the class.")]
BACKGROUND = Annotated[bool, typer.Option("--background", help="Of merl: a sixth class, what lies between the instances.")]
TRAIN_LIST = Annotated[Path | None, typer.Option(help="Of list: a file of lines `path class`; paths below --source.")]
VALIDATION_LIST = Annotated[Path | None, typer.Option(help="Of list; default: a sixth of the training subjects.")]
TEST_LIST = Annotated[Path | None, typer.Option(help="Of list.")]
SEED = Annotated[int, typer.Option(help="Of the synthetic set, of background windows and of protocols that draw.")]
INTERRUPTED = 130


@app.command()
def catalog(
    dataset: DATASET,
    source: SOURCE = None,
    protocol: PROTOCOL = "",
    classes: CLASSES = "",
    subject_pattern: SUBJECT_PATTERN = "",
    label_pattern: LABEL_PATTERN = "",
    background: BACKGROUND = False,
    train_list: TRAIN_LIST = None,
    validation_list: VALIDATION_LIST = None,
    test_list: TEST_LIST = None,
    annotated: Annotated[bool, typer.Option("--annotated", help="Count also what is annotated or listed but not there.")] = False,
    seed: SEED = 0,
    as_json: JSON = False,
) -> None:
    """Count what raw videos hold, by class and split, before anything is decoded."""
    options = {"subject_pattern": subject_pattern, "label_pattern": label_pattern, "background": background, "annotated": annotated}
    found = _split_catalog(dataset, source, protocol, classes, seed, (train_list, validation_list, test_list), options)
    summary = {"dataset": dataset, "source": str(found.source_dir), "protocol": found.protocol, "seed": seed, **found.summary()}
    _print(as_json, summary, lambda: _describe_catalog(summary))


@app.command()
def prepare(
    dataset: DATASET,
    out: Annotated[Path, typer.Option(help="The folder to make.")],
    source: SOURCE = None,
    preset: Annotated[str, typer.Option(help="Storage to fit this preset; see `dn3d presets`.")] = "quick",
    height: Annotated[int | None, typer.Option(help="Of a stored frame, in pixels.")] = None,
    width: Annotated[int | None, typer.Option(help="Of a stored frame, in pixels.")] = None,
    channels: Annotated[int | None, typer.Option(help="1: grey, 3: RGB.")] = None,
    settings: SETTINGS = None,
    protocol: PROTOCOL = "",
    classes: CLASSES = "",
    subject_pattern: SUBJECT_PATTERN = "",
    label_pattern: LABEL_PATTERN = "",
    background: BACKGROUND = False,
    train_list: TRAIN_LIST = None,
    validation_list: VALIDATION_LIST = None,
    test_list: TEST_LIST = None,
    seed: SEED = 0,
    workers: Annotated[int | None, typer.Option(help="Decoding processes; default: one for each core.")] = None,
    as_json: JSON = False,
) -> None:
    """Turn raw videos into a prepared data set."""
    from dn3dlib.data.prepare import prepare as prepare_data

    sizes = {"height": height, "width": width, "channels": channels}
    given = [f"storage.{name}={value}" for name, value in sizes.items() if value is not None]
    storage = apply_settings({"storage": find_preset(preset).storage}, given + (settings or []))["storage"]
    options = {"subject_pattern": subject_pattern, "label_pattern": label_pattern, "background": background}
    found = _split_catalog(dataset, source, protocol, classes, seed, (train_list, validation_list, test_list), options)
    for line in _describe_absent(found.absent):
        print(line, file=sys.stderr)
    data = prepare_data(found, out, storage, workers)
    summary = data.summary()
    _print(as_json, summary, lambda: _describe_data(data, summary))


def _split_catalog(dataset: str, source: Path | None, protocol: str, classes: str, seed: int, lists: tuple, options: dict):
    """The catalog that `prepare` and `catalog` are asked for."""
    from dn3dlib.data.protocols import SPLITS
    from dn3dlib.data.sources import DEFAULT_PROTOCOLS, read_catalog

    given = {split: path for split, path in zip(SPLITS, lists, strict=True) if path}
    found = read_catalog(dataset, source or "", lists=given, seed=seed, **options)
    if classes:
        found = found.only_classes(name.strip() for name in classes.split(",") if name.strip())
    return found.split_by(protocol or DEFAULT_PROTOCOLS[dataset], seed)


@app.command()
def split(
    data: DATA,
    protocol: PROTOCOL,
    seed: Annotated[int, typer.Option(help="Of protocols that draw.")] = 0,
    as_json: JSON = False,
) -> None:
    """Assign train, validation and test anew, without touching a frame."""
    from dn3dlib.data.manifest import DataSet

    changed = DataSet.open(data).split_by(protocol, seed)
    summary = changed.summary()
    _print(as_json, summary, lambda: _describe_data(changed, summary))


@app.command()
def train(
    out: Annotated[Path, typer.Option(help="The run's folder, new; with --resume the one to go on with.")],
    data: Annotated[Path | None, typer.Option(help="A prepared data set; with --resume only where it has moved.")] = None,
    preset: Annotated[str | None, typer.Option(help="Clip, model and training; see `dn3d presets`.")] = None,
    epochs: Annotated[int | None, typer.Option(help="train.epochs")] = None,
    batch_size: Annotated[int | None, typer.Option(help="train.batch_size")] = None,
    frames: Annotated[int | None, typer.Option(help="clip.frames")] = None,
    seed: Annotated[int | None, typer.Option(help="train.seed")] = None,
    settings: SETTINGS = None,
    init_from: Annotated[Path | None, typer.Option(help="Start from the best weights of this run.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with an interrupted run.")] = False,
    device: DEVICE = "auto",
    as_json: JSON = False,
) -> None:
    """Train a network; an existing run is refused without --resume."""
    short = {"train.epochs": epochs, "train.batch_size": batch_size, "clip.frames": frames, "train.seed": seed}
    given = [f"{name}={value}" for name, value in short.items() if value is not None] + (settings or [])
    if resume:
        history = _resume(out, data, device, preset, init_from, given)
    else:
        history = _train_new(out, data, device, preset, init_from, given)
    from dn3dlib.train.runs import Run

    wanted = Run.open(out).train.epochs
    last = history[-1] if history else {}
    _print(as_json, {"run": str(out), "epochs": len(history), "of_epochs": wanted, "last": last}, lambda: _describe_run(out, last))
    if len(history) < wanted:
        raise typer.Exit(INTERRUPTED)


def _train_new(out: Path, data: Path | None, device: str, preset: str | None, init_from: Path | None, given: list[str]) -> list[dict]:
    from dn3dlib.data.manifest import DataSet
    from dn3dlib.train.loop import train as train_network

    if data is None:
        raise ConfigError("--data is missing: name the prepared data set to train on; `dn3d prepare` makes one.")
    opened = DataSet.open(data)
    chosen = find_preset(preset or "quick")
    if preset:
        check_storage_fits(chosen, opened)
    configs = apply_settings({name: chosen.configs[name] for name in ("clip", "model", "train")}, given)
    return train_network(data, out, configs["clip"], configs["model"], configs["train"], init_from=init_from, device=device)


def _resume(out: Path, data: Path | None, device: str, preset: str | None, init_from: Path | None, given: list[str]) -> list[dict]:
    from dn3dlib.train.loop import resume
    from dn3dlib.train.runs import Run

    run = Run.open(out)
    if preset or init_from:
        raise ConfigError(f"--resume goes on with the settings of {out}: leave out --preset and --init-from.")
    own = {"clip": run.clip, "model": run.model, "train": run.train}
    for name, config in apply_settings(own, given).items():
        for field, value in to_dict(config).items():
            if value != getattr(own[name], field):
                raise ConfigError(
                    f"--resume goes on with the settings of {out}: {name}.{field} is {getattr(own[name], field)!r} there, not "
                    f"{value!r}; leave it out, or start a new run with --init-from {out}."
                )
    return resume(out, data, device=device)


def check_storage_fits(preset: Preset, data) -> None:
    """Raise ConfigError where a data set was prepared in another size than a preset wants, with the command that fits."""
    if data.storage.frame_shape != preset.storage.frame_shape:
        raise ConfigError(
            f"The preset {preset.name} wants frames of {preset.storage.frame_shape} (height, width, channels), but {data.path} holds "
            f"{data.storage.frame_shape}. This, with whatever other options it was prepared with, makes one that fits: dn3d prepare --dataset {data.dataset} --source … "
            f"--protocol {data.protocol} --preset {preset.name} --out …"
        )


@app.command()
def evaluate(
    run: Annotated[Path, typer.Option(help="The run.")],
    data: Annotated[Path | None, typer.Option(help="A prepared data set; default: the run's own.")] = None,
    split: Annotated[str, typer.Option(help="train, validation or test.")] = "test",
    batch_size: Annotated[int | None, typer.Option(help="Clips computed at once; default: as in training.")] = None,
    device: DEVICE = "auto",
    as_json: JSON = False,
) -> None:
    """Evaluate a run's best network on one split."""
    from dn3dlib.evaluate.report import evaluate as evaluate_run

    report = evaluate_run(run, data, split, batch_size=batch_size, device=device)
    _print(as_json, report, lambda: _describe_report(report))


@app.command()
def verify(data: DATA, as_json: JSON = False) -> None:
    """Read every byte of a prepared data set and decode every frame."""
    from dn3dlib.data.records import verify as verify_data
    from dn3dlib.progress import progress_bar

    found = verify_data(data, lambda rows: progress_bar(rows, desc="verify", unit="sequence"))
    _print(as_json, found, lambda: f"{data} is whole: " + ", ".join(f"{value:,} {name}" for name, value in found.items()))


@app.command()
def scan(
    folder: Annotated[Path, typer.Argument(help="A folder of videos, however nested.")],
    workers: Annotated[int | None, typer.Option(help="Decoding processes; default: one for each core.")] = None,
    as_json: JSON = False,
) -> None:
    """Decode every video below a folder and say what it holds, or why it cannot be used."""
    from dn3dlib.data.scan import scan_folder

    rows = scan_folder(folder, workers)
    bad = sum(bool(row["problem"]) for row in rows)
    _print(as_json, {"videos": rows, "bad": bad}, lambda: _describe_scan(rows, bad))


@app.command()
def download(
    name: Annotated[str, typer.Argument(metavar="NAME", help="kth.")],
    out: Annotated[Path | None, typer.Option(help="Where the videos go; default: NAME-videos in the kit's own data/.")] = None,
    from_dir: Annotated[Path | None, typer.Option("--from", help="A folder of published files that you have; fetches nothing.")] = None,
    as_json: JSON = False,
) -> None:
    """Fetch a data set from its owners, check it and unpack it; goes on where it was stopped."""
    from dn3dlib.data.download import download as download_data

    found = download_data(name, out, from_dir)
    _print(as_json, found, lambda: f"{found['source']} holds the {found['videos']} videos of {name}. Next:\n  {found['next']}")


@app.command()
def info(
    target: Annotated[str, typer.Argument(metavar="PATH-or-PRESET", help="A prepared data set, a run, a video or a preset.")],
    as_json: JSON = False,
) -> None:
    """Say what a data set, a run, a video or a preset is."""
    value = _info(target)
    _print(as_json, value, lambda: _describe_values(value))


@app.command()
def presets(as_json: JSON = False) -> None:
    """List the presets: storage, clip, model and training that fit together."""
    rows = [{"name": p.name, "about": p.about, "parameters": p.parameters, "published": p.published} for p in PRESETS.values()]
    lines = [f"{r['name']:<10} {r['parameters']:>9,} parameters  {r['about']}" + f"  {r['published']}" for r in rows]
    _print(as_json, {"presets": rows}, lambda: "\n".join(line.rstrip() for line in lines))


def _info(target: str) -> dict:
    from dn3dlib.data.manifest import MANIFEST, DataSet
    from dn3dlib.train.runs import CONFIG, Run

    path = Path(target)
    if target in PRESETS and not path.exists():
        preset = PRESETS[target]
        values = {name: to_dict(config) for name, config in preset.configs.items()}
        return {"preset": target, "about": preset.about, "published": preset.published, **_network(preset.model, preset), **values}
    if (path / MANIFEST).is_file():
        data = DataSet.open(path)
        about = {"dataset": data.dataset, "protocol": data.protocol, "classes": list(data.classes), "fingerprint": data.fingerprint}
        return {"data": target, **about, "storage": to_dict(data.storage), **data.summary()}
    if (path / CONFIG).is_file():
        run = Run.open(path)
        rows = run.history()
        done = {"epochs_done": len(rows), "last": rows[-1] if rows else {}}
        return {"run": target, **done, "true_depth": run.model.true_depth, **run.to_dict()}
    if path.is_file():
        from dn3dlib.data.video import probe

        return {name: str(value) if isinstance(value, Path) else value for name, value in vars(probe(path)).items()}
    if path.is_dir():
        raise DataError(f"The folder {path} is neither a prepared data set nor a run: `dn3d scan {path}` looks at its videos.")
    raise ConfigError(f"There is neither a file nor a folder {target} nor a preset of that name: {nearest(target, PRESETS)}")


def _network(model, preset: Preset) -> dict:
    """Depth and parameters as really built."""
    from dn3dlib.model.densenet3d import build_model

    network = build_model(model, (preset.clip.frames, *preset.storage.frame_shape), 6)
    parameters = sum(variable.value.shape.num_elements() for variable in network.trainable_variables)
    return {"true_depth": model.true_depth, "layers_per_block": model.layers_per_block, "parameters": parameters}


def _print(as_json: bool, value: dict, text: Callable[[], str]) -> None:
    try:
        print(json.dumps(value, ensure_ascii=False) if as_json else text(), flush=True)
    except BrokenPipeError:  # the reader has gone, as in `dn3d presets | head -1`; what Python writes at its end goes nowhere
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _describe_catalog(summary: dict) -> str:
    parts = ("train", "validation", "test", "all")
    counts = {kind: {part: summary[part][kind] for part in parts} for kind in ("sequences", "videos", "subjects")}
    width = max(map(len, [*summary["classes"], *counts]))

    def line(name: str, cells) -> str:
        return f"  {name:<{width}} " + " ".join(f"{cell:>10}" for cell in cells)

    lines = [f"{summary['source']}: {summary['dataset']}, protocol {summary['protocol']}", line("class", parts)]
    lines += [line(name, (row[part] for part in parts)) for name, row in [*summary["classes"].items(), *counts.items()]]
    return "\n".join([*lines, *_describe_absent(summary["absent"])])


def _describe_absent(absent) -> list[str]:
    first = ", ".join(absent[:3]) + " …" * (len(absent) > 3)
    return [f"  not there, though the annotation or a list names them ({len(absent)}): {first}"] if absent else []


def _describe_data(data, summary: dict) -> str:
    lines = [f"{data.path}: {data.dataset}, {len(data.classes)} classes ({', '.join(data.classes)}), protocol {data.protocol}"]
    for split_name in ("train", "validation", "test"):
        counts = summary[split_name]
        lines.append(f"  {split_name:<11}{counts['sequences']:>6} sequences {counts['frames']:>8} frames {counts['subjects']:>4} subjects")
    lines += [f"  rejected {row['file']}: {row['reason']}" for row in summary["rejected"]]
    lines += [f"  shortened {r['sequence']}: {r['frames']} of {r['annotated']} annotated frames" for r in summary["shortened"]]
    taught = {s.label for s in data.of_split("train")}
    lines += [f"  Warning: training never shows {label}." for label in data.classes if label not in taught]
    if not summary["validation"]["sequences"]:
        lines.append("  Warning: without a validation part, the best epoch is the last one.")
    if data.leaks:
        lines.append("  Warning: this protocol leaks on purpose: accuracies on it are too high.")
    return "\n".join(lines)


def _describe_run(out: Path, last: dict) -> str:
    figures = ", ".join(f"{name} {value:.4g}" for name, value in last.items() if isinstance(value, int | float))
    return f"{out}: {figures or 'no epoch finished yet'}"


def _describe_report(report: dict) -> str:
    interval = report["sequence_accuracy_interval"]
    spread = f" (95 %: {interval[0]:.3f} to {interval[1]:.3f})" if interval else " (no interval: fewer than two subjects)"
    width = max(len(name) for name in report["classes"])
    lines = [
        f"{report['split']}: {report['sequences']} sequences of {report['subjects']} subjects, {report['clips']} clips",
        f"  sequence accuracy {report['sequence_accuracy']:.3f}{spread}",
        f"  clip accuracy     {report['clip_accuracy']:.3f}",
        "  confusion (rows true, columns predicted, in the order of the rows):",
    ]
    lines += [
        f"    {name:<{width}} " + " ".join(f"{n:>4}" for n in row)
        for name, row in zip(report["classes"], report["confusion"], strict=True)
    ]
    return "\n".join(lines + [f"  Warning: {warning}" for warning in report["warnings"]])


def _describe_scan(rows: list[dict], bad: int) -> str:
    lines = [f"{'frames':>7} {'header':>7} {'size':>9} {'fps':>6} codec  video"]
    for row in rows:
        if row["problem"]:
            lines.append(f"{'—':>7} {'':>7} {'':>9} {'':>6} {'':<5}  {row['video']}: {row['problem']}")
        else:
            size = f"{row['width']}×{row['height']}"
            lines.append(
                f"{row['frames']:>7} {row['frames_in_header']:>7} {size:>9} {row['fps']:>6.2f} {row['codec']:<5}  {row['video']}"
            )
    return "\n".join([*lines, f"{len(rows)} videos, {bad} that cannot be used"])


def _describe_values(values: dict, indent: str = "") -> str:
    lines = []
    for name, value in values.items():
        if isinstance(value, dict) and value:
            lines += [f"{indent}{name}:", _describe_values(value, indent + "  ")]
        else:
            shown = ", ".join(map(str, value)) if isinstance(value, list | tuple) else value
            lines.append(f"{indent}{name}: {shown}")
    return "\n".join(lines)


@app.callback(invoke_without_command=True)
def _main(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and end.")] = False,
) -> None:
    if version:
        print(f"dn3d {__version__}")
        raise typer.Exit()
    if context.invoked_subcommand is None:
        print(context.get_help())


def main(arguments: list[str] | None = None) -> int:
    """Run the shell command; returns the exit status."""
    try:
        status = app(arguments, standalone_mode=False, prog_name="dn3d")
    except typer.exceptions.TyperException as error:  # an option or a command that is none
        return _refuse(error.format_message())
    except Dn3dError as error:
        return _refuse(str(error))
    except (KeyboardInterrupt, typer.Abort):
        print("dn3d: interrupted", file=sys.stderr)
        return INTERRUPTED
    return status if isinstance(status, int) else 0


def _refuse(sentence: str) -> int:
    print(f"dn3d: error: {' '.join(sentence.split())}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
