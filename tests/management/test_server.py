"""The management port's listener: it stays within its bounds, and keeps its hands off the process."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import signal
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import pytest

from aws_signing_proxy.management.application import application
from aws_signing_proxy.management.server import ManagementServer

REQUEST = b"GET /status/health HTTP/1.1\r\nHost: x\r\n\r\n"


def server(**bounds: Any) -> ManagementServer:
    app = application(reasons_not_ready=list, credentials=dict, exposition=lambda: (b"", "text/plain"))
    return ManagementServer(app, **bounds)


def with_server(test: Callable[[int], Coroutine[Any, Any, None]], **bounds: Any) -> None:
    async def run() -> None:
        running = server(**bounds)
        await running.start("127.0.0.1", 0)
        try:
            async with asyncio.timeout(10):
                await test(running.port)
        finally:
            await running.stop()

    asyncio.run(run())


async def ended(reader: asyncio.StreamReader) -> bytes:
    """Read until the connection ends, in whatever way."""
    read = b""
    try:
        while more := await reader.read(65536):
            read += more
    except ConnectionResetError:
        pass
    return read


@contextlib.asynccontextmanager
async def connected(
    port: int, host: str = "127.0.0.1"
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection(host, port)
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def is_answering(port: int) -> bool:
    async with connected(port) as (reader, writer):
        writer.write(REQUEST)
        try:
            return (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
        except (ConnectionResetError, asyncio.IncompleteReadError):
            return False


def test_port_0_takes_a_free_one_and_tells_it() -> None:
    async def test(port: int) -> None:
        assert port > 0
        assert await is_answering(port)

    with_server(test)


def test_before_the_start_there_is_no_port() -> None:
    async def run() -> None:
        running = server()
        assert running.port == 0
        await running.stop()

    asyncio.run(run())


def test_a_port_in_use_is_one_clear_sentence() -> None:
    async def run() -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            with pytest.raises(OSError, match="Address already in use") as caught:
                await server().start("127.0.0.1", port)
            assert caught.value.errno == errno.EADDRINUSE
            assert caught.value.strerror == (
                f"cannot listen on 127.0.0.1:{port} (management port): Address already in use"
            )

    asyncio.run(run())


def test_a_host_that_is_none_is_one_clear_sentence() -> None:
    with pytest.raises(OSError, match=r"cannot listen on \[::x\]:8081"):
        asyncio.run(server().start("::x", 8081))


def test_it_listens_on_ipv6() -> None:
    async def run() -> None:
        running = server()
        try:
            await running.start("::1", 0)
        except OSError as error:
            pytest.skip(f"no IPv6 here: {error}")
        async with connected(running.port, "::1"):
            pass
        await running.stop()

    asyncio.run(run())


def test_after_stop_nobody_listens() -> None:
    async def run() -> None:
        running = server()
        await running.start("127.0.0.1", 0)
        await running.stop()
        await running.stop()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", running.port)

    asyncio.run(run())


def test_stop_does_not_wait_for_clients_that_keep_their_connections() -> None:
    async def run() -> None:
        running = server()
        await running.start("127.0.0.1", 0)
        async with connected(running.port) as (idle, _), connected(running.port) as (begun, writer):
            writer.write(REQUEST[:-2])
            assert await is_answering(running.port)
            async with asyncio.timeout(5):
                await running.stop()
                await ended(idle)
                await ended(begun)

    asyncio.run(run())


def test_stop_does_not_wait_for_an_answer_that_never_comes() -> None:
    async def hang(_scope: object, _receive: object, _send: object) -> None:
        await asyncio.Event().wait()

    async def run() -> None:
        running = ManagementServer(hang)
        await running.start("127.0.0.1", 0)
        async with connected(running.port) as (reader, writer):
            writer.write(REQUEST)
            await asyncio.sleep(0.05)
            async with asyncio.timeout(5):
                await running.stop()
            await ended(reader)

    asyncio.run(run())


def test_signals_stay_with_the_process() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]

    async def test(_port: int) -> None:
        within = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
        # asyncio.run itself takes SIGINT while it runs.
        assert within[1] is before[1]
        assert "uvicorn" not in repr(within)

    with_server(test)
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_one_connection_too_many_is_closed_and_the_others_are_served() -> None:
    async def test(port: int) -> None:
        async with connected(port) as (reader, writer), connected(port), connected(port):
            assert not await is_answering(port)
            writer.write(REQUEST)
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
        while not await is_answering(port):  # noqa: ASYNC110 - the server notices the closing when it does
            await asyncio.sleep(0)

    with_server(test, most_connections=3)


@pytest.mark.parametrize("sent", [b"", b"G", REQUEST[:-2], REQUEST + REQUEST[:10]])
def test_a_connection_that_finishes_no_request_is_closed(sent: bytes) -> None:
    async def test(port: int) -> None:
        async with connected(port) as (reader, writer):
            writer.write(sent)
            read = await ended(reader)
        assert read.count(b"HTTP/1.1 200") == sent.count(REQUEST)

    with_server(test, patience_seconds=0.05)


def test_a_connection_that_goes_on_asking_stays_open() -> None:
    async def test(port: int) -> None:
        loop = asyncio.get_running_loop()
        end = loop.time() + 0.5
        async with connected(port) as (reader, writer):
            while loop.time() < end:
                writer.write(REQUEST)
                await reader.readuntil(b'{"status":"ok"}')
                await asyncio.sleep(0.02)

    with_server(test, patience_seconds=0.2)


def test_a_head_without_an_end_is_refused() -> None:
    async def test(port: int) -> None:
        async def send_much(writer: asyncio.StreamWriter) -> None:
            for _ in range(20_000):
                writer.write(b"X-Filler: %s\r\n" % (b"x" * 1000))
                await writer.drain()

        async with connected(port) as (reader, writer):
            writer.write(b"GET /status/health HTTP/1.1\r\nHost: x\r\n")
            with pytest.raises((ConnectionResetError, BrokenPipeError)):
                await send_much(writer)
            assert b"HTTP/1.1 200" not in await ended(reader)

    with_server(test, patience_seconds=3600)


def test_a_malformed_request_is_400_and_no_line_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    async def test(port: int) -> None:
        for sent in (b"\x16\x03\x01\x02\x00\x01\r\n\r\n", b"GET\r\n\r\n"):
            async with connected(port) as (reader, writer):
                writer.write(sent)
                answer = await ended(reader)
            assert answer.startswith(b"HTTP/1.1 400")

    with_server(test)
    assert "uvicorn" not in {record.name.partition(".")[0] for record in caplog.records}


def test_an_upgrade_to_another_protocol_is_not_taken() -> None:
    async def test(port: int) -> None:
        fields = b"Connection: upgrade, close\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\n\r\n"
        async with connected(port) as (reader, writer):
            writer.write(REQUEST[:-2] + fields)
            assert (await ended(reader)).startswith(b"HTTP/1.1 200")

    with_server(test)


def test_uvloop_serves_it_too() -> None:
    uvloop = pytest.importorskip("uvloop")

    async def run() -> None:
        running = server()
        await running.start("127.0.0.1", 0)
        assert await is_answering(running.port)
        await running.stop()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run())
