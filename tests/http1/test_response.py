"""Response heads: every rule tripped, framing decided, and what the client gets of them."""

from __future__ import annotations

import httptools
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aws_signing_proxy.errors import ErrorCode, UpstreamError
from aws_signing_proxy.http1.response import CHUNKED, UNTIL_CLOSE, ResponseHead, malformed, parse_response_head


def head(field_lines: bytes = b"", *, line: bytes = b"HTTP/1.1 200 OK") -> bytes:
    return line + b"\r\n" + field_lines + b"\r\n"


def parse(field_lines: bytes = b"", *, line: bytes = b"HTTP/1.1 200 OK", is_head_request: bool = False) -> ResponseHead:
    return parse_response_head(head(field_lines, line=line), is_head_request=is_head_request)


@pytest.mark.parametrize(
    "data",
    [
        head(line=b"HTTP/1.1 20 OK"),
        head(line=b"HTTP/1.1 2000 OK"),
        head(line=b"HTTP/1.1 099 OK"),
        head(line=b"HTTP/1.1  200 OK"),
        head(line=b"HTTP/1.1\t200 OK"),
        head(line=b"HTTP/1.1 200\tOK"),
        head(line=b"HTTP/1.1 200 O\x00K"),
        head(line=b"HTTP/1.1 200 O\rK"),
        head(line=b"HTTP/1.1 OK"),
        head(line=b"HTTP/1.2 200 OK"),
        head(line=b"HTTP/2 200"),
        head(line=b"http/1.1 200 OK"),
        head(line=b"ICY 200 OK"),
        head(line=b" HTTP/1.1 200 OK"),
        head(line=b"HTTP/1.1 101 Switching Protocols"),
        head(b"Content-Length: 04\r\n"),
        head(b"Content-Length: +4\r\n"),
        head(b"Content-Length: 1000000000000000000\r\n"),
        head(b"Content-Length: 4\r\nContent-Length: 4\r\n"),
        head(b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n"),
        head(b"Transfer-Encoding: gzip\r\n"),
        head(b"Transfer-Encoding: gzip, chunked\r\n"),
        head(b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"),
        head(b"Transfer-Encoding: chunked\r\n", line=b"HTTP/1.0 200 OK"),
        head(b"X : y\r\n"),
        head(b"X: y\r\n z\r\n"),
        head(b"X: y\nContent-Length: 4\r\n"),
        head(b"X: \x00\r\n"),
    ],
)
@pytest.mark.parametrize("is_head_request", [False, True])
def test_a_head_that_breaks_a_rule_is_refused(data: bytes, *, is_head_request: bool) -> None:
    # Twice: a status line that was refused must not be known the second time.
    for _ in range(2):
        with pytest.raises(UpstreamError) as caught:
            parse_response_head(data, is_head_request=is_head_request)
        assert caught.value.code is ErrorCode.UPSTREAM_MALFORMED_RESPONSE


@pytest.mark.parametrize(
    ("line", "lines", "is_head_request", "body_length", "keep_alive"),
    [
        (b"HTTP/1.1 200 OK", b"Content-Length: 4\r\n", False, 4, True),
        (b"HTTP/1.1 200 OK", b"Content-Length: 0\r\n", False, 0, True),
        (b"HTTP/1.1 200 OK", b"Transfer-Encoding: Chunked\r\n", False, CHUNKED, True),
        (b"HTTP/1.1 200 OK", b"", False, UNTIL_CLOSE, False),
        (b"HTTP/1.1 200 OK", b"", True, 0, True),
        (b"HTTP/1.1 200 OK", b"Content-Length: 4\r\n", True, 0, True),
        (b"HTTP/1.1 200 OK", b"Transfer-Encoding: chunked\r\n", True, 0, True),
        (b"HTTP/1.1 204 No Content", b"", False, 0, True),
        (b"HTTP/1.1 304 Not Modified", b"Content-Length: 4\r\n", False, 0, True),
        (b"HTTP/1.1 103 Early Hints", b"", False, 0, True),
        (b"HTTP/1.1 200 OK", b"Content-Length: 4\r\nConnection: x, CLOSE\r\n", False, 4, False),
        (b"HTTP/1.0 200 OK", b"Content-Length: 4\r\n", False, 4, False),
        (b"HTTP/1.0 200 OK", b"Content-Length: 4\r\nConnection: Keep-Alive\r\n", False, 4, True),
        (b"HTTP/1.0 200 OK", b"Content-Length: 4\r\nConnection: keep-alive, close\r\n", False, 4, False),
        (b"HTTP/1.0 200 OK", b"Connection: keep-alive\r\n", False, UNTIL_CLOSE, False),
    ],
)
def test_where_a_response_ends_and_whether_its_connection_lives_on_is_decided(
    line: bytes, lines: bytes, body_length: int, *, is_head_request: bool, keep_alive: bool
) -> None:
    response = parse(lines, line=line, is_head_request=is_head_request)
    assert (response.body_length, response.keep_alive) == (body_length, keep_alive)


@pytest.mark.parametrize(
    ("lines", "kept"),
    [
        (b"b: 1\r\nA: 2\r\nb: 3\r\n", b"b: 1\r\nA: 2\r\nb: 3\r\n"),
        (
            b"Keep-Alive: x\r\nA: 1\r\nTE: y\r\nUPGRADE: z\r\nTransfer-Encoding: chunked\r\n",
            b"A: 1\r\nTransfer-Encoding: chunked\r\n",
        ),
        (b"Connection: x-a, x-b\r\nX-A: 1\r\nX-AB: 2\r\nx-b: 3\r\n", b"X-AB: 2\r\n"),
        (b"Connection: content-length, transfer-encoding\r\nContent-Length: 4\r\n", b"Content-Length: 4\r\n"),
    ],
)
def test_only_what_belongs_to_one_hop_is_cut(lines: bytes, kept: bytes) -> None:
    assert parse(lines).block == kept


def test_a_response_without_a_body_by_its_status_loses_framing_fields() -> None:
    lines = b"Content-Length: 0\r\nX: y\r\n"
    assert parse(lines, line=b"HTTP/1.1 204 No Content").block == b"X: y\r\n"
    assert parse(lines, line=b"HTTP/1.1 103 Early Hints").block == b"X: y\r\n"
    assert parse(lines, line=b"HTTP/1.1 304 Not Modified").block == lines


@pytest.mark.parametrize(
    ("lines", "body_length", "is_http10", "closes", "rendered"),
    [
        (b"Content-Length: 4\r\n", 4, False, False, b"Content-Length: 4\r\n"),
        (b"Content-Length: 4\r\n", 4, False, True, b"Content-Length: 4\r\nConnection: close\r\n"),
        (b"Content-Length: 4\r\n", 4, True, False, b"Content-Length: 4\r\nConnection: keep-alive\r\n"),
        (b"Transfer-Encoding: chunked\r\n", CHUNKED, False, False, b"Transfer-Encoding: chunked\r\n"),
        (b"Transfer-Encoding: chunked\r\nTrailer: x\r\n", UNTIL_CLOSE, True, True, b"Connection: close\r\n"),
        (b"", CHUNKED, False, False, b"Transfer-Encoding: chunked\r\n"),
        (b"", UNTIL_CLOSE, True, True, b"Connection: close\r\n"),
    ],
)
def test_a_head_is_rendered_in_the_framing_of_the_client(
    lines: bytes, body_length: int, rendered: bytes, *, is_http10: bool, closes: bool
) -> None:
    expected = b"HTTP/1.1 200 OK\r\n" + rendered + b"\r\n"
    assert parse(lines).render(body_length=body_length, is_http10=is_http10, closes=closes) == expected


@pytest.mark.parametrize("line", [b"HTTP/1.1 200 ", b"HTTP/1.0 200 ", b"HTTP/1.1 200"])
def test_a_status_line_reaches_the_client_as_http11_with_its_reason(line: bytes) -> None:
    assert parse(line=line).start_line == b"HTTP/1.1 200 \r\n"
    assert (
        parse(line=line + (b"" if line.endswith(b" ") else b" ") + b"Fine \xff").start_line
        == b"HTTP/1.1 200 Fine \xff\r\n"
    )


def test_status_lines_are_remembered_within_bounds() -> None:
    from aws_signing_proxy.http1 import response

    for number in range(1000):
        assert parse(line=b"HTTP/1.1 200 %d" % number).start_line == b"HTTP/1.1 200 %d\r\n" % number
    assert len(response._STATUS_LINES) <= 128


_LINES = st.sampled_from(
    [b"X: y", b"Content-Length: 4", b"content-length: 5", b"Transfer-Encoding: chunked", b"Transfer-Encoding: gzip",
     b"Connection: close", b" folded", b"X : y", b"X: \x00", b"Upgrade: x", b"Connection: upgrade", b"X: a\nb",
     b"X: \xff"]
)  # fmt: skip


@given(st.lists(_LINES, max_size=4), st.sampled_from([b"HTTP/1.1 200 OK", b"HTTP/1.0 404 No", b"HTTP/1.1 304 x"]))
def test_what_is_accepted_llhttp_accepts_too(lines: list[bytes], line: bytes) -> None:
    class Reader:
        is_complete = False

        def on_headers_complete(self) -> None:
            self.is_complete = True

    data = head(b"".join(each + b"\r\n" for each in lines), line=line)
    try:
        parse_response_head(data, is_head_request=False)
    except UpstreamError:
        return
    reader = Reader()
    try:
        httptools.HttpResponseParser(reader).feed_data(data)
    except httptools.HttpParserUpgrade:
        return
    assert reader.is_complete


def test_a_malformed_response_is_explained_and_the_representation_shows_no_fields() -> None:
    assert "because it is not well-formed: why." in malformed("why").detail
    assert repr(parse(b"Set-Cookie: hush\r\nContent-Length: 4\r\n")) == "<ResponseHead 200 body=4>"
