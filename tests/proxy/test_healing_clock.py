"""Requests refused for their time: signed again with the service's, once, without the client noticing."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from aws_signing_proxy.proxy.exchange import Exchange
from aws_signing_proxy.proxy.healing import Healing
from aws_signing_proxy.sigv4.refusals import Refusal
from tests.proxy.refusing import HOUR, SKEW, amz, date_line, response, signed_at
from tests.proxy.scene import GET, NOW, OK, Scene, play, post
from tests.sigv4.refusal_answers import AMBIGUOUS, SKEWED, Answer


@pytest.mark.parametrize("offset", [-HOUR, HOUR])
@pytest.mark.parametrize("answer", [*SKEWED, *AMBIGUOUS], ids=lambda answer: answer.name)
def test_a_request_that_any_service_refuses_for_its_time_is_signed_with_the_services_time(
    answer: Answer, offset: float
) -> None:
    async def run(scene: Scene) -> None:
        client = scene.client()
        client.send(post(b"body"))
        await scene.settle()
        first = scene.service().take()
        scene.respond(response(answer, NOW + offset))
        second = scene.service().take()
        assert signed_at(first) == amz(NOW)
        assert signed_at(second) in {amz(NOW + offset), amz(NOW + offset + 1)}
        assert second.endswith(b"\r\n\r\nbody")
        assert client.transport.written == b""
        scene.respond(OK)
        assert client.take() == OK
        # On the same connection, and from now on at the first attempt.
        assert len(scene.connector.transports) == 1
        client.send(GET)
        assert signed_at(scene.service().take()) == signed_at(second)
        scene.respond(OK)
        assert scene.codes == {"ok": 2}
        assert {key[1] for key in scene.counters.requests} == {200}
        assert scene.counters.retries == {"connection_closed": 0, "clock_skew": 1, "credentials": 0}
        assert not scene.context.route.clock.is_on_trial

    play(run)


@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"PURGE"])
def test_any_method_is_sent_again_for_the_service_did_nothing_with_it(method: bytes) -> None:
    async def run(scene: Scene) -> None:
        client = scene.client()
        client.send(post(b"body", method=method))
        await scene.settle()
        scene.service().take()
        answer = response(SKEW, NOW + HOUR)
        scene.respond(answer.partition(b"\r\n\r\n")[0] + b"\r\n\r\n" if method == b"HEAD" else answer)
        assert signed_at(scene.service().take()) == amz(NOW + HOUR)
        scene.respond(b"HTTP/1.1 204 No Content\r\n\r\n")
        assert client.take() == b"HTTP/1.1 204 No Content\r\n\r\n"

    play(run)


WORDLESS = response(Answer("no words", 403, ""), NOW + HOUR)
"""How a service refuses a HEAD request, for whatever reason; its clock, or a gateway's, is an hour off."""


@pytest.mark.parametrize("final", [b"HTTP/1.1 403 Forbidden", b"HTTP/1.1 404 Not Found", b"HTTP/1.1 500 Broken"])
@pytest.mark.parametrize("first", [WORDLESS, response(AMBIGUOUS[0], NOW + HOUR)])
def test_a_time_that_only_the_date_speaks_of_is_for_one_retry_and_forgotten_unless_that_is_accepted(
    first: bytes, final: bytes
) -> None:
    async def run(scene: Scene) -> None:
        method = b"HEAD" if first == WORDLESS else b"GET"
        client, other = scene.client(), scene.client()
        for count in (1, 2):
            client.send(post(b"", method=method))
            await scene.settle()
            assert signed_at(scene.service().take()) == amz(NOW)
            scene.respond(first)
            assert signed_at(scene.service().take()) == amz(NOW + HOUR)
            # Nobody else is signed with it meanwhile.
            assert scene.context.route.clock.offset_seconds == 0.0
            other.send(GET)
            await scene.settle()
            assert signed_at(scene.service(1).take()) == amz(NOW)
            scene.respond(OK, 1)
            scene.respond(final + b"\r\n" + date_line(NOW + HOUR) + b"Content-Length: 0\r\n\r\n")
            assert client.take().startswith(final)
            assert other.take() == OK
            assert scene.context.route.clock.offset_seconds == 0.0
            assert not scene.context.route.clock.is_on_trial
            assert scene.counters.retries["clock_skew"] == count

    play(run)


