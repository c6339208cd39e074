"""An HTTP proxy as companies have them: tunnels (CONNECT), requests in absolute-form, Basic authentication, TLS."""

from __future__ import annotations

import base64
import contextlib
import re
import socket
import ssl
import threading
from collections.abc import Callable
from typing import Self

__all__ = ["HttpProxy"]

_ABSOLUTE_FORM = re.compile(rb"([A-Z]+) http://([^/ ]+)(/[^ ]*) (HTTP/1\.1)")
_PROXY_FIELDS = re.compile(rb"(?<=\n)Proxy-[^\r\n]*\r\n", re.IGNORECASE)


class HttpProxy:
    """A proxy in threads. `names` maps host names to ports of 127.0.0.1, for names that no DNS knows.

    `user`: what it wants (`user:password`). `answer`: instead of a tunnel, or of forwarding, it sends these bytes.
    `is_silent`: it reads, and says nothing. `heads` has every request that it was sent.
    """

    def __init__(
        self, names: dict[str, int] | None = None, *, user: bytes | None = None, tls: ssl.SSLContext | None = None
    ) -> None:
        self.names = names or {}
        self.user = user
        self.answer: bytes | None = None
        self.is_silent = False
        self.closes = False
        self.heads: list[bytes] = []
        self._tls = tls
        self._sockets: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = int(self._listener.getsockname()[1])

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        for sock in self._sockets:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(5)
        self._listener.close()
        for sock in self._sockets:
            sock.close()

    @property
    def url(self) -> str:
        """Its URL, with the user that it wants, percent-encoded to the last byte."""
        user, at = "", ""
        if self.user is not None:
            name, _, password = self.user.partition(b":")
            user, at = ":".join("".join(f"%{byte:02x}" for byte in part) for part in (name, password)), "@"
        return f"{'http' if self._tls is None else 'https'}://{user}{at}127.0.0.1:{self.port}"

    def _start(self, target: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments, name="http proxy", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self._sockets.append(sock)
            self._start(self._serve, sock)

    def _serve(self, sock: socket.socket) -> None:
        # A client that goes away ends the conversation, whenever it does.
        with contextlib.suppress(OSError, EOFError):
            if self._tls is not None:
                sock = self._tls.wrap_socket(sock, server_side=True)
                self._sockets.append(sock)
            self._converse(sock)
        with contextlib.suppress(OSError):
            sock.close()

    def _converse(self, sock: socket.socket) -> None:
        head, rest = _read_head(sock)
        self.heads.append(head)
        if self.closes:
            return
        while self.is_silent:
            if not sock.recv(65536):
                return
        if self.answer is not None:
            sock.sendall(self.answer)
            sock.recv(65536)
            return
        if self.user is not None and base64.b64encode(self.user) not in head:
            sock.sendall(
                b'HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm="x"\r\n'
                b"Content-Length: 0\r\n\r\n"
            )
            return
        if head.startswith(b"CONNECT "):
            there = self._connect(head.split(b" ")[1])
            sock.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        else:
            matched = _ABSOLUTE_FORM.match(head)
            assert matched is not None, head
            there = self._connect(matched[2])
            line = b" ".join((matched[1], matched[3], matched[4]))
            head = line + _PROXY_FIELDS.sub(b"", head[matched.end() :])
            # RFC 9112 section 3.2.2: whatever Host says, it is the target's authority.
            there.sendall(re.sub(rb"\r\nHost: [^\r]*", lambda _: b"\r\nHost: " + matched[2], head) + rest)
        self._start(_pump, there, sock)
        _pump(sock, there)

    def _connect(self, authority: bytes) -> socket.socket:
        host, _, port = authority.decode().rpartition(":")
        if not host:
            host, port = port, "80"
        there = socket.create_connection(("127.0.0.1", self.names.get(host, int(port))), 5)
        there.settimeout(None)
        self._sockets.append(there)
        return there


def _read_head(sock: socket.socket) -> tuple[bytes, bytes]:
    data = b""
    while b"\r\n\r\n" not in data:
        piece = sock.recv(65536)
        if not piece:
            raise EOFError
        data += piece
    head, _, rest = data.partition(b"\r\n\r\n")
    return head + b"\r\n\r\n", rest


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while piece := source.recv(65536):
            sink.sendall(piece)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)
