"""Streamed requests that a service refuses for the clock: they cannot be sent again, but the next is signed better."""

from __future__ import annotations

from tests.proxy.refusing import HOUR, SKEW, amz, response, signed_at
from tests.proxy.scene import NOW, OK, Scene
from tests.proxy.streams import head, play_s3


def test_a_refusal_of_a_streamed_request_is_passed_on_and_teaches_the_clock() -> None:
    async def run(scene: Scene) -> None:
        client = scene.client()
        client.send(head(2000) + b"x" * 2000)
        await scene.settle()
        assert signed_at(scene.service().take()) == amz(NOW)
        refusal = response(SKEW, NOW + HOUR)
        scene.respond(refusal)
        assert client.take() == refusal
        client.send(head(2000) + b"x" * 2000)
        assert signed_at(scene.service().take()) == amz(NOW + HOUR)
        scene.respond(OK)
        assert client.take() == OK
        assert scene.codes == {"ok": 2}

    play_s3(run)
