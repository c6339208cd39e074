"""A server that keeps its `requests` and fails as a test tells it; stand-ins for authorization servers are made of it.

with OriginalServer() as server:
server.failure = Failure(status=503)      # from now on; None ends it
server.failures.append(Failure(delay_seconds=0.1))   # only for the next request
"""

from __future__ import annotations

import ssl
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from tests.credentials import http_server
from tests.credentials.http_server import HttpServer, Reaction, Received, message

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


class FailingServer(HttpServer):
    """A server in threads; its `reply` is what a subclass is."""

    def __init__(self, *, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(tls=tls)
        self.origin = self.url
        self.requests: list[Request] = []
        self.failures: deque[Failure] = deque()
        self.failure: Failure | None = None

    def reply(self, request: Request) -> Reply:
        """Answer a request that is not to fail."""
        raise NotImplementedError

    def react(self, received: Received) -> Reaction:
        """Keep the request, and answer it or fail."""
        request = Request(received.method, received.target, received.by_name(), received.body)
        self.requests.append(request)
        failure = self.failures.popleft() if self.failures else self.failure
        if failure is None:
            return _response(self.reply(request))
        self.stopping.wait(failure.delay_seconds)
        if failure.is_silent:
            return http_server.SILENCE
        if failure.raw is not None:
            return Reaction(sent=failure.raw, closes=True)
        if failure.closes:
            return http_server.CLOSE
        if failure.status is None:
            return _response(self.reply(request), failure.seconds_between_bytes)
        fields = {"Content-Type": "application/json", **failure.fields}
        return _response(Reply(failure.status, failure.body, fields), failure.seconds_between_bytes)


def _response(reply: Reply, seconds_between_bytes: float | None = None) -> Reaction:
    sent = message(reply.status, reply.body, (("Connection", "close"), *reply.fields.items()))
    return Reaction(sent=sent, seconds_between_bytes=seconds_between_bytes, closes=True)
