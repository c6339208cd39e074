"""One scrape shows all workers; nothing that was shown is lost again when one of them dies."""

from __future__ import annotations

import signal
import threading

from tests.wire.raw_client import exchange
from tests.wire.raw_upstream import OK, RawUpstream, Step, WaitFor
from tests.workers.crew_process import GET, LISTENING, CrewProcess, until


def test_a_scrape_shows_what_all_workers_have_done_up_to_now(upstream: RawUpstream) -> None:
    with CrewProcess(upstream.url, workers=3) as proxy:
        proxy.wait_for_workers(3)
        for done in range(5, 26, 5):
            clients = proxy.clients(5)
            assert proxy.metric("requests_total", method="GET", status="2xx", code="ok") == done
            assert proxy.metric("downstream_connections_open") == done
            assert proxy.metric("request_duration_seconds_count") == done
            assert proxy.metric("signing_duration_seconds_bucket", le="+Inf") == done
            assert proxy.metric("response_body_bytes_total") == 2 * done
            assert len(clients) == 5
        connects = proxy.metric("upstream_connects_total")
        assert connects + proxy.metric("upstream_reuses_total") == 25
        assert connects == upstream.connections


def test_what_a_dead_worker_had_counted_stays_and_what_it_held_is_gone(upstream: RawUpstream) -> None:
    with CrewProcess(upstream.url) as proxy:
        proxy.wait_for_workers(2)
        proxy.clients(16)
        assert proxy.metric("requests_total") == 16
        for died in (1, 2):
            proxy.kill_worker()
            until(lambda died=died: proxy.metric("worker_deaths_total") == died)  # type: ignore[misc]  # of the loop
            assert proxy.metric("requests_total") == 16
            assert proxy.metric("request_duration_seconds_count") == 16
            assert proxy.metric("downstream_connections_total") == 16
            assert proxy.metric("downstream_connections_open") == 16 - 8 * died or proxy.metric("workers_running")
            proxy.wait_for_workers(2)
        assert proxy.metric("downstream_connections_open") == 0
        for _ in range(4):
            assert exchange(proxy.port, GET).status == 200
        assert proxy.metric("requests_total") == 20


def test_a_worker_that_ends_in_order_leaves_everything_it_has_counted(upstream: RawUpstream) -> None:
    """Also what it did between the last of its regular copies and its end."""
    may_go_on = threading.Event()
    with CrewProcess(upstream.url) as proxy:
        proxy.wait_for_workers(2)
        clients = proxy.clients(10)
        upstream.answer_with(*_late(may_go_on, len(clients)))
        for client in clients:
            client.send(GET)
        upstream.wait_for_requests(20)
        ended = proxy.kill_worker(signal.SIGTERM)
        until(lambda: not proxy.sockets_of(ended, LISTENING))  # from now on each answer is its connection's last
        may_go_on.set()
        assert [client.read_response().status for client in clients] == [200] * 10
        until(lambda: ended not in proxy.workers)
        proxy.wait_for_log("a worker ended and is replaced")
        assert proxy.metric("requests_total") == 20


def _late(may_go_on: threading.Event, count: int) -> list[list[Step]]:
    return [[WaitFor(may_go_on), OK]] * count
