"""Sockets that are held to one deadline: every wait of theirs ends when the exchange's time does.

A timeout is for one wait: a host with four addresses that swallow packets, or a server that sends a byte a second,
would hold a fetch far beyond its time. Here whoever is about to wait sets the socket's timeout to what is left: for an
address to answer, the TLS handshake (OpenSSL's caller bounds it as a whole), each read and each write; also where TLS
lies within TLS, whose outer socket waits for each piece of a record anew. No thread watches over it. The system's
resolver takes no timeout and may take half a minute: it is asked in a thread, which is not waited for beyond the time.
"""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import os
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final, TypeAlias

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

__all__ = ["BoundedTlsSocket", "Deadline", "SlowConnectionError", "SlowNameError", "connected", "deadline"]

# Who is there at all answers within that; the rest of a deadline is for the answer, or for whom to ask instead.
_CONNECT_SECONDS: Final = 5.0

# Family, kind, protocol, canonical name, address: as socket.getaddrinfo returns them.
_Addresses: TypeAlias = Sequence[tuple[Any, ...]]


class SlowNameError(TimeoutError):
    """The name was not resolved in time. The message is how long it had: "5 s"."""


class SlowConnectionError(TimeoutError):
    """None of the addresses answered in time. The message is how long they had: "5 s"."""


class Deadline:
    """When an exchange has to be over (on the clock of time.monotonic), and how often it connected."""

    def __init__(self, seconds: float) -> None:
        self.ends_at = time.monotonic() + seconds
        self.connects = 0

    def left(self) -> float:
        """Return how many seconds there are, more than none.

        Raises:
            TimeoutError: It has passed.
        """
        seconds = self.ends_at - time.monotonic()
        if seconds <= 0:
            raise TimeoutError("timed out")
        return seconds


# urllib3 makes connections by itself, and sockets read by themselves: there is no argument to hand it over in.
_CURRENT: Final[ContextVar[Deadline]] = ContextVar("deadline")


@contextlib.contextmanager
def deadline(seconds: float) -> Iterator[Deadline]:
    """Let whatever bounded sockets do inside the `with` statement raise TimeoutError when `seconds` have passed.

    Or earlier, when those of a `with` statement around it have.
    """
    current = Deadline(seconds)
    around = _CURRENT.get(None)
    if around is not None:
        current.ends_at = min(current.ends_at, around.ends_at)
    before = _CURRENT.set(current)
    try:
        yield current
    finally:
        _CURRENT.reset(before)


class BoundedSocket(socket.socket):
    """A socket of which each wait ends at the deadline: reading its file, which HTTP does, and sending."""

    def recv_into(self, buffer: WriteableBuffer, nbytes: int = 0, flags: int = 0) -> int:
        """Receive, as `socket.recv_into` does."""
        self.settimeout(_CURRENT.get().left())
        return super().recv_into(buffer, nbytes, flags)

    def sendall(self, data: ReadableBuffer, flags: int = 0, /) -> None:
        """Send all, as `socket.sendall` does, which bounds it as a whole."""
        self.settimeout(_CURRENT.get().left())
        super().sendall(data, flags)


class BoundedTlsSocket(ssl.SSLSocket):
    """A socket with TLS of which each wait ends at the deadline: for `SSLContext.sslsocket_class`."""

    def do_handshake(self, block: bool = False) -> None:
        """Shake hands, as `SSLSocket.do_handshake` does."""
        self.settimeout(_CURRENT.get().left())
        super().do_handshake(block)

    def read(self, len: int = 1024, buffer: WriteableBuffer | None = None) -> bytes:  # noqa: A002 - SSLSocket's name
        """Read, as `SSLSocket.read` does: whatever receives from it reads."""
        self.settimeout(_CURRENT.get().left())
        return super().read(len, buffer)

    def send(self, data: ReadableBuffer, flags: int = 0) -> int:
        """Send, as `SSLSocket.send` does: `sendall` sends piece by piece."""
        self.settimeout(_CURRENT.get().left())
        return super().send(data, flags)


def connected(host: str, port: int) -> BoundedSocket:
    """Connect to the first of the host's addresses that answers. Each gets an equal share of the time that is left.

    Raises:
        OSError: As sockets raise it; of these SlowNameError, SlowConnectionError and socket.gaierror.
        UnicodeError: The host can be no name.
    """
    current = _CURRENT.get()
    current.connects += 1
    seconds = min(_CONNECT_SECONDS, current.left())
    ends_at = time.monotonic() + seconds
    addresses = _addresses(host, port, seconds)
    failure: OSError | None = None
    for index, (family, kind, protocol, _, address) in enumerate(addresses):
        left = ends_at - time.monotonic()
        if left <= 0:
            break
        try:
            sock = BoundedSocket(family, kind, protocol)
        except OSError as error:  # a kind of address that this machine does not have
            failure = error
            continue
        try:
            sock.settimeout(left / (len(addresses) - index))
            sock.connect(address)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError as error:
            sock.close()
            failure = error
        else:
            return sock
    try:
        if failure is None or isinstance(failure, TimeoutError):
            raise SlowConnectionError(_shown(seconds)) from None
        raise failure
    finally:
        del failure  # whose traceback holds this frame


def _addresses(host: str, port: int, seconds: float) -> _Addresses:
    with contextlib.suppress(ValueError):
        ipaddress.ip_address(host)
        # Nobody has to be asked for that.
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    lookup = _Lookup.of(host, port)
    lookup.join(seconds)
    if lookup.is_alive():
        raise SlowNameError(_shown(seconds))
    match lookup.error:
        case None:
            return lookup.found
        case socket.gaierror() as error:
            raise socket.gaierror(*error.args)
        case OSError() as error:
            raise OSError(*error.args)
        case error:
            raise UnicodeError(str(error))


def _shown(seconds: float) -> str:
    return f"{max(seconds, 0.1):.1f}".removesuffix(".0") + " s"


class _Lookup(threading.Thread):
    """Asks the resolver. Who wants to know the same meanwhile waits for the same thread: they do not pile up."""

    _running: Final[dict[tuple[str, int], _Lookup]] = {}
    _lock: Final = threading.Lock()

    def __init__(self, host: str, port: int) -> None:
        super().__init__(name="resolve a name", daemon=True)
        self._question = host, port
        self.found: _Addresses = ()
        self.error: OSError | UnicodeError | None = None

    @classmethod
    def of(cls, host: str, port: int) -> _Lookup:
        """Return the one that is under way, or a new one.

        Raises:
            OSError: There is no thread to be had.
        """
        with cls._lock:
            lookup = cls._running.get((host, port))
            if lookup is None:
                lookup = cls(host, port)
                try:
                    lookup.start()
                except RuntimeError:  # the system gives no more threads
                    raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN)) from None
                cls._running[host, port] = lookup
            return lookup

    def run(self) -> None:
        """Ask."""
        host, port = self._question
        try:
            self.found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            self.error = error.with_traceback(None)
        finally:
            with self._lock:
                del self._running[self._question]
