"""Requests and responses on fake transports: order, retries, clients that leave, the ways a response is relayed."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aws_signing_proxy.upstream.connection import UpstreamConnection
from tests.proxy.scene import GET, OK, Client, Scene, play, post
from tests.upstream.fake_transport import FakeTransport

IDEMPOTENT = [b"GET", b"HEAD", b"PUT", b"DELETE", b"OPTIONS"]
OTHERS = [b"POST", b"PATCH", b"PURGE"]


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

        def answer() -> None:
            if scene.connector.transports and scene.service().written:
                head, _, body = scene.service().take().partition(b"\r\n\r\n")
                received.append((head.split(b" ")[1], body))
                scene.respond(OK)

        for piece in pieces:
            client.send(piece)
            for _ in range(next(waits, 1)):
                await asyncio.sleep(0)
            answer()
        while len(received) < len(requests):
            await scene.until(lambda: bool(scene.connector.transports) and bool(scene.service().written))
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


async def _after_one_request(scene: Scene, client: Client) -> None:
    client.send(GET)
    await scene.settle()
    scene.respond(OK)
    client.take()
    scene.service().take()


@pytest.mark.parametrize("method", IDEMPOTENT)
def test_an_idempotent_request_that_meets_a_closed_reused_connection_is_sent_once_more(method: bytes) -> None:
    async def run(scene: Scene) -> None:
        client = scene.client()
        await _after_one_request(scene, client)
        client.send(post(b"body", method=method))
        first = scene.service().take()
        scene.service().lose()
        await scene.settle()
        second = scene.service(1).take()
        assert first.endswith(b"\r\n\r\nbody")
        assert second == first
        scene.service(1).lose()
        await scene.settle()
        assert client.transport.written.startswith(b"HTTP/1.1 502")
        assert len(scene.connector.transports) == 2
        assert scene.codes == {"ok": 1, "upstream_closed": 1}
        assert scene.counters.retries_total == 1

    play(run)


@pytest.mark.parametrize("method", OTHERS)
def test_another_request_is_never_sent_twice(method: bytes) -> None:
    async def run(scene: Scene) -> None:
        client = scene.client()
        await _after_one_request(scene, client)
        client.send(post(b"body", method=method))
        scene.service().lose()
        await scene.settle()
        assert client.take_problem() == (502, "upstream_closed")
        assert len(scene.connector.transports) == 1
        assert scene.counters.retries_total == 0

    play(run)


@pytest.mark.parametrize("method", [*IDEMPOTENT, *OTHERS])
def test_any_request_goes_on_a_fresh_connection_where_the_close_is_seen_before_it_is_written(
    method: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run(scene: Scene) -> None:
        client = scene.client()
        await _after_one_request(scene, client)
        with monkeypatch.context() as patch:
            patch.setattr(UpstreamConnection, "has_unread_input", lambda _: True)
            client.send(post(b"body", method=method))
            await scene.settle()
        assert scene.service().take() == b""
        assert scene.service(1).take().endswith(b"\r\n\r\nbody")
        scene.respond(b"HTTP/1.1 204 No Content\r\n\r\n", 1)
        assert client.take() == b"HTTP/1.1 204 No Content\r\n\r\n"

    play(run)


def test_the_close_of_a_fresh_connection_is_not_answered_with_a_retry() -> None:
    async def run(scene: Scene) -> None:
        client = scene.client()
        client.send(GET)
        await scene.settle()
        scene.service().lose()
        await scene.settle()
        assert client.take_problem() == (502, "upstream_closed")
        assert len(scene.connector.transports) == 1

    play(run)


def test_a_connection_that_was_opened_for_somebody_who_left_counts_as_reused() -> None:
    async def run(scene: Scene) -> None:
        scene.connector.opens_at_once = False
        gone, client = scene.client(), scene.client()
        gone.send(GET)
        await scene.settle()
        gone.lose()
        scene.connector.asked[0].set_result(None)
        await scene.settle()
        client.send(GET)
        scene.service().lose()
        await scene.settle()
        scene.connector.asked[1].set_result(None)
        await scene.settle()
        scene.respond(OK, 1)
        assert client.take() == OK

    play(run)


@pytest.mark.parametrize("begun", [b"HTTP/1.1 103 Early Hints\r\n\r\n", b"H", OK[:-1]])
def test_a_response_of_which_a_byte_came_is_never_asked_for_again(begun: bytes) -> None:
    async def run(scene: Scene) -> None:
        client = scene.client()
        await _after_one_request(scene, client)
        client.send(GET)
        scene.respond(begun)
        scene.service().lose()
        await scene.settle()
        assert len(scene.connector.transports) == 1
        assert scene.codes == {"ok": 1, "upstream_closed": 1}

    play(run)


def test_a_retry_in_a_full_pool_does_not_wait_for_ever_behind_others() -> None:
    async def run(scene: Scene) -> None:
        first, second = scene.client(), scene.client()
        await _after_one_request(scene, first)
        first.send(_get(b"/first"))
        second.send(_get(b"/second"))
        scene.service().lose()
        await scene.settle()
        assert _paths(scene.service(1)) == [b"/second"]
        scene.respond(OK, 1)
        await scene.settle()
        assert scene.service(1).is_closed
        assert _paths(scene.service(2)) == [b"/first"]
        scene.respond(OK, 2)
        assert first.take() == second.take() == OK

    play(run, max_upstream=1)


@pytest.mark.parametrize("moment", ["head", "body", "connecting", "waiting", "sent", "responding"])
def test_a_client_that_goes_away_frees_at_once_what_was_done_for_it(moment: str) -> None:
    async def run(scene: Scene) -> None:
        client, busy = scene.client(), scene.client()
        scene.connector.opens_at_once = moment != "connecting"
        if moment == "waiting":
            busy.send(GET)
            await scene.settle()
        request = post(b"x" * 100)
        client.send({"head": request[:20], "body": request[:-1]}.get(moment, request))
        await scene.settle()
        if moment == "responding":
            scene.respond(OK[:-1])
        client.lose()
        assert scene.codes == ({} if moment == "head" else {"client_closed": 1})
        assert scene.context.bodies.memory.used == 0
        assert " waiting=0>" in scene.pool
        if moment in {"sent", "responding"}:
            assert scene.service().is_aborted
        if moment == "connecting":
            scene.connector.asked[0].set_result(None)
            await scene.settle()
            assert scene.pool == "<Pool idle=1 busy=0 connecting=0 waiting=0>"
        if moment == "waiting":
            scene.respond(OK)
            assert busy.take() == OK

    play(run, max_upstream=1)


@pytest.mark.parametrize("size", [300_000, 3_000_000])
def test_a_client_that_goes_away_while_its_large_body_is_sent_leaves_no_trace(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, size: int
) -> None:
    """From memory and from a file; before the first piece, and while the upstream takes no more."""

    async def run(scene: Scene) -> None:
        for rounds in (0, 1, 50):
            client = scene.client()
            client.send(post(b"x" * size))
            count = len(scene.connector.transports)
            await scene.until(lambda count=count: len(scene.connector.transports) == count + 1)  # type: ignore[misc]
            for _ in range(rounds):
                await asyncio.sleep(0.0005)
            client.lose()
            await scene.settle()
            await scene.until(lambda: scene.context.bodies.memory.used == 0)
            scene.assert_nothing_is_held()
        assert scene.codes == {"client_closed": 3}

    play(
        run,
        memory_limit_bytes=1_000_000,
        memory_total_bytes=10_000_000,
        spool_directory=str(tmp_path),
        high_water=1000,
    )
    assert caplog.text == ""


def test_a_client_that_goes_away_before_the_first_piece_of_its_body_is_sent_leaves_no_trace(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Between the head and the first piece the file is closed; nobody may read it then."""

    async def run(scene: Scene) -> None:
        client = scene.client()
        await _after_one_request(scene, client)
        scene.service().on_write = lambda: scene.context.loop.call_soon(client.lose)
        client.send(post(b"x" * 100_000))
        await scene.until(lambda: scene.codes.get("client_closed") == 1)
        await scene.settle()
        assert scene.service().take().endswith(b"\r\n\r\n"), "the head and nothing else"

    play(run, spool_directory=str(tmp_path))
    assert caplog.text == ""


