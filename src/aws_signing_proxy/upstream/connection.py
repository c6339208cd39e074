"""One connection to the upstream: bytes out, bytes in, and who they are for."""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import socket
import ssl
from typing import Protocol, cast

from aws_signing_proxy.upstream.read_gate import FULL_READ_BYTES, ReadGate
from aws_signing_proxy.upstream.tls import ConnectionTls

__all__ = ["ConnectionOwner", "ConnectionUser", "UpstreamConnection"]


# What is encrypted is sent while it is in the processor's cache, and its memory used again: a sixth of the CPU time.
_ENCRYPTED_AT_ONCE_BYTES = 64 * 1024
# An answer that refuses is short; more than this of it is not waited for.
_LAST_READ_BYTES = 64 * 1024
_MOST_LAST_READS = 16


class ConnectionUser(Protocol):
    """The exchange that a connection works for."""

    def on_upstream_data(self, data: bytes) -> None:
        """Plain bytes of the response arrived."""

    def on_upstream_closed(self, *, is_clean: bool) -> None:
        """The connection ended; it is of no use any more."""

    def on_upstream_writable(self) -> None:
        """The connection takes bytes again after `is_write_paused`."""


class ConnectionOwner(Protocol):
    """The pool that a connection belongs to."""

    def on_connection_closed(self, connection: UpstreamConnection) -> None:
        """The connection ended while it was open, idle or busy."""


