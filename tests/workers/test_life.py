"""Workers die, hang, are told to end; the supervisor and the process between them too. Clients notice none of it."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.outages.load import Load
from tests.wire.raw_client import RawClient, exchange
from tests.wire.raw_upstream import OK, RawUpstream, Step, WaitFor
from tests.workers.crew_process import GET, CrewProcess, is_alive, until

LIMIT_OF_A_SCRAPE_SECONDS = 2.0


def _late(may_go_on: threading.Event, count: int) -> list[list[Step]]:
    """Return answers that come when the test lets them."""
    return [[WaitFor(may_go_on), OK]] * count


def test_one_worker_is_one_process(upstream: RawUpstream) -> None:
    with CrewProcess(upstream.url, workers=1) as proxy:
        assert exchange(proxy.port, GET).status == 200
        assert proxy.processes == [proxy.pid]
        assert proxy.metric("workers_running") == 1
        assert all("worker" not in line for line in proxy.log)


def test_several_workers_serve_one_port_that_the_system_chose(upstream: RawUpstream) -> None:
    with CrewProcess(upstream.url, workers=3) as proxy:
        assert len(proxy.wait_for_workers(3)) == 3
        for client in proxy.clients(12):
            client.sock.close()
        assert proxy.metric("requests_total") == 12
        assert proxy.management("/status/ready")[0] == 200
        assert proxy.management("/status/live")[0] == 200


def test_a_unix_socket_is_shared_as_well_and_removed_at_the_end(upstream: RawUpstream, tmp_path: Path) -> None:
    path = tmp_path / "proxy.sock"
    with CrewProcess(upstream.url, {"ASP_UNIX_SOCKET": str(path)}) as proxy:
        first, *_ = proxy.wait_for_workers(2)
        os.kill(first, signal.SIGTERM)
        until(lambda: first not in proxy.workers and len(proxy.workers) == 2)
        for _ in range(4):
            with socket.socket(socket.AF_UNIX) as sock:
                sock.settimeout(5)
                sock.connect(str(path))
                sock.sendall(GET)
                assert sock.recv(65536).startswith(b"HTTP/1.1 200 ")
        proxy.signal(signal.SIGTERM)
        assert proxy.wait() == 0
        assert not path.exists()


def test_a_worker_that_is_killed_under_load_is_replaced_and_its_sibling_loses_nothing(upstream: RawUpstream) -> None:
    with CrewProcess(upstream.url) as proxy:
        proxy.wait_for_workers(2)
        clients = proxy.clients(16)
        dead = proxy.kill_worker()
        until(lambda: not is_alive(dead))
        lost = 0
        for client in clients:
            client.send(GET)
            try:
                assert client.read_response().status == 200
            except EOFError:
                lost += 1
            client.sock.close()
        assert lost == 8, "the dead worker's own connections, and no other"
        # New connections are served all the time: nobody waits for the replacement.
        with Load(proxy.port, clients=4) as load:
            proxy.wait_for_log("a worker ended and is replaced")
            until(lambda: len(load.answers) > 50)
            proxy.wait_for_workers(2)
        assert {answer.status for answer in load.answers} == {200}
        assert proxy.metric("worker_deaths_total") == 1
        (line,) = [line for line in proxy.log if line["event"] == "a worker ended and is replaced"]
        assert (line["ended"], line["pid"]) == ("SIGKILL", dead)
        assert dead not in proxy.workers


def test_new_connections_under_load_never_notice_that_workers_die(upstream: RawUpstream) -> None:
    """A connection that waits to be accepted belongs to nobody, so nobody's death can lose it."""
    with CrewProcess(upstream.url) as proxy:
        proxy.wait_for_workers(2)
        for died in range(1, 4):
            # Stopped first, so that it holds nothing that is under way when it dies.
            victim = proxy.kill_worker(signal.SIGSTOP)
            with contextlib.ExitStack() as clients:
                waiting = [clients.enter_context(RawClient(proxy.port)) for _ in range(20)]
                for client in waiting:
                    client.send(GET)
                os.kill(victim, signal.SIGKILL)
                assert [client.read_response().status for client in waiting] == [200] * 20
            until(lambda died=died: proxy.metric("worker_deaths_total") == died)  # type: ignore[misc]  # of the loop
            proxy.wait_for_workers(2)


