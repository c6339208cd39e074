"""The one tree of errors: whose fault it is, what the client is answered, whether to try again.

Every failure that can end a request is an `ErrorCode`. The set is closed and small, because a code is
at once a metric label, a field of the log, and the `code` member of the answer's body (RFC 9457).
What a code means to the client stands in one place, `answer_to`, whose `match` is exhaustive: a new
code without an answer does not pass type checking.

No message of this tree ever holds a secret: details are written by us, and name sources, never values.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import assert_never

__all__ = [
    "Answer",
    "DownstreamError",
    "ErrorCode",
    "InternalError",
    "ProxyError",
    "Retry",
    "Side",
    "UpstreamError",
    "answer_to",
]


class Side(StrEnum):
    """Whose fault an error is: the caller's, the service's (or the way there), or ours."""

    DOWNSTREAM = "downstream"
    UPSTREAM = "upstream"
    INTERNAL = "internal"


class Retry(Enum):
    """Whether the proxy itself may send the request once more."""

    NEVER = "never"
    ON_REUSED_CONNECTION = "on a reused connection only"
    YES = "yes"


class ErrorCode(StrEnum):
    """Every way in which a request can end without the upstream's own answer."""

    # the caller's
    MALFORMED_REQUEST = "malformed_request"
    AMBIGUOUS_FRAMING = "ambiguous_framing"
    BAD_HOST = "bad_host"
    BAD_REQUEST_TARGET = "bad_request_target"
    CONTENT_SHA256_MISMATCH = "content_sha256_mismatch"
    METHOD_NOT_SUPPORTED = "method_not_supported"
    REQUEST_TIMEOUT = "request_timeout"
    BODY_TOO_LARGE = "body_too_large"
    EXPECTATION_FAILED = "expectation_failed"
    HEAD_TOO_LARGE = "head_too_large"
    CLIENT_CLOSED = "client_closed"
    CLIENT_STALLED = "client_stalled"
    MALFORMED_PAYLOAD = "malformed_payload"
    PAYLOAD_NOT_SUPPORTED = "payload_not_supported"
    VERSION_NOT_SUPPORTED = "version_not_supported"
    # ours
    CREDENTIALS_UNAVAILABLE = "credentials_unavailable"
    CREDENTIALS_EXPIRED = "credentials_expired"
    TOO_MANY_CONNECTIONS = "too_many_connections"
    OUT_OF_FILE_DESCRIPTORS = "out_of_file_descriptors"
    SPOOL_FAILED = "spool_failed"
    LOOP_DETECTED = "loop_detected"
    DRAIN_TIMEOUT = "drain_timeout"
    INTERNAL_ERROR = "internal_error"
    # the service's, or of the way there
    UPSTREAM_BUSY = "upstream_busy"
    UPSTREAM_NAME_NOT_RESOLVED = "upstream_name_not_resolved"
    UPSTREAM_CONNECT_FAILED = "upstream_connect_failed"
    UPSTREAM_CONNECT_TIMEOUT = "upstream_connect_timeout"
    UPSTREAM_TLS_FAILED = "upstream_tls_failed"
    UPSTREAM_PROXY_FAILED = "upstream_proxy_failed"
    UPSTREAM_CLOSED = "upstream_closed"
    UPSTREAM_MALFORMED_RESPONSE = "upstream_malformed_response"
    UPSTREAM_RESPONSE_TIMEOUT = "upstream_response_timeout"
    UPSTREAM_STALLED = "upstream_stalled"


@dataclass(frozen=True, slots=True)
class Answer:
    """What an error code means: to the client (status and title), to us (side, retry).

    `status` is what the access log and the metrics record. For CLIENT_CLOSED, CLIENT_STALLED, DRAIN_TIMEOUT
    nobody can be answered any more: their status (499, nginx's convention, or 503) is only recorded.
    """

    status: int
    title: str
    side: Side
    retry: Retry = Retry.NEVER


def _downstream(status: int, title: str) -> Answer:
    return Answer(status, title, Side.DOWNSTREAM)


def _internal(status: int, title: str) -> Answer:
    return Answer(status, title, Side.INTERNAL)


def _upstream(status: int, title: str, retry: Retry = Retry.NEVER) -> Answer:
    return Answer(status, title, Side.UPSTREAM, retry)


