"""The kinds of settings that are about connections (see `kinds`)."""

from __future__ import annotations

from dataclasses import dataclass

from aws_signing_proxy.config.kinds import Kind, show_url
from aws_signing_proxy.config.notation import UnexpectedValueError
from aws_signing_proxy.config.proxy_variables import ProxyUrl
from aws_signing_proxy.config.values import TargetUrl
from aws_signing_proxy.no_proxy import NoProxy

__all__ = ["CONNECT_TO", "NO_PROXY", "PROXY_URL", "SIGN_HOST", "HostPort"]


@dataclass(frozen=True, slots=True, repr=False)
class HostPort:
    """A host (IPv6 without brackets) and a port; None: the target's."""

    host: str
    port: int | None

    def __repr__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port is None else f"{host}:{self.port}"


def _parse_connect_to(text: str) -> HostPort:
    url = _authority(text, "https")
    # What it would be with the other scheme tells whether the port was written.
    is_port_given = url.port == _authority(text, "http").port
    return HostPort(url.host, url.port if is_port_given else None)


def _parse_sign_host(text: str) -> str:
    # Kept with whichever port is given, a scheme's default too: the target's scheme is not known here.
    url = _authority(text, "https")
    return str(HostPort(url.host, url.port if url.port == _authority(text, "http").port else None))


def _authority(text: str, scheme: str) -> TargetUrl:
    if set(text) & set("/?#@\\"):
        raise UnexpectedValueError
    try:
        return TargetUrl.parse(f"{scheme}://{text}")
    except UnexpectedValueError:
        raise UnexpectedValueError from None


CONNECT_TO: Kind[HostPort] = Kind("HOST:PORT", "a host name or address, and a port: host:port", _parse_connect_to)
SIGN_HOST: Kind[str] = Kind("HOST", "a host name or address, with a port where it is not the default", _parse_sign_host)
PROXY_URL: Kind[ProxyUrl] = Kind(
    "URL", "the URL of an HTTP proxy, http:// or https://, without a path", ProxyUrl.parse, show_url
)
NO_PROXY: Kind[NoProxy] = Kind("HOSTS", "host names, addresses and networks, separated by commas", NoProxy.parse)
