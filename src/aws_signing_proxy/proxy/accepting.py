"""Takes clients' connections from the queue that all workers share, so that each worker gets its part of them.

The kernel wakes every worker for each connection, and whoever comes first takes it: left to themselves, one of two idle
workers took 64 connections of 64. So a worker that has more open connections than another one stands back for a moment
and leaves the queue to that one. What is still there afterwards it takes all the same: the other one is busy, stopped
or gone. Figures: docs/decisions/0009-workers.md.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import select
import socket
from collections.abc import Callable
from typing import Final, Protocol

from aws_signing_proxy.observe.counters import Counters, Limit

__all__ = ["Acceptor", "NoTurns", "Turns"]

_LOG = logging.getLogger(__name__)

# Longer than an idle worker needs to come, shorter than a client notices.
_STAND_BACK_SECONDS: Final = 0.002
# What is taken at one time where nobody else is to be left anything.
_MOST_AT_ONCE: Final = 64
# So often before one is taken all the same: a worker may wait some milliseconds for a processor.
_LOOKS: Final = 5
# So often is one taken, 100 ms altogether, before more are, and at each look.
_PATIENCE: Final = 10
_MOST_DOUBLINGS: Final = 6
_LONGEST_QUEUE: Final = 4096
_SHORTAGE_SECONDS: Final = 0.1
_SHORTAGES: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_LOG_INTERVAL_SECONDS: Final = 60.0


class Turns(Protocol):
    """Who of several workers is to take the next connection."""

    @property
    def allowance(self) -> int:
        """How many this worker may take now: until it has more than another one, which may be none."""

    @property
    def least(self) -> int:
        """How many connections the other worker with the fewest has."""

    def opened(self) -> None:
        """This worker has taken a connection."""

    def closed(self) -> None:
        """One of this worker's is gone."""


class NoTurns:
    """Stands in where there is one worker."""

    allowance = _MOST_AT_ONCE
    least = 0

    def opened(self) -> None:
        """Do nothing."""

    def closed(self) -> None:
        """Do nothing."""


class Acceptor:
    """Accepts connections of one listening socket and makes a protocol for each; `start`, then `stop`."""

    def __init__(
        self, listener: socket.socket, factory: Callable[[], asyncio.Protocol], *, turns: Turns, counters: Counters
    ) -> None:
        self._listener = listener
        self._factory = factory
        self._turns = turns
        self._counters = counters
        self._loop = asyncio.get_running_loop()
        self._queue = select.poll()
        self._queue.register(listener, select.POLLIN)
        self._timer: asyncio.TimerHandle | None = None
        self._is_listening = self._is_standing_back = False
        # How often in a row the queue was looked at and nobody else had come; how often that was too long. A sign of
        # somebody else ends that, and nothing else: beside one that hangs this worker's own connections end as well.
        self._looks = self._taken_for_others = 0
        self._least_seen = 0
        self._said_at = float("-inf")
        # The event loop itself holds tasks weakly.
        self._opening: set[asyncio.Task[object]] = set()

    def start(self) -> None:
        """Take connections from now on."""
        self._is_listening = True
        self._loop.add_reader(self._listener.fileno(), self._on_readable)

    async def stop(self, *, is_emptying: bool = True) -> None:
        """Take what is in the queue, and no more; without `is_emptying` leave that to others.

        The socket is left as it is.
        """
        if not self._is_listening:
            return
        self._is_listening = self._is_standing_back = False
        self._pause()
        if self._timer is not None:
            self._timer.cancel()
        if is_emptying:
            # Others take from it as well. Whoever is still in it when the socket is closed is reset by the kernel.
            self._take(_LONGEST_QUEUE)
            if self._timer is not None:
                self._timer.cancel()  # it ran into a shortage
        await asyncio.gather(*self._opening)

    def on_closed(self) -> None:
        """A connection of this worker's is gone. Where that makes it this worker's turn, the others are not waited for.

        Without this all workers stood back while the queue was full: with 64 short connections at a time two workers
        took 1,100 to 1,400 a second where one took 4,500 to 10,000.
        """
        if self._is_standing_back and self._turns.allowance:
            assert self._timer is not None  # whoever stands back has set it
            self._timer.cancel()
            self._after_pause()

    def _on_readable(self) -> None:
        allowance = self._turns.allowance
        if allowance:
            self._looks = 0
            self._take(min(allowance, _MOST_AT_ONCE))
        else:
            self._stand_back()

    def _stand_back(self) -> None:
        self._is_standing_back = True
        self._pause()
        self._timer = self._loop.call_later(_STAND_BACK_SECONDS, self._after_pause)

    def _pause(self) -> None:
        self._loop.remove_reader(self._listener.fileno())

    def _after_pause(self) -> None:
        self._timer = None
        self._is_standing_back = False
        self._loop.add_reader(self._listener.fileno(), self._on_readable)
        if self._turns.allowance:
            self._on_readable()
        elif not self._queue.poll(0):
            self._looks = self._taken_for_others = 0  # somebody else came
        else:
            self._looks += 1
            # The one that this worker waits for takes connections, or closes some: it does not hang.
            if self._turns.least != self._least_seen:
                self._least_seen = self._turns.least
                self._taken_for_others = 0
            is_patient = self._taken_for_others < _PATIENCE and self._looks < _LOOKS
            if is_patient:
                self._stand_back()
            else:
                self._take_for_others()

    def _take_for_others(self) -> None:
        """Nobody else came. A busy worker does in the end; one that hangs must not make many clients wait."""
        self._looks = 0
        doublings = min(max(self._taken_for_others - _PATIENCE, 0), _MOST_DOUBLINGS)
        self._take(1 << doublings)
        self._taken_for_others += 1

    def _take(self, most: int) -> int:
        """Take up to so many; return how many there were."""
        for taken in range(most):
            try:
                connection, _ = self._listener.accept()
            except (BlockingIOError, InterruptedError):
                return taken
            except ConnectionAbortedError:
                continue  # it was gone before it was taken
            except OSError as error:
                self._on_failure(error)
                return taken
            connection.setblocking(False)
            self._turns.opened()
            task = self._loop.create_task(self._open(connection))
            self._opening.add(task)
            task.add_done_callback(self._opening.discard)
        return most

    async def _open(self, connection: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(self._factory, connection)
        except Exception:  # noqa: BLE001 - it is logged, and concerns this connection only
            connection.close()
            self._turns.closed()
            self.on_closed()
            _LOG.exception("a connection could not be taken over")

    def _on_failure(self, error: OSError) -> None:
        """Leave the queue alone for a moment: it would be readable all the time."""
        self._pause()
        if error.errno == errno.EINVAL:
            return  # another process has shut it down, for all: there is no queue any more
        self._timer = self._loop.call_later(_SHORTAGE_SECONDS, self._after_pause)
        if error.errno in _SHORTAGES:
            self._counters.limits_hit[Limit.FILE_DESCRIPTORS] += 1
        now = self._loop.time()
        if now - self._said_at >= _LOG_INTERVAL_SECONDS:
            self._said_at = now
            _LOG.error("connections cannot be accepted (%s); they wait in the kernel", error.strerror or error)
