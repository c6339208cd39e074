"""OpenStack Swift's S3 API as a process of its own (see `swift_s3`)."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from aws_signing_proxy.sigv4 import Identity
from tests.clients.installed import swift_python

__all__ = ["swift"]


@contextmanager
def swift(identity: Identity, region: str) -> Iterator[str]:
    """Run it for one user; yield its URL."""
    script = Path(__file__).with_name("swift_s3.py")
    command = (swift_python(), script, identity.access_key_id, identity.secret_access_key, region)
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line.startswith("listening on "):
            raise RuntimeError(f"Swift ended with status {process.wait(10)} before it listened")
        try:
            yield line.removeprefix("listening on ").strip()
        finally:
            process.kill()
