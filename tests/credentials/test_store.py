"""The one object that owns credentials: what requests see, and when it fetches."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Coroutine
from typing import Any

from aws_signing_proxy.credentials.model import Credentials
from aws_signing_proxy.credentials.provider import Attempt, CredentialsUnavailableError, Provider
from aws_signing_proxy.credentials.store import CredentialStore
from aws_signing_proxy.errors import ErrorCode

NOW = 1_700_000_000.0


def credentials(number: int = 1, expires_at: float | None = None) -> Credentials:
    text = f"planted-{number}"
    return Credentials(text, f"{text}-secret", f"{text}-token", expires_at=expires_at, source=f"source {number}")


def unavailable(reason: str = "it is empty") -> CredentialsUnavailableError:
    return CredentialsUnavailableError((Attempt("the source", reason, "Fill it"),))


class FakeProvider:
    """Gives what it is told to; counts how often it is asked, and how many ask at the same time."""

    name = "fake"

    def __init__(self, outcome: Credentials | Exception) -> None:
        self.outcome = outcome
        self.changed: bool | Exception = False
        self.fetches = 0
        self.at_once = 0
        self.gate: asyncio.Event | None = None

    def has_changed(self) -> bool:
        if isinstance(self.changed, Exception):
            raise self.changed
        return self.changed

    async def fetch(self) -> Credentials:
        self.fetches += 1
        self.changed = False
        self.at_once += 1
        assert self.at_once == 1
        try:
            if self.gate is not None:
                await self.gate.wait()
        finally:
            self.at_once -= 1
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome


class FakeLogger:
    def __init__(self) -> None:
        self.lines: list[tuple[str, str, dict[str, object]]] = []

    def _log(self, level: str, event: str, **fields: Any) -> None:
        self.lines.append((level, event, fields))

    info = functools.partialmethod(_log, "info")
    warning = functools.partialmethod(_log, "warning")
    error = functools.partialmethod(_log, "error")


class Setting:
    """A store whose clocks stand still, and which checks when the test says so."""

    def __init__(self, provider: Provider, *, poll_interval_seconds: float = 3600.0) -> None:
        self.wall = NOW
        self.monotonic = 50.0
        self.logger = FakeLogger()
        self.secrets: list[tuple[tuple[str, ...], tuple[str, ...]]] = []
        self.store = CredentialStore(
            provider,
            logger=self.logger,
            clock=lambda: self.wall,
            monotonic=lambda: self.monotonic,
            poll_interval_seconds=poll_interval_seconds,
            on_secrets_changed=lambda old, new: self.secrets.append((old, new)),
        )

    async def check(self, *, after_seconds: float = 0.0) -> None:
        self.wall += after_seconds
        self.monotonic += after_seconds
        await self.store._check()

    def problem(self) -> str | None:
        return self.store.problem

    @property
    def levels(self) -> list[str]:
        return [level for level, _, _ in self.logger.lines]


def runs(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run an async test in a loop of its own, which ends what the test leaves behind."""

    @functools.wraps(test)
    def run(**fixtures: Any) -> None:
        asyncio.run(test(**fixtures))

    return run


