"""SageMaker: hire machines for one training, look how it goes, bring the run back, stop it.

`submit --dry-run` first: it prints all that would be created and asks AWS for nothing, so it needs neither account nor network.

boto3 alone does it: on top of the kit it takes 35 MB, four packages and 8 s to install. SageMaker's own Python SDK (3.27, `ModelTrainer`)
takes 132 packages, 1 GB and three minutes, mlflow and pyarrow among them, and wants protobuf below 7 and rich below 15, against the
versions that the kit is tested with; of all that a training needs one request.

What has not been tried, since it takes an account: a job on a real machine; that the image for TensorFlow 2.21 exists in each region and takes the
kit's requirements; that SageMaker brings checkpoints back to a new spot machine whole, and to several machines the same; SIGTERM from
SageMaker; that its metrics show the figures; prices, quotas and start times; the rights of the role (`iam-role-policy.json`).
"""

import shutil
import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path

from dn3dlib.deploy.aws import AwsError, client, errors_in_a_sentence, mask
from dn3dlib.deploy.job import Job
from dn3dlib.files import folder_written_beside
from dn3dlib.train.runs import CONFIG

_ENDED = ("Completed", "Failed", "Stopped", "Deleted")


def describe_job(job: Job) -> dict:
    """All that `submit` would create, ready for JSON, with account numbers masked."""
    request, sizes = job.request, job.upload_bytes
    resources, stop = request["ResourceConfig"], request["StoppingCondition"]
    return mask(
        {
            "job": job.name,
            "region": job.region,
            "image": request["AlgorithmSpecification"]["TrainingImage"],
            "instance_type": resources["InstanceType"],
            "instances": resources["InstanceCount"],
            "volume_gb": resources["VolumeSizeInGB"],
            "spot": request["EnableManagedSpotTraining"],
            "max_run_seconds": stop["MaxRuntimeInSeconds"],
            "max_wait_seconds": stop.get("MaxWaitTimeInSeconds"),
            "role": request["RoleArn"],
            "hyperparameters": request["HyperParameters"],
            "uploads": {f"s3://{job.bucket}/{key}": size for key, size in sizes.items()},
            "upload_bytes": sum(sizes.values()),
            "checkpoints": request["CheckpointConfig"]["S3Uri"],
            "output": f"{request['OutputDataConfig']['S3OutputPath']}/{job.name}/output/",
            "metrics": [metric["Name"] for metric in request["AlgorithmSpecification"]["MetricDefinitions"]],
        }
    )


def submit(job: Job, say: Callable[[str], None] = print) -> None:
    """Upload what the bucket does not hold yet and start the job; where that fails, what was uploaded is removed again.

    Args:
        job: as `plan_job` made it.
        say: told of each upload in a line.

    Raises:
        AwsError: no credentials, no such bucket, a missing right, a name that is taken …; nothing is left running.
    """
    s3, sagemaker = client("s3", job.region), client("sagemaker", job.region)
    uploaded = []
    try:
        with errors_in_a_sentence():
            for key in _missing(s3, job):
                say(mask(f"Uploading {job.upload_bytes[key]:,} bytes to s3://{job.bucket}/{key}"))
                _upload(s3, job.bucket, key, job.uploads[key])
                uploaded.append(key)
            sagemaker.create_training_job(**job.request)
    except BaseException:
        _remove(s3, job.bucket, uploaded, say)
        raise


def _missing(s3, job: Job) -> list[str]:
    """The keys that the bucket does not hold; raises AwsError where it holds a job of this name."""
    if _sizes(s3, job.bucket, job.prefix):
        raise AwsError(f"s3://{job.bucket}/{job.prefix} holds a job of this name already: choose another with --name.")
    there = _sizes(s3, job.bucket, job.data_prefix)  # which is named by its content
    return [key for key, size in job.upload_bytes.items() if there.get(key) != size]


def _sizes(s3, bucket: str, prefix: str) -> dict[str, int]:
    """Key → bytes of what lies in a folder of a bucket."""
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=f"{prefix}/")
    return {entry["Key"]: entry["Size"] for page in pages for entry in page.get("Contents", [])}


