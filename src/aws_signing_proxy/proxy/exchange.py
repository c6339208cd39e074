"""One request and its response: the story of a request, from its head to the last byte of the answer.

    admit      judge the head: loop, target, credentials, limits        (nothing is read or sent before)
    send       the body is here: wait for credentials, if there are none (`CredentialStore.wait`)
    _acquire   ask for an upstream connection                           (`Upstream.take`, or wait for one)
    _transmit  sign with the credentials of this instant, send           (one synchronous step)
    on_upstream_data   read the response strictly, relay it as it came   (backpressure both ways)
    _heal      the service refuses the time or the credentials: sign and send once more (`proxy/healing.py`)
    _finish    give the connection back, count, tell the client's connection
    _open_tunnel   instead, where the response is 101: see `Tunnel`

No task, future or timer is made on the fast path: small body, pooled connection, valid credentials.
Every way out ends in `_conclude`, exactly once.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256

from aws_signing_proxy.errors import ErrorCode, ProxyError
from aws_signing_proxy.observe.counters import Limit, SentAgain
from aws_signing_proxy.proxy import limit_errors
from aws_signing_proxy.proxy.body import ReceivedBody
from aws_signing_proxy.proxy.encoders import BodyEncoder
from aws_signing_proxy.proxy.exchange_end import ExchangeEnd
from aws_signing_proxy.proxy.healing import EVERY_REFUSAL, Healing, may_repeat
from aws_signing_proxy.proxy.payload_plan import plan_stream
from aws_signing_proxy.proxy.relay import ResponseRelay, whole_response
from aws_signing_proxy.proxy.sending import BodySender
from aws_signing_proxy.proxy.signing import sign, sign_streamed, usable_credentials
from aws_signing_proxy.proxy.streaming import StreamedBody
from aws_signing_proxy.proxy.tunnel import open_tunnel
from aws_signing_proxy.proxy.waiting import wait_for_connection, wait_for_credentials
from aws_signing_proxy.sigv4.refusals import Refusal
from aws_signing_proxy.upstream.connection import UpstreamConnection

__all__ = ["Exchange"]

# Up to here head and body leave in one write; beyond, the body follows as fast as the upstream takes it.
_ONE_WRITE_BYTES = 64 * 1024


class Exchange(ExchangeEnd):
    """One request and its response. See the module's docstring for the order of events."""

    __slots__ = ()

    # The request

    def admit(self) -> None:
        """Judge what the head alone tells. Raises ProxyError; nothing is read or forwarded then."""
        context = self._context
        request, payload = self.request, context.route.payload
        self._prepared = prepared = context.route.rewriter.prepare(request)
        # Nearly all requests end this question here.
        if not 0 <= request.body_length <= payload.memory_limit_bytes or prepared.describes_payload:
            self._plan = plan_stream(payload, request, prepared)
            self.is_streamed = self._plan is not None
        if usable_credentials(context) is None:
            context.route.credentials.check_worth_waiting(context.wall_clock())
        if request.body_length > context.limits.max_body_bytes:
            raise limit_errors.body_too_large(context)

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

    def body(
        self, *, on_ready: Callable[[], None], on_failed: Callable[[ProxyError], None], on_room: Callable[[], None]
    ) -> ReceivedBody | StreamedBody:
        """Return what takes the pieces of the body; then call `send_streamed`, or `send_received` when it is ready."""
        context = self._context
        if self._plan is None:
            return ReceivedBody(
                context.bodies, context.counters, on_ready=on_ready, on_failed=on_failed, on_room=on_room
            )
        keep_bytes = context.route.payload.memory_limit_bytes
        self._stream = StreamedBody(
            self, context.bodies.memory, keep_bytes=keep_bytes, on_ready=on_ready, on_room=on_room
        )
        return self._stream

    def send_streamed(self) -> None:
        """Send the head as soon as it can be, and then the body as it comes."""
        self._acquire()

    def on_credentials(self) -> None:
        """The wait for credentials is over (see `Waiter`)."""
        if not self._is_concluded:
            self._guard(self._acquire)

    def on_credentials_failed(self, error: ProxyError) -> None:
        """There will be no credentials soon (see `Waiter`)."""
        self.fail(error)

    def _acquire(self) -> None:
        # None only: what expires from here on is noticed when it is to sign.
        if self._context.route.credentials.current is None and usable_credentials(self._context) is None:
            wait_for_credentials(self._context, self._client, self)
            return
        connection = None
        if self.is_streamed and not self.needs_fresh:
            connection = self._context.route.upstream.take_recent(self._context.clock())
        elif not self.needs_fresh:
            connection = self._context.route.upstream.take(self._context.clock())
        if connection is not None:
            try:
                self._transmit(connection)
            except Exception:  # noqa: BLE001 - it is logged, and ends this exchange only
                self.fail_unexpectedly("a request could not be sent")
        else:
            wait_for_connection(self._context, self._client, self)

    def on_connection(self, connection: UpstreamConnection) -> None:
        """The wait for a connection is over (see `ConnectionWaiter`)."""
        if self._is_concluded:
            self._context.route.upstream.release(connection)
        else:
            self._guard(self._transmit, connection)

    def _guard(self, step: Callable[..., None], *arguments: object) -> None:
        try:
            step(*arguments)
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
        credentials = usable_credentials(context)
        if credentials is None:
            # Through the loop: the next one in the queue may fare as this one does, and so on.
            context.loop.call_soon(context.route.upstream.release, connection)
            wait_for_credentials(self._context, self._client, self)
            return
        # From here on the connection is ours: `fail` must find it, or it would be lost to the pool.
        self._connection = connection
        assert self._prepared is not None
        encoder = None
        try:
            if self._plan is None:
                length = self._body_length if self._body_length or self.request.has_content_length else None
                head = sign(context, self._prepared, credentials, self._record, length, self._body_sha256)
            else:
                head, encoder = sign_streamed(context, self._prepared, self._plan, credentials, self._record)
        except ProxyError as error:
            self._connection = None
            context.loop.call_soon(context.route.upstream.release, connection)
            self.fail(error)
            return
        connection.uses += 1
        connection.user = self
        self._credentials = credentials
        self._relay = None
        if encoder is not None:
            self._start_stream(connection, head, encoder)
        elif self._body_length <= _ONE_WRITE_BYTES and (self._body is None or not self._body.is_spooled):
            connection.send(head + self._payload if self._payload else head)
            self._client.wait_at_most(context.limits.response_timeout_seconds, Limit.RESPONSE_TIMEOUT)
        else:
            connection.expect_early_response()
            connection.send(head)
            self.on_body_progress()
            self._sender = BodySender(
                self, connection, body=self._body, payload=self._payload, length=self._body_length
            )

    def _start_stream(self, connection: UpstreamConnection, head: bytes, encoder: BodyEncoder) -> None:
        self._sender = stream = self._stream
        assert stream is not None
        try:
            stream.start(connection, head, encoder)
        except ProxyError as error:
            self.fail(error)

    def on_upstream_writable(self) -> None:
        """The upstream takes bytes again (see `ConnectionUser`)."""
        if self._sender is not None:
            self._sender.on_writable()

    def on_body_progress(self) -> None:
        """A piece of a large body is sent (see `SendingExchange`)."""
        if self._relay is None or not self._relay.is_withheld:
            self._client.wait_at_most(self._context.limits.progress_timeout_seconds, Limit.PROGRESS_TIMEOUT)

    def on_body_sent(self) -> None:
        """A large body is sent (see `SendingExchange`)."""
        if self._relay is None or not self._relay.has_head:
            self._client.wait_at_most(self._context.limits.response_timeout_seconds, Limit.RESPONSE_TIMEOUT)

    # The response

    def on_upstream_data(self, data: bytes) -> None:
        """Bytes of the response arrived (see `ConnectionUser`)."""
        try:
            relay = self._relay
            if relay is None:
                if self._record.first_byte_seconds is None and self._pass_whole(data):
                    return
                relay = self._relay = self._begin_relay()
            self._record.on_first_byte()
            self._tell_of_stream(relay)
            relay.feed(data)
            self._go_on(relay)
        except ProxyError as error:
            self.fail(error)
        except Exception:  # noqa: BLE001 - it is logged, and ends this exchange only
            self.fail_unexpectedly("a response could not be handled")

    def _pass_whole(self, data: bytes) -> bool:
        """Pass a response on that is whole in one read and asks for no decision. Return False for any other.

        It goes to the client as it came, without a relay, which took some 5 µs more.
        """
        context, connection = self._context, self._connection
        if connection is None or self._sender is not None or self._healing is not None:
            return False
        response = whole_response(context, self.request, data)
        if response is None:
            return False
        self._record.on_first_byte()
        self._client.write(response.rendered)
        self._connection = None
        context.route.upstream.release(connection)
        self._conclude("ok", response.status, sent_bytes=response.body_bytes)
        self._client.on_exchange_done(keep_alive=True)
        return True

    def _begin_relay(self) -> ResponseRelay:
        prepared, credentials = self._prepared, self._credentials
        assert prepared is not None
        assert credentials is not None
        return ResponseRelay(
            self._context,
            self._client,
            self._record,
            credentials,
            sent_again=self._sent_again,
            upgrade=prepared.upgrade,
        )

    def _tell_of_stream(self, relay: ResponseRelay) -> None:
        """Tell the relay what a streamed body allows at this moment."""
        stream = self._stream
        if stream is not None:
            relay.must_close = not stream.is_received  # where the client's body would end nobody knows
            relay.sent_again = self._sent_again if stream.can_be_sent_again else EVERY_REFUSAL

    def _go_on(self, relay: ResponseRelay) -> None:
        if relay.refusal is not None:
            self._heal(relay, relay.refusal)
        elif relay.is_complete:
            self._finish(relay)
        elif not relay.has_begun:
            if relay.is_withheld:
                self._hold_client()
                self._client.wait_at_most(relay.withheld_seconds_left, Limit.PROGRESS_TIMEOUT)
        elif relay.switched is not None:
            self._open_tunnel(relay.switched)
        else:
            if self._stream is not None:
                self._stream.go_on()
            if self._client.is_write_paused:
                self._pause()
            else:
                self._client.wait_at_most(self._context.limits.progress_timeout_seconds, Limit.PROGRESS_TIMEOUT)

    def _open_tunnel(self, first: bytes) -> None:
        """The response was 101: both connections belong to a tunnel from here on."""
        connection, self._connection = self._connection, None
        assert connection is not None
        self._is_concluded = True  # for the tunnel concludes the record
        open_tunnel(self._context, self._client, connection, self._record, first)

    def on_upstream_closed(self, *, is_clean: bool) -> None:
        """The upstream's connection ended before the response was complete (see `ConnectionUser`)."""
        connection, self._connection = self._connection, None
        self._stop_sending()
        relay = self._relay
        if connection is None or self._is_concluded:
            return
        if relay is not None:
            self._tell_of_stream(relay)
            if relay.feed_eof(is_clean=is_clean):
                self._guard(self._go_on, relay)
                return
        # Not the relay's `has_begun`: it forgets interim responses, which the client may have seen.
        has_begun = self._record.first_byte_seconds is not None
        error = limit_errors.upstream_closed(self._context, has_begun=has_begun)
        is_here = self._stream is None or self._stream.can_be_sent_again
        if not has_begun and not self._retries and is_here and may_repeat(error, connection, self.request):
            self._try_again_on_fresh()
        else:
            self.fail(error)

    def _try_again_on_fresh(self) -> None:
        self._retries += 1
        self._context.counters.retries[SentAgain.CONNECTION_CLOSED] += 1
        self.needs_fresh = True
        self._hold_client()
        self._acquire()

    def _heal(self, relay: ResponseRelay, refusal: Refusal) -> None:
        """The service refused the time, or the credentials, and the request may be sent again for that."""
        self._give_back_connection(relay)
        self._stop_sending()
        self._hold_client()
        self._healing = self._healing or Healing(self._context, self._client, self)
        self._healing.begin(refusal, relay.credentials)

    def _hold_client(self) -> None:
        """Let nothing more of a streamed body come until it is sent again, or the answer is passed on."""
        if self._stream is not None and not self._stream.is_received:
            self._stream.hold()
            self._client.pause_reading()

    def send_again(self) -> None:
        """Sign with what is good now, and send once more (see `RefusedExchange`)."""
        self._relay = None
        self._record.first_byte_seconds = None
        self.needs_fresh = False
        self._acquire()

    def pass_on(self) -> None:
        """Give the client the answer that was withheld (see `RefusedExchange`)."""
        relay = self._relay
        assert relay is not None
        relay.let_go()
        self._finish(relay)

    def on_client_paused(self) -> None:
        """The client takes no more for now: leave the rest of the response in the kernel."""
        if self._connection is not None and self.has_response:
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

    def on_deadline(self, limit: Limit) -> None:
        """Nothing has changed for too long."""
        if self._is_concluded:
            return
        relay = self._relay
        if self._healing is not None and self._healing.is_waiting:
            self._healing.on_deadline()
        elif relay is not None and relay.is_withheld:
            self._tell_of_stream(relay)
            relay.decide()
            self._guard(self._go_on, relay)
        else:
            paused, has_response = self._client.is_write_paused, self.has_response
            self.fail(limit_errors.exchange_deadline(self._context, limit, has_response=has_response, is_paused=paused))

    def _drop_connection(self) -> None:
        if self._relay is not None:
            self._relay.drop()
        connection, self._connection = self._connection, None
        if connection is not None:
            self._context.route.upstream.discard(connection)
        else:
            self._context.route.upstream.leave(self)
            self._context.route.credentials.leave(self)
