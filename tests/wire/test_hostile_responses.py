"""Responses that two readers could read in two ways: never forwarded, and never mixed up with another one.

The proxy here has one upstream connection for everybody: what one response leaves behind would be met by the next.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.wire.conftest import (
    OK,
    End,
    RawClient,
    RawUpstream,
    ReceivedRequest,
    RunningProxy,
    Step,
    Tell,
    WaitFor,
    exchange,
    in_pieces,
)

GET = b"GET /one HTTP/1.1\r\nHost: x\r\n\r\n"
HEAD = b"HEAD /one HTTP/1.1\r\nHost: x\r\n\r\n"
NEXT = b"GET /next HTTP/1.1\r\nHost: x\r\n\r\n"
EVIL = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nEVIL"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


class Row(NamedTuple):
    name: str
    response: bytes


def fields(field_lines: bytes, body: bytes = b"EVIL") -> bytes:
    return b"HTTP/1.1 200 OK\r\n" + field_lines + b"\r\n" + body


def status(status_line: bytes) -> bytes:
    return status_line + b"\r\nContent-Length: 4\r\n\r\nEVIL"


HEADS = [
    Row("a length beside chunks", fields(b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\n")),
    Row("chunks beside a length", fields(b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n", b"0\r\n\r\n")),
    Row("two lengths", fields(b"Content-Length: 4\r\nContent-Length: 2\r\n")),
    Row("the same length twice", fields(b"Content-Length: 4\r\nContent-Length: 4\r\n")),
    Row("a list of the same length", fields(b"Content-Length: 4, 4\r\n")),
    Row("a length with a plus sign", fields(b"Content-Length: +4\r\n")),
    Row("a negative length", fields(b"Content-Length: -4\r\n")),
    Row("a hexadecimal length", fields(b"Content-Length: 0x4\r\n")),
    Row("a length with a leading zero", fields(b"Content-Length: 04\r\n")),
    Row("an empty length", fields(b"Content-Length:\r\n")),
    Row("a length above 2 to the power of 63", fields(b"Content-Length: 9223372036854775812\r\n")),
    Row("gzip as transfer coding", fields(b"Transfer-Encoding: gzip\r\n")),
    Row("gzip before chunked", fields(b"Transfer-Encoding: gzip, chunked\r\n", b"4\r\nEVIL\r\n0\r\n\r\n")),
    Row("chunked twice in a list", fields(b"Transfer-Encoding: chunked, chunked\r\n", b"4\r\nEVIL\r\n0\r\n\r\n")),
    Row("chunked in two fields", fields(b"Transfer-Encoding: chunked\r\n" * 2, b"4\r\nEVIL\r\n0\r\n\r\n")),
    Row("identity as transfer coding", fields(b"Transfer-Encoding: identity\r\n")),
    Row("xchunked", fields(b"Transfer-Encoding: xchunked\r\n", b"4\r\nEVIL\r\n0\r\n\r\n")),
    Row("an empty transfer coding", fields(b"Transfer-Encoding:\r\n")),
    Row("chunks in HTTP/1.0", b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nEVIL\r\n0\r\n\r\n"),
    Row("a field line with a bare LF", fields(b"X: y\nContent-Length: 4\r\n")),
    Row("every line with a bare LF", b"HTTP/1.1 200 OK\nContent-Length: 4\n\nEVIL"),
    Row("a bare CR in a value", fields(b"X: y\rContent-Length: 2\r\nContent-Length: 4\r\n")),
    Row("NUL in a value", fields(b"X: \x00\r\nContent-Length: 4\r\n")),
    Row("a control character in a value", fields(b"X: \x01\r\nContent-Length: 4\r\n")),
    Row("a folded value", fields(b"X: y\r\n z\r\nContent-Length: 4\r\n")),
    Row("a folded length", fields(b"Content-Length:\r\n 4\r\n")),
    Row("a space before a colon", fields(b"Content-Length : 4\r\n")),
    Row("a space in a name", fields(b"X Y: z\r\nContent-Length: 4\r\n")),
    Row("an empty name", fields(b": y\r\nContent-Length: 4\r\n")),
    Row("a field line without a colon", fields(b"X\r\nContent-Length: 4\r\n")),
    Row("a first field line that begins with a space", fields(b" X: y\r\nContent-Length: 4\r\n")),
    Row("a status of two digits", status(b"HTTP/1.1 20 OK")),
    Row("a status of four digits", status(b"HTTP/1.1 2000 OK")),
    Row("a status that begins with zero", status(b"HTTP/1.1 099 OK")),
    Row("a status that is no number", status(b"HTTP/1.1 2x0 OK")),
    Row("a status with a plus sign", status(b"HTTP/1.1 +20 OK")),
    Row("no status", status(b"HTTP/1.1 OK")),
    Row("two spaces before the status", status(b"HTTP/1.1  200 OK")),
    Row("a tab before the status", status(b"HTTP/1.1\t200 OK")),
    Row("a space before the version", status(b" HTTP/1.1 200 OK")),
    Row("NUL in the reason", status(b"HTTP/1.1 200 O\x00K")),
    Row("a bare CR in the reason", status(b"HTTP/1.1 200 O\rK")),
    Row("HTTP/1.2", status(b"HTTP/1.2 200 OK")),
    Row("HTTP/2", status(b"HTTP/2 200")),
    Row("http/1.1 in small letters", status(b"http/1.1 200 OK")),
    Row("another protocol", status(b"ICY 200 OK")),
    Row("no head at all", b"<html>EVIL</html>"),
    Row("garbage before the response", b"garbage\r\n" + EVIL),
    Row("an empty line before the response", b"\r\n" + EVIL),
    Row("an alert of TLS", b"\x15\x03\x01\x00\x02\x02\x46"),
    Row("the settings of HTTP/2", b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"),
    Row("a switch of protocols that nobody asked for", b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\nEVIL"),
    Row("a head that is too large", fields(b"X: " + b"y" * 300_000 + b"\r\n")),
    Row("a head that never ends", b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 50_000),
    Row("seventeen interim responses", b"HTTP/1.1 102 Processing\r\n\r\n" * 17 + EVIL),
    Row("interim responses that never end", b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" * 1000),
    Row("an interim response with a bare LF", b"HTTP/1.1 103 Early Hints\r\nLink: x\n\r\n" + EVIL),
    Row("an interim response with a body", b"HTTP/1.1 103 Early Hints\r\nContent-Length: 4\r\n\r\nEVIL" + EVIL),
]  # fmt: skip

BODIES = [
    Row("a chunk size that is no number", b"g\r\nEVIL\r\n0\r\n\r\n"),
    Row("a chunk size of 0x4", b"0x4\r\nEVIL\r\n0\r\n\r\n"),
    Row("a chunk size with a plus sign", b"+4\r\nEVIL\r\n0\r\n\r\n"),
    Row("a negative chunk size", b"-1\r\nEVIL\r\n0\r\n\r\n"),
    Row("a space behind a chunk size", b"4 \r\nEVIL\r\n0\r\n\r\n"),
    Row("a chunk size of 17 digits", b"10000000000000004\r\nEVIL\r\n0\r\n\r\n"),
    Row("a chunk size line with a bare LF", b"4\nEVIL\r\n0\r\n\r\n"),
    Row("a chunk size line that never ends", b"4;" + b"a" * 2000),
    Row("an extension with a bare CR", b"4;a\rb\r\nEVIL\r\n0\r\n\r\n"),
    Row("a chunk that is longer than it says", b"3\r\nEVIL\r\n0\r\n\r\n"),
    Row("a chunk that is shorter than it says", b"5\r\nEVIL\r\n0\r\n\r\n"),
    Row("a length among the trailers", b"0\r\nContent-Length: 4\r\n\r\n"),
    Row("a transfer coding among the trailers", b"0\r\nTransfer-Encoding: chunked\r\n\r\n"),
    Row("a folded trailer", b"0\r\nX: y\r\n z\r\n\r\n"),
    Row("a trailer with a bare LF", b"0\r\nX: y\n\r\n"),
    Row("a response in place of the last line end", b"0\r\n" + EVIL),
    Row("trailers that never end", b"0\r\n" + b"X: yyyyyyyyyyyyyy\r\n" * 1000),
]  # fmt: skip


@pytest.fixture(scope="module", name="proxy")
def _proxy(module_upstream: RawUpstream) -> Iterator[RunningProxy]:
    with RunningProxy(module_upstream.url, {"ASP_MAX_UPSTREAM_CONNECTIONS": "1"}) as proxy:
        yield proxy


def rows(table: list[Row]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("row", [pytest.param(row, id=row.name) for row in table])


def check_that_others_are_safe(upstream: RawUpstream, proxy: RunningProxy, client: RawClient | None = None) -> None:
    """What was sent for the first request reaches neither another client nor the same one's next request."""
    hostile = upstream.requests[0].connection
    assert exchange(proxy.port, NEXT).raw == OK
    if client is not None:
        client.send(NEXT)
        assert client.read_response().raw == OK
    assert all(request.connection != hostile for request in upstream.requests[1:])


