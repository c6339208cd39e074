"""Whether requests are slower while credentials are being refreshed than they are otherwise.

    python -m bench.refresh [--seconds 40] [--rounds 2] [--switch-interval 0.005]

One proxy with the source irsa and a lease of a few seconds; clients in a closed loop, each with a connection of its
own and a pause between its requests, far below saturation. A request counts as "during" a refresh when it was sent in
the time from 10 ms before STS is asked (the thread has begun) to 10 ms after its answer (which is read and logged); all
others of the same run are the quiet ones, so that whatever else the machine does meets both. Clients, service, STS and
proxy are processes of their own: none waits for another's interpreter lock.
"""

from __future__ import annotations

import argparse
import asyncio
import bisect
import json
import os
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Self, cast

from tests.credentials.openid.authorization_servers import make_jwt
from tests.credentials.sts.sts_server import Delay, Failure, StsRequest, StsServer

CLIENTS = 4
PAUSE_SECONDS = 0.002
MARGIN_SECONDS = 0.010
WARM_UP_SECONDS = 1.0
_SAMPLE = struct.Struct("<dd")
_START = "import sys; sys.setswitchinterval({}); from aws_signing_proxy.cli import main; sys.exit(main())"


class Variant(NamedTuple):
    """A source: how long its leases are, how long it takes to answer, how often a refresh is ordered; in seconds."""

    name: str
    lease_seconds: float
    delay_seconds: float
    order_seconds: float


# Leases of two seconds give ten short refreshes a run, and no p99 of the requests in them: SIGHUP gives more.
VARIANTS = (Variant("answers at once", 60.0, 0.0, 0.25), Variant("answers after 2 s", 10.0, 2.0, float("inf")))


class Sample(NamedTuple):
    """When a request was sent (monotonic, which is one clock for all processes), and how long it took."""

    at: float
    seconds: float


# The other processes: each prints its port, or its samples


async def serve() -> None:
    """Answer whatever comes, as a service."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                await reader.readuntil(b"\r\n\r\n")
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def issue(variant: Variant) -> None:
    """Be STS, and print when each request came and when it was answered."""
    with StsServer(lifetime_seconds=variant.lease_seconds) as sts:
        print(sts.port, flush=True)

        def choose(_: StsRequest) -> Failure | None:
            came_at = time.monotonic()
            print(came_at, came_at + variant.delay_seconds, flush=True)
            return Delay(variant.delay_seconds) if variant.delay_seconds else None

        sts.choose = choose
        sys.stdin.read()


async def load(port: int, seconds: float) -> None:
    """Send requests one after the other on each connection; write the samples to standard output."""
    samples: list[Sample] = []
    ends_at = time.monotonic() + seconds

    async def client() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while time.monotonic() < ends_at:
            sent_at = time.monotonic()
            writer.write(b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n")
            head = await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(2)
            samples.append(Sample(sent_at, time.monotonic() - sent_at))
            if not head.startswith(b"HTTP/1.1 200 "):
                sys.exit(f"bench: a request failed: {head!r}")
            await asyncio.sleep(PAUSE_SECONDS)
        writer.close()

    await asyncio.gather(*(client() for _ in range(CLIENTS)))
    sys.stdout.buffer.write(b"".join(_SAMPLE.pack(*sample) for sample in samples))


# The bench itself


class Process:
    """Another process of this bench, ended when it is left."""

    def __init__(self, *arguments: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.refresh", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()

    def line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().decode()

    def rest(self) -> bytes:
        """End it, and return what it has printed."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        return self._process.stdout.read()


