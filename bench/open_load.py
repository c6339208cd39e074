"""An open loop: requests leave when they are due, whether others are answered or not.

    python -m bench.open_load PORT RATE SECONDS CONNECTIONS BODY_BYTES KEEPS_WAITING     (prints samples, binary)

Arrivals are a Poisson process with a fixed seed: the same instants for every program. A request is due at its
instant, and goes on a connection that is free. Where none is, it waits for one (`keeps_waiting`), and **its latency
counts from when it was due**, not from when it could be sent: a program that stalls is charged for all who would
have come meanwhile (no coordinated omission). Past saturation such a queue would only measure how long the bench
ran; there requests that find no free connection are turned away and counted, and latency counts from sending.

The load runs in a process of its own, so that nobody waits for another's interpreter lock; how late it was itself is
part of the result. wrk has no rate, its offspring that has one is in no distribution, and what is (h2load, vegeta)
counts from sending; this is what is needed, in one file.
"""

from __future__ import annotations

import array
import contextlib
import gc
import math
import random
import select
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from bench.figures import quantile
from bench.programs import BenchError, Program

__all__ = ["Offer", "Outcome", "Sample", "offered", "outcome_of"]

_SEED = 20_241_125
_LAST_ANSWERS_SECONDS = 5.0
_READ_BYTES = 65536
_NOT_SENT = math.nan
_NUMBERS = 5  # of a sample


@dataclass(frozen=True)
class Offer:
    """What is offered: requests a second, for how long, on how many connections at most."""

    rate: float
    seconds: float
    connections: int
    body_bytes: int = 1024
    keeps_waiting: bool = True


class Sample(NamedTuple):
    """One request, on the clock `time.monotonic`: when it was due, was sent (NaN: never), was answered; the status.

    `noticed`: when the load came to it. From due until then it was the load that was late, and from then until it was
    sent, there was no free connection.
    """

    due: float
    sent: float
    answered: float
    status: float
    noticed: float


@dataclass(frozen=True)
class Outcome:
    """What came of an offer; latencies in milliseconds.

    `good_per_second`: what was answered with 200 while the load lasted. `late_ms`: how late the load itself sent (p99).
    """

    offered_per_second: float
    good_per_second: float
    turned_away: int
    refused: int
    p50_ms: float
    p99_ms: float
    p999_ms: float
    max_ms: float
    late_ms: float


def outcome_of(samples: list[Sample], offer: Offer) -> Outcome:
    """Return what the samples come to. Raises BenchError where nothing was answered well."""
    good = [each for each in samples if each.status == 200]
    if not good:
        raise BenchError("no request of the load was answered with 200")
    ends = min(each.due for each in samples) + offer.seconds
    latencies = sorted((each.answered - (each.due if offer.keeps_waiting else each.sent)) * 1000 for each in good)
    sent = [each for each in samples if not math.isnan(each.sent)]
    late = sorted((each.noticed - each.due) * 1000 for each in samples)
    return Outcome(
        offered_per_second=len(samples) / offer.seconds,
        good_per_second=sum(each.answered <= ends for each in good) / offer.seconds,
        turned_away=len(samples) - len(sent),
        refused=len(sent) - len(good),
        p50_ms=quantile(latencies, 0.5),
        p99_ms=quantile(latencies, 0.99),
        p999_ms=quantile(latencies, 0.999),
        max_ms=latencies[-1],
        late_ms=quantile(late, 0.99),
    )


@contextlib.contextmanager
def offered(program: Program, offer: Offer) -> Iterator[list[Sample]]:
    """Offer a load to a program while the block runs, and wait for its end; the list has the samples then."""
    command = [sys.executable, "-m", "bench.open_load", str(program.port), str(offer.rate), str(offer.seconds)]
    command += [str(offer.connections), str(offer.body_bytes), str(offer.keeps_waiting)]
    samples: list[Sample] = []
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        try:
            yield samples
            raw, _ = process.communicate()
        finally:
            process.kill()
    if process.returncode != 0:
        raise BenchError("the open load failed")
    numbers = array.array("d", raw)
    samples += [Sample(*numbers[at : at + _NUMBERS]) for at in range(0, len(numbers), _NUMBERS)]


# The process


