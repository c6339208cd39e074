"""Makes one fetch: in the event loop where the source is local, else in a thread that is given up after its time.

A thread cannot be ended from outside. One that does not come back in time (its server sends a byte now and then, a
name server is silent) is left alone, and until it has come back no other one is started: a provider is used by one
thread at a time. The thread is a daemon, so it does not hold up the process's end either.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
import traceback
from collections.abc import Callable
from typing import Final, Protocol, TypeVar

from aws_signing_proxy.credentials.fetch import Fetch, Note
from aws_signing_proxy.credentials.ledger import FetchOutcome, Ledger
from aws_signing_proxy.credentials.model import Credentials
from aws_signing_proxy.credentials.provider import Attempt, CredentialsUnavailableError, NothingFoundError, Provider

__all__ = ["FailedFetchError", "Fetcher", "NoSecretKeeper", "SecretKeeper"]

T = TypeVar("T")

# The provider is to be told that its time is over before we give up: it knows better what it waited for.
_SHARE_OF_PROVIDER: Final = 0.9
_CLOSE_SECONDS: Final = 3.0
_LEFT: Final = "what the source lent (a lease, a token) may not have been given back, and then ends by itself"


class SecretKeeper(Protocol):
    """Keeps secrets out of what is written: the log's redaction."""

    def register(self, secret: str) -> None:
        """Show `secret` nowhere from now on."""

    def forget(self, secret: str) -> None:
        """Take back one `register`."""

    def mask(self, text: str) -> str:
        """Return `text` as it may be shown: without the registered secrets, and what else sounds like one."""


def _log_nothing(_note: Note) -> None:
    """Stand in where nothing is written."""


class NoSecretKeeper:
    """Stands in where nothing is written."""

    def register(self, secret: str) -> None:
        """Do nothing."""

    def forget(self, secret: str) -> None:
        """Do nothing."""

    def mask(self, text: str) -> str:
        """Return `text`."""
        return text


class FailedFetchError(Exception):
    """A fetch brought nothing.

    `reason` is one sentence for people, `attempts` the same place by place; `frames` say where, after an exception
    that nothing foresaw. `has_asked`: somebody else was asked, or may have been; not so where a file is missing, say.
    `retry_after_seconds`: how long the server wants to be left alone, if it says so.
    """

    def __init__(
        self,
        outcome: FetchOutcome,
        reason: str,
        *,
        attempts: tuple[Attempt, ...] = (),
        frames: str | None = None,
        has_asked: bool = True,
        retry_after_seconds: float | None = None,
    ) -> None:
        super().__init__(reason)
        self.outcome = outcome
        self.reason = reason
        self.attempts = attempts
        self.frames = frames
        self.has_asked = has_asked
        self.retry_after_seconds = retry_after_seconds


class _GivenUpError(Exception):
    """The thread did not come back in time. Not TimeoutError, which the provider may raise by mistake."""


class _NoExceptionError(Exception):
    """Stands for what is no Exception (SystemExit, CancelledError): raised as it is, it would end who waits."""

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.kind = kind


