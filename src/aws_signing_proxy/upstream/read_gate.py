"""Whether a connection is read from: for flow control, and so that one that never stops does not stop all others."""

from __future__ import annotations

import asyncio

__all__ = ["FULL_READ_BYTES", "ReadGate"]

FULL_READ_BYTES = 250_000
"""A read that brings less has emptied the socket (uvloop reads 256,000 bytes at once, asyncio 262,144)."""


class ReadGate:
    """Pauses and resumes the reading of one transport, each once; nothing happens where that is so already.

    libuv reads from a socket that is full up to 32 times in a row, 8 MiB, before it looks at another one: with sixteen
    uploads a small request waited 0.4 s (1.3 s at worst). So after a full read it is somebody else's turn.
    """

    __slots__ = ("_is_resting", "_transport", "is_paused")

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._is_resting = False
        self.is_paused = False

    def use(self, transport: asyncio.Transport | None) -> None:
        """Pause and resume this one; None: it is gone."""
        self._transport = transport

    def pause(self) -> bool:
        """Leave what comes in the kernel. Return whether this is new."""
        if self.is_paused or self._transport is None:
            return False
        self.is_paused = True
        if not self._is_resting:
            self._transport.pause_reading()
        return True

    def resume(self) -> bool:
        """Undo `pause`. Return whether this is new."""
        if not self.is_paused or self._transport is None:
            return False
        self.is_paused = False
        if not self._is_resting and not self._transport.is_closing():
            self._transport.resume_reading()
        return True

    def rest(self) -> None:
        """A full read: go on in the next round of the event loop."""
        if self._is_resting or self._transport is None:
            return
        self._is_resting = True
        if not self.is_paused:
            self._transport.pause_reading()
        asyncio.get_running_loop().call_soon(self._end_rest)

    def _end_rest(self) -> None:
        self._is_resting = False
        if self._transport is not None and not self.is_paused and not self._transport.is_closing():
            self._transport.resume_reading()
