"""The command predict: what is in a video, as a timeline, a table, or an annotated video."""

import csv
import io
import sys
import tempfile
import threading
from pathlib import Path
from typing import Annotated

import typer

from dn3dlib.cli.shell import DEVICE, INTERRUPTED, JSON, app, show
from dn3dlib.errors import ConfigError, VideoError
from dn3dlib.files import plain_disk_errors, write_bytes

ENDINGS = (".csv", ".mp4")
_COLUMNS = ("video", "start", "end", "label", "certainty")


@app.command()
def predict(
    videos: Annotated[list[Path], typer.Argument(metavar="VIDEO...", help="Video files of any format.")],
    run: Annotated[Path, typer.Option(help="The run.")],
    out: Annotated[Path | None, typer.Option(help="A new file: .csv for a row of each segment, .mp4 for the video with its labels.")] = None,
    hop: Annotated[int | None, typer.Option(help="Frames between the starts of two windows; default: as in training.")] = None,
    threshold: Annotated[
        float | None, typer.Option(help="Windows less certain are none of these; 0: each gets a class; default: the run's, chosen on validation.")
    ] = None,
    device: DEVICE = "auto",
    as_json: JSON = False,
) -> None:
    """Say what a run's best network sees in videos, and when; an interrupt keeps what was found up to there."""
    _check(out, videos)
    from dn3dlib.evaluate.predict import predict as predict_videos
    from dn3dlib.train.interrupt import stop_on_interrupt

    found, refused, stop = [], [], threading.Event()
    with stop_on_interrupt(stop):
        options = {"hop": hop, "threshold": threshold, "device": device, "stop": stop, "refused": refused.append}
        for prediction in predict_videos(run, videos, **options):
            found.append(prediction)
            if not as_json:
                show(False, {}, lambda: _describe(found[-1]))
    if as_json:  # before a file that may not be written any more: what was found is told
        show(True, {"run": str(run), "videos": [_values(p) for p in found], "refused": [{"problem": str(e)} for e in refused]}, str)
    if out and found:
        _write(out, found)
    if stop.is_set() and (len(found) + len(refused) < len(videos) or not all(p.complete for p in found)):
        _say_where_it_stopped(found, videos, out)
        raise typer.Exit(INTERRUPTED)
    if refused:
        raise _all_of(refused, len(videos))


def _check(out: Path | None, videos: list[Path]) -> None:
    """Refuse, before anything is loaded, what could not be written."""
    if out is None:
        return
    if out.suffix.lower() not in ENDINGS:
        raise ConfigError(f"--out {out} ends in neither {' nor '.join(ENDINGS)}: end it in .csv for a table, in .mp4 for a video.")
    if out.exists():
        raise ConfigError(f"--out {out} already exists: choose another name.")
    if out.suffix.lower() == ".mp4" and len(videos) > 1:
        raise ConfigError(f"--out {out} is one video, but {len(videos)} are given: give one, or end --out in .csv, which holds all.")
    with plain_disk_errors(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=out.parent).close()  # an hour of video is not to end before a folder that takes no file


def _write(out: Path, found: list) -> None:
    if out.suffix.lower() == ".csv":
        text = io.StringIO()
        table = csv.writer(text)
        table.writerow(_COLUMNS)
        for prediction in found:
            table.writerows([prediction.video, f"{s.start:.3f}", f"{s.end:.3f}", s.name, f"{s.certainty:.4f}"] for s in prediction.segments)
        write_bytes(out, text.getvalue().encode(errors="backslashreplace"))
        return
    from dn3dlib.show.annotated import write_annotated
    from dn3dlib.train.interrupt import stop_on_interrupt

    stop = threading.Event()
    with stop_on_interrupt(stop):
        written = write_annotated(found[0], out, stop)
    if written < found[0].frames:
        print(f"Stopped while writing: {out} ends after {written} of {found[0].frames} frames.", file=sys.stderr)
        raise typer.Exit(INTERRUPTED)


def _values(prediction) -> dict:
    """A prediction, ready for JSON."""
    return {
        "video": str(prediction.video),
        "fps": prediction.fps,
        "frames": prediction.frames,
        "complete": prediction.complete,
        "threshold": prediction.threshold,
        "probabilities": _shares(prediction),
        "segments": [{"start": s.start, "end": s.end, "label": s.label, "certainty": s.certainty} for s in prediction.segments],
    }


def _shares(prediction) -> dict[str, float]:
    return {name: round(float(share), 6) for name, share in zip(prediction.classes, prediction.vote, strict=True)}


def _describe(prediction) -> str:
    """A timeline; of a video that shows one thing throughout, the class and all probabilities."""
    segments, limit = prediction.segments, prediction.threshold
    below = f"; windows less certain than {limit:.3f} are none of these" if limit else ""
    head = f"{prediction.video}: {clock(segments[-1].end)}, {prediction.frames} frames at {prediction.fps:g} frames/s"
    if len(segments) == 1:
        width = max(map(len, prediction.classes))
        rows = sorted(_shares(prediction).items(), key=lambda item: -item[1])
        return "\n".join([f"{head}: {segments[0].name}{below}", *(f"  {name:<{width}}  {share:.3f}" for name, share in rows)])
    width, wide = max(len(s.name) for s in segments), len(clock(segments[-1].end))
    lines = [f"  {clock(s.start):>{wide}} – {clock(s.end):>{wide}}  {s.name:<{width}}  {s.certainty:.2f}" for s in segments]
    return "\n".join([f"{head}{below}; behind each class its mean probability", *lines])


def clock(seconds: float) -> str:
    """Hours, minutes and seconds, as in 1:02:03.4 or 2:03.4."""
    tenths = round(seconds * 10)
    minutes, rest = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    return (f"{hours}:{minutes:02d}" if hours else f"{minutes}") + f":{rest // 10:02d}.{rest % 10}"


def _say_where_it_stopped(found: list, videos: list[Path], out: Path | None) -> None:
    kept = f" and kept in {out}" if out and found else ""
    if found and not found[-1].complete:
        where = f"at {clock(found[-1].segments[-1].end)} of {found[-1].video}"
    else:
        where = f"after {len(found)} of {len(videos)} videos"
    print(f"Stopped {where}; what was found up to there is told{kept}.", file=sys.stderr)


def _all_of(refused: list[VideoError], count: int) -> VideoError:
    """One error for all videos that could not be used."""
    if len(refused) == 1:
        return refused[0]
    return VideoError(f"{len(refused)} of {count} videos could not be used: {' '.join(f'({n}) {e}.' for n, e in enumerate(refused, 1))}", refused[0].reason)
