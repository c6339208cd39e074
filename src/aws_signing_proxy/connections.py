"""From the settings to what connects: TLS towards clients, and the way to the target."""

from __future__ import annotations

import time

from aws_signing_proxy.config.connection_rules import proxy_on_the_way
from aws_signing_proxy.config.proxy_variables import ProxyUrl
from aws_signing_proxy.config.settings import Settings
from aws_signing_proxy.observe.counters import Counters
from aws_signing_proxy.tls.contexts import KeyPair, client_context, server_context
from aws_signing_proxy.tls.reloading import CertificateWatch, ReloadedContext
from aws_signing_proxy.upstream.connector import Connector, UpstreamAddress
from aws_signing_proxy.upstream.forward_proxy import ForwardProxy, basic_authorization
from aws_signing_proxy.upstream.tls import TlsSettings
from aws_signing_proxy.upstream.upstream import Upstream

__all__ = ["Connections"]


class Connections:
    """What the settings say of connections, built; certificates are followed by `watch`.

    `tls`: what clients are spoken to with, None for plain HTTP. `host`: the Host field that is signed and sent.
    `forward_to` and `proxy_authorization`: see `HeadRewriter`. Nothing of it needs an event loop, so that workers can
    be forked from it. Raises OSError, ssl.SSLError or CertificateFileError where a file cannot be read.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.tls = self._downstream_tls()
        self._client_tls: ReloadedContext | None = None
        proxy = self._proxy()
        self._connect = self._connector(proxy)
        self.watch = CertificateWatch([each for each in (self.tls, self._client_tls) if each is not None])
        self.host = self._host()
        self.forward_to = b""
        self.proxy_authorization: bytes | None = None
        if proxy is not None and not proxy.is_tunnel:
            self.forward_to = f"http://{settings.target_url.host_field_value}".encode("ascii")
            self.proxy_authorization = proxy.authorization

    def upstream(self, counters: Counters, *, max_connections: int, warm_connections: int) -> Upstream:
        """Return the pool of connections to the target, empty."""
        settings = self._settings
        return Upstream(
            self._connect,
            max_connections=max_connections,
            warm_connections=warm_connections,
            idle_timeout_seconds=settings.idle_conn_timeout_seconds,
            max_age_seconds=settings.upstream_max_age_seconds,
            counters=counters,
            clock=time.monotonic,
        )

    def _downstream_tls(self) -> ReloadedContext | None:
        settings = self._settings
        if settings.tls_cert is None or settings.unix_socket is not None:
            return None
        key_pair, client_ca = KeyPair(settings.tls_cert, settings.tls_key), settings.tls_client_ca
        files = key_pair.files if client_ca is None else (*key_pair.files, client_ca)
        return ReloadedContext(
            "the certificate of ASP_TLS_CERT", files, lambda: server_context(key_pair, client_ca=client_ca)
        )

    def _connector(self, proxy: ForwardProxy | None) -> Connector:
        settings, target = self._settings, self._settings.target_url
        there = settings.connect_to
        return Connector(
            UpstreamAddress(target.host, target.port),
            self._upstream_tls(),
            connect_timeout_seconds=settings.dial_timeout_seconds,
            connect_to=None if there is None else UpstreamAddress(there.host, there.port or target.port),
            proxy=proxy,
        )

    def _upstream_tls(self) -> TlsSettings | None:
        settings, target = self._settings, self._settings.target_url
        if not target.is_tls:
            return None
        bundle, verifies = self._ca_bundle, not settings.insecure_skip_verify
        if settings.client_cert is None:
            return TlsSettings(client_context(bundle, verifies=verifies), target.host)
        key_pair = KeyPair(settings.client_cert, settings.client_key)
        self._client_tls = ReloadedContext(
            "the certificate of ASP_CLIENT_CERT",
            key_pair.files,
            lambda: client_context(bundle, key_pair=key_pair, verifies=verifies),
        )
        return TlsSettings(self._client_tls, target.host)

    @property
    def _ca_bundle(self) -> str | None:
        bundle = self._settings.ca_bundle
        return None if bundle is None else str(bundle)

    def _proxy(self) -> ForwardProxy | None:
        settings, target = self._settings, self._settings.target_url
        url = proxy_on_the_way(settings, target)
        if url is None:
            return None
        # In absolute-form the proxy takes the authority for the Host (RFC 9112 section 3.2.2): where the two differ,
        # only a tunnel leaves the signed one alone. curl does the same for --connect-to.
        has_other_host = self._host() != target.host_field_value.encode("ascii")
        is_tunnel = target.is_tls or settings.connect_to is not None or has_other_host
        return ForwardProxy(
            UpstreamAddress(url.host, url.port),
            "HTTPS_PROXY" if target.is_tls else "HTTP_PROXY",
            is_tunnel,
            tls=TlsSettings(client_context(self._ca_bundle), url.host) if url.scheme == "https" else None,
            authorization=_authorization(url),
        )

    def _host(self) -> bytes:
        settings, target = self._settings, self._settings.target_url
        host = settings.sign_host or target.host_field_value
        # As clients and servers write it (RFC 9110 section 7.2): another Host is another signature.
        return host.removesuffix(":443" if target.is_tls else ":80").encode("ascii")


def _authorization(url: ProxyUrl) -> bytes | None:
    return None if url.user is None else basic_authorization(url.user, url.password or b"")
