"""What all calls to AWS share: the client, errors in one sentence, and account numbers that are never shown.

Credentials come from AWS's own chain (environment, profile, role of the machine); the kit neither asks for them nor stores or prints them.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources
from types import ModuleType

from dn3dlib.errors import Dn3dError

REGISTRY = "763104351884"  # of AWS's own training images: public, so it may be shown
_ACCOUNT = re.compile(rf"(?<!\d)(?!{REGISTRY})\d{{12}}(?!\d)")
_POLICY = "iam-policy.json (yours) and iam-role-policy.json (the role's) in dn3dlib/deploy list the rights that are needed"
_WAYS_OUT = {
    ("AccessDenied", "AccessDeniedException", "403"): f"a right is missing; {_POLICY}",
    ("NoSuchBucket", "NoSuchKey", "404"): "check --bucket: the bucket must exist and be your own",
    ("PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException", "301"): "the bucket lies in another region: name that one with --region",
    ("ExpiredToken", "ExpiredTokenException", "InvalidClientTokenId", "UnrecognizedClientException", "InvalidAccessKeyId", "SignatureDoesNotMatch"): "the credentials are not valid or no longer: renew them as you got them (`aws sso login`, say)",
    ("ValidationException", "ResourceNotFound"): "check the job's name, the region and the role",
    ("ResourceInUse",): "the name is taken: choose another with --name",
    ("ResourceLimitExceeded",): "ask for more under Service Quotas, or choose another --instance-type",
}  # fmt: skip


def mask(value):
    """`value` with every account number in its texts as asterisks; texts inside dicts and lists, too."""
    if isinstance(value, dict):
        return {mask(key): mask(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [mask(item) for item in value]
    return _ACCOUNT.sub("*" * 12, value) if isinstance(value, str) else value


class AwsError(Dn3dError):
    """AWS cannot do what was asked, or would not; the text shows no account number."""

    def __init__(self, message: str):
        super().__init__(mask(message))


def policy(name: str = "iam-policy.json") -> str:
    """A policy as it ships: `iam-policy.json` for who submits, `iam-role-policy.json` for the role that the job takes."""
    return resources.files("dn3dlib.deploy").joinpath(name).read_text(encoding="utf-8")


def boto() -> ModuleType:
    """AWS's library; raises AwsError where the extra [sagemaker] is not installed."""
    try:
        import boto3
    except ImportError as error:
        raise AwsError('AWS\'s library boto3 is not installed: pip install "dn3d[sagemaker]" (in a checkout: -e ".[sagemaker]").') from error
    return boto3


def chosen_region(region: str = "") -> str:
    """`region`, or that of AWS's own chain; raises AwsError where there is none, or where AWS's settings are broken."""
    with errors_in_a_sentence():
        found = region or boto().Session().region_name
    if not found:
        raise AwsError("No region is chosen: name one with --region, as in --region eu-west-1, or set AWS_DEFAULT_REGION.")
    return found


def client(service: str, region: str):
    """A client of an AWS service, with the credentials of AWS's chain; raises AwsError where there are none, or settings are broken."""
    with errors_in_a_sentence():
        session = boto().Session(region_name=region)
        if session.get_credentials() is None:
            raise AwsError("No AWS credentials were found: set AWS_PROFILE, run `aws configure` or `aws sso login`, or work on a machine with a role.")
        try:
            return session.client(service)
        except ValueError as error:
            raise AwsError(f"AWS's library cannot use its settings: {error}. Check AWS_ENDPOINT_URL, or unset it.") from error


@contextmanager
def errors_in_a_sentence() -> Iterator[None]:
    """Turn what AWS and its library raise into an AwsError that says the way out."""
    boto()
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except ClientError as error:
        said = error.response.get("Error", {})
        code, message = said.get("Code", "?"), said.get("Message", "")
        way_out = next((text for codes, text in _WAYS_OUT.items() if code in codes), _POLICY)
        raise AwsError(f"AWS refused {error.operation_name} ({code}: {message.rstrip('.')}): {way_out}.") from error
    except BotoCoreError as error:
        raise AwsError(f"AWS could not be asked: {str(error).rstrip('.')}. Check the network, the region and the credentials.") from error
