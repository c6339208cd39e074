"""The one object that owns credentials for the request path.

Requests read one attribute, `current`. Everything that is slow or can fail happens in the `Refresher`'s background
task. A failed fetch never takes away credentials that are still valid. Past their expiry, and before the first fetch,
requests wait for the fetch that is under way, within bounds; then they are answered 503 with the reason
(`unavailable`). Nothing here makes expired credentials look valid.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from typing import Protocol

from aws_signing_proxy.credentials.model import Credentials, utc
from aws_signing_proxy.credentials.outlook import Outlook
from aws_signing_proxy.credentials.refresher import Holder
from aws_signing_proxy.errors import ErrorCode, InternalError

__all__ = ["CredentialStore", "Follower", "Renewer", "Waiter"]


class Waiter(Protocol):
    """A request that has nothing to sign with yet. It keeps its own time, and leaves when that is over."""

    def on_credentials(self) -> None:
        """There are valid credentials now."""

    def on_credentials_failed(self, error: InternalError) -> None:
        """There will be none soon."""


class Renewer(Protocol):
    """Who fetches: the `Refresher` itself, or what stands for it in a process that serves requests only."""

    @property
    def outlook(self) -> Outlook:
        """What is known now of when credentials may come."""

    @property
    def is_renewing(self) -> bool:
        """Whether others than those in use are on their way."""

    def monotonic(self) -> float:
        """Return the time by which the outlook is read."""

    async def start(self, holder: Holder) -> None:
        """Begin."""

    async def stop(self) -> None:
        """End."""

    def order(self) -> None:
        """Fetch new ones soon, whatever there is."""

    def want(self) -> None:
        """Fetch if the plan allows it: a request wants credentials."""

    def reject(self, credentials: Credentials) -> None:
        """Take a service's word that the credentials in use are expired or unknown."""


class Follower(Protocol):
    """Who is told what comes of each fetch, after the store: the workers of other processes."""

    def on_begun(self) -> None:
        """A fetch begins."""

    def accept(self, fetched: Credentials) -> None:
        """These are in use from now on. They may have expired."""

    def set_aside(self) -> None:
        """The next request is to ask for them."""

    def on_failed(self, *, is_hopeless: bool) -> None:
        """It brought nothing (see `Holder`)."""


