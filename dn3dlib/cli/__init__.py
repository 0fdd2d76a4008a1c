"""The shell command `dn3d`, also `python -m dn3dlib`: reads arguments, calls the library, prints."""

from dn3dlib.cli import compare, crossval, data, evaluation, explain, export, launch, predict, runs, sagemaker  # noqa: F401  their commands join the app
from dn3dlib.cli.shell import app, main

__all__ = ["app", "main"]
