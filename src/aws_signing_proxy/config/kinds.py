"""The kinds of settings: how a text becomes a value, what is expected, and how a wrong one is shown."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from enum import StrEnum
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Generic, Literal, TypeVar

from aws_signing_proxy.config import roles
from aws_signing_proxy.config.notation import (
    UnexpectedValueError,
    parse_boolean,
    parse_duration,
    parse_size,
    parse_whole_number,
    quoted,
)
from aws_signing_proxy.config.values import (
    CredentialsProvider,
    LogFormat,
    LogLevel,
    OpenIdClientAuth,
    OpenIdDialect,
    OpenIdToken,
    PayloadMode,
    TargetUrl,
    VaultAuthMethod,
    is_host_name,
    normalised_ipv6,
)

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "BIND_ADDRESS",
    "BOOLEAN",
    "CREDENTIALS_PROVIDER",
    "DIRECTORY",
    "ISSUER_URL",
    "LOG_FORMAT",
    "LOG_LEVEL",
    "MANAGEMENT_PATH",
    "NAME_IN_SCOPE",
    "OPEN_ID_CLIENT_AUTH",
    "OPEN_ID_DIALECT",
    "OPEN_ID_TOKEN",
    "PATH",
    "PAYLOAD_MODE",
    "PEM_FILE",
    "PORT",
    "ROLE_ARN",
    "ROLE_ARNS",
    "ROLE_OPTIONS",
    "SOCKET_PATH",
    "TARGET_URL",
    "TOKEN_SERVER_URL",
    "VAULT_AUTH_METHOD",
    "VAULT_PATH",
    "VAULT_URL",
    "WORKERS",
    "Kind",
    "count",
    "duration",
    "problem_with_readable_file",
    "show_url",
    "size",
    "text",
]

T = TypeVar("T")
E = TypeVar("E", bound=StrEnum)

_MAX_PORT = 65535
_MAX_WORKERS = 256
# Linux keeps a socket's path in 108 bytes, the last of them a NUL: unix(7).
_MAX_SOCKET_PATH_BYTES = 107
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_VISIBLE_ASCII = re.compile(r"[\x21-\x7e]+")
_NAME_IN_SCOPE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_OTHER_MANAGEMENT_PATHS = ("/status/health", "/status/live", "/status/ready", "/status/credentials")


@dataclass(frozen=True, slots=True)
class Kind(Generic[T]):
    """A kind of value.

    `placeholder` stands for the value in the help, `expected` completes "Expected: …", `parse` raises
    `UnexpectedValueError`, and `show` prepares a wrong value for the eyes of a person.
    """

    placeholder: str
    expected: str
    parse: Callable[[str], T]
    show: Callable[[str], str] = quoted


def show_url(text: str) -> str:
    """Show a URL without the parts that may hold a secret: user information, query and fragment.

    A password may hold any of / ? # @ where somebody forgot to encode it, so where an @ and a query
    meet nothing is shown: no telling then which is which.
    """
    scheme = _SCHEME.match(text)
    rest = text[scheme.end() :] if scheme else text
    address, *hidden = re.split(r"[?#]", rest, maxsplit=1)
    if "@" in rest:
        address = "***" if hidden else f"***@{rest.rpartition('@')[2]}"
    elif hidden:
        address += "?***"
    return quoted(f"{scheme[0] if scheme else ''}{address}")


def duration(*, least_seconds: float = 0, most_seconds: float = inf, zero: str | None = None) -> Kind[float]:
    """A duration in seconds; `zero` says what 0 means, where it means something special."""

    def parse(text: str) -> float:
        seconds = parse_duration(text)
        if seconds < least_seconds:
            raise UnexpectedValueError(f"a duration of at least {least_seconds * 1000:g}ms")
        if seconds > most_seconds:
            raise UnexpectedValueError(f"a duration of at most {most_seconds:g}s")
        return seconds

    return Kind("DURATION", f"a duration such as 90s, 1m30s or 500ms{f'; 0 {zero}' if zero else ''}", parse)


def size(*, least_bytes: int = 0) -> Kind[int]:
    """A size in bytes."""

    def parse(text: str) -> int:
        size_bytes = parse_size(text)
        if size_bytes < least_bytes:
            raise UnexpectedValueError(f"a size of at least {least_bytes} bytes")
        return size_bytes

    return Kind("SIZE", "a size in bytes, such as 65536, 64KiB or 1MiB", parse)


def count(*, least: int = 1) -> Kind[int]:
    """A whole number from `least`."""

    def parse(text: str) -> int:
        number = parse_whole_number(text)
        if not least <= number < 2**31:
            raise UnexpectedValueError
        return number

    return Kind("COUNT", f"a whole number from {least} to 2147483647", parse)


def _choice(enumeration: type[E], placeholder: str) -> Kind[E]:
    """One of an enumeration's words, in either case of letters."""
    words = [str(member) for member in enumeration]

    def parse(text: str) -> E:
        if text.lower() not in words:
            raise UnexpectedValueError
        return enumeration(text.lower())

    return Kind(placeholder, f"{', '.join(words[:-1])} or {words[-1]}", parse)


