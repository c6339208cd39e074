"""TLS towards clients, between a socket's transport and a client's connection.

Why not the event loop's own: docs/decisions/0010-tls-in-memory.md.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from enum import Enum
from typing import Any, Protocol, cast

from aws_signing_proxy.errors import DownstreamError, ErrorCode
from aws_signing_proxy.http1.writing import render_problem
from aws_signing_proxy.observe.counters import Limit
from aws_signing_proxy.proxy.context import Context
from aws_signing_proxy.proxy.record import record_refusal
from aws_signing_proxy.tls.engine import TlsEngine

__all__ = ["TlsTransport"]

_LOG = logging.getLogger(__name__)

# RFC 8446 section 5.1: the first byte of a record that shakes hands.
_HANDSHAKE_RECORD = 0x16
# A client that is refused may still be sending: reading on lets it see the alert, not a reset.
_LINGER_SECONDS = 2.0
# A client can make TLS answer without end (RFC 8446 section 4.6.3). Responses never heap up so much.
_MOST_UNREAD_BYTES = 4 * 1024 * 1024


class _Connection(Protocol):
    """The client's connection, as this transport sees it: an `asyncio.Protocol` with a deadline."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None: ...
    def data_received(self, data: bytes) -> None: ...
    def eof_received(self) -> bool | None: ...
    def connection_lost(self, exc: Exception | None) -> None: ...
    def pause_writing(self) -> None: ...
    def resume_writing(self) -> None: ...
    def wait_at_most(self, seconds: float, limit: Limit) -> None: ...


class _State(Enum):
    HANDSHAKE = "shaking hands"
    OPEN = "open"
    ENDED = "ended, what still comes is dropped"


