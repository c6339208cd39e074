"""The way through an HTTP proxy: a tunnel to the target (CONNECT, RFC 9110 section 9.3.6).

To a target over plain http a proxy is sent the requests themselves, in absolute-form (RFC 9112 section 3.2.2): many
refuse tunnels to port 80. That needs nothing of what is here but the proxy's address and TLS.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from base64 import b64encode
from dataclasses import dataclass, field
from typing import cast

from aws_signing_proxy.errors import ErrorCode, UpstreamError
from aws_signing_proxy.tls.engine import TlsEngine
from aws_signing_proxy.upstream.addresses import Peer, UpstreamAddress
from aws_signing_proxy.upstream.tls import TlsSettings

__all__ = ["ForwardProxy", "TunnelOpening", "basic_authorization", "refused_by_proxy"]

_MAX_HEAD_BYTES = 16 * 1024
_STATUS_LINE = re.compile(rb"HTTP/1\.[01] ([1-9][0-9][0-9])(?: [^\r\n]*)?")


@dataclass(frozen=True, slots=True)
class ForwardProxy:
    """An HTTP proxy on the way to the target.

    `setting`: the variable that names it. `authorization`: the value of Proxy-Authorization, a secret. `tls`: of an
    https:// proxy. `is_tunnel`: it is asked for tunnels; else requests are sent to it in absolute-form.
    """

    address: UpstreamAddress
    setting: str
    is_tunnel: bool
    tls: TlsSettings | None = None
    authorization: bytes | None = field(default=None, repr=False)

    @property
    def peer(self) -> Peer:
        """The proxy, as errors name it."""
        return Peer(self.address, self.setting, role="the proxy ")

    def connect_request(self, target: UpstreamAddress) -> bytes:
        """Return the request for a tunnel to `target`."""
        authority = str(target).encode("ascii")
        lines = [b"CONNECT %b HTTP/1.1" % authority, b"Host: %b" % authority]
        if self.authorization is not None:
            lines.append(b"Proxy-Authorization: %b" % self.authorization)
        return b"\r\n".join(lines) + b"\r\n\r\n"


def basic_authorization(user: bytes, password: bytes) -> bytes:
    """Return the field's value for a user and a password (RFC 7617)."""
    return b"Basic " + b64encode(user + b":" + password)


def refused_by_proxy(proxy: ForwardProxy, status: int) -> UpstreamError:
    """Return the error for a proxy that answers `status` instead of forwarding."""
    match status:
        case 401 | 407 if proxy.authorization is None:
            advice = f"It wants credentials: write them into {proxy.setting}, http://user:password@host:port."
        case 401 | 407:
            advice = f"It does not take the user and password of {proxy.setting}; only Basic authentication is spoken."
        case 403:
            advice = "It forbids this target: ask for it to be allowed there."
        case _:
            advice = f"Look at its log, or name the target in NO_PROXY; the proxy is the one of {proxy.setting}."
    return UpstreamError(
        ErrorCode.UPSTREAM_PROXY_FAILED, f"The proxy {proxy.address} answered {status} instead of forwarding. {advice}"
    )


class TunnelOpening(asyncio.Protocol):
    """A connection to the proxy until the tunnel is open: TLS with it, where it wants that, then CONNECT.

    `opened` is done when the tunnel is there, or has the error. Then `give_to` hands the transport to the connection.
    """

    def __init__(self, proxy: ForwardProxy, target: UpstreamAddress, tls: TlsEngine | None) -> None:
        self._proxy = proxy
        self._target = target
        self._tls = tls
        self._transport: asyncio.Transport | None = None
        self._head = b""
        self._received_bytes = 0
        self._is_open = False
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def give_to(self, protocol: asyncio.Protocol) -> None:
        """Let `protocol` have the tunnel. Raises UpstreamError where it has ended, or brought bytes, meanwhile."""
        self.opened.result()
        transport = self._transport
        if transport is None or transport.is_closing():
            raise self._failure("closed the tunnel as soon as it was open")
        transport.set_protocol(protocol)
        protocol.connection_made(transport)

    def abort(self) -> None:
        """Close at once."""
        if self._transport is not None:
            self._transport.abort()

    # What the event loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport (asyncio.BaseProtocol)."""
        self._transport = cast("asyncio.Transport", transport)
        if self._tls is None:
            self._ask()
        else:
            hello, _ = self._tls.handshake()
            self._transport.write(hello)

    def data_received(self, data: bytes) -> None:
        """Take what was read (asyncio.Protocol)."""
        try:
            plain = data if self._tls is None else self._decrypt(self._tls, data)
            if plain:
                self._read_head(plain)
        except (UpstreamError, ssl.SSLError) as error:
            self._fail(error)

    def eof_received(self) -> None:
        """The proxy sends no more (asyncio.Protocol)."""
        self._fail(self._failure("closed the connection without opening a tunnel"))

    def connection_lost(self, exc: Exception | None) -> None:
        """The transport is gone (asyncio.BaseProtocol)."""
        self._fail(exc or self._failure("closed the connection without opening a tunnel"))
        self._transport = None

    # Inside

    def _ask(self) -> None:
        request = self._proxy.connect_request(self._target)
        assert self._transport is not None
        self._transport.write(request if self._tls is None else self._tls.encrypt(request))

    def _decrypt(self, tls: TlsEngine, data: bytes) -> bytes:
        assert self._transport is not None
        if not tls.is_established:
            try:
                answer, is_done = tls.handshake(data)
            except ssl.SSLError:
                self._transport.write(tls.take_alert())
                raise
            self._transport.write(answer)
            if not is_done:
                return b""
            data = b""
            self._ask()
        return tls.decrypt(data)

    def _read_head(self, data: bytes) -> None:
        if self._is_open:
            # In a tunnel to a server of TLS or HTTP the client speaks first.
            raise self._failure("sent bytes that nobody asked for")
        head = self._head = self._head + data
        self._received_bytes += len(data)
        if not (head.startswith(b"HTTP/1.") or b"HTTP/1.".startswith(head)):
            raise self._failure("does not speak HTTP/1.1")
        while (end := head.find(b"\r\n\r\n")) >= 0:
            matched = _STATUS_LINE.fullmatch(head, 0, head.index(b"\r\n"))
            if matched is None:
                raise self._failure("does not speak HTTP/1.1")
            status = int(matched[1])
            if status >= 300:  # noqa: PLR2004 - the class of status codes
                raise refused_by_proxy(self._proxy, status)
            head = self._head = head[end + 4 :]
            if status >= 200:  # noqa: PLR2004 - likewise; below, another head follows
                self._on_open(head)
                return
        # Of all heads together, or interim ones without end would keep it waiting.
        if self._received_bytes > _MAX_HEAD_BYTES:
            raise self._failure(f"answered with a head of more than {_MAX_HEAD_BYTES} bytes")

    def _on_open(self, rest: bytes) -> None:
        self._is_open = True
        if rest:
            raise self._failure("sent bytes that nobody asked for")
        if not self.opened.done():
            self.opened.set_result(None)

    def _failure(self, did_what: str) -> UpstreamError:
        return UpstreamError(
            ErrorCode.UPSTREAM_PROXY_FAILED,
            f"The proxy {self._proxy.address} {did_what}. Check that {self._proxy.setting} names an HTTP proxy.",
        )

    def _fail(self, error: Exception) -> None:
        if not self.opened.done():
            self.opened.set_exception(error)
        if self._transport is not None and not self._transport.is_closing():
            self._transport.close()  # lets an alert go out
