"""STS by botocore, against the stand-in: what is sent, what is taken, and what has no say in it."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from aws_signing_proxy.credentials.fetch import Fetch, Step
from aws_signing_proxy.credentials.model import STS_LEAD_SECONDS, Credentials
from aws_signing_proxy.credentials.provider import CredentialsUnavailableError
from aws_signing_proxy.credentials.sts.service import AssumedRole, CallerIdentity, SecurityTokenService, StsRefusedError
from tests.credentials.sts.sts_scene import BASE, REGION, ROLE, ROLE_ARN, identity_token, service
from tests.credentials.sts.sts_server import ACCOUNT, Delay, Respond, StsServer, numbered_set


@pytest.fixture(name="server")
def _server() -> Iterator[StsServer]:
    with StsServer(identities=[BASE], region=REGION) as server:
        yield server


@pytest.fixture(name="sts")
def _sts(server: StsServer) -> Iterator[SecurityTokenService]:
    sts = service(server)
    yield sts
    sts.close()


def exchange(sts: SecurityTokenService, fetch: Fetch | None = None, token: str | None = None) -> Credentials:
    return sts.assume_role_with_web_identity(
        fetch or Fetch(), role_arn=ROLE_ARN, session_name="shop", token=token or identity_token()
    )


def test_a_token_is_exchanged_for_the_credentials_of_a_role(server: StsServer, sts: SecurityTokenService) -> None:
    server.lifetime_seconds = 1800
    token, fetch = identity_token(), Fetch()
    credentials = sts.assume_role_with_web_identity(
        fetch, role_arn=ROLE_ARN, session_name="a b", token=token, duration_seconds=1800
    )
    first = numbered_set(1)
    assert (credentials.access_key_id, credentials.secret_access_key, credentials.session_token) == (
        first.access_key_id,
        first.secret_access_key,
        first.session_token,
    )
    assert credentials.expires_at == pytest.approx(time.time() + 1800, abs=5)
    assert (credentials.lead_seconds, credentials.ask_again_at) == (STS_LEAD_SECONDS, None)
    assert credentials.source == f"role {ROLE_ARN} by STS"
    assert server.requests[0].parameters == {
        "Action": "AssumeRoleWithWebIdentity",
        "Version": "2011-06-15",
        "RoleArn": ROLE_ARN,
        "RoleSessionName": "a-b",
        "WebIdentityToken": token,
        "DurationSeconds": "1800",
    }
    assert [(step.step, step.is_success) for step in fetch.steps] == [(Step.STS, True)]
    assert fetch.notes[0].text == f"assumed {ROLE_ARN}; the session lives 30 min"


def test_a_token_is_exchanged_without_any_signature(server: StsServer, sts: SecurityTokenService) -> None:
    sts.assume_role(Fetch(), BASE, ROLE)
    exchange(sts)
    assert server.requests[0].access_key_id == BASE.access_key_id
    assert server.requests[1].field("Authorization") is None
    assert server.requests[1].field("X-Amz-Security-Token") is None


def test_a_role_is_assumed_with_all_that_can_be_said_about_a_session(
    server: StsServer, sts: SecurityTokenService
) -> None:
    role = AssumedRole(
        arn=ROLE_ARN,
        session_name="x" * 70,
        external_id="external-id",
        duration_seconds=900,
        tags={"team": "shop", "stage": "prod"},
        transitive_tag_keys=("team",),
        policy='{"Version":"2012-10-17","Statement":[]}',
        policy_arns=("arn:aws:iam::aws:policy/ReadOnlyAccess",),
        source_identity="alice",
    )
    credentials = sts.assume_role(Fetch(), BASE, role)
    sent = server.requests[0].parameters
    assert len(sent.pop("RoleSessionName")) == 64
    assert sent == {
        "Action": "AssumeRole",
        "Version": "2011-06-15",
        "RoleArn": ROLE_ARN,
        "ExternalId": "external-id",
        "DurationSeconds": "900",
        "Tags.member.1.Key": "team",
        "Tags.member.1.Value": "shop",
        "Tags.member.2.Key": "stage",
        "Tags.member.2.Value": "prod",
        "TransitiveTagKeys.member.1": "team",
        "Policy": role.policy,
        "PolicyArns.member.1.arn": "arn:aws:iam::aws:policy/ReadOnlyAccess",
        "SourceIdentity": "alice",
    }
    assert credentials.expires_at == pytest.approx(time.time() + 900, abs=5)


def test_of_a_plain_role_nothing_more_is_sent_than_its_arn_and_a_session_name(
    server: StsServer, sts: SecurityTokenService
) -> None:
    sts.assume_role(Fetch(), BASE, ROLE)
    assert server.requests[0].parameters == {
        "Action": "AssumeRole",
        "Version": "2011-06-15",
        "RoleArn": ROLE_ARN,
        "RoleSessionName": "aws-signing-proxy",
    }


def test_aws_says_who_we_are(sts: SecurityTokenService) -> None:
    fetch = Fetch()
    arn = f"arn:aws:iam::{ACCOUNT}:user/application"
    assert sts.caller_identity(fetch, BASE) == CallerIdentity(ACCOUNT, arn, "AIDASTANDIN")
    assumed = sts.assume_role(fetch, BASE, ROLE)
    assert sts.caller_identity(fetch, assumed).arn.endswith(":assumed-role/reader/aws-signing-proxy")


def test_each_call_is_signed_with_its_own_credentials_whatever_was_used_before(
    server: StsServer, sts: SecurityTokenService
) -> None:
    one = sts.assume_role(Fetch(), BASE, ROLE)
    two = sts.assume_role(Fetch(), one, ROLE)
    sts.assume_role(Fetch(), BASE, ROLE)
    # The stand-in verifies: a key of one set with the secret or token of another would have been refused.
    assert [request.access_key_id for request in server.requests] == [
        BASE.access_key_id,
        one.access_key_id,
        BASE.access_key_id,
    ]
    assert two.access_key_id == numbered_set(2).access_key_id
    assert server.requests[2].field("X-Amz-Security-Token") == BASE.session_token


def test_calls_of_several_threads_are_made_one_by_one_and_never_mixed_up(
    server: StsServer, sts: SecurityTokenService
) -> None:
    identities = [sts.assume_role(Fetch(), BASE, AssumedRole(arn=f"{ROLE_ARN}{n}")) for n in range(4)]
    answers: dict[int, str] = {}

    def ask(number: int) -> None:
        for _ in range(5):
            answers[number] = sts.caller_identity(Fetch(), identities[number]).arn

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {number: arn.split("/")[1] for number, arn in answers.items()} == {n: f"reader{n}" for n in range(4)}


def test_a_call_does_not_wait_longer_than_its_time_for_an_earlier_one(
    server: StsServer, sts: SecurityTokenService
) -> None:
    exchange(sts)
    server.fail(Delay(0.6))
    first = threading.Thread(target=exchange, args=(sts,))
    first.start()
    while server.counts["AssumeRoleWithWebIdentity"] < 2:
        time.sleep(0.005)
    with pytest.raises(CredentialsUnavailableError, match="an earlier call has not ended") as caught:
        exchange(sts, Fetch(timeout_seconds=0.1))
    assert not caught.value.is_conclusive
    first.join()


def test_when_the_time_is_over_sts_is_not_asked(server: StsServer, sts: SecurityTokenService) -> None:
    now = [0.0]
    fetch = Fetch(monotonic=lambda: now[0])
    now[0] = 21.0
    with pytest.raises(CredentialsUnavailableError, match="time for fetching credentials was over") as caught:
        exchange(sts, fetch)
    assert not caught.value.is_conclusive
    assert not server.requests


def test_secrets_are_known_before_they_are_sent_or_parsed(
    server: StsServer, monkeypatch: pytest.MonkeyPatch, sts: SecurityTokenService
) -> None:
    known: set[str] = set()
    fetch = Fetch(keep_secret=known.add)
    exchange(sts)
    second, token = numbered_set(2), identity_token(sub="another")

    known_when_parsed: set[str] = set()

    def see(_: object, response: dict[str, bytes], __: object) -> dict[str, object]:
        assert second.secret_access_key.encode() in response["body"]
        known_when_parsed.update(known)
        raise ValueError("seen")

    monkeypatch.setattr("botocore.parsers.QueryParser.parse", see)
    with pytest.raises(CredentialsUnavailableError, match="something that STS never answers"):
        exchange(sts, fetch, token)
    assert {token, second.secret_access_key, second.session_token} <= known_when_parsed
    sts_fetch = Fetch(keep_secret=known.add)
    with pytest.raises(CredentialsUnavailableError):
        sts.assume_role(sts_fetch, BASE, ROLE)
    assert {BASE.secret_access_key, BASE.session_token} <= known


def test_credentials_are_not_kept_in_the_client_when_the_call_is_over(sts: SecurityTokenService) -> None:
    sts.assume_role(Fetch(), BASE, ROLE)
    client = sts._client
    assert client is not None
    assert client._identity.secret_key == "unset"
    assert client._identity.token is None


BROKEN_FILE = "[default\naws_access_key_id = FILE\n"
ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "AKIAENVIRONMENT",
    "AWS_SECRET_ACCESS_KEY": "environment-secret",
    "AWS_SESSION_TOKEN": "environment-token",
    "AWS_PROFILE": "not-there",
    "AWS_BEARER_TOKEN_STS": "bearer-token",
    "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
    "AWS_ENDPOINT_URL_STS": "http://127.0.0.1:9",
    "AWS_CA_BUNDLE": "/nonexistent",
    "AWS_USE_FIPS_ENDPOINT": "true",
    "AWS_RETRY_MODE": "no-such-mode",
    "AWS_MAX_ATTEMPTS": "many",
    "AWS_DEFAULTS_MODE": "no-such-mode",
    "AWS_STS_REGIONAL_ENDPOINTS": "legacy",
    "AWS_REQUEST_CHECKSUM_CALCULATION": "no-such-value",
    "AWS_DATA_PATH": "/nonexistent",
    "HTTP_PROXY": "http://127.0.0.1:9",
    "HTTPS_PROXY": "http://127.0.0.1:9",
}


def test_nothing_of_the_environment_or_of_files_has_a_say(
    server: StsServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A profile that is not there, a broken file, keys, a bearer token, odd modes: none is looked at."""
    (tmp_path / ".aws").mkdir()
    for name in ("broken", ".aws/config", ".aws/credentials"):
        (tmp_path / name).write_text(BROKEN_FILE)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "broken"))
    sts = service(server)
    exchange(sts)
    sts.assume_role(Fetch(), BASE, ROLE)
    sts.close()
    assert [request.access_key_id for request in server.requests] == [None, BASE.access_key_id]
    fields = " ".join(value for request in server.requests for _, value in request.fields)
    assert "environment" not in fields.lower()
    assert "bearer" not in fields.lower()


