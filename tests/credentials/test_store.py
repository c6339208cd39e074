"""The one object that owns credentials: what requests see, who waits for how long, and what people are told."""

from __future__ import annotations

from aws_signing_proxy.credentials.model import Credentials
from aws_signing_proxy.errors import ErrorCode, InternalError
from tests.credentials.fake_provider import unavailable
from tests.credentials.simulation import NOW, World, simulated
from tests.credentials.stores import FakeWaiter


@simulated(is_local=True)
async def test_after_the_start_the_credentials_are_one_attribute(world: World) -> None:
    world.provider.lifetime_seconds = None
    assert world.problem() == "The proxy has no AWS credentials: they have not been fetched yet."
    await world.store.start()
    assert world.store.current is not None
    assert world.store.current.access_key_id == "AKIA-1"
    assert world.problem() is None
    assert world.store.is_valid
    assert world.store.expires_at is None


@simulated(is_local=True)
async def test_without_credentials_a_request_is_answered_with_the_reason_and_when_to_come_back(world: World) -> None:
    world.provider.failure = unavailable()
    await world.store.start()
    error = world.request()
    assert isinstance(error, InternalError)
    assert error.code is ErrorCode.CREDENTIALS_UNAVAILABLE
    assert error.status == 503
    assert error.detail == "The proxy has no AWS credentials: the source: it is empty (Fill it)."
    assert error.detail == world.problem()
    assert error.retry_after_seconds == 1
    await world.pass_time(3.1)
    error = world.store.unavailable(world.wall())
    assert error.retry_after_seconds == 4


@simulated(is_local=True)
async def test_expired_credentials_stay_known_but_are_a_problem(world: World) -> None:
    world.provider.lifetime_seconds = 10
    await world.store.start()
    assert world.store.expires_at == NOW + 10
    world.provider.failure = unavailable("it was deleted")
    await world.pass_time(10)
    error = world.request()
    assert isinstance(error, InternalError)
    assert error.code is ErrorCode.CREDENTIALS_EXPIRED
    assert error.detail == (
        "The AWS credentials from source 1 expired at 2023-11-14T22:13:30Z, and no new ones could be had: "
        "the source: it was deleted (Fill it)."
    )
    assert world.problem() == error.detail
    assert not world.store.is_valid
    assert world.store.expires_at == NOW + 10


@simulated(is_local=True)
async def test_local_credentials_that_came_expired_are_to_be_replaced_where_they_are(world: World) -> None:
    world.provider.lifetime_seconds = 0
    await world.store.start()
    error = world.request()
    assert isinstance(error, InternalError)
    assert error.code is ErrorCode.CREDENTIALS_EXPIRED
    assert error.detail == (
        "The AWS credentials from source 1 expired at 2023-11-14T22:13:20Z: put new ones there "
        "(for environment variables, restart the proxy)."
    )
    assert world.logger.levels == ["error"]


@simulated()
async def test_remote_credentials_that_came_expired_are_told_as_that(world: World) -> None:
    world.provider.lifetime_seconds = 0
    await world.store.start()
    await world.settle()
    error = world.request()
    assert isinstance(error, InternalError)
    assert error.code is ErrorCode.CREDENTIALS_EXPIRED
    assert error.detail == (
        "The proxy has no valid AWS credentials: those from source 1 expired at 2023-11-14T22:13:20Z, and it is "
        "2023-11-14T22:13:20Z by this machine's clock (Check that clock, and why the source hands out what is over)."
    )


@simulated()
async def test_credentials_that_expired_while_the_machine_slept_are_being_fetched(world: World) -> None:
    await world.store.start()
    await world.settle()
    world.wall_offset = 7200
    error = world.store.unavailable(world.wall())
    assert error.detail == (
        "The AWS credentials from source 1 expired at 2023-11-14T23:13:20Z, and new ones are being fetched."
    )
    assert error.retry_after_seconds == 1


@simulated(is_local=True)
async def test_the_end_of_local_credentials_is_logged_once(world: World) -> None:
    world.provider.lifetime_seconds = 10
    await world.store.start()
    world.provider.failure = unavailable()
    await world.pass_time(100)
    assert world.logger.events == [
        "credentials loaded",
        "new credentials could not be had; the old ones stay in use",
        "no valid credentials",
    ]
    world.provider.failure = None
    await world.pass_time(60)
    assert world.problem() is None


@simulated(is_local=True)
async def test_a_failed_re_read_keeps_the_old_ones_and_is_logged_once(world: World) -> None:
    world.provider.lifetime_seconds = None
    await world.store.start()
    world.provider.failure = unavailable("it was deleted")
    world.provider.changed = True
    await world.pass_time(100)
    assert world.request() == 1
    assert world.problem() is None
    assert world.logger.levels == ["info", "warning"]
    assert world.logger.lines[-1][2]["in_use"] == "source 1"
    world.provider.failure = unavailable("it is half a file")
    world.provider.changed = True
    await world.pass_time(2)
    assert world.logger.levels == ["info", "warning", "warning"]


