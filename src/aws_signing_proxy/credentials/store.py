"""The one object that owns credentials for the request path.

Requests read one attribute, `current`. Everything that is slow or can fail happens in one background task,
one fetch at a time: the first fetch, the re-read when the source has changed or somebody asked for it, and
the retries with back-off after a failure. When to fetch is decided in one place, `_is_due`: refreshing ahead of
expiry and a circuit breaker belong there.

A failed fetch never takes away credentials that are still valid. Nothing here signs, and nothing here ever
makes expired credentials look valid: `unavailable` is what a request without valid ones is answered with.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final, Protocol

from aws_signing_proxy.credentials.model import Credentials
from aws_signing_proxy.credentials.provider import CredentialsUnavailableError, Provider
from aws_signing_proxy.errors import ErrorCode, InternalError

__all__ = ["CredentialStore", "Logger"]

_FIRST_RETRY_SECONDS: Final = 1.0
_LONGEST_RETRY_SECONDS: Final = 60.0
# A doubled delay reaches the longest one after six failures; counting on would only grow the exponent.
_MOST_DOUBLINGS: Final = 6


class Logger(Protocol):
    """What the store needs of a logger: an event, and fields beside it. Satisfied by structlog's loggers."""

    def info(self, event: str, **fields: Any) -> Any:
        """Log what went well."""

    def warning(self, event: str, **fields: Any) -> Any:
        """Log what people should look at."""

    def error(self, event: str, **fields: Any) -> Any:
        """Log what stops requests from being served."""


def _ignore_secrets(_forgotten: tuple[str, ...], _new: tuple[str, ...]) -> None:
    """Stand in where nobody wants to know which secrets are in use."""


