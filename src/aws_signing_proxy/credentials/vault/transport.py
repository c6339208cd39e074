"""HTTP to Vault, bounded: a call ends in time whatever the server does, and its answer has a largest size.

`requests` bounds each wait for bytes, not the whole answer: a server that sends one byte a second would hold a fetch
for hours. Here one deadline holds for a call from its connection to its last byte.

This module imports `requests` and `urllib3`, so it is itself imported only where Vault is about to be asked.
"""

from __future__ import annotations

import contextlib
import http.client
import io
import os
import socket
import ssl
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import urljoin, urlsplit

import requests
from requests.adapters import HTTPAdapter
from requests.utils import DEFAULT_CA_BUNDLE_PATH, get_environ_proxies
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from aws_signing_proxy.credentials.vault.options import VaultOptions
from aws_signing_proxy.credentials.vault.outages import BrokenAnswerError

__all__ = ["TlsFileError", "VaultSession", "tls_context"]

_CONNECT_TIMEOUT_SECONDS: Final = 5.0
_LARGEST_BODY_BYTES: Final = 1 << 20
_CHUNK_BYTES: Final = 1 << 16
_MOST_REDIRECTS: Final = 3
_KEEPING_REDIRECTS: Final = frozenset({307, 308})  # RFC 9110 section 15.4: method and body stay what they were


class TlsFileError(Exception):
    """A file of certificates or keys cannot be used. `setting` names it; the message is a reason."""

    def __init__(self, setting: str, path: str, reason: str) -> None:
        super().__init__(reason)
        self.setting = setting
        self.path = path
        self.reason = reason


def tls_context(options: VaultOptions, environ: Mapping[str, str] = os.environ) -> ssl.SSLContext:
    """Return a context that verifies Vault's certificate and name, and shows the client certificate where one is set.

    Trusted are the certificates of ASP_VAULT_CA_BUNDLE alone; without it those of SSL_CERT_FILE or SSL_CERT_DIR, else
    the system's, as OpenSSL finds them; `requests`' own list where the system has none (slim images).
    REQUESTS_CA_BUNDLE and VAULT_CACERT are not read: what is trusted with Vault's token is set for this program, or for
    the whole system.

    Raises:
        TlsFileError: A file is missing or is not what it should be.
    """
    context = ssl.create_default_context(cafile=_checked_bundle(options.ca_bundle, environ))
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if options.client_cert is None:
        return context
    key = options.client_key or options.client_cert
    for setting, path in (("ASP_VAULT_CLIENT_CERT", options.client_cert), ("ASP_VAULT_CLIENT_KEY", key)):
        _check_readable(setting, path)
    try:
        # A password would be asked for on the terminal: an empty one makes OpenSSL refuse instead.
        context.load_cert_chain(options.client_cert, key, password="")
    except (ssl.SSLError, ValueError):
        reason = "is no usable pair of certificate and unencrypted private key (PEM) with ASP_VAULT_CLIENT_KEY"
        raise TlsFileError("ASP_VAULT_CLIENT_CERT", str(options.client_cert), reason) from None
    return context


def _checked_bundle(bundle: Path | None, environ: Mapping[str, str]) -> str | None:
    setting, path = "ASP_VAULT_CA_BUNDLE", bundle
    if path is None and environ.get("SSL_CERT_FILE"):
        # OpenSSL would ignore a file that is not there, and trust nothing or something else.
        setting, path = "SSL_CERT_FILE", Path(environ["SSL_CERT_FILE"])
    if path is None:
        return None if _has_system_certificates() else DEFAULT_CA_BUNDLE_PATH
    _check_readable(setting, path)
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
    except ssl.SSLError:
        raise TlsFileError(setting, str(path), "holds no certificate in PEM form") from None
    return str(path) if bundle is not None else None


def _check_readable(setting: str, path: Path) -> None:
    try:
        with path.open("rb"):
            return
    except OSError as error:
        reason = f"cannot be read ({error.strerror or type(error).__name__})"
        raise TlsFileError(setting, str(path), reason) from None


def _has_system_certificates() -> bool:
    places = ssl.get_default_verify_paths()
    if places.cafile:
        return True
    with contextlib.suppress(OSError):
        return bool(places.capath) and any(Path(places.capath).iterdir())
    return False


class _Deadline:
    """When the call that is under way has to be over."""

    def __init__(self) -> None:
        self.ends_at = 0.0

    def left(self) -> float:
        """Seconds that are left, never zero, which sockets misread as "do not block"."""
        return max(0.001, self.ends_at - time.monotonic())


