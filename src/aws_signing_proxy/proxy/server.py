"""The proxy's listener: accepts clients, keeps the limits on them, looks at the clock, drains."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
from collections.abc import Callable

from aws_signing_proxy.observe.counters import Limit
from aws_signing_proxy.proxy.accepting import Acceptor, NoTurns, Turns
from aws_signing_proxy.proxy.context import Context
from aws_signing_proxy.proxy.downstream import DownstreamConnection
from aws_signing_proxy.proxy.listening import Listeners
from aws_signing_proxy.proxy.tls_transport import TlsTransport
from aws_signing_proxy.tls.engine import TlsEngine
from aws_signing_proxy.tls.reloading import ReloadedContext

__all__ = ["ProxyServer"]

_LOG = logging.getLogger(__name__)

# Time-outs are kept to this precision: one timer for everybody, and none for a request.
_SWEEP_SECONDS = 0.25
# How long after the proxy was told to stop a request is still taken, on connections that are there.
_LAST_REQUEST_SECONDS = 0.25


class ProxyServer:
    """Serves clients. `accept`, then `drain`; both once. `turns`: with whom the connections are shared, if any."""

    def __init__(self, context: Context, turns: Turns | None = None) -> None:
        self._context = context
        self._turns = NoTurns() if turns is None else turns
        self._connections: set[DownstreamConnection] = set()
        # Those over the limit, until they have taken their refusal: they take no place from others.
        self._refused: set[DownstreamConnection] = set()
        self._acceptors: list[Acceptor] = []
        self._sweep_timer: asyncio.TimerHandle | None = None
        self._all_gone: asyncio.Event = asyncio.Event()

    def accept(self, listeners: Listeners, *, tls: ReloadedContext | None = None) -> None:
        """Accept clients from now on. `tls`: what is spoken there. Raises OSError."""
        factory: Callable[[], asyncio.Protocol] = self._connection
        if tls is not None:
            factory = functools.partial(self._tls_connection, tls)
        counters = self._context.counters
        self._acceptors = [
            Acceptor(listener, factory, turns=self._turns, counters=counters) for listener in listeners.sockets
        ]
        listeners.listen()
        for acceptor in self._acceptors:
            acceptor.start()
        self._sweep()

    async def stop_accepting(self, *, is_emptying: bool = True) -> None:
        """Take those clients that are connected already, and no more. Every answer is their connection's last.

        Without `is_emptying` those that wait to be accepted are left to other processes.
        """
        self._context.is_draining = True
        for acceptor in self._acceptors:
            await acceptor.stop(is_emptying=is_emptying)

    async def drain(self, timeout_seconds: float) -> bool:
        """Stop accepting, let what is under way end, cut off what is not done in time. Return whether all was."""
        await self.stop_accepting()
        # A request may be on its way on any connection that is idle: most clients' next one comes within this time.
        grace_seconds = min(_LAST_REQUEST_SECONDS, timeout_seconds)
        await self._wait_for_their_end(grace_seconds)
        for connection in list(self._connections):
            if connection.is_idle:
                connection.close_idle()
        await asyncio.sleep(0)  # lets those be gone before anybody is waited for
        await self._wait_for_their_end(timeout_seconds - grace_seconds)
        late = sum(not connection.is_idle for connection in self._connections)
        self._context.counters.limits_hit[Limit.DRAIN_TIMEOUT] += late
        for connection in list(self._connections):
            connection.cut_off()
        if self._sweep_timer is not None:
            self._sweep_timer.cancel()
        return not late

    async def _wait_for_their_end(self, within_seconds: float) -> None:
        """Return when they are, or after so long."""
        if self._connections:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(within_seconds):
                    await self._all_gone.wait()

    def on_connection_made(self, connection: DownstreamConnection) -> bool:
        """Count a new client (see `ConnectionRegistry`)."""
        counters = self._context.counters
        counters.downstream_connections_total += 1
        counters.downstream_connections_open += 1
        self._connections.add(connection)
        self._all_gone.clear()
        if len(self._connections) - len(self._refused) > self._context.limits.max_connections:
            self._refused.add(connection)
            counters.limits_hit[Limit.CONNECTIONS] += 1
            return False
        return True

    def on_connection_lost(self, connection: DownstreamConnection) -> None:
        """Forget a client (see `ConnectionRegistry`)."""
        if connection in self._connections:
            self._connections.remove(connection)
            self._refused.discard(connection)
            self._context.counters.downstream_connections_open -= 1
            self._turns.closed()
            for acceptor in self._acceptors:
                acceptor.on_closed()
        if not self._connections:
            self._all_gone.set()

    def _connection(self) -> DownstreamConnection:
        return DownstreamConnection(self._context, self)

    def _tls_connection(self, tls: ReloadedContext) -> TlsTransport:
        # The context of this moment: certificates are renewed while the server runs.
        return TlsTransport(self._context, self._connection(), TlsEngine(tls.context, is_server=True))

    def _sweep(self) -> None:
        context = self._context
        now = context.clock()
        try:
            # 0.3 ms for 5,000 connections, four times a second.
            for connection in [each for each in self._connections if each.deadline <= now]:
                connection.on_deadline()
            context.route.upstream.sweep(now)
        except Exception:  # noqa: BLE001 - without the sweep nothing would ever time out; it is logged
            _LOG.exception("the sweep for time-outs failed; it goes on")
        self._sweep_timer = context.loop.call_later(_SWEEP_SECONDS, self._sweep)
