"""What the bench is judged by: the goals that the project has set itself, and how a run stands to them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from bench.figures import Figure
from bench.results import Part, Table, span

__all__ = ["GOALS", "Goal", "Standing", "goals_table", "judge"]


class Goal(NamedTuple):
    """A figure of the results, by its key, and what it must come to: at most, or at least, `limit`."""

    name: str
    key: str
    limit: float
    unit: str
    is_upper: bool = True

    @property
    def text(self) -> str:
        """The goal in words."""
        return f"{'≤' if self.is_upper else '≥'} {self.limit:g} {self.unit}".strip()


class Standing(NamedTuple):
    """How a goal stands: `share` of the limit by which it was missed, 0 where it was reached, None: not measured."""

    measured: str
    share: float | None
    remark: str


_NGINX = "× nginx"
GOALS = (
    Goal("CPU per request, POST 1 KB, TLS upstream", "cost.tls.cpu_ratio", 1.5, _NGINX),
    Goal("the same, plain upstream", "cost.plain.cpu_ratio", 1.6, _NGINX),
    Goal(
        "requests/s of one core over TLS, beside the original Go proxy",
        "cost.tls.requests_per_second.original",
        10,
        "×",
        is_upper=False,
    ),
    Goal("p99 at 32 connections, POST 1 KB, TLS upstream", "cost.tls.p99_ratio", 2, _NGINX),
    Goal("the same, plain upstream", "cost.plain.p99_ratio", 2, _NGINX),
    Goal("1 GiB GET, throughput", "bulk.GET.ratio", 0.7, _NGINX, is_upper=False),
    Goal("1 GiB PUT, signed in chunks", "bulk.chunked.ratio", 0.7, _NGINX, is_upper=False),
    Goal("1 GiB PUT, unsigned payload", "bulk.unsigned.ratio", 0.7, _NGINX, is_upper=False),
    Goal("1 GiB PUT under a declared hash", "bulk.declared.ratio", 0.7, _NGINX, is_upper=False),
    Goal("1 GiB PUT, unsigned trailers", "bulk.verbatim.ratio", 0.7, _NGINX, is_upper=False),
    Goal("1 GiB PUT, the client's chunks signed anew", "bulk.resigned.ratio", 0.7, _NGINX, is_upper=False),
    Goal("two workers: CPU per request", "scaling.cpu_ratio", 1.05, "× one worker's"),
    Goal("two workers: connections spread, farthest from the mean", "scaling.unevenness", 0.2, "of the mean"),
    Goal("two workers: requests/s", "scaling.requests_ratio", 1.8, "× one worker's", is_upper=False),
    Goal("idle memory, one worker", "memory.idle_mib.proxy", 40, "MiB"),
    Goal("each further worker", "scaling.worker_mib", 20, "MiB"),
    Goal("start to first response", "start.ms", 300, "ms"),
    Goal("an idle connection", "memory.connection_kib.proxy", 12, "KiB"),
    Goal("CPU per request with a thousand connections", "flat.connections_ratio", 1.15, "× with 32"),
    Goal("one more header field", "flat.field_us", 0.5, "µs"),
    Goal("one more route", "flat.route", 0, "µs"),
)


def judge(goal: Goal, parts: Mapping[str, Part]) -> Standing:
    """Return how a goal stands by the figures of a run."""
    figure = _figure(goal.key, parts)
    if figure is None:
        return Standing("", None, _why_missing(goal.key, parts))
    value = figure["value"]
    excess = value - goal.limit if goal.is_upper else goal.limit - value
    share = max(0.0, excess / goal.limit) if goal.limit else max(0.0, excess)
    return Standing(
        span(figure, 2 if abs(value) < 10 else 0), share, f"**missed by {share:.0%}**" if share else "reached"
    )


def _figure(key: str, parts: Mapping[str, Part]) -> Figure | None:
    return next((part["figures"][key] for part in parts.values() if key in part["figures"]), None)


def _why_missing(key: str, parts: Mapping[str, Part]) -> str:
    for part in parts.values():
        if key in part["missing"]:
            return f"not measured: {part['missing'][key]}"
    if key.endswith(".original"):
        return "not measured: it was no peer of this run (`--peer original=COMMAND`)"
    return "not measured in this run"


def goals_table(parts: Mapping[str, Part]) -> Table:
    """Return the table of all goals."""
    standings = [(goal, judge(goal, parts)) for goal in GOALS]
    rows = [[goal.name, goal.text, standing.measured, standing.remark] for goal, standing in standings]
    return Table(title="", columns=["work", "goal", "measured", ""], rows=rows)
