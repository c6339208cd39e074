"""urllib3's connections, held to one deadline. This module imports urllib3: only who is about to connect imports it.

urllib3's timeouts are for each address and for each read of the socket: a host with four addresses that swallow
packets, or a server that sends a byte a second, would hold a fetch far beyond its time. Here looking for an address
that answers, the TLS handshake, a proxy's CONNECT, the head and the body share what is left until the deadline. Only
the system's resolver keeps its own time.
"""

from __future__ import annotations

import contextlib
import http.client
import io
import socket
import time
from collections.abc import Iterator
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final

from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

__all__ = ["POOL_CLASSES", "deadline"]

# On the clock of time.monotonic. urllib3 makes connections by itself, so there is no argument to hand it over in.
_ENDS_AT: Final[ContextVar[float]] = ContextVar("ends_at")


@contextlib.contextmanager
def deadline(seconds: float) -> Iterator[None]:
    """Let whatever the connections do inside the `with` statement raise TimeoutError when `seconds` have passed."""
    before = _ENDS_AT.set(time.monotonic() + seconds)
    try:
        yield
    finally:
        _ENDS_AT.reset(before)


def _left() -> float:
    """Return how many seconds there are until the deadline, more than none. Raises TimeoutError when it has passed."""
    seconds = _ENDS_AT.get() - time.monotonic()
    if seconds <= 0:
        raise TimeoutError("timed out")
    return seconds


class _BoundedReader(io.RawIOBase):
    """Reads a socket's file, each time for no longer than until the deadline."""

    def __init__(self, sock: socket.socket, file: io.RawIOBase) -> None:
        super().__init__()
        self._sock = sock
        self._file = file

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int | None:
        self._sock.settimeout(_left())
        return self._file.readinto(buffer)

    def close(self) -> None:
        self._file.close()
        super().close()


class _BoundedResponse(http.client.HTTPResponse):
    """http.client's reader of a response, behind the deadline."""

    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self.fp = io.BufferedReader(_BoundedReader(sock, self.fp.detach()))

    def begin(self) -> None:
        """Read the head, and refuse one that is not well formed.

        urllib3 would take it, and log a warning that quotes what it could not read: perhaps a token.
        """
        super().begin()
        if self.headers.get_payload():
            raise http.client.HTTPException("a malformed head")


def _connect(connection: HTTPConnection, host: str, port: int) -> socket.socket:
    """Connect to the first of the host's addresses that answers. Each gets an equal share of the time that is left."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        raise NameResolutionError(host, connection, error) from error
    last: OSError | None = None
    for index, (family, kind, protocol, _, address) in enumerate(found):
        sock = socket.socket(family, kind, protocol)
        try:
            sock.settimeout(_left() / (len(found) - index))
            sock.connect(address)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            # For the TLS handshake, which OpenSSL's caller bounds as a whole.
            sock.settimeout(_left())
        except OSError as error:
            sock.close()
            last = error
        else:
            return sock
    if isinstance(last, TimeoutError):
        raise ConnectTimeoutError(connection, "timed out") from last
    raise NewConnectionError(connection, str(last)) from last


class _HttpConnection(HTTPConnection):
    response_class = _BoundedResponse

    def _new_conn(self) -> socket.socket:
        return _connect(self, self._dns_host, self.port)


class _HttpsConnection(HTTPSConnection):
    response_class = _BoundedResponse

    def _new_conn(self) -> socket.socket:
        return _connect(self, self._dns_host, self.port)


class _HttpPool(HTTPConnectionPool):
    ConnectionCls = _HttpConnection


class _HttpsPool(HTTPSConnectionPool):
    ConnectionCls = _HttpsConnection


POOL_CLASSES: Final[dict[str, type[HTTPConnectionPool]]] = {"http": _HttpPool, "https": _HttpsPool}
"""For `pool_classes_by_scheme` of a urllib3.PoolManager or ProxyManager."""
