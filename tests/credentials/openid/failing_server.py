"""A server on 127.0.0.1 that fails as a test tells it; stand-ins for authorization servers are made of it.

It is a context manager, listens in threads of this process, keeps its `requests`, and fails:

    with OriginalServer() as server:
        server.failure = Failure(status=503)      # from now on; None ends it
        server.failures.append(Failure(delay_seconds=0.1))   # only for the next request
"""

from __future__ import annotations

import contextlib
import ssl
import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import NamedTuple, Self

__all__ = ["FailingServer", "Failure", "Reply", "Request"]


class Request(NamedTuple):
    """A request as it came: field names in lower case."""

    method: str
    path: str
    fields: Mapping[str, str]
    body: bytes


class Reply(NamedTuple):
    """What is answered."""

    status: int
    body: bytes
    fields: Mapping[str, str] = {"Content-Type": "application/json"}


@dataclass(frozen=True, kw_only=True)
class Failure:
    """How a request goes wrong. `delay_seconds` alone is a slow success; `body` is sent as it is."""

    status: int | None = None
    body: bytes = b""
    fields: Mapping[str, str] = field(default_factory=dict)
    delay_seconds: float = 0.0
    is_silent: bool = False  # takes the request, and never says anything
    closes: bool = False  # takes the request, and closes the connection
    raw: bytes | None = None  # written in the place of a response
    seconds_between_bytes: float | None = None  # drips the response


class FailingServer:
    """A server in threads; its `reply` is what a subclass is."""

    def __init__(self, *, tls: ssl.SSLContext | None = None) -> None:
        self.requests: list[Request] = []
        self.failures: deque[Failure] = deque()
        self.failure: Failure | None = None
        self.stopped = threading.Event()
        self._server = _Server(("127.0.0.1", 0), self)
        self._scheme = "http"
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
            self._scheme = "https"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stopped.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    @property
    def origin(self) -> str:
        """Scheme, host and port."""
        return f"{self._scheme}://127.0.0.1:{self.port}"

    def reply(self, request: Request) -> Reply:
        """Answer a request that is not to fail."""
        raise NotImplementedError


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = True

    def __init__(self, address: tuple[str, int], stand_in: FailingServer) -> None:
        super().__init__(address, _Handler)
        self.stand_in = stand_in

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: a client that closes early is what many tests are about."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 10
    server: _Server

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name that is overridden
        """Write nothing."""

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        fields = {name.lower(): value for name, value in self.headers.items()}
        request = Request(self.command, self.path, fields, body)
        stand_in = self.server.stand_in
        stand_in.requests.append(request)
        failure = stand_in.failures.popleft() if stand_in.failures else stand_in.failure
        self.close_connection = True
        with contextlib.suppress(OSError):  # of a client that has gone
            if failure is None:
                self._send(stand_in.reply(request))
            else:
                self._fail(request, failure)

    do_POST = do_CONNECT = do_GET  # noqa: N815 - http.server's names

    def _fail(self, request: Request, failure: Failure) -> None:
        stand_in = self.server.stand_in
        stand_in.stopped.wait(failure.delay_seconds)
        if failure.is_silent:
            stand_in.stopped.wait(30)
        elif failure.raw is not None:
            self.wfile.write(failure.raw)
        elif failure.status is not None:
            fields = {"Content-Type": "application/json", **failure.fields}
            self._send(Reply(failure.status, failure.body, fields), failure.seconds_between_bytes)
        elif not failure.closes:
            self._send(stand_in.reply(request), failure.seconds_between_bytes)

    def _send(self, reply: Reply, seconds_between_bytes: float | None = None) -> None:
        head = [f"HTTP/1.1 {reply.status} x", f"Content-Length: {len(reply.body)}", "Connection: close"]
        lines = [*head, *(f"{name}: {value}" for name, value in reply.fields.items())]
        content = "\r\n".join((*lines, "", "")).encode() + reply.body
        if seconds_between_bytes is None:
            self.wfile.write(content)
            return
        for byte in content:
            self.wfile.write(bytes((byte,)))
            if self.server.stand_in.stopped.wait(seconds_between_bytes):
                return