@pytest.mark.parametrize("first", [WORDLESS, response(AMBIGUOUS[0], NOW + HOUR)])
def test_a_time_that_only_the_date_speaks_of_is_adopted_when_it_is_accepted(first: bytes) -> None:
    async def run(scene: Scene) -> None:
        client = scene.client()
        client.send(post(b"", method=b"HEAD" if first == WORDLESS else b"GET"))
        await scene.settle()
        scene.service().take()
        scene.respond(first)
        scene.service().take()
        scene.respond(OK if first != WORDLESS else OK[:-2])
        assert client.take().startswith(b"HTTP/1.1 200 OK")
        client.send(GET)
        assert signed_at(scene.service().take()) in {amz(NOW + HOUR), amz(NOW + HOUR + 1)}
        scene.respond(OK)
        assert scene.counters.retries["clock_skew"] == 1
        assert not scene.context.route.clock.is_on_trial

    play(run)


def test_a_second_refusal_is_the_clients_and_the_time_that_did_not_help_is_forgotten() -> None:
    async def run(scene: Scene) -> None:
        client = scene.client()
        for count in (1, 2):
            client.send(GET)
            await scene.settle()
            assert signed_at(scene.service().take()) == amz(NOW)
            scene.respond(response(SKEW, NOW + HOUR))
            assert signed_at(scene.service().take()) == amz(NOW + HOUR)
            refused = response(SKEW, NOW + HOUR)
            scene.respond(refused)
            assert client.take() == refused
            assert scene.service().take() == b""
            assert scene.counters.retries_total == count
            assert scene.context.route.clock.offset_seconds == 0.0
        assert {key[1] for key in scene.counters.requests} == {403}

    play(run)


def test_a_wrong_date_in_an_answer_that_is_no_refusal_changes_nothing() -> None:
    async def run(scene: Scene) -> None:
        client = scene.client()
        for status in (b"200", b"403", b"404", b"503"):
            client.send(GET)
            await scene.settle()
            scene.respond(b"HTTP/1.1 %b Whatever\r\n%bContent-Length: 0\r\n\r\n" % (status, date_line(NOW + 9 * HOUR)))
            client.take()
            assert scene.context.route.clock.offset_seconds == 0.0
        assert scene.counters.retries_total == 0

    play(run)


def test_an_odd_refusal_costs_the_other_requests_nothing_but_their_own_retry() -> None:
    """One answer shows a wrong time; another request is signed with it before that turns out."""

    async def run(scene: Scene) -> None:
        first, second = scene.client(), scene.client()
        first.send(GET)
        await scene.settle()
        scene.respond(response(SKEWED[1], NOW + 9 * HOUR))
        second.send(GET)
        await scene.settle()
        assert signed_at(scene.service(1).take()) == amz(NOW + 9 * HOUR)
        scene.respond(response(SKEW, NOW), 1)
        assert signed_at(scene.service(1).take()) == amz(NOW)
        scene.respond(OK, 1)
        assert second.take() == OK
        scene.respond(response(SKEW, NOW))
        assert first.take() == response(SKEW, NOW)
        assert scene.context.route.clock.offset_seconds == 0.0

    play(run)


def test_the_offset_is_forgotten_when_the_local_clock_is_set_right() -> None:
    async def run(scene: Scene) -> None:
        client = scene.client()
        client.send(GET)
        await scene.settle()
        scene.respond(response(SKEW, NOW + HOUR))
        scene.respond(OK)
        scene.wall_now += HOUR
        client.send(GET)
        scene.service().take()
        scene.respond(response(SKEW, NOW + HOUR))
        assert signed_at(scene.service().take()) == amz(NOW + HOUR)
        scene.respond(OK)
        assert client.take() == OK + OK
        assert scene.context.route.clock.offset_seconds == 0.0
        assert not scene.context.route.clock.is_on_trial

    play(run)


