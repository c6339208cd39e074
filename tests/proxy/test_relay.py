"""The response's way to the client: every framing, interim responses, bytes that are held back and sent together."""

from __future__ import annotations

import asyncio

import pytest

from tests.proxy.scene import GET, OK, Scene, play
from tests.upstream.fake_transport import FakeTransport


def _get(path: bytes, version: bytes = b"1.1") -> bytes:
    return b"GET %b HTTP/%b\r\nHost: client.test\r\n\r\n" % (path, version)


def _paths(transport: FakeTransport) -> list[bytes]:
    """The targets of the requests that were sent."""
    return [line.split(b" ")[1] for line in transport.take().split(b"\r\n") if line.endswith(b" HTTP/1.1")]


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
UNTIL_CLOSE = b"HTTP/1.1 200 OK\r\n\r\n"


def test_a_chunked_response_is_relayed_as_it_came_with_extensions_and_trailers() -> None:
    async def run(scene: Scene) -> None:
        client = scene.client()
        client.send(GET)
        await scene.settle()
        pieces = [CHUNKED, b"3;a=b\r\nab", b"c\r\n0\r\n", b"X-Checksum: 1\r\n\r\n"]
        for piece in pieces:
            scene.respond(piece)
        assert client.take() == b"".join(pieces)
        assert scene.counters.bytes_to_downstream_total == 3

    play(run)


def test_a_chunked_response_is_plain_for_a_client_of_http_1_0_and_ends_with_its_connection() -> None:
    async def run(scene: Scene) -> None:
        client = scene.client()
        client.send(_get(b"/", b"1.0").replace(b"\r\n\r\n", b"\r\nConnection: keep-alive\r\n\r\n"))
        await scene.settle()
        for piece in (CHUNKED, b"3\r\nabc\r\n2\r", b"\nde\r\n0\r\n\r\n"):
            scene.respond(piece)
        assert client.take() == b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nabcde"
        assert client.transport.is_closed
        assert scene.pool == "<Pool idle=1 busy=0 connecting=0 waiting=0>"

    play(run)


def test_a_response_that_ends_with_the_upstreams_close_is_chunked_for_the_client() -> None:
    async def run(scene: Scene) -> None:
        client = scene.client()
        client.send(GET)
        await scene.settle()
        scene.respond(UNTIL_CLOSE + b"abc")
        scene.respond(b"de")
        scene.service().protocol.eof_received()
        assert client.take() == CHUNKED + b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
        assert not client.transport.is_ended
        assert scene.counters.bytes_to_downstream_total == 5

    play(run)


def test_a_response_that_a_reset_ends_is_not_made_to_look_whole() -> None:
    async def run(scene: Scene) -> None:
        client = scene.client()
        client.send(GET)
        await scene.settle()
        scene.respond(UNTIL_CLOSE + b"abc")
        scene.service().lose(ConnectionResetError())
        assert client.take() == CHUNKED + b"3\r\nabc\r\n"
        assert client.transport.is_aborted
        assert scene.codes == {"upstream_closed": 1}

    play(run)


def test_a_response_until_close_ends_with_the_connection_of_an_http_1_0_client() -> None:
    async def run(scene: Scene) -> None:
        client = scene.client()
        client.send(_get(b"/", b"1.0"))
        await scene.settle()
        scene.respond(UNTIL_CLOSE + b"abc")
        scene.service().protocol.eof_received()
        assert client.take() == b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nabc"
        assert client.transport.is_closed

    play(run)


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 304 Not Modified\r\nContent-Length: 10\r\nETag: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    ],
)
def test_a_response_without_a_body_is_complete_with_its_head(head: bytes) -> None:
    async def run(scene: Scene) -> None:
        client = scene.client()
        client.send(GET)
        await scene.settle()
        scene.respond(head)
        assert client.take() == head
        assert scene.codes == {"ok": 1}

    play(run)


def test_the_answer_to_head_has_no_body_whatever_its_length_says() -> None:
    async def run(scene: Scene) -> None:
        client = scene.client()
        client.send(GET.replace(b"GET", b"HEAD"))
        await scene.settle()
        head = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n"
        scene.respond(head)
        assert client.take() == head
        assert scene.codes == {"ok": 1}

    play(run)


def test_interim_responses_are_passed_on_except_100_and_except_to_http_1_0() -> None:
    interim = b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"

    async def run(scene: Scene) -> None:
        for version, expected in ((b"1.1", interim + OK), (b"1.0", OK[:-6] + b"\r\nConnection: close\r\n\r\nok")):
            client = scene.client()
            client.send(_get(b"/", version))
            await scene.settle()
            scene.respond(b"HTTP/1.1 100 Continue\r\n\r\n" + interim + OK)
            assert client.take() == expected

    play(run)


