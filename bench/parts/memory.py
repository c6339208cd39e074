"""Memory: at rest, after load, and with thousands of clients that keep their connections and send nothing."""

from __future__ import annotations

import time

from bench.closed_load import POST_1K, load
from bench.contestants import FLOOR, OURS, Contestant
from bench.figures import figure
from bench.idle_clients import connected
from bench.measuring import Bench
from bench.processes import memory_mib, pss_mib
from bench.programs import BenchError
from bench.results import Part, Table, new_part

TITLE = "Memory"
_TEXT = """\
Of the whole process tree, TLS upstream, static credentials: own pages, and of mapped files (interpreter, libraries)
what is resident, as if nobody else on the machine used them (PSS, beside it, counts those in parts). *Idle* is
after one request; *connections* are clients that have made one request each and keep their connection."""


def measure(bench: Bench) -> Part:
    """Measure everybody, each in a process of its own that has done nothing before."""
    count = bench.effort.idle_connections
    columns = [
        "who",
        "idle MiB",
        "idle PSS MiB",
        "after load MiB",
        f"with {count} connections MiB",
        "each connection KiB",
    ]
    part = new_part(TITLE, _TEXT)
    rows = []
    for contestant in bench.contestants():
        bench.say(f"memory: {contestant.name}")
        try:
            idle, pss, loaded, connected = _of(contestant, bench)
        except BenchError as error:
            if not contestant.may_fail:
                raise
            bench.say(f"{contestant.name} is left out: {error}")
            continue
        each = (connected - loaded) * 1024 / count
        rows.append([contestant.name, f"{idle:.1f}", f"{pss:.1f}", f"{loaded:.1f}", f"{connected:.1f}", f"{each:.1f}"])
        if contestant.name in {OURS, FLOOR}:
            part["figures"][f"memory.idle_mib.{contestant.name}"] = figure([idle])
            part["figures"][f"memory.connection_kib.{contestant.name}"] = figure([each])
    part["tables"].append(Table(title="Memory of the process tree", columns=columns, rows=rows))
    return part


def _of(contestant: Contestant, bench: Bench) -> tuple[float, float, float, float]:
    with contestant.start(bench.service, True) as program:
        time.sleep(bench.effort.settle_seconds)
        idle, pss = memory_mib(program.pid), pss_mib(program.pid)
        load(program, POST_1K, bench.effort.seconds)
        time.sleep(bench.effort.settle_seconds)
        loaded = memory_mib(program.pid)
        with connected(program, bench.effort.idle_connections):
            time.sleep(bench.effort.settle_seconds)
            return idle, pss, loaded, memory_mib(program.pid)
