"""A training job on SageMaker, planned: what would be created and what it may cost at most, before AWS is asked for anything."""

import hashlib
import re
import time
from dataclasses import dataclass
from pathlib import Path

from dn3dlib.config import TrainConfig, nearest
from dn3dlib.data.clips import check_augmentation, plan_training
from dn3dlib.data.manifest import MANIFEST, DataSet
from dn3dlib.deploy.aws import REGISTRY, AwsError, chosen_region
from dn3dlib.deploy.container import CHANNEL, CHECKPOINTS, PRESET
from dn3dlib.deploy.source import PROGRAM, source_archive
from dn3dlib.errors import ConfigError
from dn3dlib.presets import chosen_configs
from dn3dlib.train.observer import EPOCH_FIGURES, figure_pattern

# Where AWS publishes its training images under one account; other regions have accounts of their own.
REGIONS = (
    "us-east-1", "us-east-2", "us-west-1", "us-west-2", "ca-central-1", "sa-east-1", "eu-central-1", "eu-north-1", "eu-west-1",
    "eu-west-2", "eu-west-3", "ap-northeast-1", "ap-northeast-2", "ap-south-1", "ap-southeast-1", "ap-southeast-2",
)  # fmt: skip
_IMAGE = "{registry}.dkr.ecr.{region}.amazonaws.com/tensorflow-training:2.21-{kind}-py312"
_SPARE_BYTES = 30 * 10**9  # of the volume beside the data: checkpoints, results, installed packages


@dataclass(frozen=True)
class Job:
    """What `submit` would create."""

    request: dict  # of CreateTrainingJob, as AWS takes it
    region: str
    bucket: str
    prefix: str  # of the job's own keys in the bucket
    data_prefix: str  # of the data's keys, named by its content: jobs on the same data share them
    uploads: dict[str, Path | bytes]  # key in the bucket → a file here, or its content

    @property
    def name(self) -> str:
        """Of the job; begins with `dn3d-`."""
        return self.request["TrainingJobName"]

    @property
    def upload_bytes(self) -> dict[str, int]:
        """Bytes of each upload by its key."""
        return {key: len(item) if isinstance(item, bytes) else item.stat().st_size for key, item in self.uploads.items()}


def plan_job(
    data_dir: Path,
    storage: str,
    role: str,
    *,
    preset: str | None = None,
    settings: list[str] | None = None,
    name: str = "",
    region: str = "",
    instance_type: str = "ml.g5.xlarge",
    instances: int = 1,
    spot: bool = False,
    max_hours: float = 4.0,
    max_wait_hours: float | None = None,
    image: str = "",
) -> Job:
    """Plan a training on SageMaker; asks AWS for nothing. Taught in notebook 08.

    Args:
        data_dir: the prepared data set.
        storage: `s3://bucket/prefix`, below which everything of the kit lies.
        role: ARN of the role that the job takes; `iam-role-policy.json` says what it needs.
        preset, settings: as `dn3d train` takes them, settings as in `model.depth=40`.
        name: of the job; default: preset and time.
        region: of AWS; default: that of AWS's own chain.
        instance_type, instances: the machines, as in `ml.g5.xlarge`, and how many.
        spot: take machines that AWS may take back: cheaper, and the training goes on from its checkpoints.
        max_hours: the stop rule: after so much running time SageMaker ends the job.
        max_wait_hours: with `spot`, running and waiting together; default: twice `max_hours`.
        image: URI of the container; default: AWS's own for TensorFlow 2.21.

    Raises:
        ConfigError: a setting is impossible.
        AwsError: another of these is.
        DataError: the data set is damaged or has no training sequences.
    """
    data = DataSet.open(data_dir)
    given = _checked_settings(data, preset, settings or [], instances)
    region = _checked_region(chosen_region(region), image)
    bucket, prefix = _bucket_and_prefix(storage)
    _check_role_and_machines(role, instance_type, instances)
    name = _job_name(name or f"{preset or 'run'}-{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}")
    data_prefix, job_prefix = f"{prefix}/data/{_content(data)}", f"{prefix}/jobs/{name}"
    source = f"{job_prefix}/source.tar.gz"
    request = {
        "TrainingJobName": name,
        "RoleArn": role,
        "AlgorithmSpecification": _algorithm(image or _image(region, instance_type)),
        "HyperParameters": {"sagemaker_program": PROGRAM, "sagemaker_submit_directory": f"s3://{bucket}/{source}", "sagemaker_region": region} | given,
        "InputDataConfig": [_channel(f"s3://{bucket}/{data_prefix}/")],
        "OutputDataConfig": {"S3OutputPath": f"s3://{bucket}/{prefix}/jobs"},  # SageMaker adds the job's name
        "CheckpointConfig": {"S3Uri": f"s3://{bucket}/{job_prefix}/checkpoints", "LocalPath": CHECKPOINTS},
        "ResourceConfig": {"InstanceType": instance_type, "InstanceCount": instances, "VolumeSizeInGB": _volume(data)},
        "StoppingCondition": _stop_rule(max_hours, max_wait_hours, spot),
        "EnableManagedSpotTraining": spot,
    }
    # The manifest last: a data set in the bucket is complete, or does not look like one.
    names = [shard["name"] for shard in data.shards] + [MANIFEST]
    uploads = {f"{data_prefix}/{n}": data.path / n for n in names} | {source: source_archive()}
    return Job(request, region, bucket, job_prefix, data_prefix, uploads)


