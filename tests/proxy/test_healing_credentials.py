"""Requests whose credentials the service refuses: one refresh, signed again with what it brings, sent once more."""

from __future__ import annotations

import pytest

from aws_signing_proxy.credentials.model import Credentials
from tests.proxy.refusing import HOUR, SKEW, response
from tests.proxy.scene import GET, NOW, OK, Scene, play, post
from tests.sigv4.refusal_answers import AMBIGUOUS, OTHERS, REJECTED, Answer

EXPIRED = REJECTED[7]
REFUSED = response(EXPIRED, NOW)


def _set(number: int) -> Credentials:
    return Credentials(f"AKIA{number}", f"secret-{number}", f"token-{number}", source="test")


def _signer(request: bytes) -> bytes:
    """The access key id that the last request was signed with."""
    return request.rpartition(b"Credential=")[2].partition(b"/")[0]


async def _refused(scene: Scene, *, raw: bytes = REFUSED) -> None:
    """Let the source have set 2, and the first request be refused."""
    scene.provider.credentials = _set(2)
    await scene.settle()
    scene.service().take()
    scene.respond(raw)


@pytest.mark.parametrize("framing", ["length", "chunked", "gzip"])
@pytest.mark.parametrize("answer", [*REJECTED, *AMBIGUOUS], ids=lambda answer: answer.name)
def test_a_request_whose_credentials_any_service_refuses_is_signed_with_new_ones(answer: Answer, framing: str) -> None:
    async def run(scene: Scene) -> None:
        client = scene.client()
        client.send(post(b"body"))
        await _refused(scene, raw=response(answer, NOW, framing=framing))
        assert client.transport.written == b""
        assert scene.service().take() == b""
        assert scene.pool == "<Pool idle=1 busy=0 connecting=0 waiting=0>"
        await scene.fetch_credentials()
        second = scene.service().take()
        assert _signer(second) == b"AKIA2"
        assert second.endswith(b"\r\n\r\nbody")
        scene.respond(OK)
        assert client.take() == OK
        assert len(scene.connector.transports) == 1
        assert scene.counters.retries == {"connection_closed": 0, "clock_skew": 0, "credentials": 1}
        assert {key[1:] for key in scene.counters.requests} == {(200, "ok")}

    play(run)


@pytest.mark.parametrize("answer", OTHERS, ids=lambda answer: answer.name)
def test_a_policy_and_whatever_else_touches_no_credentials(answer: Answer) -> None:
    async def run(scene: Scene) -> None:
        client = scene.client()
        client.send(GET)
        raw = response(answer, NOW)
        await _refused(scene, raw=raw)
        assert client.take() == raw
        assert not scene.credentials.is_renewing
        assert scene.credentials.refresher.ledger.rejections_total == 0

    play(run)


def test_new_credentials_that_are_refused_as_well_are_the_clients() -> None:
    async def run(scene: Scene) -> None:
        client = scene.client()
        client.send(GET)
        await _refused(scene)
        await scene.fetch_credentials()
        assert _signer(scene.service().take()) == b"AKIA2"
        scene.respond(REFUSED)
        assert client.take() == REFUSED
        assert scene.service().take() == b""
        assert scene.counters.retries_total == 1
        assert {key[1:] for key in scene.counters.requests} == {(403, "ok")}

    play(run)


def test_the_same_credentials_again_are_not_tried_again() -> None:
    async def run(scene: Scene) -> None:
        client = scene.client()
        client.send(GET)
        await _refused(scene)
        scene.provider.credentials = scene.credentials.current
        await scene.fetch_credentials()
        assert client.take() == REFUSED
        assert scene.service().take() == b""
        # Nor are they asked for again, so the next refusal is passed on at once.
        client.send(GET)
        scene.respond(REFUSED)
        assert client.take() == REFUSED
        assert scene.counters.retries_total == 0

    play(run)


def test_where_no_new_ones_can_be_had_the_services_own_answer_goes_to_the_client() -> None:
    async def run(scene: Scene) -> None:
        client = scene.client()
        client.send(GET)
        await _refused(scene)
        scene.provider.credentials = None
        await scene.fetch_credentials()
        assert client.take() == REFUSED
        assert not client.transport.is_ended
        assert {key[1:] for key in scene.counters.requests} == {(403, "ok")}

    play(run)


def test_a_refresh_that_takes_too_long_ends_with_the_services_own_answer() -> None:
    async def run(scene: Scene) -> None:
        client = scene.client()
        client.send(GET)
        await _refused(scene)
        scene.pass_time(9)
        assert client.transport.written == b""
        scene.pass_time(2)
        assert client.take() == REFUSED
        assert scene.credentials.waiting == 0
        assert scene.hit == {"credentials_wait": 1}
        await scene.fetch_credentials()
        assert scene.service().take() == b""

    play(run)


def test_an_open_circuit_is_not_waited_for() -> None:
    async def run(scene: Scene) -> None:
        scene.provider.is_local = False
        for _ in range(5):
            scene.credentials.refresher.breaker.begin()
            scene.credentials.refresher.breaker.fail(scene.now)
        client = scene.client()
        client.send(GET)
        await _refused(scene)
        assert client.take() == REFUSED

    play(run)