def test_an_upstream_that_closes_its_connection_is_believed() -> None:
    async def run(scene: Scene) -> None:
        client = scene.client()
        client.send(GET)
        await scene.settle()
        scene.respond(OK.replace(b"\r\n\r\n", b"\r\nConnection: close, X-Mine\r\nX-Mine: 1\r\n\r\n"))
        assert client.take() == OK
        assert scene.service().is_aborted
        assert not client.transport.is_ended

    play(run)


def test_without_a_flush_interval_bytes_are_sent_as_they_come() -> None:
    async def run(scene: Scene) -> None:
        client = scene.client()
        client.send(GET)
        await scene.settle()
        for piece in (CHUNKED, b"1\r\na\r\n", b"1\r\nb\r\n", b"0\r\n\r\n"):
            scene.respond(piece)
            assert client.take() == piece

    play(run)


def test_with_a_flush_interval_bytes_are_held_back_and_sent_together() -> None:
    async def run(scene: Scene) -> None:
        client = scene.client()
        client.send(GET)
        await scene.settle()
        scene.respond(CHUNKED)
        assert client.take() == CHUNKED, "the head at once"
        scene.respond(b"1\r\na\r\n")
        scene.respond(b"1\r\nb\r\n")
        assert client.take() == b""
        await scene.until(lambda: bool(client.transport.written))
        assert client.take() == b"1\r\na\r\n1\r\nb\r\n"
        scene.respond(b"1\r\nc\r\n")
        scene.respond(b"0\r\n\r\n")
        assert client.take() == b"1\r\nc\r\n0\r\n\r\n", "the end of the response does not wait"

    play(run, flush_interval_seconds=0.01)


def test_many_bytes_are_not_held_back() -> None:
    async def run(scene: Scene) -> None:
        client = scene.client()
        client.send(GET)
        await scene.settle()
        scene.respond(b"HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n")
        client.take()
        scene.respond(b"x" * 40_000)
        assert client.take() == b""
        scene.respond(b"x" * 40_000)
        assert len(client.take()) == 80_000

    play(run, flush_interval_seconds=1000.0)


def test_what_is_held_back_for_a_client_that_goes_is_sent_to_nobody() -> None:
    async def run(scene: Scene) -> None:
        client = scene.client()
        client.send(GET)
        await scene.settle()
        scene.respond(CHUNKED)
        scene.respond(b"1\r\na\r\n")
        client.take()
        client.lose()
        await asyncio.sleep(0.01)
        assert client.take() == b""

    play(run, flush_interval_seconds=0.001)


@pytest.mark.parametrize("cut_at", [None, 20, len(OK) - 1])
@pytest.mark.parametrize("line", [b"GET / HTTP/1.1", b"GET / HTTP/1.0", b"HEAD / HTTP/1.1"])
@pytest.mark.parametrize("option", [b"", b"Connection: close\r\n", b"Connection: keep-alive\r\n"])
def test_a_response_is_the_same_for_client_and_counters_whole_in_one_read_or_not(
    line: bytes, option: bytes, cut_at: int | None
) -> None:
    async def run(scene: Scene) -> None:
        client = scene.client()
        client.send(line + b"\r\nHost: client.test\r\n" + option + b"\r\n")
        await scene.settle()
        is_head = line.startswith(b"HEAD")
        answer = OK.partition(b"\r\n\r\n")[0] + b"\r\n\r\n" if is_head else OK
        for piece in (answer[:cut_at], b"" if cut_at is None else answer[cut_at:]):
            if piece:
                scene.respond(piece)
        closes = option == b"Connection: close\r\n" or (line.endswith(b"1.0") and not option)
        extra = b"Connection: close\r\n" if closes else b"Connection: keep-alive\r\n" if line.endswith(b"1.0") else b""
        assert client.take() == answer.replace(b"\r\n\r\n", b"\r\n" + extra + b"\r\n", 1)
        assert client.transport.is_closed is closes
        assert scene.codes == {"ok": 1}
        assert scene.counters.bytes_to_downstream_total == (0 if is_head else len(OK.partition(b"\r\n\r\n")[2]))
        assert scene.counters.snapshot().first_byte_seconds.counts.count(1) == 1
        assert scene.pool == "<Pool idle=1 busy=0 connecting=0 waiting=0>"
        scene.assert_nothing_is_held()

    play(run)
