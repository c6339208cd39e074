"""The upstream as the proxy sees it: connections over a fake connector, now, later or not at all."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from aws_signing_proxy.errors import ErrorCode, ProxyError, UpstreamError
from aws_signing_proxy.observe.counters import Counters
from aws_signing_proxy.upstream.connection import UpstreamConnection
from aws_signing_proxy.upstream.upstream import Upstream
from tests.upstream.fake_connector import FakeConnector


class _Waiter:
    def __init__(self, *, needs_fresh: bool = False) -> None:
        self.needs_fresh = needs_fresh
        self.got: list[UpstreamConnection | ProxyError] = []

    @property
    def connection(self) -> UpstreamConnection:
        (connection,) = self.got
        assert isinstance(connection, UpstreamConnection)
        return connection

    @property
    def error(self) -> ProxyError:
        (error,) = self.got
        assert isinstance(error, ProxyError)
        return error

    def on_connection(self, connection: UpstreamConnection) -> None:
        self.got.append(connection)

    def on_connection_failed(self, error: ProxyError) -> None:
        self.got.append(error)


class _Scene:
    """An upstream with a fake connector and a clock that a test sets."""

    def __init__(self, *, max_connections: int = 2, max_age_seconds: float = 0.0, warm_connections: int = 0) -> None:
        self.now = 1000.0
        self.counters = Counters()
        self.connector = FakeConnector()
        self.upstream = Upstream(
            self.connector,
            max_connections=max_connections,
            warm_connections=warm_connections,
            idle_timeout_seconds=90.0,
            max_age_seconds=max_age_seconds,
            counters=self.counters,
            clock=lambda: self.now,
        )

    async def wait(self, *, needs_fresh: bool = False) -> _Waiter:
        waiter = _Waiter(needs_fresh=needs_fresh)
        self.upstream.wait(waiter)
        await self.settle()
        return waiter

    async def settle(self) -> None:
        for _ in range(5):
            await asyncio.sleep(0)

    @property
    def pool(self) -> str:
        return repr(self.upstream._pool)


def _scene(run: Callable[[_Scene], Coroutine[Any, Any, None]], **options: Any) -> None:
    async def play() -> None:
        scene = _Scene(**options)
        await run(scene)
        await scene.upstream.close()

    asyncio.run(play())


def test_the_first_request_waits_for_a_connection_and_the_second_reuses_it() -> None:
    async def run(scene: _Scene) -> None:
        assert scene.upstream.take(scene.now) is None
        connection = (await scene.wait()).connection
        was_reused = connection.is_reused
        scene.upstream.release(connection)
        assert scene.upstream.take(scene.now) is connection
        assert (was_reused, connection.is_reused) == (False, True)
        assert scene.counters.upstream_connects_total == 1
        assert scene.counters.upstream_reuses_total == 1

    _scene(run)


def test_a_waiter_gets_the_connection_that_is_released() -> None:
    async def run(scene: _Scene) -> None:
        first, second = await scene.wait(), await scene.wait()
        assert scene.upstream.is_full
        assert not second.got
        scene.upstream.release(first.connection)
        assert second.connection is first.connection
        assert second.connection.is_reused
        assert scene.counters.upstream_reuses_total == 1

    _scene(run, max_connections=1)


def test_a_waiter_gets_a_new_connection_in_the_place_of_one_that_ended() -> None:
    async def run(scene: _Scene) -> None:
        first, second = await scene.wait(), await scene.wait()
        scene.connector.transports[0].lose()
        await scene.settle()
        assert second.connection is not first.connection
        assert scene.pool == "<Pool idle=0 busy=1 connecting=0 waiting=0>"

    _scene(run, max_connections=1)


def test_a_discarded_connection_is_aborted_and_makes_room() -> None:
    async def run(scene: _Scene) -> None:
        first, second = await scene.wait(), await scene.wait()
        scene.upstream.discard(first.connection)
        scene.upstream.discard(first.connection)
        assert scene.connector.transports[0].is_aborted
        await scene.settle()
        assert second.got
        assert scene.pool == "<Pool idle=0 busy=1 connecting=0 waiting=0>"

    _scene(run, max_connections=1)


def test_a_waiter_that_needs_a_fresh_connection_gets_one_though_the_pool_is_full() -> None:
    """A released connection that nobody else wants is closed to make room for it."""

    async def run(scene: _Scene) -> None:
        first = await scene.wait()
        fresh = await scene.wait(needs_fresh=True)
        assert not fresh.got
        scene.upstream.release(first.connection)
        await scene.settle()
        assert fresh.connection is not first.connection
        assert scene.connector.transports[0].is_closed
        assert scene.pool == "<Pool idle=0 busy=1 connecting=0 waiting=0>"

    _scene(run, max_connections=1)


def test_a_connection_released_after_its_end_is_not_counted_twice() -> None:
    async def run(scene: _Scene) -> None:
        waiter = await scene.wait()
        connection = waiter.connection
        scene.connector.transports[0].lose()
        scene.upstream.release(connection)
        assert scene.pool == "<Pool idle=0 busy=0 connecting=0 waiting=0>"

    _scene(run)


def test_no_more_connections_are_opened_than_allowed() -> None:
    async def run(scene: _Scene) -> None:
        scene.connector.opens_at_once = False
        for _ in range(5):
            await scene.wait()
        assert len(scene.connector.asked) == 2
        assert scene.upstream.is_full
        assert scene.pool == "<Pool idle=0 busy=0 connecting=2 waiting=5>"

    _scene(run)


def test_a_waiter_that_leaves_while_its_connection_opens_leaves_it_idle_for_the_next() -> None:
    async def run(scene: _Scene) -> None:
        scene.connector.opens_at_once = False
        waiter = await scene.wait()
        scene.upstream.leave(waiter)
        scene.connector.asked[0].set_result(None)
        await scene.settle()
        assert not waiter.got
        connection = scene.upstream.take(scene.now)
        assert connection is not None
        assert connection.is_reused, "it was idle: the peer may have closed it"

    _scene(run)


def test_a_failed_connect_fails_one_waiter_and_is_tried_again_for_the_next() -> None:
    async def run(scene: _Scene) -> None:
        scene.connector.opens_at_once = False
        first, second = await scene.wait(), await scene.wait()
        scene.connector.asked[0].set_exception(UpstreamError(ErrorCode.UPSTREAM_CONNECT_FAILED, "No."))
        await scene.settle()
        assert first.error.code is ErrorCode.UPSTREAM_CONNECT_FAILED
        assert not second.got
        scene.connector.asked[1].set_result(None)
        await scene.settle()
        assert isinstance(second.connection, UpstreamConnection)
        assert scene.counters.upstream_connects_total == 2
        assert scene.counters.upstream_connect_failures_total == 1

    _scene(run, max_connections=1)


def test_a_failure_that_nothing_foresaw_is_an_internal_error() -> None:
    async def run(scene: _Scene) -> None:
        scene.connector.opens_at_once = False
        waiter = await scene.wait()
        scene.connector.asked[0].set_exception(ZeroDivisionError("with a secret"))
        await scene.settle()
        assert waiter.error.code is ErrorCode.INTERNAL_ERROR
        assert waiter.error.detail == "Opening a connection failed: ZeroDivisionError."

    _scene(run)


def test_a_connection_that_is_closed_at_once_fails_its_waiter() -> None:
    async def run(scene: _Scene) -> None:
        scene.connector.closes_at_once = True
        waiter = await scene.wait()
        assert waiter.error.code is ErrorCode.UPSTREAM_CLOSED
        assert scene.pool == "<Pool idle=0 busy=0 connecting=0 waiting=0>"

    _scene(run)


def test_a_connection_past_its_age_is_not_taken_again() -> None:
    async def run(scene: _Scene) -> None:
        waiter = await scene.wait()
        assert 1090.0 < waiter.connection.expires_at <= 1100.0, "a tenth of jitter"
        scene.upstream.release(waiter.connection)
        scene.now = 1100.0
        assert scene.upstream.take(scene.now) is None
        assert scene.connector.transports[0].is_closed
        assert scene.pool == "<Pool idle=0 busy=0 connecting=0 waiting=0>"

    _scene(run, max_age_seconds=100.0)


def test_a_connection_past_its_age_is_closed_when_it_is_released() -> None:
    async def run(scene: _Scene) -> None:
        first, second = await scene.wait(), await scene.wait()
        scene.now = 1100.0
        scene.upstream.release(first.connection)
        await scene.settle()
        assert scene.connector.transports[0].is_closed
        assert second.connection is not first.connection

    _scene(run, max_connections=1, max_age_seconds=100.0)


def test_a_connection_whose_peer_has_said_goodbye_is_not_given_to_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run(scene: _Scene) -> None:
        first, second = await scene.wait(), await scene.wait()
        with monkeypatch.context() as patch:
            patch.setattr(UpstreamConnection, "has_said_goodbye", property(lambda _: True))
            scene.upstream.release(first.connection)
        await scene.settle()
        assert scene.connector.transports[0].is_closed
        assert second.connection is not first.connection

    _scene(run, max_connections=1)


def test_the_sweep_closes_what_has_been_idle_too_long() -> None:
    async def run(scene: _Scene) -> None:
        scene.upstream.release((await scene.wait()).connection)
        scene.upstream.sweep(scene.now + 89)
        assert not scene.connector.transports[0].is_ended
        scene.upstream.sweep(scene.now + 90)
        assert scene.connector.transports[0].is_closed
        assert scene.pool == "<Pool idle=0 busy=0 connecting=0 waiting=0>"

    _scene(run)


def test_an_idle_connection_that_ends_is_forgotten() -> None:
    async def run(scene: _Scene) -> None:
        scene.upstream.release((await scene.wait()).connection)
        scene.connector.transports[0].lose()
        assert scene.upstream.take(scene.now) is None
        assert scene.pool == "<Pool idle=0 busy=0 connecting=0 waiting=0>"

    _scene(run)


def test_closing_ends_idle_connections_and_those_being_opened_and_later_the_busy_ones() -> None:
    async def run(scene: _Scene) -> None:
        busy, idle = await scene.wait(), await scene.wait()
        scene.upstream.release(idle.connection)
        scene.connector.opens_at_once = False
        opening = await scene.wait(needs_fresh=True)
        await scene.upstream.close()
        assert not opening.got
        assert scene.connector.transports[1].is_closed
        assert not scene.connector.transports[0].is_ended
        scene.upstream.release(busy.connection)
        assert scene.connector.transports[0].is_closed

    _scene(run, max_connections=3)


def test_gauges_are_read_from_the_pool() -> None:
    async def run(scene: _Scene) -> None:
        await scene.wait()
        scene.upstream.release((await scene.wait()).connection)
        scene.connector.opens_at_once = False
        await scene.wait(needs_fresh=True)
        scene.upstream.read_gauges()
        assert scene.counters.upstream_connections_open == 2
        assert scene.counters.upstream_connections_idle == 1
        assert scene.counters.upstream_waiting == 1

    _scene(run, max_connections=3)


def test_it_names_its_address_and_whether_it_speaks_tls() -> None:
    upstream = _Scene().upstream
    assert upstream.address == "service.test:80"
    assert not upstream.is_tls


def test_connections_are_opened_before_anybody_needs_them_and_replaced_when_they_end() -> None:
    async def run(scene: _Scene) -> None:
        upstream = scene.upstream
        upstream.warm_up(scene.now)
        await scene.settle()
        assert scene.pool == "<Pool idle=2 busy=0 connecting=0 waiting=0>"
        taken = upstream.take(scene.now)
        assert taken is not None
        upstream.sweep(scene.now + 10)
        await scene.settle()
        assert len(scene.connector.asked) == 2  # a busy one is an open one
        scene.connector.transports[0].protocol.eof_received()
        for seconds, opened in ((4.9, 2), (5.1, 3), (20, 3)):
            upstream.sweep(scene.now + seconds)
            await scene.settle()
            assert len(scene.connector.asked) == opened, seconds
        assert scene.pool == "<Pool idle=1 busy=1 connecting=0 waiting=0>"

    _scene(run, max_connections=4, warm_connections=2)


def test_a_service_that_is_down_is_asked_for_warm_connections_every_five_seconds_and_no_request_fails_for_it() -> None:
    async def run(scene: _Scene) -> None:
        scene.connector.opens_at_once = False
        for seconds in (0.0, 0.25, 4.9, 5.1):
            scene.upstream.sweep(scene.now + seconds)
            await scene.settle()
            for asked in scene.connector.asked:
                if not asked.done():
                    asked.set_exception(UpstreamError(ErrorCode.UPSTREAM_CLOSED, "no"))
            await scene.settle()
        assert len(scene.connector.asked) == 4
        waiter = await scene.wait()
        scene.connector.asked[-1].set_result(None)
        await scene.settle()
        assert waiter.connection is not None

    _scene(run, warm_connections=2)


def test_a_request_takes_a_warm_connection_that_is_being_opened() -> None:
    async def run(scene: _Scene) -> None:
        scene.connector.opens_at_once = False
        scene.upstream.warm_up(scene.now)
        waiter = await scene.wait()
        assert len(scene.connector.asked) == 1
        scene.connector.asked[0].set_result(None)
        await scene.settle()
        assert waiter.connection is not None

    _scene(run, warm_connections=1)