def test_a_worker_that_dies_again_and_again_is_replaced_less_and_less_often(upstream: RawUpstream) -> None:
    with CrewProcess(upstream.url) as proxy:
        proxy.wait_for_workers(2)
        other = proxy.workers[1]
        for count in range(1, 5):
            (victim,) = [pid for pid in proxy.workers if pid != other]
            os.kill(victim, signal.SIGKILL)
            proxy.wait_for_log("a worker ended and is replaced", count=count)
            until(lambda: len(proxy.workers) == 2)
        delays = [line["next_one_in_seconds"] for line in proxy.log if "next_one_in_seconds" in line]
        assert delays == [0.1, 0.2, 0.4, 0.8]
        assert proxy.workers[0] == other or other in proxy.workers
        assert exchange(proxy.port, GET).status == 200


def test_a_worker_that_hangs_blocks_neither_clients_nor_the_scrape_nor_the_end(upstream: RawUpstream) -> None:
    with CrewProcess(upstream.url, {"ASP_DRAIN_TIMEOUT": "100ms"}) as proxy:
        proxy.wait_for_workers(2)
        clients = proxy.clients(4)
        assert proxy.metric("requests_total") == 4
        hung = proxy.kill_worker(signal.SIGSTOP)
        began = time.monotonic()
        assert proxy.metric("requests_total") == 4, "with its last known figures"
        assert time.monotonic() - began < LIMIT_OF_A_SCRAPE_SECONDS
        for _ in range(10):
            assert exchange(proxy.port, GET).status == 200
        assert proxy.management("/status/ready")[0] == 200
        proxy.wait_for_log("a worker has been silent for seconds")
        assert proxy.metric("workers_silent") == 1
        for client in clients:
            client.sock.close()
        proxy.signal(signal.SIGTERM)
        assert proxy.wait() == 0
        assert not is_alive(hung)
        assert [line["event"] for line in proxy.log].count("workers that did not end in time are killed") == 1


def test_a_worker_that_was_silent_is_counted_again_when_it_goes_on(upstream: RawUpstream) -> None:
    with CrewProcess(upstream.url) as proxy:
        proxy.wait_for_workers(2)
        hung = proxy.kill_worker(signal.SIGSTOP)
        proxy.wait_for_log("a worker has been silent for seconds")
        os.kill(hung, signal.SIGCONT)
        until(lambda: proxy.metric("workers_silent") == 0)
        assert hung in proxy.workers


def test_sigterm_lets_the_requests_of_all_workers_end_and_refuses_new_ones(upstream: RawUpstream) -> None:
    may_go_on = threading.Event()
    with CrewProcess(upstream.url) as proxy:
        proxy.wait_for_workers(2)
        clients = proxy.clients(8)
        upstream.answer_with(*_late(may_go_on, 8))
        for client in clients:
            client.send(GET)
        upstream.wait_for_requests(16)
        workers = proxy.workers
        proxy.signal(signal.SIGTERM)
        until(lambda: _refuses(proxy.port))
        status, body = proxy.management("/status/ready")
        assert (status, b"stopping" in body) == (503, True)
        assert proxy.metric("requests_in_flight") == 8
        may_go_on.set()
        for client in clients:
            response = client.read_response()
            assert (response.body, response.values(b"connection")) == (b"ok", [b"close"])
        assert proxy.wait() == 0
        assert not any(map(is_alive, workers))
        assert [line["event"] for line in proxy.log][-2:] == ["stopping", "stopped"]


