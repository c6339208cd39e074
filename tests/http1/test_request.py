"""Request heads: every rule tripped, and no difference made by memory or by how the bytes are cut."""

from __future__ import annotations

import httptools
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from aws_signing_proxy.errors import DownstreamError, ErrorCode
from aws_signing_proxy.http1.request import (
    CHUNKED,
    RequestHead,
    early_head_problem,
    parse_request_head,
    without_empty_lines,
)
from aws_signing_proxy.http1.request_fields import RequestFields


def head(field_lines: bytes = b"Host: x\r\n", *, line: bytes = b"GET / HTTP/1.1") -> bytes:
    return line + b"\r\n" + field_lines + b"\r\n"


def fresh() -> RequestFields:
    return RequestFields(cut={b"date"}, noted={b"via"}, noted_prefix=b"x-amz-", fleeting={b"via"})


def judge(data: bytes, fields: RequestFields) -> object:
    """What is made of a head, as something that can be compared."""
    try:
        request = parse_request_head(data, fields)
    except DownstreamError as error:
        return error.code
    return (
        request.method, request.target, request.is_http10, request.body_length,
        request.has_content_length, request.section.connection, request.keep_alive, request.expects_continue,
        request.section.kept, [field for field in request.section.noted if field[0] != b"content-length"],
    )  # fmt: skip


def refused(data: bytes) -> DownstreamError:
    with pytest.raises(DownstreamError) as caught:
        parse_request_head(data, fresh())
    return caught.value


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (head(line=b"GET  / HTTP/1.1"), ErrorCode.MALFORMED_REQUEST),
        (head(line=b"GET / HTTP/1.1 "), ErrorCode.MALFORMED_REQUEST),
        (head(line=b"GET /"), ErrorCode.MALFORMED_REQUEST),
        (head(line=b"G/T / HTTP/1.1"), ErrorCode.MALFORMED_REQUEST),
        (head(line=b"GET /\x7f HTTP/1.1"), ErrorCode.MALFORMED_REQUEST),
        (head(line=b"GET / http/1.1"), ErrorCode.MALFORMED_REQUEST),
        (head(line=b"GET / HTTP/1.2"), ErrorCode.VERSION_NOT_SUPPORTED),
        (head(line=b"PRI * HTTP/2.0"), ErrorCode.VERSION_NOT_SUPPORTED),
        (head(line=b"CONNECT x:443 HTTP/1.1"), ErrorCode.METHOD_NOT_SUPPORTED),
        (head(line=b"Connect / HTTP/1.0"), ErrorCode.METHOD_NOT_SUPPORTED),
        (head(line=b"OPTIONS * HTTP/1.1"), ErrorCode.BAD_REQUEST_TARGET),
        (head(line=b"GET x HTTP/1.1"), ErrorCode.BAD_REQUEST_TARGET),
        (head(line=b"GET http://u@x/ HTTP/1.1"), ErrorCode.BAD_REQUEST_TARGET),
        (head(line=b"GET http:/// HTTP/1.1"), ErrorCode.BAD_REQUEST_TARGET),
        (head(b""), ErrorCode.BAD_HOST),
        (head(b"Host: x\r\nHost: x\r\n"), ErrorCode.BAD_HOST),
        (head(b"Host: x\r\nHost: x\r\n", line=b"GET / HTTP/1.0"), ErrorCode.BAD_HOST),
        (head(b"Host:\r\n"), ErrorCode.BAD_HOST),
        (head(b"Host: x/y\r\n"), ErrorCode.BAD_HOST),
        (head(b"Host: x\r\nExpect: y\r\n"), ErrorCode.EXPECTATION_FAILED),
        (head(b"Host: x\r\nContent-Length: 05\r\n"), ErrorCode.AMBIGUOUS_FRAMING),
        (head(b"Host: x\r\nContent-Length: 1000000000000000000\r\n"), ErrorCode.AMBIGUOUS_FRAMING),
        (head(b"Host: x\r\nTransfer-Encoding: gzip, chunked\r\n"), ErrorCode.AMBIGUOUS_FRAMING),
        (head(b"Host: x\r\nTransfer-Encoding: chunked\r\n", line=b"GET / HTTP/1.0"), ErrorCode.AMBIGUOUS_FRAMING),
        (head(b"Host: x\r\nX : y\r\n"), ErrorCode.MALFORMED_REQUEST),
        (head(b"Host: x\r\nX: y\nContent-Length: 1\r\n"), ErrorCode.MALFORMED_REQUEST),
    ],
)
def test_a_head_that_breaks_a_rule_is_refused_under_its_code(data: bytes, code: ErrorCode) -> None:
    assert refused(data).code is code


