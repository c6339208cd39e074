"""The service's clock: what a refusal teaches, what proves it, and what never counts."""

from __future__ import annotations

import logging

import pytest

from aws_signing_proxy.proxy.service_clock import ServiceClock

HOUR = 3600.0


@pytest.fixture(name="clock")
def _clock() -> ServiceClock:
    return ServiceClock("service.test:443")


def _warnings(caplog: pytest.LogCaptureFixture) -> int:
    return sum(record.levelno == logging.WARNING for record in caplog.records)


def test_what_a_refusal_shows_is_tried_at_once_and_believed_when_it_is_accepted(clock: ServiceClock) -> None:
    clock.on_refused(0.0, HOUR)
    assert (clock.offset_seconds, clock.is_on_trial) == (HOUR, True)
    clock.on_accepted(HOUR)
    assert (clock.offset_seconds, clock.is_on_trial) == (HOUR, False)


def test_what_was_believed_is_in_use_again_when_the_trial_is_refused(clock: ServiceClock) -> None:
    clock.on_refused(0.0, -HOUR)
    clock.on_accepted(-HOUR)
    clock.on_refused(-HOUR, 5 * HOUR)
    clock.on_refused(5 * HOUR, 5 * HOUR)
    assert (clock.offset_seconds, clock.is_on_trial) == (-HOUR, False)


def test_a_hundred_requests_that_are_refused_together_teach_one_thing(clock: ServiceClock) -> None:
    for _ in range(100):
        clock.on_refused(0.0, HOUR)
    assert (clock.offset_seconds, clock.is_on_trial) == (HOUR, True)


def test_an_answer_to_what_was_signed_before_changes_nothing(clock: ServiceClock) -> None:
    clock.on_refused(0.0, HOUR)
    clock.on_accepted(0.0)
    assert clock.is_on_trial
    clock.on_accepted(HOUR)
    clock.on_refused(0.0, 2 * HOUR)
    assert clock.offset_seconds == HOUR


@pytest.mark.parametrize("seen", [None, 0.0, 14.0, -14.0, 25 * HOUR, -1.7e9])
def test_a_refusal_that_shows_no_other_time_or_an_absurd_one_teaches_nothing(
    clock: ServiceClock, seen: float | None
) -> None:
    clock.on_refused(0.0, seen)
    assert (clock.offset_seconds, clock.is_on_trial) == (0.0, False)


def test_the_offset_is_forgotten_when_the_local_clock_is_right_again(
    clock: ServiceClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    clock.on_refused(0.0, HOUR)
    clock.on_accepted(HOUR)
    clock.on_refused(HOUR, 1.7)
    assert clock.offset_seconds == 0.0
    clock.on_accepted(0.0)
    assert not clock.is_on_trial
    assert "the local clock agrees with the service's again" in caplog.text


def test_a_change_is_warned_of_once_and_a_small_one_not_at_all(
    clock: ServiceClock, caplog: pytest.LogCaptureFixture
) -> None:
    clock.on_refused(0.0, HOUR)
    assert _warnings(caplog) == 0
    for _ in range(3):
        clock.on_accepted(HOUR)
    assert _warnings(caplog) == 1
    clock.on_refused(HOUR, HOUR + 20)
    clock.on_accepted(HOUR + 20)
    assert _warnings(caplog) == 1
    clock.on_refused(HOUR + 20, -HOUR)
    clock.on_accepted(-HOUR)
    assert _warnings(caplog) == 2


def test_what_was_proved_is_told_to_whoever_wants_to_know_once(clock: ServiceClock) -> None:
    told: list[float] = []
    clock.on_proven = told.append
    clock.on_refused(0.0, HOUR)
    assert told == []
    clock.on_accepted(HOUR)
    clock.on_accepted(HOUR)
    clock.on_refused(HOUR, 0.0)
    clock.on_accepted(0.0)
    assert told == [HOUR, 0.0]


def test_what_another_process_has_proved_is_believed_without_a_trial_or_a_word(
    clock: ServiceClock, caplog: pytest.LogCaptureFixture
) -> None:
    clock.adopt(HOUR)
    assert (clock.offset_seconds, clock.is_on_trial) == (HOUR, False)
    clock.on_accepted(HOUR)
    assert _warnings(caplog) == 0


def test_what_is_on_trial_here_stays_so_and_the_adopted_is_used_where_it_fails(clock: ServiceClock) -> None:
    clock.on_refused(0.0, 5 * HOUR)
    clock.adopt(HOUR)
    assert (clock.offset_seconds, clock.is_on_trial) == (5 * HOUR, True)
    clock.on_refused(5 * HOUR, 5 * HOUR)
    assert (clock.offset_seconds, clock.is_on_trial) == (HOUR, False)
