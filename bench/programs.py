"""Programs that a bench starts and ends: how it finds them, waits for them, and what it knows of a running one."""

from __future__ import annotations

import contextlib
import http.client
import shlex
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.processes import on_cores

__all__ = ["BenchError", "Program", "answers", "free_port", "path_of", "running"]

_START_SECONDS = 20.0
_END_SECONDS = 40.0


class BenchError(Exception):
    """Something that a bench needs did not happen; the message is for the person who runs it."""


@dataclass(frozen=True)
class Program:
    """A running program: the process at the top of its tree, and where it listens."""

    pid: int
    port: int
    management_port: int = 0


def path_of(name: str) -> str:
    """Return the path of a program. Raises BenchError where it is missing."""
    # Where Debian keeps servers is not in everybody's PATH.
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")
    if found is None:
        raise BenchError(f"{name} is not installed")
    return found


def free_port() -> int:
    """Return a TCP port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def running(
    command: Sequence[str],
    *,
    port: int,
    log: Path,
    environment: Mapping[str, str] | None = None,
    cores: set[int] | None = None,
) -> Iterator[int]:
    """Run a program until the end of the block, which begins when it answers on `port`; what it says goes to `log`.

    Where `cores` are given, it runs on those. Yields its process id. Raises BenchError, with what it said last, where
    it does not answer.
    """
    with contextlib.ExitStack() as stack:
        out = stack.enter_context(log.open("ab"))
        with on_cores(cores) if cores else contextlib.nullcontext():
            try:
                process = subprocess.Popen(command, env=environment, stdout=out, stderr=out)
            except OSError as error:
                raise BenchError(f"{shlex.join(command)} cannot be started: {error.strerror}") from error
        stack.enter_context(process)
        try:
            _wait_for(process, shlex.join(command), port, log)
            yield process.pid
        finally:
            process.terminate()
            try:
                process.wait(timeout=_END_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()


def _wait_for(process: subprocess.Popen[bytes], command: str, port: int, log: Path) -> None:
    give_up = time.monotonic() + _START_SECONDS
    while not answers(port):
        if process.poll() is not None or time.monotonic() > give_up:
            how = "does not answer" if process.returncode is None else f"ended with status {process.returncode}"
            said = log.read_text(errors="replace").strip()[-2000:]
            raise BenchError(f"{command} {how}. It said: {said or 'nothing'}")
        time.sleep(0.001)


def answers(port: int) -> bool:
    """Whether a request is answered with 200 now."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", "/")
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
