"""The start of a proxy with workers where the system gives it less than usual."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.wire.raw_upstream import RawUpstream
from tests.wire.running_proxy import ENVIRONMENT
from tests.workers.crew_process import GET, until


@pytest.mark.parametrize("closed", ["1>&-", "2>&-", "1>&- 2>&-", "0<&- 1>&- 2>&-"])
@pytest.mark.parametrize("workers", ["1", "2"])
def test_workers_need_neither_standard_output_nor_standard_error(
    upstream: RawUpstream, tmp_path: Path, workers: str, closed: str
) -> None:
    path = tmp_path / "proxy.sock"
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": os.environ.get("PYTHONPATH", "")} | ENVIRONMENT
    environ |= {"ASP_TARGET_URL": upstream.url, "ASP_WORKERS": workers, "ASP_UNIX_SOCKET": str(path)}
    command = f'exec "$0" -m aws_signing_proxy {closed}'
    with subprocess.Popen(["sh", "-c", command, sys.executable], env=environ) as process:
        try:
            until(lambda: process.poll() is not None or _answers(path))
            assert process.poll() is None
            process.terminate()
            assert process.wait(20) == 0
        finally:
            process.kill()


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(5)
        try:
            sock.connect(str(path))
            sock.sendall(GET)
            return sock.recv(65536).startswith(b"HTTP/1.1 200 ")
        except (ConnectionError, FileNotFoundError):
            return False
