"""Streamed bodies over real sockets, in both event loops: who is cut off when, and what still arrives."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from email.utils import formatdate

import pytest

from tests.wire.raw_client import RawClient
from tests.wire.raw_upstream import OK, End, Pause, RawUpstream, Step, Tell, WaitFor
from tests.wire.running_proxy import LoopKind, RunningProxy

SETTINGS = {"ASP_SERVICE": "s3", "ASP_PAYLOAD": "chunked", "ASP_BODY_MEMORY_LIMIT": "1KiB"}
FORBIDDEN = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 6\r\n\r\ndenied"
MIB = 1024 * 1024


@pytest.fixture(params=["uvloop", "asyncio"], name="loop_kind")
def _loop_kind(request: pytest.FixtureRequest) -> LoopKind:
    kind: LoopKind = request.param
    return kind


@pytest.fixture(name="upstream")
def _upstream() -> Iterator[RawUpstream]:
    with RawUpstream() as upstream:
        yield upstream


@pytest.fixture(name="proxy")
def _proxy(upstream: RawUpstream, loop_kind: LoopKind) -> Iterator[RunningProxy]:
    with RunningProxy(upstream.url, SETTINGS, loop_kind=loop_kind) as proxy:
        yield proxy
        wait_until(lambda: proxy.counters.requests_in_flight == 0)
        assert proxy.counters.body_memory_bytes == 0
        assert proxy.counters.bodies_spooled_total == 0


def wait_until(is_so: Callable[[], bool]) -> None:
    """Wait for what another thread brings about."""
    give_up = time.monotonic() + 5
    while not is_so():
        assert time.monotonic() < give_up
        time.sleep(0.01)


def _head(length: int, *fields: bytes) -> bytes:
    lines = [b"PUT /bucket/key HTTP/1.1", b"Host: client.test", b"Content-Length: %d" % length, *fields]
    return b"\r\n".join(lines) + b"\r\n\r\n"


def test_a_body_flows_while_it_comes_and_another_request_follows(proxy: RunningProxy, upstream: RawUpstream) -> None:
    with RawClient(proxy.port) as client:
        for _ in range(3):
            client.send(_head(5 * MIB))
            client.send(b"x" * (5 * MIB))
            assert client.read_response().raw == OK
        client.send(b"GET /after HTTP/1.1\r\nHost: client.test\r\n\r\n")
        assert client.read_response().raw == OK
    assert upstream.connections == 1
    assert [request.body.count(b"x") for request in upstream.requests] == [5 * MIB] * 3 + [0]
    assert all(b"aws-chunked" in request.head for request in upstream.requests[:3])


each_end = pytest.mark.parametrize("end", [End.CLOSE, End.RESET])


@each_end
def test_an_answer_to_half_an_upload_reaches_the_client_however_the_service_closes(
    proxy: RunningProxy, upstream: RawUpstream, end: End
) -> None:
    upstream.reads_bodies = False
    upstream.default_reply = [FORBIDDEN, Pause(0.02), end]
    for _ in range(5):
        with RawClient(proxy.port) as client:
            client.send(_head(50 * MIB) + b"x" * MIB)
            response = client.read_response()
            assert (response.status, response.body) == (403, b"denied")
            assert response.values(b"Connection") == [b"close"]


@each_end
def test_an_answer_that_is_in_the_kernel_when_the_connection_breaks_is_not_lost(
    proxy: RunningProxy, upstream: RawUpstream, end: End
) -> None:
    """The proxy stands still while the service answers and resets, and then writes first."""
    upstream.reads_bodies = False
    asked, answered = threading.Event(), threading.Event()
    may_answer = threading.Event()
    upstream.default_reply = [Tell(asked), WaitFor(may_answer), FORBIDDEN, Tell(answered), end]
    with RawClient(proxy.port) as client:
        client.send(_head(50 * MIB))
        assert asked.wait(5)
        with proxy.standing_still():
            client.send(b"x" * MIB)
            may_answer.set()
            assert answered.wait(5)
            wait_until(lambda: not upstream.open_connections)
        response = client.read_response()
        assert (response.status, response.body) == (403, b"denied")


def test_an_upload_whose_head_is_refused_for_the_time_is_sent_again_with_what_came_of_it(
    upstream: RawUpstream, loop_kind: LoopKind
) -> None:
    """The service refuses the first head, and closes; the client has sent half a chunk by then, and sends the rest."""
    date = formatdate(time.time() + 3600, usegmt=True).encode()
    refusal = b"<Error><Code>RequestTimeTooSkewed</Code></Error>"
    skewed = b"HTTP/1.1 403 Forbidden\r\nDate: %b\r\nContent-Length: %d\r\n\r\n%b" % (date, len(refusal), refusal)
    asked, may_answer = threading.Event(), threading.Event()
    upstream.reads_bodies = False
    upstream.replies.append([Tell(asked), WaitFor(may_answer), skewed, End.CLOSE])
    settings = SETTINGS | {"ASP_BODY_MEMORY_LIMIT": "1MiB"}
    with RunningProxy(upstream.url, settings, loop_kind=loop_kind) as proxy, RawClient(proxy.port) as client:
        client.send(_head(3 * MIB) + b"x" * 50_000)
        assert asked.wait(5)
        wait_until(lambda: proxy.call(lambda: proxy.counters.body_memory_bytes) >= 50_000)
        upstream.reads_bodies = True
        may_answer.set()
        wait_until(lambda: proxy.counters.retries_total == 1)
        client.send(b"x" * (3 * MIB - 50_000))
        assert client.read_response().raw == OK
    (request,) = [each for each in upstream.requests if each.body]
    assert request.body.count(b"x") == 3 * MIB


def test_a_client_that_leaves_in_the_middle_leaves_no_whole_request_behind(
    proxy: RunningProxy, upstream: RawUpstream
) -> None:
    with RawClient(proxy.port) as client:
        client.send(_head(5 * MIB) + b"x" * (3 * MIB))
        proxy.settle()
    wait_until(lambda: not upstream.open_connections)
    assert upstream.requests == []


def test_a_service_that_reads_slowly_makes_the_client_wait_and_memory_stays_small(
    proxy: RunningProxy, upstream: RawUpstream
) -> None:
    upstream.reads_bodies = False
    may_read = threading.Event()
    steps: list[Step] = [WaitFor(may_read), End.CLOSE]
    upstream.default_reply = steps
    with RawClient(proxy.port) as client:
        client.sock.settimeout(1.0)
        client.send(_head(1024 * MIB))
        sent = 0
        with contextlib.suppress(TimeoutError):
            while sent < 1024 * MIB:
                sent += client.sock.send(b"x" * MIB)
        assert sent < 64 * MIB
        assert proxy.call(lambda: proxy.counters.body_memory_bytes) < 2 * MIB
        may_read.set()


def test_a_malformed_chunk_cuts_the_upload_off(proxy: RunningProxy, upstream: RawUpstream) -> None:
    chunk = b"2000;chunk-signature=" + b"a" * 64 + b"\r\n" + b"x" * 8192 + b"\r\n"
    fields = (b"X-Amz-Content-Sha256: STREAMING-AWS4-HMAC-SHA256-PAYLOAD", b"X-Amz-Decoded-Content-Length: 16384")
    with RawClient(proxy.port) as client:
        client.send(_head(len(chunk) * 2 + 86, *fields) + chunk + chunk.replace(b"2000;", b"2001;"))
        response = client.read_response()
        assert (response.status, response.problem_code) == (400, "malformed_payload")
    wait_until(lambda: not upstream.open_connections)
    assert upstream.requests == []


def test_vpc_lattice_gets_no_hash_of_any_body(upstream: RawUpstream, loop_kind: LoopKind) -> None:
    settings = {"ASP_SERVICE": "vpc-lattice-svcs"}
    with RunningProxy(upstream.url, settings, loop_kind=loop_kind) as proxy, RawClient(proxy.port) as client:
        client.send(b"GET / HTTP/1.1\r\nHost: client.test\r\n\r\n")
        assert client.read_response().raw == OK
        for size in (5, 2 * MIB):
            client.send(_head(size) + b"x" * size)
            assert client.read_response().raw == OK
    assert [request.values(b"X-Amz-Content-Sha256") for request in upstream.requests] == [[b"UNSIGNED-PAYLOAD"]] * 3
    assert [len(request.body) for request in upstream.requests] == [0, 5, 2 * MIB]
