"""Cuts the bytes of one upstream connection into the response to one request."""

from __future__ import annotations

from aws_signing_proxy.http1.chunked import ChunkedError, ChunkedReader
from aws_signing_proxy.http1.fields import BARE_LINE_END
from aws_signing_proxy.http1.response import (
    CHUNKED,
    MAX_RESPONSE_HEAD_BYTES,
    UNTIL_CLOSE,
    ResponseHead,
    malformed,
    parse_response_head,
)

__all__ = ["MAX_INTERIM_HEADS", "ResponseReader"]

MAX_INTERIM_HEADS = 16
"""1xx heads before one response. Each is passed on at once: without a bound they could fill the memory."""


class ResponseReader:
    """Reads one response: interim heads, the head, the body, and where it ends.

    After each `feed`: `interim` holds 1xx heads that arrived, `head` the final head once it is there, `piece`
    the bytes of the body in that feed as they stood on the wire (chunk framing included; None when there are none),
    `content` the same without framing where the body is chunked. `is_complete` turns true with the last byte;
    `has_excess` when bytes came behind it, which belong to nobody: the connection must not be used again.

    `upgrade`: the protocol that the request asked for, if any. Where the head is a 101 the connection speaks that from
    there on: `switched` are the first bytes of it, None without a 101; the reader is not fed any more.
    """

    __slots__ = (
        "_buffer",
        "_chunked",
        "_interim_heads",
        "_is_head_request",
        "_left",
        "_upgrade",
        "content",
        "has_excess",
        "head",
        "interim",
        "is_complete",
        "piece",
        "switched",
    )

    def __init__(self, *, is_head_request: bool, upgrade: bytes | None = None) -> None:
        self._is_head_request = is_head_request
        self._upgrade = upgrade
        self._buffer = b""
        self._left = 0
        self._interim_heads = 0
        self._chunked: ChunkedReader | None = None
        self.head: ResponseHead | None = None
        self.interim: list[ResponseHead] = []
        self.piece: bytes | None = None
        self.content: list[memoryview] | None = None
        self.is_complete = False
        self.has_excess = False
        self.switched: bytes | None = None

    def feed(self, data: bytes) -> None:
        """Take the next bytes of the connection. Raises UpstreamError where they are not well-formed."""
        self.piece = None
        if self.head is None:
            data = self._feed_head(data)
            if not data:
                return
        if self.is_complete:
            self.has_excess = True
        elif self._chunked is not None:
            self._feed_chunked(data)
        elif self._left == UNTIL_CLOSE:
            self.piece = data
        else:
            self._feed_counted(data)

    def feed_eof(self, *, is_clean: bool) -> bool:
        """The connection ended. Return whether the response is complete with it.

        `is_clean`: it ended by the protocol's own goodbye (FIN, and close_notify with TLS), not by a reset.
        """
        if self._left == UNTIL_CLOSE and is_clean:
            self.is_complete = True
        return self.is_complete

    def _feed_head(self, data: bytes) -> bytes:
        """Read heads from `data`; return the bytes behind the final one (empty while it is not there)."""
        searched = max(0, len(self._buffer) - 3)
        if self._buffer:
            data = self._buffer + data
            self._buffer = b""
        while True:
            end = data.find(b"\r\n\r\n", searched)
            if end < 0:
                return self._keep_incomplete(data, searched)
            _check_head_length(end + 4)
            head = parse_response_head(data[: end + 4], is_head_request=self._is_head_request, upgrade=self._upgrade)
            data = data[end + 4 :]
            searched = 0
            if not head.is_interim:
                break
            self._interim_heads += 1
            if self._interim_heads > MAX_INTERIM_HEADS:
                raise malformed(f"more than {MAX_INTERIM_HEADS} interim (1xx) heads came before it")
            self.interim.append(head)
        if head.status == 101:  # noqa: PLR2004 - RFC 9110 section 15.2.2
            self.head = head
            self.switched = data
            return b""
        self._begin_body(head)
        return data

    def _keep_incomplete(self, data: bytes, searched: int) -> bytes:
        _check_head_length(len(data))
        if data and not (data.startswith(b"HTTP/1.") or b"HTTP/1.".startswith(data)):
            raise malformed("it does not begin with HTTP/1.")
        if BARE_LINE_END.search(data, searched):
            raise malformed("its lines do not end with CRLF")
        self._buffer = data
        return b""

    def _begin_body(self, head: ResponseHead) -> None:
        self.head = head
        self._left = head.body_length
        if self._left == CHUNKED:
            self._chunked = ChunkedReader()
        elif self._left == 0:
            self.is_complete = True

    def _feed_counted(self, data: bytes) -> None:
        left = self._left - len(data)
        if left <= 0:
            self.is_complete = True
            if left < 0:
                self.has_excess = True
                data = data[: self._left]
            left = 0
        self._left = left
        self.piece = data

    def _feed_chunked(self, data: bytes) -> None:
        chunked = self._chunked
        assert chunked is not None
        try:
            used = chunked.feed(data)
        except ChunkedError as error:
            raise malformed(str(error)) from error
        self.content, chunked.content = chunked.content, []
        self.is_complete = chunked.is_complete
        if used < len(data):
            self.has_excess = True
            data = data[:used]
        self.piece = data


def _check_head_length(length: int) -> None:
    if length > MAX_RESPONSE_HEAD_BYTES:
        raise malformed(f"its head is longer than {MAX_RESPONSE_HEAD_BYTES} bytes")
