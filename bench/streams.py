"""Bodies of any size: memory and throughput of PUT in each payload mode and of GET, beside nginx without buffering.

    python -m bench.streams [--mib 1024] [--rounds 3] [--many 16]

The programs take turns, round after round; what is quoted are medians of ratios. TLS upstream. Needs nginx.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import contextlib
import http.client
import shutil
import socket
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from bench.run import cpu_seconds, peak_memory
from bench.servers import Program, Service, nginx_pass_through, nginx_service, proxy

MIB = 1 << 20
_PIECE = b"\0" * MIB
_SIGNATURE = b"0" * 64


def _chunk(data: bytes, extension: bytes) -> bytes:
    return b"%x%b\r\n%b\r\n" % (len(data), extension, data)


def _framed(size: int, extension: bytes, end: bytes) -> tuple[int, Iterator[bytes]]:
    """Return the length and the pieces of a body in chunks of 64 KiB."""
    mebibyte = _chunk(b"\0" * 65536, extension) * 16
    count = size // MIB

    def pieces() -> Iterator[bytes]:
        for _ in range(count):
            yield mebibyte
        yield end

    return len(mebibyte) * count + len(end), pieces()


def body_for(mode: str, size: int) -> tuple[int, Iterator[bytes], dict[str, str]]:
    """Return length, pieces and fields of a client's body for a mode."""
    plain = (_PIECE for _ in range(size // MIB))
    decoded = {"X-Amz-Decoded-Content-Length": str(size), "Content-Encoding": "aws-chunked"}
    match mode:
        case "declared":
            return size, plain, {"X-Amz-Content-Sha256": "ab" * 32}
        case "verbatim":
            length, pieces = _framed(size, b"", b"0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n")
            fields = {
                "X-Amz-Content-Sha256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
                "X-Amz-Trailer": "x-amz-checksum-crc32",
            }
            return length, pieces, decoded | fields
        case "resigned":
            extension = b";chunk-signature=" + _SIGNATURE
            length, pieces = _framed(size, extension, b"0" + extension + b"\r\n\r\n")
            return length, pieces, decoded | {"X-Amz-Content-Sha256": "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"}
        case _:
            return size, plain, {}


SETTINGS = {
    "chunked": {"ASP_SERVICE": "s3"},
    "unsigned": {"ASP_SERVICE": "s3", "ASP_PAYLOAD": "unsigned"},
    "declared": {"ASP_SERVICE": "s3"},
    "verbatim": {"ASP_SERVICE": "s3"},
    "resigned": {"ASP_SERVICE": "s3"},
    "signed": {"ASP_SERVICE": "s3", "ASP_PAYLOAD": "signed"},
}


def put(port: int, mode: str, size: int, name: str = "object") -> float:
    """Send a body; return the seconds that it took."""
    length, pieces, fields = body_for(mode, size)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300)
    began = time.perf_counter()
    connection.request("PUT", f"/store/{name}", body=pieces, headers={"Content-Length": str(length)} | fields)
    response = connection.getresponse()
    response.read()
    connection.close()
    if response.status not in {200, 201, 204}:
        sys.exit(f"bench: PUT was answered with {response.status}")
    return time.perf_counter() - began


def get(port: int, size: int) -> float:
    """Read the large file; return the seconds that it took."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300)
    began = time.perf_counter()
    connection.request("GET", "/large")
    response = connection.getresponse()
    count = 0
    view = memoryview(bytearray(MIB))
    while read := response.readinto(view):
        count += read
    connection.close()
    if count != size:
        sys.exit(f"bench: GET brought {count} bytes")
    return time.perf_counter() - began


def both(floor: Program, ours: Program, mode: str, size: int, rounds: int) -> str:
    """Measure one mode in turns; return a table row."""
    pairs = []
    cpu = [0.0, 0.0]
    with peak_memory(ours.pid) as peak:
        for number in range(rounds + 1):
            seconds = []
            for side, program in enumerate((floor, ours)):
                before = cpu_seconds(program.pid)
                seconds.append(get(program.port, size) if mode == "GET" else put(program.port, mode, size))
                if number:
                    cpu[side] += cpu_seconds(program.pid) - before
            if number:  # the first one opens connections
                pairs.append(seconds)
    ratios = sorted(one / other for one, other in pairs)
    mib = size / MIB
    rates = [mib / statistics.median(pair[side] for pair in pairs) for side in (0, 1)]
    name = "GET" if mode == "GET" else f"PUT, {mode}"
    return (
        f"| {name} | {rates[0]:.0f} | {rates[1]:.0f} | **{statistics.median(ratios):.2f}** "
        f"({ratios[0]:.2f} to {ratios[-1]:.2f}) | {cpu[0] / rounds:.2f} | {cpu[1] / rounds:.2f} | {peak[0]:.1f} |"
    )


@contextlib.contextmanager
def trickle(port: int, seconds: list[float]) -> Iterator[None]:
    """Ask the proxy meanwhile for what it answers itself (405 to TRACE), and collect how long each answer took."""
    done = threading.Event()

    def run() -> None:
        while not done.wait(0.02):
            began = time.perf_counter()
            with socket.create_connection(("127.0.0.1", port), timeout=60) as client:
                client.sendall(b"TRACE / HTTP/1.1\r\nHost: proxy\r\n\r\n")
                client.recv(4096)
            seconds.append(time.perf_counter() - began)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def many(service: Service, mode: str, count: int, size: int) -> str:
    """Measure several PUTs at once, and what other requests notice of them."""
    with proxy(service, tls=True, settings=SETTINGS[mode]) as ours, peak_memory(ours.pid) as peak:
        latencies: list[float] = []
        with trickle(ours.port, latencies), concurrent.futures.ThreadPoolExecutor(count) as threads:
            began = time.perf_counter()
            list(threads.map(lambda number: put(ours.port, mode, size, f"o{number}"), range(count)))
            taken = time.perf_counter() - began
    latencies.sort()
    return (
        f"| {count} PUTs of {size // MIB} MiB, {mode} | {peak[0]:.1f} MiB | {count * size / MIB / taken:.0f} MiB/s | "
        f"{latencies[len(latencies) // 2] * 1000:.1f} ms, {latencies[int(len(latencies) * 0.99)] * 1000:.1f} ms |"
    )


def main() -> None:
    """Run it."""
    options = argparse.ArgumentParser()
    options.add_argument("--mib", type=int, default=1024)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--modes", default="GET,chunked,unsigned,declared,verbatim,resigned")
    options.add_argument("--many", type=int, default=0)
    options.add_argument("--folder", default="/dev/shm")
    arguments = options.parse_args()
    size = arguments.mib * MIB
    with tempfile.TemporaryDirectory(prefix="asp-bench-", dir=arguments.folder) as name:
        folder = Path(name)
        with nginx_service(folder, large_bytes=size) as service:
            print("| work | nginx MiB/s | proxy MiB/s | ratio | nginx CPU s | proxy CPU s | proxy peak MiB |")
            print("|---|---|---|---|---|---|---|")
            with nginx_pass_through(folder, service, tls=True, buffered=False) as floor:
                for mode in arguments.modes.split(","):
                    with proxy(service, tls=True, settings=SETTINGS.get(mode, {})) as ours:
                        print(both(floor, ours, mode, size, arguments.rounds), flush=True)
            if arguments.many:
                print(
                    "\n| work | peak | together | the proxy's own answers meanwhile: median, p99 |\n|---|---|---|---|"
                )
                for mode in ("chunked", "unsigned", "resigned"):
                    print(many(service, mode, arguments.many, 128 * MIB), flush=True)
        shutil.rmtree(folder / "store", ignore_errors=True)


if __name__ == "__main__":
    main()