# One table written as an exhaustive match: mypy refuses a code that has no answer. Its length is the
# number of codes, and it is evaluated once for each code (see `_ANSWERS`).
def _answer(code: ErrorCode) -> Answer:  # noqa: C901, PLR0911, PLR0912 - a table; one arm a code
    match code:
        case ErrorCode.MALFORMED_REQUEST:
            return _downstream(400, "The request is not well-formed HTTP/1.1")
        case ErrorCode.AMBIGUOUS_FRAMING:
            return _downstream(400, "The length of the request's body is ambiguous")
        case ErrorCode.BAD_HOST:
            return _downstream(400, "The Host field is missing, repeated or invalid")
        case ErrorCode.BAD_REQUEST_TARGET:
            return _downstream(400, "The request target cannot be forwarded")
        case ErrorCode.CONTENT_SHA256_MISMATCH:
            return _downstream(400, "The body is not the one that X-Amz-Content-Sha256 names")
        case ErrorCode.METHOD_NOT_SUPPORTED:
            return _downstream(405, "The method is not supported")
        case ErrorCode.REQUEST_TIMEOUT:
            return _downstream(408, "The request did not arrive in time")
        case ErrorCode.BODY_TOO_LARGE:
            return _downstream(413, "The request's body is too large")
        case ErrorCode.EXPECTATION_FAILED:
            return _downstream(417, "The expectation cannot be met")
        case ErrorCode.HEAD_TOO_LARGE:
            return _downstream(431, "The request's head is too large")
        case ErrorCode.CLIENT_CLOSED:
            return _downstream(499, "The client closed the connection")
        case ErrorCode.CLIENT_STALLED:
            return _downstream(499, "The client stopped taking the response")
        case ErrorCode.MALFORMED_PAYLOAD:
            return _downstream(400, "The aws-chunked body is not well-formed")
        case ErrorCode.PAYLOAD_NOT_SUPPORTED:
            return _downstream(501, "The payload's signing mode is not supported")
        case ErrorCode.VERSION_NOT_SUPPORTED:
            return _downstream(505, "The HTTP version is not supported")
        case ErrorCode.CREDENTIALS_UNAVAILABLE:
            return _internal(503, "No AWS credentials")
        case ErrorCode.CREDENTIALS_EXPIRED:
            return _internal(503, "The AWS credentials have expired")
        case ErrorCode.TOO_MANY_CONNECTIONS:
            return _internal(503, "Too many connections")
        case ErrorCode.OUT_OF_FILE_DESCRIPTORS:
            return _internal(503, "Out of file descriptors")
        case ErrorCode.SPOOL_FAILED:
            return _internal(507, "The request's body could not be stored")
        case ErrorCode.LOOP_DETECTED:
            return _internal(508, "The proxy was asked to forward to itself")
        case ErrorCode.DRAIN_TIMEOUT:
            return _internal(503, "The proxy stopped before the request was done")
        case ErrorCode.INTERNAL_ERROR:
            return _internal(500, "The proxy failed to handle the request")
        case ErrorCode.UPSTREAM_BUSY:
            return _upstream(503, "No upstream connection became free in time")
        case ErrorCode.UPSTREAM_NAME_NOT_RESOLVED:
            return _upstream(502, "The upstream's name could not be resolved")
        case ErrorCode.UPSTREAM_CONNECT_FAILED:
            return _upstream(502, "The upstream could not be reached")
        case ErrorCode.UPSTREAM_CONNECT_TIMEOUT:
            return _upstream(504, "The upstream did not accept a connection in time")
        case ErrorCode.UPSTREAM_TLS_FAILED:
            return _upstream(502, "No trusted TLS connection to the upstream")
        case ErrorCode.UPSTREAM_PROXY_FAILED:
            return _upstream(502, "The HTTP proxy on the way did not forward")
        case ErrorCode.UPSTREAM_CLOSED:
            return _upstream(502, "The upstream closed the connection", Retry.ON_REUSED_CONNECTION)
        case ErrorCode.UPSTREAM_MALFORMED_RESPONSE:
            return _upstream(502, "The upstream's response is not well-formed HTTP/1.1")
        case ErrorCode.UPSTREAM_RESPONSE_TIMEOUT:
            return _upstream(504, "The upstream did not respond in time")
        case ErrorCode.UPSTREAM_STALLED:
            return _upstream(504, "The upstream stopped in the middle of its response")
        case _:
            assert_never(code)


_ANSWERS = {code: _answer(code) for code in ErrorCode}


def answer_to(code: ErrorCode) -> Answer:
    """Return what `code` means to the client and to the proxy."""
    return _ANSWERS[code]


class ProxyError(Exception):
    """A request cannot be answered by the upstream.

    `detail` is one sentence for a person: what happened, where, what to do. It never holds a secret.
    `retry_after_seconds`, where given, becomes the Retry-After field of the answer.
    """

    def __init__(self, code: ErrorCode, detail: str, *, retry_after_seconds: int | None = None) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.retry_after_seconds = retry_after_seconds

    @property
    def answer(self) -> Answer:
        """What this error means to the client and to the proxy."""
        return _ANSWERS[self.code]

    @property
    def status(self) -> int:
        """The status code that the client is answered with (or, where nobody listens, that is recorded)."""
        return _ANSWERS[self.code].status

    @property
    def side(self) -> Side:
        """Whose fault it is."""
        return _ANSWERS[self.code].side

    @property
    def retry(self) -> Retry:
        """Whether the proxy may send the request again."""
        return _ANSWERS[self.code].retry

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.code} {self.status}: {self.detail}>"


class DownstreamError(ProxyError):
    """The caller's request cannot be served as it is."""


class UpstreamError(ProxyError):
    """The service, or the way to it, failed."""


class InternalError(ProxyError):
    """The proxy itself cannot serve: limits, credentials, disk."""
