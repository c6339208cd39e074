"""The request path without sockets: real connections and exchanges on transports that only take bytes.

    python -m bench.hot_path [--profile]

Prints microseconds of one signed request (1 KB POST, session token of 400 characters) and of its parts. Only
ratios between two versions on the same quiet machine mean anything.
"""

from __future__ import annotations

import asyncio
import cProfile
import gc
import pstats
import sys
import timeit
from collections.abc import Callable
from typing import Any

from aws_signing_proxy.app import Application
from aws_signing_proxy.config.loading import load_settings
from aws_signing_proxy.proxy.downstream import DownstreamConnection
from aws_signing_proxy.upstream.connection import UpstreamConnection

ENVIRONMENT = {
    "ASP_TARGET_URL": "http://search.eu-central-1.es.amazonaws.com",
    "AWS_ACCESS_KEY_ID": "ASIAEXAMPLEEXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "not-a-secret",
    "AWS_SESSION_TOKEN": "T" * 400,
}
BODY = b"x" * 1024
REQUEST = (
    b"POST /index/_doc/1?refresh=true HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nUser-Agent: client/1.0\r\nAccept: */*\r\n"
    b"Content-Type: application/json\r\nAccept-Encoding: gzip, deflate\r\nContent-Length: 1024\r\n\r\n" + BODY
)
RESPONSE = (
    b"HTTP/1.1 200 OK\r\nDate: Tue, 24 Nov 2026 03:00:00 GMT\r\nContent-Type: application/json\r\n"
    b"Content-Length: 77\r\nConnection: keep-alive\r\nX-Amzn-RequestId: 0f7f3a3e-7b9c-4f1c-9c55-1f2e3d4c5b6a\r\n\r\n"
    + b"y"
    * 77
)


class Sink(asyncio.Transport):
    """A transport that drops what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = 0

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        self.written += len(data)

    def is_closing(self) -> bool:
        return False

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass

    def abort(self) -> None:
        pass

    def close(self) -> None:
        pass


async def build() -> Callable[[], None]:
    """Return a function that takes one request through the whole path."""
    application = Application(load_settings({}, ENVIRONMENT).settings, ENVIRONMENT)
    await application.credentials.start()
    context = application.server._context  # noqa: SLF001 - a bench may look inside
    downstream = DownstreamConnection(context, application.server)
    downstream.connection_made(Sink())
    pool = context.route.upstream._pool  # noqa: SLF001
    upstream = UpstreamConnection(context.route.upstream, None)
    upstream.connection_made(Sink())
    upstream.is_pooled = True
    pool.connecting += 1
    pool.connected(upstream, 0.0)

    def one_request() -> None:
        downstream.data_received(REQUEST)
        upstream.data_received(RESPONSE)

    return one_request


def main() -> None:
    """Measure."""
    loop = asyncio.new_event_loop()
    one_request = loop.run_until_complete(build())
    for _ in range(2000):
        one_request()
    gc.freeze()
    number = 5000
    best = min(timeit.repeat(one_request, number=number, repeat=12)) / number
    print(f"one request: {best * 1e6:.2f} µs")
    if "--profile" in sys.argv:
        with cProfile.Profile() as profile:
            for _ in range(20000):
                one_request()
        pstats.Stats(profile).sort_stats("tottime").print_stats(45)


if __name__ == "__main__":
    main()
