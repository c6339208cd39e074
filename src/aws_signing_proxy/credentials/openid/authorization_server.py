"""One exchange with an authorization server over HTTP: bounded in time and size, and never redirected.

urllib3 does it, which botocore loads in any case. Not requests: it reads ~/.netrc for servers that it has no
credentials for, and would follow redirects with the client's secret in the body unless it is told each time.
"""

from __future__ import annotations

import http
import http.client
import ipaddress
import json
import ssl
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import unquote, urlsplit

from aws_signing_proxy.credentials.fetch import Fetch
from aws_signing_proxy.credentials.http.connection_failures import explain_failure
from aws_signing_proxy.credentials.provider import Attempt, CredentialsUnavailableError

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse, PoolManager

__all__ = ["Answer", "Server", "is_loopback", "place"]

# Of a fetch's 20 s: two dialects may have to be tried, and STS is to be asked after that.
_LONGEST_EXCHANGE_SECONDS: Final = 8.0
_LARGEST_BODY_BYTES: Final = 1 << 20
_PIECE_BYTES: Final = 1 << 16


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
        moment = _date(self.fields.get("date", ""))
        return None if moment is None else moment - now

    def retry_after_seconds(self, now: float) -> float | None:
        """How long the server asks to wait (RFC 9110 section 10.2.3: seconds or a date); None where it does not."""
        text = self.fields.get("retry-after", "").strip()
        if text.isascii() and text.isdigit():
            return float(text[:9])
        moment = _date(text)
        return None if moment is None else max(0.0, moment - now)


def _date(text: str) -> float | None:
    try:
        return parsedate_to_datetime(text).timestamp()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None


