"""Requests that two readers could read in two ways, or that nobody should read: refused, and nothing forwarded.

Sections are those of RFC 9112 (HTTP/1.1) unless another RFC is named.
"""

from __future__ import annotations

from typing import NamedTuple

import pytest

from tests.wire.conftest import RawClient, RawUpstream, RunningProxy, exchange

MALFORMED = (400, "malformed_request")
AMBIGUOUS = (400, "ambiguous_framing")
BAD_HOST = (400, "bad_host")
BAD_TARGET = (400, "bad_request_target")
NO_TUNNEL = (405, "method_not_supported")
NO_EXPECTATION = (417, "expectation_failed")
TOO_LARGE = (431, "head_too_large")
NO_PAYLOAD = (501, "payload_not_supported")
NO_VERSION = (505, "version_not_supported")

SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"


class Row(NamedTuple):
    name: str
    data: bytes
    answer: tuple[int, str]


def line(request_line: bytes) -> bytes:
    return request_line + b"\r\nHost: x\r\n\r\n"


def post(field_lines: bytes, body: bytes = b"") -> bytes:
    return b"POST /x HTTP/1.1\r\nHost: x\r\n" + field_lines + b"\r\n" + body


def hosts(field_lines: bytes) -> bytes:
    return b"GET / HTTP/1.1\r\n" + field_lines + b"\r\n"


def chunked(body: bytes) -> bytes:
    return post(b"Transfer-Encoding: chunked\r\n", body)


