"""Clocks that jump, machines that sleep, and a background task that sleeps whenever there is nothing to do."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aws_signing_proxy.errors import InternalError
from tests.credentials.fake_provider import unavailable
from tests.credentials.simulation import World, simulated

HOUR = 3600.0


@simulated()
async def test_a_wall_clock_set_back_delays_no_fetch(world: World) -> None:
    await world.store.start()
    await world.settle()
    world.wall_offset = -24 * HOUR
    await world.pass_time(3301)
    assert world.request() == 2


@simulated()
async def test_a_wall_clock_set_forward_within_the_lifetime_fetches_at_once(world: World) -> None:
    await world.store.start()
    await world.settle()
    world.wall_offset = 3400
    await world.pass_time(1.1)
    assert world.request() == 2


@simulated()
async def test_a_machine_that_slept_beyond_the_expiry_fetches_when_it_wakes_and_requests_wait_for_that(
    world: World,
) -> None:
    """Its monotonic clock slept with it: only the wall clock tells."""
    await world.store.start()
    await world.settle()
    world.wall_offset = 24 * HOUR
    assert world.request() is None
    waiter = world.wait()
    await world.settle()
    assert waiter.told is True
    assert world.request() == 2


@simulated(is_local=True)
async def test_a_wall_clock_that_is_wrong_for_a_while_takes_no_credentials_away(world: World) -> None:
    await world.store.start()
    world.wall_offset = 2 * HOUR
    world.provider.failure = unavailable()
    await world.pass_time(5)
    assert isinstance(world.request(), InternalError)
    world.wall_offset = 0
    assert world.request() == 1


@simulated(failure_threshold=1000)
async def test_a_wall_clock_that_jumps_between_two_tries_changes_neither(world: World) -> None:
    world.provider.failure = unavailable()
    await world.store.start()
    await world.pass_time(8)
    fetches = world.provider.fetches
    for offset in (-HOUR, HOUR, 0):
        world.wall_offset = offset
        await world.pass_time(2)
    assert world.provider.fetches == fetches
    await world.pass_time(2)
    assert world.provider.fetches == fetches + 1


# Sleeping


@simulated()
async def test_with_valid_credentials_it_looks_once_a_second(world: World) -> None:
    await world.store.start()
    await world.pass_time(600)
    assert world.checks <= 602


@simulated(failure_threshold=1)
async def test_behind_an_open_breaker_it_looks_once_a_second(world: World) -> None:
    world.provider.failure = unavailable()
    await world.store.start()
    await world.pass_time(55)
    assert world.checks <= 58


@simulated(failure_threshold=1)
async def test_behind_an_open_breaker_a_service_s_word_and_expired_credentials_make_it_look_no_more_often(
    world: World,
) -> None:
    world.provider.lifetime_seconds = 20
    await world.store.start()
    await world.settle()
    world.provider.failure = unavailable()
    world.store.reload()
    await world.settle()
    assert world.store.current is not None
    world.store.reject(world.store.current)
    checks = world.checks
    await world.pass_time(55)
    assert world.checks - checks <= 58


@simulated(is_eager=False)
async def test_without_requests_a_lazy_one_looks_once_a_second(world: World) -> None:
    await world.store.start()
    await world.pass_time(50)
    world.wait()
    await world.settle()
    await world.pass_time(7200)
    assert world.provider.fetches == 1
    assert world.checks <= 7260


@simulated(is_eager=False, failure_threshold=1)
async def test_a_lazy_one_behind_an_open_breaker_looks_once_a_second_however_many_wait(world: World) -> None:
    world.provider.failure = unavailable()
    await world.store.start()
    world.wait()
    await world.settle()
    world.refresher.want()
    checks = world.checks
    await world.pass_time(55)
    assert world.checks - checks <= 58


@simulated(failure_threshold=1000)
async def test_between_two_tries_it_sleeps_though_requests_wait(world: World) -> None:
    world.provider.failure = unavailable()
    await world.store.start()
    for _ in range(20):
        world.wait()
    await world.pass_time(7)
    assert world.checks <= 20


@simulated(is_local=True)
async def test_expired_local_credentials_are_looked_at_once_a_second_and_read_ever_less_often(world: World) -> None:
    world.provider.lifetime_seconds = -1
    await world.store.start()
    await world.pass_time(120)
    assert world.checks <= 130
    assert world.provider.fetches <= 9


@pytest.mark.parametrize("is_eager", [True, False])
@pytest.mark.parametrize("lifetime", [0.5, 2.0, 10.0])
def test_leases_of_seconds_are_fetched_as_often_as_they_need_and_no_more(lifetime: float, *, is_eager: bool) -> None:
    @simulated(is_eager=is_eager)
    async def run(world: World) -> None:
        world.provider.lifetime_seconds = lifetime
        await world.store.start()
        if not is_eager:
            world.wait()
        await world.settle()
        for _ in range(600):
            await world.pass_time(lifetime / 20)
            assert isinstance(world.request(), int) or not is_eager
        assert world.provider.fetches <= 600 / 20 / 0.75 + 2

    run()


@settings(max_examples=25)
@given(
    happenings=st.lists(
        st.tuples(
            st.sampled_from(["pass", "fail", "recover", "reload", "reject", "back", "forward", "wait"]),
            st.floats(0.1, 2000),
        ),
        max_size=25,
    ),
    is_eager=st.booleans(),
)
def test_whatever_happens_it_never_spins_and_at_last_everybody_is_served(
    happenings: list[tuple[str, float]], *, is_eager: bool
) -> None:
    @simulated(is_eager=is_eager, poll_interval_seconds=5.0, failure_threshold=3)
    async def run(world: World) -> None:
        await world.store.start()
        for what, seconds in happenings:
            match what:
                case "fail":
                    world.provider.failure = unavailable()
                case "recover":
                    world.provider.failure = None
                case "reload":
                    world.store.reload()
                case "reject" if world.store.held is not None:
                    world.store.reject(world.store.held)
                case "back":
                    world.wall_offset -= seconds
                case "forward":
                    world.wall_offset += seconds
                case "wait":
                    world.wait()
                case _:
                    await world.pass_time(seconds)
        checks, began = world.checks, world.passed
        world.provider.failure = None
        await world.pass_time(130)
        waiter = world.wait()
        world.refresher.want()
        await world.pass_time(2)
        assert isinstance(world.request(), int) or waiter.told is True
        assert world.store.waiting == 0 or world.store.is_valid
        assert world.checks - checks <= (world.passed - began) + 40

    run()
