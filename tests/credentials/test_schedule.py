"""When the next fetch is due: the early window, the delays after failures, and clocks that jump."""

from __future__ import annotations

import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from aws_signing_proxy.credentials.model import STS_LEAD_SECONDS, VAULT_LEAD_SECONDS, Credentials
from aws_signing_proxy.credentials.schedule import LONGEST_RETRY_SECONDS, Schedule, early_window_seconds, heeded_seconds

NOW = 1_700_000_000.0
MONOTONIC = 50.0


def lasting(
    seconds: float | None, *, lead_seconds: float = STS_LEAD_SECONDS, ask_again_in: float | None = None
) -> Credentials:
    return Credentials(
        "AKIA",
        "planted",
        expires_at=None if seconds is None else NOW + seconds,
        source="test",
        lead_seconds=lead_seconds,
        ask_again_at=None if ask_again_in is None else NOW + ask_again_in,
    )


def planned(credentials: Credentials, *, chance: float = 0.0) -> Schedule:
    schedule = Schedule()
    schedule.on_success(credentials, wall=NOW, monotonic=MONOTONIC, chance=chance)
    return schedule


def is_due(schedule: Schedule, after: float) -> bool:
    return schedule.is_due(wall=NOW + after, monotonic=MONOTONIC + after)


@pytest.mark.parametrize(
    ("lead", "lifetime", "window"),
    [
        (STS_LEAD_SECONDS, 3600, 300),
        (STS_LEAD_SECONDS, 43200, 300),
        (STS_LEAD_SECONDS, 900, 225),
        (STS_LEAD_SECONDS, 1200, 300),
        (VAULT_LEAD_SECONDS, 3600, 60),
        (VAULT_LEAD_SECONDS, 240, 60),
        (VAULT_LEAD_SECONDS, 4, 1),
        (VAULT_LEAD_SECONDS, 0, 0),
        (0.0, 3600, 0),
    ],
)
def test_the_early_window_is_the_source_s_lead_but_a_quarter_of_the_lifetime_at_most(
    lead: float, lifetime: float, window: float
) -> None:
    credentials = lasting(lifetime, lead_seconds=lead)
    assert early_window_seconds(credentials, lifetime, 0.0) == window
    schedule = planned(credentials)
    assert schedule.refresh_at == NOW + lifetime - window
    assert not is_due(schedule, lifetime - window - 0.001) or lifetime == 0
    assert is_due(schedule, lifetime - window)


def test_chance_makes_the_window_a_fifth_shorter_at_most() -> None:
    assert early_window_seconds(lasting(3600), 3600, 1.0) == pytest.approx(240)
    assert planned(lasting(3600), chance=0.5).refresh_at == pytest.approx(NOW + 3600 - 270)


@given(lead=st.floats(0, 1e5), lifetime=st.floats(0, 1e8), chance=st.floats(0, 1))
def test_the_window_is_never_longer_than_lead_and_quarter_nor_shorter_than_four_fifths_of_them(
    lead: float, lifetime: float, chance: float
) -> None:
    window = early_window_seconds(lasting(lifetime, lead_seconds=lead), lifetime, chance)
    longest = min(lead, lifetime / 4)
    assert 0 <= window <= longest
    assert window >= longest * 0.8 * (1 - 1e-9)


@given(lifetime=st.floats(0.01, 1e7), chance=st.floats(0, 1), share=st.floats(0, 0.74))
def test_nothing_is_due_in_the_first_three_quarters_of_a_life_and_something_is_before_its_end(
    lifetime: float, chance: float, share: float
) -> None:
    schedule = planned(lasting(lifetime), chance=chance)
    assert not is_due(schedule, lifetime * share)
    assert is_due(schedule, lifetime)


def test_credentials_without_an_end_are_never_due() -> None:
    schedule = planned(lasting(None))
    assert schedule.refresh_at is None
    assert not is_due(schedule, 1e9)
    assert schedule.seconds_until_due(wall=NOW, monotonic=MONOTONIC) == math.inf


def test_a_new_schedule_has_nothing_planned() -> None:
    schedule = Schedule()
    assert not is_due(schedule, 0)
    assert schedule.seconds_until_due(wall=NOW, monotonic=MONOTONIC) == math.inf