def test_the_tables_are_as_long_as_promised_and_name_each_row_once() -> None:
    assert len(HEADS) + len(BODIES) >= 32
    assert len({row.name for row in [*HEADS, *BODIES]}) == len(HEADS) + len(BODIES)


@rows(HEADS)
@pytest.mark.parametrize("size", [10**9, 1000], ids=["at once", "in pieces"])
def test_a_malformed_response_is_answered_502_and_nothing_of_it_forwarded(
    row: Row, size: int, upstream: RawUpstream, proxy: RunningProxy
) -> None:
    upstream.answer_with(in_pieces(row.response, size))
    with RawClient(proxy.port) as client:
        client.send(GET)
        while (response := client.read_response()).status < 200:
            assert response.status in {102, 103}
        assert (response.status, response.problem_code) == (502, "upstream_malformed_response")
        assert b"EVIL" not in response.raw
        check_that_others_are_safe(upstream, proxy, client)


@rows([row for row in HEADS if len(row.response) < 200])
def test_a_malformed_response_is_found_out_byte_by_byte_too(
    row: Row, upstream: RawUpstream, proxy: RunningProxy
) -> None:
    upstream.answer_with(in_pieces(row.response))
    response = exchange(proxy.port, GET)
    assert (response.status, response.problem_code) == (502, "upstream_malformed_response")
    check_that_others_are_safe(upstream, proxy)


