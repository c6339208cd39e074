"""A Vault server to test against: `vault_backend` behind HTTP or HTTPS on 127.0.0.1, with failures to order.

with VaultServer() as vault:
    vault.backend.add_token()
    vault.backend.roles["aws/creds/dev"] = AwsRole()
    ...  # vault.url, vault.requests, vault.fail("aws/", Failure(status=503)), vault.clock.now += 3600
"""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import threading
import time
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self, cast
from urllib.parse import parse_qsl, urlsplit

from tests.credentials.vault.vault_backend import Backend, RefusedError

SILENCE = "silence"
"""Accepts the request and never answers."""
CLOSE = "close"
"""Closes the connection instead of answering."""
DRIP = "drip"
"""Answers one byte every 20 ms, without end."""


class Clock:
    """Seconds since the epoch, as a test sets them; the real time plus what was added while `is_real`."""

    def __init__(self, now: float | None = None) -> None:
        self.is_real = now is None
        self.now = 0.0 if now is None else now

    def __call__(self) -> float:
        return time.time() + self.now if self.is_real else self.now


@dataclass(frozen=True)
class Failure:
    """What happens to a request instead of what should: a status with a body, headers, a delay; or a `kind`.

    The status 0 stands for what should happen: with a delay, it is only late.
    """

    status: int = 500
    body: bytes = b'{"errors": ["internal error"]}'
    content_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()
    delay_seconds: float = 0.0
    kind: str = ""
    is_after: bool = False
    """The request is carried out first, and its answer lost."""


@dataclass(frozen=True)
class Seen:
    """A request as it came. `path` is without "/v1/"; names of headers are in lower case."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: dict[str, Any]


class VaultServer:
    """A running server. `tls`: a context that holds its certificate; without it, plain HTTP."""

    def __init__(self, *, clock: Clock | None = None, tls: ssl.SSLContext | None = None) -> None:
        self.clock = clock or Clock()
        self.backend = Backend(self.clock)
        self.requests: list[Seen] = []
        self.is_sealed = False
        self._failures: list[tuple[str, Failure, int | None]] = []
        self._lock = threading.Lock()
        self.stopping = threading.Event()
        self.connections: set[socket.socket] = set()
        self.connections_accepted = 0
        self._server = _Listener(("127.0.0.1", 0), self, tls)
        self.port = self._server.server_port
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), name="vault stub")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        self._server.shutdown()
        self._thread.join()
        for connection in list(self.connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._server.server_close()

    def fail(self, prefix: str, failure: Failure, *, times: int | None = None) -> None:
        """Let requests whose path begins so fail: as often as said, or until `mend`."""
        self._failures.append((prefix, failure, times))

    def mend(self) -> None:
        """Forget every failure that was ordered."""
        self._failures.clear()
        self.is_sealed = False

    def count(self, path: str) -> int:
        """How many requests came whose path begins so."""
        return sum(seen.path.startswith(path) for seen in self.requests)

    def failure_for(self, path: str) -> Failure | None:
        """Return what is to happen to a request; it counts as having happened."""
        with self._lock:
            for index, (prefix, failure, times) in enumerate(self._failures):
                if path.startswith(prefix):
                    if times is not None and times <= 1:
                        del self._failures[index]
                    elif times is not None:
                        self._failures[index] = (prefix, failure, times - 1)
                    return failure
        return None

    def answer(self, seen: Seen) -> tuple[int, bytes]:
        """Carry a request out as Vault does; return status and body."""
        with self._lock:
            if self.is_sealed:
                return 503, b'{"errors":["Vault is sealed"]}\n'
            token = seen.headers.get("x-vault-token", "")
            namespace = seen.headers.get("x-vault-namespace", "")
            try:
                answer = self.backend.handle(seen.method, seen.path, {**seen.query, **seen.body}, token, namespace)
            except RefusedError as error:
                return error.status, json.dumps({"errors": list(error.errors)}).encode()
        return (204, b"") if answer is None else (200, json.dumps(answer).encode())


class _Listener(ThreadingHTTPServer):
    daemon_threads = False
    block_on_close = True

    def __init__(self, address: tuple[str, int], vault: VaultServer, tls: ssl.SSLContext | None) -> None:
        self.vault = vault
        self._tls = tls
        super().__init__(address, _Handler)

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = self.socket.accept()
        if self._tls is not None:
            # The handshake happens at the first read, in the connection's own thread.
            connection = self._tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        connection.settimeout(5.0)
        self.vault.connections_accepted += 1
        self.vault.connections.add(connection)
        return connection, address

    def shutdown_request(self, request: Any) -> None:
        self.vault.connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: clients that hang up or fail the handshake are part of the tests."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body in one packet: two would wait for each other's acknowledgement

    def handle_any(self) -> None:
        vault = cast("_Listener", self.server).vault
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length) if length else b""
        target = urlsplit(self.path)
        headers = {name.lower(): value for name, value in self.headers.items()}
        path = target.path.partition("/v1/")[2]
        seen = Seen(self.command, path, dict(parse_qsl(target.query)), headers, json.loads(body or b"{}") or {})
        vault.requests.append(seen)
        failure = vault.failure_for(path)
        if failure is not None and failure.status == 0:
            vault.stopping.wait(failure.delay_seconds)
            failure = None
        if failure is None or failure.is_after:
            status, answer = vault.answer(seen)
            if failure is None:
                self.respond(status, answer, "application/json")
                return
        self.fail(vault, failure)

    do_GET = do_POST = do_PUT = handle_any  # noqa: N815 - the names that http.server calls

    def fail(self, vault: VaultServer, failure: Failure) -> None:
        if failure.delay_seconds:
            vault.stopping.wait(failure.delay_seconds)
        if failure.kind == SILENCE:
            vault.stopping.wait(30)
        elif failure.kind == DRIP:
            self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Long: ")
            with contextlib.suppress(OSError):
                while not vault.stopping.wait(0.02):
                    self.wfile.write(b"x")
                    self.wfile.flush()
        elif failure.kind != CLOSE:
            self.respond(failure.status, failure.body, failure.content_type, failure.headers)
            return
        self.close_connection = True

    def respond(self, status: int, body: bytes, content_type: str, headers: tuple[tuple[str, str], ...] = ()) -> None:
        self.send_response(status)
        self.send_header("Cache-Control", "no-store")
        self.send_header("Content-Type", content_type)
        for name, value in headers:
            self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    def log_message(self, *_: object) -> None:
        """Say nothing."""
