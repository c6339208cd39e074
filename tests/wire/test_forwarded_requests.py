"""Requests that are unusual but have one meaning: forwarded, and exactly so."""

from __future__ import annotations

import hashlib
import threading
import time
from typing import NamedTuple

import pytest

from aws_signing_proxy.sigv4 import Identity
from aws_signing_proxy.sigv4.verification import Verifier
from tests.wire.conftest import OK, RawClient, RawUpstream, ReceivedRequest, RunningProxy, WaitFor, exchange
from tests.wire.running_proxy import ENVIRONMENT

_VERIFIER = Verifier(
    service=ENVIRONMENT["ASP_SERVICE"],
    region=ENVIRONMENT["AWS_REGION"],
    identities=lambda _: Identity(ENVIRONMENT["AWS_ACCESS_KEY_ID"], ENVIRONMENT["AWS_SECRET_ACCESS_KEY"]),
)
_SIGNATURE = {b"x-amz-content-sha256", b"x-amz-date", b"authorization"}
HUNDRED_FIELDS = [b"X-%d: %d" % (number, number) for number in range(120)]
LARGE = bytes(range(256)) * 4096


class Row(NamedTuple):
    """What a client sends, and what the upstream must get of it beside Host, Via and the signature."""

    name: str
    data: bytes
    request_line: bytes
    kept: list[bytes]
    length: int | None = None
    body: bytes = b""


def get(field_lines: bytes = b"", *, request_line: bytes = b"GET /a HTTP/1.1") -> bytes:
    return request_line + b"\r\nHost: x\r\n" + field_lines + b"\r\n"


def post(field_lines: bytes, body: bytes, *, method: bytes = b"POST") -> bytes:
    return method + b" /a HTTP/1.1\r\nHost: x\r\n" + field_lines + b"\r\n" + body


GET = b"GET /a HTTP/1.1"
POST = b"POST /a HTTP/1.1"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
CHUNKED_3 = b"3\r\nabc\r\n0\r\n\r\n"


def with_line(name: str, request_line: bytes, forwarded: bytes | None = None) -> Row:
    return Row(name, get(request_line=request_line), forwarded or request_line, [])


def with_fields(name: str, field_lines: bytes, *kept: bytes) -> Row:
    return Row(name, get(field_lines), GET, list(kept))


def with_body(name: str, field_lines: bytes, sent: bytes, body: bytes, *kept: bytes, method: bytes = b"POST") -> Row:
    return Row(name, post(field_lines, sent, method=method), method + b" /a HTTP/1.1", list(kept), len(body), body)


