"""Sources that are slow, or want to be left alone: what that costs requests, and when they are asked again."""

from __future__ import annotations

from aws_signing_proxy.credentials.fetch import Fetch
from aws_signing_proxy.errors import InternalError
from tests.credentials.fake_provider import unavailable
from tests.credentials.simulation import World, simulated


def tell_to_come_back_after(world: World, seconds: float) -> None:
    """Let the source's server answer every fetch with this Retry-After."""
    world.provider.failure = unavailable("its server is busy")

    def answer(fetch: Fetch) -> None:
        fetch.retry_after_seconds = seconds

    world.provider.on_retrieve = answer


# Requests that a service refused


async def reject(world: World) -> None:
    assert world.store.held is not None
    world.store.reject(world.store.held)
    await world.settle()


@simulated()
async def test_a_refused_request_waits_for_a_fetch_that_has_just_begun(world: World) -> None:
    await world.store.start()
    await world.settle()
    world.provider.hang()
    await reject(world)
    assert world.store.is_renewing
    await world.pass_time(4.9)
    assert world.store.is_renewing


@simulated()
async def test_while_a_source_is_silent_those_who_come_later_do_not_wait_for_it(world: World) -> None:
    await world.store.start()
    await world.settle()
    world.provider.hang()
    await reject(world)
    await world.pass_time(5)
    for _ in range(100):
        assert not world.store.is_renewing
        await world.pass_time(1)
    world.provider.release()
    await world.until(lambda: world.request() == 3)


@simulated()
async def test_after_a_failed_fetch_a_refused_request_is_not_held_up_by_the_next_one(world: World) -> None:
    await world.store.start()
    await world.settle()
    world.provider.failure = unavailable()
    await reject(world)
    world.provider.hang()
    assert not world.store.is_renewing
    await world.pass_time(1.1)
    assert world.refresher.is_fetching
    assert not world.store.is_renewing


@simulated(is_local=True)
async def test_a_local_source_costs_no_wait_and_is_read_for_a_refused_request_though_it_failed(world: World) -> None:
    await world.store.start()
    world.provider.failure = unavailable()
    await reject(world)
    await world.pass_time(11)
    assert world.store.held is not None
    world.refresher._rejected = None  # as after another set
    world.store.reject(world.store.held)
    assert world.store.is_renewing


# Retry-After


@simulated()
async def test_a_server_s_retry_after_is_heeded_and_requests_are_told_it(world: World) -> None:
    tell_to_come_back_after(world, 30.0)
    await world.store.start()
    await world.settle()
    error = world.request()
    assert isinstance(error, InternalError)
    assert error.retry_after_seconds == 30
    for number in (1, 2, 3):
        await world.pass_time(29.5)
        assert world.provider.fetches == number
        await world.pass_time(0.6)
        assert world.provider.fetches == number + 1
    assert world.logger.lines[0][2]["next_try_in_seconds"] == 30.0


@simulated()
async def test_a_retry_after_of_hours_is_heeded_for_five_minutes(world: World) -> None:
    tell_to_come_back_after(world, 7200.0)
    await world.store.start()
    await world.pass_time(299)
    assert world.provider.fetches == 1
    await world.pass_time(2)
    assert world.provider.fetches == 2


@simulated()
async def test_it_is_not_heeded_where_credentials_would_end_meanwhile(world: World) -> None:
    world.provider.lifetime_seconds = 100
    await world.store.start()
    await world.pass_time(70)
    tell_to_come_back_after(world, 3600.0)
    await world.pass_time(8)
    world.provider.on_retrieve = world.provider.failure = None
    assert world.provider.fetches == 2
    await world.pass_time(5)
    assert world.request() == 2


@simulated(failure_threshold=1, breaker_timeout_seconds=10.0)
async def test_an_open_circuit_heeds_it_too(world: World) -> None:
    tell_to_come_back_after(world, 45.0)
    await world.store.start()
    await world.settle()
    assert world.circuit() == "open"
    error = world.request()
    assert isinstance(error, InternalError)
    assert error.retry_after_seconds == 45
    assert "lets the next try through in 45 s" in error.detail
    await world.pass_time(44)
    assert world.provider.fetches == 1
    await world.pass_time(2)
    assert world.provider.fetches == 2


@simulated()
async def test_an_operator_s_order_does_not_wait_for_it(world: World) -> None:
    tell_to_come_back_after(world, 300.0)
    await world.store.start()
    await world.settle()
    world.provider.failure = None
    world.store.reload()
    await world.settle()
    assert world.request() == 1