@rows(BODIES)
def test_a_malformed_body_that_comes_with_its_head_is_answered_502(
    row: Row, upstream: RawUpstream, proxy: RunningProxy
) -> None:
    upstream.answer_with([CHUNKED + row.response])
    response = exchange(proxy.port, GET)
    if response.status == 200:
        pytest.fail("the malformed body was forwarded")
    assert (response.status, response.problem_code) == (502, "upstream_malformed_response")
    check_that_others_are_safe(upstream, proxy)


@rows(BODIES)
def test_a_malformed_body_whose_head_was_forwarded_is_cut_off_so_that_the_client_notices(
    row: Row, upstream: RawUpstream, proxy: RunningProxy
) -> None:
    seen = threading.Event()
    upstream.answer_with([CHUNKED + b"2\r\nok\r\n", WaitFor(seen), row.response])
    with RawClient(proxy.port) as client:
        client.send(GET)
        begin = client.read_some()
        assert begin == CHUNKED + b"2\r\nok\r\n"
        seen.set()
        rest = client.read_until_closed()
    assert b"EVIL" not in rest.replace(row.response, b"")
    assert not rest.endswith(b"\r\n0\r\n\r\n")
    check_that_others_are_safe(upstream, proxy)


@pytest.mark.parametrize(
    ("steps", "code"),
    [
        ([End.CLOSE], "upstream_closed"),
        ([End.RESET], "upstream_closed"),
        ([b"HTTP/1.1 200 OK\r\nContent-Le", End.CLOSE], "upstream_closed"),
        ([b"HTTP/1.1 200 OK\r\nContent-Le", End.RESET], "upstream_closed"),
        ([b"HTTP/1.1 103 Early Hints\r\n\r\n", End.CLOSE], "upstream_closed"),
        ([b"H", End.CLOSE], "upstream_closed"),
    ],
    ids=["nothing", "a reset", "half a head", "half a head and a reset", "an interim response", "one letter"],
)
def test_a_response_whose_head_never_comes_is_answered_502(
    steps: list[Step], code: str, upstream: RawUpstream, proxy: RunningProxy
) -> None:
    upstream.answer_with([b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", End.CLOSE], steps)
    exchange(proxy.port, GET)  # so that the next one goes on a fresh connection, and is not tried again
    response = exchange(proxy.port, GET)
    assert (response.status, response.problem_code) == (502, code)
    assert len(upstream.requests) == 2
    check_that_others_are_safe(upstream, proxy)


@pytest.mark.parametrize(
    ("sent", "end"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabcd", End.CLOSE),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabcd", End.RESET),
        (CHUNKED + b"4\r\nabcd\r\n", End.CLOSE),
        (CHUNKED + b"5\r\nabcd", End.CLOSE),
        (CHUNKED + b"4\r\nabcd\r\n0\r\n", End.CLOSE),
        (CHUNKED + b"4\r\nabcd\r\n0\r\nX: y\r\n", End.RESET),
        (b"HTTP/1.1 200 OK\r\n\r\nabcd", End.RESET),
    ],
)
def test_a_body_that_ends_too_early_is_never_passed_off_as_whole(
    sent: bytes, end: End, upstream: RawUpstream, proxy: RunningProxy
) -> None:
    seen = threading.Event()
    upstream.answer_with([sent, WaitFor(seen), end])
    with RawClient(proxy.port) as client:
        client.send(GET)
        begin = client.read_some()
        seen.set()
        received = begin + client.read_until_closed()
    assert received.startswith((b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 502"))
    assert not received.endswith((b"\r\n0\r\n\r\n", b"abcde"))
    check_that_others_are_safe(upstream, proxy)


EXCESS = [
    ("bytes behind a counted body", GET, OK, b"EVIL"),
    ("a response behind a counted body", GET, OK, EVIL),
    ("a line end behind a counted body", GET, OK, b"\r\n"),
    ("a response behind a chunked body", GET, CHUNKED + b"2\r\nok\r\n0\r\n\r\n", EVIL),
    ("a response behind trailers", GET, CHUNKED + b"2\r\nok\r\n0\r\nX: y\r\n\r\n", EVIL),
    ("a body behind 204", GET, b"HTTP/1.1 204 No Content\r\n\r\n", b"EVIL"),
    ("a response behind 204", GET, b"HTTP/1.1 204 No Content\r\n\r\n", EVIL),
    ("a body behind 304", GET, b"HTTP/1.1 304 Not Modified\r\nContent-Length: 4\r\n\r\n", b"EVIL"),
    ("a body behind the answer to HEAD", HEAD, b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n", b"EVIL"),
    ("a response behind the answer to HEAD", HEAD, b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n", EVIL),
    ("a response behind no body", GET, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", EVIL),
]
every_excess = pytest.mark.parametrize(
    ("request_bytes", "response", "excess"), [each[1:] for each in EXCESS], ids=[each[0] for each in EXCESS]
)


@every_excess
@pytest.mark.parametrize("size", [10**9, 1], ids=["at once", "byte by byte"])
def test_bytes_behind_a_response_reach_nobody(
    request_bytes: bytes, response: bytes, excess: bytes, size: int, upstream: RawUpstream, proxy: RunningProxy
) -> None:
    upstream.answer_with(in_pieces(response + excess, size))
    with RawClient(proxy.port) as client:
        client.send(request_bytes)
        assert client.read_response(is_head_request=request_bytes is HEAD).raw == response
        upstream.wait_until_all_closed()
        check_that_others_are_safe(upstream, proxy, client)


@every_excess
def test_bytes_that_come_long_after_a_response_reach_nobody(
    request_bytes: bytes, response: bytes, excess: bytes, upstream: RawUpstream, proxy: RunningProxy
) -> None:
    seen, all_sent = threading.Event(), threading.Event()
    upstream.answer_with([response, WaitFor(seen), excess, Tell(all_sent)])
    with RawClient(proxy.port) as client:
        client.send(request_bytes)
        assert client.read_response(is_head_request=request_bytes is HEAD).raw == response
        seen.set()
        assert all_sent.wait(5)
        check_that_others_are_safe(upstream, proxy, client)


@pytest.mark.parametrize("method", [b"GET", b"POST"])
def test_bytes_that_were_there_before_a_request_was_sent_are_never_its_answer(
    method: bytes, upstream: RawUpstream, proxy: RunningProxy
) -> None:
    may_send, is_sent = threading.Event(), threading.Event()
    upstream.answer_with([OK, WaitFor(may_send), EVIL, Tell(is_sent)])
    exchange(proxy.port, GET)
    with RawClient(proxy.port) as client:
        proxy.settle()
        with proxy.standing_still():
            # First the request arrives, then the bytes behind the last response: it is read before them.
            client.send(method + b" /next HTTP/1.1\r\nHost: x\r\n\r\n")
            may_send.set()
            assert is_sent.wait(5)
        assert client.read_response().raw == OK
    assert [request.connection for request in upstream.requests][1] != upstream.requests[0].connection


def test_a_response_that_comes_before_any_request_is_not_taken_for_an_answer(module_upstream: RawUpstream) -> None:
    with RawUpstream() as upstream, RunningProxy(upstream.url) as proxy:
        is_sent = threading.Event()
        upstream.on_connect = [EVIL]
        upstream.default_reply = [OK, Tell(is_sent)]
        responses = []
        for _ in range(5):
            responses.append(exchange(proxy.port, GET))
            # A request that got 502 was never sent. Of the others the true answer must be here before the next
            # request is: what comes behind a request cannot be told from its answer.
            is_sent.wait(0.2)
            is_sent.clear()
        # The first of a connection cannot be told from an answer that is quick; no other request may ever meet
        # what is left over of it.
        assert all(response.body == b"EVIL" or response.status == 502 for response in responses)
        assert all(upstream.requests.count(each) == 1 for each in upstream.requests)


TAILS = [b"", b"EVIL", b"\r\n", EVIL, b"HTTP/1.1 200 OK\r\n"]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(plan=st.lists(st.tuples(st.integers(0, 1), st.sampled_from(TAILS), st.integers(0, 3)), min_size=1, max_size=12))
def test_no_byte_of_one_response_ever_reaches_another_client(
    plan: list[tuple[int, bytes, int]], upstream: RawUpstream, proxy: RunningProxy
) -> None:
    """Two clients in turn, over one upstream connection, whose answers are sometimes followed by more."""
    upstream.forget()

    def reply(request: ReceivedRequest) -> list[Step]:
        _, number, _ = request.request_line.split(b" ")
        _, tail, framing = plan[int(number.rpartition(b"/")[2])]
        body = number * 3
        return [
            [
                b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body),
                CHUNKED + b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body),
                b"HTTP/1.1 204 No Content\r\nX: %b\r\n\r\n" % number,
                b"HTTP/1.1 304 Not Modified\r\nX: %b\r\nContent-Length: 9\r\n\r\n" % number,
            ][framing]
            + tail
        ]

    upstream.default_reply = reply
    with RawClient(proxy.port) as first, RawClient(proxy.port) as second:
        for index, (which, _, _) in enumerate(plan):
            client = (first, second)[which]
            mine = b"/%d/%d" % (which, index)
            client.send(b"GET %b HTTP/1.1\r\nHost: x\r\n\r\n" % mine)
            response = client.read_response()
            assert response.body == mine * 3 or response.values(b"X") == [mine]
        assert first.is_open(within_seconds=0.001)
        assert second.is_open(within_seconds=0.001)
