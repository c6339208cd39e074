"""The variables that name HTTP proxies: HTTP_PROXY, HTTPS_PROXY. NO_PROXY is read by `no_proxy`, for all who connect.

They are no standard. Here they mean what curl (https://everything.curl.dev/usingcurl/proxies/env.html) and Go
(https://pkg.go.dev/golang.org/x/net/http/httpproxy) agree on; where they differ, what Go does, as the original proxy
is a Go program. Upper-case HTTP_PROXY counts as well: curl ignores it because a CGI program would take a client's field
`Proxy` for it, and this is none.
"""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import unquote_to_bytes

from aws_signing_proxy.config.notation import UnexpectedValueError
from aws_signing_proxy.config.values import TargetUrl

__all__ = ["ProxyUrl"]


@dataclass(frozen=True, slots=True, repr=False)
class ProxyUrl:
    """An HTTP proxy. `user` and `password` are decoded; None where the URL has none."""

    scheme: Literal["https", "http"]
    host: str
    port: int
    user: bytes | None = field(default=None)
    password: bytes | None = field(default=None)

    def __repr__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{'' if self.user is None else '***@'}{host}:{self.port}"

    @property
    def secrets(self) -> tuple[str, ...]:
        """What no log may show: the password, and the two together as they are sent."""
        if not self.password:
            return ()
        sent = b64encode((self.user or b"") + b":" + self.password).decode("ascii")
        return self.password.decode("utf-8", "replace"), sent

    @classmethod
    def parse(cls, text: str) -> ProxyUrl:
        """Read a proxy's URL; without a scheme, http is meant.

        Raises `UnexpectedValueError`, which shows no part of it.
        """
        scheme, mark, rest = text.partition("://")
        if not mark:
            scheme, rest = "http", text
        if scheme.lower() not in {"http", "https"}:
            raise UnexpectedValueError("the URL of an HTTP proxy, http:// or https://; SOCKS is not spoken")
        # The last @: a password may hold one that nobody encoded.
        userinfo, mark, authority = rest.rpartition("@")
        user: bytes | None = None
        password: bytes | None = None
        if mark:
            given_user, _, given_password = userinfo.partition(":")
            user, password = _decoded(given_user), _decoded(given_password)
            if b":" in user:
                raise UnexpectedValueError("the URL of an HTTP proxy whose user name has no colon (RFC 7617)")
        authority = authority.removesuffix("/")
        if set(authority) & set("/?#\\"):
            raise UnexpectedValueError
        try:
            parsed = TargetUrl.parse(f"{scheme}://{authority}")
        except UnexpectedValueError:
            raise UnexpectedValueError from None
        return cls(parsed.scheme, parsed.host, parsed.port, user, password)


def _decoded(text: str) -> bytes:
    value = unquote_to_bytes(text)
    if any(byte < 0x20 or byte == 0x7F for byte in value):  # noqa: PLR2004 - control characters
        raise UnexpectedValueError("the URL of an HTTP proxy whose user and password have no control characters")
    return value
