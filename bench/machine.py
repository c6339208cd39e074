"""Which machine, versions and commit a run was made with."""

from __future__ import annotations

import datetime as dt
import os
import platform
import re
import ssl
import subprocess
import sysconfig
from importlib.metadata import version
from pathlib import Path

from bench.programs import path_of

__all__ = ["describe"]

_LIBRARIES = ("uvloop", "httptools")
_KIB_OF_A_GIB = 1 << 20


def describe(effort: str) -> dict[str, str]:
    """Return it, by name, for people."""
    optimised = "--enable-optimizations" in (sysconfig.get_config_var("CONFIG_ARGS") or "")
    build = ", built with profile-guided optimisation" if optimised else ""
    return {
        "measured": f"{dt.datetime.now(dt.UTC):%Y-%m-%d}, commit {_commit()}, {effort} run",
        "machine": f"{_processor()}, {os.cpu_count()} cores, {_memory()}",
        "system": f"{platform.system()} {platform.release()}, {'.'.join(platform.libc_ver())}",
        "interpreter": f"{platform.python_implementation()} {platform.python_version()}{build}, {ssl.OPENSSL_VERSION}",
        "libraries": ", ".join(f"{name} {version(name)}" for name in _LIBRARIES),
        "beside it": ", ".join((_version("nginx", "-v"), _version("haproxy", "-v"), _version("wrk", "-v"))),
    }


def _commit() -> str:
    def git(*arguments: str) -> str:
        here = Path(__file__).parent
        run = subprocess.run(["git", *arguments], cwd=here, capture_output=True, text=True, check=False)
        return run.stdout.strip() if run.returncode == 0 else ""

    commit = git("rev-parse", "--short=12", "HEAD")
    changed = git("status", "--porcelain", "--untracked-files=no", "--", "..")
    return (commit or "unknown") + (" with changes" if changed else "")


def _processor() -> str:
    found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return found[1] if found else platform.machine()


def _memory() -> str:
    found = re.search(r"^MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text(), re.MULTILINE)
    return f"{int(found[1]) / _KIB_OF_A_GIB:.0f} GiB" if found else "memory unknown"


def _version(program: str, option: str) -> str:
    # wrk prints its version and then its usage, and calls that a failure.
    run = subprocess.run([path_of(program), option], capture_output=True, text=True, check=False)
    found = re.search(r"\d+\.\d+(?:\.\d+)?", run.stdout + run.stderr)
    return f"{program} {found[0] if found else '(unknown version)'}"
