"""Requests that have nothing to sign with yet: they wait for a fetch that may bring it in time, and for no other."""

from __future__ import annotations

import threading
from typing import Any

from aws_signing_proxy.credentials.fetch import Fetch
from aws_signing_proxy.credentials.model import Credentials
from tests.proxy.scene import GET, NOW, OK, Client, Scene, SceneProvider, play, post


class SlowProvider(SceneProvider):
    """A remote source that answers when the test says so."""

    def __init__(self, credentials: Credentials | None) -> None:
        super().__init__(credentials)
        self.is_local = False
        self.gate = threading.Event()

    def retrieve(self, fetch: Fetch) -> Credentials:
        """Wait, then return what there is."""
        self.gate.wait(10)
        return super().retrieve(fetch)


class Waiting:
    """A scene whose credentials are being fetched from a slow source, and clients that have sent a request."""

    def __init__(self, scene: Scene, request: bytes = GET, *, clients: int = 1) -> None:
        self.scene = scene
        self.provider = SlowProvider(scene.provider.credentials)
        scene.credentials.refresher.provider = self.provider
        scene.credentials.refresher._fetcher.provider = self.provider
        scene.credentials.current = None
        self.clients: list[Client] = []
        self._request = request
        self._count = clients

    async def begin(self) -> None:
        """Start to fetch, and let the clients send."""
        await self.scene.credentials.start()
        await self.scene.until(lambda: self.scene.credentials.refresher.is_fetching)
        self.clients = [self.scene.client() for _ in range(self._count)]
        for client in self.clients:
            client.send(self._request)
        await self.scene.settle()

    async def answer(self) -> None:
        """Let the source answer."""
        self.provider.gate.set()
        await self.scene.until(lambda: not self.scene.credentials.refresher.is_fetching)
        await self.scene.settle()

    async def end(self) -> None:
        """Leave no task behind."""
        self.provider.gate.set()
        await self.scene.credentials.stop()


def waits(run: Any, request: bytes = GET, *, clients: int = 1, **options: Any) -> None:
    async def in_scene(scene: Scene) -> None:
        waiting = Waiting(scene, request, clients=clients)
        await waiting.begin()
        try:
            await run(scene, waiting)
        finally:
            await waiting.end()

    play(in_scene, **options)


def test_a_request_waits_for_the_fetch_under_way_and_is_signed_with_what_it_brings() -> None:
    async def run(scene: Scene, waiting: Waiting) -> None:
        (client,) = waiting.clients
        assert client.take() == b""
        assert scene.connector.asked == []
        assert scene.credentials.waiting == 1
        await waiting.answer()
        assert b"Credential=AKIDEXAMPLE/" in scene.service().written
        scene.respond(OK)
        assert client.take() == OK
        assert scene.credentials.waiting == 0

    waits(run)


def test_a_request_with_a_body_waits_with_it() -> None:
    async def run(scene: Scene, waiting: Waiting) -> None:
        await waiting.answer()
        assert scene.service().written.endswith(b"\r\n\r\nsome body")
        scene.respond(OK)
        assert waiting.clients[0].take() == OK

    waits(run, post(b"some body"))


def test_fifty_that_wait_are_all_served_by_one_fetch() -> None:
    async def run(scene: Scene, waiting: Waiting) -> None:
        assert scene.credentials.waiting == 50
        fetches = scene.credentials.refresher.ledger.fetches
        before = fetches["success"]
        await waiting.answer()
        assert fetches["success"] == before + 1
        for number in range(50):
            scene.respond(OK, number)
        assert [client.take() for client in waiting.clients] == [OK] * 50

    waits(run, clients=50, max_connections=60, max_upstream=50)


def test_one_that_waited_too_long_is_answered_with_the_reason_and_counted_as_a_limit() -> None:
    async def run(scene: Scene, waiting: Waiting) -> None:
        (client,) = waiting.clients
        scene.pass_time(9.9)
        assert client.take() == b""
        scene.pass_time(0.2)
        answer = client.take()
        assert b"503 Service Unavailable\r\n" in answer
        assert b'"credentials_unavailable"' in answer
        assert b"The request waited 10 s for credentials (ASP_CREDENTIALS_WAIT_TIMEOUT)." in answer
        assert b"\r\nRetry-After: 1\r\n" in answer
        assert scene.hit == {"credentials_wait": 1}
        assert scene.credentials.waiting == 0
        assert scene.connector.asked == []

    waits(run)


def test_a_client_that_goes_away_waits_for_nothing() -> None:
    async def run(scene: Scene, waiting: Waiting) -> None:
        waiting.clients[0].lose()
        assert scene.credentials.waiting == 0
        await waiting.answer()
        assert scene.connector.asked == []
        assert scene.codes == {"client_closed": 1}

    waits(run)


def test_where_the_source_refuses_all_who_wait_are_answered_and_the_next_at_once() -> None:
    async def run(scene: Scene, waiting: Waiting) -> None:
        waiting.provider.credentials = None
        waiting.provider.is_conclusive = True
        await waiting.answer()
        assert {client.take_problem() for client in waiting.clients} == {(503, "credentials_unavailable")}
        late = scene.client()
        late.send(GET)
        assert late.take_problem() == (503, "credentials_unavailable")
        assert scene.connector.asked == []

    waits(run, clients=5)


def test_credentials_that_expire_while_a_request_waits_for_a_connection_are_waited_for_again() -> None:
    """The connection that it got is given back meanwhile, and it is signed with the new ones."""

    async def run(scene: Scene, waiting: Waiting) -> None:
        scene.connector.opens_at_once = False
        waiting.provider.credentials = Credentials("AKIAFIRST", "the-secret", expires_at=NOW + 10, source="test")
        await waiting.answer()
        scene.wall_now = NOW + 10
        waiting.provider.credentials = Credentials("AKIASECOND", "the-secret", source="test")
        waiting.provider.gate.clear()
        scene.connector.asked[0].set_result(None)
        await scene.until(lambda: scene.credentials.waiting == 1)
        await scene.settle()
        assert scene.service().written == b""
        assert scene.pool == "<Pool idle=1 busy=0 connecting=0 waiting=0>"
        waiting.provider.gate.set()
        await scene.until(lambda: b"Credential=AKIASECOND/" in scene.service().written)
        scene.respond(OK)
        assert waiting.clients[0].take() == OK

    waits(run, max_upstream=1)
