"""The half of the composition that serves requests: one in the only process, or one in each worker."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from aws_signing_proxy.config.settings import Settings
from aws_signing_proxy.connections import Connections
from aws_signing_proxy.credentials import CredentialStore
from aws_signing_proxy.observe.access_log import AccessLog
from aws_signing_proxy.observe.counters import Counters, Snapshot
from aws_signing_proxy.observe.logs import get_logger
from aws_signing_proxy.payload_choice import payload_rules
from aws_signing_proxy.proxy.accepting import Turns
from aws_signing_proxy.proxy.body import BodyLimits, BodyMemory
from aws_signing_proxy.proxy.context import Context, Limits
from aws_signing_proxy.proxy.listening import Listeners
from aws_signing_proxy.proxy.rewrite import HeadRewriter
from aws_signing_proxy.proxy.route import Route
from aws_signing_proxy.proxy.server import ProxyServer
from aws_signing_proxy.sigv4 import Signer
from aws_signing_proxy.workers.shares import Share

__all__ = ["DataPlane"]

_SPOOL_THREADS = 4
_NEVER = float("inf")


class DataPlane:
    """What serves requests, put together in its event loop. `start`, then `stop`; both once (see `Plane`).

    `via_name` is what the proxy calls itself in `Via`, the same in all workers, so that a request that comes back is
    known whichever of them it comes to. `share` is this worker's part of the limits, `turns` of the connections.
    """

    def __init__(
        self,
        settings: Settings,
        connections: Connections,
        credentials: CredentialStore,
        *,
        via_name: bytes,
        share: Share = Share(),  # noqa: B008 - a tuple, which nobody changes
        turns: Turns | None = None,
    ) -> None:
        self._settings = settings
        self.connections = connections
        self._credentials = credentials
        self._share = share
        self._executor = ThreadPoolExecutor(_SPOOL_THREADS, thread_name_prefix="spool")
        self.counters = Counters()
        self.counters.workers_running = 1
        self.upstream = connections.upstream(
            self.counters,
            max_connections=share.of(settings.max_upstream_connections),
            warm_connections=share.of(settings.warm_connections),
        )
        self._context = self._build_context(via_name)
        self.server = ProxyServer(self._context, turns)

    def warm_up(self) -> None:
        """Open the connections to the target that are to be there before a request needs them."""
        self.upstream.warm_up(self._context.clock())

    def start(self, listeners: Listeners) -> None:
        """Accept clients from now on. Raises OSError."""
        self.connections.watch.start()
        self.server.accept(listeners, tls=self.connections.tls)

    def reload(self) -> None:
        """Read certificates again (SIGHUP)."""
        self.connections.watch.reload()

    async def leave(self, *, is_emptying: bool = True) -> None:
        """Take no new clients; with `is_emptying` those that wait already."""
        await self.server.stop_accepting(is_emptying=is_emptying)

    async def stop(self, *, drain_timeout_seconds: float) -> None:
        """Finish what is under way within the time, then close everything but the listeners."""
        is_drained = await self.server.drain(drain_timeout_seconds)
        if not is_drained:
            get_logger("aws_signing_proxy").warning(
                "not every request was done in time; the rest was cut off (ASP_DRAIN_TIMEOUT)"
            )
        await self.connections.watch.stop()
        await self.upstream.close()
        self._executor.shutdown(wait=False, cancel_futures=True)

    def snapshot(self) -> Snapshot:
        """Return the numbers of now."""
        self.upstream.read_gauges()
        self.counters.clock_offset_seconds = round(self._context.route.clock.offset_seconds)
        self.counters.credentials_waiting = self._credentials.waiting
        return self.counters.snapshot()

    def tell_clock_offset(self, on_proven: Callable[[float], None]) -> None:
        """Let `on_proven` be told what is found out about the service's clock."""
        self._context.route.clock.on_proven = on_proven

    def adopt_clock_offset(self, offset_seconds: float) -> None:
        """Take what another worker has found out about the service's clock."""
        self._context.route.clock.adopt(offset_seconds)

    def _build_context(self, via_name: bytes) -> Context:
        settings, share = self._settings, self._share
        payload = payload_rules(settings)
        rewriter = HeadRewriter(
            signer=Signer(service=settings.service, region=settings.region),
            host=self.connections.host,
            path_prefix=settings.target_url.path_prefix.encode("ascii"),
            via_name=via_name,
            forward_to=self.connections.forward_to,
            proxy_authorization=self.connections.proxy_authorization,
            is_always_unsigned=payload.is_always_unsigned,
        )
        return Context(
            route=Route(upstream=self.upstream, credentials=self._credentials, rewriter=rewriter, payload=payload),
            limits=_limits(settings, share),
            bodies=BodyLimits(
                memory_limit_bytes=settings.body_memory_limit_bytes,
                memory=BodyMemory(share.of(settings.body_memory_total_bytes), self.counters),
                spool_directory=None if settings.spool_dir is None else str(settings.spool_dir),
                executor=self._executor,
            ),
            counters=self.counters,
            access_log=_access_log(settings, share) if settings.access_log else None,
            loop=asyncio.get_running_loop(),
            wall_clock=time.time,
        )


def _access_log(settings: Settings, share: Share) -> AccessLog:
    worker = share.slot if share.workers > 1 else None
    return AccessLog(sys.stdout, log_format=settings.log_format.value, worker=worker)


def _limits(settings: Settings, share: Share) -> Limits:
    return Limits(
        max_connections=share.of(settings.max_connections),
        max_head_bytes=settings.max_head_size_bytes,
        max_body_bytes=settings.max_body_bytes or _NEVER,
        request_head_timeout_seconds=settings.request_head_timeout_seconds,
        client_idle_timeout_seconds=settings.client_idle_timeout_seconds,
        upstream_wait_timeout_seconds=settings.upstream_wait_timeout_seconds,
        response_timeout_seconds=settings.response_timeout_seconds or _NEVER,
        progress_timeout_seconds=settings.progress_timeout_seconds or _NEVER,
        flush_interval_seconds=settings.flush_interval_seconds,
        credentials_wait_timeout_seconds=settings.credentials_wait_timeout_seconds,
        upgrade_idle_timeout_seconds=settings.upgrade_idle_timeout_seconds or _NEVER,
        workers=share.workers,
    )