ROWS = [
    with_line("a plain GET", GET),
    with_line("a method in small letters", b"get /a HTTP/1.1"),
    with_line("FOO", b"FOO /a HTTP/1.1"),
    with_line("PROPFIND", b"PROPFIND /a HTTP/1.1"),
    with_line("M-SEARCH", b"M-SEARCH /a HTTP/1.1"),
    with_line("a method of odd characters", b"!#$%&'*+.^_`|~09 /a HTTP/1.1"),
    with_line("OPTIONS", b"OPTIONS /a HTTP/1.1"),
    with_line("DELETE without a body", b"DELETE /a HTTP/1.1"),
    with_line("raw UTF-8 in the target", b"GET /caf\xc3\xa9?q=\xc3\xa9 HTTP/1.1", b"GET /caf%C3%A9?q=%C3%A9 HTTP/1.1"),
    with_line("reserved characters", b"GET /a*b:c@d?e=(f)&g HTTP/1.1", b"GET /a%2Ab%3Ac%40d?e=%28f%29&g HTTP/1.1"),
    with_line("an empty query", b"GET /a? HTTP/1.1", GET),
    with_line("repeated slashes", b"GET //a///b HTTP/1.1"),
    with_line("a URL as target", b"GET http://x/a?b HTTP/1.1", b"GET /a?b HTTP/1.1"),
    with_line("a URL with another host than Host", b"GET http://other:8080/a HTTP/1.1", GET),
    with_line("a URL without a path", b"GET http://x HTTP/1.1", b"GET / HTTP/1.1"),
    with_line("a URL with a query and no path", b"GET HTTPS://x?b=c HTTP/1.1", b"GET /?b=c HTTP/1.1"),
    with_line("HTTP/1.0 with a Host", b"GET /a HTTP/1.0", GET),
    Row("HTTP/1.0 without a Host", b"GET /a HTTP/1.0\r\n\r\n", GET, []),
    Row("HTTP/1.0 with a body", b"POST /a HTTP/1.0\r\nContent-Length: 3\r\n\r\nabc", POST, [], 3, b"abc"),
    Row("HTTP/1.0 that expects something", b"GET /a HTTP/1.0\r\nExpect: x\r\n\r\n", GET, []),
    Row("an empty line before it", b"\r\n" + get(), GET, []),
    Row("two empty lines before it", b"\r\n\r\n" + get(), GET, []),
    Row("a Host with a port", b"GET /a HTTP/1.1\r\nHost: x:8080\r\n\r\n", GET, []),
    Row("a Host with an empty port", b"GET /a HTTP/1.1\r\nHost: x:\r\n\r\n", GET, []),
    Row("a Host that is an IPv6 address", b"GET /a HTTP/1.1\r\nHost: [::1]:8080\r\n\r\n", GET, []),
    Row("a Host that comes last", b"GET /a HTTP/1.1\r\nX: y\r\nhOST: x\r\n\r\n", GET, [b"X: y"]),
    Row("POST without a length has none", get(request_line=POST), POST, [], 0),
    Row("GET that says it has no body", get(b"Content-Length: 0\r\n"), GET, [], 0),
    with_fields("120 fields in their order", b"".join(each + b"\r\n" for each in HUNDRED_FIELDS), *HUNDRED_FIELDS),
    with_fields("a field in odd case", b"x-ODD-cAsE: y\r\n", b"x-ODD-cAsE: y"),
    with_fields("white space around a value stays as it is", b"X:  y \t\r\nY:z\r\n", b"X:  y \t", b"Y:z"),
    with_fields("an empty value", b"X:\r\nY: \r\n", b"X:", b"Y: "),
    with_fields("a repeated field", b"X: 1\r\nY: 2\r\nX: 3\r\n", b"X: 1", b"Y: 2", b"X: 3"),
    with_fields("bytes beyond ASCII in a value", b"X: caf\xc3\xa9\xff\r\n", b"X: caf\xc3\xa9\xff"),
    with_fields("a tab in a value", b"X: a\tb\r\n", b"X: a\tb"),
    with_fields("a name of odd characters", b"!#$%&'*+-.^_`|~09: y\r\n", b"!#$%&'*+-.^_`|~09: y"),
    with_fields("a colon in a value", b"X: a:b\r\n", b"X: a:b"),
    with_fields("a signed field stays", b"A: 1\r\nX-Amz-M: v\r\nB: 2\r\n", b"A: 1", b"X-Amz-M: v", b"B: 2"),
    with_fields("hop-by-hop fields are cut",
        b"Keep-Alive: 1\r\nTE: trailers\r\nX: y\r\nProxy-Connection: a\r\n", b"X: y"),
    with_fields("credentials for a proxy are cut", b"Proxy-Authorization: b\r\nX: y\r\n", b"X: y"),
    with_fields("a field that Connection names is cut",
        b"Connection: x-f, keep-alive\r\nX-F: 1\r\nx-f: 2\r\nX: 3\r\n", b"X: 3"),
    with_fields("a signed field that Connection names is cut", b"X-Amz-M: 1\r\nConnection: X-Amz-M\r\n"),
    with_fields("an upgrade to what is no WebSocket is an ordinary request",
        b"Connection: Upgrade\r\nUpgrade: tls/1.0\r\nX: y\r\n", b"X: y"),
    with_fields("an upgrade to one of several protocols is an ordinary request",
        b"Connection: Upgrade\r\nUpgrade: websocket, h2c\r\nX: y\r\n", b"X: y"),
    with_fields("an upgrade that Connection does not name is an ordinary request",
        b"Upgrade: websocket\r\nX: y\r\n", b"X: y"),
    with_fields("a WebSocket handshake beside another upgrade is an ordinary request",
        b"Connection: Upgrade\r\nUpgrade: websocket\r\nUpgrade: h2c\r\nX: y\r\n", b"X: y"),
    with_fields("a former signature is replaced",
        b"Authorization: AWS4-HMAC-SHA256 x\r\nX-Amz-Date: 1\r\nX: y\r\n", b"X: y"),
    with_fields("a former token is cut", b"X-Amz-Security-Token: t\r\nDate: x\r\nX: y\r\n", b"X: y"),
    with_fields("Via of others stays", b"Via: 1.1 somebody\r\n", b"Via: 1.1 somebody"),
    with_body("DELETE with a body", b"Content-Length: 2\r\n", b"{}", b"{}", method=b"DELETE"),
    with_body("GET with a body", b"Content-Length: 2\r\n", b"{}", b"{}", method=b"GET"),
    with_body("PATCH with a body", b"Content-Length: 2\r\n", b"{}", b"{}", method=b"PATCH"),
    with_body("a length with white space around it", b"Content-Length: \t 3 \t\r\n", b"abc", b"abc"),
    with_body("a length in capitals", b"CONTENT-LENGTH: 3\r\n", b"abc", b"abc"),
    with_body("a body of all bytes", b"Content-Length: 1048576\r\n", LARGE, LARGE),
    with_body("an empty body of chunks", CHUNKED, b"0\r\n\r\n", b""),
    with_body("a chunked body", CHUNKED, b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", b"abcde"),
    with_body("Chunked in capitals", b"Transfer-Encoding: CHUNKED\r\n", CHUNKED_3, b"abc"),
    with_body("chunk sizes in odd spelling",
        CHUNKED, b"00A\r\n0123456789\r\na\r\n0123456789\r\n000\r\n\r\n", b"0123456789" * 2),
    with_body("chunk extensions", CHUNKED, b'3;a;b=c;d="e;\\"\xff"\r\nabc\r\n0;z\r\n\r\n', b"abc"),
    with_body("trailers are dropped", CHUNKED + b"Trailer: X\r\n", b"3\r\nabc\r\n0\r\nX: y\r\nZ:\r\n\r\n", b"abc"),
    with_body("a chunk with line ends in it", CHUNKED, b"7\r\n\r\n0\r\n\r\n\r\n0\r\n\r\n", b"\r\n0\r\n\r\n"),
    with_body("GET with a chunked body", CHUNKED, CHUNKED_3, b"abc", method=b"GET"),
    with_body("Connection cannot unmake the framing",
        b"Connection: content-length, host\r\nContent-Length: 3\r\n", b"abc", b"abc"),
    # The HTTP client of Java sends this with every first request.
    with_body(
        "an upgrade to HTTP/2 is cut, and its body kept",
        b"Connection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAEA\r\nUpgrade: h2c\r\nX: y\r\nContent-Length: 5\r\n",
        b"hello", b"hello", b"X: y",
    ),
    with_body("an upgrade with a chunked body",
        b"Connection: Upgrade\r\nUpgrade: h2c\r\n" + CHUNKED, CHUNKED_3, b"abc"),
    with_body("gzip is not touched",
        b"Content-Encoding: gzip\r\nContent-Length: 3\r\n", b"\x1f\x8b\0", b"\x1f\x8b\0", b"Content-Encoding: gzip"),
]  # fmt: skip

every_row = pytest.mark.parametrize("row", [pytest.param(row, id=row.name) for row in ROWS])


def check(request: ReceivedRequest, row: Row, upstream: RawUpstream) -> None:
    """The upstream got the row's request, signed, and not one byte beside it."""
    assert request.request_line == row.request_line
    lines, signature = request.field_lines[:-3], request.field_lines[-3:]
    length = [] if row.length is None else [b"Content-Length: %d" % row.length]
    via = lines[len(lines) - len(length) - 1]
    assert via.startswith(b"Via: 1.1 aws-signing-proxy-")
    assert lines == [b"Host: 127.0.0.1:%d" % upstream.port, *row.kept, via, *length]
    assert {each.partition(b":")[0].lower() for each in signature} == _SIGNATURE
    assert request.body == row.body
    method, target, _ = request.request_line.split(b" ")
    _VERIFIER.verify(
        method=method,
        raw_target=target,
        fields=[
            (name, value.strip(b" \t")) for name, _, value in (each.partition(b":") for each in request.field_lines)
        ],
        body_sha256=hashlib.sha256(request.body).hexdigest(),
        now=time.time(),
    )


@every_row
def test_an_unusual_request_arrives_exactly_so_and_signed(row: Row, upstream: RawUpstream, proxy: RunningProxy) -> None:
    assert exchange(proxy.port, row.data).body == b"ok"
    (request,) = upstream.requests
    check(request, row, upstream)
    assert upstream.received == request.head + request.body


@pytest.mark.parametrize("row", [pytest.param(row, id=row.name) for row in ROWS if len(row.data) < 300])
def test_an_unusual_request_arrives_alike_when_it_is_sent_byte_by_byte(
    row: Row, upstream: RawUpstream, proxy: RunningProxy
) -> None:
    with RawClient(proxy.port) as client:
        client.send_pieces(row.data[at : at + 1] for at in range(len(row.data)))
        assert client.read_response().body == b"ok"
    (request,) = upstream.requests
    check(request, row, upstream)


def test_a_request_means_the_same_wherever_it_is_cut_in_two(upstream: RawUpstream, proxy: RunningProxy) -> None:
    chunks = b'2;a="b"\r\nab\r\n1\r\nc\r\n0\r\nX: y\r\n\r\n'
    data = b"\r\n" + post(b"X: y\r\nTransfer-Encoding: chunked\r\n", chunks) + get()
    for cut in range(1, len(data)):
        upstream.forget()
        with RawClient(proxy.port) as client:
            client.send_pieces([data[:cut], data[cut:]], between=proxy.settle)
            assert [client.read_response().body for _ in range(2)] == [b"ok", b"ok"]
        assert [each.request_line for each in upstream.requests] == [POST, GET]
        assert upstream.requests[0].body == b"abc"
        assert upstream.received == b"".join(each.head + each.body for each in upstream.requests)


def test_requests_in_one_segment_are_answered_in_their_order(upstream: RawUpstream, proxy: RunningProxy) -> None:
    # Each answer repeats what it answers; the first comes last.
    def reply(request: ReceivedRequest) -> list[bytes]:
        content = request.request_line + b"|" + request.body
        return [b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(content), content)]

    upstream.default_reply = reply
    first_may_go = threading.Event()
    upstream.answer_with(lambda request: [WaitFor(first_may_go), *reply(request)])
    with RawClient(proxy.port) as client:
        client.send(
            post(b"Content-Length: 3\r\n", b"one")
            + get(request_line=b"GET /b HTTP/1.1")
            + post(b"Transfer-Encoding: chunked\r\n", b"5\r\nthree\r\n0\r\n\r\n", method=b"PUT")
            + b"\r\n"
            + post(b"Content-Length: 4\r\n", b"four", method=b"DELETE")
        )
        upstream.wait_for_requests(1)
        first_may_go.set()
        bodies = [client.read_response().body for _ in range(4)]
    assert bodies == [
        b"POST /a HTTP/1.1|one",
        b"GET /b HTTP/1.1|",
        b"PUT /a HTTP/1.1|three",
        b"DELETE /a HTTP/1.1|four",
    ]


