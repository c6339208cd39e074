"""Request bodies: the same hash and bytes however they arrive, memory that always comes back, a disk that may fail."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import resource
import tempfile
import tracemalloc
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aws_signing_proxy.errors import InternalError
from aws_signing_proxy.observe.counters import Counters, Limit
from aws_signing_proxy.proxy.body import BodyLimits, BodyMemory, ReceivedBody
from tests.proxy.scene import OK, Scene, play, post, until


class _Bodies:
    """Bodies under common limits, and what they told."""

    def __init__(self, *, memory_limit_bytes: int, total_bytes: int, spool_directory: str | None) -> None:
        self.counters = Counters()
        self.executor = ThreadPoolExecutor(2)
        self.memory = BodyMemory(total_bytes, self.counters)
        self.limits = BodyLimits(
            memory_limit_bytes=memory_limit_bytes,
            memory=self.memory,
            spool_directory=spool_directory,
            executor=self.executor,
        )

    def body(self) -> _Body:
        return _Body(self)


class _Body:
    def __init__(self, bodies: _Bodies) -> None:
        self.told: list[str] = []
        self.error: InternalError | None = None
        self.received = ReceivedBody(
            bodies.limits,
            bodies.counters,
            on_ready=lambda: self.told.append("ready"),
            on_failed=self._on_failed,
            on_room=lambda: self.told.append("room"),
        )

    def _on_failed(self, error: InternalError) -> None:
        self.told.append("failed")
        self.error = error

    async def add(self, *pieces: bytes) -> None:
        """Add pieces as a well-behaved reader does: only while there is room."""
        for piece in pieces:
            await until(lambda: self.received.can_take_more or self.error is not None)
            self.received.add(piece)

    async def until(self, what: str) -> None:
        await until(lambda: what in self.told)

    async def content(self) -> bytes:
        if not self.received.is_spooled:
            return self.received.in_memory
        pieces: list[bytes] = []
        while piece := await self.received.read(sum(map(len, pieces))):
            pieces.append(piece)
        return b"".join(pieces)


def _with_bodies(
    run: Callable[[_Bodies], Coroutine[Any, Any, None]],
    *,
    memory_limit_bytes: int = 1000,
    total_bytes: int = 10_000,
    spool_directory: str | None = None,
) -> None:
    """Run with bodies; at the end, closed ones hold neither memory nor disk."""

    async def run_and_look() -> None:
        bodies = _Bodies(
            memory_limit_bytes=memory_limit_bytes, total_bytes=total_bytes, spool_directory=spool_directory
        )
        try:
            await run(bodies)
        finally:
            bodies.executor.shutdown()
            await asyncio.sleep(0.001)
        assert bodies.memory.used == 0
        assert bodies.counters.body_memory_bytes == 0
        assert bodies.counters.spool_bytes == 0

    asyncio.run(run_and_look())


def test_a_small_body_stays_in_memory_and_is_ready_at_once() -> None:
    async def run(bodies: _Bodies) -> None:
        body = bodies.body()
        await body.add(b"a" * 600, b"b" * 400)
        assert bodies.memory.used == 1000
        body.received.finish()
        assert body.told == ["ready"]
        assert not body.received.is_spooled
        assert body.received.in_memory == b"a" * 600 + b"b" * 400
        body.received.close()
        body.received.close()

    _with_bodies(run)


def test_an_empty_body_is_ready_at_once() -> None:
    async def run(bodies: _Bodies) -> None:
        body = bodies.body()
        body.received.finish()
        assert body.told == ["ready"]
        assert body.received.in_memory == b""
        assert body.received.sha256_hex == hashlib.sha256().hexdigest().encode()
        body.received.close()

    _with_bodies(run)


def test_a_body_over_its_limit_goes_to_an_unlinked_file(tmp_path: Path) -> None:
    async def run(bodies: _Bodies) -> None:
        body = bodies.body()
        await body.add(b"a" * 1000, b"b")
        assert body.received.is_spooled
        assert os.listdir(tmp_path) == []  # noqa: PTH208 - in memory, as good as at once
        await body.add(b"c" * 5000)
        body.received.finish()
        await body.until("ready")
        assert bodies.memory.used == 0
        assert bodies.counters.spool_bytes == 6001
        assert await body.content() == b"a" * 1000 + b"b" + b"c" * 5000
        assert await body.content() == b"a" * 1000 + b"b" + b"c" * 5000, "any number of times"
        assert bodies.counters.bodies_spooled_total == 1
        assert bodies.counters.spooled_bytes_total == 6001
        assert bodies.counters.limits_hit[Limit.BODY_MEMORY] == 0
        body.received.close()

    _with_bodies(run, spool_directory=str(tmp_path))


def test_a_small_body_goes_to_a_file_where_all_together_hold_too_much() -> None:
    async def run(bodies: _Bodies) -> None:
        first, second = bodies.body(), bodies.body()
        await first.add(b"a" * 900)
        await second.add(b"b" * 101)
        assert not first.received.is_spooled
        assert second.received.is_spooled
        assert bodies.counters.limits_hit[Limit.BODY_MEMORY] == 1
        second.received.finish()
        await second.until("ready")
        assert await second.content() == b"b" * 101
        first.received.close()
        second.received.close()

    _with_bodies(run, total_bytes=1000)


def test_a_client_that_is_faster_than_the_disk_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run(bodies: _Bodies) -> None:
        body = bodies.body()
        body.received.add(b"x" * 600_000)
        seen = [body.received.can_take_more]
        await body.until("room")
        assert [*seen, body.received.can_take_more] == [False, True]
        body.received.finish()
        await body.until("ready")
        body.received.close()

    _with_bodies(run, total_bytes=10_000_000)


def test_a_client_waits_while_all_memory_is_held_and_others_are_on_their_way_to_the_disk() -> None:
    async def run(bodies: _Bodies) -> None:
        holder, waiting = bodies.body(), bodies.body()
        await holder.add(b"a" * 1000)
        bodies.memory.disk_bound += 1  # another body's write, which does not end
        await waiting.add(b"b")
        assert not waiting.received.can_take_more
        await asyncio.sleep(0.02)
        assert waiting.told == []
        bodies.memory.disk_bound -= 1
        bodies.memory.give(0)
        assert waiting.told == ["room"]
        await waiting.add(b"c")
        waiting.received.finish()
        await waiting.until("ready")
        assert await waiting.content() == b"bc"
        waiting.received.close()
        holder.received.close()

    _with_bodies(run, total_bytes=1000)


def test_a_client_goes_on_when_all_memory_is_held_by_bodies_that_do_not_move() -> None:
    """To wait for them would be for as long as their clients please."""

    async def run(bodies: _Bodies) -> None:
        holder, going = bodies.body(), bodies.body()
        await holder.add(b"a" * 1000)
        await going.add(b"b")
        await until(lambda: going.received.can_take_more)
        going.received.close()
        holder.received.close()

    _with_bodies(run, total_bytes=1000)


def test_a_body_that_was_closed_while_it_waited_is_not_told() -> None:
    async def run(bodies: _Bodies) -> None:
        holder, waiting = bodies.body(), bodies.body()
        await holder.add(b"a" * 1000)
        bodies.memory.disk_bound += 1
        await waiting.add(b"b")
        await asyncio.sleep(0.02)
        waiting.received.close()
        bodies.memory.disk_bound -= 1
        holder.received.close()
        assert waiting.told == []

    _with_bodies(run, total_bytes=1000)


def test_a_body_of_tiny_pieces_takes_its_own_size_of_memory_and_not_a_multiple() -> None:
    """What is counted is what is held."""

    async def run(bodies: _Bodies) -> None:
        body = bodies.body()
        tracemalloc.start()
        for _ in range(100_000):
            body.received.add(b"xy" if body.received.size % 4 else b"zw")
        held, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert bodies.memory.used == 200_000
        assert held < 400_000
        body.received.close()

    _with_bodies(run, memory_limit_bytes=1_000_000, total_bytes=1_000_000)


def test_a_client_that_goes_in_the_middle_of_a_write_gives_everything_back_when_the_write_ends() -> None:
    async def run(bodies: _Bodies) -> None:
        body = bodies.body()
        body.received.add(b"x" * 5_000_000)
        body.received.add(b"y" * 1_000_000)
        body.received.close()
        body.received.add(b"late")
        assert bodies.memory.used > 0, "the disk still reads it"
        await until(lambda: not bodies.memory.used)
        assert body.told == []

    _with_bodies(run, total_bytes=10_000_000)


def test_a_directory_that_is_missing_is_named() -> None:
    async def run(bodies: _Bodies) -> None:
        body = bodies.body()
        body.received.add(b"x" * 1001)
        assert body.told == ["failed"]
        assert body.error is not None
        assert (body.error.status, str(body.error.code)) == (507, "spool_failed")
        assert body.error.detail == (
            "The body could not be stored in /nonexistent (ASP_SPOOL_DIR): No such file or directory. "
            "Free some room there, or name another directory."
        )
        body.received.add(b"more")
        body.received.close()

    _with_bodies(run, spool_directory="/nonexistent")


def test_a_disk_that_takes_no_more_fails_the_body_and_gives_everything_back() -> None:
    """The error is the system's own: this process may write no file longer than 100,000 bytes."""

    async def run(bodies: _Bodies) -> None:
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
        try:
            body = bodies.body()
            await body.add(*[b"x" * 20_000] * 20)
            await body.until("failed")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert "ready" not in body.told
        assert body.error is not None
        assert "File too large" in body.error.detail
        body.received.finish()
        assert "ready" not in body.told

    _with_bodies(run)


