"""Which kind of failure an exception is. Imports urllib3: for who has just asked with it.

Libraries wrap what the operating system and OpenSSL said several times over; what was said first is what a person can
act on, so all that an exception wraps is looked at.
"""

from __future__ import annotations

import http.client
import socket
import ssl
from collections.abc import Iterator
from typing import Final

from urllib3.exceptions import DecodeError, HTTPError, ProxyError, ResponseError

from aws_signing_proxy.credentials.http.bounded_sockets import SlowConnectionError, SlowNameError
from aws_signing_proxy.credentials.http.failures import Failure, Kind

__all__ = ["TunnelError", "failure_of"]

_DEEPEST_CHAIN: Final = 20
# Codes of OpenSSL's X509_verify_cert_error_string(3).
_CERTIFICATE_KINDS: Final = {9: Kind.NOT_YET_VALID, 10: Kind.EXPIRED, 62: Kind.WRONG_NAME, 64: Kind.WRONG_NAME}
_TLS_KINDS: Final = (
    (Kind.NOT_TLS, ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG")),
    (
        Kind.CLIENT_CERTIFICATE,
        ("CERTIFICATE_REQUIRED", "HANDSHAKE_FAILURE", "BAD_CERTIFICATE", "ALERT_UNKNOWN_CA", "CERTIFICATE_UNKNOWN"),
    ),
    (Kind.CLIENT_CERTIFICATE_OVER, ("CERTIFICATE_EXPIRED", "CERTIFICATE_REVOKED")),
)
_PASSING_STATUSES: Final = ("408", "425", "429")


class TunnelError(OSError):
    """The proxy made no tunnel; the cause says why."""


def failure_of(error: BaseException, *, proxy: str, is_head_read: bool) -> Failure:
    """Return what `error` means. `proxy` is the address of the one on the way, empty without."""
    chain = list(_chain(error))
    is_at_proxy = any(isinstance(one, ProxyError | TunnelError) for one in chain)
    for known in (_of_tls, _of_name, _of_time, _of_tunnel, _of_connection):
        for one in chain:
            found = known(one)
            if found is not None:
                kind, detail = found
                if is_head_read and kind in {Kind.CLOSED, Kind.CLOSED_IN_TLS, Kind.NOT_HTTP}:
                    kind = Kind.CUT_OFF
                is_refused = kind is Kind.PROXY and detail.startswith("4") and not detail.startswith(_PASSING_STATUSES)
                return Failure(kind, detail, proxy, is_at_proxy, is_refused)
    if is_head_read and any(isinstance(one, ValueError) for one in chain):
        # What urllib3 makes of a chunk of a negative size, say.
        return Failure(Kind.NOT_HTTP, "", proxy, is_at_proxy)
    return Failure(Kind.OTHER, type(chain[-1]).__name__, proxy, is_at_proxy)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield the error and those that it wraps, each once: as its cause, or among its arguments."""
    waiting: list[object] = [error]
    seen: set[int] = set()
    while waiting and len(seen) < _DEEPEST_CHAIN:
        one = waiting.pop(0)
        if isinstance(one, BaseException) and id(one) not in seen:
            seen.add(id(one))
            yield one
            waiting += [one.__cause__, getattr(one, "original_error", None), getattr(one, "reason", None), *one.args]


def _of_tls(error: BaseException) -> tuple[Kind, str] | None:
    if isinstance(error, ssl.SSLCertVerificationError):
        kind = _CERTIFICATE_KINDS.get(error.verify_code, Kind.UNTRUSTED)
        return kind, error.verify_message or "verification failed"
    if not isinstance(error, ssl.SSLError) or isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError):
        return None
    said = f"{error.reason or ''} {error}".upper().replace(" ", "_")
    shown = (error.reason or "no agreement").replace("_", " ").lower()
    kind = next((kind for kind, words in _TLS_KINDS if any(word in said for word in words)), Kind.TLS)
    return kind, shown


def _of_name(error: BaseException) -> tuple[Kind, str] | None:
    # The codec of names raises UnicodeError itself; a field that cannot be written raises UnicodeEncodeError.
    if isinstance(error, socket.gaierror) or type(error) is UnicodeError:
        return Kind.NAME, getattr(error, "strerror", None) or "not a host name"
    return None


def _of_time(error: BaseException) -> tuple[Kind, str] | None:
    match error:
        case SlowNameError():
            return Kind.SLOW_NAME, str(error)
        case SlowConnectionError():
            return Kind.SLOW_CONNECTION, str(error)
        case TimeoutError():
            return Kind.SLOW, ""
    return None


def _of_tunnel(error: BaseException) -> tuple[Kind, str] | None:
    # http.client has no exception of its own for a proxy's refusal.
    _, is_refused, status = str(error).partition("Tunnel connection failed: ")
    return (Kind.PROXY, status) if type(error) is OSError and is_refused else None


def _of_connection(error: BaseException) -> tuple[Kind, str] | None:  # noqa: PLR0911 - a table of exceptions
    match error:
        case ConnectionRefusedError():
            return Kind.REFUSED, ""
        case http.client.IncompleteRead():
            return Kind.CUT_OFF, ""
        case ConnectionError():
            return Kind.CLOSED, ""
        case ssl.SSLError():
            return Kind.CLOSED_IN_TLS, ""
        case http.client.HTTPException() | DecodeError() | ResponseError():
            return Kind.NOT_HTTP, ""
        case OSError() if error.strerror:
            return Kind.UNREACHABLE, error.strerror.lower()
        case ValueError() if isinstance(error, HTTPError):  # urllib3's LocationParseError and its like
            return Kind.BAD_URL, ""
    return None