def test_a_thousand_pipelined_requests_are_answered(upstream: RawUpstream, proxy: RunningProxy) -> None:
    with RawClient(proxy.port, timeout_seconds=20) as client:
        client.send(get() * 1000)
        for _ in range(1000):
            assert client.read_response().raw == OK


def test_a_malformed_request_behind_good_ones_is_refused_in_its_turn(
    upstream: RawUpstream, proxy: RunningProxy
) -> None:
    with RawClient(proxy.port) as client:
        client.send(get() + get() + get(b"X : y\r\n") + get())
        assert [client.read_response().status for _ in range(2)] == [200, 200]
        assert client.read_response().problem_code == "malformed_request"
        assert client.read_until_closed() == b""
    assert len(upstream.requests) == 2


def test_100_continue_arrives_before_the_body_is_sent_and_nothing_is_forwarded_before(
    upstream: RawUpstream, proxy: RunningProxy
) -> None:
    for body in (b"abc", b"3\r\nabc\r\n0\r\n\r\n"):
        upstream.forget()
        framing = b"Content-Length: 3\r\n" if body == b"abc" else b"Transfer-Encoding: chunked\r\n"
        with RawClient(proxy.port) as client:
            client.send(post(framing + b"eXPECT: 100-Continue\r\n", b""))
            assert client.read_response().raw == b"HTTP/1.1 100 Continue\r\n\r\n"
            assert upstream.received == b""
            client.send(body)
            assert client.read_response().raw == OK
        (request,) = upstream.requests
        assert request.body == b"abc"
        assert request.values(b"Expect") == []


