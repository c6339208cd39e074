"""The management port's listener: uvicorn in the proxy's own event loop, without its hands on the process.

uvicorn is kept from taking signals and from configuring logging, and its connections are bounded: at most so many,
heads of at most so many bytes, and none that goes long without finishing a request. A client that opens connections
here and says nothing would otherwise hold the file descriptors that the proxy lives on.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from typing import Any, Final

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from aws_signing_proxy.observe.logs import get_logger

__all__ = ["ManagementServer"]

_LOG: Final = get_logger(__name__)

_MOST_CONNECTIONS: Final = 64
_LARGEST_HEAD_BYTES: Final = 16 * 1024
# Longer than a keep-alive connection waits for its next request, shorter than any scrape interval matters.
_PATIENCE_SECONDS: Final = 10.0
_KEEP_ALIVE_SECONDS: Final = 5
_STOP_TIMEOUT_SECONDS: Final = 1


class ManagementServer:
    """Serves an ASGI application on a port of its own."""

    def __init__(
        self, app: Any, *, most_connections: int = _MOST_CONNECTIONS, patience_seconds: float = _PATIENCE_SECONDS
    ) -> None:
        class Protocol(_BoundedProtocol):
            limit = most_connections
            patience = patience_seconds

        self._server = _Server(
            uvicorn.Config(
                app,
                # uvicorn on httptools reads a head without any limit; on h11 it has one. Speed is no matter here.
                http=Protocol,
                h11_max_incomplete_event_size=_LARGEST_HEAD_BYTES,
                ws="none",
                lifespan="off",
                interface="asgi3",
                loop="none",
                log_config=None,  # lines go to the handlers of the root logger, which are ours
                log_level="error",  # its warnings are one for each malformed request: anybody could fill the log
                access_log=False,
                server_header=False,
                proxy_headers=False,
                backlog=most_connections,
                timeout_keep_alive=_KEEP_ALIVE_SECONDS,
                timeout_graceful_shutdown=_STOP_TIMEOUT_SECONDS,
            )
        )
        self._socket: socket.socket | None = None
        self._task: asyncio.Task[None] | None = None
        self._port = 0

    @property
    def port(self) -> int:
        """The port that is listened on; where 0 was asked for, the one that was free. 0 before `start`."""
        return self._port

    async def start(self, host: str, port: int) -> None:
        """Listen. Returns when connections are accepted.

        Raises:
            OSError: The address cannot be listened on; `strerror` is a sentence that names it.
        """
        listener = _listener(host, port)
        self._port = int(listener.getsockname()[1])
        self._task = asyncio.create_task(self._server.serve(sockets=[listener]), name="management")
        started = asyncio.create_task(self._server.is_listening.wait(), name="management start")
        await asyncio.wait({self._task, started}, return_when=asyncio.FIRST_COMPLETED)
        started.cancel()
        if self._task.done():
            listener.close()
            await self._task  # raises what went wrong
        self._task.add_done_callback(_report)

    async def stop(self) -> None:
        """Close the listener and what is open, within about a second."""
        if self._task is None:
            return
        self._server.should_exit = True
        await asyncio.wait({self._task})
        self._task = None


class _Server(uvicorn.Server):
    """uvicorn's server, which leaves the process's signals alone and tells when it listens."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.is_listening = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        self.is_listening.set()


class _BoundedProtocol(H11Protocol):
    """One connection, closed where it is one too many, or where it finishes no request for `patience` seconds."""

    limit: int
    patience: float

    _finished = 0
    _finished_when_last_seen = 0
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn has it
        super().connection_made(transport)
        if len(self.connections) > self.limit:
            transport.abort()
            return
        self._timer = self.loop.call_later(self.patience, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        self._finished += 1
        super().on_response_complete()

    def _look(self) -> None:
        if self._finished == self._finished_when_last_seen:
            # Not closed: that would wait for a client that does not read.
            self.transport.abort()
            return
        self._finished_when_last_seen = self._finished
        self._timer = self.loop.call_later(self.patience, self._look)


def _report(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and task.exception() is not None:
        _LOG.error("the management port has stopped", exc_info=task.exception())


def _listener(host: str, port: int) -> socket.socket:
    where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    try:
        found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, address = found[0]
        listener = socket.socket(family, kind, protocol)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen()
        except OSError:
            listener.close()
            raise
    except OSError as error:
        sentence = f"cannot listen on {where} (management port): {error.strerror or error}"
        raise OSError(error.errno, sentence) from error
    return listener
