"""What a request is told when it meets a limit: which one, how large it is, and which setting it is."""

from __future__ import annotations

from aws_signing_proxy.errors import DownstreamError, ErrorCode, InternalError, ProxyError, UpstreamError
from aws_signing_proxy.observe.counters import Limit
from aws_signing_proxy.proxy.context import Context

__all__ = [
    "body_too_large",
    "exchange_deadline",
    "head_too_large",
    "request_timeout",
    "too_many_connections",
    "unexpected_failure",
    "upstream_closed",
]


def too_many_connections(context: Context) -> InternalError:
    """Return the error for a connection over ASP_MAX_CONNECTIONS (which the server has counted)."""
    limits = context.limits
    who = "The proxy" if limits.workers == 1 else f"Each of the proxy's {limits.workers} workers"
    return InternalError(
        ErrorCode.TOO_MANY_CONNECTIONS,
        f"{who} serves {limits.max_connections} connections already (ASP_MAX_CONNECTIONS).",
        retry_after_seconds=1,
    )


def head_too_large(context: Context) -> DownstreamError:
    """Count and return the error for a head over ASP_MAX_HEAD_SIZE."""
    context.counters.limits_hit[Limit.HEAD_SIZE] += 1
    return DownstreamError(
        ErrorCode.HEAD_TOO_LARGE,
        f"The request line and fields are larger than {context.limits.max_head_bytes} bytes (ASP_MAX_HEAD_SIZE).",
    )


def body_too_large(context: Context) -> DownstreamError:
    """Count and return the error for a body over ASP_MAX_BODY."""
    context.counters.limits_hit[Limit.BODY_SIZE] += 1
    return DownstreamError(
        ErrorCode.BODY_TOO_LARGE,
        f"The request's body is larger than the {context.limits.max_body_bytes:.0f} bytes that ASP_MAX_BODY allows.",
    )


def request_timeout(context: Context, limit: Limit) -> DownstreamError:
    """Count and return the error for a request that does not arrive."""
    context.counters.limits_hit[limit] += 1
    if limit is Limit.REQUEST_HEAD_TIMEOUT:
        detail = (
            "The request's head did not arrive within "
            f"{context.limits.request_head_timeout_seconds:g} s (ASP_REQUEST_HEAD_TIMEOUT)."
        )
    else:
        detail = (
            "No byte of the request's body arrived for "
            f"{context.limits.progress_timeout_seconds:g} s (ASP_PROGRESS_TIMEOUT)."
        )
    return DownstreamError(ErrorCode.REQUEST_TIMEOUT, detail)


def exchange_deadline(context: Context, limit: Limit, *, has_response: bool, is_paused: bool) -> ProxyError:
    """Count and return the error for an exchange in which nothing has changed for too long."""
    context.counters.limits_hit[limit] += 1
    limits = context.limits
    where = context.route.upstream.address
    if limit is Limit.CREDENTIALS_WAIT:
        return _credentials_late(context)
    if limit is Limit.UPSTREAM_CONNECTIONS:
        return UpstreamError(
            ErrorCode.UPSTREAM_BUSY,
            f"All connections to {where} stayed busy for {limits.upstream_wait_timeout_seconds:g} s "
            "(ASP_UPSTREAM_WAIT_TIMEOUT, ASP_MAX_UPSTREAM_CONNECTIONS).",
            retry_after_seconds=1,
        )
    if limit is Limit.RESPONSE_TIMEOUT:
        return UpstreamError(
            ErrorCode.UPSTREAM_RESPONSE_TIMEOUT,
            f"{where} sent no response within {limits.response_timeout_seconds:g} s (ASP_RESPONSE_TIMEOUT).",
        )
    if has_response and is_paused:
        return DownstreamError(ErrorCode.CLIENT_STALLED, "The client did not take the response.")
    did_what = "sent no more of its response" if has_response else "took no more of the request"
    return UpstreamError(
        ErrorCode.UPSTREAM_STALLED,
        f"{where} {did_what} for {limits.progress_timeout_seconds:g} s (ASP_PROGRESS_TIMEOUT).",
    )


def _credentials_late(context: Context) -> InternalError:
    reason = context.route.credentials.unavailable(context.wall_clock())
    waited = (
        f"The request waited {context.limits.credentials_wait_timeout_seconds:g} s for credentials "
        "(ASP_CREDENTIALS_WAIT_TIMEOUT)."
    )
    return InternalError(reason.code, f"{reason.detail} {waited}", retry_after_seconds=reason.retry_after_seconds)


def upstream_closed(context: Context, *, has_begun: bool) -> UpstreamError:
    """Return the error for an upstream's connection that ended; `has_begun`: its response had."""
    when = "in the middle of its response" if has_begun else "without a response"
    where = context.route.upstream.address
    return UpstreamError(ErrorCode.UPSTREAM_CLOSED, f"{where} closed the connection {when}.")


def unexpected_failure() -> InternalError:
    """Return the error for an exception that nothing foresaw, and that has been logged."""
    return InternalError(ErrorCode.INTERNAL_ERROR, "The proxy failed to handle the request; see its log.")
