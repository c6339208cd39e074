"""HTTP to Vault: what `hvac` wants to be a `requests` session, over the connections that all sources share.

A call ends in time whatever the server does, from its connection to its last byte, and its answer has a largest size.

This module imports `requests` and `urllib3`, so it is itself imported only where Vault is about to be asked.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import urljoin, urlsplit

import requests
from requests.adapters import BaseAdapter
from requests.structures import CaseInsensitiveDict

from aws_signing_proxy.credentials.fetch import Fetch
from aws_signing_proxy.credentials.http.bounded_sockets import deadline
from aws_signing_proxy.credentials.http.exchange import HttpClient
from aws_signing_proxy.credentials.http.trusted_certificates import ClientCertificate, TrustedCertificates
from aws_signing_proxy.credentials.http.web_address import shown_address
from aws_signing_proxy.credentials.vault.options import VaultOptions
from aws_signing_proxy.credentials.vault.outages import ForeignRedirectError

__all__ = ["VaultSession"]

# AWS may take seconds to make an IAM user; one that is made after the proxy has hung up is known to nobody.
_LONGEST_CALL_SECONDS: Final = 15.0
_LARGEST_BODY_BYTES: Final = 1 << 20
_MOST_REDIRECTS: Final = 3
_KEEPING_REDIRECTS: Final = frozenset({307, 308})  # RFC 9110 section 15.4: method and body stay what they were


class VaultSession(requests.Session):
    """A session that takes from `environ` only proxies and certificates, and follows only Vault's own redirects.

    Trusted are the certificates of ASP_VAULT_CA_BUNDLE alone; REQUESTS_CA_BUNDLE and VAULT_CACERT are not read: what
    is trusted with Vault's token is set for this program, or for the whole system. A changed file is read again.
    """

    def __init__(self, options: VaultOptions, environ: Mapping[str, str]) -> None:
        super().__init__()
        self.trust_env = False
        self.max_redirects = _MOST_REDIRECTS
        self.headers["Accept-Encoding"] = "identity"
        self._adapter = _Adapter(options, environ)
        for prefix in list(self.adapters):
            self.mount(prefix, self._adapter)

    @contextlib.contextmanager
    def bound_to(self, fetch: Fetch) -> Iterator[None]:
        """Let the call inside the `with` statement, its redirects included, take what `fetch` has for it."""
        self._adapter.fetch = fetch
        with deadline(fetch.timeout_seconds(_LONGEST_CALL_SECONDS)):
            yield

    def rest(self) -> None:
        """Close the connections: the next fetch is minutes away, and Vault or a firewall would close them anyway."""
        self.close()

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        """Return where a standby node sends its clients to, None where the answer is no redirect.

        The token goes along, as with Vault's own client. So only that is followed which a standby answers: 307, the
        same scheme and the same path on another host (whose certificate is verified like the first one's).
        """
        location = super().get_redirect_target(resp)
        if location is None:
            return None
        there = urlsplit(urljoin(resp.url, location))
        here = urlsplit(resp.url)
        is_same_call = (there.scheme, _call(there.path), there.query) == (here.scheme, _call(here.path), here.query)
        if resp.status_code in _KEEPING_REDIRECTS and is_same_call:
            return location
        raise ForeignRedirectError(resp.status_code, shown_address(f"{there.scheme}://{there.netloc}"))


class _Adapter(BaseAdapter):
    """Sends one request, and reads the whole answer."""

    def __init__(self, options: VaultOptions, environ: Mapping[str, str]) -> None:
        super().__init__()
        cert = options.client_cert
        client = None
        if cert is not None:
            client = ClientCertificate("ASP_VAULT_CLIENT_CERT", cert, "ASP_VAULT_CLIENT_KEY", options.client_key)
        trusted = TrustedCertificates(
            setting="ASP_VAULT_CA_BUNDLE", bundle=options.ca_bundle, environ=environ, client=client
        )
        self._client = HttpClient(trusted, environ=environ, largest_answer_bytes=_LARGEST_BODY_BYTES)
        self.fetch = Fetch()

    def send(self, request: requests.PreparedRequest, *_: Any, **__: Any) -> requests.Response:
        """Send it without retries; what the session says about proxies and certificates does not count."""
        answer = self._client.send(
            self.fetch,
            request.method or "GET",
            request.url or "",
            fields={name: str(value) for name, value in request.headers.items()},
            body=request.body,
            at_most_seconds=_LONGEST_CALL_SECONDS,
        )
        response = requests.Response()
        response.status_code = answer.status
        response.headers = CaseInsensitiveDict(answer.fields)
        response.url = request.url or ""
        response.request = request
        response._content = answer.body  # noqa: SLF001 - as `requests` keeps what it has read
        response._content_consumed = True  # noqa: SLF001 - as above
        return response

    def close(self) -> None:
        """Close the connections; the next call opens new ones."""
        self._client.close()


def _call(path: str) -> str:
    """Return the path from its "/v1/" on: a node may be reached below a gateway's prefix, and name itself without."""
    return path[path.find("/v1/") :] if "/v1/" in path else path
