"""The composition: builds everything from the settings, starts and stops it. No logic of its own."""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Protocol

from aws_signing_proxy import __version__
from aws_signing_proxy.config.settings import Settings
from aws_signing_proxy.connections import Connections
from aws_signing_proxy.credential_sources import is_eager, provider_for, secrets_of
from aws_signing_proxy.credentials import CircuitBreaker, CredentialStore, Fetcher, Ledger, Refresher
from aws_signing_proxy.data_plane import DataPlane
from aws_signing_proxy.management.application import application as management_application
from aws_signing_proxy.management.credentials import CredentialFigures, credentials_report
from aws_signing_proxy.management.server import ManagementServer
from aws_signing_proxy.observe.counters import Counters, Snapshot
from aws_signing_proxy.observe.exposition import Exposition
from aws_signing_proxy.observe.logs import SECRETS_OF_LOG, get_logger
from aws_signing_proxy.proxy.listening import Listeners
from aws_signing_proxy.proxy.server import ProxyServer

__all__ = ["Application", "CannotListenError", "Workers", "new_via_name", "take_addresses"]


class CannotListenError(OSError):
    """An address cannot be listened on; the message says which, why, and which setting it is."""


class Workers(Protocol):
    """Who serves requests: this process itself (`DataPlane`), or a crew of others (`workers.crew`)."""

    def prepare(self) -> None:
        """Get ready, while credentials are being fetched."""

    async def start(self, store: CredentialStore, refresher: Refresher) -> None:
        """Serve from now on, with the credentials of `store`."""

    async def stop(self, *, drain_timeout_seconds: float, let_go: Callable[[], None]) -> None:
        """Finish what is under way within the time, then end. `let_go` is called when clients are to be refused."""

    def kill(self) -> None:
        """End at once."""

    def reload(self) -> None:
        """Read certificates again."""

    async def refresh(self) -> None:
        """Bring the numbers up to date, within a bound."""

    def snapshot(self) -> Snapshot:
        """Return the numbers, of all together."""

    def problems(self) -> list[str]:
        """Why no request should come, for people."""


class _ThisProcess:
    """The only worker: what serves requests runs here (see `Workers`)."""

    def __init__(self, plane: DataPlane, listeners: Callable[[], Listeners]) -> None:
        self.plane = plane
        self._listeners = listeners
        self.reload = plane.reload
        self.snapshot = plane.snapshot

    def prepare(self) -> None:
        """Open the connections that are to be there before a request needs them."""
        self.plane.warm_up()

    async def start(self, _store: CredentialStore, _refresher: Refresher) -> None:
        """Accept clients."""
        self.plane.start(self._listeners())

    async def stop(self, *, drain_timeout_seconds: float, let_go: Callable[[], None]) -> None:
        """Drain."""
        await self.plane.leave()
        let_go()
        await self.plane.stop(drain_timeout_seconds=drain_timeout_seconds)

    def kill(self) -> None:
        """Do nothing: it ends with the process."""

    async def refresh(self) -> None:
        """Do nothing: they always are."""

    def problems(self) -> list[str]:
        """Return none."""
        return []


