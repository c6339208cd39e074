"""A transport that keeps what is written to it, and calls its protocol back only when a test says so."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

__all__ = ["FakeTransport"]


class FakeTransport(asyncio.Transport):
    """Takes everything, sends nothing.

    `written` is what was written since `take`; with `high_water` bytes in it the protocol is paused, as asyncio does.
    `on_write` is called with each write.
    """

    def __init__(self, protocol: asyncio.Protocol, *, high_water: int | None = None) -> None:
        super().__init__()
        self.protocol = protocol
        self.written = bytearray()
        self.reads = True
        self.is_closed = False
        self.is_aborted = False
        self.is_eof_written = False
        self.on_write: Callable[[], object] = lambda: None
        self._high_water = high_water
        self._is_paused = False

    @property
    def is_ended(self) -> bool:
        """Whether the protocol closed it, one way or the other."""
        return self.is_closed or self.is_aborted

    def take(self) -> bytes:
        """Return what was written, as if the peer had read it."""
        written = bytes(self.written)
        self.written.clear()
        if self._is_paused:
            self._is_paused = False
            self.protocol.resume_writing()
        return written

    def lose(self, error: Exception | None = None) -> None:
        """Tell the protocol that the connection is gone."""
        self.is_closed = True
        self.protocol.connection_lost(error)

    # What a protocol calls

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        assert not self.is_ended, "written to after its end"
        assert not self.is_eof_written, "written to after write_eof"
        self.written += data
        self.on_write()
        if self._high_water is not None and len(self.written) > self._high_water and not self._is_paused:
            self._is_paused = True
            self.protocol.pause_writing()

    def write_eof(self) -> None:
        self.is_eof_written = True

    def can_write_eof(self) -> bool:
        return True

    def close(self) -> None:
        self.is_closed = True

    def abort(self) -> None:
        self.is_aborted = True

    def is_closing(self) -> bool:
        return self.is_ended

    def pause_reading(self) -> None:
        assert self.reads, "paused twice"
        self.reads = False

    def resume_reading(self) -> None:
        assert not self.reads, "resumed twice"
        assert not self.is_ended, "resumed after its end"
        self.reads = True

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Nothing: a test chooses its own limit."""

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return default
