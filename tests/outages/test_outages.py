"""Sources that fail, stall and come back, under load, with leases of a few seconds."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.outages.conftest import Start, wait_until
from tests.outages.load import Load, ask
from tests.outages.sources import FAILURES, SOURCES, Irsa, Source

each_source = pytest.mark.parametrize("kind", SOURCES, ids=lambda kind: kind.name)


@each_source
def test_a_source_that_fails_every_second_time_fails_no_request(
    kind: type[Source], tmp_path: Path, start: Start
) -> None:
    """And every set that is signed with is whole: the service verifies, and the sets are numbered."""
    with kind(tmp_path, lease_seconds=3.0) as source:
        proxy, service = start(source)
        assert ask(proxy.port).status == 200
        source.every_second_fails()
        with Load(proxy.port) as load:
            wait_until(lambda: source.sets >= 4, 25)
        assert {answer.status for answer in load.answers} == {200}
        assert len(load.answers) > 100
        used = {value.partition("/")[0] for request in service.requests for value in request.values("authorization")}
        assert len(used) >= 3


@each_source
def test_a_source_that_takes_two_seconds_makes_nobody_wait_while_there_are_valid_credentials(
    kind: type[Source], tmp_path: Path, start: Start
) -> None:
    # So long that the early window, a quarter less the chance, is longer than the fetch: at least 3 s.
    with kind(tmp_path, lease_seconds=16.0) as source:
        proxy, _ = start(source)
        assert ask(proxy.port).status == 200
        source.slow(2.0)
        before = source.sets
        with Load(proxy.port) as load:
            wait_until(lambda: source.sets > before and "reloaded" in proxy.output, 20)
        assert {answer.status for answer in load.answers} == {200}
        # On a busy machine a request may take long, but nothing like a fetch.
        assert max(answer.seconds for answer in load.answers) < 1.0


@each_source
@pytest.mark.parametrize("failure", FAILURES)
def test_valid_credentials_are_used_through_an_outage_and_expired_ones_are_never(
    kind: type[Source], failure: str, tmp_path: Path, start: Start
) -> None:
    with kind(tmp_path, lease_seconds=4.0) as source:
        proxy, service = start(
            source,
            ASP_CREDENTIALS_WAIT_TIMEOUT="300ms",
            ASP_CREDENTIALS_FETCH_TIMEOUT="1s",
            ASP_CIRCUIT_BREAKER_TIMEOUT="1s",
        )
        # On a busy machine the first fetch, with its imports, takes longer than a request waits here.
        proxy.wait_for_log("credentials loaded")
        assert ask(proxy.port).status == 200
        source.fail(failure)
        with Load(proxy.port) as load:
            wait_until(lambda: any(answer.status != 200 for answer in load.answers))
            time.sleep(0.2)  # what was signed just before the expiry may still be on its way
            sent = len(service.requests)
            time.sleep(0.5)
            assert len(service.requests) == sent, "something was forwarded after the expiry"
            source.mend()
            wait_until(lambda: load.answers[-1].status == 200)
        statuses = [answer.status for answer in load.answers]
        refused = [answer for answer in load.answers if answer.status == 503]
        assert set(statuses) == {200, 503}
        first, last = statuses.index(503), len(statuses) - statuses[::-1].index(503)
        assert last - first - statuses[first:last].count(503) < 10, "it came and went"
        assert {answer.problem["code"] for answer in refused} == {"credentials_expired"}
        assert all(int(answer.fields["retry-after"]) >= 1 for answer in refused)


@each_source
def test_an_open_breaker_answers_at_once_and_names_itself_and_its_end(
    kind: type[Source], tmp_path: Path, start: Start
) -> None:
    with kind(tmp_path) as source:
        source.fail("error")
        proxy, service = start(source, ASP_CIRCUIT_BREAKER_FAILURE_THRESHOLD="2", ASP_CIRCUIT_BREAKER_TIMEOUT="50s")
        proxy.wait_for_log("the circuit breaker before the credentials' source is open")
        asked = source.fetches
        answers = [ask(proxy.port) for _ in range(20)]
        assert {answer.status for answer in answers} == {503}
        assert sorted(answer.seconds for answer in answers)[10] < 0.05
        problem = answers[0].problem
        assert problem["code"] == "credentials_unavailable"
        assert f"the circuit breaker before {source.name} is open after repeated failures" in problem["detail"]
        assert "lets the next try through in" in problem["detail"]
        assert 1 <= int(answers[0].fields["retry-after"]) <= 50
        assert source.fetches == asked
        assert service.requests == []
        status, body = proxy.management("/status/ready")
        assert status == 503
        assert json.loads(body)["reasons"] == [problem["detail"]] or "tries" in body.decode() or "lets" in body.decode()
        metrics = proxy.management("/status/metrics")[1].decode()
        assert 'auth_circuit_breaker_state{state="open"} 1.0' in metrics


@each_source
def test_a_breaker_closes_again_by_itself_when_the_source_is_back(
    kind: type[Source], tmp_path: Path, start: Start
) -> None:
    with kind(tmp_path) as source:
        source.fail("closed")
        proxy, _ = start(source, ASP_CIRCUIT_BREAKER_FAILURE_THRESHOLD="1", ASP_CIRCUIT_BREAKER_TIMEOUT="300ms")
        proxy.wait_for_log("the circuit breaker before the credentials' source is open")
        source.mend()
        proxy.wait_for_log("the circuit breaker before the credentials' source is closed")
        assert ask(proxy.port).status == 200


@each_source
@pytest.mark.parametrize("is_background", ["true", "false"])
def test_fifty_first_requests_make_one_fetch(
    kind: type[Source], is_background: str, tmp_path: Path, start: Start
) -> None:
    with kind(tmp_path) as source:
        source.slow(0.5)
        proxy, service = start(source, ASP_BACKGROUND_REFRESH=is_background)
        with ThreadPoolExecutor(50) as pool:
            answers = list(pool.map(lambda _: ask(proxy.port), range(50)))
        assert {answer.status for answer in answers} == {200}
        assert source.sets == 1
        assert len(service.requests) == 50


def test_without_background_refresh_nothing_is_fetched_until_a_request_comes(tmp_path: Path, start: Start) -> None:
    with Irsa(tmp_path, lease_seconds=2.0) as source:
        proxy, _ = start(source, ASP_BACKGROUND_REFRESH="false")
        assert proxy.management("/status/ready")[0] == 200
        time.sleep(0.3)
        assert source.fetches == 0
        assert ask(proxy.port).status == 200
        time.sleep(2.5)
        assert source.fetches == 1, "nobody wanted new ones"
        assert ask(proxy.port).status == 200
        assert source.fetches == 2
