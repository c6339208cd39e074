"""When credentials are fetched, what a failure does to those in use, and what is logged and counted about it."""

from __future__ import annotations

import asyncio

from aws_signing_proxy.credentials.ledger import FetchOutcome
from aws_signing_proxy.credentials.refresher import Holder
from tests.credentials.fake_provider import unavailable
from tests.credentials.simulation import World, simulated


@simulated()
async def test_a_remote_source_is_asked_at_the_start_and_nobody_waits_for_it(world: World) -> None:
    world.provider.hang()
    await world.store.start()
    assert world.store.current is None
    await world.settle()
    assert world.refresher.is_fetching
    world.provider.release()
    await world.settle()
    assert world.request() == 1
    assert world.provider.fetches == 1


@simulated(is_local=True)
async def test_a_local_source_has_been_read_when_the_start_returns(world: World) -> None:
    await world.store.start()
    assert world.request() == 1


@simulated()
async def test_in_the_early_window_one_fetch_runs_while_requests_use_the_old_ones(world: World) -> None:
    await world.store.start()
    await world.pass_time(3299)
    assert world.provider.fetches == 1
    world.provider.hang()
    await world.pass_time(2)
    assert world.provider.fetches == 2
    assert world.refresher.is_fetching
    assert world.request() == 1
    assert world.problem() is None
    await world.pass_time(10)
    assert world.provider.fetches == 2
    world.provider.release()
    await world.settle()
    assert world.request() == 2


@simulated(chance=1.0)
async def test_chance_lets_the_window_begin_later(world: World) -> None:
    await world.store.start()
    await world.pass_time(3359)
    assert world.provider.fetches == 1
    await world.pass_time(2)
    assert world.provider.fetches == 2


@simulated()
async def test_a_failure_in_the_window_is_a_warning_and_counted_and_the_old_ones_stay(world: World) -> None:
    await world.store.start()
    await world.pass_time(3000)
    world.provider.failure = unavailable("its server is down")
    await world.pass_time(300.5)
    assert world.request() == 1
    assert world.problem() is None
    assert world.logger.levels == ["info", "warning"]
    _, event, fields = world.logger.lines[-1]
    assert event == "new credentials could not be had; the old ones stay in use"
    assert fields == {
        "provider": "fake",
        "in_use": "source 1",
        "valid_until": "2023-11-14T23:13:20Z",
        "reason": "the source: its server is down (Fill it)",
        "next_try_in_seconds": 1.0,
    }
    assert world.refresher.ledger.fetches[FetchOutcome.FAILED] == 1
    assert world.refresher.last_fetch is not None
    assert world.refresher.last_fetch.outcome is FetchOutcome.FAILED
    assert world.refresher.last_fetch.reason == fields["reason"]


@simulated(failure_threshold=1000)
async def test_a_source_that_comes_back_within_the_window_is_never_noticed(world: World) -> None:
    await world.store.start()
    await world.pass_time(3000)
    world.provider.failure = unavailable()
    for _ in range(580):
        await world.pass_time(1)
        assert world.request() == 1
    world.provider.failure = None
    await world.pass_time(15)
    assert world.request() == 2
    assert "no valid credentials" not in world.logger.events


@simulated()
async def test_a_success_is_logged_with_what_people_ask_for_and_no_more(world: World) -> None:
    await world.store.start()
    await world.settle()
    assert world.logger.lines == [
        (
            "info",
            "credentials loaded",
            {
                "provider": "fake",
                "source": "source 1",
                "access_key_id": "…IA-1",
                "expires_at": "2023-11-14T23:13:20Z",
                "refresh_at": "2023-11-14T23:08:20Z",
            },
        )
    ]
    await world.pass_time(3400)
    assert world.logger.lines[1][:2] == ("info", "credentials reloaded")
    assert world.refresher.ledger.fetches[FetchOutcome.SUCCESS] == 2


@simulated()
async def test_credentials_without_an_end_are_logged_without_one(world: World) -> None:
    world.provider.lifetime_seconds = None
    await world.store.start()
    await world.settle()
    fields = world.logger.lines[0][2]
    assert fields["expires_at"] is None
    assert fields["refresh_at"] is None


