"""One exchange with a server over HTTP: bounded in time and size, never redirected, through the proxy that is meant.

urllib3 does it, which botocore loads in any case. This module imports it: it is imported where somebody is asked.
"""

from __future__ import annotations

import http.client
import socket
import ssl
import weakref
from collections.abc import Mapping
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from urllib3 import BaseHTTPResponse, HTTPConnectionPool, HTTPSConnectionPool, PoolManager, ProxyManager
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError

from aws_signing_proxy.credentials.fetch import Fetch
from aws_signing_proxy.credentials.http.bounded_sockets import connected, deadline
from aws_signing_proxy.credentials.http.causes import TunnelError, failure_of
from aws_signing_proxy.credentials.http.failures import ExchangeError, Failure, Kind
from aws_signing_proxy.credentials.http.proxies import Proxy, proxy_for
from aws_signing_proxy.credentials.http.retry_after import retry_after_seconds
from aws_signing_proxy.credentials.http.trusted_certificates import TrustedCertificates
from aws_signing_proxy.credentials.http.web_address import shown_address, without_user_info

__all__ = ["Answer", "HttpClient"]

_PIECE_BYTES: Final = 1 << 16
_KIBIBYTE: Final = 1 << 10
_MEBIBYTE: Final = 1 << 20
# RFC 6585 section 4, RFC 9110 section 10.2.3: who may say when to come back.
_TOO_MANY_REQUESTS: Final = 429
_FIRST_SERVER_ERROR: Final = 500
_CLOSED: Final = frozenset({Kind.CLOSED, Kind.CLOSED_IN_TLS})


class _Request(NamedTuple):
    method: str
    url: str
    fields: Mapping[str, str]
    body: Any

    def __repr__(self) -> str:
        return f"<{self.method} {shown_address(self.url)}>"


class Answer(NamedTuple):
    """What a server answered, read to its end. `fields` are its header fields, their names in lower case."""

    status: int
    fields: Mapping[str, str]
    body: bytes

    def __repr__(self) -> str:
        """Show nothing that the server wrote: a secret, or what it was sent."""
        return f"<Answer {self.status}>"


