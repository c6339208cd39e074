"""Several workers: what a request costs then, what they do together, how clients are spread, what one more holds."""

from __future__ import annotations

import contextlib
import functools
import os
import time
from collections.abc import Iterator

from aws_signing_proxy.config.settings import declarations
from bench.closed_load import POST_1K, Load, load
from bench.contestants import proxy
from bench.figures import Figure, figure, ratios
from bench.idle_clients import connected
from bench.measuring import Bench
from bench.processes import established, memory_mib
from bench.programs import Program
from bench.results import Part, Table, new_part, span

TITLE = "Scaling over workers"
SETTING = "ASP_WORKERS"
FIGURES = ("scaling.cpu_ratio", "scaling.unevenness", "scaling.requests_ratio", "scaling.worker_mib")
_CORES_TO_SHOW_IT = 4
_TEXT = """\
POST 1 KB over TLS, 64 connections, closed loop; CPU is that of the whole process tree, the supervisor with it.
*Uneven* is how far the worker with the most (or fewest) of {clients} idle clients is from the mean."""
_CONNECTIONS = 64
# The second one brings the supervisor with it, the third one is a worker and nothing else.
_COUNTS_FOR_MEMORY = (1, 2, 3)


def measure(bench: Bench) -> Part:
    """Measure one worker, two, and as many more as the machine has cores for."""
    clients = min(512, bench.effort.idle_connections)
    part = new_part(TITLE, _TEXT.format(clients=clients))
    if not any(SETTING in declared.environment for declared in declarations()):
        reason = "this version has no setting for the number of workers"
        part["text"] = f"Not measured: {reason}. It runs one process, which uses one core."
        part["missing"] = dict.fromkeys(FIGURES, reason)
        return part
    cores = os.cpu_count() or 1
    counts = [count for count in (1, 2, 4, 8) if count <= max(2, cores // 2)]
    memory = {str(count): _idle_memory(bench, count) for count in sorted({*counts, *_COUNTS_FOR_MEMORY})}
    with _started(bench, counts) as programs:
        unevenness = {name: _unevenness(program, int(name), clients) for name, program in programs.items()}
        bench.say(f"scaling: {', '.join(programs)} workers")
        work = functools.partial(load, work=POST_1K.on(_CONNECTIONS), seconds=bench.effort.seconds)
        loads = bench.in_turn(programs, bench.effort.rounds, work)
    one, two = loads["1"], loads["2"]
    rates = _ratios(two, one, "requests_per_second")
    part["figures"]["scaling.cpu_ratio"] = _ratios(two, one, "cpu_us")
    part["figures"]["scaling.unevenness"] = figure([unevenness["2"]])
    part["figures"]["scaling.worker_mib"] = figure(
        memory[str(count + 1)] - memory[str(count)] for count in _COUNTS_FOR_MEMORY[:-1]
    )
    if cores >= _CORES_TO_SHOW_IT:
        part["figures"]["scaling.requests_ratio"] = rates
    else:
        part["missing"]["scaling.requests_ratio"] = (
            f"this machine has {cores} cores, which load, service and workers share (measured: {span(rates, 2)})"
        )
    part["tables"].append(_table(loads, memory, unevenness))
    return part


@contextlib.contextmanager
def _started(bench: Bench, counts: list[int]) -> Iterator[dict[str, Program]]:
    with contextlib.ExitStack() as stack:
        programs = {}
        for count in counts:
            workers = proxy(bench.service, tls=True, settings={SETTING: str(count)})
            programs[str(count)] = stack.enter_context(workers)
        yield programs


def _idle_memory(bench: Bench, count: int) -> float:
    with proxy(bench.service, tls=True, settings={SETTING: str(count)}) as program:
        time.sleep(bench.effort.settle_seconds)
        return memory_mib(program.pid)


def _unevenness(program: Program, workers: int, clients: int) -> float:
    with connected(program, clients):
        counts = established(program.pid, program.port)
    counts += [0] * (workers - len(counts))
    mean = sum(counts) / workers
    return max(abs(count - mean) for count in counts) / mean


def _ratios(ours: list[Load], theirs: list[Load], key: str) -> Figure:
    return ratios(*([getattr(each, key) for each in side] for side in (ours, theirs)))


def _table(loads: dict[str, list[Load]], memory: dict[str, float], unevenness: dict[str, float]) -> Table:
    columns = [
        "workers",
        "CPU µs",
        "CPU : one worker's",
        "requests/s",
        "requests/s : one worker's",
        "uneven %",
        "idle MiB",
    ]
    rows = [
        [
            count,
            f"{figure(load.cpu_us for load in each)['value']:.1f}",
            span(_ratios(each, loads["1"], "cpu_us"), 2),
            f"{figure(load.requests_per_second for load in each)['value']:.0f}",
            span(_ratios(each, loads["1"], "requests_per_second"), 2),
            f"{unevenness[count] * 100:.0f}",
            f"{memory[count]:.1f}",
        ]
        for count, each in loads.items()
    ]
    return Table(title="One worker and more", columns=columns, rows=rows)
