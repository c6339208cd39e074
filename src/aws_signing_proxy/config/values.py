"""Values of settings that are more than a number or a text."""

# ruff: noqa: S105 - the words of settings, not secrets

from __future__ import annotations

import re
import socket
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from aws_signing_proxy.config.notation import UnexpectedValueError

__all__ = [
    "CredentialsProvider",
    "LogFormat",
    "LogLevel",
    "OpenIdClientAuth",
    "OpenIdDialect",
    "OpenIdToken",
    "PayloadMode",
    "TargetUrl",
    "VaultAuthMethod",
    "is_host_name",
    "normalised_ipv6",
]

_URL = re.compile(
    r"(?:(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://)?(?P<authority>[^/?#\\]*)(?P<path>[^?#]*)(?P<rest>.*)", re.DOTALL
)
_AUTHORITY = re.compile(r"(?:\[(?P<ipv6>[^\]]*)\]|(?P<host>[^:\[\]]*))(?::(?P<port>.*))?", re.DOTALL)
_PORT = re.compile(r"[0-9]{1,5}")
_MAX_PORT = 65535
# Underscores are no part of a host name (RFC 1123), but of many names in container networks.
_LABEL = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")
_MAX_HOST_NAME = 253
# pchar and "/" of RFC 3986, section 3.3.
_PATH = re.compile(r"(?:[A-Za-z0-9\-._~!$&'()*+,;=:@/]|%[0-9A-Fa-f]{2})*")
_DEFAULT_PORTS = {"https": 443, "http": 80}


class CredentialsProvider(StrEnum):
    """Where the AWS credentials come from."""

    OIDC = "oidc"
    VAULT = "vault"
    IRSA = "irsa"
    AWSTOKEN = "awstoken"
    DEFAULT = "default"


class VaultAuthMethod(StrEnum):
    """How the proxy logs in to Vault."""

    TOKEN = "token"
    TOKEN_FILE = "token_file"
    APPROLE = "approle"
    KUBERNETES = "kubernetes"
    JWT = "jwt"


class OpenIdDialect(StrEnum):
    """What an authorization server speaks."""

    AUTO = "auto"
    JSON = "json"
    OAUTH2 = "oauth2"


class OpenIdClientAuth(StrEnum):
    """How an OAuth client authenticates: OpenID Connect Core 1.0, section 9."""

    CLIENT_SECRET_BASIC = "client_secret_basic"
    CLIENT_SECRET_POST = "client_secret_post"
    PRIVATE_KEY_JWT = "private_key_jwt"


class OpenIdToken(StrEnum):
    """Which token of an authorization server's answer is taken."""

    AUTO = "auto"
    ID_TOKEN = "id_token"
    ACCESS_TOKEN = "access_token"


class PayloadMode(StrEnum):
    """How large bodies are signed."""

    AUTO = "auto"
    SIGNED = "signed"
    UNSIGNED = "unsigned"
    CHUNKED = "chunked"


class LogLevel(StrEnum):
    """The least severe message that is logged."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class LogFormat(StrEnum):
    """How a log line is written: one JSON object, or coloured text for people."""

    JSON = "json"
    CONSOLE = "console"


def normalised_ipv6(text: str) -> str | None:
    """Return the IPv6 address in its shortest form (RFC 5952), or None where `text` is not one."""
    try:
        return socket.inet_ntop(socket.AF_INET6, socket.inet_pton(socket.AF_INET6, text))
    except (OSError, ValueError):  # ValueError: characters outside ASCII, NUL
        return None


def is_host_name(text: str) -> bool:
    """Whether `text` is a host name or an IPv4 address, in ASCII.

    A name whose last label is a number is an IPv4 address or nothing (WHATWG URL, "ends in a number"):
    resolvers would read 10.1 as 10.0.0.1.
    """
    labels = text.split(".")
    if len(text) > _MAX_HOST_NAME or not all(_LABEL.fullmatch(label) for label in labels):
        return False
    if labels[-1].isdigit():
        try:
            socket.inet_pton(socket.AF_INET, text)
        except OSError:
            return False
    return True


@dataclass(frozen=True, slots=True)
class TargetUrl:
    """The service that requests are forwarded to.

    `host` is a name or an address in lower case, IPv6 without its brackets. `path_prefix` is put before
    every request's path; it is empty or starts with a slash, and has no slash at its end.
    """

    scheme: Literal["https", "http"]
    host: str
    port: int
    path_prefix: str = ""

    @property
    def is_tls(self) -> bool:
        """Whether the target is spoken to over TLS."""
        return self.scheme == "https"

    @property
    def host_field_value(self) -> str:
        """The value of the Host field: the scheme's default port is left out (RFC 9110, section 7.2)."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.host_field_value}{self.path_prefix}"

    @classmethod
    def parse(cls, text: str) -> TargetUrl:
        """Read the URL to forward to; without a scheme, https is meant.

        Raises `UnexpectedValueError` for any other scheme than http and https, user information, a query,
        a fragment, a bad host or port, and for a path that is not written as RFC 3986 has it.
        Names outside ASCII are refused rather than encoded: Python's own IDNA codec is that of 2003,
        which resolves some names to another host than browsers do.
        """
        matched = _URL.fullmatch(text)
        assert matched is not None  # every part is optional, and the last takes anything
        scheme = (matched["scheme"] or "https").lower()
        if scheme not in _DEFAULT_PORTS:
            raise UnexpectedValueError("a URL with the scheme https or http")
        if "@" in matched["authority"]:
            raise UnexpectedValueError("a URL without user name and password")
        if matched["rest"]:
            raise UnexpectedValueError("a URL without query (?) and fragment (#)")
        host, port = _host_and_port(matched["authority"], _DEFAULT_PORTS[scheme])
        return cls("https" if scheme == "https" else "http", host, port, _path_prefix(matched["path"]))


def _host_and_port(authority: str, default_port: int) -> tuple[str, int]:
    matched = _AUTHORITY.fullmatch(authority)
    if matched is None:
        raise UnexpectedValueError("a URL with a valid host; an IPv6 address stands in brackets, https://[::1]:8443")
    port = default_port
    if matched["port"] is not None:
        if not _PORT.fullmatch(matched["port"]) or not 1 <= int(matched["port"]) <= _MAX_PORT:
            raise UnexpectedValueError("a URL whose port is a number from 1 to 65535")
        port = int(matched["port"])
    if matched["ipv6"] is not None:
        host = normalised_ipv6(matched["ipv6"])
        if host is None:
            raise UnexpectedValueError("a URL with a valid IPv6 address between the brackets")
        return host, port
    if not matched["host"]:
        raise UnexpectedValueError("a URL with a host")
    if not matched["host"].isascii():
        raise UnexpectedValueError(
            "a URL with its host in ASCII; write a name like bücher.example as xn--bcher-kva.example"
        )
    if not is_host_name(matched["host"]):
        raise UnexpectedValueError("a URL with a valid host name or address")
    return matched["host"].lower(), port


def _path_prefix(path: str) -> str:
    if not _PATH.fullmatch(path):
        raise UnexpectedValueError(
            "a URL whose path has only the characters that RFC 3986 allows; write others as %XX, a space as %20"
        )
    if any(segment in {".", ".."} for segment in path.split("/")):
        raise UnexpectedValueError("a URL whose path has no . or .. segment")
    return path.rstrip("/")
