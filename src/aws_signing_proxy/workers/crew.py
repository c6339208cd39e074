"""The supervisor's side of its workers: who lives, who is replaced and when, what they are told, what they count."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import time
from collections.abc import Callable
from typing import Final

from aws_signing_proxy.credentials.model import Credentials
from aws_signing_proxy.credentials.refresher import Refresher
from aws_signing_proxy.credentials.store import CredentialStore
from aws_signing_proxy.observe.counters import Snapshot
from aws_signing_proxy.observe.logs import get_logger
from aws_signing_proxy.workers.channel import Channel, Message, credentials_to, outlook_to
from aws_signing_proxy.workers.member import Member
from aws_signing_proxy.workers.nursery import Frame, Nursery, Word
from aws_signing_proxy.workers.shared_counters import NO_FIGURES, SharedFigures, lasting, total
from aws_signing_proxy.workers.turns import Board

__all__ = ["Crew"]

_LOG: Final = get_logger(__name__)

# The most that a scrape waits for workers; who says nothing by then is told of with its last figures.
_ANSWER_SECONDS: Final = 0.5
_START_SECONDS: Final = 10.0
# Beyond the time that workers have to drain.
_GRACE_SECONDS: Final = 1.0
_LOOK_SECONDS: Final = 0.5


class Crew:
    """All workers. `prepare` and `start`, then `stop`; each once. It is a follower of the credentials (see `Follower`).

    `figures` and `board` are the memory that the workers share with it.
    """

    def __init__(self, nursery: Nursery, figures: list[SharedFigures], board: Board) -> None:
        self._nursery = nursery
        self._board = board
        self._loop = asyncio.get_running_loop()
        self._members = [Member(slot, each) for slot, each in enumerate(figures)]
        self._of_the_gone = NO_FIGURES
        self._deaths = 0
        self._clock_offset = 0.0
        self._generation = 0
        self._store: CredentialStore | None = None
        self._refresher: Refresher | None = None
        self._has_begun = False
        self._is_stopping = False
        self._drain_timeout_seconds = 0.0
        self._is_childless = False
        self._changed = asyncio.Event()
        self._timers: set[asyncio.TimerHandle] = set()
        self._look_timer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.on_unable: Callable[[], None] = lambda: None
        """Called when no worker can be made any more."""

    # Life and death

    def prepare(self) -> None:
        """Make the workers. They do nothing until `start`."""
        self._loop.add_reader(self._nursery.fileno(), self._on_frames)
        for member in self._members:
            self._fork(member)
        self._look()

    async def start(self, store: CredentialStore, refresher: Refresher) -> None:
        """Let them serve, with the credentials of `store`. Returns when each does so, has ended, or hangs."""
        self._store, self._refresher = store, refresher
        self._generation += store.held is not None
        store.follower = self
        self._has_begun = True
        for member in self._members:
            if member.channel is not None:
                self._begin(member)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_START_SECONDS):
                await self._until(
                    lambda: self._is_stopping or all(each.is_settled or each.is_silent for each in self._members)
                )

    async def stop(self, *, drain_timeout_seconds: float, let_go: Callable[[], None]) -> None:
        """Let all of them drain; end those that do not.

        `let_go` is called when clients are to be refused.
        """
        self._is_stopping = True
        self._changed.set()
        for timer in self._timers:
            timer.cancel()
        self._drain_timeout_seconds = drain_timeout_seconds
        for member in self._members:
            self._end(member)
        # Each takes what is in the queue first: whoever is still there when it is closed is reset.
        await self._wait(lambda: all(each.has_left or not each.is_living for each in self._members), _ANSWER_SECONDS)
        let_go()
        self._nursery.leave()
        is_done = await self._wait(self._are_all_gone, drain_timeout_seconds + _GRACE_SECONDS)
        if not is_done:
            _LOG.warning("workers that did not end in time are killed", workers=self._slots_alive())
            self._kill_workers(is_direct=self._is_childless)
            await self._wait(self._are_all_gone, _GRACE_SECONDS)
        for task in self._tasks:
            task.cancel()
        if self._look_timer is not None:
            self._look_timer.cancel()
        self._loop.remove_reader(self._nursery.fileno())
        self._nursery.close()

    def kill(self) -> None:
        """End all of them at once, and whatever makes them: whoever wants this does not want to wait.

        Without the nursery's help, for it may hang.
        """
        self._kill_workers(is_direct=True)
        self._nursery.end()

    def _kill_workers(self, *, is_direct: bool) -> None:
        self._nursery.kill()
        if is_direct:
            for pid in [each.pid for each in self._members if each.pid is not None and each.channel is not None]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def _fork(self, member: Member) -> None:
        if self._is_stopping or self._is_childless:
            return
        ours, theirs = socket.socketpair()
        member.begin_life()
        try:
            self._nursery.fork(member.slot, theirs)
        except OSError as error:
            ours.close()
            self._on_not_born(member, error.errno or 0)
            return
        finally:
            theirs.close()
        task = self._loop.create_task(self._connect(member, ours))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _connect(self, member: Member, sock: socket.socket) -> None:
        life = member.life
        channel = Channel(
            lambda message: self._on_message(member, message), lambda: self._on_channel_closed(member, life)
        )
        await channel.open(sock)
        if member.life != life:
            channel.close()  # it has ended meanwhile
            return
        member.channel = channel
        if self._is_stopping:
            self._end(member)
        elif self._has_begun:
            self._begin(member)

    def _on_channel_closed(self, member: Member, life: int) -> None:
        member.lose_channel(life)
        self._changed.set()

    def _end(self, member: Member) -> None:
        member.send({"is": "end", "drain_timeout_seconds": self._drain_timeout_seconds})

    def _begin(self, member: Member) -> None:
        member.begin_to_serve()
        member.send({"is": "begin", "clock_offset": self._clock_offset} | self._news())

    def _on_frames(self) -> None:
        frames = self._nursery.frames()
        if frames is None:
            self._loop.remove_reader(self._nursery.fileno())
            self._on_nursery_gone()
            return
        for frame in frames:
            self._on_frame(frame)
        self._changed.set()

    def _on_frame(self, frame: Frame) -> None:
        if frame.word is Word.BORN:
            self._members[frame.number].pid = frame.detail
        elif frame.word is Word.NOT_BORN:
            self._on_not_born(self._members[frame.number], frame.detail)
        elif frame.word is Word.ENDED:
            for member in self._members:
                if member.pid == frame.number:
                    self._on_ended(member, frame.detail)

    def _on_not_born(self, member: Member, number: int) -> None:
        delay = member.end_life()
        _LOG.error(
            "a worker could not be made",
            of_worker=member.slot,
            reason=os.strerror(number),
            next_try_in_seconds=delay,
        )
        self._fork_later(member, delay)

    def _on_ended(self, member: Member, status: int) -> None:
        self._board.take_off(member.slot)
        try:
            self._keep_counts_of(member)
        except Exception:  # noqa: BLE001 - it is logged; whatever it has left there, it is to be replaced
            _LOG.exception("what a worker had counted is lost", of_worker=member.slot)
        pid, delay = member.pid, member.end_life(status)
        if self._is_stopping:
            return
        self._deaths += 1
        # With status 0 somebody has told it to end.
        log = _LOG.error if status else _LOG.warning
        log(
            "a worker ended and is replaced",
            of_worker=member.slot,
            pid=pid,
            ended=_ending(status),
            next_one_in_seconds=delay,
        )
        self._fork_later(member, delay)

    def _keep_counts_of(self, member: Member) -> None:
        figures = member.figures()
        member.forget_figures()
        if figures is not None:
            self._of_the_gone = total((self._of_the_gone, lasting(figures.snapshot)))

    def _fork_later(self, member: Member, delay: float) -> None:
        if self._is_stopping:
            return

        def fork() -> None:
            self._timers.discard(timer)
            self._fork(member)

        timer = self._loop.call_later(delay, fork)
        self._timers.add(timer)

    def _on_nursery_gone(self) -> None:
        if self._is_stopping:
            return
        # Nobody tells of deaths any more, and nobody replaces: better to end in order, and to be started again.
        _LOG.error("the process that workers are made from is gone; the proxy ends")
        self._is_childless = True
        self.on_unable()

    def _look(self) -> None:
        """Twice a second: who says nothing, and who has stopped to read."""
        try:
            for member in self._members:
                self._look_at(member)
        finally:
            self._look_timer = self._loop.call_later(_LOOK_SECONDS, self._look)

    def _look_at(self, member: Member) -> None:
        if member.notice_silence():
            _LOG.warning("a worker has been silent for seconds", of_worker=member.slot, pid=member.pid)
            self._changed.set()
        if member.is_quiet:
            self._board.take_off(member.slot)  # it puts itself on again with its next figures
        if member.channel is not None and member.channel.is_stuck and member.pid is not None:
            _LOG.error("a worker does not take what it is told; it is killed", of_worker=member.slot)
            self._nursery.kill(member.pid)

    # What workers say

    def _on_message(self, member: Member, message: Message) -> None:
        match message["is"]:
            case "ready":
                member.is_ready = True
            case "published":
                member.has_answered = True
            case "left":
                member.has_left = True
            case "wanted" if self._store is not None:
                self._store.usable(time.time())
                self._store.refresher.want()
            case "rejected":
                self._on_rejected(member, message["generation"])
            case "clock":
                self._clock_offset = message["offset"]
                self._tell({"is": "clock", "offset": message["offset"]}, but=member)
        self._changed.set()

    def _on_rejected(self, member: Member, generation: int) -> None:
        store = self._store
        if store is None or self._refresher is None:
            return
        # Of an earlier generation it is answered at once: the worker has been sent others.
        if generation == self._generation and store.held is not None:
            store.reject(store.held)
        answer = {"generation": generation, "is_renewing": store.is_renewing}
        member.send({"is": "answer", "outlook": outlook_to(self._refresher.outlook)} | answer)

    # What workers are told (see `Follower`)

    def on_begun(self) -> None:
        """A fetch begins."""
        self._tell({"is": "news"} | self._outlook())

    def accept(self, fetched: Credentials) -> None:  # noqa: ARG002 - they are in the store already
        """These are in use from now on."""
        self._generation += 1
        self._tell({"is": "news"} | self._news())

    def set_aside(self) -> None:
        """The next request is to ask for those in use."""
        self._tell({"is": "news", "set_aside": True} | self._outlook())

    def on_failed(self, *, is_hopeless: bool) -> None:
        """A fetch brought nothing."""
        self._tell({"is": "news", "failed": is_hopeless} | self._outlook())

    def reload(self) -> None:
        """Let certificates be read again."""
        self._tell({"is": "reload"})

    def _outlook(self) -> Message:
        return {} if self._refresher is None else {"outlook": outlook_to(self._refresher.outlook)}

    def _news(self) -> Message:
        """What a worker has to know of the credentials."""
        store = self._store
        if store is None or store.held is None:
            return self._outlook()
        return self._outlook() | {
            "credentials": credentials_to(store.held),
            "generation": self._generation,
            "set_aside": store.is_set_aside,
        }

    def _tell(self, message: Message, *, but: Member | None = None) -> None:
        for member in self._members:
            # Who is not ready yet is told everything when it begins, or has been.
            if member is not but:
                member.send(message)

    # What is known of them

    async def refresh(self) -> None:
        """Let all copy their figures now; wait for those that can be expected to, and not for long."""
        asked = [each for each in self._members if each.is_ready and not each.is_silent]
        for member in asked:
            if member.has_answered:
                member.has_answered = False
                member.send({"is": "publish"})
        await self._wait(lambda: all(each.has_answered or not each.is_ready for each in asked), _ANSWER_SECONDS)

    def snapshot(self) -> Snapshot:
        """Return the sum of all workers, those that are gone included."""
        figures = [member.figures() for member in self._members]
        result = total([self._of_the_gone, *(each.snapshot for each in figures if each is not None)])
        own = {
            "workers_running": sum(each.is_serving for each in self._members),
            "workers_silent": sum(each.is_silent for each in self._members),
            "worker_deaths_total": self._deaths,
        }
        return result._replace(numbers=result.numbers | own)

    def problems(self) -> list[str]:
        """Why no request should come, for people."""
        if self._is_stopping or any(each.is_serving and not each.is_silent for each in self._members):
            return []
        return ["No worker serves requests."]

    def _slots_alive(self) -> list[int]:
        # Without the nursery nobody tells who has ended; the channel's end does.
        alive = [each for each in self._members if each.is_living]
        return [each.slot for each in alive if not self._is_childless or each.channel is not None]

    def _are_all_gone(self) -> bool:
        return not self._slots_alive()

    async def _wait(self, is_so: Callable[[], bool], seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                await self._until(is_so)
        except TimeoutError:
            return False
        return True

    async def _until(self, is_so: Callable[[], bool]) -> None:
        while not is_so():
            self._changed.clear()
            await self._changed.wait()


def _ending(status: int) -> str:
    if status >= 0:
        return f"exit status {status}"
    try:
        return signal.Signals(-status).name
    except ValueError:
        return f"signal {-status}"
