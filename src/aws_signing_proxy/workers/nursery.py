"""The process that workers are forked from: a copy of the supervisor as it was before it did anything.

A process with threads must not be forked and go on: a lock that another thread held is held for ever in the child. The
supervisor fetches credentials in threads, and has an event loop. So it forks this process first, which has neither,
holds no credentials that were fetched, and does nothing but fork when it is told to, reap what ends, and see to it
that nothing outlives the supervisor. Every worker, also the tenth replacement, starts from the same pages, which all of
them share.

Both sides speak in frames of one size over a socket pair; a worker's end of its own channel comes with the frame.
"""

from __future__ import annotations

import contextlib
import errno
import gc
import os
import select
import signal
import socket
import struct
import sys
import time
from collections.abc import Callable
from enum import IntEnum
from typing import Final, NamedTuple, NoReturn

__all__ = ["Frame", "Nursery", "Word"]

_FRAME: Final = struct.Struct("=iii")
# Beyond the time that workers have to drain: what is left then does not end by itself.
_GRACE_SECONDS: Final = 2.0
# The most that workers have to take what is in the queue when the supervisor is gone.
_LEAVE_SECONDS: Final = 0.5
_LOOK_SECONDS: Final = 0.05
_SHORT_LOOK_SECONDS: Final = 0.002
_EXIT_FAILED: Final = 70  # EX_SOFTWARE of sysexits.h


class Word(IntEnum):
    """What a frame says."""

    FORK = 1
    """To the nursery: make a worker. `number` is its slot."""
    KILL = 2
    """To the nursery: end the process `number` with SIGKILL; 0 means every worker."""
    LEAVE = 3
    """To the nursery: clients are refused from now on, and no worker is made any more."""
    BORN = 4
    """To the supervisor: `number` is the slot, `detail` the process."""
    NOT_BORN = 5
    """To the supervisor: `number` is the slot, `detail` the errno."""
    ENDED = 6
    """To the supervisor: `number` is the process, `detail` its status, negative for a signal."""


class Frame(NamedTuple):
    """One frame."""

    word: Word
    number: int = 0
    detail: int = 0


class Nursery:
    """The supervisor's hold on it: `start` before there is an event loop, then `fork`, `frames`, `kill`."""

    def __init__(self, sock: socket.socket, pid: int) -> None:
        self._sock = sock
        self._unfinished = b""
        self.pid = pid

    @classmethod
    def start(
        cls,
        serve: Callable[[int, socket.socket], int],
        *,
        let_go: Callable[[], None],
        refuse: Callable[[], None],
        drain_timeout_seconds: float,
    ) -> Nursery:
        """Fork it. The caller must have no thread and no event loop.

        `serve(slot, channel)` is what a worker does; it returns the exit status. `let_go` closes what clients connect
        to, `refuse` does so for every process.

        Raises:
            OSError: The system has no process for it.
        """
        _flush()
        # What is there now is never looked at again, here and in every process to come: looking at it would write to
        # the pages that they share.
        gc.collect()
        gc.freeze()
        ours, theirs = socket.socketpair()
        try:
            pid = os.fork()
        except OSError:
            ours.close()
            theirs.close()
            raise
        if pid == 0:
            ours.close()
            _leave(lambda: _Inside(theirs, serve, let_go, refuse, drain_timeout_seconds).run())
        theirs.close()
        ours.setblocking(False)
        return cls(ours, pid)

    def fileno(self) -> int:
        """Return the descriptor that is readable when `frames` has something."""
        return self._sock.fileno()

    def fork(self, slot: int, channel: socket.socket) -> None:
        """Let a worker be made; `channel` is its end of the channel, which the caller closes. Raises OSError."""
        socket.send_fds(self._sock, [_FRAME.pack(Word.FORK, slot, 0)], [channel.fileno()])

    def kill(self, pid: int = 0) -> None:
        """End a worker, or all of them, at once. Of one that has ended already nothing becomes."""
        self._say(Frame(Word.KILL, pid))

    def end(self) -> None:
        """End it at once."""
        with contextlib.suppress(ProcessLookupError):  # it is gone already
            os.kill(self.pid, signal.SIGKILL)

    def leave(self) -> None:
        """Let it close what clients connect to: no worker will be wanted any more."""
        self._say(Frame(Word.LEAVE))

    def _say(self, frame: Frame) -> None:
        with contextlib.suppress(OSError):  # it is gone; that is noticed elsewhere
            self._sock.send(_FRAME.pack(*frame))

    def frames(self) -> list[Frame] | None:
        """Return what it has said since; None when it is gone."""
        try:
            data = self._sock.recv(_FRAME.size * 256)
        except BlockingIOError:
            return []
        except OSError:
            return None
        if not data:
            return None
        data = self._unfinished + data
        whole = len(data) // _FRAME.size * _FRAME.size
        self._unfinished = data[whole:]
        return [Frame(Word(word), number, detail) for word, number, detail in _FRAME.iter_unpack(data[:whole])]

    def close(self) -> None:
        """Let it end, and reap it. Called when no worker is left, so it ends at once, or never."""
        self._sock.close()
        give_up = time.monotonic() + _GRACE_SECONDS
        with contextlib.suppress(ChildProcessError, ProcessLookupError):
            while os.waitpid(self.pid, os.WNOHANG) == (0, 0):
                if time.monotonic() > give_up:
                    os.kill(self.pid, signal.SIGKILL)
                time.sleep(_SHORT_LOOK_SECONDS)