def measure(
    variant: Variant, seconds: float, switch_interval: float, folder: Path
) -> tuple[list[Sample], list[Sample]]:
    """Run once; return the samples during refreshes, and the quiet ones."""
    token = folder / "token"
    token.write_text(make_jwt({"iss": "https://oidc.eks.example"}))
    with Process("service") as service, Process("sts", variant.name) as sts:
        environ = {
            "PATH": os.environ["PATH"],
            "HOME": "/nonexistent",
            "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
            "PYTHONUNBUFFERED": "1",
            "ASP_TARGET_URL": f"http://127.0.0.1:{int(service.line())}",
            "ASP_BIND_ADDRESS": "127.0.0.1",
            "ASP_PORT": "0",
            "ASP_MGMT_PORT": "0",
            "ASP_CREDENTIALS_PROVIDER": "irsa",
            "ASP_ROLE_ARN": "arn:aws:iam::123456789012:role/reader",
            "AWS_REGION": "eu-central-1",
            "AWS_WEB_IDENTITY_TOKEN_FILE": str(token),
            "AWS_ENDPOINT_URL_STS": f"http://127.0.0.1:{int(sts.line())}",
        }
        command = [sys.executable, "-c", _START.format(switch_interval)]
        with subprocess.Popen(command, env=environ, stderr=subprocess.PIPE) as proxy:
            try:
                port = _port_of(proxy)
                command = [sys.executable, "-m", "bench.refresh", "load", str(port), str(seconds + WARM_UP_SECONDS)]
                with subprocess.Popen(command, stdout=subprocess.PIPE) as clients:
                    raw = _output_of(clients, proxy, variant.order_seconds)
            finally:
                proxy.terminate()
        exchanges = [tuple(map(float, line.split())) for line in sts.rest().decode().splitlines()]
    samples = sorted(Sample(*_SAMPLE.unpack_from(raw, at)) for at in range(0, len(raw), _SAMPLE.size))
    return _divided(samples, cast("list[tuple[float, float]]", exchanges))


def _output_of(clients: subprocess.Popen[bytes], proxy: subprocess.Popen[bytes], order_seconds: float) -> bytes:
    """Return what the clients print in the end; order refreshes until then."""
    is_over = threading.Event()

    def order() -> None:
        while not is_over.wait(None if order_seconds == float("inf") else order_seconds):
            proxy.send_signal(signal.SIGHUP)

    orders = threading.Thread(target=order)
    orders.start()
    raw, _ = clients.communicate()
    is_over.set()
    orders.join()
    if clients.returncode != 0:
        sys.exit("bench: the clients failed")
    return raw


def _port_of(proxy: subprocess.Popen[bytes]) -> int:
    """Return the proxy's port when it has credentials."""
    assert proxy.stderr is not None
    port = 0
    for line in proxy.stderr:
        logged = json.loads(line)
        if logged["event"] == "ready":
            port = int(logged["listens_on"].rpartition(":")[2])
        if logged["event"] == "credentials loaded" and port:
            return port
    sys.exit("bench: the proxy did not start")


def _divided(samples: Sequence[Sample], exchanges: list[tuple[float, float]]) -> tuple[list[Sample], list[Sample]]:
    first = samples[0].at + WARM_UP_SECONDS
    windows = [(came - MARGIN_SECONDS, answered + MARGIN_SECONDS) for came, answered in exchanges]
    starts = [start for start, _ in windows]
    during: list[Sample] = []
    quiet: list[Sample] = []
    for sample in samples:
        if sample.at < first:
            continue
        # A request that was under way when the refresh began met it, too.
        index = bisect.bisect_right(starts, sample.at + sample.seconds) - 1
        is_during = index >= 0 and sample.at <= windows[index][1]
        (during if is_during else quiet).append(sample)
    return during, quiet


def quantile(samples: Sequence[Sample], share: float) -> float:
    """Return a quantile of the times, in milliseconds."""
    times = sorted(sample.seconds for sample in samples)
    return times[min(len(times) - 1, int(len(times) * share))] * 1000


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=40.0, help="of each run")
    parser.add_argument("--rounds", type=int, default=2, help="runs of each kind, in turn")
    parser.add_argument("--switch-interval", type=float, action="append", help="of the proxy's interpreter; repeatable")
    given = parser.parse_args()
    intervals = given.switch_interval or [sys.getswitchinterval()]
    print("source             switch   requests        p50 ms         p99 ms  ratio         max ms")
    print("                             during   quiet  during quiet  during quiet         during quiet")
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(given.rounds):
            for variant in VARIANTS:
                for interval in intervals:
                    during, quiet = measure(variant, given.seconds, interval, Path(folder))
                    p50, p99, most = ((quantile(during, share), quantile(quiet, share)) for share in (0.5, 0.99, 1.0))
                    print(
                        f"{variant.name:18} {interval * 1000:4g} ms {len(during):7} {len(quiet):7}"
                        f"  {p50[0]:6.2f} {p50[1]:5.2f}  {p99[0]:6.2f} {p99[1]:5.2f}  {p99[0] / p99[1]:5.2f}"
                        f"  {most[0]:13.1f} {most[1]:5.1f}",
                        flush=True,
                    )


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["service"]:
            asyncio.run(serve())
        case ["sts", name]:
            issue(next(variant for variant in VARIANTS if variant.name == name))
        case ["load", port, seconds]:
            asyncio.run(load(int(port), float(seconds)))
        case _:
            main()
