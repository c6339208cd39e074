"""Lines to a stream that may be gone: a closed or broken standard error must not take the proxy down."""

from __future__ import annotations

import contextlib
import os
from typing import TextIO

__all__ = ["Lines"]


class Lines:
    """Writes whole lines, and drops those that cannot be written. `stream` is None where the process has none."""

    __slots__ = ("_stream",)

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream

    @property
    def is_terminal(self) -> bool:
        """Whether people read the lines as they come."""
        try:
            return self._stream is not None and self._stream.isatty()
        except (OSError, ValueError):
            return False

    def write(self, line: str) -> None:
        """Write the line and its end, now."""
        stream = self._stream
        if stream is None:
            return
        try:
            _write(stream, f"{line}\n")
        except BrokenPipeError:
            _send_nowhere(stream)
        except (OSError, ValueError):
            return  # disk full; closed file


def _write(stream: TextIO, text: str) -> None:
    try:
        stream.write(text)
    except UnicodeEncodeError:
        encoding = stream.encoding or "ascii"
        stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
    stream.flush()


def _send_nowhere(stream: TextIO) -> None:
    """Let the descriptor lead nowhere: what the stream still holds would make the process's end a failure.

    Python's documentation, "Note on SIGPIPE" in the module `signal`.
    """
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
