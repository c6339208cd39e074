"""The supervisor's side without processes: workers that cannot be made, that do not listen, that never serve."""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import time
from collections.abc import Callable, Coroutine
from typing import Any, cast

import pytest

from aws_signing_proxy.app import Application
from aws_signing_proxy.config.loading import load_settings
from aws_signing_proxy.credentials.outlook import Outlook
from aws_signing_proxy.credentials.refresher import Refresher
from aws_signing_proxy.credentials.store import CredentialStore
from aws_signing_proxy.workers.crew import Crew
from aws_signing_proxy.workers.member import Member
from aws_signing_proxy.workers.nursery import Frame, Nursery, Word
from aws_signing_proxy.workers.shared_counters import NO_FIGURES, Figures, SharedFigures
from aws_signing_proxy.workers.turns import Board
from tests.wire.running_proxy import ENVIRONMENT


class FakeNursery:
    """Says what a test wants it to say; keeps the workers' ends of the channels."""

    def __init__(self) -> None:
        self._ours, self._theirs = socket.socketpair()
        self._frames: list[Frame] = []
        self.failures: list[OSError] = []
        self.forked: list[int] = []
        self.killed: list[int] = []
        self.channels: list[socket.socket] = []

    def fileno(self) -> int:
        return self._ours.fileno()

    def fork(self, slot: int, channel: socket.socket) -> None:
        if self.failures:
            raise self.failures.pop(0)
        self.forked.append(slot)
        self.channels.append(channel.dup())

    def say(self, word: Word, number: int, detail: int) -> None:
        self._frames.append(Frame(word, number, detail))
        self._theirs.send(b"x")

    def frames(self) -> list[Frame]:
        self._ours.recv(100)
        said, self._frames = self._frames, []
        return said

    def kill(self, pid: int = 0) -> None:
        self.killed.append(pid)
        self.say(Word.ENDED, pid or 7, -9)

    def leave(self) -> None:
        pass

    def end(self) -> None:
        pass

    def close(self) -> None:
        for each in (self._ours, self._theirs, *self.channels):
            each.close()


def play(test: Callable[[Crew, FakeNursery], Coroutine[Any, Any, None]], *, workers: int = 1) -> None:
    async def run() -> None:
        nursery = FakeNursery()
        crew = Crew(cast("Nursery", nursery), [SharedFigures() for _ in range(workers)], Board(workers))
        try:
            await test(crew, nursery)
        finally:
            await crew.stop(drain_timeout_seconds=0, let_go=lambda: None)

    asyncio.run(run())


async def until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not is_so():  # noqa: ASYNC110 - there is nothing to wait on
            await asyncio.sleep(0.002)


async def none_lives(crew: Crew, nursery: FakeNursery) -> None:
    """End a test with a worker that was not made, so that nobody is waited for."""
    nursery.say(Word.NOT_BORN, 0, errno.ENOMEM)
    await until(lambda: not crew._members[0].is_living)


def test_a_worker_that_cannot_be_made_is_tried_for_again(caplog: pytest.LogCaptureFixture) -> None:
    async def run(crew: Crew, nursery: FakeNursery) -> None:
        nursery.failures = [BlockingIOError(errno.EAGAIN, "no room")]
        crew.prepare()
        await until(lambda: nursery.forked == [0])
        nursery.say(Word.NOT_BORN, 0, errno.ENOMEM)
        await until(lambda: nursery.forked == [0, 0])
        nursery.say(Word.NOT_BORN, 0, errno.ENOMEM)
        await until(lambda: nursery.forked == [0, 0, 0])
        assert crew.problems() == ["No worker serves requests."]
        await none_lives(crew, nursery)

    with caplog.at_level(logging.ERROR):
        play(run)
    events = [cast("dict[str, Any]", record.msg) for record in caplog.records if isinstance(record.msg, dict)]
    delays = [event["next_try_in_seconds"] for event in events if event["event"] == "a worker could not be made"]
    assert delays == [0.1, 0.2, 0.4, 0.8]


def test_a_worker_that_does_not_take_what_it_is_told_is_killed() -> None:
    async def run(crew: Crew, nursery: FakeNursery) -> None:
        crew.prepare()
        nursery.say(Word.BORN, 0, 7)
        (member,) = crew._members
        await until(lambda: member.channel is not None and member.pid == 7)
        while member.channel is not None and not member.channel.is_stuck:
            member.send({"is": "news", "text": "x" * 100_000})
        await until(lambda: nursery.killed == [7])
        await until(lambda: nursery.forked == [0, 0])
        await none_lives(crew, nursery)

    play(run)


