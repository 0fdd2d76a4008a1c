"""What all commands share: the app, options that mean the same everywhere, printing, and the exit status.

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
from dn3dlib.errors import Dn3dError

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    help="Video action recognition with 3D-DenseNet: prepare videos, train, evaluate.",
)

JSON = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output and nothing else.")]
DEVICE = Annotated[str, typer.Option(help="auto, cpu, gpu:0 …")]
DEVICES = Annotated[str, typer.Option("--device", help="auto, cpu, gpu:0 …; cpus:2: the processor as two devices, to try --strategy mirrored.")]
STRATEGY = Annotated[
    str,
    typer.Option(
        help="one: one device; mirrored: a replica on each GPU; multiworker: with the other processes that TF_CONFIG names; auto: multiworker "
        "where it names more than one, mirrored where there are several GPUs. The batch is that of all replicas together."
    ),
]
SETTINGS = Annotated[list[str] | None, typer.Option("--set", help="A parameter, as in --set model.depth=40; may be repeated.")]
PRESET = Annotated[str | None, typer.Option(help="Clip, model and training; see `dn3d presets`.")]
EPOCHS = Annotated[int | None, typer.Option(help="train.epochs")]
BATCH_SIZE = Annotated[int | None, typer.Option(help="train.batch_size")]
FRAMES = Annotated[int | None, typer.Option(help="clip.frames")]
SEED = Annotated[int | None, typer.Option(help="train.seed")]
PRECISION = Annotated[str | None, typer.Option(help="train.precision: float32, bfloat16, float16 (GPU), or auto: the fastest here.")]
INIT_FROM = Annotated[Path | None, typer.Option(help="Start from the best weights of this run; the head is new where the classes are other ones.")]
INTERRUPTED = 130


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


def show(as_json: bool, value: dict, text: Callable[[], str]) -> None:
    """Print `value` as JSON, or else what `text` makes of it."""
    try:
        shown = json.dumps(value, ensure_ascii=False) if as_json else text()
        print(shown.encode(errors="backslashreplace").decode(), flush=True)  # a file's name may be no UTF-8
    except BrokenPipeError:  # the reader has gone, as in `dn3d presets | head -1`; what Python writes at its end goes nowhere
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
