"""Who takes which connection from the queue, what becomes of those that cannot be taken, and where it is listened."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from aws_signing_proxy.observe.counters import Counters, Limit
from aws_signing_proxy.proxy import accepting, server
from aws_signing_proxy.proxy.accepting import Acceptor, NoTurns
from aws_signing_proxy.proxy.listening import Listeners
from tests.wire.raw_client import RawClient
from tests.wire.raw_upstream import RawUpstream
from tests.wire.running_proxy import RunningProxy


class Turns:
    """A worker that may take `allowance` at a time."""

    def __init__(self, allowance: int) -> None:
        self.allowance = allowance
        self.open = self.least = 0

    def opened(self) -> None:
        self.open += 1

    def closed(self) -> None:
        self.open -= 1


class Scarce(socket.socket):
    """A listening socket whose next `failures` cannot be accepted for want of descriptors."""

    failures: list[int]

    def accept(self) -> tuple[socket.socket, Any]:
        if self.failures:
            raise OSError(self.failures.pop(0), "as asked for")
        return super().accept()


class Scene:
    """A listening socket, and the protocols that an acceptor has made for its connections."""

    def __init__(self, turns: Turns | OneMoreThanTheOther | NoTurns) -> None:
        self.listener = Scarce()
        self.listener.failures = []
        self.listener.bind(("127.0.0.1", 0))
        self.listener.listen(128)
        self.listener.setblocking(False)
        self.counters = Counters()
        self.made = 0
        self.turns = turns
        self.acceptor = Acceptor(self.listener, self._protocol, turns=turns, counters=self.counters)
        self.clients = contextlib.ExitStack()

    def _protocol(self) -> asyncio.Protocol:
        self.made += 1
        return asyncio.Protocol()

    def connect(self, count: int) -> None:
        for _ in range(count):
            self.clients.enter_context(socket.create_connection(self.listener.getsockname(), 5))

    async def until_made(self, count: int) -> None:
        async with asyncio.timeout(10):
            while self.made < count:  # noqa: ASYNC110 - there is nothing to wait on
                await asyncio.sleep(0.001)
        await asyncio.sleep(0.01)
        assert self.made == count


def play(
    test: Callable[[Scene], Coroutine[Any, Any, None]], turns: Turns | OneMoreThanTheOther | NoTurns | None = None
) -> None:
    async def run() -> None:
        scene = Scene(NoTurns() if turns is None else turns)
        with scene.clients, scene.listener:
            try:
                await test(scene)
            finally:
                await scene.acceptor.stop()

    asyncio.run(run())


def test_the_only_worker_takes_all_that_come() -> None:
    async def run(scene: Scene) -> None:
        scene.connect(100)
        scene.acceptor.start()
        await scene.until_made(100)

    play(run)


def test_who_has_more_than_others_leaves_them_the_queue_for_a_moment_and_then_takes_what_is_left() -> None:
    async def run(scene: Scene) -> None:
        scene.connect(5)
        began = time.monotonic()
        scene.acceptor.start()
        await scene.until_made(5)
        assert time.monotonic() - began >= 5 * 0.002
        assert isinstance(scene.turns, Turns)
        assert scene.turns.open == 5

    play(run, Turns(0))


def test_while_nobody_else_comes_ever_more_are_taken_at_a_time() -> None:
    """A worker that hangs must not make hundreds wait for each other."""

    async def run(scene: Scene) -> None:
        scene.acceptor._taken_for_others = 16
        scene.connect(100)
        scene.acceptor.start()
        began = time.monotonic()
        await scene.until_made(100)
        assert time.monotonic() - began < 100 * 0.002

    play(run, Turns(0))


class OneMoreThanTheOther:
    """A worker beside one that has no connection, and hangs: it may have one, and stands back for the next."""

    def __init__(self) -> None:
        self.open = self.least = 0

    @property
    def allowance(self) -> int:
        return max(1 - self.open, 0)

    def opened(self) -> None:
        self.open += 1

    def closed(self) -> None:
        self.open -= 1


def test_short_connections_are_taken_one_after_the_other_without_a_pause_between_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whoever stood back goes on when a connection of its own ends: the others may stand back as well."""
    monkeypatch.setattr(accepting, "_STAND_BACK_SECONDS", 3600.0)
    monkeypatch.setattr(server, "NoTurns", OneMoreThanTheOther)
    with RawUpstream() as upstream, RunningProxy(upstream.url) as proxy, contextlib.ExitStack() as stack:
        clients = [stack.enter_context(RawClient(proxy.port)) for _ in range(12)]
        for client in clients:
            client.send(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert [client.read_response().status for client in clients] == [200] * 12


def test_a_shortage_is_not_over_because_a_connection_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run(scene: Scene) -> None:
        scene.listener.failures = [errno.ENOMEM] * 3
        scene.connect(1)
        scene.acceptor.start()
        async with asyncio.timeout(10):
            while not scene.counters.limits_hit[Limit.FILE_DESCRIPTORS]:  # noqa: ASYNC110 - there is nothing to wait on
                await asyncio.sleep(0.001)
        for _ in range(10):
            scene.acceptor.on_closed()
        assert scene.counters.limits_hit[Limit.FILE_DESCRIPTORS] == 1
        scene.listener.failures = []

    monkeypatch.setattr(accepting, "_SHORTAGE_SECONDS", 3600.0)
    play(run)


def test_its_own_connections_ends_do_not_make_it_wait_for_one_that_hangs_again() -> None:
    """Only somebody else's coming shows that nobody hangs."""
    turns = OneMoreThanTheOther()

    async def run(scene: Scene) -> None:
        scene.acceptor._taken_for_others = 16
        scene.acceptor.start()
        for made in range(1, 6):
            scene.connect(1)
            await scene.until_made(made)
            turns.closed()
            scene.acceptor.on_closed()
        assert scene.acceptor._taken_for_others >= 16

    play(run, turns)


def test_somebody_elses_coming_makes_it_wait_again() -> None:
    async def run(scene: Scene) -> None:
        scene.acceptor._taken_for_others = 16
        scene.connect(1)
        scene.acceptor._on_readable()
        scene.listener.accept()[0].close()
        async with asyncio.timeout(10):
            while scene.acceptor._taken_for_others:  # noqa: ASYNC110 - there is nothing to wait on
                await asyncio.sleep(0.001)
        assert scene.made == 0

    play(run, Turns(0))


def test_when_it_is_told_to_stop_it_takes_what_is_in_the_queue_whosever_turn_it_is() -> None:
    async def run(scene: Scene) -> None:
        scene.acceptor.start()
        scene.connect(30)
        await scene.acceptor.stop()
        assert scene.made == 30
        scene.connect(1)
        await asyncio.sleep(0.05)
        assert scene.made == 30

    play(run, Turns(0))


def test_whoever_closes_connections_is_waited_for_again_though_it_has_not_come_yet() -> None:
    turns = Turns(0)

    async def run(scene: Scene) -> None:
        scene.acceptor._taken_for_others = 1000
        turns.least = 3
        scene.connect(1)
        scene.acceptor._after_pause()
        assert scene.acceptor._taken_for_others == 0
        assert scene.made == 0
        assert scene.acceptor._least_seen == 3

    play(run, turns)


def test_when_others_go_on_it_leaves_them_what_is_in_the_queue() -> None:
    async def run(scene: Scene) -> None:
        scene.acceptor.start()
        scene.connect(5)
        await scene.acceptor.stop(is_emptying=False)
        await asyncio.sleep(0.01)
        assert scene.made == 0
        for _ in range(5):
            scene.listener.accept()[0].close()

    play(run, Turns(0))


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM])
def test_what_cannot_be_accepted_for_want_of_something_waits_and_is_taken_later(
    number: int, caplog: pytest.LogCaptureFixture
) -> None:
    async def run(scene: Scene) -> None:
        scene.listener.failures = [number, number]
        scene.acceptor.start()
        scene.connect(3)
        await scene.until_made(3)
        assert scene.counters.limits_hit[Limit.FILE_DESCRIPTORS] == 2

    play(run)
    assert [record.message for record in caplog.records] == [
        "connections cannot be accepted (as asked for); they wait in the kernel"
    ]


