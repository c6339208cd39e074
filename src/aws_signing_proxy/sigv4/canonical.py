"""The request target: the one form of it that is sent, and the canonical form that is signed.

A client may write the same target in many ways (`*` or `%2A`, `%2f` or `%2F`, `k` or `k=`). A service
canonicalises what it receives before it compares signatures, and services do not all do it in the same way.
So a target is rewritten once, to the form on which every reading agrees; that form is sent and that form is
signed. What a decoding server reads is what the client wrote. See docs/decisions/0003-canonical-target.md.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aws_signing_proxy.sigv4.rules import ServiceRules

__all__ = ["PRESIGN_PARAMETERS", "CanonicalTarget", "TargetError", "canonical_target", "normalized_path"]

# Parameters that carry a signature in a query (AWS: "Authenticating requests: using query parameters"), and those
# that repeat a field which this package writes. A client's own are dropped: the service refuses two signatures.
PRESIGN_PARAMETERS = frozenset(
    {
        b"x-amz-algorithm",
        b"x-amz-content-sha256",
        b"x-amz-credential",
        b"x-amz-date",
        b"x-amz-expires",
        b"x-amz-region-set",
        b"x-amz-s3session-token",
        b"x-amz-security-token",
        b"x-amz-signature",
        b"x-amz-signedheaders",
    }
)

# S3's older presigned URLs (Signature Version 2). `Expires` and `Signature` are ordinary words to other services, and
# to S3 where `AWSAccessKeyId` is not beside them.
PRESIGN_V2_PARAMETERS = frozenset({b"AWSAccessKeyId", b"Signature", b"Expires"})
_PRESIGN_V2_MARKS = frozenset({b"AWSAccessKeyId", b"Signature"})

_UNRESERVED = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"  # RFC 3986 section 2.3

_FORBIDDEN = re.compile(rb"[\x00-\x20\x7f#]|%(?![0-9A-Fa-f]{2})")
# What a rewrite has to look at: an escape, or a byte that may not stand for itself.
# `/` may in a path, `&` and `=` may in a query.
_IN_PATH = re.compile(rb"%..|[^A-Za-z0-9._~/-]", re.DOTALL)
_IN_QUERY = re.compile(rb"%..|[^A-Za-z0-9._~&=-]", re.DOTALL)
_DOT_OR_EMPTY_SEGMENT = re.compile(rb"//|/\.\.?(?:/|\Z)")


def _rewrites(overrides: dict[bytes, bytes]) -> dict[bytes, bytes]:
    """Return what each single byte, and each way to escape it, becomes: decoded, then encoded once (RFC 3986 2.1)."""
    table: dict[bytes, bytes] = {}
    for code in range(256):
        byte = bytes([code])
        encoded = byte if byte in _UNRESERVED else b"%%%02X" % code
        table[byte] = encoded
        for high in (b"%X" % (code >> 4), b"%x" % (code >> 4)):
            for low in (b"%X" % (code & 15), b"%x" % (code & 15)):
                table[b"%" + high + low] = encoded
    return table | overrides


# `%2F` inside a segment is data, not a separator, and stays data: API Gateway, Bedrock and others tell them apart.
_SEGMENT_REWRITES = _rewrites({})
# S3 decodes the key before it builds its canonical request: `%2F` and `/` name the same key.
_KEY_REWRITES = _rewrites({b"%2F": b"/", b"%2f": b"/"})
# In a query a raw `+` is a space (application/x-www-form-urlencoded, and S3 reads it so); `%2B` is a plus.
_QUERY_REWRITES = _rewrites({b"+": b"%20"})


class TargetError(ValueError):
    """The request target cannot be signed and sent; the message is one sentence for the person who wrote it."""


class CanonicalTarget:
    """A request target, as bytes in three forms.

    `wire`: `path[?query]` exactly as it must be sent. `canonical_path` and `canonical_query`: the second and third
    line of the canonical request.
    """

    __slots__ = ("canonical_path", "canonical_query", "wire")

    def __init__(self, wire: bytes, canonical_path: bytes, canonical_query: bytes) -> None:
        self.wire = wire
        self.canonical_path = canonical_path
        self.canonical_query = canonical_query

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, CanonicalTarget):
            return NotImplemented
        return (self.wire, self.canonical_path, self.canonical_query) == (
            other.wire,
            other.canonical_path,
            other.canonical_query,
        )

    def __hash__(self) -> int:
        return hash((self.wire, self.canonical_path, self.canonical_query))

    def __repr__(self) -> str:
        path = self.wire.partition(b"?")[0]
        return f"<{type(self).__name__} {path!r}, query of {len(self.canonical_query)} bytes>"


def canonical_target(raw: bytes, rules: ServiceRules) -> CanonicalTarget:
    """Return the forms of `raw`, a request target in origin-form (RFC 9112 section 3.2.1), for a service's `rules`.

    Raises:
        TargetError: `raw` does not start with `/`, or holds a `#`, a space, a control character, or a `%` that is not
            followed by two hexadecimal digits. Two readers could read such a target in two ways.
    """
    if raw[:1] != b"/":
        raise TargetError("The request target must start with '/'.")
    forbidden = _FORBIDDEN.search(raw)
    if forbidden is not None:
        raise TargetError(_reason(raw, forbidden.start()))
    path, _, query = raw.partition(b"?")
    if rules.encode_path_twice:
        wire_path = _IN_PATH.sub(_rewritten_segment_byte, path)
        canonical_path = normalized_path(wire_path) if rules.normalize_path else wire_path
        # To encode an encoded path again is to encode its `%`: all its other bytes are unreserved, or `/`.
        canonical_path = canonical_path.replace(b"%", b"%25")
    else:
        wire_path = _IN_PATH.sub(_rewritten_key_byte, path)
        canonical_path = normalized_path(wire_path) if rules.normalize_path else wire_path
    if not query:
        return CanonicalTarget(wire_path, canonical_path, b"")
    wire_query, canonical_query = _queries(query, is_s3=not rules.encode_path_twice)
    wire = wire_path + b"?" + wire_query if wire_query else wire_path
    return CanonicalTarget(wire, canonical_path, canonical_query)


def normalized_path(path: bytes) -> bytes:
    """Return `path` with dot segments resolved and repeated slashes merged, as AWS's reference signers do it.

    One walk over the segments, in which an empty segment and `.` count for nothing and `..` takes back the last
    one; a final slash stays. RFC 3986 section 5.2.4 differs where a dot segment comes last (`/a/.` is `/a/` there,
    `/a` here) and where `..` follows an empty segment (`/a//..`).
    """
    if _DOT_OR_EMPTY_SEGMENT.search(path) is None:
        return path
    kept: list[bytes] = []
    for segment in path.split(b"/"):
        if segment == b"..":
            del kept[-1:]
        elif segment not in {b"", b"."}:
            kept.append(segment)
    if not kept:
        return b"/"
    return b"/" + b"/".join(kept) + (b"/" if path.endswith(b"/") else b"")


def _rewritten_segment_byte(match: re.Match[bytes]) -> bytes:
    return _SEGMENT_REWRITES[match[0]]


def _rewritten_key_byte(match: re.Match[bytes]) -> bytes:
    return _KEY_REWRITES[match[0]]


def _rewritten_query_byte(match: re.Match[bytes]) -> bytes:
    return _QUERY_REWRITES[match[0]]


def _queries(query: bytes, *, is_s3: bool) -> tuple[bytes, bytes]:
    """Return the wire form and the canonical form of a query without its `?`."""
    wire: list[tuple[bytes, bytes, bytes]] = []
    for piece in _IN_QUERY.sub(_rewritten_query_byte, query).split(b"&"):
        if not piece:
            continue
        name, equals, value = piece.partition(b"=")
        if name.lower() in PRESIGN_PARAMETERS:
            continue
        if b"=" in value:
            value = value.replace(b"=", b"%3D")  # only the first `=` of a piece divides it
        wire.append((name, equals, value))
    if is_s3 and _PRESIGN_V2_MARKS.issubset([name for name, _, _ in wire]):
        wire = [part for part in wire if part[0] not in PRESIGN_V2_PARAMETERS]
    pairs = sorted((name, value) for name, _, value in wire)
    return b"&".join(map(b"".join, wire)), b"&".join([name + b"=" + value for name, value in pairs])


def _reason(raw: bytes, position: int) -> str:
    """Say what is wrong with the byte at `position`, showing nothing of the query's values."""
    byte = raw[position : position + 1]
    if byte == b"%":
        what = "has a '%' that is not followed by two hexadecimal digits; write a literal percent sign as %25"
    elif byte == b"#":
        what = "has a '#'; a fragment is never sent, write a literal number sign as %23"
    elif byte == b" ":
        what = "has a space; write it as %20"
    else:
        what = f"has a control character (0x{byte[0]:02X}); write it percent-encoded"
    return f"The request target {what} (at byte {position})."
