"""The demo's client sends what it is given, byte for byte."""

from __future__ import annotations

import asyncio

import pytest

from aws_signing_proxy.demo.client import Exchanged, send

ANSWER = b"HTTP/1.1 201 Created\r\nX-A:  b \r\nContent-Length: 3\r\n\r\nabc"


async def exchange(answer: bytes, body: bytes = b"", chunk_bytes: int | None = None) -> tuple[bytes, Exchanged]:
    """Send a request to a listener that answers with `answer`; return what arrived there too."""
    arrived = bytearray()

    async def on_connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        arrived.extend(await reader.readuntil(b"\r\n\r\n"))
        if chunk_bytes is not None:
            arrived.extend(await reader.readuntil(b"0\r\n\r\n"))
        else:
            arrived.extend(await reader.readexactly(len(body)))
        writer.write(answer)
        writer.close()

    server = await asyncio.start_server(on_connection, "127.0.0.1", 0)
    address = server.sockets[0].getsockname()
    try:
        target = "/ä+b?c".encode()
        got = await send(address, "PUT", target, fields=[("A", "1")], body=body, chunk_bytes=chunk_bytes)
    finally:
        server.close()
    return bytes(arrived).replace(f"{address[1]}".encode(), b"PORT"), got


def test_a_request_goes_out_as_it_was_given() -> None:
    arrived, got = asyncio.run(exchange(ANSWER, b"body"))
    assert (
        arrived
        == (
            "PUT /ä+b?c HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\nA: 1\r\nConnection: close\r\nContent-Length: 4\r\n\r\nbody"
        ).encode()
    )
    assert (got.reply.status, got.reply.field("x-a"), got.reply.body) == (201, "b", b"abc")
    assert got.seconds > 0


def test_a_body_can_be_sent_in_chunks() -> None:
    arrived, _ = asyncio.run(exchange(ANSWER, b"12345", chunk_bytes=2))
    assert arrived.endswith(b"Transfer-Encoding: chunked\r\n\r\n2\r\n12\r\n2\r\n34\r\n1\r\n5\r\n0\r\n\r\n")


def test_a_response_that_ends_too_early_is_an_error() -> None:
    with pytest.raises(EOFError):
        asyncio.run(exchange(ANSWER[:-1]))
