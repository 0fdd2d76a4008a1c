"""SageMaker from this side: what is planned, uploaded, asked and fetched, over real HTTP against moto on this machine.

moto plays S3 and SageMaker's create, describe and list. It runs no container (a job is Completed at once), checks no role and no quota,
and has no StopTrainingJob: what AWS says to those comes from botocore's Stubber.
"""

import io
import json
import sys
import tarfile

import boto3
import pytest
from botocore.stub import Stubber

from dn3dlib.deploy import aws, sagemaker
from dn3dlib.deploy.source import NEEDED, requirements, source_archive
from dn3dlib.train.runs import Run

ACCOUNT, REGION, BUCKET = "123456789012", "eu-west-1", "videos-123456789012"  # moto's, and as `cloud` makes it
ROLE = f"arn:aws:iam::{ACCOUNT}:role/trainer"
# What each call needs, as AWS's authorization reference says.
RIGHTS = {
    "ListObjectsV2": {"s3:ListBucket"},
    "PutObject": {"s3:PutObject"},
    "GetObject": {"s3:GetObject"},
    "DeleteObject": {"s3:DeleteObject"},
    "CreateTrainingJob": {"sagemaker:CreateTrainingJob", "iam:PassRole"},
    "DescribeTrainingJob": {"sagemaker:DescribeTrainingJob"},
    "StopTrainingJob": {"sagemaker:StopTrainingJob"},
}


@pytest.fixture
def submit(shell, prepared):
    """A function that runs `dn3d sagemaker submit` with a small network; options given replace those of their names."""

    def run(*more: object, **options: object):
        chosen = {"data": prepared, "bucket": f"s3://{BUCKET}/dn3d", "role": ROLE, "region": REGION, "name": "first"} | options
        words = [word for name, value in chosen.items() if value is not None for word in (f"--{name.replace('_', '-')}", value)]
        return shell("sagemaker", "submit", *words, "--epochs", 1, "--frames", 4, "--set", "clip.hop=4", "--set", "model.depth=10", *more)

    return run


def keys(s3) -> list[str]:
    return [entry["Key"] for entry in s3.list_objects_v2(Bucket=BUCKET).get("Contents", [])]


def names(jobs) -> list[str]:
    return [job["TrainingJobName"] for job in jobs.list_training_jobs()["TrainingJobSummaries"]]


# --- what works ------------------------------------------------------------------------------------------------------


def test_a_dry_run_prints_all_and_asks_nobody(nothing_of_aws, submit, prepared):
    status, out, err = submit("--dry-run", "--spot", "--json", instances=2, max_hours=2)
    assert status == 0, err
    assert ACCOUNT not in out + err
    said = json.loads(out)
    assert said["dry_run"] is True
    assert said["image"] == f"{aws.REGISTRY}.dkr.ecr.eu-west-1.amazonaws.com/tensorflow-training:2.21-gpu-py312"
    assert (said["instance_type"], said["instances"], said["spot"]) == ("ml.g5.xlarge", 2, True)
    assert (said["max_run_seconds"], said["max_wait_seconds"]) == (7200, 14400)
    assert said["role"] == "arn:aws:iam::************:role/trainer"
    assert said["output"] == "s3://videos-************/dn3d/jobs/dn3d-first/output/"
    assert said["hyperparameters"]["model.depth"] == "10"
    sizes = {uri.rpartition("/")[2]: size for uri, size in said["uploads"].items()}
    assert set(sizes) == {"source.tar.gz", "manifest.json", "records-00000-of-00001.tfrecord"}
    assert sizes["manifest.json"] == (prepared / "manifest.json").stat().st_size
    assert said["upload_bytes"] == sum(sizes.values())
    assert "validation_sequence_accuracy" in said["metrics"]
    status, out, _ = submit("--dry-run")
    assert status == 0 and out.startswith("This would be created; nothing was:") and ACCOUNT not in out


