"""What the proxy itself has to say to a client: interim responses and error answers."""

from __future__ import annotations

import json

from aws_signing_proxy.errors import ProxyError
from aws_signing_proxy.http1.request import RequestHead

__all__ = ["CONTINUE", "render_answer", "render_problem"]

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

_REASONS = {
    400: b"Bad Request",
    405: b"Method Not Allowed",
    408: b"Request Timeout",
    413: b"Content Too Large",
    417: b"Expectation Failed",
    431: b"Request Header Fields Too Large",
    499: b"Client Closed Request",
    500: b"Internal Server Error",
    501: b"Not Implemented",
    502: b"Bad Gateway",
    503: b"Service Unavailable",
    504: b"Gateway Timeout",
    505: b"HTTP Version Not Supported",
    507: b"Insufficient Storage",
    508: b"Loop Detected",
}


def render_answer(error: ProxyError, request: RequestHead | None, *, closes: bool) -> bytes:
    """Return the whole response that answers a request, or what was none, with `error` (see `render_problem`)."""
    return render_problem(
        error,
        is_head_request=request is not None and request.method == b"HEAD",
        closes=closes,
        is_http10=request is not None and request.is_http10,
    )


def render_problem(error: ProxyError, *, is_head_request: bool, closes: bool, is_http10: bool) -> bytes:
    """Return the whole response that tells a client of `error`, as problem details (RFC 9457).

    `code` is an extension member (section 3.2): the stable word that also stands in the log and the metrics.
    """
    answer = error.answer
    body = (
        json.dumps(
            {
                "type": f"urn:aws-signing-proxy:error:{error.code}",
                "title": answer.title,
                "status": answer.status,
                "detail": error.detail,
                "code": str(error.code),
            }
        )
        + "\n"
    ).encode()
    lines = [
        b"HTTP/1.1 %d %b" % (answer.status, _REASONS[answer.status]),
        b"Content-Type: application/problem+json",
        b"Content-Length: %d" % len(body),
        b"Cache-Control: no-store",
    ]
    if error.retry_after_seconds is not None:
        lines.append(b"Retry-After: %d" % error.retry_after_seconds)
    if answer.status == 405:  # noqa: PLR2004 - RFC 9110 section 15.5.6 wants Allow
        lines.append(b"Allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS")
    if closes:
        lines.append(b"Connection: close")
    elif is_http10:
        lines.append(b"Connection: keep-alive")
    head = b"\r\n".join(lines) + b"\r\n\r\n"
    return head if is_head_request else head + body
