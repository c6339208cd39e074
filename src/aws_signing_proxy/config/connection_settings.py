"""The settings of connections: TLS towards clients, and the way to the target. See `settings`, which has the others."""
# ruff: noqa: RUF009 - `setting` returns a dataclass field, whose default is made once and never changes

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from aws_signing_proxy.config import kinds
from aws_signing_proxy.config.connection_kinds import CONNECT_TO, NO_PROXY, PROXY_URL
from aws_signing_proxy.config.credential_settings import CredentialSettings
from aws_signing_proxy.config.declaration import Section, setting

if TYPE_CHECKING:
    from pathlib import Path

    from aws_signing_proxy.config.connection_kinds import HostPort
    from aws_signing_proxy.config.proxy_variables import ProxyUrl
    from aws_signing_proxy.no_proxy import NoProxy

__all__ = ["ConnectionSettings"]


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class ConnectionSettings(CredentialSettings):
    """How clients connect to the proxy, and the proxy to the target."""

    tls_cert: Path | None = setting(
        kinds.PEM_FILE,
        Section.TLS,
        "ASP_TLS_CERT",
        unset="plain HTTP",
        example="/etc/tls/tls.crt",
        summary="Speak TLS on the port, with this certificate and its chain. It is read again when the file changes.",
    )
    tls_key: Path | None = setting(
        kinds.PEM_FILE,
        Section.TLS,
        "ASP_TLS_KEY",
        unset="in the certificate's file",
        example="/etc/tls/tls.key",
        summary="The certificate's key, without a passphrase.",
    )
    tls_client_ca: Path | None = setting(
        kinds.PEM_FILE,
        Section.TLS,
        "ASP_TLS_CLIENT_CA",
        unset="clients show no certificate",
        example="/etc/tls/clients-ca.pem",
        summary="Clients must show a certificate of one of these authorities; without one the handshake fails.",
    )

    http_proxy: ProxyUrl | None = setting(
        PROXY_URL,
        Section.WAY,
        "http_proxy",
        "HTTP_PROXY",
        unset="none",
        summary="The HTTP proxy for a target over http://, http://user:password@host:port. It gets the signed requests "
        "in absolute-form.",
    )
    https_proxy: ProxyUrl | None = setting(
        PROXY_URL,
        Section.WAY,
        "https_proxy",
        "HTTPS_PROXY",
        unset="none",
        summary="The HTTP proxy for a target over https://. It is asked for tunnels (CONNECT), and sees nothing of "
        "what goes through them.",
    )
    no_proxy: NoProxy | None = setting(
        NO_PROXY,
        Section.WAY,
        "no_proxy",
        "NO_PROXY",
        unset="none",
        summary="What is connected to without a proxy, separated by commas: names (and all below them), addresses, "
        "networks such as 10.0.0.0/8, each with a port or without, or *. A target on this machine never needs one.",
    )
    connect_to: HostPort | None = setting(
        CONNECT_TO,
        Section.WAY,
        "ASP_CONNECT_TO",
        unset="to the target",
        example="vpce-0a1b.es.eu-central-1.vpce.amazonaws.com:443",
        summary="Connect to this host and port instead. Host, certificate and signature are still the target's: for "
        "SSH tunnels and VPC endpoints.",
    )
    client_cert: Path | None = setting(
        kinds.PEM_FILE,
        Section.WAY,
        "ASP_CLIENT_CERT",
        unset="none",
        example="/etc/tls/client.crt",
        summary="The certificate that is shown to the target. It is read again when the file changes.",
    )
    client_key: Path | None = setting(
        kinds.PEM_FILE,
        Section.WAY,
        "ASP_CLIENT_KEY",
        unset="in the certificate's file",
        example="/etc/tls/client.key",
        summary="The key of that certificate, without a passphrase.",
    )
    insecure_skip_verify: bool = setting(
        kinds.BOOLEAN,
        Section.WAY,
        "ASP_INSECURE_SKIP_VERIFY",
        default="false",
        summary="Take any certificate of the target: whoever is on the way can read and change everything, and use the "
        "session token. For tests only.",
    )
