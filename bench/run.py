"""What a signed request costs, in time and memory, beside nginx passing it on unsigned.

    python -m bench.run [--quick] [--write docs/performance.md]

Everything runs on this machine, the programs in turn, round after round, so that a change in the machine's
speed meets all of them; what is quoted are medians of ratios. Needs nginx and wrk.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import contextlib
import http.client
import os
import platform
import re
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from bench.servers import Program, Service, nginx_pass_through, nginx_service, proxy, require, waits_for

MIB = 1 << 20
POST = """
wrk.method = "POST"
wrk.body = string.rep("x", 1024)
wrk.headers["Content-Type"] = "application/json"
"""
_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid: int) -> float:
    """Return the CPU time that a process has used, its own and the kernel's for it."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_SECOND


def pss_mib(pid: int) -> float:
    """Return the proportional set size of a process and its children."""
    pids = [pid, *map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())]
    total = 0
    for each in pids:
        match = re.search(r"^Pss:\s+(\d+)", Path(f"/proc/{each}/smaps_rollup").read_text(), re.MULTILINE)
        total += int(match[1]) if match else 0
    return total / 1024


@contextlib.contextmanager
def peak_memory(pid: int) -> Iterator[list[float]]:
    """Watch a process's memory; the list holds the highest figure in MiB."""
    peak = [pss_mib(pid)]
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.02):
            peak[0] = max(peak[0], pss_mib(pid))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield peak
    finally:
        done.set()
        watcher.join()


