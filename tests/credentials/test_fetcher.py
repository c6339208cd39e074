"""One fetch: who runs it, what comes of it, what is counted, and which secrets the log is told to leave out."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from typing import Any

import pytest

from aws_signing_proxy.credentials.fetch import Fetch, Step
from aws_signing_proxy.credentials.fetcher import FailedFetchError, Fetcher, NoSecretKeeper
from aws_signing_proxy.credentials.ledger import WHOLE_FETCH, FetchOutcome, Ledger
from aws_signing_proxy.credentials.model import Credentials
from aws_signing_proxy.credentials.provider import Attempt, CredentialsUnavailableError
from aws_signing_proxy.observe.redaction import Redactor
from tests.credentials.fake_provider import FakeProvider, unavailable

NOW = 1_700_000_000.0


class Ticking:
    """A monotonic clock on which each look takes a quarter of a second."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        self.now += 0.25
        return self.now


def fetcher_of(provider: FakeProvider, **options: Any) -> tuple[Fetcher, Ledger]:
    ledger = Ledger()
    return Fetcher(provider, ledger=ledger, clock=lambda: NOW, **options), ledger


async def failure_of(fetcher: Fetcher, *, is_forced: bool = False) -> FailedFetchError:
    with pytest.raises(FailedFetchError) as caught:
        await fetcher.fetch(is_forced=is_forced)
    return caught.value


def test_a_local_source_is_asked_in_the_event_loop_s_own_thread() -> None:
    provider = FakeProvider(is_local=True)
    fetcher, _ = fetcher_of(provider)
    assert asyncio.run(fetcher.fetch(is_forced=False)).access_key_id == "AKIA-1"
    assert provider.threads == {threading.get_ident()}


def test_a_source_is_asked_once_for_each_fetch_whether_it_is_local() -> None:
    """One that changed its mind in between would ask its server in the event loop."""
    provider, answers = FakeProvider(), [True]
    told: list[bool] = []
    provider.on_retrieve = lambda fetch: told.append(fetch.is_local)

    class Changing:
        def __get__(self, *_: object) -> bool:
            return answers.pop()

    class Once(FakeProvider):
        is_local = Changing()
        retrieve = staticmethod(provider.retrieve)
        name = "once"

        def __init__(self) -> None:
            pass

    fetcher, _ = fetcher_of(Once())
    asyncio.run(fetcher.fetch(is_forced=False))
    assert told == [True]
    assert provider.threads == {threading.get_ident()}


def test_a_remote_source_is_asked_in_another_thread_while_the_loop_goes_on() -> None:
    provider = FakeProvider()
    fetcher, _ = fetcher_of(provider)

    async def run() -> Credentials:
        provider.hang()
        fetching = asyncio.create_task(fetcher.fetch(is_forced=False))
        while not provider.is_hanging:  # noqa: ASYNC110 - a thread sets no event
            await asyncio.sleep(0.001)
        assert fetcher.is_busy
        assert not fetching.done()
        provider.release()
        return await fetching

    assert asyncio.run(run()).access_key_id == "AKIA-1"
    assert not fetcher.is_busy
    assert threading.get_ident() not in provider.threads


