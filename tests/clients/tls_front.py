"""TLS in front of a plain port: what a client that insists on https needs to reach the proxy in these tests."""

from __future__ import annotations

import asyncio
import contextlib
import ssl

from tests.clients.loop_server import LoopServer

__all__ = ["TlsFront"]


class TlsFront(LoopServer):
    """Takes TLS on a free port of 127.0.0.1 and passes the bytes on to another port, between `with` and its end."""

    def __init__(self, to_port: int, tls: ssl.SSLContext) -> None:
        super().__init__("TLS front", tls=tls)
        self._to_port = to_port

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}"

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        to_reader, to_writer = await asyncio.open_connection("127.0.0.1", self._to_port)
        try:
            await asyncio.gather(_pump(reader, to_writer), _pump(to_reader, writer))
        finally:
            for each in (writer, to_writer):
                each.transport.abort()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError, ssl.SSLError):
        while data := await reader.read(256 * 1024):
            writer.write(data)
            await writer.drain()
    writer.close()