@pytest.mark.parametrize(
    ("changes", "missing"),
    [
        ({"<AccessKeyId>": "<X>", "</AccessKeyId>": "</X>"}, "there is no AccessKeyId"),
        ({"<SecretAccessKey>": "<X>", "</SecretAccessKey>": "</X>"}, "there is no SecretAccessKey"),
        ({"<SessionToken>": "<X>", "</SessionToken>": "</X>"}, "there is no SessionToken"),
        ({"<Expiration>": "<X>", "</Expiration>": "</X>"}, "there is no Expiration"),
        ({"<AccessKeyId>ID": "<AccessKeyId>a/b"}, 'AccessKeyId holds a "/"'),
        ({"<SessionToken>to": "<SessionToken>to\nken"}, "SessionToken holds"),
        ({"<SecretAccessKey>se": "<SecretAccessKey> \n "}, None),
    ],
)
def test_credentials_that_are_not_whole_are_refused(
    server: StsServer, sts: SecurityTokenService, changes: dict[str, str], missing: str | None
) -> None:
    body = (
        "<AssumeRoleWithWebIdentityResponse><AssumeRoleWithWebIdentityResult><Credentials><AccessKeyId>ID</AccessKeyId>"
        "<SecretAccessKey>secret-key</SecretAccessKey><SessionToken>token</SessionToken>"
        f"<Expiration>{datetime.now(UTC).isoformat()}</Expiration></Credentials>"
        "</AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>"
    )
    for old, new in changes.items():
        body = body.replace(old, new)
    server.fail(Respond(body=body.encode()))
    if missing is None:
        # White space around a secret is no part of it.
        assert exchange(sts).secret_access_key == "cret-key"
        return
    with pytest.raises(CredentialsUnavailableError, match=missing) as caught:
        exchange(sts)
    assert not isinstance(caught.value, StsRefusedError)
    assert "secret-key" not in str(caught.value)


def test_importing_it_brings_no_library_that_asks_servers() -> None:
    modules = ("service", "irsa", "role_chain", "errors", "settings", "session_name", "token_claims")
    imports = ", ".join(f"aws_signing_proxy.credentials.sts.{module}" for module in modules)
    heavy = "{'botocore', 'urllib3', 'requests', 'hvac', 'authlib', 'http', 'email', 'xml'}"
    code = f"import sys, {imports}; print({heavy} & set(sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "set()"
