"""The open loop against real sockets: it keeps its rate, and charges a stall for all who would have come meanwhile."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from bench.open_load import Offer, Sample, offered, outcome_of
from bench.programs import Program

OFFER = Offer(rate=200.0, seconds=1.5, connections=2, body_bytes=10)
ANSWER = b"HTTP/1.1 %d Some Reason\r\nContent-Length: 2\r\n\r\nok"


class Answering:
    """A server that answers one request after the other, and holds all answers back while `stalls` is set."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.flows = threading.Event()
        self.flows.set()
        self.status = 200
        self.closes_after = 0
        self.requests = 0
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(client,))
            self._threads.append(thread)
            thread.start()

    def _serve(self, client: socket.socket) -> None:
        with client:
            served = 0
            while data := client.recv(65536):
                assert data.endswith(b"x" * 10)
                self.flows.wait()
                self.requests += 1
                if self.closes_after and served == self.closes_after:
                    return
                client.sendall(ANSWER % self.status)
                served += 1

    def stop(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join()


@pytest.fixture(name="server")
def _server() -> Iterator[Answering]:
    server = Answering()
    yield server
    server.stop()


def samples_of(server: Answering, offer: Offer, stall_seconds: float = 0.0) -> list[Sample]:
    with offered(Program(0, server.port), offer) as samples:
        if stall_seconds:
            while server.requests < 20:
                time.sleep(0.001)
            server.flows.clear()
            time.sleep(stall_seconds)
            server.flows.set()
    return samples


def test_a_stall_is_charged_for_every_request_that_was_due_meanwhile(server: Answering) -> None:
    samples = samples_of(server, OFFER, stall_seconds=0.5)
    late = [each for each in samples if each.answered - each.due > 0.1]
    # 80 were due 0.1 s before its end or earlier. A closed loop would have seen two slow answers, one a connection.
    assert len(late) > 40
    assert outcome_of(samples, OFFER).p99_ms > 300


def test_past_saturation_those_who_find_no_connection_are_turned_away(server: Answering) -> None:
    offer = Offer(rate=200.0, seconds=1.5, connections=2, body_bytes=10, keeps_waiting=False)
    outcome = outcome_of(samples_of(server, offer, stall_seconds=0.5), offer)
    assert outcome.turned_away > 40
    assert outcome.refused == 0


def test_requests_are_offered_at_the_same_instants_each_time(server: Answering) -> None:
    first, second = (sorted(each.due for each in samples_of(server, OFFER)) for _ in range(2))
    gaps = [[round(due - run[0], 6) for due in run] for run in (first, second)]
    assert gaps[0] == gaps[1]
    assert 200 < len(first) < 400


def test_what_is_not_answered_with_200_is_refused_and_not_good(server: Answering) -> None:
    server.status = 503
    assert {each.status for each in samples_of(server, OFFER)} == {503}


def test_a_connection_that_is_closed_fails_its_request_and_is_opened_again(server: Answering) -> None:
    server.closes_after = 10
    samples = samples_of(server, OFFER)
    failed = [each for each in samples if each.status == 0]
    assert len(failed) > 5
    assert sum(each.status == 200 for each in samples) > 100
