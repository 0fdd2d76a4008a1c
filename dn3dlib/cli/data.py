"""Commands about data: catalog, prepare, split, verify, scan, download."""

from pathlib import Path
from typing import Annotated

import typer

from dn3dlib.cli.shell import JSON, SETTINGS, app, show
from dn3dlib.config import apply_settings
from dn3dlib.presets import find_preset

DATA = Annotated[Path, typer.Argument(help="A prepared data set.")]
DATASET = Annotated[str, typer.Option(help="synthetic, kth, merl, ucf101, list or folder; see data/README.md.")]
SOURCE = Annotated[Path | None, typer.Option(help="The raw videos; of synthetic: where they are made.")]
PROTOCOLS = "schuldt2004, gu2017, singh2016, ucf101-1 … 3, lists, by-subject[:0.6,0.2,0.2], loso:SUBJECT, fold:2/5, random-leaky"
PROTOCOL = Annotated[str, typer.Option(help=f"Who trains, validates and tests: {PROTOCOLS}.")]
CLASSES = Annotated[str, typer.Option(help="These classes alone, separated by commas.")]
SUBJECT_PATTERN = Annotated[str, typer.Option(help="Of folder and list: a regular expression with one group, the subject.")]
LABEL_PATTERN = Annotated[str, typer.Option(help="Of folder: a regular expression with one group, the class.")]
BACKGROUND = Annotated[bool, typer.Option("--background", help="Of merl: a sixth class, what lies between the instances.")]
TRAIN_LIST = Annotated[Path | None, typer.Option(help="Of list: a file of lines `path class`; paths below --source.")]
VALIDATION_LIST = Annotated[Path | None, typer.Option(help="Of list; default: a sixth of the training subjects.")]
TEST_LIST = Annotated[Path | None, typer.Option(help="Of list.")]
WORKERS = Annotated[int | None, typer.Option(help="Decoding processes; default: one for each core.")]
SEED = Annotated[int, typer.Option(help="Of the synthetic set, of background windows and of protocols that draw.")]


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
    show(as_json, summary, lambda: "\n".join([found.table(), *_describe_absent(found.absent), *_describe_leaks(found.protocol)]))


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
    workers: WORKERS = None,
    strict: Annotated[bool, typer.Option("--strict", help="Stop at the first video that is not sound.")] = False,
    as_json: JSON = False,
) -> None:
    """Turn raw videos into a prepared data set."""
    from dn3dlib.data.prepare import prepare as prepare_data

    sizes = {"height": height, "width": width, "channels": channels}
    given = [f"storage.{name}={value}" for name, value in sizes.items() if value is not None]
    storage = apply_settings({"storage": find_preset(preset).storage}, given + (settings or []))["storage"]
    options = {"subject_pattern": subject_pattern, "label_pattern": label_pattern, "background": background}
    found = _split_catalog(dataset, source, protocol, classes, seed, (train_list, validation_list, test_list), options)
    data = prepare_data(found, out, storage, workers, strict=strict)
    summary = data.summary()
    show(as_json, summary, lambda: _describe_data(data, summary))


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
    show(as_json, summary, lambda: _describe_data(changed, summary))


@app.command()
def verify(data: DATA, as_json: JSON = False) -> None:
    """Read every byte of a prepared data set and decode every frame."""
    from dn3dlib.data.records import verify as verify_data
    from dn3dlib.progress import progress_bar

    found = verify_data(data, lambda rows: progress_bar(rows, desc="verify", unit="sequence"))
    show(as_json, found, lambda: f"{data} is whole: " + ", ".join(f"{value:,} {name}" for name, value in found.items()))


