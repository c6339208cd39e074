"""What the parts of the proxy path ask of each other: who may be called, and with what.

A client's connection, its exchanges, and what they use know each other by these roles only, so that each can be
tested with a stand-in, and no module imports the one that uses it.
"""

from __future__ import annotations

from typing import Protocol, TypeVar

from aws_signing_proxy.credentials.store import Waiter
from aws_signing_proxy.errors import ErrorCode, ProxyError
from aws_signing_proxy.observe.counters import Limit

__all__ = [
    "Client",
    "ClientOfTunnel",
    "ConnectionRegistry",
    "RefusedExchange",
    "ResponseSink",
    "Sender",
    "SendingExchange",
    "TunnelEnd",
    "WaitingExchange",
]

C_contra = TypeVar("C_contra", contravariant=True)


class ResponseSink(Protocol):
    """Where a response is written."""

    is_write_paused: bool

    def write(self, data: bytes) -> None:
        """Write bytes of the response."""


class ClientOfTunnel(ResponseSink, Protocol):
    """The client's connection, as a tunnel sees it."""

    def wait_at_most(self, seconds: float, limit: Limit) -> None:
        """Call `on_deadline` of the exchange or tunnel with `limit` when nothing has changed for so long."""

    def pause_reading(self) -> None:
        """Leave what the client sends in the kernel."""

    def resume_reading(self) -> None:
        """Undo `pause_reading`."""

    def close_idle(self) -> None:
        """Close when what is written has been sent."""

    def abort(self) -> None:
        """Close at once: what was begun cannot be completed, and the client must notice."""


class TunnelEnd(Protocol):
    """A tunnel, as the client's connection sees it."""

    def on_client_data(self, data: bytes) -> None:
        """Bytes for the service arrived."""

    def on_client_paused(self) -> None:
        """The client takes no more for now."""

    def on_client_resumed(self) -> None:
        """The client takes bytes again."""

    def on_client_gone(self, code: ErrorCode = ErrorCode.CLIENT_CLOSED) -> None:
        """The client's connection is gone, or was cut off."""

    def on_deadline(self, limit: Limit) -> None:
        """Nothing has changed for too long."""

    def refuse(self, error: ProxyError) -> None:
        """The bytes could not be handled."""


class Client(ClientOfTunnel, Protocol):
    """The client's connection, as an exchange sees it."""

    def answer(self, error: ProxyError) -> None:
        """Answer with the error; nothing of a response has been written."""

    def on_exchange_done(self, *, keep_alive: bool) -> None:
        """The response is complete."""

    def switch_to(self, tunnel: TunnelEnd) -> None:
        """The response was 101: what the client sends, and has sent meanwhile, is for the tunnel from here on."""


class Sender(Protocol):
    """Whoever sends a body that does not leave in one write with the head."""

    @property
    def is_done(self) -> bool:
        """Whether all of it is handed over; until then the connection has no place for another request."""

    def on_writable(self) -> None:
        """The upstream takes bytes again."""

    def stop(self) -> None:
        """Send no more: the connection, or the request, is gone."""


class SendingExchange(Protocol):
    """The exchange whose body is sent."""

    def on_body_progress(self) -> None:
        """The upstream has taken a piece."""

    def on_body_sent(self) -> None:
        """The upstream has taken the last piece."""

    def fail(self, error: ProxyError) -> None:
        """The body cannot be sent."""


class WaitingExchange(Waiter, Protocol):
    """The exchange that waits for credentials."""

    def fail(self, error: ProxyError) -> None:
        """There will be none."""


class RefusedExchange(Protocol):
    """The exchange that the service refused; its answer is withheld."""

    def send_again(self) -> None:
        """Sign with what is good now, and send once more; the answer is dropped."""

    def pass_on(self) -> None:
        """Give the client the service's answer."""

    def fail_unexpectedly(self, event: str) -> None:
        """End after an exception that nothing foresaw; called where it is handled."""


class ConnectionRegistry(Protocol[C_contra]):
    """The server that a connection belongs to."""

    def on_connection_made(self, connection: C_contra) -> bool:
        """Return whether there is room for it."""

    def on_connection_lost(self, connection: C_contra) -> None:
        """It is gone."""
