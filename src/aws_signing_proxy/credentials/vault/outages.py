"""What it means when no answer of Vault came, and what a person can do about it."""

from __future__ import annotations

from typing import Final

from aws_signing_proxy.credentials.fetch import Fetch
from aws_signing_proxy.credentials.http.failures import ExchangeError, Kind
from aws_signing_proxy.credentials.provider import Attempt
from aws_signing_proxy.credentials.vault.errors import Call, VaultError

__all__ = ["ForeignRedirectError", "outage"]

_AGAIN: Final = "the proxy asks again by itself"
_NAME: Final = f"Check the host in ASP_VAULT_URL, and the DNS of this machine; {_AGAIN}"
_NETWORK: Final = f"Check the network between the proxy and Vault; {_AGAIN}"
_SLOW: Final = f"See whether Vault is overloaded and whether a firewall drops the connection; {_AGAIN}"
_CLOSED: Final = (
    "See whether Vault restarts, whether ASP_VAULT_URL should begin with https://, whether the listener demands "
    f"another client certificate (ASP_VAULT_CLIENT_CERT), and what stands between; {_AGAIN}"
)
_OTHERWISE: Final = f"Look at what stands between the proxy and Vault: this was no whole HTTP answer; {_AGAIN}"
_OWN_ADDRESS: Final = (
    "Set ASP_VAULT_URL to Vault's own address: the token is not sent on to where a gateway, a login page or another "
    "scheme is"
)
_ADVICE: Final = {
    Kind.NAME: _NAME,
    Kind.SLOW_NAME: _NAME,
    Kind.REFUSED: f"Start Vault, or check host and port in ASP_VAULT_URL; {_AGAIN}",
    Kind.UNREACHABLE: _NETWORK,
    Kind.SLOW_CONNECTION: f"See whether a firewall drops the connection, and check the host in ASP_VAULT_URL; {_AGAIN}",
    Kind.SLOW: _SLOW,
    Kind.UNTRUSTED: "Set ASP_VAULT_CA_BUNDLE to a PEM file with the certificate of the authority that signed Vault's",
    Kind.WRONG_NAME: "Set ASP_VAULT_URL to a name that Vault's certificate was made for, or give Vault a certificate "
    "with it",
    Kind.EXPIRED: "Renew Vault's certificate, and check the clock of this machine",
    Kind.NOT_YET_VALID: "Check the clock of this machine and of the one that made Vault's certificate",
    Kind.NOT_TLS: "Begin ASP_VAULT_URL with http:// if Vault's listener has TLS disabled, or check the port",
    Kind.TLS: f"Compare the TLS versions and ciphers of Vault's listener; {_AGAIN}",
    Kind.CLIENT_CERTIFICATE: "Set ASP_VAULT_CLIENT_CERT and ASP_VAULT_CLIENT_KEY to a pair that Vault's listener "
    "trusts",
    Kind.CLIENT_CERTIFICATE_OVER: "Put a new pair at ASP_VAULT_CLIENT_CERT and ASP_VAULT_CLIENT_KEY; it is read again "
    "by itself",
    Kind.CLOSED: _CLOSED,
    Kind.CLOSED_IN_TLS: _CLOSED,
    Kind.TOO_LARGE: "Check ASP_VAULT_URL: this is no answer of Vault",
    Kind.BAD_URL: "Set ASP_VAULT_URL to an address such as https://vault.example:8200",
}


class ForeignRedirectError(Exception):
    """A redirect that is not followed: `target` is where to, as it may be shown."""

    def __init__(self, status: int, target: str) -> None:
        super().__init__(status)
        self.status = status
        self.target = target


def outage(fetch: Fetch, source: str, call: Call, error: Exception) -> VaultError:
    """Return the error for a call that ended with an exception instead of an answer."""
    reason, advice, is_conclusive = _meaning(error)
    attempt = Attempt(source, f"{call.doing} failed: {fetch.shown(reason)}", advice)
    return VaultError(attempt, is_conclusive=is_conclusive)


def _meaning(error: Exception) -> tuple[str, str, bool]:
    match error:
        case ExchangeError(failure=failure):
            return failure.clause, failure.advice(_ADVICE, _OTHERWISE), failure.is_conclusive
        case ForeignRedirectError(status=status, target=target):
            said = f"it answered {status} and wants to send the proxy to {target}"
            return f"{said}, which is not how Vault's standby nodes redirect", _OWN_ADDRESS, True
        case ValueError():  # as `requests` refuses addresses
            return "its address cannot be used", _ADVICE[Kind.BAD_URL], True
    return f"no answer could be read ({type(error).__name__})", _OTHERWISE, False