@app.command()
def scan(
    folder: Annotated[Path, typer.Argument(help="A folder of videos, however nested.")],
    frames: Annotated[int, typer.Option(min=1, help="Of a clip: shorter videos are named.")] = 16,
    workers: WORKERS = None,
    as_json: JSON = False,
) -> None:
    """Decode every video below a folder and say what it holds, what is odd about it, or why it cannot be used."""
    from dn3dlib.data.scan import scan_folder

    found = scan_folder(folder, workers, frames)
    show(as_json, found, lambda: _describe_scan(found))


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
    show(as_json, found, lambda: f"{found['source']} holds the {found['videos']} videos of {name}. Next:\n  {found['next']}")


def _describe_leaks(protocol: str) -> list[str]:
    from dn3dlib.data.protocols import LEAKING_PROTOCOL, LEAKS

    return [f"  Warning: {LEAKS}"] if protocol == LEAKING_PROTOCOL else []


def _describe_absent(absent) -> list[str]:
    first = ", ".join(absent[:3]) + " …" * (len(absent) > 3)
    return [f"  not there, though the annotation or a list names them ({len(absent)}): {first}"] if absent else []


def _describe_data(data, summary: dict) -> str:
    lines = [f"{data.path}: {data.dataset}, {len(data.classes)} classes ({', '.join(data.classes)}), protocol {data.protocol}"]
    for split_name in ("train", "validation", "test"):
        counts = summary[split_name]
        lines.append(f"  {split_name:<11}{counts['sequences']:>6} sequences {counts['frames']:>8} frames {counts['subjects']:>4} subjects")
    lines += [f"  rejected {row['file']}: {row['reason']}" for row in summary["rejected"]]
    lines += [f"  used, but look at {row['file']}: {row['reason']}" for row in summary["doubtful"]]
    lines += [f"  shortened {r['sequence']}: {r['frames']} of {r['annotated']} annotated frames" for r in summary["shortened"]]
    lines += _describe_absent(summary["absent"])
    taught = {s.label for s in data.of_split("train")}
    lines += [f"  Warning: training never shows {label}." for label in data.classes if label not in taught]
    if not summary["test"]["sequences"]:
        lines.append("  Warning: there is no test part.")
    if not summary["validation"]["sequences"]:
        lines.append("  Warning: without a validation part, the best epoch is the last one.")
    lines += _describe_leaks(data.protocol)
    pairs = summary["near_duplicates"]
    for pair in pairs[:3]:
        (one, other), splits = pair["sequences"], pair["splits"]
        lines.append(f"  Warning: {one} ({splits[0]}) and {other} ({splits[1]}) show nearly the same: {' and '.join(pair['videos'])}.")
    lines += [f"  … and {len(pairs) - 3} pairs more that cross the split."] if len(pairs) > 3 else []
    return "\n".join(lines)


def _describe_scan(found: dict) -> str:
    rows, near, shown = found["videos"], found["near_duplicates"], 20
    lines = [f"{'verdict':<8} {'frames':>7} {'header':>7} {'size':>9} {'fps':>6} codec  video"]
    for row in rows:
        verdict, measures = "unusable", f"{'—':>7} {'':>7} {'':>9} {'':>6} {'':<5}"
        if row["usable"]:
            verdict, size = "doubtful" if row["reason"] else "ok", f"{row['width']}×{row['height']}"
            measures = f"{row['frames']:>7} {row['frames_in_header']:>7} {size:>9} {row['fps']:>6.2f} {row['codec']:<5}"
        lines.append(f"{verdict:<8} {measures}  {row['video']}" + (f": {row['reason']}" if row["reason"] else ""))
    lines.append(f"{len(rows)} videos, {found['bad']} that cannot be used; {found['other_files']} other files passed over")
    lines += [f"{count:>7} {reason}" for reason, count in found["reasons"].items()]
    if near:
        lines.append(f"Look-alikes, both of a pair to be kept in one split ({len(near)}):")
        lines += [f"{pair['similarity']:>7.3f} {pair['videos'][0]}  {pair['videos'][1]}" for pair in near[:shown]]
    if len(near) > shown:
        lines.append(f"        and {len(near) - shown} less alike; --json lists all")
    return "\n".join(lines)