def test_sigterm_under_load_loses_no_request(upstream: RawUpstream) -> None:
    """Whoever sends one request after the other is answered until an answer says that it was the last."""
    with CrewProcess(upstream.url) as proxy:
        proxy.wait_for_workers(2)
        clients = proxy.clients(8)
        began, outcomes = threading.Semaphore(0), list[list[int]]()

        def send_without_end(client: RawClient) -> None:
            statuses: list[int] = []
            outcomes.append(statuses)
            is_last = False
            while not is_last:
                client.send(GET)
                response = client.read_response()
                statuses.append(response.status)
                began.release()
                is_last = response.values(b"connection") == [b"close"]

        with ThreadPoolExecutor(len(clients)) as pool:
            results = [pool.submit(send_without_end, client) for client in clients]
            for _ in range(200):
                assert began.acquire(timeout=10)
            proxy.signal(signal.SIGTERM)
            for result in results:
                result.result(20)
        assert proxy.wait() == 0
        assert {status for statuses in outcomes for status in statuses} == {200}


def _refuses(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 5).close()
    except ConnectionRefusedError:
        return True
    return False


def test_what_is_not_done_within_the_time_to_drain_is_cut_off_in_every_worker(upstream: RawUpstream) -> None:
    may_go_on = threading.Event()
    with CrewProcess(upstream.url, {"ASP_DRAIN_TIMEOUT": "200ms"}) as proxy:
        proxy.wait_for_workers(2)
        clients = proxy.clients(4)
        upstream.answer_with(*[[WaitFor(may_go_on)]] * 4)
        for client in clients:
            client.send(GET)
        upstream.wait_for_requests(8)
        proxy.signal(signal.SIGTERM)
        assert [client.read_until_closed() for client in clients] == [b""] * 4
        assert proxy.wait() == 0
        lines = [line for line in proxy.log if "ASP_DRAIN_TIMEOUT" in line["event"]]
        assert sorted(line["worker"] for line in lines) == [0, 1]
        may_go_on.set()


def test_a_client_that_had_just_connected_when_the_proxy_was_told_to_stop_is_served(upstream: RawUpstream) -> None:
    with CrewProcess(upstream.url) as proxy:
        workers = proxy.wait_for_workers(2)
        for pid in workers:
            os.kill(pid, signal.SIGSTOP)
        with contextlib.ExitStack() as stack:
            clients = [stack.enter_context(RawClient(proxy.port)) for _ in range(6)]
            for client in clients:
                client.send(GET)
            proxy.signal(signal.SIGTERM)
            proxy.wait_for_log("stopping")
            for pid in workers:
                os.kill(pid, signal.SIGCONT)
            assert [client.read_response().status for client in clients] == [200] * 6
        assert proxy.wait() == 0


def test_a_second_signal_ends_every_process_at_once(upstream: RawUpstream) -> None:
    may_go_on = threading.Event()
    with CrewProcess(upstream.url) as proxy:
        processes = [*proxy.wait_for_workers(2), proxy.nursery]
        (client,) = proxy.clients(1)
        upstream.answer_with([WaitFor(may_go_on)])
        client.send(GET)
        upstream.wait_for_requests(2)
        proxy.signal(signal.SIGINT)
        proxy.wait_for_log("stopping")
        proxy.signal(signal.SIGINT)
        assert proxy.wait() == 1
        until(lambda: not any(map(is_alive, processes)), seconds=3)
        may_go_on.set()


def test_one_worker_can_be_told_to_end_by_hand_and_ends_in_order(upstream: RawUpstream) -> None:
    may_go_on = threading.Event()
    with CrewProcess(upstream.url) as proxy:
        workers = proxy.wait_for_workers(2)
        clients = proxy.clients(4)
        upstream.answer_with(*_late(may_go_on, 4))
        for client in clients:
            client.send(GET)
        upstream.wait_for_requests(8)
        os.kill(workers[0], signal.SIGTERM)
        assert exchange(proxy.port, GET).status == 200
        assert is_alive(workers[0])
        may_go_on.set()
        assert [client.read_response().status for client in clients] == [200] * 4
        line = proxy.wait_for_log("a worker ended and is replaced")
        assert line["ended"] == "exit status 0"
        proxy.wait_for_workers(2)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_a_signal_of_the_terminal_reaches_workers_through_the_supervisor_only(
    upstream: RawUpstream, number: signal.Signals
) -> None:
    with CrewProcess(upstream.url) as proxy:
        workers = proxy.wait_for_workers(2)
        for pid in (*workers, proxy.nursery):
            os.kill(pid, number)
        assert exchange(proxy.port, GET).status == 200
        assert proxy.workers == workers


