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

import logging
from collections.abc import Callable
from hashlib import sha256

from aws_signing_proxy.errors import DownstreamError, ErrorCode, ProxyError
from aws_signing_proxy.http1.request import RequestHead
from aws_signing_proxy.observe.counters import Limit, SentAgain
from aws_signing_proxy.proxy import limit_errors
from aws_signing_proxy.proxy.body import ReceivedBody
from aws_signing_proxy.proxy.context import Context
from aws_signing_proxy.proxy.healing import NOT_SENT_AGAIN, Healing, may_repeat
from aws_signing_proxy.proxy.record import RequestRecord
from aws_signing_proxy.proxy.relay import ResponseRelay
from aws_signing_proxy.proxy.rewrite import PreparedHead
from aws_signing_proxy.proxy.roles import Client
from aws_signing_proxy.proxy.sending import BodySender
from aws_signing_proxy.proxy.signing import sign, usable_credentials
from aws_signing_proxy.proxy.tunnel import open_tunnel
from aws_signing_proxy.proxy.waiting import wait_for_connection, wait_for_credentials
from aws_signing_proxy.sigv4.refusals import Refusal
from aws_signing_proxy.upstream.connection import UpstreamConnection

__all__ = ["Exchange"]

_LOG = logging.getLogger(__name__)

# Up to here head and body leave in one write; beyond, the body follows as fast as the upstream takes it.
_ONE_WRITE_BYTES = 64 * 1024


