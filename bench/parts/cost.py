"""What a signed request costs: CPU time, requests a second of one core, and latencies at full load."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from bench.closed_load import GET, POST_1K, Load, Work, load
from bench.contestants import FLOOR, OURS, started
from bench.figures import figure, ratios
from bench.measuring import Bench
from bench.results import Chart, Part, Series, Table, new_part, percent, ratio_cell

TITLE = "The cost of a request"
_TEXT = """\
A closed loop (wrk), session token of 400 characters, default settings, metrics on, access log off. nginx and
haproxy pass the requests on unsigned, with one worker and a keep-alive pool; the service refuses what is not
signed. CPU is that of the whole process tree, kernel included; *busy* is how much of one core that is: where it is
far below 100 %, wrk and the service were the slower ones, and what one core is good for is a million divided by the
CPU time of a request."""


def name_of(kib: int) -> str:
    """Return how a body of this size is called in tables."""
    return f"POST {kib} KB" if kib else GET.name


def measure(bench: Bench) -> Part:
    """Measure every work on every number of connections, over plain and TLS upstreams."""
    part = new_part(TITLE, _TEXT)
    for tls in (False, True):
        kind = "TLS" if tls else "plain"
        loads: dict[str, Mapping[str, list[Load]]] = {}
        with started(bench.contestants(), bench.service, tls=tls, say=bench.say) as programs:
            for work in _works(bench):
                label = f"{work.name}, {work.connections} connections"
                bench.say(f"cost, {kind} upstream: {label}")
                is_goal = work == POST_1K
                rounds = bench.effort.goal_rounds if is_goal else bench.effort.rounds
                seconds = bench.effort.seconds if is_goal else 1
                loads[label] = bench.in_turn(programs, rounds, _loading(work, seconds))
        names = list(programs)
        part["tables"] += [_cpu_table(kind, names, loads), _latency_table(kind, names, loads)]
        part["charts"].append(_chart(kind, names, loads))
        _add_figures(part, kind.lower(), loads)
    for peer in bench.peers:
        if f"cost.tls.requests_per_second.{peer.name}" not in part["figures"]:
            part["missing"][f"cost.tls.requests_per_second.{peer.name}"] = f"{peer.name} failed"
    return part


def _works(bench: Bench) -> list[Work]:
    works = [
        Work(name_of(kib), kib * 1024, connections)
        for kib in bench.effort.body_kib
        for connections in bench.effort.connections
    ]
    return works if POST_1K in works else [POST_1K, *works]


def _loading(work: Work, seconds: int) -> Callable[..., Load]:
    return lambda program: load(program, work, seconds)


def _cpu_table(kind: str, names: list[str], loads: Mapping[str, Mapping[str, list[Load]]]) -> Table:
    columns = ["work", *(f"{name} µs" for name in names), f"{OURS} : {FLOOR}"]
    columns += [f"{name} requests/s (busy)" for name in names]
    rows = []
    for label, by_name in loads.items():
        cells = [label, *(_median(by_name.get(name), "cpu_us", 1) for name in names)]
        cells.append(ratio_cell(ratios(_each(by_name[OURS], "cpu_us"), _each(by_name[FLOOR], "cpu_us"))))
        for name in names:
            rate, busy = _median(by_name.get(name), "requests_per_second", 0), _each(by_name.get(name, []), "busy")
            cells.append(f"{rate} ({percent(figure(busy)['value'])})" if busy else rate)
        rows.append(cells)
    return Table(title=f"CPU time of a request, {kind} upstream", columns=columns, rows=rows)


def _latency_table(kind: str, names: list[str], loads: Mapping[str, Mapping[str, list[Load]]]) -> Table:
    columns = ["work", *(f"{name} p50 / p99 / p99.9 ms" for name in names), f"p99, {OURS} : {FLOOR}"]
    rows = []
    for label, by_name in loads.items():
        cells = [label]
        for name in names:
            each = by_name.get(name)
            cells.append(" / ".join(_median(each, key, 2) for key in ("p50_ms", "p99_ms", "p999_ms")))
        cells.append(ratio_cell(ratios(_each(by_name[OURS], "p99_ms"), _each(by_name[FLOOR], "p99_ms"))))
        rows.append(cells)
    return Table(title=f"Latency at full load, {kind} upstream", columns=columns, rows=rows)


def _chart(kind: str, names: list[str], loads: Mapping[str, Mapping[str, list[Load]]]) -> Chart:
    series = [
        Series(
            name=name,
            bars=[figure(_each(by_name[name], "cpu_us")) if name in by_name else None for by_name in loads.values()],
        )
        for name in names
    ]
    title = f"CPU time of a request, {kind} upstream"
    return Chart(name=f"bench-cost-{kind.lower()}", title=title, unit="µs", labels=list(loads), series=series)


def _add_figures(part: Part, kind: str, loads: Mapping[str, Mapping[str, list[Load]]]) -> None:
    by_name = loads[f"{POST_1K.name}, {POST_1K.connections} connections"]
    ours, floor = by_name[OURS], by_name[FLOOR]
    figures = part["figures"]
    figures[f"cost.{kind}.cpu_ratio"] = ratios(_each(ours, "cpu_us"), _each(floor, "cpu_us"))
    figures[f"cost.{kind}.p99_ratio"] = ratios(_each(ours, "p99_ms"), _each(floor, "p99_ms"))
    for name, each in by_name.items():
        rates = ratios(_each(ours, "requests_per_second"), _each(each, "requests_per_second"))
        figures[f"cost.{kind}.requests_per_second.{name}"] = rates


def _each(loads: list[Load], key: str) -> list[float]:
    return [getattr(load, key) for load in loads]


def _median(loads: list[Load] | None, key: str, digits: int) -> str:
    return f"{figure(_each(loads, key))['value']:.{digits}f}" if loads else "failed"
