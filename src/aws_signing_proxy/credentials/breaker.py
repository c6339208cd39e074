"""The circuit breaker before the servers that credentials come from: a state table, without clock or threads.

    closed     fetches go through; so many failures in a row open it
    open       no fetch for a while, so that a server that is down is left alone and nobody waits for it in vain
    half-open  one fetch tries: if it succeeds the circuit closes, if not it opens again

States, counts and their resetting at each change of state are those of gobreaker, which the original proxy uses, so
that its metrics mean what they meant (https://pkg.go.dev/github.com/sony/gobreaker). Why it is not a library's:
docs/decisions/0007-credential-libraries.md.
"""

from __future__ import annotations

from enum import StrEnum

__all__ = ["CircuitBreaker", "CircuitState"]


class CircuitState(StrEnum):
    """The words are those of the metric `auth_circuit_breaker_state`."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


class CircuitBreaker:
    """Decides whether a fetch may be made. `now` is always monotonic, in seconds.

    Every fetch is announced by `begin` and ends in one `succeed`, `fail` or `ignore`; one at a time.
    """

    __slots__ = ("_failure_threshold", "_timeout_seconds", "counts", "open_until", "state")

    def __init__(self, *, failure_threshold: int, timeout_seconds: float) -> None:
        self._failure_threshold = failure_threshold
        self._timeout_seconds = timeout_seconds
        self.open_until = 0.0
        """While it is open: when it lets a fetch through, by the monotonic clock."""
        self.state = CircuitState.CLOSED
        self.counts = _no_counts()

    def admits(self, now: float) -> bool:
        """Whether a fetch may be made now."""
        return self.state is not CircuitState.OPEN or now >= self.open_until

    def seconds_until_retry(self, now: float) -> float:
        """How long no fetch will be made; zero unless it is open."""
        return max(0.0, self.open_until - now) if self.state is CircuitState.OPEN else 0.0

    def begin(self) -> None:
        """A fetch begins: a trial, where the circuit is open (its time is over, or an operator wants it)."""
        if self.state is CircuitState.OPEN:
            self._change(CircuitState.HALF_OPEN)
        self.counts["requests"] += 1

    def succeed(self) -> None:
        """The fetch that was begun brought credentials."""
        self.counts["total_successes"] += 1
        self.counts["consecutive_successes"] += 1
        self.counts["consecutive_failures"] = 0
        if self.state is CircuitState.HALF_OPEN:
            self._change(CircuitState.CLOSED)

    def fail(self, now: float, *, at_least_seconds: float = 0.0) -> None:
        """The fetch that was begun brought none. If it opens, then for its time, and for `at_least_seconds`."""
        self.counts["total_failures"] += 1
        self.counts["consecutive_failures"] += 1
        self.counts["consecutive_successes"] = 0
        is_too_many = self.counts["consecutive_failures"] >= self._failure_threshold
        if self.state is CircuitState.HALF_OPEN or is_too_many:
            self.open_until = now + max(self._timeout_seconds, at_least_seconds)
            self._change(CircuitState.OPEN)

    def ignore(self) -> None:
        """Take the fetch that was begun for never made: it asked nobody. Not for a trial, which has to end."""
        self.counts["requests"] -= 1

    def reset(self) -> None:
        """Close it, and count anew: there are credentials that no server was asked for."""
        self._change(CircuitState.CLOSED)

    def _change(self, state: CircuitState) -> None:
        self.state = state
        self.counts = _no_counts()


def _no_counts() -> dict[str, int]:
    return {
        "requests": 0,
        "total_successes": 0,
        "total_failures": 0,
        "consecutive_successes": 0,
        "consecutive_failures": 0,
    }