class Exchange:
    """One request and its response. See the module's docstring for the order of events."""

    __slots__ = (
        "_body", "_body_length", "_body_sha256", "_client", "_connection", "_context", "_healing", "_held_bytes",
        "_is_concluded", "_payload", "_prepared", "_record", "_relay", "_retries", "_sender", "_sent_again",
        "needs_fresh", "request",
    )  # fmt: skip

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
        self._relay: ResponseRelay | None = None
        self._retries = 0
        # The refusals after which it is not sent again, because it has been; all of them once its body is gone.
        self._sent_again = NOT_SENT_AGAIN
        self._healing: Healing | None = None
        self._sender: BodySender | None = None
        self._is_concluded = False

    def __repr__(self) -> str:
        state = "concluded" if self._is_concluded else "responding" if self._has_response else "sending"
        return f"<Exchange {self.request!r} {state}>"

    @property
    def _has_response(self) -> bool:
        """Whether the client has been given the response's head: no other answer is possible any more."""
        return self._relay is not None and self._relay.has_begun

    # The request

    def admit(self) -> None:
        """Judge what the head alone tells. Raises ProxyError; nothing is read or forwarded then."""
        context = self._context
        self._prepared = context.route.rewriter.prepare(self.request)
        if usable_credentials(context) is None:
            context.route.credentials.check_worth_waiting(context.wall_clock())
        if self.request.body_length > context.limits.max_body_bytes:
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
        connection = None if self.needs_fresh else self._context.route.upstream.take(self._context.clock())
        if connection is not None:
            self.on_connection(connection)
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
        try:
            head = sign(context, self._prepared, credentials, self._record, self._body_length, self._body_sha256)
        except ProxyError as error:
            self._connection = None
            context.loop.call_soon(context.route.upstream.release, connection)
            self.fail(error)
            return
        connection.uses += 1
        connection.user = self
        beside = (self._sent_again, self._prepared.upgrade)
        self._relay = ResponseRelay(context, self._client, self._record, credentials, beside)
        if self._body_length <= _ONE_WRITE_BYTES and (self._body is None or not self._body.is_spooled):
            connection.send(head + self._payload if self._payload else head)
            self._client.wait_at_most(context.limits.response_timeout_seconds, Limit.RESPONSE_TIMEOUT)
        else:
            connection.send(head)
            self.on_body_progress()
            self._sender = BodySender(
                self, connection, body=self._body, payload=self._payload, length=self._body_length
            )

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
        relay = self._relay
        assert relay is not None
        try:
            self._record.on_first_byte()
            relay.feed(data)
            self._go_on(relay)
        except ProxyError as error:
            self.fail(error)
        except Exception:  # noqa: BLE001 - it is logged, and ends this exchange only
            self.fail_unexpectedly("a response could not be handled")

    def _go_on(self, relay: ResponseRelay) -> None:
        if relay.refusal is not None:
            self._heal(relay, relay.refusal)
        elif relay.is_complete:
            self._finish(relay)
        elif not relay.has_begun:
            if relay.is_withheld:
                self._client.wait_at_most(relay.withheld_seconds_left, Limit.PROGRESS_TIMEOUT)
        elif relay.switched is not None:
            self._open_tunnel(relay.switched)
        elif self._client.is_write_paused:
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
        if relay is None or connection is None or self._is_concluded:
            return
        if relay.feed_eof(is_clean=is_clean):
            self._guard(self._go_on, relay)
            return
        # Not the relay's `has_begun`: it forgets interim responses, which the client may have seen.
        has_begun = self._record.first_byte_seconds is not None
        error = limit_errors.upstream_closed(self._context, has_begun=has_begun)
        if not has_begun and not self._retries and may_repeat(error, connection, self.request):
            self._try_again_on_fresh()
        else:
            self.fail(error)

    def _try_again_on_fresh(self) -> None:
        self._retries += 1
        self._context.counters.retries[SentAgain.CONNECTION_CLOSED] += 1
        self.needs_fresh = True
        self._acquire()

    def _heal(self, relay: ResponseRelay, refusal: Refusal) -> None:
        """The service refused the time, or the credentials, and the request has not been sent again for that yet."""
        self._sent_again |= {refusal}
        self._give_back_connection(relay)
        self._stop_sending()
        self._healing = Healing(self._context, self._client, self)
        self._healing.begin(refusal, relay.credentials)

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
        if self._connection is not None and self._has_response:
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

    def _finish(self, relay: ResponseRelay) -> None:
        """The response is complete."""
        relay.end()
        self._give_back_connection(relay)
        self._conclude("ok", relay.status)
        self._client.on_exchange_done(keep_alive=relay.keep_alive)

    def _give_back_connection(self, relay: ResponseRelay) -> None:
        connection, self._connection = self._connection, None
        if connection is None:
            return
        is_sent = self._sender is None or self._sender.is_done
        if relay.may_reuse_connection() and is_sent:
            self._context.route.upstream.release(connection)
        else:
            self._context.route.upstream.discard(connection)

    def fail(self, error: ProxyError) -> None:
        """End without a whole response: answer the client, or cut it off where the answer has begun."""
        if self._is_concluded:
            return
        self._drop_connection()
        self._conclude(error.code, error.status)
        if not self._has_response:
            self._client.answer(error)
        else:
            self._context.error_log.report(error)
            self._client.abort()

    def fail_unexpectedly(self, event: str) -> None:
        """End after an exception that nothing foresaw; called where it is handled."""
        _LOG.exception(event)
        self.fail(limit_errors.unexpected_failure())

    def on_deadline(self, limit: Limit) -> None:
        """Nothing has changed for too long."""
        if self._is_concluded:
            return
        relay = self._relay
        if self._healing is not None and self._healing.is_waiting:
            self._healing.on_deadline()
        elif relay is not None and relay.is_withheld:
            relay.decide()
            self._guard(self._go_on, relay)
        else:
            paused, has_response = self._client.is_write_paused, self._has_response
            self.fail(limit_errors.exchange_deadline(self._context, limit, has_response=has_response, is_paused=paused))

    def on_client_gone(self, code: ErrorCode = ErrorCode.CLIENT_CLOSED) -> None:
        """The client's connection is gone: what was done for it ends at once."""
        self.refuse(DownstreamError(code, ""))

    def refuse(self, error: ProxyError) -> None:
        """Count a request that ends before it was sent; the client's connection answers it itself."""
        if not self._is_concluded:
            self._drop_connection()
            self._conclude(error.code, error.status)

    def _drop_connection(self) -> None:
        if self._relay is not None:
            self._relay.drop()
        connection, self._connection = self._connection, None
        if connection is not None:
            self._context.route.upstream.discard(connection)
        else:
            self._context.route.upstream.leave(self)
            self._context.route.credentials.leave(self)

    def _stop_sending(self) -> None:
        # Let go of, because each knows the other: bodies would stay until the garbage collector comes by.
        sender, self._sender = self._sender, None
        if sender is not None:
            sender.stop()

    def _conclude(self, code: str, status: int) -> None:
        self._is_concluded = True
        if self._sender is not None:
            self._stop_sending()
        if self._healing is not None:
            self._healing.stop()
            self._healing = None
        if self._held_bytes:
            self._context.bodies.memory.give(self._held_bytes)
        if self._body is not None:
            self._body.close()
            self._body = None
        self._payload = b""
        sent = 0 if self._relay is None else self._relay.body_bytes
        self._record.conclude(code, status, bytes_in=self._body_length, bytes_out=sent)
