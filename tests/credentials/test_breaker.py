"""The circuit breaker's state table: when it opens, tries and closes, and what it counts as gobreaker does."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from aws_signing_proxy.credentials.breaker import CircuitBreaker, CircuitState

NOTHING = {
    "requests": 0,
    "total_successes": 0,
    "total_failures": 0,
    "consecutive_successes": 0,
    "consecutive_failures": 0,
}


def breaker(threshold: int = 3, timeout_seconds: float = 60.0) -> CircuitBreaker:
    return CircuitBreaker(failure_threshold=threshold, timeout_seconds=timeout_seconds)


def state_of(tested: CircuitBreaker) -> str:
    return str(tested.state)


def fail(tested: CircuitBreaker, now: float = 0.0, *, times: int = 1) -> None:
    for _ in range(times):
        tested.begin()
        tested.fail(now)


def succeed(tested: CircuitBreaker) -> None:
    tested.begin()
    tested.succeed()


def opened(now: float = 100.0) -> CircuitBreaker:
    tested = breaker()
    fail(tested, now, times=3)
    assert state_of(tested) == "open"
    return tested


def test_a_new_one_is_closed_and_has_counted_nothing() -> None:
    tested = breaker()
    assert state_of(tested) == "closed"
    assert tested.counts == NOTHING
    assert tested.admits(0.0)
    assert tested.seconds_until_retry(0.0) == 0.0


def test_while_closed_it_counts_what_comes() -> None:
    tested = breaker()
    succeed(tested)
    succeed(tested)
    fail(tested)
    assert tested.counts == {
        "requests": 3,
        "total_successes": 2,
        "total_failures": 1,
        "consecutive_successes": 0,
        "consecutive_failures": 1,
    }
    succeed(tested)
    assert tested.counts["consecutive_failures"] == 0
    assert tested.counts["consecutive_successes"] == 1


def test_a_fetch_under_way_is_counted_as_a_request_only() -> None:
    tested = breaker()
    tested.begin()
    assert tested.counts == NOTHING | {"requests": 1}


def test_it_opens_at_so_many_failures_in_a_row_and_not_before() -> None:
    tested = breaker()
    fail(tested, times=2)
    assert state_of(tested) == "closed"
    fail(tested)
    assert state_of(tested) == "open"


def test_failures_that_are_not_in_a_row_do_not_open_it() -> None:
    tested = breaker()
    for _ in range(100):
        fail(tested, times=2)
        succeed(tested)
    assert state_of(tested) == "closed"
    assert tested.counts["total_failures"] == 200


def test_a_threshold_of_one_opens_at_the_first_failure() -> None:
    tested = breaker(threshold=1)
    fail(tested)
    assert state_of(tested) == "open"


@pytest.mark.parametrize(("now", "admits", "seconds"), [(100, False, 60), (159.9, False, 0.1), (160, True, 0)])
def test_open_it_admits_nothing_until_its_time_is_over(now: float, seconds: float, *, admits: bool) -> None:
    tested = opened(100.0)
    assert tested.admits(now) is admits
    assert tested.seconds_until_retry(now) == pytest.approx(seconds)


def test_its_time_passing_changes_the_state_only_when_a_fetch_begins() -> None:
    tested = opened(100.0)
    assert tested.admits(1000.0)
    assert state_of(tested) == "open"
    tested.begin()
    assert state_of(tested) == "half-open"
    assert tested.counts == NOTHING | {"requests": 1}


def test_a_trial_that_succeeds_closes_it() -> None:
    tested = opened(100.0)
    succeed(tested)
    assert state_of(tested) == "closed"
    assert tested.counts == NOTHING
    fail(tested, times=2)
    assert state_of(tested) == "closed"


def test_a_trial_that_fails_opens_it_for_the_whole_time_again() -> None:
    tested = opened(100.0)
    fail(tested, 170.0)
    assert state_of(tested) == "open"
    assert tested.seconds_until_retry(170.0) == 60.0
    assert not tested.admits(229.0)


def test_a_trial_that_an_operator_forces_counts_though_its_time_is_not_over() -> None:
    tested = opened(100.0)
    assert not tested.admits(101.0)
    tested.begin()
    assert state_of(tested) == "half-open"
    assert tested.seconds_until_retry(101.0) == 0.0
    tested.fail(102.0)
    assert tested.seconds_until_retry(102.0) == 60.0


def test_a_fetch_that_asked_nobody_is_taken_for_never_made() -> None:
    tested = breaker()
    fail(tested, times=2)
    counts = dict(tested.counts)
    tested.begin()
    tested.ignore()
    assert tested.counts == counts
    fail(tested)
    assert state_of(tested) == "open"


def test_a_reset_closes_it_and_forgets_what_was_counted() -> None:
    tested = opened(100.0)
    tested.reset()
    assert state_of(tested) == "closed"
    assert tested.admits(101.0)
    fail(tested, times=2)
    tested.reset()
    assert tested.counts == NOTHING


def test_it_stays_open_as_long_as_its_server_wants_to_be_left_alone() -> None:
    tested = breaker(threshold=1)
    tested.begin()
    tested.fail(100.0, at_least_seconds=200.0)
    assert tested.seconds_until_retry(100.0) == 200.0
    tested.begin()
    tested.fail(300.0, at_least_seconds=5.0)
    assert tested.seconds_until_retry(300.0) == 60.0


def test_each_change_of_state_begins_counting_anew() -> None:
    """As gobreaker does with each generation, so dashboards of the original read the same."""
    tested = opened(100.0)
    assert tested.counts == NOTHING
    tested.begin()
    assert tested.counts == NOTHING | {"requests": 1}
    tested.fail(160.0)
    assert tested.counts == NOTHING


def test_its_words_are_those_of_the_metric() -> None:
    assert [str(state) for state in CircuitState] == ["closed", "open", "half-open"]


class Machine(RuleBasedStateMachine):
    """Fetches with any outcome at any time, some of them forced, against what the breaker promises."""

    THRESHOLD = 3
    TIMEOUT = 60.0

    def __init__(self) -> None:
        super().__init__()
        self.tested = breaker(self.THRESHOLD, self.TIMEOUT)
        self.now = 0.0
        self.in_a_row = 0
        self.closed_until = 0.0
        self.is_under_way = False

    @rule(seconds=st.floats(0, 100))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @precondition(lambda self: not self.is_under_way)
    @rule(is_forced=st.booleans())
    def a_fetch_begins(self, *, is_forced: bool) -> None:
        if is_forced or self.tested.admits(self.now):
            assert is_forced or self.now >= self.closed_until
            if self.in_a_row >= self.THRESHOLD:
                assert state_of(self.tested) == "open"
            self.tested.begin()
            self.is_under_way = True

    @precondition(lambda self: self.is_under_way)
    @rule()
    def it_succeeds(self) -> None:
        self.tested.succeed()
        self.in_a_row = 0
        self.closed_until = 0.0
        self.is_under_way = False
        assert state_of(self.tested) == "closed"

    @precondition(lambda self: self.is_under_way)
    @rule()
    def it_fails(self) -> None:
        self.tested.fail(self.now)
        self.in_a_row += 1
        self.is_under_way = False
        if self.in_a_row >= self.THRESHOLD:
            self.closed_until = self.now + self.TIMEOUT

    @invariant()
    def never_so_many_failures_while_closed(self) -> None:
        if state_of(self.tested) == "closed":
            assert self.in_a_row < self.THRESHOLD
            assert self.tested.counts["consecutive_failures"] == self.in_a_row

    @invariant()
    def open_as_long_as_it_says(self) -> None:
        if state_of(self.tested) == "open" and not self.is_under_way:
            assert self.tested.admits(self.now) == (self.now >= self.closed_until)
            assert self.tested.seconds_until_retry(self.now) == max(0.0, self.closed_until - self.now)

    @invariant()
    def the_counts_add_up(self) -> None:
        counts = self.tested.counts
        ended = counts["total_successes"] + counts["total_failures"]
        assert counts["requests"] - ended == self.is_under_way
        assert min(counts["consecutive_successes"], counts["consecutive_failures"]) == 0


TestMachine = Machine.TestCase


@given(threshold=st.integers(1, 20), outcomes=st.lists(st.booleans(), max_size=60))
def test_without_time_passing_never_more_than_the_threshold_of_failures_in_a_row_are_let_through(
    threshold: int, outcomes: list[bool]
) -> None:
    tested = breaker(threshold)
    in_a_row = 0
    for is_success in outcomes:
        if not tested.admits(0.0):
            break
        assert in_a_row < threshold
        if is_success:
            succeed(tested)
            in_a_row = 0
        else:
            fail(tested, 0.0)
            in_a_row += 1
    assert (state_of(tested) == "open") == (in_a_row >= threshold)
