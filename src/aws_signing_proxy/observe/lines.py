"""Lines to a stream that may be gone: a closed or broken standard error must not take the proxy down."""

from __future__ import annotations

import contextlib
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
        with contextlib.suppress(OSError, ValueError):  # broken pipe, disk full; closed file
            try:
                stream.write(f"{line}\n")
            except UnicodeEncodeError:
                encoding = stream.encoding or "ascii"
                stream.write(f"{line}\n".encode(encoding, "backslashreplace").decode(encoding))
            stream.flush()
