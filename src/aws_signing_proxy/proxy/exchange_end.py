"""What an exchange knows, and every way in which it ends."""

from __future__ import annotations

import logging

from aws_signing_proxy.credentials.model import Credentials
from aws_signing_proxy.errors import DownstreamError, ErrorCode, ProxyError
from aws_signing_proxy.http1.request import RequestHead
from aws_signing_proxy.observe.counters import Limit
from aws_signing_proxy.proxy import limit_errors
from aws_signing_proxy.proxy.body import ReceivedBody
from aws_signing_proxy.proxy.context import Context
from aws_signing_proxy.proxy.healing import NOT_SENT_AGAIN, Healing
from aws_signing_proxy.proxy.payload_plan import StreamPlan
from aws_signing_proxy.proxy.record import RequestRecord
from aws_signing_proxy.proxy.relay import ResponseRelay
from aws_signing_proxy.proxy.rewrite import PreparedHead
from aws_signing_proxy.proxy.roles import Client, Sender
from aws_signing_proxy.proxy.streaming import StreamedBody
from aws_signing_proxy.sigv4.refusals import Refusal
from aws_signing_proxy.upstream.connection import UpstreamConnection

__all__ = ["ExchangeEnd"]

_LOG = logging.getLogger(__name__)


class ExchangeEnd:
    """The half of an `Exchange` that ends it; all ways go through `_conclude`, exactly once.

    `is_streamed`: the body is not held (known after `admit`).
    """

    __slots__ = (
        "_body", "_body_length", "_body_sha256", "_client", "_connection", "_context", "_credentials", "_healing",
        "_held_bytes", "_is_concluded", "_payload", "_plan", "_prepared", "_record", "_relay", "_retries", "_sender",
        "_stream", "is_streamed", "needs_fresh", "request",
    )  # fmt: skip

    def __init__(self, context: Context, client: Client, request: RequestHead) -> None:
        self._context = context
        self._client = client
        self.request = request
        self.needs_fresh = False
        self._record = RequestRecord(context, request)
        self._prepared: PreparedHead | None = None
        self._plan: StreamPlan | None = None
        self.is_streamed = False
        self._stream: StreamedBody | None = None
        self._payload = b""
        self._body: ReceivedBody | None = None
        self._body_length = 0
        self._body_sha256: bytes | None = None
        self._held_bytes = 0
        self._connection: UpstreamConnection | None = None
        # What the request was signed with, last.
        self._credentials: Credentials | None = None
        # Not before the response has begun, and for hardly any that is whole in one read.
        self._relay: ResponseRelay | None = None
        self._retries = 0
        # From the first refusal on that it may be sent again for.
        self._healing: Healing | None = None
        self._sender: Sender | None = None
        self._is_concluded = False

    def __repr__(self) -> str:
        state = "concluded" if self._is_concluded else "responding" if self.has_response else "sending"
        return f"<Exchange {self.request!r} {state}>"

    @property
    def has_response(self) -> bool:
        """Whether the client has been given the response's head: no other answer is possible any more."""
        return self._relay is not None and self._relay.has_begun

    @property
    def _sent_again(self) -> frozenset[Refusal]:
        """The refusals after which it is not sent again, because it has been."""
        return NOT_SENT_AGAIN if self._healing is None else self._healing.sent_again(self._credentials)

    def is_client_waiting(self, limit: Limit, *, is_paused: bool) -> bool:
        """Whether a streamed request waits for something else than the client; `is_paused`: that is not read from."""
        return is_paused or self.has_response or limit is not Limit.PROGRESS_TIMEOUT

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
        if not self.has_response:
            self._client.answer(error)
        else:
            self._context.error_log.report(error)
            self._client.abort()

    def fail_unexpectedly(self, event: str) -> None:
        """End after an exception that nothing foresaw; called where it is handled."""
        _LOG.exception(event)
        self.fail(limit_errors.unexpected_failure())

    def on_client_gone(self, code: ErrorCode = ErrorCode.CLIENT_CLOSED) -> None:
        """The client's connection is gone: what was done for it ends at once."""
        self.refuse(DownstreamError(code, ""))

    def refuse(self, error: ProxyError) -> None:
        """Count a request that ends before it was sent as a whole; the client's connection answers it itself."""
        if not self._is_concluded:
            self._drop_connection()
            self._conclude(error.code, error.status)

    def _drop_connection(self) -> None:
        raise NotImplementedError

    def _stop_sending(self) -> None:
        # Let go of, because each knows the other: bodies would stay until the garbage collector comes by.
        sender, self._sender = self._sender, None
        if sender is not None:
            sender.stop()

    def _conclude(self, code: str, status: int, *, sent_bytes: int = 0) -> None:
        """Give back what is held and count; `sent_bytes`: of the response's body, where it went past the relay."""
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
        if self._stream is not None:
            self._body_length = self._stream.size
            self._stream.close()
            self._stream = None
        if self._relay is not None:
            sent_bytes = self._relay.body_bytes
        self._record.conclude(code, status, bytes_in=self._body_length, bytes_out=sent_bytes)
