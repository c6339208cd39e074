"""What the tests of uploads need beside Python packages of ours: AWS's SDK for JavaScript, and OpenStack Swift.

Both are downloaded the first time, into build/, once for each list of what is wanted.
"""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

__all__ = ["missing_tools", "node_folder", "swift_python"]

BUILD = Path(__file__).resolve().parents[2] / "build"
_NODE_PACKAGES = ("@aws-sdk/client-s3@3.1175.0", "@aws-sdk/lib-storage@3.1175.0")
# Its S3 API has checked the signatures of chunks since 2.35.
_SWIFT = ("swift==2.38.3",)
_INSTALL_SECONDS = 300


def missing_tools() -> list[str]:
    """Return which of the programs are missing that AWS's SDK for JavaScript needs."""
    return [tool for tool in ("node", "npm") if shutil.which(tool) is None]


def node_folder() -> Path:
    """Return a folder in whose node_modules the SDK is. Raises RuntimeError with npm's words where it cannot be."""

    def install(folder: Path) -> None:
        (folder / "package.json").write_text('{"private": true}')
        _run(
            ("npm", "install", "--no-package-lock", "--ignore-scripts", "--no-audit", "--no-fund", *_NODE_PACKAGES),
            folder,
        )

    return _installed("aws-sdk-js", _NODE_PACKAGES, install)


def swift_python() -> Path:
    """Return a Python that has Swift. Raises RuntimeError with pip's words where it cannot be installed."""

    def install(folder: Path) -> None:
        _run((sys.executable, "-m", "venv", "--clear", "venv"), folder)
        _run(("venv/bin/python", "-m", "pip", "install", "--quiet", *_SWIFT), folder)

    return _installed("swift", _SWIFT, install) / "venv" / "bin" / "python"


def _installed(name: str, wanted: Sequence[str], install: Callable[[Path], None]) -> Path:
    """Return the folder for what is wanted. Several processes may ask at the same time."""
    folder = BUILD / f"{name}-{hashlib.sha256(' '.join(wanted).encode()).hexdigest()[:12]}"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "complete").exists():
            install(folder)
            (folder / "complete").touch()
    return folder


def _run(command: Sequence[str], folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=_INSTALL_SECONDS, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed: {done.stderr.strip()[-400:]}")
