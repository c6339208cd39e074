"""One request and its response: the story of a request, from its head to the last byte of the answer.

    admit      judge the head: loop, target, credentials, limits        (nothing is read or sent before)
    send       the body is here: ask for an upstream connection          (`Upstream.take`, or wait for one)
    _transmit  sign with the credentials of this instant, send           (one synchronous step)
    on_upstream_data   read the response strictly, relay it as it came   (backpressure both ways)
    _finish    give the connection back, count, tell the client's connection

No task, future or timer is made on the fast path: small body, pooled connection, valid credentials.
Every way out ends in `_conclude`, exactly once.
"""

from __future__ import annotations

import logging
from hashlib import sha256
from time import perf_counter

from aws_signing_proxy.errors import DownstreamError, ErrorCode, ProxyError, Retry, UpstreamError
from aws_signing_proxy.http1.request import RequestHead
from aws_signing_proxy.http1.response import ResponseHead
from aws_signing_proxy.http1.response_reader import ResponseReader
from aws_signing_proxy.observe.counters import Limit
from aws_signing_proxy.proxy.body import ReceivedBody
from aws_signing_proxy.proxy.context import Context
from aws_signing_proxy.proxy.limit_errors import body_too_large, exchange_deadline_error, unexpected_failure
from aws_signing_proxy.proxy.record import RequestRecord
from aws_signing_proxy.proxy.relay import HoldBack, Relay
from aws_signing_proxy.proxy.rewrite import PreparedHead
from aws_signing_proxy.proxy.roles import Client, ResponseSink
from aws_signing_proxy.proxy.sending import BodySender
from aws_signing_proxy.upstream.connection import UpstreamConnection

__all__ = ["Exchange"]

_LOG = logging.getLogger(__name__)

# RFC 9110 section 9.2.2: what may be sent again when it is not known whether it has been carried out.
_IDEMPOTENT = frozenset({b"GET", b"HEAD", b"PUT", b"DELETE", b"OPTIONS"})
# Up to here head and body leave in one write; beyond, the body follows as fast as the upstream takes it.
_ONE_WRITE_BYTES = 64 * 1024


