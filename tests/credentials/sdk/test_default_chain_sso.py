"""The `default` provider and SSO (IAM Identity Center): the tokens of `aws sso login`, good, old and missing."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from aws_signing_proxy.credentials.fetch import Fetch
from tests.credentials.sdk.aws_home import AwsHome
from tests.credentials.sdk.sso_portal import SsoPortal, sso_token

START = "https://x.awsapps.com/start"
ACCOUNT = "sso_account_id = 123456789012\nsso_role_name = Developer\n"
LEGACY = f"[profile dev]\n{ACCOUNT}sso_start_url = {START}\nsso_region = eu-west-1\n"
SESSION = (
    f"[profile dev]\n{ACCOUNT}sso_session = mine\n[sso-session mine]\nsso_start_url = {START}\nsso_region = eu-west-1\n"
)
KINDS = {"legacy": (LEGACY, START), "session": (SESSION, "mine")}


@pytest.fixture(name="home")
def _home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> AwsHome:
    home = AwsHome(monkeypatch, tmp_path)
    home.set(AWS_PROFILE="dev")
    return home


@pytest.fixture(name="portal")
def _portal(home: AwsHome) -> Iterator[SsoPortal]:
    with SsoPortal() as running:
        home.set(AWS_ENDPOINT_URL_SSO=running.url, AWS_ENDPOINT_URL_SSO_OIDC=running.url)
        yield running


def log_in(home: AwsHome, kind: str, token: str, *, seconds: float = 3600, with_refresh: bool = False) -> Path:
    """Do what `aws sso login` leaves behind."""
    config, key = KINDS[kind]
    home.write("config", config)
    name = hashlib.sha1(key.encode(), usedforsecurity=False).hexdigest()
    return home.write(f"sso/cache/{name}.json", sso_token(token, seconds=seconds, with_refresh=with_refresh))


@pytest.mark.parametrize("kind", KINDS)
def test_a_login_gives_the_credentials_of_its_role(home: AwsHome, portal: SsoPortal, kind: str) -> None:
    log_in(home, kind, "planted-access-token")
    fetch, provider = Fetch(), home.provider()
    credentials = provider.retrieve(fetch)
    assert (credentials.access_key_id, credentials.expires_at) == ("ASIASSO1", portal.ends_at)
    assert credentials.source == (f"profile dev in {home.path}/.aws/config (SSO account 123456789012, role Developer)")
    assert {"planted-access-token", "planted-secret-SSO-1", "planted-token-SSO-1"} <= set(fetch.secrets)
    assert home.fetch(provider).access_key_id == "ASIASSO2"


@pytest.mark.parametrize("kind", KINDS)
def test_an_expired_login_names_the_command_that_mends_it(home: AwsHome, portal: SsoPortal, kind: str) -> None:
    """The oldest botocore that is allowed asks the portal with an expired token of the legacy kind."""
    log_in(home, kind, "planted-access-token", seconds=-5)
    portal.tokens.clear()
    error = home.failure()
    assert error.is_conclusive
    assert [attempt.reason for attempt in error.attempts] == ["the SSO login has expired"]
    assert error.attempts[0].advice == "Run `aws sso login --profile dev` as the user that runs the proxy"


@pytest.mark.parametrize("kind", KINDS)
def test_a_login_that_was_revoked_names_the_command_too(home: AwsHome, portal: SsoPortal, kind: str) -> None:
    log_in(home, kind, "planted-revoked-token")
    error = home.failure()
    assert error.is_conclusive
    assert "the SSO login has expired (Run `aws sso login --profile dev`" in str(error)
    assert len(portal.requests) == 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("text", [None, "planted-garbage", "[]", '{"accessToken": "planted"}'])
def test_a_login_that_is_not_there_or_unusable_names_the_command_too(
    home: AwsHome, portal: SsoPortal, kind: str, text: str | None
) -> None:
    path = log_in(home, kind, "planted-access-token")
    path.unlink() if text is None else path.write_text(text)
    error = home.failure()
    assert error.is_conclusive
    assert "nobody has logged in, or the login's file cannot be used" in str(error)


def test_a_login_near_its_end_is_renewed_and_kept_as_the_aws_cli_keeps_it(home: AwsHome, portal: SsoPortal) -> None:
    path = log_in(home, "session", "planted-access-token", seconds=60, with_refresh=True)
    fetch = Fetch()
    assert home.provider().retrieve(fetch).access_key_id == "ASIASSO1"
    kept = json.loads(path.read_text())
    assert (kept["accessToken"], kept["refreshToken"]) == ("planted-renewed-token", "planted-refresh-token-2")
    assert kept["expiresAt"].endswith("Z")
    assert {"planted-renewed-token", "planted-refresh-token", "planted-client-secret"} <= set(fetch.secrets)


def test_a_role_that_is_not_assigned_is_told(home: AwsHome, portal: SsoPortal) -> None:
    log_in(home, "session", "planted-access-token")
    home.write("config", SESSION.replace("Developer", "Administrator"))
    error = home.failure()
    assert error.is_conclusive
    assert f"{portal.url} refused GetRoleCredentials with status 403: ForbiddenException: No access" in str(error)


def test_a_session_that_is_not_configured_is_told(home: AwsHome) -> None:
    home.write("config", SESSION.replace("[sso-session mine]", "[sso-session other]"))
    error = home.failure()
    assert error.is_conclusive
    assert 'The specified sso-session does not exist: "mine"' in str(error)


def test_a_portal_that_does_not_answer_costs_no_more_than_the_fetch(home: AwsHome, portal: SsoPortal) -> None:
    log_in(home, "session", "planted-access-token")
    portal.failures.is_silent = True
    error = home.failure(timeout_seconds=0.4)
    assert not error.is_conclusive
    assert f"{portal.url} did not answer in time" in str(error)


def test_the_login_of_a_source_profile_is_the_one_that_is_named(home: AwsHome, portal: SsoPortal) -> None:
    log_in(home, "session", "planted-access-token", seconds=-5)
    role = "[profile outer]\nrole_arn = arn:aws:iam::123456789012:role/x\nsource_profile = dev\n"
    home.write("config", SESSION + role)
    home.set(AWS_PROFILE="outer")
    assert "Run `aws sso login --profile dev`" in str(home.failure())
