"""The proxy's listener: accepts clients, keeps the limits on them, looks at the clock, drains."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import functools
import logging
import socket
import stat
from collections.abc import Callable
from pathlib import Path

from aws_signing_proxy.observe.counters import Limit
from aws_signing_proxy.proxy.context import Context
from aws_signing_proxy.proxy.downstream import DownstreamConnection
from aws_signing_proxy.proxy.tls_transport import TlsTransport
from aws_signing_proxy.tls.engine import TlsEngine
from aws_signing_proxy.tls.reloading import ReloadedContext

__all__ = ["ProxyServer"]

_LOG = logging.getLogger(__name__)

# Time-outs are kept to this precision: one timer for everybody, and none for a request.
_SWEEP_SECONDS = 0.25
_BACKLOG = 2048


class ProxyServer:
    """Listens for clients. `bind_*` once, then `accept`, then `drain`."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._connections: set[DownstreamConnection] = set()
        # Those over the limit, until they have taken their refusal: they take no place from others.
        self._refused: set[DownstreamConnection] = set()
        self._server: asyncio.Server | None = None
        self._sweep_timer: asyncio.TimerHandle | None = None
        self._unix_socket: str | None = None
        self._all_gone: asyncio.Event = asyncio.Event()

    @property
    def port(self) -> int:
        """The TCP port that is listened on; 0 where it is a Unix socket."""
        if self._server is None or not self._server.sockets:
            return 0
        address = self._server.sockets[0].getsockname()
        return int(address[1]) if isinstance(address, tuple) else 0

    async def bind_tcp(self, host: str, port: int, *, tls: ReloadedContext | None = None) -> None:
        """Take a TCP port; 0 means any free one. `tls`: what is spoken there. Raises OSError."""
        factory: Callable[[], asyncio.Protocol] = self._connection
        if tls is not None:
            factory = functools.partial(self._tls_connection, tls)
        self._server = await self._context.loop.create_server(
            factory, host, port, backlog=_BACKLOG, reuse_address=True, start_serving=False
        )

    async def bind_unix(self, path: str) -> None:
        """Take a Unix socket, replacing one that nobody listens on any more. Raises OSError."""
        _remove_stale_socket(path)
        self._server = await self._context.loop.create_unix_server(
            self._connection, path, backlog=_BACKLOG, start_serving=False
        )
        self._unix_socket = path

    async def accept(self) -> None:
        """Accept clients from now on."""
        assert self._server is not None
        await self._server.start_serving()
        self._sweep()

    async def drain(self, timeout_seconds: float) -> bool:
        """Stop accepting, let what is under way end, cut off what is not done in time. Return whether all was."""
        self._context.is_draining = True
        if self._server is not None:
            self._server.close()
        for connection in list(self._connections):
            if connection.is_idle:
                connection.close_idle()
        await asyncio.sleep(0)  # lets those be gone before anybody is waited for
        is_done = True
        if self._connections:
            try:
                async with asyncio.timeout(timeout_seconds):
                    await self._all_gone.wait()
            except TimeoutError:
                is_done = False
                self._context.counters.limits_hit[Limit.DRAIN_TIMEOUT] += len(self._connections)
                for connection in list(self._connections):
                    connection.cut_off()
        if self._sweep_timer is not None:
            self._sweep_timer.cancel()
        if self._unix_socket is not None:
            _remove_socket(self._unix_socket)
        return is_done

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
        if self._context.is_draining:
            # It was in the queue when the listener closed; nothing has been read from it.
            self._context.loop.call_soon(connection.close_idle)
        return True

    def on_connection_lost(self, connection: DownstreamConnection) -> None:
        """Forget a client (see `ConnectionRegistry`)."""
        if connection in self._connections:
            self._connections.remove(connection)
            self._refused.discard(connection)
            self._context.counters.downstream_connections_open -= 1
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


def _remove_socket(path: str) -> None:
    with contextlib.suppress(OSError):
        Path(path).unlink()


def _remove_stale_socket(path: str) -> None:
    """Remove the socket file of a process that is gone; leave anything that is no socket.

    Raises OSError where a process listens on it: the event loops would take it away from that one.
    """
    try:
        if not stat.S_ISSOCK(Path(path).stat().st_mode):
            return
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            Path(path).unlink()
            return
        except BlockingIOError:
            pass  # it listens, and has no time
    raise OSError(errno.EADDRINUSE, f"Another process listens on {path}")
