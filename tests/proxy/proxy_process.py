"""The proxy as a process of its own: signals, limits of the system, exit statuses."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from tests.wire.running_proxy import ENVIRONMENT

__all__ = ["ProxyProcess"]

_WAIT_SECONDS = 20.0


class ProxyProcess:
    """`python -m aws_signing_proxy` with settings from the environment; killed when it is left."""

    def __init__(self, target_url: str, settings: Mapping[str, str] | None = None) -> None:
        self._file = tempfile.NamedTemporaryFile(prefix="proxy-", suffix=".log")  # noqa: SIM115 - closed by `__exit__`
        environ = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "PYTHONUNBUFFERED": "1"}
        if "PYTHONPATH" in os.environ:
            environ["PYTHONPATH"] = os.environ["PYTHONPATH"]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "aws_signing_proxy"],
            env=environ | ENVIRONMENT | {"ASP_TARGET_URL": target_url} | dict(settings or {}),
            stdout=self._file,
            stderr=self._file,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        self._file.close()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process.poll() is None

    @property
    def output(self) -> str:
        return Path(self._file.name).read_text(encoding="utf-8")

    @property
    def log(self) -> list[dict[str, Any]]:
        """The log lines, each parsed."""
        return [json.loads(line) for line in self.output.splitlines()]

    def wait_for_log(self, event: str, *, count: int = 1) -> dict[str, Any]:
        """Return the `count`th log line of that event, once it is there."""
        deadline = time.monotonic() + _WAIT_SECONDS
        while time.monotonic() < deadline:
            found = re.findall(rf'^\{{.*"event": "{event}".*\}}$', self.output, re.MULTILINE)
            if len(found) >= count:
                line: dict[str, Any] = json.loads(found[count - 1])
                return line
            assert self.is_running, self.output
            time.sleep(0.01)
        raise AssertionError(f"waited for {event!r}:\n{self.output}")

    def ready(self) -> Self:
        """Return when it listens."""
        self.wait_for_log("ready")
        return self

    @property
    def port(self) -> int:
        return int(self.wait_for_log("ready")["listens_on"].rpartition(":")[2])

    def management(self, path: str) -> tuple[int, bytes]:
        """Return the status and the body of a page of the management port."""
        host, _, port = self.wait_for_log("ready")["management"].rpartition(":")
        with socket.create_connection((host, int(port)), 5) as sock:
            sock.sendall(b"GET %b HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n" % path.encode())
            answer = b"".join(iter(lambda: sock.recv(65536), b""))
        head, _, body = answer.partition(b"\r\n\r\n")
        return int(head[9:12]), body

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def wait(self) -> int:
        """Return the exit status."""
        return self._process.wait(_WAIT_SECONDS)
