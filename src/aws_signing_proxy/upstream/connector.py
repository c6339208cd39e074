"""Opening connections: names to addresses, addresses to sockets, sockets through proxies, and TLS."""

from __future__ import annotations

import asyncio
import socket

import aiohappyeyeballs

from aws_signing_proxy.upstream.addresses import Peer, UpstreamAddress, connect_error
from aws_signing_proxy.upstream.connection import ConnectionOwner, UpstreamConnection
from aws_signing_proxy.upstream.forward_proxy import ForwardProxy, TunnelOpening
from aws_signing_proxy.upstream.tls import ConnectionTls, NestedTls, TlsSettings

__all__ = ["Connector", "UpstreamAddress"]

# RFC 8305 section 5: how long one address may keep the next one waiting.
_ATTEMPT_DELAY_SECONDS = 0.25


class Connector:
    """Opens connections to one target, each time with its name resolved anew.

    `address`: the target's own, which is what people are told. `connect_to`: where connections go instead, while TLS is
    still spoken with the target. `proxy`: what they go through.
    """

    def __init__(
        self,
        address: UpstreamAddress,
        tls: TlsSettings | None,
        *,
        connect_timeout_seconds: float,
        connect_to: UpstreamAddress | None = None,
        proxy: ForwardProxy | None = None,
    ) -> None:
        self.address = address
        self.proxy = proxy
        self._tls = tls
        self._timeout = connect_timeout_seconds or None
        # A proxy that gets requests in absolute-form is told in each of them where it is to go.
        self._destination = connect_to or address
        self._target = Peer(address)
        if connect_to is not None:
            self._target = Peer(connect_to, "ASP_CONNECT_TO", way=f" for {address}")

    @property
    def is_tls(self) -> bool:
        """Whether TLS is spoken with the target."""
        return self._tls is not None

    async def connect(self, owner: ConnectionOwner) -> UpstreamConnection:
        """Return an established connection. Raises UpstreamError, or InternalError where descriptors ran out."""
        attempt = _Attempt(self._target if self.proxy is None else self.proxy.peer)
        try:
            async with asyncio.timeout(self._timeout):
                return await self._open(owner, attempt)
        except BaseException as error:
            attempt.abort()
            if isinstance(error, Exception):
                raise connect_error(error, attempt.peer, timeout_seconds=self._timeout) from error
            raise

    async def _open(self, owner: ConnectionOwner, attempt: _Attempt) -> UpstreamConnection:
        proxy = self.proxy
        if proxy is not None and proxy.is_tunnel:
            return await self._open_through(proxy, owner, attempt)
        tls = self._tls if proxy is None else proxy.tls
        connection = attempt.connection = UpstreamConnection(owner, None if tls is None else tls.engine())
        await _connect_socket(self._destination if proxy is None else proxy.address, connection)
        await connection.establish()
        return connection

    async def _open_through(self, proxy: ForwardProxy, owner: ConnectionOwner, attempt: _Attempt) -> UpstreamConnection:
        outer = None if proxy.tls is None else proxy.tls.engine()
        opening = attempt.opening = TunnelOpening(proxy, self._destination, outer)
        await _connect_socket(proxy.address, opening)
        await opening.opened
        inner = None if self._tls is None else self._tls.engine()
        tls: ConnectionTls | None = (
            NestedTls(outer, inner) if outer is not None and inner is not None else inner or outer
        )
        connection = UpstreamConnection(owner, tls)
        opening.give_to(connection)
        attempt.connection = connection
        target = self._target
        attempt.peer = Peer(target.address, target.setting, way=f"{target.way} through the proxy {proxy.address}")
        await connection.establish()
        return connection


class _Attempt:
    """What is there of a connection while it is being opened, and whom it has to do with at the moment."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.opening: TunnelOpening | None = None
        self.connection: UpstreamConnection | None = None

    def abort(self) -> None:
        """Close at once what there is."""
        if self.connection is not None:
            self.connection.abort()
        elif self.opening is not None:
            self.opening.abort()


async def _connect_socket(address: UpstreamAddress, protocol: asyncio.Protocol) -> None:
    """Connect to one of the addresses that the name has now, and let `protocol` have the transport."""
    loop = asyncio.get_running_loop()
    infos = await loop.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    sock = await aiohappyeyeballs.start_connection(infos, happy_eyeballs_delay=_ATTEMPT_DELAY_SECONDS)
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await loop.create_connection(lambda: protocol, sock=sock)
    except BaseException:
        sock.close()
        raise
