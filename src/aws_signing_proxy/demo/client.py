"""The demo's HTTP client: one request on a connection of its own, its target and fields sent byte for byte."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from aws_signing_proxy.demo.messages import Fields, Reply

__all__ = ["Exchanged", "send"]

_TIMEOUT_SECONDS: Final = 30.0
_LARGEST_HEAD_BYTES: Final = 256 * 1024


@dataclass(frozen=True, slots=True)
class Exchanged:
    """A response, and how long it took from the first byte sent to the last one received."""

    reply: Reply
    seconds: float


async def send(
    address: tuple[str, int],
    method: str,
    target: bytes,
    *,
    fields: Sequence[tuple[str, str]] = (),
    body: bytes = b"",
    chunk_bytes: int | None = None,
) -> Exchanged:
    """Send a request and return its response. With `chunk_bytes` the body goes out in chunks of that size.

    Raises OSError, TimeoutError, or EOFError where the response ends too early.
    """
    began = time.perf_counter()
    async with asyncio.timeout(_TIMEOUT_SECONDS):
        reader, writer = await asyncio.open_connection(*address, limit=_LARGEST_HEAD_BYTES)
        try:
            host, port = address
            lines: Fields = [("Host", f"{host}:{port}"), *fields, ("Connection", "close")]
            if chunk_bytes is not None:
                lines.append(("Transfer-Encoding", "chunked"))
            elif body:
                lines.append(("Content-Length", str(len(body))))
            head = "".join(f"{name}: {value}\r\n" for name, value in lines)
            writer.write(method.encode() + b" " + target + b" HTTP/1.1\r\n" + head.encode("latin-1") + b"\r\n")
            if chunk_bytes is None:
                writer.write(body)
            else:
                for start in range(0, len(body), chunk_bytes):
                    chunk = body[start : start + chunk_bytes]
                    writer.write(b"%x\r\n%b\r\n" % (len(chunk), chunk))
                    await writer.drain()
                writer.write(b"0\r\n\r\n")
            await writer.drain()
            reply = await _read_reply(reader)
        finally:
            writer.close()
    return Exchanged(reply, time.perf_counter() - began)


async def _read_reply(reader: asyncio.StreamReader) -> Reply:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    status_line, *lines = head.rstrip("\r\n").split("\r\n")
    fields = [(name, value.strip()) for name, _, value in (line.partition(":") for line in lines)]
    reply = Reply(int(status_line.split(" ", 2)[1]), fields)
    # Neither the stand-in nor the proxy, where it answers itself, sends bodies of another framing.
    body = await reader.readexactly(int(reply.field("content-length") or 0))
    return Reply(reply.status, fields, body)
