"""Roles that are assumed in turn, on top of another provider."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from aws_signing_proxy.credentials.fetch import Fetch
from aws_signing_proxy.credentials.model import Credentials
from aws_signing_proxy.credentials.provider import Attempt, CredentialsUnavailableError
from aws_signing_proxy.credentials.sts.role_chain import RoleChainProvider
from aws_signing_proxy.credentials.sts.service import AssumedRole, SecurityTokenService, StsRefusedError
from tests.credentials.sts.sts_scene import REGION, ready, service
from tests.credentials.sts.sts_server import Refuse, Respond, StsServer, numbered_set

ARNS = [f"arn:aws:iam::123456789012:role/{name}" for name in ("first", "second", "third")]
ROLES = tuple(AssumedRole(arn=arn) for arn in ARNS)
DAY = 86400.0


class Base:
    """A remote source whose n-th credentials are numbered; they can fail, and want to be asked again."""

    name = "vault"
    is_local = False

    def __init__(self) -> None:
        self.retrieved: list[bool] = []  # whether each was forced
        self.expires_in: float | None = DAY
        self.asked_again_in: float | None = None
        self.session_token: str | None = "base-token"
        self.makes_users = False
        self.refused: list[bool] = []  # whether each took the place of refused ones
        self.is_changed = False
        self.error: CredentialsUnavailableError | None = None
        self.is_closed = False

    def retrieve(self, fetch: Fetch) -> Credentials:
        self.retrieved.append(fetch.is_forced)
        self.refused.append(fetch.is_refused)
        if self.error is not None:
            raise self.error
        number, now = len(self.retrieved), fetch.now()
        return Credentials(
            f"AKIABASE{number}",
            f"base-secret-{number}",
            self.session_token,
            expires_at=None if self.expires_in is None else now + self.expires_in,
            ask_again_at=None if self.asked_again_in is None else now + self.asked_again_in,
            source="Vault's creds/reader",
            lead_seconds=60.0,
            fresh_since=now if self.makes_users else None,
        )

    def has_changed(self) -> bool:
        return self.is_changed

    def close(self, _fetch: Fetch) -> None:
        self.is_closed = True


class Clock:
    """A wall clock that a test sets, and pauses that pass at once."""

    def __init__(self) -> None:
        self.now = time.time()
        self.elapsed = 0.0
        self.pauses: list[float] = []

    def fetch(self, *, is_forced: bool = False, is_refused: bool = False) -> Fetch:
        return Fetch(
            is_forced=is_forced,
            is_refused=is_refused,
            clock=lambda: self.now,
            monotonic=lambda: self.elapsed,
            pause=self.pause,
        )

    def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.elapsed += seconds


@pytest.fixture(name="server")
def _server() -> Iterator[StsServer]:
    with StsServer(region=REGION) as server:
        yield server


@pytest.fixture(name="sts")
def _sts(server: StsServer) -> Iterator[SecurityTokenService]:
    sts = service(server)
    yield sts
    sts.close()


@pytest.fixture(name="base")
def _base() -> Base:
    return Base()


@pytest.fixture(name="clock")
def _clock() -> Clock:
    return Clock()


@pytest.fixture(name="chain")
def _chain(base: Base, sts: SecurityTokenService) -> RoleChainProvider:
    return RoleChainProvider(base, ROLES, sts=sts)


def test_each_role_is_assumed_with_the_credentials_of_the_one_before(
    server: StsServer, chain: RoleChainProvider, base: Base
) -> None:
    credentials = chain.retrieve(Fetch())
    assert [request.parameters["RoleArn"] for request in server.requests] == ARNS
    assert [request.access_key_id for request in server.requests] == [
        "AKIABASE1",
        numbered_set(1).access_key_id,
        numbered_set(2).access_key_id,
    ]
    assert server.requests[1].field("X-Amz-Security-Token") == numbered_set(1).session_token
    assert credentials.access_key_id == numbered_set(3).access_key_id
    assert credentials.source == f"role {ARNS[2]} by STS"
    assert (chain.name, chain.is_local) == ("vault", False)


def test_the_credentials_end_with_the_last_session_not_with_those_of_the_base(
    server: StsServer, chain: RoleChainProvider, base: Base
) -> None:
    base.expires_in = 600.0
    server.lifetime_seconds = 3600.0
    credentials = chain.retrieve(Fetch())
    assert credentials.expires_at == pytest.approx(time.time() + 3600, abs=5)
    assert credentials.ask_again_at is None


def test_when_the_base_wants_to_be_asked_again_so_does_the_chain(
    chain: RoleChainProvider, base: Base, clock: Clock
) -> None:
    base.asked_again_in = 900.0
    assert chain.retrieve(clock.fetch()).ask_again_at == clock.now + 900
    clock.now += 901
    assert chain.retrieve(clock.fetch()).ask_again_at == clock.now + 900
    assert len(base.retrieved) == 2


def test_the_credentials_of_the_base_are_kept_while_they_live_long(
    chain: RoleChainProvider, base: Base, clock: Clock
) -> None:
    for seconds in (0.0, 3000.0, DAY - 3000.0 - 61.0):
        clock.now += seconds
        chain.retrieve(clock.fetch())
        assert len(base.retrieved) == 1
    clock.now += 2.0
    chain.retrieve(clock.fetch())
    assert base.retrieved == [False, False]


def test_of_short_lived_ones_a_quarter_of_the_life_is_left_when_they_are_fetched_again(
    chain: RoleChainProvider, base: Base, clock: Clock
) -> None:
    base.expires_in = 40.0
    chain.retrieve(clock.fetch())
    clock.now += 29.0
    chain.retrieve(clock.fetch())
    assert len(base.retrieved) == 1
    clock.now += 2.0
    chain.retrieve(clock.fetch())
    assert len(base.retrieved) == 2


def test_those_that_never_end_are_kept(chain: RoleChainProvider, base: Base, clock: Clock) -> None:
    base.expires_in = None
    chain.retrieve(clock.fetch())
    clock.now += 365 * DAY
    chain.retrieve(clock.fetch())
    assert len(base.retrieved) == 1


def test_they_are_fetched_again_when_that_is_forced_or_the_base_has_changed(
    chain: RoleChainProvider, base: Base
) -> None:
    chain.retrieve(Fetch())
    chain.retrieve(Fetch(is_forced=True))
    assert base.retrieved == [False, True]
    assert not chain.has_changed()
    base.is_changed = True
    assert chain.has_changed()
    chain.retrieve(Fetch())
    assert base.retrieved == [False, True, False]


def test_a_local_base_is_asked_each_time(chain: RoleChainProvider, base: Base) -> None:
    base.is_local = True
    chain.retrieve(Fetch())
    chain.retrieve(Fetch())
    assert len(base.retrieved) == 2


@pytest.mark.parametrize("code", ["ExpiredToken", "InvalidClientTokenId"])
def test_kept_ones_that_sts_does_not_take_any_more_are_replaced_once(
    server: StsServer, chain: RoleChainProvider, base: Base, code: str
) -> None:
    chain.retrieve(Fetch())
    server.fail(Refuse(code))
    fetch = Fetch()
    chain.retrieve(fetch)
    assert base.retrieved == [False, True]
    assert server.requests[4].access_key_id == "AKIABASE2"
    assert "base-secret-2" in fetch.secrets


def test_kept_ones_that_are_refused_while_the_base_is_down_are_tried_again_later(
    server: StsServer, chain: RoleChainProvider, base: Base
) -> None:
    chain.retrieve(Fetch())
    base.error = outage()
    server.fail(Refuse("InvalidClientTokenId"))
    with pytest.raises(CredentialsUnavailableError, match="is sealed"):
        chain.retrieve(Fetch())
    assert chain.retrieve(Fetch()).access_key_id


def test_when_the_replaced_ones_do_not_do_either_that_is_told(
    server: StsServer, chain: RoleChainProvider, base: Base
) -> None:
    chain.retrieve(Fetch())
    server.fail(Refuse("ExpiredToken"), Refuse("ExpiredToken"))
    with pytest.raises(StsRefusedError, match="ExpiredToken"):
        chain.retrieve(Fetch())
    assert base.retrieved == [False, True]


def test_another_refusal_asks_nobody_again(server: StsServer, chain: RoleChainProvider, base: Base) -> None:
    chain.retrieve(Fetch())
    server.fail(Refuse("AccessDenied"))
    with pytest.raises(StsRefusedError):
        chain.retrieve(Fetch())
    assert server.counts["AssumeRole"] == 4
    chain.retrieve(Fetch())
    assert len(base.retrieved) == 1


def test_the_keys_of_a_new_user_are_tried_until_sts_knows_them(
    server: StsServer, chain: RoleChainProvider, base: Base, clock: Clock
) -> None:
    base.session_token = None
    server.fail(*[Refuse("InvalidClientTokenId")] * 3)
    fetch = clock.fetch()
    chain.retrieve(fetch)
    assert clock.pauses == [0.5, 1.0, 1.5]
    assert len(base.retrieved) == 1
    assert [step.is_success for step in fetch.steps] == [False, False, False, True, True, True]
    assert any("STS does not know these keys yet" in note.text for note in fetch.notes)


def test_the_keys_of_a_new_user_that_stay_unknown_are_told_after_ten_seconds(
    server: StsServer, chain: RoleChainProvider, base: Base, clock: Clock
) -> None:
    base.session_token = None
    server.choose = lambda _: Refuse("InvalidClientTokenId")
    with pytest.raises(StsRefusedError, match="made seconds ago"):
        chain.retrieve(clock.fetch())
    assert sum(clock.pauses) == 10.0
    assert len(base.retrieved) == 1, "a second user would settle no sooner"


@pytest.mark.parametrize("is_forced", [False, True])
def test_a_kept_user_that_sts_does_not_know_yet_is_tried_again_and_not_replaced_by_a_younger_one(
    server: StsServer, chain: RoleChainProvider, base: Base, clock: Clock, *, is_forced: bool
) -> None:
    base.session_token, base.makes_users = None, True
    server.choose = lambda _: Refuse("InvalidClientTokenId")
    for _ in range(2):
        with pytest.raises(StsRefusedError) as caught:
            chain.retrieve(clock.fetch(is_forced=is_forced and not base.retrieved))
        assert not caught.value.is_conclusive, "requests wait for the next try"
        clock.now += 20
    assert len(base.retrieved) == 1
    server.choose = None
    chain.retrieve(clock.fetch())
    assert len(base.retrieved) == 1
    assert {request.access_key_id for request in server.requests[:15]} == {"AKIABASE1"}


def test_a_kept_user_that_has_had_its_time_is_replaced_as_one_that_is_refused(
    server: StsServer, chain: RoleChainProvider, base: Base, clock: Clock
) -> None:
    base.session_token, base.makes_users = None, True
    chain.retrieve(clock.fetch())
    clock.now += 60
    server.fail(Refuse("InvalidClientTokenId"))
    chain.retrieve(clock.fetch())
    assert (base.retrieved, base.refused) == ([False, True], [False, True])


def test_a_session_that_a_service_refuses_says_nothing_against_the_base(
    chain: RoleChainProvider, base: Base, clock: Clock
) -> None:
    chain.retrieve(clock.fetch(is_forced=True, is_refused=True))
    assert (base.retrieved, base.refused) == ([True], [False])


def test_no_pause_goes_beyond_the_time_of_the_fetch(
    server: StsServer, sts: SecurityTokenService, chain: RoleChainProvider, base: Base
) -> None:
    ready(sts)
    base.session_token = None
    server.choose = lambda _: Refuse("InvalidClientTokenId")
    with pytest.raises(StsRefusedError):
        chain.retrieve(Fetch(timeout_seconds=0.4))
    assert server.counts["AssumeRole"] == 1


@pytest.mark.parametrize(("is_local", "token"), [(True, None), (False, "session-token")])
def test_keys_that_cannot_be_those_of_a_new_user_are_refused_at_once(
    server: StsServer, chain: RoleChainProvider, base: Base, clock: Clock, is_local: bool, token: str | None
) -> None:
    base.is_local, base.session_token = is_local, token
    server.choose = lambda _: Refuse("InvalidClientTokenId")
    with pytest.raises(StsRefusedError):
        chain.retrieve(clock.fetch())
    assert not clock.pauses


def test_a_failure_says_at_which_role_and_with_whose_credentials(server: StsServer, chain: RoleChainProvider) -> None:
    server.choose = lambda request: Refuse("AccessDenied") if request.number == 2 else None
    with pytest.raises(StsRefusedError) as caught:
        chain.retrieve(Fetch())
    assert (caught.value.code, caught.value.is_conclusive) == ("AccessDenied", True)
    (attempt,) = caught.value.attempts
    assert attempt.reason.startswith(
        f"role 2 of 3, with the credentials of role {ARNS[0]} by STS: refused to assume {ARNS[1]} (AccessDenied: "
    )


def test_a_server_that_fails_is_no_refusal_and_names_the_role_too(server: StsServer, chain: RoleChainProvider) -> None:
    server.fail(Respond(503))
    with pytest.raises(CredentialsUnavailableError, match="role 1 of 3, with the credentials of Vault's") as caught:
        chain.retrieve(Fetch())
    assert not caught.value.is_conclusive


def outage(*, is_conclusive: bool = False) -> CredentialsUnavailableError:
    return CredentialsUnavailableError((Attempt("Vault", "is sealed", "Unseal it"),), is_conclusive=is_conclusive)


def test_kept_ones_that_are_still_good_bridge_an_outage_of_the_base(
    chain: RoleChainProvider, base: Base, clock: Clock
) -> None:
    base.asked_again_in = 900.0
    chain.retrieve(clock.fetch())
    base.error = outage()
    clock.now += 1000.0
    fetch = clock.fetch()
    credentials = chain.retrieve(fetch)
    assert credentials.ask_again_at == clock.now + 60.0
    assert any("is sealed" in note.text for note in fetch.notes)


@pytest.mark.parametrize(
    ("seconds", "is_forced", "is_conclusive"), [(DAY + 1, False, False), (0, True, False), (DAY - 30, False, True)]
)
def test_kept_ones_bridge_no_outage_once_they_are_over_refused_or_withdrawn(
    chain: RoleChainProvider, base: Base, clock: Clock, seconds: float, is_forced: bool, is_conclusive: bool
) -> None:
    chain.retrieve(clock.fetch())
    base.error = outage(is_conclusive=is_conclusive)
    clock.now += seconds
    with pytest.raises(CredentialsUnavailableError, match="is sealed"):
        chain.retrieve(clock.fetch(is_forced=is_forced))


def test_a_base_that_has_none_is_told_as_it_tells_it(server: StsServer, chain: RoleChainProvider, base: Base) -> None:
    base.error = outage(is_conclusive=True)
    with pytest.raises(CredentialsUnavailableError) as caught:
        chain.retrieve(Fetch())
    assert caught.value is base.error
    assert not server.requests


def test_a_base_that_gives_what_is_over_already_is_told(
    server: StsServer, chain: RoleChainProvider, base: Base
) -> None:
    base.expires_in = -1.0
    with pytest.raises(CredentialsUnavailableError, match="its credentials are over already"):
        chain.retrieve(Fetch())
    assert not server.requests


def test_the_secrets_of_the_base_are_known_in_every_fetch_also_when_they_are_kept(chain: RoleChainProvider) -> None:
    chain.retrieve(Fetch())
    fetch = Fetch()
    chain.retrieve(fetch)
    assert {"base-secret-1", "base-token", numbered_set(4).secret_access_key} <= set(fetch.secrets)


def test_closing_it_gives_back_what_the_base_was_lent(chain: RoleChainProvider, base: Base, server: StsServer) -> None:
    chain.retrieve(Fetch())
    chain.close(Fetch())
    assert base.is_closed
    while server.open_connections:
        time.sleep(0.002)


def test_a_chain_without_roles_is_an_error_of_its_maker(base: Base, sts: SecurityTokenService) -> None:
    with pytest.raises(ValueError, match="no role"):
        RoleChainProvider(base, (), sts=sts)
