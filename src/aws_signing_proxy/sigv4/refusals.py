"""Why a service refused a request that was signed: the clock, the credentials, or something else.

Each service says it in its own words, with its own status, and in XML, JSON or a field. A policy that forbids
something is a 403 too and must not be mistaken for either, whatever names stand in its text: so only the places are
read where a service writes its error's code and message, and of a message only how it begins.

- S3: 403 `RequestTimeTooSkewed`; 400 `ExpiredToken`, 403 `InvalidAccessKeyId`.
- JSON services: 400 `InvalidSignatureException` with such a message; `ExpiredTokenException`,
  `UnrecognizedClientException`.
- Query services: 403 `SignatureDoesNotMatch` with such a message; 403 `ExpiredToken`, `InvalidClientTokenId`.
- OpenSearch, API Gateway, Lambda: 403 with the message alone, for both.
- EC2: `RequestExpired` and `AuthFailure`, the same two words for both.

"Such a message" is "Signature expired: ..." or "Signature not yet current: ...". Without it, a signature that does not
match is a signature that does not match.
"""

from __future__ import annotations

import calendar
import re
import zlib
from enum import Enum
from typing import Final

__all__ = ["REFUSING_STATUSES", "Refusal", "refusal_of", "server_time", "unzipped"]

REFUSING_STATUSES: Final = frozenset({400, 401, 403})
"""The status codes with which services refuse a signature or credentials."""


class Refusal(Enum):
    """What a service found wrong, before it did anything else with the request."""

    CLOCK_SKEW = "clock_skew"
    """The time of signing is too far from the service's own."""
    CREDENTIALS = "credentials"
    """The credentials have expired, or nobody knows them."""


_SKEWED: Final = frozenset({b"RequestTimeTooSkewed", b"RequestInTheFuture"})
_REJECTED: Final = frozenset(
    {
        b"ExpiredToken",
        b"ExpiredTokenException",
        b"InvalidAccessKeyId",
        b"InvalidClientTokenId",
        b"TokenRefreshRequired",
        b"UnrecognizedClientException",
    }
)
# EC2 says these of an expired session token or an unknown key, and of a wrong clock as well (aws-sdk-java issues 519,
# 1443). AuthFailure is also its word for what somebody may not do, so there the message has to say it.
_EITHER: Final = frozenset({b"RequestExpired", b"AuthFailure"})
_NOT_VALIDATED: Final = b"AWS was not able to validate the provided"
# Where there is no body, a code that may mean the clock.
_PERHAPS_SKEWED: Final = frozenset({None, b"InvalidSignatureException", b"SignatureDoesNotMatch", b"AuthFailure"})

_SKEWED_MESSAGE: Final = re.compile(rb"Signature (?:expired|not yet current):")
_REJECTED_MESSAGE: Final = re.compile(
    rb"The security token included in the request is (?:expired|invalid)\b|The provided token has expired\b"
)

_FIELD_CODE: Final = re.compile(rb"\nx-amzn-errortype:[ \t]*(?:[\w.]+#)?(\w+)[ \t]*[:\r]", re.IGNORECASE)
_GZIPPED: Final = re.compile(rb"\ncontent-encoding:[ \t]*(?:x-)?gzip[ \t]*\r", re.IGNORECASE)

_XML_CODE: Final = re.compile(rb"<Code>\s*([\w.]+)\s*</Code>")
_XML_MESSAGE: Final = re.compile(rb"<Message>\s*([^<]*)")
# A member of the outermost object, or of its `Error` (Query services asked for JSON): no bracket stands before it.
_JSON_MEMBER: Final = rb'\s*\{(?:\s*"Error"\s*:\s*\{)?[^{}\[\]]*?'
_JSON_CODE: Final = re.compile(_JSON_MEMBER + rb'"(?:__type|[Cc]ode)"\s*:\s*"(?:[\w.]+#)?(\w+)"')
_JSON_MESSAGE: Final = re.compile(_JSON_MEMBER + rb'"[Mm]essage"\s*:\s*"([^"\\]*)')

_SERVER_TIME: Final = re.compile(
    rb"<ServerTime>\s*(\d{4})-?(\d\d)-?(\d\d)T(\d\d):?(\d\d):?(\d\d)(?:\.\d+)?Z\s*</ServerTime>"
    rb"|Signature (?:expired|not yet current): \w+ is (?:now earlier|still later) than \w+ "
    rb"\((\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z [-+] \d+ min"
)
_GZIP_WBITS: Final = 31


def refusal_of(fields: bytes, body: bytes, *, is_clock_off: bool, is_head_request: bool = False) -> Refusal | None:
    """Return why a request was refused by a response of REFUSING_STATUSES; None where it is neither of the two.

    `fields` is the response's field section, each line with its CRLF; `body` its beginning, without any coding.
    `is_clock_off`: the response's `Date` is so far from the time of signing that a service would refuse that; it
    decides where the words are the same for both, and where there are none: a HEAD request's answer has no body.
    """
    found = _FIELD_CODE.search(b"\n" + fields)
    field_code = None if found is None else found[1]
    code, message = _code_and_message(body)
    if field_code in _SKEWED or code in _SKEWED or _SKEWED_MESSAGE.match(message):
        return Refusal.CLOCK_SKEW
    if field_code in _REJECTED or code in _REJECTED or _REJECTED_MESSAGE.match(message):
        return Refusal.CREDENTIALS
    if code in _EITHER and (code != b"AuthFailure" or message.startswith(_NOT_VALIDATED)):
        return Refusal.CLOCK_SKEW if is_clock_off else Refusal.CREDENTIALS
    if is_head_request and is_clock_off and field_code in _PERHAPS_SKEWED:
        return Refusal.CLOCK_SKEW
    return None


def server_time(body: bytes) -> float | None:
    """Return the time that the service says it is, in seconds since the epoch, where a refusal for skew names it."""
    found = _SERVER_TIME.search(body)
    if found is None:
        return None
    year, month, day, hour, minute, second = (int(part) for part in found.groups() if part is not None)
    try:
        return calendar.timegm((year, month, day, hour, minute, second))
    except ValueError:
        return None  # no day of the calendar


def unzipped(fields: bytes, body: bytes, most_bytes: int) -> bytes:
    """Return the beginning of `body` without gzip, where `fields` say that it is; at most so much. Empty if broken."""
    if _GZIPPED.search(b"\n" + fields) is None:
        return body
    try:
        return zlib.decompressobj(_GZIP_WBITS).decompress(body, most_bytes)
    except zlib.error:
        return b""


def _code_and_message(body: bytes) -> tuple[bytes | None, bytes]:
    """Return the error's code and message; None and empty where they are not told in a way that services use."""
    start = body.lstrip(b"\xef\xbb\xbf \t\r\n")
    if start.startswith(b"<"):
        # The first ones: what others wrote into the document is escaped, and stands further below.
        code, message = _XML_CODE.search(start), _XML_MESSAGE.search(start)
    else:
        code, message = _JSON_CODE.match(start), _JSON_MESSAGE.match(start)
    return None if code is None else code[1], b"" if message is None else message[1]
