"""Twice what a program can do is offered to it: does it still do what it can, and how long do requests take then?"""

from __future__ import annotations

from bench.closed_load import POST_1K, load
from bench.contestants import FLOOR, OURS, started
from bench.figures import figure
from bench.measuring import Bench
from bench.open_load import Offer
from bench.parts.latency import offering
from bench.results import Part, Table, new_part, percent, span

TITLE = "Past saturation"
CONNECTIONS = 512
_TEXT = f"""\
POST 1 KB over TLS in an open loop, at twice the rate that the same program reached in a closed loop just before,
from clients that hold {CONNECTIONS} connections together. A request that finds none of them free is turned away by
the client and counted; latency counts from sending. *served* is the share of what the closed loop reached; with
{CONNECTIONS} requests at the program at any time, nobody can wait much longer than it takes to serve as many. On
two cores the load itself, which is now twice as much work, takes time from the service: nginx shows how much."""


def measure(bench: Bench) -> Part:
    """Measure everybody; each is offered twice its own capacity."""
    columns = ["who", "capacity, requests/s", "offered", "served", "p50 ms", "p99 ms", "longest ms", "refused"]
    part = new_part(TITLE, _TEXT)
    rows = []
    with started(bench.contestants(), bench.service, tls=True, say=bench.say) as programs:
        for name, program in programs.items():
            bench.say(f"past saturation: {name}")
            if bench.effort.has_warm_up:
                load(program, POST_1K.on(CONNECTIONS), bench.effort.seconds)
            capacity = load(program, POST_1K.on(CONNECTIONS), bench.effort.seconds).requests_per_second
            offer = Offer(2 * capacity, bench.effort.open_seconds, CONNECTIONS, keeps_waiting=False)
            outcomes = bench.in_turn({name: program}, bench.effort.rounds, offering(offer)).get(name, [])
            if not outcomes:
                continue
            served = figure(each.good_per_second / capacity for each in outcomes)
            if name in {OURS, FLOOR}:
                part["figures"][f"overload.served.{name}"] = served
            rows.append(
                [
                    name,
                    f"{capacity:.0f}",
                    f"{figure(each.offered_per_second for each in outcomes)['value']:.0f}",
                    percent(served["value"]),
                    *(
                        span(figure(getattr(each, key) for each in outcomes), 0)
                        for key in ("p50_ms", "p99_ms", "max_ms")
                    ),
                    str(sum(each.refused for each in outcomes)),
                ]
            )
    part["tables"].append(Table(title="Twice the capacity offered", columns=columns, rows=rows))
    return part
