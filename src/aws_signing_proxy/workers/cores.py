"""How many processors this process may really use: what it is bound to, and what its control group is given."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

__all__ = ["usable_cores"]

_ROOT: Final = Path("/")


def usable_cores(root: Path = _ROOT) -> int:
    """Return the number of processors, at least 1. A quota of one and a half counts as 2: both are used then.

    `root` is where `/proc` and `/sys` are looked for.
    """
    quota = min(_quotas(root), default=math.inf)
    return max(1, min(_bound_to(), math.ceil(quota) if math.isfinite(quota) else _bound_to()))


def _bound_to() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _quotas(root: Path) -> Iterator[float]:
    """Yield the quota of this process's control group and of those above it, in processors, as far as they have one.

    Linux: Documentation/admin-guide/cgroup-v2.rst (cpu.max), Documentation/scheduler/sched-bwc.rst (version 1).
    """
    try:
        lines = (root / "proc/self/cgroup").read_text("utf-8").splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        group = root / "sys/fs/cgroup" / controllers
        names = path.strip("/").split("/")
        # In a container the path is the host's, or "/": what does not exist is passed over.
        for depth in range(len(names), -1, -1):
            folder = group.joinpath(*names[:depth])
            with contextlib.suppress(OSError, ValueError):
                yield _quota(folder, is_version_2=not controllers)


def _quota(folder: Path, *, is_version_2: bool) -> float:
    """Return a group's quota; infinity where it has none. Raises OSError or ValueError where it cannot be read."""
    if is_version_2:
        quota, period = (folder / "cpu.max").read_text("utf-8").split()
    else:
        quota = (folder / "cpu.cfs_quota_us").read_text("utf-8")
        period = (folder / "cpu.cfs_period_us").read_text("utf-8")
    return math.inf if quota.strip() in {"max", "-1"} else int(quota) / int(period)