def _upload(s3, bucket: str, key: str, item: Path | bytes) -> None:
    if isinstance(item, bytes):
        s3.put_object(Bucket=bucket, Key=key, Body=item)
        return
    with item.open("rb") as file:
        s3.put_object(Bucket=bucket, Key=key, Body=file)


def _remove(s3, bucket: str, keys: list[str], say: Callable[[str], None]) -> None:
    """Remove what was uploaded, saying what has to stay; the error that led here is the one to be raised."""
    for key in keys:
        try:
            with errors_in_a_sentence():
                s3.delete_object(Bucket=bucket, Key=key)
        except AwsError as error:
            say(mask(f"s3://{bucket}/{key} could not be removed: {error}"))


def status(name: str, region: str) -> dict:
    """How a job stands, ready for JSON: status, seconds, figures, the reason of a failure; account numbers are masked.

    Raises:
        AwsError: no such job, no credentials …
    """
    return mask(_status(_describe(name, region)))


def _describe(name: str, region: str) -> dict:
    sagemaker = client("sagemaker", region)
    with errors_in_a_sentence():
        return sagemaker.describe_training_job(TrainingJobName=name)


def _status(described: dict) -> dict:
    started, ended = described.get("TrainingStartTime"), described.get("TrainingEndTime")
    return {
        "job": described["TrainingJobName"],
        "status": described["TrainingJobStatus"],
        "step": described.get("SecondaryStatus"),
        "started": started and started.isoformat(),
        "ended": ended and ended.isoformat(),
        "training_seconds": described.get("TrainingTimeInSeconds"),
        "billable_seconds": described.get("BillableTimeInSeconds"),
        "figures": {metric["MetricName"]: metric["Value"] for metric in described.get("FinalMetricDataList", [])},
        "failure": described.get("FailureReason"),
        "model": described.get("ModelArtifacts", {}).get("S3ModelArtifacts"),
    }


def fetch(name: str, region: str, run_dir: Path) -> Path:
    """Bring a job's run here: settings, history and best network, for `evaluate`, `predict` and `runs`.

    Args:
        name: of the job.
        region: where it ran.
        run_dir: the run's folder, new.

    Returns:
        `run_dir`.

    Raises:
        AwsError: the job has not ended, or has left no run; the folder is there already; no such job, no credentials …
    """
    run_dir = Path(run_dir)
    if run_dir.exists():
        raise AwsError(f"The run folder {run_dir} already exists: choose another folder.")
    described = _describe(name, region)
    state, place = described["TrainingJobStatus"], described.get("ModelArtifacts", {}).get("S3ModelArtifacts", "")
    if state not in _ENDED or not place:
        reason = f" ({described['FailureReason']})" if described.get("FailureReason") else ""
        raise AwsError(f"The job {name} is {state}{reason}: there is no run to fetch {'yet' if state not in _ENDED else 'from it'}.")
    bucket, _, key = place.removeprefix("s3://").partition("/")
    with errors_in_a_sentence(), folder_written_beside(run_dir) as partial:
        packed = partial / "model.tar.gz"
        with packed.open("wb") as file:
            shutil.copyfileobj(client("s3", region).get_object(Bucket=bucket, Key=key)["Body"], file)
        _unpack(packed, name)
    return run_dir


def _unpack(packed: Path, name: str) -> None:
    """The files of an archive beside it, which is removed; raises AwsError where they are no run."""
    try:
        with tarfile.open(packed, "r:gz") as archive:
            archive.extractall(packed.parent, filter="data")
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise AwsError(f"The results of the job {name} are damaged ({error}): fetch them again.") from error
    packed.unlink()
    if not (packed.parent / CONFIG).is_file():
        raise AwsError(f"The results of the job {name} hold no {CONFIG}, so they are no run of dn3d.")


def stop(name: str, region: str) -> None:
    """Ask SageMaker to stop a job; it keeps its last checkpoint, and its best network so far can be fetched.

    Raises:
        AwsError: it has ended already, no such job, no credentials …
    """
    state = _describe(name, region)["TrainingJobStatus"]
    if state in _ENDED:
        raise AwsError(f"The job {name} is {state} already: there is nothing to stop.")
    with errors_in_a_sentence():
        client("sagemaker", region).stop_training_job(TrainingJobName=name)
