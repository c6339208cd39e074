"""When to fetch credentials: a calculation without clock, event loop or chance.

    fetched           early window                 expiry
       |-----------------|===========================|- - - - - - ->
         nothing happens   fetched in the background   requests wait
                           failures are only logged     for the fetch

The early window begins `lead_seconds` before the expiry, but never takes more than a quarter of the lifetime; a
random part of it is left out, so that a fleet that was started together does not fetch together.

Wall time and monotonic time are both kept: expiry is written in wall time, but a wall clock may be set back, and then
only the monotonic one still knows how old credentials are.
"""

from __future__ import annotations

from typing import Final

from aws_signing_proxy.credentials.model import Credentials

__all__ = ["LONGEST_RETRY_SECONDS", "Schedule", "early_window_seconds", "heeded_seconds"]

_LARGEST_SHARE: Final = 0.25
# The window begins up to this share of it later than it might.
_JITTER_SHARE: Final = 0.2

_FIRST_RETRY_SECONDS: Final = 1.0
LONGEST_RETRY_SECONDS: Final = 60.0
# A doubled delay reaches the longest one after six failures; counting on would only grow the exponent.
_MOST_DOUBLINGS: Final = 6
# Up to this share of a delay comes off it, for the same reason as the window's.
_RETRY_JITTER_SHARE: Final = 0.2
# Short leases are tried for again sooner than the delays say: so often before they end, ...
_TRIES_PER_REST: Final = 4
# ... but not more often than this.
_SHORTEST_RETRY_SECONDS: Final = 0.1
# A server's Retry-After is heeded up to this: it may be a mistake.
_LONGEST_HEEDED_SECONDS: Final = 300.0


def early_window_seconds(credentials: Credentials, lifetime_seconds: float, chance: float) -> float:
    """Return how long before their expiry credentials are to be renewed; `chance` is from 0 to 1."""
    longest = min(credentials.lead_seconds, lifetime_seconds * _LARGEST_SHARE)
    return max(0.0, longest * (1 - _JITTER_SHARE * chance))


def heeded_seconds(retry_after_seconds: float | None, held: Credentials | None, *, wall: float) -> float:
    """Return how long not to ask a server that wants to be left alone so long; `held` are the credentials in use.

    Five minutes at most; where those in use are valid, no longer than leaves time for other tries before they end.
    """
    wanted = min(retry_after_seconds or 0.0, _LONGEST_HEEDED_SECONDS)
    if held is None or held.expires_at is None or held.is_expired(wall):
        return wanted
    return min(wanted, (held.expires_at - wall) / _TRIES_PER_REST)


class Schedule:
    """Knows when the next fetch is due. `wall` is in seconds since the epoch, `monotonic` in seconds."""

    __slots__ = ("_delays", "_monotonic_due", "_wall_due", "_was_valid", "failures", "retry_at")

    def __init__(self) -> None:
        self.failures = 0
        self.retry_at = 0.0
        """After a failure: when to fetch again, by the monotonic clock."""
        # How many delays have grown from one to the next, and whether there were valid credentials then.
        self._delays = 0
        self._was_valid = False
        self._wall_due: float | None = None
        self._monotonic_due: float | None = None

    def on_success(self, fetched: Credentials, *, wall: float, monotonic: float, chance: float) -> None:
        """Plan from credentials that were fetched now."""
        self.failures = self._delays = 0
        self._wall_due = None
        if fetched.expires_at is not None:
            lifetime = max(0.0, fetched.expires_at - wall)
            self._wall_due = fetched.expires_at - early_window_seconds(fetched, lifetime, chance)
        if fetched.ask_again_at is not None:
            # Never at once: a source that names a moment in the past would be asked without end.
            asked = max(fetched.ask_again_at, wall + _FIRST_RETRY_SECONDS)
            self._wall_due = asked if self._wall_due is None else min(self._wall_due, asked)
        self._monotonic_due = None if self._wall_due is None else monotonic + (self._wall_due - wall)

    def on_failure(
        self,
        held: Credentials | None,
        *,
        wall: float,
        monotonic: float,
        chance: float,
        at_least_seconds: float = 0.0,
    ) -> None:
        """Plan the next try after a failure; `held` are the credentials that are there all the same.

        `at_least_seconds` is what is heeded of the server's wish to be left alone.
        """
        self.failures += 1
        is_valid = held is not None and not held.is_expired(wall)
        # Short leases are tried for often before they end: that must not make the tries after their end rare.
        self._delays = 1 if is_valid is not self._was_valid else self._delays + 1
        self._was_valid = is_valid
        doubled = _FIRST_RETRY_SECONDS * 2 ** min(self._delays - 1, _MOST_DOUBLINGS)
        delay = min(doubled, LONGEST_RETRY_SECONDS) * (1 - _RETRY_JITTER_SHARE * chance)
        if is_valid and held is not None and held.expires_at is not None:
            delay = min(delay, max((held.expires_at - wall) / _TRIES_PER_REST, _SHORTEST_RETRY_SECONDS))
        # All who were told the same must not come back at the same instant: here chance adds to it.
        self.retry_at = monotonic + max(delay, at_least_seconds * (1 + _RETRY_JITTER_SHARE * chance))

    @property
    def refresh_at(self) -> float | None:
        """When the early window begins, in seconds since the epoch; None where nothing is planned."""
        return self._wall_due

    def is_due(self, *, wall: float, monotonic: float) -> bool:
        """Whether it is time to fetch: the early window has begun, or the delay after a failure is over."""
        if self.failures:
            return monotonic >= self.retry_at
        if self._wall_due is None or self._monotonic_due is None:
            return False
        return wall >= self._wall_due or monotonic >= self._monotonic_due

    def seconds_until_due(self, *, wall: float, monotonic: float) -> float:
        """How long until then, as far as is known now; infinity where nothing is planned."""
        if self.failures:
            return max(0.0, self.retry_at - monotonic)
        if self._wall_due is None or self._monotonic_due is None:
            return float("inf")
        return max(0.0, min(self._wall_due - wall, self._monotonic_due - monotonic))
