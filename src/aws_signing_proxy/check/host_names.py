"""What an AWS host name tells about the service and the region behind it, held against what is signed."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["host_name_warnings"]

_AWS_HOST: Final = re.compile(r"(?P<labels>.+)\.(?:amazonaws\.com|amazonaws\.com\.cn|amazonaws\.eu|api\.aws|on\.aws)")
_REGION: Final = re.compile(r"[a-z]{2,5}(?:-[a-z]+){1,3}-[0-9]{1,2}")
_LEGACY_S3: Final = re.compile(rf"s3-(?P<region>{_REGION.pattern})")

# The label of a host name that tells the service, and what that service is called in signatures. Only services whose
# host names are known for certain; for others nothing is said.
_SIGNING_NAMES: Final = {
    "aoss": "aoss",
    "aos": "es",
    "aps-workspaces": "aps",
    "bedrock-runtime": "bedrock",
    "dynamodb": "dynamodb",
    "es": "es",
    "execute-api": "execute-api",
    "iam": "iam",
    "kinesis": "kinesis",
    "kms": "kms",
    "lambda": "lambda",
    "lambda-url": "lambda",
    "neptune": "neptune-db",
    "s3": "s3",
    "s3-accelerate": "s3",
    "s3-accesspoint": "s3",
    "s3-fips": "s3",
    "s3-object-lambda": "s3-object-lambda",
    "s3-outposts": "s3-outposts",
    "secretsmanager": "secretsmanager",
    "sns": "sns",
    "sqs": "sqs",
    "sts": "sts",
    "vpc-lattice-svcs": "vpc-lattice-svcs",
}
# Host names without a region that only this region's signatures are good for.
_GLOBAL: Final = {"iam.amazonaws.com": "us-east-1", "sts.amazonaws.com": "us-east-1"}


def host_name_warnings(host: str, *, service: str, region: str) -> list[str]:
    """Return a sentence for each way in which an AWS host name speaks against what is signed for it.

    Whole labels are compared, so a name that merely contains a service's or a region's is left alone; of hosts that
    are not AWS's nothing is said. Host names: https://docs.aws.amazon.com/general/latest/gr/rande.html
    """
    found_service, found_region = _told_by(host)
    warnings = []
    if found_service is not None and found_service != service:
        warnings.append(
            f"The host name {host} belongs to the service {found_service}, but requests are signed for {service}. "
            f"Set ASP_SERVICE to {found_service}."
        )
    if found_region is not None and found_region != region:
        warnings.append(
            f"The host name {host} belongs to the region {found_region}, but requests are signed for {region}. "
            f"Set AWS_REGION to {found_region}."
        )
    return warnings


def _told_by(host: str) -> tuple[str | None, str | None]:
    """Return the service (as in signatures) and the region that an AWS host name tells, None what it does not."""
    matched = _AWS_HOST.fullmatch(host)
    if matched is None:
        return None, None
    service = None
    region = _GLOBAL.get(host)
    # From the right: what stands further left (a bucket, a domain) is chosen by its owner.
    for label in reversed(matched["labels"].split(".")):
        if region is None and _REGION.fullmatch(label):
            region = label
        elif (legacy := _LEGACY_S3.fullmatch(label)) and service is None:
            return "s3", region or legacy["region"]
        elif label in _SIGNING_NAMES and service is None:
            service = _SIGNING_NAMES[label]
            if service == "s3":
                break  # further left is the bucket, which may be called like a region
    return service, region