class _BoundedReader(io.RawIOBase):
    """A connection's bytes, each read of which waits until the deadline at most."""

    def __init__(self, raw: io.RawIOBase, sock: socket.socket, deadline: _Deadline) -> None:
        super().__init__()
        self._raw = raw
        self._sock = sock
        self._deadline = deadline

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._sock.settimeout(self._deadline.left())
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


def _pools(deadline: _Deadline) -> dict[str, type[HTTPConnectionPool]]:
    """Return connection pools whose connections read under the deadline, by scheme."""

    class Answer(http.client.HTTPResponse):
        def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
            super().__init__(sock, *args, **kwargs)
            self.fp: io.BufferedReader = io.BufferedReader(_BoundedReader(self.fp.detach(), sock, deadline))

    class PlainConnection(HTTPConnection):
        response_class = Answer

    class TlsConnection(HTTPSConnection):
        response_class = Answer

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = PlainConnection

    class TlsPool(HTTPSConnectionPool):
        ConnectionCls = TlsConnection

    return {"http": PlainPool, "https": TlsPool}


class _BoundedAdapter(HTTPAdapter):
    """Sends one request without retries, and reads the whole answer, within the deadline and the largest size."""

    def __init__(self, deadline: _Deadline, context: ssl.SSLContext | None) -> None:
        self._deadline = deadline
        self._context = context
        self._pools = _pools(deadline)
        super().__init__(pool_connections=2, pool_maxsize=1)

    def init_poolmanager(self, connections: int, maxsize: int, block: bool = False, **pool_kwargs: Any) -> None:
        super().init_poolmanager(connections, maxsize, block, ssl_context=self._context, **pool_kwargs)
        self.poolmanager.pool_classes_by_scheme = self._pools

    def proxy_manager_for(self, proxy: str, **proxy_kwargs: Any) -> Any:
        manager = super().proxy_manager_for(proxy, ssl_context=self._context, **proxy_kwargs)
        manager.pool_classes_by_scheme = self._pools
        return manager

    def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:
        """Leave the pool as it is: the context says what is trusted, and `requests` would add its own list."""

    def send(self, request: requests.PreparedRequest, *_args: Any, **_kwargs: Any) -> requests.Response:
        left = self._deadline.left()
        response = super().send(
            request,
            stream=True,
            timeout=(min(_CONNECT_TIMEOUT_SECONDS, left), left),
            # Not from the session, which would read REQUESTS_CA_BUNDLE and ~/.netrc together with these.
            proxies=get_environ_proxies(request.url or ""),
        )
        try:
            response._content = _body(response)  # noqa: SLF001 - as `Response.content` keeps it; it has no limit
        finally:
            response.close()
        return response


def _body(response: requests.Response) -> bytes:
    body = bytearray()
    for chunk in response.iter_content(_CHUNK_BYTES):
        body += chunk
        if len(body) > _LARGEST_BODY_BYTES:
            reason = f"it answered with more than {_LARGEST_BODY_BYTES} bytes"
            raise BrokenAnswerError(reason, "Check ASP_VAULT_URL: this is no answer of Vault", is_conclusive=True)
    return bytes(body)


class VaultSession(requests.Session):
    """A session that takes from the environment nothing but the proxies, and follows only Vault's own redirects."""

    def __init__(self, context: ssl.SSLContext | None) -> None:
        super().__init__()
        self.trust_env = False
        self.max_redirects = _MOST_REDIRECTS
        self.headers["Accept-Encoding"] = "identity"
        self._deadline = _Deadline()
        adapter = _BoundedAdapter(self._deadline, context)
        for prefix in list(self.adapters):
            self.mount(prefix, adapter)

    @contextlib.contextmanager
    def bounded(self, seconds: float) -> Iterator[None]:
        """Let the calls inside the `with` statement take so long together."""
        self._deadline.ends_at = time.monotonic() + seconds
        yield

    def rest(self) -> None:
        """Close the connections: the next fetch is minutes away, and Vault or a firewall would close them anyway."""
        self.cookies.clear()
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
        target = f"{there.scheme}://{there.hostname or ''}" + (f":{there.port}" if _has_port(there.netloc) else "")
        raise BrokenAnswerError(
            f"it answered {resp.status_code} and wants to send the proxy to {target}, which is not how Vault's standby "
            "nodes redirect",
            "Set ASP_VAULT_URL to Vault's own address: the token is not sent on to where a gateway, a login page or "
            "another scheme is",
            is_conclusive=True,
        )


def _call(path: str) -> str:
    """Return the path from its "/v1/" on: a node may be reached below a gateway's prefix, and name itself without."""
    return path[path.find("/v1/") :] if "/v1/" in path else path


def _has_port(netloc: str) -> bool:
    try:
        return urlsplit(f"//{netloc}").port is not None
    except ValueError:
        return False