def test_a_job_is_submitted_over_http(cloud, submit, prepared):
    s3, jobs = cloud.s3, cloud.jobs
    status, out, err = submit("--spot")
    assert status == 0, err
    assert ACCOUNT not in out + err
    assert names(jobs) == ["dn3d-first"]
    job = jobs.describe_training_job(TrainingJobName="dn3d-first")
    assert job["RoleArn"] == ROLE
    assert job["StoppingCondition"] == {"MaxRuntimeInSeconds": 14400, "MaxWaitTimeInSeconds": 28800}
    assert job["EnableManagedSpotTraining"] is True
    assert job["CheckpointConfig"] == {"S3Uri": f"s3://{BUCKET}/dn3d/jobs/dn3d-first/checkpoints", "LocalPath": "/opt/ml/checkpoints"}
    (channel,) = job["InputDataConfig"]
    uri = channel["DataSource"]["S3DataSource"]["S3Uri"]
    assert channel["ChannelName"] == "data" and uri.startswith(f"s3://{BUCKET}/dn3d/data/")
    folder = uri.removeprefix(f"s3://{BUCKET}/")
    for path in prepared.iterdir():
        assert s3.get_object(Bucket=BUCKET, Key=f"{folder}{path.name}")["Body"].read() == path.read_bytes()
    source = s3.get_object(Bucket=BUCKET, Key="dn3d/jobs/dn3d-first/source.tar.gz")["Body"].read()
    assert source == source_archive()
    assert job["HyperParameters"]["sagemaker_submit_directory"].endswith("/dn3d-first/source.tar.gz")


def test_data_that_is_there_is_not_uploaded_again(cloud, submit):
    assert submit()[0] == 0
    status, _, err = submit(name="second")
    assert status == 0
    assert [line.rpartition("/")[2] for line in err.splitlines() if line.startswith("Uploading")] == ["source.tar.gz"]
    assert names(cloud.jobs) == ["dn3d-first", "dn3d-second"]


def test_a_run_is_fetched(cloud, submit, shell, trained, tmp_path):
    s3, jobs = cloud.s3, cloud.jobs
    assert submit()[0] == 0
    status, out, _ = shell("sagemaker", "status", "dn3d-first", "--region", REGION, "--json")
    assert status == 0 and json.loads(out)["status"] == "Completed" and ACCOUNT not in out
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name in ("config.json", "history.csv", "environment.json", "best.keras"):
            archive.add(trained / name, name)
    place = jobs.describe_training_job(TrainingJobName="dn3d-first")["ModelArtifacts"]["S3ModelArtifacts"]
    s3.put_object(Bucket=BUCKET, Key=place.removeprefix(f"s3://{BUCKET}/"), Body=packed.getvalue())
    status, _, err = shell("sagemaker", "fetch", "dn3d-first", "--region", REGION, "--out", tmp_path / "run")
    assert status == 0, err
    assert Run.open(tmp_path / "run").history() == Run.open(trained).history()
    assert sorted(p.name for p in (tmp_path / "run").iterdir()) == ["best.keras", "config.json", "environment.json", "history.csv"]
    status, _, err = shell("sagemaker", "fetch", "dn3d-first", "--region", REGION, "--out", tmp_path / "run")
    assert status == 2 and "already exists" in err


