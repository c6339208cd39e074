"""Addresses: as messages may show them, what in them is secret, and whether they are this machine's."""

from __future__ import annotations

from urllib.parse import unquote, urlsplit, urlunsplit

from aws_signing_proxy.no_proxy import is_on_this_machine

__all__ = ["is_loopback", "passwords_in", "shown_address", "without_user_info"]


def shown_address(url: str) -> str:
    """Return `url` without user, password, query and fragment, where secrets may stand."""
    try:
        parts = urlsplit(url)
        # What stands there instead of a port is perhaps a password with a slash in it.
        _ = parts.port
    except ValueError:
        return "an address that cannot be understood"
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{parts.path}".rstrip("/") if host else parts.path or "/"


def passwords_in(url: str) -> set[str]:
    """Return the password of a URL as it stands there and decoded; none without one.

    It goes as far as the last "@": people write passwords with "@", "/" and "#" as they are.
    """
    password = (url.partition("://")[2] or url).rpartition("@")[0].partition(":")[2]
    return {password, unquote(password)} - {""}


def is_loopback(url: str) -> bool:
    """Whether the URL's host is this machine, by its name or address."""
    try:
        return is_on_this_machine(urlsplit(url).hostname or "")
    except ValueError:
        return False


def without_user_info(url: str) -> str:
    """Return the URL as a request names it: a user and a password are no part of that."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2])) if "@" in parts.netloc else url
