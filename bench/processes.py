"""What processes use: CPU time, memory, connections; always of a whole tree, for a program may have workers. Linux."""

from __future__ import annotations

import contextlib
import os
import re
import threading
from collections.abc import Iterator
from pathlib import Path

__all__ = ["cpu_seconds", "established", "load_cores", "on_cores", "peak_memory", "program_cores", "pss_mib", "tree"]

_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
_ESTABLISHED = "01"  # of /proc/net/tcp
_LOOK_SECONDS = 0.02


def tree(pid: int) -> list[int]:
    """Return a process and all below it."""
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        children = [int(child) for task in tasks for child in (task / "children").read_text().split()]
    except OSError:
        return [pid]  # it has just ended
    return [pid, *(each for child in children for each in tree(child))]


def cpu_seconds(pid: int) -> float:
    """Return the CPU time that a tree has used, its own and the kernel's for it, with that of children that ended."""
    total = 0
    for each in tree(pid):
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{each}/stat").read_text().rsplit(")", 1)[1].split()
            total += sum(map(int, fields[11:15]))
    return total / _TICKS_PER_SECOND


def pss_mib(pid: int) -> float:
    """Return the proportional set size of a tree: what is shared counts once."""
    total = 0
    for each in tree(pid):
        with contextlib.suppress(OSError):
            match = re.search(r"^Pss:\s+(\d+)", Path(f"/proc/{each}/smaps_rollup").read_text(), re.MULTILINE)
            total += int(match[1]) if match else 0
    return total / 1024


@contextlib.contextmanager
def peak_memory(pid: int) -> Iterator[list[float]]:
    """Watch a tree's memory; the list holds the highest figure in MiB."""
    peak = [pss_mib(pid)]
    done = threading.Event()

    def watch() -> None:
        while not done.wait(_LOOK_SECONDS):
            peak[0] = max(peak[0], pss_mib(pid))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield peak
    finally:
        done.set()
        watcher.join()


def established(pid: int, port: int) -> list[int]:
    """Return how many clients are connected to each process of a tree that has any, by the port it listens on."""
    inodes = set()
    for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[3] == _ESTABLISHED and int(fields[1].rpartition(":")[2], 16) == port:
            inodes.add(f"socket:[{fields[9]}]")
    counts = [sum(name in inodes for name in _open_files(each)) for each in tree(pid)]
    return [count for count in counts if count]


def _open_files(pid: int) -> Iterator[str]:
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            yield str(entry.readlink())


# Cores: the program that is measured has one for itself, so that it is its own work that is measured, and requests a
# second are those of one core. Loads and the service share the others.


def program_cores(count: int = 1) -> set[int]:
    """Return the cores for the program that is measured; all where there are not as many again for the others."""
    cores = sorted(_ALL_CORES)
    return set(cores[-count:]) if len(cores) >= 2 * count else set(cores)


def load_cores(count: int = 1) -> set[int]:
    """Return the cores for everything else."""
    return set(_ALL_CORES) - program_cores(count) or set(_ALL_CORES)


_ALL_CORES = frozenset(os.sched_getaffinity(0))


@contextlib.contextmanager
def on_cores(cores: set[int]) -> Iterator[None]:
    """Let what is started within run on these cores only."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
