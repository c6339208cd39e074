"""Certificates that are renewed while the process runs: their files are looked at, and read again when they change."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, TypeAlias

from aws_signing_proxy.tls.contexts import CertificateFileError

__all__ = ["CertificateWatch", "ReloadedContext"]

_LOG = logging.getLogger(__name__)

_POLL_SECONDS: Final = 1.0

_Mark: TypeAlias = tuple[int, int, int] | None


class ReloadedContext:
    """A context that is made anew when its files change; connections that are open go on as they are.

    `context` is the newest one that could be made. `name` says in the log what it is for. A file that cannot be used is
    logged once, and what was in use stays in use.
    """

    def __init__(self, name: str, files: Sequence[Path], build: Callable[[], ssl.SSLContext]) -> None:
        self._name = name
        self._files = tuple(files)
        self._build = build
        self._loaded_marks = self._seen_marks = self._marks()
        self.context = build()

    def check(self, *, is_forced: bool = False) -> None:
        """Look at the files, and read them where they have changed since, or where `is_forced`. Blocks."""
        marks = self._marks()
        # Certificate and key are two files: what changed is read when it has not changed for one look more.
        is_stable = marks == self._seen_marks
        self._seen_marks = marks
        if is_forced or (marks != self._loaded_marks and is_stable):
            self._loaded_marks = marks
            self._load()

    def catch_up(self) -> None:
        """Read the files now where they are others than those that are in use. Blocks."""
        if self._marks() == self._loaded_marks:
            return
        before = self.context
        self.check(is_forced=True)
        if self.context is before:
            _LOG.warning(
                "%s of the proxy's start is what this worker begins with; other workers may use a newer one", self._name
            )

    def _load(self) -> None:
        try:
            context = self._build()
        except (CertificateFileError, OSError) as error:  # ssl.SSLError is an OSError
            _LOG.error("%s could not be read again; the one in use stays in use: %s", self._name, error)
            return
        self.context = context
        _LOG.info("%s was read again: new connections use it", self._name)

    def _marks(self) -> tuple[_Mark, ...]:
        return tuple(_mark(path) for path in self._files)


def _mark(path: Path) -> _Mark:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


class CertificateWatch:
    """Looks at the files of contexts once a second, on a thread. `start`, then `stop`; both once."""

    def __init__(self, contexts: Sequence[ReloadedContext], *, poll_seconds: float = _POLL_SECONDS) -> None:
        self._contexts = tuple(contexts)
        self._poll_seconds = poll_seconds
        self._is_forced = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def catch_up(self) -> None:
        """Read now what has changed since the contexts were made: this process is a copy of an older one. Blocks."""
        for context in self._contexts:
            context.catch_up()

    def start(self) -> None:
        """Begin to look, where there is anything to look at."""
        if self._contexts:
            self._task = asyncio.get_running_loop().create_task(self._run(), name="watch certificates")

    def reload(self) -> None:
        """Read all files again now, changed or not (SIGHUP)."""
        self._is_forced.set()

    async def stop(self) -> None:
        """Look no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._is_forced.wait(), self._poll_seconds)
            is_forced = self._is_forced.is_set()
            self._is_forced.clear()
            try:
                # Loading the system's authorities alone takes some 10 ms: not on the event loop.
                await asyncio.to_thread(self._check, is_forced=is_forced)
            except Exception:  # noqa: BLE001 - it is logged; without this loop no certificate would ever be renewed
                _LOG.exception("the files of certificates could not be looked at")

    def _check(self, *, is_forced: bool) -> None:
        for context in self._contexts:
            context.check(is_forced=is_forced)