# Those who wait


@simulated()
async def test_fifty_first_requests_make_one_fetch_and_are_told_together_in_their_order(world: World) -> None:
    world.provider.hang()
    await world.store.start()
    await world.settle()
    waiters = [world.wait() for _ in range(50)]
    await world.pass_time(5)
    assert world.store.waiting == 50
    world.provider.release()
    await world.settle()
    assert world.told == waiters
    assert all(waiter.told is True for waiter in waiters)
    assert world.store.waiting == 0
    assert world.provider.fetches == 1


@simulated(failure_threshold=1000)
async def test_past_the_expiry_requests_wait_for_the_fetch_and_go_on_with_what_it_brings(world: World) -> None:
    world.provider.lifetime_seconds = 100
    await world.store.start()
    await world.pass_time(70)
    world.provider.hang()
    await world.pass_time(12)
    world.wall_offset = 30
    assert world.request() is None
    waiters = [world.wait() for _ in range(3)]
    await world.settle()
    assert world.told == []
    world.provider.release()
    await world.settle()
    assert world.told == waiters
    assert world.request() == 2


@simulated()
async def test_a_refusal_answers_those_who_wait_at_once(world: World) -> None:
    world.provider.hang()
    await world.store.start()
    waiters = [world.wait() for _ in range(3)]
    await world.settle()
    world.provider.failure = unavailable("its server said 403", is_conclusive=True)
    world.provider.release()
    await world.settle()
    assert world.told == waiters
    for waiter in waiters:
        assert isinstance(waiter.told, InternalError)
        assert waiter.told.detail == "The proxy has no AWS credentials: the source: its server said 403 (Fill it)."
        assert waiter.told.retry_after_seconds == 1
    assert world.provider.fetches == 1


@simulated()
async def test_expired_ones_are_nothing_to_go_on_with(world: World) -> None:
    world.provider.lifetime_seconds = -1
    world.provider.hang()
    await world.store.start()
    waiter = world.wait()
    await world.settle()
    world.provider.release()
    await world.settle()
    assert isinstance(waiter.told, InternalError)
    assert waiter.told.code is ErrorCode.CREDENTIALS_EXPIRED


@simulated()
async def test_after_a_passing_failure_they_wait_on_where_the_next_try_is_near(world: World) -> None:
    world.provider.failure = unavailable("its server is down")
    await world.store.start()
    waiter = world.wait()
    await world.settle()
    assert world.told == []
    assert world.store.waiting == 1
    world.provider.failure = None
    await world.pass_time(1)
    assert waiter.told is True
    assert world.provider.fetches == 2


@simulated(failure_threshold=1000, patience_seconds=5.0)
async def test_and_are_answered_where_it_is_not(world: World) -> None:
    world.provider.failure = unavailable("its server is down")
    await world.store.start()
    waiter = world.wait()
    await world.pass_time(6.9)
    assert world.told == []
    await world.pass_time(0.2)
    assert isinstance(waiter.told, InternalError)
    assert waiter.told.retry_after_seconds == 8
    assert isinstance(world.request(), InternalError)
    await world.pass_time(3.5)
    assert world.request() is None


@simulated()
async def test_one_who_left_is_not_told(world: World) -> None:
    world.provider.hang()
    await world.store.start()
    gone, there = world.wait(), world.wait()
    world.store.leave(gone)
    world.store.leave(gone)
    world.provider.release()
    await world.settle()
    assert world.told == [there]


@simulated()
async def test_one_who_leaves_because_of_what_another_was_told_is_not_told_either(world: World) -> None:
    class Leading(FakeWaiter):
        def on_credentials(self) -> None:
            super().on_credentials()
            world.store.leave(follower)

        def on_credentials_failed(self, error: InternalError) -> None:
            super().on_credentials_failed(error)
            world.store.leave(follower)

    for failure in (None, unavailable(is_conclusive=True)):
        world.told.clear()
        world.provider.failure = failure
        world.provider.hang()
        if not world.provider.fetches:
            await world.store.start()
        world.store.reload()
        await world.settle()
        leading = Leading(world.told)
        world.store.wait(leading)
        follower, last = world.wait(), world.wait()
        world.provider.release()
        await world.settle()
        assert world.told == [leading, last]


@simulated()
async def test_one_who_waits_again_when_it_is_told_is_told_the_next_time(world: World) -> None:
    class Returning(FakeWaiter):
        def on_credentials(self) -> None:
            if not self.told_in_order:
                self.told_in_order.append(self)
                world.store.wait(self)
            else:
                super().on_credentials()

    world.provider.hang()
    await world.store.start()
    returning = Returning()
    world.store.wait(returning)
    world.provider.release()
    await world.settle()
    assert returning.told is None
    assert world.store.waiting == 1
    world.store.reload()
    await world.settle()
    assert returning.told is True


# A service's word


