"""The background task that fetches credentials: when, behind which breaker, and what is said about it.

There is one task and one fetch at a time, whoever wants it: the plan (`schedule`: the early window, the delays after
failures), a source that has changed, an operator (SIGHUP), a service that refuses what it was sent, requests that
have nothing to sign with. Whoever holds the credentials is told what came of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
import traceback
from collections.abc import Callable
from typing import Final

from aws_signing_proxy.credentials.breaker import CircuitBreaker, CircuitState
from aws_signing_proxy.credentials.fetcher import FailedFetchError, Fetcher
from aws_signing_proxy.credentials.holder import Holder, LastFetch, Logger
from aws_signing_proxy.credentials.ledger import FetchOutcome, Ledger
from aws_signing_proxy.credentials.model import Credentials, utc
from aws_signing_proxy.credentials.outlook import Outlook
from aws_signing_proxy.credentials.schedule import Schedule, heeded_seconds

__all__ = ["Holder", "LastFetch", "Logger", "Refresher"]

# A service may refuse whatever it is sent: it cannot make us fetch more often than this.
_REJECTION_INTERVAL_SECONDS: Final = 10.0
_SHORTEST_SLEEP_SECONDS: Final = 0.005
# A fetch that has taken this share of what a request waits at most is a slow one.
_SLOW_SHARE: Final = 0.5


class Refresher:
    """Keeps the holder's credentials current.

    `clock` gives seconds since the epoch, which is what expiry is written in; `monotonic` times the waiting; `chance`
    gives numbers from 0 to 1. `is_eager`: fetch at the start and ahead of expiry; otherwise only when a request wants
    credentials. `patience_seconds` is how long a request waits for a fetch at most.
    """

    def __init__(
        self,
        fetcher: Fetcher,
        *,
        breaker: CircuitBreaker,
        ledger: Ledger,
        logger: Logger,
        is_eager: bool = True,
        patience_seconds: float = 10.0,
        poll_interval_seconds: float = 1.0,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.provider = fetcher.provider
        self.breaker = breaker
        self.ledger = ledger
        self.last_fetch: LastFetch | None = None
        self.reason: str | None = "they have not been fetched yet"
        """Why there are no new credentials; None where there are, or where a local source merely has none newer."""
        self.is_handed_expired = False
        """Whether the last fetch failed because what the source handed out had expired: the reason says when."""
        self.is_fetching = False
        self.is_eager = is_eager
        self.poll_interval_seconds = poll_interval_seconds
        self._fetcher = fetcher
        self._logger = logger
        self._patience_seconds = patience_seconds
        self._clock = clock
        self._monotonic = monotonic
        self._chance = chance
        self._schedule = Schedule()
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        # Until a fetch succeeds: what the provider has kept will not do.
        self._must_renew = False
        self._begun_at = 0.0
        # Likewise, because a service refused it.
        self._is_refused = False
        # Why to fetch, beside the plan.
        self._is_ordered = False
        self._is_wanted = False
        self._is_rejected = False
        self._rejected: tuple[str, str | None] | None = None
        self._next_rejection_at = 0.0
        # The reason, and whether there were valid credentials all the same.
        self._logged: tuple[str, bool] | None = None

    # What others want

    async def start(self, holder: Holder) -> None:
        """Begin. A local source is read at once; for a remote one nobody waits. A failure is logged, not raised."""
        if self.provider.is_local:
            await self._fetch(holder)
        self._task = asyncio.create_task(self._watch(holder), name="credentials")

    async def stop(self) -> None:
        """End the background task, also in the middle of a fetch, and give back what was lent."""
        if self._task is None:
            return
        self._task.cancel()
        await asyncio.wait({self._task})
        self._task = None
        await self._fetcher.close()

    def order(self) -> None:
        """Fetch new ones soon, whatever there is and whatever the breaker says: an operator wants it."""
        self._is_ordered = True
        self._wake.set()

    def want(self) -> None:
        """Fetch if the plan allows it: a request wants credentials."""
        self._is_wanted = True
        self._wake.set()

    def reject(self, credentials: Credentials) -> None:
        """Take a service's word that the credentials in use are expired or unknown: once for each set, and seldom."""
        now = self._monotonic()
        key = (credentials.access_key_id, credentials.session_token)
        if key == self._rejected or now < self._next_rejection_at:
            return
        self._rejected = key
        self._next_rejection_at = now + _REJECTION_INTERVAL_SECONDS
        self.ledger.rejections_total += 1
        self._logger.warning(
            "the service says that the credentials are expired or unknown; fetching others",
            provider=self.provider.name,
            access_key_id=credentials.shown_id,
        )
        self._is_rejected = True
        self._wake.set()

    @property
    def is_renewing(self) -> bool:
        """Whether others may soon be had: they are being fetched, or will be because a service refused those in use.

        Not after a failure, nor while a source is silent: those whose request was refused would all wait in vain.
        """
        is_local = self.provider.is_local
        if self._schedule.failures and not is_local:
            return False
        if self.is_fetching:
            return self._monotonic() - self._begun_at < self._patience_seconds * _SLOW_SHARE
        if not self._is_rejected or self._fetcher.is_busy:
            return False
        return is_local or self.breaker.admits(self._monotonic())

    # What is planned

    @property
    def refresh_at(self) -> float | None:
        """When the credentials are to be renewed, in seconds since the epoch; None where that is not planned."""
        return self._schedule.refresh_at

    @property
    def seconds_until_retry(self) -> float | None:
        """After a failure, how long until the next try; None where none failed."""
        return self.outlook.seconds_until_retry(self._monotonic())

    @property
    def seconds_until_breaker_closes(self) -> float | None:
        """How long the circuit breaker keeps every fetch away; None unless it is open."""
        return self.outlook.seconds_until_breaker_closes(self._monotonic())

    @property
    def outlook(self) -> Outlook:
        """What is known now of when credentials may come."""
        is_local = self.provider.is_local
        state = None if is_local else self.breaker.state
        lasting = (FetchOutcome.REFUSED, FetchOutcome.ABSENT)
        return Outlook(
            provider=self.provider.name,
            is_local=is_local,
            is_eager=self.is_eager,
            poll_interval_seconds=self.poll_interval_seconds,
            patience_seconds=self._patience_seconds,
            was_fetched=self.last_fetch is not None,
            is_fetching=self.is_fetching,
            is_lasting=self.last_fetch is not None and self.last_fetch.outcome in lasting,
            is_handed_expired=self.is_handed_expired,
            reason=self.reason,
            retry_at=self._schedule.retry_at if self._schedule.failures else None,
            open_until=self.breaker.open_until if state is CircuitState.OPEN else None,
            is_trial=state is CircuitState.HALF_OPEN,
        )

    def monotonic(self) -> float:
        """Return the time by which the outlook is read."""
        return self._monotonic()

    async def _watch(self, holder: Holder) -> None:
        while True:
            try:
                await self._check(holder)
            except Exception as error:  # noqa: BLE001 - a proxy whose watch has ended would fail at the next expiry
                self._log_bug(error)
                await asyncio.sleep(self.poll_interval_seconds)
                continue
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._sleep_seconds()):
                    await self._wake.wait()
            self._wake.clear()

    def _sleep_seconds(self) -> float:
        """How long nothing can be due. Never beyond the poll interval: a wall clock may jump, a file may change."""
        if not self.is_eager and not self._is_wanted:
            return self.poll_interval_seconds
        due = self.seconds_until_breaker_closes
        if due is None:
            due = self._schedule.seconds_until_due(wall=self._clock(), monotonic=self._monotonic())
        return min(max(due, _SHORTEST_SLEEP_SECONDS), self.poll_interval_seconds)

    async def _check(self, holder: Holder) -> None:
        """Fetch if that is due and allowed; the body of the background task's loop."""
        if self._is_due(holder):
            await self._fetch(holder)

    def _is_due(self, holder: Holder) -> bool:
        if self._is_ordered:
            return True
        # An operator's doing, too: nobody who has mended a file waits for the breaker.
        if self._has_changed(holder):
            return True
        is_local = self.provider.is_local
        if not is_local and not self.breaker.admits(self._monotonic()):
            return False
        if self._is_rejected:
            return True
        wall = self._clock()
        held = holder.held
        is_missing = held is None or held.is_expired(wall)
        is_trial = not is_local and self.breaker.state is CircuitState.OPEN
        is_planned = is_trial or self._schedule.is_due(wall=wall, monotonic=self._monotonic())
        is_due = is_planned or (is_missing and not self._schedule.failures)
        if not is_due or self.is_eager or self._is_wanted or is_local:
            return is_due
        if not is_missing:
            holder.set_aside()
        return False

    def _has_changed(self, holder: Holder) -> bool:
        if self._fetcher.is_busy:
            return False  # a thread that was given up still uses the provider
        try:
            return self.provider.has_changed()
        except Exception as error:  # noqa: BLE001 - the watch must outlive any provider
            # A provider that cannot even tell is asked again when the back-off says so, not every second.
            if not self._schedule.failures:
                reason = f"the provider failed unexpectedly ({type(error).__name__}); this is a bug"
                self._failed(holder, FailedFetchError(FetchOutcome.FAILED, reason))
            return False

    # The fetch, and what comes of it

    async def _fetch(self, holder: Holder) -> None:
        # Asked once: what becomes of it, and what the breaker hears of it, must not differ.
        is_local = self.provider.is_local
        self._must_renew = self._must_renew or self._is_ordered or self._is_rejected
        self._is_refused = self._is_refused or self._is_rejected
        self._is_ordered = self._is_wanted = self._is_rejected = False
        if not is_local:
            self._change_breaker(self.breaker.begin)
        self.is_fetching = True
        self._begun_at = self._monotonic()
        holder.on_begun()
        try:
            fetched = await self._fetcher.fetch(
                is_forced=self._must_renew, is_refused=self._is_refused, is_local=is_local
            )
        except FailedFetchError as error:
            self.is_fetching = self.is_handed_expired = False
            if not is_local:
                self._count_failure(holder, error)
            self._failed(holder, error)
        else:
            self.is_fetching = False
            is_good = not fetched.is_expired(self._clock())
            if is_local and is_good:
                # Where a remote one was asked before, nothing would ever close it.
                self._change_breaker(self.breaker.reset)
            elif not is_local:
                self._change_breaker(self.breaker.succeed if is_good else lambda: self.breaker.fail(self._monotonic()))
            self._succeeded(holder, fetched)
        finally:
            self.is_fetching = False

    def _count_failure(self, holder: Holder, error: FailedFetchError) -> None:
        if error.has_asked or self.breaker.state is CircuitState.HALF_OPEN:
            wait = heeded_seconds(error.retry_after_seconds, holder.held, wall=self._clock())
            self._change_breaker(lambda: self.breaker.fail(self._monotonic(), at_least_seconds=wait))
        else:
            # A file is missing, say: that is no reason to leave a server alone.
            self.breaker.ignore()

    def _change_breaker(self, change: Callable[[], None]) -> None:
        """Let the breaker count, and log where that changes its state."""
        before = self.breaker.state
        change()
        state = self.breaker.state
        if state is before:
            return
        wait = self.seconds_until_breaker_closes
        log = self._logger.info if wait is None else self._logger.warning
        log(
            f"the circuit breaker before the credentials' source is {state}",
            provider=self.provider.name,
            tries_again_in_seconds=None if wait is None else round(wait, 3),
        )

    def _succeeded(self, holder: Holder, fetched: Credentials) -> None:
        old, now = holder.held, self._clock()
        if fetched.is_expired(now):
            if old is None or old.is_expired(now):
                holder.accept(fetched)
            self.is_handed_expired = True
            reason = (
                f"those from {fetched.source} expired at {utc(fetched.expires_at)}, and it is {utc(now)} by this "
                "machine's clock (Check that clock, and why the source hands out what is over)"
            )
            self._failed(holder, FailedFetchError(FetchOutcome.REFUSED, reason))
            if self.provider.is_local:
                self.reason = None  # it was read and has nothing newer; that it expired is told anyway
            return
        self._schedule.on_success(fetched, wall=now, monotonic=self._monotonic(), chance=self._chance())
        self.last_fetch = LastFetch(now, FetchOutcome.SUCCESS, None)
        self.reason = self._logged = None
        self.is_handed_expired = False
        # Those who came to wait during the fetch have got what they wanted.
        self._is_wanted = self._must_renew = self._is_refused = False
        # Before the log line: the holder makes the new secrets known to the log.
        holder.accept(fetched)
        if self._rejected != (fetched.access_key_id, fetched.session_token):
            self._is_rejected = False  # those in use were refused while these were fetched
        self._logger.info(
            "credentials loaded" if old is None else "credentials reloaded",
            provider=self.provider.name,
            source=fetched.source,
            access_key_id=fetched.shown_id,
            expires_at=None if fetched.expires_at is None else utc(fetched.expires_at),
            refresh_at=None if self.refresh_at is None else utc(self.refresh_at),
        )

    def _failed(self, holder: Holder, error: FailedFetchError) -> None:
        held, now = holder.held, self._clock()
        self._schedule.on_failure(
            held,
            wall=now,
            monotonic=self._monotonic(),
            chance=self._chance(),
            at_least_seconds=heeded_seconds(error.retry_after_seconds, held, wall=now),
        )
        self.last_fetch = LastFetch(now, error.outcome, error.reason)
        self.reason = error.reason
        self._log_failure(held, now, error)
        self._is_wanted = False
        outlook = self.outlook
        holder.on_failed(is_hopeless=outlook.is_lasting or not outlook.is_worth_waiting(self._monotonic()))

    def _log_failure(self, held: Credentials | None, now: float, error: FailedFetchError) -> None:
        is_valid = held is not None and not held.is_expired(now)
        logged, self._logged = self._logged, (error.reason, is_valid)
        if logged == self._logged and self.provider.is_local:
            return  # said once; a file that stays broken is not news every second
        fields: dict[str, object] = {
            "provider": self.provider.name,
            "reason": error.reason,
            "next_try_in_seconds": round(self.seconds_until_retry or 0.0, 3),
        }
        if error.frames is not None:
            fields["frames"] = error.frames
        if held is None or not is_valid:
            self._logger.error("no valid credentials", **fields)
        else:
            event = "new credentials could not be had; the old ones stay in use"
            self._logger.warning(event, in_use=held.source, valid_until=utc(held.expires_at), **fields)

    def _log_bug(self, error: Exception) -> None:
        """Log an exception that nothing foresaw: its type and place only, because its message may quote anything."""
        self._logger.error(
            "the watch over the credentials failed unexpectedly and goes on; this is a bug",
            provider=self.provider.name,
            error=type(error).__name__,
            frames="".join(traceback.format_tb(error.__traceback__)),
        )
