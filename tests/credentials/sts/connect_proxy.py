"""A small HTTP proxy that counts: CONNECT tunnels, and requests in absolute form."""

from __future__ import annotations

import contextlib
import socket
import ssl
from urllib.parse import urlsplit

from tests.credentials.http_server import ThreadedServer

__all__ = ["ConnectProxy"]


class ConnectProxy(ThreadedServer):
    """Listens on a free port of 127.0.0.1, in threads, between `with` and its end.

    `tunnels` and `forwarded` name what was asked for; `authorizations` what was said in Proxy-Authorization. With
    `to` every tunnel leads to that port, whatever name was asked for: names need not exist then. `refuse_with` is a
    status line's end instead ("407 Proxy Authentication Required"). With `tls` the way to the proxy is encrypted.
    """

    def __init__(
        self, *, to: int | None = None, refuse_with: str | None = None, tls: ssl.SSLContext | None = None
    ) -> None:
        super().__init__(tls=tls)
        self.tunnels: list[str] = []
        self.forwarded: list[str] = []
        self.authorizations: list[str] = []
        self._to = to
        self._refuse_with = refuse_with

    def serve(self, connection: socket.socket, number: int) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            piece = connection.recv(65536)
            if not piece:
                return
            head += piece
        lines = head.partition(b"\r\n\r\n")[0].decode().split("\r\n")
        self.authorizations += [line for line in lines if line.lower().startswith("proxy-authorization:")]
        method, target, _ = lines[0].split(" ")
        if self._refuse_with is not None:
            connection.sendall(f"HTTP/1.1 {self._refuse_with}\r\nContent-Length: 0\r\n\r\n".encode())
            return
        (self.tunnels if method == "CONNECT" else self.forwarded).append(target)
        port = int(target.rpartition(":")[2]) if method == "CONNECT" else urlsplit(target).port or 80
        upstream = socket.create_connection(("127.0.0.1", self._to or port))
        with self.kept(upstream):
            if method == "CONNECT":
                connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            else:
                upstream.sendall(head)
            relay = self.start(self._relay, connection, upstream)
            self._relay(upstream, connection)
            relay.join()

    def _relay(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while piece := source.recv(65536):
                target.sendall(piece)
            target.shutdown(socket.SHUT_WR)
