"""Files that others write: told apart by `stat`, and watched after a fetch that failed."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Self, TypeAlias

__all__ = ["FailureWatch", "Mark", "mark"]

Mark: TypeAlias = tuple[int, int, int, int, int] | None
"""A file as `stat` tells it from another: device, inode, size, mtime and ctime in ns. None where there is no file."""


def mark(path: Path | None) -> Mark:
    """Return what `stat` says about the file, for comparison. A symbolic link counts as what it leads to."""
    if path is None:
        return None
    try:
        found = path.stat()
    except (OSError, ValueError):
        return None
    # ctime too: a file that may be read from now on (chmod) has changed.
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


class FailureWatch:
    """Watches the files that a fetch needs, from one that failed to the next: whoever mends a file waits for nothing.

    A fetch is the `with` statement; it failed if an exception leaves it. After one that succeeded nothing is watched:
    credentials that were had with a file stay good when it changes.
    """

    def __init__(self, *paths: Path | None) -> None:
        self._paths = tuple(path for path in paths if path is not None)
        self._failed_with: tuple[Mark, ...] | None = None

    def has_changed(self) -> bool:
        """Whether any file has changed since a fetch that failed: one call of `stat` for each."""
        return self._failed_with is not None and self._failed_with != self._marks()

    def forget(self) -> None:
        """Watch nothing until a fetch that needs the files fails: one begins, and may do without them."""
        self._failed_with = None

    def __enter__(self) -> Self:
        # Marked before they are read: a file that changes in between is then read once more, not missed.
        self._failed_with = self._marks()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is None:
            self._failed_with = None

    def _marks(self) -> tuple[Mark, ...]:
        return tuple(mark(path) for path in self._paths)
