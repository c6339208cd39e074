"""Connections come to all workers alike, each worker costs little memory, and two are there as soon as one."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
from pathlib import Path

import pytest

from tests.tls.certificates import Certificates
from tests.wire.raw_client import RawClient, Response
from tests.wire.raw_upstream import RawUpstream
from tests.workers.crew_process import ESTABLISHED, GET, CrewProcess, until

MOST_MIB_OF_A_WORKER = 20.0
FARTHEST_FROM_EVEN = 0.2
TRIES = 3
READ_AGAIN = "the certificate of ASP_TLS_CERT was read again: new connections use it"


def _spread(proxy: CrewProcess) -> list[int]:
    return [proxy.sockets_of(worker, ESTABLISHED) for worker in proxy.workers]


def _is_even(spread: list[int]) -> bool:
    even = sum(spread) / len(spread)
    return all(abs(each - even) <= FARTHEST_FROM_EVEN * even for each in spread)


@pytest.mark.parametrize("is_at_once", [True, False])
@pytest.mark.parametrize(("workers", "count"), [(2, 10), (2, 64), (2, 256), (3, 60)])
def test_each_worker_gets_its_part_of_the_connections(
    upstream: RawUpstream, workers: int, count: int, *, is_at_once: bool
) -> None:
    with CrewProcess(upstream.url, workers=workers) as proxy:
        proxy.wait_for_workers(workers)
        # Who gets no processor for long gets fewer connections, and should: then it is tried once more.
        for _ in range(TRIES):
            with contextlib.ExitStack() as stack:
                clients = [stack.enter_context(RawClient(proxy.port)) for _ in range(count if is_at_once else 0)]
                for client in clients:
                    client.send(GET)
                assert all(client.read_response().status == 200 for client in clients)
                for _ in range(count - len(clients)):
                    client = stack.enter_context(RawClient(proxy.port))
                    client.send(GET)
                    assert client.read_response().status == 200
                spread = _spread(proxy)
                assert sum(spread) == count
                if _is_even(spread):
                    return
            until(lambda: proxy.metric("downstream_connections_open") == 0)
        pytest.fail(f"connections: {spread}")


def test_each_worker_gets_its_part_of_tls_connections_too(upstream: RawUpstream, tmp_path: Path) -> None:
    """A handshake keeps a worker busy, so that it comes late to the next connection."""
    certificates = Certificates(tmp_path)
    settings = {"ASP_TLS_CERT": str(certificates.cert), "ASP_TLS_KEY": str(certificates.key)}
    tls = certificates.client_context()
    with CrewProcess(upstream.url, settings) as proxy, contextlib.ExitStack() as stack:
        proxy.wait_for_workers(2)
        for _ in range(40):
            plain = stack.enter_context(socket.create_connection(("127.0.0.1", proxy.port), 5))
            client = stack.enter_context(tls.wrap_socket(plain, server_hostname="localhost"))
            client.sendall(GET)
            assert client.recv(65536).startswith(b"HTTP/1.1 200 ")
        spread = _spread(proxy)
        assert sum(spread) == 40
        assert _is_even(spread), spread


def _pss_mib(processes: list[int]) -> float:
    pattern = re.compile(r"^Pss:\s+(\d+) kB$", re.MULTILINE)
    total = 0
    for pid in processes:
        found = pattern.search(Path(f"/proc/{pid}/smaps_rollup").read_text())
        assert found is not None
        total += int(found[1])
    return total / 1024


def test_a_further_worker_costs_little_memory(upstream: RawUpstream) -> None:
    """Proportional set size: pages that several processes share count once."""
    taken = []
    for workers in (2, 4):
        with CrewProcess(upstream.url, workers=workers) as proxy:
            proxy.wait_for_workers(workers)
            proxy.clients(8 * workers)
            taken.append(_pss_mib(proxy.processes))
    assert (taken[1] - taken[0]) / 2 <= MOST_MIB_OF_A_WORKER, taken


def _answer(proxy: CrewProcess, stack: contextlib.ExitStack) -> Response:
    client = stack.enter_context(RawClient(proxy.port))
    client.send(GET)
    return client.read_response()


def test_the_limit_on_connections_is_one_for_all_workers_together(upstream: RawUpstream) -> None:
    with CrewProcess(upstream.url, {"ASP_MAX_CONNECTIONS": "5"}) as proxy, contextlib.ExitStack() as stack:
        proxy.wait_for_workers(2)
        # One worker's part may be full before the other's. In the end both are.
        responses = [_answer(proxy, stack)]
        while sum(each.status == 200 for each in responses) < 5:
            responses.append(_answer(proxy, stack))
            assert len(responses) < 200
        refused = [_answer(proxy, stack) for _ in range(6)]
        assert [each.status for each in refused] == [503] * 6
        responses += refused
        refusals = [each for each in responses if each.status == 503]
        assert {each.problem_code for each in refusals} == {"too_many_connections"}
        details = {json.loads(each.body)["detail"] for each in refusals}
        assert all("ASP_MAX_CONNECTIONS" in detail and "worker" in detail for detail in details)


def test_new_certificates_reach_every_worker_and_those_to_come(upstream: RawUpstream, tmp_path: Path) -> None:
    certificates = Certificates(tmp_path)
    settings = {"ASP_TLS_CERT": str(certificates.cert), "ASP_TLS_KEY": str(certificates.key)}
    with CrewProcess(upstream.url, settings) as proxy:
        proxy.wait_for_workers(2)
        old = _certificates_shown(proxy, certificates)
        assert len(old) == 1
        proxy.signal(signal.SIGHUP)
        proxy.wait_for_log(READ_AGAIN, count=2)  # nothing had changed: they would not have looked by themselves
        certificates.renew()
        proxy.signal(signal.SIGHUP)
        proxy.wait_for_log(READ_AGAIN, count=4)
        new = _certificates_shown(proxy, certificates)
        assert len(new) == 1
        assert new != old
        for pid in proxy.workers:
            os.kill(pid, signal.SIGKILL)
        proxy.wait_for_log("a worker ended and is replaced", count=2)
        proxy.wait_for_workers(2)
        assert _certificates_shown(proxy, certificates) == new


def _certificates_shown(proxy: CrewProcess, certificates: Certificates) -> set[bytes]:
    shown = set()
    with contextlib.ExitStack() as stack:
        for _ in range(10):
            plain = stack.enter_context(socket.create_connection(("127.0.0.1", proxy.port), 5))
            client = stack.enter_context(certificates.client_context().wrap_socket(plain, server_hostname="localhost"))
            shown.add(client.getpeercert(binary_form=True) or b"")
    return shown
