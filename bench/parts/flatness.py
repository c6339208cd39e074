"""What one more costs: header, connection. Flat is what it should be."""

from __future__ import annotations

import functools

from bench.closed_load import GET, Load, Work, load
from bench.contestants import FLOOR, OURS, started
from bench.figures import Figure, figure, ratios
from bench.measuring import Bench
from bench.results import Chart, Part, Series, Table, new_part, ratio_cell, span

TITLE = "The cost of one more"
_TEXT = """\
GET over TLS on 32 connections. wrk sends one field by itself. A client sends the same fields with each of its
requests, and the proxy remembers what it made of them; with one that has another value each time (a request id,
say) it reads all of them anew. There are no routes yet: all requests go to one target as one identity, so the cost
of one more route is not there to be measured."""


def measure(bench: Bench) -> Part:
    """Measure header fields, and connections."""
    counts = bench.effort.field_counts
    works = [Work(f"{count} header fields", fields=count - 1) for count in counts]
    works += [Work(f"{count}, one of them different each time", fields=count - 2, is_changing=True) for count in counts]
    many = bench.effort.many_connections
    works += [GET.on(connections) for connections in (32, many)]
    loads: dict[str, dict[str, list[Load]]] = {}
    contestants = bench.contestants(with_haproxy=False)
    with started(contestants, bench.service, tls=True, say=bench.say) as programs:
        for work in works:
            label = f"{work.connections} connections" if work.name == GET.name else work.name
            bench.say(f"one more: {label}")
            seconds = functools.partial(load, work=work, seconds=bench.effort.seconds)
            loads[label] = bench.in_turn(programs, bench.effort.rounds, seconds)
    part = new_part(TITLE, _TEXT)
    part["missing"]["flat.route"] = "there are no routes yet"
    _add_figures(part, loads, counts, many)
    part["tables"].append(_table(list(programs), loads))
    bars = [Series(name=name, bars=[_cpu(each.get(name)) for each in loads.values()]) for name in programs]
    title = "CPU time of a GET over TLS"
    part["charts"].append(Chart(name="bench-one-more", title=title, unit="µs", labels=list(loads), series=bars))
    return part


def _cpu(loads: list[Load] | None) -> Figure | None:
    return figure(each.cpu_us for each in loads) if loads else None


def _add_figures(part: Part, loads: dict[str, dict[str, list[Load]]], counts: tuple[int, ...], many: int) -> None:
    few, most = (loads[f"{count} header fields"][OURS] for count in (counts[0], counts[-1]))
    part["figures"]["flat.field_us"] = figure(
        (more.cpu_us - less.cpu_us) / (counts[-1] - counts[0]) for less, more in zip(few, most, strict=True)
    )
    part["figures"]["flat.connections_ratio"] = ratios(
        *([each.cpu_us for each in loads[f"{count} connections"][OURS]] for count in (many, 32))
    )


def _table(names: list[str], loads: dict[str, dict[str, list[Load]]]) -> Table:
    columns = ["work", *(f"{name} µs" for name in names), f"{OURS} : {FLOOR}"]
    rows = []
    for label, by_name in loads.items():
        cpus = [_cpu(by_name.get(name)) for name in names]
        ratio = ratios(*([each.cpu_us for each in by_name[name]] for name in (OURS, FLOOR)))
        rows.append([label, *(span(cpu) if cpu else "failed" for cpu in cpus), ratio_cell(ratio)])
    return Table(title="CPU time of a request", columns=columns, rows=rows)
