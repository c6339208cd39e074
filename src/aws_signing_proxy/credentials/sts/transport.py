"""Sending one request to STS and reading its answer, within the time that a fetch has, whatever the server does.

botocore fixes its timeouts when a client is made, waits for each piece of an answer anew, and reads an answer of any
size; here the whole exchange has one end. It is plugged into botocore by its `before-send` event, and uses urllib3, as
botocore does. This module imports both: it is imported where STS is asked.
"""

from __future__ import annotations

import contextlib
import html
import http.client
import queue
import re
import socket
import ssl
import threading
import time
from collections.abc import Iterable, Iterator
from typing import Any, Final, NamedTuple, TypeAlias, cast
from urllib.parse import unquote

import urllib3
from botocore.awsrequest import AWSResponse
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import DecodeError, HTTPError, ProtocolError

from aws_signing_proxy.credentials.fetch import Fetch
from aws_signing_proxy.credentials.sts.errors import NetworkError, TlsSetupError
from aws_signing_proxy.credentials.sts.network_errors import (
    SlowConnectionError,
    UnreachableError,
    answer_cut_off,
    answer_too_large,
    network_error,
    too_slow,
)

__all__ = ["Answer", "StsTransport"]

_CONNECT_SECONDS: Final = 5.0
_READ_SECONDS: Final = 10.0
_EXCHANGE_SECONDS: Final = 15.0
_SHORTEST_SECONDS: Final = 0.01  # zero would mean not to wait for anything at all
_LARGEST_ANSWER_BYTES: Final = 256 * 1024  # an answer of STS has some 2 to 8 KiB
_PIECE_BYTES: Final = 16 * 1024
# What must not be shown, as it stands in an answer: made known before anything else reads it.
_SECRET: Final = re.compile(r"<(?:SecretAccessKey|SessionToken)>\s*([^<]+?)\s*<")

_Address: TypeAlias = tuple[socket.AddressFamily, socket.SocketKind, int, str, Any]


class Answer(NamedTuple):
    """What is remembered of an answer: its status, and the fields that errors are explained with."""

    status: int
    date: str | None
    location: str | None

    def __repr__(self) -> str:
        """Show nothing that the server wrote: it may say back what it was sent."""
        return f"<Answer {self.status}>"


class StsTransport:
    """Keeps the connections to one STS. Used by one thread at a time.

    `proxy_url` is the HTTP proxy between, `ca_bundle` a PEM file instead of the system's certificates.

    Raises:
        TlsSetupError: The CA bundle cannot be read.
        ValueError: The proxy's URL is none, or of a kind that is not supported.
    """

    def __init__(self, *, proxy_url: str | None, ca_bundle: str | None) -> None:
        self._proxy_url = proxy_url
        self._wire = _Wire()
        self._manager = self._new_manager(_tls_context(ca_bundle))
        self._manager.pool_classes_by_scheme = _pool_classes(self._wire)
        self.answer: Answer | None = None

    def _new_manager(self, context: ssl.SSLContext) -> urllib3.PoolManager:
        if self._proxy_url is None:
            return urllib3.PoolManager(num_pools=2, maxsize=1, ssl_context=context)
        user_info = urllib3.util.parse_url(self._proxy_url).auth
        return urllib3.ProxyManager(
            self._proxy_url,
            num_pools=2,
            maxsize=1,
            ssl_context=context,
            proxy_ssl_context=context,
            proxy_headers=urllib3.make_headers(proxy_basic_auth=unquote(user_info)) if user_info else None,
        )

    def close(self) -> None:
        """Close the connections that are kept. The next request opens another."""
        self._manager.clear()

    def send(self, request: Any, fetch: Fetch) -> AWSResponse:
        """Send botocore's prepared request; return the answer whole.

        Raises:
            NetworkError: There was no answer, or it did not arrive whole, or not in time.
        """
        self.answer = None
        connects = self._wire.connects
        try:
            return self._exchange(request, fetch)
        except NetworkError as error:
            # A connection that had been idle may be closed by the server at the instant that it is used again.
            was_reused = self._wire.connects == connects
            if not (error.is_reset and was_reused and fetch.remaining_seconds):
                raise
        return self._exchange(request, fetch)

    def _exchange(self, request: Any, fetch: Fetch) -> AWSResponse:
        with self._wire.limited_to(fetch.timeout_seconds(_EXCHANGE_SECONDS)) as limit:
            try:
                response = self._manager.urlopen(
                    request.method,
                    request.url,
                    body=request.body,
                    headers=dict(request.headers.items()),
                    timeout=urllib3.Timeout(
                        # No wait is longer than what is left of this one.
                        total=fetch.timeout_seconds(_EXCHANGE_SECONDS),
                        connect=_CONNECT_SECONDS,
                        read=_READ_SECONDS,
                    ),
                    retries=False,
                    redirect=False,
                    preload_content=False,
                    decode_content=False,
                )
                self.answer = Answer(response.status, response.headers.get("Date"), response.headers.get("Location"))
                body = self._read(response)
            except NetworkError:
                if limit.is_over:
                    raise too_slow() from None
                raise
            except (HTTPError, OSError, http.client.HTTPException) as error:
                # Cut off by us, unless it did not come as far as a socket that could be cut.
                was_cut = limit.is_over and not isinstance(error, SlowConnectionError | UnreachableError)
                raise too_slow() if was_cut else network_error(error, self._proxy_url) from None
            if limit.is_over:
                raise too_slow()
        for secret in _SECRET.findall(body.decode("utf-8", "replace")):
            fetch.secret(html.unescape(secret))
        return AWSResponse(request.url, response.status, dict(response.headers.items()), _Whole(body))

    def _read(self, response: urllib3.BaseHTTPResponse) -> bytes:
        pieces = bytearray()
        is_whole = False
        try:
            for piece in response.stream(_PIECE_BYTES, decode_content=False):
                pieces += piece
                if len(pieces) > _LARGEST_ANSWER_BYTES:
                    raise answer_too_large(_LARGEST_ANSWER_BYTES)
            is_whole = True
        except (ProtocolError, DecodeError):
            raise answer_cut_off() from None
        finally:
            if is_whole:
                response.release_conn()
            else:
                response.close()
        return bytes(pieces)


