"""The circuit breaker before a remote source, as requests, operators and readers of logs meet it."""

from __future__ import annotations

import threading

from aws_signing_proxy.credentials.outlook import Outlook
from aws_signing_proxy.errors import ErrorCode, InternalError
from tests.credentials.fake_provider import unavailable
from tests.credentials.simulation import World, simulated


async def open_the_circuit(world: World) -> None:
    """Let a source fail until the breaker opens."""
    world.provider.failure = unavailable("its server is down")
    await world.store.start()
    await world.until(lambda: world.circuit() == "open")


@simulated(failure_threshold=3)
async def test_it_opens_after_so_many_failures_and_keeps_every_fetch_away_for_its_time(world: World) -> None:
    await open_the_circuit(world)
    assert world.provider.fetches == 3
    await world.pass_time(59.9)
    assert world.provider.fetches == 3
    await world.pass_time(0.2)
    assert world.provider.fetches == 4


@simulated(failure_threshold=3)
async def test_those_who_wait_are_answered_when_it_opens_and_those_who_come_then_at_once(world: World) -> None:
    world.provider.failure = unavailable("its server is down")
    await world.store.start()
    await world.settle()
    waiters = [world.wait() for _ in range(3)]
    await world.pass_time(2.9)
    assert [waiter.told for waiter in waiters] == [None, None, None]
    await world.pass_time(0.2)
    for waiter in waiters:
        assert isinstance(waiter.told, InternalError)
        assert waiter.told.status == 503
        assert waiter.told.retry_after_seconds == 60
        assert waiter.told.detail == (
            "The proxy has no AWS credentials: the circuit breaker before fake is open after repeated failures and "
            "lets the next try through in 60 s; the last failure: the source: its server is down (Fill it)."
        )
    await world.pass_time(20)
    error = world.request()
    assert isinstance(error, InternalError)
    assert error.code is ErrorCode.CREDENTIALS_UNAVAILABLE
    assert error.retry_after_seconds == 40
    assert "lets the next try through in 40 s" in error.detail
    assert world.problem() == error.detail


@simulated(failure_threshold=3, breaker_timeout_seconds=5.0, patience_seconds=10.0)
async def test_open_means_an_answer_at_once_even_where_a_request_could_wait_for_the_trial(world: World) -> None:
    world.provider.failure = unavailable()
    await world.store.start()
    await world.settle()
    waiter = world.wait()
    await world.until(lambda: world.circuit() == "open")
    assert isinstance(waiter.told, InternalError)
    assert isinstance(world.request(), InternalError)
    await world.pass_time(4.5)
    assert isinstance(world.request(), InternalError)


@simulated(failure_threshold=3)
async def test_with_valid_credentials_nobody_notices(world: World) -> None:
    await world.store.start()
    await world.settle()
    world.provider.failure = unavailable()
    world.store.reload()
    await world.until(lambda: world.circuit() == "open")
    for _ in range(50):
        await world.pass_time(1)
        assert world.request() == 1
        assert world.problem() is None


@simulated(failure_threshold=1)
async def test_at_expiry_behind_an_open_breaker_the_answer_says_both(world: World) -> None:
    world.provider.lifetime_seconds = 100
    await world.store.start()
    await world.pass_time(70)
    world.provider.failure = unavailable()
    await world.pass_time(30)
    error = world.request()
    assert isinstance(error, InternalError)
    assert error.code is ErrorCode.CREDENTIALS_EXPIRED
    assert error.detail.startswith(
        "The AWS credentials from source 1 expired at 2023-11-14T22:15:00Z, and no new ones could be had: the circuit "
        "breaker before fake is open"
    )
    assert error.retry_after_seconds == 35


@simulated(failure_threshold=3)
async def test_the_trial_that_succeeds_closes_it_and_requests_are_answered_at_once_while_it_runs(world: World) -> None:
    await open_the_circuit(world)
    world.provider.failure = None
    world.provider.hang()
    await world.pass_time(60.1)
    assert world.circuit() == "half-open"
    error = world.request()
    assert isinstance(error, InternalError)
    assert error.retry_after_seconds == 1
    assert error.detail == (
        "The proxy has no AWS credentials: the circuit breaker before fake is half-open after repeated failures, and a "
        "try is under way; the last failure: the source: its server is down (Fill it)."
    )
    assert world.problem() == error.detail
    world.provider.release()
    await world.settle()
    assert world.request() == 1
    assert world.circuit() == "closed"
    assert world.refresher.seconds_until_breaker_closes is None


