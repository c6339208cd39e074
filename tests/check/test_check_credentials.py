"""`check` fetches credentials once, tells every step of that, and asks AWS whose they are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

import pytest

from aws_signing_proxy.check import credentials as checked
from aws_signing_proxy.check.report import run_check
from aws_signing_proxy.config.loading import load_settings
from aws_signing_proxy.credentials.fetch import Fetch, Step
from aws_signing_proxy.credentials.model import Credentials
from aws_signing_proxy.credentials.provider import Attempt, CredentialsUnavailableError
from aws_signing_proxy.credentials.sts.errors import StsRefusedError
from aws_signing_proxy.observe.logs import SECRETS_OF_LOG
from tests.credentials.fake_provider import FakeProvider, unavailable

NOW = 1_700_000_000.0
ENVIRON = {
    "ASP_TARGET_URL": "https://foo.eu-central-1.es.amazonaws.com",
    "ASP_CREDENTIALS_PROVIDER": "awstoken",
    "ASP_OPEN_ID_CLIENT_SECRET": "planted-client-secret",
}


class Identity(NamedTuple):
    """What STS says (see `sts.CallerIdentity`)."""

    account: str
    arn: str


class FakeSts:
    """Says who somebody is, or raises `failure`."""

    def __init__(self) -> None:
        self.failure: BaseException | None = None
        self.asked_for: list[str] = []
        self.is_closed = False

    def caller_identity(self, fetch: Fetch, credentials: Credentials) -> Identity:
        """Answer as the test wants it."""
        assert 0 < fetch.remaining_seconds <= 10
        self.asked_for.append(credentials.access_key_id)
        if self.failure is not None:
            raise self.failure
        return Identity("123456789012", "arn:aws:sts::123456789012:assumed-role/app/session")

    def close(self) -> None:
        """Remember it."""
        self.is_closed = True


class Desk:
    """A check whose provider and STS are fakes."""

    def __init__(self) -> None:
        self.provider = FakeProvider()
        self.sts = FakeSts()
        self.lines: list[str] = []

    def check(self, *, asks_who: bool = True, **environ: str) -> int:
        """Run it and return its status; no secret may have been told."""
        environ = ENVIRON | environ
        loaded = load_settings({}, environ)
        status = run_check(loaded, environ, self.lines.append, asks_who=asks_who, clock=lambda: NOW)
        assert "planted" not in self.text
        return status

    @property
    def text(self) -> str:
        return "\n".join(self.lines)


@pytest.fixture(name="desk")
def _desk(monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    # Those of other tests are none of this check's: to look for them would take time, which is shown.
    SECRETS_OF_LOG.replace(list(SECRETS_OF_LOG._holders.elements()), ())
    desk = Desk()
    monkeypatch.setattr(checked, "provider_for", lambda _settings, _environ: desk.provider)
    monkeypatch.setattr(checked, "token_service", lambda _settings, _environ: desk.sts)
    yield desk
    desk.provider.release()
    SECRETS_OF_LOG.replace(list(SECRETS_OF_LOG._holders.elements()), ())


def test_what_went_well_is_told_step_by_step_with_its_time(desk: Desk) -> None:
    def ask(fetch: Fetch) -> None:
        fetch.note("https://vault.test", "logged in with approle; the token lives 1 h")
        with fetch.step(Step.VAULT):
            fetch.secret("planted-vault-token")
        fetch.note("https://vault.test", "read planted-vault-token of aws/creds/app")

    desk.provider.on_retrieve = ask
    assert desk.check() == 0
    assert "  - https://vault.test: logged in with approle; the token lives 1 h" in desk.lines
    assert "  - https://vault.test: read *** of aws/creds/app" in desk.lines
    (asked,) = [line for line in desk.lines if line.startswith("  asked ")]
    assert asked.split(" ms") == ["  asked        vault 0", ", sts 0", ""]


def test_a_step_that_failed_is_told_as_that(desk: Desk) -> None:
    desk.provider.failure = unavailable("its server said 503")
    assert desk.check() == 2
    assert "  asked        sts 0 ms (failed)" in desk.lines


def test_every_attempt_is_told_with_what_to_do(desk: Desk) -> None:
    desk.provider.failure = CredentialsUnavailableError(
        (
            Attempt(
                "https://auth.test", "it answered 401 invalid_client for planted-client-secret", "Look at the secret"
            ),
            Attempt("the other\nplace", "\x1b[2J is empty", "Fill it"),
        )
    )
    assert desk.check() == 2
    text = desk.text
    assert "  none found; what was looked at:\n" in text
    assert "  - https://auth.test: it answered 401 invalid_client for ***\n    Look at the secret\n" in text
    assert "  - the other place: ?[2J is empty\n    Fill it\n" in text
    assert text.endswith("Requests would be answered 503: nothing to sign with.")
    assert desk.sts.asked_for == []


def test_what_sounds_secret_is_not_told_also_where_it_was_never_registered(desk: Desk) -> None:
    echoed = Attempt("STS at https://sts.test", "refused (client_secret=unregistered)", "Look")
    desk.sts.failure = CredentialsUnavailableError((echoed,))
    desk.check()
    assert "refused (client_secret=***" in desk.text
    assert "unregistered" not in desk.text


def test_what_could_not_be_given_back_is_told_at_the_end(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(desk.provider, "close", lambda fetch: fetch.warn("https://vault.test", "the lease a/1 stays"))
    assert desk.check() == 0
    assert desk.lines.count("  - https://vault.test: the lease a/1 stays") == 1
    assert desk.lines.index("  - https://vault.test: the lease a/1 stays") > desk.lines.index(
        next(line for line in desk.lines if line.startswith("  expiry"))
    )


def test_a_source_that_gives_nothing_in_time_is_told_within_that_time(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aws_signing_proxy.credentials.fetcher._CLOSE_SECONDS", 0.05)
    desk.provider.hang()
    assert desk.check(ASP_CREDENTIALS_FETCH_TIMEOUT="100ms") == 2
    assert "  - fake: it gave nothing within 0.1 s, and was given up" in desk.lines
    assert desk.provider.closes == 0


def test_a_bug_of_a_provider_is_told_by_its_type_and_place_only(desk: Desk) -> None:
    desk.provider.failure = ValueError("planted")
    assert desk.check() == 2
    assert "  the provider failed unexpectedly (ValueError); this is a bug" in desk.text
    assert "fake_provider.py" in desk.text
    assert "    raise self.failure" in desk.text


# Whose they are


def test_who_aws_says_they_are_is_told(desk: Desk) -> None:
    assert desk.check() == 0
    assert (
        "  identity     arn:aws:sts::123456789012:assumed-role/app/session (account 123456789012), says STS"
        in desk.lines
    )
    assert desk.sts.asked_for == ["AKIA-1"]
    assert desk.sts.is_closed
    assert desk.lines[-1] == "Requests would be signed."


def test_nobody_is_asked_who_where_that_is_not_wanted(desk: Desk) -> None:
    assert desk.check(asks_who=False) == 0
    assert desk.sts.asked_for == []
    assert "identity" not in desk.text


def test_expired_ones_are_status_2_and_nobody_is_asked_whose_they_were(desk: Desk) -> None:
    desk.provider.lifetime_seconds = -1
    assert desk.check() == 2
    assert "they have expired" in desk.text
    assert desk.sts.asked_for == []


@pytest.mark.parametrize(
    "code",
    ["InvalidClientTokenId", "ExpiredToken", "ExpiredTokenException", "UnrecognizedClientException",
     "SignatureDoesNotMatch", "RequestExpired"],
)  # fmt: skip
def test_credentials_that_sts_calls_bad_are_status_2_with_its_reason(desk: Desk, code: str) -> None:
    attempt = Attempt("https://sts.test", f"it answered 403 {code}", "Get credentials that AWS knows")
    desk.sts.failure = StsRefusedError((attempt,), code=code, is_conclusive=True)
    assert desk.check() == 2
    assert f"  identity     https://sts.test: it answered 403 {code}" in desk.lines
    assert "               Get credentials that AWS knows" in desk.lines
    assert desk.sts.is_closed
    assert desk.lines[-1] == "Requests would be signed with credentials that AWS does not take."


@pytest.mark.parametrize(
    "error",
    [
        CredentialsUnavailableError,
        partial(CredentialsUnavailableError, is_conclusive=True),  # a certificate that is not trusted
        partial(StsRefusedError, code="AccessDenied", is_conclusive=True),  # the policy of a VPC endpoint
        partial(StsRefusedError, code="RegionDisabledException", is_conclusive=True),
    ],
)
def test_that_sts_does_not_tell_whose_they_are_is_told_and_proves_nothing(
    desk: Desk, error: Callable[..., CredentialsUnavailableError]
) -> None:
    """Where only the target can be reached, the proxy works all the same."""
    desk.sts.failure = error((Attempt("https://sts.test", "it does not tell (planted-secret-1)", "Use --no-whoami"),))
    assert desk.check() == 0
    assert "  identity     https://sts.test: it does not tell (***)" in desk.lines
    assert "               Use --no-whoami" in desk.lines
    assert "  So it is not known whose they are, and the service may take them all the same." in desk.text
    assert desk.lines[-1] == "Requests would be signed."


# Its end


def test_what_was_lent_is_given_back(desk: Desk) -> None:
    desk.check()
    assert desk.provider.closes == 1
    assert desk.provider.fetches == 1


@pytest.mark.parametrize("failure", [ZeroDivisionError(), KeyboardInterrupt()])
def test_what_was_lent_is_given_back_though_asking_who_fails_or_is_interrupted(
    desk: Desk, failure: BaseException
) -> None:
    desk.sts.failure = failure
    with pytest.raises(type(failure)):
        desk.check()
    assert desk.provider.closes == 1
    assert desk.sts.is_closed


@pytest.mark.parametrize(
    ("lifetime", "told"), [(119.0, "in 119 seconds"), (120.0, "in 2 minutes"), (3600.0, "in 60 minutes")]
)
def test_how_long_they_live_is_told_in_a_fitting_unit(desk: Desk, lifetime: float, told: str) -> None:
    desk.provider.lifetime_seconds = lifetime
    assert desk.check() == 0
    assert told in desk.text


def test_without_an_end_that_is_told(desk: Desk) -> None:
    desk.provider.lifetime_seconds = None
    assert desk.check() == 0
    assert "  expiry       not told by the source" in desk.lines
