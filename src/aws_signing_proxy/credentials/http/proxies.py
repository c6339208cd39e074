"""The HTTP proxy on the way to a server, by the variables that nearly every program reads.

HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY, in lower case first, as Python and botocore read them: they are no
standard. Here they come from a mapping, never from the process's own environment behind one's back.
"""

from __future__ import annotations

import base64
import ipaddress
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from aws_signing_proxy.credentials.http.failures import ExchangeError, Failure, Kind
from aws_signing_proxy.credentials.http.web_address import is_loopback, passwords_in, shown_address

__all__ = ["Proxy", "proxy_for"]


class Proxy(NamedTuple):
    """A proxy. `url` has no user information; `authorization` is the field's value for it, None without a user."""

    url: str
    authorization: str | None
    secrets: tuple[str, ...]
    """What must not be shown: the password as it stands there and decoded, and the field's value."""

    def __repr__(self) -> str:
        """Leave the secrets out."""
        return f"Proxy({shown_address(self.url)})"


def proxy_for(url: str, environ: Mapping[str, str]) -> Proxy | None:
    """Return the proxy through which `url` is asked, None where it is asked directly, as this machine always is.

    Raises:
        ExchangeError: The variable holds no URL of an HTTP proxy.
    """
    variable, value = _value(environ, f"{urlsplit(url).scheme}_proxy", "all_proxy")
    if not value or is_loopback(url) or _is_exempt(url, _value(environ, "no_proxy")[1]):
        return None
    scheme, mark, rest = value.partition("://")
    if not mark:
        scheme, rest = "http", value.removeprefix("//")
    # The last one: a password may hold one that nobody encoded, and a slash.
    user_info, _, host = rest.rpartition("@")
    address = f"{scheme}://{host}"
    try:
        parts = urlsplit(address)
        is_good = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_good = False
    if not is_good:
        said = f"{variable} ({shown_address(address)}) is not the URL of an HTTP proxy"
        raise ExchangeError(Failure(Kind.BAD_PROXY, said))
    url_of_proxy = f"{parts.scheme}://{parts.netloc}"
    if not user_info:
        return Proxy(url_of_proxy, None, ())
    user, _, password = user_info.partition(":")
    given = f"{unquote(user)}:{unquote(password)}"
    encoded = base64.b64encode(given.encode("utf-8", "surrogateescape")).decode()
    return Proxy(url_of_proxy, f"Basic {encoded}", (*sorted(passwords_in(value)), encoded))


def _value(environ: Mapping[str, str], *names: str) -> tuple[str, str]:
    """Return the first of the variables that holds something, and its value. An empty one in lower case says: none."""
    for name in names:
        for variable in (name, name.upper()):
            if variable in environ:
                if text := environ[variable].strip():
                    return variable, text
                break
    return "", ""


def _is_exempt(url: str, no_proxy: str) -> bool:
    """Whether the list has the host, its address with the port, a domain of it, "*", or a network that it is in."""
    parts = urlsplit(url)
    host, address = (parts.hostname or "").rstrip("."), parts.netloc.rpartition("@")[2].lower()
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
