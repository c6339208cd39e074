"""One request on fake transports: what is sent again and what never is, clients that leave, bodies on their way out."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

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


def test_a_request_of_which_the_client_has_seen_an_interim_response_is_not_sent_again() -> None:
    async def run(scene: Scene) -> None:
        client = scene.client()
        client.send(GET)
        await scene.settle()
        scene.respond(OK)
        assert client.take() == OK
        client.send(GET)
        await scene.settle()
        scene.respond(b"HTTP/1.1 103 Early Hints\r\n\r\n")
        assert client.take() == b"HTTP/1.1 103 Early Hints\r\n\r\n"
        scene.service().protocol.eof_received()
        assert client.take_problem() == (502, "upstream_closed")
        assert scene.counters.retries_total == 0

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
