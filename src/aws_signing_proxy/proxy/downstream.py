"""A client's connection: reads requests strictly and in order, and writes their answers."""

from __future__ import annotations

import asyncio
import logging
from typing import cast

from aws_signing_proxy.errors import ErrorCode, ProxyError, Side
from aws_signing_proxy.http1.request import RequestHead, parse_request_head
from aws_signing_proxy.http1.writing import CONTINUE, render_answer
from aws_signing_proxy.observe.counters import Limit
from aws_signing_proxy.proxy import limit_errors
from aws_signing_proxy.proxy.body import ReceivedBody
from aws_signing_proxy.proxy.context import Context
from aws_signing_proxy.proxy.exchange import Exchange
from aws_signing_proxy.proxy.receiving import BodyReceiver, Reads, cut_head
from aws_signing_proxy.proxy.record import record_refusal
from aws_signing_proxy.proxy.rewrite import REQUEST_FIELDS
from aws_signing_proxy.proxy.roles import ConnectionRegistry, TunnelEnd
from aws_signing_proxy.upstream.read_gate import FULL_READ_BYTES, ReadGate

__all__ = ["DownstreamConnection"]

_LOG = logging.getLogger(__name__)

# Bytes of following requests that are kept while one is being answered; then the client waits.
_PIPELINE_BYTES = 64 * 1024
# What may wait to be written before the upstream is told to pause.
_WRITE_HIGH_WATER_BYTES = 256 * 1024
# A client that is refused may still be sending: reading on lets it see the answer, not a reset (RFC 9112 9.6). Many
# read it only when they have sent all that they have, and of a streamed upload that may be much.
_LINGER_SECONDS, _LINGER_STREAM_SECONDS = 2.0, 30.0
_NEVER = float("inf")