class TlsTransport(asyncio.Transport, asyncio.Protocol):
    """The protocol of a socket's transport, and the transport of a client's connection.

    The connection exists from the first moment, so that one that does not finish its handshake counts and is swept like
    any other; it gets its first bytes when the handshake is done.
    """

    __slots__ = ("_connection", "_context", "_engine", "_raw", "_state")

    def __init__(self, context: Context, connection: _Connection, engine: TlsEngine) -> None:
        super().__init__()
        self._context = context
        self._connection = connection
        self._engine = engine
        self._raw: asyncio.Transport = _NO_TRANSPORT
        self._state = _State.HANDSHAKE

    def __repr__(self) -> str:
        return f"<TlsTransport {self._state.value}>"

    # What the event loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the socket's transport (asyncio.BaseProtocol)."""
        self._raw = cast("asyncio.Transport", transport)
        self._connection.connection_made(self)
        if self._state is _State.HANDSHAKE:
            self._connection.wait_at_most(
                self._context.limits.request_head_timeout_seconds, Limit.TLS_HANDSHAKE_TIMEOUT
            )

    def data_received(self, data: bytes) -> None:
        """Take what was read (asyncio.Protocol)."""
        if self._state is _State.HANDSHAKE:
            self._shake_hands(data)
        elif self._state is _State.OPEN:
            self._deliver(data)

    def eof_received(self) -> bool | None:
        """The client sends no more (asyncio.Protocol)."""
        if self._state is _State.HANDSHAKE and self._engine.has_begun:
            self._count_failure("the client closed the connection")
        # With close_notify or without: a request counts when it is whole, so nothing depends on it (RFC 8446 6.1).
        return self._connection.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket's transport is gone (asyncio.BaseProtocol)."""
        self._state = _State.ENDED
        self._connection.connection_lost(exc)

    def pause_writing(self) -> None:
        """The socket's transport holds enough (asyncio.BaseProtocol)."""
        self._connection.pause_writing()

    def resume_writing(self) -> None:
        """The socket's transport takes bytes again (asyncio.BaseProtocol)."""
        self._connection.resume_writing()

    # What the client's connection calls

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        """Send plain bytes (asyncio.WriteTransport)."""
        if self._state is _State.OPEN:
            self._raw.write(self._engine.encrypt(data))
        elif self._state is _State.HANDSHAKE:
            # A refusal before the handshake (too many connections): a handshake would cost more than is refused.
            self.abort()

    def write_eof(self) -> None:
        """Say goodbye, and take nothing more (asyncio.WriteTransport)."""
        self._say_goodbye()
        if self._raw.can_write_eof():
            self._raw.write_eof()

    def can_write_eof(self) -> bool:
        """It can (asyncio.WriteTransport)."""
        return True

    def close(self) -> None:
        """Close when all is sent (asyncio.BaseTransport)."""
        self._say_goodbye()
        self._raw.close()

    def abort(self) -> None:
        """Close at once, and without goodbye: the client must not take what it got for all (asyncio.WriteTransport)."""
        self._state = _State.ENDED
        self._raw.abort()

    def is_closing(self) -> bool:
        """Whether it is closed or being closed (asyncio.BaseTransport)."""
        return self._raw.is_closing()

    def pause_reading(self) -> None:
        """Leave what comes in the kernel (asyncio.ReadTransport)."""
        self._raw.pause_reading()

    def resume_reading(self) -> None:
        """Undo `pause_reading` (asyncio.ReadTransport)."""
        self._raw.resume_reading()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Set when the connection is paused (asyncio.WriteTransport)."""
        self._raw.set_write_buffer_limits(high, low)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return what is known of the socket (asyncio.BaseTransport)."""
        return self._raw.get_extra_info(name, default)

    # Inside

    def _shake_hands(self, data: bytes) -> None:
        if data[0] != _HANDSHAKE_RECORD and not self._engine.has_begun:
            self._answer_plainly(data)
            return
        try:
            answer, is_done = self._engine.handshake(data)
        except ssl.SSLError as error:
            self._count_failure((error.reason or "handshake failed").replace("_", " ").lower())
            self._end_after(self._engine.take_alert())
            return
        if answer:
            self._raw.write(answer)
        if is_done:
            self._state = _State.OPEN
            self._context.counters.downstream_tls_handshakes_total += 1
            self._connection.wait_at_most(self._context.limits.client_idle_timeout_seconds, Limit.CLIENT_IDLE_TIMEOUT)
            self._deliver(b"")

    def _deliver(self, data: bytes) -> None:
        engine = self._engine
        try:
            plain = engine.decrypt(data)
        except ssl.SSLError as error:
            _LOG.debug("a client's TLS failed: %s", error.reason)
            self._end_after(engine.take_alert())
            return
        if plain:
            self._connection.data_received(plain)
        if self._state is not _State.OPEN:
            return
        if pending := engine.take_pending():
            self._answer_protocol(pending)
        if engine.is_closed_cleanly:
            self._connection.eof_received()
            self.close()

    def _answer_protocol(self, pending: bytes) -> None:
        """Send what TLS itself has to say (an answer to a key update), unless the client takes nothing of it."""
        if self._raw.get_write_buffer_size() > _MOST_UNREAD_BYTES:
            _LOG.debug("a client made TLS answer, and read none of the answers")
            self.abort()
        else:
            self._raw.write(pending)

    def _answer_plainly(self, data: bytes) -> None:
        self._count_failure("the client does not speak TLS")
        if not data[:1].isalpha():
            self.abort()
            return
        error = DownstreamError(
            ErrorCode.MALFORMED_REQUEST, "This is plain HTTP, and the proxy speaks TLS on this port: use https://."
        )
        record_refusal(self._context, error)
        self._end_after(render_problem(error, is_head_request=data.startswith(b"HEAD "), closes=True, is_http10=False))

    def _end_after(self, last_words: bytes) -> None:
        """Send these bytes as they are, and let the client have the time to read them."""
        self._state = _State.ENDED
        if last_words and not self._raw.is_closing():
            self._raw.write(last_words)
            self._raw.write_eof()
        # Cannot be answered any more: what was under way for it ends.
        self._connection.eof_received()
        self._connection.wait_at_most(_LINGER_SECONDS, Limit.CLIENT_IDLE_TIMEOUT)

    def _say_goodbye(self) -> None:
        if self._state is _State.OPEN and not self._raw.is_closing():
            self._raw.write(self._engine.close_notify())
        self._state = _State.ENDED

    def _count_failure(self, reason: str) -> None:
        self._context.counters.downstream_tls_failures_total += 1
        _LOG.debug("a client's TLS handshake failed: %s", reason)


# Until `connection_made`; its methods raise NotImplementedError.
_NO_TRANSPORT = asyncio.Transport()
