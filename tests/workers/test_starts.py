"""The start of a proxy with workers where the system gives it less than usual."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import cast

import pytest

from aws_signing_proxy.app import Application
from aws_signing_proxy.running import _start_unless_stopped
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


class SlowApplication:
    """Its start takes for ever."""

    has_given_up = False

    async def start(self) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            self.has_given_up = True


def test_a_start_is_given_up_when_the_process_is_told_to_stop() -> None:
    """A worker that hangs before it serves is waited for."""

    async def run() -> None:
        application, stopping = SlowApplication(), asyncio.Event()
        asyncio.get_running_loop().call_soon(stopping.set)
        async with asyncio.timeout(10):
            await _start_unless_stopped(cast("Application", application), stopping)
        assert application.has_given_up

    asyncio.run(run())
