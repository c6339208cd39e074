"""The program's run: one process or several, its signals, its exit status."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import socket
import ssl
from collections.abc import Callable, Mapping

from aws_signing_proxy.app import Application, CannotListenError, new_via_name, take_addresses
from aws_signing_proxy.config.loading import Loaded
from aws_signing_proxy.config.settings import Settings
from aws_signing_proxy.connections import Connections
from aws_signing_proxy.credential_sources import secrets_of
from aws_signing_proxy.credentials import CredentialStore
from aws_signing_proxy.data_plane import DataPlane
from aws_signing_proxy.observe.logs import SECRETS_OF_LOG, configure_logs, get_logger
from aws_signing_proxy.proxy.listening import Listeners
from aws_signing_proxy.tls.contexts import CertificateFileError
from aws_signing_proxy.workers.cores import usable_cores
from aws_signing_proxy.workers.crew import Crew
from aws_signing_proxy.workers.nursery import Nursery
from aws_signing_proxy.workers.orphans import reap_orphans
from aws_signing_proxy.workers.shared_counters import SharedFigures
from aws_signing_proxy.workers.shares import Share
from aws_signing_proxy.workers.turns import Board, MyTurns
from aws_signing_proxy.workers.worker import Plane, serve_as_worker

__all__ = ["loop_factory", "number_of_workers", "run_proxy"]

_EXIT_CANNOT_RUN = 1
# A collection of the youngest generation after so many allocations: the path of a request makes no cycles.
_GC_THRESHOLD = 50_000
_REAP_SECONDS = 5.0


def run_proxy(loaded: Loaded, environ: Mapping[str, str]) -> int:
    """Run the proxy until SIGTERM or SIGINT; return the process's exit status."""
    settings = loaded.settings
    _hold_standard_descriptors()
    configure_logs(level=settings.log_level, log_format=settings.log_format.value)
    log = get_logger("aws_signing_proxy")
    for warning in loaded.warnings:
        log.warning(warning)
    try:
        return _run(settings, environ)
    except (CannotListenError, _NoProcessError) as error:
        # No traceback: it is somebody else's port, or a limit of the system's, and not a bug.
        log.error(str(error))  # noqa: TRY400 - likewise
    except CertificateFileError as error:
        log.error("a certificate cannot be read", reason=str(error))  # noqa: TRY400 - likewise
    except ssl.SSLError as error:
        # No traceback: it is a wrong file, not a bug.
        log.error("the trusted certificates cannot be read (ASP_CA_BUNDLE)", reason=str(error))  # noqa: TRY400
    return _EXIT_CANNOT_RUN


