"""Which upstream connection takes a request: decisions only, in synchronous steps, without I/O.

Every method leaves the bookkeeping consistent and returns what is to be done; the caller does it.
All steps cost O(1) but for `closed` of an idle connection and waiters that insist on a fresh one.
"""

from __future__ import annotations

from collections import deque
from typing import Generic, Protocol, TypeVar

__all__ = ["Pool", "Poolable", "Waiter"]


class Poolable(Protocol):
    """What the pool needs to know of a connection. Times are of a monotonic clock, in seconds."""

    idle_since: float
    expires_at: float


class Waiter(Protocol):
    """Somebody who waits for a connection; `needs_fresh` refuses one that has been used before."""

    needs_fresh: bool


C = TypeVar("C", bound=Poolable)
W = TypeVar("W", bound=Waiter)


class Pool(Generic[C, W]):
    """Connections to one upstream: idle ones in LIFO order, busy and opening ones as counts, and waiters.

    LIFO keeps the working set small: what is not needed grows old and is closed.
    """

    __slots__ = ("_idle", "_idle_timeout", "_max_connections", "_waiters", "connecting", "open")

    def __init__(self, *, max_connections: int, idle_timeout_seconds: float) -> None:
        self._max_connections = max_connections
        self._idle_timeout = idle_timeout_seconds or float("inf")
        self._idle: list[C] = []
        self._waiters: deque[W] = deque()
        self.open = 0
        self.connecting = 0

    def __repr__(self) -> str:
        busy = self.open - len(self._idle)
        return f"<Pool idle={len(self._idle)} busy={busy} connecting={self.connecting} waiting={len(self._waiters)}>"

    @property
    def idle(self) -> int:
        """How many open connections have nothing to do."""
        return len(self._idle)

    @property
    def waiting(self) -> int:
        """How many requests wait for a connection."""
        return len(self._waiters)

    @property
    def is_full(self) -> bool:
        """Whether no further connection may be opened."""
        return self.open + self.connecting >= self._max_connections

    def take(self) -> C | None:
        """Take the idle connection that was used last, or None."""
        return self._idle.pop() if self._idle else None

    @property
    def last_used(self) -> C | None:
        """The idle connection that `take` would take."""
        return self._idle[-1] if self._idle else None

    def enqueue(self, waiter: W) -> None:
        """Let `waiter` wait for its turn."""
        self._waiters.append(waiter)

    def leave(self, waiter: W) -> None:
        """`waiter` does not wait any longer (timed out, client gone)."""
        if waiter in self._waiters:
            self._waiters.remove(waiter)

    def connects_needed(self) -> int:
        """How many connections are to be opened now for those who wait. The caller counts them in `connecting`."""
        room = self._max_connections - self.open - self.connecting
        return max(0, min(len(self._waiters) - self.connecting, room))

    def make_room(self) -> list[C]:
        """Remove and return idle connections in the place of which those who wait need fresh ones; the oldest first."""
        # Whoever waits beside an idle connection has refused it.
        room = self._max_connections - self.open - self.connecting
        count = max(0, min(len(self._waiters) - self.connecting - room, len(self._idle)))
        removed, self._idle = self._idle[:count], self._idle[count:]
        self.open -= count
        return removed

    def connected(self, connection: C, now: float) -> W | None:
        """A connection was opened: return the waiter that gets it, or None where it went idle."""
        self.connecting -= 1
        self.open += 1
        if self._waiters:
            return self._waiters.popleft()
        self._put(connection, now)
        return None

    def connect_failed(self) -> W | None:
        """A connection could not be opened: return the waiter who is told."""
        self.connecting -= 1
        return self._waiters.popleft() if self._waiters else None

    def released(self, connection: C, now: float) -> W | None:
        """A connection is free again: return the waiter that gets it, or None where it went idle."""
        if not self._waiters:
            connection.idle_since = now
            self._idle.append(connection)
            return None
        for waiter in self._waiters:
            if not waiter.needs_fresh:
                self._waiters.remove(waiter)
                return waiter
        self._put(connection, now)
        return None

    def closed(self, connection: C) -> None:
        """An open connection, idle or busy, is gone."""
        self.open -= 1
        if connection in self._idle:
            self._idle.remove(connection)

    def expired(self, now: float) -> list[C]:
        """Remove and return the idle connections that are past their idle time or their age."""
        oldest_use = now - self._idle_timeout
        kept: list[C] = []
        dropped: list[C] = []
        for connection in self._idle:
            is_old = connection.idle_since <= oldest_use or connection.expires_at <= now
            (dropped if is_old else kept).append(connection)
        self._idle = kept
        self.open -= len(dropped)
        return dropped

    def drain(self) -> list[C]:
        """Remove and return all idle connections."""
        idle, self._idle = self._idle, []
        self.open -= len(idle)
        return idle

    def _put(self, connection: C, now: float) -> None:
        connection.idle_since = now
        self._idle.append(connection)
