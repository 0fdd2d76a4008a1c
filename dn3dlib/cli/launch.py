"""The command launch: several workers on this machine."""

from typing import Annotated

import typer

from dn3dlib.cli.shell import app


# From `train` on all is the training's, with `--` before it or without.
@app.command(context_settings={"allow_interspersed_args": False})
def launch(
    command: Annotated[list[str], typer.Argument(metavar="-- train …", help="The training, as `dn3d train` takes it; --out is needed.")],
    workers: Annotated[int, typer.Option(help="Processes that train together.")] = 2,
) -> None:
    """Train with several workers on this machine, as several hosts would: each in a process of its own.

    Workers cannot share a GPU: where this machine has any, add --device cpu; to use them all, train with --strategy mirrored instead.
    """
    from dn3dlib.deploy.launch import launch as launch_workers

    if status := launch_workers(command, workers):
        raise typer.Exit(status)
