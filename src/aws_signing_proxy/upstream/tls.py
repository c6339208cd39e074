"""TLS towards the upstream: what all connections to it share, and one connection's TLS, or two inside each other."""

from __future__ import annotations

import ssl
from typing import Protocol

from aws_signing_proxy.tls.engine import TlsEngine
from aws_signing_proxy.tls.reloading import ReloadedContext

__all__ = ["ClientTls", "ConnectionTls", "NestedTls", "TlsSettings"]


class ConnectionTls(Protocol):
    """One connection's TLS, as the connection sees it (see `TlsEngine`)."""

    @property
    def is_established(self) -> bool:
        """Whether the handshake is done."""

    @property
    def is_closed_cleanly(self) -> bool:
        """Whether the peer has said goodbye."""

    @property
    def was_resumed(self) -> bool:
        """Whether the handshake resumed an earlier session."""

    def handshake(self, data: bytes = b"") -> tuple[bytes, bool]:
        """Take the peer's handshake bytes; return ours, and whether the handshake is done. Raises ssl.SSLError."""

    def take_alert(self) -> bytes:
        """Return what is to be sent after a failure."""

    def decrypt(self, data: bytes) -> bytes:
        """Take encrypted bytes; return the plain bytes that are complete. Raises ssl.SSLError."""

    def encrypt(self, data: bytes | memoryview) -> bytes:
        """Take plain bytes; return them encrypted."""

    def take_pending(self) -> bytes:
        """Return what the protocol itself has to send."""

    def keep_session(self) -> None:
        """Remember the session for the next connection."""

    def close_notify(self) -> bytes:
        """Return the goodbye."""


class TlsSettings:
    """What every connection to one server shares: context, name, and the last session for resumption.

    `context` may be one whose client certificate is renewed while the process runs.
    """

    __slots__ = ("_context", "_context_of_session", "server_name", "session")

    def __init__(self, context: ssl.SSLContext | ReloadedContext, server_name: str) -> None:
        self._context = context
        self._context_of_session: ssl.SSLContext | None = None
        self.session: ssl.SSLSession | None = None
        self.server_name = server_name

    @property
    def context(self) -> ssl.SSLContext:
        """The context of new connections."""
        return self._context.context if isinstance(self._context, ReloadedContext) else self._context

    def engine(self) -> ClientTls:
        """Return the TLS side of a new connection, which tries to resume the last session."""
        context = self.context
        # A session belongs to its context, and speaks for the client certificate of then.
        session = self.session if self._context_of_session is context else None
        return ClientTls(self, context, session)

    def keep(self, session: ssl.SSLSession, context: ssl.SSLContext) -> None:
        """Remember a session for the next connection."""
        self.session, self._context_of_session = session, context


class ClientTls(TlsEngine):
    """The client's side of a connection, which remembers its session for the next one."""

    __slots__ = ("_own_context", "_settings")

    def __init__(self, settings: TlsSettings, context: ssl.SSLContext, session: ssl.SSLSession | None) -> None:
        super().__init__(context, server_name=settings.server_name, session=session)
        self._settings = settings
        self._own_context = context

    def keep_session(self) -> None:
        """Remember the session for the next connection; TLS 1.3's ticket arrives behind the handshake."""
        session = self._tls.session
        if session is not None and session.has_ticket:
            self._settings.keep(session, self._own_context)


class NestedTls:
    """TLS to the target inside the TLS to a proxy, which is established (see `ConnectionTls`)."""

    __slots__ = ("_inner", "_outer")

    def __init__(self, outer: TlsEngine, inner: TlsEngine) -> None:
        self._outer = outer
        self._inner = inner

    @property
    def is_established(self) -> bool:
        """Whether the handshake with the target is done."""
        return self._inner.is_established

    @property
    def is_closed_cleanly(self) -> bool:
        """Whether the target has said goodbye: what the proxy says is no proof of anything."""
        return self._inner.is_closed_cleanly

    @property
    def was_resumed(self) -> bool:
        """Whether the handshake with the target resumed an earlier session."""
        return self._inner.was_resumed

    def handshake(self, data: bytes = b"") -> tuple[bytes, bool]:
        """Take the target's handshake bytes through the proxy; return ours, and whether the handshake is done."""
        answer, is_done = self._inner.handshake(self._outer.decrypt(data) if data else b"")
        return self._wrapped(answer), is_done

    def take_alert(self) -> bytes:
        """Return what is to be sent after a failure."""
        alert = self._outer.take_alert()  # where it was the outer one that failed
        return alert or self._wrapped(self._inner.take_alert())

    def decrypt(self, data: bytes) -> bytes:
        """Take encrypted bytes; return the plain bytes that are complete. Raises ssl.SSLError."""
        return self._inner.decrypt(self._outer.decrypt(data) if data else b"")

    def encrypt(self, data: bytes | memoryview) -> bytes:
        """Take plain bytes; return them encrypted twice."""
        return self._outer.encrypt(self._inner.encrypt(data))

    def take_pending(self) -> bytes:
        """Return what the protocol itself has to send."""
        return self._outer.take_pending() + self._wrapped(self._inner.take_pending())

    def keep_session(self) -> None:
        """Remember both sessions for the next connection."""
        self._outer.keep_session()
        self._inner.keep_session()

    def close_notify(self) -> bytes:
        """Return the goodbye to the target and the one to the proxy."""
        return self._wrapped(self._inner.close_notify()) + self._outer.close_notify()

    def _wrapped(self, data: bytes) -> bytes:
        return self._outer.encrypt(data) if data else b""
