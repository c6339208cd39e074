"""One connection of a client: requests in order, wherever their bytes are cut, and no more of them than it takes."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.proxy.scene import GET, OK, Scene, play, post
from tests.upstream.fake_transport import FakeTransport


def _get(path: bytes, version: bytes = b"1.1") -> bytes:
    return b"GET %b HTTP/%b\r\nHost: client.test\r\n\r\n" % (path, version)


def _paths(transport: FakeTransport) -> list[bytes]:
    """The targets of the requests that were sent."""
    return [line.split(b" ")[1] for line in transport.take().split(b"\r\n") if line.endswith(b" HTTP/1.1")]


def test_pipelined_requests_are_answered_one_after_the_other() -> None:
    async def run(scene: Scene) -> None:
        client = scene.client()
        client.send(_get(b"/1") + post(b"two") + _get(b"/3"))
        sent = []
        for _ in range(3):
            await scene.settle()
            sent += _paths(scene.service())
            scene.respond(OK)
        assert sent == [b"/1", b"/path", b"/3"]
        assert client.take() == OK * 3

    play(run)


@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
def test_a_request_that_arrives_when_a_pipelined_one_is_about_to_be_read_is_not_taken_for_a_part_of_it(
    version: bytes,
) -> None:
    """Two heads taken for one would be forwarded as one: a smuggled request, signed."""
    keep_alive = b"\r\nConnection: keep-alive\r\n\r\n"

    async def run(scene: Scene) -> None:
        client = scene.client()
        requests = [b"GET /%d HTTP/%b" % (number, version) + keep_alive for number in range(3)]
        if version == b"1.1":
            requests = [each.replace(b"\r\n", b"\r\nHost: client.test\r\n", 1) for each in requests]
        client.send(requests[0] + requests[1])
        await scene.settle()
        scene.respond(OK)
        client.send(requests[2])  # in the same round of the event loop as the answer
        sent = _paths(scene.service())
        await scene.settle()
        sent += _paths(scene.service())
        scene.respond(OK)
        await scene.settle()
        sent += _paths(scene.service())
        scene.respond(OK)
        assert sent == [b"/0", b"/1", b"/2"]
        assert scene.codes == {"ok": 3}

    play(run)


@st.composite
def _requests(draw: st.DrawFn) -> list[tuple[bytes, bytes]]:
    """Requests as (bytes of the client, body that the service gets)."""
    requests: list[tuple[bytes, bytes]] = []
    for number in range(draw(st.integers(1, 6))):
        body = draw(st.sampled_from([b"", b"x", b"\r\n\r\n", b"GET /evil HTTP/1.1\r\nHost: a\r\n\r\n", b"y" * 1500]))
        line = b"%b /%d HTTP/1.1\r\nHost: a\r\n" % (b"POST" if body else b"GET", number)
        if not body:
            requests.append((line + b"\r\n", body))
        elif draw(st.booleans()):
            requests.append((line + b"Content-Length: %d\r\n\r\n%b" % (len(body), body), body))
        else:
            at = draw(st.integers(1, len(body)))
            chunks = b"".join(b"%x\r\n%b\r\n" % (len(each), each) for each in (body[:at], body[at:]) if each)
            requests.append((line + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n", body))
    return requests


@given(
    requests=_requests(),
    cuts=st.lists(st.integers(0, 12_000), max_size=12),
    turns=st.lists(st.integers(0, 3), max_size=30),
)
def test_requests_are_the_same_wherever_their_bytes_are_cut_and_whenever_they_are_answered(
    requests: list[tuple[bytes, bytes]], cuts: list[int], turns: list[int]
) -> None:
    """`turns`: how often the event loop goes round behind each piece that arrives and each answer."""
    stream = b"".join(request for request, _ in requests)
    borders = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    pieces = [stream[begin:end] for begin, end in pairwise(borders)]

    async def run(scene: Scene) -> None:
        client = scene.client()
        waits = iter(turns)
        received: list[tuple[bytes, bytes]] = []

        def is_asked() -> bool:
            if not scene.connector.transports:
                return False
            head, end, body = bytes(scene.service().written).partition(b"\r\n\r\n")
            length = head.partition(b"Content-Length: ")[2].partition(b"\r\n")[0]
            return bool(end) and len(body) == int(length or b"0")

        def answer() -> None:
            if is_asked():
                head, _, body = scene.service().take().partition(b"\r\n\r\n")
                received.append((head.split(b" ")[1], body))
                scene.respond(OK)

        for piece in pieces:
            client.send(piece)
            for _ in range(next(waits, 1)):
                await asyncio.sleep(0)
            answer()
        while len(received) < len(requests):
            await scene.until(is_asked)
            answer()
        assert received == [(b"/%d" % number, body) for number, (_, body) in enumerate(requests)]
        assert client.take() == OK * len(requests)
        assert scene.codes == {"ok": len(requests)}

    play(run, max_upstream=1)


def test_a_thousand_pipelined_requests_are_answered() -> None:
    async def run(scene: Scene) -> None:
        client = scene.client()
        client.send(
            b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\nX: " * 999 + b"\r\n\r\n"
        )
        for _ in range(1000):
            await scene.settle()
            scene.service().take()
            scene.respond(OK)
        assert client.take() == OK * 1000

    play(run)


def test_a_client_that_pipelines_too_much_is_made_to_wait() -> None:
    async def run(scene: Scene) -> None:
        client = scene.client()
        client.send(GET)
        await scene.settle()
        while client.transport.reads:
            client.send(GET)
        assert 64 * 1024 < len(client.connection._buffer) < 70 * 1024
        scene.respond(OK)
        await scene.settle()
        assert client.transport.reads

    play(run)


def test_a_client_that_takes_no_answers_gets_no_further_ones() -> None:
    """Else pipelined requests would heap up answers in memory, each of them complete and so never paused."""

    async def run(scene: Scene) -> None:
        client = scene.client(high_water=1)
        client.send(GET * 3)
        await scene.settle()
        scene.service().take()
        scene.respond(OK)
        await scene.settle()
        assert scene.service().take() == b""
        assert client.take() == OK
        await scene.settle()
        assert scene.service().take()
        scene.respond(OK)
        scene.pass_time(120)
        assert client.transport.is_aborted

    play(run)


def test_a_request_may_come_byte_by_byte() -> None:
    async def run(scene: Scene) -> None:
        client = scene.client()
        for byte in post(b"body"):
            client.send(bytes([byte]))
        await scene.settle()
        assert scene.service().take().endswith(b"\r\n\r\nbody")
        for byte in OK:
            scene.respond(bytes([byte]))
        assert client.take() == OK

    play(run)


def test_a_body_is_asked_for_where_the_client_waits_for_that() -> None:
    async def run(scene: Scene) -> None:
        client = scene.client()
        client.send(post(b"body", b"Expect: 100-continue")[:-4])
        assert client.take() == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.send(b"body")
        await scene.settle()
        assert b"expect" not in scene.service().take().lower()
        scene.respond(OK)
        assert client.take() == OK

    play(run)
