"""What all requests share: where they go, as whom, within which limits, and who counts."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from aws_signing_proxy.observe.access_log import AccessLog
from aws_signing_proxy.observe.counters import Counters
from aws_signing_proxy.observe.error_log import ErrorLog
from aws_signing_proxy.proxy.body import BodyLimits
from aws_signing_proxy.proxy.route import Route

__all__ = ["Context", "Limits"]


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits and timeouts of the proxy path; infinity where a limit is switched off.

    `max_connections` is this process's part, where it is one of several `workers`.
    """

    max_connections: int
    max_head_bytes: int
    max_body_bytes: float
    request_head_timeout_seconds: float
    client_idle_timeout_seconds: float
    upstream_wait_timeout_seconds: float
    response_timeout_seconds: float
    progress_timeout_seconds: float
    flush_interval_seconds: float
    credentials_wait_timeout_seconds: float
    upgrade_idle_timeout_seconds: float = float("inf")
    workers: int = 1


class Context:
    """One object that every connection and exchange holds; read on the hot path, changed by nobody there.

    `clock` is monotonic, for waiting; `wall_clock` is epoch seconds, for signatures and expiry.
    """

    __slots__ = (
        "access_log",
        "bodies",
        "clock",
        "counters",
        "error_log",
        "is_draining",
        "limits",
        "loop",
        "route",
        "wall_clock",
    )

    def __init__(
        self,
        *,
        route: Route,
        limits: Limits,
        bodies: BodyLimits,
        counters: Counters,
        access_log: AccessLog | None,
        loop: asyncio.AbstractEventLoop,
        wall_clock: Callable[[], float],
    ) -> None:
        self.route = route
        self.limits = limits
        self.bodies = bodies
        self.counters = counters
        self.access_log = access_log
        self.error_log = ErrorLog(time.monotonic)
        self.loop = loop
        # Not the loop's: uvloop's time stands still for a whole round of events, in steps of a millisecond.
        self.clock = time.monotonic
        self.wall_clock = wall_clock
        self.is_draining = False
