"""The response's way to the client: read strictly, its head once, its body as it comes, in the client's framing."""

from __future__ import annotations

import asyncio
import logging

from aws_signing_proxy.credentials.model import Credentials
from aws_signing_proxy.http1.request import RequestHead
from aws_signing_proxy.http1.response import CHUNKED, UNTIL_CLOSE, ResponseHead
from aws_signing_proxy.http1.response_reader import ResponseReader
from aws_signing_proxy.proxy.context import Context
from aws_signing_proxy.proxy.rejection import RejectionReader, rejection_reader
from aws_signing_proxy.proxy.roles import ResponseSink

__all__ = ["HoldBack", "ResponseRelay"]

_LOG = logging.getLogger(__name__)

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


class ResponseRelay:
    """Reads one response strictly and passes it on as it came.

    `has_begun`: its head is there, and has been passed on: no other answer can be given any more. `is_complete`: its
    last byte is here. `keep_alive`: the client's connection can take another request afterwards.

    A response whose end only the upstream's close tells is chunked for the client (RFC 9112 section 7.1), so that
    a connection that breaks is not taken for its end; a client of HTTP/1.0 gets it until close instead.
    """

    __slots__ = (
        "_client_framing",
        "_context",
        "_credentials",
        "_held_back",
        "_reader",
        "_rejection",
        "_request",
        "_sink",
        "_upstream_framing",
        "body_bytes",
        "has_begun",
        "keep_alive",
    )

    def __init__(self, context: Context, sink: ResponseSink, request: RequestHead, credentials: Credentials) -> None:
        self._context = context
        self._sink = sink
        self._request = request
        self._credentials = credentials
        self._reader = ResponseReader(is_head_request=request.method == b"HEAD")
        self._rejection: RejectionReader | None = None
        self._held_back: HoldBack | None = None
        self._upstream_framing = self._client_framing = 0
        self.has_begun = False
        self.body_bytes = 0
        self.keep_alive = False

    def feed(self, data: bytes) -> None:
        """Take the next bytes from the upstream. Raises UpstreamError where they are not well-formed."""
        reader = self._reader
        reader.feed(data)
        head = None
        if not self.has_begun:
            if reader.interim:
                self._pass_interim()
            if reader.head is None:
                return
            head = self._begin(reader.head)
        piece = reader.piece
        if piece is not None:
            if self._rejection is not None:
                self._rejection.read(reader)
            if self._upstream_framing < 0:
                piece = self._reframed(piece)
            else:
                self.body_bytes += len(piece)
        if head is not None:
            self._sink.write(head + piece if piece else head)
        elif piece:
            self._sink.write(piece)

    def feed_eof(self, *, is_clean: bool) -> bool:
        """The upstream's connection ended. Return whether the response is complete with it (see `ResponseReader`)."""
        return self.has_begun and self._reader.feed_eof(is_clean=is_clean)

    @property
    def is_complete(self) -> bool:
        """Whether the last byte is here."""
        return self._reader.is_complete

    @property
    def status(self) -> int:
        """The status code; 0 before the head is there."""
        return 0 if self._reader.head is None else self._reader.head.status

    def may_reuse_connection(self) -> bool:
        """Whether the upstream keeps the connection, and nothing came behind the response. Logs where something did."""
        reader = self._reader
        if reader.has_excess:
            _LOG.warning("the upstream sent bytes behind its response; they were dropped, the connection closed")
        return reader.head is not None and reader.head.keep_alive and not reader.has_excess

    def end(self) -> None:
        """The response is complete: send the end that the client waits for, where the upstream sent none."""
        if self._upstream_framing == UNTIL_CLOSE and self._client_framing == CHUNKED:
            self._sink.write(b"0\r\n\r\n")
        if self._held_back is not None:
            self._held_back.flush()
        if self._rejection is not None:
            self._rejection.conclude()

    def drop(self) -> None:
        """Forget what is held back: the client is gone, or cut off."""
        if self._held_back is not None:
            self._held_back.drop()

    def _begin(self, head: ResponseHead) -> bytes:
        """The head is here: decide the framing towards the client, and return the head as it gets it."""
        context, request = self._context, self._request
        self.has_begun = True
        if context.limits.flush_interval_seconds:
            self._sink = self._held_back = HoldBack(self._sink, context.limits.flush_interval_seconds)
        self._rejection = rejection_reader(head, context.route.credentials, self._credentials)
        self.keep_alive = request.keep_alive and not context.is_draining
        framing = self._upstream_framing = self._client_framing = head.body_length
        if framing < 0:
            if request.is_http10:
                self.keep_alive = False
                self._client_framing = UNTIL_CLOSE
            else:
                self._client_framing = CHUNKED
        return head.render(body_length=self._client_framing, is_http10=request.is_http10, closes=not self.keep_alive)

    def _pass_interim(self) -> None:
        for head in self._reader.interim:
            # 100 is for whoever sent Expect, and that was answered here; HTTP/1.0 knows no 1xx.
            if head.status != 100 and not self._request.is_http10:  # noqa: PLR2004
                self._sink.write(head.render(body_length=0, is_http10=False, closes=False))
        self._reader.interim.clear()

    def _reframed(self, piece: bytes) -> bytes:
        if self._upstream_framing == CHUNKED:
            content = self._reader.content or []
            self.body_bytes += sum(map(len, content))
            # As it came, chunk sizes and trailers included; it was read strictly (`ChunkedReader`).
            return piece if self._client_framing == CHUNKED else b"".join(content)
        self.body_bytes += len(piece)
        return b"%x\r\n%b\r\n" % (len(piece), piece) if self._client_framing == CHUNKED else piece
