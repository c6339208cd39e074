"""Responses arrive as they were sent: fields, order, case, bytes; only what belongs to one hop is cut."""

from __future__ import annotations

import gzip
import threading
from typing import NamedTuple

import pytest

from tests.wire.conftest import (
    OK,
    End,
    RawClient,
    RawUpstream,
    RunningProxy,
    Step,
    WaitFor,
    exchange,
    in_pieces,
    raw_client,
)

GET = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n"
GET_10 = b"GET /a HTTP/1.0\r\n\r\n"
GET_10_KEPT = b"GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"
HEAD = b"HEAD /a HTTP/1.1\r\nHost: x\r\n\r\n"
CHUNKS = b'3;a="b"\r\nabc\r\n00a\r\n0123456789\r\n0\r\nX-Sum: 1\r\nx-SUM: 2\r\n\r\n'
GZIPPED = gzip.compress(b"plain text" * 100, mtime=0)


class Row(NamedTuple):
    """What the upstream sends, and exactly what a client of HTTP/1.1 gets; the same where `received` is empty."""

    name: str
    sent: bytes
    received: bytes = b""
    request: bytes = GET


def fields(field_lines: bytes, *, status: bytes = b"200 OK") -> bytes:
    return b"HTTP/1.1 %b\r\nContent-Length: 2\r\n%b\r\nok" % (status, field_lines)