class _Inside:
    """The nursery's own life."""

    def __init__(
        self,
        sock: socket.socket,
        serve: Callable[[int, socket.socket], int],
        let_go: Callable[[], None],
        refuse: Callable[[], None],
        drain_timeout_seconds: float,
    ) -> None:
        self._sock = sock
        self._serve = serve
        self._let_go = let_go
        self._refuse = refuse
        self._drain_timeout_seconds = drain_timeout_seconds
        self._workers: set[int] = set()
        self._wake, self._bell = socket.socketpair()

    def run(self) -> int:
        """Do as told until the supervisor is gone."""
        gc.disable()
        # A terminal's Ctrl-C, and whoever signals the whole control group, mean the supervisor, which tells everybody.
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        self._wake.setblocking(False)
        self._bell.setblocking(False)
        signal.set_wakeup_fd(self._bell.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        while True:
            readable, _, _ = select.select([self._sock, self._wake], [], [])
            if self._wake in readable:
                with contextlib.suppress(BlockingIOError):
                    self._wake.recv(4096)
                self._reap()
            if self._sock in readable and not self._heed():
                break
        self._outlive_nobody()
        return 0

    def _heed(self) -> bool:
        """Take one frame; return whether the supervisor is still there."""
        try:
            data, descriptors, _, _ = socket.recv_fds(self._sock, _FRAME.size, 1)
        except OSError:
            return False
        if len(data) < _FRAME.size:
            return False
        word, number, _ = _FRAME.unpack(data)
        if word == Word.FORK and descriptors:
            self._fork(number, descriptors[0])
        elif word == Word.FORK:
            self._tell(Word.NOT_BORN, number, errno.EMFILE)  # there is no room for it: it was dropped
        elif word == Word.KILL:
            for pid in [each for each in self._workers if number in {0, each}]:
                # Not reaped yet, so the number is still that worker's.
                os.kill(pid, signal.SIGKILL)
        elif word == Word.LEAVE:
            self._let_go()
        return True

    def _fork(self, slot: int, descriptor: int) -> None:
        try:
            pid = os.fork()
        except OSError as error:
            os.close(descriptor)
            self._tell(Word.NOT_BORN, slot, error.errno or 0)
            return
        if pid == 0:
            _leave(lambda: self._become_worker(slot, descriptor))
        os.close(descriptor)
        self._workers.add(pid)
        self._tell(Word.BORN, slot, pid)

    def _become_worker(self, slot: int, descriptor: int) -> int:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for sock in (self._sock, self._wake, self._bell):
            sock.close()
        gc.enable()
        return self._serve(slot, socket.socket(fileno=descriptor))

    def _reap(self) -> None:
        """Take note of every child that has ended, also of what a worker may have left behind."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            if pid in self._workers:
                self._workers.discard(pid)
                self._tell(Word.ENDED, pid, os.waitstatus_to_exitcode(status))

    def _tell(self, word: Word, number: int, detail: int) -> None:
        with contextlib.suppress(OSError):  # the supervisor is gone, which the next look shows
            self._sock.sendall(_FRAME.pack(word, number, detail))

    def _outlive_nobody(self) -> None:
        """The supervisor is gone: its workers have seen it too and drain; end what does not."""
        began = time.monotonic()
        has_refused = False
        while self._workers and time.monotonic() < began + self._drain_timeout_seconds + _GRACE_SECONDS:
            # The first worker that has left has done so already, unless all of them hang.
            if not has_refused and time.monotonic() >= began + _LEAVE_SECONDS:
                has_refused = True
                self._refuse()
            select.select([self._wake], [], [], _LOOK_SECONDS)
            with contextlib.suppress(BlockingIOError):
                self._wake.recv(4096)
            self._reap()
        self._refuse()
        for pid in self._workers:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def _leave(run: Callable[[], int]) -> NoReturn:
    """Run a child's whole life and end the process there: what the parent has planned for its own end is not ours."""
    status = _EXIT_FAILED
    try:
        status = run()
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else _EXIT_FAILED
    except BaseException:  # noqa: BLE001 - nobody above; the parent sees the status, people see the log
        sys.excepthook(*sys.exc_info())
    finally:
        _flush()
        os._exit(status)


def _flush() -> None:
    """Write what is left to be written, to as many of the two as there are: a descriptor may be closed, or full."""
    for stream in (sys.stdout, sys.stderr):
        # AttributeError: None stands for a stream that was closed when Python started.
        with contextlib.suppress(AttributeError, OSError, ValueError):
            stream.flush()