class UpstreamConnection(asyncio.Protocol):
    """An open connection, idle (`user` is None) or in use by one exchange at a time.

    `uses` counts the requests sent through it, `is_reused` says that it has answered one before; `is_ended`: it is
    closed, or being closed; `expires_at`: not used again after this instant; `is_pooled`: its owner counts it as
    open, and is told when it ends.
    """

    __slots__ = (
        "_established",
        "_gate",
        "_owner",
        "_poll",
        "_spare",
        "_tls",
        "_transport",
        "expires_at",
        "idle_since",
        "is_ended",
        "is_pooled",
        "is_reused",
        "is_write_paused",
        "user",
        "uses",
    )

    def __init__(self, owner: ConnectionOwner, tls: ConnectionTls | None) -> None:
        self._owner = owner
        self._tls = tls
        self._transport: asyncio.Transport | None = None
        self._established: asyncio.Future[None] | None = None
        self._poll: select.poll | None = None
        self._spare: socket.socket | None = None
        self.is_ended = False
        self._gate = ReadGate()
        self.user: ConnectionUser | None = None
        self.uses = 0
        self.idle_since = 0.0
        self.is_pooled = False
        self.is_reused = False
        self.expires_at = float("inf")
        self.is_write_paused = False

    def __repr__(self) -> str:
        state = "ended" if self.is_ended else "busy" if self.user is not None else "idle"
        return f"<UpstreamConnection {state} uses={self.uses} {'TLS' if self._tls else 'plain'}>"

    # What its user and owner call

    async def establish(self) -> None:
        """Finish the TLS handshake, where there is one. Raises ssl.SSLError or ConnectionError."""
        if self._tls is None or self._tls.is_established:
            return
        self._established = asyncio.get_running_loop().create_future()
        hello, _ = self._tls.handshake()
        self._write(hello)
        await self._established

    @property
    def was_resumed(self) -> bool:
        """Whether its TLS handshake resumed an earlier session."""
        return self._tls is not None and self._tls.was_resumed

    @property
    def has_said_goodbye(self) -> bool:
        """Whether the peer has closed its side of TLS: no further request will be answered."""
        return self._tls is not None and self._tls.is_closed_cleanly

    def has_unread_input(self) -> bool:
        """Look whether the peer's goodbye, or bytes that nobody asked for, are here already and not read yet.

        One system call (0.5 µs), made before a request goes on a reused connection: a request that is written after
        a goodbye may be lost, and bytes that came before it would be taken for its answer (response splitting). A
        ticket of TLS counts too; it comes before the first response, so that costs no connection in practice.
        """
        return self.is_ended or (self._poll is not None and bool(self._poll.poll(0)))

    def send(self, data: bytes | memoryview) -> None:
        """Send plain bytes."""
        transport = self._transport
        if self.is_ended or transport is None:
            return
        tls = self._tls
        if tls is None or len(data) <= _ENCRYPTED_AT_ONCE_BYTES:
            transport.write(data if tls is None else tls.encrypt(data))
            return
        view = memoryview(data)
        for start in range(0, len(view), _ENCRYPTED_AT_ONCE_BYTES):
            self._write(tls.encrypt(view[start : start + _ENCRYPTED_AT_ONCE_BYTES]))

    def expect_early_response(self) -> None:
        """Keep a second handle of the socket, for a response that comes before the request's last byte.

        A service that refuses an upload answers and closes; what is sent to it then breaks the connection, and the
        event loop closes its handle with the answer unread in the kernel.
        """
        sock = None if self._transport is None else self._transport.get_extra_info("socket")
        if sock is not None and self._spare is None:
            with contextlib.suppress(OSError):  # no descriptor left: then without
                self._spare = socket.socket(fileno=os.dup(sock.fileno()))
                self._spare.setblocking(False)

    def pause_reading(self) -> None:
        """Let the response wait in the kernel: the client does not take it fast enough."""
        if not self.is_ended:
            self._gate.pause()

    def resume_reading(self) -> None:
        """Undo `pause_reading`."""
        self._gate.resume()

    def finished_use(self) -> None:
        """A response is complete: belong to nobody until the next one."""
        self.user = None
        if self._spare is not None:
            self._close_spare()
        if self._gate.is_paused:
            self._gate.resume()
        if self.uses == 1 and self._tls is not None:
            self._tls.keep_session()

    def abort(self) -> None:
        """Close at once, dropping what is not sent yet: the peer must not take it for a whole request."""
        self.is_ended = True
        self.user = None
        if self._transport is not None:
            self._transport.abort()

    def close(self) -> None:
        """Close an idle connection with the protocol's goodbye."""
        self.is_ended = True
        self.user = None
        if self._transport is not None:
            if self._tls is not None:
                self._write(self._tls.close_notify())
            self._transport.close()

    # What the event loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport (asyncio.BaseProtocol)."""
        self._transport = cast("asyncio.Transport", transport)
        self._gate.use(self._transport)
        sock = transport.get_extra_info("socket")
        if sock is not None:
            self._poll = select.poll()
            self._poll.register(sock.fileno(), select.POLLIN)

    def data_received(self, data: bytes) -> None:
        """Take what was read (asyncio.Protocol)."""
        if self.is_ended:
            return
        if len(data) >= FULL_READ_BYTES:
            self._gate.rest()
        tls = self._tls
        if tls is not None:
            data = self._decrypt(tls, data)
        user = self.user
        if user is not None:
            if data:
                user.on_upstream_data(data)
        elif data:
            # Bytes that nothing asked for would be taken for the answer to the next request.
            self._end(is_clean=False)
        if tls is not None and tls.is_closed_cleanly:
            self._end(is_clean=True)

    def eof_received(self) -> None:
        """The other side sends no more (asyncio.Protocol)."""
        self._end(is_clean=self._tls is None or self._tls.is_closed_cleanly)

    def connection_lost(self, exc: Exception | None) -> None:
        """The transport is gone (asyncio.BaseProtocol)."""
        if exc is not None and self._spare is not None:
            self._read_what_is_left(self._spare)
        self._close_spare()
        self._end(is_clean=exc is None and (self._tls is None or self._tls.is_closed_cleanly))
        self._poll = None
        self._transport = None
        self._gate.use(None)

    def pause_writing(self) -> None:
        """The transport holds enough (asyncio.BaseProtocol)."""
        self.is_write_paused = True

    def resume_writing(self) -> None:
        """The transport takes bytes again (asyncio.BaseProtocol)."""
        self.is_write_paused = False
        if self.user is not None:
            self.user.on_upstream_writable()

    # Inside

    def _read_what_is_left(self, spare: socket.socket) -> None:
        for _ in range(_MOST_LAST_READS):
            try:
                data = spare.recv(_LAST_READ_BYTES)
            except OSError:
                return
            if not data or self.is_ended:
                return
            self.data_received(data)

    def _close_spare(self) -> None:
        spare, self._spare = self._spare, None
        if spare is not None:
            spare.close()

    def _write(self, data: bytes | memoryview) -> None:
        if data and self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def _decrypt(self, tls: ConnectionTls, data: bytes) -> bytes:
        try:
            if not tls.is_established:
                answer, is_done = tls.handshake(data)
                self._write(answer)
                if not is_done:
                    return b""
                if self._established is not None and not self._established.done():
                    self._established.set_result(None)
                data = b""
            plain = tls.decrypt(data)
        except ssl.SSLError as error:
            self._write(tls.take_alert())
            if self._established is not None and not self._established.done():
                self._established.set_exception(error)
            self._end(is_clean=False)
            return b""
        self._write(tls.take_pending())
        return plain

    def _end(self, *, is_clean: bool) -> None:
        if self.is_ended:
            return
        self.is_ended = True
        if self._established is not None and not self._established.done():
            self._established.set_exception(ConnectionResetError("the peer closed during the TLS handshake"))
        if self._transport is not None:
            if self._tls is not None and not self._tls.is_established:
                self._transport.close()  # lets the alert go out
            else:
                self._transport.abort()
        user, self.user = self.user, None
        if self.is_pooled:
            self._owner.on_connection_closed(self)
        if user is not None:
            user.on_upstream_closed(is_clean=is_clean)
