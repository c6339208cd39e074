"""`aws-signing-proxy check`: says in plain words what the proxy would do, without doing it.

The settings are valid by then; what is judged here is whether they make sense together, and whether there are
credentials. Nothing is connected to and nothing is listened on.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
import textwrap
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from aws_signing_proxy.credentials import (
    Credentials,
    CredentialsUnavailableError,
    ProviderNotSupportedError,
    provider_for,
)

if TYPE_CHECKING:
    from aws_signing_proxy.config.loading import Loaded
    from aws_signing_proxy.config.settings import Settings

__all__ = ["host_name_warnings", "run_check", "setting_warnings"]

_OK: Final = 0
_COLUMNS: Final = 100
_TOLD_ALWAYS: Final = ("target_url", "service", "region")
_NOT_OK: Final = 2

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


def run_check(
    loaded: Loaded, environ: Mapping[str, str], echo: Callable[[str], None], *, clock: Callable[[], float] = time.time
) -> int:
    """Tell what was found, a line at a time, and return the exit status: 0, or 2 where nothing could be signed.

    `environ` is where the credentials provider looks. Of the credentials only the source, the last four
    characters of the access key id and the expiry are told. Warnings do not change the exit status.
    """
    settings = loaded.settings
    echo("Settings")
    echo(f"  target       {settings.target_url} ({loaded.source_of('target_url')})")
    echo(f"  service      {settings.service} ({loaded.source_of('service')})")
    echo(f"  region       {settings.region} ({loaded.source_of('region')})")
    echo(f"  listens on   {_listening(settings)}")
    echo(f"  management   {_address(settings.mgmt_bind_address, settings.mgmt_port)}")
    for name, shown, source in loaded.given():
        if name not in _TOLD_ALWAYS:
            echo(f"  {_printable(f'{name} = {shown} ({source})')}")
    echo("Credentials")
    is_usable = True
    for line, is_problem in _credentials(settings.credentials_provider, environ, clock()):
        echo(f"  {_printable(line)}")
        is_usable = is_usable and not is_problem
    warnings = [*loaded.warnings, *setting_warnings(settings)]
    if warnings:
        echo("Warnings")
        for warning in warnings:
            for line in textwrap.wrap(_printable(warning), _COLUMNS, initial_indent="  - ", subsequent_indent="    "):
                echo(line)
    echo("Requests would be signed." if is_usable else "Requests would be answered 503: nothing to sign with.")
    return _OK if is_usable else _NOT_OK


def setting_warnings(settings: Settings) -> list[str]:
    """Return a sentence for whatever is allowed but probably not meant, or dangerous."""
    target = settings.target_url
    warnings = host_name_warnings(target.host, service=settings.service, region=settings.region)
    if target.scheme == "http" and not _is_loopback(target.host):
        warnings.append(
            f"{target} is plain http: bodies and the session token cross the network unencrypted. Use https://."
        )
    if settings.unix_socket is None and not _is_loopback(settings.bind_address):
        warnings.append(
            f"The proxy listens on {settings.bind_address}: whoever reaches the port acts with your AWS identity. "
            "Limit who does, or set ASP_BIND_ADDRESS to 127.0.0.1."
        )
    if not _is_loopback(settings.mgmt_bind_address):
        warnings.append(
            f"The management port listens on {settings.mgmt_bind_address}: whoever reaches it can read the metrics."
        )
    return warnings


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


def _credentials(name: str | None, environ: Mapping[str, str], now: float) -> Iterator[tuple[str, bool]]:
    """Yield what is to be told about the credentials, each line with whether it is a problem."""
    try:
        provider = provider_for(name, environ)
        found: Credentials = asyncio.run(provider.fetch())
    except ProviderNotSupportedError as error:
        yield str(error), True
        return
    except CredentialsUnavailableError as error:
        yield "none found; what was looked at:", True
        for source, reason, advice in error.attempts:
            yield f"- {source}: {reason}", True
            yield f"  {advice}", True
        return
    yield f"source       {found.source} (provider {provider.name})", False
    yield f"access key   …{found.access_key_id[-4:]}", False
    yield f"kind         {'temporary' if found.session_token else 'long-term'}", False
    if found.expires_at is None:
        yield "expiry       not told by the source", False
    else:
        moment = datetime.fromtimestamp(found.expires_at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        if found.is_expired(now):
            yield f"expiry       {moment}: they have expired; put new ones there", True
        else:
            yield f"expiry       {moment}, in {(found.expires_at - now) / 60:.0f} minutes", False


def _listening(settings: Settings) -> str:
    if settings.unix_socket is not None:
        return f"the Unix domain socket {settings.unix_socket}"
    return _address(settings.bind_address, settings.port)


def _address(host: str, port: int) -> str:
    where = f"[{host}]" if ":" in host else host
    return f"{where}, any free port" if port == 0 else f"{where}:{port}"


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        # RFC 6761, section 6.3: "localhost" and names below it are loopback.
        return host == "localhost" or host.endswith(".localhost")


def _printable(text: str) -> str:
    """Escape what could act on a terminal: paths and profile names come from the environment."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
