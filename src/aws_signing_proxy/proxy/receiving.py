"""A request body on its way in: from the framing on the wire to a `ReceivedBody`."""

from __future__ import annotations

from aws_signing_proxy.errors import DownstreamError, ErrorCode
from aws_signing_proxy.http1.chunked import ChunkedError, ChunkedReader
from aws_signing_proxy.http1.request import CHUNKED, RequestHead
from aws_signing_proxy.proxy.body import ReceivedBody

__all__ = ["BodyReceiver"]


class BodyReceiver:
    """Takes the bytes behind a head until the body is whole."""

    __slots__ = ("_chunked", "_left", "body", "is_whole")

    def __init__(self, request: RequestHead, body: ReceivedBody) -> None:
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
            # Joined: a slice would keep the whole read alive while the body is held.
            self.body.add(b"".join(content))
        self.is_whole = chunked.is_complete
        return data[used:]
