"""Addresses, and the errors of the way there: each names the one whom it is about, and the setting that names it."""

from __future__ import annotations

import errno
import os
import socket
import ssl
from dataclasses import dataclass

from aws_signing_proxy.errors import ErrorCode, InternalError, ProxyError, UpstreamError

__all__ = ["Peer", "UpstreamAddress", "connect_error"]

# OpenSSL's X509_V_ERR_HOSTNAME_MISMATCH and X509_V_ERR_IP_ADDRESS_MISMATCH (x509_vfy.h); `ssl` has no names for them.
_NAME_MISMATCHES = frozenset({62, 64})


@dataclass(frozen=True, slots=True)
class UpstreamAddress:
    """Where to connect: a DNS name or IP address (IPv6 without brackets), and a port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Peer:
    """Whom an attempt to connect has to do with at the moment.

    `setting`: what names its address; `role` and `way` stand before and behind the address for people, `the proxy ` and
    ` through the proxy 192.0.2.1:3128`.
    """

    address: UpstreamAddress
    setting: str = "ASP_TARGET_URL"
    role: str = ""
    way: str = ""

    def __str__(self) -> str:
        return f"{self.role}{self.address}{self.way}"


def connect_error(error: Exception, peer: Peer, *, timeout_seconds: float | None) -> ProxyError:
    """Return the error for an attempt to connect that failed; `timeout_seconds` is what it was given."""
    match error:
        case ProxyError():
            return error
        case TimeoutError() if timeout_seconds is not None:
            return _timeout(peer, timeout_seconds)
        case socket.gaierror():
            return UpstreamError(
                ErrorCode.UPSTREAM_NAME_NOT_RESOLVED,
                f"The name {peer.address.host} could not be resolved: {error.strerror or error}. "
                f"Check {peer.setting} and the DNS.",
            )
        case ssl.SSLError():
            return _tls_error(error, peer)
        case OSError(errno=errno.EMFILE | errno.ENFILE):
            return InternalError(
                ErrorCode.OUT_OF_FILE_DESCRIPTORS,
                "No file descriptor is left for a connection to the upstream. Raise the limit (ulimit -n).",
                retry_after_seconds=1,
            )
        case _:
            what = "the proxy" if peer.role else "the service"
            return UpstreamError(
                ErrorCode.UPSTREAM_CONNECT_FAILED,
                f"No connection to {peer}: {_reason(error)}. Check {peer.setting} and that {what} is up.",
            )


def _timeout(peer: Peer, timeout_seconds: float) -> UpstreamError:
    advice = "Check the address, routes and security groups."
    if peer.role:
        advice = f"Check {peer.setting}, and whether the proxy can reach the target."
    return UpstreamError(
        ErrorCode.UPSTREAM_CONNECT_TIMEOUT,
        f"{_capitalised(str(peer))} did not accept a connection within {timeout_seconds:g} s (ASP_DIAL_TIMEOUT). "
        f"{advice}",
    )


def _tls_error(error: ssl.SSLError, peer: Peer) -> UpstreamError:
    if isinstance(error, ssl.SSLCertVerificationError):
        # Wherever the connection goes: the certificate must be the target's.
        setting = peer.setting if peer.role else "ASP_TARGET_URL"
        advice = (
            f"Set {setting} to a name that is in the certificate; ASP_CA_BUNDLE is of no help here."
            if error.verify_code in _NAME_MISMATCHES
            else "A private authority is trusted by naming its certificate in ASP_CA_BUNDLE."
        )
        return UpstreamError(
            ErrorCode.UPSTREAM_TLS_FAILED,
            f"The certificate of {peer} is not trusted: {error.verify_message.rstrip('.')}. {advice}",
        )
    reason = (error.reason or "handshake failed").replace("_", " ").lower()
    return UpstreamError(
        ErrorCode.UPSTREAM_TLS_FAILED,
        f"The TLS handshake with {peer} failed: {reason}. Check that it speaks TLS on this port.",
    )


def _capitalised(text: str) -> str:
    return text[:1].upper() + text[1:] if text.startswith("the ") else text


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.errno is not None and error.errno > 0:
        return os.strerror(error.errno)  # the event loop's own words show a tuple: ('127.0.0.1', 9200)
    return str(error) or type(error).__name__
