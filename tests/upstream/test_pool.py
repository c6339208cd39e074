"""The pool decides at once, in the order of arrival, and its numbers always agree; its `repr` says what it holds."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, rule

from aws_signing_proxy.upstream.pool import Pool


@dataclass(eq=False)
class _Connection:
    name: str = ""
    idle_since: float = 0.0
    expires_at: float = float("inf")


@dataclass(eq=False)
class _Waiter:
    name: str = ""
    needs_fresh: bool = False


def _pool(
    *idle: _Connection, max_connections: int = 4, idle_timeout_seconds: float = 90.0
) -> Pool[_Connection, _Waiter]:
    pool: Pool[_Connection, _Waiter] = Pool(max_connections=max_connections, idle_timeout_seconds=idle_timeout_seconds)
    for at, connection in enumerate(idle):
        pool.connecting += 1
        assert pool.connected(connection, float(at)) is None
    return pool


def test_a_new_pool_is_empty() -> None:
    pool = _pool()
    assert repr(pool) == "<Pool idle=0 busy=0 connecting=0 waiting=0>"
    assert pool.take() is None
    assert not pool.is_full
    assert pool.connects_needed() == 0


def test_the_connection_used_last_is_taken_first() -> None:
    old, new = _Connection(), _Connection()
    pool = _pool(old, new)
    assert pool.take() is new
    assert pool.take() is old
    assert repr(pool) == "<Pool idle=0 busy=2 connecting=0 waiting=0>"


def test_a_released_connection_goes_idle_where_nobody_waits() -> None:
    pool = _pool(_Connection())
    connection = pool.take()
    assert connection is not None
    assert pool.released(connection, 7.0) is None
    assert connection.idle_since == 7.0
    assert repr(pool) == "<Pool idle=1 busy=0 connecting=0 waiting=0>"


def test_a_released_connection_goes_to_whoever_waits_longest() -> None:
    pool = _pool(_Connection(), max_connections=1)
    connection = pool.take()
    assert connection is not None
    first, second = _Waiter(), _Waiter()
    pool.enqueue(first)
    pool.enqueue(second)
    assert pool.released(connection, 0.0) is first
    assert pool.released(connection, 0.0) is second
    assert repr(pool) == "<Pool idle=0 busy=1 connecting=0 waiting=0>"


def test_a_released_connection_is_not_given_to_a_waiter_that_needs_a_fresh_one() -> None:
    pool = _pool(_Connection(), max_connections=1)
    connection = pool.take()
    assert connection is not None
    fresh, other = _Waiter(needs_fresh=True), _Waiter()
    pool.enqueue(fresh)
    pool.enqueue(other)
    assert pool.released(connection, 0.0) is other
    assert pool.released(connection, 0.0) is None
    assert repr(pool) == "<Pool idle=1 busy=0 connecting=0 waiting=1>"


def test_an_opened_connection_goes_to_any_waiter_in_turn() -> None:
    pool = _pool()
    fresh, other = _Waiter(needs_fresh=True), _Waiter()
    pool.enqueue(fresh)
    pool.enqueue(other)
    pool.connecting += 2
    assert pool.connected(_Connection(), 0.0) is fresh
    assert pool.connected(_Connection(), 0.0) is other
    assert repr(pool) == "<Pool idle=0 busy=2 connecting=0 waiting=0>"


@pytest.mark.parametrize(
    ("max_connections", "busy", "connecting", "waiting", "needed"),
    [
        (4, 0, 0, 0, 0),
        (4, 0, 0, 3, 3),
        (4, 0, 2, 3, 1),
        (4, 3, 0, 3, 1),
        (4, 3, 1, 3, 0),
        (4, 4, 0, 3, 0),
        (4, 0, 3, 1, 0),
    ],
)
def test_as_many_are_opened_as_wait_and_fit(
    max_connections: int, busy: int, connecting: int, waiting: int, needed: int
) -> None:
    pool = _pool(*[_Connection() for _ in range(busy)], max_connections=max_connections)
    for _ in range(busy):
        pool.take()
    for _ in range(waiting):
        pool.enqueue(_Waiter())
    pool.connecting = connecting
    assert pool.connects_needed() == needed


def test_the_pool_is_full_with_open_and_opening_connections_together() -> None:
    pool = _pool(_Connection(), max_connections=2)
    assert not pool.is_full
    pool.connecting += 1
    assert pool.is_full


def test_a_failed_connect_is_told_to_whoever_waits_longest_and_leaves_its_place() -> None:
    pool = _pool(max_connections=1)
    first, second = _Waiter(), _Waiter()
    pool.enqueue(first)
    pool.enqueue(second)
    pool.connecting += 1
    assert pool.connect_failed() is first
    assert pool.connects_needed() == 1
    pool.connecting += 1
    assert pool.connect_failed() is second
    pool.connecting += 1
    assert pool.connect_failed() is None
    assert repr(pool) == "<Pool idle=0 busy=0 connecting=0 waiting=0>"


def test_a_waiter_that_leaves_gets_nothing_and_may_leave_twice() -> None:
    pool = _pool()
    waiter = _Waiter()
    pool.enqueue(waiter)
    pool.leave(waiter)
    pool.leave(waiter)
    pool.connecting += 1
    assert pool.connected(_Connection(), 0.0) is None


def test_a_closed_connection_makes_room_whether_it_was_idle_or_busy() -> None:
    idle, busy = _Connection(), _Connection()
    pool = _pool(idle, busy)
    assert pool.take() is busy
    pool.closed(busy)
    pool.closed(idle)
    assert repr(pool) == "<Pool idle=0 busy=0 connecting=0 waiting=0>"


def test_idle_connections_expire_by_their_last_use_and_by_their_age() -> None:
    unused, old, good = _Connection("unused"), _Connection("old", expires_at=50.0), _Connection("good")
    pool = _pool(unused, old, good, idle_timeout_seconds=50.0)
    assert pool.expired(49.0) == []
    assert [each.name for each in pool.expired(50.0)] == ["unused", "old"]
    assert repr(pool) == "<Pool idle=1 busy=0 connecting=0 waiting=0>"


def test_without_an_idle_timeout_only_age_ends_a_connection() -> None:
    pool = _pool(_Connection(), _Connection(expires_at=10.0), idle_timeout_seconds=0)
    assert len(pool.expired(1e9)) == 1
    assert pool.idle == 1


def test_draining_returns_what_is_idle_and_leaves_what_is_busy() -> None:
    first, second = _Connection(), _Connection()
    pool = _pool(first, second)
    pool.take()
    assert pool.drain() == [first]
    assert repr(pool) == "<Pool idle=0 busy=1 connecting=0 waiting=0>"


def test_the_oldest_idle_connections_make_room_for_waiters_that_need_fresh_ones() -> None:
    """Else such a waiter would sit beside an idle connection in a full pool until it times out."""
    first, second, third = _Connection("1"), _Connection("2"), _Connection("3")
    pool = _pool(first, second, third, max_connections=3)
    pool.enqueue(_Waiter(needs_fresh=True))
    pool.enqueue(_Waiter(needs_fresh=True))
    assert pool.connects_needed() == 0
    assert pool.make_room() == [first, second]
    assert pool.connects_needed() == 2
    assert repr(pool) == "<Pool idle=1 busy=0 connecting=0 waiting=2>"
    assert pool.make_room() == []


def test_no_idle_connection_makes_room_where_there_is_room_or_one_is_being_opened() -> None:
    pool = _pool(_Connection(), max_connections=2)
    assert pool.make_room() == []
    pool.enqueue(_Waiter(needs_fresh=True))
    assert pool.make_room() == []
    pool.connecting += 1
    assert pool.make_room() == []


class PoolInAnyOrder(RuleBasedStateMachine):
    """Whatever happens in whatever order: numbers agree, the limit holds, nobody waits while there is a way on."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.limit = 1
        self.pool: Pool[_Connection, _Waiter] = Pool(max_connections=1, idle_timeout_seconds=10.0)
        self.waiting: list[_Waiter] = []
        self.busy_now: set[_Connection] = set()

    busy = Bundle("busy")

    @initialize(limit=st.integers(1, 4))
    def _with_a_limit(self, limit: int) -> None:
        self.limit = limit
        self.pool = Pool(max_connections=limit, idle_timeout_seconds=10.0)

    def _open_what_is_needed(self) -> None:
        """What `Upstream` does after each step."""
        self.pool.make_room()
        self.pool.connecting += self.pool.connects_needed()

    def _serve(self, waiter: _Waiter, connection: _Connection, *, is_fresh: bool) -> _Connection:
        assert is_fresh or not waiter.needs_fresh
        eligible = [each for each in self.waiting if is_fresh or not each.needs_fresh]
        assert waiter is eligible[0], "somebody was overtaken"
        self.waiting.remove(waiter)
        self.busy_now.add(connection)
        return connection

    @rule(target=busy, needs_fresh=st.booleans())
    def ask(self, *, needs_fresh: bool) -> _Connection | None:
        connection = None if needs_fresh else self.pool.take()
        if connection is not None:
            self.busy_now.add(connection)
            return connection
        waiter = _Waiter(needs_fresh=needs_fresh)
        self.waiting.append(waiter)
        self.pool.enqueue(waiter)
        self._open_what_is_needed()
        return None

    @rule(target=busy)
    def a_connect_succeeds(self) -> _Connection | None:
        if not self.pool.connecting:
            return None
        connection = _Connection(expires_at=self.now + 30)
        waiter = self.pool.connected(connection, self.now)
        return None if waiter is None else self._serve(waiter, connection, is_fresh=True)

    @rule()
    def a_connect_fails(self) -> None:
        if self.pool.connecting:
            waiter = self.pool.connect_failed()
            if waiter is not None:
                assert waiter is self.waiting.pop(0)
            self._open_what_is_needed()

    @rule(target=busy, connection=consumes(busy))
    def release(self, connection: _Connection | None) -> _Connection | None:
        if connection not in self.busy_now:
            return None
        self.busy_now.remove(connection)
        waiter = self.pool.released(connection, self.now)
        if waiter is not None:
            return self._serve(waiter, connection, is_fresh=False)
        self._open_what_is_needed()
        return None

    @rule(connection=consumes(busy))
    def a_busy_one_closes(self, connection: _Connection | None) -> None:
        if connection in self.busy_now:
            self.busy_now.remove(connection)
            self.pool.closed(connection)
            self._open_what_is_needed()

    @rule(at=st.integers(0, 9))
    def an_idle_one_closes(self, at: int) -> None:
        if self.pool.idle:
            self.pool.closed(self.pool._idle[at % self.pool.idle])
            self._open_what_is_needed()

    @rule(at=st.integers(0, 9))
    def a_waiter_leaves(self, at: int) -> None:
        if self.waiting:
            self.pool.leave(self.waiting.pop(at % len(self.waiting)))

    @rule(seconds=st.floats(0, 20))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        dropped = self.pool.expired(self.now)
        assert all(each.expires_at <= self.now or each.idle_since <= self.now - 10 for each in dropped)

    @invariant()
    def the_numbers_agree(self) -> None:
        assert self.pool.open == self.pool.idle + len(self.busy_now)
        assert self.pool.open + self.pool.connecting <= self.limit
        assert self.pool.waiting == len(self.waiting)

    @invariant()
    def nobody_waits_while_there_is_a_way_on(self) -> None:
        pool = self.pool
        has_room = pool.open + pool.connecting < self.limit
        if len(self.waiting) > pool.connecting:
            assert not has_room
            assert not pool.idle
        assert not pool.idle or all(each.needs_fresh for each in self.waiting)


TestPoolInAnyOrder = PoolInAnyOrder.TestCase