class _Whole:
    """An answer's body, for botocore's response, which reads it as a stream."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    def stream(self) -> Iterable[bytes]:
        return (self._body,)


class _Limit:
    """Whether an exchange's time is over."""

    is_over = False


class _Wire:
    """The socket that is in use, so that another thread can cut it; and how many were opened."""

    def __init__(self) -> None:
        self.socket: socket.socket | None = None
        self.connects = 0

    @contextlib.contextmanager
    def limited_to(self, seconds: float) -> Iterator[_Limit]:
        """Cut the socket when the time is over: a server that sends a byte now and then ends no timeout of ours."""
        limit = _Limit()

        def cut() -> None:
            limit.is_over = True
            if self.socket is not None:
                with contextlib.suppress(OSError):
                    # Not SSLSocket's own, which would take the TLS state away from the thread that reads.
                    socket.socket.shutdown(self.socket, socket.SHUT_RDWR)

        timer = threading.Timer(seconds, cut)
        timer.daemon = True
        timer.start()
        try:
            yield limit
        finally:
            timer.cancel()
            timer.join()
            self.socket = None

    def connect(self, connection: HTTPConnection, host: str) -> socket.socket:
        """Return a connected socket, within the connection's timeout altogether.

        Without it, each address of a host would have that time, and the name server as much as it likes. Each address
        has an equal share of what is left: where IPv6 leads nowhere there is time for IPv4.
        """
        self.connects += 1
        seconds = float(connection.timeout or _CONNECT_SECONDS)
        ends_at = time.monotonic() + seconds
        failure: OSError | None = None
        addresses = _addresses(connection, host, seconds)
        for index, (family, kind, protocol, _, address) in enumerate(addresses):
            left = ends_at - time.monotonic()
            if left <= 0:
                break
            try:
                sock = socket.socket(family, kind, protocol)
            except OSError as error:  # a kind of address that this machine does not have
                failure = error
                continue
            try:
                sock.settimeout(left / (len(addresses) - index))
                sock.connect(address)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            except OSError as error:
                sock.close()
                failure = error
            else:
                # What may follow before the request, a tunnel and a handshake, has the rest of the time.
                sock.settimeout(max(_SHORTEST_SECONDS, ends_at - time.monotonic()))
                self.socket = sock
                return sock
        if failure is None or isinstance(failure, TimeoutError):
            raise SlowConnectionError(f"no connection within {seconds:g} s")
        raise UnreachableError(connection, failure.strerror or str(failure))


def _addresses(connection: HTTPConnection, host: str, seconds: float) -> list[_Address]:
    """Resolve the name in a thread: the system's resolver takes no timeout, and may take half a minute."""
    answers: queue.SimpleQueue[list[_Address] | OSError | UnicodeError] = queue.SimpleQueue()

    def resolve() -> None:
        try:
            answers.put(
                cast("list[_Address]", socket.getaddrinfo(host, connection.port, type=socket.SocketKind.SOCK_STREAM))
            )
        except (OSError, UnicodeError) as error:
            answers.put(error)

    threading.Thread(target=resolve, name="resolve the name of STS", daemon=True).start()
    try:
        answer = answers.get(timeout=seconds)
    except queue.Empty:
        raise SlowConnectionError(f"its name was not resolved within {seconds:g} s") from None
    if isinstance(answer, OSError):
        raise UnreachableError(connection, f"its name cannot be resolved ({answer.strerror or answer})")
    if isinstance(answer, UnicodeError):
        raise UnreachableError(connection, "its name is not a host name")
    return answer


def _pool_classes(wire: _Wire) -> dict[str, type[HTTPConnectionPool]]:
    """Return urllib3's classes with connections that tell `wire` which socket they use."""

    class Watched(HTTPConnection):
        def _new_conn(self) -> socket.socket:
            # `host` lacks the final dot of a name that is whole, which is for the resolver.
            return wire.connect(self, getattr(self, "_dns_host", self.host))

        def request(self, *arguments: Any, **keywords: Any) -> None:
            if self.sock is not None:
                # A kept one, or after a handshake another one; that of TLS within TLS holds the outer one.
                wire.socket = getattr(self.sock, "socket", self.sock)
            super().request(*arguments, **keywords)

    class WatchedTls(Watched, HTTPSConnection):
        pass

    plain = type("StsConnectionPool", (HTTPConnectionPool,), {"ConnectionCls": Watched})
    tls = type("StsTlsConnectionPool", (HTTPSConnectionPool,), {"ConnectionCls": WatchedTls})
    return {"http": plain, "https": tls}


def _tls_context(ca_bundle: str | None) -> ssl.SSLContext:
    """Return one context for all connections: reading certificates takes milliseconds and memory."""
    try:
        context = ssl.create_default_context(cafile=ca_bundle)
    except (OSError, ssl.SSLError) as error:
        raise TlsSetupError(ca_bundle or "the system's certificates", error) from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
