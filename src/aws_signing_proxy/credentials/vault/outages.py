"""What it means when no answer of Vault came: names, connections, TLS and timeouts, as sentences.

`requests` and `urllib3` wrap what the operating system and OpenSSL said several times over; what was said first is what
a person can act on, so it is looked for at the bottom of the chain.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from typing import Final

from aws_signing_proxy.credentials.fetch import Fetch
from aws_signing_proxy.credentials.provider import Attempt
from aws_signing_proxy.credentials.vault.errors import Call, VaultError

__all__ = ["BrokenAnswerError", "outage"]

_DEEPEST_CHAIN: Final = 20
_AGAIN: Final = "the proxy asks again by itself"
_ADVICE_ON_CLOSE: Final = (
    "See whether Vault restarts, whether ASP_VAULT_URL should begin with https://, whether the listener demands "
    f"another client certificate (ASP_VAULT_CLIENT_CERT), and what stands between; {_AGAIN}"
)


class BrokenAnswerError(Exception):
    """An answer that is not taken: too large, or a redirect that is not followed. Holds reason and advice."""

    def __init__(self, reason: str, advice: str, *, is_conclusive: bool) -> None:
        super().__init__(reason)
        self.reason = reason
        self.advice = advice
        self.is_conclusive = is_conclusive


def outage(fetch: Fetch, source: str, call: Call, error: BaseException) -> VaultError:
    """Return the error for a call that ended with an exception instead of an answer."""
    reason, advice, is_conclusive = _meaning(fetch, list(_chain(error)))
    return VaultError(Attempt(source, f"{call.doing} failed: {reason}", advice), is_conclusive=is_conclusive)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield the exception and everything that it wraps, each once: causes, contexts, arguments, `reason`."""
    waiting: list[object] = [error]
    seen: list[object] = []
    while waiting and len(seen) < _DEEPEST_CHAIN:
        current = waiting.pop(0)
        if not isinstance(current, BaseException) or any(current is known for known in seen):
            continue
        seen.append(current)
        yield current
        waiting += [*current.args, getattr(current, "reason", None), current.__cause__, current.__context__]


def _meaning(fetch: Fetch, chain: list[BaseException]) -> tuple[str, str, bool]:
    """Return reason, advice and whether it is conclusive. The order matters: what is more exact comes first."""
    proxy = " through the proxy of HTTPS_PROXY or HTTP_PROXY" if _is_named(chain, "ProxyError") else ""
    for kind in (BrokenAnswerError, ssl.SSLError, OSError):
        for error in chain:
            if isinstance(error, kind) and (found := _exact_meaning(fetch, error, proxy)) is not None:
                return found
    if _is_named(chain, "InvalidProxyURL") or any("SOCKS" in str(error) for error in chain):
        advice = "Set HTTPS_PROXY or HTTP_PROXY to an address such as http://proxy.example:3128, or Vault into NO_PROXY"
        return "the proxy that the environment names cannot be used", advice, True
    if proxy:
        said = fetch.shown(str(chain[-1]))
        return f"no connection{proxy} ({said})", "Check HTTPS_PROXY, HTTP_PROXY and NO_PROXY", False
    if _is_named(chain, "InvalidURL", "InvalidSchema", "MissingSchema", "LocationParseError", "UnicodeError"):
        return "its address cannot be used", "Set ASP_VAULT_URL to an address such as https://vault.example:8200", True
    if _is_named(chain, "ReadTimeout", "ReadTimeoutError", "ConnectTimeout", "Timeout"):
        return _no_answer(proxy)
    return (
        f"no answer could be read ({type(chain[-1]).__name__})",
        f"Look at what stands between the proxy and Vault: this was no whole HTTP answer; {_AGAIN}",
        False,
    )


def _exact_meaning(fetch: Fetch, error: BaseException, proxy: str) -> tuple[str, str, bool] | None:
    if isinstance(error, BrokenAnswerError):
        return fetch.shown(error.reason), error.advice, error.is_conclusive
    return _tls_meaning(fetch, error) if isinstance(error, ssl.SSLError) else _socket_meaning(error, proxy)


