"""A service that refuses: its answers in every framing, and what the proxy signed for it."""

from __future__ import annotations

import gzip
from email.utils import formatdate
from time import gmtime, strftime

from tests.sigv4.refusal_answers import SKEWED, Answer

__all__ = ["HOUR", "SKEW", "amz", "date_line", "response", "signed_at"]

HOUR = 3600.0
SKEW = SKEWED[7]
"""OpenSearch's, which tells the time of the service."""


def date_line(moment: float) -> bytes:
    """Return the `Date` field of an answer made at `moment`."""
    return b"Date: " + formatdate(moment, usegmt=True).encode() + b"\r\n"


def response(answer: Answer, moment: float, *, framing: str = "length", has_date: bool = True) -> bytes:
    """Return the answer as a service sends it whose clock shows `moment`; `framing` is how its end is told."""
    body, fields = answer.body_at(moment), answer.fields
    if framing == "gzip":
        body, fields = gzip.compress(body, mtime=0), fields + b"Content-Encoding: gzip\r\n"
    if has_date:
        fields += date_line(moment)
    if framing == "chunked":
        fields += b"Transfer-Encoding: chunked\r\n"
        body = b"".join(b"%x;a=b\r\n%b\r\n" % (len(body[i : i + 7]), body[i : i + 7]) for i in range(0, len(body), 7))
        body += b"0\r\nX-Trailer: 1\r\n\r\n"
    elif framing != "until close":
        fields += b"Content-Length: %d\r\n" % len(body)
    return b"HTTP/1.1 %d Refused\r\n%b\r\n%b" % (answer.status, fields, body)


def signed_at(request: bytes) -> bytes:
    """Return the time that the one request was signed with."""
    (line,) = [line for line in request.split(b"\r\n") if line.startswith(b"X-Amz-Date: ")]
    return line.removeprefix(b"X-Amz-Date: ")


def amz(moment: float) -> bytes:
    """Return a moment as signatures have it."""
    return strftime("%Y%m%dT%H%M%SZ", gmtime(moment)).encode()