def test_without_a_file_descriptor_the_error_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    async def run(bodies: _Bodies) -> None:
        monkeypatch.setattr(tempfile, "TemporaryFile", fail)
        body = bodies.body()
        body.received.add(b"x" * 1001)
        assert body.error is not None
        assert str(body.error.code) == "out_of_file_descriptors"

    _with_bodies(run)


def test_a_file_that_cannot_be_read_back_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    async def run(bodies: _Bodies) -> None:
        body = bodies.body()
        await body.add(b"x" * 1001)
        body.received.finish()
        await body.until("ready")
        with monkeypatch.context() as patch:
            patch.setattr(os, "pread", fail)
            with pytest.raises(InternalError, match="Input/output error"):
                await body.received.read(0)
        body.received.close()

    _with_bodies(run)


@given(
    pieces=st.lists(st.binary(min_size=1, max_size=400), max_size=8),
    others=st.lists(st.integers(1, 300), max_size=3),
    memory_limit_bytes=st.integers(0, 1500),
    total_bytes=st.integers(0, 1500),
)
def test_hash_and_bytes_are_the_same_however_a_body_arrives_and_wherever_it_is_held(
    pieces: list[bytes], others: list[int], memory_limit_bytes: int, total_bytes: int
) -> None:
    async def run(bodies: _Bodies) -> None:
        if total_bytes:
            bodies.memory.take(min(sum(others), total_bytes - 1))
        body = bodies.body()
        await body.add(*pieces)
        body.received.finish()
        await body.until("ready")
        whole = b"".join(pieces)
        assert body.received.size == len(whole)
        assert body.received.sha256_hex == hashlib.sha256(whole).hexdigest().encode()
        assert await body.content() == whole
        body.received.close()
        if total_bytes:
            bodies.memory.give(min(sum(others), total_bytes - 1))

    _with_bodies(run, memory_limit_bytes=memory_limit_bytes, total_bytes=max(total_bytes, 1))