def _is_named(chain: list[BaseException], *names: str) -> bool:
    return any(kind.__name__ in names for error in chain for kind in type(error).__mro__)


def _no_answer(proxy: str) -> tuple[str, str, bool]:
    advice = f"See whether Vault is overloaded and whether a firewall drops the connection; {_AGAIN}"
    return f"no answer in time{proxy}", advice, False


def _socket_meaning(error: BaseException, proxy: str) -> tuple[str, str, bool] | None:
    if isinstance(error, socket.gaierror):
        advice = f"Check the host in ASP_VAULT_URL, and the DNS of this machine; {_AGAIN}"
        return f"its name cannot be resolved{proxy}", advice, False
    if isinstance(error, ConnectionRefusedError):
        advice = f"Start Vault, or check host and port in ASP_VAULT_URL; {_AGAIN}"
        return f"the connection was refused{proxy}", advice, False
    if isinstance(error, TimeoutError):
        return _no_answer(proxy)
    if isinstance(error, ConnectionError):  # reset, aborted, broken pipe, closed without an answer
        return f"the connection was closed without an answer{proxy}", _ADVICE_ON_CLOSE, False
    if isinstance(error, OSError) and error.errno is not None and error.strerror:
        advice = f"Check the network between the proxy and Vault; {_AGAIN}"
        return f"the network said: {error.strerror}{proxy}", advice, False
    return None


def _tls_meaning(fetch: Fetch, error: ssl.SSLError) -> tuple[str, str, bool]:
    if isinstance(error, ssl.SSLCertVerificationError):
        said = error.verify_message or "certificate verify failed"
        return f"its certificate is not accepted ({fetch.shown(said)})", _certificate_advice(said), True
    if isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError):
        # A listener that refuses the client certificate closes while the request is being sent: its alert may be lost.
        return "the connection was closed in the middle of TLS", _ADVICE_ON_CLOSE, False
    said = f"{error.reason or ''} {error}".upper().replace(" ", "_")
    for words, reason, advice in _TLS_MEANINGS:
        if any(word in said for word in words):
            return reason, advice, True
    shown = fetch.shown(error.reason or type(error).__name__)
    return f"TLS failed ({shown})", f"Compare the TLS versions and ciphers of Vault's listener; {_AGAIN}", False


def _certificate_advice(said: str) -> str:
    lower = said.lower()
    if "hostname mismatch" in lower or "ip address mismatch" in lower:
        return "Set ASP_VAULT_URL to a name that Vault's certificate was made for, or give Vault a certificate with it"
    if "expired" in lower:
        return "Renew Vault's certificate, and check the clock of this machine"
    if "not yet valid" in lower:
        return "Check the clock of this machine and of the one that made Vault's certificate"
    return "Set ASP_VAULT_CA_BUNDLE to a PEM file with the certificate of the authority that signed Vault's"


_TLS_MEANINGS: Final = (
    (
        ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG"),
        "it does not speak TLS",
        "Begin ASP_VAULT_URL with http:// if Vault's listener has TLS disabled, or check the port",
    ),
    (
        ("CERTIFICATE_REQUIRED", "HANDSHAKE_FAILURE", "BAD_CERTIFICATE", "ALERT_UNKNOWN_CA", "CERTIFICATE_UNKNOWN"),
        "it does not accept the client certificate, or demands one",
        "Set ASP_VAULT_CLIENT_CERT and ASP_VAULT_CLIENT_KEY to a pair that Vault's listener trusts",
    ),
    (
        ("CERTIFICATE_EXPIRED", "CERTIFICATE_REVOKED"),
        "it says that the client certificate has expired or was revoked",
        "Put a new pair at ASP_VAULT_CLIENT_CERT and ASP_VAULT_CLIENT_KEY; it is read again by itself",
    ),
)