def test_a_large_body_is_sent_as_fast_as_the_upstream_takes_it_and_whole(tmp_path: Path) -> None:
    async def run(scene: Scene) -> None:
        client = scene.client()
        body = bytes(range(256)) * 12_000
        client.send(post(body))
        await scene.until(lambda: bool(scene.connector.transports))
        received = b""
        while len(received) < len(body):
            await asyncio.sleep(0.001)
            assert len(scene.service().written) < 600_000
            received += scene.service().take()
        assert received.endswith(b"\r\n\r\n" + body)
        scene.respond(OK)
        assert client.take() == OK
        assert scene.counters.bodies_spooled_total == 1

    play(run, spool_directory=str(tmp_path), high_water=1000)


def test_a_large_spooled_body_is_sent_again_as_a_whole(tmp_path: Path) -> None:
    async def run(scene: Scene) -> None:
        client = scene.client()
        await _after_one_request(scene, client)
        body = bytes(range(256)) * 8_000
        client.send(post(body, method=b"PUT"))
        await scene.until(lambda: len(scene.service().written) > 10_000)
        scene.service().take()
        scene.service().lose()
        await scene.until(lambda: len(scene.connector.transports) == 2)
        received = b""
        while not received.endswith(body):
            await asyncio.sleep(0.001)
            received += scene.service(1).take()
        assert received.count(b"PUT /path") == 1
        scene.respond(OK, 1)
        assert client.take() == OK

    play(run, spool_directory=str(tmp_path), high_water=1000)


def test_an_answer_before_the_body_is_sent_is_relayed_and_the_connection_not_used_again() -> None:
    async def run(scene: Scene) -> None:
        client = scene.client()
        client.send(post(b"x" * 300_000))
        await scene.settle()
        early = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"
        scene.respond(early)
        await scene.settle()
        assert client.take() == early
        assert scene.service().is_aborted
        scene.pass_time(200)
        assert client.take() == b"", "no time-out of the body that was not sent"
        assert not client.transport.is_ended

    play(run, memory_limit_bytes=1_000_000, memory_total_bytes=1_000_000, high_water=1000)


def test_bytes_behind_a_response_are_dropped_with_their_connection(caplog: pytest.LogCaptureFixture) -> None:
    async def run(scene: Scene) -> None:
        client = scene.client()
        client.send(GET * 2)
        await scene.settle()
        scene.respond(OK + b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
        await scene.settle()
        assert client.take() == OK
        assert scene.service().is_aborted
        scene.respond(OK, 1)
        assert client.take() == OK

    play(run)
    assert "bytes behind its response" in caplog.text


def test_a_malformed_response_is_answered_502_and_none_of_it_is_relayed() -> None:
    async def run(scene: Scene) -> None:
        client = scene.client()
        client.send(GET)
        await scene.settle()
        scene.respond(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx")
        assert client.take_problem() == (502, "upstream_malformed_response")
        assert scene.service().is_aborted

    play(run)


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