async def until(is_met: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not is_met():  # noqa: ASYNC110 - what is waited for has no event, and is not to get one for a test
            await asyncio.sleep(0)


@runs
async def test_after_the_start_the_credentials_are_one_attribute() -> None:
    found = credentials()
    setting = Setting(FakeProvider(found))
    assert setting.store.problem == "The proxy has no AWS credentials: they have not been fetched yet."
    await setting.store.start()
    assert setting.store.current is found
    assert setting.problem() is None
    assert setting.store.expires_at is None


@runs
async def test_a_failed_start_is_logged_and_kept_not_raised() -> None:
    setting = Setting(FakeProvider(unavailable()))
    await setting.store.start()
    assert setting.store.current is None
    assert setting.levels == ["error"]
    assert setting.store.problem == "The proxy has no AWS credentials: the source: it is empty (Fill it)."


@runs
async def test_a_request_without_credentials_is_answered_with_the_reason_and_when_to_come_back() -> None:
    setting = Setting(FakeProvider(unavailable()))
    await setting.store.start()
    error = setting.store.unavailable(NOW)
    assert error.code is ErrorCode.CREDENTIALS_UNAVAILABLE
    assert error.status == 503
    assert error.detail == setting.store.problem
    assert error.retry_after_seconds == 1
    await setting.check(after_seconds=1)
    await setting.check(after_seconds=2)
    assert setting.store.unavailable(NOW).retry_after_seconds == 4
    setting.monotonic += 1000
    assert setting.store.unavailable(NOW).retry_after_seconds == 1


@runs
async def test_expired_credentials_stay_known_but_are_a_problem() -> None:
    setting = Setting(FakeProvider(credentials(expires_at=NOW + 10)))
    await setting.store.start()
    assert setting.problem() is None
    assert setting.store.expires_at == NOW + 10
    setting.wall += 10
    error = setting.store.unavailable(setting.wall)
    assert error.code is ErrorCode.CREDENTIALS_EXPIRED
    assert error.detail.startswith("The AWS credentials from source 1 expired at 2023-11-14T22:13:30Z")
    assert setting.store.problem == error.detail
    assert error.retry_after_seconds == 3600


@runs
async def test_at_expiry_the_source_is_asked_again_and_the_end_is_logged_once() -> None:
    provider = FakeProvider(credentials(expires_at=NOW + 10))
    setting = Setting(provider)
    await setting.store.start()
    await setting.check(after_seconds=9)
    assert provider.fetches == 1
    for _ in range(100):
        await setting.check(after_seconds=1)
    assert setting.levels == ["info", "error"]
    assert provider.fetches < 10
    provider.outcome = credentials(2, expires_at=NOW + 1000)
    await setting.check(after_seconds=60)
    assert setting.store.current is provider.outcome
    assert setting.store.problem is None


@runs
async def test_credentials_that_come_expired_are_told_as_expired() -> None:
    setting = Setting(FakeProvider(credentials(expires_at=NOW)))
    await setting.store.start()
    error = setting.store.unavailable(NOW)
    assert error.code is ErrorCode.CREDENTIALS_EXPIRED
    assert "put new ones there" in error.detail
    assert setting.levels == ["error"]


@runs
async def test_expired_credentials_never_replace_valid_ones() -> None:
    old = credentials(1)
    provider = FakeProvider(old)
    setting = Setting(provider)
    await setting.check()
    setting.store.reload()
    await setting.check()
    provider.outcome = credentials(2, expires_at=NOW - 1)
    setting.store.reload()
    await setting.check()
    assert setting.store.current is old
    assert setting.store.problem is None
    assert setting.levels == ["info", "warning"]


@runs
async def test_a_changed_source_is_read_again() -> None:
    provider = FakeProvider(credentials(1))
    setting = Setting(provider)
    await setting.store.start()
    provider.outcome = credentials(2)
    await setting.check()
    assert provider.fetches == 1
    provider.changed = True
    await setting.check()
    assert setting.store.current is provider.outcome
    assert setting.levels == ["info", "info"]


@runs
async def test_an_unchanged_source_is_never_asked_again() -> None:
    provider = FakeProvider(credentials())
    setting = Setting(provider)
    await setting.store.start()
    for _ in range(1000):
        await setting.check(after_seconds=60)
    assert provider.fetches == 1


@runs
async def test_a_failed_re_read_keeps_the_old_ones_and_is_logged_once() -> None:
    old = credentials(1)
    provider = FakeProvider(old)
    setting = Setting(provider)
    await setting.store.start()
    provider.outcome = unavailable("it was deleted")
    provider.changed = True
    for _ in range(100):
        await setting.check(after_seconds=1)
    assert setting.store.current is old
    assert setting.store.problem is None
    assert setting.levels == ["info", "warning"]
    assert setting.logger.lines[-1][2]["in_use"] == "source 1"


@runs
async def test_another_reason_is_news() -> None:
    provider = FakeProvider(unavailable("one"))
    setting = Setting(provider)
    await setting.store.start()
    provider.outcome = unavailable("two")
    await setting.check(after_seconds=60)
    assert setting.levels == ["error", "error"]


@runs
async def test_a_failure_is_retried_ever_less_often_up_to_once_a_minute() -> None:
    provider = FakeProvider(unavailable())
    setting = Setting(provider)
    await setting.store.start()
    moments = []
    for second in range(1, 301):
        before = provider.fetches
        await setting.check(after_seconds=1)
        if provider.fetches > before:
            moments.append(second)
    assert moments == [1, 3, 7, 15, 31, 63, 123, 183, 243]


@runs
async def test_after_a_success_the_back_off_starts_anew() -> None:
    provider = FakeProvider(unavailable())
    setting = Setting(provider)
    for seconds in (0, 1, 2, 4):
        setting.store.reload()
        await setting.check(after_seconds=seconds)
    provider.outcome = credentials()
    await setting.check(after_seconds=8)
    assert setting.store.problem is None
    provider.outcome = unavailable()
    provider.changed = True
    await setting.check()
    fetches = provider.fetches
    await setting.check(after_seconds=1)
    assert provider.fetches == fetches + 1


@runs
async def test_a_provider_s_bug_ends_neither_the_watch_nor_the_secrecy() -> None:
    provider = FakeProvider(ValueError("planted-in-a-message"))
    setting = Setting(provider)
    await setting.store.start()
    assert "ValueError" in str(setting.store.problem)
    assert "planted" not in str(setting.logger.lines) + str(setting.store.problem)
    assert "test_store.py" in str(setting.logger.lines[0][2]["frames"])
    provider.outcome = credentials()
    await setting.check(after_seconds=1)
    assert setting.store.problem is None


@runs
async def test_a_provider_that_cannot_tell_whether_it_changed_is_asked_by_the_back_off() -> None:
    provider = FakeProvider(credentials())
    setting = Setting(provider)
    await setting.store.start()
    provider.changed = OSError("planted")
    await setting.check()
    await setting.check()
    assert provider.fetches == 1
    assert setting.store.problem is None
    await setting.check(after_seconds=1)
    assert provider.fetches == 2
    assert "planted" not in str(setting.logger.lines[1])


@runs
async def test_a_reload_is_heard_at_once_and_fetches_once() -> None:
    provider = FakeProvider(credentials(1))
    setting = Setting(provider)
    await setting.store.start()
    provider.outcome = credentials(2)
    setting.store.reload()
    setting.store.reload()
    await until(lambda: setting.store.current is provider.outcome)
    assert provider.fetches == 2


@runs
async def test_a_reload_during_a_fetch_waits_for_its_turn() -> None:
    provider = FakeProvider(credentials(1))
    provider.gate = asyncio.Event()
    setting = Setting(provider)
    starting = asyncio.create_task(setting.store.start())
    await asyncio.sleep(0)
    setting.store.reload()
    await asyncio.sleep(0)
    assert provider.fetches == 1
    provider.gate.set()
    await starting
    await until(lambda: provider.fetches == 2)


@runs
async def test_a_fetch_that_hangs_is_ended_by_stop() -> None:
    provider = FakeProvider(credentials())
    setting = Setting(provider)
    await setting.store.start()
    provider.gate = asyncio.Event()
    setting.store.reload()
    await until(lambda: provider.at_once == 1)
    await setting.store.stop()
    assert provider.at_once == 0


@runs
async def test_stop_is_harmless_before_the_start_and_twice() -> None:
    setting = Setting(FakeProvider(credentials()))
    await setting.store.stop()
    await setting.store.start()
    await setting.store.stop()
    await setting.store.stop()


@runs
async def test_the_logs_learn_of_secrets_before_they_are_in_use() -> None:
    provider = FakeProvider(credentials(1))
    setting = Setting(provider)
    await setting.store.start()
    provider.outcome = credentials(2)
    provider.changed = True
    await setting.check()
    first, second = credentials(1).secrets(), credentials(2).secrets()
    assert setting.secrets == [((), first), (first, second)]
    assert "-secret" not in str(setting.logger.lines)
    assert "-token" not in str(setting.logger.lines)
    assert setting.logger.lines[0][2]["access_key_id"] == "…ed-1"


@runs
async def test_the_background_task_notices_a_change_by_itself() -> None:
    provider = FakeProvider(credentials(1))
    setting = Setting(provider, poll_interval_seconds=0.001)
    await setting.store.start()
    provider.outcome = credentials(2)
    provider.changed = True
    await until(lambda: setting.store.current is provider.outcome)


@runs
async def test_a_store_gives_away_nothing_in_its_texts() -> None:
    setting = Setting(FakeProvider(credentials(expires_at=NOW + 5)))
    await setting.store.start()
    setting.wall += 10
    text = f"{setting.store!r} {setting.store.current!r} {setting.store.problem} {setting.store.unavailable(NOW)!r}"
    assert "-secret" not in text
    assert "-token" not in text