class Application:
    """Everything that runs in one process, put together in its event loop. `start`, then `stop`; both once.

    Where `workers` are given they serve requests, on `listeners` that were taken before; without them it does itself.
    """

    def __init__(
        self,
        settings: Settings,
        environ: Mapping[str, str],
        *,
        workers: Workers | None = None,
        listeners: Listeners | None = None,
    ) -> None:
        self._settings = settings
        self._log = get_logger("aws_signing_proxy")
        self._secrets = secrets_of(settings, environ)
        SECRETS_OF_LOG.replace((), self._secrets)
        self.refresher = self._build_refresher(environ)
        self.credentials = CredentialStore(self.refresher, on_secrets_changed=SECRETS_OF_LOG.replace)
        self._listeners = listeners
        self._workers = self._build_only_worker() if workers is None else workers
        self.management = self._build_management()
        self._is_stopping = False

    def _build_only_worker(self) -> Workers:
        connections = Connections(self._settings)
        plane = DataPlane(self._settings, connections, self.credentials, via_name=new_via_name())
        self.plane = plane
        return _ThisProcess(plane, self._taken)

    async def start(self) -> None:
        """Take the addresses, fetch credentials, accept clients. Raises CannotListenError."""
        settings = self._settings
        self._workers.prepare()
        # Addresses first, so that a port in use is all that is said; the management port answers while a slow source
        # of credentials is asked, and clients are accepted when there is something to sign with.
        with _naming(f"{settings.mgmt_bind_address}:{settings.mgmt_port}", "ASP_MGMT_BIND_ADDRESS and ASP_MGMT_PORT"):
            await self.management.start(settings.mgmt_bind_address, settings.mgmt_port)
        if self._listeners is None:
            self._listeners = take_addresses(settings)
        await self.credentials.start()
        await self._workers.start(self.credentials, self.refresher)
        if problems := self._workers.problems():
            self._log.error("started, but not ready", reasons=problems)
            return
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
    def server(self) -> ProxyServer:
        """What serves clients, where this process does."""
        return self.plane.server

    @property
    def counters(self) -> Counters:
        """The numbers of what this process serves."""
        return self.plane.counters

    @property
    def port(self) -> int:
        """The TCP port that clients connect to; 0 where it is a Unix socket."""
        return self._taken().port

    @property
    def listens_on(self) -> str:
        """Where clients connect to, for people."""
        settings = self._settings
        if settings.unix_socket is not None:
            return f"unix:{settings.unix_socket}"
        host = f"[{settings.bind_address}]" if ":" in settings.bind_address else settings.bind_address
        return f"{'http' if settings.tls_cert is None else 'https'}://{host}:{self.port}"

    def reload(self) -> None:
        """Read credentials and certificates again (SIGHUP)."""
        self.credentials.reload()
        self._workers.reload()

    def kill(self) -> None:
        """End whatever other process there is: this one ends as well, at once."""
        self._workers.kill()

    async def stop(self, *, drain_timeout_seconds: float) -> None:
        """Finish what is under way within the time, then close everything. Health and metrics answer to the end."""
        self._is_stopping = True
        await self._workers.stop(drain_timeout_seconds=drain_timeout_seconds, let_go=self._refuse_clients)
        await self.credentials.stop()
        SECRETS_OF_LOG.replace(self._secrets, ())
        await self.management.stop()

    def reasons_not_ready(self) -> list[str]:
        """Why requests should not be sent here now; empty when they should."""
        reasons = self._workers.problems()
        if self._is_stopping:
            reasons.insert(0, "The proxy is stopping.")
        problem = self.credentials.problem
        if problem is not None:
            reasons.append(problem)
        return reasons

    def _taken(self) -> Listeners:
        assert self._listeners is not None  # they are taken before anything is accepted
        return self._listeners

    def _refuse_clients(self) -> None:
        if self._listeners is not None:
            self._listeners.close()

    def _build_refresher(self, environ: Mapping[str, str]) -> Refresher:
        settings = self._settings
        ledger, logger = Ledger(), get_logger("aws_signing_proxy.credentials")
        fetcher = Fetcher(
            provider_for(settings, environ),
            ledger=ledger,
            timeout_seconds=settings.credentials_fetch_timeout_seconds,
            secrets=SECRETS_OF_LOG,
            log_warning=lambda note: logger.warning(
                "the credentials' source needs attention", source=note.source, reason=note.text
            ),
        )
        return Refresher(
            fetcher,
            breaker=CircuitBreaker(
                failure_threshold=settings.circuit_breaker_failure_threshold,
                timeout_seconds=settings.circuit_breaker_timeout_seconds,
            ),
            ledger=ledger,
            logger=logger,
            is_eager=is_eager(settings),
            patience_seconds=settings.credentials_wait_timeout_seconds,
        )

    def _build_management(self) -> ManagementServer:
        workers, credentials, refresher = self._workers, self.credentials, self.refresher
        exposition = Exposition(
            snapshot=workers.snapshot, credentials=CredentialFigures(credentials, refresher), clock=time.time
        )

        def report() -> dict[str, object]:
            waiting = workers.snapshot().numbers["credentials_waiting"]
            return credentials_report(credentials, refresher, waiting, time.time())

        return ManagementServer(
            management_application(
                reasons_not_ready=self.reasons_not_ready,
                credentials=report,
                exposition=exposition.render,
                refresh=workers.refresh,
                metrics_path=self._settings.metrics_path,
            )
        )


def take_addresses(settings: Settings) -> Listeners:
    """Take what clients connect to. Raises CannotListenError."""
    if settings.unix_socket is not None:
        with _naming(str(settings.unix_socket), "ASP_UNIX_SOCKET"):
            return Listeners.unix(str(settings.unix_socket))
    with _naming(f"{settings.bind_address}:{settings.port}", "ASP_BIND_ADDRESS and ASP_PORT"):
        return Listeners.tcp(settings.bind_address, settings.port)


def new_via_name() -> bytes:
    """Return what this proxy calls itself in `Via`: no other one does."""
    return b"aws-signing-proxy-" + secrets.token_hex(8).encode()


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
