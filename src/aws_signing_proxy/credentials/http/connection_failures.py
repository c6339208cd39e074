"""Why a server could not be asked: the exception of a library, told in plain words with what to do about it."""

from __future__ import annotations

import http.client
import socket
import ssl
from collections.abc import Iterator
from typing import NamedTuple

__all__ = ["Failure", "explain_failure"]


class Failure(NamedTuple):
    """What happened, what to do, and whether asking again at once would be pointless."""

    reason: str
    advice: str
    is_conclusive: bool


def explain_failure(error: BaseException, setting: str) -> Failure:
    """Return what `error` means; `setting` is where the server's URL was set.

    Libraries wrap errors in errors; what counts is the innermost that says something.
    """
    chain = list(_chain(error))
    for known in (_of_tls, _of_name, _of_time, _of_tunnel, _of_connection):
        for one in chain:
            failure = known(one, setting)
            if failure is not None:
                return failure
    return Failure(
        f"cannot be asked ({type(chain[-1]).__name__})",
        f"Check {setting}, and whether a proxy or load balancer stands before it",
        is_conclusive=False,
    )


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield the error and those that it wraps: as its cause, or among its arguments."""
    seen: set[int] = set()
    waiting = [error]
    while waiting:
        one = waiting.pop(0)
        if id(one) not in seen:
            seen.add(id(one))
            yield one
            inner = (one.__cause__, getattr(one, "original_error", None), getattr(one, "reason", None), *one.args)
            waiting.extend(item for item in inner if isinstance(item, BaseException))


def _of_tls(error: BaseException, setting: str) -> Failure | None:
    if isinstance(error, ssl.SSLCertVerificationError):
        return Failure(
            f"its certificate is not accepted: {error.verify_message or 'verification failed'}",
            "Let ASP_OPEN_ID_CA_BUNDLE name a file with the certificate of the authority that issued it, "
            f"or check the host name in {setting}",
            is_conclusive=True,
        )
    if isinstance(error, ssl.SSLError) and not isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError):
        return Failure(
            f"TLS failed: {(error.reason or 'no agreement').replace('_', ' ').lower()}",
            f"Check scheme and port of {setting}: a server without TLS is reached by http://",
            is_conclusive=True,
        )
    return None


def _of_name(error: BaseException, setting: str) -> Failure | None:
    if isinstance(error, socket.gaierror | UnicodeError):
        return Failure(
            f"its name cannot be resolved ({getattr(error, 'strerror', None) or 'not a host name'})",
            f"Check the host name in {setting}, and this machine's DNS",
            is_conclusive=False,
        )
    return None


def _of_time(error: BaseException, _setting: str) -> Failure | None:
    if isinstance(error, TimeoutError):
        return Failure(
            "did not answer in time",
            "Check that the authorization server is up and that a firewall lets this machine reach it",
            is_conclusive=False,
        )
    return None


def _of_tunnel(error: BaseException, _setting: str) -> Failure | None:
    # http.client has no exception of its own for a proxy's refusal.
    _, is_refused, status = str(error).partition("Tunnel connection failed: ")
    if type(error) is OSError and is_refused:
        return Failure(
            f"cannot be reached: the proxy refused with {status}",
            "Let the proxy connect to this server, put its user and password into HTTPS_PROXY, "
            "or name the server in NO_PROXY",
            is_conclusive=True,
        )
    return None


def _of_connection(error: BaseException, setting: str) -> Failure | None:
    match error:
        case ConnectionRefusedError():
            return Failure(
                "refused the connection",
                f"Check that the authorization server runs, and the host and port of {setting}",
                is_conclusive=False,
            )
        case http.client.IncompleteRead():
            return Failure(
                "closed the connection in the middle of its answer",
                "Look into the authorization server's log",
                is_conclusive=False,
            )
        case ConnectionError() | ssl.SSLError():
            return Failure(
                "closed the connection without an answer",
                f"Look into the authorization server's log, and check scheme and port of {setting}",
                is_conclusive=False,
            )
        case http.client.HTTPException():
            return Failure(
                "answered something that is not HTTP",
                f"Check scheme and port of {setting}: a server with TLS is reached by https://",
                is_conclusive=False,
            )
        case OSError() if error.strerror:
            return Failure(
                f"cannot be reached: {error.strerror.lower()}",
                f"Check the host of {setting}, and this machine's network",
                is_conclusive=False,
            )
    return None
