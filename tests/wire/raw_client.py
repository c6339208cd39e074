"""A client that sends bytes as they are and reads responses byte by byte, always within a time."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Self

__all__ = ["RawClient", "Response", "exchange", "raw_client"]

_TIMEOUT_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Response:
    """One response as it stood on the wire, and its content without chunk framing."""

    head: bytes
    body: bytes
    raw: bytes

    @property
    def status(self) -> int:
        """The status code."""
        return int(self.head[9:12])

    @property
    def status_line(self) -> bytes:
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

    @property
    def problem_code(self) -> str | None:
        """The code of an answer that is problem details (RFC 9457); None for any other answer."""
        if self.values(b"Content-Type") != [b"application/problem+json"]:
            return None
        problem = json.loads(self.body)
        assert problem["status"] == self.status
        return str(problem["code"])


class RawClient:
    """One connection to a port of 127.0.0.1. Every wait ends after `timeout_seconds` with TimeoutError."""

    def __init__(self, port: int, *, timeout_seconds: float = _TIMEOUT_SECONDS) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), timeout_seconds)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.was_reset = False
        self._unread = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()

    def send(self, data: bytes) -> None:
        """Send bytes. That the other side does not take them any more is seen when its answer is read."""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.sock.sendall(data)

    def send_pieces(self, pieces: Iterable[bytes], *, between: Callable[[], object] = lambda: None) -> None:
        """Send each piece in a write of its own, calling `between` after each (see `RunningProxy.settle`)."""
        for piece in pieces:
            self.send(piece)
            between()

    def read_some(self) -> bytes:
        """Read what is there next; empty when the connection has ended, `was_reset` tells how."""
        if self._unread:
            data, self._unread = self._unread, b""
            return data
        try:
            return self.sock.recv(256 * 1024)
        except ConnectionResetError:
            self.was_reset = True
            return b""

    def read_until_closed(self) -> bytes:
        """Read everything until the other side ends the connection."""
        return b"".join(iter(self.read_some, b""))

    def read_response(self, *, is_head_request: bool = False) -> Response:
        """Read exactly one response, interim or final. EOFError when the connection ends before it does."""
        raw = self._read_up_to(b"", b"\r\n\r\n")
        head = raw
        framing = Response(head, b"", head)
        if framing.status < 200 or framing.status in {204, 304} or is_head_request:
            body = b""
        elif [value.lower() for value in framing.values(b"Transfer-Encoding")] == [b"chunked"]:
            raw, body = self._read_chunked(raw)
        elif lengths := framing.values(b"Content-Length"):
            body = self._read_exactly(int(lengths[0]))
            raw += body
        else:
            body = self.read_until_closed()
            raw += body
        return Response(head, body, raw)

    def is_open(self, *, within_seconds: float = 0.05) -> bool:
        """Whether the connection neither ends nor brings anything for so long."""
        self.sock.settimeout(within_seconds)
        try:
            self._unread += self.sock.recv(1)
        except TimeoutError:
            return not self._unread
        except ConnectionResetError:
            self.was_reset = True
        finally:
            self.sock.settimeout(_TIMEOUT_SECONDS)
        return False

    def _read_chunked(self, raw: bytes) -> tuple[bytes, bytes]:
        body = b""
        while True:
            line = self._read_up_to(b"", b"\r\n")
            raw += line
            size = int(line.partition(b";")[0], 16)
            if not size:
                break
            chunk = self._read_exactly(size + 2)
            assert chunk.endswith(b"\r\n")
            raw += chunk
            body += chunk[:-2]
        while True:
            line = self._read_up_to(b"", b"\r\n")
            raw += line
            if line == b"\r\n":
                return raw, body

    def _read_up_to(self, data: bytes, mark: bytes) -> bytes:
        while mark not in data:
            data += self._more()
        end = data.index(mark) + len(mark)
        self._unread = data[end:] + self._unread
        return data[:end]

    def _read_exactly(self, size: int) -> bytes:
        pieces: list[bytes] = []
        while size > 0:
            piece = self._more()
            pieces.append(piece[:size])
            self._unread = piece[size:]
            size -= len(pieces[-1])
        return b"".join(pieces)

    def _more(self) -> bytes:
        piece = self.read_some()
        if not piece:
            raise EOFError("the connection was reset" if self.was_reset else "the connection was closed")
        return piece


def raw_client(port: int, data: bytes, *, timeout_seconds: float = _TIMEOUT_SECONDS) -> bytes:
    """Send `data`; return all that comes until the other side ends the connection."""
    with RawClient(port, timeout_seconds=timeout_seconds) as client:
        client.send(data)
        return client.read_until_closed()


def exchange(port: int, data: bytes, *, is_head_request: bool = False) -> Response:
    """Send `data` on a connection of its own; return the first final response to it."""
    with RawClient(port) as client:
        client.send(data)
        while (response := client.read_response(is_head_request=is_head_request)).status < 200:
            pass
        return response
