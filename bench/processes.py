"""What processes use: CPU time, memory, connections; always of a whole tree, for a program may have workers. Linux."""

from __future__ import annotations

import contextlib
import os
import re
import threading
from collections.abc import Iterator
from pathlib import Path

__all__ = [
    "cpu_seconds",
    "established",
    "load_cores",
    "memory_mib",
    "on_cores",
    "peak_memory",
    "program_cores",
    "pss_mib",
    "tree",
]

_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
_ESTABLISHED = "01"  # of /proc/net/tcp
_LOOK_SECONDS = 0.05


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
    return sum(_cpu_seconds_of(each) for each in tree(pid))


def _cpu_seconds_of(pid: int) -> float:
    ticks = nanoseconds = 0
    with contextlib.suppress(OSError):  # it has just ended
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        ticks = sum(map(int, fields[11:15]))
        for task in Path(f"/proc/{pid}/task").iterdir():
            nanoseconds += int((task / "schedstat").read_text().split()[0])
    # The same time twice: in ticks of 10 ms, with that of threads and children that ended, and exactly, without.
    return max(ticks / _TICKS_PER_SECOND, nanoseconds / 1e9)


def memory_mib(pid: int) -> float:
    """Return the memory of a tree, as if it were alone on the machine.

    Its own pages, those that its processes share once; and of mapped files (interpreter, libraries) what the process
    with most of them holds.
    """
    own, files = 0, [0]
    for each in tree(pid):
        with contextlib.suppress(OSError):
            own += sum(_kib(f"/proc/{each}/smaps_rollup", r"^Pss_(?:Anon|Shmem):\s+(\d+)"))
            files += _kib(f"/proc/{each}/status", r"^RssFile:\s+(\d+)")
    return (own + max(files)) / 1024


def pss_mib(pid: int) -> float:
    """Return the proportional set size of a tree: less, where others run the same interpreter, as the bench does."""
    return sum(sum(_kib(f"/proc/{each}/smaps_rollup", r"^Pss:\s+(\d+)")) for each in tree(pid)) / 1024


def _kib(path: str, pattern: str) -> list[int]:
    return [int(size) for size in re.findall(pattern, Path(path).read_text(), re.MULTILINE)]


@contextlib.contextmanager
def peak_memory(pid: int) -> Iterator[list[float]]:
    """Watch a tree's memory; the list holds the highest figure in MiB."""
    peak = [memory_mib(pid)]
    done = threading.Event()

    def watch() -> None:
        while not done.wait(_LOOK_SECONDS):
            peak[0] = max(peak[0], memory_mib(pid))

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


# Cores: all share all of them, unless the bench itself is kept to some; then programs that are measured get the others.

_ALL_CORES = frozenset(os.sched_getaffinity(0))


def load_cores() -> set[int]:
    """Return the half of the cores to which the bench, its loads and the service may be kept."""
    cores = sorted(_ALL_CORES)
    return set(cores[: max(1, len(cores) // 2)])


def program_cores() -> set[int]:
    """Return the cores for a program that is measured: those to which the bench is not kept."""
    return set(_ALL_CORES - os.sched_getaffinity(0)) or set(_ALL_CORES)


@contextlib.contextmanager
def on_cores(cores: set[int]) -> Iterator[None]:
    """Let what is started within run on these cores only."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
