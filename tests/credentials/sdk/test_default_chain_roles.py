"""The `default` provider and STS: roles of profiles, from every source, and web identities; with moto's STS."""

from __future__ import annotations

import gc
import os
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from aws_signing_proxy.credentials.fetch import Fetch
from aws_signing_proxy.credentials.provider import CredentialsUnavailableError
from tests.clients.processes import MotoProcess
from tests.credentials.sdk.aws_home import AwsHome
from tests.credentials.sdk.metadata_servers import ContainerEndpoint, InstanceService
from tests.credentials.sdk.stand_in import Asked, Reply, StandIn
from tests.credentials.sts.sts_server import Drip, StsServer

ROLE = "arn:aws:iam::123456789012:role/application"
ERROR = """<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type>
<Code>{code}</Code><Message>{message}</Message></Error><RequestId>1</RequestId></ErrorResponse>"""
ASSUMED = """<AssumeRole{kind}Response xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRole{kind}Result>
<Credentials><AccessKeyId>ASIAROLE{number}</AccessKeyId><SecretAccessKey>planted-secret-ROLE-{number}</SecretAccessKey>
<SessionToken>planted-token-ROLE-{number}</SessionToken><Expiration>{ends_at}</Expiration></Credentials>
</AssumeRole{kind}Result></AssumeRole{kind}Response>"""


class Sts(StandIn):
    """A stand-in for STS, for what moto never answers. Leases end at `ends_at`."""

    ends_at = "2100-01-01T00:00:00Z"

    def answer(self, asked: Asked) -> Reply:
        kind = "WithWebIdentity" if b"WithWebIdentity" in asked.body else ""
        text = ASSUMED.format(kind=kind, number=len(self.requests), ends_at=self.ends_at)
        return Reply(200, text.encode(), {"Content-Type": "text/xml"})


@pytest.fixture(name="home")
def _home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> AwsHome:
    home = AwsHome(monkeypatch, tmp_path)
    home.set(AWS_REGION="eu-central-1")
    return home


@pytest.fixture(name="moto", scope="module")
def _moto() -> Iterator[MotoProcess]:
    with MotoProcess() as running:
        yield running


@pytest.fixture(name="sts")
def _sts(home: AwsHome) -> Iterator[Sts]:
    with Sts() as running:
        home.set(AWS_ENDPOINT_URL_STS=running.url)
        yield running


def with_role(home: AwsHome, origin: str, keys: str = "") -> None:
    home.write("config", f"[profile dev]\nrole_arn = {ROLE}\n{origin}\n[profile base]\n{keys}")
    home.set(AWS_PROFILE="dev")


KEYS = "aws_access_key_id = BASE-ID\naws_secret_access_key = planted-base-secret\n"


def test_a_role_is_assumed_with_the_keys_of_its_source_profile(home: AwsHome, moto: MotoProcess) -> None:
    keys = f"aws_access_key_id = {moto.access_key_id}\naws_secret_access_key = {moto.secret_access_key}\n"
    with_role(home, "source_profile = base", keys)
    home.set(AWS_ENDPOINT_URL_STS=moto.url)
    fetch = Fetch()
    provider = home.provider()
    assert not provider.is_local
    first = provider.retrieve(fetch)
    assert first.access_key_id.startswith("ASIA")
    assert first.expires_at is not None
    assert 3500 < first.expires_at - time.time() < 3700
    assert first.source == f"profile dev in {home.path}/.aws/config (role {ROLE}, source_profile base)"
    assert {moto.secret_access_key, first.secret_access_key, first.session_token} <= set(fetch.secrets)
    # Asked anew, though botocore would keep them for three quarters of an hour.
    assert provider.retrieve(Fetch(is_forced=True)).access_key_id != first.access_key_id


def test_keys_that_sts_does_not_know_are_told(home: AwsHome, moto: MotoProcess) -> None:
    with_role(home, "source_profile = base", KEYS)
    home.set(AWS_ENDPOINT_URL_STS=moto.url)
    error = home.failure()
    assert error.is_conclusive
    assert f"{moto.url} refused AssumeRole with status 403: InvalidClientTokenId" in str(error)
    assert "AWS does not know it" in str(error)


@pytest.mark.parametrize("source", ["EcsContainer", "Ec2InstanceMetadata"])
def test_a_role_is_assumed_with_what_its_credential_source_has(home: AwsHome, sts: Sts, source: str) -> None:
    with_role(home, f"credential_source = {source}")
    home.unset("AWS_EC2_METADATA_DISABLED")
    with ContainerEndpoint() as container, InstanceService() as instance:
        home.set(AWS_CONTAINER_CREDENTIALS_FULL_URI=container.full_uri, AWS_EC2_METADATA_SERVICE_ENDPOINT=instance.url)
        credentials = home.fetch()
    assert credentials.access_key_id == "ASIAROLE1"
    assert credentials.source.endswith(f"(role {ROLE}, credential_source {source})")
    assert len(sts.requests) == 1
    signed_with = "ASIACONTAINER" if source == "EcsContainer" else "ASIAINSTANCE"
    assert signed_with in sts.requests[0].fields["authorization"]


