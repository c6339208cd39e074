"""Addresses as messages may show them."""

from __future__ import annotations

from urllib.parse import urlsplit

__all__ = ["shown_address"]


def shown_address(url: str) -> str:
    """Return `url` without user, password, query and fragment, where secrets may stand."""
    try:
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
    except ValueError:
        return "an address that cannot be understood"
    return f"{parts.scheme}://{host}{parts.path}".rstrip("/") if host else parts.path
