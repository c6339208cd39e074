"""The canonical forms as a service computes them from what it received.

Written from AWS's description (IAM User Guide, "Create a signed AWS API request"; S3 API Reference, "Signature
calculations for the Authorization header") with the standard library's decoder and encoder, and not with the tables
of `canonical`: each of the two is the check of the other.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import quote_from_bytes, unquote_to_bytes

if TYPE_CHECKING:
    from aws_signing_proxy.sigv4.rules import ServiceRules

__all__ = ["decoded_pairs", "received_headers", "received_path", "received_query"]


def received_path(path: bytes, rules: ServiceRules) -> bytes:
    """Return the canonical path, as the service computes it from the path that it received.

    S3 decodes the key, a raw `+` as a space, and encodes it once. Other services take the path as it arrived,
    normalise it and encode it (so that what was encoded for the wire is now encoded twice).
    """
    if not rules.encode_path_twice:
        return quote_from_bytes(unquote_to_bytes(path.replace(b"+", b" ")), safe="/").encode()
    stack: list[bytes] = []
    for segment in path.split(b"/"):
        if segment == b"..":
            if stack:
                stack.pop()
        elif segment and segment != b".":
            stack.append(segment)
    joined = b"/" + b"/".join(stack)
    if stack and path.endswith(b"/"):
        joined += b"/"
    return quote_from_bytes(joined, safe="/").encode()


def decoded_pairs(query: bytes) -> list[tuple[bytes, bytes]]:
    """Return the decoded names and values of a query as form-decoding servers read it, in order."""
    pairs: list[tuple[bytes, bytes]] = []
    for piece in query.replace(b"+", b" ").split(b"&"):
        if piece:
            name, _, value = piece.partition(b"=")
            pairs.append((unquote_to_bytes(name), unquote_to_bytes(value)))
    return pairs


def received_query(pairs: list[tuple[bytes, bytes]]) -> bytes:
    """Return the canonical query of decoded names and values."""
    encoded = [(quote_from_bytes(name, safe=""), quote_from_bytes(value, safe="")) for name, value in pairs]
    return "&".join([f"{name}={value}" for name, value in sorted(encoded)]).encode()


def received_headers(values: dict[bytes, list[bytes]], signed_headers: tuple[str, ...]) -> bytes:
    r"""Return CanonicalHeaders (each line with its `\n`) of the fields in `values` that `signed_headers` names."""
    lines = b""
    for signed_header in signed_headers:
        name = signed_header.encode()
        trimmed = [re.sub(rb"[ \t]+", b" ", value.strip(b" \t")) for value in values[name]]
        lines += name + b":" + b",".join(trimmed) + b"\n"
    return lines