def _hold_standard_descriptors() -> None:
    """Take the numbers 0, 1 and 2 where they are free: a socket there is one that libuv aborts on when it closes it."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            # The lowest free number is what it gets.
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)


def number_of_workers(settings: Settings) -> int:
    """Return how many workers there are to be. Each needs a part of every limit that is divided."""
    if settings.workers == "auto":
        return min(usable_cores(), settings.max_connections, settings.max_upstream_connections)
    return int(settings.workers)


def _run(settings: Settings, environ: Mapping[str, str]) -> int:
    count, factory = number_of_workers(settings), loop_factory()
    crew = None if count == 1 else _CrewToBe(settings, environ, count, factory)
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(_serve(settings, environ, crew))


class _NoProcessError(OSError):
    """The system has no process for workers; the message is a sentence."""


class _CrewToBe:
    """What has to be there before there is an event loop: what all workers share, and the process they come from."""

    def __init__(
        self,
        settings: Settings,
        environ: Mapping[str, str],
        count: int,
        factory: Callable[[], asyncio.AbstractEventLoop] | None,
    ) -> None:
        # Workers keep these out of their log too.
        SECRETS_OF_LOG.replace((), secrets_of(settings, environ))
        self._settings = settings
        self._count = count
        self._factory = factory
        self._connections = Connections(settings)
        self._via_name = new_via_name()
        self._board = Board(count)
        self._figures = [SharedFigures() for _ in range(count)]
        self.listeners: Listeners = take_addresses(settings)
        try:
            self.nursery = Nursery.start(
                self._serve,
                let_go=self.listeners.let_go,
                refuse=self.listeners.shut,
                drain_timeout_seconds=settings.drain_timeout_seconds,
            )
        except OSError as error:
            self.listeners.close()
            raise _NoProcessError(f"no process can be made for workers (ASP_WORKERS): {error.strerror}") from error

    def crew(self) -> Crew:
        """Return the crew, in the supervisor's event loop."""
        return Crew(self.nursery, self._figures, self._board)

    def _serve(self, slot: int, channel: socket.socket) -> int:
        """Be a worker."""
        settings, share = self._settings, Share(slot, self._count)
        configure_logs(level=settings.log_level, log_format=settings.log_format.value, worker=slot)
        turns = MyTurns(self._board, slot)

        def build(store: CredentialStore, on_clock_offset: Callable[[float], None]) -> Plane:
            self._connections.watch.catch_up()
            plane = DataPlane(settings, self._connections, store, via_name=self._via_name, share=share, turns=turns)
            plane.tell_clock_offset(on_clock_offset)
            _tune_garbage_collector()
            return plane

        return serve_as_worker(
            channel,
            build,
            listeners=self.listeners,
            turns=turns,
            figures=self._figures[slot],
            drain_timeout_seconds=settings.drain_timeout_seconds,
            loop_factory=self._factory,
        )


async def _serve(settings: Settings, environ: Mapping[str, str], crew_to_be: _CrewToBe | None) -> int:
    stopping = asyncio.Event()
    is_unable = False
    if crew_to_be is None:
        application = Application(settings, environ)
    else:
        crew = crew_to_be.crew()

        def give_up() -> None:
            nonlocal is_unable
            is_unable = True
            stopping.set()

        crew.on_unable = give_up
        application = Application(settings, environ, workers=crew, listeners=crew_to_be.listeners)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, _on_stop_signal, stopping, application)
    loop.add_signal_handler(signal.SIGHUP, application.reload)
    try:
        await _start_unless_stopped(application, stopping)
    except CannotListenError:
        await application.stop(drain_timeout_seconds=0)
        raise
    _tune_garbage_collector()
    if os.getpid() == 1:
        _reap_from_time_to_time(loop, crew_to_be)
    await stopping.wait()
    get_logger("aws_signing_proxy").info("stopping", drain_timeout_seconds=settings.drain_timeout_seconds)
    await application.stop(drain_timeout_seconds=settings.drain_timeout_seconds)
    get_logger("aws_signing_proxy").info("stopped")
    return _EXIT_CANNOT_RUN if is_unable else 0


async def _start_unless_stopped(application: Application, stopping: asyncio.Event) -> None:
    """Start; give it up when the process is told to stop: a source of credentials, or a worker, may take its time."""
    start = asyncio.ensure_future(application.start())
    stop = asyncio.ensure_future(stopping.wait())
    await asyncio.wait((start, stop), return_when=asyncio.FIRST_COMPLETED)
    stop.cancel()
    if start.done():
        start.result()
        return
    start.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await start


def _reap_from_time_to_time(loop: asyncio.AbstractEventLoop, crew_to_be: _CrewToBe | None) -> None:
    reap_orphans(() if crew_to_be is None else {crew_to_be.nursery.pid})
    loop.call_later(_REAP_SECONDS, _reap_from_time_to_time, loop, crew_to_be)


def _on_stop_signal(stopping: asyncio.Event, application: Application) -> None:
    if stopping.is_set():
        # The second signal: whoever sends it does not want to wait.
        application.kill()
        os._exit(_EXIT_CANNOT_RUN)
    stopping.set()


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return what makes uvloop's event loop, or None for asyncio's own where uvloop is not installed."""
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
