"""What is made of a load's output: the closed loop's report, the open loop's samples, rounds and events."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from bench.closed_load import GET, POST_1K, Work, parse_report
from bench.measuring import in_turn
from bench.open_load import Offer, Sample, outcome_of
from bench.parts.disturbance import divided
from bench.programs import BenchError


def sample(due: float, sent: float, answered: float, status: float, late: float = 0.0) -> Sample:
    return Sample(due, sent, answered, status, noticed=due + late)


OFFER = Offer(rate=2.0, seconds=2.0, connections=1)


def report(**changes: Any) -> str:
    fields = {"requests": 1000, "microseconds": 2_000_000, "p50": 500, "p99": 4000, "p999": 9000}
    return "Running 2s test\n...\n" + json.dumps(fields | {"not_ok": 0, "broken": 0} | changes) + "\n"


def test_a_report_becomes_cpu_time_of_a_request_and_rates() -> None:
    load = parse_report(report(), 0.05)
    assert (load.cpu_us, load.requests_per_second, load.busy) == (50.0, 500.0, 0.025)
    assert (load.p50_ms, load.p99_ms, load.p999_ms) == (0.5, 4.0, 9.0)


@pytest.mark.parametrize("changes", [{"not_ok": 1}, {"broken": 3}, {"requests": 0}])
def test_a_load_in_which_a_request_failed_counts_for_nothing(changes: dict[str, int]) -> None:
    with pytest.raises(BenchError, match="not every request"):
        parse_report(report(**changes), 0.05)


def test_a_load_that_reports_nothing_is_an_error() -> None:
    with pytest.raises(BenchError, match="reported nothing"):
        parse_report("unable to connect\n", 0.0)


def test_a_work_on_other_connections_is_the_same_work() -> None:
    assert POST_1K.on(256) == Work("POST 1 KB", 1024, 256)
    assert GET.connections == 32


def test_a_request_that_had_to_wait_for_a_connection_is_charged_from_when_it_was_due() -> None:
    samples = [sample(0.0, 0.0, 1.0, 200), sample(0.5, 1.0, 1.1, 200, late=0.003)]
    outcome = outcome_of(samples, OFFER)
    assert outcome.max_ms == pytest.approx(1000)
    assert outcome.p50_ms == pytest.approx(600)
    assert outcome.late_ms == pytest.approx(3)


def test_where_nobody_waits_latency_counts_from_sending_and_who_is_turned_away_is_counted() -> None:
    offer = Offer(rate=2.0, seconds=2.0, connections=1, keeps_waiting=False)
    samples = [sample(0.0, 0.1, 0.4, 200), sample(0.2, math.nan, math.nan, 0), sample(0.6, 0.6, 0.7, 503)]
    outcome = outcome_of(samples, offer)
    assert outcome.max_ms == pytest.approx(300)
    assert (outcome.turned_away, outcome.refused) == (1, 1)
    assert (outcome.offered_per_second, outcome.good_per_second) == (1.5, 0.5)


def test_an_offer_of_which_nothing_was_served_is_an_error() -> None:
    with pytest.raises(BenchError, match="no request"):
        outcome_of([sample(0.0, 0.0, 0.1, 503)], OFFER)


def test_the_programs_take_turns_and_the_first_round_does_not_count() -> None:
    asked: list[str] = []

    def measure(name: str) -> int:
        asked.append(name)
        return len(asked)

    assert in_turn({"one": "one", "two": "two"}, 2, measure) == {"one": [3, 5], "two": [4, 6]}
    assert asked == ["one", "two"] * 3


def test_a_peer_that_fails_is_left_out_and_named_and_the_others_go_on() -> None:
    said: list[str] = []

    def measure(name: str) -> str:
        if name == "peer":
            raise BenchError("it answers 500")
        return name

    programs = {"nginx": "nginx", "peer": "peer"}
    assert in_turn(programs, 1, measure, may_fail={"peer"}, say=said.append) == {"nginx": ["nginx"]}
    assert said == ["peer is left out: it answers 500"]


def test_nobody_else_may_fail() -> None:
    def measure(_: str) -> None:
        raise BenchError("it answers 500")

    with pytest.raises(BenchError):
        in_turn({"nginx": "nginx"}, 1, measure, may_fail={"peer"})


def test_requests_that_were_under_way_during_an_event_are_told_from_all_others() -> None:
    events = [(10.0, 11.0), (20.0, 21.0)]
    before, into, within, across, out_of, between, after = (
        *(sample(9.0, 9.0, 9.5, 200), sample(9.8, 9.8, 10.1, 200), sample(10.2, 10.2, 10.4, 200)),
        *(sample(9.0, 9.0, 12.0, 200), sample(10.9, 10.9, 11.5, 200), sample(15.0, 15.0, 15.1, 200)),
        sample(21.5, 21.5, 21.6, 200),
    )
    during, quiet = divided([before, into, within, across, out_of, between, after], events)
    assert during == pytest.approx([200, 300, 600, 3000])
    assert quiet == pytest.approx([100, 100, 500])


def test_events_that_no_request_met_compare_with_nothing() -> None:
    with pytest.raises(BenchError, match="nothing to compare"):
        divided([sample(9.0, 9.0, 9.5, 200)], [(10.0, 11.0)])


def test_a_disturbance_that_fails_a_request_is_an_error() -> None:
    with pytest.raises(BenchError, match="1 of 2 requests failed"):
        divided([sample(9.0, 9.0, 9.5, 503), sample(10.0, 10.0, 10.5, 200)], [(10.0, 11.0)])