class HttpClient:
    """Asks servers; keeps connections open from one request of a fetch to the next. Used by one thread at a time.

    Not for the next fetch, which may be an hour later: a firewall that has forgotten the connection by then swallows
    what is sent, and that would be noticed when the fetch's time is over.

    Proxies are those of `environ`; None: none is ever used.
    """

    def __init__(
        self, trusted: TrustedCertificates, *, environ: Mapping[str, str] | None, largest_answer_bytes: int
    ) -> None:
        self._trusted = trusted
        self._environ = environ
        self._largest_answer_bytes = largest_answer_bytes
        self._made_for: tuple[ssl.SSLContext | None, Proxy | None] | None = None
        self._manager: PoolManager | None = None
        # Compared by identity, not by time: the monotonic clock stands still while a machine is suspended.
        self._kept_for: weakref.ref[Fetch] | None = None

    def close(self) -> None:
        """Close the connections that are kept. The next request opens another."""
        if self._manager is not None:
            self._manager.clear()

    def send(
        self,
        fetch: Fetch,
        method: str,
        url: str,
        *,
        fields: Mapping[str, str],
        body: Any = None,
        at_most_seconds: float,
        is_repeatable: bool = False,
    ) -> Answer:
        """Send one request and return the answer, whatever its status.

        `is_repeatable`: it is sent once more where a kept connection was closed at the instant that it was used again,
        as servers do with those that were idle.

        Raises:
            ExchangeError: There was no answer, or it did not arrive whole, in time and within its size.
            CertificateFileError: What is to be trusted cannot be read.
        """
        if fetch.remaining_seconds <= 0:
            raise ExchangeError(Failure(Kind.SLOW))
        if self._kept_for is None or self._kept_for() is not fetch:
            self.close()
            self._kept_for = weakref.ref(fetch)
        proxy = None if self._environ is None else proxy_for(url, self._environ)
        for secret in proxy.secrets if proxy is not None else ():
            fetch.secret(secret)
        manager = self._manager_for(url, proxy)
        request = _Request(method, without_user_info(url), fields, body)
        fetch.has_asked, fetch.retry_after_seconds = True, None
        with deadline(fetch.timeout_seconds(at_most_seconds)) as limit:
            try:
                return self._heeded(fetch, self._exchange(fetch, manager, proxy, request))
            except ExchangeError as error:
                was_kept = limit.connects == 0 and error.failure.kind in _CLOSED
                if not (is_repeatable and was_kept and fetch.remaining_seconds):
                    raise
            return self._heeded(fetch, self._exchange(fetch, manager, proxy, request))

    def _heeded(self, fetch: Fetch, answer: Answer) -> Answer:
        """Return the answer; note when its server wants to be asked again."""
        if answer.status == _TOO_MANY_REQUESTS or answer.status >= _FIRST_SERVER_ERROR:
            fetch.retry_after_seconds = retry_after_seconds(answer.fields, fetch.now())
        return answer

    def _exchange(self, fetch: Fetch, manager: PoolManager, proxy: Proxy | None, request: _Request) -> Answer:
        response: BaseHTTPResponse | None = None
        try:
            response = manager.urlopen(
                request.method,
                request.url,
                body=request.body,
                headers=request.fields,
                retries=False,
                redirect=False,
                preload_content=False,
                decode_content=False,
                timeout=None,  # the sockets see to that
            )
            content = self._read(response)
            return Answer(response.status, {name.lower(): value for name, value in response.headers.items()}, content)
        except (HTTPError, OSError, http.client.HTTPException, ValueError) as error:
            address = "" if proxy is None else shown_address(proxy.url)
            failure = failure_of(error, proxy=address, is_head_read=response is not None)
        # Raised out here, so that it has no context: libraries' exceptions hold the request, and may quote it. So may
        # the detail, where it is a proxy's own words.
        raise ExchangeError(failure._replace(detail=fetch.shown(failure.detail)))

    def _read(self, response: BaseHTTPResponse) -> bytes:
        content = bytearray()
        is_whole = False
        try:
            while piece := response.read(_PIECE_BYTES):
                content += piece
                if len(content) > self._largest_answer_bytes:
                    raise ExchangeError(
                        Failure(Kind.TOO_LARGE, f"{response.status} with more than {_size(self._largest_answer_bytes)}")
                    )
            is_whole = True
        finally:
            if is_whole:
                response.release_conn()
            else:
                response.close()
        return bytes(content)

    def _manager_for(self, url: str, proxy: Proxy | None) -> PoolManager:
        """Return what connects: the last one, unless the certificates or the proxy have changed."""
        is_tls = "https" in {urlsplit(url).scheme, urlsplit(proxy.url).scheme if proxy is not None else ""}
        wanted = (self._trusted.context() if is_tls else None), proxy
        if self._manager is not None and self._made_for == wanted:
            return self._manager
        self.close()
        given: dict[str, Any] = {"num_pools": 4, "maxsize": 1, "ssl_context": wanted[0]}
        if proxy is None:
            manager = PoolManager(**given)
        else:
            authorization = {"Proxy-Authorization": proxy.authorization} if proxy.authorization is not None else None
            manager = ProxyManager(proxy.url, proxy_headers=authorization, proxy_ssl_context=wanted[0], **given)
        manager.pool_classes_by_scheme = _POOL_CLASSES
        self._manager, self._made_for = manager, wanted
        return manager


def _size(count: int) -> str:
    return f"{count // _MEBIBYTE} MiB" if count >= _MEBIBYTE else f"{count // _KIBIBYTE} KiB"


class _Response(http.client.HTTPResponse):
    def begin(self) -> None:
        """Read the head, and refuse one that is not well formed.

        urllib3 would take it, and log a warning that quotes what it could not read: perhaps a token.
        """
        super().begin()
        if self.headers.get_payload():
            raise http.client.HTTPException("a malformed head")


class _Bounded(HTTPConnection):
    response_class = _Response

    def _new_conn(self) -> socket.socket:
        # `host` lacks the final dot of a name that is whole, which is for the resolver.
        return connected(self._dns_host, self.port)

    def _tunnel(self) -> None:
        try:
            super()._tunnel()
        except (OSError, http.client.HTTPException) as error:
            raise TunnelError("no tunnel") from error


class _BoundedTls(_Bounded, HTTPSConnection):
    pass


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Bounded


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _BoundedTls


_POOL_CLASSES: Final[dict[str, type[HTTPConnectionPool]]] = {"http": _Pool, "https": _TlsPool}
