"""Upgrade to WebSocket, byte by byte: what is asked for upstream, what a 101 may say, and what a hostile side gets."""

from __future__ import annotations

import threading

import pytest

from tests.wire.conftest import (
    OK,
    End,
    Pause,
    RawClient,
    RawUpstream,
    RunningProxy,
    Tell,
    WaitFor,
    exchange,
    in_pieces,
)

HANDSHAKE = (
    b"GET /socket HTTP/1.1\r\nHost: h\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nOrigin: http://h\r\n\r\n"
)
SWITCH = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
)
GET = b"GET /next HTTP/1.1\r\nHost: h\r\n\r\n"


def test_the_handshake_goes_on_with_its_own_fields_and_is_signed(proxy: RunningProxy, upstream: RawUpstream) -> None:
    upstream.answer_with([SWITCH, b"first", End.CLOSE])
    with RawClient(proxy.port) as client:
        client.send(HANDSHAKE)
        assert client.read_until_closed() == (
            b"HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
            b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\nfirst"
        )
    (request,) = upstream.requests
    assert request.values(b"Connection") == [b"Upgrade"]
    assert request.values(b"Upgrade") == [b"websocket"]
    assert request.values(b"Sec-WebSocket-Key") == [b"dGhlIHNhbXBsZSBub25jZQ=="]
    assert request.values(b"Content-Length") == []
    (authorization,) = request.values(b"Authorization")
    assert b"SignedHeaders=host;x-amz-content-sha256;x-amz-date," in authorization


def test_bytes_behind_the_101_and_bytes_that_the_client_sent_early_are_the_conversations(
    proxy: RunningProxy, upstream: RawUpstream
) -> None:
    """What looks like a request is none any more: it is passed on as it is, and never signed."""
    may_answer, has_request = threading.Event(), threading.Event()
    upstream.answer_with([Tell(has_request), WaitFor(may_answer), *in_pieces(SWITCH + b"from the service", 7)])
    upstream.default_reply = []  # to what looks like a request and is none
    with RawClient(proxy.port) as client:
        client.send(HANDSHAKE + GET)
        assert has_request.wait(5)
        client.send(b"later")
        proxy.settle()
        before = len(upstream.received)
        may_answer.set()
        assert client.read_response().status == 101
        received = b""
        while received != b"from the service":
            received += client.read_some()
        upstream.wait_for_requests(2)
        assert upstream.received[before:].startswith(GET)
        assert b"AWS4" not in upstream.received[before:]


def test_early_bytes_without_end_are_left_in_the_kernel(proxy: RunningProxy, upstream: RawUpstream) -> None:
    may_answer = threading.Event()
    upstream.answer_with([WaitFor(may_answer), OK])
    with RawClient(proxy.port) as client:
        client.sock.settimeout(0.5)
        client.send(HANDSHAKE)
        with pytest.raises(TimeoutError):
            client.sock.sendall(b"x" * 64 * 1024 * 1024)
        (connection,) = proxy.call(lambda: list(proxy.application.server._connections))
        assert len(connection._buffer) < 1024 * 1024
        may_answer.set()


def test_bytes_that_came_early_are_requests_again_where_the_answer_is_another(
    proxy: RunningProxy, upstream: RawUpstream
) -> None:
    upstream.answer_with([b"HTTP/1.1 426 Upgrade Required\r\nUpgrade: websocket\r\nContent-Length: 2\r\n\r\nno"], [OK])
    with RawClient(proxy.port) as client:
        client.send(HANDSHAKE + GET)
        first = client.read_response()
        assert (first.status, first.body, first.values(b"Upgrade")) == (426, b"no", [])
        assert client.read_response().status == 200
    assert [request.values(b"Upgrade") for request in upstream.requests] == [[b"websocket"], []]
    assert all(request.values(b"Authorization") for request in upstream.requests)


