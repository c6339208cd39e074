"""Asking an authorization server, once, and never redirected: what its answer holds, and why none came."""

from __future__ import annotations

import http
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import urlsplit

from aws_signing_proxy.credentials.fetch import Fetch
from aws_signing_proxy.credentials.http.failures import ExchangeError, Kind
from aws_signing_proxy.credentials.http.retry_after import moment_of, retry_after_seconds
from aws_signing_proxy.credentials.http.trusted_certificates import CertificateFileError, TrustedCertificates
from aws_signing_proxy.credentials.http.web_address import shown_address
from aws_signing_proxy.credentials.provider import Attempt, CredentialsUnavailableError

if TYPE_CHECKING:
    from aws_signing_proxy.credentials.http.exchange import HttpClient

__all__ = ["Answer", "Server"]

# Of a fetch's 20 s: two dialects may have to be tried, and STS is to be asked after that.
_LONGEST_EXCHANGE_SECONDS: Final = 8.0
_LARGEST_BODY_BYTES: Final = 1 << 20


class Answer(NamedTuple):
    """What the server answered, read to its end. `fields` are its header fields, their names in lower case."""

    source: str
    status: int
    fields: Mapping[str, str]
    body: bytes

    def __repr__(self) -> str:
        """Show nothing of the body, which may hold the token."""
        return f"<Answer {self.status} of {self.source}>"

    def json_object(self) -> dict[str, object] | None:
        """Return the body where it is a JSON object (RFC 8259), else None."""
        try:
            found = json.loads(self.body)
        except (ValueError, RecursionError):
            return None
        return found if isinstance(found, dict) else None

    @property
    def status_line(self) -> str:
        """The status as people know it: "404 Not Found"."""
        try:
            return f"{self.status} {http.HTTPStatus(self.status).phrase}"
        except ValueError:
            return str(self.status)

    def clock_ahead_seconds(self, now: float) -> float | None:
        """How far the server's clock is ahead of `now`, by its Date field (RFC 9110 section 6.6.1); None without it."""
        moment = moment_of(self.fields.get("date", ""))
        return None if moment is None else moment - now

    def retry_after_seconds(self, now: float) -> float | None:
        """How long the server asks to wait; None where it does not."""
        return retry_after_seconds(self.fields, now)


class Server:
    """Authorization servers, as `options` say that they are reached: their own, and their issuer's."""

    def __init__(self, ca_bundle: Path | None, environ: Mapping[str, str]) -> None:
        self._ca_bundle = ca_bundle
        self._environ = environ
        self._client: HttpClient | None = None

    def ask(
        self,
        fetch: Fetch,
        method: str,
        url: str,
        *,
        setting: str,
        fields: Mapping[str, str],
        body: bytes | None = None,
    ) -> Answer:
        """Send one request and return the answer, whatever its status. `setting` is where a person set the URL.

        Raises:
            CredentialsUnavailableError: The server could not be asked, or did not answer in HTTP, in time and size.
        """
        source = f"authorization server {fetch.shown(shown_address(url))}"
        _check(source, url, setting)
        client = self._client_for_use()
        try:
            answer = client.send(
                fetch,
                method,
                url,
                fields={"User-Agent": "aws-signing-proxy", "Accept-Encoding": "identity", **fields},
                body=body,
                at_most_seconds=_LONGEST_EXCHANGE_SECONDS,
            )
            return Answer(source, *answer)
        except ExchangeError as error:
            failure = error.failure
            advice = failure.advice(_ADVICE, _OTHERWISE).format(setting=setting)
            attempt, is_conclusive = Attempt(source, failure.reason, advice), failure.is_conclusive
        except CertificateFileError as error:
            attempt, is_conclusive = error.attempt, True
        finally:
            # Tokens are fetched an hour apart or so, by when a kept connection would be dead, and perhaps unnoticed.
            client.close()
        # Raised out here, so that it has no context, which would keep the request with its secret alive.
        raise CredentialsUnavailableError((attempt,), is_conclusive=is_conclusive)

    def _client_for_use(self) -> HttpClient:
        if self._client is None:
            from aws_signing_proxy.credentials.http.exchange import HttpClient

            trusted = TrustedCertificates(
                setting="ASP_OPEN_ID_CA_BUNDLE", bundle=self._ca_bundle, environ=self._environ
            )
            self._client = HttpClient(trusted, environ=self._environ, largest_answer_bytes=_LARGEST_BODY_BYTES)
        return self._client


def _check(source: str, url: str, setting: str) -> None:
    """Refuse a URL that nobody could have meant."""
    advice = f"Set {setting} to a URL such as https://login.example.com/oauth2/token"
    try:
        parts = urlsplit(url)
        is_good = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_good = False
    if not is_good or not url.isprintable() or " " in url:
        raise _broken(source, "its URL is not an http or https URL", advice)
    if parts.username is not None or parts.password is not None:
        raise _broken(
            source,
            "its URL holds a user or a password",
            f"Take them out of {setting}: the client has ASP_OPEN_ID_CLIENT_ID and its secret",
        )
    if parts.fragment:
        raise _broken(source, 'its URL holds a "#"', advice)


def _broken(source: str, reason: str, advice: str) -> CredentialsUnavailableError:
    return CredentialsUnavailableError((Attempt(source, reason, advice),), is_conclusive=True)


_UP: Final = "Check that the authorization server is up and that a firewall lets this machine reach it"
_NAME: Final = "Check the host name in {setting}, and this machine's DNS"
_LOG: Final = "Look into the authorization server's log"
_CLOSED: Final = "Look into the authorization server's log, and check scheme and port of {setting}"
_DEMANDS: Final = "Ask the authorization server's operator: the proxy has no client certificate; or check {setting}"
_OTHERWISE: Final = "Check {setting}, and whether a proxy or load balancer stands before it"
_ADVICE: Final = {
    Kind.NAME: _NAME,
    Kind.SLOW_NAME: _NAME,
    Kind.REFUSED: "Check that the authorization server runs, and the host and port of {setting}",
    Kind.UNREACHABLE: "Check the host of {setting}, and this machine's network",
    Kind.SLOW_CONNECTION: _UP,
    Kind.SLOW: _UP,
    Kind.UNTRUSTED: "Let ASP_OPEN_ID_CA_BUNDLE name a file with the certificate of the authority that issued it, "
    "or check the host name in {setting}",
    Kind.WRONG_NAME: "Set {setting} to a host name that the certificate was made for",
    Kind.EXPIRED: "Renew the authorization server's certificate, and check the clock of this machine",
    Kind.NOT_YET_VALID: "Check the clock of this machine and of the one that made the certificate",
    Kind.NOT_TLS: "Check scheme and port of {setting}: a server without TLS is reached by http://",
    Kind.TLS: "Check scheme and port of {setting}, and compare the server's TLS versions and ciphers",
    Kind.CLIENT_CERTIFICATE: _DEMANDS,
    Kind.CLIENT_CERTIFICATE_OVER: _DEMANDS,
    Kind.CLOSED: _CLOSED,
    Kind.CLOSED_IN_TLS: _CLOSED,
    Kind.CUT_OFF: _LOG,
    Kind.NOT_HTTP: "Check scheme and port of {setting}: a server with TLS is reached by https://",
    Kind.TOO_LARGE: "Check {setting}: this is no token endpoint",
}
