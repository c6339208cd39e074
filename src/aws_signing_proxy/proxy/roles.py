"""What the parts of the proxy path ask of each other: who may be called, and with what.

A client's connection, its exchanges, and what they use know each other by these roles only, so that each can be
tested with a stand-in, and no module imports the one that uses it.
"""

from __future__ import annotations

from typing import Protocol, TypeVar

from aws_signing_proxy.credentials.store import Waiter
from aws_signing_proxy.errors import ProxyError
from aws_signing_proxy.observe.counters import Limit

__all__ = ["Client", "ConnectionRegistry", "ResponseSink", "SendingExchange", "WaitingExchange"]

C_contra = TypeVar("C_contra", contravariant=True)


class ResponseSink(Protocol):
    """Where a response is written."""

    is_write_paused: bool

    def write(self, data: bytes) -> None:
        """Write bytes of the response."""


class Client(ResponseSink, Protocol):
    """The client's connection, as an exchange sees it."""

    def wait_at_most(self, seconds: float, limit: Limit) -> None:
        """Call the exchange's `on_deadline` with `limit` when nothing has changed for so long."""

    def answer(self, error: ProxyError) -> None:
        """Answer with the error; nothing of a response has been written."""

    def abort(self) -> None:
        """Close at once: a response that was begun cannot be completed, and the client must notice."""

    def on_exchange_done(self, *, keep_alive: bool) -> None:
        """The response is complete."""


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


class ConnectionRegistry(Protocol[C_contra]):
    """The server that a connection belongs to."""

    def on_connection_made(self, connection: C_contra) -> bool:
        """Return whether there is room for it."""

    def on_connection_lost(self, connection: C_contra) -> None:
        """It is gone."""
