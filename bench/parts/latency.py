"""What the proxy adds to a request's latency at half of what it can do: an open loop, at the same instants for all."""

from __future__ import annotations

from collections.abc import Callable

from bench.closed_load import POST_1K, load
from bench.contestants import OURS, started
from bench.figures import Figure, differences, figure
from bench.measuring import Bench
from bench.open_load import Offer, Outcome, offered, outcome_of
from bench.programs import Program
from bench.results import Chart, Part, Series, Table, new_part, span

TITLE = "Latency added at half load"
DIRECT = "direct"
_QUANTILES = (("p50_ms", "p50"), ("p99_ms", "p99"), ("p999_ms", "p99.9"))
_TEXT = """\
POST 1 KB in an open loop (`bench/open_load.py`): requests leave when they are due, at the instants of a Poisson
process, the same for all, on 64 connections; latency counts from when a request was due, so a stall is charged for
all who would have come meanwhile (no coordinated omission). The rate is half of what this proxy can do. *direct* is
the service without anybody before it; *added* is the difference to it in the same round. *late* is how late the
load itself came to its requests (p99): a latency below that means nothing."""
_CONNECTIONS = 64


def offering(offer: Offer) -> Callable[[Program], Outcome]:
    """Return what offers a load to a program and tells what came of it."""

    def measure(program: Program) -> Outcome:
        with offered(program, offer) as samples:
            pass
        return outcome_of(samples, offer)

    return measure


def measure(bench: Bench) -> Part:
    """Measure plain and TLS upstreams; the direct way is plain in both, as it is for a client that has a proxy."""
    part = new_part(TITLE, _TEXT)
    for tls in (False, True):
        kind = "TLS" if tls else "plain"
        with started(bench.contestants(), bench.service, tls=tls, say=bench.say) as programs:
            load(programs[OURS], POST_1K, 1)
            capacity = load(programs[OURS], POST_1K, bench.effort.seconds).requests_per_second
            offer = Offer(capacity / 2, bench.effort.open_seconds, _CONNECTIONS)
            bench.say(f"latency at half load, {kind} upstream: {offer.rate:.0f} requests/s")
            direct = Program(programs[OURS].pid, bench.service.open_port)
            outcomes = bench.in_turn({DIRECT: direct, **programs}, bench.effort.rounds, offering(offer))
        part["tables"].append(_table(kind, offer, outcomes))
        part["charts"].append(_chart(kind, offer, outcomes))
        for name, each in outcomes.items():
            if name != DIRECT:
                part["figures"][f"latency.{kind.lower()}.added_p99_ms.{name}"] = _added(each, outcomes, "p99_ms")
    return part


def _added(each: list[Outcome], outcomes: dict[str, list[Outcome]], key: str) -> Figure:
    return differences(_values(each, key), _values(outcomes[DIRECT], key))


def _values(outcomes: list[Outcome], key: str) -> list[float]:
    return [getattr(outcome, key) for outcome in outcomes]


def _table(kind: str, offer: Offer, outcomes: dict[str, list[Outcome]]) -> Table:
    columns = [
        "who",
        *(f"{name} ms" for _, name in _QUANTILES),
        *(f"added {name} ms" for _, name in _QUANTILES),
        "late ms",
    ]
    rows = []
    for name, each in outcomes.items():
        cells = [name, *(f"{figure(_values(each, key))['value']:.2f}" for key, _ in _QUANTILES)]
        for key, _ in _QUANTILES:
            cells.append("" if name == DIRECT else span(_added(each, outcomes, key), 2))
        rows.append([*cells, f"{figure(_values(each, 'late_ms'))['value']:.2f}"])
    return Table(title=f"{kind} upstream, {offer.rate:.0f} requests/s", columns=columns, rows=rows)


def _chart(kind: str, offer: Offer, outcomes: dict[str, list[Outcome]]) -> Chart:
    labels = [name for _, name in _QUANTILES]
    series = [
        Series(name=name, bars=[figure(_values(each, key)) for key, _ in _QUANTILES]) for name, each in outcomes.items()
    ]
    title = f"Latency at {offer.rate:.0f} requests/s, half of the proxy's capacity, {kind} upstream"
    return Chart(name=f"bench-latency-{kind.lower()}", title=title, unit="ms", labels=labels, series=series)
