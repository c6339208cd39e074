"""The service's side of a TLS connection, in memory."""

from __future__ import annotations

import contextlib
import ssl

from aws_signing_proxy.tls.engine import TlsEngine

__all__ = ["TlsServer"]


class TlsServer:
    """A server's end: encrypted bytes in and out, plain bytes in and out."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self.tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)

    def answer(self, data: bytes) -> bytes:
        """Take handshake bytes, return the server's."""
        self._incoming.write(data)
        with contextlib.suppress(ssl.SSLWantReadError):
            self.tls.do_handshake()
        return self._outgoing.read()

    def encrypt(self, data: bytes) -> bytes:
        """Return `data` as TLS records."""
        self.tls.write(data)
        return self._outgoing.read()

    def decrypt(self, data: bytes) -> bytes:
        """Return the plain bytes of TLS records."""
        self._incoming.write(data)
        plain = b""
        with contextlib.suppress(ssl.SSLWantReadError, ssl.SSLZeroReturnError):
            while piece := self.tls.read(65536):
                plain += piece
        return plain

    def goodbye(self) -> bytes:
        """Return the server's close_notify."""
        with contextlib.suppress(ssl.SSLError):
            self.tls.unwrap()
        return self._outgoing.read()

    def shake_hands_with(self, engine: TlsEngine) -> bytes:
        """Finish the handshake; return what the server has sent beyond it (the tickets of TLS 1.3)."""
        from_client, is_done = engine.handshake()
        rest = b""
        while from_client or not is_done:
            from_server = self.answer(from_client)
            if is_done:
                rest += from_server
                break
            from_client, is_done = engine.handshake(from_server)
        return rest
