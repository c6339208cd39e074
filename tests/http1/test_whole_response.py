"""The short way for a response that is whole in one read: it never says anything else than the reader of pieces."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aws_signing_proxy.errors import UpstreamError
from aws_signing_proxy.http1.response import parse_response_head, read_whole_response
from aws_signing_proxy.http1.response_reader import ResponseReader

USUAL = b"HTTP/1.1 200 OK\r\nDate: x\r\nContent-Length: 4\r\nConnection: keep-alive\r\nETag: y\r\n\r\n"


@pytest.fixture(autouse=True)
def status_lines_are_known() -> None:
    for line in (
        b"200 OK",
        b"201 Created",
        b"204 No Content",
        b"304 Not Modified",
        b"404 Not Found",
        b"103 Early Hints",
    ):
        parse_response_head(b"HTTP/1.1 %b\r\n\r\n" % line, is_head_request=False)
    parse_response_head(b"HTTP/1.0 200 OK\r\n\r\n", is_head_request=False)


def test_a_usual_response_comes_back_as_it_came_without_its_connection_field() -> None:
    expected = USUAL.replace(b"Connection: keep-alive\r\n", b"") + b"body"
    assert read_whole_response(USUAL + b"body") == (200, expected, 4)
    assert read_whole_response(expected) == (200, expected, 4)
    empty = USUAL.replace(b": 4", b": 0").replace(b"200 OK", b"201 Created")
    assert read_whole_response(empty) == (201, empty.replace(b"Connection: keep-alive\r\n", b""), 0)
    # What stands in the body is no field.
    body = b"\r\nConnection: keep-alive\r\n"
    data = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
    assert read_whole_response(data) == (200, data, len(body))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        USUAL[:-2],
        USUAL,
        USUAL + b"bod",
        USUAL + b"bodyX",
        USUAL.replace(b"200 OK", b"204 No Content") + b"body",
        USUAL.replace(b"200 OK", b"304 Not Modified") + b"body",
        USUAL.replace(b"200 OK", b"404 Not Found") + b"body",
        USUAL.replace(b"200 OK", b"103 Early Hints") + b"body",
        USUAL.replace(b"200 OK", b"200 Never Seen") + b"body",
        USUAL.replace(b"HTTP/1.1", b"HTTP/1.0") + b"body",
        USUAL.replace(b"keep-alive", b"close") + b"body",
        USUAL.replace(b"keep-alive", b"Keep-Alive") + b"body",
        USUAL.replace(b"keep-alive", b"x-secret") + b"body",
        USUAL.replace(b"ETag", b"Keep-Alive") + b"body",
        USUAL.replace(b"ETag", b"upgrade") + b"body",
        USUAL.replace(b"ETag: y", b"Transfer-Encoding: chunked") + b"body",
        USUAL.replace(b"ETag: y", b"Content-Length: 4") + b"body",
        USUAL.replace(b"ETag: y", b"Content-Length: 9") + b"body",
        USUAL.replace(b": 4", b": 04") + b"body",
        USUAL.replace(b": 4", b": +4") + b"body",
        USUAL.replace(b"ETag", b"ETag ") + b"body",
        USUAL.replace(b"ETag: y", b"ETag: \x00") + b"body",
        USUAL.replace(b"ETag: y\r\n", b"ETag: y\n") + b"body",
        USUAL.replace(b"ETag: y", b"ETag: y\r\n folded") + b"body",
        USUAL.replace(b"ETag: y", b"ETag: " + b"y" * 300_000) + b"body",
    ],
)
def test_what_is_another_than_the_most_usual_response_is_left_to_the_reader(data: bytes) -> None:
    assert read_whole_response(data) is None


_FIELD = st.sampled_from(
    [b"Content-Length: 4", b"content-length:4", b"Content-Length: 5", b"Connection: keep-alive", b"connection: close",
     b"Connection: x-a", b"X-A: 1", b"Transfer-Encoding: chunked", b"TE: x", b"Keep-Alive: 5", b"A : b", b"A:\x7f",
     b"Set-Cookie: a", b"Set-Cookie: b", b" folded", b"Trailer: x", b"", b"A: \xff"]
)  # fmt: skip
_LINES = st.sampled_from(
    [b"HTTP/1.1 200 OK", b"HTTP/1.1 201 Created", b"HTTP/1.1 204 No Content", b"HTTP/1.1 304 Not Modified",
     b"HTTP/1.1 404 Not Found", b"HTTP/1.0 200 OK", b"HTTP/1.1 103 Early Hints", b"HTTP/1.1 200 OK\nX: y"]
)  # fmt: skip
_BODIES = st.sampled_from([b"body", b"bodyX", b"bod", b"", b"\r\n\r\n", b"4\r\nbody\r\n0\r\n\r\n"])


@given(_LINES, st.lists(_FIELD, max_size=5), _BODIES)
def test_what_it_takes_the_reader_of_pieces_takes_in_the_same_way(
    line: bytes, fields: list[bytes], body: bytes
) -> None:
    data = b"\r\n".join([line, *fields]) + b"\r\n\r\n" + body
    whole = read_whole_response(data)
    if whole is None:
        return
    reader = ResponseReader(is_head_request=False)
    try:
        reader.feed(data)
    except UpstreamError:
        pytest.fail(f"the reader refuses {data!r}")
    head = reader.head
    assert head is not None
    assert (reader.is_complete, reader.has_excess, reader.interim) == (True, False, [])
    assert head.keep_alive
    rendered = head.render(body_length=head.body_length, is_http10=False, closes=False)
    assert whole == (head.status, rendered + (reader.piece or b""), len(reader.piece or b""))
