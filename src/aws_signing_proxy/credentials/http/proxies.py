"""The HTTP proxy on the way to a server, by the variables that nearly every program reads.

HTTP_PROXY, HTTPS_PROXY and ALL_PROXY, in lower case first, as Python and botocore read them: they are no standard.
NO_PROXY is read as it is for the service (`no_proxy`). They come from a mapping, never from the process's own
environment behind one's back.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Final, NamedTuple
from urllib.parse import unquote, urlsplit

from aws_signing_proxy.credentials.http.failures import ExchangeError, Failure, Kind
from aws_signing_proxy.credentials.http.web_address import passwords_in, shown_address
from aws_signing_proxy.no_proxy import NoProxy, is_on_this_machine

__all__ = ["Proxy", "proxy_for"]

_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


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
    if not value or _is_direct(url, environ):
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


def _is_direct(url: str, environ: Mapping[str, str]) -> bool:
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        port = parts.port or _DEFAULT_PORTS.get(parts.scheme, 0)
    except ValueError:  # whoever connects to it says so
        return False
    return is_on_this_machine(host) or NoProxy.parse(_value(environ, "no_proxy")[1]).covers(host, port)