def test_its_thread_is_a_daemon_so_that_a_hanging_server_does_not_hold_up_the_process_s_end() -> None:
    script = (
        "import asyncio, time\n"
        "from aws_signing_proxy.credentials.fetcher import Fetcher, FailedFetchError\n"
        "from aws_signing_proxy.credentials.ledger import Ledger\n"
        "class Hanging:\n"
        "    name, is_local = 'hanging', False\n"
        "    def retrieve(self, fetch): time.sleep(60)\n"
        "try: asyncio.run(Fetcher(Hanging(), ledger=Ledger(), timeout_seconds=0.05).fetch(is_forced=False))\n"
        "except FailedFetchError as error: print(error.outcome)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=20)
    assert done.stdout.strip() == "timeout"


@pytest.mark.parametrize("is_local", [True, False])
@pytest.mark.parametrize("is_forced", [True, False])
def test_the_provider_is_told_whether_kept_ones_will_do(*, is_local: bool, is_forced: bool) -> None:
    provider = FakeProvider(is_local=is_local)
    fetcher, _ = fetcher_of(provider)
    asyncio.run(fetcher.fetch(is_forced=is_forced))
    assert provider.forced == [is_forced]


def test_the_provider_s_time_is_over_before_it_is_given_up() -> None:
    provider = FakeProvider()
    seen: list[float] = []
    provider.on_retrieve = lambda fetch: seen.append(fetch.remaining_seconds)
    fetcher, _ = fetcher_of(provider, timeout_seconds=20.0, monotonic=lambda: 5.0)
    asyncio.run(fetcher.fetch(is_forced=False))
    assert seen == [18.0]


def test_expired_ones_are_returned_because_the_caller_judges_that() -> None:
    provider = FakeProvider(is_local=True, lifetime_seconds=-5)
    fetcher, _ = fetcher_of(provider)
    assert asyncio.run(fetcher.fetch(is_forced=False)).is_expired(NOW)


# Failures


@pytest.mark.parametrize("is_local", [True, False])
@pytest.mark.parametrize(("is_conclusive", "outcome"), [(True, FetchOutcome.REFUSED), (False, FetchOutcome.FAILED)])
def test_a_refusal_and_a_failure_are_told_apart_with_every_attempt(
    outcome: FetchOutcome, *, is_local: bool, is_conclusive: bool
) -> None:
    provider = FakeProvider(is_local=is_local)
    provider.failure = unavailable(is_conclusive=is_conclusive)
    fetcher, ledger = fetcher_of(provider)
    error = asyncio.run(failure_of(fetcher))
    assert error.outcome is outcome
    assert error.reason == "the source: it is empty (Fill it)"
    assert error.attempts == (Attempt("the source", "it is empty", "Fill it"),)
    assert error.frames is None
    assert ledger.fetches == dict.fromkeys(FetchOutcome, 0) | {outcome: 1}


def test_what_a_server_wrote_is_shown_in_one_line_and_without_secrets() -> None:
    redactor = Redactor()
    provider = FakeProvider(is_local=True)

    def fail(fetch: Fetch) -> None:
        fetch.secret("planted-of-the-server")
        raise CredentialsUnavailableError((Attempt("a\nb", "said\x1b[2J planted-of-the-server", "Do\tthis"),))

    provider.on_retrieve = fail
    fetcher, _ = fetcher_of(provider, secrets=redactor)
    error = asyncio.run(failure_of(fetcher))
    assert error.attempts == (Attempt("a b", "said?[2J ***", "Do this"),)
    assert error.reason == "a b: said?[2J *** (Do this)"


@pytest.mark.parametrize("is_local", [True, False])
def test_of_an_unforeseen_exception_the_type_and_the_place_are_told_and_never_its_message(*, is_local: bool) -> None:
    provider = FakeProvider(is_local=is_local)
    provider.failure = ValueError("planted-in-a-message")
    fetcher, ledger = fetcher_of(provider)
    error = asyncio.run(failure_of(fetcher))
    assert error.outcome is FetchOutcome.FAILED
    assert error.reason == "the provider failed unexpectedly (ValueError); this is a bug"
    assert error.frames is not None
    assert "fake_provider.py" in error.frames
    assert "raise self.failure" in error.frames
    assert "planted" not in error.frames + error.reason + repr(error) + str(error)
    assert ledger.fetches[FetchOutcome.FAILED] == 1


def test_a_provider_s_own_timeout_error_is_a_bug_of_it_and_no_fetch_that_was_given_up() -> None:
    """`socket.timeout` is TimeoutError: a provider that forgets to catch it must not be told as hanging for 20 s."""
    provider = FakeProvider()
    provider.failure = TimeoutError("planted")
    fetcher, _ = fetcher_of(provider)
    error = asyncio.run(failure_of(fetcher))
    assert error.outcome is FetchOutcome.FAILED
    assert "failed unexpectedly (TimeoutError)" in error.reason
    assert error.frames is not None


@pytest.mark.parametrize("failure", [SystemExit(3), KeyboardInterrupt(), asyncio.CancelledError(), GeneratorExit()])
def test_whatever_a_library_raises_in_its_thread_ends_neither_the_task_nor_the_process(failure: BaseException) -> None:
    provider = FakeProvider()
    provider.failure = failure
    fetcher, _ = fetcher_of(provider)
    error = asyncio.run(failure_of(fetcher))
    assert f"failed unexpectedly ({type(failure).__name__})" in error.reason
    assert "fake_provider.py" in str(error.frames)


def test_a_thread_that_cannot_be_started_is_one_failed_fetch_and_not_the_end_of_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    provider = FakeProvider()
    fetcher, _ = fetcher_of(provider)

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        assert "RuntimeError" in asyncio.run(failure_of(fetcher)).reason
    assert asyncio.run(fetcher.fetch(is_forced=False)).access_key_id == "AKIA-1"


def test_a_failure_says_whether_anybody_was_asked_and_when_the_server_wants_to_be_asked_again() -> None:
    provider = FakeProvider()
    provider.failure = unavailable()
    fetcher, _ = fetcher_of(provider)

    def answer(fetch: Fetch) -> None:
        fetch.retry_after_seconds = 30.0

    provider.on_retrieve = answer
    error = asyncio.run(failure_of(fetcher))
    assert (error.has_asked, error.retry_after_seconds) == (True, 30.0)
    provider.asks, provider.on_retrieve = False, None
    error = asyncio.run(failure_of(fetcher))
    assert (error.has_asked, error.retry_after_seconds) == (False, None)


# What is counted


def test_a_fetch_is_counted_by_outcome_and_timed_as_a_whole_and_by_step() -> None:
    provider = FakeProvider(is_local=True)
    fetcher, ledger = fetcher_of(provider, monotonic=Ticking())

    async def run() -> None:
        await fetcher.fetch(is_forced=False)
        provider.failure = unavailable()
        await failure_of(fetcher)

    asyncio.run(run())
    assert ledger.fetches == {"success": 1, "failed": 1, "refused": 0, "absent": 0, "timeout": 0}
    durations = ledger.durations()
    assert durations.keys() == {WHOLE_FETCH, Step.STS}
    assert sum(durations[Step.STS].counts) == 2
    assert durations[Step.STS].total == pytest.approx(0.5)
    assert sum(durations[WHOLE_FETCH].counts) == 2
    assert durations[WHOLE_FETCH].total > durations[Step.STS].total


def test_the_last_fetch_is_kept_with_its_notes_and_steps() -> None:
    provider = FakeProvider(is_local=True)
    provider.on_retrieve = lambda fetch: fetch.note("a server", "it answered")
    fetcher, _ = fetcher_of(provider)
    asyncio.run(fetcher.fetch(is_forced=False))
    last = fetcher.last
    assert last is not None
    assert last.notes == [("a server", "it answered")]
    assert [(step.step, step.is_success) for step in last.steps] == [(Step.STS, True)]
    asyncio.run(fetcher.fetch(is_forced=False))
    assert fetcher.last is not last


# Secrets


def test_a_secret_is_known_to_the_log_before_it_is_used_and_until_the_next_fetch_is_over() -> None:
    redactor = Redactor()
    provider = FakeProvider()
    fetcher, _ = fetcher_of(provider, secrets=redactor)
    during: list[str] = []

    async def run() -> None:
        await fetcher.fetch(is_forced=False)
        assert redactor.mask_known("planted-secret-1 planted-token-1") == "*** ***"
        provider.on_retrieve = lambda _: during.append(redactor.mask_known("planted-secret-1"))
        await fetcher.fetch(is_forced=False)
        assert during == ["***"]
        assert redactor.mask_known("planted-secret-1") == "planted-secret-1"
        assert redactor.mask_known("planted-secret-2") == "***"

    asyncio.run(run())


def test_what_a_failed_fetch_met_is_kept_as_long() -> None:
    redactor = Redactor()
    provider = FakeProvider(is_local=True)
    provider.on_retrieve = lambda fetch: fetch.secret(f"planted-login-{provider.fetches}")
    provider.failure = unavailable()
    fetcher, _ = fetcher_of(provider, secrets=redactor)
    asyncio.run(failure_of(fetcher))
    assert redactor.mask_known("planted-login-1") == "***"
    asyncio.run(failure_of(fetcher))
    assert redactor.mask_known("planted-login-1 planted-login-2") == "planted-login-1 ***"


def test_a_hundred_fetches_leave_the_log_with_the_secrets_of_the_last() -> None:
    redactor = Redactor()
    fetcher, _ = fetcher_of(FakeProvider(is_local=True), secrets=redactor)
    for _ in range(100):
        asyncio.run(fetcher.fetch(is_forced=False))
    assert redactor._holders == {"planted-secret-100": 1, "planted-token-100": 1}
    asyncio.run(fetcher.close())
    assert not redactor._holders


def test_what_sounds_secret_is_shown_to_nobody_also_where_it_was_never_registered() -> None:
    """As the log shows it: what clients and /status/credentials get comes from here."""
    provider = FakeProvider(is_local=True)
    echoed = "cannot understand client_secret=unregistered&grant_type=x"
    provider.failure = CredentialsUnavailableError((Attempt("a server", echoed, "Look at it"),))
    fetcher, _ = fetcher_of(provider, secrets=Redactor())
    error = asyncio.run(failure_of(fetcher))
    assert error.reason == "a server: cannot understand client_secret=***&grant_type=x (Look at it)"
    assert error.attempts[0].reason == "cannot understand client_secret=***&grant_type=x"


def test_where_nothing_is_written_nobody_keeps_secrets() -> None:
    keeper = NoSecretKeeper()
    keeper.register("planted")
    keeper.forget("planted")
    assert keeper.mask("planted") == "planted"