def _parse_workers(text: str) -> int | Literal["auto"]:
    """A number of processes, or one for each processor."""
    if text.lower() == "auto":
        return "auto"
    number = parse_whole_number(text)
    if not 1 <= number <= _MAX_WORKERS:
        raise UnexpectedValueError
    return number


def _parse_port(text: str) -> int:
    port = parse_whole_number(text)
    if port > _MAX_PORT:
        raise UnexpectedValueError
    return port


def _parse_bind_address(text: str) -> str:
    """An address or name to listen on; IPv6 with or without its brackets."""
    if address := normalised_ipv6(text.removeprefix("[").removesuffix("]")):
        return address
    if not is_host_name(text):
        raise UnexpectedValueError
    return text


def _matching(pattern: re.Pattern[str]) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if not pattern.fullmatch(text):
            raise UnexpectedValueError
        return text

    return parse


def _parse_text(text: str) -> str:
    if _CONTROL.search(text):
        raise UnexpectedValueError("a text without line breaks and other control characters")
    return text


def _parse_url(text: str, *, has_query: bool) -> str:
    """An absolute http or https URL; only its address and path are examined, it is kept as it is written."""
    if "://" not in text:
        raise UnexpectedValueError
    address, mark, query = text.partition("?")
    TargetUrl.parse(address)
    if mark and not has_query:
        raise UnexpectedValueError("a URL without query (?) and fragment (#)")
    if query and ("#" in query or not _VISIBLE_ASCII.fullmatch(query)):
        raise UnexpectedValueError("a URL whose query has no #, space or control character")
    return text


def _parse_vault_url(text: str) -> str:
    return _parse_url(text, has_query=False).rstrip("/")


def _parse_token_server_url(text: str) -> str:
    return _parse_url(text, has_query=True)


def _parse_issuer_url(text: str) -> str:
    # Kept to the letter: it is compared with what the discovery document says (RFC 8414, section 3.3).
    return _parse_url(text, has_query=False)


def _parse_vault_path(text: str) -> str:
    """A path below /v1/, with or without that and its slashes; returned bare: `engine/creds/role`."""
    path = text.strip("/")
    path = path.removeprefix("v1/")
    if path == "v1" or not _VISIBLE_ASCII.fullmatch(path) or set(path) & set('?#\\"<>'):
        raise UnexpectedValueError
    if any(segment in {"", ".", ".."} for segment in path.split("/")):
        raise UnexpectedValueError("a path without empty, . and .. segments")
    return path


def _parse_management_path(text: str) -> str:
    # Braces would be a parameter to the router of the management port.
    if not text.startswith("/") or not _VISIBLE_ASCII.fullmatch(text) or set(text) & set('?#%{}\\"<>'):
        raise UnexpectedValueError
    if text in _OTHER_MANAGEMENT_PATHS:
        raise UnexpectedValueError(
            f"a path other than {', '.join(_OTHER_MANAGEMENT_PATHS)}, which have their own meaning"
        )
    return text


def problem_with_readable_file(path: Path) -> str | None:
    """Say what is wrong with `path` where it should be a file that can be read; None where it is one."""
    try:
        if not path.is_file():
            return "which does not exist" if not path.exists() else "which is not a file"
        with path.open("rb"):
            return None
    except (OSError, ValueError):  # ValueError: a NUL in the path
        return "which cannot be read"


def _parse_pem_file(text: str) -> Path:
    path = Path(text)
    if problem := problem_with_readable_file(path):
        raise UnexpectedValueError(f"a readable file of certificates, not one {problem}")
    if b"-----BEGIN " not in path.read_bytes():
        raise UnexpectedValueError("a file of certificates in PEM form (-----BEGIN CERTIFICATE-----)")
    return path


