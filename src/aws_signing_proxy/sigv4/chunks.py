"""Chunks that are signed one by one: the content coding `aws-chunked` as it is written.

AWS, Amazon S3 API Reference, "Signature Calculations for the Authorization Header: Transferring Payload in Multiple
Chunks" and "Signature calculations for trailing headers": the request's own signature is the seed; each chunk is signed
together with the signature before it; the chunk of no bytes is the last, and the trailers, where there are any, are
signed as a chunk of their own. A chunk's signature stands before its bytes, so a chunk is held until its last byte is
here, and nothing else of the body is.
"""

from __future__ import annotations

from binascii import hexlify
from hashlib import sha256

from aws_signing_proxy.sigv4.keyed_hmac import KeyedHmac

__all__ = ["CHUNK_BYTES", "STREAMING", "STREAMING_TRAILER", "ChunkEncoder", "ChunkSigner", "encoded_length"]

STREAMING = b"STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
"""X-Amz-Content-Sha256 of a body in signed chunks."""
STREAMING_TRAILER = b"STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
"""The same, with signed trailers behind them."""

CHUNK_BYTES = 64 * 1024
"""The size of the chunks that are made here; AWS wants at least 8 KiB (but for the last), and recommends 64 KiB."""

_EMPTY_SHA256 = sha256(b"").hexdigest().encode()
_SIGNATURE_BYTES = 64
# What stands around a chunk's bytes beside the digits of its size.
_FRAME_BYTES = len(b";chunk-signature=") + _SIGNATURE_BYTES + len(b"\r\n") + len(b"\r\n")


class ChunkSigner:
    """The chain of signatures of one body.

    `keyed_hmac` is made with the signing key, `scope` is the second part of what each string to sign begins with (date
    and time, LF, credential scope), `seed` is the signature of the request's head.
    """

    __slots__ = ("_chunk_head", "_keyed_hmac", "_previous", "_trailer_head")

    def __init__(self, keyed_hmac: KeyedHmac, scope: bytes, seed: bytes) -> None:
        self._keyed_hmac = keyed_hmac
        self._chunk_head = b"AWS4-HMAC-SHA256-PAYLOAD\n" + scope + b"\n"
        self._trailer_head = b"AWS4-HMAC-SHA256-TRAILER\n" + scope + b"\n"
        self._previous = seed

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"

    def sign_chunk(self, data_sha256: bytes) -> bytes:
        """Return the signature of the next chunk, whose bytes have this SHA-256 (hexadecimal)."""
        return self._sign(self._chunk_head + self._previous + b"\n" + _EMPTY_SHA256 + b"\n" + data_sha256)

    def sign_trailers(self, canonical_trailers: bytes) -> bytes:
        r"""Return the signature of the trailers: `name:value\n` for each, in lower case, trimmed, in order of arrival.

        It comes behind the signature of the last chunk.
        """
        digest = sha256(canonical_trailers).hexdigest().encode()
        return self._sign(self._trailer_head + self._previous + b"\n" + digest)

    def _sign(self, to_sign: bytes) -> bytes:
        self._previous = hexlify(self._keyed_hmac.digest(to_sign))
        return self._previous


def encoded_length(decoded_length: int, chunk_bytes: int = CHUNK_BYTES) -> int:
    """Return the length of `decoded_length` bytes in signed chunks of `chunk_bytes` each, without trailers."""
    whole, rest = divmod(decoded_length, chunk_bytes)
    length = whole * (_size_digits(chunk_bytes) + _FRAME_BYTES) + decoded_length
    if rest:
        length += _size_digits(rest) + _FRAME_BYTES
    return length + _size_digits(0) + _FRAME_BYTES


def _size_digits(size: int) -> int:
    return len(b"%x" % size)


class ChunkEncoder:
    """Encodes a body piece by piece, in chunks of CHUNK_BYTES; only the last may be shorter."""

    __slots__ = ("_held", "_signer")

    def __init__(self, signer: ChunkSigner) -> None:
        self._signer = signer
        # One growing buffer, not a list of pieces: of tiny ones each would take many times its size.
        self._held = bytearray()

    @property
    def held_bytes(self) -> int:
        """How many bytes of the chunk that is not complete yet are held."""
        return len(self._held)

    def encode(self, piece: bytes) -> bytes:
        """Take the next piece; return the chunks that are complete with it."""
        missing = CHUNK_BYTES - len(self._held)
        if len(piece) < missing:
            self._held += piece
            return b""
        parts: list[bytes | bytearray | memoryview] = []
        with memoryview(piece) as view:
            position = 0
            if self._held:
                held, self._held = self._held, bytearray()
                self._append_chunk(parts, held, view[:missing])
                position = missing
            while len(piece) - position >= CHUNK_BYTES:
                self._append_chunk(parts, view[position : position + CHUNK_BYTES])
                position += CHUNK_BYTES
            self._held += view[position:]
            return b"".join(parts)

    def finish(self) -> bytes:
        """The last piece has been taken: return the rest, with the chunk of no bytes."""
        parts: list[bytes | bytearray | memoryview] = []
        if self._held:
            held, self._held = self._held, bytearray()
            self._append_chunk(parts, held)
        self._append_chunk(parts)
        return b"".join(parts)

    def _append_chunk(
        self, parts: list[bytes | bytearray | memoryview], *pieces: bytes | bytearray | memoryview
    ) -> None:
        digest = sha256()
        for piece in pieces:
            digest.update(piece)
        signature = self._signer.sign_chunk(digest.hexdigest().encode())
        parts.append(b"%x;chunk-signature=%b\r\n" % (sum(map(len, pieces)), signature))
        parts += pieces
        parts.append(b"\r\n")