def test_an_answer_that_tells_no_time_is_tried_again_all_the_same() -> None:
    """The machine may have slept between signing and sending; then only the signature is old."""

    async def run(scene: Scene) -> None:
        client = scene.client()
        client.send(GET)
        await scene.settle()
        scene.service().take()
        scene.wall_now += 600
        scene.respond(response(SKEWED[1], NOW + 600, has_date=False))
        assert signed_at(scene.service().take()) == amz(NOW + 600)
        scene.respond(OK)
        assert client.take() == OK
        assert scene.context.route.clock.offset_seconds == 0.0

    play(run)


def test_credentials_expire_by_the_local_clock_whatever_the_services_says() -> None:
    async def run(scene: Scene) -> None:
        held = scene.credentials.current
        assert held is not None
        held.expires_at = NOW + 600
        client = scene.client()
        client.send(GET)
        await scene.settle()
        scene.respond(response(SKEW, NOW + HOUR))
        scene.service().take()
        scene.respond(OK)
        client.take()
        client.send(GET)
        assert signed_at(scene.service().take()) == amz(NOW + HOUR)
        scene.respond(OK)

    play(run)


@pytest.mark.parametrize("size", [3_000, 300_000])
def test_a_body_in_a_file_and_a_large_one_in_memory_are_sent_whole_the_second_time(tmp_path: Path, size: int) -> None:
    async def run(scene: Scene) -> None:
        body = bytes(range(256)) * (size // 256) + b"end"
        client = scene.client()
        client.send(post(body))
        await scene.until(lambda: bool(scene.connector.transports))
        await scene.until(lambda: scene.service().written.endswith(b"end"))
        assert scene.service().take().endswith(body)
        await scene.settle()
        scene.respond(response(SKEW, NOW + HOUR))
        await scene.until(lambda: scene.service().written.endswith(b"end"))
        assert scene.service().take().endswith(b"\r\n\r\n" + body)
        scene.respond(OK)
        assert client.take() == OK
        assert len(scene.connector.transports) == 1

    memory = 1024 if size < 10_000 else 1 << 20
    play(run, memory_limit_bytes=memory, memory_total_bytes=1 << 21, spool_directory=str(tmp_path))


def test_a_body_that_was_not_all_sent_yet_is_sent_on_another_connection() -> None:
    async def run(scene: Scene) -> None:
        body = b"x" * 1_000_000 + b"end"
        client = scene.client()
        client.send(post(body))
        await scene.until(lambda: bool(scene.connector.transports))
        await scene.settle()
        assert len(scene.service().written) < len(body)
        scene.respond(response(SKEW, NOW + HOUR))
        assert scene.service().is_aborted
        sent = bytearray()
        while not sent.endswith(b"end"):
            await scene.settle()
            sent += scene.service(1).take()
        assert sent.endswith(b"\r\n\r\n" + body)
        scene.respond(OK, 1)
        assert client.take() == OK
        await scene.settle()
        assert [task.get_name() for task in asyncio.all_tasks() if "body" in task.get_name()] == []

    play(run, memory_limit_bytes=1 << 21, memory_total_bytes=1 << 22, high_water=65536)


@pytest.mark.parametrize("moment", ["withheld", "connecting", "sent"])
def test_a_client_that_goes_away_meanwhile_frees_everything(moment: str) -> None:
    async def run(scene: Scene) -> None:
        client = scene.client()
        client.send(post(b"body"))
        await scene.settle()
        raw = response(SKEW, NOW + HOUR)
        if moment == "connecting":
            scene.connector.opens_at_once = False
            raw = raw.replace(b"\r\n", b"\r\nConnection: close\r\n", 1)
        scene.respond(raw[:-5] if moment == "withheld" else raw)
        await scene.settle()
        client.lose()
        assert scene.codes == {"client_closed": 1}
        assert scene.context.bodies.memory.used == 0
        for asked in scene.connector.asked:
            if not asked.done():
                asked.set_result(None)
        await scene.settle()

    play(run)


def test_the_connection_is_kept_only_where_the_service_keeps_it() -> None:
    async def run(scene: Scene) -> None:
        client = scene.client()
        client.send(GET)
        await scene.settle()
        scene.respond(response(SKEW, NOW + HOUR).replace(b"\r\n", b"\r\nConnection: close\r\n", 1))
        await scene.settle()
        assert scene.service().is_aborted
        scene.respond(OK, 1)
        assert client.take() == OK

    play(run)


@pytest.mark.parametrize(("method", "is_repeated"), [(b"GET", True), (b"POST", False)])
def test_a_kept_connection_that_closes_without_an_answer_is_as_any_reused_one(
    method: bytes, *, is_repeated: bool
) -> None:
    async def run(scene: Scene) -> None:
        client = scene.client()
        client.send(post(b"", method=method))
        await scene.settle()
        scene.respond(response(SKEW, NOW + HOUR))
        scene.service().lose()
        await scene.settle()
        if is_repeated:
            scene.respond(OK, 1)
            assert client.take() == OK
        else:
            assert client.take_problem() == (502, "upstream_closed")
        assert scene.counters.retries["connection_closed"] == is_repeated

    play(run)


def test_pipelined_requests_are_answered_in_order() -> None:
    async def run(scene: Scene) -> None:
        client = scene.client()
        client.send(GET.replace(b"/path", b"/1") + GET.replace(b"/path", b"/2"))
        await scene.settle()
        scene.respond(response(SKEW, NOW + HOUR))
        await scene.settle()
        assert [line[:6] for line in scene.service().take().split(b"\r\n") if line.startswith(b"GET")] == [
            b"GET /1",
            b"GET /1",
        ]
        scene.respond(OK)
        await scene.settle()
        assert scene.service().take().startswith(b"GET /2")
        scene.respond(OK)
        assert client.take() == OK + OK

    play(run)


def test_a_request_whose_body_is_gone_is_not_sent_again_but_its_refusal_teaches() -> None:
    async def run(scene: Scene) -> None:
        client = scene.client()
        client.send(GET)
        await scene.settle()
        exchange = client.connection._exchange
        assert isinstance(exchange, Exchange)
        exchange._healing = Healing(scene.context, client.connection, exchange)
        exchange._healing._spent = frozenset(Refusal)
        refused = response(SKEW, NOW + HOUR)
        scene.respond(refused[:60])
        assert client.transport.written == b""
        scene.respond(refused[60:100])
        scene.respond(refused[100:])
        assert client.take() == refused
        assert scene.counters.retries_total == 0
        assert scene.context.route.clock.offset_seconds == pytest.approx(HOUR, abs=2)

    play(run)


@pytest.mark.parametrize("has_date", [True, False])
def test_where_no_other_time_is_known_the_refusal_is_the_clients_at_once(*, has_date: bool) -> None:
    """What stands behind a gateway may have signatures, and words, of its own."""

    async def run(scene: Scene) -> None:
        raw = response(SKEWED[1], NOW + 3, has_date=has_date)
        client = scene.client()
        client.send(post(b"body"))
        await scene.settle()
        scene.respond(raw)
        assert client.take() == raw
        assert scene.counters.retries_total == 0

    play(run)


def test_the_time_in_the_services_words_counts_more_than_the_date_of_what_stands_before_it() -> None:
    async def run(scene: Scene) -> None:
        client = scene.client()
        client.send(GET)
        await scene.settle()
        scene.service().take()
        raw = response(SKEW, NOW + HOUR, has_date=False)
        scene.respond(raw.replace(b"\r\n", b"\r\n" + date_line(NOW), 1))
        assert signed_at(scene.service().take()) == amz(NOW + HOUR)
        # Both were cut off to the second: half of one is what is missing on average.
        assert scene.context.route.clock.offset_seconds == HOUR + 0.5
        scene.respond(OK)

    play(run)


def test_others_who_wait_for_the_connection_come_first_and_the_wait_has_an_end() -> None:
    async def run(scene: Scene) -> None:
        first, second = scene.client(), scene.client()
        first.send(post(b"first"))
        second.send(post(b"second"))
        await scene.settle()
        scene.service().take()
        scene.respond(response(SKEW, NOW + HOUR))
        assert scene.service().take().endswith(b"second")
        scene.pass_time(21)
        assert first.take_problem() == (503, "upstream_busy")
        scene.respond(OK)
        assert second.take() == OK

    play(run, max_upstream=1)
