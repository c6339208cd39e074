"""Draining, missing credentials, loops and bugs: nothing is forwarded, nothing is lost, and the client is told."""

from __future__ import annotations

import asyncio
import logging

import pytest

from aws_signing_proxy.credentials.model import Credentials
from aws_signing_proxy.errors import ErrorCode, InternalError
from aws_signing_proxy.observe.counters import Limit
from tests.proxy.scene import GET, NOW, OK, Scene, play, post, until


def test_a_request_that_was_on_its_way_when_the_proxy_was_told_to_stop_is_answered() -> None:
    async def run(scene: Scene) -> None:
        idle = scene.client()
        draining = asyncio.ensure_future(scene.server.drain(5))
        await scene.settle()
        idle.send(GET)
        await scene.settle()
        scene.respond(OK)
        assert b"\r\nConnection: close\r\n" in idle.take()
        assert idle.transport.is_closed
        idle.lose()
        assert await draining

    play(run)


def test_an_idle_client_is_nothing_that_was_not_done_in_time() -> None:
    async def run(scene: Scene) -> None:
        idle = scene.client()
        draining = asyncio.ensure_future(scene.server.drain(0))
        await until(lambda: idle.transport.is_closed)
        idle.lose()
        assert await draining
        assert scene.counters.limits_hit[Limit.DRAIN_TIMEOUT] == 0

    play(run)


def test_draining_closes_idle_clients_and_lets_the_others_end() -> None:
    async def run(scene: Scene) -> None:
        idle, busy, fresh = scene.client(), scene.client(), scene.client()
        busy.send(GET)
        fresh.send(GET[:10])
        await scene.settle()
        draining = asyncio.ensure_future(scene.server.drain(5))
        await until(lambda: idle.transport.is_closed)
        scene.respond(OK)
        assert b"\r\nConnection: close\r\n" in busy.take()
        assert busy.transport.is_closed
        fresh.send(GET[10:])
        await scene.settle()
        scene.respond(OK)
        assert b"\r\nConnection: close\r\n" in fresh.take()
        for client in (idle, busy, fresh):
            client.lose()
        assert await draining

    play(run)


def test_draining_closes_a_client_whose_answer_had_begun_before() -> None:
    """Its head promised to keep the connection, so it would sit there until the time to drain is over."""

    async def run(scene: Scene) -> None:
        client = scene.client()
        client.send(GET)
        await scene.settle()
        scene.respond(OK[:-1])
        draining = asyncio.ensure_future(scene.server.drain(5))
        await scene.settle()
        scene.respond(OK[-1:])
        assert client.take() == OK
        assert client.transport.is_closed
        client.lose()
        assert await draining

    play(run)


def test_what_is_not_done_when_the_time_to_drain_is_over_is_cut_off() -> None:
    async def run(scene: Scene) -> None:
        client = scene.client()
        client.send(GET)
        await scene.settle()
        assert not await scene.server.drain(0)
        assert client.transport.is_aborted
        assert scene.codes == {"drain_timeout": 1}
        assert scene.hit == {"drain_timeout": 1}
        scene.assert_nothing_is_held()

    play(run)


def test_without_credentials_nothing_is_forwarded_and_the_client_is_told_when_to_try_again() -> None:
    async def run(scene: Scene) -> None:
        scene.provider.credentials = None
        scene.credentials.current = None
        await scene.fetch_credentials()
        client = scene.client()
        client.send(post(b"body"))
        assert b"\r\nRetry-After: 1\r\n" in client.transport.written
        assert client.take_problem() == (503, "credentials_unavailable")
        assert scene.connector.asked == []

    play(run)


def test_credentials_that_expire_while_a_request_waits_are_not_signed_with() -> None:
    """And all those who wait are told, however many: one after the other must not become one inside the other."""

    async def run(scene: Scene) -> None:
        scene.credentials.current = Credentials("A", "the-secret", expires_at=NOW + 10, source="test")
        scene.connector.opens_at_once = False
        clients = [scene.client() for _ in range(400)]
        for client in clients:
            client.send(GET)
        await scene.settle()
        scene.wall_now = NOW + 10
        scene.connector.asked[0].set_result(None)
        await scene.until(lambda: scene.counters.requests_in_flight == 0)
        await scene.settle()
        assert {client.take_problem() for client in clients} == {(503, "credentials_expired")}
        assert scene.service().take() == b""
        assert scene.pool == "<Pool idle=1 busy=0 connecting=0 waiting=0>"

    play(run, max_connections=1000, max_upstream=1)


def test_a_proxy_that_is_sent_its_own_request_answers_508() -> None:
    async def run(scene: Scene) -> None:
        client = scene.client()
        client.send(GET[:-2] + b"Via: 1.1 other, 1.1 this-proxy\r\n\r\n")
        assert client.take_problem() == (508, "loop_detected")
        assert scene.connector.asked == []

    play(run)


def test_out_of_file_descriptors_is_counted_as_a_limit() -> None:
    async def run(scene: Scene) -> None:
        scene.connector.opens_at_once = False
        client = scene.client()
        client.send(GET)
        await scene.settle()
        scene.connector.asked[0].set_exception(InternalError(ErrorCode.OUT_OF_FILE_DESCRIPTORS, "None left."))
        await scene.settle()
        assert client.take_problem() == (503, "out_of_file_descriptors")
        assert scene.hit == {"file_descriptors": 1}

    play(run)


@pytest.mark.parametrize("step", ["prepare", "finish"])
@pytest.mark.parametrize("body", [b"small", b"x" * 5000])
@pytest.mark.parametrize("is_idle", [True, False])
def test_a_bug_ends_one_request_with_500_and_loses_no_connection(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, step: str, body: bytes, *, is_idle: bool
) -> None:
    """Whether the request is sent at once, behind the disk, or when a connection is opened."""

    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    async def run(scene: Scene) -> None:
        client = scene.client()
        if is_idle:
            client.send(GET)
            await scene.settle()
            scene.respond(OK)
            client.take()
        with monkeypatch.context() as patch:
            patch.setattr(type(scene.rewriter), step, fail)
            client.send(post(body))
            await scene.until(lambda: bool(client.transport.written))
        assert client.take_problem() == (500, "internal_error")
        scene.assert_nothing_is_held()
        other = scene.client()
        other.send(post(body))
        await scene.until(lambda: any(b"POST" in each.written for each in scene.connector.transports))

    with caplog.at_level(logging.ERROR):
        play(run, max_upstream=1)
    assert "ZeroDivisionError" in caplog.text
    assert "the-secret" not in caplog.text
    assert "the-token" not in caplog.text


@pytest.mark.parametrize(
    ("where", "answer"),
    [("exchange.whole_response", OK), ("relay.ResponseRelay.feed", OK[:20])],
    ids=["whole", "a part"],
)
def test_a_bug_in_reading_a_response_ends_one_request_with_500(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, where: str, answer: bytes
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    async def run(scene: Scene) -> None:
        client = scene.client()
        client.send(GET)
        await scene.settle()
        with monkeypatch.context() as patch:
            patch.setattr(f"aws_signing_proxy.proxy.{where}", fail)
            scene.respond(answer)
        assert client.take_problem() == (500, "internal_error")
        assert scene.service().is_aborted

    play(run)
    assert "a response could not be handled" in caplog.text
