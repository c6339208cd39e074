"""How long it takes from the start of the process to the first signed response."""

from __future__ import annotations

import time
from collections.abc import Callable

from bench.contestants import FLOOR, OURS, Contestant
from bench.figures import figure
from bench.measuring import Bench
from bench.results import Part, Table, new_part, span

TITLE = "Start to first response"
_TEXT = """\
From starting the process to the first answer with 200, over TLS to the service; asked again each millisecond.
Static credentials from the environment."""


def measure(bench: Bench) -> Part:
    """Start everybody in turn, again and again."""
    bench.say("start to first response")
    contestants = {each.name: each for each in bench.contestants()}
    times = bench.in_turn(contestants, bench.effort.starts, _starting(bench))
    figures = {name: figure(each) for name, each in times.items()}
    rows = [[name, span(each, 0)] for name, each in figures.items()]
    part = new_part(TITLE, _TEXT)
    part["tables"].append(Table(title="Milliseconds to the first response", columns=["who", "ms"], rows=rows))
    part["figures"] = {"start.ms": figures[OURS], "start.nginx_ms": figures[FLOOR]}
    return part


def _starting(bench: Bench) -> Callable[[Contestant], float]:
    def start(contestant: Contestant) -> float:
        began = time.perf_counter()
        with contestant.start(bench.service, True):
            return (time.perf_counter() - began) * 1000

    return start
