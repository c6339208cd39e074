"""HTTP servers of the tests' own, in threads of their process, that do what a test wants of them, well or not.

The stand-ins for STS, authorization servers, Vault, the metadata services and Identity Center are made of these.
"""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from io import BufferedReader
from typing import NamedTuple, Self

import trustme

__all__ = ["CLOSE", "RESET", "SILENCE", "HttpServer", "Reaction", "Received", "ThreadedServer", "context_of", "message"]

_HANDSHAKE_SECONDS = 10.0


def context_of(authority: trustme.CA, *names: str) -> ssl.SSLContext:
    """Return a server's context with a certificate for `names`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names).configure_cert(context)
    return context


class ThreadedServer:
    """Listens on a free port of 127.0.0.1 from its making on, and serves each connection in a thread within `with`.

    `tls`: a server's context, else plain; `name`: the host in `url`. `connections` is how many were opened;
    `stopping` is set at the end, and whoever waits in a thread waits for it.
    """

    def __init__(self, *, tls: ssl.SSLContext | None = None, name: str = "127.0.0.1") -> None:
        self.connections = 0
        self.stopping = threading.Event()
        self._tls = tls
        self._open: set[socket.socket] = set()
        self._open_lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.url = f"{'https' if tls is not None else 'http'}://{name}:{self.port}"

    def serve(self, connection: socket.socket, number: int) -> None:
        """Serve the connection of this number (from 1), and return when it is to be closed.

        An OSError is a client that has gone.
        """
        raise NotImplementedError

    @property
    def open_connections(self) -> int:
        with self._open_lock:
            return len(self._open)

    def close_connections(self) -> None:
        """Close all connections, as a server does with those that were idle for long."""
        with self._open_lock:
            connections = tuple(self._open)
        for connection in connections:
            # Of the socket beneath TLS: its own would take TLS away from under who is reading.
            with contextlib.suppress(OSError):
                socket.socket.shutdown(connection, socket.SHUT_RDWR)

    def __enter__(self) -> Self:
        self.start(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        # `close` alone would not end an `accept` that waits.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._threads[0].join(10)
        self._listener.close()
        self.close_connections()
        for thread in self._threads:
            thread.join(10)

    def start(self, target: Callable[..., None], *arguments: object) -> threading.Thread:
        """Run this in a thread that the end of the server waits for; return the thread."""
        thread = threading.Thread(target=target, args=arguments, name=type(self).__name__, daemon=True)
        first, others = self._threads[:1], self._threads[1:]
        self._threads = [*first, *(one for one in others if one.is_alive()), thread]
        thread.start()
        return thread

    @contextlib.contextmanager
    def kept(self, connection: socket.socket) -> Iterator[None]:
        """Count the connection among those that the end of the server closes, and close it."""
        with self._open_lock:
            self._open.add(connection)
        try:
            yield
        finally:
            with self._open_lock:
                self._open.discard(connection)
            connection.close()

    def _accept(self) -> None:
        while not self.stopping.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self.start(self._serve, connection, self.connections)

    def _serve(self, connection: socket.socket, number: int) -> None:
        with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
            stack.callback(connection.close)
            if self._tls is not None:
                connection = self._tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
            stack.enter_context(self.kept(connection))
            if isinstance(connection, ssl.SSLSocket):
                connection.settimeout(_HANDSHAKE_SECONDS)
                connection.do_handshake()
                connection.settimeout(None)
            if not self.stopping.is_set():
                self.serve(connection, number)


class Received(NamedTuple):
    """A request as it came; `connection` is the number of the one that it came on."""

    method: str
    target: str
    fields: tuple[tuple[str, str], ...]
    body: bytes
    connection: int

    def by_name(self) -> dict[str, str]:
        """Return the fields with their names in lower case; of several with one name the last."""
        return {name.lower(): value for name, value in self.fields}


@dataclass(frozen=True, kw_only=True)
class Reaction:
    """What is done about a request: `sent` is written as it is, in one piece or byte by byte.

    Without it nothing is said, and the connection closed: at once, with a reset, or (`is_silent`) when the server ends.
    """

    sent: bytes | None = None
    seconds_between_bytes: float | None = None
    closes: bool = False
    is_silent: bool = False
    is_reset: bool = False


SILENCE = Reaction(is_silent=True)
CLOSE = Reaction()
RESET = Reaction(is_reset=True)


def message(
    status: int, body: bytes, fields: Iterable[tuple[str, str]] = (), *, declared_bytes: int | None = None
) -> bytes:
    """Return a response. `declared_bytes`: what Content-Length says, if that is to be wrong."""
    lines = [f"HTTP/1.1 {status} {http.client.responses.get(status, 'x')}"]
    if status != http.client.NO_CONTENT:
        lines.append(f"Content-Length: {len(body) if declared_bytes is None else declared_bytes}")
    lines += [f"{name}: {value}" for name, value in fields]
    return "\r\n".join((*lines, "", "")).encode("latin-1") + body


class HttpServer(ThreadedServer):
    """Reads requests of HTTP/1.1, and keeps connections open. `react`, called by several threads, is what it does."""

    def react(self, received: Received) -> Reaction:
        """Decide what is done about a request."""
        raise NotImplementedError

    def serve(self, connection: socket.socket, number: int) -> None:
        with connection.makefile("rb") as reader:
            first = reader.peek(1)[:1]
            if first and not first.isalpha():  # TLS, say: a server of HTTP answers all the same
                connection.sendall(message(http.client.BAD_REQUEST, b""))
                return
            while (received := _received(reader, number)) is not None:
                if not self._do(connection, self.react(received)) or self.stopping.is_set():
                    return

    def _do(self, connection: socket.socket, reaction: Reaction) -> bool:
        """Do it; return whether the connection stays open."""
        if reaction.is_silent:
            self.stopping.wait()
        if reaction.is_reset:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        if reaction.sent is None:
            return False
        if reaction.seconds_between_bytes is None:
            connection.sendall(reaction.sent)
            return not reaction.closes
        for byte in reaction.sent:
            connection.sendall(bytes((byte,)))
            if self.stopping.wait(reaction.seconds_between_bytes):
                return False
        return not reaction.closes


def _received(reader: BufferedReader, connection: int) -> Received | None:
    """Read a request; None where there is none any more, or something that is not HTTP."""
    lines: list[str] = []
    for line in reader:
        text = line.decode("latin-1").rstrip("\r\n")
        if not text:
            break
        lines.append(text)
    if not lines or lines[0].count(" ") != 2:
        return None
    method, target, _ = lines[0].split(" ")
    pairs = (line.partition(":") for line in lines[1:])
    fields = tuple((name, value.strip()) for name, _, value in pairs)
    length = next((int(value) for name, value in fields if name.lower() == "content-length"), 0)
    body = reader.read(length)
    return Received(method, target, fields, body, connection) if len(body) == length else None