class Fetcher:
    """Asks the provider, one fetch at a time, and counts. `timeout_seconds` is the most that a fetch may take.

    `log_warning` is told what people have to look at though credentials were had; a provider's thread may call it.
    """

    def __init__(
        self,
        provider: Provider,
        *,
        ledger: Ledger,
        timeout_seconds: float = 20.0,
        secrets: SecretKeeper | None = None,
        log_warning: Callable[[Note], object] = _log_nothing,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.provider = provider
        self._ledger = ledger
        self._timeout_seconds = timeout_seconds
        self._secrets = NoSecretKeeper() if secrets is None else secrets
        self._log_warning = log_warning
        self._clock = clock
        self._monotonic = monotonic
        self._thread: threading.Thread | None = None
        self._secrets_of_last: list[str] = []
        self.last: Fetch | None = None
        """The fetch that was made last, with what it noted; after `close`, what that did."""

    @property
    def is_busy(self) -> bool:
        """Whether a thread still works for the provider: of a fetch under way, or of one that was given up."""
        return self._thread is not None and self._thread.is_alive()

    async def fetch(self, *, is_forced: bool, is_refused: bool = False, is_local: bool | None = None) -> Credentials:
        """Return new credentials, expired ones too; `is_forced` and `is_refused` are the `Fetch`'s.

        `is_local` is what the provider said of that; None: it is asked. It is asked once for each fetch: an answer that
        changed in its middle would let a server be asked in the event loop.

        Raises:
            FailedFetchError: There are none.
        """
        if self.is_busy:
            # Nothing begins and nothing ends here: the secrets of the one before are in use.
            self._ledger.count(FetchOutcome.TIMEOUT, None, [])
            raise self._still_busy()
        fetch = self.last = self._begin(self._timeout_seconds * _SHARE_OF_PROVIDER, is_forced, is_refused)
        fetch.is_local = self.provider.is_local if is_local is None else is_local
        began = self._monotonic()
        outcome = FetchOutcome.FAILED
        try:
            credentials = await self._ask(fetch)
            # What has expired is handed on so that people can be told, but it was no success.
            outcome = FetchOutcome.REFUSED if credentials.is_expired(self._clock()) else FetchOutcome.SUCCESS
        except CredentialsUnavailableError as error:
            outcome = _outcome(error)
            reason = fetch.shown_whole(str(error))
            raise FailedFetchError(
                outcome,
                reason,
                attempts=_shown(error.attempts, fetch),
                has_asked=fetch.has_asked,
                retry_after_seconds=fetch.retry_after_seconds,
            ) from None
        except _GivenUpError:
            outcome = FetchOutcome.TIMEOUT
            raise self._given_up() from None
        except Exception as error:  # noqa: BLE001 - a provider's bug must not end the proxy
            # Only the type: the message of an unforeseen exception may quote what the source answered.
            kind = error.kind if isinstance(error, _NoExceptionError) else type(error).__name__
            reason = f"the provider failed unexpectedly ({kind}); this is a bug"
            frames = "".join(traceback.format_tb(error.__traceback__))
            raise FailedFetchError(outcome, reason, frames=frames) from None
        finally:
            self._ledger.count(outcome, self._monotonic() - began, fetch.steps)
            self._end(fetch.secrets)
        return credentials

    async def close(self) -> None:
        """Let the provider give back what it was lent, within a few seconds. Never raises: what fails is logged.

        It is not asked to while a fetch that was given up still uses it.
        """
        await self._until_back(_CLOSE_SECONDS)
        fetch = self.last = self._begin(_CLOSE_SECONDS * _SHARE_OF_PROVIDER)
        if self.is_busy:
            fetch.warn(self.provider.name, f"a fetch did not end within {_CLOSE_SECONDS:g} s; {_LEFT}")
            return
        try:
            if self.provider.is_local:
                self.provider.close(fetch)
            else:
                await self._in_thread(lambda: self.provider.close(fetch), _CLOSE_SECONDS)
        except _GivenUpError:
            fetch.warn(self.provider.name, f"giving back took more than {_CLOSE_SECONDS:g} s; {_LEFT}")
        except Exception as error:  # noqa: BLE001 - the process ends all the same
            kind = error.kind if isinstance(error, _NoExceptionError) else type(error).__name__
            fetch.warn(self.provider.name, f"giving back failed unexpectedly ({kind}), which is a bug; {_LEFT}")
        self._end(fetch.secrets)
        if not self.is_busy:
            self._end([])

    def _begin(self, timeout_seconds: float, is_forced: bool = False, is_refused: bool = False) -> Fetch:
        return Fetch(
            timeout_seconds=timeout_seconds,
            is_forced=is_forced,
            is_refused=is_refused,
            clock=self._clock,
            monotonic=self._monotonic,
            keep_secret=self._secrets.register,
            mask=self._secrets.mask,
            log_warning=self._log_warning,
        )

    def _end(self, secrets: list[str]) -> None:
        """Forget the secrets of the fetch before this one; this one's may still be in use."""
        forgotten, self._secrets_of_last = self._secrets_of_last, secrets
        for secret in forgotten:
            self._secrets.forget(secret)

    async def _ask(self, fetch: Fetch) -> Credentials:
        if fetch.is_local:
            return self.provider.retrieve(fetch)
        return await self._in_thread(lambda: self.provider.retrieve(fetch), self._timeout_seconds)

    async def _in_thread(self, work: Callable[[], T], timeout_seconds: float) -> T:
        loop = asyncio.get_running_loop()
        is_back: asyncio.Future[None] = loop.create_future()
        # Emptied when read: an exception whose traceback leads to a frame that holds it would keep everything that
        # the fetch knew until the garbage collector comes by.
        results: list[T] = []
        errors: list[Exception] = []

        def run() -> None:
            try:
                results.append(work())
            except Exception as error:  # noqa: BLE001 - it is raised where it is waited for
                errors.append(error)
            except BaseException as error:  # noqa: BLE001 - SystemExit, say; it must not end who waits
                errors.append(_NoExceptionError(type(error).__name__).with_traceback(error.__traceback__))
            # RuntimeError: the loop is closed, nobody waits any more.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(on_back)

        def on_back() -> None:
            if not is_back.done():
                is_back.set_result(None)

        self._thread = threading.Thread(target=run, name="credentials", daemon=True)
        self._thread.start()
        try:
            async with asyncio.timeout(timeout_seconds):
                await is_back
        except TimeoutError:
            raise _GivenUpError from None
        self._thread = None
        if errors:
            raise errors.pop()
        return results.pop()

    async def _until_back(self, timeout_seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_seconds):
                while self.is_busy:  # noqa: ASYNC110 - at the process's end only; a thread sets no event
                    await asyncio.sleep(0.01)

    def _still_busy(self) -> FailedFetchError:
        reason = "an earlier fetch has been given up and has not come back yet, so no other can be made"
        advice = "Look at what the source's server does with the connection; the next try comes by itself"
        return self._timed_out(Attempt(self.provider.name, reason, advice))

    def _given_up(self) -> FailedFetchError:
        reason = f"it gave nothing within {self._timeout_seconds:g} s, and was given up"
        advice = "Look at whether its server answers, and whether a name server does"
        return self._timed_out(Attempt(self.provider.name, reason, advice))

    def _timed_out(self, attempt: Attempt) -> FailedFetchError:
        reason = str(CredentialsUnavailableError((attempt,)))
        return FailedFetchError(FetchOutcome.TIMEOUT, reason, attempts=(attempt,))


def _outcome(error: CredentialsUnavailableError) -> FetchOutcome:
    if error.is_conclusive:
        return FetchOutcome.REFUSED
    return FetchOutcome.ABSENT if isinstance(error, NothingFoundError) else FetchOutcome.FAILED


def _shown(attempts: tuple[Attempt, ...], fetch: Fetch) -> tuple[Attempt, ...]:
    return tuple(Attempt(*(fetch.shown_whole(text) for text in attempt)) for attempt in attempts)
