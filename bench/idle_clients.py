"""Clients that have made one request each, and keep their connection and say nothing more."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator

from bench.programs import BenchError, Program

__all__ = ["connected"]

_ASKED = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"


@contextlib.contextmanager
def connected(program: Program, count: int) -> Iterator[None]:
    """Keep so many clients connected during the block. Raises BenchError where one is not served."""
    with contextlib.ExitStack() as stack:
        for number in range(count):
            try:
                client = stack.enter_context(socket.create_connection(("127.0.0.1", program.port), timeout=20))
                client.sendall(_ASKED)
                answer = client.recv(4096)
            except OSError as error:
                raise BenchError(f"connection {number} of {count} was not served: {error}") from error
            if not answer.startswith(b"HTTP/1.1 200"):
                raise BenchError(f"connection {number} of {count} was not served: {answer[:40]!r}")
        yield
