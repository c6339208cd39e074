"""What the kernel tells about a process: its memory, threads, descriptors and children."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import NamedTuple

__all__ = ["Held", "held", "pss_mib"]


class Held(NamedTuple):
    """What a process holds. `private_kib` is memory that it has written to and shares with nobody.

    Growth shows in that. The proportional set size (`pss_mib`) also changes when another process that shares pages
    comes or goes, as tests do.
    """

    private_kib: int
    threads: int
    descriptors: int
    children: int


def held(pid: int) -> Held:
    """Return what the process holds now."""
    threads = os.listdir(f"/proc/{pid}/task")  # noqa: PTH208 - names are all that is wanted
    return Held(
        _rollup_kib(pid, "Private_Dirty"),
        len(threads),
        len(os.listdir(f"/proc/{pid}/fd")),  # noqa: PTH208 - as above
        sum(len(_children(pid, thread)) for thread in threads),
    )


def pss_mib(pid: int) -> float:
    """Return the proportional set size of a process and its descendants, in MiB."""
    descendants = [child for thread in os.listdir(f"/proc/{pid}/task") for child in _children(pid, thread)]  # noqa: PTH208
    return _rollup_kib(pid, "Pss") / 1024 + sum(pss_mib(child) for child in descendants)


def _children(pid: int, thread: str) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{thread}/children").read_text().split()]
    except FileNotFoundError:  # the thread has ended
        return []


def _rollup_kib(pid: int, name: str) -> int:
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    found = re.search(rf"^{name}:\s+(\d+) kB$", text, re.MULTILINE)
    assert found is not None, text
    return int(found[1])
