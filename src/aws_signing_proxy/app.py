"""The composition: builds everything from the settings, runs it until it is told to stop. No logic of its own."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import secrets
import signal
import socket
import ssl
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor

from aws_signing_proxy import __version__
from aws_signing_proxy.config.loading import Loaded
from aws_signing_proxy.config.settings import Settings
from aws_signing_proxy.connections import Connections
from aws_signing_proxy.credential_sources import is_eager, provider_for, secrets_of
from aws_signing_proxy.credentials import CircuitBreaker, CredentialStore, Fetcher, Ledger, Refresher
from aws_signing_proxy.management.application import application as management_application
from aws_signing_proxy.management.credentials import CredentialFigures, credentials_report
from aws_signing_proxy.management.server import ManagementServer
from aws_signing_proxy.observe.access_log import AccessLog
from aws_signing_proxy.observe.counters import Counters, Snapshot
from aws_signing_proxy.observe.exposition import Exposition
from aws_signing_proxy.observe.logs import SECRETS_OF_LOG, configure_logs, get_logger
from aws_signing_proxy.payload_choice import payload_rules
from aws_signing_proxy.proxy.body import BodyLimits, BodyMemory
from aws_signing_proxy.proxy.context import Context, Limits
from aws_signing_proxy.proxy.rewrite import HeadRewriter
from aws_signing_proxy.proxy.route import Route
from aws_signing_proxy.proxy.server import ProxyServer
from aws_signing_proxy.sigv4 import Signer
from aws_signing_proxy.tls.contexts import CertificateFileError

__all__ = ["Application", "CannotListenError", "run_proxy"]

_SPOOL_THREADS = 4
_NEVER = float("inf")
_EXIT_CANNOT_RUN = 1
# A collection of the youngest generation after so many allocations: the path of a request makes no cycles.
_GC_THRESHOLD = 50_000


class CannotListenError(OSError):
    """An address cannot be listened on; the message says which, why, and which setting it is."""


class Application:
    """Everything that runs, put together. `start`, then `stop`; both once."""

    def __init__(self, settings: Settings, environ: Mapping[str, str]) -> None:
        self._settings = settings
        self._loop = asyncio.get_running_loop()
        self._log = get_logger("aws_signing_proxy")
        self._executor = ThreadPoolExecutor(_SPOOL_THREADS, thread_name_prefix="spool")
        self.counters = Counters()
        self._secrets = secrets_of(settings, environ)
        SECRETS_OF_LOG.replace((), self._secrets)
        self.credentials = self._build_credentials(environ)
        self._connections = Connections(settings, self.counters)
        self._upstream = self._connections.upstream
        self._context = self._build_context()
        self.server = ProxyServer(self._context)
        self.management = self._build_management()

    async def start(self) -> None:
        """Take the addresses, fetch credentials, accept clients. Raises CannotListenError."""
        settings = self._settings
        # Addresses first, so that a port in use is all that is said; the management port answers while a slow source
        # of credentials is asked, and clients are accepted when there is something to sign with.
        with _naming(f"{settings.mgmt_bind_address}:{settings.mgmt_port}", "ASP_MGMT_BIND_ADDRESS and ASP_MGMT_PORT"):
            await self.management.start(settings.mgmt_bind_address, settings.mgmt_port)
        if settings.unix_socket is not None:
            with _naming(str(settings.unix_socket), "ASP_UNIX_SOCKET"):
                await self.server.bind_unix(str(settings.unix_socket))
        else:
            with _naming(f"{settings.bind_address}:{settings.port}", "ASP_BIND_ADDRESS and ASP_PORT"):
                await self.server.bind_tcp(settings.bind_address, settings.port, tls=self._connections.tls)
        self._upstream.warm_up(self._context.clock())
        await self.credentials.start()
        await self.server.accept()
        self._connections.watch.start()
        self._log.info(
            "ready",
            listens_on=self.listens_on,
            management=f"{settings.mgmt_bind_address}:{self.management.port}",
            target=str(settings.target_url),
            service=settings.service,
            region=settings.region,
            version=__version__,
        )

    @property
    def listens_on(self) -> str:
        """Where clients connect to, for people."""
        settings = self._settings
        if settings.unix_socket is not None:
            return f"unix:{settings.unix_socket}"
        host = f"[{settings.bind_address}]" if ":" in settings.bind_address else settings.bind_address
        return f"{'http' if self._connections.tls is None else 'https'}://{host}:{self.server.port}"

    def reload(self) -> None:
        """Read credentials and certificates again (SIGHUP)."""
        self.credentials.reload()
        self._connections.watch.reload()

    async def stop(self, *, drain_timeout_seconds: float) -> None:
        """Finish what is under way within the time, then close everything. Health and metrics answer to the end."""
        is_drained = await self.server.drain(drain_timeout_seconds)
        if not is_drained:
            self._log.warning("not every request was done in time; the rest was cut off (ASP_DRAIN_TIMEOUT)")
        await self._connections.watch.stop()
        await self._upstream.close()
        await self.credentials.stop()
        SECRETS_OF_LOG.replace(self._secrets, ())
        await self.management.stop()
        self._executor.shutdown(wait=False, cancel_futures=True)

    def reasons_not_ready(self) -> list[str]:
        """Why requests should not be sent here now; empty when they should."""
        reasons = []
        if self._context.is_draining:
            reasons.append("The proxy is stopping.")
        problem = self.credentials.problem
        if problem is not None:
            reasons.append(problem)
        return reasons

    def _snapshot(self) -> Snapshot:
        self._upstream.read_gauges()
        self.counters.clock_offset_seconds = round(self._context.route.clock.offset_seconds)
        return self.counters.snapshot()

    def _build_credentials(self, environ: Mapping[str, str]) -> CredentialStore:
        settings = self._settings
        ledger = Ledger()
        fetcher = Fetcher(
            provider_for(settings, environ),
            ledger=ledger,
            timeout_seconds=settings.credentials_fetch_timeout_seconds,
            secrets=SECRETS_OF_LOG,
        )
        refresher = Refresher(
            fetcher,
            breaker=CircuitBreaker(
                failure_threshold=settings.circuit_breaker_failure_threshold,
                timeout_seconds=settings.circuit_breaker_timeout_seconds,
            ),
            ledger=ledger,
            logger=get_logger("aws_signing_proxy.credentials"),
            is_eager=is_eager(settings),
            patience_seconds=settings.credentials_wait_timeout_seconds,
        )
        return CredentialStore(refresher, on_secrets_changed=SECRETS_OF_LOG.replace)

    def _build_management(self) -> ManagementServer:
        exposition = Exposition(
            snapshot=self._snapshot, credentials=CredentialFigures(self.credentials), clock=time.time
        )
        return ManagementServer(
            management_application(
                reasons_not_ready=self.reasons_not_ready,
                credentials=lambda: credentials_report(self.credentials, time.time()),
                exposition=exposition.render,
                metrics_path=self._settings.metrics_path,
            )
        )

    def _build_context(self) -> Context:
        settings, target = self._settings, self._settings.target_url
        payload = payload_rules(settings)
        rewriter = HeadRewriter(
            signer=Signer(service=settings.service, region=settings.region),
            host=self._connections.host,
            path_prefix=target.path_prefix.encode("ascii"),
            via_name=b"aws-signing-proxy-" + secrets.token_hex(8).encode(),
            forward_to=self._connections.forward_to,
            proxy_authorization=self._connections.proxy_authorization,
            is_always_unsigned=payload.is_always_unsigned,
        )
        return Context(
            route=Route(upstream=self._upstream, credentials=self.credentials, rewriter=rewriter, payload=payload),
            limits=Limits(
                max_connections=settings.max_connections,
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
            ),
            bodies=BodyLimits(
                memory_limit_bytes=settings.body_memory_limit_bytes,
                memory=BodyMemory(settings.body_memory_total_bytes, self.counters),
                spool_directory=None if settings.spool_dir is None else str(settings.spool_dir),
                executor=self._executor,
            ),
            counters=self.counters,
            access_log=AccessLog(sys.stdout, log_format=settings.log_format.value) if settings.access_log else None,
            loop=self._loop,
            wall_clock=time.time,
        )


def run_proxy(loaded: Loaded, environ: Mapping[str, str]) -> int:
    """Run the proxy until SIGTERM or SIGINT; return the process's exit status."""
    settings = loaded.settings
    configure_logs(level=settings.log_level, log_format=settings.log_format.value)
    log = get_logger("aws_signing_proxy")
    for warning in loaded.warnings:
        log.warning(warning)
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            return runner.run(_run(settings, environ))
    except CertificateFileError as error:
        log.error("a certificate cannot be read", reason=str(error))  # noqa: TRY400 - likewise
        return _EXIT_CANNOT_RUN
    except ssl.SSLError as error:
        # No traceback: it is a wrong file, not a bug.
        log.error("the trusted certificates cannot be read (ASP_CA_BUNDLE)", reason=str(error))  # noqa: TRY400
        return _EXIT_CANNOT_RUN