class DownstreamConnection(asyncio.Protocol):
    """One client's connection.

    Bytes are cut into requests here, exactly: those of a following request wait untouched until the one before
    is answered, so answers cannot change their order and nothing is parsed twice. `deadline` is read by the
    server's sweep, on the loop's clock.
    """

    __slots__ = ("_buffer", "_context", "_exchange", "_gate", "_limit", "_reads", "_receiver", "_registry", "_request",
                 "_transport", "_tunnel", "deadline", "is_write_paused")  # fmt: skip

    def __init__(self, context: Context, registry: ConnectionRegistry[DownstreamConnection]) -> None:
        # For the connection's life
        self._context = context
        self._registry = registry
        self._transport: asyncio.Transport | None = None
        self._buffer = b""
        self._reads = Reads.HEAD
        self._gate = ReadGate()
        self.is_write_paused = False
        self.deadline = _NEVER
        self._limit = Limit.CLIENT_IDLE_TIMEOUT
        # For one request
        self._request: RequestHead | None = None
        self._exchange: Exchange | TunnelEnd | None = None
        self._tunnel: TunnelEnd | None = None
        self._receiver: BodyReceiver | None = None

    def __repr__(self) -> str:
        return f"<DownstreamConnection reads {self._reads.value} {self._exchange!r}>"

    @property
    def is_idle(self) -> bool:
        """Whether no request is being received or answered."""
        return self._exchange is None and not self._buffer

    @property
    def _streamed(self) -> Exchange | None:
        return self._exchange if isinstance(self._exchange, Exchange) and self._exchange.is_streamed else None

    # What the event loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport (asyncio.BaseProtocol)."""
        self._transport = cast("asyncio.Transport", transport)
        self._gate.use(self._transport)
        self._transport.set_write_buffer_limits(high=_WRITE_HIGH_WATER_BYTES)
        if self._registry.on_connection_made(self):
            self._wait_for_request()
        else:
            self._refuse(limit_errors.too_many_connections(self._context))

    def data_received(self, data: bytes) -> None:
        """Take what was read (asyncio.Protocol)."""
        try:
            match self._reads:
                case Reads.HEAD:
                    self._read_head(data)
                case Reads.BODY:
                    self._read_body(data)
                case Reads.NOTHING:
                    self._keep_for_later(data)
                case Reads.TUNNEL if self._tunnel is not None:
                    self._tunnel.on_client_data(data)
        except ProxyError as error:
            self._refuse(error)
        except Exception:  # noqa: BLE001 - one request's failure must not take the process down; it is logged
            _LOG.exception("a request could not be handled")
            self._refuse(limit_errors.unexpected_failure())

    def eof_received(self) -> None:
        """The other side sends no more (asyncio.Protocol)."""
        # Taken for gone, as nginx and Go do: nothing tells a half-closed connection from a closed one.
        self._end(ErrorCode.CLIENT_CLOSED)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - however it ended
        """The transport is gone (asyncio.BaseProtocol)."""
        self._end(ErrorCode.CLIENT_CLOSED)
        self._transport = None
        self._gate.use(None)
        self._registry.on_connection_lost(self)

    def pause_writing(self) -> None:
        """The transport holds enough (asyncio.BaseProtocol)."""
        self.is_write_paused = True
        if self._exchange is not None:
            self._exchange.on_client_paused()

    def resume_writing(self) -> None:
        """The transport takes bytes again (asyncio.BaseProtocol)."""
        self.is_write_paused = False
        if self._exchange is not None:
            self._exchange.on_client_resumed()
        elif self._reads is Reads.NOTHING:
            self._go_on()

    # Reading requests

    def _wait_for_request(self) -> None:
        context = self._context
        self._reads = Reads.HEAD
        self._limit = Limit.CLIENT_IDLE_TIMEOUT
        self.deadline = context.clock() + context.limits.client_idle_timeout_seconds

    def _read_head(self, data: bytes) -> None:
        head, rest = cut_head(self._buffer, data, self._context)
        if head:
            self._buffer = b""
            self._begin(parse_request_head(head, REQUEST_FIELDS), rest)
            return
        self._buffer = rest
        if rest and self._limit is not Limit.REQUEST_HEAD_TIMEOUT:
            # Counted from the first byte, not from the last: drop by drop is no way to stay.
            self.wait_at_most(self._context.limits.request_head_timeout_seconds, Limit.REQUEST_HEAD_TIMEOUT)

    def _begin(self, request: RequestHead, rest: bytes) -> None:
        """A head is here; `rest` is what came behind it: its body, or a part, or the next requests."""
        self._request = request
        exchange = self._exchange = Exchange(self._context, self, request)
        length = request.body_length
        try:
            exchange.admit()
        except ProxyError as error:
            # Behind a request that is itself at fault nothing is read: it may have ended somewhere else.
            if error.side is not Side.DOWNSTREAM and 0 <= length <= len(rest):
                self._buffer = rest[length:]
                self._reads = Reads.NOTHING
            exchange.refuse(error)
            self.answer(error)
            return
        if exchange.is_streamed:
            self._receive_body(request, exchange, rest)
        elif length == 0:
            self._buffer = rest
            self._reads = Reads.NOTHING
            exchange.send(b"")
        elif 0 < length <= len(rest) and self._context.bodies.hold_if_room(length):
            # The whole body came with the head: no object is made for receiving it.
            self._buffer = rest[length:]
            self._reads = Reads.NOTHING
            exchange.send(rest[:length], held_bytes=length)
        else:
            self._receive_body(request, exchange, rest)

    def _receive_body(self, request: RequestHead, exchange: Exchange, rest: bytes) -> None:
        self._reads = Reads.BODY
        body = exchange.body(on_ready=self._on_body_ready, on_failed=self._refuse, on_room=self._on_room)
        self._receiver = BodyReceiver(self._context, request, body)
        if rest:
            self._read_body(rest)
        elif not exchange.is_streamed:
            self._expect_progress()
            self._continue()
        if exchange.is_streamed:
            if self._receiver is not None:
                self.pause_reading()
            exchange.send_streamed()

    def _on_room(self) -> None:
        if self._receiver is not None and not self._receiver.body.size:
            self._continue()
        self.resume_reading()

    def _continue(self) -> None:
        if self._request is not None and self._request.expects_continue:
            self._request.expects_continue = False
            self.write(CONTINUE)

    def _read_body(self, data: bytes) -> None:
        receiver = self._receiver
        assert receiver is not None
        self._expect_progress()
        if len(data) >= FULL_READ_BYTES:
            self._gate.rest()
        rest = receiver.feed(data)
        if self._receiver is not receiver:
            return  # the disk refused it, and so was the request
        if receiver.is_whole:
            self._buffer = rest
            self._reads = Reads.NOTHING
            self.wait_at_most(_NEVER, Limit.PROGRESS_TIMEOUT)  # the disk has no deadline
            receiver.body.finish()
        elif not receiver.body.can_take_more:
            self.pause_reading()

    def _on_body_ready(self) -> None:
        receiver, self._receiver = self._receiver, None
        self.resume_reading()
        if receiver is not None and isinstance(self._exchange, Exchange) and isinstance(receiver.body, ReceivedBody):
            self._exchange.send_received(receiver.body)

    def _expect_progress(self) -> None:
        self.wait_at_most(self._context.limits.progress_timeout_seconds, Limit.PROGRESS_TIMEOUT)

    def _keep_for_later(self, data: bytes) -> None:
        """Pipelined requests wait for the answer to the one before (RFC 9112 section 9.3.2)."""
        self._buffer += data
        if len(self._buffer) > _PIPELINE_BYTES:
            self.pause_reading()

    def pause_reading(self) -> None:
        """Leave what the client sends in the kernel (see `ClientOfTunnel`)."""
        if self._gate.pause() and self._reads is Reads.BODY:
            # It is we who make it wait: for the upstream, or for the disk, which has no deadline.
            seconds = _NEVER if self._streamed is None else self._context.limits.progress_timeout_seconds
            self.wait_at_most(seconds, Limit.PROGRESS_TIMEOUT)

    def resume_reading(self) -> None:
        """Undo `pause_reading`."""
        if self._gate.is_paused and self._gate.resume() and self._reads is Reads.BODY:
            self._expect_progress()

    # Writing answers (see `exchange.Client`)

    def write(self, data: bytes) -> None:
        """Write bytes of a response."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def answer(self, error: ProxyError) -> None:
        """Answer with the error; go on with the connection if the whole request is here."""
        request = self._request
        is_received = self._reads is Reads.NOTHING
        keep_alive = is_received and request is not None and request.keep_alive and not self._context.is_draining
        self.write(render_answer(error, request, closes=not keep_alive))
        self._context.error_log.report(error)
        if is_received:
            self.on_exchange_done(keep_alive=keep_alive)
        else:
            self._linger()

    def on_exchange_done(self, *, keep_alive: bool) -> None:
        """A response is complete: close, or read the next request."""
        if self._reads is Reads.BODY:
            self._linger()  # it came before the request's last byte
            return
        self._exchange = None
        self._request = None
        if self._transport is None or self._transport.is_closing():
            return
        if not keep_alive or (self._context.is_draining and not self._buffer):
            self.close_idle()
        elif self.is_write_paused:
            # Who does not take answers gets no further ones to heap up here.
            self._reads = Reads.NOTHING
            self._expect_progress()
        else:
            self._go_on()

    def switch_to(self, tunnel: TunnelEnd) -> None:
        """The response was 101: all bytes from the client are for the tunnel (see `Client`)."""
        self._exchange = self._tunnel = tunnel
        self._reads = Reads.TUNNEL
        early, self._buffer = self._buffer, b""
        self.resume_reading()
        if early:
            tunnel.on_client_data(early)

    def _go_on(self) -> None:
        self._wait_for_request()
        if self._buffer:
            # Through the loop: a thousand pipelined requests must not become a thousand stack frames. What arrives
            # until then goes behind what is here: two heads must not be taken for one.
            self._reads = Reads.NOTHING
            self._context.loop.call_soon(self._read_pipelined)
        elif self._gate.is_paused:
            self.resume_reading()

    def _read_pipelined(self) -> None:
        if self._reads is not Reads.NOTHING or self._exchange is not None:
            return
        if self._transport is not None and not self._transport.is_closing():
            self._reads = Reads.HEAD
            data, self._buffer = self._buffer, b""
            self.resume_reading()
            self.data_received(data)

    def abort(self) -> None:
        """Close at once."""
        self._end(ErrorCode.CLIENT_CLOSED)
        if self._transport is not None:
            self._transport.abort()

    # Ends

    def wait_at_most(self, seconds: float, limit: Limit) -> None:
        """Let the server's sweep call `on_deadline` when this is not called again for so long."""
        self._limit = limit
        self.deadline = self._context.clock() + seconds

    def on_deadline(self) -> None:
        """The client, or the exchange, took too long."""
        self.deadline = _NEVER
        limit, streamed = self._limit, self._streamed
        if self._reads is Reads.REMAINS:
            self.abort()
        elif streamed is not None and streamed.is_client_waiting(limit, is_paused=self._gate.is_paused):
            streamed.on_deadline(limit)
        elif self._reads in {Reads.NOTHING, Reads.TUNNEL}:
            if self._exchange is not None:
                self._exchange.on_deadline(limit)
            else:
                self._context.counters.limits_hit[limit] += 1
                self.abort()
        elif limit in {Limit.CLIENT_IDLE_TIMEOUT, Limit.TLS_HANDSHAKE_TIMEOUT}:
            self._context.counters.limits_hit[limit] += 1
            self.close_idle()
        else:
            self._refuse(limit_errors.request_timeout(self._context, limit))

    def close_idle(self) -> None:
        """Close without a word: the client waits for nothing but what is written already."""
        self._reads = Reads.REMAINS
        self._buffer = b""
        # A client that does not take what is written would otherwise keep its connection for ever.
        self._expect_progress()
        if self._transport is not None:
            self._transport.close()

    def cut_off(self) -> None:
        """The time to drain is over: close whatever is under way."""
        self._end(ErrorCode.DRAIN_TIMEOUT)
        if self._transport is not None:
            self._transport.abort()

    def _refuse(self, error: ProxyError) -> None:
        """Answer a request that is not here as a whole (or is none), and close the connection."""
        if self._reads is Reads.REMAINS:
            return
        if isinstance(self._exchange, Exchange) and self._exchange.has_response:
            self._exchange.fail(error)
            return
        if self._exchange is not None:
            self._exchange.refuse(error)
        else:
            record_refusal(self._context, error)
        receiver, self._receiver = self._receiver, None
        if receiver is not None:
            receiver.body.close()
        self._reads = Reads.BODY
        self.answer(error)

    def _linger(self) -> None:
        seconds = _LINGER_SECONDS if self._streamed is None else _LINGER_STREAM_SECONDS
        self.wait_at_most(seconds, Limit.CLIENT_IDLE_TIMEOUT)
        self._exchange = None
        self._request = None
        self._receiver = None
        self._buffer = b""
        self._reads = Reads.REMAINS
        if self._transport is not None and not self._transport.is_closing():
            self._gate.resume()
            if self._transport.can_write_eof():
                self._transport.write_eof()

    def _end(self, code: ErrorCode) -> None:
        self._reads = Reads.REMAINS
        self._buffer = b""
        receiver, self._receiver = self._receiver, None
        if receiver is not None:
            receiver.body.close()
        exchange, self._exchange, self._tunnel = self._exchange, None, None
        if exchange is not None:
            exchange.on_client_gone(code)