@simulated()
async def test_a_moment_that_no_calendar_has_stops_nothing(world: World) -> None:
    """A server may say anything; what cannot be written as a date must not end the background task."""
    world.provider.lifetime_seconds = 1e15
    await world.store.start()
    await world.settle()
    assert world.request() == 1
    world.provider.lifetime_seconds = 3600
    world.store.reload()
    await world.settle()
    assert world.request() == 2


@simulated(is_local=True)
async def test_a_failed_start_is_logged_and_kept_not_raised(world: World) -> None:
    world.provider.failure = unavailable()
    await world.store.start()
    assert world.store.current is None
    assert world.logger.levels == ["error"]
    assert world.logger.events == ["no valid credentials"]


@simulated(failure_threshold=1000)
async def test_a_failure_is_retried_ever_less_often_up_to_once_a_minute(world: World) -> None:
    world.provider.failure = unavailable()
    moments: list[int] = []
    world.provider.on_retrieve = lambda _: moments.append(round(world.passed))
    await world.store.start()
    await world.pass_time(300.5)
    assert moments == [0, 1, 3, 7, 15, 31, 63, 123, 183, 243]


@simulated(failure_threshold=1000)
async def test_every_failure_of_a_remote_source_is_logged(world: World) -> None:
    world.provider.failure = unavailable()
    await world.store.start()
    await world.pass_time(8)
    assert world.logger.events == ["no valid credentials"] * 4
    assert [fields["next_try_in_seconds"] for _, _, fields in world.logger.lines] == [1, 2, 4, 8]


@simulated(failure_threshold=1000)
async def test_after_a_success_the_delays_start_anew(world: World) -> None:
    world.provider.failure = unavailable()
    await world.store.start()
    await world.pass_time(20)
    world.provider.failure = None
    world.store.reload()
    await world.settle()
    world.provider.failure = unavailable()
    world.store.reload()
    await world.settle()
    assert world.logger.lines[-1][2]["next_try_in_seconds"] == 1.0


@simulated()
async def test_a_changed_source_is_asked_again_within_a_second_and_an_unchanged_one_is_not(world: World) -> None:
    world.provider.lifetime_seconds = None
    await world.store.start()
    await world.pass_time(1000)
    assert world.provider.fetches == 1
    world.provider.changed = True
    await world.pass_time(1.1)
    assert world.request() == 2
    assert world.logger.events == ["credentials loaded", "credentials reloaded"]


@simulated()
async def test_a_provider_that_cannot_tell_whether_it_changed_is_asked_by_the_delays(world: World) -> None:
    await world.store.start()
    await world.settle()
    world.provider.changed = OSError("planted")
    await world.pass_time(1.5)
    assert world.provider.fetches == 1
    assert world.problem() is None
    assert "OSError" in world.logger.lines[1][2]["reason"]
    await world.pass_time(1)
    assert world.provider.fetches == 2


@simulated()
async def test_a_provider_s_bug_is_logged_with_its_place_and_the_watch_goes_on(world: World) -> None:
    world.provider.failure = ValueError("planted-in-a-message")
    await world.store.start()
    await world.settle()
    assert "ValueError" in str(world.problem())
    assert "planted" not in str(world.problem())
    assert "fake_provider.py" in world.logger.lines[0][2]["frames"]
    world.provider.failure = None
    await world.pass_time(1.5)
    assert world.problem() is None


@simulated()
async def test_a_bug_of_ours_is_logged_with_its_place_and_the_watch_goes_on(world: World) -> None:
    """A task that ended would be noticed at the next expiry only, by every request at once."""
    real, calls, message = world.refresher._is_due, 0, "planted"

    def fail(holder: Holder) -> bool:
        nonlocal calls
        calls += 1
        raise ZeroDivisionError(message)

    await world.store.start()
    await world.settle()
    world.refresher._is_due = fail  # type: ignore[method-assign]
    await world.pass_time(10)
    world.refresher._is_due = real  # type: ignore[method-assign]
    assert 5 < calls < 12
    level, event, fields = world.logger.lines[-1]
    assert level == "error"
    assert "this is a bug" in event
    assert fields["error"] == "ZeroDivisionError"
    assert "refresher.py" in fields["frames"]
    await world.pass_time(3400)
    assert world.request() == 2


