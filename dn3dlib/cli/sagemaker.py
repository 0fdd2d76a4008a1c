"""The commands `dn3d sagemaker submit | status | fetch | stop`."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from dn3dlib.cli.runs import given_settings
from dn3dlib.cli.shell import BATCH_SIZE, EPOCHS, FRAMES, JSON, PRECISION, PRESET, SEED, SETTINGS, app, show

sagemaker = typer.Typer(help="Train on hired machines of AWS; `submit --dry-run` first: it prints all that would be created, and creates nothing.")
app.add_typer(sagemaker, name="sagemaker")

JOB = Annotated[str, typer.Argument(help="The job's name, as `submit` printed it.")]
REGION = Annotated[str, typer.Option(help="Of AWS; default: that of AWS's own settings.")]


@sagemaker.command()
def submit(
    data: Annotated[Path, typer.Option(help="A prepared data set.")],
    bucket: Annotated[str, typer.Option(help="Where in S3 everything lies, as in s3://my-bucket/dn3d.")],
    role: Annotated[str, typer.Option(help="ARN of the role that the job takes; deploy/iam-role-policy.json lists its rights.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what would be created, and create nothing; needs no account.")] = False,
    preset: PRESET = None,
    epochs: EPOCHS = None,
    batch_size: BATCH_SIZE = None,
    frames: FRAMES = None,
    seed: SEED = None,
    precision: PRECISION = None,
    settings: SETTINGS = None,
    name: Annotated[str, typer.Option(help="Of the job; default: preset and time.")] = "",
    region: REGION = "",
    instance_type: Annotated[str, typer.Option(help="The kind of machine.")] = "ml.g5.xlarge",
    instances: Annotated[int, typer.Option(help="How many machines.")] = 1,
    spot: Annotated[bool, typer.Option("--spot", help="Machines that AWS may take back: cheaper; it goes on from the last checkpoint.")] = False,
    max_hours: Annotated[float, typer.Option(help="Of running time, after which SageMaker ends the job.")] = 4.0,
    max_wait_hours: Annotated[float | None, typer.Option(help="With --spot: running and waiting; default: twice --max-hours.")] = None,
    image: Annotated[str, typer.Option(help="URI of the container; default: AWS's own for TensorFlow 2.21.")] = "",
    as_json: JSON = False,
) -> None:
    """Start `dn3d train` on SageMaker; with --dry-run say only what would be created."""
    from dn3dlib.deploy.job import plan_job
    from dn3dlib.deploy.sagemaker import describe_job
    from dn3dlib.deploy.sagemaker import submit as submit_job

    given = given_settings(settings, epochs=epochs, batch_size=batch_size, frames=frames, seed=seed, precision=precision)
    job = plan_job(
        data, bucket, role, preset=preset, settings=given, name=name, region=region, instance_type=instance_type,
        instances=instances, spot=spot, max_hours=max_hours, max_wait_hours=max_wait_hours, image=image,
    )  # fmt: skip
    if not dry_run:
        submit_job(job, say=lambda line: print(line, file=sys.stderr))
    values = {"dry_run": dry_run, **describe_job(job)}
    heading = "This would be created; nothing was:" if dry_run else f"Started. How it stands: dn3d sagemaker status {values['job']}"
    show(as_json, values, lambda: "\n".join([heading, *_lines(values)]))


@sagemaker.command()
def status(job: JOB, region: REGION = "", as_json: JSON = False) -> None:
    """Say how a job stands."""
    from dn3dlib.deploy.aws import chosen_region
    from dn3dlib.deploy.sagemaker import status as status_of

    values = status_of(job, chosen_region(region))
    show(as_json, values, lambda: "\n".join(_lines(values)))


@sagemaker.command()
def fetch(
    job: JOB,
    out: Annotated[Path, typer.Option(help="The run's folder, new.")],
    region: REGION = "",
    as_json: JSON = False,
) -> None:
    """Bring the run of a job that has ended here."""
    from dn3dlib.deploy.aws import chosen_region, mask
    from dn3dlib.deploy.sagemaker import fetch as fetch_run

    fetch_run(job, chosen_region(region), out)
    show(as_json, {"job": mask(job), "run": str(out)}, lambda: f"The run is in {out}: dn3d evaluate --run {out} --data …")


@sagemaker.command()
def stop(job: JOB, region: REGION = "", as_json: JSON = False) -> None:
    """Stop a job; what it has reached can be fetched."""
    from dn3dlib.deploy.aws import chosen_region, mask
    from dn3dlib.deploy.sagemaker import stop as stop_job

    stop_job(job, chosen_region(region))
    name = mask(job)
    show(as_json, {"job": name, "asked_to_stop": True}, lambda: f"{name} has been asked to stop: dn3d sagemaker status {name}")


def _lines(values: dict) -> list[str]:
    """A line for each value; what is in a dict follows, indented."""
    lines = []
    for name, value in values.items():
        if isinstance(value, dict):
            lines += [f"  {name}:", *(f"    {key}: {format(item, ',') if isinstance(item, int) else item}" for key, item in value.items())]
        else:
            shown = ", ".join(value) if isinstance(value, list) else "none" if value is None else format(value, ",") if type(value) is int else value
            lines.append(f"  {name}: {shown}")
    return lines
