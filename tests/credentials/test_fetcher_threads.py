"""Fetches that do not come back: given up in time, never doubled, and without trace once they are over."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
import weakref
from collections.abc import Callable, Iterator

import pytest

from aws_signing_proxy.credentials.fetch import Fetch, Note
from aws_signing_proxy.credentials.fetcher import FailedFetchError, Fetcher
from aws_signing_proxy.credentials.ledger import WHOLE_FETCH, FetchOutcome, Ledger
from aws_signing_proxy.observe.redaction import Redactor
from tests.credentials.fake_provider import FakeProvider, unavailable

TIMEOUT_SECONDS = 0.05


class Bench:
    """A fetcher with a short time, a provider that can hang, and what the log leaves out."""

    def __init__(self) -> None:
        self.provider = FakeProvider()
        self.ledger = Ledger()
        self.redactor = Redactor()
        self.fetcher = Fetcher(
            self.provider, ledger=self.ledger, timeout_seconds=TIMEOUT_SECONDS, secrets=self.redactor
        )

    async def fetch(self) -> str:
        """Return the key id, or the outcome in capitals."""
        try:
            return (await self.fetcher.fetch(is_forced=False)).access_key_id
        except FailedFetchError as error:
            return error.outcome.upper()

    async def until_back(self) -> None:
        """Let the thread come back."""
        self.provider.release()
        async with asyncio.timeout(10):
            while self.fetcher.is_busy:  # noqa: ASYNC110 - a thread sets no event
                await asyncio.sleep(0.001)


@pytest.fixture(name="bench")
def _bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.provider.release()
    for thread in threading.enumerate():
        if thread.name == "credentials":
            thread.join(10)
    assert bench.provider.most_at_once <= 1


def test_a_fetch_that_does_not_come_back_is_given_up_in_its_time(bench: Bench) -> None:
    async def run() -> None:
        bench.provider.hang()
        began = time.monotonic()
        with pytest.raises(FailedFetchError) as caught:
            await bench.fetcher.fetch(is_forced=False)
        assert TIMEOUT_SECONDS <= time.monotonic() - began < 5
        assert caught.value.outcome is FetchOutcome.TIMEOUT
        assert caught.value.reason == (
            "fake: it gave nothing within 0.05 s, and was given up "
            "(Look at whether its server answers, and whether a name server does)"
        )
        assert [attempt.source for attempt in caught.value.attempts] == ["fake"]
        assert bench.fetcher.is_busy

    asyncio.run(run())


def test_while_one_hangs_no_second_one_is_started_and_that_is_told_at_once(bench: Bench) -> None:
    async def run() -> None:
        bench.provider.hang()
        assert await bench.fetch() == "TIMEOUT"
        for _ in range(100):
            with pytest.raises(FailedFetchError, match="has been given up and has not come back yet") as caught:
                await bench.fetcher.fetch(is_forced=False)
            assert caught.value.outcome is FetchOutcome.TIMEOUT

    began = time.monotonic()
    asyncio.run(run())
    assert time.monotonic() - began < 5
    assert bench.provider.fetches == 1
    assert sum(thread.name == "credentials" for thread in threading.enumerate()) == 1
    assert bench.ledger.fetches[FetchOutcome.TIMEOUT] == 101
    # Those that could not even begin took no time, and would spoil the figures of those that did.
    assert sum(bench.ledger.durations()[WHOLE_FETCH].counts) == 1


def test_once_it_has_come_back_the_next_one_is_made(bench: Bench) -> None:
    async def run() -> None:
        bench.provider.hang()
        assert await bench.fetch() == "TIMEOUT"
        await bench.until_back()
        assert await bench.fetch() == "AKIA-2"

    asyncio.run(run())


def test_a_thread_that_is_done_but_not_gone_yet_does_not_hold_up_the_next(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The interpreter takes its time to end one."""
    run_thread = threading.Thread.run

    def linger(thread: threading.Thread) -> None:
        run_thread(thread)
        time.sleep(0.1)

    async def run() -> None:
        assert [await bench.fetch() for _ in range(3)] == ["AKIA-1", "AKIA-2", "AKIA-3"]

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "run", linger)
        asyncio.run(run())