def test_requests_that_are_refused_together_make_one_refresh() -> None:
    async def run(scene: Scene) -> None:
        clients = [scene.client() for _ in range(4)]
        for client in clients:
            client.send(GET)
        await scene.settle()
        scene.provider.credentials = _set(2)
        for number in range(4):
            scene.service(number).take()
            scene.respond(REFUSED, number)
        assert scene.credentials.waiting == 4
        assert scene.credentials.refresher.ledger.rejections_total == 1
        await scene.fetch_credentials()
        assert not scene.credentials.is_renewing
        for number in range(4):
            assert _signer(scene.service(number).take()) == b"AKIA2"
            scene.respond(OK, number)
        assert [client.take() for client in clients] == [OK] * 4
        assert scene.counters.retries["credentials"] == 4

    play(run)


def test_a_request_that_is_refused_after_the_refresh_is_signed_with_what_there_is_by_now() -> None:
    async def run(scene: Scene) -> None:
        client = scene.client()
        client.send(GET)
        await scene.settle()
        scene.provider.credentials = _set(2)
        await scene.fetch_credentials()
        scene.service().take()
        scene.respond(REFUSED)
        assert _signer(scene.service().take()) == b"AKIA2"
        assert scene.credentials.refresher.ledger.rejections_total == 0
        scene.respond(OK)
        assert client.take() == OK

    play(run)


def test_the_time_and_the_credentials_may_each_be_refused_once() -> None:
    async def run(scene: Scene) -> None:
        client = scene.client()
        client.send(GET)
        await _refused(scene, raw=response(SKEW, NOW + HOUR))
        scene.service().take()
        scene.respond(response(EXPIRED, NOW + HOUR))
        await scene.fetch_credentials()
        assert _signer(scene.service().take()) == b"AKIA2"
        last = response(SKEW, NOW)
        scene.respond(last)
        assert client.take() == last
        assert scene.counters.retries == {"connection_closed": 0, "clock_skew": 1, "credentials": 1}

    play(run)


@pytest.mark.parametrize("moment", ["waiting", "told"])
def test_a_client_that_goes_away_while_it_waits_is_not_sent_for(moment: str) -> None:
    async def run(scene: Scene) -> None:
        client, other = scene.client(), scene.client()
        client.send(post(b"body"))
        other.send(GET)
        await scene.settle()
        scene.provider.credentials = _set(2)
        for number in (0, 1):
            scene.service(number).take()
            scene.respond(REFUSED, number)
        if moment == "waiting":
            client.lose()
            assert scene.credentials.waiting == 1
        else:
            # It is lost while those who wait are told, one after the other.
            scene.service(1).on_write = other.lose
        await scene.fetch_credentials()
        assert scene.codes["client_closed"] == 1
        scene.service(1).on_write = lambda: None
        if moment == "waiting":
            assert sum(bool(scene.service(number).take()) for number in (0, 1)) == 1
        await scene.settle()

    play(run)


@pytest.mark.parametrize("is_in_time", [True, False])
def test_a_request_that_waits_is_drained_as_any_other(*, is_in_time: bool) -> None:
    async def run(scene: Scene) -> None:
        client = scene.client()
        client.send(GET)
        await _refused(scene)
        scene.context.is_draining = True
        if is_in_time:
            await scene.fetch_credentials()
            scene.respond(OK)
            assert client.take() == OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
            assert client.transport.is_closed
        else:
            client.connection.cut_off()
            assert scene.codes == {"drain_timeout": 1}
            assert scene.credentials.waiting == 0

    play(run)


def test_the_next_pipelined_request_waits_for_the_answer_to_the_first() -> None:
    async def run(scene: Scene) -> None:
        client = scene.client()
        client.send(GET)
        await _refused(scene)
        client.send(GET.replace(b"/path", b"/second"))
        assert scene.service().take() == b""
        await scene.fetch_credentials()
        scene.respond(OK)
        await scene.settle()
        assert scene.service().take().count(b"GET /second") == 1
        scene.respond(OK)
        assert client.take() == OK + OK

    play(run)


def test_an_answer_that_is_not_whole_is_passed_on_and_not_waited_with() -> None:
    async def run(scene: Scene) -> None:
        long = response(EXPIRED._replace(body=EXPIRED.body + " " * 5000), NOW)
        client = scene.client()
        client.send(GET)
        await _refused(scene, raw=long[:-100])
        assert client.transport.written == long[:-100]
        assert not scene.credentials.is_renewing
        scene.respond(long[-100:])
        assert client.take() == long
        assert scene.credentials.refresher.ledger.rejections_total == 1

    play(run)


def test_an_answer_that_ends_with_the_connection_is_waited_with_and_passed_on_whole() -> None:
    async def run(scene: Scene) -> None:
        client = scene.client()
        client.send(GET)
        await _refused(scene, raw=response(EXPIRED, NOW, framing="until close"))
        scene.service().protocol.eof_received()
        assert client.transport.written == b""
        scene.provider.credentials = None
        await scene.fetch_credentials()
        body = EXPIRED.body_at(NOW)
        assert client.take().endswith(b"\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(body), body))
        assert scene.counters.bytes_to_downstream_total == len(body)

    play(run)


def test_credentials_that_are_refused_while_others_are_being_fetched_cause_no_second_fetch() -> None:
    async def run(scene: Scene) -> None:
        refresher = scene.credentials.refresher
        old = scene.credentials.current
        assert old is not None
        refresher.is_fetching = True
        scene.credentials.reject(old)
        assert scene.credentials.is_renewing
        refresher.is_fetching = False
        scene.provider.credentials = _set(2)
        refresher._is_rejected = True
        refresher._succeeded(scene.credentials, _set(2))
        assert not scene.credentials.is_renewing

    play(run)
