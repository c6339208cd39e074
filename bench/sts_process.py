"""STS as a process of its own, for the bench: it prints its port, and of each request when it came and was answered.

python -m bench.sts_process LEASE_SECONDS DELAY_SECONDS

Times are of `time.monotonic`, which is one clock for all processes. It ends when its standard input does.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

from tests.credentials.sts.sts_server import Delay, Failure, StsRequest, StsServer

__all__ = ["sts"]

Windows = list[tuple[float, float]]


@contextlib.contextmanager
def sts(lease_seconds: float, delay_seconds: float) -> Iterator[tuple[int, Callable[[], Windows]]]:
    """Run it. Yields its port, and a function that ends it and returns when each exchange began and ended."""
    command = [sys.executable, "-m", "bench.sts_process", str(lease_seconds), str(delay_seconds)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline())

        def exchanges() -> Windows:
            said, _ = process.communicate()
            times = (line.split() for line in said.splitlines())
            return [(float(came), float(answered)) for came, answered in times]

        try:
            yield port, exchanges
        finally:
            process.kill()


def main(lease_seconds: float, delay_seconds: float) -> None:
    """Be the process."""
    with StsServer(lifetime_seconds=lease_seconds) as server:
        print(server.port, flush=True)

        def choose(_: StsRequest) -> Failure | None:
            came_at = time.monotonic()
            print(came_at, came_at + delay_seconds, flush=True)
            return Delay(delay_seconds) if delay_seconds else None

        server.choose = choose
        sys.stdin.read()


if __name__ == "__main__":
    main(*map(float, sys.argv[1:]))
