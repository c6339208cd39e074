"""One connection's TLS in memory, instead of the event loop's own: an `ssl.SSLObject` with reads of one TLS record.

Towards the upstream the event loop's cost more than everything else on a request's path: uvloop's read into a new
256 KiB buffer each time, which the C library mapped and unmapped (101 µs a request against 35 to 39 µs, measured on a
prototype). Towards clients it is memory that counts: docs/decisions/0010-tls-in-memory.md.
"""

from __future__ import annotations

import contextlib
import ssl

__all__ = ["TlsEngine"]

_RECORD_BYTES = 16384  # RFC 8446 section 5.1: the most that one record carries
# More than this is passed through the BIOs piece by piece: a BIO keeps the size it once had, and a socket's read
# may bring 256 KiB.
_SLICE_BYTES = 4 * _RECORD_BYTES


class TlsEngine:
    """One connection's TLS: encrypted bytes in and out, plain bytes in and out, no socket.

    `is_closed_cleanly` turns true with the peer's close_notify; without it the end of the connection may be
    an attacker's (RFC 8446 section 6.1), and a body that ends with the connection counts as cut off. `has_begun`: the
    handshake has.
    """

    __slots__ = ("_incoming", "_outgoing", "_tls", "has_begun", "is_closed_cleanly", "is_established")

    def __init__(
        self,
        context: ssl.SSLContext,
        *,
        is_server: bool = False,
        server_name: str | None = None,
        session: ssl.SSLSession | None = None,
    ) -> None:
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(
            self._incoming, self._outgoing, server_side=is_server, server_hostname=server_name, session=session
        )
        self.has_begun = False
        self.is_established = False
        self.is_closed_cleanly = False

    @property
    def was_resumed(self) -> bool:
        """Whether the handshake resumed an earlier session."""
        return bool(self._tls.session_reused)

    def handshake(self, data: bytes = b"") -> tuple[bytes, bool]:
        """Take the peer's handshake bytes; return ours, and whether the handshake is done. Raises ssl.SSLError."""
        self.has_begun = True
        self._incoming.write(data)
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return self._outgoing.read(), False
        self.is_established = True
        return self._outgoing.read(), True

    def take_alert(self) -> bytes:
        """Return what is to be sent after a failure: the alert that tells the peer why."""
        return self._outgoing.read()

    def decrypt(self, data: bytes) -> bytes:
        """Take encrypted bytes; return the plain bytes that are complete. Raises ssl.SSLError."""
        pieces: list[bytes] = []
        if len(data) <= _SLICE_BYTES:
            self._read(data, pieces)
        else:
            view = memoryview(data)
            for start in range(0, len(data), _SLICE_BYTES):
                self._read(view[start : start + _SLICE_BYTES], pieces)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _read(self, data: bytes | memoryview, pieces: list[bytes]) -> None:
        incoming, tls = self._incoming, self._tls
        if data:
            incoming.write(data)
        try:
            while True:
                piece = tls.read(_RECORD_BYTES)
                if not piece:
                    self.is_closed_cleanly = True
                    break
                pieces.append(piece)
                # An SSLWantReadError costs 3 µs; with nothing left in either buffer it would be certain.
                if not incoming.pending and not tls.pending():
                    break
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self.is_closed_cleanly = True

    def encrypt(self, data: bytes | bytearray | memoryview) -> bytes:
        """Take plain bytes; return them encrypted, with whatever the protocol itself has to send."""
        if len(data) <= _SLICE_BYTES:
            self._tls.write(data)
            return self._outgoing.read()
        view = memoryview(data)
        pieces: list[bytes] = []
        for start in range(0, len(data), _SLICE_BYTES):
            self._tls.write(view[start : start + _SLICE_BYTES])
            pieces.append(self._outgoing.read())
        return b"".join(pieces)

    def take_pending(self) -> bytes:
        """Return what the protocol itself has to send (answers to key updates); mostly nothing."""
        return self._outgoing.read() if self._outgoing.pending else b""

    def keep_session(self) -> None:
        """Remember the session for the next connection, where there is somebody who remembers."""

    def close_notify(self) -> bytes:
        """Return the goodbye that tells the peer that nothing was cut off."""
        # It wants the peer's goodbye too, or the connection is broken; ours is written if it can be.
        with contextlib.suppress(ssl.SSLError):
            self._tls.unwrap()
        return self._outgoing.read()
