"""Builds a `CredentialStore` around any provider, with the clocks, the chance and the logger of a test."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Any

from aws_signing_proxy.credentials.breaker import CircuitBreaker
from aws_signing_proxy.credentials.fetcher import Fetcher, SecretKeeper
from aws_signing_proxy.credentials.ledger import Ledger
from aws_signing_proxy.credentials.provider import Provider
from aws_signing_proxy.credentials.refresher import Logger, Refresher
from aws_signing_proxy.credentials.store import CredentialStore
from aws_signing_proxy.errors import InternalError

__all__ = ["FakeLogger", "FakeWaiter", "FetchingStore", "store_of"]


class FakeLogger:
    """Keeps each line as its level, its event and its fields."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str, dict[str, Any]]] = []

    def _log(self, level: str, event: str, **fields: Any) -> None:
        self.lines.append((level, event, fields))

    info = functools.partialmethod(_log, "info")
    warning = functools.partialmethod(_log, "warning")
    error = functools.partialmethod(_log, "error")

    @property
    def levels(self) -> list[str]:
        """The levels of all lines."""
        return [level for level, _, _ in self.lines]

    @property
    def events(self) -> list[str]:
        """The events of all lines."""
        return [event for _, event, _ in self.lines]


class FakeWaiter:
    """A request that waits. `told` is None until it is told: then True, or the error. All tell `told_in_order` too."""

    told_in_order: list[FakeWaiter]

    def __init__(self, told_in_order: list[FakeWaiter] | None = None) -> None:
        self.told: bool | InternalError | None = None
        self.told_in_order = [] if told_in_order is None else told_in_order

    def on_credentials(self) -> None:
        """There are some."""
        self._tell(told=True)

    def on_credentials_failed(self, error: InternalError) -> None:
        """There are none."""
        self._tell(told=error)

    def _tell(self, *, told: bool | InternalError) -> None:
        assert self.told is None, "a waiter was told twice"
        self.told = told
        self.told_in_order.append(self)


class FetchingStore(CredentialStore):
    """A store in the process that fetches: its refresher is the real one."""

    refresher: Refresher


def store_of(
    provider: Provider,
    *,
    clock: Callable[[], float] = time.time,
    monotonic: Callable[[], float] = time.monotonic,
    chance: Callable[[], float] = lambda: 0.0,
    logger: Logger | None = None,
    secrets: SecretKeeper | None = None,
    on_secrets_changed: Callable[[tuple[str, ...], tuple[str, ...]], None] = lambda _forgotten, _new: None,
    failure_threshold: int = 5,
    breaker_timeout_seconds: float = 60.0,
    fetch_timeout_seconds: float = 20.0,
    is_eager: bool = True,
    patience_seconds: float = 10.0,
    poll_interval_seconds: float = 1.0,
) -> FetchingStore:
    """Return a store as the application builds it, with whatever the test wants to be another."""
    ledger = Ledger()
    fetcher = Fetcher(
        provider,
        ledger=ledger,
        timeout_seconds=fetch_timeout_seconds,
        secrets=secrets,
        clock=clock,
        monotonic=monotonic,
    )
    refresher = Refresher(
        fetcher,
        breaker=CircuitBreaker(failure_threshold=failure_threshold, timeout_seconds=breaker_timeout_seconds),
        ledger=ledger,
        logger=FakeLogger() if logger is None else logger,
        is_eager=is_eager,
        patience_seconds=patience_seconds,
        poll_interval_seconds=poll_interval_seconds,
        clock=clock,
        monotonic=monotonic,
        chance=chance,
    )
    return FetchingStore(refresher, on_secrets_changed=on_secrets_changed, clock=clock)
