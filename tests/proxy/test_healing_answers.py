"""Answers that may be refusals: withheld, in whatever pieces and framing, until they can be read."""

from __future__ import annotations

import re

import pytest

from aws_signing_proxy.proxy.service_clock import ServiceClock
from tests.proxy.refusing import HOUR, SKEW, amz, response, signed_at
from tests.proxy.scene import GET, NOW, OK, Scene, play, post
from tests.sigv4.refusal_answers import OTHERS, Answer


@pytest.mark.parametrize("framing", ["length", "chunked", "gzip", "until close"])
def test_it_is_recognised_in_whatever_pieces_and_framing_it_comes(framing: str) -> None:
    async def run(scene: Scene) -> None:
        raw = response(SKEW, NOW + HOUR, framing=framing)
        client = scene.client()
        for number, cut in enumerate(range(0, len(raw), 3)):
            scene.context.route.clock = ServiceClock("service.test")
            client.send(GET)
            await scene.settle()
            service = len(scene.connector.transports) - 1
            scene.service(service).take()
            for piece in filter(None, (raw[:cut], raw[cut:])):
                scene.respond(piece, service)
            assert client.transport.written == b""
            if framing == "until close":
                scene.service(service).protocol.eof_received()
                await scene.settle()
                service += 1
            assert signed_at(scene.service(service).take()) == amz(NOW + HOUR)
            scene.respond(OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"), service)
            assert client.take() == OK
            assert scene.counters.retries_total == number + 1

    play(run)


def test_it_is_recognised_byte_by_byte() -> None:
    async def run(scene: Scene) -> None:
        client = scene.client()
        client.send(GET)
        await scene.settle()
        scene.service().take()
        for byte in response(SKEW, NOW + HOUR, framing="chunked"):
            scene.respond(bytes([byte]))
        assert signed_at(scene.service().take()) == amz(NOW + HOUR)
        scene.respond(OK)
        assert client.take() == OK

    play(run)


@pytest.mark.parametrize("framing", ["length", "chunked", "gzip"])
@pytest.mark.parametrize("answer", OTHERS, ids=lambda answer: answer.name)
def test_an_answer_that_refuses_something_else_is_passed_on_as_it_came(answer: Answer, framing: str) -> None:
    """With a clock that is an hour off, which is no reason by itself."""

    async def run(scene: Scene) -> None:
        raw = response(answer, NOW + HOUR, framing=framing)
        client = scene.client()
        for cut in (len(raw), raw.index(b"\r\n\r\n") + 4, len(raw) - 1, 20):
            client.send(post(b"body"))
            await scene.settle()
            scene.respond(raw[:cut])
            if raw[cut:]:
                scene.respond(raw[cut:])
            assert client.take() == raw
        assert scene.counters.retries_total == 0
        assert scene.context.route.clock.offset_seconds == 0.0

    play(run)


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_of_a_long_answer_the_beginning_decides_and_it_need_not_be_waited_for(framing: str) -> None:
    async def run(scene: Scene) -> None:
        long = SKEW._replace(body=SKEW.body + " " * 6000)
        raw = response(long, NOW + HOUR, framing=framing)
        client = scene.client()
        client.send(GET)
        await scene.settle()
        scene.respond(raw[:1000])
        assert not scene.service().is_aborted
        scene.respond(raw[1000:-500])
        await scene.settle()
        assert scene.service().is_aborted
        assert signed_at(scene.service(1).take()) == amz(NOW + HOUR)
        scene.respond(OK, 1)
        assert client.take() == OK

    play(run)


def test_a_long_answer_that_is_no_refusal_is_passed_on_from_the_fourth_kilobyte_on() -> None:
    async def run(scene: Scene) -> None:
        raw = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 100000\r\n\r\n" + b"x" * 100_000
        client = scene.client()
        client.send(GET)
        await scene.settle()
        scene.respond(raw[:4000])
        assert client.transport.written == b""
        scene.respond(raw[4000:5000])
        assert client.transport.written == raw[:5000]
        scene.respond(raw[5000:6000])
        assert client.transport.written == raw[:6000]
        scene.respond(raw[6000:])
        assert client.take() == raw

    play(run)


@pytest.mark.parametrize("is_refusal", [False, True])
def test_an_answer_that_stands_still_is_not_withheld_for_long(*, is_refusal: bool) -> None:
    async def run(scene: Scene) -> None:
        answer = SKEW if is_refusal else OTHERS[1]
        raw = response(answer._replace(body=answer.body + " " * 100), NOW + HOUR)
        client = scene.client()
        client.send(GET)
        await scene.settle()
        scene.service().take()
        scene.respond(raw[:-50])
        scene.pass_time(1.9)
        scene.respond(raw[-50:-40])
        assert client.transport.written == b""
        scene.pass_time(0.2)
        await scene.settle()
        if is_refusal:
            assert scene.service().is_aborted
            assert signed_at(scene.service(1).take()) == amz(NOW + HOUR)
            scene.respond(OK, 1)
            assert client.take() == OK
        else:
            assert client.transport.written == raw[:-40]
            scene.respond(raw[-40:])
            assert client.take() == raw
        assert scene.hit == {}

    play(run)


@pytest.mark.parametrize("end", ["close", "malformed", "reset"])
def test_an_answer_that_breaks_while_it_is_withheld_is_answered_with_an_error(end: str) -> None:
    async def run(scene: Scene) -> None:
        client = scene.client()
        client.send(GET)
        await scene.settle()
        scene.respond(response(SKEW, NOW + HOUR, framing="chunked")[:-10])
        if end == "malformed":
            scene.respond(b"no chunk\r\n\r\n")
        else:
            scene.service().lose(ConnectionResetError() if end == "reset" else None)
        assert client.take_problem()[0] == 502
        assert scene.counters.bytes_to_downstream_total == 0

    play(run)


def test_a_client_of_http_1_0_gets_the_second_answer_in_its_own_framing() -> None:
    async def run(scene: Scene) -> None:
        client = scene.client()
        client.send(GET.replace(b"HTTP/1.1", b"HTTP/1.0"))
        await scene.settle()
        scene.respond(response(SKEW, NOW + HOUR, framing="chunked"))
        scene.respond(OK)
        assert client.take() == OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
        assert client.transport.is_closed

    play(run)


@pytest.mark.parametrize("framing", ["chunked", "until close"])
def test_a_refusal_that_is_passed_on_is_framed_for_a_client_of_http_1_0(framing: str) -> None:
    async def run(scene: Scene) -> None:
        client = scene.client()
        client.send(GET.replace(b"HTTP/1.1", b"HTTP/1.0"))
        await scene.settle()
        for piece in re.findall(rb"(?s).{1,9}", response(OTHERS[0], NOW, framing=framing)):
            scene.respond(piece)
        scene.service().protocol.eof_received()
        assert client.take().endswith(b"Connection: close\r\n\r\n" + OTHERS[0].body_at(NOW))

    play(run)


def test_what_breaks_off_after_it_was_passed_on_is_cut_off_as_any_answer() -> None:
    async def run(scene: Scene) -> None:
        client = scene.client()
        client.send(GET)
        await scene.settle()
        raw = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 100000\r\n\r\n" + b"x" * 5000
        scene.respond(raw)
        scene.service().lose()
        assert client.take() == raw
        assert client.transport.is_aborted
        assert scene.codes == {"upstream_closed": 1}

    play(run)


@pytest.mark.parametrize("is_all_sent", [True, False])
def test_a_body_that_is_still_on_its_way_does_not_prolong_it(*, is_all_sent: bool) -> None:
    async def run(scene: Scene) -> None:
        body = b"x" * 1_000_000
        client = scene.client()
        client.send(post(body))
        await scene.until(lambda: bool(scene.connector.transports))
        await scene.settle()
        raw = response(OTHERS[0], NOW)
        scene.respond(raw[:-5])
        scene.pass_time(1.9)
        for _ in range(20 if is_all_sent else 1):
            scene.service().take()
            await scene.settle()
        assert scene.service().written.endswith(b"x") or is_all_sent
        scene.pass_time(0.2)
        assert client.transport.written == raw[:-5]
        scene.respond(raw[-5:])
        assert client.take() == raw

    play(run, memory_limit_bytes=1 << 21, memory_total_bytes=1 << 22, high_water=65536)