class Exchange:
    """One request and its response. See the module's docstring for the order of events."""

    __slots__ = (
        "_body",
        "_body_length",
        "_body_sha256",
        "_client",
        "_connection",
        "_context",
        "_held_back",
        "_held_bytes",
        "_is_concluded",
        "_payload",
        "_prepared",
        "_reader",
        "_record",
        "_relay",
        "_retries",
        "_sender",
        "needs_fresh",
        "request",
    )

    def __init__(self, context: Context, client: Client, request: RequestHead) -> None:
        self._context = context
        self._client = client
        self.request = request
        self.needs_fresh = False
        self._record = RequestRecord(context, request)
        self._prepared: PreparedHead | None = None
        self._payload = b""
        self._body: ReceivedBody | None = None
        self._body_length = 0
        self._body_sha256: bytes | None = None
        self._held_bytes = 0
        self._connection: UpstreamConnection | None = None
        self._reader: ResponseReader | None = None
        self._relay: Relay | None = None
        self._held_back: HoldBack | None = None
        self._retries = 0
        self._sender: BodySender | None = None
        self._is_concluded = False

    def __repr__(self) -> str:
        state = "concluded" if self._is_concluded else "responding" if self._relay else "sending"
        return f"<Exchange {self.request!r} {state}>"

    # The request

    def admit(self) -> None:
        """Judge what the head alone tells. Raises ProxyError; nothing is read or forwarded then."""
        context = self._context
        self._prepared = context.route.rewriter.prepare(self.request)
        credentials = context.route.credentials.current
        now = context.wall_clock()
        if credentials is None or credentials.is_expired(now):
            raise context.route.credentials.unavailable(now)
        if self.request.body_length > context.limits.max_body_bytes:
            raise body_too_large(context)

    def send(self, payload: bytes, *, held_bytes: int = 0) -> None:
        """Send the request with a body that is in memory; `held_bytes` of it are counted in the bodies' memory."""
        self._payload = payload
        self._body_length = len(payload)
        self._held_bytes = held_bytes
        if payload:
            self._body_sha256 = sha256(payload).hexdigest().encode()
        self._acquire()

    def send_received(self, body: ReceivedBody) -> None:
        """Send the request with a body that arrived piece by piece."""
        self._body = body
        self._body_length = body.size
        self._body_sha256 = body.sha256_hex
        if not body.is_spooled:
            self._payload = body.in_memory
        self._acquire()

    def _acquire(self) -> None:
        upstream = self._context.route.upstream
        connection = None if self.needs_fresh else upstream.take(self._context.clock())
        if connection is not None:
            self.on_connection(connection)
            return
        # While a connection is being opened, the connect timeout is the limit.
        if upstream.is_full:
            self._client.wait_at_most(self._context.limits.upstream_wait_timeout_seconds, Limit.UPSTREAM_CONNECTIONS)
        else:
            self._client.wait_at_most(float("inf"), Limit.UPSTREAM_CONNECTIONS)
        upstream.wait(self)

    def on_connection(self, connection: UpstreamConnection) -> None:
        """The wait for a connection is over (see `ConnectionWaiter`)."""
        if self._is_concluded:
            self._context.route.upstream.release(connection)
            return
        try:
            self._transmit(connection)
        except Exception:  # noqa: BLE001 - it is logged, and ends this exchange only
            self.fail_unexpectedly("a request could not be sent")

    def on_connection_failed(self, error: ProxyError) -> None:
        """No connection can be had (see `ConnectionWaiter`)."""
        if error.code is ErrorCode.OUT_OF_FILE_DESCRIPTORS:
            self._context.counters.limits_hit[Limit.FILE_DESCRIPTORS] += 1
        self.fail(error)

    def _transmit(self, connection: UpstreamConnection) -> None:
        """Sign with the credentials of this instant and send: the one place from which requests go upstream."""
        context = self._context
        if connection.is_reused and connection.has_unread_input():
            # Nothing has been written, so even this one may go on another connection.
            context.route.upstream.discard(connection)
            self._try_again_on_fresh()
            return
        # From here on the connection is ours: `fail` must find it, or it would be lost to the pool.
        self._connection = connection
        try:
            head = self._signed_head()
        except ProxyError as error:
            self._connection = None
            # Through the loop: the next one in the queue may fail as this one did, and so on.
            context.loop.call_soon(context.route.upstream.release, connection)
            self.fail(error)
            return
        connection.uses += 1
        connection.user = self
        self._reader = ResponseReader(is_head_request=self.request.method == b"HEAD")
        if self._body_length <= _ONE_WRITE_BYTES and (self._body is None or not self._body.is_spooled):
            connection.send(head + self._payload if self._payload else head)
            self._client.wait_at_most(context.limits.response_timeout_seconds, Limit.RESPONSE_TIMEOUT)
        else:
            connection.send(head)
            self.on_body_progress()
            self._sender = BodySender(
                self, connection, body=self._body, payload=self._payload, length=self._body_length
            )

    def _signed_head(self) -> bytes:
        context = self._context
        credentials = context.route.credentials.current
        now = context.wall_clock()
        if credentials is None or credentials.is_expired(now):
            raise context.route.credentials.unavailable(now)
        prepared = self._prepared
        assert prepared is not None
        began = perf_counter()
        head = context.route.rewriter.finish(
            prepared, body_length=self._body_length, body_sha256=self._body_sha256, identity=credentials, now=now
        )
        self._record.signing_seconds = perf_counter() - began
        return head

    def on_upstream_writable(self) -> None:
        """The upstream takes bytes again (see `ConnectionUser`)."""
        if self._sender is not None:
            self._sender.on_writable()

    def on_body_progress(self) -> None:
        """A piece of a large body is sent (see `SendingExchange`)."""
        self._client.wait_at_most(self._context.limits.progress_timeout_seconds, Limit.PROGRESS_TIMEOUT)

    def on_body_sent(self) -> None:
        """A large body is sent (see `SendingExchange`)."""
        if self._relay is None:
            self._client.wait_at_most(self._context.limits.response_timeout_seconds, Limit.RESPONSE_TIMEOUT)

    # The response

    def on_upstream_data(self, data: bytes) -> None:
        """Bytes of the response arrived (see `ConnectionUser`)."""
        try:
            self._read_response(data)
        except ProxyError as error:
            self.fail(error)
        except Exception:  # noqa: BLE001 - it is logged, and ends this exchange only
            self.fail_unexpectedly("a response could not be handled")

    def _read_response(self, data: bytes) -> None:
        reader = self._reader
        assert reader is not None
        self._record.on_first_byte()
        reader.feed(data)
        relay = self._relay
        if relay is None:
            if reader.interim:
                self._relay_interim(reader)
            if reader.head is None:
                return
            relay = self._begin_relay(reader.head)
        relay.write(reader)
        if reader.is_complete:
            self._finish()
        elif self._client.is_write_paused:
            self._pause()
        else:
            self._client.wait_at_most(self._context.limits.progress_timeout_seconds, Limit.PROGRESS_TIMEOUT)

    def _begin_relay(self, head: ResponseHead) -> Relay:
        context = self._context
        sink: ResponseSink = self._client
        if context.limits.flush_interval_seconds:
            sink = self._held_back = HoldBack(sink, context.limits.flush_interval_seconds)
        self._relay = Relay(sink, self.request, head, is_draining=context.is_draining)
        return self._relay

    def _relay_interim(self, reader: ResponseReader) -> None:
        for head in reader.interim:
            # 100 is for whoever sent Expect, and that was answered here; HTTP/1.0 knows no 1xx.
            if head.status != 100 and not self.request.is_http10:  # noqa: PLR2004
                self._client.write(head.render(body_length=0, is_http10=False, closes=False))
        reader.interim.clear()

    def on_upstream_closed(self, *, is_clean: bool) -> None:
        """The upstream's connection ended before the response was complete (see `ConnectionUser`)."""
        connection, self._connection = self._connection, None
        self._stop_sending()
        reader = self._reader
        if reader is None or connection is None or self._is_concluded:
            return
        if self._relay is not None and reader.feed_eof(is_clean=is_clean):
            self._finish()
            return
        # Not the reader's `has_begun`: it forgets interim responses, which the client may have seen.
        has_begun = self._record.first_byte_seconds is not None
        error = UpstreamError(
            ErrorCode.UPSTREAM_CLOSED,
            f"{self._context.route.upstream.address} closed the connection "
            f"{'in the middle of its response' if has_begun else 'without a response'}.",
        )
        may_repeat = error.retry is Retry.ON_REUSED_CONNECTION and connection.is_reused and not has_begun
        if may_repeat and not self._retries and self.request.method in _IDEMPOTENT:
            self._try_again_on_fresh()
        else:
            self.fail(error)

    def _try_again_on_fresh(self) -> None:
        self._retries += 1
        self._context.counters.retries_total += 1
        self.needs_fresh = True
        self._acquire()

    def on_client_paused(self) -> None:
        """The client takes no more for now: leave the rest of the response in the kernel."""
        if self._connection is not None and self._relay is not None:
            self._pause()

    def _pause(self) -> None:
        if self._connection is not None:
            self._connection.pause_reading()
        self._client.wait_at_most(self._context.limits.progress_timeout_seconds, Limit.PROGRESS_TIMEOUT)

    def on_client_resumed(self) -> None:
        """The client takes bytes again."""
        if self._connection is not None:
            self._client.wait_at_most(self._context.limits.progress_timeout_seconds, Limit.PROGRESS_TIMEOUT)
            self._connection.resume_reading()

    # Every way out

    def _finish(self) -> None:
        """The response is complete."""
        reader, relay, connection = self._reader, self._relay, self._connection
        assert reader is not None
        assert reader.head is not None
        assert relay is not None
        relay.end()
        if self._held_back is not None:
            self._held_back.flush()
        self._connection = None
        if connection is not None:
            if reader.has_excess:
                _LOG.warning("the upstream sent bytes behind its response; they were dropped, the connection closed")
            is_sent = self._sender is None or self._sender.is_done
            if reader.head.keep_alive and not reader.has_excess and is_sent:
                self._context.route.upstream.release(connection)
            else:
                self._context.route.upstream.discard(connection)
        self._conclude("ok", reader.head.status)
        self._client.on_exchange_done(keep_alive=relay.keep_alive)

    def fail(self, error: ProxyError) -> None:
        """End without a whole response: answer the client, or cut it off where the answer has begun."""
        if self._is_concluded:
            return
        self._drop_connection()
        self._conclude(error.code, error.status)
        if self._relay is None:
            self._client.answer(error)
        else:
            self._context.error_log.report(error)
            self._client.abort()

    def fail_unexpectedly(self, event: str) -> None:
        """End after an exception that nothing foresaw; called where it is handled."""
        _LOG.exception(event)
        self.fail(unexpected_failure())

    def on_deadline(self, limit: Limit) -> None:
        """Nothing has changed for too long."""
        if not self._is_concluded:
            self.fail(
                exchange_deadline_error(
                    self._context,
                    limit,
                    has_response=self._relay is not None,
                    is_client_paused=self._client.is_write_paused,
                )
            )

    def on_client_gone(self, code: ErrorCode = ErrorCode.CLIENT_CLOSED) -> None:
        """The client's connection is gone: what was done for it ends at once."""
        if not self._is_concluded:
            self._drop_connection()
            self._conclude(code, DownstreamError(code, "").status)

    def refuse(self, error: ProxyError) -> None:
        """Count a request that ends before it was sent; the client's connection answers it itself."""
        if not self._is_concluded:
            self._drop_connection()
            self._conclude(error.code, error.status)

    def _drop_connection(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            self._context.route.upstream.discard(connection)
        else:
            self._context.route.upstream.leave(self)

    def _stop_sending(self) -> None:
        # Let go of, because each knows the other: bodies would stay until the garbage collector comes by.
        sender, self._sender = self._sender, None
        if sender is not None:
            sender.stop()

    def _conclude(self, code: str, status: int) -> None:
        self._is_concluded = True
        self._stop_sending()
        if self._held_back is not None:
            self._held_back.drop()
        if self._held_bytes:
            self._context.bodies.memory.give(self._held_bytes)
        if self._body is not None:
            self._body.close()
            self._body = None
        self._payload = b""
        sent = 0 if self._relay is None else self._relay.body_bytes
        self._record.conclude(code, status, bytes_in=self._body_length, bytes_out=sent)
