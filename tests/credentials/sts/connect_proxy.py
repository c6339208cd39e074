"""A small HTTP proxy that counts: CONNECT tunnels, and requests in absolute form."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from typing import Self
from urllib.parse import urlsplit

__all__ = ["ConnectProxy"]


class ConnectProxy:
    """Listens on a free port of 127.0.0.1, in threads, between `with` and its end.

    `tunnels` and `forwarded` name what was asked for; `authorizations` what was said in Proxy-Authorization. With
    `to` every tunnel leads to that port, whatever name was asked for: names need not exist then. `refuse_with` is a
    status line's end instead ("407 Proxy Authentication Required"). With `tls` the way to the proxy is encrypted.
    """

    def __init__(
        self, *, to: int | None = None, refuse_with: str | None = None, tls: ssl.SSLContext | None = None
    ) -> None:
        self.tunnels: list[str] = []
        self.forwarded: list[str] = []
        self.authorizations: list[str] = []
        self._to = to
        self._refuse_with = refuse_with
        self._tls = tls
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.url = f"{'https' if tls is not None else 'http'}://127.0.0.1:{self.port}"
        self._sockets: list[socket.socket] = []
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        for one in (self._listener, *self._sockets):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
        for thread in self._threads:
            thread.join(10)

    def _start(self, target: object, *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)  # type: ignore[arg-type] # a method
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self._sockets.append(client)
                self._start(self._serve, client)

    def _serve(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            if self._tls is not None:
                client = self._tls.wrap_socket(client, server_side=True)
                self._sockets.append(client)
            head = b""
            while b"\r\n\r\n" not in head:
                piece = client.recv(65536)
                if not piece:
                    return
                head += piece
            lines = head.partition(b"\r\n\r\n")[0].decode().split("\r\n")
            self.authorizations += [line for line in lines if line.lower().startswith("proxy-authorization:")]
            method, target, _ = lines[0].split(" ")
            if self._refuse_with is not None:
                client.sendall(f"HTTP/1.1 {self._refuse_with}\r\nContent-Length: 0\r\n\r\n".encode())
                client.shutdown(socket.SHUT_RDWR)
                return
            (self.tunnels if method == "CONNECT" else self.forwarded).append(target)
            port = int(target.rpartition(":")[2]) if method == "CONNECT" else urlsplit(target).port or 80
            upstream = socket.create_connection(("127.0.0.1", self._to or port))
            self._sockets.append(upstream)
            if method == "CONNECT":
                client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            else:
                upstream.sendall(head)
            self._start(self._relay, client, upstream)
            self._relay(upstream, client)

    def _relay(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while piece := source.recv(65536):
                target.sendall(piece)
            target.shutdown(socket.SHUT_WR)
