"""The response's way to the client: read strictly, its head once, its body as it comes, in the client's framing.

One kind of response is not passed on as it comes: one that may refuse the request's time or its credentials, while the
request can be sent again for that. It is withheld until enough of it is here to tell.
"""

from __future__ import annotations

import asyncio
import logging

from aws_signing_proxy.credentials.model import Credentials
from aws_signing_proxy.http1.request import RequestHead
from aws_signing_proxy.http1.response import CHUNKED, UNTIL_CLOSE, ResponseHead, WholeResponse, read_whole_response
from aws_signing_proxy.http1.response_reader import ResponseReader
from aws_signing_proxy.proxy.context import Context
from aws_signing_proxy.proxy.record import RequestRecord
from aws_signing_proxy.proxy.rejection import RejectionReader, rejection_reader
from aws_signing_proxy.proxy.roles import ResponseSink
from aws_signing_proxy.proxy.service_clock import SAME_SECONDS
from aws_signing_proxy.sigv4.refusals import REFUSING_STATUSES, Refusal
from aws_signing_proxy.upstream.forward_proxy import refused_by_proxy

__all__ = ["HoldBack", "ResponseRelay", "whole_response"]

_LOG = logging.getLogger(__name__)

# Held-back bytes are sent before their time when there are so many.
_FLUSH_BYTES = 64 * 1024
# Errors come in one piece. Whoever takes longer is passed on unread.
_WITHHELD_SECONDS = 2.0
_FIRST_ERROR = 400


