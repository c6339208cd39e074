"""What becomes of a streamed body's bytes between the client and the upstream."""

from __future__ import annotations

from hashlib import sha256
from typing import Protocol

from aws_signing_proxy.http1.aws_chunked import AwsChunkedReader
from aws_signing_proxy.sigv4.chunks import ChunkSigner

__all__ = ["BodyEncoder", "ChunkResigner", "TransferChunks", "Verbatim"]


class BodyEncoder(Protocol):
    """Turns the pieces of a body as they come into those that are sent."""

    @property
    def held_bytes(self) -> int:
        """How many bytes it keeps until more have come."""

    def encode(self, piece: bytes) -> bytes:
        """Take the next piece, return what is to be sent. Raises DownstreamError where the body is not well-formed."""

    def finish(self) -> bytes:
        """The last piece has been taken: return the end. Raises DownstreamError where that is no end."""


class Verbatim:
    """Nothing is changed."""

    held_bytes = 0

    def encode(self, piece: bytes) -> bytes:
        """Return the piece (see `BodyEncoder`)."""
        return piece

    def finish(self) -> bytes:
        """Return nothing (see `BodyEncoder`)."""
        return b""


class TransferChunks:
    """Frames what another encoder makes as chunks of HTTP (RFC 9112 section 7.1), for bodies of unknown length."""

    __slots__ = ("_inner",)

    def __init__(self, inner: BodyEncoder) -> None:
        self._inner = inner

    @property
    def held_bytes(self) -> int:
        """How many bytes the other one keeps (see `BodyEncoder`)."""
        return self._inner.held_bytes

    def encode(self, piece: bytes) -> bytes:
        """Return one chunk (see `BodyEncoder`)."""
        encoded = self._inner.encode(piece)
        return b"%x\r\n%b\r\n" % (len(encoded), encoded) if encoded else b""

    def finish(self) -> bytes:
        """Return the rest and the last chunk (see `BodyEncoder`)."""
        encoded = self._inner.finish()
        return (b"%x\r\n%b\r\n" % (len(encoded), encoded) if encoded else b"") + b"0\r\n\r\n"


class ChunkResigner:
    """Signs chunks that a client has signed anew, and their trailers; every size stays what it was."""

    __slots__ = ("_reader", "_signer")

    def __init__(self, reader: AwsChunkedReader, signer: ChunkSigner) -> None:
        self._reader = reader
        self._signer = signer

    @property
    def held_bytes(self) -> int:
        """How many bytes of a chunk that is not complete are kept (see `BodyEncoder`)."""
        return self._reader.held_bytes

    def encode(self, piece: bytes) -> bytes:
        """Return the chunks that are complete (see `BodyEncoder`)."""
        reader = self._reader
        reader.feed(piece)
        parts: list[bytes | bytearray | memoryview] = []
        for chunk in reader.chunks:
            signature = self._signer.sign_chunk(sha256(chunk.data).hexdigest().encode())
            parts.append(b"%b;chunk-signature=%b\r\n" % (chunk.size_digits, signature))
            # Behind the last chunk there is either CRLF, or trailers.
            if chunk.data or not reader.has_trailers:
                parts += (chunk.data, b"\r\n")
        reader.chunks.clear()
        if reader.is_complete and reader.trailers:
            parts.append(self._signed_trailers())
        return b"".join(parts)

    def finish(self) -> bytes:
        """Return nothing: the end has been sent with the last chunk (see `BodyEncoder`)."""
        self._reader.finish()
        return b""

    def _signed_trailers(self) -> bytes:
        *trailers, own = self._reader.trailers
        self._reader.trailers = []
        canonical = b"".join([b"%b:%b\n" % (trailer.name, trailer.value) for trailer in trailers])
        lines = [trailer.line for trailer in trailers]
        lines.append(own.line.replace(own.value, self._signer.sign_trailers(canonical)))
        return b"".join(lines) + b"\r\n"
