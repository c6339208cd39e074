"""A fresh IAM user is waited for until AWS knows it, and never made twice."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from aws_signing_proxy.credentials.provider import CredentialsUnavailableError
from tests.credentials.vault.vault_scene import START, TOKEN, Scene, Sts, scene

UNKNOWN = "InvalidClientTokenId"


@pytest.fixture(name="at")
def _at(monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    with scene(monkeypatch) as made:
        yield made


def test_aws_has_to_know_the_key_twice_in_a_row(at: Scene) -> None:
    at.sts = Sts(UNKNOWN, "SignatureDoesNotMatch", "", UNKNOWN, "", "")
    credentials = at.retrieve(at.provider())
    assert at.sts.asked == [credentials.access_key_id] * 6
    assert at.pauses == [1.0, 1.5, 1.0, 1.5, 1.0]
    assert at.backend.users_made == 1
    assert "AWS knows the new IAM user" in at.notes


def test_the_pauses_grow_while_aws_does_not_know_the_key(at: Scene) -> None:
    at.sts = Sts(UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN, "", "")
    at.retrieve(at.provider())
    assert at.pauses == [1.0, 1.5, 2.25, 3.375, 4.0, 1.0]


def test_the_same_user_is_kept_for_the_next_fetch_when_the_time_is_over(at: Scene) -> None:
    at.sts = Sts(UNKNOWN)
    provider = at.provider()
    error = at.failure(provider)
    assert not error.is_conclusive
    assert UNKNOWN in error.attempts[0].reason
    assert "ASP_VAULT_SETTLING_TIMEOUT" in error.attempts[0].advice
    assert sum(at.pauses) <= 15
    at.sts.codes = [""]
    made = at.sts.asked[0]
    assert at.retrieve(provider).access_key_id == made
    assert at.backend.users_made == 1


@pytest.mark.parametrize("refused", [False, True])
def test_the_old_credentials_stay_while_the_new_user_is_not_known(at: Scene, *, refused: bool) -> None:
    provider = at.provider()
    first = at.retrieve(provider)
    at.sts.codes = [UNKNOWN]
    at.failure(provider, forced=True, refused=refused)
    at.failure(provider, refused=refused)
    at.clock.now += 60
    at.failure(provider)
    assert at.backend.users_made == 2
    assert first.access_key_id in at.backend.iam_users
    at.sts.codes = [""]
    assert at.retrieve(provider).access_key_id != first.access_key_id


def test_a_user_that_stays_unknown_for_minutes_is_given_up(at: Scene) -> None:
    at.sts = Sts(UNKNOWN)
    provider = at.provider()
    at.failure(provider)
    at.clock.now = START + 301
    at.sts.codes = [""]
    second = at.retrieve(provider)
    assert at.backend.users_made == 2
    assert at.backend.iam_users == {second.access_key_id}


def test_the_fetchs_own_time_ends_the_waiting_too(at: Scene) -> None:
    at.sts = Sts(UNKNOWN)
    with pytest.raises(CredentialsUnavailableError):
        at.provider().retrieve(at.fetch(timeout_seconds=4))
    assert sum(at.pauses) <= 4


def test_one_success_is_enough_where_no_time_is_left_for_a_second(at: Scene) -> None:
    at.sts = Sts("")
    assert at.retrieve(at.provider(settling_timeout_seconds=0.5)).access_key_id
    assert len(at.sts.asked) == 1


def test_whoever_is_denied_is_known(at: Scene) -> None:
    at.sts = Sts("AccessDenied")
    assert at.retrieve(at.provider()).access_key_id
    assert len(at.sts.asked) == 2


def test_throttling_is_no_answer_and_does_not_count_against_the_key(at: Scene) -> None:
    at.sts = Sts("", "Throttling", "")
    assert at.retrieve(at.provider()).access_key_id
    assert len(at.sts.asked) == 3


@pytest.mark.parametrize("code", [None, "RegionDisabledException"])
def test_where_sts_cannot_say_a_fixed_time_is_waited(at: Scene, code: str | None) -> None:
    at.sts = Sts(code)
    assert at.retrieve(at.provider()).access_key_id
    assert at.pauses == [10.0]
    assert "could not ask AWS whether it knows the new IAM user already" in at.notes


def test_that_fixed_time_is_waited_without_an_sts_too_and_over_several_fetches(at: Scene) -> None:
    provider = at.provider(settling_timeout_seconds=30)
    provider._settling._sts = None
    with pytest.raises(CredentialsUnavailableError):
        provider.retrieve(at.fetch(timeout_seconds=15))
    assert at.retrieve(provider).access_key_id
    assert at.pauses == [15.0, 5.0]
    assert at.backend.users_made == 1


def test_a_settling_time_of_zero_waits_for_nothing(at: Scene) -> None:
    at.sts = Sts(UNKNOWN)
    assert at.retrieve(at.provider(settling_timeout_seconds=0)).access_key_id
    assert at.sts.asked == []


def test_a_renewed_lease_is_not_checked_again(at: Scene) -> None:
    provider = at.provider()
    at.retrieve(provider)
    asked = len(at.sts.asked)
    at.clock.now = START + 2400
    at.retrieve(provider)
    assert len(at.sts.asked) == asked


def test_an_unforeseen_exception_while_asking_loses_no_user(at: Scene) -> None:
    class BrokenSts(Sts):
        def caller_identity(self, fetch: object, credentials: object) -> object:
            raise ZeroDivisionError

    provider = at.provider()
    good, provider._settling._sts = provider._settling._sts, BrokenSts()
    with pytest.raises(ZeroDivisionError):
        at.retrieve(provider)
    provider._settling._sts = good
    at.retrieve(provider)
    assert at.backend.users_made == 1
    provider.close(at.fetch())
    assert at.backend.iam_users == set()


def test_a_new_user_is_used_only_when_services_know_it_too_and_the_old_one_meanwhile(at: Scene) -> None:
    at.role(ttl=86_400, max_ttl=864_000)
    provider = at.provider()
    first = at.retrieve(provider)
    at.clock.now = began = at.clock.now + 600
    at.sts.asked.clear()
    kept = at.retrieve(provider, forced=True)
    (new,) = set(at.sts.asked)
    assert (kept.access_key_id, kept.ask_again_at) == (first.access_key_id, began + 60)
    at.clock.now = began + 59
    assert at.retrieve(provider).access_key_id == first.access_key_id
    assert at.retrieve(provider, forced=True).access_key_id == first.access_key_id, "an operator who cannot wait"
    at.sts.codes = [UNKNOWN]
    at.clock.now = began + 60
    second = at.retrieve(provider)
    assert second.access_key_id == new
    assert not second.is_settling(at.clock.now)
    assert at.sts.asked == [new] * 2, "STS knew it at the beginning"
    assert at.backend.users_made == 2
    assert first.access_key_id in at.backend.iam_users


@pytest.mark.parametrize("seconds", [16, 30, 100])
def test_with_short_leases_the_old_user_is_used_for_half_of_what_it_has_left(at: Scene, seconds: int) -> None:
    at.role(ttl=seconds, max_ttl=seconds)
    provider = at.provider()
    first = at.retrieve(provider)
    assert first.expires_at is not None
    # To renew it, and to be told that it cannot be.
    while (kept := at.retrieve(provider)).access_key_id == first.access_key_id and at.backend.users_made == 1:
        assert kept.ask_again_at is not None
        at.clock.now = kept.ask_again_at
    made_at = at.clock.now - 1
    assert at.pauses[-1] == 1, "which it takes to hear twice that STS knows the key"
    assert kept.ask_again_at is not None
    assert kept.ask_again_at == pytest.approx((made_at + first.expires_at) / 2)
    assert kept.ask_again_at < first.expires_at
    at.clock.now = kept.ask_again_at
    second = at.retrieve(provider)
    assert second.access_key_id != first.access_key_id
    assert at.clock.now < first.expires_at


def test_where_a_service_refuses_the_old_user_the_new_one_is_used_as_soon_as_sts_knows_it(at: Scene) -> None:
    provider = at.provider()
    first = at.retrieve(provider)
    at.clock.now += 600
    assert at.retrieve(provider, forced=True).access_key_id == first.access_key_id
    second = at.retrieve(provider, refused=True)
    assert second.access_key_id != first.access_key_id
    assert second.is_settling(at.clock.now)
    assert at.backend.users_made == 2


def test_a_user_that_vault_has_deleted_is_not_used_while_the_new_one_settles(at: Scene) -> None:
    provider = at.provider()
    first = at.retrieve(provider)
    at.clock.now = START + 2400
    for lease_id in list(at.backend.leases):
        at.backend.revoke_lease(lease_id)
    assert at.retrieve(provider).access_key_id != first.access_key_id


def test_the_new_user_takes_over_though_the_token_cannot_be_renewed_any_more(at: Scene) -> None:
    at.backend.add_token(TOKEN, ttl=600, max_ttl=86_400)
    at.role(ttl=600, max_ttl=600)
    provider = at.provider()
    first = at.retrieve(provider)
    at.clock.now = START + 390
    assert at.retrieve(provider, forced=True).access_key_id == first.access_key_id
    at.vault.is_sealed = True
    at.clock.now = START + 450
    assert at.retrieve(provider).access_key_id != first.access_key_id
    assert "the new IAM user is used all the same" in at.warnings[0].text
    at.failure(provider)


def test_fresh_users_are_told_as_such_and_other_kinds_are_not(at: Scene) -> None:
    fresh = at.retrieve(at.provider())
    assert fresh.fresh_since == START
    assert fresh.is_settling(START)
    assert fresh.is_settling(START + 59.9)
    assert not fresh.is_settling(START + 60)
    assert not fresh.is_settling(START - 3600), "the clock was set back"
    at.role(credential_type="assumed_role")
    assert at.retrieve(at.provider()).fresh_since is None
    at.role("aws/static-creds/dev", credential_type="static")
    assert at.retrieve(at.provider(path="aws/static-creds/dev")).fresh_since is None


def test_the_old_static_keys_are_used_no_longer_than_half_the_time_to_the_rotation_that_ends_them(at: Scene) -> None:
    role = at.role("aws/static-creds/dev", credential_type="static", extra={"expiration": "2027-01-15T08:00:20Z"})
    provider = at.provider(path="aws/static-creds/dev")
    first = at.retrieve(provider)
    at.clock.now = START + 30
    at.backend.rotation, role.extra = 2, {"expiration": "2027-01-15T08:01:20Z"}
    kept = at.retrieve(provider)
    assert (kept.access_key_id, kept.ask_again_at) == (first.access_key_id, START + 30 + 25)
    at.clock.now = START + 55
    assert at.retrieve(provider).access_key_id != first.access_key_id