class HoldBack:
    """Holds bytes back to write them together (ASP_FLUSH_INTERVAL); the first ones, with the head, at once."""

    __slots__ = ("_held", "_held_bytes", "_interval", "_is_begun", "_sink", "_timer")

    def __init__(self, sink: ResponseSink, interval_seconds: float) -> None:
        self._sink = sink
        self._interval = interval_seconds
        self._is_begun = False
        self._held: list[bytes] = []
        self._held_bytes = 0
        self._timer: asyncio.TimerHandle | None = None

    @property
    def is_write_paused(self) -> bool:
        """Whether the client takes no more for now."""
        return self._sink.is_write_paused

    @is_write_paused.setter
    def is_write_paused(self, value: bool) -> None:
        self._sink.is_write_paused = value

    def write(self, data: bytes) -> None:
        """Hold the bytes back, or write them: the first, and when they are many."""
        if not self._is_begun:
            self._is_begun = True
            self._sink.write(data)
            return
        self._held.append(data)
        self._held_bytes += len(data)
        if self._held_bytes >= _FLUSH_BYTES:
            self.flush()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._interval, self.flush)

    def flush(self) -> None:
        """Write what is held back."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._held:
            held, self._held = self._held, []
            self._held_bytes = 0
            self._sink.write(b"".join(held))

    def drop(self) -> None:
        """Forget what is held back: the client is gone."""
        self._held = []
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class _Withheld:
    """Takes what is to be written until it is decided whether the client gets it. `ends`: when it must be, at last."""

    __slots__ = ("ends", "is_write_paused", "pieces", "sink")

    def __init__(self, sink: ResponseSink, ends: float) -> None:
        self.sink = sink
        self.ends = ends
        self.is_write_paused = False
        self.pieces: list[bytes] = []

    def write(self, data: bytes) -> None:
        """Keep the bytes."""
        self.pieces.append(data)


def whole_response(context: Context, request: RequestHead, data: bytes) -> WholeResponse | None:
    """Return the response that `data` is, whole and to be passed on as it came; None for what a relay has to judge."""
    if (
        not request.keep_alive
        or request.is_http10
        or request.method == b"HEAD"
        or context.is_draining
        or context.route.clock.is_on_trial
    ):
        return None
    return read_whole_response(data)


class ResponseRelay:
    """Reads one response strictly and passes it on as it came.

    `has_head`: its head is here. `has_begun`: that has been passed on, and no other answer can be given any more.
    `is_complete`: its last byte is here. `keep_alive`: the client's connection can take another request afterwards;
    `must_close`: it cannot, set by the user before the head is here.

    `sent_again` are the refusals for which the request has been sent again, or cannot be; of a streamed one that may
    change while its answer comes, and the user sets it anew. A response that may be one of
    the others is withheld at first. Where it is one, `refusal` says so and it stays withheld; then either the request
    is sent again, and this response is dropped, or it is passed on after all (`let_go`).

    A response whose end only the upstream's close tells is chunked for the client (RFC 9112 section 7.1), so that
    a connection that breaks is not taken for its end; a client of HTTP/1.0 gets it until close instead.
    """

    __slots__ = (
        "_client_framing",
        "_context",
        "_held_back",
        "_reader",
        "_record",
        "_rejection",
        "_request",
        "_sink",
        "_upstream_framing",
        "_withheld",
        "body_bytes",
        "credentials",
        "has_begun",
        "has_head",
        "keep_alive",
        "must_close",
        "refusal",
        "sent_again",
    )

    def __init__(
        self,
        context: Context,
        sink: ResponseSink,
        record: RequestRecord,
        credentials: Credentials,
        *,
        sent_again: frozenset[Refusal],
        upgrade: bytes | None,
    ) -> None:
        self._context = context
        self._sink = sink
        request = self._request = record.request
        self._record = record
        self.sent_again = sent_again
        self.credentials = credentials
        self._reader = ResponseReader(is_head_request=request.method == b"HEAD", upgrade=upgrade)
        self._rejection: RejectionReader | None = None
        self._held_back: HoldBack | None = None
        self._withheld: _Withheld | None = None
        self._upstream_framing = self._client_framing = 0
        self.has_head = False
        self.refusal: Refusal | None = None
        self.has_begun = False
        self.body_bytes = 0
        self.keep_alive = False
        self.must_close = False

    def feed(self, data: bytes) -> None:
        """Take the next bytes from the upstream. Raises UpstreamError where they are not well-formed."""
        reader = self._reader
        reader.feed(data)
        head = None
        if not self.has_head:
            if reader.interim:
                self._pass_interim()
            if reader.head is None:
                return
            head = self._begin(reader.head)
        piece = reader.piece
        if piece is not None:
            if self._upstream_framing < 0:
                piece = self._reframed(piece)
            else:
                self.body_bytes += len(piece)
        if head is not None:
            self._sink.write(head + piece if piece else head)
        elif piece:
            self._sink.write(piece)
        if self._rejection is not None:
            self._rejection.read(reader)
            if self._withheld is not None and (reader.is_complete or self._rejection.is_full):
                self.decide()

    def feed_eof(self, *, is_clean: bool) -> bool:
        """The upstream's connection ended. Return whether the response is complete with it (see `ResponseReader`)."""
        is_complete = self.has_head and self._reader.feed_eof(is_clean=is_clean)
        if is_complete and self._withheld is not None:
            self.decide()
        return is_complete

    @property
    def is_withheld(self) -> bool:
        """Whether the head is here and the client has not got it."""
        return self._withheld is not None

    @property
    def withheld_seconds_left(self) -> float:
        """How long a response that is withheld may wait for more of itself."""
        return 0.0 if self._withheld is None else self._withheld.ends - self._context.clock()

    def decide(self) -> None:
        """Find out whether a response that is withheld is a refusal, from what is here of it; else pass it on."""
        rejection = self._rejection
        refusal = None if rejection is None else rejection.refusal
        # While others are fetched the answer has to wait, for it may be the answer after all; so it must be whole.
        must_be_whole = refusal is Refusal.CREDENTIALS
        is_too_soon = must_be_whole and not self._reader.is_complete
        if rejection is None or refusal is None or refusal in self.sent_again or is_too_soon:
            self.let_go()
            return
        self._conclude_refusal(rejection)
        if refusal is Refusal.CLOCK_SKEW and not self._is_other_time_now():
            self.let_go()
        else:
            self.refusal = refusal

    def _is_other_time_now(self) -> bool:
        """Whether the request would be signed with another time now than it was."""
        guess = self._record.guessed_offset_seconds
        now = self._context.wall_clock() + (self._context.route.clock.offset_seconds if guess is None else guess)
        return abs(now - self._record.signed_at) >= SAME_SECONDS

    def let_go(self) -> None:
        """Pass on what is withheld, and what follows."""
        withheld, self._withheld = self._withheld, None
        if withheld is not None:
            self.refusal = None
            self.has_begun = True
            self._sink = withheld.sink
            self._sink.write(b"".join(withheld.pieces))

    @property
    def is_complete(self) -> bool:
        """Whether the last byte is here."""
        return self._reader.is_complete

    @property
    def switched(self) -> bytes | None:
        """Where the response was 101: the first bytes of the other protocol, which are no part of any response."""
        return self._reader.switched

    @property
    def status(self) -> int:
        """The status code; 0 before the head is there."""
        return 0 if self._reader.head is None else self._reader.head.status

    def may_reuse_connection(self) -> bool:
        """Whether the response is complete, nothing came behind it (else that is logged), and the upstream keeps on."""
        reader = self._reader
        if reader.has_excess:
            _LOG.warning("the upstream sent bytes behind its response; they were dropped, the connection closed")
        return reader.is_complete and reader.head is not None and reader.head.keep_alive and not reader.has_excess

    def end(self) -> None:
        """The response is complete: send the end that the client waits for, where the upstream sent none."""
        if self._upstream_framing == UNTIL_CLOSE and self._client_framing == CHUNKED:
            self._sink.write(b"0\r\n\r\n")
        if self._held_back is not None:
            self._held_back.flush()
        if self._rejection is not None:
            self._conclude_refusal(self._rejection)

    def drop(self) -> None:
        """Forget what is held back or withheld: the client is gone, or cut off, or gets another response."""
        if self._held_back is not None:
            self._held_back.drop()
        if self._withheld is not None:
            self._withheld = None
            self.body_bytes = 0

    def _conclude_refusal(self, rejection: RejectionReader) -> None:
        """Let the clock, or the credentials' store, know of a refusal: once, whatever becomes of the request."""
        self._rejection = None
        rejection.conclude()
        if rejection.refusal is not Refusal.CLOCK_SKEW:
            return
        clock, record, seen = self._context.route.clock, self._record, rejection.seen_offset_seconds
        if rejection.is_guess:
            record.guessed_offset_seconds = clock.guessed(record.offset_seconds, seen)
        else:
            clock.on_refused(record.offset_seconds, seen)

    def _begin(self, head: ResponseHead) -> bytes:
        """The head is here: decide the framing towards the client, and return the head as it gets it."""
        context, request = self._context, self._request
        if head.status == 407 and (proxy := context.route.upstream.forwards_to) is not None:  # noqa: PLR2004
            raise refused_by_proxy(proxy, head.status)  # it is the proxy that wants credentials, not the service
        self.has_head = self.has_begun = True
        if self._reader.switched is not None:
            return head.render(body_length=0, is_http10=False, closes=False)
        if context.limits.flush_interval_seconds:
            self._sink = self._held_back = HoldBack(self._sink, context.limits.flush_interval_seconds)
        if head.status in REFUSING_STATUSES:
            self._suspect(head)
        elif head.status < _FIRST_ERROR:
            self._accept()
        self.keep_alive = request.keep_alive and not context.is_draining and not self.must_close
        framing = self._upstream_framing = self._client_framing = head.body_length
        if framing < 0:
            if request.is_http10:
                self.keep_alive = False
                self._client_framing = UNTIL_CLOSE
            else:
                self._client_framing = CHUNKED
        return head.render(body_length=self._client_framing, is_http10=request.is_http10, closes=not self.keep_alive)

    def _accept(self) -> None:
        clock, record = self._context.route.clock, self._record
        if record.guessed_offset_seconds is not None:
            clock.on_guess_accepted(record.offset_seconds)
        elif clock.is_on_trial:
            clock.on_accepted(record.offset_seconds)

    def _suspect(self, head: ResponseHead) -> None:
        """This may be a refusal: read it, and withhold it where the request could be sent again for that."""
        context = self._context
        self._rejection = rejection_reader(
            head,
            context.route.credentials,
            self.credentials,
            received_at=context.wall_clock(),
            offset_seconds=self._record.offset_seconds,
            is_head_request=self._request.method == b"HEAD",
        )
        if len(self.sent_again) < len(Refusal):
            self.has_begun = False
            self._sink = self._withheld = _Withheld(self._sink, context.clock() + _WITHHELD_SECONDS)

    def _pass_interim(self) -> None:
        for head in self._reader.interim:
            # 100 is for whoever sent Expect, and that was answered here; HTTP/1.0 knows no 1xx.
            if head.status != 100 and not self._request.is_http10:  # noqa: PLR2004
                self._sink.write(head.render(body_length=0, is_http10=False, closes=False))
        self._reader.interim.clear()

    def _reframed(self, piece: bytes) -> bytes:
        if self._upstream_framing == CHUNKED:
            content = self._reader.content or []
            self.body_bytes += sum(map(len, content))
            # As it came, chunk sizes and trailers included; it was read strictly (`ChunkedReader`).
            return piece if self._client_framing == CHUNKED else b"".join(content)
        self.body_bytes += len(piece)
        return b"%x\r\n%b\r\n" % (len(piece), piece) if self._client_framing == CHUNKED else piece
