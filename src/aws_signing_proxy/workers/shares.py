"""What each worker gets of a limit that is one for the whole proxy."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["Share"]


class Share(NamedTuple):
    """One of so many workers; `slot` counts from 0."""

    slot: int = 0
    workers: int = 1

    def of(self, limit: int) -> int:
        """Return this worker's part. All parts together are the limit."""
        return limit // self.workers + (self.slot < limit % self.workers)
