"""Every limit and every timeout of the proxy path, tripped: what the client is told, and that nothing stays behind."""

from __future__ import annotations

import pytest

from aws_signing_proxy.errors import ErrorCode, UpstreamError
from tests.proxy.scene import GET, OK, Scene, play, post

CHUNKED = b"POST /path HTTP/1.1\r\nHost: client.test\r\nTransfer-Encoding: chunked\r\n\r\n"


def test_a_request_is_signed_and_its_answer_comes_back() -> None:
    async def run(scene: Scene) -> None:
        client = scene.client()
        client.send(post(b"body"))
        await scene.settle()
        sent = scene.service().take()
        assert sent.startswith(b"POST /path HTTP/1.1\r\nHost: service.test\r\n")
        assert b"Credential=AKIDEXAMPLE/20231114/eu-central-1/es/aws4_request" in sent
        assert sent.endswith(b"\r\n\r\nbody")
        scene.respond(OK)
        assert client.take() == OK
        assert scene.codes == {"ok": 1}
        assert scene.pool == "<Pool idle=1 busy=0 connecting=0 waiting=0>"

    play(run)


def test_a_head_that_does_not_arrive_in_time_is_answered_408_counted_from_its_first_byte() -> None:
    async def run(scene: Scene) -> None:
        client = scene.client()
        scene.pass_time(100)
        for byte in b"GET / HTTP":
            client.send(bytes([byte]))
            scene.pass_time(0.9)
        assert client.take() == b""
        scene.pass_time(1.0)
        assert client.take_problem() == (408, "request_timeout")
        assert scene.hit == {"request_head_timeout": 1}

    play(run)


def test_a_client_without_a_request_is_closed_without_a_word() -> None:
    async def run(scene: Scene) -> None:
        client = scene.client()
        scene.pass_time(299.9)
        assert not client.transport.is_ended
        scene.pass_time(0.1)
        assert client.transport.is_closed
        assert client.take() == b""
        assert scene.hit == {"client_idle_timeout": 1}
        assert scene.codes == {}

    play(run)


def test_the_time_without_a_request_begins_anew_after_each_answer() -> None:
    async def run(scene: Scene) -> None:
        client = scene.client()
        scene.pass_time(299)
        client.send(GET)
        await scene.settle()
        scene.respond(OK)
        scene.pass_time(299)
        assert not client.transport.is_ended
        scene.pass_time(1)
        assert client.transport.is_closed

    play(run)