@simulated(failure_threshold=1, is_eager=False)
async def test_where_fetches_are_made_for_requests_one_waits_for_the_trial_that_it_causes_and_no_other(
    world: World,
) -> None:
    world.provider.failure = unavailable()
    await world.store.start()
    world.wait()
    await world.pass_time(60.1)
    world.provider.hang()
    assert world.request() is None
    waiter = world.wait()
    await world.settle()
    assert world.circuit() == "half-open"
    assert isinstance(world.request(), InternalError)
    world.provider.failure = None
    world.provider.release()
    await world.settle()
    assert waiter.told is True
    assert world.request() == 1


@simulated(failure_threshold=1, breaker_timeout_seconds=5.0)
async def test_without_credentials_nobody_ever_waits_for_a_source_that_stays_silent(world: World) -> None:
    world.provider.hang()
    await world.store.start()
    await world.until(lambda: world.circuit() == "open")
    for _ in range(300):
        await world.pass_time(0.1)
        assert isinstance(world.request(), InternalError)


@simulated(failure_threshold=3)
async def test_the_trial_that_fails_opens_it_again_and_answers_those_who_came_for_it(world: World) -> None:
    await open_the_circuit(world)
    world.provider.hang()
    await world.pass_time(60.1)
    waiter = world.wait()
    world.provider.release()
    await world.settle()
    assert isinstance(waiter.told, InternalError)
    assert world.circuit() == "open"
    await world.pass_time(59)
    assert world.provider.fetches == 4


@simulated(failure_threshold=3)
async def test_an_operator_s_order_goes_through_an_open_one(world: World) -> None:
    await open_the_circuit(world)
    await world.pass_time(10)
    world.provider.failure = None
    world.store.reload()
    await world.settle()
    assert world.request() == 1
    assert world.provider.forced == [False, False, False, True]
    assert world.circuit() == "closed"


@simulated(failure_threshold=3)
async def test_an_order_that_fails_opens_it_for_the_whole_time_again(world: World) -> None:
    await open_the_circuit(world)
    await world.pass_time(50)
    world.store.reload()
    await world.settle()
    assert world.circuit() == "open"
    await world.pass_time(55)
    assert world.provider.fetches == 4


@simulated(failure_threshold=3)
async def test_a_service_s_word_does_not_go_through_an_open_one(world: World) -> None:
    await world.store.start()
    await world.settle()
    world.provider.failure = unavailable()
    world.store.reload()
    await world.until(lambda: world.circuit() == "open")
    fetches = world.provider.fetches
    assert world.store.current is not None
    world.store.reject(world.store.current)
    await world.pass_time(50)
    assert world.provider.fetches == fetches
    world.provider.failure = None
    await world.pass_time(11)
    assert world.provider.fetches == fetches + 1
    assert world.request() == 2


@simulated(failure_threshold=3)
async def test_a_source_that_was_mended_does_not_wait_for_an_open_one(world: World) -> None:
    """Files are changed by people, who expect to see what comes of it."""
    await open_the_circuit(world)
    fetches = world.provider.fetches
    world.provider.failure = None
    world.provider.changed = True
    await world.pass_time(2)
    assert world.provider.fetches == fetches + 1
    assert world.circuit() == "closed"


@simulated(failure_threshold=2)
async def test_each_change_of_its_state_is_one_line(world: World) -> None:
    await open_the_circuit(world)
    world.provider.failure = None
    await world.pass_time(61)
    lines = [(level, event, fields) for level, event, fields in world.logger.lines if "breaker" in event]
    what = "the circuit breaker before the credentials' source is"
    assert lines == [
        ("warning", f"{what} open", {"provider": "fake", "tries_again_in_seconds": 60.0}),
        ("info", f"{what} half-open", {"provider": "fake", "tries_again_in_seconds": None}),
        ("info", f"{what} closed", {"provider": "fake", "tries_again_in_seconds": None}),
    ]