ROWS = [
    Row("order and case of fields", fields(b"zZ: 1\r\nA: 2\r\nmIxEd-CaSe: 3\r\nA: 4\r\n")),
    Row("a repeated Set-Cookie", fields(b"Set-Cookie: a=1, b\r\nX: y\r\nSet-Cookie: c=2; Path=/\r\nset-cookie: d\r\n")),
    Row("white space and empty values", fields(b"A:1\r\nB:   2\t \r\nC:\r\nD: \r\n")),
    Row("bytes beyond ASCII", fields(b"X: caf\xc3\xa9\xff\r\n")),
    Row("a name of odd characters", fields(b"!#$%&'*+-.^_`|~09: y\r\n")),
    Row("120 fields", fields(b"".join(b"X-%d: %d\r\n" % (number, number) for number in range(120)))),
    Row("a large field", fields(b"X: " + b"y" * 60_000 + b"\r\n")),
    Row("Via, Server and Date of the upstream", fields(b"Via: 1.1 x\r\nServer: y\r\nDate: z\r\n")),
    Row("a reason in other words", fields(b"", status=b"200 Fine, th\xc3\xa4nks")),
    Row("no reason", fields(b"", status=b"200 ")),
    Row("a status that nobody knows", fields(b"", status=b"299 Odd")),
    Row("a redirect is not followed", fields(b"Location: http://elsewhere/\r\n", status=b"307 Temporary Redirect")),
    Row("an error of the upstream", fields(b"X: y\r\n", status=b"500 Internal Server Error")),
    Row("an error of authentication", fields(b"WWW-Authenticate: Basic\r\n", status=b"401 Unauthorized")),
    Row("gzip", b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(GZIPPED) + GZIPPED),
    Row("all bytes", b"HTTP/1.1 200 OK\r\nContent-Length: 1048576\r\n\r\n" + bytes(range(256)) * 4096),
    Row("no body", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
    Row("chunks, their extensions and trailers",
        b"HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n" + CHUNKS),
    Row("chunked in capitals", b"HTTP/1.1 200 OK\r\ntransfer-encoding: CHUNKED\r\n\r\n0\r\n\r\n"),
    Row("204", b"HTTP/1.1 204 No Content\r\nX: y\r\n\r\n"),
    Row(
        "204 loses a length that it must not have",
        b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\nX: y\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\nX: y\r\n\r\n",
    ),
    Row("304 with the length of what is not sent",
        b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\nETag: z\r\n\r\n"),
    Row("304 without a length", b"HTTP/1.1 304 Not Modified\r\nETag: z\r\n\r\n"),
    Row("HEAD with the length of what is not sent", b"HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n", request=HEAD),
    Row("HEAD with chunks that are not sent", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", request=HEAD),
    Row("HEAD without a length", b"HTTP/1.1 200 OK\r\nX: y\r\n\r\n", request=HEAD),
    Row(
        "hop-by-hop fields are cut",
        fields(b"A: 1\r\nConnection: keep-alive\r\nKeep-Alive: timeout=5\r\nUpgrade: h2c\r\nTE: x\r\nB: 2\r\n"),
        fields(b"A: 1\r\nB: 2\r\n"),
    ),
    Row(
        "fields for the next proxy are cut",
        fields(b"Proxy-Connection: x\r\nProxy-Authenticate: y\r\nB: 2\r\nProxy-Authorization: z\r\n"),
        fields(b"B: 2\r\n"),
    ),
    Row(
        "fields that Connection names are cut",
        fields(b"X-Foo: 1\r\nConnection: x-foo, X-BAR\r\nX-Foo-Bar: 2\r\nx-bar: 3\r\nX-FOO: 4\r\n"),
        fields(b"X-Foo-Bar: 2\r\n"),
    ),
    Row(
        "Connection cannot unmake a length",
        fields(b"Connection: content-length, close\r\nX: y\r\n"),
        fields(b"X: y\r\n"),
    ),
    Row(
        "Connection cannot unmake chunks",
        b"HTTP/1.1 200 OK\r\nConnection: Transfer-Encoding\r\nTransfer-Encoding: chunked\r\n\r\n" + CHUNKS,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + CHUNKS,
    ),
    Row("HTTP/1.0 with a length", b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", OK),
    Row(
        "HTTP/1.0 that keeps the connection",
        b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok",
        OK,
    ),
    Row("early hints come first", b"HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\nlink: b\r\n\r\n" + OK),
    Row("several interim responses", b"HTTP/1.1 102 Processing\r\n\r\n" * 16 + OK),
    Row("100 was said by the proxy itself", b"HTTP/1.1 100 Continue\r\nX: y\r\n\r\n" + OK, OK),
    Row(
        "an interim response loses what belongs to one hop",
        b"HTTP/1.1 103 Early Hints\r\nConnection: x\r\nX: y\r\nLink: z\r\n\r\n" + OK,
        b"HTTP/1.1 103 Early Hints\r\nLink: z\r\n\r\n" + OK,
    ),
]  # fmt: skip


@pytest.mark.parametrize("row", [pytest.param(row, id=row.name) for row in ROWS])
@pytest.mark.parametrize("size", [10**9, 7], ids=["at once", "in pieces"])
def test_a_response_arrives_as_it_was_sent(row: Row, size: int, upstream: RawUpstream, proxy: RunningProxy) -> None:
    if size < 1000 < len(row.sent):
        size = 10_007
    upstream.answer_with(in_pieces(row.sent, size))
    with RawClient(proxy.port) as client:
        client.send(row.request)
        received = b""
        while True:
            response = client.read_response(is_head_request=row.request is HEAD)
            received += response.raw
            if response.status >= 200:
                break
        assert received == (row.received or row.sent)
        # Where it ended is clear to both sides: the same connection goes on.
        client.send(GET)
        assert client.read_response().raw == OK


@pytest.mark.parametrize(
    ("sent", "received"),
    [
        (b"HTTP/1.1 200 OK\r\nX: y\r\n\r\n", b"HTTP/1.1 200 OK\r\nX: y\r\n"),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\nX: y\r\n\r\n", b"HTTP/1.1 200 OK\r\nX: y\r\n"),
        (b"HTTP/1.0 200 OK\r\nX: y\r\n\r\n", b"HTTP/1.1 200 OK\r\nX: y\r\n"),
    ],
    ids=["HTTP/1.1", "with Connection: close", "HTTP/1.0"],
)
@pytest.mark.parametrize("body", [b"", b"abc", bytes(300_000)], ids=["no body", "a body", "a large body"])
def test_a_body_that_ends_with_the_connection_is_chunked_for_http11_and_so_its_end_is_certain(
    sent: bytes, received: bytes, body: bytes, upstream: RawUpstream, proxy: RunningProxy
) -> None:
    upstream.answer_with([sent + body[:2], body[2:], End.CLOSE])
    with RawClient(proxy.port) as client:
        client.send(GET)
        response = client.read_response()
        assert response.head == received + b"Transfer-Encoding: chunked\r\n\r\n"
        assert response.body == body
        client.send(GET)
        assert client.read_response().raw == OK


HTTP10_ROWS = [
    ("a counted body", fields(b"X: y\r\n"), fields(b"X: y\r\n"), True),
    ("chunks are decoded", b"HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\nX: y\r\n\r\n" + CHUNKS,
     b"HTTP/1.1 200 OK\r\nX: y\r\n\r\nabc0123456789", False),
    ("interim responses are kept from it", b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + OK, OK, True),
    ("204", b"HTTP/1.1 204 No Content\r\nX: y\r\n\r\n", b"HTTP/1.1 204 No Content\r\nX: y\r\n\r\n", True),
    ("a coding that 304 speaks of", b"HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\nX: y\r\n\r\n",
     b"HTTP/1.1 304 Not Modified\r\nX: y\r\n\r\n", True),
]  # fmt: skip


@pytest.mark.parametrize(
    ("sent", "received", "is_kept"), [row[1:] for row in HTTP10_ROWS], ids=[row[0] for row in HTTP10_ROWS]
)
@pytest.mark.parametrize("size", [10**9, 5], ids=["at once", "in pieces"])
def test_a_client_of_http10_gets_what_it_can_read(
    sent: bytes, received: bytes, size: int, upstream: RawUpstream, proxy: RunningProxy, *, is_kept: bool
) -> None:
    head, _, body = received.partition(b"\r\n\r\n")
    upstream.answer_with(in_pieces(sent, size), in_pieces(sent, size))
    assert raw_client(proxy.port, GET_10) == head + b"\r\nConnection: close\r\n\r\n" + body
    with RawClient(proxy.port) as client:
        client.send(GET_10_KEPT)
        response = client.read_response()
        assert response.head == head + b"\r\nConnection: %b\r\n\r\n" % (b"keep-alive" if is_kept else b"close")
        assert response.body == body
        if is_kept:
            client.send(GET_10_KEPT)
            assert client.read_response().body == b"ok"


def test_a_body_that_ends_with_the_connection_ends_so_for_http10(upstream: RawUpstream, proxy: RunningProxy) -> None:
    reply: list[Step] = [b"HTTP/1.1 200 OK\r\nX: y\r\n\r\nab", b"c", End.CLOSE]
    upstream.answer_with(reply, reply)
    expected = b"HTTP/1.1 200 OK\r\nX: y\r\nConnection: close\r\n\r\nabc"
    assert raw_client(proxy.port, GET_10) == expected
    assert raw_client(proxy.port, GET_10_KEPT) == expected


def test_bytes_of_a_response_are_passed_on_as_they_come(upstream: RawUpstream, proxy: RunningProxy) -> None:
    seen = [threading.Event() for _ in range(4)]
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n"
    early = b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
    upstream.answer_with(
        [early, WaitFor(seen[0]), head, WaitFor(seen[1]), b"data", WaitFor(seen[2]), b"more", WaitFor(seen[3])]
    )
    with RawClient(proxy.port) as client:
        client.send(GET)
        for each, event in zip([early, head, b"data", b"more"], seen, strict=True):
            assert client.read_some() == each
            event.set()


def test_connections_to_the_upstream_are_used_again_when_a_response_allows_it(upstream: RawUpstream) -> None:
    kept = {
        OK: True,
        fields(b"Connection: close\r\n"): False,
        fields(b"Connection: x, Close\r\n"): False,
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok": False,
        b"HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 2\r\n\r\nok": True,
        b"HTTP/1.0 200 OK\r\nConnection: keep-alive, close\r\nContent-Length: 2\r\n\r\nok": False,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n": True,
        b"HTTP/1.1 204 No Content\r\n\r\n": True,
    }
    for response, is_kept in kept.items():
        upstream.forget()
        with RunningProxy(upstream.url) as proxy:
            upstream.answer_with([response])
            exchange(proxy.port, GET)
            exchange(proxy.port, GET)
        first, second = upstream.requests
        assert (first.connection == second.connection) is is_kept, response


def test_a_response_that_comes_before_the_whole_request_was_taken_is_passed_on(
    upstream: RawUpstream, proxy: RunningProxy
) -> None:
    upstream.reads_bodies = False
    taken = threading.Event()
    refusal = b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nbig"
    upstream.answer_with([refusal, WaitFor(taken), End.CLOSE])
    size = 64 * 1024 * 1024
    with RawClient(proxy.port, timeout_seconds=20) as client:
        client.send(b"PUT /a HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % size)
        for _ in range(64):
            client.send(bytes(1024 * 1024))
        response = client.read_response()
        taken.set()
        assert response.raw == refusal
    upstream.forget()
    # The rest of the body must not be taken for a request of somebody else.
    assert exchange(proxy.port, GET).raw == OK
    assert [request.request_line for request in upstream.requests] == [b"GET /a HTTP/1.1"]