def test_a_source_is_asked_again_when_it_says_so_though_its_credentials_name_no_end() -> None:
    schedule = planned(lasting(None, ask_again_in=100))
    assert schedule.refresh_at == NOW + 100
    assert not is_due(schedule, 99)
    assert is_due(schedule, 100)


def test_of_the_window_and_the_moment_that_the_source_names_the_earlier_counts() -> None:
    assert planned(lasting(3600, ask_again_in=100)).refresh_at == NOW + 100
    assert planned(lasting(3600, ask_again_in=3500)).refresh_at == NOW + 3300


@pytest.mark.parametrize("moment", [0.0, -1000.0, 0.5])
def test_a_source_that_names_a_moment_in_the_past_is_not_asked_without_end(moment: float) -> None:
    assert planned(lasting(None, ask_again_in=moment)).refresh_at == NOW + 1


def test_a_wall_clock_that_is_set_back_does_not_delay_the_fetch() -> None:
    schedule = planned(lasting(3600))
    assert not schedule.is_due(wall=NOW - 7200, monotonic=MONOTONIC + 3299)
    assert schedule.is_due(wall=NOW - 7200 + 3300, monotonic=MONOTONIC + 3300)
    assert schedule.seconds_until_due(wall=NOW - 7200, monotonic=MONOTONIC) == 3300


def test_a_wall_clock_that_is_set_forward_makes_it_due_at_once() -> None:
    schedule = planned(lasting(3600))
    assert schedule.is_due(wall=NOW + 3400, monotonic=MONOTONIC + 1)
    assert schedule.seconds_until_due(wall=NOW + 3400, monotonic=MONOTONIC + 1) == 0


def test_a_machine_that_slept_fetches_when_it_wakes_though_its_monotonic_clock_slept_too() -> None:
    schedule = planned(lasting(3600))
    assert schedule.is_due(wall=NOW + 86400, monotonic=MONOTONIC)


@given(wall=st.floats(-1e6, 1e6), monotonic=st.floats(0, 1e6), lifetime=st.floats(1, 1e5))
def test_whatever_the_clocks_say_the_time_until_due_is_zero_exactly_when_it_is_due(
    wall: float, monotonic: float, lifetime: float
) -> None:
    schedule = planned(lasting(lifetime))
    now = {"wall": NOW + wall, "monotonic": MONOTONIC + monotonic}
    assert schedule.is_due(**now) == (schedule.seconds_until_due(**now) == 0)


# Failures


def failed(times: int, held: Credentials | None = None, *, chance: float = 0.0, after: float = 0.0) -> Schedule:
    schedule = Schedule()
    for _ in range(times):
        schedule.on_failure(held, wall=NOW + after, monotonic=MONOTONIC + after, chance=chance)
    return schedule


@pytest.mark.parametrize(("times", "delay"), [(1, 1), (2, 2), (3, 4), (4, 8), (5, 16), (6, 32), (7, 60), (8, 60)])
def test_the_delay_doubles_with_each_failure_up_to_a_minute(times: int, delay: float) -> None:
    schedule = failed(times)
    assert schedule.failures == times
    assert schedule.retry_at == MONOTONIC + delay
    assert not is_due(schedule, delay - 0.001)
    assert is_due(schedule, delay)
    assert schedule.seconds_until_due(wall=NOW, monotonic=MONOTONIC) == delay
    assert schedule.seconds_until_due(wall=NOW, monotonic=MONOTONIC + 1000) == 0


def test_a_million_failures_are_no_more_than_a_minute() -> None:
    schedule = failed(1)
    schedule._delays = 1_000_000
    schedule.on_failure(None, wall=NOW, monotonic=MONOTONIC, chance=0.0)
    assert schedule.retry_at == MONOTONIC + LONGEST_RETRY_SECONDS


def test_chance_takes_up_to_a_fifth_off_the_delay() -> None:
    assert failed(3, chance=1.0).retry_at == pytest.approx(MONOTONIC + 3.2)


def test_valid_credentials_that_are_about_to_end_are_tried_for_sooner() -> None:
    assert failed(7, lasting(40)).retry_at == MONOTONIC + 10
    assert failed(7, lasting(4)).retry_at == MONOTONIC + 1
    assert failed(7, lasting(2)).retry_at == MONOTONIC + 0.5


