r"""The content coding `aws-chunked` with signed chunks, read strictly.

It looks like the chunked transfer coding, but it is part of the content: a server that does not decode it stores it.
Its form is AWS's (S3 API Reference, "Transferring Payload in Multiple Chunks" and "Including trailing headers"): each
chunk has exactly one extension, its signature; the chunk of no bytes is followed by CRLF, or by the trailers, whose
last is their signature.

Who signs the chunks anew needs a chunk as a whole before anything of it can go on, so the reader gives whole chunks,
and refuses those that are larger than can be held.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from aws_signing_proxy.errors import DownstreamError, ErrorCode

__all__ = ["AwsChunkedReader", "Chunk", "Trailer"]

_SIZE_LINE = re.compile(rb"(0|[1-9A-Fa-f][0-9A-Fa-f]{0,14});chunk-signature=[0-9A-Fa-f]{64}\r\n")
_MAX_SIZE_LINE_BYTES = 15 + len(b";chunk-signature=") + 64 + 2
_TRAILER_LINE = re.compile(
    rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*((?:[\x21-\x7e\x80-\xff](?:[\t\x20-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?)?)"
    rb"[ \t]*(\r\n|\n\r\n|\n)"
)
_TRAILER_SIGNATURE = b"x-amz-trailer-signature"
_SIGNATURE = re.compile(rb"[0-9A-Fa-f]{64}")
_MAX_TRAILER_BYTES = 16 * 1024


class Chunk(NamedTuple):
    """A whole chunk. `size_digits`: its size as the client wrote it; `data` is empty in the last one."""

    size_digits: bytes
    data: bytes | bytearray | memoryview


class Trailer(NamedTuple):
    """A trailer. `line`: as it came, with its end; `name` in lower case and `value` trimmed, as they are signed."""

    line: bytes
    name: bytes
    value: bytes


class AwsChunkedReader:
    """Reads an `aws-chunked` body with signed chunks piece by piece.

    `decoded_length`: what X-Amz-Decoded-Content-Length says; `trailer_names`: in lower case, those that X-Amz-Trailer
    announces, None where the payload mode has no trailers; `max_chunk_bytes`: the most that a chunk may have.
    After each `feed`, `chunks` are those that are complete; the caller takes and clears them. When `is_complete` turns
    true, `trailers` are there, their signature last.
    """

    __slots__ = (
        "_chunk",
        "_decoded_left",
        "_is_ended",
        "_is_in_trailers",
        "_line",
        "_max_chunk_bytes",
        "_missing",
        "_size_digits",
        "_trailer_bytes",
        "_trailer_names",
        "chunks",
        "is_complete",
        "trailers",
    )

    def __init__(self, *, decoded_length: int, trailer_names: frozenset[bytes] | None, max_chunk_bytes: int) -> None:
        self._decoded_left = decoded_length
        self._trailer_names = trailer_names
        self._max_chunk_bytes = max_chunk_bytes
        self._line = b""
        self._chunk = bytearray()
        # Of the chunk that is being read, with its CRLF; 0 between chunks.
        self._missing = 0
        self._size_digits = b""
        self._is_ended = False
        self._is_in_trailers = False
        self._trailer_bytes = 0
        self.chunks: list[Chunk] = []
        self.trailers: list[Trailer] = []
        self.is_complete = False

    @property
    def has_trailers(self) -> bool:
        """Whether the payload mode is one with trailers."""
        return self._trailer_names is not None

    @property
    def held_bytes(self) -> int:
        """How many bytes of the chunk that is not complete yet are held."""
        return len(self._chunk)

    def feed(self, piece: bytes | memoryview) -> None:
        """Read the next bytes of the body. Raises DownstreamError where they are not well-formed."""
        data = bytes(piece)
        position = 0
        while position < len(data):
            if self.is_complete:
                raise _malformed("there are bytes behind its end")
            position = self._take_data(data, position) if self._missing else self._take_line(data, position)

    def finish(self) -> None:
        """The body is over. Raises DownstreamError where that is not its end."""
        if not self.is_complete:
            raise _malformed("it ends before its last chunk")

    def _take_data(self, data: bytes, position: int) -> int:
        end = min(len(data), position + self._missing)
        view = memoryview(data)[position:end]
        if self._chunk or len(view) < self._missing:
            self._chunk += view
        self._missing -= len(view)
        if not self._missing:
            # Whole in this piece, as most are: not copied.
            self._end_chunk(memoryview(self._chunk) if self._chunk else view)
            self._chunk = bytearray()
        return end

    def _end_chunk(self, chunk: memoryview) -> None:
        if bytes(chunk[-2:]) != b"\r\n":
            raise _malformed("a chunk is longer or shorter than its size says")
        self.chunks.append(Chunk(self._size_digits, chunk[:-2]))
        if self._is_ended:
            self.is_complete = True

    def _take_line(self, data: bytes, position: int) -> int:
        line_end = data.find(b"\n", position)
        limit = _MAX_TRAILER_BYTES if self._is_in_trailers else _MAX_SIZE_LINE_BYTES
        end = len(data) if line_end < 0 else line_end + 1
        if len(self._line) + end - position > limit:
            raise _malformed(f"a line in it is longer than {limit} bytes")
        self._line += data[position:end]
        # A trailer may end with LF CR LF: AWS's own example does, and clients that were written after it. Of several
        # (minio-go) all but the last end with LF alone, and come here together.
        if line_end >= 0 and self._line.endswith(b"\r\n"):
            line, self._line = self._line, b""
            if self._is_in_trailers:
                self._on_trailer_line(line)
            else:
                self._on_size_line(line)
        elif line_end >= 0 and not self._is_in_trailers:
            raise _malformed("a chunk's first line ends with a bare LF")
        return end

    def _on_size_line(self, line: bytes) -> None:
        match = _SIZE_LINE.fullmatch(line)
        if match is None:
            raise _malformed("a chunk's first line is not its size and its signature")
        self._size_digits = match[1]
        size = int(match[1], 16)
        if size > self._decoded_left:
            raise _malformed("it holds more bytes than X-Amz-Decoded-Content-Length says")
        if size > self._max_chunk_bytes:
            raise DownstreamError(
                ErrorCode.PAYLOAD_NOT_SUPPORTED,
                f"A signed chunk of {size} bytes is larger than the {self._max_chunk_bytes} that are held for one body "
                "(ASP_BODY_MEMORY_LIMIT). Let the client send smaller chunks.",
            )
        self._decoded_left -= size
        if size:
            self._missing = size + 2
            return
        self._is_ended = True
        if self._decoded_left:
            raise _malformed("it holds fewer bytes than X-Amz-Decoded-Content-Length says")
        if self._trailer_names is None:
            self._missing = 2
        else:
            self.chunks.append(Chunk(self._size_digits, b""))
            self._is_in_trailers = True

    def _on_trailer_line(self, line: bytes) -> None:
        self._trailer_bytes += len(line)
        if self._trailer_bytes > _MAX_TRAILER_BYTES:
            raise _malformed(f"its trailers are longer than {_MAX_TRAILER_BYTES} bytes")
        if line == b"\r\n":
            self._end_trailers()
            return
        position = 0
        while position < len(line):
            match = _TRAILER_LINE.match(line, position)
            if match is None or (position and match[3] == b"\r\n"):
                raise _malformed("a trailer is not a name, a colon and a value")
            position = match.end()
            self._add_trailer(match)

    def _add_trailer(self, match: re.Match[bytes]) -> None:
        if self.trailers and self.trailers[-1].name == _TRAILER_SIGNATURE:
            raise _malformed("a trailer comes behind the trailers' signature")
        name = match[1].lower()
        assert self._trailer_names is not None
        if name == _TRAILER_SIGNATURE:
            if _SIGNATURE.fullmatch(match[2]) is None:
                raise _malformed("the trailers' signature is not 64 hexadecimal digits")
        elif name not in self._trailer_names:
            raise _malformed("it has a trailer that X-Amz-Trailer does not announce")
        elif any(name == trailer.name for trailer in self.trailers):
            raise _malformed("a trailer occurs twice")
        self.trailers.append(Trailer(match[0], name, match[2]))

    def _end_trailers(self) -> None:
        if not self.trailers or self.trailers[-1].name != _TRAILER_SIGNATURE:
            raise _malformed("its trailers are not signed")
        assert self._trailer_names is not None
        if len(self.trailers) - 1 != len(self._trailer_names):
            raise _malformed("a trailer that X-Amz-Trailer announces is missing")
        self.is_complete = True


def _malformed(problem: str) -> DownstreamError:
    return DownstreamError(ErrorCode.MALFORMED_PAYLOAD, f"The body is not well-formed aws-chunked: {problem}.")
