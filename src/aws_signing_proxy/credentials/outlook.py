"""When credentials may come, as far as is known: facts that hold in every process of this machine.

The refresher makes them anew whenever somebody asks. Where requests are served by other processes than the one that
fetches, they are sent there; times are those of the monotonic clock, which is one for the whole machine.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["Outlook"]


class Outlook(NamedTuple):
    """What decides whether a request waits for credentials, and what it is told where it does not.

    `now`, in all its methods, is the monotonic clock's, in seconds, and so are `retry_at` (after a failure: when the
    next try is due) and `open_until` (when an open circuit breaker lets a try through). `reason`: why there are no new
    credentials. `is_lasting`: the last fetch failed in a way that the next one will not mend by itself.
    `is_handed_expired`: it failed because what the source handed out had expired; the reason says when.
    `is_trial`: the fetch under way is the one that a half-open circuit breaker lets through.
    """

    provider: str
    is_local: bool
    is_eager: bool
    poll_interval_seconds: float
    patience_seconds: float
    was_fetched: bool = False
    is_fetching: bool = False
    is_lasting: bool = False
    is_handed_expired: bool = False
    reason: str | None = None
    retry_at: float | None = None
    open_until: float | None = None
    is_trial: bool = False

    def seconds_until_breaker_closes(self, now: float) -> float | None:
        """How long the circuit breaker keeps every fetch away; None unless it is open."""
        return None if self.open_until is None else max(0.0, self.open_until - now)

    def seconds_until_retry(self, now: float) -> float | None:
        """After a failure, how long until the next try; None where none failed."""
        if self.retry_at is None:
            return None
        # An open breaker says by itself when its trial is, however long the delays have grown.
        return max(0.0, (self.retry_at if self.open_until is None else self.open_until) - now)

    def is_worth_waiting(self, now: float) -> bool:
        """Whether a request that waits may see credentials within its time."""
        if self.is_local and self.was_fetched:
            return False  # it has been read, and is read again when it changes
        if self.is_trial or (self.open_until is not None and self.is_eager):
            # It has been failing. Only where fetches are made for requests does one wait: the one that causes the try.
            return False
        wait = self.seconds_until_retry(now)
        if self.is_fetching or wait is None or wait == 0.0:
            return True
        return self.open_until is None and not self.is_lasting and wait < self.patience_seconds