def test_the_many_tries_before_the_end_do_not_make_those_after_it_rare() -> None:
    held = lasting(1)
    schedule = failed(9, held)
    schedule.on_failure(held, wall=NOW + 2, monotonic=MONOTONIC + 2, chance=0.0)
    assert schedule.retry_at == MONOTONIC + 2 + 1
    schedule.on_failure(held, wall=NOW + 3, monotonic=MONOTONIC + 3, chance=0.0)
    assert schedule.retry_at == MONOTONIC + 3 + 2


def test_but_not_more_often_than_ten_times_a_second() -> None:
    assert failed(7, lasting(0.01)).retry_at == pytest.approx(MONOTONIC + 0.1)


@pytest.mark.parametrize("held", [lasting(None), lasting(86400), lasting(0), lasting(-5)])
def test_credentials_that_have_long_to_live_or_none_at_all_make_no_hurry(held: Credentials) -> None:
    assert failed(3, held).retry_at == MONOTONIC + 4


@given(times=st.integers(1, 50), chance=st.floats(0, 1), rest=st.none() | st.floats(-100, 1e6))
def test_a_delay_is_never_below_a_tenth_of_a_second_nor_beyond_a_minute(
    times: int, chance: float, rest: float | None
) -> None:
    delay = failed(times, lasting(rest), chance=chance).retry_at - MONOTONIC
    assert 0.0999 <= delay <= LONGEST_RETRY_SECONDS


@given(rest=st.floats(1.0, 1e4), chance=st.floats(0, 1))
def test_before_valid_credentials_end_there_is_always_another_try(rest: float, chance: float) -> None:
    """However many have failed before: each leaves three quarters of the rest for those that follow."""
    schedule = failed(30, lasting(rest), chance=chance)
    assert is_due(schedule, rest * 0.2501)


@pytest.mark.parametrize(
    ("retry_after", "held", "heeded"),
    [
        (None, None, 0),
        (30.0, None, 30),
        (1e9, None, 300),
        (30.0, lasting(None), 30),
        (30.0, lasting(3600), 30),
        (30.0, lasting(40), 10),
        (30.0, lasting(-5), 30),
    ],
)
def test_a_server_that_wants_to_be_left_alone_is_while_that_is_no_mistake_and_there_is_time(
    retry_after: float | None, held: Credentials | None, heeded: float
) -> None:
    assert heeded_seconds(retry_after, held, wall=NOW) == heeded


@pytest.mark.parametrize(
    ("seconds", "chance", "delay"), [(0, 0, 1), (0.5, 0, 1), (30, 0, 30), (30, 1, 36), (300, 0, 300)]
)
def test_the_delay_is_at_least_what_is_heeded_and_chance_adds_to_that(
    seconds: float, chance: float, delay: float
) -> None:
    schedule = Schedule()
    schedule.on_failure(None, wall=NOW, monotonic=MONOTONIC, chance=chance, at_least_seconds=seconds)
    assert schedule.retry_at == MONOTONIC + delay


def test_a_success_ends_the_delays() -> None:
    schedule = failed(5)
    schedule.on_success(lasting(3600), wall=NOW, monotonic=MONOTONIC, chance=0.0)
    assert schedule.failures == 0
    assert not is_due(schedule, 16)
    schedule.on_failure(None, wall=NOW, monotonic=MONOTONIC, chance=0.0)
    assert schedule.retry_at == MONOTONIC + 1


def test_after_a_failure_in_the_window_the_delay_counts_and_not_the_window() -> None:
    schedule = planned(lasting(3600))
    schedule.on_failure(lasting(3600), wall=NOW + 3300, monotonic=MONOTONIC + 3300, chance=0.0)
    assert not is_due(schedule, 3300.5)
    assert is_due(schedule, 3301)


@given(jump=st.floats(-1e6, 1e6))
def test_a_wall_clock_that_jumps_changes_no_delay(jump: float) -> None:
    assume(jump)
    schedule = failed(3)
    assert not schedule.is_due(wall=NOW + jump, monotonic=MONOTONIC + 3.9)
    assert schedule.is_due(wall=NOW + jump, monotonic=MONOTONIC + 4)