def test_a_queue_that_another_process_has_shut_down_is_left_alone(caplog: pytest.LogCaptureFixture) -> None:
    async def run(scene: Scene) -> None:
        scene.acceptor.start()
        scene.listener.shutdown(socket.SHUT_RDWR)
        await asyncio.sleep(0)
        scene.acceptor._on_readable()
        await asyncio.sleep(0.01)
        assert scene.acceptor._timer is None

    play(run)
    assert not caplog.records


def test_a_connection_that_was_gone_before_it_was_taken_is_no_failure(caplog: pytest.LogCaptureFixture) -> None:
    async def run(scene: Scene) -> None:
        scene.listener.failures = [errno.ECONNABORTED]
        scene.acceptor.start()
        scene.connect(1)
        await scene.until_made(1)

    play(run)
    assert not caplog.records


def test_a_protocol_that_cannot_be_made_costs_that_connection_only(caplog: pytest.LogCaptureFixture) -> None:
    async def run(scene: Scene) -> None:
        def fail() -> asyncio.Protocol:
            scene.acceptor._factory = scene._protocol
            raise RuntimeError("a bug")

        scene.acceptor._factory = fail
        scene.acceptor.start()
        scene.connect(2)
        await scene.until_made(1)
        assert isinstance(scene.turns, Turns)
        assert scene.turns.open == 1

    play(run, Turns(1))
    assert [record.message for record in caplog.records] == ["a connection could not be taken over"]


def test_a_name_with_several_addresses_gets_one_port_on_all_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    addresses = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, 0)) for each in ("127.0.0.1", "127.0.0.2")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_named: [*addresses, addresses[0]])
    listeners = Listeners.tcp("localhost", 0)
    try:
        names = [each.getsockname() for each in listeners.sockets]
        assert names == [("127.0.0.1", listeners.port), ("127.0.0.2", listeners.port)]
        assert listeners.port
    finally:
        listeners.close()


def test_an_address_that_is_taken_leaves_no_socket_open() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other, pytest.raises(OSError, match="in use"):
        Listeners.tcp("127.0.0.1", other.getsockname()[1])


def test_a_closed_listener_refuses_clients_also_where_another_process_still_holds_it(tmp_path: Path) -> None:
    path = str(tmp_path / "proxy.sock")
    for listeners in (Listeners.tcp("127.0.0.1", 0), Listeners.unix(path)):
        held = listeners.sockets[0].dup()
        family, address = held.family, held.getsockname()
        listeners.listen()
        with socket.socket(family) as client:
            client.connect(address)
        listeners.close()
        with socket.socket(family) as client, pytest.raises((ConnectionRefusedError, FileNotFoundError)):
            client.connect(address)
        held.close()
    assert not Path(path).exists()