def place(url: str) -> str:
    """Return the URL as it may be shown: without user info, query and fragment."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        port = f":{parts.port}" if parts.port is not None else ""
    except ValueError:
        return "(not a URL)"
    return f"{parts.scheme}://{f'[{host}]' if ':' in host else host}{port}{parts.path}"


def is_loopback(url: str) -> bool:
    """Whether the URL's host is this machine, by its name or address."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class Server:
    """Where requests go. `setting` is the name under which a person set the URL; `ca_bundle` is read each time."""

    def __init__(self, *, setting: str, ca_bundle: Path | None) -> None:
        self._setting = setting
        self._ca_bundle = ca_bundle

    def ask(
        self, fetch: Fetch, method: str, url: str, *, fields: Mapping[str, str], body: bytes | None = None
    ) -> Answer:
        """Send one request and return the answer, whatever its status.

        Raises:
            CredentialsUnavailableError: The server could not be asked, or did not answer in HTTP, in time and size.
        """
        from urllib3.exceptions import HTTPError

        from aws_signing_proxy.credentials.http.bounded_connection import deadline

        source = f"authorization server {fetch.shown(place(url))}"
        self._check(source, url)
        proxy = _proxy_of(url)
        seconds = fetch.timeout_seconds(_LONGEST_EXCHANGE_SECONDS)
        manager = self._manager(fetch, url, proxy)
        try:
            with deadline(seconds):
                response = manager.request(
                    method,
                    url,
                    body=body,
                    headers={"User-Agent": "aws-signing-proxy", "Accept-Encoding": "identity", **fields},
                    preload_content=False,
                    decode_content=False,
                    redirect=False,
                    retries=False,
                    timeout=seconds,
                )
                try:
                    return self._read(source, response)
                finally:
                    response.close()
        except (HTTPError, OSError, http.client.HTTPException, ValueError) as error:
            reason, advice, is_conclusive = explain_failure(error, self._setting)
            if proxy is not None:
                reason = f"{reason} (asked through the proxy {place(proxy)})"
            attempt = Attempt(source, fetch.shown(reason), advice)
            failed = CredentialsUnavailableError((attempt,), is_conclusive=is_conclusive)
        finally:
            manager.clear()
        # Raised out here, so that it has no context: a library's exception may quote the proxy, which quotes us.
        raise failed

    def _check(self, source: str, url: str) -> None:
        """Refuse a URL that nobody could have meant."""
        advice = f"Set {self._setting} to a URL such as https://login.example.com/oauth2/token"
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
                f"Take them out of {self._setting}: the client has ASP_OPEN_ID_CLIENT_ID and its secret",
            )
        if parts.fragment:
            raise _broken(source, 'its URL holds a "#"', advice)

    def _manager(self, fetch: Fetch, url: str, proxy: str | None) -> PoolManager:
        """Return what connects, once: its one connection is closed after the exchange.

        Tokens are fetched an hour apart or so, by when a kept connection would be dead, and perhaps unnoticed.
        """
        from urllib3 import PoolManager, ProxyManager, make_headers
        from urllib3.exceptions import HTTPError

        from aws_signing_proxy.credentials.http.bounded_connection import POOL_CLASSES

        context = self._tls_context() if url.startswith("https:") else None
        manager: PoolManager
        if proxy is None:
            manager = PoolManager(num_pools=1, ssl_context=context)
        else:
            user, password = _user_of(proxy)
            headers = None
            if user or password:
                headers = make_headers(proxy_basic_auth=f"{user}:{fetch.secret(password)}")
                fetch.secret(headers["proxy-authorization"].removeprefix("Basic "))
            try:
                manager = ProxyManager(proxy, num_pools=1, ssl_context=context, proxy_headers=headers)
            except (HTTPError, ValueError):
                raise _broken(
                    f"proxy {place(proxy)}",
                    "its URL is not an http or https URL",
                    "Set HTTPS_PROXY or HTTP_PROXY to a URL such as http://proxy.example.com:3128, or unset it",
                ) from None
        manager.pool_classes_by_scheme = POOL_CLASSES
        return manager

    def _tls_context(self) -> ssl.SSLContext:
        """Return a context that verifies certificates and names; made anew, so that a changed bundle is noticed."""
        try:
            context = ssl.create_default_context(cafile=self._ca_bundle)
        except (OSError, ValueError) as error:
            # What OpenSSL says about a file without certificates helps nobody.
            problem = "no PEM certificate" if isinstance(error, ssl.SSLError) else getattr(error, "strerror", None)
            raise _broken(
                f"trusted certificates {self._ca_bundle}",
                f"cannot be read: {(problem or 'not a path').lower()}",
                "Let ASP_OPEN_ID_CA_BUNDLE name a readable file of certificates in PEM",
            ) from None
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        return context

    def _read(self, source: str, response: BaseHTTPResponse) -> Answer:
        pieces: list[bytes] = []
        size = 0
        while piece := response.read(_PIECE_BYTES):
            size += len(piece)
            if size > _LARGEST_BODY_BYTES:
                raise _broken(
                    source,
                    f"answered {response.status} with more than {_LARGEST_BODY_BYTES >> 20} MiB",
                    f"Check {self._setting}: this is no token endpoint",
                )
            pieces.append(piece)
        fields = {name.lower(): value for name, value in response.headers.items()}
        return Answer(source, response.status, fields, b"".join(pieces))


def _proxy_of(url: str) -> str | None:
    """Return the proxy for the URL by HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY; never one to this machine."""
    # As botocore finds the one for STS.
    from urllib.request import getproxies, proxy_bypass

    proxies = getproxies()
    parts = urlsplit(url)
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    if not proxy or is_loopback(url) or proxy_bypass(parts.netloc):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"


def _user_of(proxy: str) -> tuple[str, str]:
    try:
        parts = urlsplit(proxy)
    except ValueError:
        return "", ""
    return unquote(parts.username or ""), unquote(parts.password or "")


def _broken(source: str, reason: str, advice: str) -> CredentialsUnavailableError:
    return CredentialsUnavailableError((Attempt(source, reason, advice),), is_conclusive=True)
