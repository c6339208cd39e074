"""The certified OpenID provider from npm (`oidc-provider`), run with node on 127.0.0.1.

Needs node and npm, which downloads the first time: the packages are installed into build/, once for each
content of openid_provider/package.json.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

SOURCE = Path(__file__).resolve().parent / "openid_provider"
BUILD = Path(__file__).resolve().parents[3] / "build"
_INSTALL_SECONDS = 100


def missing_tools() -> list[str]:
    """Return which of the programs are missing that the provider needs."""
    return [tool for tool in ("node", "npm") if shutil.which(tool) is None]


def installed() -> Path:
    """Return the folder with the provider and its packages. Several processes may ask at the same time.

    Raises RuntimeError with npm's words where it cannot be installed.
    """
    content = (SOURCE / "package.json").read_bytes()
    folder = BUILD / f"openid-provider-{hashlib.sha256(content).hexdigest()[:12]}"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "complete").exists():
            (folder / "package.json").write_bytes(content)
            command = ("npm", "install", "--no-package-lock", "--ignore-scripts", "--no-audit", "--no-fund")
            done = subprocess.run(
                command, cwd=folder, capture_output=True, text=True, timeout=_INSTALL_SECONDS, check=False
            )
            if done.returncode:
                raise RuntimeError(f"npm install failed: {done.stderr.strip()[-400:]}")
            (folder / "complete").touch()
        script = folder / "provider.js"
        if not script.exists() or script.read_bytes() != (SOURCE / "provider.js").read_bytes():
            shutil.copyfile(SOURCE / "provider.js", script)
    return folder


@contextmanager
def openid_provider(secret: str, public_keys: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Run the provider; yield its issuer. `secret` is that of the clients `basic` and `post`, the keys those of `key`.

    What it writes to standard error (warnings about its in-memory storage) is dropped.
    """
    with subprocess.Popen(
        ("node", "provider.js"),
        cwd=installed(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps({"secret": secret, "public_keys": list(public_keys)}) + "\n")
        process.stdin.flush()
        line = process.stdout.readline()
        if not line:
            raise RuntimeError(f"the provider ended with status {process.wait(10)} before it listened")
        try:
            yield json.loads(line)["issuer"]
        finally:
            process.stdin.close()
            process.wait(10)
