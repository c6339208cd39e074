"""The upstream as the proxy sees it: ask for a connection, get one now or later, give it back."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Protocol

from aws_signing_proxy.errors import ErrorCode, InternalError, ProxyError, UpstreamError
from aws_signing_proxy.observe.counters import Counters
from aws_signing_proxy.upstream.connection import UpstreamConnection
from aws_signing_proxy.upstream.connector import Connector
from aws_signing_proxy.upstream.forward_proxy import ForwardProxy
from aws_signing_proxy.upstream.pool import Pool

__all__ = ["ConnectionWaiter", "Upstream"]

# How long a connection that is not used again may take to send what it still holds.
_FLUSH_SECONDS = 5.0
# A service closes what was idle for its own time, S3 and Node's servers after some 5 s, balancers after a minute.
_RECENT_SECONDS = 3.0
# Connections opened together must not all be due for replacement together.
_AGE_JITTER = 0.1
_WARM_UP_SECONDS = 5.0


class ConnectionWaiter(Protocol):
    """An exchange that waits for a connection."""

    needs_fresh: bool

    def on_connection(self, connection: UpstreamConnection) -> None:
        """Here is the connection."""

    def on_connection_failed(self, error: ProxyError) -> None:
        """There will be none, for this reason."""


class Upstream:
    """Connections to one target: a pool, and the tasks that open what it asks for."""

    def __init__(
        self,
        connector: Connector,
        *,
        max_connections: int,
        warm_connections: int = 0,
        idle_timeout_seconds: float,
        max_age_seconds: float,
        counters: Counters,
        clock: Callable[[], float],
    ) -> None:
        self._connector = connector
        self._pool: Pool[UpstreamConnection, ConnectionWaiter] = Pool(
            max_connections=max_connections, idle_timeout_seconds=idle_timeout_seconds
        )
        self._warm_connections = warm_connections
        self._warms_after = float("-inf")
        self._max_age = max_age_seconds or float("inf")
        self._counters = counters
        self._clock = clock
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_closed = False

    @property
    def address(self) -> str:
        """Host and port, for people."""
        return str(self._connector.address)

    @property
    def is_tls(self) -> bool:
        """Whether connections are TLS ones."""
        return self._connector.is_tls

    @property
    def forwards_to(self) -> ForwardProxy | None:
        """The proxy that gets requests in absolute-form, and may answer them itself; None where there is none."""
        proxy = self._connector.proxy
        return None if proxy is None or proxy.is_tunnel else proxy

    @property
    def is_full(self) -> bool:
        """Whether a request that waits now waits for another one's end, not for a connection being opened."""
        return self._pool.is_full

    def take(self, now: float) -> UpstreamConnection | None:
        """Take an idle connection that may be used again, or None. The fast path."""
        pool = self._pool
        while (connection := pool.take()) is not None:
            if connection.expires_at > now:
                connection.is_reused = True
                self._counters.upstream_reuses_total += 1
                return connection
            pool.closed(connection)
            connection.close()
        return None

    def take_recent(self, now: float) -> UpstreamConnection | None:
        """Take an idle connection that hardly can be closing at this moment, or None: for what cannot be sent twice."""
        last_used = self._pool.last_used
        return None if last_used is None or now - last_used.idle_since > _RECENT_SECONDS else self.take(now)

    def wait(self, waiter: ConnectionWaiter) -> None:
        """Call `waiter` back with a connection, or with the reason why there is none."""
        self._pool.enqueue(waiter)
        self._open_what_is_needed()

    def leave(self, waiter: ConnectionWaiter) -> None:
        """`waiter` does not wait any longer."""
        self._pool.leave(waiter)

    def release(self, connection: UpstreamConnection) -> None:
        """A response is complete, and the connection may be used again."""
        if connection.is_ended:
            return  # it has been taken out of the pool
        connection.finished_use()
        now = self._clock()
        if connection.expires_at <= now or connection.has_said_goodbye or self._is_closed:
            self._drop(connection)
            connection.close()
            return
        waiter = self._pool.released(connection, now)
        if waiter is None:
            if self._pool.waiting:
                self._open_what_is_needed()
        else:
            connection.is_reused = True
            self._counters.upstream_reuses_total += 1
            waiter.on_connection(connection)

    def discard(self, connection: UpstreamConnection) -> None:
        """The connection must not be used again: close it at once."""
        if not connection.is_ended:
            self._drop(connection)
            connection.abort()

    def retire(self, connection: UpstreamConnection) -> None:
        """The connection must not be used again, but what was written to it is to arrive."""
        if not connection.is_ended:
            self._drop(connection)
            connection.close()
            # A peer that does not take it would otherwise keep the connection for ever.
            asyncio.get_running_loop().call_later(_FLUSH_SECONDS, connection.abort)

    def sweep(self, now: float) -> None:
        """Close idle connections that are past their idle time or their age."""
        for connection in self._pool.expired(now):
            connection.close()
        self.warm_up(now)

    def warm_up(self, now: float) -> None:
        """Open connections that nobody waits for yet, as many as are missing to what is to be kept open.

        At most once in 5 s: a service that closes what is idle, or is down, is not overrun.
        """
        missing = self._warm_connections - self._pool.open - self._pool.connecting
        if missing > 0 and now >= self._warms_after and not self._is_closed:
            self._warms_after = now + _WARM_UP_SECONDS
            self._open(missing)

    def read_gauges(self) -> None:
        """Write the pool's state into the counters; called when they are scraped."""
        counters, pool = self._counters, self._pool
        counters.upstream_connections_open = pool.open
        counters.upstream_connections_idle = pool.idle
        counters.upstream_waiting = pool.waiting

    async def close(self) -> None:
        """Close what is idle and stop what is being opened. Busy connections end with their exchanges."""
        self._is_closed = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for connection in self._pool.drain():
            connection.close()

    def on_connection_closed(self, connection: UpstreamConnection) -> None:
        """An open connection ended (see `ConnectionOwner`)."""
        self._drop(connection)

    def _drop(self, connection: UpstreamConnection) -> None:
        self._pool.closed(connection)
        self._open_what_is_needed()

    def _open_what_is_needed(self) -> None:
        if self._is_closed or not self._pool.waiting:
            return
        for connection in self._pool.make_room():
            connection.close()
        self._open(self._pool.connects_needed())

    def _open(self, count: int) -> None:
        for _ in range(count):
            self._pool.connecting += 1
            task = asyncio.get_running_loop().create_task(self._open_one(), name="open upstream connection")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _open_one(self) -> None:
        counters = self._counters
        counters.upstream_connects_total += 1
        try:
            connection = await self._connector.connect(self)
            if connection.is_ended:
                raise UpstreamError(  # noqa: TRY301 - one place tells the waiter of every kind of failure
                    ErrorCode.UPSTREAM_CLOSED, f"{self.address} closed a connection as soon as it was opened."
                )
        except BaseException as error:
            counters.upstream_connect_failures_total += 1
            waiter = self._pool.connect_failed()
            if not isinstance(error, Exception):
                raise
            if waiter is not None:
                waiter.on_connection_failed(_as_proxy_error(error))
            self._open_what_is_needed()
            return
        connection.is_pooled = True
        now = self._clock()
        # Not for cryptography: only to spread the replacements.
        connection.expires_at = now + self._max_age * (1 - _AGE_JITTER * random.random())  # noqa: S311
        if self._connector.is_tls:
            counters.upstream_tls_handshakes_total += 1
            counters.upstream_tls_sessions_reused_total += connection.was_resumed
        waiter = self._pool.connected(connection, now)
        if waiter is not None:
            waiter.on_connection(connection)


def _as_proxy_error(error: Exception) -> ProxyError:
    if isinstance(error, ProxyError):
        return error
    return InternalError(ErrorCode.INTERNAL_ERROR, f"Opening a connection failed: {type(error).__name__}.")