def test_a_worker_that_is_late_is_off_the_board_before_anybody_is_told(caplog: pytest.LogCaptureFixture) -> None:
    async def run(crew: Crew, nursery: FakeNursery) -> None:
        crew.prepare()
        nursery.say(Word.BORN, 0, 7)
        (member,) = crew._members
        await until(lambda: member.pid == 7)
        member._shared.write(Figures(time.monotonic() - 2, NO_FIGURES))
        crew._board.numbers[0] = 3
        member.is_ready = True
        await until(lambda: crew._board.numbers[0] == -1)
        await none_lives(crew, nursery)

    play(run)
    assert not any("silent" in str(record.msg) for record in caplog.records)


def test_a_worker_that_hangs_before_it_serves_is_silent_and_not_waited_for(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aws_signing_proxy.workers.crew._LOOK_SECONDS", 0.01)
    monkeypatch.setattr("aws_signing_proxy.workers.crew._START_SECONDS", 3600.0)
    monkeypatch.setattr("aws_signing_proxy.workers.member._SILENT_SECONDS", 0.05)

    class Store:
        held = None

    async def run(crew: Crew, nursery: FakeNursery) -> None:
        crew.prepare()
        (member,) = crew._members
        nursery.say(Word.BORN, 0, 7)
        await until(lambda: member.pid == 7 and member.channel is not None)
        await asyncio.sleep(0.1)
        assert not member.is_silent, "it has been told nothing yet"
        async with asyncio.timeout(10):
            await crew.start(cast("CredentialStore", Store()), cast("Refresher", Refreshing()))
        assert crew.snapshot().numbers["workers_silent"] == 1
        await none_lives(crew, nursery)

    with caplog.at_level(logging.WARNING):
        play(run)
    assert sum("a worker has been silent for seconds" in str(record.msg) for record in caplog.records) == 1


class Refreshing:
    outlook = Outlook("", False, True, 1.0, 0.0)


class Unreadable(SharedFigures):
    """What a worker left there is no figures."""

    is_broken = False

    def read(self) -> Figures | None:
        if self.is_broken:
            raise ValueError("no JSON")
        return super().read()

    def clear(self) -> None:
        if self.is_broken:
            raise ValueError("nor does it go away")


def test_whatever_a_worker_leaves_in_its_memory_it_is_replaced_and_the_scrape_and_the_looks_go_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def run(crew: Crew, nursery: FakeNursery) -> None:
        (member,) = crew._members
        member._shared = shared = Unreadable()
        crew.prepare()
        nursery.say(Word.BORN, 0, 7)
        await until(lambda: member.channel is not None and member.pid == 7)
        member.is_ready = True
        shared.write(Figures(1.0, NO_FIGURES._replace(requests={("GET", 200, "ok"): 3})))
        assert crew.snapshot().requests == {("GET", 200, "ok"): 3}
        shared.is_broken = True
        assert crew.snapshot().requests == {("GET", 200, "ok"): 3}
        nursery.say(Word.ENDED, 7, -9)
        await until(lambda: nursery.forked == [0, 0])
        assert crew.snapshot().numbers["worker_deaths_total"] == 1
        await none_lives(crew, nursery)

    play(run)
    said = [str(record.msg) for record in caplog.records]
    assert sum("the figures of a worker cannot be read" in each for each in said) == 1
    assert sum("what a worker had counted is lost" in each for each in said) == 1


def test_a_look_that_fails_is_not_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run(crew: Crew, nursery: FakeNursery) -> None:
        looks = 0

        def fail(_member: Member) -> None:
            nonlocal looks
            looks += 1
            raise RuntimeError("a bug")

        asyncio.get_running_loop().set_exception_handler(lambda *_: None)
        monkeypatch.setattr(crew, "_look_at", fail)
        with pytest.raises(RuntimeError, match="a bug"):
            crew.prepare()
        await until(lambda: looks > 1)
        await none_lives(crew, nursery)

    monkeypatch.setattr("aws_signing_proxy.workers.crew._LOOK_SECONDS", 0.01)
    play(run)


class NobodyServes:
    """A crew that never comes to serve (see `Workers`)."""

    def prepare(self) -> None:
        pass

    async def start(self, *_: object) -> None:
        pass

    async def stop(self, *, drain_timeout_seconds: float, let_go: Callable[[], None]) -> None:
        let_go()

    def kill(self) -> None:
        pass

    def reload(self) -> None:
        pass

    async def refresh(self) -> None:
        pass

    def snapshot(self) -> Any:
        raise AssertionError

    def problems(self) -> list[str]:
        return ["No worker serves requests."]


def test_a_proxy_that_nobody_serves_in_does_not_say_that_it_is_ready(caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> None:
        environ = ENVIRONMENT | {"ASP_TARGET_URL": "http://127.0.0.1:1"}
        application = Application(load_settings({}, environ).settings, environ, workers=NobodyServes())
        await application.start()
        assert application.reasons_not_ready() == ["No worker serves requests."]
        await application.stop(drain_timeout_seconds=0)

    with caplog.at_level(logging.INFO):
        asyncio.run(run())
    events = [record.msg["event"] for record in caplog.records if isinstance(record.msg, dict)]
    assert "started, but not ready" in events
    assert "ready" not in events