@pytest.mark.parametrize(
    "lines",
    [
        b"Content-Length: 1\r\nContent-Length: 1\r\n",
        b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: chunked\r\nContent-Length: 1\r\n",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
    ],
)
def test_two_framings_are_refused_even_where_llhttp_lets_them_pass(
    lines: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aws_signing_proxy.http1.request.fields_problem", lambda *_: None)
    assert refused(head(b"Host: x\r\n" + lines)).code is ErrorCode.AMBIGUOUS_FRAMING


def test_a_refusal_never_repeats_what_was_sent() -> None:
    for data in (head(b"Host: x\r\nX-Secret : hush\r\n"), head(line=b"GET /?hush  HTTP/1.1"), head(b"Host: hush/\r\n")):
        assert "hush" not in refused(data).detail.lower()


def test_a_head_is_read() -> None:
    request = parse_request_head(
        head(
            b"Host: x\r\nContent-Length: 12\r\nConnection: X-Foo, keep-alive\r\nConnection: te\r\n"
            b"Expect: 100-Continue\r\n",
            line=b"POST http://y:80?q HTTP/1.1",
        )
    )
    assert (request.method, request.target, request.is_http10) == (b"POST", b"/?q", False)
    assert (request.body_length, request.has_content_length, request.expects_continue) == (12, True, True)
    assert request.section.connection == {b"x-foo", b"keep-alive", b"te"}
    assert request.keep_alive


@pytest.mark.parametrize(
    ("line", "lines", "keep_alive"),
    [
        (b"GET / HTTP/1.1", b"", True),
        (b"GET / HTTP/1.1", b"Connection: x, CLOSE\r\n", False),
        (b"GET / HTTP/1.0", b"", False),
        (b"GET / HTTP/1.0", b"Connection: Keep-Alive\r\n", True),
        (b"GET / HTTP/1.0", b"Connection: keep-alive, close\r\n", False),
    ],
)
def test_a_connection_is_kept_as_version_and_options_say(line: bytes, lines: bytes, *, keep_alive: bool) -> None:
    assert parse_request_head(head(b"Host: x\r\n" + lines, line=line)).keep_alive is keep_alive


def test_http10_needs_no_host_and_its_expectations_are_ignored() -> None:
    request = parse_request_head(head(b"Expect: x\r\n", line=b"GET / HTTP/1.0"))
    assert request.is_http10
    assert not request.expects_continue


def test_the_representation_shows_no_query() -> None:
    request = parse_request_head(head(line=b"GET /a?X-Amz-Signature=hush HTTP/1.1"))
    assert repr(request) == "<RequestHead GET /a body=0>"


# Heads in which the same lines come again, in all ways to write a length.
_LENGTHS = st.sampled_from(
    [b"Content-Length: 5", b"Content-Length: 7", b"content-length: 5", b"Content-Length:5", b"Content-Length: 5 ",
     b"Content-Length:  5", b"Content-Length: 05", b"Content-Length: ", b"Content-Length: 5\nX: y",
     b"Content-Length: 5\x00",
     b"X: Content-Length: 5", b"Content-Length: 5, 5", b"CONTENT-LENGTH : 5", b"Content-Length: 99999999999999999999"]
)  # fmt: skip
_LINES = st.sampled_from(
    [b"Host: x", b"X: y", b" folded", b"Transfer-Encoding: chunked", b"Connection: close",
     b"Connection: Content-Length",
     b"Expect: 100-continue", b"X-Amz-Date: z", b"Via: 1.1 a", b"Date: d", b"X : y", b"Upgrade: h2c",
     b"Trailer: X", b"\t"]
)  # fmt: skip
_START_LINES = st.sampled_from(
    [b"GET / HTTP/1.1"] * 5 + [b"POST /a HTTP/1.1", b"GET / HTTP/1.0", b"CONNECT / HTTP/1.1", b"GET http://x HTTP/1.1",
                                    b"GET x HTTP/1.1"]
)  # fmt: skip
HEADS = st.builds(
    lambda line, lines: head(b"".join(each + b"\r\n" for each in lines), line=line),
    _START_LINES,
    st.lists(st.one_of(_LENGTHS, _LINES), max_size=3).flatmap(
        lambda lines: st.integers(0, len(lines)).map(lambda at: [*lines[:at], b"Host: x", *lines[at:]])
    ),
)


@given(st.lists(HEADS, min_size=2, max_size=12))
@example([head(b"Host: x\r\nContent-Length: 5\r\n"), head(b"Host: x\r\nContent-Length: 5 \r\n")])
@example([head(b"Host: x\r\n"), head(b"Host: x\r\nContent-Length: 5\r\n folded\r\n")])
@example([head(b"Host: x\r\n"), head(b"Host: x\r\nContent-Length: 05\r\n")])
@example([head(b"Host: x\r\n"), head(b"Host: x\r\nContent-Length: 5\r\nContent-Length: 5\r\n")])
@example(
    [
        head(b"Host: x\r\nTransfer-Encoding: chunked\r\n"),
        head(b"Host: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n"),
    ]
)
def test_a_head_whose_fields_are_remembered_is_read_as_if_it_were_the_first(heads: list[bytes]) -> None:
    remembering = fresh()
    for data in heads:
        # Twice: once as the sequence brought it, once when it has surely been seen.
        expected = judge(data, fresh())
        assert judge(data, remembering) == expected
        assert judge(data, remembering) == expected


def test_fields_are_remembered_without_their_length_and_within_bounds() -> None:
    fields = fresh()
    first = parse_request_head(head(b"Host: x\r\nContent-Length: 1\r\nX: y\r\n"), fields)
    again = parse_request_head(head(b"Host: x\r\nX: y\r\nContent-Length: 2\r\n"), fields)
    assert again.section is first.section
    assert (first.body_length, again.body_length) == (1, 2)
    for lines in (
        b"Via: a\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"X: " + b"y" * 3000 + b"\r\n",
        b"CONTENT-LENGTH: 1\r\n",
    ):
        heads = [parse_request_head(head(b"Host: x\r\n" + lines), fields) for _ in range(2)]
        assert heads[0].section is not heads[1].section, lines
    for number in range(1000):
        parse_request_head(head(b"Host: x\r\nX: %d\r\n" % number), fields)
        parse_request_head(head(b"Host: x\r\n", line=b"GET /%d HTTP/1.1" % number), fields)
    assert len(fields._sections) <= 256
    assert len(fields._heads) <= 256


def test_a_whole_head_is_remembered_whatever_its_length_and_however_that_is_spelled() -> None:
    fields = fresh()
    line = b"POST /a HTTP/1.1"
    first = parse_request_head(head(b"Host: x\r\nContent-Length: 1\r\n", line=line), fields)
    for lines in (b"Content-Length: 20\r\nHost: x\r\n", b"Host: x\r\n", b"content-length: 0\r\nHost: x\r\n"):
        assert parse_request_head(head(lines, line=line), fields).known is first.known
    assert parse_request_head(head(b"Host: x\r\n", line=b"POST /b HTTP/1.1"), fields).known is not first.known
    expecting = head(b"Host: x\r\nExpect: 100-continue\r\n", line=line)
    parse_request_head(expecting, fields).expects_continue = False
    assert parse_request_head(expecting, fields).expects_continue


@given(HEADS)
def test_what_is_accepted_llhttp_accepts_too(data: bytes) -> None:
    class Reader:
        is_complete = False

        def on_headers_complete(self) -> None:
            self.is_complete = True

    if isinstance(judge(data, fresh()), ErrorCode):
        return
    reader = Reader()
    try:
        httptools.HttpRequestParser(reader).feed_data(data)
    except httptools.HttpParserUpgrade:
        return
    assert reader.is_complete


@given(HEADS)
def test_what_is_accepted_as_a_whole_is_never_refused_while_it_arrives(data: bytes) -> None:
    if isinstance(judge(data, fresh()), ErrorCode):
        return
    for length in range(1, len(data)):
        assert early_head_problem(data[:length], max(0, length - 4)) is None


@pytest.mark.parametrize(
    "piece", [b"\x16\x03\x01", b"GET / HTTP/1.1\n", b"GET / HTTP/1.1\r\nX: y\rz", b"\n", b"GET \x00", b"a\r\r"]
)
def test_what_can_never_become_a_head_is_refused_before_it_is_whole(piece: bytes) -> None:
    problem = early_head_problem(piece)
    assert problem is not None
    assert problem.code is ErrorCode.MALFORMED_REQUEST


def test_only_what_has_not_been_judged_yet_is_looked_at() -> None:
    # What is judged ends three bytes before the last piece, so a line end that is cut in two is seen.
    assert early_head_problem(b"a\nbcdefgh", 5) is None
    assert early_head_problem(b"abcdefg\n", 4) is not None
    assert early_head_problem(b"abcdef\rg", 4) is not None
    assert early_head_problem(b"a\x00bcdef", 4) is None
    assert early_head_problem(b"abcdef\x00", 4) is not None


@pytest.mark.parametrize(
    ("data", "rest"),
    [
        (b"", b""), (b"GET", b"GET"), (b"\r\nGET", b"GET"), (b"\r\n\r\n\r\nGET\r\n", b"GET\r\n"),
        (b"\r\n", b""), (b"\r\n\r", b"\r"), (b"\n\r\n", b"\n\r\n"), (b"\r", b"\r"),
    ],
)  # fmt: skip
def test_whole_empty_lines_before_a_request_are_let_pass(data: bytes, rest: bytes) -> None:
    assert without_empty_lines(data) == rest


def test_a_chunked_request_has_a_length_of_its_own_kind() -> None:
    request: RequestHead = parse_request_head(head(b"Host: x\r\nTransfer-Encoding: Chunked\r\n"))
    assert request.body_length == CHUNKED
    assert not request.has_content_length
