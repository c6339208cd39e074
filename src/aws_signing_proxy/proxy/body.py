"""Request bodies: hashed as they arrive, held in memory while small, in an unlinked file when large.

A signature covers the hash of the whole body, so a body is held until its last byte is here. What is held in
memory is bounded for one body and for all together; what is beyond goes to disk, and a client that sends
faster than the disk takes it is made to wait.
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import tempfile
from collections.abc import Callable
from concurrent.futures import Executor
from typing import IO

from aws_signing_proxy.errors import ErrorCode, InternalError
from aws_signing_proxy.observe.counters import Counters, Limit

__all__ = ["BodyLimits", "BodyMemory", "ReceivedBody"]

# What a spooling body may have in flight to the disk before its client waits, and one read back from it.
_SPOOL_PIECE_BYTES = 512 * 1024


class BodyLimits:
    """The limits that all bodies share: bytes in memory for one, a directory for the rest, a thread to write it."""

    __slots__ = ("executor", "memory", "memory_limit_bytes", "spool_directory")

    def __init__(
        self, *, memory_limit_bytes: int, memory: BodyMemory, spool_directory: str | None, executor: Executor
    ) -> None:
        self.memory_limit_bytes = memory_limit_bytes
        self.memory = memory
        self.spool_directory = spool_directory
        self.executor = executor

    def hold_if_room(self, length: int) -> bool:
        """Whether a body of this length may stay in memory now; then it is counted as held (`BodyMemory.give`)."""
        return length <= self.memory_limit_bytes and self.memory.take_if_room(length)


class BodyMemory:
    """The memory that all request bodies together may take.

    `disk_bound`: bytes of it that are being written away to the disk, which takes them sooner or later.
    """

    __slots__ = ("_counters", "_limit", "_waiting", "disk_bound", "used")

    def __init__(self, limit_bytes: int, counters: Counters) -> None:
        self._limit = limit_bytes
        self._counters = counters
        self._waiting: list[Callable[[], None]] = []
        self.used = 0
        self.disk_bound = 0

    def has_room(self, size: int) -> bool:
        """Whether `size` more bytes fit."""
        return self.used + size <= self._limit

    def take_if_room(self, size: int) -> bool:
        """Count `size` bytes as held if they fit, and return whether they do."""
        used = self.used + size
        if used > self._limit:
            return False
        self.used = self._counters.body_memory_bytes = used
        return True

    def may_keep(self, size: int) -> bool:
        """Whether there is room for `size` more bytes of what is only kept to be sent once more: half of it is."""
        return self.used + size <= self._limit // 2

    @property
    def is_exhausted(self) -> bool:
        """Whether clients whose bodies go to disk should wait until others' are written.

        With nothing on its way out it is other clients who hold the memory, for as long as they please:
        waiting for them would be for ever, and one read at a time goes through.
        """
        return self.used >= self._limit and self.disk_bound > 0

    def take(self, size: int) -> None:
        """Count `size` bytes as held. What has been read from a socket is here, whether it fits or not."""
        self.used = self._counters.body_memory_bytes = self.used + size

    def give(self, size: int) -> None:
        """`size` bytes are held no longer."""
        self.used = self._counters.body_memory_bytes = self.used - size
        if self._waiting and not self.is_exhausted:
            waiting, self._waiting = self._waiting, []
            for resume in waiting:
                resume()

    def call_when_free(self, resume: Callable[[], None]) -> None:
        """Call `resume` once there is room again."""
        self._waiting.append(resume)


class ReceivedBody:
    """One request's body while it arrives and until its response is complete.

    `add` takes the pieces; `finish` is called after the last; then, at once or when the disk is done,
    `on_ready` is called, and `sha256_hex` and `size` are final. `on_failed` is called at most once, instead.
    `can_take_more` turns false when the client should be made to wait; `on_room` is called when it turns true.
    After `on_ready` the body can be read any number of times: `in_memory` bytes, or `read` from the file.
    """

    def __init__(
        self,
        limits: BodyLimits,
        counters: Counters,
        *,
        on_ready: Callable[[], None],
        on_failed: Callable[[InternalError], None],
        on_room: Callable[[], None],
    ) -> None:
        self._limits = limits
        self._counters = counters
        self._on_ready = on_ready
        self._on_failed = on_failed
        self._on_room = on_room
        self._hash = hashlib.sha256()
        # One growing buffer, not a list of pieces: of tiny ones each would take many times its size.
        self._pending = bytearray()
        self._whole: bytes | None = None
        self._held = 0
        self._spooled = 0
        self._file: IO[bytes] | None = None
        self._writing: asyncio.Future[None] | None = None
        self._is_finished = False
        self._is_closed = False
        self.size = 0
        self.can_take_more = True

    @property
    def is_spooled(self) -> bool:
        """Whether the body is in a file."""
        return self._file is not None

    @property
    def in_memory(self) -> bytes:
        """The whole body, when it is not spooled."""
        if self._whole is None:
            self._whole, self._pending = bytes(self._pending), bytearray()
        return self._whole

    @property
    def sha256_hex(self) -> bytes:
        """The hash of the whole body, in lower-case hexadecimal."""
        return self._hash.hexdigest().encode()

    def add(self, piece: bytes) -> None:
        """Take the next piece of the body."""
        if self._is_closed:
            return
        size = len(piece)
        self.size += size
        memory = self._limits.memory
        if self._file is None and not self._fits_in_memory(size) and not self._start_spooling():
            return
        memory.take(size)
        self._held += size
        self._pending += piece
        if self._file is None:
            # On the loop: a piece is at most what one read brings (65 µs for 64 KiB).
            self._hash.update(piece)
        else:
            self._write_pieces()

    def finish(self) -> None:
        """The last piece has been added."""
        self._is_finished = True
        if self._writing is None and not self._is_closed:
            self._on_ready()

    def close(self) -> None:
        """Forget the body: its memory, its file. A write that is under way ends first."""
        if self._is_closed:
            return
        self._is_closed = True
        if self._writing is None:
            self._free()

    async def read(self, offset: int) -> bytes:
        """Read the next piece of a spooled body; empty at its end. Raises InternalError."""
        assert self._file is not None
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(
                self._limits.executor, os.pread, self._file.fileno(), _SPOOL_PIECE_BYTES, offset
            )
        except OSError as error:
            raise _spool_error(error, self._limits.spool_directory) from error

    def _fits_in_memory(self, size: int) -> bool:
        if self.size > self._limits.memory_limit_bytes:
            return False
        if self._limits.memory.has_room(size):
            return True
        self._counters.limits_hit[Limit.BODY_MEMORY] += 1
        return False

    def _start_spooling(self) -> bool:
        try:
            self._file = tempfile.TemporaryFile(  # noqa: SIM115 - closed by `close`, whenever that is
                dir=self._limits.spool_directory, prefix="aws-signing-proxy-", buffering=0
            )
        except OSError as error:
            self._fail(error)
            return False
        self._counters.bodies_spooled_total += 1
        # What is in memory is hashed already: the hash goes on with what follows.
        self._write_pieces(is_hashed=True)
        return True

    def _write_pieces(self, *, is_hashed: bool = False) -> None:
        """Hand what is in memory to the disk, one write at a time."""
        if self._writing is not None:
            self._make_client_wait()
            return
        if not self._pending or self._file is None:
            return
        pending, self._pending = self._pending, bytearray()
        size = self._held
        loop = asyncio.get_running_loop()
        self._limits.memory.disk_bound += size
        self._writing = loop.run_in_executor(
            self._limits.executor, _hash_and_write, None if is_hashed else self._hash, self._file, pending
        )
        self._writing.add_done_callback(lambda done: self._on_written(done, size))
        self._make_client_wait()

    def _make_client_wait(self) -> None:
        if self._held > _SPOOL_PIECE_BYTES or self._limits.memory.is_exhausted:
            self.can_take_more = False

    def _on_written(self, done: asyncio.Future[None], size: int) -> None:
        self._writing = None
        self._held -= size
        self._limits.memory.disk_bound -= size
        self._limits.memory.give(size)
        error: BaseException | None = asyncio.CancelledError() if done.cancelled() else done.exception()
        if error is None:
            self._spooled += size
            self._counters.spooled_bytes_total += size
            self._counters.spool_bytes += size
        if self._is_closed:
            self._free()
            return
        if error is not None:
            self._fail(error)
            return
        self._write_pieces()
        if self._is_finished and self._writing is None:
            self._on_ready()
        elif not self.can_take_more:
            self._let_client_go_on()

    def _let_client_go_on(self) -> None:
        if self._is_closed or self.can_take_more:
            return
        if self._limits.memory.is_exhausted and self._held:
            return  # its own write is under way and comes back here
        if self._limits.memory.is_exhausted:
            self._limits.memory.call_when_free(self._let_client_go_on)
            return
        self.can_take_more = True
        self._on_room()

    def _fail(self, error: BaseException) -> None:
        self.close()
        self._on_failed(_spool_error(error, self._limits.spool_directory))

    def _free(self) -> None:
        self._pending, self._whole = bytearray(), None
        self._limits.memory.give(self._held)
        self._held = 0
        if self._file is not None:
            self._counters.spool_bytes -= self._spooled
            self._file.close()


def _hash_and_write(sha256: hashlib._Hash | None, file: IO[bytes], data: bytearray) -> None:
    """Runs on a thread; both the hash and the write let the event loop go on meanwhile."""
    if sha256 is not None:
        sha256.update(data)
    descriptor = file.fileno()
    with memoryview(data) as view:
        position = 0
        while position < len(data):
            position += os.write(descriptor, view[position:])


def _spool_error(error: BaseException, directory: str | None) -> InternalError:
    where = directory or tempfile.gettempdir()
    if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
        return InternalError(
            ErrorCode.OUT_OF_FILE_DESCRIPTORS,
            "No file descriptor is left to store the request's body. Raise the limit (ulimit -n).",
            retry_after_seconds=1,
        )
    reason = (isinstance(error, OSError) and error.strerror) or type(error).__name__
    return InternalError(
        ErrorCode.SPOOL_FAILED,
        f"The body could not be stored in {where} (ASP_SPOOL_DIR): {reason}. "
        "Free some room there, or name another directory.",
    )