def test_what_it_brings_too_late_is_nobody_s_answer(bench: Bench) -> None:
    """The late thread ends in the middle of the next fetch's waiting, which must not take that for its own."""

    async def run() -> None:
        bench.provider.hang()
        assert await bench.fetch() == "TIMEOUT"
        await bench.until_back()
        bench.provider.hang()
        fetching = asyncio.create_task(bench.fetch())
        while not bench.provider.is_hanging:  # noqa: ASYNC110 - a thread sets no event
            await asyncio.sleep(0)
        bench.provider.release()
        assert await fetching == "AKIA-2"

    asyncio.run(run())


def test_the_secrets_of_one_that_hangs_stay_hidden_as_long_as_it_hangs(bench: Bench) -> None:
    bench.provider.on_retrieve = lambda fetch: fetch.secret(f"planted-login-{bench.provider.fetches}")

    async def run() -> None:
        bench.provider.hang()
        assert await bench.fetch() == "TIMEOUT"
        for _ in range(3):
            assert await bench.fetch() == "TIMEOUT"
        assert bench.redactor.mask_known("planted-login-1") == "***"
        await bench.until_back()
        # Registered after it was given up: the thread goes on with what it has.
        assert bench.redactor.mask_known("planted-secret-1") == "***"
        assert await bench.fetch() == "AKIA-2"
        assert bench.redactor.mask_known("planted-login-1 planted-secret-1") == "planted-login-1 planted-secret-1"

    asyncio.run(run())
    assert bench.redactor._holders.keys() == {"planted-login-2", "planted-secret-2", "planted-token-2"}


def test_a_loop_that_is_closed_while_the_thread_works_does_not_harm_it(bench: Bench) -> None:
    """The command `check` runs each of its steps in a loop of its own."""

    async def give_up() -> None:
        bench.provider.hang()
        assert await bench.fetch() == "TIMEOUT"

    async def go_on() -> None:
        await bench.until_back()
        assert await bench.fetch() == "AKIA-2"

    asyncio.run(give_up())
    asyncio.run(go_on())


def test_a_fetch_that_is_cancelled_leaves_its_thread_to_itself(bench: Bench) -> None:
    async def run() -> None:
        bench.provider.hang()
        fetching = asyncio.create_task(bench.fetch())
        while not bench.provider.is_hanging:  # noqa: ASYNC110 - a thread sets no event
            await asyncio.sleep(0.001)
        fetching.cancel()
        await asyncio.wait({fetching})
        assert fetching.cancelled()
        assert bench.fetcher.is_busy
        await bench.until_back()
        assert await bench.fetch() == "AKIA-2"

    asyncio.run(run())


# The end


def test_close_lets_the_provider_give_back_what_it_was_lent(bench: Bench) -> None:
    asyncio.run(bench.fetch())
    asyncio.run(bench.fetcher.close())
    assert bench.provider.closes == 1
    assert not bench.redactor._holders


def test_close_waits_for_the_fetch_that_is_under_way(bench: Bench) -> None:
    async def run() -> None:
        bench.provider.hang()
        assert await bench.fetch() == "TIMEOUT"
        closing = asyncio.create_task(bench.fetcher.close())
        await asyncio.sleep(0.02)
        assert bench.provider.closes == 0
        bench.provider.release()
        await closing
        assert bench.provider.closes == 1

    asyncio.run(run())