def test_workers_drain_and_end_when_the_supervisor_is_killed(upstream: RawUpstream) -> None:
    may_go_on = threading.Event()
    with CrewProcess(upstream.url) as proxy:
        processes = [*proxy.wait_for_workers(2), proxy.nursery]
        (client,) = proxy.clients(1)
        upstream.answer_with([WaitFor(may_go_on), OK])
        client.send(GET)
        upstream.wait_for_requests(2)
        port = proxy.port
        proxy.signal(signal.SIGKILL)
        proxy.wait()
        until(lambda: _refuses(port))
        may_go_on.set()
        assert client.read_response().status == 200
        until(lambda: not any(map(is_alive, processes)))


def test_a_worker_that_hangs_does_not_outlive_the_supervisor(upstream: RawUpstream) -> None:
    with CrewProcess(upstream.url, {"ASP_DRAIN_TIMEOUT": "100ms"}) as proxy:
        processes = [*proxy.wait_for_workers(2), proxy.nursery]
        proxy.kill_worker(signal.SIGSTOP)
        proxy.signal(signal.SIGKILL)
        proxy.wait()
        until(lambda: not any(map(is_alive, processes)), seconds=10)


def test_without_the_process_that_workers_come_from_the_proxy_ends_in_order_with_status_1(
    upstream: RawUpstream,
) -> None:
    may_go_on = threading.Event()
    with CrewProcess(upstream.url) as proxy:
        workers = proxy.wait_for_workers(2)
        (client,) = proxy.clients(1)
        upstream.answer_with([WaitFor(may_go_on), OK])
        client.send(GET)
        upstream.wait_for_requests(2)
        os.kill(proxy.nursery, signal.SIGKILL)
        proxy.wait_for_log("the process that workers are made from is gone; the proxy ends")
        may_go_on.set()
        assert client.read_response().status == 200
        assert proxy.wait() == 1
        until(lambda: not any(map(is_alive, workers)))


@pytest.mark.parametrize("setting", ["ASP_PORT", "ASP_MGMT_PORT"])
def test_a_port_in_use_is_one_clear_line_and_no_process_is_left(upstream: RawUpstream, setting: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with CrewProcess(upstream.url, {setting: str(port)}) as proxy:
            assert proxy.wait() == 1
            (line,) = [line for line in proxy.log if line["level"] == "error"]
            assert f"cannot listen on 127.0.0.1:{port}: address already in use" in line["event"]
            assert "Traceback" not in proxy.output


def test_every_line_of_a_worker_bears_its_number(upstream: RawUpstream) -> None:
    with CrewProcess(upstream.url, {"ASP_ACCESS_LOG": "true"}) as proxy:
        proxy.wait_for_workers(2)
        for client in proxy.clients(4):
            client.sock.close()
        until(lambda: sum(line["event"] == "request" for line in proxy.log) == 4)
        assert {line["worker"] for line in proxy.log if line["event"] == "request"} == {0, 1}


def test_a_loop_through_another_worker_is_noticed(upstream: RawUpstream) -> None:
    """Both call themselves the same in Via."""
    with CrewProcess(upstream.url) as proxy:
        proxy.wait_for_workers(2)
        for client in proxy.clients(4):
            client.sock.close()
        names = {each.values(b"via")[0].rpartition(b" ")[2] for each in upstream.requests}
        assert len(names) == 1
