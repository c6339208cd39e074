"""Backpressure over real sockets: a slow client or a slow upstream costs neither memory nor other clients' time."""

from __future__ import annotations

import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.proxy.proxy_process import ProxyProcess
from tests.wire.raw_client import RawClient, exchange
from tests.wire.raw_upstream import OK, RawUpstream, ReceivedRequest, Step, WaitFor

GET = b"GET /small HTTP/1.1\r\nHost: a\r\n\r\n"
MIB = 1024 * 1024
# The proxy's own buffers, the interpreter's reluctance to give memory back, and some more.
ALLOWED_GROWTH_BYTES = 16 * MIB


def _resident_bytes(proxy: ProxyProcess) -> int:
    pages = Path(f"/proc/{proxy.pid}/statm").read_text().split()[1]
    return int(pages) * 4096


def _assert_others_are_served(proxy: ProxyProcess, count: int = 100) -> None:
    with RawClient(proxy.port) as client:
        times = []
        for _ in range(count):
            began = time.monotonic()
            client.send(GET)
            assert client.read_response().body == b"ok"
            times.append(time.monotonic() - began)
    assert sorted(times)[int(count * 0.99) - 1] < 1.0


def _wait_for_spool(proxy: ProxyProcess, size: int) -> None:
    """Return when the proxy has that much of a body on disk: how fast disks are is not looked at here."""
    deadline = time.monotonic() + 60
    while True:
        _, page = proxy.management("/status/metrics")
        (written,) = re.findall(rb"^aws_signing_proxy_spool_bytes (\S+)$", page, re.MULTILINE)
        if float(written) >= size:
            return
        assert time.monotonic() < deadline
        time.sleep(0.02)


@contextmanager
def _watched(proxy: ProxyProcess) -> Iterator[Callable[[], int]]:
    """Give the highest growth of the process's memory since the beginning."""
    exchange(proxy.port, GET)
    before = _resident_bytes(proxy)
    highest = [before]
    is_over = threading.Event()

    def watch() -> None:
        while not is_over.wait(0.005):
            highest[0] = max(highest[0], _resident_bytes(proxy))

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        yield lambda: max(highest[0], _resident_bytes(proxy)) - before
    finally:
        is_over.set()
        watching.join()


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_a_client_that_does_not_read_a_large_response_costs_no_memory_and_nobody_elses_time(
    upstream: RawUpstream, framing: str
) -> None:
    size = 200 * MIB
    piece = b"x" * MIB
    if framing == "length":
        head, steps = b"Content-Length: %d" % size, [piece] * (size // MIB)
    else:
        head, steps = b"Transfer-Encoding: chunked", [b"100000\r\n" + piece + b"\r\n"] * (size // MIB) + [b"0\r\n\r\n"]

    def reply(request: ReceivedRequest) -> list[Step]:
        large: list[Step] = [b"HTTP/1.1 200 OK\r\n" + head + b"\r\n\r\n", *steps]
        return large if b"/large" in request.request_line else [OK]

    upstream.default_reply = reply
    with ProxyProcess(upstream.url) as proxy, _watched(proxy) as growth, RawClient(proxy.port) as slow:
        slow.send(GET.replace(b"small", b"large"))
        _assert_others_are_served(proxy)
        assert growth() < ALLOWED_GROWTH_BYTES
        received = 0
        while received < size:
            received += len(slow.read_some())
        assert growth() < ALLOWED_GROWTH_BYTES
        _assert_others_are_served(proxy)


def test_an_upstream_that_does_not_read_a_large_body_costs_no_memory_and_nobody_elses_time(
    upstream: RawUpstream, tmp_path: Path
) -> None:
    size = 64 * MIB
    may_read = threading.Event()
    with ProxyProcess(upstream.url, {"ASP_SPOOL_DIR": str(tmp_path)}) as proxy, _watched(proxy) as growth:
        upstream.on_connect = [WaitFor(may_read)]
        with RawClient(proxy.port, timeout_seconds=20) as client, RawClient(proxy.port) as first:
            # The one connection that is open serves the others; the large body waits on a new one.
            upstream.answer_with([OK])
            client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, MIB)
            client.send(b"PUT /large HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size)
            piece = b"x" * MIB
            for _ in range(size // MIB - 1):
                client.send(piece)
            upstream.forget()
            may_answer = threading.Event()
            _wait_for_spool(proxy, size - 8 * MIB)
            upstream.answer_with([WaitFor(may_answer), OK])
            first.send(GET)
            upstream.wait_for_requests(1)
            upstream.on_connect = [WaitFor(may_read)]
            client.send(piece)
            deadline = time.monotonic() + 8
            while upstream.connections < 2:
                assert time.monotonic() < deadline
                time.sleep(0.005)
            may_answer.set()
            assert first.read_response().status == 200
            _assert_others_are_served(proxy)
            assert growth() < ALLOWED_GROWTH_BYTES
            may_read.set()
            assert client.read_response().status == 200
            assert len(next(each.body for each in upstream.requests if b"/large" in each.request_line)) == size
            assert growth() < ALLOWED_GROWTH_BYTES


def test_many_clients_that_do_not_read_cost_no_more_than_their_buffers(upstream: RawUpstream) -> None:
    """Pipelining clients too: complete answers do not heap up for somebody who takes none."""
    upstream.default_reply = [b"HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n" + b"x" * 60_000]
    with ProxyProcess(upstream.url) as proxy, _watched(proxy) as growth, RawClient(proxy.port) as greedy:
        greedy.sock.settimeout(0.3)
        sent = 0
        try:
            while sent < 400_000:
                sent += greedy.sock.send(GET * 100)
        except TimeoutError:
            pass
        deadline = time.monotonic() + 5
        before = -1
        while len(upstream.requests) != before and time.monotonic() < deadline:
            before = len(upstream.requests)
            time.sleep(0.1)
        assert len(upstream.requests) < 200
        assert growth() < ALLOWED_GROWTH_BYTES
