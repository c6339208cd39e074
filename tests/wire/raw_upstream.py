"""An upstream that records every byte it gets, and answers with the bytes that a test scripts."""

from __future__ import annotations

import contextlib
import re
import socket
import struct
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Self, TypeAlias

__all__ = ["OK", "End", "Pause", "RawUpstream", "ReceivedRequest", "Reply", "Step", "Tell", "WaitFor", "in_pieces"]

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
"""The answer to whatever no other answer was scripted for."""

_CONTENT_LENGTH = re.compile(rb"\r\ncontent-length: (\d+)\r\n", re.IGNORECASE)
_ABORT_ON_CLOSE = struct.pack("ii", 1, 0)


class End(Enum):
    """How the upstream ends a connection."""

    CLOSE = "with FIN"
    RESET = "with RST"


@dataclass(frozen=True, slots=True)
class Pause:
    """Do nothing for so long."""

    seconds: float


@dataclass(frozen=True, slots=True)
class WaitFor:
    """Do nothing until the test sets the event."""

    event: threading.Event


@dataclass(frozen=True, slots=True)
class Tell:
    """Set the event: what stands before this has been handed to the kernel."""

    event: threading.Event


Step: TypeAlias = bytes | Pause | WaitFor | Tell | End


@dataclass(frozen=True, slots=True)
class ReceivedRequest:
    """One request as it stood on the wire. `connection` counts the upstream's connections from 0."""

    connection: int
    head: bytes
    body: bytes

    @property
    def request_line(self) -> bytes:
        """The first line, without its CRLF."""
        return self.head.partition(b"\r\n")[0]

    @property
    def field_lines(self) -> list[bytes]:
        """The field lines in their order, without their CRLF."""
        return self.head.split(b"\r\n")[1:-2]

    def values(self, name: bytes) -> list[bytes]:
        """The values of all fields of this name, in their order."""
        pairs = (line.split(b":", 1) for line in self.field_lines)
        return [value.strip(b" \t") for each, value in pairs if each.lower() == name.lower()]


Reply: TypeAlias = Sequence[Step] | Callable[[ReceivedRequest], Sequence[Step]]


def in_pieces(data: bytes, size: int = 1) -> list[Step]:
    """Steps that send `data` in pieces of `size` bytes, each in a write of its own."""
    return [data[start : start + size] for start in range(0, len(data), size)]


class _Connection:
    def __init__(self, number: int, sock: socket.socket) -> None:
        self.number = number
        self.sock = sock
        self.received = bytearray()
        self.unread = b""
        self.is_open = True


class RawUpstream:
    """A TCP server, one thread a connection, for a proxy that frames its requests with Content-Length.

    For each request the next of `replies` is played, or `default_reply` when there is none; `on_connect` is
    played before the first request of a connection is read. With `reads_bodies` false a reply begins as soon
    as the head is here. What arrived is in `requests`, and byte for byte in `received`.
    """

    def __init__(self) -> None:
        self.replies: deque[Reply] = deque()
        self.default_reply: Reply = [OK]
        self.on_connect: Sequence[Step] = ()
        self.reads_bodies = True
        self._requests: list[ReceivedRequest] = []
        self._connections: list[_Connection] = []
        self._changed = threading.Condition()
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = int(self._listener.getsockname()[1])

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """Its http URL."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def requests(self) -> list[ReceivedRequest]:
        """The requests that were received as a whole."""
        with self._changed:
            return list(self._requests)

    @property
    def received(self) -> bytes:
        """Every byte that was received, one connection after the other."""
        with self._changed:
            return b"".join(bytes(each.received) for each in self._connections)

    @property
    def connections(self) -> int:
        """How many connections were accepted."""
        with self._changed:
            return len(self._connections)

    @property
    def open_connections(self) -> int:
        """How many connections are not closed by either side yet."""
        with self._changed:
            return sum(each.is_open for each in self._connections)

    def answer_with(self, *replies: Reply) -> None:
        """Play these, one for each of the next requests."""
        self.replies.extend(replies)

    def forget(self) -> None:
        """Forget what was received and what was scripted; connections stay open."""
        with self._changed:
            self._requests.clear()
            for each in self._connections:
                each.received.clear()
            self.replies.clear()
            self.default_reply = [OK]
            self.on_connect = ()
            self.reads_bodies = True

    def wait_for_requests(self, count: int, *, timeout_seconds: float = 5.0) -> list[ReceivedRequest]:
        """Return the requests once there are `count`; fails the test when that takes too long."""
        self._wait(lambda: len(self._requests) >= count, timeout_seconds, f"{count} requests")
        return self.requests

    def wait_until_all_closed(self, *, timeout_seconds: float = 5.0) -> None:
        """Return once no connection is open; fails the test when that takes too long."""
        self._wait(lambda: not any(each.is_open for each in self._connections), timeout_seconds, "the end")

    def stop(self) -> None:
        """Close everything and end the threads."""
        self._stopping.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        with self._changed:
            for each in self._connections:
                with contextlib.suppress(OSError):
                    each.sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(5)
        self._listener.close()

    def _wait(self, is_so: Callable[[], bool], timeout_seconds: float, what: str) -> None:
        with self._changed:
            assert self._changed.wait_for(is_so, timeout_seconds), f"waited {timeout_seconds} s for {what}"

    def _start(self, target: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments, name="raw upstream", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._stopping.is_set():
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._changed:
                connection = _Connection(len(self._connections), sock)
                self._connections.append(connection)
            self._start(self._serve, connection)

    def _serve(self, connection: _Connection) -> None:
        try:
            # A reset by the proxy ends the conversation as well as a close.
            with contextlib.suppress(OSError):
                self._converse(connection)
        finally:
            # Closed first: whoever waited for it sends the next request at once.
            connection.sock.close()
            with self._changed:
                connection.is_open = False
                self._changed.notify_all()

    def _converse(self, connection: _Connection) -> None:
        if not self._play(connection.sock, self.on_connect):
            return
        while (request := self._read_request(connection)) is not None:
            with self._changed:
                self._requests.append(request)
                reply = self.replies.popleft() if self.replies else self.default_reply
                self._changed.notify_all()
            if not self._play(connection.sock, reply(request) if callable(reply) else reply):
                return

    def _play(self, sock: socket.socket, steps: Iterable[Step]) -> bool:
        """Return whether the connection goes on."""
        for step in steps:
            match step:
                case Pause(seconds):
                    self._stopping.wait(seconds)
                case WaitFor(event):
                    event.wait(10)
                case Tell(event):
                    event.set()
                case End.CLOSE:
                    return False
                case End.RESET:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORT_ON_CLOSE)
                    return False
                case _:
                    sock.sendall(step)
        return True

    def _read_request(self, connection: _Connection) -> ReceivedRequest | None:
        data = connection.unread
        while (end := data.find(b"\r\n\r\n")) < 0:
            piece = self._receive(connection)
            if not piece:
                return None
            data += piece
        head, data = data[: end + 4], data[end + 4 :]
        length = _CONTENT_LENGTH.search(head)
        wanted = int(length[1]) if length is not None and self.reads_bodies else 0
        pieces = [data]
        held = len(data)
        while held < wanted:
            piece = self._receive(connection)
            if not piece:
                return None
            pieces.append(piece)
            held += len(piece)
        data = b"".join(pieces)
        connection.unread = data[wanted:]
        return ReceivedRequest(connection.number, head, data[:wanted])

    def _receive(self, connection: _Connection) -> bytes:
        piece = connection.sock.recv(256 * 1024)
        with self._changed:
            connection.received += piece
        return piece