def test_a_credential_source_that_has_nothing_is_told_with_its_reason(home: AwsHome, sts: Sts) -> None:
    with_role(home, "credential_source = Ec2InstanceMetadata")
    home.unset("AWS_EC2_METADATA_DISABLED")
    with InstanceService() as instance:
        instance.role = None
        home.set(AWS_EC2_METADATA_SERVICE_ENDPOINT=instance.url)
        error = home.failure()
    assert [attempt.reason for attempt in error.attempts] == [
        "the instance has no role (status 404)",
        "the place that credential_source names has no credentials",
    ]
    assert sts.requests == []


def test_a_program_of_the_source_profile_is_run_and_roles_are_assumed_in_turn(home: AwsHome, sts: Sts) -> None:
    home.script("helper", 'echo \'{"Version": 1, "AccessKeyId": "P-ID", "SecretAccessKey": "planted-secret"}\'\n')
    middle = f"role_arn = {ROLE}-middle\nsource_profile = first\n"
    with_role(home, "source_profile = base", f"{middle}[profile first]\ncredential_process = {home.path}/helper\n")
    assert home.fetch().access_key_id == "ASIAROLE2"
    signed_with = [asked.fields["authorization"].partition("Credential=")[2].split("/")[0] for asked in sts.requests]
    assert signed_with == ["P-ID", "ASIAROLE1"]


def test_a_web_identity_is_read_anew_at_every_fetch(home: AwsHome, sts: Sts) -> None:
    path = home.path / "token"
    home.set(AWS_WEB_IDENTITY_TOKEN_FILE=str(path), AWS_ROLE_ARN=ROLE)
    provider = home.provider()
    assert not provider.is_local
    for number in (1, 2):
        path.write_text(f"planted-jwt-{number}\n")
        fetch = Fetch()
        credentials = provider.retrieve(fetch)
        assert credentials.access_key_id == f"ASIAROLE{number}"
        assert credentials.source == f"role {ROLE} with the web identity token in {path}"
        assert f"planted-jwt-{number}" in fetch.secrets
        assert f"WebIdentityToken=planted-jwt-{number}&".encode() in sts.requests[-1].body + b"&"


@pytest.mark.parametrize(
    ("variables", "reason"),
    [
        ({"AWS_ROLE_ARN": ROLE}, "/token cannot be used (No such file or directory)"),
        ({}, "has no role ARN configured"),
        ({"AWS_ROLE_ARN": ROLE, "AWS_WEB_IDENTITY_TOKEN_FILE": "/dev/stdin"}, "is not a regular file"),
        ({"AWS_ROLE_ARN": ROLE, "AWS_WEB_IDENTITY_TOKEN_FILE": "/dev/null"}, "is not a regular file"),
    ],
)
def test_a_web_identity_that_is_incomplete_is_told(home: AwsHome, variables: dict[str, str], reason: str) -> None:
    home.set(**{"AWS_WEB_IDENTITY_TOKEN_FILE": str(home.path / "token")} | variables)
    error = home.failure()
    assert error.is_conclusive
    assert reason in str(error)