def test_a_client_that_never_takes_its_answer_does_not_keep_its_connection_for_ever() -> None:
    """`close` waits for what is written; with a client that does not read, that would be for ever."""

    async def run(scene: Scene) -> None:
        client = scene.client(high_water=1)
        client.send(GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        await scene.settle()
        scene.respond(OK)
        assert client.transport.is_closed
        assert not client.transport.is_aborted
        scene.pass_time(120)
        assert client.transport.is_aborted

    play(run)


def test_a_body_that_stands_still_is_answered_408() -> None:
    async def run(scene: Scene) -> None:
        client = scene.client()
        client.send(post(b"x" * 100)[:-50])
        scene.pass_time(119)
        client.send(b"x")
        scene.pass_time(119)
        assert client.take() == b""
        scene.pass_time(1)
        assert client.take_problem() == (408, "request_timeout")
        assert client.transport.is_eof_written
        assert scene.hit == {"progress_timeout": 1}
        scene.assert_nothing_is_held()

    play(run)


def test_a_response_that_does_not_begin_is_answered_504_and_its_connection_is_not_used_again() -> None:
    async def run(scene: Scene) -> None:
        client = scene.client()
        client.send(GET)
        await scene.settle()
        scene.pass_time(59)
        assert client.take() == b""
        scene.pass_time(1)
        assert client.take_problem() == (504, "upstream_response_timeout")
        assert scene.service().is_aborted
        assert scene.hit == {"response_timeout": 1}
        client.send(GET)
        await scene.settle()
        scene.respond(OK, 1)
        assert client.take() == OK

    play(run)


def test_a_response_that_stops_in_its_middle_cuts_the_client_off() -> None:
    async def run(scene: Scene) -> None:
        client = scene.client()
        client.send(GET)
        await scene.settle()
        scene.respond(OK[:-1])
        scene.pass_time(120)
        assert client.take() == OK[:-1]
        assert client.transport.is_aborted
        assert scene.codes == {"upstream_stalled": 1}
        assert scene.hit == {"progress_timeout": 1}

    play(run)


def test_an_upstream_that_takes_no_more_of_a_body_is_answered_504() -> None:
    async def run(scene: Scene) -> None:
        client = scene.client()
        client.send(post(b"x" * 300_000))
        await scene.settle()
        scene.pass_time(120)
        assert client.take_problem() == (504, "upstream_stalled")
        assert scene.service().is_aborted

    play(run, memory_limit_bytes=1_000_000, memory_total_bytes=1_000_000, high_water=1000)


def test_a_client_that_stops_taking_its_response_is_cut_off_and_frees_the_upstream() -> None:
    async def run(scene: Scene) -> None:
        client = scene.client(high_water=10)
        client.send(GET)
        await scene.settle()
        scene.respond(OK[:-1])
        assert not scene.service().reads, "the rest of the response waits in the kernel"
        scene.pass_time(120)
        assert client.transport.is_aborted
        assert scene.service().is_aborted
        assert scene.codes == {"client_stalled": 1}

    play(run)


def test_a_client_that_takes_its_response_again_gets_the_rest() -> None:
    async def run(scene: Scene) -> None:
        client = scene.client(high_water=10)
        client.send(GET)
        await scene.settle()
        scene.respond(OK[:-1])
        scene.pass_time(119)
        assert client.take() == OK[:-1]
        assert scene.service().reads
        scene.pass_time(119)
        scene.respond(OK[-1:])
        assert client.take() == OK[-1:]

    play(run)


def test_a_request_for_which_no_connection_becomes_free_is_answered_503() -> None:
    async def run(scene: Scene) -> None:
        busy, waiting = scene.client(), scene.client()
        busy.send(GET)
        await scene.settle()
        waiting.send(GET)
        scene.pass_time(19)
        assert waiting.take() == b""
        scene.pass_time(1)
        assert b"\r\nRetry-After: 1\r\n" in waiting.transport.written
        assert waiting.take_problem() == (503, "upstream_busy")
        assert scene.hit == {"upstream_connections": 1}
        scene.respond(OK)
        assert busy.take() == OK

    play(run, max_upstream=1)


def test_while_a_connection_is_being_opened_only_the_connect_timeout_counts() -> None:
    async def run(scene: Scene) -> None:
        scene.connector.opens_at_once = False
        client = scene.client()
        client.send(GET)
        await scene.settle()
        scene.pass_time(1000)
        assert client.take() == b""
        scene.connector.asked[0].set_exception(UpstreamError(ErrorCode.UPSTREAM_CONNECT_TIMEOUT, "Too slow."))
        await scene.settle()
        assert client.take_problem() == (504, "upstream_connect_timeout")

    play(run)


def test_a_client_over_the_limit_is_answered_503_and_takes_no_place_from_others() -> None:
    async def run(scene: Scene) -> None:
        first, second, refused = scene.client(), scene.client(), scene.client()
        assert refused.take_problem() == (503, "too_many_connections")
        assert scene.hit == {"connections": 1}
        refused.send(GET)
        first.lose()
        third = scene.client()
        assert third.take() == b"", "the refused one is not gone yet, and does not count"
        assert scene.client().take_problem() == (503, "too_many_connections")
        scene.pass_time(2)
        assert refused.transport.is_aborted
        assert not second.transport.is_ended

    play(run, max_connections=2)


@pytest.mark.parametrize("in_pieces", [False, True])
def test_a_head_over_the_limit_is_answered_431(*, in_pieces: bool) -> None:
    async def run(scene: Scene) -> None:
        client = scene.client()
        head = GET[:-2] + b"X: " + b"x" * 5000 + b"\r\n\r\n"
        for piece in (head[:4000], head[4000:4200], head[4200:]) if in_pieces else (head,):
            client.send(piece)
        assert client.take_problem() == (431, "head_too_large")
        assert scene.hit == {"head_size": 1}
        assert scene.connector.asked == []

    play(run)


def test_a_declared_body_over_the_limit_is_answered_413_before_it_is_read() -> None:
    async def run(scene: Scene) -> None:
        client = scene.client()
        client.send(post(b"x" * 101, b"Expect: 100-continue")[:-101])
        assert client.take_problem() == (413, "body_too_large")
        assert client.transport.is_eof_written
        assert scene.hit == {"body_size": 1}

    play(run, max_body_bytes=100)


def test_a_chunked_body_over_the_limit_is_answered_413_as_soon_as_it_is() -> None:
    async def run(scene: Scene) -> None:
        client = scene.client()
        client.send(CHUNKED + b"64\r\n" + b"x" * 100 + b"\r\n")
        assert client.take() == b""
        client.send(b"1\r\nx")
        assert client.take_problem() == (413, "body_too_large")
        assert scene.hit == {"body_size": 1}
        assert scene.connector.asked == []

    play(run, max_body_bytes=100)


def test_a_body_of_exactly_the_limit_is_forwarded() -> None:
    async def run(scene: Scene) -> None:
        client = scene.client()
        client.send(CHUNKED + b"64\r\n" + b"x" * 100 + b"\r\n0\r\n\r\n")
        await scene.settle()
        assert scene.service().take().endswith(b"\r\n\r\n" + b"x" * 100)
        scene.respond(OK)

    play(run, max_body_bytes=100)


def test_a_refused_client_may_send_on_for_a_while_so_that_it_sees_the_answer() -> None:
    async def run(scene: Scene) -> None:
        client = scene.client()
        client.send(b"nonsense\r\n\r\n")
        assert client.take_problem() == (400, "malformed_request")
        client.send(b"more of it" * 1000)
        assert not client.transport.is_ended
        scene.pass_time(2)
        assert client.transport.is_aborted
        assert scene.codes == {"malformed_request": 1}

    play(run)