@simulated(failure_threshold=2)
async def test_it_counts_refusals_and_timeouts_too(world: World) -> None:
    world.provider.failure = unavailable(is_conclusive=True)
    await world.store.start()
    await world.settle()
    assert world.refresher.breaker.counts["consecutive_failures"] == 1
    world.provider.hang()
    await world.pass_time(21.5)
    assert world.circuit() == "open"


@simulated(is_local=True, failure_threshold=1)
async def test_a_local_source_has_none_before_it(world: World) -> None:
    world.provider.failure = unavailable()
    await world.store.start()
    await world.pass_time(100)
    assert world.circuit() == "closed"
    assert world.refresher.breaker.counts["requests"] == 0
    assert world.provider.fetches > 5


@simulated(failure_threshold=1, fetch_timeout_seconds=2.0)
async def test_a_source_that_hangs_is_tried_again_by_the_breaker_s_time_and_found_when_it_is_back(
    world: World,
) -> None:
    world.provider.hang()
    await world.store.start()
    await world.pass_time(300)
    assert world.provider.fetches == 1
    assert world.refresher.ledger.fetches["timeout"] == 5
    world.provider.release()
    await world.pass_time(61)
    assert world.request() == 2


@simulated(failure_threshold=3, breaker_timeout_seconds=1.0)
async def test_after_a_long_outage_the_next_trial_comes_when_the_breaker_says(world: World) -> None:
    """The delays after failures have grown to a minute by then: they must not come on top of it."""
    await open_the_circuit(world)
    await world.pass_time(120)
    error = world.request()
    assert isinstance(error, InternalError)
    assert error.retry_after_seconds == 1
    world.provider.failure = None
    await world.pass_time(1.2)
    assert world.circuit() == "closed"
    assert world.request() == 1


@simulated(failure_threshold=3)
async def test_what_asked_no_server_does_not_count(world: World) -> None:
    world.provider.asks = False
    world.provider.failure = unavailable("no such file", is_conclusive=True)
    await world.store.start()
    await world.pass_time(200)
    assert world.circuit() == "closed"
    assert world.refresher.breaker.counts["requests"] == 0
    fetches = world.provider.fetches
    assert 5 < fetches < 12
    world.provider.failure = None
    world.provider.changed = True
    await world.pass_time(1.1)
    assert world.request() == 1


@simulated(failure_threshold=3)
async def test_a_trial_that_could_ask_no_server_opens_it_again(world: World) -> None:
    """It has shown nothing about the server; to try at once again would be to try without end."""
    await open_the_circuit(world)
    fetches = world.provider.fetches
    world.provider.asks = False
    await world.pass_time(119)
    assert world.circuit() == "open"
    assert world.provider.fetches == fetches + 1


@simulated(failure_threshold=1)
async def test_a_source_that_became_local_closes_it_because_nothing_else_ever_would(world: World) -> None:
    await open_the_circuit(world)
    world.provider.failure = None
    world.provider.is_local = world.provider.changed = True
    await world.pass_time(1.1)
    assert world.request() == 1
    assert world.circuit() == "closed"
    assert world.refresher.breaker.counts["consecutive_failures"] == 0
    assert "the circuit breaker before the credentials' source is closed" in world.logger.events


@simulated()
async def test_a_source_that_becomes_local_while_a_fetch_begins_is_still_asked_in_a_thread(world: World) -> None:
    """What the breaker was told of the fetch, and where it is made, is one decision."""

    def change() -> None:
        world.provider.is_local = True

    world.store.on_begun = change  # type: ignore[method-assign]  # the moment between the two
    await world.store.start()
    await world.settle()
    assert world.provider.fetches == 1
    assert threading.get_ident() not in world.provider.threads


def test_between_the_end_of_the_breaker_s_time_and_its_trial_only_who_causes_the_trial_waits() -> None:
    outlook = Outlook("fake", False, True, 1.0, 10.0, was_fetched=True, retry_at=90.0, open_until=100.0)
    assert not outlook.is_worth_waiting(100.0)
    assert outlook._replace(is_eager=False).is_worth_waiting(100.0)
    assert not outlook._replace(is_eager=False).is_worth_waiting(99.0)
    assert not outlook._replace(is_eager=False, is_fetching=True, is_trial=True, open_until=None).is_worth_waiting(101)
