"""The proxy with several workers: a process whose children can be counted, killed and stopped."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from tests.proxy.proxy_process import ProxyProcess
from tests.wire.raw_client import RawClient

__all__ = ["ESTABLISHED", "GET", "LISTENING", "CrewProcess", "is_alive", "until"]

GET = b"GET /path HTTP/1.1\r\nHost: a\r\n\r\n"
# As /proc/net/tcp writes them.
ESTABLISHED, LISTENING = "01", "0A"
_WAIT_SECONDS = 20.0


def until(is_so: Callable[[], bool], *, seconds: float = _WAIT_SECONDS) -> None:
    """Return when it is so; fail the test when that takes too long."""
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, f"it did not come to that within {seconds} s"
        time.sleep(0.005)


def is_alive(pid: int) -> bool:
    """Whether the process runs: neither gone nor waiting to be reaped."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def _children(pid: int) -> list[int]:
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


class CrewProcess(ProxyProcess):
    """`python -m aws_signing_proxy` with `workers` workers; nothing of it is left when it is left."""

    def __init__(self, target_url: str, settings: Mapping[str, str] | None = None, *, workers: int = 2) -> None:
        super().__init__(target_url, {"ASP_WORKERS": str(workers)} | dict(settings or {}))
        self._seen: set[int] = set()
        self._clients = contextlib.ExitStack()

    def clients(self, count: int) -> list[RawClient]:
        """Return clients whose connections have been taken by a worker, and served; closed when this is left."""
        found = []
        for _ in range(count):
            client = self._clients.enter_context(RawClient(self.port))
            client.send(GET)
            assert client.read_response().status == 200
            found.append(client)
        return found

    def __exit__(self, *_: object) -> None:
        self._clients.close()
        left = self._seen | {pid for pid in (*self.workers, *self._nurseries) if pid}
        super().__exit__()
        for pid in left:
            if is_alive(pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    @property
    def _nurseries(self) -> list[int]:
        return _children(self.pid)

    @property
    def nursery(self) -> int:
        """The process that workers are forked from."""
        (pid,) = self._nurseries
        return pid

    @property
    def workers(self) -> list[int]:
        """The workers that live now."""
        found = [child for nursery in self._nurseries for child in _children(nursery) if is_alive(child)]
        self._seen.update(found, self._nurseries)
        return found

    @property
    def processes(self) -> list[int]:
        """All processes: supervisor, nursery, workers."""
        return [self.pid, *self._nurseries, *self.workers]

    def sockets_of(self, process: int, state: str) -> int:
        """Count the process's sockets on the proxy's port that are in this state."""
        links = set()
        for each in Path(f"/proc/{process}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):
                links.add(str(each.readlink()))
        found = set()  # a line may come twice while others change
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
            fields = line.split()
            if int(fields[1].rpartition(":")[2], 16) == self.port and fields[3] == state:
                found.add(f"socket:[{fields[9]}]")
        return len(found & links)

    def kill_worker(self, number: signal.Signals = signal.SIGKILL) -> int:
        """Send a signal to one of the workers; return which it was."""
        pid = self.workers[0]
        os.kill(pid, number)
        return pid

    def wait_for_workers(self, count: int) -> list[int]:
        """Return the workers, once so many serve."""
        until(lambda: self.metric("workers_running") == count)
        return self.workers

    def metric(self, name: str, **labels: str) -> float:
        """Return a metric's sum over all samples that have these labels."""
        status, body = self.management("/status/metrics")
        assert status == 200
        found = re.findall(rf"^aws_signing_proxy_{name}(?:{{(.*)}})? (\S+)$", body.decode(), re.MULTILINE)
        wanted = {f'{label}="{value}"' for label, value in labels.items()}
        return sum(float(value) for given, value in found if wanted <= set(given.split(",")))
