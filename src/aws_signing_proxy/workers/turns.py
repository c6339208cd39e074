"""Whose turn it is to take a connection: how many each worker has, in memory that all of them see.

One number a worker, written by it alone (by the supervisor once it is gone). A number is eight bytes, aligned, and
written at once; one that is a moment old costs nothing but a worse turn.
"""

from __future__ import annotations

import mmap
from typing import Final

__all__ = ["Board", "MyTurns"]

_ABSENT: Final = -1
# A worker with many connections may have a few more than another one before it stands back: 6 %.
_LEEWAY_SHIFT: Final = 4
# What a worker may take at once where no other one takes any.
_ALONE: Final = 64


class Board:
    """The numbers of all workers. Made before the first is forked."""

    def __init__(self, workers: int) -> None:
        self._memory = mmap.mmap(-1, 8 * workers)
        self.numbers = memoryview(self._memory).cast("q")
        for slot in range(workers):
            self.take_off(slot)

    def take_off(self, slot: int) -> None:
        """The worker takes no connections, or is gone: nobody is to leave it any."""
        self.numbers[slot] = _ABSENT


class MyTurns:
    """The turns of one worker (see `Turns`)."""

    def __init__(self, board: Board, slot: int) -> None:
        self._numbers = board.numbers
        self._slot = slot
        self._open = 0
        self._is_on = False

    @property
    def allowance(self) -> int:
        """How many connections this worker may take until it has more than another one, with the leeway."""
        # A worker that is behind catches up at once. One connection in each round of a busy event loop was too slow:
        # others who had stood back took what was left (184 of 256).
        others = [number for slot, number in enumerate(self._numbers) if number >= 0 and slot != self._slot]
        if not others:
            return _ALONE
        least = min(others)
        return max(least + (least >> _LEEWAY_SHIFT) + 1 - self._open, 0)

    @property
    def least(self) -> int:
        """How many connections the other worker with the fewest has."""
        return min(
            (number for slot, number in enumerate(self._numbers) if number >= 0 and slot != self._slot), default=0
        )

    def begin(self) -> None:
        """Take part from now on."""
        self._is_on = True
        self._numbers[self._slot] = self._open

    def show(self) -> None:
        """Say again how many it has: it may have been taken for one that hangs."""
        self._change(0)

    def end(self) -> None:
        """Leave connections to the others from now on."""
        self._is_on = False
        self._numbers[self._slot] = _ABSENT

    def opened(self) -> None:
        """This worker has taken a connection."""
        self._change(1)

    def closed(self) -> None:
        """One of this worker's is gone."""
        self._change(-1)

    def _change(self, by: int) -> None:
        self._open += by
        if self._is_on:
            self._numbers[self._slot] = self._open
