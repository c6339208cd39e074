"""The response's way to the client: its head once, its body as it comes, in the framing that the client reads."""

from __future__ import annotations

import asyncio
from typing import Protocol

from aws_signing_proxy.http1.request import RequestHead
from aws_signing_proxy.http1.response import CHUNKED, UNTIL_CLOSE, ResponseHead
from aws_signing_proxy.http1.response_reader import ResponseReader
from aws_signing_proxy.proxy.context import Context

__all__ = ["Relay", "ResponseSink"]

# Held-back bytes are sent before their time when there are so many.
_FLUSH_BYTES = 64 * 1024


class ResponseSink(Protocol):
    """Where a response is written."""

    is_write_paused: bool

    def write(self, data: bytes) -> None:
        """Write bytes of the response."""


class Relay:
    """Passes one response on. `keep_alive`: the client's connection can take another request afterwards.

    A response whose end only the upstream's close tells is chunked for the client (RFC 9112 section 7.1), so that
    a connection that breaks is not taken for its end; a client of HTTP/1.0 gets it until close instead.
    """

    __slots__ = ("_context", "_head", "_held", "_held_bytes", "_mode", "_sink", "_timer", "body_bytes", "keep_alive")

    def __init__(self, sink: ResponseSink, context: Context, request: RequestHead, head: ResponseHead) -> None:
        self._sink = sink
        self._context = context
        self._held: list[bytes] = []
        self._held_bytes = 0
        self._timer: asyncio.TimerHandle | None = None
        self.body_bytes = 0
        self.keep_alive = request.keep_alive and not context.is_draining
        length = head.body_length
        if length in (CHUNKED, UNTIL_CLOSE):
            if request.is_http10:
                self.keep_alive = False
                length = UNTIL_CLOSE
            else:
                length = CHUNKED
        self._mode = (head.body_length, length)
        self._head: bytes | None = head.render(
            body_length=length, is_http10=request.is_http10, closes=not self.keep_alive
        )

    def write(self, reader: ResponseReader) -> None:
        """Pass on what the reader's last `feed` brought; with the first call, the head."""
        piece = reader.piece
        data = b"" if piece is None else self._framed(reader, piece)
        head = self._head
        if head is not None:
            self._head = None
            self._sink.write(head + data if data else head)
        elif data:
            self._write_or_hold(data)

    def end(self) -> None:
        """The response is complete: send what is held back, and the end that the client waits for."""
        if self._mode == (UNTIL_CLOSE, CHUNKED):
            self._held.append(b"0\r\n\r\n")
        self._flush()

    def _framed(self, reader: ResponseReader, piece: bytes) -> bytes:
        upstream_framing, client_framing = self._mode
        if upstream_framing == CHUNKED:
            content = reader.content or []
            self.body_bytes += sum(map(len, content))
            # As it came, chunk sizes and trailers included; it was read strictly (`ChunkedReader`).
            return piece if client_framing == CHUNKED else b"".join(content)
        self.body_bytes += len(piece)
        if upstream_framing == UNTIL_CLOSE and client_framing == CHUNKED:
            return b"%x\r\n%b\r\n" % (len(piece), piece)
        return piece

    def _write_or_hold(self, data: bytes) -> None:
        interval = self._context.limits.flush_interval_seconds
        if not interval:
            self._sink.write(data)
            return
        self._held.append(data)
        self._held_bytes += len(data)
        if self._held_bytes >= _FLUSH_BYTES:
            self._flush()
        elif self._timer is None:
            self._timer = self._context.loop.call_later(interval, self._flush)

    def _flush(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._held:
            held, self._held = self._held, []
            self._held_bytes = 0
            self._sink.write(b"".join(held))