class CredentialStore:
    """Holds the credentials that requests are signed with, and keeps them current.

    `clock` gives seconds since the epoch, which is what expiry is written in; `monotonic` times the retries.
    `on_secrets_changed(forgotten, new)` is called before new credentials are used or logged, so that logs can be
    kept clean of them.
    """

    def __init__(
        self,
        provider: Provider,
        *,
        logger: Logger,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        poll_interval_seconds: float = 1.0,
        on_secrets_changed: Callable[[tuple[str, ...], tuple[str, ...]], None] = _ignore_secrets,
    ) -> None:
        self.current: Credentials | None = None
        """The credentials of this instant. Whoever signs checks `is_expired` first, and raises `unavailable`."""
        self._provider = provider
        self._logger = logger
        self._clock = clock
        self._monotonic = monotonic
        self._poll_interval_seconds = poll_interval_seconds
        self._on_secrets_changed = on_secrets_changed
        self._wake = asyncio.Event()
        self._is_reload_asked = False
        self._task: asyncio.Task[None] | None = None
        self._failures = 0
        self._retry_at = 0.0
        self._reason: str | None = "they have not been fetched yet"
        self._logged_reason: str | None = None

    async def start(self) -> None:
        """Fetch once, then watch in the background. A failure is logged and kept, not raised."""
        await self._fetch()
        self._task = asyncio.create_task(self._watch(), name="credentials")

    async def stop(self) -> None:
        """End the background task, also in the middle of a fetch."""
        if self._task is None:
            return
        self._task.cancel()
        await asyncio.wait({self._task})
        self._task = None

    def reload(self) -> None:
        """Fetch again soon, changed or not (SIGHUP). Returns at once."""
        self._is_reload_asked = True
        self._wake.set()

    @property
    def problem(self) -> str | None:
        """Why requests cannot be signed now, for people; None while credentials are valid."""
        now = self._clock()
        current = self.current
        if current is not None and not current.is_expired(now):
            return None
        return self._sentence(current)

    @property
    def expires_at(self) -> float | None:
        """When the credentials in use expire, in seconds since the epoch; None where that is unknown."""
        return None if self.current is None else self.current.expires_at

    def unavailable(self, now: float) -> InternalError:
        """Return the error that a request without valid credentials is answered with (503).

        `now` is in seconds since the epoch. The detail says why the last fetch failed; Retry-After is when the
        next one is due.
        """
        current = self.current
        is_expired = current is not None and current.is_expired(now)
        code = ErrorCode.CREDENTIALS_EXPIRED if is_expired else ErrorCode.CREDENTIALS_UNAVAILABLE
        return InternalError(code, self._sentence(current), retry_after_seconds=self._retry_after_seconds())

    def _sentence(self, current: Credentials | None) -> str:
        if current is None:
            return f"The proxy has no AWS credentials: {self._reason or 'none were found'}."
        ended = f"The AWS credentials from {current.source} expired at {_utc(current.expires_at)}"
        if self._reason is None:
            return f"{ended}: put new ones there (for environment variables, restart the proxy)."
        return f"{ended}, and no new ones could be had: {self._reason}."

    def _retry_after_seconds(self) -> int:
        if self._failures == 0:
            return max(1, math.ceil(self._poll_interval_seconds))
        return max(1, math.ceil(self._retry_at - self._monotonic()))

    async def _watch(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._poll_interval_seconds):
                    await self._wake.wait()
            self._wake.clear()
            await self._check()

    async def _check(self) -> None:
        """Fetch if that is due; the body of the background task's loop."""
        if self._is_due():
            self._is_reload_asked = False
            await self._fetch()

    def _is_due(self) -> bool:
        if self._is_reload_asked or self._has_changed():
            return True
        if self._failures > 0:
            return self._monotonic() >= self._retry_at
        return self.current is not None and self.current.is_expired(self._clock())

    def _has_changed(self) -> bool:
        try:
            return self._provider.has_changed()
        except Exception as error:  # noqa: BLE001 - the watch must outlive any provider
            # A provider that cannot even tell is asked again when the back-off says so, not every second.
            if self._failures == 0:
                self._failed(_unexpected(error))
            return False

    async def _fetch(self) -> None:
        try:
            fetched = await self._provider.fetch()
        except CredentialsUnavailableError as error:
            self._failed(str(error))
        except Exception as error:  # noqa: BLE001 - a provider's bug must not end the proxy
            self._failed(_unexpected(error), frames="".join(traceback.format_tb(error.__traceback__)))
        else:
            self._succeeded(fetched)

    def _succeeded(self, fetched: Credentials) -> None:
        old = self.current
        now = self._clock()
        is_expired = fetched.is_expired(now)
        if not is_expired or old is None or old.is_expired(now):
            self._on_secrets_changed(() if old is None else old.secrets(), fetched.secrets())
            self.current = fetched
        if is_expired:
            self._failed(f"those from {fetched.source} expired at {_utc(fetched.expires_at)}")
            self._reason = None  # the source was asked and has nothing newer: `_sentence` says so by itself
            return
        self._failures = 0
        self._reason = self._logged_reason = None
        self._logger.info(
            "credentials loaded" if old is None else "credentials reloaded",
            provider=self._provider.name,
            source=fetched.source,
            access_key_id=f"…{fetched.access_key_id[-4:]}",
            expires_at=None if fetched.expires_at is None else _utc(fetched.expires_at),
        )

    def _failed(self, reason: str, **fields: object) -> None:
        self._failures += 1
        delay = _FIRST_RETRY_SECONDS * 2 ** min(self._failures - 1, _MOST_DOUBLINGS)
        self._retry_at = self._monotonic() + min(delay, _LONGEST_RETRY_SECONDS)
        self._reason = reason
        if reason == self._logged_reason:
            return  # said once; a file that stays broken is not news every second
        self._logged_reason = reason
        current = self.current
        if current is None or current.is_expired(self._clock()):
            self._logger.error("no valid credentials", provider=self._provider.name, reason=reason, **fields)
        else:
            self._logger.warning(
                "credentials could not be read again; the old ones stay in use",
                provider=self._provider.name,
                reason=reason,
                in_use=current.source,
                **fields,
            )


def _unexpected(error: Exception) -> str:
    # Only the type: the message of an unforeseen exception may quote what the source answered.
    return f"the provider failed unexpectedly ({type(error).__name__}); this is a bug, the log shows where"


def _utc(moment: float | None) -> str:
    if moment is None:
        return "an unknown time"
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