def test_100_continue_is_not_said_to_a_client_that_has_sent_its_body_already(
    upstream: RawUpstream, proxy: RunningProxy
) -> None:
    with RawClient(proxy.port) as client:
        client.send(post(b"Content-Length: 3\r\nExpect: 100-continue\r\n", b"abc"))
        assert client.read_response().raw == OK


def test_a_connection_lives_on_or_ends_as_client_and_version_want_it(
    upstream: RawUpstream, proxy: RunningProxy
) -> None:
    wanted = {
        get(): (True, []),
        get(b"Connection: close\r\n"): (False, [b"close"]),
        get(b"Connection: keep-alive\r\nConnection: x, CLOSE\r\n"): (False, [b"close"]),
        get(request_line=b"GET /a HTTP/1.0"): (False, [b"close"]),
        get(b"Connection: Keep-Alive\r\n", request_line=b"GET /a HTTP/1.0"): (True, [b"keep-alive"]),
        get(b"Connection: close, keep-alive\r\n", request_line=b"GET /a HTTP/1.0"): (False, [b"close"]),
    }
    for data, (is_kept, connection) in wanted.items():
        with RawClient(proxy.port) as client:
            client.send(data)
            response = client.read_response()
            assert response.values(b"Connection") == connection
            if is_kept:
                client.send(data)
                assert client.read_response().raw == response.raw
            else:
                assert client.read_until_closed() == b""
            assert not client.was_reset


def test_head_is_answered_without_a_body_and_the_connection_goes_on(upstream: RawUpstream, proxy: RunningProxy) -> None:
    upstream.answer_with([b"HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n"])
    with RawClient(proxy.port) as client:
        client.send(get(request_line=b"HEAD /a HTTP/1.1"))
        response = client.read_response(is_head_request=True)
        assert response.raw == b"HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n"
        client.send(get())
        assert client.read_response().raw == OK