@pytest.mark.parametrize(
    ("status", "body", "reason", "is_conclusive"),
    [
        (403, ERROR.format(code="AccessDenied", message="no, planted-base-secret"), "AccessDenied: no, ***", True),
        (400, ERROR.format(code="ExpiredToken", message="old"), "refused AssumeRole with status 400: ExpiredTo", True),
        (400, ERROR.format(code="Throttling", message="slow"), "failed AssumeRole with status 400: Throttl", False),
        (400, ERROR.format(code="IDPCommunicationError", message="x"), "failed AssumeRole with status 400", False),
        (500, "", "failed AssumeRole with status 500", False),
        (503, "<html>", "failed AssumeRole with status 503", False),
        (429, ERROR.format(code="TooMany", message="slow"), "failed AssumeRole with status 429", False),
        (429, "", "is none of AWS's", False),
        (200, "", "is none of AWS's", False),
        (200, "{}", "is none of AWS's", False),
        (200, "<AssumeRoleResponse/>", "is none of AWS's", False),
        (200, ASSUMED.format(kind="", number=1, ends_at="planted"), "is none of AWS's", False),
        (302, "", "is none of AWS's", False),
        (200, ASSUMED.format(kind="", number=1, ends_at="2020-01-01T00:00:00Z"), "has expired already", False),
    ],
)
def test_an_sts_that_fails_is_asked_once_and_told(
    home: AwsHome,
    sts: Sts,
    caplog: pytest.LogCaptureFixture,
    status: int,
    body: str,
    reason: str,
    is_conclusive: bool,
) -> None:
    """Nor does botocore log it: its warnings come with tracebacks."""
    with_role(home, "source_profile = base", KEYS)
    caplog.set_level("WARNING")
    sts.failures.status, sts.failures.body = status, body.encode()
    fetch = Fetch(mask=lambda text: text.replace("planted-base-secret", "***"))
    with pytest.raises(CredentialsUnavailableError) as caught:
        home.provider().retrieve(fetch)
    error = caught.value
    assert (error.is_conclusive, reason in str(error)) == (is_conclusive, True), str(error)
    assert "planted" not in str(error)
    assert len(sts.requests) == 1
    assert caplog.records == []


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        ("is_silent", "did not answer in time"),
        ("is_closing", "closed the connection without an answer"),
        ("gone", "http://127.0.0.1:9 refused the connection"),
    ],
)
def test_an_sts_that_does_not_answer_costs_no_more_than_the_fetch(
    home: AwsHome, sts: Sts, failure: str, reason: str
) -> None:
    with_role(home, "source_profile = base", KEYS)
    home.set(AWS_MAX_ATTEMPTS="7")
    if failure == "gone":
        home.set(AWS_ENDPOINT_URL_STS="http://127.0.0.1:9")
    else:
        setattr(sts.failures, failure, True)
    home.set(AWS_ENDPOINT_URL_STS=os.environ["AWS_ENDPOINT_URL_STS"].replace("//", "//user:planted-password@"))
    # Only silence ends by the clock: a busy machine may need longer than that for everything else.
    error = home.failure(timeout_seconds=0.5 if failure == "is_silent" else 20)
    assert not error.is_conclusive
    assert reason in str(error)
    assert error.__context__ is None, "it would keep the request with its credentials alive"
    assert len(sts.requests) <= 1


def test_an_sts_that_drips_its_answer_is_given_up_in_the_time_of_the_fetch(home: AwsHome) -> None:
    with_role(home, "source_profile = base", KEYS)
    with StsServer() as sts:
        sts.choose = lambda _: Drip(0.02)
        home.set(AWS_ENDPOINT_URL_STS=sts.url)
        began = time.monotonic()
        assert f"{sts.url} did not answer in time" in str(home.failure(timeout_seconds=0.5))
        assert time.monotonic() - began < 4.0


def test_a_role_that_wants_an_mfa_code_asks_nobody(home: AwsHome, sts: Sts) -> None:
    with_role(home, "source_profile = base\nmfa_serial = arn:aws:iam::123456789012:mfa/me", KEYS)
    error = home.failure()
    assert error.is_conclusive
    assert str(error).startswith("MFA device arn:aws:iam::123456789012:mfa/me: the profile's role wants a code")
    assert sts.requests == []


def test_profiles_that_lead_in_a_circle_are_told(home: AwsHome) -> None:
    with_role(home, "source_profile = base", f"role_arn = {ROLE}\nsource_profile = dev\n")
    error = home.failure()
    assert error.is_conclusive
    assert "its source_profile leads back to itself" in str(error)


def test_connections_are_closed_with_the_fetch_and_not_when_the_garbage_is_collected(home: AwsHome, sts: Sts) -> None:
    with_role(home, "source_profile = base", KEYS)
    provider = home.provider()
    home.fetch(provider)
    before = len(list(Path("/proc/self/fd").iterdir()))
    gc.disable()
    try:
        for _ in range(5):
            home.fetch(provider)
        # The stand-in closes its ends when it sees that ours are closed.
        deadline = time.monotonic() + 5
        while len(list(Path("/proc/self/fd").iterdir())) > before and time.monotonic() < deadline:
            time.sleep(0.01)
        assert len(list(Path("/proc/self/fd").iterdir())) <= before
    finally:
        gc.enable()


def test_many_roles_leave_no_memory_and_no_descriptor(home: AwsHome, sts: Sts) -> None:
    with_role(home, "source_profile = base", KEYS)
    provider = home.provider()

    def descriptors() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    for _ in range(5):
        home.fetch(provider)
    sts.requests.clear()
    gc.collect()
    opened = descriptors()
    tracemalloc.start()
    try:
        memory = tracemalloc.get_traced_memory()[0]
        for _ in range(30):
            home.fetch(provider)
        sts.requests.clear()
        gc.collect()
        assert tracemalloc.get_traced_memory()[0] - memory < 200_000
        assert descriptors() <= opened + 1
    finally:
        tracemalloc.stop()
