"""A request on its way in: where its head ends, and its body from the framing on the wire to whoever takes it."""

from __future__ import annotations

from enum import Enum

from aws_signing_proxy.errors import DownstreamError, ErrorCode
from aws_signing_proxy.http1.chunked import ChunkedError, ChunkedReader
from aws_signing_proxy.http1.request import CHUNKED, RequestHead, early_head_problem, without_empty_lines
from aws_signing_proxy.proxy.body import ReceivedBody
from aws_signing_proxy.proxy.context import Context
from aws_signing_proxy.proxy.limit_errors import body_too_large, head_too_large
from aws_signing_proxy.proxy.streaming import StreamedBody

__all__ = ["BodyReceiver", "Reads", "cut_head"]


class Reads(Enum):
    """What the next bytes from a client are."""

    HEAD = "head"
    BODY = "body"
    NOTHING = "nothing, an answer is due"
    TUNNEL = "what the service reads after a 101"
    REMAINS = "what is thrown away until it closes"


def cut_head(kept: bytes, data: bytes, context: Context) -> tuple[bytes, bytes]:
    """Return the head at the beginning of `kept` + `data`, and what is behind it.

    An empty head: it is not all here yet, and the rest is to be kept. Raises DownstreamError for a head that is
    too large, or that can never become a valid one.
    """
    searched = 0
    if kept:
        searched = max(0, len(kept) - 3)
        data = kept + data
    if data[:2] == b"\r\n":
        data = without_empty_lines(data)
    end = data.find(b"\r\n\r\n", searched)
    max_head_bytes = context.limits.max_head_bytes
    if end > max_head_bytes or (end < 0 and len(data) > max_head_bytes):
        raise head_too_large(context)
    if end >= 0:
        return data[: end + 4], data[end + 4 :]
    problem = early_head_problem(data, searched)
    if problem is not None:
        raise problem
    return b"", data


class BodyReceiver:
    """Takes the bytes behind a head until the body is whole."""

    __slots__ = ("_chunked", "_context", "_left", "body", "is_whole")

    def __init__(self, context: Context, request: RequestHead, body: ReceivedBody | StreamedBody) -> None:
        self._context = context
        self.body = body
        self.is_whole = False
        self._chunked = ChunkedReader() if request.body_length == CHUNKED else None
        self._left = request.body_length

    def feed(self, data: bytes) -> bytes:
        """Take the next bytes; return those that belong to the next request. Raises DownstreamError."""
        if self._chunked is not None:
            return self._feed_chunked(self._chunked, data)
        rest = b""
        if len(data) > self._left:
            data, rest = data[: self._left], data[self._left :]
        self._left -= len(data)
        self.is_whole = self._left == 0
        if data:
            self.body.add(data)
        return rest

    def _feed_chunked(self, chunked: ChunkedReader, data: bytes) -> bytes:
        try:
            used = chunked.feed(data)
        except ChunkedError as error:
            raise DownstreamError(
                ErrorCode.AMBIGUOUS_FRAMING, f"The request's chunked body is not well-formed: {error}."
            ) from error
        content, chunked.content = chunked.content, []
        if content:
            if self.body.size + sum(map(len, content)) > self._context.limits.max_body_bytes:
                raise body_too_large(self._context)
            # Joined: a slice would keep the whole read alive while the body is held.
            self.body.add(b"".join(content))
        self.is_whole = chunked.is_complete
        return data[used:]
