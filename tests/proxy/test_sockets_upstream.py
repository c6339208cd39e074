"""Over real sockets: what is sent again and what never is, clients that leave, connections that grow old."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.wire.raw_client import RawClient, exchange
from tests.wire.raw_upstream import OK, End, Pause, RawUpstream, WaitFor
from tests.wire.running_proxy import LoopKind, RunningProxy

LOOPS = pytest.mark.parametrize("loop_kind", ["uvloop", "asyncio"])


def _request(method: bytes = b"GET", body: bytes = b"") -> bytes:
    return b"%b /path HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%b" % (method, len(body), body)


def _until(proxy: RunningProxy, is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5
    while not proxy.call(is_so):
        assert time.monotonic() < deadline
        time.sleep(0.002)


def _assert_nothing_is_held(proxy: RunningProxy) -> None:
    counters = proxy.counters
    _until(proxy, lambda: counters.requests_in_flight == counters.body_memory_bytes == counters.spool_bytes == 0)


@LOOPS
@pytest.mark.parametrize("method", [b"GET", b"POST"])
def test_a_connection_that_the_upstream_closed_between_two_requests_costs_neither_of_them(
    upstream: RawUpstream, loop_kind: LoopKind, method: bytes
) -> None:
    upstream.answer_with([OK, End.CLOSE])
    with RunningProxy(upstream.url, loop_kind=loop_kind) as proxy, RawClient(proxy.port) as client:
        for body in (b"first", b"second"):
            client.send(_request(method, body))
            assert client.read_response().status == 200
            if body == b"first":
                upstream.wait_until_all_closed()
        assert [each.body for each in upstream.requests] == [b"first", b"second"]
        assert upstream.connections == 2


@pytest.mark.parametrize("end", list(End))
def test_a_close_that_the_loop_has_not_seen_yet_costs_no_post(upstream: RawUpstream, end: End) -> None:
    """The goodbye waits in the kernel while the request arrives: the loop is held up until both are there."""
    may_close, may_go_on, is_held = threading.Event(), threading.Event(), threading.Event()
    upstream.answer_with([OK, WaitFor(may_close), end])

    def hold() -> None:
        is_held.set()
        may_go_on.wait(5)

    with RunningProxy(upstream.url) as proxy, RawClient(proxy.port) as client:
        client.send(_request(b"POST", b"first"))
        assert client.read_response().status == 200
        proxy.settle()
        proxy.loop.call_soon_threadsafe(hold)
        assert is_held.wait(5)
        client.send(_request(b"POST", b"second"))
        may_close.set()
        upstream.wait_until_all_closed()
        may_go_on.set()
        assert client.read_response().status == 200
        assert [each.body for each in upstream.requests] == [b"first", b"second"]


@pytest.mark.parametrize("end", list(End))
@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"PUT", b"DELETE", b"OPTIONS"])
def test_an_idempotent_request_that_got_no_answer_on_a_reused_connection_is_sent_once_more(
    upstream: RawUpstream, method: bytes, end: End
) -> None:
    upstream.answer_with([OK], [end], [OK])
    with RunningProxy(upstream.url) as proxy, RawClient(proxy.port) as client:
        client.send(_request())
        assert client.read_response().status == 200
        client.send(_request(method, b"body"))
        assert client.read_response(is_head_request=method == b"HEAD").status == 200
        first, second, third = upstream.requests
        assert (first.connection, second.connection, third.connection) == (0, 0, 1)
        assert second.request_line == third.request_line
        assert second.body == third.body == b"body"
        assert proxy.counters.retries_total == 1


def test_a_second_failure_is_answered_502(upstream: RawUpstream) -> None:
    upstream.answer_with([OK], [End.CLOSE], [End.CLOSE])
    with RunningProxy(upstream.url) as proxy, RawClient(proxy.port) as client:
        client.send(_request())
        assert client.read_response().status == 200
        client.send(_request())
        response = client.read_response()
        assert (response.status, response.problem_code) == (502, "upstream_closed")
        assert len(upstream.requests) == 3


@pytest.mark.parametrize("end", list(End))
@pytest.mark.parametrize("method", [b"POST", b"PATCH", b"PURGE"])
def test_a_request_that_may_have_been_carried_out_is_never_sent_twice(
    upstream: RawUpstream, method: bytes, end: End
) -> None:
    upstream.answer_with([OK], [end], [OK])
    with RunningProxy(upstream.url) as proxy, RawClient(proxy.port) as client:
        client.send(_request())
        assert client.read_response().status == 200
        client.send(_request(method, b"body"))
        response = client.read_response()
        assert (response.status, response.problem_code) == (502, "upstream_closed")
        assert len(upstream.requests) == 2


@pytest.mark.parametrize("method", [b"GET", b"POST"])
def test_a_close_of_a_fresh_connection_is_answered_502(upstream: RawUpstream, method: bytes) -> None:
    upstream.answer_with([End.CLOSE])
    with RunningProxy(upstream.url) as proxy:
        response = exchange(proxy.port, _request(method, b"body"))
        assert (response.status, response.problem_code) == (502, "upstream_closed")
        assert len(upstream.requests) == 1


def test_a_request_whose_answer_had_begun_is_never_sent_twice(upstream: RawUpstream) -> None:
    upstream.answer_with([OK], [b"HTTP/1.1 2", End.CLOSE])
    with RunningProxy(upstream.url) as proxy, RawClient(proxy.port) as client:
        client.send(_request())
        assert client.read_response().status == 200
        client.send(_request())
        assert client.read_response().problem_code == "upstream_closed"
        assert len(upstream.requests) == 2


def test_a_large_body_from_a_file_is_sent_again_as_a_whole(upstream: RawUpstream, tmp_path: Path) -> None:
    body = bytes(range(256)) * 16_384
    upstream.answer_with([OK], [End.CLOSE], [OK])
    with RunningProxy(upstream.url, {"ASP_SPOOL_DIR": str(tmp_path)}) as proxy, RawClient(proxy.port) as client:
        client.send(_request())
        assert client.read_response().status == 200
        client.send(_request(b"PUT", body))
        assert client.read_response().status == 200
        _, second, third = upstream.requests
        assert second.body == third.body == body
        assert proxy.counters.bodies_spooled_total == 1
        _assert_nothing_is_held(proxy)


@LOOPS
@pytest.mark.parametrize("moment", ["body", "spooled body", "waiting", "sent", "sending", "responding"])
def test_a_client_that_goes_away_frees_its_upstream_connection_at_once(
    upstream: RawUpstream, tmp_path: Path, loop_kind: LoopKind, moment: str
) -> None:
    may_go_on = threading.Event()
    settings = {"ASP_MAX_UPSTREAM_CONNECTIONS": "1", "ASP_SPOOL_DIR": str(tmp_path)}
    with RunningProxy(upstream.url, settings, loop_kind=loop_kind) as proxy, RawClient(proxy.port) as busy:
        if moment == "waiting":
            upstream.answer_with([WaitFor(may_go_on), OK])
            busy.send(_request())
            upstream.wait_for_requests(1)
        elif moment == "responding":
            upstream.answer_with([b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nsome", WaitFor(may_go_on)])
        elif moment == "sending":
            upstream.on_connect = [WaitFor(may_go_on)]
        else:
            upstream.answer_with([WaitFor(may_go_on)])
        client = RawClient(proxy.port)
        match moment:
            case "body":
                client.send(_request(b"POST", b"x" * 100_000)[:-1])
            case "spooled body":
                client.send(_request(b"POST", b"x" * 3_000_000)[:-1])
                _until(proxy, lambda: proxy.counters.spool_bytes > 0)
            case "sending":
                client.send(_request(b"POST", b"x" * 30_000_000))
                _until(proxy, lambda: proxy.counters.upstream_connects_total > 0)
            case _:
                client.send(_request())
        _until(proxy, lambda: proxy.counters.requests_in_flight == (2 if moment == "waiting" else 1))
        if moment == "sent":
            upstream.wait_for_requests(1)
        if moment == "responding":
            client.read_some()
        client.sock.close()
        _until(proxy, lambda: proxy.counters.requests_in_flight == (1 if moment == "waiting" else 0))
        may_go_on.set()
        if moment == "waiting":
            assert busy.read_response().status == 200
        _assert_nothing_is_held(proxy)
        upstream.on_connect = ()
        upstream.replies.clear()
        assert exchange(proxy.port, _request()).status == 200
        assert (
            proxy.counters.requests[
                ("POST" if moment.endswith("body") or moment == "sending" else "GET"), 499, "client_closed"
            ]
            == 1
        )


def test_a_connection_past_its_age_takes_no_further_request_and_the_name_is_resolved_again(
    upstream: RawUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolved: list[str] = []
    settings = {"ASP_UPSTREAM_MAX_AGE": "200ms"}
    target = f"http://service.test:{upstream.port}"
    with (
        monkeypatch.context() as patch,
        RunningProxy(target, settings, loop_kind="asyncio") as proxy,
        RawClient(proxy.port) as client,
    ):
        resolve = proxy.loop.getaddrinfo

        async def getaddrinfo(host: str, port: int, **options: Any) -> Any:
            resolved.append(host)
            return await resolve("127.0.0.1", port, **options)

        patch.setattr(proxy.loop, "getaddrinfo", getaddrinfo)
        for pause_seconds in (0.0, 0.2):
            client.send(_request())
            assert client.read_response().status == 200
            time.sleep(pause_seconds)
        client.send(_request())
        assert client.read_response().status == 200
        assert [each.connection for each in upstream.requests] == [0, 0, 1]
        assert resolved == ["service.test", "service.test"]


@LOOPS
def test_a_proxy_that_is_pointed_at_itself_answers_508(loop_kind: LoopKind) -> None:
    with socket.create_server(("127.0.0.1", 0)) as reserved:
        port = reserved.getsockname()[1]
    settings = {"ASP_PORT": str(port)}
    with RunningProxy(f"http://127.0.0.1:{port}", settings, loop_kind=loop_kind) as proxy:
        response = exchange(proxy.port, _request())
        assert (response.status, response.problem_code) == (508, "loop_detected")
        _assert_nothing_is_held(proxy)


def test_a_bug_in_handling_one_request_is_answered_500_and_the_next_is_served(
    upstream: RawUpstream, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with RunningProxy(upstream.url) as proxy:
        rewriter = type(proxy.application.server._context.route.rewriter)

        def fail(*_: object, **__: object) -> None:
            raise ZeroDivisionError

        with monkeypatch.context() as patch:
            patch.setattr(rewriter, "finish", fail)
            response = exchange(proxy.port, _request(b"POST", b"body"))
            assert (response.status, response.problem_code) == (500, "internal_error")
        assert exchange(proxy.port, _request(b"POST", b"body")).status == 200
        _assert_nothing_is_held(proxy)
        assert "ZeroDivisionError" in caplog.text
        assert proxy.environ["AWS_SECRET_ACCESS_KEY"] not in caplog.text


@LOOPS
def test_a_slow_answer_in_many_pieces_arrives_whole(upstream: RawUpstream, loop_kind: LoopKind) -> None:
    pieces = [b"HTTP/1.1 200 OK\r\n", b"Content-Length: 20\r\n\r\n", *[b"0123456789"] * 2]
    upstream.answer_with([step for piece in pieces for step in (piece, Pause(0.002))])
    with RunningProxy(upstream.url, loop_kind=loop_kind) as proxy:
        assert exchange(proxy.port, _request()).body == b"0123456789" * 2
