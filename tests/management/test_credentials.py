"""What the management port tells about the credentials, in each of their states."""

from __future__ import annotations

import json
from typing import Any

from aws_signing_proxy.management.credentials import CredentialFigures, credentials_report
from aws_signing_proxy.observe.counters import Counters
from aws_signing_proxy.observe.exposition import BREAKER_COUNTS, BREAKER_STATES, Exposition
from tests.credentials.fake_provider import numbered, unavailable
from tests.credentials.simulation import World, simulated

NO_COUNTS = dict.fromkeys(BREAKER_COUNTS, 0)


def report(world: World) -> dict[str, Any]:
    """Return it as whoever asks gets it: strict JSON, without a secret and without a whole access key id."""
    text = json.dumps(
        credentials_report(world.store, world.refresher, world.store.waiting, world.wall()), allow_nan=False
    )
    assert "planted" not in text
    assert "AKIA" not in text
    told: dict[str, Any] = json.loads(text)
    return told


@simulated()
async def test_before_the_first_fetch(world: World) -> None:
    """Nothing is known yet, and that is told."""
    assert report(world) == {
        "provider": "fake",
        "valid": False,
        "problem": "The proxy has no AWS credentials: they have not been fetched yet.",
        "in_use": None,
        "last_fetch": None,
        "fetching": False,
        "next_try_in_seconds": None,
        "waiting_requests": 0,
        "circuit_breaker": {"state": "closed", "tries_again_in_seconds": None, "counts": NO_COUNTS},
    }


@simulated()
async def test_while_the_first_fetch_runs_those_who_wait_are_counted(world: World) -> None:
    world.provider.hang()
    await world.store.start()
    await world.settle()
    world.wait()
    world.wait()
    told = report(world)
    assert told["fetching"] is True
    assert told["waiting_requests"] == 2
    assert told["circuit_breaker"]["counts"]["requests"] == 1


@simulated()
async def test_credentials_in_use_are_told_with_their_source_end_and_renewal(world: World) -> None:
    await world.store.start()
    await world.pass_time(100)
    told = report(world)
    assert told["valid"] is True
    assert told["problem"] is None
    assert told["in_use"] == {
        "source": "source 1",
        "access_key_id": "…IA-1",
        "kind": "temporary",
        "expires_at": "2023-11-14T23:13:20Z",
        "expires_in_seconds": 3500.0,
        "refresh_at": "2023-11-14T23:08:20Z",
    }
    assert told["last_fetch"] == {"at": "2023-11-14T22:13:20Z", "outcome": "success", "reason": None}


@simulated(is_local=True)
async def test_long_term_ones_have_no_end(world: World) -> None:
    await world.store.start()
    held = numbered(7)
    held.session_token = None
    world.store.current = held
    told = report(world)
    assert told["valid"] is True
    assert told["in_use"]["kind"] == "long-term"
    assert told["in_use"]["expires_at"] is None
    assert told["in_use"]["expires_in_seconds"] is None


@simulated()
async def test_a_failed_renewal_is_told_beside_the_valid_ones(world: World) -> None:
    await world.store.start()
    await world.settle()
    world.provider.failure = unavailable("its server said 403", is_conclusive=True)
    world.store.reload()
    await world.settle()
    told = report(world)
    assert told["valid"] is True
    assert told["problem"] is None
    assert told["last_fetch"]["outcome"] == "refused"
    assert told["last_fetch"]["reason"] == "the source: its server said 403 (Fill it)"
    assert 0 < told["next_try_in_seconds"] <= 1


@simulated(failure_threshold=2)
async def test_behind_an_open_breaker_it_says_when_it_tries_again(world: World) -> None:
    world.provider.failure = unavailable()
    await world.store.start()
    await world.pass_time(11)
    told = report(world)
    assert told["circuit_breaker"] == {"state": "open", "tries_again_in_seconds": 50.0, "counts": NO_COUNTS}
    assert told["next_try_in_seconds"] == 50.0
    assert "lets the next try through in 50 s" in told["problem"]


@simulated(is_eager=False)
async def test_expired_ones_are_not_valid_though_the_next_request_is_welcome(world: World) -> None:
    await world.store.start()
    world.wait()
    await world.pass_time(3700)
    told = report(world)
    assert told["valid"] is False
    assert told["problem"] is None
    assert told["in_use"]["expires_in_seconds"] == -100.0


# The same as metrics


@simulated()
async def test_figures_are_those_of_the_store_at_each_moment(world: World) -> None:
    figures = CredentialFigures(world.store, world.refresher)
    assert (figures.is_valid, figures.expires_at, figures.source) == (False, None, "fake")
    world.provider.hang()
    await world.store.start()
    await world.settle()
    world.wait()
    world.provider.release()
    await world.settle()
    assert figures.is_valid
    assert figures.expires_at == world.store.expires_at
    assert figures.fetches["success"] == 1
    assert figures.durations().keys() == {"total", "sts"}
    assert figures.breaker_state == "closed"
    assert figures.breaker_counts["total_successes"] == 1
    assert world.store.current is not None
    world.store.reject(world.store.current)
    assert figures.rejections_total == 1


@simulated(is_eager=False)
async def test_expired_ones_do_not_count_as_valid_where_nothing_is_fetched_ahead(world: World) -> None:
    figures = CredentialFigures(world.store, world.refresher)
    await world.store.start()
    seen = [figures.is_valid]
    world.wait()
    await world.pass_time(3302)  # set aside, to be renewed by the next request
    seen.append(figures.is_valid)
    await world.pass_time(3600)
    seen.append(figures.is_valid)
    assert seen == [False, True, False]


@simulated()
async def test_they_are_what_the_exposition_asks_for(world: World) -> None:
    await world.store.start()
    await world.settle()
    figures = CredentialFigures(world.store, world.refresher)
    exposition = Exposition(snapshot=Counters().snapshot, credentials=figures, clock=world.wall)
    text = exposition.render()[0].decode()
    assert 'aws_signing_proxy_credential_refreshes_total{outcome="success",source="fake"} 1.0' in text
    assert 'aws_signing_proxy_credential_refresh_duration_seconds_count{step="sts"} 1.0' in text
    assert 'auth_circuit_breaker_state{state="closed"} 1.0' in text
    assert "planted" not in text
    assert figures.breaker_state in BREAKER_STATES
    assert figures.breaker_counts.keys() == set(BREAKER_COUNTS)
