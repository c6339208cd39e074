"""Reading a small file that somebody else writes: a token, a client secret, a key. Never waits for a writer."""

from __future__ import annotations

import os
import stat
from pathlib import Path

__all__ = ["NotAFileError", "read_at_most"]


class NotAFileError(OSError):
    """There is something else than a regular file: a pipe, a folder, a device."""

    def __init__(self) -> None:
        super().__init__(None, "not a regular file")


def read_at_most(path: Path, most_bytes: int) -> bytes:
    """Return the file's bytes; of a longer one `most_bytes` and one more, which shows it.

    Raises:
        NotAFileError: It is no regular file.
        OSError: It is not there, or cannot be read.
    """
    # Not blocking: to open a named pipe would wait for its writer, and the thread of the fetch with it, for ever.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise NotAFileError
    with os.fdopen(descriptor, "rb") as file:
        return file.read(most_bytes + 1)
