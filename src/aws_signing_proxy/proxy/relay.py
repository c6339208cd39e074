"""The response's way to the client: its head once, its body as it comes, in the framing that the client reads."""

from __future__ import annotations

import asyncio

from aws_signing_proxy.http1.request import RequestHead
from aws_signing_proxy.http1.response import CHUNKED, UNTIL_CLOSE, ResponseHead
from aws_signing_proxy.http1.response_reader import ResponseReader
from aws_signing_proxy.proxy.roles import ResponseSink

__all__ = ["HoldBack", "Relay"]

# Held-back bytes are sent before their time when there are so many.
_FLUSH_BYTES = 64 * 1024


class HoldBack:
    """Holds bytes back to write them together (ASP_FLUSH_INTERVAL); the first ones, with the head, at once."""

    __slots__ = ("_held", "_held_bytes", "_interval", "_is_begun", "_sink", "_timer")

    def __init__(self, sink: ResponseSink, interval_seconds: float) -> None:
        self._sink = sink
        self._interval = interval_seconds
        self._is_begun = False
        self._held: list[bytes] = []
        self._held_bytes = 0
        self._timer: asyncio.TimerHandle | None = None

    @property
    def is_write_paused(self) -> bool:
        """Whether the client takes no more for now."""
        return self._sink.is_write_paused

    @is_write_paused.setter
    def is_write_paused(self, value: bool) -> None:
        self._sink.is_write_paused = value

    def write(self, data: bytes) -> None:
        """Hold the bytes back, or write them: the first, and when they are many."""
        if not self._is_begun:
            self._is_begun = True
            self._sink.write(data)
            return
        self._held.append(data)
        self._held_bytes += len(data)
        if self._held_bytes >= _FLUSH_BYTES:
            self.flush()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._interval, self.flush)

    def flush(self) -> None:
        """Write what is held back."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._held:
            held, self._held = self._held, []
            self._held_bytes = 0
            self._sink.write(b"".join(held))

    def drop(self) -> None:
        """Forget what is held back: the client is gone."""
        self._held = []
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class Relay:
    """Passes one response on. `keep_alive`: the client's connection can take another request afterwards.

    A response whose end only the upstream's close tells is chunked for the client (RFC 9112 section 7.1), so that
    a connection that breaks is not taken for its end; a client of HTTP/1.0 gets it until close instead.
    """

    __slots__ = ("_client_framing", "_head", "_sink", "_upstream_framing", "body_bytes", "keep_alive")

    def __init__(self, sink: ResponseSink, request: RequestHead, head: ResponseHead, *, is_draining: bool) -> None:
        self._sink = sink
        self.body_bytes = 0
        self.keep_alive = request.keep_alive and not is_draining
        framing = self._upstream_framing = self._client_framing = head.body_length
        if framing < 0:
            if request.is_http10:
                self.keep_alive = False
                self._client_framing = UNTIL_CLOSE
            else:
                self._client_framing = CHUNKED
        self._head: bytes | None = head.render(
            body_length=self._client_framing, is_http10=request.is_http10, closes=not self.keep_alive
        )

    def write(self, reader: ResponseReader) -> None:
        """Pass on what the reader's last `feed` brought; with the first call, the head."""
        data = reader.piece
        if data is not None:
            if self._upstream_framing < 0:
                data = self._reframed(reader, data)
            else:
                self.body_bytes += len(data)
        head = self._head
        if head is not None:
            self._head = None
            self._sink.write(head + data if data else head)
        elif data:
            self._sink.write(data)

    def end(self) -> None:
        """The response is complete: send the end that the client waits for, where the upstream sent none."""
        if self._upstream_framing == UNTIL_CLOSE and self._client_framing == CHUNKED:
            self._sink.write(b"0\r\n\r\n")

    def _reframed(self, reader: ResponseReader, piece: bytes) -> bytes:
        if self._upstream_framing == CHUNKED:
            content = reader.content or []
            self.body_bytes += sum(map(len, content))
            # As it came, chunk sizes and trailers included; it was read strictly (`ChunkedReader`).
            return piece if self._client_framing == CHUNKED else b"".join(content)
        self.body_bytes += len(piece)
        return b"%x\r\n%b\r\n" % (len(piece), piece) if self._client_framing == CHUNKED else piece
