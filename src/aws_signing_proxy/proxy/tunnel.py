"""What follows a 101 (Switching Protocols): bytes both ways, untouched, until one side ends (WebSocket, RFC 6455).

Both connections belong to the tunnel until its end, and carry no request afterwards. Each direction is as fast as the
slower of its two sides. What was received is still sent on when one side ends: its last words are often a close frame.
"""

from __future__ import annotations

from aws_signing_proxy.errors import ErrorCode, ProxyError
from aws_signing_proxy.observe.counters import Limit
from aws_signing_proxy.proxy.context import Context
from aws_signing_proxy.proxy.record import RequestRecord
from aws_signing_proxy.proxy.roles import Client, ClientOfTunnel
from aws_signing_proxy.upstream.connection import UpstreamConnection

__all__ = ["Tunnel", "open_tunnel"]

_SWITCHING_PROTOCOLS = 101


class Tunnel:
    """One tunnel, from the 101 on. Made when the client has been sent that."""

    __slots__ = ("_bytes_in", "_bytes_out", "_client", "_connection", "_context", "_is_ended", "_record")

    def __init__(
        self,
        context: Context,
        client: ClientOfTunnel,
        connection: UpstreamConnection,
        record: RequestRecord,
    ) -> None:
        self._context = context
        self._client = client
        self._connection = connection
        self._record = record
        self._bytes_in = self._bytes_out = 0
        self._is_ended = False
        context.counters.tunnels_open += 1
        context.counters.tunnels_total += 1
        connection.user = self
        self._on_progress()

    def __repr__(self) -> str:
        return f"<Tunnel {'ended' if self._is_ended else 'open'} in={self._bytes_in} out={self._bytes_out}>"

    # From the client

    def on_client_data(self, data: bytes) -> None:
        """Bytes for the service arrived (see `TunnelEnd`)."""
        if self._is_ended:
            return
        self._bytes_in += len(data)
        self._connection.send(data)
        if self._connection.is_write_paused:
            self._client.pause_reading()
        self._on_progress()

    def on_client_paused(self) -> None:
        """The client takes no more for now (see `TunnelEnd`)."""
        if not self._is_ended:
            self._connection.pause_reading()

    def on_client_resumed(self) -> None:
        """The client takes bytes again (see `TunnelEnd`)."""
        if not self._is_ended:
            self._on_progress()
            self._connection.resume_reading()

    def on_client_gone(self, code: ErrorCode = ErrorCode.CLIENT_CLOSED) -> None:
        """The client's connection is gone, or was cut off (see `TunnelEnd`)."""
        # A client that ends the conversation is how it should end; it is no fault.
        self._end("ok" if code is ErrorCode.CLIENT_CLOSED else code)

    def on_deadline(self, limit: Limit) -> None:
        """Nothing has moved for too long (see `TunnelEnd`)."""
        if not self._is_ended:
            self._context.counters.limits_hit[limit] += 1
            self._end("ok")
            self._client.close_idle()

    def refuse(self, error: ProxyError) -> None:
        """The bytes could not be handled (see `TunnelEnd`)."""
        if not self._is_ended:
            self._end(error.code)
            self._client.abort()

    # From the service (see `ConnectionUser`)

    def on_upstream_data(self, data: bytes) -> None:
        """Bytes for the client arrived."""
        if self._is_ended:
            return
        self._bytes_out += len(data)
        self._client.write(data)
        if self._client.is_write_paused:
            self._connection.pause_reading()
        self._on_progress()

    def on_upstream_closed(self, *, is_clean: bool) -> None:  # noqa: ARG002 - frames say themselves whether they are whole
        """The service ended the conversation."""
        if not self._is_ended:
            self._end("ok")
            self._client.close_idle()

    def on_upstream_writable(self) -> None:
        """The service takes bytes again."""
        if not self._is_ended:
            self._on_progress()
            self._client.resume_reading()

    # Inside

    def _on_progress(self) -> None:
        self._client.wait_at_most(self._context.limits.upgrade_idle_timeout_seconds, Limit.UPGRADE_IDLE_TIMEOUT)

    def _end(self, code: str) -> None:
        if self._is_ended:
            return
        self._is_ended = True
        counters = self._context.counters
        counters.tunnels_open -= 1
        self._context.route.upstream.retire(self._connection)
        self._record.conclude(
            code, _SWITCHING_PROTOCOLS, bytes_in=self._bytes_in, bytes_out=self._bytes_out, is_tunnel=True
        )


def open_tunnel(
    context: Context, client: Client, connection: UpstreamConnection, record: RequestRecord, first: bytes
) -> None:
    """Let a tunnel have both connections from here on; `first` are the bytes that came behind the 101."""
    tunnel = Tunnel(context, client, connection, record)
    client.switch_to(tunnel)
    if first:
        tunnel.on_upstream_data(first)
