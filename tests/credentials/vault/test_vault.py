"""Credentials from Vault's AWS secrets engine: what is asked, and what is made of the answers."""

from __future__ import annotations

import contextlib
import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from aws_signing_proxy.credentials.fetch import Step
from aws_signing_proxy.credentials.provider import CredentialsUnavailableError
from aws_signing_proxy.credentials.vault.provider import VaultOptions, VaultProvider
from tests.credentials.vault.vault_scene import PATH, START, TOKEN, Scene, scene
from tests.credentials.vault.vault_server import CLOSE, Failure


@pytest.fixture(name="at")
def _at(monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    with scene(monkeypatch) as made:
        yield made


def test_the_credentials_are_read_with_a_get_that_carries_the_token(at: Scene) -> None:
    at.retrieve(at.provider())
    read = at.vault.requests[-1]
    assert (read.method, read.path, read.query) == ("GET", PATH, {})
    assert read.headers["x-vault-token"] == TOKEN
    assert "x-vault-namespace" not in read.headers


def test_an_iam_user_is_handed_out_with_its_lease_as_its_life(at: Scene) -> None:
    credentials = at.retrieve(at.provider())
    assert credentials.access_key_id.startswith("AKIAUSER")
    assert credentials.secret_access_key.startswith("planted-key-")
    assert credentials.session_token is None
    assert (credentials.expires_at, credentials.lead_seconds) == (START + 3600, 60.0)
    assert credentials.source == f"Vault {at.vault.url}, {PATH}"


def test_an_iam_user_lives_no_longer_than_the_token_that_made_it(at: Scene) -> None:
    at.backend.add_token(TOKEN, ttl=1200)
    credentials = at.retrieve(at.provider())
    assert credentials.expires_at == START + 1200
    assert credentials.ask_again_at == START + 800


@pytest.mark.parametrize("kind", ["assumed_role", "ttl"])
def test_sts_credentials_live_by_their_own_time_whatever_becomes_of_the_token(at: Scene, kind: str) -> None:
    at.role("aws/sts/dev", credential_type=kind, ttl=1800)
    at.backend.add_token(TOKEN, ttl=600, renewable=False)
    credentials = at.retrieve(at.provider(path="aws/sts/dev"))
    assert credentials.session_token is not None
    assert credentials.session_token.startswith("planted-session-")
    assert credentials.expires_at == START + 1800
    assert at.sts.asked == []


def test_newer_versions_name_the_token_session_token(at: Scene) -> None:
    at.role(credential_type="assumed_role", extra={"security_token": None, "session_token": "planted-new-name"})
    assert at.retrieve(at.provider()).session_token == "planted-new-name"


def test_role_arn_and_ttl_are_sent_in_the_query_of_a_read(at: Scene) -> None:
    arns = ("arn:aws:iam::123456789012:role/a", "arn:aws:iam::123456789012:role/b")
    at.role("aws/sts/dev", credential_type="assumed_role", role_arns=arns)
    credentials = at.retrieve(at.provider(path="aws/sts/dev", aws_role_arn=arns[1], aws_ttl_seconds=900.0))
    read = at.vault.requests[-1]
    assert (read.method, read.query) == ("GET", {"role_arn": arns[1], "ttl": "900s"})
    assert credentials.expires_at == START + 900


def test_static_keys_do_not_end_but_are_read_again_within_minutes(at: Scene) -> None:
    at.role("aws/static-creds/dev", credential_type="static")
    provider = at.provider(path="aws/static-creds/dev")
    credentials = at.retrieve(provider)
    assert (credentials.expires_at, credentials.ask_again_at) == (None, START + 1 + 300)
    asked = len(at.sts.asked)
    assert at.retrieve(provider).access_key_id == credentials.access_key_id
    assert len(at.sts.asked) == asked, "a key that is known already is not checked again"


def test_static_keys_are_read_again_right_after_their_rotation_and_the_new_ones_are_checked(at: Scene) -> None:
    role = at.role("aws/static-creds/dev", credential_type="static", extra={"expiration": "2027-01-15T08:01:40Z"})
    provider = at.provider(path="aws/static-creds/dev")
    first = at.retrieve(provider)
    assert first.ask_again_at == START + 100 + 10
    at.clock.now = START + 110
    at.backend.rotation, role.extra = 2, {}
    assert at.retrieve(provider).access_key_id == first.access_key_id, "it lives until the next rotation"
    at.clock.now += 60
    second = at.retrieve(provider)
    assert second.access_key_id != first.access_key_id
    assert second.fresh_since == START + 110
    assert at.sts.asked.count(second.access_key_id) == 2


def test_a_namespace_is_sent_with_every_call(at: Scene) -> None:
    at.backend.add_token(TOKEN, namespace="team-a")
    at.retrieve(at.provider(namespace="team-a"))
    assert {seen.headers.get("x-vault-namespace") for seen in at.vault.requests} == {"team-a"}


def test_each_call_is_one_measured_step_and_the_notes_tell_what_went_well(at: Scene) -> None:
    at.backend.add_token(TOKEN, ttl=3600)
    at.retrieve(at.provider())
    assert [(step.step, step.is_success) for step in at.fetches[-1].steps] == [(Step.VAULT, True)] * 2
    assert "the token of ASP_VAULT_AUTH_TOKEN lives 1 h and can be renewed" in at.notes
    assert "AWS knows the new IAM user" in at.notes


def test_vaults_warnings_are_passed_on_as_notes(at: Scene) -> None:
    at.backend.add_token(TOKEN, ttl=1000, max_ttl=1500)
    provider = at.provider()
    at.retrieve(provider)
    at.clock.now += 700
    at.retrieve(provider)
    assert 'Vault warns: TTL of "1000s" exceeded the effective max_ttl' in at.notes


def test_vaults_own_variables_and_files_do_not_come_in(at: Scene, tmp_path: Path) -> None:
    """The library reads some of them when it is imported, so this takes a process of its own."""
    (tmp_path / ".vault-token").write_text("planted-from-home")
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login planted password planted\n")
    code = (
        "from aws_signing_proxy.credentials.vault.provider import VaultOptions, VaultProvider\n"
        "from aws_signing_proxy.credentials.fetch import Fetch\n"
        f"options = VaultOptions(url={at.vault.url!r}, path={PATH!r}, auth_method='token', token={TOKEN!r},\n"
        "    settling_timeout_seconds=0)\n"
        "print(VaultProvider(options).retrieve(Fetch()).access_key_id)\n"
    )
    environ = {
        "HOME": str(tmp_path),
        "PYTHONPATH": ":".join(sys.path),
        "VAULT_ADDR": "http://127.0.0.1:1",
        "VAULT_TOKEN": "planted-from-environment",
        "VAULT_NAMESPACE": "elsewhere",
        "VAULT_CACERT": "/nonexistent",
        "VAULT_CLIENT_CERT": "/nonexistent",
        "VAULT_CLIENT_KEY": "/nonexistent",
        "REQUESTS_CA_BUNDLE": "/nonexistent",
    }
    done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("AKIAUSER"), done.stderr
    for seen in at.vault.requests:
        assert seen.headers["x-vault-token"] == TOKEN
        assert "authorization" not in seen.headers
        assert "x-vault-namespace" not in seen.headers


def test_importing_the_provider_loads_none_of_the_heavy_libraries() -> None:
    code = (
        "import sys, aws_signing_proxy.credentials.vault.provider\n"
        "print([name for name in ('hvac', 'requests', 'urllib3', 'botocore', 'authlib', 'cryptography') "
        "if name in sys.modules])"
    )
    environ = {"PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]", done.stderr


def test_neither_options_nor_what_is_kept_show_a_secret(at: Scene) -> None:
    options = VaultOptions(url=at.vault.url, path=PATH, auth_method="token", token=TOKEN, secret_id="planted-secret-id")
    provider = VaultProvider(options, sts=at.sts)
    credentials = at.retrieve(provider)
    held = (options, provider, provider._held, provider._tokens.kept, credentials)
    assert "planted" not in repr(held)
    assert {TOKEN, "planted-secret-id", credentials.secret_access_key} <= at.known_secrets
    provider.close(at.fetch())


@pytest.mark.parametrize("failing", ["auth/approle", PATH, "sys/", "auth/token/renew-self", "nothing"])
@pytest.mark.parametrize("failure", [Failure(status=403), Failure(status=500, body=b"{"), Failure(kind=CLOSE)])
def test_no_log_message_at_any_level_and_no_exception_holds_a_secret(
    at: Scene, caplog: pytest.LogCaptureFixture, failing: str, failure: Failure
) -> None:
    caplog.set_level(logging.DEBUG)
    at.login("approle", ttl=600)
    provider = at.provider(auth_method="approle", role_id="role-id-1", secret_id="planted-secret-id")
    at.vault.fail(failing, failure)
    for _ in range(4):
        with contextlib.suppress(CredentialsUnavailableError):
            at.retrieve(provider)
        at.clock.now += 500
    provider.close(at.fetch())
    assert "planted" not in caplog.text
    used = {seen.headers["x-vault-token"] for seen in at.vault.requests if "x-vault-token" in seen.headers}
    assert used <= at.known_secrets


def test_an_exception_keeps_no_request_with_its_token_alive(at: Scene) -> None:
    at.vault.fail(PATH, Failure(kind=CLOSE))
    error = at.failure(at.provider())
    assert error.__context__ is None
    assert error.__cause__ is None


def test_a_password_in_the_url_is_a_secret_and_not_part_of_the_name(at: Scene) -> None:
    url = at.vault.url.replace("http://", "http://proxy:planted-password@")
    provider = at.provider(url=url)
    assert at.retrieve(provider).source == f"Vault {at.vault.url}, {PATH}"
    assert "planted-password" in at.known_secrets
    assert "planted-password" not in repr(provider._options)