def _parse_directory(text: str) -> Path:
    path = Path(text)
    try:
        is_usable = path.is_dir() and os.access(path, os.W_OK | os.X_OK)
    except (OSError, ValueError):  # a directory above it is closed to us; a NUL in the path
        is_usable = False
    if not is_usable:
        raise UnexpectedValueError
    return path


def _parse_socket_path(text: str) -> Path:
    path = Path(text)
    try:
        if len(os.fsencode(path)) > _MAX_SOCKET_PATH_BYTES:
            expected = f"a path of at most {_MAX_SOCKET_PATH_BYTES} bytes, more cannot be bound"
        elif not path.parent.is_dir():
            expected = "a path in a directory that exists"
        elif path.exists() and not path.is_socket():
            expected = "a path where there is nothing yet, or a socket"
        else:
            return path
    except (OSError, ValueError):
        expected = "a path that can be reached"
    raise UnexpectedValueError(expected)


def _parse_path(text: str) -> Path:
    return Path(_parse_text(text))


def text(expected: str, *, placeholder: str = "TEXT") -> Kind[str]:
    """Any text that fits in one line."""
    return Kind(placeholder, expected, _parse_text)


BOOLEAN: Kind[bool] = Kind("BOOLEAN", "true or false", parse_boolean)
PORT: Kind[int] = Kind("PORT", "a port number from 0 to 65535", _parse_port)
WORKERS: Kind[int | Literal["auto"]] = Kind(
    "COUNT", f"a whole number from 1 to {_MAX_WORKERS}, or auto", _parse_workers
)
BIND_ADDRESS: Kind[str] = Kind("ADDRESS", "an IP address or host name, without port", _parse_bind_address)
TARGET_URL: Kind[TargetUrl] = Kind("URL", "the URL to forward to", TargetUrl.parse, show_url)
NAME_IN_SCOPE: Kind[str] = Kind("NAME", "letters, digits and . _ -", _matching(_NAME_IN_SCOPE))
ROLE_ARN: Kind[str] = Kind("ARN", "the ARN of the role to assume", _matching(roles.ROLE_ARN))
ROLE_ARNS: Kind[tuple[str, ...]] = Kind("ARNS", "ARNs of roles", roles.parse_role_arns)
ROLE_OPTIONS: Kind[tuple[roles.RoleOptions, ...]] = Kind(
    "JSON", "a JSON object, or an array of them", roles.parse_role_options
)
VAULT_URL: Kind[str] = Kind("URL", "the base URL of Vault, http or https", _parse_vault_url, show_url)
VAULT_PATH: Kind[str] = Kind("PATH", "the path of the credentials in Vault", _parse_vault_path)
TOKEN_SERVER_URL: Kind[str] = Kind(
    "URL", "the URL of the token endpoint, http or https", _parse_token_server_url, show_url
)
ISSUER_URL: Kind[str] = Kind("URL", "the issuer's URL, http or https", _parse_issuer_url, show_url)
MANAGEMENT_PATH: Kind[str] = Kind("PATH", "a path that starts with / and has no ? # % { }", _parse_management_path)
PATH: Kind[Path] = Kind("PATH", "the path of a file", _parse_path)
PEM_FILE: Kind[Path] = Kind("PATH", "a readable file of certificates in PEM form", _parse_pem_file)
DIRECTORY: Kind[Path] = Kind("PATH", "a directory that exists and can be written to", _parse_directory)
SOCKET_PATH: Kind[Path] = Kind("PATH", "the path of a socket to create", _parse_socket_path)
CREDENTIALS_PROVIDER: Kind[CredentialsProvider] = _choice(CredentialsProvider, "NAME")
VAULT_AUTH_METHOD: Kind[VaultAuthMethod] = _choice(VaultAuthMethod, "NAME")
OPEN_ID_DIALECT: Kind[OpenIdDialect] = _choice(OpenIdDialect, "NAME")
OPEN_ID_CLIENT_AUTH: Kind[OpenIdClientAuth] = _choice(OpenIdClientAuth, "NAME")
OPEN_ID_TOKEN: Kind[OpenIdToken] = _choice(OpenIdToken, "NAME")
PAYLOAD_MODE: Kind[PayloadMode] = _choice(PayloadMode, "MODE")
LOG_LEVEL: Kind[LogLevel] = _choice(LogLevel, "LEVEL")
LOG_FORMAT: Kind[LogFormat] = _choice(LogFormat, "FORMAT")
