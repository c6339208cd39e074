"""The whole proxy on both event loops: what must work everywhere, however fast."""

from __future__ import annotations

import hashlib
import time
import urllib.request
from collections.abc import Iterator

import pytest

from tests.wire.conftest import OK, End, RawClient, RawUpstream, RunningProxy, exchange

GET = b"GET /a?b=c HTTP/1.1\r\nHost: x\r\n\r\n"
EVIL = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nEVIL"


@pytest.fixture(scope="module", name="proxy", params=["uvloop", "asyncio"])
def _proxy(request: pytest.FixtureRequest, module_upstream: RawUpstream) -> Iterator[RunningProxy]:
    if request.param == "uvloop":
        pytest.importorskip("uvloop")
    with RunningProxy(module_upstream.url, loop_kind=request.param) as proxy:
        yield proxy


def test_a_request_is_signed_and_its_response_comes_back(upstream: RawUpstream, proxy: RunningProxy) -> None:
    response = exchange(proxy.port, b"POST /a?b=c HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc")
    assert (response.status, response.body) == (200, b"ok")
    (request,) = upstream.requests
    assert request.request_line == b"POST /a?b=c HTTP/1.1"
    assert request.body == b"abc"
    (authorization,) = request.values(b"authorization")
    assert authorization.startswith(b"AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/")


def test_pipelined_requests_and_chunked_bodies_work(upstream: RawUpstream, proxy: RunningProxy) -> None:
    chunked = b"POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    with RawClient(proxy.port) as client:
        client.send((GET + chunked) * 20)
        assert [client.read_response().raw for _ in range(40)] == [OK] * 40
    assert [request.body for request in upstream.requests] == [b"", b"abc"] * 20


def test_a_body_that_waits_for_100_continue_works(upstream: RawUpstream, proxy: RunningProxy) -> None:
    with RawClient(proxy.port) as client:
        client.send(b"PUT /a HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n")
        assert client.read_response().status == 100
        client.send(b"abc")
        assert client.read_response().raw == OK


def test_a_body_that_is_too_large_for_memory_arrives_whole(upstream: RawUpstream, proxy: RunningProxy) -> None:
    body = bytes(range(256)) * 12_288
    response = exchange(proxy.port, b"PUT /a HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    assert response.raw == OK
    (request,) = upstream.requests
    assert hashlib.sha256(request.body).digest() == hashlib.sha256(body).digest()
    assert request.values(b"x-amz-content-sha256") == [hashlib.sha256(body).hexdigest().encode()]


def test_a_large_response_and_one_that_ends_with_its_connection_arrive_whole(
    upstream: RawUpstream, proxy: RunningProxy
) -> None:
    body = bytes(range(256)) * 12_288
    counted = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body)
    upstream.answer_with([counted, body], [b"HTTP/1.1 200 OK\r\n\r\n", body, End.CLOSE])
    with RawClient(proxy.port) as client:
        for _ in range(2):
            client.send(GET)
            assert client.read_response().body == body


def test_a_request_that_meets_a_closed_connection_is_sent_again(upstream: RawUpstream, proxy: RunningProxy) -> None:
    upstream.answer_with([OK, End.CLOSE], [OK])
    assert [exchange(proxy.port, GET).raw for _ in range(2)] == [OK, OK]


def test_a_malformed_request_is_refused_and_the_connection_closed(upstream: RawUpstream, proxy: RunningProxy) -> None:
    with RawClient(proxy.port) as client:
        client.send(b"GET / HTTP/1.1\r\nHost : x\r\n\r\n" + GET)
        assert client.read_response().problem_code == "malformed_request"
        assert client.read_until_closed() == b""
    assert upstream.received == b""


def test_a_hostile_response_is_answered_502_and_reaches_nobody(upstream: RawUpstream, proxy: RunningProxy) -> None:
    upstream.answer_with([b"HTTP/1.1 200 OK\r\nContent-Length: 4\nX: y\r\n\r\nEVIL"], [OK + EVIL])
    with RawClient(proxy.port) as client:
        client.send(GET)
        assert client.read_response().problem_code == "upstream_malformed_response"
        for _ in range(2):
            client.send(GET)
            assert client.read_response().raw == OK


def test_the_management_port_tells_of_it(proxy: RunningProxy) -> None:
    with urllib.request.urlopen(f"http://127.0.0.1:{proxy.management_port}/status/health", timeout=5) as answer:
        assert answer.read() == b'{"status":"ok"}'


def test_warm_connections_are_there_before_the_first_request_which_takes_one_of_them() -> None:
    with RawUpstream() as upstream, RunningProxy(upstream.url, {"ASP_WARM_CONNECTIONS": "3"}) as proxy:
        give_up = time.monotonic() + 5
        while upstream.connections < 3 and time.monotonic() < give_up:
            time.sleep(0.01)
        assert exchange(proxy.port, GET).status == 200
        assert upstream.connections == 3