def described(**more) -> dict:
    """What DescribeTrainingJob answers at least."""
    job = dict.fromkeys(("TrainingJobName", "TrainingJobArn"), f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:training-job/dn3d-first")
    algorithm = {"TrainingInputMode": "File"}
    resources = {"InstanceType": "ml.g5.xlarge", "InstanceCount": 1, "VolumeSizeInGB": 1}
    job |= {"ModelArtifacts": {"S3ModelArtifacts": ""}, "SecondaryStatus": "Training", "AlgorithmSpecification": algorithm}
    return job | {"TrainingJobName": "dn3d-first", "ResourceConfig": resources, "StoppingCondition": {}, "CreationTime": 0} | more


@pytest.fixture
def answers(cloud, monkeypatch):
    """A Stubber that answers for SageMaker in the place of moto; S3 stays."""
    jobs, real = boto3.client("sagemaker", region_name=REGION), sagemaker.client
    monkeypatch.setattr(sagemaker, "client", lambda service, region: jobs if service == "sagemaker" else real(service, region))
    with Stubber(jobs) as stubber:
        yield stubber
        stubber.assert_no_pending_responses()


def test_a_job_is_stopped(answers, shell):
    answers.add_response("describe_training_job", described(TrainingJobStatus="InProgress"), {"TrainingJobName": "dn3d-first"})
    answers.add_response("stop_training_job", {}, {"TrainingJobName": "dn3d-first"})
    status, out, _ = shell("sagemaker", "stop", "dn3d-first", "--region", REGION)
    assert status == 0 and "has been asked to stop" in out


def test_the_policy_grants_what_is_called_and_no_more(cloud, submit, shell, monkeypatch, tmp_path):
    called, real = set(), sagemaker.client

    def recording(service, region):
        client = real(service, region)
        client.meta.events.register("before-call", lambda model, **_: called.add(model.name))
        return client

    monkeypatch.setattr(sagemaker, "client", recording)
    assert submit()[0] == 0
    jobs = cloud.jobs
    place = jobs.describe_training_job(TrainingJobName="dn3d-first")["ModelArtifacts"]["S3ModelArtifacts"]
    cloud.s3.put_object(Bucket=BUCKET, Key=place.removeprefix(f"s3://{BUCKET}/"), Body=b"no archive")
    assert "are damaged" in shell("sagemaker", "fetch", "dn3d-first", "--region", REGION, "--out", tmp_path / "run")[2]
    monkeypatch.setattr(sagemaker, "_describe", lambda name, region: {"TrainingJobStatus": "InProgress"})
    assert shell("sagemaker", "stop", "dn3d-first", "--region", REGION)[0] != 0  # asked, though moto cannot
    sagemaker._remove(recording("s3", REGION), BUCKET, ["none"], print)
    assert called == set(RIGHTS)
    statements = json.loads(aws.policy())["Statement"]
    granted = [action for s in statements for action in ([s["Action"]] if isinstance(s["Action"], str) else s["Action"])]
    assert sorted(granted) == sorted(set().union(*RIGHTS.values()))
    assert not any("*" in action for action in granted) and all(s["Resource"] != "*" for s in statements)


def test_the_roles_policy_is_wide_only_where_aws_has_nothing_narrower():
    statements = json.loads(aws.policy("iam-role-policy.json"))["Statement"]
    wide = [s for s in statements if s["Resource"] == "*"]
    assert [s["Action"] for s in wide] == ["cloudwatch:PutMetricData", "ecr:GetAuthorizationToken"]
    assert all("HaveNoNarrower" in s["Sid"] or "HasNoNarrower" in s["Sid"] for s in wide)
    assert all("BUCKET" in s["Resource"] for s in statements if "s3:" in str(s["Action"]))


def test_the_source_holds_the_package_and_what_it_needs():
    data = source_archive()
    assert data == source_archive()
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        files = archive.getnames()
    assert {"train_dn3d.py", "requirements.txt", "dn3dlib/deploy/container.py", "dn3dlib/train/loop.py"} <= set(files)
    assert not any("__pycache__" in name for name in files)
    lines = requirements()
    assert len(lines) == len(NEEDED) and lines[0].startswith("tensorflow~=2.21")
    assert any(line.startswith("opencv-python-headless") for line in lines)


def test_account_numbers_are_masked_everywhere():
    said = aws.mask({"a": f"arn:{ACCOUNT}:x", "b": [f"s3://x-{ACCOUNT}-y", 123456789012], "c": f"{aws.REGISTRY}.dkr.ecr"})
    assert said == {"a": f"arn:{'*' * 12}:x", "b": [f"s3://x-{'*' * 12}-y", 123456789012], "c": f"{aws.REGISTRY}.dkr.ecr"}
    assert aws.mask("1234567890123 and 12345678901") == "1234567890123 and 12345678901"


# --- what is refused -------------------------------------------------------------------------------------------------


def refuse(cloud, answer: tuple, *words: str, there: int = 0) -> None:
    """Assert that an answer of the shell is one sentence with these words, and that nothing was created or left."""
    status, out, err = answer
    last = err.splitlines()[-1]
    assert status == 2 and not out and "Traceback" not in err and ACCOUNT not in err
    assert last.startswith("dn3d: error: ")
    for word in words:
        assert word in last
    assert names(cloud.jobs) == [] and len(keys(cloud.s3)) == there


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"region": "eu-west-9"}, ("'eu-west-9'", "eu-west-3")),
        ({"region": None}, ("--region",)),
        ({"bucket": f"s3://nowhere-{ACCOUNT}/dn3d"}, ("NoSuchBucket", "--bucket")),
        ({"bucket": BUCKET}, ("'videos-************'", "s3://my-bucket/dn3d")),
        ({"role": "trainer"}, ("--role", "ARN")),
        ({"set": "model.dept=20"}, ("model.dept", "depth")),
        ({"set": "train.batch_size=0"}, ("train.batch_size",)),
        ({"preset": "thesis-1"}, ("thesis-1", "frames of")),
        ({"data": "nowhere"}, ("nowhere", "dn3d prepare")),
        ({"instance_type": "g5.xlarge"}, ("--instance-type", "ml.g5.xlarge")),
        ({"instances": 0}, ("--instances",)),
        ({"instances": 3, "batch_size": 2}, ("train.batch_size=2", "all 3 machines together", "--instances")),
        ({"instances": 2, "precision": "float16"}, ("train.precision=float16", "one machine")),
        ({"name": "a_b"}, ("--name", "hyphens")),
        ({"max_hours": 0}, ("--max-hours",)),
        ({"max_wait_hours": 5}, ("--max-wait-hours", "--spot")),
    ],
)
def test_bad_input_gets_a_sentence_and_creates_nothing(cloud, submit, options, words):
    refuse(cloud, submit(**options), *words)