LENGTHS = [
    Row("a length beside chunks", post(b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", b"0\r\n"), AMBIGUOUS),
    Row("chunks beside a length", post(b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", b"0\r\n"), AMBIGUOUS),
    Row(
        "a length beside chunks in a request that asks for an upgrade",
        post(b"Content-Length: 0\r\nTransfer-Encoding: chunked\r\nConnection: upgrade\r\nUpgrade: x\r\n", b"0\r\n\r\n"),
        AMBIGUOUS,
    ),
    Row("a length of zero beside chunks", post(b"Content-Length: 0\r\nTransfer-Encoding: chunked\r\n"), AMBIGUOUS),
    Row("the same length twice", post(b"Content-Length: 5\r\nContent-Length: 5\r\n", b"abcde"), AMBIGUOUS),
    Row("two lengths", post(b"Content-Length: 5\r\nContent-Length: 0\r\n", b"abcde"), AMBIGUOUS),
    Row("two lengths, one in capitals", post(b"content-length: 5\r\nCONTENT-LENGTH: 6\r\n", b"abcde"), AMBIGUOUS),
    Row("a list of the same length", post(b"Content-Length: 5, 5\r\n", b"abcde"), AMBIGUOUS),
    Row("a list of lengths", post(b"Content-Length: 5,6\r\n", b"abcde"), AMBIGUOUS),
    Row("a length with a plus sign", post(b"Content-Length: +5\r\n", b"abcde"), AMBIGUOUS),
    Row("a negative length", post(b"Content-Length: -5\r\n", b"abcde"), AMBIGUOUS),
    Row("a negative length of zero", post(b"Content-Length: -0\r\n"), AMBIGUOUS),
    Row("a hexadecimal length", post(b"Content-Length: 0x5\r\n", b"abcde"), AMBIGUOUS),
    Row("a length with a letter", post(b"Content-Length: 5a\r\n", b"abcde"), AMBIGUOUS),
    Row("an empty length", post(b"Content-Length:\r\n"), AMBIGUOUS),
    Row("a length of one space", post(b"Content-Length:  \r\n"), AMBIGUOUS),
    Row("a length with a leading zero", post(b"Content-Length: 05\r\n", b"abcde"), AMBIGUOUS),
    Row("a length of two zeros", post(b"Content-Length: 00\r\n"), AMBIGUOUS),
    Row("a length above 2 to the power of 64", post(b"Content-Length: 18446744073709551621\r\n", b"abcde"), AMBIGUOUS),
    Row("a length above 2 to the power of 63", post(b"Content-Length: 9223372036854775813\r\n", b"abcde"), AMBIGUOUS),
    Row("a length with an underscore", post(b"Content-Length: 1_0\r\n", b"0123456789"), AMBIGUOUS),
    Row("a length with a tab in it", post(b"Content-Length: 1\t0\r\n", b"0123456789"), AMBIGUOUS),
    Row("a length with a space in it", post(b"Content-Length: 1 0\r\n", b"0123456789"), AMBIGUOUS),
    Row("a length with a decimal point", post(b"Content-Length: 5.0\r\n", b"abcde"), AMBIGUOUS),
    Row("a length in Arabic digits", post(b"Content-Length: \xd9\xa5\r\n", b"abcde"), AMBIGUOUS),
    Row("a length in quotes", post(b'Content-Length: "5"\r\n', b"abcde"), AMBIGUOUS),
    Row("a length with a vertical tab before it", post(b"Content-Length: \x0b5\r\n", b"abcde"), AMBIGUOUS),
    Row("a length with NUL behind it", post(b"Content-Length: 5\x00\r\n", b"abcde"), MALFORMED),
    Row("a folded length", post(b"Content-Length:\r\n 5\r\n", b"abcde"), MALFORMED),
    Row("a length with a space before its colon", post(b"Content-Length : 5\r\n", b"abcde"), MALFORMED),
]  # fmt: skip

CODINGS = [
    Row("xchunked", post(b"Transfer-Encoding: xchunked\r\n", b"0\r\n\r\n"), AMBIGUOUS),
    Row("chunkedx", post(b"Transfer-Encoding: chunkedx\r\n", b"0\r\n\r\n"), AMBIGUOUS),
    Row("chunked twice in a list", post(b"Transfer-Encoding: chunked, chunked\r\n", b"0\r\n\r\n"), AMBIGUOUS),
    Row("chunked in two fields", post(b"Transfer-Encoding: chunked\r\n" * 2, b"0\r\n\r\n"), AMBIGUOUS),
    Row("gzip before chunked", post(b"Transfer-Encoding: gzip, chunked\r\n", b"0\r\n\r\n"), AMBIGUOUS),
    Row(
        "gzip before chunked in two fields",
        post(b"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\n"),
        AMBIGUOUS,
    ),
    Row(
        "identity behind chunked in two fields",
        post(b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", b"0\r\n\r\n"),
        AMBIGUOUS,
    ),
    Row("gzip behind chunked", post(b"Transfer-Encoding: chunked, gzip\r\n", b"0\r\n\r\n"), AMBIGUOUS),
    Row("gzip alone", post(b"Transfer-Encoding: gzip\r\n", b"0\r\n\r\n"), AMBIGUOUS),
    Row("identity", post(b"Transfer-Encoding: identity\r\n", b"0\r\n\r\n"), AMBIGUOUS),
    Row("chunked with a parameter", post(b"Transfer-Encoding: chunked;q=1\r\n", b"0\r\n\r\n"), AMBIGUOUS),
    Row("chunked in quotes", post(b'Transfer-Encoding: "chunked"\r\n', b"0\r\n\r\n"), AMBIGUOUS),
    Row("chunked behind a vertical tab", post(b"Transfer-Encoding: \x0bchunked\r\n", b"0\r\n\r\n"), MALFORMED),
    Row("chunked before NUL", post(b"Transfer-Encoding: chunked\x00\r\n", b"0\r\n\r\n"), MALFORMED),
    Row("chunked behind a comma", post(b"Transfer-Encoding: ,chunked\r\n", b"0\r\n\r\n"), AMBIGUOUS),
    Row("chunked before a comma", post(b"Transfer-Encoding: chunked,\r\n", b"0\r\n\r\n"), AMBIGUOUS),
    Row("a folded coding", post(b"Transfer-Encoding:\r\n chunked\r\n", b"0\r\n\r\n"), MALFORMED),
    Row("a coding with a space before its colon", post(b"Transfer-Encoding : chunked\r\n", b"0\r\n\r\n"), MALFORMED),
    Row("a coding with no value", post(b"Transfer-Encoding:\r\n", b"0\r\n\r\n"), AMBIGUOUS),
    Row("a coding behind a bare CR", post(b"X: y\rTransfer-Encoding: chunked\r\n", b"0\r\n\r\n"), MALFORMED),
    Row("a coding behind a bare LF", post(b"X: y\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\n"), MALFORMED),
    Row(
        "chunks in HTTP/1.0",
        b"POST / HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        AMBIGUOUS,
    ),
    Row(
        "chunks in HTTP/1.0 that keeps the connection",
        b"POST / HTTP/1.0\r\nHost: x\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        AMBIGUOUS,
    ),
]  # fmt: skip

CHUNKS = [
    Row("a chunk size of 0x5", chunked(b"0x5\r\nabcde\r\n0\r\n\r\n"), AMBIGUOUS),
    Row("a chunk size with a plus sign", chunked(b"+5\r\nabcde\r\n0\r\n\r\n"), AMBIGUOUS),
    Row("a negative chunk size", chunked(b"-1\r\nabcde\r\n0\r\n\r\n"), AMBIGUOUS),
    Row("a space before a chunk size", chunked(b" 5\r\nabcde\r\n0\r\n\r\n"), AMBIGUOUS),
    Row("a space behind a chunk size", chunked(b"5 \r\nabcde\r\n0\r\n\r\n"), AMBIGUOUS),
    Row("a tab behind a chunk size", chunked(b"5\t\r\nabcde\r\n0\r\n\r\n"), AMBIGUOUS),
    Row("a chunk size of 17 digits", chunked(b"10000000000000005\r\nabcde\r\n0\r\n\r\n"), AMBIGUOUS),
    Row("a chunk size of 16 digits", chunked(b"f000000000000005\r\nabcde\r\n0\r\n\r\n"), AMBIGUOUS),
    Row("a chunk size that is no number", chunked(b"g\r\nabcde\r\n0\r\n\r\n"), AMBIGUOUS),
    Row("an empty chunk size", chunked(b"\r\nabcde\r\n0\r\n\r\n"), AMBIGUOUS),
    Row("a chunk size with an underscore", chunked(b"1_0\r\n0123456789abcdef\r\n0\r\n\r\n"), AMBIGUOUS),
    Row("a chunk size line with a bare LF", chunked(b"5\nabcde\r\n0\r\n\r\n"), AMBIGUOUS),
    Row("a chunk size line with a bare CR", chunked(b"5\rabcde\r\n0\r\n\r\n"), AMBIGUOUS),
    Row("a chunk size line with NUL", chunked(b"5\x00\r\nabcde\r\n0\r\n\r\n"), AMBIGUOUS),
    Row("a last chunk with a bare LF", chunked(b"5\r\nabcde\r\n0\n\r\n"), AMBIGUOUS),
    Row("a chunk that ends with a bare LF", chunked(b"5\r\nabcde\n0\r\n\r\n"), AMBIGUOUS),
    Row("an extension without a name", chunked(b"5;\r\nabcde\r\n0\r\n\r\n"), AMBIGUOUS),
    Row("an extension without a value", chunked(b"5;a=\r\nabcde\r\n0\r\n\r\n"), AMBIGUOUS),
    Row("an extension with a space before it", chunked(b"5 ;a=b\r\nabcde\r\n0\r\n\r\n"), AMBIGUOUS),
    Row("an extension with a bare LF", chunked(b"5;a\nb\r\nabcde\r\n0\r\n\r\n"), AMBIGUOUS),
    Row("an extension with a bare CR", chunked(b"5;a\rb\r\nabcde\r\n0\r\n\r\n"), AMBIGUOUS),
    Row("an extension with a quoted line end", chunked(b'5;a="\r\n"\r\nabcde\r\n0\r\n\r\n'), AMBIGUOUS),
    Row("an extension with an escaped line end", chunked(b'5;a="\\\n"\r\nabcde\r\n0\r\n\r\n'), AMBIGUOUS),
    Row("an extension that never ends", chunked(b"5;a=" + b"b" * 2000), AMBIGUOUS),
    Row("a chunk that is longer than it says", chunked(b"4\r\nabcde\r\n0\r\n\r\n"), AMBIGUOUS),
    Row("a chunk that is shorter than it says", chunked(b"6\r\nabcde\r\n0\r\n\r\n"), AMBIGUOUS),
    Row("a chunk without a line end", chunked(b"5\r\nabcde0\r\n\r\n"), AMBIGUOUS),
    Row("a request in place of the last line end", chunked(b"0\r\n" + SMUGGLED), AMBIGUOUS),
    Row("a length among the trailers", chunked(b"0\r\nContent-Length: 5\r\n\r\n"), AMBIGUOUS),
    Row("a coding among the trailers", chunked(b"0\r\nTransfer-Encoding: chunked\r\n\r\n"), AMBIGUOUS),
    Row("a host among the trailers", chunked(b"0\r\nX: y\r\nhost: y\r\n\r\n"), AMBIGUOUS),
    Row("a folded trailer", chunked(b"0\r\nX: y\r\n z\r\n\r\n"), AMBIGUOUS),
    Row("a trailer that begins with a space", chunked(b"0\r\n X: y\r\n\r\n"), AMBIGUOUS),
    Row("a trailer with a space before its colon", chunked(b"0\r\nX : y\r\n\r\n"), AMBIGUOUS),
    Row("a trailer with a bare LF", chunked(b"0\r\nX: y\n\r\n"), AMBIGUOUS),
    Row("a trailer with a bare CR", chunked(b"0\r\nX: y\rZ: z\r\n\r\n"), AMBIGUOUS),
    Row("a trailer with NUL", chunked(b"0\r\nX: \x00\r\n\r\n"), AMBIGUOUS),
    Row("trailers that never end", chunked(b"0\r\n" + b"X: yyyyyyyyyyyyyy\r\n" * 1000), AMBIGUOUS),
]  # fmt: skip

FIELDS = [
    Row("a field line with a bare LF", post(b"X: y\n"), MALFORMED),
    Row("every line with a bare LF", b"GET / HTTP/1.1\nHost: x\n\n", MALFORMED),
    Row("a request line with a bare LF", b"GET / HTTP/1.1\nHost: x\r\n\r\n", MALFORMED),
    Row("an empty line of a bare LF", b"GET / HTTP/1.1\r\nHost: x\r\n\n", MALFORMED),
    Row("a bare CR in a value", post(b"X: y\rz\r\n"), MALFORMED),
    Row("a bare CR before the line end", post(b"X: y\r\r\n"), MALFORMED),
    Row("a bare CR for a line end", b"GET / HTTP/1.1\rHost: x\r\n\r\n", MALFORMED),
    Row("a bare CR in a name", post(b"X\rY: z\r\n"), MALFORMED),
    Row("NUL in a value", post(b"X: a\x00b\r\n"), MALFORMED),
    Row("NUL in a name", post(b"X\x00Y: z\r\n"), MALFORMED),
    Row("a control character in a value", post(b"X: a\x01b\r\n"), MALFORMED),
    Row("an escape character in a value", post(b"X: a\x1b[0mb\r\n"), MALFORMED),
    Row("DEL in a value", post(b"X: a\x7fb\r\n"), MALFORMED),
    Row("a control character in a name", post(b"X\x01: z\r\n"), MALFORMED),
    Row("a folded value", post(b"X: y\r\n z\r\n"), MALFORMED),
    Row("a value folded with a tab", post(b"X: y\r\n\tz\r\n"), MALFORMED),
    Row("a first field line that begins with a space", b"GET / HTTP/1.1\r\n Host: x\r\n\r\n", MALFORMED),
    Row("a first field line that begins with a tab", b"GET / HTTP/1.1\r\n\tHost: x\r\n\r\n", MALFORMED),
    Row("a space before a colon", post(b"X : y\r\n"), MALFORMED),
    Row("a tab before a colon", post(b"X\t: y\r\n"), MALFORMED),
    Row("a space in a name", post(b"X Y: z\r\n"), MALFORMED),
    Row("an empty name", post(b": y\r\n"), MALFORMED),
    Row("a field line without a colon", post(b"X\r\n"), MALFORMED),
    Row("a field line of white space", post(b" \r\n"), MALFORMED),
    Row("a name in parentheses", post(b"(X): y\r\n"), MALFORMED),
    Row("a name with a slash", post(b"X/Y: z\r\n"), MALFORMED),
    Row("a name with a letter beyond ASCII", post(b"X\xc3\xa9: y\r\n"), MALFORMED),
    Row("an expectation that cannot be met", post(b"Expect: 200-ok\r\n"), NO_EXPECTATION),
    Row("an expectation beside 100-continue", post(b"Expect: 100-continue, x\r\n"), NO_EXPECTATION),
    Row("a body of chunks that the client has signed", post(
        b"Content-Length: 0\r\nX-Amz-Content-Sha256: STREAMING-AWS4-HMAC-SHA256-PAYLOAD\r\n"), NO_PAYLOAD),
    Row("two declared hashes", post(b"X-Amz-Content-Sha256: a\r\nX-Amz-Content-Sha256: b\r\n"), MALFORMED),
    Row("a head that is too large", post(b"X: " + b"y" * 70_000 + b"\r\n"), TOO_LARGE),
    Row("a head that never ends", b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * 12_000, TOO_LARGE),
    Row("a request line that never ends", b"GET /" + b"x" * 70_000, TOO_LARGE),
]  # fmt: skip

HOSTS = [
    Row("no Host", hosts(b""), BAD_HOST),
    Row("two Hosts", hosts(b"Host: x\r\nHost: y\r\n"), BAD_HOST),
    Row("the same Host twice", hosts(b"Host: x\r\nhost: x\r\n"), BAD_HOST),
    Row("two Hosts in HTTP/1.0", b"GET / HTTP/1.0\r\nHost: x\r\nHost: y\r\n\r\n", BAD_HOST),
    Row("an empty Host", hosts(b"Host:\r\n"), BAD_HOST),
    Row("a Host with userinfo", hosts(b"Host: user@x\r\n"), BAD_HOST),
    Row("a Host with a space", hosts(b"Host: x y\r\n"), BAD_HOST),
    Row("a Host that is a list", hosts(b"Host: x, y\r\n"), BAD_HOST),
    Row("a Host with a path", hosts(b"Host: x/y\r\n"), BAD_HOST),
    Row("a Host with a scheme", hosts(b"Host: http://x\r\n"), BAD_HOST),
    Row("a Host with a query", hosts(b"Host: x?y\r\n"), BAD_HOST),
    Row("a Host with a fragment", hosts(b"Host: x#y\r\n"), BAD_HOST),
    Row("a Host with a port that is no number", hosts(b"Host: x:y\r\n"), BAD_HOST),
    Row("a Host with a port of six digits", hosts(b"Host: x:123456\r\n"), BAD_HOST),
    Row("a Host with two ports", hosts(b"Host: x:1:2\r\n"), BAD_HOST),
    Row("a Host with letters beyond ASCII", hosts(b"Host: \xc3\xa9\r\n"), BAD_HOST),
    Row("a Host with a broken IPv6 address", hosts(b"Host: [::1\r\n"), BAD_HOST),
    Row("a Host with a backslash", hosts(b"Host: x\\y\r\n"), BAD_HOST),
    Row("a Host with a space before its colon", hosts(b"Host : x\r\n"), MALFORMED),
]  # fmt: skip

REQUEST_LINES = [
    Row("two spaces behind the method", line(b"GET  / HTTP/1.1"), MALFORMED),
    Row("two spaces behind the target", line(b"GET /  HTTP/1.1"), MALFORMED),
    Row("a tab behind the method", line(b"GET\t/ HTTP/1.1"), MALFORMED),
    Row("a tab behind the target", line(b"GET /\tHTTP/1.1"), MALFORMED),
    Row("a space behind the version", line(b"GET / HTTP/1.1 "), MALFORMED),
    Row("a space before the method", line(b" GET / HTTP/1.1"), MALFORMED),
    Row("no version (HTTP/0.9)", line(b"GET /"), MALFORMED),
    Row("no version, and a space", line(b"GET / "), MALFORMED),
    Row("no target", line(b"GET HTTP/1.1"), MALFORMED),
    Row("a method alone", line(b"GET"), MALFORMED),
    Row("a vertical tab for a space", line(b"GET\x0b/ HTTP/1.1"), MALFORMED),
    Row("HTTP/1.2", line(b"GET / HTTP/1.2"), NO_VERSION),
    Row("HTTP/1.10", line(b"GET / HTTP/1.10"), NO_VERSION),
    Row("HTTP/0.9", line(b"GET / HTTP/0.9"), NO_VERSION),
    Row("HTTP/2.0", line(b"GET / HTTP/2.0"), NO_VERSION),
    Row("HTTP/3", line(b"GET / HTTP/3"), NO_VERSION),
    Row("the preface of HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", NO_VERSION),
    Row("http/1.1 in small letters", line(b"GET / http/1.1"), MALFORMED),
    Row("HTTP/1", line(b"GET / HTTP/1"), NO_VERSION),
    Row("HTTP/01.1", line(b"GET / HTTP/01.1"), NO_VERSION),
    Row("another protocol", line(b"GET / ICE/1.1"), MALFORMED),
    Row("a TLS handshake", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", MALFORMED),
    Row("a method with a slash", line(b"G/T / HTTP/1.1"), MALFORMED),
    Row("a method in quotes", line(b'"GET" / HTTP/1.1'), MALFORMED),
    Row("a method with NUL", line(b"G\x00T / HTTP/1.1"), MALFORMED),
    Row("a method with a letter beyond ASCII", line(b"G\xc3\x89T / HTTP/1.1"), MALFORMED),
    Row("CONNECT", line(b"CONNECT x:443 HTTP/1.1"), NO_TUNNEL),
    Row("CONNECT with a path", line(b"CONNECT / HTTP/1.1"), NO_TUNNEL),
    Row("CONNECT in small letters", line(b"connect / HTTP/1.1"), NO_TUNNEL),
    Row("TRACE", line(b"TRACE / HTTP/1.1"), NO_TUNNEL),
    Row("trace in small letters", line(b"trace / HTTP/1.1"), NO_TUNNEL),
    Row("a target of *", line(b"OPTIONS * HTTP/1.1"), BAD_TARGET),
    Row("a target that is an authority", line(b"GET x:443 HTTP/1.1"), BAD_TARGET),
    Row("a target without its first slash", line(b"GET a/b HTTP/1.1"), BAD_TARGET),
    Row("a target with a fragment", line(b"GET /a#b HTTP/1.1"), BAD_TARGET),
    Row("a target with a percent sign at its end", line(b"GET /a% HTTP/1.1"), BAD_TARGET),
    Row("a target with a broken escape", line(b"GET /a%zz HTTP/1.1"), BAD_TARGET),
    Row("a query with a broken escape", line(b"GET /a?b=%1 HTTP/1.1"), BAD_TARGET),
    Row("a target with a control character", line(b"GET /a\x01b HTTP/1.1"), MALFORMED),
    Row("a target with NUL", line(b"GET /a\x00b HTTP/1.1"), MALFORMED),
    Row("a target with DEL", line(b"GET /a\x7fb HTTP/1.1"), MALFORMED),
    Row("a target with a bare CR", line(b"GET /a\rb HTTP/1.1"), MALFORMED),
    Row("a target with a space", line(b"GET /a b HTTP/1.1"), MALFORMED),
    Row("a URL with userinfo", line(b"GET http://user:secret@x/ HTTP/1.1"), BAD_TARGET),
    Row("a URL without a host", line(b"GET http:///a HTTP/1.1"), BAD_TARGET),
    Row("a URL with a bad port", line(b"GET http://x:y/ HTTP/1.1"), BAD_TARGET),
    Row("a URL of another scheme", line(b"GET ftp://x/ HTTP/1.1"), BAD_TARGET),
    Row("a URL with a fragment", line(b"GET http://x/#a HTTP/1.1"), BAD_TARGET),
]  # fmt: skip

ROWS = [*LENGTHS, *CODINGS, *CHUNKS, *FIELDS, *HOSTS, *REQUEST_LINES]

every_row = pytest.mark.parametrize("row", [pytest.param(row, id=row.name) for row in ROWS])


def refusal_of(proxy: RunningProxy, upstream: RawUpstream, data: bytes) -> tuple[int, str | None]:
    """Send `data`; return status and code of the one answer, behind which the proxy closed, forwarding nothing."""
    uses = proxy.upstream_uses()
    with RawClient(proxy.port) as client:
        client.send(data)
        response = client.read_response()
        assert client.read_until_closed() == b"", "nothing stands behind the answer"
        assert not client.was_reset, "the answer must not be lost"
    assert response.values(b"Connection") == [b"close"]
    assert proxy.upstream_uses() == uses, "no upstream connection was asked for"
    # Whatever had been sent before this one would have been seen first.
    assert exchange(proxy.port, b"GET /afterwards HTTP/1.1\r\nHost: x\r\n\r\n").status == 200
    (request,) = upstream.requests
    assert request.request_line == b"GET /afterwards HTTP/1.1"
    assert b"".join((request.head, request.body)) == upstream.received
    return response.status, response.problem_code


def test_the_table_is_as_long_as_promised_and_names_each_row_once() -> None:
    assert len(ROWS) >= 110
    assert len({row.name for row in ROWS}) == len(ROWS)
    assert len({row.data for row in ROWS}) == len(ROWS)


@every_row
def test_a_malformed_request_is_refused_at_once_and_the_connection_closed(
    row: Row, upstream: RawUpstream, proxy: RunningProxy
) -> None:
    assert refusal_of(proxy, upstream, row.data) == row.answer


@every_row
def test_a_request_hidden_behind_a_malformed_one_is_not_forwarded(
    row: Row, upstream: RawUpstream, proxy: RunningProxy
) -> None:
    assert refusal_of(proxy, upstream, row.data + SMUGGLED) == row.answer


@pytest.mark.parametrize("row", [pytest.param(row, id=row.name) for row in ROWS if len(row.data) < 400])
def test_a_malformed_request_is_refused_alike_when_it_arrives_byte_by_byte(
    row: Row, upstream: RawUpstream, proxy: RunningProxy
) -> None:
    uses = proxy.upstream_uses()
    with RawClient(proxy.port) as client:
        client.send_pieces([row.data[at : at + 1] for at in range(len(row.data))], between=lambda: None)
        response = client.read_response()
        assert client.read_until_closed() == b""
    assert (response.status, response.problem_code) == row.answer
    assert proxy.upstream_uses() == uses
    assert upstream.received == b""


def test_a_request_that_has_passed_through_this_proxy_before_is_answered_508(
    upstream: RawUpstream, proxy: RunningProxy
) -> None:
    exchange(proxy.port, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    (via,) = upstream.requests[0].values(b"Via")
    upstream.forget()
    looped = b"GET / HTTP/1.1\r\nHost: x\r\nVia: 1.1 somebody\r\nVia: %b\r\n\r\n" % via
    response = exchange(proxy.port, looped)
    assert (response.status, response.problem_code) == (508, "loop_detected")
    assert upstream.received == b""


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nabcd",
        chunked(b"5\r\nabcde\r\n"),
        chunked(b"5\r\nabc"),
        chunked(b"0\r\n"),
        chunked(b"0\r\nX: y\r\n"),
    ],
    ids=["head", "counted body", "no last chunk", "cut chunk", "no empty line", "no empty line behind trailers"],
)
def test_nothing_is_forwarded_of_a_request_whose_client_goes_away_in_the_middle(
    data: bytes, upstream: RawUpstream, proxy: RunningProxy
) -> None:
    uses = proxy.upstream_uses()
    with RawClient(proxy.port) as client:
        client.send(data)
        proxy.settle()
    assert proxy.upstream_uses() == uses
    assert upstream.received == b""
