"""What the request's path does, one behaviour at a time, without sockets: real objects, and transports that take bytes.

`bench.hot_path` measures the time of each, `bench.instructions` counts its instructions. A behaviour is a function
without arguments that does its work once; `scene` builds everything that they share.
Clocks stand still, so that the same is done each time: a signature's date never changes.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import itertools
import ssl
from collections.abc import Callable, Iterator
from hashlib import sha256
from typing import Any

import trustme

from aws_signing_proxy.app import Application
from aws_signing_proxy.config.loading import load_settings
from aws_signing_proxy.http1.request import parse_request_head
from aws_signing_proxy.http1.request_fields import RequestFields
from aws_signing_proxy.http1.response import read_whole_response
from aws_signing_proxy.http1.response_reader import ResponseReader
from aws_signing_proxy.observe.counters import Counters
from aws_signing_proxy.proxy.context import Context
from aws_signing_proxy.proxy.downstream import DownstreamConnection
from aws_signing_proxy.proxy.rewrite import REQUEST_FIELDS
from aws_signing_proxy.tls.engine import TlsEngine
from aws_signing_proxy.upstream.connection import UpstreamConnection
from aws_signing_proxy.upstream.pool import Pool
from aws_signing_proxy.upstream.tls import TlsSettings

__all__ = ["CALIBRATION", "Behaviour", "scene"]

Behaviour = Callable[[], object]

CALIBRATION = "calibration"
"""Not of this program: what others are divided by, so that a count does not depend on how CPython was built."""

ENVIRONMENT = {
    "ASP_TARGET_URL": "http://search.eu-central-1.es.amazonaws.com",
    "AWS_ACCESS_KEY_ID": "ASIAEXAMPLEEXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "not-a-secret",
    "AWS_SESSION_TOKEN": "T" * 400,
}
NOW = 1_700_000_000.0
FIELDS = (
    b"Host: 127.0.0.1:8080\r\nUser-Agent: client/1.0\r\nAccept: */*\r\nContent-Type: application/json\r\n"
    b"Accept-Encoding: gzip, deflate\r\n"
)
GET = b"GET /index/_doc/1?refresh=true HTTP/1.1\r\n" + FIELDS + b"\r\n"
RESPONSE = (
    b"HTTP/1.1 200 OK\r\nDate: Tue, 24 Nov 2026 03:00:00 GMT\r\nContent-Type: application/json\r\n"
    b"Content-Length: 77\r\nConnection: keep-alive\r\nX-Amzn-RequestId: 0f7f3a3e-7b9c-4f1c-9c55-1f2e3d4c5b6a\r\n\r\n"
    + b"y"
    * 77
)
CHUNKED_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
CHUNK = b"1000\r\n" + b"z" * 4096 + b"\r\n"


def post(size: int, fields: bytes = FIELDS) -> bytes:
    """Return a whole POST with a body of `size` bytes."""
    line = b"POST /index/_doc/1?refresh=true HTTP/1.1\r\n"
    return line + fields + b"Content-Length: %d\r\n\r\n" % size + b"x" * size


class Sink(asyncio.Transport):
    """A transport that drops what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = 0

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        self.written += len(data)

    def is_closing(self) -> bool:
        return False

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass

    def abort(self) -> None:
        pass

    def close(self) -> None:
        pass


class _Path:
    """One client's connection and one to the service, and what is received on them."""

    def __init__(self, application: Application, tls: TlsSettings | None = None) -> None:
        context = _context_of(application)
        self.context = context
        self.sink = Sink()
        self.downstream = DownstreamConnection(context, application.server)
        self.downstream.connection_made(self.sink)
        self.upstream = UpstreamConnection(context.route.upstream, None if tls is None else tls.engine())
        self.upstream.connection_made(Sink())
        self.upstream.is_pooled = True

    def exchange(self, requests: list[bytes], responses: list[bytes], encrypt: Callable[[bytes], bytes]) -> None:
        """Take one request through the whole path; it is received in pieces, and so is its response."""
        pool = self.context.route.upstream._pool  # noqa: SLF001 - a bench may look inside
        # Each path has its connection alone in the pool, whatever other paths have left there.
        pool.drain()
        pool.connecting += 1
        pool.connected(self.upstream, 0.0)
        before = self.sink.written
        for piece in requests:
            self.downstream.data_received(piece)
        for piece in responses:
            self.upstream.data_received(encrypt(piece))
        assert self.sink.written > before, "the request was not answered"


def _context_of(application: Application) -> Context:
    return application.server._context  # noqa: SLF001 - a bench may look inside


@contextlib.contextmanager
def scene() -> Iterator[dict[str, Behaviour]]:
    """Yield every behaviour by its name, ready to be called; the calibration is the first."""
    with contextlib.closing(asyncio.new_event_loop()) as loop:
        application = loop.run_until_complete(_application())
        yield {CALIBRATION: calibrate} | _whole_requests(application, trustme.CA()) | _parts(application)
        loop.run_until_complete(application.credentials.stop())


async def _application() -> Application:
    application = Application(load_settings({}, ENVIRONMENT).settings, ENVIRONMENT)
    await application.credentials.start()
    context = _context_of(application)
    # A C function each, as the real clocks are.
    context.clock = itertools.repeat(1.0).__next__
    context.wall_clock = itertools.repeat(NOW).__next__
    return application