def test_without_credentials_nothing_is_asked(cloud, submit, monkeypatch):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    refused = submit()
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    refuse(cloud, refused, "No AWS credentials")


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("AWS_PROFILE", "nobody", ("profile (nobody)",)),
        ("AWS_CONFIG_FILE", __file__, ("config file",)),
        ("AWS_ENDPOINT_URL", "nonsense", ("nonsense", "AWS_ENDPOINT_URL")),
    ],
)
def test_broken_settings_of_aws_get_a_sentence(cloud, shell, submit, monkeypatch, name, value, words):
    with monkeypatch.context() as patch:
        patch.setenv(name, value)
        asked, refused = shell("sagemaker", "status", "dn3d-first", *[] if name != "AWS_ENDPOINT_URL" else ["--region", REGION]), submit()
    for status, _, err in (asked, refused):
        assert status == 2 and err.splitlines()[-1].startswith("dn3d: error: ") and all(word in err for word in words)
    refuse(cloud, refused)


def test_a_wait_shorter_than_the_run_is_refused(cloud, submit):
    refuse(cloud, submit("--spot", max_hours=4, max_wait_hours=1), "--max-wait-hours")


@pytest.mark.parametrize(
    ("code", "message", "words"),
    [
        ("ValidationException", f"Could not assume role {ROLE}", ("Could not assume role", "role")),
        ("AccessDeniedException", f"User: arn:aws:iam::{ACCOUNT}:user/me is not authorized to perform: iam:PassRole", ("iam:PassRole", "iam-policy.json")),
        ("ResourceLimitExceeded", "The account-level service limit is 0", ("Service Quotas",)),
        ("ResourceInUse", "Training job names must be unique", ("--name",)),
        ("ExpiredTokenException", "The security token included in the request is expired", ("renew",)),
    ],
)
def test_what_was_uploaded_is_removed_where_aws_refuses_the_job(cloud, answers, submit, code, message, words):
    answers.add_client_error("create_training_job", code, message)
    refuse(cloud, submit(), *words)


def test_what_was_there_before_stays_where_aws_refuses_the_job(cloud, answers, submit, shell):
    answers.add_response("create_training_job", {"TrainingJobArn": f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:training-job/dn3d-first"})
    assert submit()[0] == 0
    before = keys(cloud.s3)
    answers.add_client_error("create_training_job", "ResourceLimitExceeded", "limit")
    refuse(cloud, submit(name="second"), "Service Quotas", there=len(before))
    refuse(cloud, submit(), "--name", there=len(before))
    assert keys(cloud.s3) == before


def test_a_job_that_is_not_there_or_not_ready_gets_a_sentence(cloud, answers, shell, tmp_path):
    for command in (["status"], ["stop"], ["fetch", "--out", tmp_path / "run"]):
        answers.add_client_error("describe_training_job", "ValidationException", "Requested resource not found.")
        refuse(cloud, shell("sagemaker", *command, "dn3d-none", "--region", REGION), "Requested resource not found", "name")
    answers.add_response("describe_training_job", described(TrainingJobStatus="InProgress"))
    refuse(cloud, shell("sagemaker", "fetch", "dn3d-first", "--region", REGION, "--out", tmp_path / "run"), "InProgress", "yet")
    failed = described(TrainingJobStatus="Failed", FailureReason=f"no clips for {ACCOUNT}")
    answers.add_response("describe_training_job", failed)
    refuse(cloud, shell("sagemaker", "fetch", "dn3d-first", "--region", REGION, "--out", tmp_path / "run"), "Failed", "no clips")
    answers.add_response("describe_training_job", failed)
    refuse(cloud, shell("sagemaker", "stop", "dn3d-first", "--region", REGION), "Failed already")
    assert not (tmp_path / "run").exists()


def test_an_unreachable_network_gets_a_sentence(nothing_of_aws, shell, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    status, _, err = shell("sagemaker", "status", "dn3d-first", "--region", REGION)
    assert status == 2 and err.startswith("dn3d: error: AWS could not be asked") and "Traceback" not in err


def test_without_boto3_the_extra_is_named(nothing_of_aws, shell, monkeypatch):
    monkeypatch.setitem(sys.modules, "boto3", None)
    status, _, err = shell("sagemaker", "status", "dn3d-first", "--region", REGION)
    assert status == 2 and "dn3d[sagemaker]" in err
