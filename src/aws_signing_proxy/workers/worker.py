"""A worker's life: it serves requests as the supervisor says, and ends when that tells it to, or is gone."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time
from collections.abc import Callable
from typing import Final, Protocol

from aws_signing_proxy.credentials.outlook import Outlook
from aws_signing_proxy.credentials.store import CredentialStore
from aws_signing_proxy.observe.counters import Snapshot
from aws_signing_proxy.observe.logs import SECRETS_OF_LOG, get_logger
from aws_signing_proxy.proxy.listening import Listeners
from aws_signing_proxy.workers.channel import Channel, Message, credentials_from, outlook_from
from aws_signing_proxy.workers.remote_refresher import RemoteRefresher
from aws_signing_proxy.workers.shared_counters import Figures, SharedFigures
from aws_signing_proxy.workers.turns import MyTurns

__all__ = ["Plane", "serve_as_worker"]

_LOG: Final = get_logger(__name__)

_EXIT_FAILED: Final = 1

PUBLISH_SECONDS: Final = 0.25
"""How often figures are copied: what a worker that is killed has counted since then is lost."""


class Plane(Protocol):
    """What serves requests: the proxy without its supervisor."""

    def start(self, listeners: Listeners) -> None:
        """Accept clients from now on."""

    def reload(self) -> None:
        """Read certificates again."""

    def snapshot(self) -> Snapshot:
        """Return the numbers."""

    def adopt_clock_offset(self, offset_seconds: float) -> None:
        """Take what another worker has found out about the service's clock."""

    async def leave(self, *, is_emptying: bool) -> None:
        """Take no new clients; with `is_emptying` those that wait already."""

    async def stop(self, *, drain_timeout_seconds: float) -> None:
        """Finish what is under way within the time, then close everything."""


class _Worker:
    def __init__(
        self,
        build: Callable[[CredentialStore, Callable[[float], None]], Plane],
        listeners: Listeners,
        turns: MyTurns,
        figures: SharedFigures,
        drain_timeout_seconds: float,
    ) -> None:
        self._build = build
        self._listeners = listeners
        self._turns = turns
        self._figures = figures
        self._drain_timeout_seconds = drain_timeout_seconds
        self._ending = asyncio.Event()
        self.exit_status = os.EX_OK
        self._channel = Channel(self._on_message, self._on_supervisor_gone)
        self._refresher = RemoteRefresher(self._channel.send, Outlook("", False, True, 1.0, 0.0))
        self._store = CredentialStore(self._refresher, on_secrets_changed=SECRETS_OF_LOG.replace)
        self._plane: Plane | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._is_alone = self._is_told_to_end = False
        self._is_unpublished = False

    async def run(self, sock: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        # By hand, to one worker: it drains, ends, and is replaced.
        loop.add_signal_handler(signal.SIGTERM, self._ending.set)
        await self._channel.open(sock)
        await self._ending.wait()
        self._turns.end()
        if self._plane is not None:
            # By hand it is this worker alone that ends: the others, or its replacement, take those who wait.
            await self._plane.leave(is_emptying=self._is_alone or self._is_told_to_end)
            if self._is_alone:
                # Nobody else does: a sibling that hangs would keep the port, and clients would wait for it.
                self._listeners.shut()
            else:
                self._listeners.let_go()
            self._channel.send({"is": "left"})
            await self._plane.stop(drain_timeout_seconds=self._drain_timeout_seconds)
        self._publish(is_last=True)

    def _on_supervisor_gone(self) -> None:
        if not self._ending.is_set():
            _LOG.error("the supervisor is gone; this worker ends")
            self._is_alone = True
            # Where the supervisor lives all the same, this life ended short, and not as it was told to.
            self.exit_status = _EXIT_FAILED
            self._ending.set()

    def _on_message(self, message: Message) -> None:
        try:
            self._heed(message)
        except Exception:  # noqa: BLE001 - it is logged; a worker that has not heeded its supervisor must not go on
            _LOG.exception("a worker could not do as the supervisor says; it ends", said=message["is"])
            self.exit_status = _EXIT_FAILED
            self._ending.set()

    def _heed(self, message: Message) -> None:
        match message["is"]:
            case "begin":
                self._on_news(message)
                self._begin(message["clock_offset"])
            case "news":
                self._on_news(message)
            case "answer":
                self._on_answer(message)
            case "publish":
                self._publish()
                self._channel.send({"is": "published"})
            case "clock" if self._plane is not None:
                self._plane.adopt_clock_offset(message["offset"])
            case "reload" if self._plane is not None:
                self._plane.reload()
            case "end":
                self._drain_timeout_seconds = message["drain_timeout_seconds"]
                self._is_told_to_end = True
                self._ending.set()

    def _begin(self, clock_offset: float) -> None:
        if self._ending.is_set():
            return
        self._plane = self._build(self._store, lambda offset: self._channel.send({"is": "clock", "offset": offset}))
        self._plane.adopt_clock_offset(clock_offset)
        self._turns.begin()
        self._plane.start(self._listeners)
        self._publish()
        self._channel.send({"is": "ready"})

    def _on_news(self, message: Message) -> None:
        """Something came of a fetch, or one begins."""
        store, refresher = self._store, self._refresher
        refresher.on_news(outlook_from(message["outlook"]))
        if "credentials" in message:
            refresher.on_fetched(message["generation"])
            store.accept(credentials_from(message["credentials"]))
        if message.get("set_aside"):
            store.set_aside()
        if "failed" in message:
            refresher.on_fetched()
            store.on_failed(is_hopeless=message["failed"])

    def _on_answer(self, message: Message) -> None:
        self._refresher.outlook = outlook_from(message["outlook"])
        self._refresher.on_answer(message["generation"], is_renewing=message["is_renewing"])
        if not self._refresher.is_renewing:
            # None are on their way: those who waited for others get the service's own answer.
            self._store.go_on()

    def _publish(self, *, is_last: bool = False) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._plane is None:
            return
        if not is_last:
            self._timer = asyncio.get_running_loop().call_later(PUBLISH_SECONDS, self._publish)
        try:
            self._figures.write(Figures(time.monotonic(), self._plane.snapshot()))
        except Exception:  # noqa: BLE001 - it is logged; requests are served without figures too, and it is tried again
            if not self._is_unpublished:
                _LOG.exception("the figures of this worker cannot be published")
            self._is_unpublished = True
        else:
            self._is_unpublished = False
        self._turns.show()


def serve_as_worker(
    sock: socket.socket,
    build: Callable[[CredentialStore, Callable[[float], None]], Plane],
    *,
    listeners: Listeners,
    turns: MyTurns,
    figures: SharedFigures,
    drain_timeout_seconds: float,
    loop_factory: Callable[[], asyncio.AbstractEventLoop] | None,
) -> int:
    """Serve until told to end; return the exit status. Called in a process that was made for it.

    `build(store, on_clock_offset)` makes what serves requests, in the worker's event loop; it calls `on_clock_offset`
    when it has found out how far the service's clock is off.
    """
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # they are the supervisor's

    async def run() -> int:
        worker = _Worker(build, listeners, turns, figures, drain_timeout_seconds)
        await worker.run(sock)
        return worker.exit_status

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        return runner.run(run())