def _image(region: str, instance_type: str) -> str:
    """AWS's own training image, with CUDA for machines with a GPU: families g and p."""
    return _IMAGE.format(registry=REGISTRY, region=region, kind="gpu" if re.match(r"ml\.[gp]\d", instance_type) else "cpu")


def _algorithm(image: str) -> dict:
    """The container, and how SageMaker finds figures in its log."""
    metrics = [{"Name": figure, "Regex": figure_pattern(figure)} for figure in EPOCH_FIGURES]
    return {"TrainingImage": image, "TrainingInputMode": "File", "MetricDefinitions": metrics}


def _channel(uri: str) -> dict:
    """The data set as an input: each machine gets the whole of it."""
    source = {"S3DataType": "S3Prefix", "S3Uri": uri, "S3DataDistributionType": "FullyReplicated"}
    return {"ChannelName": CHANNEL, "DataSource": {"S3DataSource": source}}


def _checked_settings(data: DataSet, preset: str | None, settings: list[str], instances: int) -> dict[str, str]:
    """The preset and the settings by name, after all checks that a training makes before its first step."""
    _, configs = chosen_configs(data, preset, settings)
    check_augmentation(configs["clip"], data.storage.frame_shape, data.classes)
    plan_training(data, configs["clip"], configs["train"].seed, 0)
    _check_shares(configs["train"], instances)
    named = {name.strip(): value for name, _, value in (setting.partition("=") for setting in settings)}
    return ({PRESET: preset} if preset else {}) | named


def _check_shares(config: TrainConfig, instances: int) -> None:
    """What `train.strategy` would refuse on the machines, as far as it can be known before: how many GPUs each has, it cannot."""
    if config.batch_size < instances:
        raise ConfigError(
            f"train.batch_size={config.batch_size} is the batch of all {instances} machines together, and each needs a clip: set it to "
            f"{instances} or more, or hire fewer with --instances."
        )
    if config.precision == "float16" and instances > 1:
        raise ConfigError("train.precision=float16 is for one machine: use bfloat16, float32 or auto with several --instances.")


def _checked_region(region: str, image: str) -> str:
    if region not in REGIONS and not image:
        raise AwsError(f"For the region {region!r} the kit knows no training image: name one with --image, or another region; {nearest(region, REGIONS)}")
    return region


def _bucket_and_prefix(storage: str) -> tuple[str, str]:
    match = re.fullmatch(r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])/([\w!.*'()/-]*\w)/?", storage)
    if not match:
        raise AwsError(f"--bucket is {storage!r}, but must name a bucket and a prefix, as in s3://my-bucket/dn3d: all that the kit stores lies below it.")
    return match[1], match[2]


def _check_role_and_machines(role: str, instance_type: str, instances: int) -> None:
    if not re.fullmatch(r"arn:aws[a-z-]*:iam::\d{12}:role/.+", role):
        raise AwsError("--role must be the ARN of the role that the job takes, as in arn:aws:iam::<account>:role/<name>.")
    if not re.fullmatch(r"ml\.[a-z0-9-]+\.[a-z0-9]+", instance_type):
        raise AwsError(f"--instance-type is {instance_type!r}, but must be one of SageMaker's, as in ml.g5.xlarge.")
    if not 1 <= instances <= 100:
        raise AwsError(f"--instances is {instances}, but must be from 1 to 100.")


def _job_name(name: str) -> str:
    """`name` with `dn3d-` before it: the policy gives rights for jobs of such names alone."""
    full = name if name.startswith("dn3d-") else f"dn3d-{name}"
    if not re.fullmatch(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}", full):
        raise AwsError(f"--name is {name!r}, but must consist of letters, digits and single hyphens, 58 characters at most.")
    return full


def _stop_rule(max_hours: float, max_wait_hours: float | None, spot: bool) -> dict[str, int]:
    """The seconds after which SageMaker ends the job, whatever happens."""
    if not 0.1 <= max_hours <= 120:
        raise AwsError(f"--max-hours is {max_hours}, but must be from 0.1 to 120.")
    if not spot:
        if max_wait_hours is not None:
            raise AwsError("--max-wait-hours is for --spot: without it no job waits for machines that AWS has taken back.")
        return {"MaxRuntimeInSeconds": round(max_hours * 3600)}
    wait = 2 * max_hours if max_wait_hours is None else max_wait_hours
    if not max_hours <= wait <= 240:
        raise AwsError(f"--max-wait-hours is {wait}, but must be from --max-hours ({max_hours}) to 240: it counts running and waiting.")
    return {"MaxRuntimeInSeconds": round(max_hours * 3600), "MaxWaitTimeInSeconds": round(wait * 3600)}


def _content(data: DataSet) -> str:
    """A checksum of the manifest, which holds those of all shards."""
    return hashlib.sha256((data.path / MANIFEST).read_bytes()).hexdigest()[:16]


def _volume(data: DataSet) -> int:
    """GB of the disk: the data and what a run writes."""
    return (sum(shard["bytes"] for shard in data.shards) + _SPARE_BYTES) // 10**9 + 1