async def _run(settings: Settings, environ: Mapping[str, str]) -> int:
    application = Application(settings, environ)
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, _on_stop_signal, stopping)
    loop.add_signal_handler(signal.SIGHUP, application.reload)
    try:
        await application.start()
    except CannotListenError as error:
        # No traceback: it is somebody else's port, not a bug.
        get_logger("aws_signing_proxy").error(str(error))
        await application.stop(drain_timeout_seconds=0)
        return _EXIT_CANNOT_RUN
    _tune_garbage_collector()
    await stopping.wait()
    get_logger("aws_signing_proxy").info("stopping", drain_timeout_seconds=settings.drain_timeout_seconds)
    await application.stop(drain_timeout_seconds=settings.drain_timeout_seconds)
    get_logger("aws_signing_proxy").info("stopped")
    return 0


def _on_stop_signal(stopping: asyncio.Event) -> None:
    if stopping.is_set():
        # The second signal: whoever sends it does not want to wait.
        os._exit(_EXIT_CANNOT_RUN)
    stopping.set()


@contextlib.contextmanager
def _naming(where: str, setting: str) -> Iterator[None]:
    """Turn the many forms of an OSError into one sentence that names the address and the setting."""
    try:
        yield
    except OSError as error:
        reason = str(error) if error.errno is None or error.errno < 0 else os.strerror(error.errno).lower()
        if isinstance(error, socket.gaierror):
            reason = (error.strerror or "the name is not known").lower()
        raise CannotListenError(f"cannot listen on {where}: {reason}; set {setting} to another address") from error


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return uvloop's event loop, or None for asyncio's own where uvloop is not installed."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


def _tune_garbage_collector() -> None:
    """What start-up has made lives as long as the process: never look at it again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_GC_THRESHOLD, 20, 50)
