"""Twenty thousand requests of clients that behave as they like: nothing is logged, nothing is kept."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from pathlib import Path
from typing import cast

import pytest

from tests.wire.raw_client import exchange
from tests.wire.running_proxy import RunningProxy

REQUESTS = 20_000
CONNECTIONS = 50
_GET = b"GET /path HTTP/1.1\r\nHost: a\r\n\r\n"
_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class _Service(asyncio.Protocol):
    """Answers every request, and closes now and then as services do."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._left = rng.randrange(50, 500)
        self._body_left = 0
        self._data = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._data += data
        while (end := self._data.find(b"\r\n\r\n")) >= 0:
            head = self._data[:end].lower()
            _, _, length = head.partition(b"content-length: ")
            whole = end + 4 + int(length.partition(b"\r\n")[0] or b"0")
            if len(self._data) < whole:
                return
            self._data = self._data[whole:]
            self._transport.write(_ANSWER)
            self._left -= 1
            if not self._left:
                self._transport.close()
                return


def _chunked(body: bytes) -> bytes:
    return b"POST /path HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (
        len(body),
        body,
    )


def _counted(body: bytes) -> bytes:
    return b"PUT /path HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


async def _client(port: int, rng: random.Random, count: int) -> int:
    """Send `count` requests, some in pieces, some at once, some not to their end; return how many were answered."""
    answered = sent = 0
    while sent < count:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while sent < count:
                kind = rng.random()
                body = b"x" * rng.choice((0, 10, 1000, 1000, 70_000))
                batch = rng.choice((_GET, _GET, _counted(body), _chunked(body or b"x")))
                number = 1
                if kind < 0.3:
                    number = rng.randrange(2, 12)
                    batch = _GET * number
                sent += number
                if kind > 0.97:
                    writer.write(batch[: rng.randrange(len(batch))])
                    break
                if kind > 0.95:
                    writer.write(batch)
                    break
                at = rng.randrange(len(batch))
                writer.write(batch[:at])
                if kind > 0.8:
                    await asyncio.sleep(0)
                writer.write(batch[at:])
                for _ in range(number):
                    answer = await reader.readuntil(b"\r\n\r\n")
                    assert answer.startswith((b"HTTP/1.1 200 ", b"HTTP/1.1 502 ")), answer
                    await reader.readexactly(int(answer.partition(b"Content-Length: ")[2].partition(b"\r\n")[0]))
                    answered += answer.startswith(b"HTTP/1.1 200 ")
        if rng.random() < 0.5:
            writer.transport.abort()
        else:
            writer.close()
    return answered


def _open_descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


async def _soak(port: int) -> int:
    share = REQUESTS // CONNECTIONS
    return sum(await asyncio.gather(*(_client(port, random.Random(seed), share) for seed in range(CONNECTIONS))))


class _ServiceThread(RunningProxy):
    """Not a proxy: the same thread and loop, with the service in it."""

    async def _serve(self) -> None:
        self.loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        rng = random.Random(1)
        server = await self.loop.create_server(lambda: _Service(rng), "127.0.0.1", 0, backlog=256)
        self.service_port: int = server.sockets[0].getsockname()[1]
        self._started.set_result(None)
        await self._stopping.wait()
        server.close()
        await server.wait_closed()


def test_twenty_thousand_requests_leave_no_trace(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    settings = {
        "ASP_BODY_MEMORY_LIMIT": "32KiB",
        "ASP_SPOOL_DIR": str(tmp_path),
        "ASP_MAX_UPSTREAM_CONNECTIONS": "20",
        "ASP_IDLE_CONN_TIMEOUT": "1s",
    }
    with (
        _ServiceThread("http://unused") as service,
        RunningProxy(f"http://127.0.0.1:{service.service_port}", settings) as proxy,
    ):
        exchange(proxy.port, _GET)
        descriptors = _open_descriptors()
        began = time.monotonic()
        answered = asyncio.run(_soak(proxy.port))
        assert time.monotonic() - began < 60
        counters = proxy.counters

        def held() -> list[int]:
            proxy.application.plane.upstream.read_gauges()
            return [
                counters.requests_in_flight,
                counters.body_memory_bytes,
                counters.spool_bytes,
                counters.downstream_connections_open,
                counters.upstream_waiting,
                counters.upstream_connections_open,
            ]

        deadline = time.monotonic() + 10
        while proxy.call(held) != [0] * 6:
            assert time.monotonic() < deadline, proxy.call(held)
            time.sleep(0.02)
        while _open_descriptors() > descriptors:  # the service's ends of the connections go a little later
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert answered > REQUESTS * 0.8
        codes = {code for _, _, code in counters.requests}
        assert codes <= {"ok", "client_closed", "upstream_closed"}
        assert counters.bodies_spooled_total > 100
    assert [record for record in caplog.records if record.levelname in {"ERROR", "CRITICAL"}] == []