def load(program: Program, script: Path | None, seconds: int) -> dict[str, float]:
    """Load a proxy over 32 connections; return microseconds of CPU a request, requests a second, and p99 in ms."""
    command = [require("wrk"), "-t1", "-c32", f"-d{seconds}s", "--latency"]
    if script is not None:
        command += ["-s", str(script)]
    before = cpu_seconds(program.pid)
    output = subprocess.run(
        [*command, f"http://127.0.0.1:{program.port}/index/_doc/1?refresh=true"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    used = cpu_seconds(program.pid) - before
    if "Non-2xx" in output:
        sys.exit(f"bench: not every request was answered with 200:\n{output}")
    count = int(_found(r"(\d+) requests in", output))
    p99 = re.search(r"99%\s+([\d.]+)(us|ms|s)", output)
    assert p99 is not None
    return {
        "cpu_us": used / count * 1e6,
        "rps": count / seconds,
        "p99_ms": float(p99[1]) * {"us": 0.001, "ms": 1, "s": 1000}[p99[2]],
    }


def _found(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    assert match is not None, text
    return match[1]


def cost(folder: Path, service: Service, *, rounds: int, seconds: int) -> list[str]:
    """Measure the cost of a request over plain and TLS upstreams; return table rows."""
    script = folder / "post.lua"
    script.write_text(POST)
    rows = []
    for tls in (False, True):
        with nginx_pass_through(folder, service, tls=tls) as floor, proxy(service, tls=tls) as ours:
            for name, wrk_script in (("POST 1 KB", script), ("GET", None)):
                load(floor, wrk_script, 1)
                load(ours, wrk_script, 1)
                pairs = [(load(floor, wrk_script, seconds), load(ours, wrk_script, seconds)) for _ in range(rounds)]
                rows.append(_cost_row(f"{name}, {'TLS' if tls else 'plain'} upstream", pairs))
                print(rows[-1], flush=True)
    return rows


def _cost_row(name: str, pairs: list[tuple[dict[str, float], dict[str, float]]]) -> str:
    ratios = sorted(ours["cpu_us"] / floor["cpu_us"] for floor, ours in pairs)

    def median(side: int, key: str) -> float:
        return statistics.median(pair[side][key] for pair in pairs)

    return (
        f"| {name} | {median(0, 'cpu_us'):.1f} | {median(1, 'cpu_us'):.1f} | "
        f"**{statistics.median(ratios):.2f}** ({ratios[0]:.2f} to {ratios[-1]:.2f}) | "
        f"{median(0, 'rps'):.0f} | {median(1, 'rps'):.0f} | {median(0, 'p99_ms'):.1f} | {median(1, 'p99_ms'):.1f} |"
    )


def put(port: int, size: int) -> None:
    """Send a body of `size` bytes with a Content-Length."""
    piece = b"\0" * MIB
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300)
    connection.request(
        "PUT", "/object", body=(piece for _ in range(size // MIB)), headers={"Content-Length": str(size)}
    )
    response = connection.getresponse()
    response.read()
    if response.status != 200:
        sys.exit(f"bench: PUT was answered with {response.status}")


def get(port: int) -> None:
    """Read the large file."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300)
    connection.request("GET", "/large")
    response = connection.getresponse()
    size = 0
    while piece := response.read(MIB):
        size += len(piece)
    if size != 1 << 30:
        sys.exit(f"bench: GET brought {size} bytes")


def memory(service: Service) -> list[str]:
    """Measure memory at rest and under large bodies, each on a fresh process; return table rows."""
    rows = []
    with proxy(service, tls=True) as ours:
        time.sleep(1)
        rows.append(f"| idle, after one request | {pss_mib(ours.pid):.1f} MiB | 48 MiB | |")
    works = (
        ("1 GiB PUT", lambda port: put(port, 1 << 30)),
        ("8 PUTs of 128 MiB at once", _eight_puts),
        ("1 GiB GET", get),
    )
    for name, work in works:
        with proxy(service, tls=True) as ours, peak_memory(ours.pid) as peak:
            began = time.perf_counter()
            work(ours.port)
            seconds = time.perf_counter() - began
        rows.append(f"| {name}, peak | {peak[0]:.1f} MiB | 96 MiB | {1024 / seconds:.0f} MiB/s |")
    for row in rows:
        print(row, flush=True)
    return rows


def _eight_puts(port: int) -> None:
    with concurrent.futures.ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda _: put(port, 128 * MIB), range(8)))


def start(service: Service, runs: int) -> str:
    """Measure the time from the process's start to the first signed answer."""
    times = []
    for _ in range(runs):
        began = time.perf_counter()
        with proxy(service, tls=True) as ours:
            times.append((time.perf_counter() - began) * 1000)
            waits_for(ours.port)
    row = f"| start to first signed response, median of {runs} | {statistics.median(times):.0f} ms | 400 ms | |"
    print(row, flush=True)
    return row


_HEAD = """\
# Performance

Measured by `make bench` on one machine, the programs in turn; medians, and for ratios their spread. Absolute
figures move with the machine; ratios hold.

{machine}

## The cost of a request

32 keep-alive connections, session token of 400 characters, default settings, metrics on, access log off. nginx
passes the requests on unsigned, with one worker and a keep-alive pool; the service behind the proxy refuses what is
not signed. CPU is that of the proxy's process, kernel included; the goal is a ratio of at most 2.2 for POST.

| work | nginx µs | proxy µs | ratio | nginx req/s | proxy req/s | nginx p99 ms | proxy p99 ms |
|---|---|---|---|---|---|---|---|
{costs}

## Memory and start

Proportional set size of the whole process tree, TLS upstream.

| what | measured | goal | throughput |
|---|---|---|---|
{others}
"""


def report(costs: list[str], others: list[str]) -> str:
    """Return the page."""
    nginx = subprocess.run([require("nginx"), "-v"], check=True, capture_output=True, text=True).stderr
    optimised = "--enable-optimizations" in (sysconfig.get_config_var("CONFIG_ARGS") or "")
    machine = (
        f"Machine: {platform.machine()}, {os.cpu_count()} cores, {platform.system()} {platform.release()}. "
        f"CPython {platform.python_version()}, built {'with' if optimised else 'without'} profile-guided optimisation; "
        f"{nginx.strip().removeprefix('nginx version: ')}."
    )
    return _HEAD.format(
        machine="\n".join(textwrap.wrap(machine, 116)), costs="\n".join(costs), others="\n".join(others)
    )


def main() -> None:
    """Run the bench."""
    options = argparse.ArgumentParser(description="What a signed request costs beside nginx passing it on unsigned.")
    options.add_argument("--quick", action="store_true", help="two short rounds, for a look")
    options.add_argument("--write", type=Path, help="write the page there; what follows its last table is kept")
    arguments = options.parse_args()
    require("wrk")
    rounds, seconds = (2, 2) if arguments.quick else (7, 3)
    with tempfile.TemporaryDirectory(prefix="asp-bench-") as name:
        folder = Path(name)
        with nginx_service(folder) as service:
            costs = cost(folder, service, rounds=rounds, seconds=seconds)
            others = [*memory(service), start(service, 3 if arguments.quick else 11)]
    if arguments.write is not None:
        kept = _hand_written_part(arguments.write)
        arguments.write.write_text(report(costs, others) + kept)


_MARK = "<!-- written by hand from here on -->"


def _hand_written_part(page: Path) -> str:
    if not page.exists() or _MARK not in page.read_text():
        return f"\n{_MARK}\n"
    return "\n" + _MARK + page.read_text().split(_MARK, 1)[1]


if __name__ == "__main__":
    main()
