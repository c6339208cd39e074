"""Nothing of a request outlives it: what is freed by the garbage collector only is held for thousands of requests."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from aws_signing_proxy.http1.chunked import ChunkedReader
from aws_signing_proxy.proxy.body import ReceivedBody
from aws_signing_proxy.proxy.exchange import Exchange
from aws_signing_proxy.proxy.healing import Healing
from aws_signing_proxy.proxy.relay import ResponseRelay
from aws_signing_proxy.proxy.sending import BodySender
from tests.proxy.refusing import HOUR, SKEW, response
from tests.proxy.scene import GET, NOW, OK, Scene, play
from tests.sigv4.refusal_answers import REJECTED

KINDS = (Exchange, BodySender, ReceivedBody, ChunkedReader, ResponseRelay, Healing)


@pytest.fixture(autouse=True)
def _without_garbage_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def alive() -> list[str]:
    return [type(each).__name__ for each in gc.get_objects() if isinstance(each, KINDS)]


@pytest.mark.parametrize("size", [0, 100, 100_000, 3_000_000], ids=["none", "small", "in pieces", "spooled"])
@pytest.mark.parametrize("is_chunked", [False, True], ids=["counted", "chunked"])
def test_a_finished_request_leaves_nothing_behind(*, size: int, is_chunked: bool) -> None:
    async def run(scene: Scene) -> None:
        client = scene.client()
        body = b"x" * size
        if is_chunked:
            chunk = b"%x\r\n%b\r\n" % (size, body) if size else b""
            client.send(b"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk + b"0\r\n\r\n")
        else:
            client.send(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%b" % (size, body))
        await scene.until(lambda: bool(scene.connector.transports) and len(scene.service().written) > size)
        await scene.settle()
        scene.respond(OK)
        await scene.settle()
        assert client.take() == OK
        assert alive() == []

    play(run, memory_limit_bytes=1_000_000, memory_total_bytes=10_000_000)


def test_a_refused_chunked_body_leaves_nothing_behind() -> None:
    async def run(scene: Scene) -> None:
        client = scene.client()
        client.send(b"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\n")
        await scene.settle()
        assert b"ambiguous_framing" in client.take()
        assert alive() == []

    play(run)


def test_a_request_that_was_sent_again_leaves_nothing_behind() -> None:
    async def run(scene: Scene) -> None:
        client = scene.client()
        client.send(GET)
        await scene.settle()
        scene.respond(response(SKEW, NOW + HOUR))
        scene.respond(response(REJECTED[0], NOW + HOUR))
        await scene.fetch_credentials()  # the same ones: the second refusal is the client's
        assert client.take() == response(REJECTED[0], NOW + HOUR)
        await scene.settle()
        assert alive() == []

    play(run)