@simulated()
async def test_a_reload_is_heard_at_once_and_two_of_them_are_one_fetch(world: World) -> None:
    await world.store.start()
    await world.settle()
    world.store.reload()
    world.store.reload()
    await world.settle()
    assert world.request() == 2
    assert world.provider.forced == [False, True]


@simulated()
async def test_a_reload_during_a_fetch_waits_for_its_turn(world: World) -> None:
    world.provider.hang()
    await world.store.start()
    await world.settle()
    world.store.reload()
    await world.settle()
    assert world.provider.fetches == 1
    world.provider.release()
    await world.settle()
    assert world.request() == 2
    assert world.provider.forced == [False, True]


@simulated()
async def test_after_an_order_that_failed_what_the_provider_keeps_will_still_not_do(world: World) -> None:
    await world.store.start()
    await world.settle()
    world.provider.failure = unavailable()
    world.store.reload()
    await world.pass_time(4)
    world.provider.failure = None
    await world.pass_time(3600)
    assert world.provider.forced == [False, True, True, True, True, False]


@simulated()
async def test_expired_ones_never_replace_valid_ones(world: World) -> None:
    await world.store.start()
    await world.settle()
    world.provider.lifetime_seconds = -1
    world.store.reload()
    await world.settle()
    assert world.request() == 1
    assert world.problem() is None
    assert world.logger.levels == ["info", "warning"]
    assert world.logger.lines[-1][2]["reason"].startswith("those from source 2 expired at 2023-11-14T22:13:19Z")


@simulated()
async def test_where_there_are_none_expired_ones_are_held_so_that_people_are_told(world: World) -> None:
    world.provider.lifetime_seconds = -1
    await world.store.start()
    await world.settle()
    assert world.store.held is not None
    assert world.store.expires_at == world.store.held.expires_at
    assert world.problem() is not None
    world.provider.lifetime_seconds = 3600
    await world.pass_time(1.5)
    assert world.request() == 2


@simulated()
async def test_expired_ones_are_counted_as_refused_and_as_a_failure_by_the_breaker(world: World) -> None:
    world.provider.lifetime_seconds = -1
    await world.store.start()
    await world.settle()
    fetches = world.store.refresher.ledger.fetches
    assert {outcome: count for outcome, count in fetches.items() if count} == {"refused": 1}
    assert world.store.refresher.breaker.counts["consecutive_failures"] == 1


@simulated()
async def test_the_logs_learn_of_secrets_before_they_are_in_use(world: World) -> None:
    await world.store.start()
    await world.settle()
    world.store.reload()
    await world.settle()
    first, second = [(f"planted-secret-{number}", f"planted-token-{number}") for number in (1, 2)]
    assert world.secrets_in_use == [((), first), (first, second)]


@simulated()
async def test_stop_ends_a_fetch_in_its_middle_and_gives_back_what_was_lent(world: World) -> None:
    world.provider.hang()
    await world.store.start()
    await world.settle()
    stopping = asyncio.create_task(world.store.stop())
    await world.settle()
    assert not world.refresher.is_fetching
    assert world.provider.closes == 0
    world.provider.release()
    await stopping
    assert world.provider.closes == 1
    assert world.store.current is None
    assert world.logger.lines == []


@simulated()
async def test_stop_of_a_provider_that_hangs_takes_seconds_and_not_forever(world: World) -> None:
    world.provider.hang()
    await world.store.start()
    await world.settle()
    began = world.passed
    await world.store.stop()
    assert world.passed - began < 10
    assert world.provider.closes == 0


@simulated()
async def test_stop_is_harmless_before_the_start_and_twice(world: World) -> None:
    await world.store.stop()
    assert world.provider.closes == 0
    await world.store.start()
    await world.store.stop()
    await world.store.stop()
    assert world.provider.closes == 1


@simulated()
async def test_a_provider_that_a_given_up_thread_still_uses_is_not_asked_whether_it_changed(world: World) -> None:
    await world.store.start()
    await world.settle()
    world.provider.hang()
    world.store.reload()
    await world.pass_time(21)
    looks = world.provider.looks
    await world.pass_time(20)
    assert world.provider.looks == looks
    world.provider.release()
    await world.pass_time(70)
    assert world.provider.looks > looks