class _Connection:
    """One connection of the load, with at most one request under way."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.socket = self._open()
        self.due = self.noticed = self.sent = _NOT_SENT
        self._received = b""

    def _open(self) -> socket.socket:
        sock = socket.create_connection(("127.0.0.1", self._port), timeout=20)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setblocking(False)
        return sock

    def reopen(self) -> None:
        """Begin anew after the other side has closed."""
        self.socket.close()
        self._received = b""
        self.socket = self._open()

    def receive(self) -> float | None:
        """Read what is here. Return the status where the response is whole, 0 where it broke, None where it goes on."""
        try:
            data = self.socket.recv(_READ_BYTES)
        except BlockingIOError:
            return None
        except OSError:
            data = b""
        if not data:
            return 0.0
        received = self._received = self._received + data if self._received else data
        head_end = received.find(b"\r\n\r\n")
        if head_end < 0:
            return None
        at = received.lower().find(b"content-length:", 0, head_end)
        length = int(received[at + 15 : received.index(b"\r\n", at)]) if at >= 0 else 0
        if len(received) < head_end + 4 + length:
            return None
        self._received = b""
        return float(received[9:12])


class _Loader:
    """Sends what is due, takes what comes."""

    def __init__(self, port: int, offer: Offer) -> None:
        self._offer = offer
        self._epoll = select.epoll()
        self._by_descriptor: dict[int, _Connection] = {}
        self._free: list[_Connection] = []
        self._waiting: deque[tuple[float, float]] = deque()
        self._results = array.array("d")
        self._under_way = 0
        self._request = (
            b"POST /index/_doc/1?refresh=true HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        )
        self._request += b"Content-Length: %d\r\n\r\n" % offer.body_bytes + b"x" * offer.body_bytes
        for _ in range(offer.connections):
            self._watch(_Connection(port))

    def _watch(self, connection: _Connection) -> None:
        self._by_descriptor[connection.socket.fileno()] = connection
        self._epoll.register(connection.socket.fileno(), select.EPOLLIN)
        self._free.append(connection)

    def run(self) -> array.array[float]:
        """Offer the load; return the numbers of each request's sample, one after the other."""
        offer, chance, monotonic = self._offer, random.Random(_SEED), time.monotonic
        began = monotonic()
        ends, due = began + offer.seconds, began
        while True:
            now = monotonic()
            while due <= now and due < ends:
                self._arrive(due)
                due += chance.expovariate(offer.rate)
            is_over = due >= ends
            if is_over and (not (self._under_way or self._waiting) or now > ends + _LAST_ANSWERS_SECONDS):
                break
            # `epoll.poll` waits in whole milliseconds; `select` does not, and an epoll can be waited for like a socket.
            select.select([self._epoll], [], [], 0.1 if is_over else max(0.0, due - now))
            for descriptor, _ in self._epoll.poll(0):
                self._receive(descriptor)
        for due, noticed in self._waiting:
            self._results.extend((due, _NOT_SENT, _NOT_SENT, 0.0, noticed))
        for connection in self._by_descriptor.values():
            if not math.isnan(connection.sent):
                self._results.extend((connection.due, connection.sent, _NOT_SENT, 0.0, connection.noticed))
        return self._results

    def _arrive(self, due: float) -> None:
        noticed = time.monotonic()
        if self._free:
            self._send(self._free.pop(), due, noticed)
        elif self._offer.keeps_waiting:
            self._waiting.append((due, noticed))
        else:
            self._results.extend((due, _NOT_SENT, _NOT_SENT, 0.0, noticed))

    def _send(self, connection: _Connection, due: float, noticed: float) -> None:
        connection.due, connection.noticed, connection.sent = due, noticed, time.monotonic()
        self._under_way += 1
        with contextlib.suppress(OSError):  # it is found to be closed when it is read
            connection.socket.send(self._request)

    def _receive(self, descriptor: int) -> None:
        connection = self._by_descriptor[descriptor]
        status = connection.receive()
        if status is None:
            return
        if not math.isnan(connection.sent):
            self._results.extend((connection.due, connection.sent, time.monotonic(), status, connection.noticed))
            connection.due = connection.sent = _NOT_SENT
            self._under_way -= 1
            self._free.append(connection)
        if status == 0:
            self._free.remove(connection)
            self._epoll.unregister(descriptor)
            del self._by_descriptor[descriptor]
            connection.reopen()
            self._watch(connection)
        if self._waiting and self._free:
            self._send(self._free.pop(), *self._waiting.popleft())


def main(arguments: list[str]) -> None:
    """Be the process of a load."""
    port, rate, seconds, connections, body_bytes, keeps_waiting = arguments
    offer = Offer(float(rate), float(seconds), int(connections), int(body_bytes), keeps_waiting == "True")
    # The kernel may wake a sleeper 50 µs late, to save power; not this one.
    with contextlib.suppress(OSError):
        Path("/proc/self/timerslack_ns").write_text("1")
    loader = _Loader(int(port), offer)
    gc.freeze()
    gc.disable()
    sys.stdout.buffer.write(loader.run().tobytes())


if __name__ == "__main__":
    main(sys.argv[1:])
