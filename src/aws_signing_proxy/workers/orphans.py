"""The duty of process 1 in a container: to reap those whose parents are gone, for nobody else does.

`waitpid(-1)` would take the statuses of children that others wait for: a `credential_process` would seem to have
succeeded whatever it said. Linux keeps children by the thread that made them, and gives orphans to the main thread,
which itself makes one child only.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection
from pathlib import Path

__all__ = ["reap_orphans"]


def reap_orphans(own: Collection[int] = ()) -> list[int]:
    """Reap what has ended of the main thread's children, but for `own`; return which. Nothing where there is no /proc.

    Linux: Documentation/filesystems/proc.rst, section 3.7.
    """
    pid = os.getpid()
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii").split()
    except OSError:
        return []
    reaped = []
    for child in map(int, children):
        if child not in own:
            with contextlib.suppress(ChildProcessError):
                ended, _ = os.waitpid(child, os.WNOHANG)
                if ended:
                    reaped.append(ended)
    return reaped
