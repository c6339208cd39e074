"""Large bodies in each payload mode, beside nginx that passes on without buffering; and many of them at once."""

from __future__ import annotations

import concurrent.futures
import contextlib
import functools
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

from bench.contestants import FLOOR, OURS, proxy
from bench.figures import Figure, figure, quantile, ratios
from bench.measuring import Bench
from bench.processes import cpu_seconds, peak_memory
from bench.programs import Program
from bench.results import Chart, Part, Series, Table, new_part, ratio_cell
from bench.servers import nginx_pass_through
from bench.transfers import MIB, SETTINGS, get, put

TITLE = "Bodies of any size"
_TEXT = """\
TLS upstream, [payload modes](payload-modes.md) as named. nginx passes on without buffering
(`proxy_request_buffering off`, `proxy_buffering off`), unsigned, with one worker; the service is nginx too, and
writes to memory. CPU seconds are for 1 GiB; peak memory is that of the process tree."""
GIB = 1 << 30
# While bodies are streamed, the proxy is asked for what it answers itself: 405.
_ASKED = b"TRACE / HTTP/1.1\r\nHost: proxy\r\n\r\n"
_ASKED_EACH_SECONDS = 0.02


@dataclass(frozen=True)
class _Transfer:
    mib_per_second: float
    cpu_seconds_per_gib: float
    peak_mib: float


def measure(bench: Bench) -> Part:
    """Measure each mode, and then several bodies at once."""
    size = bench.effort.bulk_mib * MIB
    part = new_part(TITLE, _TEXT)
    columns = ["work", f"{FLOOR} MiB/s", f"{OURS} MiB/s", f"{OURS} : {FLOOR}"]
    columns += [f"{FLOOR} CPU s", f"{OURS} CPU s", f"{OURS} peak MiB"]
    table = Table(title=f"{bench.effort.bulk_mib} MiB, one after the other", columns=columns, rows=[])
    rates: dict[str, list[Figure | None]] = {FLOOR: [], OURS: []}
    labels = [_label(mode) for mode in bench.effort.bulk_modes]
    with nginx_pass_through(bench.service, tls=True, is_buffered=False) as floor:
        for mode, label in zip(bench.effort.bulk_modes, labels, strict=True):
            bench.say(f"bulk: {label}")
            with proxy(bench.service, tls=True, settings=SETTINGS.get(mode)) as ours:
                transfers = bench.in_turn(
                    {FLOOR: floor, OURS: ours}, bench.effort.rounds, functools.partial(_one, mode=mode, size=size)
                )
            ratio = ratios(*([each.mib_per_second for each in transfers[name]] for name in (OURS, FLOOR)))
            part["figures"][f"bulk.{mode}.ratio"] = ratio
            for name in (FLOOR, OURS):
                rates[name].append(figure(each.mib_per_second for each in transfers[name]))
            table["rows"].append(_row(label, transfers, ratio))
    part["tables"].append(table)
    part["tables"].append(_at_once(bench))
    series = [Series(name=name, bars=bars) for name, bars in rates.items()]
    part["charts"].append(
        Chart(name="bench-bulk", title="Large bodies over TLS", unit="MiB/s", labels=labels, series=series)
    )
    return part


def _label(mode: str) -> str:
    return mode if mode == "GET" else f"PUT, {mode}"


def _one(program: Program, mode: str, size: int) -> _Transfer:
    before = cpu_seconds(program.pid)
    with peak_memory(program.pid) as peak:
        seconds = get(program.port, size) if mode == "GET" else put(program.port, mode, size)
    used = cpu_seconds(program.pid) - before
    return _Transfer(size / MIB / seconds, used * GIB / size, peak[0])


def _row(label: str, transfers: dict[str, list[_Transfer]], ratio: Figure) -> list[str]:
    floor, ours = transfers[FLOOR], transfers[OURS]
    return [
        label,
        *(f"{figure(each.mib_per_second for each in side)['value']:.0f}" for side in (floor, ours)),
        ratio_cell(ratio),
        *(f"{figure(each.cpu_seconds_per_gib for each in side)['value']:.2f}" for side in (floor, ours)),
        f"{max(each.peak_mib for each in ours):.1f}",
    ]


def _at_once(bench: Bench) -> Table:
    count, size = bench.effort.bulk_at_once, bench.effort.bulk_at_once_mib * MIB
    columns = ["work", "MiB/s together", "CPU s for 1 GiB", "peak MiB", "its own answers meanwhile: p50 / p99 ms"]
    rows = []
    for mode in bench.effort.bulk_modes:
        bench.say(f"bulk: {count} at once, {_label(mode)}")
        with proxy(bench.service, tls=True, settings=SETTINGS.get(mode)) as ours:
            rows.append(
                [_label(mode), *_many(ours, mode, count, bench.effort.bulk_mib * MIB if mode == "GET" else size)]
            )
    return Table(
        title=f"{count} at once: PUT of {size // MIB} MiB, GET of {bench.effort.bulk_mib} MiB",
        columns=columns,
        rows=rows,
    )


def _many(program: Program, mode: str, count: int, size: int) -> list[str]:
    def transfer(number: int) -> float:
        return get(program.port, size) if mode == "GET" else put(program.port, mode, size, f"object-{number}")

    answers: list[float] = []
    before = cpu_seconds(program.pid)
    with peak_memory(program.pid) as peak, _asking(program.port, answers):
        began = time.perf_counter()
        with concurrent.futures.ThreadPoolExecutor(count) as threads:
            list(threads.map(transfer, range(count)))
        seconds = time.perf_counter() - began
    used = cpu_seconds(program.pid) - before
    answers.sort()
    return [
        f"{count * size / MIB / seconds:.0f}",
        f"{used * GIB / (count * size):.2f}",
        f"{peak[0]:.1f}",
        f"{quantile(answers, 0.5) * 1000:.1f} / {quantile(answers, 0.99) * 1000:.1f}",
    ]


@contextlib.contextmanager
def _asking(port: int, seconds: list[float]) -> Iterator[None]:
    """Ask the proxy meanwhile for what it answers itself, and collect how long each answer took."""
    is_over = threading.Event()

    def ask() -> None:
        while True:
            began = time.perf_counter()
            with socket.create_connection(("127.0.0.1", port), timeout=60) as client:
                client.sendall(_ASKED)
                client.recv(4096)
            seconds.append(time.perf_counter() - began)
            if is_over.wait(_ASKED_EACH_SECONDS):
                return

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()
