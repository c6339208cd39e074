"""The ways to get a Vault token: given, from a file, by AppRole, Kubernetes and JWT."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.credentials.vault.vault_scene import TOKEN, Scene, scene
from tests.credentials.vault.vault_server import Failure


@pytest.fixture(name="at")
def _at(monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    with scene(monkeypatch) as made:
        made.backend.tokens.clear()
        yield made


def test_an_approle_logs_in_with_role_id_and_secret_id(at: Scene) -> None:
    at.login("approle")
    provider = at.provider(auth_method="approle", role_id="role-id-1", secret_id="planted-secret-id")
    assert at.retrieve(provider).access_key_id
    login = at.vault.requests[0]
    assert (login.method, login.path) == ("POST", "auth/approle/login")
    assert login.body == {"role_id": "role-id-1", "secret_id": "planted-secret-id"}
    assert "x-vault-token" not in login.headers
    assert at.vault.requests[1].headers["x-vault-token"].startswith("hvs.planted")
    assert "logged in with approle; the token lives 20 min and can be renewed" in at.notes


def test_an_approle_whose_role_binds_no_secret_id_needs_none(at: Scene) -> None:
    at.login("approle", bind_secret_id=False)
    assert at.retrieve(at.provider(auth_method="approle", role_id="role-id-1")).access_key_id


def test_a_secret_id_file_is_read_again_at_each_login(at: Scene, tmp_path: Path) -> None:
    login = at.login("approle", renewable=False)
    file = tmp_path / "secret-id"
    file.write_text("planted-secret-id\n")
    provider = at.provider(auth_method="approle", role_id="role-id-1", secret_id_file=file)
    at.retrieve(provider)
    login.secret_ids = {"planted-second"}
    file.write_text("planted-second\n")
    at.clock.now += 1100
    at.paths()
    at.retrieve(provider)
    assert at.vault.requests[0].path == "auth/approle/login"
    assert at.vault.requests[0].body["secret_id"] == "planted-second"


@pytest.mark.parametrize("method", ["kubernetes", "jwt"])
@pytest.mark.parametrize("mount", [None, "team/cluster-1"])
def test_a_service_accounts_token_is_read_at_each_login(
    at: Scene, tmp_path: Path, method: str, mount: str | None
) -> None:
    login = at.login(method, mount, renewable=False)
    file = tmp_path / "token"
    file.write_text("planted.jwt.1")
    provider = at.provider(auth_method=method, auth_mount=mount, auth_role="dev", jwt_file=file)
    at.retrieve(provider)
    assert at.vault.requests[0].path == f"auth/{mount or method}/login"
    assert at.vault.requests[0].body == {"role": "dev", "jwt": "planted.jwt.1"}
    login.jwts = {"planted.jwt.2"}
    file.write_text("planted.jwt.2")
    at.clock.now += 1100
    assert at.retrieve(provider).access_key_id
    assert at.vault.count(f"auth/{mount or method}/login") == 2


def test_jwt_logs_in_without_a_role_where_the_mount_has_a_default_one(at: Scene, tmp_path: Path) -> None:
    at.login("jwt")
    (tmp_path / "token").write_text("planted.jwt.1")
    assert at.retrieve(at.provider(auth_method="jwt", jwt_file=tmp_path / "token")).access_key_id


def test_a_namespace_goes_with_the_login(at: Scene) -> None:
    at.login("approle", bind_secret_id=False)
    at.retrieve(at.provider(auth_method="approle", role_id="role-id-1", namespace="team-a/"))
    assert at.vault.requests[0].headers["x-vault-namespace"] == "team-a/"


def test_a_token_file_is_read_at_each_fetch_and_its_change_is_noticed(at: Scene, tmp_path: Path) -> None:
    file = tmp_path / "sink"
    file.write_text(f"{TOKEN}\n")
    at.backend.add_token(TOKEN)
    at.backend.add_token("planted-second")
    provider = at.provider(auth_method="token_file", token=None, token_file=file)
    assert not provider.has_changed()
    at.retrieve(provider)
    assert at.vault.requests[-1].headers["x-vault-token"] == TOKEN
    assert not provider.has_changed()
    # As Vault's agent writes it: a new file takes the old one's place.
    (tmp_path / "new").write_text("planted-second")
    (tmp_path / "new").replace(file)
    assert provider.has_changed()
    at.retrieve(provider, forced=True)
    assert at.vault.requests[-1].headers["x-vault-token"] == "planted-second"
    assert not provider.has_changed()


@pytest.mark.parametrize(
    ("text", "reason", "is_conclusive"),
    [
        (None, "no such file", False),
        ("  \n", "is empty", False),
        ("planted-a\nplanted-b\n", "line break", True),
        ('{"token": "planted-wrapped", "ttl": 300}', "holds JSON", True),
        ("planted" * 10_000, "holds more than 65536 bytes", True),
    ],
)
def test_a_token_file_that_cannot_be_used_is_named(
    at: Scene, tmp_path: Path, text: str | None, reason: str, *, is_conclusive: bool
) -> None:
    file = tmp_path / "sink"
    if text is not None:
        file.write_text(text)
    error = at.failure(at.provider(auth_method="token_file", token=None, token_file=file))
    assert error.attempts[0].source == str(file)
    assert reason in error.attempts[0].reason
    assert "ASP_VAULT_AUTH_TOKEN_FILE" in error.attempts[0].advice
    assert error.is_conclusive is is_conclusive


@pytest.mark.parametrize("kind", ["pipe", "directory"])
def test_a_token_file_that_is_no_file_does_not_block(at: Scene, tmp_path: Path, kind: str) -> None:
    place = tmp_path / "sink"
    if kind == "pipe":
        os.mkfifo(place)
    else:
        place.mkdir()
    error = at.failure(at.provider(auth_method="token_file", token=None, token_file=place))
    assert "cannot be read" in error.attempts[0].reason
    assert error.is_conclusive


@pytest.mark.parametrize(
    ("method", "settings"),
    [
        ("approle", "ASP_VAULT_ROLE_ID"),
        ("kubernetes", "ASP_VAULT_AUTH_ROLE"),
        ("jwt", "ASP_VAULT_JWT_FILE"),
        ("token", "ASP_VAULT_AUTH_TOKEN"),
    ],
)
def test_a_login_that_lacks_a_setting_names_it(at: Scene, method: str, settings: str) -> None:
    error = at.failure(at.provider(auth_method=method, token=None))
    assert settings in str(error)
    assert error.is_conclusive
    assert at.paths() == []


def test_a_token_on_two_lines_is_refused_before_it_is_sent(at: Scene) -> None:
    error = at.failure(at.provider(token="planted-a\nplanted-b"))
    assert "line break" in error.attempts[0].reason
    assert at.paths() == []


@pytest.mark.parametrize(
    ("method", "options", "status", "words", "advice"),
    [
        ("approle", {"role_id": "role-id-1", "secret_id": "planted-wrong"}, 400, "invalid role or secret", "SECRET_ID"),
        ("approle", {"role_id": "role-id-1"}, 400, "missing secret_id", "ASP_VAULT_SECRET_ID"),
        ("kubernetes", {"auth_role": "other"}, 400, 'invalid role name "other"', "ASP_VAULT_AUTH_ROLE"),
        ("kubernetes", {"auth_role": "dev"}, 403, "permission denied", "ASP_VAULT_JWT_FILE"),
        ("jwt", {"auth_role": "dev"}, 400, "invalid audience", "ASP_VAULT_JWT_FILE"),
        ("jwt", {"auth_role": "dev", "auth_mount": "gone"}, 403, "permission denied", "no login method is mounted"),
    ],
)
def test_a_refused_login_says_what_vault_said_and_which_settings_to_check(
    at: Scene, tmp_path: Path, method: str, options: dict[str, str], status: int, words: str, advice: str
) -> None:
    (tmp_path / "token").write_text("planted.jwt.wrong")
    at.login(method)
    error = at.failure(at.provider(auth_method=method, jwt_file=tmp_path / "token", **options))
    assert error.attempts[0].source == f"Vault {at.vault.url}"
    assert f"was answered {status}" in error.attempts[0].reason
    assert words in error.attempts[0].reason
    assert advice in error.attempts[0].advice
    assert error.is_conclusive


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"{}", "without auth"),
        (b'{"auth": null}', "without auth"),
        (b'{"auth": {"client_token": null}}', "without auth.client_token"),
        (b'{"auth": {"client_token": "", "mfa_requirement": {"mfa_request_id": "x"}}}', "second factor"),
        (b'{"auth": {"client_token": "planted a\\nb"}}', "the token holds"),
    ],
)
def test_a_login_answered_without_a_token_is_an_error(at: Scene, body: bytes, words: str) -> None:
    at.vault.fail("auth/", Failure(status=200, body=body))
    error = at.failure(at.provider(auth_method="approle", role_id="role-id-1"))
    assert words in error.attempts[0].reason


def test_a_login_whose_token_does_not_end_is_kept_for_good(at: Scene) -> None:
    at.login("approle", bind_secret_id=False, ttl=0)
    provider = at.provider(auth_method="approle", role_id="role-id-1")
    at.retrieve(provider)
    assert "the token does not end" in at.notes
    at.clock.now += 86400
    at.retrieve(provider)
    assert at.vault.count("auth/approle/login") == 1


def test_after_a_login_that_failed_its_file_is_watched_until_the_next_fetch(at: Scene, tmp_path: Path) -> None:
    at.login("approle")
    file = tmp_path / "secret-id"
    provider = at.provider(auth_method="approle", role_id="role-id-1", secret_id_file=file)
    at.failure(provider)
    assert not provider.has_changed()
    file.write_text("planted-wrong")
    assert provider.has_changed()
    at.failure(provider)
    assert not provider.has_changed()
    file.write_text("planted-secret-id")
    assert provider.has_changed()
    at.retrieve(provider)
    file.write_text("planted-next")
    assert not provider.has_changed()


def test_a_fetch_that_needs_no_login_ends_the_watch_over_its_file(at: Scene, tmp_path: Path) -> None:
    """Otherwise one change of the file would be a reason to fetch for as long as the token lives."""
    at.login("approle")
    file = tmp_path / "secret-id"
    file.write_text("planted-secret-id")
    provider = at.provider(auth_method="approle", role_id="role-id-1", secret_id_file=file)
    at.retrieve(provider)
    file.unlink()
    at.vault.fail("aws/", Failure(status=403, body=b'{"errors": ["permission denied"]}'), times=1)
    assert "no such file" in at.failure(provider, forced=True).attempts[0].reason
    assert not provider.has_changed()
    file.write_text("planted-secret-id")
    assert provider.has_changed()
    at.retrieve(provider, forced=True)
    assert not provider.has_changed()
