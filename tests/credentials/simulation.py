"""The credential engine in time that passes only when everybody sleeps: hours in milliseconds, and no test guesses.

The event loop's clock jumps to the next timer as soon as nothing else is to be done. While a thread works for the
provider it stands still, unless the provider hangs on purpose.
"""

from __future__ import annotations

import asyncio
import selectors
import threading
from collections.abc import Callable, Coroutine
from typing import Any

from aws_signing_proxy.credentials.refresher import Holder
from aws_signing_proxy.errors import InternalError
from tests.credentials.fake_provider import FakeProvider
from tests.credentials.stores import FakeLogger, FakeWaiter, FetchingStore, store_of

__all__ = ["NOW", "World", "simulated"]

NOW = 1_700_000_000.0
_START = 5000.0
_REAL_WAIT_SECONDS = 0.02


class _Selector(selectors.DefaultSelector):
    """Lets the time of `now` pass instead of sleeping."""

    def __init__(self) -> None:
        super().__init__()
        self.now = _START
        self.is_working: Callable[[], bool] = lambda: False

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        events: list[tuple[selectors.SelectorKey, int]] = super().select(0)
        if events or (timeout is not None and timeout <= 0):
            return events
        if timeout is None or self.is_working():
            return super().select(_REAL_WAIT_SECONDS)
        self.now += timeout
        return []


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self.selector = _Selector()
        super().__init__(self.selector)

    def time(self) -> float:
        return self.selector.now


class World:
    """A store with its provider, in simulated time. `wall_offset` is what the wall clock is wrong by."""

    def __init__(self, loop: _Loop, *, is_local: bool = False, chance: float = 0.0, **options: Any) -> None:
        self._loop = loop
        self.wall_offset = 0.0
        self.chance = chance
        self.logger = FakeLogger()
        self.secrets_in_use: list[tuple[tuple[str, ...], tuple[str, ...]]] = []
        self.provider = FakeProvider(is_local=is_local)
        self.told: list[FakeWaiter] = []
        self.store: FetchingStore = store_of(
            self.provider,
            clock=self.wall,
            monotonic=loop.time,
            chance=lambda: self.chance,
            logger=self.logger,
            on_secrets_changed=lambda old, new: self.secrets_in_use.append((old, new)),
            **options,
        )
        self.refresher = self.store.refresher
        self.checks = 0
        """How often the background task has looked whether something is due."""
        self._check = self.refresher._check
        self.refresher._check = self._count_check  # type: ignore[method-assign]  # nothing else tells it
        loop.selector.is_working = self._is_working

    async def _count_check(self, holder: Holder) -> None:
        self.checks += 1
        await self._check(holder)

    def _is_working(self) -> bool:
        is_there = any(thread.name == "credentials" for thread in threading.enumerate())
        return is_there and not self.provider.is_hanging

    def wall(self) -> float:
        """The time in seconds since the epoch."""
        return NOW + self._loop.time() - _START + self.wall_offset

    def problem(self) -> str | None:
        """Why requests cannot be signed now."""
        return self.store.problem

    def circuit(self) -> str:
        """The circuit breaker's state."""
        return str(self.refresher.breaker.state)

    @property
    def passed(self) -> float:
        """How many seconds have passed, whatever the wall clock says."""
        return self._loop.time() - _START

    async def pass_time(self, seconds: float) -> None:
        """Let time pass, and everything happen that is due within it."""
        await asyncio.sleep(seconds)

    async def settle(self) -> None:
        """Let everything happen that is due now."""
        await asyncio.sleep(0.02)

    async def until(self, is_so: Callable[[], bool], *, within_seconds: float = 600.0) -> float:
        """Let time pass until it is so; return how much that was."""
        began = self.passed
        while not is_so():
            assert self.passed - began < within_seconds, "it never happened"
            await asyncio.sleep(0.01)
        return self.passed - began

    def wait(self) -> FakeWaiter:
        """Let a request wait for credentials."""
        waiter = FakeWaiter(self.told)
        self.store.wait(waiter)
        return waiter

    def request(self) -> int | InternalError | None:
        """Return what a request meets now: the number of its credentials, the error, or None where it has to wait."""
        store, now = self.store, self.wall()
        current = store.current
        if current is None or current.is_expired(now):
            current = store.usable(now)
        if current is None:
            try:
                store.check_worth_waiting(now)
            except InternalError as error:
                return error
            return None
        assert not current.is_expired(now)
        return int(current.access_key_id.rpartition("-")[2])


def simulated(
    **options: Any,
) -> Callable[[Callable[[World], Coroutine[Any, Any, None]]], Callable[[], None]]:
    """Run an async test in a world of its own; `options` are those of `World` and `store_of`.

    At its end the store is stopped, and no thread, task or exception may be left behind.
    """

    def decorate(test: Callable[[World], Coroutine[Any, Any, None]]) -> Callable[[], None]:
        def run() -> None:
            problems: list[dict[str, Any]] = []

            async def in_world() -> None:
                loop = asyncio.get_running_loop()
                assert isinstance(loop, _Loop)
                loop.set_exception_handler(lambda _, context: problems.append(context))
                world = World(loop, **options)
                try:
                    await test(world)
                finally:
                    world.provider.release()
                    await world.store.stop()
                    await world.settle()
                assert world.provider.most_at_once <= 1
                assert asyncio.all_tasks() == {asyncio.current_task()}
                assert "planted" not in str(world.logger.lines)

            with asyncio.Runner(loop_factory=_Loop) as runner:
                runner.run(in_world())
            assert problems == []

        # Not functools.wraps: pytest would look for a fixture of the name "world".
        run.__name__ = test.__name__
        run.__doc__ = test.__doc__
        return run

    return decorate