def test_close_gives_up_on_a_provider_that_still_hangs_and_leaves_it_alone(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aws_signing_proxy.credentials.fetcher._CLOSE_SECONDS", 0.05)

    async def run() -> None:
        bench.provider.hang()
        assert await bench.fetch() == "TIMEOUT"
        await bench.fetcher.close()

    asyncio.run(run())
    assert bench.provider.closes == 0  # a provider is used by one thread at a time
    assert bench.provider.is_hanging


def test_a_close_that_hangs_is_given_up_and_has_time_of_its_own(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aws_signing_proxy.credentials.fetcher._CLOSE_SECONDS", 0.1)
    gate = threading.Event()
    left: list[float] = []

    def hang(fetch: Fetch) -> None:
        left.append(fetch.remaining_seconds)
        gate.wait(10)

    monkeypatch.setattr(bench.provider, "close", hang)
    began = time.monotonic()
    asyncio.run(bench.fetcher.close())
    assert time.monotonic() - began < 5
    gate.set()
    assert 0.04 < left[0] <= 0.09


@pytest.mark.parametrize(
    ("is_local", "failure"),
    [
        (True, ValueError("planted")),
        (False, ValueError("planted")),
        (False, SystemExit(1)),
        (False, asyncio.CancelledError()),
    ],
)
def test_close_never_raises(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, failure: BaseException, *, is_local: bool
) -> None:
    bench.provider.is_local = is_local

    def fail(_: Fetch) -> None:
        raise failure

    monkeypatch.setattr(bench.provider, "close", fail)
    asyncio.run(bench.fetcher.close())


# No trace


def test_after_a_hundred_fetches_of_every_kind_no_thread_is_left(bench: Bench) -> None:
    before = threading.active_count()

    async def run() -> None:
        for number in range(100):
            bench.provider.failure = [None, unavailable(), ValueError()][number % 3]
            await bench.fetch()

    asyncio.run(run())
    for thread in threading.enumerate():
        if thread.name == "credentials":
            thread.join(5)
    assert threading.active_count() == before


def succeed(bench: Bench) -> None:
    bench.provider.failure = None


def be_refused(bench: Bench) -> None:
    bench.provider.failure = unavailable(is_conclusive=True)


def fail_unforeseen(bench: Bench) -> None:
    bench.provider.failure = ValueError()


def break_out(bench: Bench) -> None:
    bench.provider.failure = SystemExit(1)


def hang(bench: Bench) -> None:
    bench.provider.hang()


@pytest.mark.parametrize(
    ("is_local", "prepare"),
    [
        (True, succeed),
        (True, be_refused),
        (True, fail_unforeseen),
        (False, succeed),
        (False, be_refused),
        (False, fail_unforeseen),
        (False, break_out),
        (False, hang),
    ],
)
def test_no_cycle_keeps_what_a_fetch_knew_until_the_garbage_collector_comes_by(
    bench: Bench, prepare: Callable[[Bench], None], *, is_local: bool
) -> None:
    bench.provider.is_local = is_local

    async def run() -> weakref.ref[Fetch]:
        prepare(bench)
        await bench.fetch()
        assert bench.fetcher.last is not None
        known = weakref.ref(bench.fetcher.last)
        await bench.until_back()
        bench.provider.failure = None
        assert (await bench.fetch()).startswith("AKIA")
        return known

    gc.collect()
    gc.disable()
    try:
        known = asyncio.run(run())
        deadline = time.monotonic() + 10
        while known() is not None and time.monotonic() < deadline:
            time.sleep(0.001)  # the thread of the first fetch is perhaps on its last lines
        assert known() is None
    finally:
        gc.enable()


def _warned(bench: Bench) -> list[str]:
    """Let what was lent be given back; return what is logged about it."""
    warnings: list[Note] = []
    bench.fetcher._log_warning = warnings.append
    asyncio.run(bench.fetcher.close())
    assert bench.fetcher.last is not None
    assert bench.fetcher.last.warnings == warnings
    assert {note.source for note in warnings} <= {"fake"}
    return [note.text for note in warnings]


def test_at_the_end_a_fetch_that_goes_on_is_logged_because_nothing_can_be_given_back(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aws_signing_proxy.credentials.fetcher._CLOSE_SECONDS", 0.05)

    async def give_up() -> None:
        bench.provider.hang()
        assert await bench.fetch() == "TIMEOUT"

    asyncio.run(give_up())
    (text,) = _warned(bench)
    assert text.startswith("a fetch did not end within 0.05 s; what the source lent (a lease, a token) may not")
    assert bench.provider.closes == 0


def test_a_source_that_takes_too_long_to_give_back_is_logged(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aws_signing_proxy.credentials.fetcher._CLOSE_SECONDS", 0.05)
    gate = threading.Event()
    monkeypatch.setattr(bench.provider, "close", lambda _: gate.wait(30))
    (text,) = _warned(bench)
    assert text.startswith("giving back took more than 0.05 s; ")
    gate.set()


def test_an_unforeseen_exception_while_giving_back_is_logged_without_its_message(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def close(_fetch: object) -> None:
        raise ZeroDivisionError("planted")

    monkeypatch.setattr(bench.provider, "close", close)
    (text,) = _warned(bench)
    assert text.startswith("giving back failed unexpectedly (ZeroDivisionError), which is a bug; ")
    assert "planted" not in text


def test_where_all_is_given_back_nothing_is_logged(bench: Bench) -> None:
    assert _warned(bench) == []
    assert bench.provider.closes == 1