@pytest.mark.parametrize(
    "answer",
    [
        SWITCH.replace(b"Upgrade: websocket\r\n", b""),
        SWITCH.replace(b"Connection: Upgrade\r\n", b""),
        SWITCH.replace(b"Upgrade: websocket", b"Upgrade: h2c"),
        SWITCH.replace(b"Upgrade: websocket", b"Upgrade: websocket, h2c"),
        SWITCH.replace(b"Upgrade: websocket", b"Upgrade: websocket\r\nUpgrade: websocket"),
        SWITCH.replace(b"Connection: Upgrade", b"Connection: close"),
        SWITCH.replace(b"\r\n\r\n", b"\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"),
    ],
    ids=["no Upgrade", "no Connection", "another", "several", "twice", "close", "ambiguous framing"],
)
def test_a_101_that_does_not_say_what_was_asked_for_is_answered_502(
    proxy: RunningProxy, upstream: RawUpstream, answer: bytes
) -> None:
    upstream.answer_with([answer])
    assert exchange(proxy.port, HANDSHAKE).problem_code == "upstream_malformed_response"
    assert proxy.counters.tunnels_open == 0


@pytest.mark.parametrize(
    "request_head",
    [
        GET,
        HANDSHAKE.replace(b"Upgrade: WebSocket", b"Upgrade: h2c"),
        HANDSHAKE.replace(b"Upgrade: WebSocket", b"Upgrade: websocket, h2c"),
        HANDSHAKE.replace(b"Upgrade: WebSocket", b"Upgrade: websocket/1"),
        HANDSHAKE.replace(b"keep-alive, Upgrade", b"keep-alive"),
        HANDSHAKE.replace(b"GET ", b"POST "),
        HANDSHAKE.replace(b"GET ", b"OPTIONS "),
        HANDSHAKE.replace(b"HTTP/1.1", b"HTTP/1.0"),
        HANDSHAKE.replace(b"\r\n\r\n", b"\r\nContent-Length: 2\r\n\r\n{}"),
        HANDSHAKE.replace(b"\r\n\r\n", b"\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ],
    ids=["none", "h2c", "list", "version", "not named", "POST", "OPTIONS", "HTTP/1.0", "length", "chunked"],
)
def test_a_101_that_nothing_asked_for_is_answered_502_and_no_upgrade_went_out(
    proxy: RunningProxy, upstream: RawUpstream, request_head: bytes
) -> None:
    upstream.answer_with([SWITCH])
    assert exchange(proxy.port, request_head).problem_code == "upstream_malformed_response"
    assert upstream.requests[0].values(b"Upgrade") == []
    assert upstream.requests[0].values(b"Connection") == []


def test_interim_answers_before_the_101_are_passed_on(proxy: RunningProxy, upstream: RawUpstream) -> None:
    upstream.answer_with([b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + SWITCH])
    with RawClient(proxy.port) as client:
        client.send(HANDSHAKE)
        assert [client.read_response().status for _ in range(2)] == [103, 101]


def test_neither_connection_carries_a_request_after_the_conversation(
    proxy: RunningProxy, upstream: RawUpstream
) -> None:
    upstream.answer_with([SWITCH, b"bye", End.CLOSE])
    with RawClient(proxy.port) as client:
        client.send(HANDSHAKE)
        assert client.read_response().status == 101
        client.send(GET)
        assert client.read_until_closed() in {b"bye", b""}
    connection = upstream.requests[0].connection
    assert exchange(proxy.port, GET).status == 200
    assert upstream.requests[-1].connection != connection


def test_a_service_that_breaks_off_still_lets_its_last_words_arrive(proxy: RunningProxy, upstream: RawUpstream) -> None:
    upstream.answer_with([SWITCH, b"x" * 100_000, Pause(0.1), End.CLOSE])
    with RawClient(proxy.port) as client:
        client.send(HANDSHAKE)
        assert client.read_response().status == 101
        assert client.read_until_closed() == b"x" * 100_000


def test_an_equal_head_is_found_again_and_asks_again(proxy: RunningProxy, upstream: RawUpstream) -> None:
    """Field sections are remembered: what one request asked for must hold for the next, and for no other."""
    for _ in range(3):
        upstream.answer_with([SWITCH, End.CLOSE], [OK])
        with RawClient(proxy.port) as client:
            client.send(HANDSHAKE)
            assert client.read_response().status == 101
        assert exchange(proxy.port, HANDSHAKE.replace(b"GET ", b"PUT ")).status == 200
    assert [request.values(b"Upgrade") for request in upstream.requests] == [[b"websocket"], []] * 3
