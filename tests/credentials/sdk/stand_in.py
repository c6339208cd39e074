"""An HTTP server in a thread of the test's own process, whose failures a test sets: what the stand-ins are made of."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple, Self

__all__ = ["Asked", "Failures", "Reply", "StandIn", "as_json"]


class Asked(NamedTuple):
    """A request that was received."""

    method: str
    path: str
    query: str
    fields: Mapping[str, str]
    body: bytes


class Reply(NamedTuple):
    """What is answered."""

    status: int
    body: bytes
    fields: Mapping[str, str] = {}


def as_json(document: Any, status: int = 200) -> Reply:
    """Answer a JSON document."""
    return Reply(status, json.dumps(document).encode(), {"Content-Type": "application/json"})


@dataclass
class Failures:
    """What goes wrong, until the test takes it back; `status` with `body`, or `body` alone, replaces the answer."""

    status: int | None = None
    body: bytes | None = None
    fields: dict[str, str] = field(default_factory=dict)
    delay_seconds: float = 0.0
    is_silent: bool = False
    """Accept, and say nothing until the server is stopped."""
    is_closing: bool = False
    """Close the connection without an answer."""
    only_path: str = ""
    """Fail for paths that end with this."""


class StandIn:
    """A server on 127.0.0.1. `answer` is what it does when nothing fails; `requests` is what it was asked."""

    def __init__(self, answer: Callable[[Asked], Reply] | None = None) -> None:
        self.requests: list[Asked] = []
        self.failures = Failures()
        self._answer = answer
        self._stopping = threading.Event()
        self._server = _Server(("127.0.0.1", 0), _handler(self))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), name="stand-in")

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def answer(self, asked: Asked) -> Reply:
        """Answer one request; called by several threads."""
        return self._answer(asked) if self._answer is not None else Reply(404, b"")

    def respond(self, asked: Asked) -> Reply | None:
        """Answer, or fail as is set; None where the connection is to be closed."""
        self.requests.append(asked)
        failures = self.failures
        if not asked.path.endswith(failures.only_path):
            return self.answer(asked)
        self._stopping.wait(failures.delay_seconds)
        if failures.is_silent:
            self._stopping.wait()
        if failures.is_silent or failures.is_closing:
            return None
        if failures.status is not None or failures.body is not None:
            return Reply(failures.status or 200, failures.body or b"", failures.fields)
        return self.answer(asked)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._server.shutdown()
        self._server.close_connections()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = False

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        super().__init__(address, handler)
        self._open: set[socket.socket] = set()

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        self._open.add(connection)
        return connection, address

    def close_request(self, request: Any) -> None:
        self._open.discard(request)
        super().close_request(request)

    def close_connections(self) -> None:
        for connection in list(self._open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that has gone is what some tests are about."""


def _handler(stand_in: StandIn) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _respond(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            path, _, query = self.path.partition("?")
            fields = {name.lower(): value for name, value in self.headers.items()}
            reply = stand_in.respond(Asked(self.command, path, query, fields, self.rfile.read(length)))
            if reply is None:
                self.close_connection = True
                return
            self.send_response_only(reply.status)
            for name, value in reply.fields.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(reply.body)))
            self.end_headers()
            self.wfile.write(reply.body)

        def __getattr__(self, name: str) -> Any:
            """Take every method: http.server looks for a method of this class that is called `do_PUT`."""
            if name.startswith("do_"):
                return self._respond
            raise AttributeError(name)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    return Handler