@pytest.mark.parametrize("size", [5_000, 400_000])
def test_a_full_disk_is_answered_507_and_breaks_nothing_else(size: int) -> None:
    """With the whole body in one read, and while it still arrives."""

    async def run(scene: Scene) -> None:
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        client, other = scene.client(), scene.client()
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, before[1]))
        try:
            request = post(b"x" * size)
            client.send(request[:5_000])
            await scene.until(lambda: client.transport.reads)
            if size > 5_000:
                client.send(request[5_000:10_000])
            else:
                client.send(request[5_000:])
            await scene.until(lambda: bool(client.transport.written))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert client.take_problem() == (507, "spool_failed")
        client.send(b"what is on its way")
        scene.assert_nothing_is_held()
        other.send(post(b"x" * 5_000))
        await scene.until(lambda: bool(scene.connector.transports))
        await scene.settle()
        scene.respond(OK)
        assert other.take() == OK

    play(run)


def test_small_bodies_that_come_with_their_head_are_counted_in_memory_too() -> None:
    async def run(scene: Scene) -> None:
        clients = [scene.client() for _ in range(3)]
        for client in clients:
            client.send(post(b"x" * 400))
        await scene.until(lambda: len(scene.connector.transports) == 3)
        assert scene.context.bodies.memory.used == 800
        assert scene.counters.bodies_spooled_total == 1
        assert scene.hit == {"body_memory": 1}
        for number, client in enumerate(clients):
            await scene.settle()
            scene.respond(OK, number)
            await scene.settle()
            assert client.take() == OK

    play(run, memory_total_bytes=1000)


def test_a_body_goes_to_disk_though_others_hold_all_the_memory_and_do_not_move() -> None:
    """Clients that fill the memory and then drip must not stop every upload for as long as they please."""

    async def run(scene: Scene) -> None:
        dripping = scene.client()
        dripping.send(b"POST /held HTTP/1.1\r\nHost: a\r\nContent-Length: 1001\r\n\r\n" + b"x" * 1000)
        await scene.settle()
        assert scene.counters.body_memory_bytes == 1000
        uploading = scene.client()
        uploading.send(b"PUT /large HTTP/1.1\r\nHost: a\r\nContent-Length: 5000\r\n\r\n")
        for _ in range(5):
            await scene.until(lambda: uploading.transport.reads)
            uploading.send(b"y" * 1000)
        await scene.until(lambda: bool(scene.connector.transports) and len(scene.service().written) > 5000)
        scene.respond(OK)
        await scene.settle()
        assert uploading.take() == OK
        dripping.lose()

    play(run, memory_limit_bytes=1001, memory_total_bytes=1000)
