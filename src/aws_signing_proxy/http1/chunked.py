"""The chunked transfer coding, read strictly (RFC 9112 section 7.1).

llhttp could decode it too, but does not say at which byte the body ends, and with bytes of a next message
behind it that is the one thing to know for certain. The tests hold this reader against llhttp: it never
accepts what llhttp refuses, and finds the same content.
"""

from __future__ import annotations

import re
from enum import Enum

from aws_signing_proxy.http1.fields import fields_problem

__all__ = ["MAX_CHUNK_LINE_BYTES", "MAX_TRAILER_BYTES", "ChunkedError", "ChunkedReader"]

MAX_CHUNK_LINE_BYTES = 1024
MAX_TRAILER_BYTES = 16 * 1024
_LINE_END_BYTES = 2

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_QUOTED = rb'"(?:[\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t\x20-\x7e\x80-\xff])*"'
# Sixteen digits would pass 2**63; white space around the size or in extensions is what smugglers use.
_SIZE_LINE = re.compile(rb"([0-9A-Fa-f]{1,15})(?:;" + _TOKEN + rb"(?:=(?:" + _TOKEN + rb"|" + _QUOTED + rb"))?)*")
_FRAMING_TRAILER = re.compile(rb"^(?:content-length|transfer-encoding|host):", re.IGNORECASE | re.MULTILINE)
_START_LINE_FOR_LLHTTP = b"HTTP/1.1 200 OK\r\n"


class ChunkedError(ValueError):
    """The bytes are not a well-formed chunked body; the message says why."""


class _Line(Enum):
    """What the next line of a chunked body is."""

    SIZE = "the size of a chunk"
    AFTER_CHUNK = "the end of a chunk"
    TRAILER = "a line of the trailers, or their end"


class ChunkedReader:
    """Reads a chunked body piece by piece.

    `feed` returns how many bytes of the piece belong to the body; `content` collects the decoded bytes as
    slices (the caller takes and clears it); `is_complete` turns true with the last byte of the trailers.
    """

    __slots__ = ("_chunk_left", "_line", "_line_limit", "_next_line", "content", "is_complete")

    def __init__(self) -> None:
        self.content: list[memoryview] = []
        self.is_complete = False
        self._chunk_left = 0
        self._line = b""
        self._line_limit = MAX_CHUNK_LINE_BYTES
        # Not a bound method: the cycle would keep the last read alive until the garbage collector comes by.
        self._next_line = _Line.SIZE

    def feed(self, piece: bytes) -> int:
        """Read `piece`; return the number of its bytes that belong to this body. Raises ChunkedError."""
        view = memoryview(piece)
        position = 0
        length = len(piece)
        while position < length and not self.is_complete:
            if self._chunk_left:
                end = min(length, position + self._chunk_left)
                self.content.append(view[position:end])
                self._chunk_left -= end - position
                position = end
                continue
            position = self._take_line(piece, position)
        return position

    def _take_line(self, piece: bytes, position: int) -> int:
        line_end = piece.find(b"\n", position)
        if line_end < 0:
            self._line += piece[position:]
            self._check_line_length()
            return len(piece)
        line = self._line + piece[position : line_end + 1]
        self._line = line
        self._check_line_length()
        if line[-2:] != b"\r\n":
            msg = "a line of the chunked body ends with a bare LF"
            raise ChunkedError(msg)
        # A trailer section grows in `_line` until its empty line; the other lines are done at once.
        self._line = b""
        match self._next_line:
            case _Line.SIZE:
                self._on_size_line(line)
            case _Line.AFTER_CHUNK:
                # It is CRLF: anything longer is over the limit of two bytes, and a line without CR has been refused.
                self._next_line = _Line.SIZE
                self._line_limit = MAX_CHUNK_LINE_BYTES
            case _Line.TRAILER:
                self._on_trailer_line(line)
        return line_end + 1

    def _check_line_length(self) -> None:
        if len(self._line) > self._line_limit:
            if self._line_limit == _LINE_END_BYTES:
                msg = "a chunk is longer than its size says"
            else:
                msg = f"a chunk's size line or the trailers are longer than {self._line_limit} bytes"
            raise ChunkedError(msg)

    def _on_size_line(self, line: bytes) -> None:
        match = _SIZE_LINE.fullmatch(line, 0, len(line) - 2)
        if match is None:
            msg = "a chunk's size line is not a hexadecimal number with well-formed extensions"
            raise ChunkedError(msg)
        self._chunk_left = int(match[1], 16)
        if self._chunk_left:
            self._next_line = _Line.AFTER_CHUNK
            self._line_limit = _LINE_END_BYTES
        else:
            self._next_line = _Line.TRAILER
            self._line_limit = MAX_TRAILER_BYTES

    def _on_trailer_line(self, line: bytes) -> None:
        if not line.endswith(b"\r\n\r\n") and line != b"\r\n":
            self._line = line
            return
        block = line[:-2]
        problem = fields_problem(_START_LINE_FOR_LLHTTP, block)
        if problem is None and _FRAMING_TRAILER.search(block):
            problem = "a framing field stands among the trailers"
        if problem is not None:
            msg = f"the trailers are not well-formed: {problem}"
            raise ChunkedError(msg)
        self.is_complete = True
