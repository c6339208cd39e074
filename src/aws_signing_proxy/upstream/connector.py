"""Opening connections: names to addresses, addresses to sockets, sockets to TLS."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import ssl
from dataclasses import dataclass

import aiohappyeyeballs

from aws_signing_proxy.errors import ErrorCode, InternalError, ProxyError, UpstreamError
from aws_signing_proxy.upstream.connection import ConnectionOwner, UpstreamConnection
from aws_signing_proxy.upstream.tls import TlsSettings

__all__ = ["Connector", "UpstreamAddress"]

# RFC 8305 section 5: how long one address may keep the next one waiting.
_ATTEMPT_DELAY_SECONDS = 0.25
# OpenSSL's X509_V_ERR_HOSTNAME_MISMATCH and X509_V_ERR_IP_ADDRESS_MISMATCH (x509_vfy.h); `ssl` has no names for them.
_NAME_MISMATCHES = frozenset({62, 64})


@dataclass(frozen=True, slots=True)
class UpstreamAddress:
    """Where to connect: a DNS name or IP address (IPv6 without brackets), and a port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Connector:
    """Opens connections to one address, each time with its name resolved anew."""

    def __init__(self, address: UpstreamAddress, tls: TlsSettings | None, *, connect_timeout_seconds: float) -> None:
        self.address = address
        self._tls = tls
        self._timeout = connect_timeout_seconds or None

    @property
    def is_tls(self) -> bool:
        """Whether connections are TLS ones."""
        return self._tls is not None

    async def connect(self, owner: ConnectionOwner) -> UpstreamConnection:
        """Return an established connection. Raises UpstreamError, or InternalError where descriptors ran out."""
        connection = UpstreamConnection(owner, None if self._tls is None else self._tls.engine())
        try:
            async with asyncio.timeout(self._timeout):
                await self._open(connection)
        except BaseException as error:
            connection.abort()
            if isinstance(error, Exception):
                raise self._explain(error) from error
            raise
        return connection

    async def _open(self, connection: UpstreamConnection) -> None:
        loop = asyncio.get_running_loop()
        infos = await loop.getaddrinfo(self.address.host, self.address.port, type=socket.SOCK_STREAM)
        sock = await aiohappyeyeballs.start_connection(infos, happy_eyeballs_delay=_ATTEMPT_DELAY_SECONDS)
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await loop.create_connection(lambda: connection, sock=sock)
        except BaseException:
            sock.close()
            raise
        await connection.establish()

    def _explain(self, error: Exception) -> ProxyError:
        where = str(self.address)
        match error:
            case TimeoutError() if self._timeout is not None:
                return UpstreamError(
                    ErrorCode.UPSTREAM_CONNECT_TIMEOUT,
                    f"{where} did not accept a connection within {self._timeout:g} s (ASP_DIAL_TIMEOUT). "
                    "Check the address, routes and security groups.",
                )
            case socket.gaierror():
                return UpstreamError(
                    ErrorCode.UPSTREAM_NAME_NOT_RESOLVED,
                    f"The name {self.address.host} could not be resolved: {error.strerror or error}. "
                    "Check ASP_TARGET_URL and the DNS.",
                )
            case ssl.SSLCertVerificationError():
                advice = (
                    "Set ASP_TARGET_URL to a name that is in the certificate; ASP_CA_BUNDLE is of no help here."
                    if error.verify_code in _NAME_MISMATCHES
                    else "A private authority is trusted by naming its certificate in ASP_CA_BUNDLE."
                )
                return UpstreamError(
                    ErrorCode.UPSTREAM_TLS_FAILED,
                    f"The certificate of {where} is not trusted: {error.verify_message.rstrip('.')}. {advice}",
                )
            case ssl.SSLError():
                reason = (error.reason or "handshake failed").replace("_", " ").lower()
                return UpstreamError(
                    ErrorCode.UPSTREAM_TLS_FAILED,
                    f"The TLS handshake with {where} failed: {reason}. Check that it speaks TLS on this port.",
                )
            case OSError(errno=errno.EMFILE | errno.ENFILE):
                return InternalError(
                    ErrorCode.OUT_OF_FILE_DESCRIPTORS,
                    "No file descriptor is left for a connection to the upstream. Raise the limit (ulimit -n).",
                    retry_after_seconds=1,
                )
            case _:
                reason = _reason(error)
                return UpstreamError(
                    ErrorCode.UPSTREAM_CONNECT_FAILED,
                    f"No connection to {where}: {reason}. Check ASP_TARGET_URL and that the service is up.",
                )


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.errno is not None and error.errno > 0:
        return os.strerror(error.errno)  # the event loop's own words show a tuple: ('127.0.0.1', 9200)
    return str(error) or type(error).__name__
