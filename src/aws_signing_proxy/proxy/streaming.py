"""A request's body that is not held: its pieces go upstream as they come, and both sides wait for each other.

What is kept of it: what came before the upstream connection was there, a chunk that is to be signed as a whole, what
the upstream does not take at once, and its beginning, as long as that is all that has come: so it can be sent once more
where the service refuses it early, or a connection of the pool turns out to be closed. All of it counts in the memory
of all bodies. While the upstream takes no more, the client is not read from; so each body has one read on its way at
most, and may have it also where that memory is used up: what others hold for a service that stands still is no reason
to wait, for nobody knows how long they will.
"""

from __future__ import annotations

from collections.abc import Callable

from aws_signing_proxy.proxy.body import BodyMemory
from aws_signing_proxy.proxy.encoders import BodyEncoder
from aws_signing_proxy.proxy.roles import SendingExchange
from aws_signing_proxy.upstream.connection import UpstreamConnection

__all__ = ["StreamedBody"]


class StreamedBody:
    """One body on its way through, with the face of a `ReceivedBody` towards the client's connection.

    `add` takes the pieces, `finish` is called after the last; then `on_ready` is called. `can_take_more` turns false
    when the client should be made to wait; `on_room` is called when it turns true, and when the upstream is ready for
    the first piece. `start` gives it the connection on which it goes. `keep_bytes`: so long a beginning is kept.
    """

    __slots__ = (
        "_connection",
        "_encoder",
        "_exchange",
        "_held",
        "_in_flight",
        "_is_closed",
        "_is_finished",
        "_is_on_hold",
        "_keep_bytes",
        "_kept",
        "_memory",
        "_on_ready",
        "_on_room",
        "can_take_more",
        "size",
    )

    def __init__(
        self,
        exchange: SendingExchange,
        memory: BodyMemory,
        *,
        keep_bytes: int,
        on_ready: Callable[[], None],
        on_room: Callable[[], None],
    ) -> None:
        self._exchange = exchange
        self._memory = memory
        self._on_ready = on_ready
        self._on_room = on_room
        self._connection: UpstreamConnection | None = None
        self._encoder: BodyEncoder | None = None
        # All that has come, while it can be sent once more; one growing buffer, for pieces may be tiny.
        self._keep_bytes = keep_bytes
        self._kept = bytearray()
        self._held = 0
        self._in_flight = 0
        self._is_finished = False
        self._is_on_hold = False
        self._is_closed = False
        self.size = 0
        self.can_take_more = False

    @property
    def is_received(self) -> bool:
        """Whether the last piece is here."""
        return self._is_finished

    @property
    def is_done(self) -> bool:
        """Whether all of it is handed over, so that the connection has a place for another request."""
        return self._is_finished and self._connection is not None and not self._connection.is_write_paused

    @property
    def can_be_sent_again(self) -> bool:
        """Whether all that came of it is still here."""
        return self.size == len(self._kept)

    # What the client's connection calls

    def add(self, piece: bytes) -> None:
        """Take the next piece of the body. Raises DownstreamError where it is not well-formed."""
        if self._is_closed:
            return
        self._keep(piece)
        self.size += len(piece)
        if self._connection is None:
            self._account()
            return
        assert self._encoder is not None
        self._send(self._connection, self._encoder.encode(piece))

    def finish(self) -> None:
        """The last piece has been added. Raises DownstreamError where the body cannot end here."""
        self._is_finished = True
        if self._connection is not None and not self._is_closed:
            self._send_end(self._connection)
        self._on_ready()

    def close(self) -> None:
        """Forget the body; whether all of it was sent or not."""
        self._is_closed = True
        self.can_take_more = False
        self._connection = None
        self._encoder = None
        self._kept = bytearray()
        self._in_flight = 0
        self._account()

    # What the exchange calls

    def start(self, connection: UpstreamConnection, head: bytes, encoder: BodyEncoder) -> None:
        """Send the head and what is here of the body, and let the rest come. Raises DownstreamError as `add` does."""
        self._connection = connection
        self._encoder = encoder
        self._is_on_hold = False
        connection.expect_early_response()
        self._send(connection, head + (encoder.encode(bytes(self._kept)) if self._kept else b""))
        if self._is_finished:
            self._send_end(connection)
        else:
            self._exchange.on_body_progress()
            self._let_client_go_on()

    def stop(self) -> None:
        """The connection is lost: wait for another one."""
        self._connection = None
        self._encoder = None
        self.can_take_more = False
        self._in_flight = 0
        self._account()

    def hold(self) -> None:
        """Let the client wait until `start`, or `go_on`: whether the body is sent again is being decided."""
        self._is_on_hold = True
        self.can_take_more = False

    def go_on(self) -> None:
        """The answer is the client's: undo `hold`. The body is not sent again, so nothing is kept for that."""
        self._kept = bytearray()
        self._account()
        if self._is_on_hold:
            self._is_on_hold = False
            self._let_client_go_on()

    def on_writable(self) -> None:
        """The upstream takes bytes again."""
        if self._is_closed or self._connection is None:
            return
        self._in_flight = 0
        self._account()
        if self._is_finished:
            self._exchange.on_body_sent()
        else:
            self._let_client_go_on()

    # Inside

    def _keep(self, piece: bytes) -> None:
        """Keep the piece if it can be sent once more with all that came before it; else keep nothing any longer."""
        if not self.can_be_sent_again:
            return
        is_too_much = len(self._kept) + len(piece) > self._keep_bytes or not self._memory.may_keep(len(piece))
        # What has no connection yet has nowhere else to be.
        if self._connection is not None and is_too_much:
            self._kept = bytearray()
        else:
            self._kept += piece

    def _send(self, connection: UpstreamConnection, data: bytes) -> None:
        if data:
            connection.send(data)
        if connection.is_write_paused:
            self._in_flight += len(data)
            self.can_take_more = False
        self._account()

    def _send_end(self, connection: UpstreamConnection) -> None:
        assert self._encoder is not None
        self._send(connection, self._encoder.finish())
        if connection.is_write_paused:
            self._exchange.on_body_progress()
        else:
            self._exchange.on_body_sent()

    def _let_client_go_on(self) -> None:
        if self._is_closed or self._is_finished or self._is_on_hold or self.can_take_more:
            return
        if self._connection is None or self._connection.is_write_paused:
            return  # `start` or `on_writable` comes back here
        self.can_take_more = True
        self._on_room()

    def _account(self) -> None:
        """Bring the memory of all bodies up to date with what is held of this one."""
        encoder = self._encoder
        held = len(self._kept) + self._in_flight + (0 if encoder is None else encoder.held_bytes)
        change, self._held = held - self._held, held
        if change > 0:
            self._memory.take(change)
        elif change < 0:
            self._memory.give(-change)
