"""The programs that the bench needs beside Python: installed where that is possible, named where it is not."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Sequence

from bench.programs import BenchError, path_of

__all__ = ["PACKAGES", "ensure_tools", "missing_tools"]

PACKAGES = {"wrk": "wrk", "nginx": "nginx-light", "haproxy": "haproxy"}
"""Debian's package of each program."""


def missing_tools() -> list[str]:
    """Return the programs that are not here."""
    missing = []
    for name in PACKAGES:
        try:
            path_of(name)
        except BenchError:
            missing.append(name)
    return missing


def ensure_tools(say: Callable[[str], None], missing: Sequence[str] | None = None) -> None:
    """Install what is missing. Raises BenchError, which says what to install, where that is not possible."""
    missing = missing_tools() if missing is None else missing
    if not missing:
        return
    packages = [PACKAGES[name] for name in missing]
    by_hand = f"The bench needs {', '.join(missing)}. On Debian and Ubuntu: apt-get install {' '.join(packages)}"
    as_root = [] if os.geteuid() == 0 else ["sudo", "-n"]
    if shutil.which("apt-get") is None or (as_root and shutil.which("sudo") is None):
        raise BenchError(by_hand)
    say(f"installing {', '.join(packages)}")
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    steps = (["apt-get", "update", "-q"], ["apt-get", "install", "-q", "-y", "--no-install-recommends", *packages])
    for step in steps:
        run = subprocess.run([*as_root, *step], env=environment, capture_output=True, text=True, check=False)
        if run.returncode != 0:
            raise BenchError(f"{' '.join(step)} failed: {run.stderr.strip()[-500:]}\n{by_hand}")
    if left := missing_tools():
        raise BenchError(f"{', '.join(left)} still cannot be found. {by_hand}")