def _whole_requests(application: Application, authority: trustme.CA) -> dict[str, Behaviour]:
    def plain(data: bytes) -> bytes:
        return data

    def path(requests: list[bytes], responses: list[bytes]) -> Behaviour:
        own = _Path(application)
        return lambda: own.exchange(requests, responses, plain)

    body = post(16384)
    numbers = itertools.count(10_000_000)
    changing = _Path(application)
    return {
        "request: GET": path([GET], [RESPONSE]),
        "request: POST 1 KB": path([post(1024)], [RESPONSE]),
        "request: POST 1 KB, fields never seen before": lambda: changing.exchange(
            [post(1024, FIELDS + b"X-Request-Id: %d\r\n" % next(numbers))], [RESPONSE], plain
        ),
        "request: POST 16 KB in four reads": path(
            [body[at : at + 4200] for at in range(0, len(body), 4200)], [RESPONSE]
        ),
        "request: POST 1 KB, TLS upstream": _over_tls(application, authority),
        "relay: 64 KB in 16 chunks": path([GET], [CHUNKED_HEAD, *[CHUNK] * 16, b"0\r\n\r\n"]),
    }


def _over_tls(application: Application, authority: trustme.CA) -> Behaviour:
    client, server = ssl.create_default_context(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.configure_trust(client)
    authority.issue_cert("service.test").configure_cert(server)
    own = _Path(application, TlsSettings(client, "service.test"))
    service, ours = TlsEngine(server, is_server=True), own.upstream._tls  # noqa: SLF001 - a bench may look inside
    assert ours is not None
    answer, is_done = b"", False
    while not is_done:
        hello, is_done = ours.handshake(answer)
        answer, _ = service.handshake(hello)
    ours.decrypt(answer)  # the tickets
    requests, responses = [post(1024)], [RESPONSE]
    return lambda: own.exchange(requests, responses, service.encrypt)


def _parts(application: Application) -> dict[str, Behaviour]:
    context = _context_of(application)
    rewriter, credentials = context.route.rewriter, context.route.credentials.current
    assert credentials is not None
    head = post(1024).partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
    request = parse_request_head(head, REQUEST_FIELDS)
    digest = sha256(b"x" * 1024).hexdigest().encode()
    counters, never_remembers = Counters(), RequestFields(fleeting={b"host"})

    def prepare_and_sign() -> None:
        prepared = rewriter.prepare(request)
        rewriter.finish(prepared, body_length=1024, body_sha256=digest, identity=credentials, now=NOW)

    def read_response() -> None:
        reader = ResponseReader(is_head_request=False, upgrade=None)
        reader.feed(RESPONSE)
        assert reader.head is not None
        reader.head.render(body_length=77, is_http10=False, closes=False)

    return {
        "parse: head with known fields": lambda: parse_request_head(head, REQUEST_FIELDS),
        "parse: head with new fields": lambda: parse_request_head(head, never_remembers),
        "sign: rewritten head": prepare_and_sign,
        "relay: whole response": lambda: read_whole_response(RESPONSE),
        "relay: response in parts, its head": read_response,
        "pool: take and give back": _pool_turn(),
        "counters: a request": lambda: counters.request_done(b"POST", 200, "ok", 0.004, 0.003, 0.00001, 1024, 77),
    }


def _pool_turn() -> Behaviour:
    pool: Pool[_IdleConnection, Any] = Pool(max_connections=64, idle_timeout_seconds=90.0)
    for _ in range(32):
        pool.connecting += 1
        pool.connected(_IdleConnection(), 0.0)

    def turn() -> None:
        connection = pool.take()
        assert connection is not None
        pool.released(connection, 1.0)

    return turn


class _IdleConnection:
    def __init__(self) -> None:
        self.idle_since = 0.0
        self.expires_at = float("inf")


class _Calibrator:
    """Work of the kind that the path of a request does, in the interpreter and in C, and none of its code."""

    __slots__ = ("key", "lines", "seen")

    def __init__(self) -> None:
        self.key = hmac.new(b"k" * 32, digestmod="sha256")
        self.lines = [(b"name-%d" % number, b"value  of a field %d" % number) for number in range(8)]
        self.seen: dict[bytes, int] = {}

    def line(self, name: bytes, value: bytes) -> bytes:
        """Call, branch, look up, build bytes."""
        self.seen[name] = self.seen.get(name, 0) + 1 if len(self.seen) < 100 else 0
        return name + b":" + b" ".join(value.split()) + b"\n"

    def work(self) -> bytes:
        """Do all of it once."""
        text = b""
        for name, value in self.lines:
            text += self.line(name, value)
        start = text.find(b"name-7")
        digest = sha256(text).hexdigest().encode()
        keyed = self.key.copy()
        keyed.update(digest)
        return b"%b%d %b\r\n" % (text[start:], len(text), keyed.digest())


_CALIBRATOR = _Calibrator()


def calibrate() -> None:
    """Do the calibration's work often enough to be measured like a request."""
    for _ in range(8):
        _CALIBRATOR.work()
