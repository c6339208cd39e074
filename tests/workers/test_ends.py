"""The end of a proxy some of whose processes hang, are gone, or have been told to end by hand."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading

import pytest

from tests.wire.raw_client import RawClient
from tests.wire.raw_upstream import OK, RawUpstream, Step, WaitFor
from tests.workers.crew_process import ESTABLISHED, GET, LISTENING, CrewProcess, is_alive, until


def _refuses(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 5).close()
    except ConnectionRefusedError:
        return True
    return False


@pytest.mark.parametrize("hung", [1, 2])
def test_the_port_is_free_soon_after_the_supervisor_was_killed_though_workers_hang(
    upstream: RawUpstream, hung: int
) -> None:
    with CrewProcess(upstream.url, {"ASP_DRAIN_TIMEOUT": "1h"}) as proxy:
        workers = proxy.wait_for_workers(2)[:hung]
        port = proxy.port
        for pid in workers:
            os.kill(pid, signal.SIGSTOP)
        proxy.signal(signal.SIGKILL)
        proxy.wait()
        until(lambda: _refuses(port))
        socket.create_server(("127.0.0.1", port)).close()
        assert all(map(is_alive, workers))
        assert "connections cannot be accepted" not in proxy.output


def test_a_second_signal_ends_every_process_also_where_the_one_that_would_do_it_hangs(upstream: RawUpstream) -> None:
    may_go_on = threading.Event()
    with CrewProcess(upstream.url, {"ASP_DRAIN_TIMEOUT": "1h"}) as proxy:
        processes = [*proxy.wait_for_workers(2), proxy.nursery]
        clients = proxy.clients(2)
        upstream.answer_with(*[[WaitFor(may_go_on)]] * 2)
        for client in clients:
            client.send(GET)
        upstream.wait_for_requests(4)
        os.kill(proxy.nursery, signal.SIGSTOP)
        proxy.signal(signal.SIGTERM)
        proxy.wait_for_log("stopping")
        proxy.signal(signal.SIGTERM)
        assert proxy.wait() == 1
        until(lambda: not any(map(is_alive, processes)))
        may_go_on.set()


def test_a_worker_that_is_told_to_end_by_hand_leaves_those_who_wait_to_the_others(upstream: RawUpstream) -> None:
    may_go_on = threading.Event()
    late: list[Step] = [WaitFor(may_go_on), OK]
    upstream.answer_with(*[late] * 20)
    with CrewProcess(upstream.url) as proxy, contextlib.ExitStack() as stack:
        workers = proxy.wait_for_workers(2)
        for pid in workers:
            os.kill(pid, signal.SIGSTOP)
        waiting = [stack.enter_context(RawClient(proxy.port)) for _ in range(20)]
        for client in waiting:
            client.send(GET)
        os.kill(workers[0], signal.SIGTERM)
        os.kill(workers[0], signal.SIGCONT)
        with contextlib.suppress(FileNotFoundError):  # it took none, so it may be gone already
            until(lambda: not proxy.sockets_of(workers[0], LISTENING))
            assert proxy.sockets_of(workers[0], ESTABLISHED) <= 2, "what it took before it heeded the signal"
        os.kill(workers[1], signal.SIGCONT)
        may_go_on.set()
        assert [client.read_response().status for client in waiting] == [200] * 20


def test_workers_that_have_left_are_not_counted_as_running_and_alone_they_are_not_ready(upstream: RawUpstream) -> None:
    may_go_on = threading.Event()
    with CrewProcess(upstream.url) as proxy:
        workers = proxy.wait_for_workers(2)
        clients = proxy.clients(4)
        late: list[Step] = [WaitFor(may_go_on), OK]
        upstream.answer_with(*[late] * 4)
        for client in clients:
            client.send(GET)
        upstream.wait_for_requests(8)
        for at, pid in enumerate(workers, 1):
            assert proxy.management("/status/ready")[0] == 200
            os.kill(pid, signal.SIGTERM)
            until(lambda at=at: proxy.metric("workers_running") == 2 - at)  # type: ignore[misc]  # of the loop
        status, body = proxy.management("/status/ready")
        assert (status, b"No worker serves requests." in body) == (503, True)
        may_go_on.set()
        assert [client.read_response().status for client in clients] == [200] * 4
        proxy.wait_for_workers(2)
        assert proxy.management("/status/ready")[0] == 200
