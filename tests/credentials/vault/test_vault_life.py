"""Tokens and leases are kept alive, replaced in time, and given back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from aws_signing_proxy.credentials.vault.provider import VaultProvider
from tests.credentials.vault.vault_scene import PATH, START, TOKEN, Scene, scene
from tests.credentials.vault.vault_server import CLOSE, Failure

RENEW_TOKEN = "auth/token/renew-self"
RENEW_LEASE = "sys/leases/renew"
REVOKE_LEASE = "sys/leases/revoke"
REVOKE_TOKEN = "auth/token/revoke-self"
LOGIN = "auth/approle/login"


@pytest.fixture(name="at")
def _at(monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    with scene(monkeypatch) as made:
        made.provider().close(made.fetch())
        yield made


def approle(at: Scene, **fields: Any) -> VaultProvider:
    at.login("approle", bind_secret_id=False, **fields)
    return at.provider(auth_method="approle", token=None, role_id="role-id-1")


def test_a_renewable_token_is_renewed_between_fetches_and_the_same_credentials_are_returned(at: Scene) -> None:
    at.backend.add_token(TOKEN, ttl=1200)
    at.role(ttl=36_000, max_ttl=360_000)
    provider = at.provider()
    first = at.retrieve(provider)
    assert first.ask_again_at == START + 800
    at.paths()
    at.clock.now = START + 800
    second = at.retrieve(provider)
    assert at.paths() == [RENEW_TOKEN]
    assert second.access_key_id == first.access_key_id
    assert (second.expires_at, second.ask_again_at) == (START + 2000, START + 1600)


def test_a_call_before_anything_is_due_asks_nobody(at: Scene) -> None:
    provider = at.provider()
    first = at.retrieve(provider)
    at.paths()
    at.clock.now = START + 600
    assert at.retrieve(provider).access_key_id == first.access_key_id
    assert at.paths() == []


def test_a_renewable_lease_is_renewed_instead_of_making_another_iam_user(at: Scene) -> None:
    provider = at.provider()
    first = at.retrieve(provider)
    assert first.ask_again_at == START + 2400
    at.clock.now = START + 2400
    at.paths()
    second = at.retrieve(provider)
    assert at.vault.requests[0].body["increment"] == 3600
    assert at.paths() == [RENEW_LEASE]
    assert (second.access_key_id, second.expires_at) == (first.access_key_id, START + 6000)
    assert at.backend.users_made == 1


def test_a_lease_that_grows_no_more_is_replaced_in_time(at: Scene) -> None:
    provider = at.provider()
    first = at.retrieve(provider)
    at.clock.now = START + 2400
    at.retrieve(provider)
    at.clock.now = START + 4800
    third = at.retrieve(provider)
    assert (third.access_key_id, third.expires_at) == (first.access_key_id, START + 7200)
    assert third.ask_again_at == START + 7200 - 120, "nothing is due before it has to be replaced"
    at.clock.now = third.ask_again_at
    assert at.retrieve(provider).access_key_id == first.access_key_id, "services may not know the new user yet"
    at.clock.now = START + 7200 - 60
    fourth = at.retrieve(provider)
    assert fourth.access_key_id != first.access_key_id
    assert first.access_key_id in at.backend.iam_users, "requests that it signed may be on their way"
    assert fourth.expires_at is not None
    assert fourth.expires_at == START + 7200 - 120 + 3600
    assert fourth.ask_again_at == fourth.expires_at - 1200, "nobody has to come for the old one, which ends by itself"


@pytest.mark.parametrize(
    ("status", "text"), [(400, b"lease not found"), (404, b"lease expired"), (400, b"lease expired or is gone")]
)
def test_a_lease_that_is_gone_is_replaced_by_another(at: Scene, status: int, text: bytes) -> None:
    provider = at.provider()
    first = at.retrieve(provider)
    at.clock.now = START + 2400
    at.vault.fail(RENEW_LEASE, Failure(status=status, body=b'{"errors": ["' + text + b'"]}'))
    assert at.retrieve(provider).access_key_id != first.access_key_id


def test_a_lease_that_cannot_be_renewed_lives_to_its_end(at: Scene) -> None:
    provider = at.provider()
    first = at.retrieve(provider)
    at.vault.fail(RENEW_LEASE, Failure(status=400, body=b'{"errors": ["lease is not renewable"]}'))
    at.clock.now = START + 2400
    assert at.retrieve(provider).access_key_id == first.access_key_id
    at.clock.now = START + 2500
    at.paths()
    assert at.retrieve(provider).access_key_id == first.access_key_id
    assert at.paths() == [], "it is not asked for again and again"


def test_a_policy_without_lease_renewal_lets_the_lease_live_to_its_end(at: Scene) -> None:
    at.backend.policies["default"] = {"auth/token/lookup-self": {"read"}}
    provider = at.provider()
    first = at.retrieve(provider)
    at.clock.now = START + 2400
    assert at.retrieve(provider).access_key_id == first.access_key_id
    assert "the lease was not renewed" in at.notes


def test_a_lease_whose_token_was_revoked_is_replaced_after_another_login(at: Scene) -> None:
    provider = approle(at, ttl=86_400, max_ttl=864_000)
    first = at.retrieve(provider)
    at.backend.revoke_token(at.vault.requests[-1].headers["x-vault-token"])
    assert at.backend.iam_users == set()
    at.clock.now = START + 2400
    second = at.retrieve(provider)
    assert second.access_key_id != first.access_key_id
    assert at.vault.count(LOGIN) == 2


def test_an_outage_during_a_renewal_is_reported_and_the_lease_kept(at: Scene) -> None:
    provider = at.provider()
    first = at.retrieve(provider)
    at.clock.now = START + 2400
    at.vault.is_sealed = True
    assert not at.failure(provider).is_conclusive
    at.vault.mend()
    assert at.retrieve(provider).access_key_id == first.access_key_id
    assert at.backend.users_made == 1


def test_forced_fetches_always_make_new_credentials_and_the_old_ones_are_given_back(at: Scene) -> None:
    at.role(ttl=86_400, max_ttl=864_000)
    provider = at.provider()
    first = at.retrieve(provider)
    second = at.retrieve(provider, refused=True)
    assert second.access_key_id != first.access_key_id
    assert at.backend.iam_users == {first.access_key_id, second.access_key_id}
    assert second.ask_again_at is not None
    at.clock.now = second.ask_again_at
    assert at.retrieve(provider).access_key_id == second.access_key_id
    assert at.backend.iam_users == {second.access_key_id}


def test_a_lease_that_could_not_be_given_back_is_given_back_later(at: Scene) -> None:
    at.role(ttl=86_400, max_ttl=864_000)
    provider = at.provider()
    at.retrieve(provider)
    second = at.retrieve(provider, refused=True)
    at.vault.fail(REVOKE_LEASE, Failure(kind=CLOSE), times=1)
    for _ in range(2):
        at.clock.now += 100
        at.retrieve(provider)
    assert at.backend.iam_users == {second.access_key_id}


@pytest.mark.parametrize("method", ["token", "approle"])
def test_a_clock_that_was_set_back_lets_nothing_be_kept_beyond_its_end(at: Scene, method: str) -> None:
    at.backend.add_token(TOKEN, ttl=1200)
    provider = approle(at) if method == "approle" else at.provider()
    first = at.retrieve(provider)
    at.clock.now = START - 3600
    second = at.retrieve(provider)
    assert second.access_key_id != first.access_key_id
    assert at.vault.count(LOGIN if method == "approle" else "auth/token/lookup-self") == 2
    assert second.expires_at is not None
    assert second.expires_at <= START
    at.clock.now += 1
    assert at.retrieve(provider).access_key_id == second.access_key_id


def test_a_token_at_its_maximum_is_followed_by_another_login_and_another_iam_user(at: Scene) -> None:
    provider = approle(at, ttl=1200, max_ttl=1500)
    first = at.retrieve(provider)
    at.clock.now = START + 800
    second = at.retrieve(provider)
    assert (second.access_key_id, second.expires_at) == (first.access_key_id, START + 1500)
    at.clock.now = START + 1500 - 120
    assert at.retrieve(provider).access_key_id == first.access_key_id
    at.clock.now = START + 1500 - 60
    third = at.retrieve(provider)
    assert third.access_key_id != first.access_key_id
    assert third.expires_at == START + 1500 - 120 + 1200
    assert at.vault.count(LOGIN) == 2


def test_a_login_token_that_may_not_renew_itself_is_followed_by_another_login(at: Scene) -> None:
    at.backend.policies["default"] = {}
    provider = approle(at, ttl=1200)
    at.retrieve(provider)
    at.clock.now = START + 800
    at.retrieve(provider)
    assert at.vault.count(LOGIN) == 2


def test_a_login_that_cannot_be_renewed_is_repeated_only_where_something_depends_on_it(at: Scene) -> None:
    at.role(credential_type="assumed_role", ttl=3600)
    provider = approle(at, ttl=600, renewable=False)
    first = at.retrieve(provider)
    assert first.ask_again_at is None
    at.clock.now = START + 3600 - 60
    assert at.retrieve(provider).access_key_id != first.access_key_id
    assert at.vault.count(LOGIN) == 2


def test_a_periodic_token_is_kept_alive_for_good(at: Scene) -> None:
    at.backend.add_token(TOKEN, ttl=600, period=600)
    at.role(ttl=86_400 * 30, max_ttl=86_400 * 60)
    provider = at.provider()
    first = at.retrieve(provider)
    for _ in range(20):
        credentials = at.retrieve(provider)
        assert credentials.access_key_id == first.access_key_id
        assert credentials.ask_again_at is not None
        at.clock.now = credentials.ask_again_at
    assert TOKEN in at.backend.tokens


def test_a_given_token_that_ends_is_announced_before_its_iam_user_ends_with_it(at: Scene) -> None:
    at.backend.add_token(TOKEN, ttl=1200, renewable=False)
    provider = at.provider()
    at.retrieve(provider)
    at.clock.now = START + 1200 - 60
    error = at.failure(provider)
    assert "the Vault token ends soon and cannot be renewed" in error.attempts[0].reason
    assert at.backend.users_made == 1
    at.clock.now = START + 1200
    error = at.failure(provider)
    assert "the token has ended" in error.attempts[0].reason
    assert "ASP_VAULT_AUTH_TOKEN" in error.attempts[0].advice


def test_a_given_token_that_somebody_else_renews_is_used_on(at: Scene) -> None:
    token = at.backend.add_token(TOKEN, ttl=1200, renewable=False)
    provider = at.provider()
    first = at.retrieve(provider)
    token.ends_at = START + 2400
    at.clock.now = START + 1200 - 60
    second = at.retrieve(provider)
    assert (second.access_key_id, second.expires_at) == (first.access_key_id, START + 2400)


def test_a_token_that_may_not_look_itself_up_works_all_the_same(at: Scene) -> None:
    at.backend.policies["default"] = {}
    credentials = at.retrieve(at.provider())
    assert credentials.expires_at == START + 3600
    assert "may not look itself up" in at.notes


@pytest.mark.parametrize("renewable", [False, True])
def test_a_token_file_with_a_new_token_lets_the_old_tokens_user_be_replaced_in_time(
    at: Scene, tmp_path: Path, *, renewable: bool
) -> None:
    file = tmp_path / "sink"
    file.write_text("planted-agent-1")
    at.backend.add_token("planted-agent-1", ttl=1200, renewable=renewable)
    provider = at.provider(auth_method="token_file", token=None, token_file=file)
    first = at.retrieve(provider)
    at.clock.now = START + 900
    file.write_text("planted-agent-2")
    at.backend.add_token("planted-agent-2", ttl=1200, renewable=False)
    assert at.retrieve(provider).access_key_id == first.access_key_id
    assert at.retrieve(provider).ask_again_at == START + 1200 - 120, "the old token is not to be renewed any more"
    for before_the_end in (120, 60):
        at.clock.now = START + 1200 - before_the_end
        second = at.retrieve(provider)
    assert second.access_key_id != first.access_key_id
    assert second.expires_at == START + 900 + 1200


def test_a_refused_token_of_a_login_is_replaced_once_and_not_again_in_the_same_fetch(at: Scene) -> None:
    provider = approle(at)
    at.retrieve(provider)
    at.backend.policies["proxy"] = {}
    error = at.failure(provider, forced=True)
    assert at.vault.count(LOGIN) == 2
    assert f'path "{PATH}" {{ capabilities = ["read"] }}' in error.attempts[0].advice
    fresh = approle(at)
    at.paths()
    at.failure(fresh)
    assert at.paths().count(LOGIN) == 1, "a token that is new in this fetch is not replaced: it is the policy"


def test_a_refused_token_of_a_login_is_followed_by_a_good_one(at: Scene) -> None:
    provider = approle(at)
    at.retrieve(provider)
    at.backend.tokens.clear()
    assert at.retrieve(provider, forced=True).access_key_id
    assert "another one was taken" in at.notes


def test_tokens_of_many_logins_are_not_left_behind(at: Scene) -> None:
    at.role(credential_type="assumed_role", ttl=3600)
    provider = approle(at, ttl=86_400)
    at.retrieve(provider)
    before = len(at.backend.tokens)
    at.vault.fail(PATH, Failure(status=403, body=b'{"errors": ["permission denied"]}'))
    for _ in range(5):
        at.failure(provider, forced=True)
    at.vault.mend()
    at.retrieve(provider, forced=True)
    assert len(at.backend.tokens) == before


def test_close_revokes_the_leases_and_the_token_of_a_login(at: Scene) -> None:
    provider = approle(at)
    at.retrieve(provider)
    at.retrieve(provider, forced=True)
    at.paths()
    provider.close(at.fetch())
    assert at.paths() == [REVOKE_LEASE, REVOKE_LEASE, REVOKE_TOKEN]
    assert at.backend.iam_users == set()
    assert set(at.backend.tokens) == {TOKEN}
    provider.close(at.fetch())
    assert at.paths() == [], "what was given back is given back once"


def test_close_never_revokes_a_given_token(at: Scene) -> None:
    provider = at.provider()
    at.retrieve(provider)
    at.paths()
    provider.close(at.fetch())
    assert at.paths() == [REVOKE_LEASE]
    assert TOKEN in at.backend.tokens


@pytest.mark.parametrize("failure", [Failure(status=403), Failure(status=503), Failure(kind=CLOSE)])
def test_close_raises_nothing_and_warns_of_what_it_could_not_give_back(at: Scene, failure: Failure) -> None:
    provider = approle(at)
    at.retrieve(provider)
    (lease_id,) = at.backend.leases
    at.vault.fail("", failure)
    provider.close(at.fetch())
    of_lease, of_token = (note.text for note in at.warnings)
    assert of_lease.startswith(f"the lease {lease_id} could not be given back: ")
    assert of_token.startswith("the token that was logged in for could not be revoked: ")


def test_a_replaced_lease_that_the_policy_does_not_let_us_revoke_is_warned_of_with_its_id(at: Scene) -> None:
    at.role(ttl=86_400, max_ttl=864_000)
    at.backend.policies["proxy"] = {"aws/*": {"read"}}
    provider = at.provider()
    at.retrieve(provider)
    (lease_id,) = at.backend.leases
    at.clock.now += 600
    at.retrieve(provider, refused=True)
    assert at.warnings == []
    at.clock.now += 61
    at.retrieve(provider)
    (note,) = at.warnings
    assert lease_id in note.text
    assert "permission denied" in note.text
    assert "sys/leases/revoke" in note.text


def test_close_without_time_or_without_a_fetch_before_it_does_no_harm(at: Scene) -> None:
    provider = approle(at)
    provider.close(at.fetch())
    at.retrieve(provider)
    provider.close(at.fetch(timeout_seconds=0))
    assert "the time for this fetch is over" in at.notes


@pytest.mark.parametrize(
    "extra", [{"secret_key": None}, {"access_key": 7}, {"secret_key": "planted\nline"}, {"access_key": "a/b"}]
)
def test_a_lease_whose_answer_cannot_be_used_is_given_back_at_once(at: Scene, extra: dict[str, object]) -> None:
    at.role(extra=extra)
    error = at.failure(at.provider())
    assert error.is_conclusive
    assert at.backend.users_made == 1
    assert at.backend.leases == {}
