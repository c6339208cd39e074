"""What is kept of a request when it is over: counters, and a line in the access log."""

from __future__ import annotations

import logging

from aws_signing_proxy.errors import ProxyError
from aws_signing_proxy.http1.request import RequestHead
from aws_signing_proxy.proxy.context import Context

__all__ = ["RequestRecord", "record_refusal"]

_LOG = logging.getLogger(__name__)


class RequestRecord:
    """The times of one request, in seconds; None for what it did not come to.

    `signed_at` is the time that was signed last, since the epoch; it was `offset_seconds` ahead of the local clock.
    `guessed_offset_seconds` is what is to be used for this request alone, instead of the service's clock.
    """

    __slots__ = (
        "_context",
        "_started",
        "first_byte_seconds",
        "guessed_offset_seconds",
        "offset_seconds",
        "request",
        "signed_at",
        "signing_seconds",
    )

    def __init__(self, context: Context, request: RequestHead) -> None:
        self._context = context
        self.request = request
        self._started = context.clock()
        self.first_byte_seconds: float | None = None
        self.signing_seconds: float | None = None
        self.guessed_offset_seconds: float | None = None
        self.signed_at = self.offset_seconds = 0.0
        context.counters.requests_in_flight += 1

    def on_first_byte(self) -> None:
        """The upstream has begun to answer."""
        if self.first_byte_seconds is None:
            self.first_byte_seconds = self._context.clock() - self._started

    def conclude(self, code: str, status: int, *, bytes_in: int, bytes_out: int, is_tunnel: bool = False) -> None:
        """Count the request; `code` is "ok" or an `ErrorCode`, the bytes are those of the bodies. Never raises.

        `is_tunnel`: its time is that of a conversation, and is left out of the times of requests.
        """
        try:
            context = self._context
            context.counters.requests_in_flight -= 1
            total_seconds = context.clock() - self._started
            context.counters.request_done(
                self.request.method,
                status,
                code,
                None if is_tunnel else total_seconds,
                self.first_byte_seconds,
                self.signing_seconds,
                bytes_in,
                bytes_out,
            )
            if context.access_log is not None:
                context.access_log.write(
                    method=self.request.method,
                    target=self.request.target,
                    status=status,
                    code=code,
                    bytes_in=bytes_in,
                    bytes_out=bytes_out,
                    total_seconds=total_seconds,
                    first_byte_seconds=self.first_byte_seconds,
                )
        except Exception:  # noqa: BLE001 - it is logged
            # The client must get its answer, whether it can be counted or not.
            _LOG.exception("a request could not be recorded")


def record_refusal(context: Context, error: ProxyError) -> None:
    """Count and log what was refused before it could be read as a request: it has no method, target or times."""
    context.counters.request_done(b"", error.status, error.code, None, None, None, 0, 0)
    if context.access_log is not None:
        context.access_log.write(
            method=b"-",
            target=b"-",
            status=error.status,
            code=error.code,
            bytes_in=0,
            bytes_out=0,
            total_seconds=0.0,
            first_byte_seconds=None,
        )
