"""Without background refresh credentials are fetched when a request comes, and renewed when one comes in time."""

from __future__ import annotations

from aws_signing_proxy.errors import InternalError
from tests.credentials.fake_provider import unavailable
from tests.credentials.simulation import World, simulated


@simulated(is_eager=False)
async def test_nothing_is_fetched_at_the_start_and_the_proxy_is_ready_all_the_same(world: World) -> None:
    await world.store.start()
    await world.pass_time(600)
    assert world.provider.fetches == 0
    assert world.problem() is None
    assert not world.store.is_valid


@simulated(is_eager=False)
async def test_the_first_request_waits_for_the_fetch_that_it_causes(world: World) -> None:
    await world.store.start()
    await world.pass_time(60)
    assert world.request() is None
    waiter = world.wait()
    await world.settle()
    assert waiter.told is True
    assert world.request() == 1


@simulated(is_eager=False)
async def test_in_the_early_window_a_request_causes_a_fetch_and_goes_on_with_the_old_ones(world: World) -> None:
    await world.store.start()
    world.wait()
    await world.pass_time(3302)
    assert world.provider.fetches == 1
    assert world.problem() is None
    assert world.store.expires_at is not None
    world.provider.hang()
    assert world.request() == 1
    await world.settle()
    assert world.provider.fetches == 2
    assert world.request() == 1
    world.provider.release()
    await world.settle()
    assert world.request() == 2


@simulated(is_eager=False)
async def test_without_a_request_in_the_window_nothing_is_renewed(world: World) -> None:
    await world.store.start()
    world.wait()
    await world.pass_time(3200)
    assert world.request() == 1
    await world.pass_time(3600)
    assert world.provider.fetches == 1


@simulated(is_eager=False)
async def test_many_first_requests_at_once_do_not_count_as_a_request_of_the_next_window(world: World) -> None:
    """Those who come while the fetch runs want these credentials, not the next."""
    world.provider.hang()
    await world.store.start()
    world.wait()
    await world.settle()
    waiters = [world.wait() for _ in range(50)]
    world.provider.release()
    await world.pass_time(7200)
    assert all(waiter.told is True for waiter in waiters)
    assert world.provider.fetches == 1


@simulated(is_eager=False)
async def test_past_their_end_the_proxy_is_ready_again_because_only_a_request_fetches_others(world: World) -> None:
    """Not ready, it would be sent none, and would never be ready again."""
    await world.store.start()
    world.wait()
    await world.pass_time(7200)
    assert world.problem() is None
    assert not world.store.is_valid
    assert world.request() is None
    waiter = world.wait()
    await world.settle()
    assert waiter.told is True
    assert world.request() == 2


@simulated(is_eager=False)
async def test_after_a_failure_it_is_not_ready_until_the_next_try_is_due_and_then_a_request_may_try(
    world: World,
) -> None:
    world.provider.failure = unavailable(is_conclusive=True)
    await world.store.start()
    waiter = world.wait()
    await world.settle()
    assert isinstance(waiter.told, InternalError)
    assert world.problem() == "The proxy has no AWS credentials: the source: it is empty (Fill it)."
    assert isinstance(world.request(), InternalError)
    await world.pass_time(1.1)
    assert world.problem() is None
    assert world.request() is None
    await world.pass_time(100)
    assert world.provider.fetches == 1
    world.provider.failure = None
    waiter = world.wait()
    await world.settle()
    assert waiter.told is True


@simulated(is_eager=False, failure_threshold=1)
async def test_behind_an_open_breaker_it_is_not_ready_until_the_trial_is_due(world: World) -> None:
    world.provider.failure = unavailable()
    await world.store.start()
    world.wait()
    await world.pass_time(59)
    assert "circuit breaker" in str(world.problem())
    await world.pass_time(1.1)
    assert world.problem() is None
    assert world.provider.fetches == 1
    assert world.request() is None


@simulated(is_eager=False)
async def test_a_failure_in_the_window_waits_for_the_next_request(world: World) -> None:
    await world.store.start()
    world.wait()
    await world.pass_time(3302)
    world.provider.failure = unavailable()
    assert world.request() == 1
    await world.pass_time(100)
    assert world.provider.fetches == 2
    assert world.request() == 1
    await world.pass_time(1.1)
    assert world.provider.fetches == 3
    assert world.request() == 1


@simulated(is_eager=False)
async def test_an_order_fetches_without_any_request(world: World) -> None:
    await world.store.start()
    world.store.reload()
    await world.settle()
    assert world.request() == 1


@simulated(is_eager=False)
async def test_a_service_s_word_fetches_others_at_once(world: World) -> None:
    await world.store.start()
    world.wait()
    await world.settle()
    assert world.store.current is not None
    world.store.reject(world.store.current)
    await world.settle()
    assert world.request() == 2


@simulated(is_eager=False)
async def test_credentials_that_are_set_aside_are_still_those_in_use_for_whoever_asks(world: World) -> None:
    await world.store.start()
    world.wait()
    await world.pass_time(3302)
    held = world.store.held
    assert held is not None
    assert held is not world.store.current
    assert world.store.is_valid
    world.store.reject(held)
    await world.settle()
    assert world.store.held is world.store.current
    assert world.request() == 2


@simulated(is_eager=False)
async def test_what_is_set_aside_expires_there_too(world: World) -> None:
    await world.store.start()
    world.wait()
    await world.pass_time(3302)
    assert world.store.current is None
    await world.pass_time(400)
    assert world.request() is None


@simulated(is_eager=False, is_local=True)
async def test_a_local_source_is_read_at_the_start_and_watched_in_any_case(world: World) -> None:
    world.provider.lifetime_seconds = None
    await world.store.start()
    assert world.request() == 1
    world.provider.changed = True
    await world.pass_time(1.1)
    assert world.request() == 2