@simulated()
async def test_a_service_that_refuses_the_credentials_in_use_causes_one_forced_fetch(world: World) -> None:
    await world.store.start()
    await world.settle()
    refused = world.store.current
    assert refused is not None
    for _ in range(100):
        world.store.reject(refused)
    assert world.request() == 1
    await world.settle()
    assert world.request() == 2
    assert world.provider.forced == [False, True]
    assert world.refresher.ledger.rejections_total == 1
    assert world.logger.lines[1] == (
        "warning",
        "the service says that the credentials are expired or unknown; fetching others",
        {"provider": "fake", "access_key_id": "…IA-1"},
    )
    world.store.reject(refused)
    await world.pass_time(20)
    assert world.provider.fetches == 2


@simulated()
async def test_fresh_keys_that_a_service_does_not_know_yet_are_kept_until_it_has_had_time_to_learn_of_them(
    world: World,
) -> None:
    world.provider.makes_users = True
    await world.store.start()
    await world.settle()
    began = world.passed
    while world.request() == 1:
        assert world.store.current is not None
        world.store.reject(world.store.current)
        await world.pass_time(0.5)
    assert 59 <= world.passed - began <= 61
    assert world.provider.fetches == 2
    assert world.provider.refused == [False, True]
    assert world.refresher.ledger.rejections_total == 1
    # A service that knows none of them gets one a minute.
    for _ in range(1200):
        assert world.store.current is not None
        world.store.reject(world.store.current)
        await world.pass_time(0.5)
    assert 11 <= world.provider.fetches <= 13


@simulated()
async def test_what_is_refused_stays_so_for_the_source_until_it_gives_others(world: World) -> None:
    await world.store.start()
    await world.settle()
    assert world.store.current is not None
    world.provider.failure = unavailable()
    world.store.reject(world.store.current)
    await world.pass_time(0.5)
    world.provider.failure = None
    world.store.reload()
    await world.settle()
    world.store.reload()
    await world.settle()
    assert world.provider.forced == [False, True, True, True]
    assert world.provider.refused == [False, True, True, False]


@simulated()
async def test_the_same_set_is_refused_once_however_often_the_source_gives_it(world: World) -> None:
    await world.store.start()
    await world.settle()
    for _ in range(10):
        assert world.store.current is not None
        world.store.reject(world.store.current)
        world.provider.given = 0
        await world.pass_time(15)
    assert world.provider.fetches == 2


@simulated()
async def test_a_service_that_refuses_whatever_it_is_sent_causes_a_fetch_every_ten_seconds_at_most(
    world: World,
) -> None:
    await world.store.start()
    await world.settle()
    for _ in range(600):
        assert world.store.current is not None
        world.store.reject(world.store.current)
        await world.pass_time(0.1)
    assert 6 <= world.provider.fetches <= 7
    assert world.refresher.ledger.rejections_total == world.provider.fetches - 1


@simulated()
async def test_after_a_refusal_the_source_is_told_that_what_it_keeps_will_not_do_until_it_gives_others(
    world: World,
) -> None:
    await world.store.start()
    await world.settle()
    assert world.store.current is not None
    world.provider.failure = unavailable()
    world.store.reject(world.store.current)
    await world.pass_time(1.5)
    assert world.request() == 1
    world.provider.failure = None
    await world.pass_time(2)
    assert world.request() == 2
    assert world.provider.forced == [False, True, True, True]


@simulated()
async def test_neither_a_store_nor_what_it_tells_gives_away_a_secret(world: World) -> None:
    world.provider.lifetime_seconds = 5
    await world.store.start()
    await world.settle()
    world.wall_offset = 10
    store = world.store
    text = f"{store!r} {store.held!r} {store.problem} {store.unavailable(world.wall())!r} {world.refresher!r}"
    assert "planted" not in text


class Follower:
    """Is told what comes of each fetch."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def on_begun(self) -> None:
        self.heard.append("begun")

    def accept(self, fetched: Credentials) -> None:
        self.heard.append(f"accept {fetched.access_key_id}")

    def set_aside(self) -> None:
        self.heard.append("set aside")

    def on_failed(self, *, is_hopeless: bool) -> None:
        self.heard.append("hopeless" if is_hopeless else "failed")


@simulated()
async def test_a_follower_is_told_of_every_fetch_also_where_nobody_waits_here(world: World) -> None:
    world.store.follower = follower = Follower()
    world.provider.hang()
    await world.store.start()
    await world.settle()
    assert follower.heard == ["begun"]
    world.provider.release()
    await world.settle()
    assert follower.heard == ["begun", "accept AKIA-1"]
    world.provider.failure = unavailable("its server said 403", is_conclusive=True)
    world.store.reload()
    await world.settle()
    assert follower.heard[2:] == ["begun", "hopeless"]


@simulated(is_eager=False)
async def test_a_follower_is_told_once_that_credentials_are_set_aside(world: World) -> None:
    world.store.follower = follower = Follower()
    await world.store.start()
    world.wait()
    await world.pass_time(3400)
    assert follower.heard == ["begun", "accept AKIA-1", "set aside"]
    assert world.request() == 1
    await world.settle()
    assert follower.heard[3:] == ["begun", "accept AKIA-2"]
