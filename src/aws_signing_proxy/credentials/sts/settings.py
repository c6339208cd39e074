"""Where STS is and how it is reached, as the AWS SDKs read it from the environment.

AWS SDKs and Tools Reference Guide: "Service-specific endpoints" (AWS_ENDPOINT_URL_STS, AWS_ENDPOINT_URL,
AWS_IGNORE_CONFIGURED_ENDPOINT_URLS), "Dual-stack and FIPS endpoints" (AWS_USE_DUALSTACK_ENDPOINT,
AWS_USE_FIPS_ENDPOINT), "General configuration" (AWS_CA_BUNDLE). SSL_CERT_FILE is OpenSSL's. The variables of HTTP
proxies are no standard: here they are read as Python and botocore read them.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

__all__ = ["StsSettings", "shown_address"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StsSettings:
    """What decides which STS is asked, and how. The `repr` leaves out what may hold a password."""

    region: str
    endpoint_url: str | None = field(repr=False)
    """Instead of the region's own; None where the region decides."""
    ca_bundle: str | None
    """A PEM file of trusted certificates instead of the system's."""
    use_fips: bool
    use_dualstack: bool
    proxies: Mapping[str, str] = field(repr=False)
    """The proxy's URL, by the scheme of what is asked. May hold a user name and a password."""
    no_proxy: str
    """The hosts that are asked without a proxy, as the variable lists them."""

    @classmethod
    def read(cls, region: str, environ: Mapping[str, str]) -> StsSettings:
        """Take all of it from `environ` alone; files and the process's own environment have no say."""

        def value(*names: str) -> str | None:
            return next((text for name in names if (text := environ.get(name, "").strip())), None)

        def is_true(name: str) -> bool:
            return (value(name) or "").lower() == "true"

        url = value("AWS_ENDPOINT_URL_STS", "AWS_ENDPOINT_URL")
        proxies = {scheme: value(f"{scheme}_proxy", f"{scheme.upper()}_PROXY") for scheme in ("http", "https")}
        return cls(
            region=region,
            endpoint_url=None if is_true("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS") else url,
            ca_bundle=value("AWS_CA_BUNDLE", "SSL_CERT_FILE"),
            use_fips=is_true("AWS_USE_FIPS_ENDPOINT"),
            use_dualstack=is_true("AWS_USE_DUALSTACK_ENDPOINT"),
            proxies={scheme: proxy for scheme, proxy in proxies.items() if proxy is not None},
            no_proxy=value("no_proxy", "NO_PROXY") or "",
        )

    def proxy_for(self, url: str) -> str | None:
        """Return the URL of the proxy through which `url` is asked, None where it is asked directly."""
        parts = urlsplit(url)
        proxy = self.proxies.get(parts.scheme)
        if proxy is None or _is_exempt(parts.netloc.rpartition("@")[2].lower(), parts.hostname or "", self.no_proxy):
            return None
        return proxy if "://" in proxy else f"http://{proxy.removeprefix('//')}"


def _is_exempt(address: str, host: str, no_proxy: str) -> bool:
    """Whether the list has the host, its address with the port, a domain of it, "*", or a network that it is in."""
    for entry in (entry.strip().lower() for entry in no_proxy.split(",")):
        name = entry.lstrip(".")
        if name and (name in {"*", host, address} or host.endswith(f".{name}") or address.endswith(f".{name}")):
            return True
        if "/" in entry and _is_in_network(host, entry):
            return True
    return False


def _is_in_network(host: str, network: str) -> bool:
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(network, strict=False)
    except ValueError:  # a name, which is not resolved for this
        return False


def shown_address(url: str) -> str:
    """Return a URL without what may be secret in it: user information, query and fragment."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "something that is no URL"
    site = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}" if parts.netloc else ""
    return f"{site}{parts.path.rstrip('/')}" or "/"
