"""What it means when no answer of STS came, and what a person can do about it."""

from __future__ import annotations

from typing import Final

from aws_signing_proxy.credentials.http.failures import Failure, Kind
from aws_signing_proxy.credentials.provider import Attempt, CredentialsUnavailableError

__all__ = ["unanswered"]

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
_CLOCK: Final = "Check the clock of this machine, and the certificate of what answers there"
_SPEAKS_TLS: Final = "Check that this address speaks TLS; else write http://"
_ADVICE: Final = {
    Kind.NAME: _REACH,
    Kind.SLOW_NAME: _REACH,
    Kind.REFUSED: _REACH,
    Kind.UNREACHABLE: _REACH,
    Kind.SLOW_CONNECTION: _REACH,
    Kind.UNTRUSTED: _CERTIFICATES,
    Kind.WRONG_NAME: "Set AWS_ENDPOINT_URL_STS to a name that the certificate was made for; see what answers there",
    Kind.EXPIRED: _CLOCK,
    Kind.NOT_YET_VALID: _CLOCK,
    Kind.NOT_TLS: _SPEAKS_TLS,
    Kind.TLS: _SPEAKS_TLS,
    Kind.CLIENT_CERTIFICATE: "Check that this address is STS's, which demands no client certificate",
    Kind.CLIENT_CERTIFICATE_OVER: "Check that this address is STS's, which demands no client certificate",
    Kind.NOT_HTTP: "Check that this address is STS's, and that its scheme (http or https) is right",
    Kind.TOO_LARGE: "Check that this address is STS's, whose answers are shorter, or unset AWS_ENDPOINT_URL_STS",
    Kind.BAD_URL: "Check AWS_ENDPOINT_URL_STS",
}


def unanswered(failure: Failure, *, source: str) -> CredentialsUnavailableError:
    """Return the error for a call that ended without a whole answer."""
    attempt = Attempt(source, failure.reason, failure.advice(_ADVICE, _ANSWER))
    return CredentialsUnavailableError((attempt,), is_conclusive=failure.is_conclusive)
