"""Log lines about requests that the proxy itself had to answer: enough to be told, never a flood."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from aws_signing_proxy.errors import ErrorCode, ProxyError, Side
from aws_signing_proxy.observe.logs import get_logger

__all__ = ["ErrorLog"]

_LOG: Final = get_logger(__name__)
_INTERVAL_SECONDS: Final = 10.0


class ErrorLog:
    """Logs what failed on the upstream's side or ours: each code at once, then at most every ten seconds.

    A service that is down fails thousands of requests a second, for one reason; the metrics count them, the log
    says the reason, and how many more there were since it last did. The caller's mistakes are told to the caller
    and logged at debug level only. `clock` is monotonic, in seconds.
    """

    __slots__ = ("_clock", "_said_at", "_unsaid")

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._said_at: dict[ErrorCode, float] = {}
        self._unsaid: dict[ErrorCode, int] = {}

    def report(self, error: ProxyError) -> None:
        """Log the error of one request, if it is time."""
        code = error.code
        if error.side is Side.DOWNSTREAM:
            _LOG.debug("a request was refused", code=str(code), detail=error.detail)
            return
        now = self._clock()
        said_at = self._said_at.get(code)
        if said_at is not None and now - said_at < _INTERVAL_SECONDS:
            self._unsaid[code] = self._unsaid.get(code, 0) + 1
            return
        self._said_at[code] = now
        _LOG.warning(
            error.answer.title,
            code=str(code),
            status=error.status,
            detail=error.detail,
            more_since_the_last_line=self._unsaid.pop(code, 0),
        )
