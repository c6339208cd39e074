"""A Vault server to test against: `vault_backend` behind HTTP or HTTPS on 127.0.0.1, with failures to order.

with VaultServer() as vault:
    vault.backend.add_token()
    vault.backend.roles["aws/creds/dev"] = AwsRole()
    ...  # vault.url, vault.requests, vault.fail("aws/", Failure(status=503)), vault.clock.now += 3600
"""

from __future__ import annotations

import json
import ssl
import threading
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from tests.credentials import http_server
from tests.credentials.http_server import HttpServer, Reaction, Received, message
from tests.credentials.vault.vault_backend import Backend, RefusedError

SILENCE = "silence"
"""Accepts the request and never answers."""
CLOSE = "close"
"""Closes the connection instead of answering."""
DRIP = "drip"
"""Answers one byte every 20 ms, without end."""
_REACTIONS = {
    SILENCE: http_server.SILENCE,
    CLOSE: http_server.CLOSE,
    DRIP: Reaction(sent=b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * 60_000, seconds_between_bytes=0.02),
}


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


class VaultServer(HttpServer):
    """A running server. `tls`: a context that holds its certificate; without it, plain HTTP."""

    def __init__(self, *, clock: Clock | None = None, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(tls=tls)
        self.clock = clock or Clock()
        self.backend = Backend(self.clock)
        self.requests: list[Seen] = []
        self.is_sealed = False
        self._failures: list[tuple[str, Failure, int | None]] = []
        self._lock = threading.Lock()

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

    def react(self, received: Received) -> Reaction:
        """Keep the request, and do what a failure or Vault would."""
        target = urlsplit(received.target)
        path = target.path.partition("/v1/")[2]
        body = json.loads(received.body or b"{}") or {}
        seen = Seen(received.method, path, dict(parse_qsl(target.query)), received.by_name(), body)
        self.requests.append(seen)
        failure = self.failure_for(path)
        if failure is None:
            return _response(*self.answer(seen))
        if failure.is_after:
            self.answer(seen)
        self.stopping.wait(failure.delay_seconds)
        if failure.status == 0:
            return _response(*self.answer(seen))
        if failure.kind:
            return _REACTIONS[failure.kind]
        return _response(failure.status, failure.body, failure.content_type, failure.headers)


def _response(
    status: int, body: bytes, content_type: str = "application/json", headers: tuple[tuple[str, str], ...] = ()
) -> Reaction:
    return Reaction(
        sent=message(status, body, (("Cache-Control", "no-store"), ("Content-Type", content_type), *headers))
    )
