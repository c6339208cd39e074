"""Requests signed with keys that IAM has made a moment ago: sent again until the service knows them, within bounds."""

from __future__ import annotations

import pytest

from aws_signing_proxy.credentials.model import Credentials
from tests.proxy.refusing import HOUR, SKEW, response
from tests.proxy.scene import GET, NOW, OK, Scene, play, post
from tests.sigv4.refusal_answers import OTHERS, REJECTED

REFUSED = response(REJECTED[7], NOW)


def _fresh(number: int = 2, *, fresh_since: float = NOW) -> Credentials:
    return Credentials(f"AKIA{number}", f"secret-{number}", source="test", fresh_since=fresh_since)


def _signer(request: bytes) -> bytes:
    return request.rpartition(b"Credential=")[2].partition(b"/")[0]


def _pass(scene: Scene, seconds: float) -> None:
    scene.wall_now += seconds
    scene.pass_time(seconds)


async def _refuse(scene: Scene, raw: bytes = REFUSED) -> None:
    await scene.settle()
    assert _signer(scene.service().take()) == b"AKIA2"
    scene.respond(raw)
    assert scene.service().take() == b""


def test_what_a_service_refuses_because_it_does_not_know_the_key_yet_is_sent_again_until_it_does() -> None:
    async def run(scene: Scene) -> None:
        scene.credentials.accept(_fresh())
        client = scene.client()
        client.send(post(b"body"))
        for pause in (0.5, 0.75, 1.125, 1.6875, 2.0, 2.0):
            await _refuse(scene)
            _pass(scene, pause - 0.1)
            assert scene.service().take() == b""
            _pass(scene, 0.11)
        again = scene.service().take()
        assert (_signer(again), again[-8:]) == (b"AKIA2", b"\r\n\r\nbody")
        scene.respond(OK)
        assert client.take() == OK
        assert scene.credentials.refresher.ledger.rejections_total == 0
        assert not scene.credentials.is_renewing
        assert scene.counters.retries["credentials"] == 6
        assert scene.hit == {}
        assert {key[1:] for key in scene.counters.requests} == {(200, "ok")}

    play(run)


def test_when_the_request_has_waited_long_enough_the_services_answer_is_the_clients() -> None:
    async def run(scene: Scene) -> None:
        scene.credentials.accept(_fresh())
        client = scene.client()
        client.send(GET)
        for pause in (0.51, 0.76, 0.75):
            await _refuse(scene)
            assert client.take() == b""
            _pass(scene, pause)
        await scene.settle()
        scene.service().take()
        scene.respond(REFUSED)
        assert client.take() == REFUSED
        assert scene.hit == {"credentials_wait": 1}
        assert scene.credentials.refresher.ledger.rejections_total == 0
        # The next one has its own patience.
        client.send(GET)
        await _refuse(scene)
        _pass(scene, 0.51)
        assert _signer(scene.service().take()) == b"AKIA2"
        scene.respond(OK)
        assert client.take() == OK

    play(run, credentials_wait_timeout_seconds=2.0)


def test_where_nobody_waits_the_answer_is_passed_on_at_once_and_no_other_key_is_made() -> None:
    async def run(scene: Scene) -> None:
        scene.credentials.accept(_fresh())
        client = scene.client()
        client.send(GET)
        await _refuse(scene)
        assert client.take() == REFUSED
        assert scene.counters.retries_total == 0
        assert scene.credentials.refresher.ledger.rejections_total == 0
        assert scene.hit == {}

    play(run, credentials_wait_timeout_seconds=0.0)


@pytest.mark.parametrize("age", [60.0, 3600.0, -3600.0])
def test_a_key_that_has_had_its_time_is_replaced_when_it_is_refused(age: float) -> None:
    async def run(scene: Scene) -> None:
        scene.credentials.accept(_fresh(fresh_since=NOW - age))
        client = scene.client()
        client.send(GET)
        scene.provider.credentials = Credentials("AKIA3", "secret-3", source="test")
        await _refuse(scene)
        assert scene.credentials.is_renewing
        await scene.fetch_credentials()
        assert _signer(scene.service().take()) == b"AKIA3"
        scene.respond(OK)
        assert client.take() == OK
        assert scene.credentials.refresher.ledger.rejections_total == 1

    play(run)


def test_a_key_that_has_its_time_over_while_a_request_waits_is_replaced_and_the_request_served() -> None:
    async def run(scene: Scene) -> None:
        scene.credentials.accept(_fresh(fresh_since=NOW - 59.8))
        client = scene.client()
        client.send(GET)
        await _refuse(scene)
        _pass(scene, 0.51)
        scene.provider.credentials = Credentials("AKIA3", "secret-3", source="test")
        await _refuse(scene)
        await scene.fetch_credentials()
        assert _signer(scene.service().take()) == b"AKIA3"
        scene.respond(OK)
        assert client.take() == OK

    play(run)


def test_credentials_that_replace_refused_ones_and_are_not_known_yet_are_waited_for_too() -> None:
    async def run(scene: Scene) -> None:
        client = scene.client()
        client.send(GET)
        await scene.settle()
        assert _signer(scene.service().take()) == b"AKIDEXAMPLE"
        scene.provider.credentials = _fresh()
        scene.respond(REFUSED)
        await scene.fetch_credentials()
        await _refuse(scene)
        _pass(scene, 0.51)
        assert _signer(scene.service().take()) == b"AKIA2"
        scene.respond(OK)
        assert client.take() == OK

    play(run)


def test_other_credentials_that_come_during_the_pause_sign_the_next_try() -> None:
    async def run(scene: Scene) -> None:
        scene.credentials.accept(_fresh())
        client = scene.client()
        client.send(GET)
        await _refuse(scene)
        scene.credentials.accept(_fresh(3))
        _pass(scene, 0.51)
        assert _signer(scene.service().take()) == b"AKIA3"
        scene.respond(OK)
        assert client.take() == OK

    play(run)


def test_a_policy_and_a_wrong_clock_are_not_taken_for_it() -> None:
    async def run(scene: Scene) -> None:
        scene.credentials.accept(_fresh())
        client = scene.client()
        client.send(GET)
        await _refuse(scene, response(OTHERS[0], NOW))
        assert client.take() == response(OTHERS[0], NOW)
        client.send(GET)
        await scene.settle()
        scene.service().take()
        scene.respond(response(SKEW, NOW + HOUR))
        await _refuse(scene)
        _pass(scene, 0.51)
        await _refuse(scene, response(SKEW, NOW + 3 * HOUR))
        assert client.take() == response(SKEW, NOW + 3 * HOUR)
        assert scene.counters.retries == {"connection_closed": 0, "clock_skew": 1, "credentials": 1}

    play(run)


def test_a_client_that_goes_during_the_pause_leaves_nothing_behind() -> None:
    async def run(scene: Scene) -> None:
        scene.credentials.accept(_fresh())
        client = scene.client()
        client.send(GET)
        await _refuse(scene)
        client.lose()
        _pass(scene, 1.0)
        assert scene.service().take() == b""
        assert scene.codes == {"client_closed": 1}

    play(run)
