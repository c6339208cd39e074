"""A server whose failures a test sets: the stand-ins for metadata services and Identity Center are made of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tests.credentials import http_server
from tests.credentials.http_server import HttpServer, Reaction, Received, message

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


class StandIn(HttpServer):
    """A server on 127.0.0.1. `answer` is what it does when nothing fails; `requests` is what it was asked."""

    def __init__(self, answer: Callable[[Asked], Reply] | None = None) -> None:
        super().__init__()
        self.requests: list[Asked] = []
        self.failures = Failures()
        self._answer = answer

    def answer(self, asked: Asked) -> Reply:
        """Answer one request; called by several threads."""
        return self._answer(asked) if self._answer is not None else Reply(404, b"")

    def respond(self, asked: Asked) -> Reply | Reaction:
        """Answer, or fail as is set."""
        self.requests.append(asked)
        failures = self.failures
        if not asked.path.endswith(failures.only_path):
            return self.answer(asked)
        self.stopping.wait(failures.delay_seconds)
        if failures.is_silent:
            return http_server.SILENCE
        if failures.is_closing:
            return http_server.CLOSE
        if failures.status is not None or failures.body is not None:
            return Reply(failures.status or 200, failures.body or b"", failures.fields)
        return self.answer(asked)

    def react(self, received: Received) -> Reaction:
        """Respond."""
        path, _, query = received.target.partition("?")
        reply = self.respond(Asked(received.method, path, query, received.by_name(), received.body))
        if isinstance(reply, Reaction):
            return reply
        return Reaction(sent=message(reply.status, reply.body, reply.fields.items()))
