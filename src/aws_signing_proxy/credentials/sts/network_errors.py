"""What went wrong on the way to STS, in words: the exceptions of urllib3, `ssl` and sockets, told apart.

This module imports urllib3; it is imported where STS is asked.
"""

from __future__ import annotations

import http.client
import ssl
from typing import Any, Final

from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    NewConnectionError,
    ProtocolError,
    ProxyError,
    ReadTimeoutError,
    SSLError,
)
from urllib3.exceptions import TimeoutError as PoolTimeoutError

from aws_signing_proxy.credentials.sts.errors import NetworkError
from aws_signing_proxy.credentials.sts.settings import shown_address

__all__ = [
    "SlowConnectionError",
    "UnreachableError",
    "answer_cut_off",
    "answer_too_large",
    "network_error",
    "too_slow",
]

_REACH: Final = (
    "Check that this address can be reached from here (DNS, routes, security groups, a VPC endpoint for STS, "
    "HTTPS_PROXY), or set AWS_ENDPOINT_URL_STS to one that can"
)
_ANSWER: Final = (
    "The proxy asks again by itself; if it stays so, look for a firewall or proxy on the way that swallows the request"
)
_CERTIFICATES: Final = (
    "Set AWS_CA_BUNDLE to a PEM file of the authority that signed its certificate, if that is one of your own"
)


class UnreachableError(NewConnectionError):
    """No connection. `said` is why, without the connection's name before it, which urllib3 writes there."""

    def __init__(self, connection: Any, said: str) -> None:
        super().__init__(connection, said)
        self.said = said


class SlowConnectionError(ConnectTimeoutError):
    """No connection in time."""

    def __init__(self, said: str) -> None:
        super().__init__(said)
        self.said = said


def network_error(error: Exception, proxy_url: str | None) -> NetworkError:
    """Say what an exception of urllib3, of the socket or of HTTP means; `proxy_url` is the proxy on the way."""
    match error:
        case ProxyError():
            return _proxy_error(error.original_error, shown_address(proxy_url or ""))
        case SSLError() | ssl.SSLError():
            return _tls_error(error)
        case UnreachableError() | SlowConnectionError():
            return NetworkError(f"cannot be reached: {error.said}", _REACH)
        case ReadTimeoutError() | PoolTimeoutError() | TimeoutError():
            return too_slow()
        case _:
            return _protocol_error(error)


def _protocol_error(error: Exception) -> NetworkError:
    """Say what went wrong once there was a connection. urllib3 puts the cause behind words of its own."""
    cause = error.args[1] if isinstance(error, ProtocolError) and len(error.args) > 1 else error
    if isinstance(cause, ConnectionError | http.client.RemoteDisconnected):
        # What also happens to a connection that had been idle too long.
        return NetworkError("closed the connection without an answer", _ANSWER, is_reset=True)
    if isinstance(cause, HTTPError | http.client.HTTPException):
        return NetworkError(
            "answered something that is not HTTP",
            "Check that this address is STS's, and that its scheme (http or https) is right",
        )
    return NetworkError(f"the connection failed ({_words(cause)})", _ANSWER)


def too_slow() -> NetworkError:
    """No answer, or not the whole of it, in the time that there was."""
    return NetworkError("did not answer in time", _ANSWER)


def answer_cut_off() -> NetworkError:
    """The connection ended within the answer's body."""
    return NetworkError("closed the connection in the middle of its answer", _ANSWER)


def answer_too_large(limit_bytes: int) -> NetworkError:
    """The answer's body is longer than any of STS's."""
    reason = f"answered with more than {limit_bytes // 1024} KiB, which no answer of STS has"
    return NetworkError(reason, "Check that this address is STS's, or unset AWS_ENDPOINT_URL_STS")


def _tls_error(error: Exception) -> NetworkError:
    cause = error.args[0] if error.args and isinstance(error.args[0], Exception) else error
    if isinstance(cause, ssl.SSLCertVerificationError):
        return NetworkError(
            f"its certificate is not trusted ({cause.verify_message})", _CERTIFICATES, is_conclusive=True
        )
    return NetworkError(f"TLS failed ({_words(cause)})", "Check that this address speaks TLS; else write http://")


def _proxy_error(error: Exception, address: str) -> NetworkError:
    """Say what is wrong with the proxy on the way: nothing about STS itself is known then."""
    advice = f"Correct HTTPS_PROXY or HTTP_PROXY ({address}), or name STS in NO_PROXY"
    match error:
        case UnreachableError() | SlowConnectionError():
            said = error.said
        case SSLError():
            said = f"TLS failed ({_words(error.args[0] if error.args else error)})"
        case PoolTimeoutError() | TimeoutError():
            said = "it did not answer in time"
        case _:
            # "Tunnel connection failed: 407 Proxy Authentication Required"
            said = _words(error)
    return NetworkError(f"the proxy {address} did not let us through: {said}", advice)


def _words(error: object) -> str:
    if isinstance(error, ssl.SSLError):
        return error.reason or type(error).__name__
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__