class CredentialStore:
    """Holds the credentials that requests are signed with, and the requests that wait for some.

    `clock` gives seconds since the epoch. `on_secrets_changed(forgotten, new)` is called before new credentials are
    used or logged, so that logs can be kept clean of them.
    """

    def __init__(
        self,
        refresher: Renewer,
        *,
        on_secrets_changed: Callable[[tuple[str, ...], tuple[str, ...]], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.current: Credentials | None = None
        """The credentials of this instant. Where it is None or expired, a request asks `usable`."""
        self.refresher = refresher
        self.follower: Follower | None = None
        self._on_secrets_changed = on_secrets_changed
        self._clock = clock
        # What requests do not see until the next one asks `usable`: where nothing is fetched ahead, that is the sign
        # that credentials are in use and worth renewing. It costs the path of a request nothing.
        self._aside: Credentials | None = None
        # In the order of their coming.
        self._waiting: dict[Waiter, None] = {}

    async def start(self) -> None:
        """Begin. A local source is read at once; for a remote one nobody waits. A failure is logged, not raised."""
        await self.refresher.start(self)

    async def stop(self) -> None:
        """End, also in the middle of a fetch, and give back what was lent."""
        await self.refresher.stop()

    def reload(self) -> None:
        """Fetch new ones soon, whatever there is (SIGHUP). Returns at once."""
        self.refresher.order()

    # What requests ask

    def usable(self, now: float) -> Credentials | None:
        """Return credentials that are valid at `now` (seconds since the epoch); None where there are none."""
        if self._aside is not None:
            self.current, self._aside = self._aside, None
            self.refresher.want()
        current = self.current
        return None if current is None or current.is_expired(now) else current

    def check_worth_waiting(self, now: float) -> None:
        """Raise what a request is answered with, where it is known that no credentials will come soon.

        Raises:
            InternalError: 503, with the reason and when to come back.
        """
        refresher = self.refresher
        if not refresher.outlook.is_worth_waiting(refresher.monotonic()):
            raise self.unavailable(now)

    def wait(self, waiter: Waiter) -> None:
        """Call the waiter back, once, when there are credentials or none will come soon; it may `leave` before."""
        self._waiting[waiter] = None
        self.refresher.want()

    def leave(self, waiter: Waiter) -> None:
        """Forget a waiter, if it is one."""
        self._waiting.pop(waiter, None)

    def reject(self, credentials: Credentials) -> None:
        """Take a service's word that these are expired or unknown; where they are still in use, fetch others.

        Not those that it may know in a moment: others would be younger still, and it would never know any.
        """
        if credentials is self.held and not credentials.is_settling(self._clock()):
            self.refresher.reject(credentials)

    @property
    def is_renewing(self) -> bool:
        """Whether others than those in use are on their way: `wait` will be told how that ends."""
        return self.refresher.is_renewing

    def unavailable(self, now: float) -> InternalError:
        """Return the error that a request without valid credentials is answered with (503).

        `now` is in seconds since the epoch. The detail says why the last fetch failed; Retry-After is when the
        next one is due.
        """
        held = self.held
        is_expired = held is not None and held.is_expired(now)
        code = ErrorCode.CREDENTIALS_EXPIRED if is_expired else ErrorCode.CREDENTIALS_UNAVAILABLE
        return InternalError(code, self._sentence(held), retry_after_seconds=self._retry_after_seconds())

    # What people and probes ask

    @property
    def held(self) -> Credentials | None:
        """The credentials in use, expired ones too."""
        return self.current if self._aside is None else self._aside

    @property
    def problem(self) -> str | None:
        """Why requests cannot be signed now, for people; None while they can, or are to be tried."""
        if self.is_valid:
            return None
        outlook = self.refresher.outlook
        is_failing = bool(outlook.seconds_until_retry(self.refresher.monotonic()))
        if not outlook.is_eager and not outlook.is_local and not is_failing:
            # They are fetched when a request comes: whoever kept requests away until then would wait forever.
            return None
        return self._sentence(self.held)

    @property
    def is_valid(self) -> bool:
        """Whether there are credentials that have not expired."""
        held = self.held
        return held is not None and not held.is_expired(self._clock())

    @property
    def expires_at(self) -> float | None:
        """When the credentials in use expire, in seconds since the epoch; None where that is unknown."""
        held = self.held
        return None if held is None else held.expires_at

    @property
    def waiting(self) -> int:
        """How many requests wait for credentials."""
        return len(self._waiting)

    # What the refresher tells (see `Holder`)

    def on_begun(self) -> None:
        """Let followers know that a fetch begins."""
        if self.follower is not None:
            self.follower.on_begun()

    def accept(self, fetched: Credentials) -> None:
        """Use these from now on, and let those go on who waited."""
        old = self.held
        self._on_secrets_changed(() if old is None else old.secrets(), fetched.secrets())
        self.current, self._aside = fetched, None
        if self.follower is not None:
            self.follower.accept(fetched)
        self.go_on()

    def go_on(self) -> None:
        """Let those go on who wait, where there are valid credentials."""
        if not self.is_valid:
            return
        for waiter in self._let_go():
            waiter.on_credentials()

    @property
    def is_set_aside(self) -> bool:
        """Whether the next request is to ask `usable`."""
        return self._aside is not None

    def set_aside(self) -> None:
        """Let the next request ask `usable`."""
        if self._aside is None:
            self._aside, self.current = self.current, None
            if self.follower is not None:
                self.follower.set_aside()

    def on_failed(self, *, is_hopeless: bool) -> None:
        """Let requests wait on where the next try may bring credentials in time; answer them where it will not."""
        if self.follower is not None:
            self.follower.on_failed(is_hopeless=is_hopeless)
        if not self._waiting:
            return
        if not is_hopeless:
            self.refresher.want()
            return
        error = self.unavailable(self._clock())
        for waiter in self._let_go():
            waiter.on_credentials_failed(error)

    def _let_go(self) -> Iterator[Waiter]:
        """Yield those who wait now, in their order, each as it is forgotten: one may leave, or come back, meanwhile."""
        for waiter in tuple(self._waiting):
            if waiter in self._waiting:
                del self._waiting[waiter]
                yield waiter

    def _sentence(self, held: Credentials | None) -> str:
        outlook = self.refresher.outlook
        reason = outlook.reason
        open_seconds = outlook.seconds_until_breaker_closes(self.refresher.monotonic())
        if open_seconds is not None:
            reason = (
                f"the circuit breaker before {outlook.provider} is open after repeated failures and lets the "
                f"next try through in {math.ceil(open_seconds)} s; the last failure: {reason}"
            )
        elif outlook.is_trial:
            reason = (
                f"the circuit breaker before {outlook.provider} is half-open after repeated failures, and a try is "
                f"under way; the last failure: {reason}"
            )
        if held is None:
            return f"The proxy has no AWS credentials: {reason or 'none were found'}."
        if outlook.is_handed_expired and reason is not None:
            return f"The proxy has no valid AWS credentials: {reason}."  # which says which, and since when
        ended = f"The AWS credentials from {held.source} expired at {utc(held.expires_at)}"
        if reason is None:
            advice = ": put new ones there (for environment variables, restart the proxy)"
            return f"{ended}{advice if outlook.is_local else ', and new ones are being fetched'}."
        return f"{ended}, and no new ones could be had: {reason}."

    def _retry_after_seconds(self) -> int:
        outlook = self.refresher.outlook
        wait = outlook.seconds_until_retry(self.refresher.monotonic())
        return max(1, math.ceil(outlook.poll_interval_seconds if wait is None else wait))
