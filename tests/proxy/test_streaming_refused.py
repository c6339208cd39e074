"""Streamed requests that a service refuses for its clock or for credentials: what is sent again, what is passed on."""

from __future__ import annotations

import pytest

from aws_signing_proxy.credentials.model import Credentials
from tests.proxy.refusing import HOUR, SKEW, amz, response, signed_at
from tests.proxy.scene import NOW, OK, Client, Scene
from tests.proxy.streams import FORBIDDEN, content_of, head, play_s3, signed_chunks, signed_head, trailers
from tests.sigv4.refusal_answers import REJECTED

BODY = bytes(range(256)) * 20
# As much as is kept in these scenes.
KEPT = 1024
SKEWED = response(SKEW, NOW + HOUR)
EXPIRED = response(REJECTED[0], NOW)


async def _begin(scene: Scene, *fields: bytes, method: bytes = b"PUT") -> Client:
    client = scene.client()
    client.send(head(len(BODY), *fields, method=method))
    await scene.settle()
    return client


def _is_read(client: Client) -> bool:
    return client.transport.reads


@pytest.mark.parametrize("method", [b"PUT", b"POST"])
@pytest.mark.parametrize("came", [0, 1, 100, KEPT])
@pytest.mark.parametrize("interim", [b"", b"HTTP/1.1 100 Continue\r\n\r\n"])
def test_a_refused_request_of_which_no_more_has_come_than_is_kept_is_sent_again(
    came: int, method: bytes, interim: bytes
) -> None:
    async def run(scene: Scene) -> None:
        client = await _begin(scene, b"X-Amz-Content-Sha256: " + b"a" * 64, method=method)
        if came:
            client.send(BODY[:came])
        assert scene.counters.body_memory_bytes == came
        assert signed_at(scene.service().take()) == amz(NOW)
        scene.respond(interim + SKEWED)
        # Its end has not been sent, so the connection has no place for another request.
        assert scene.service().is_aborted
        await scene.settle()
        client.send(BODY[came:])
        sent = scene.service(1).take()
        assert signed_at(sent) == amz(NOW + HOUR)
        assert sent.endswith(b"\r\n\r\n" + BODY)
        assert scene.counters.body_memory_bytes == 0
        scene.respond(OK, 1)
        assert client.take() == OK
        assert scene.codes == {"ok": 1}
        assert scene.counters.retries == {"connection_closed": 0, "clock_skew": 1, "credentials": 0}

    play_s3(run)


@pytest.mark.parametrize("pieces", [[KEPT + 1], [KEPT, 1], [1, KEPT]])
def test_one_of_which_more_has_come_is_not_but_its_refusal_is_passed_on_and_teaches_the_clock(
    pieces: list[int],
) -> None:
    async def run(scene: Scene) -> None:
        client = await _begin(scene)
        for size in pieces:
            client.send(b"x" * size)
        assert signed_at(scene.service().take()) == amz(NOW)
        scene.respond(SKEWED)
        answer = client.take()
        assert answer.startswith(b"HTTP/1.1 403 ")
        assert b"\r\nConnection: close\r\n" in answer
        assert len(scene.connector.transports) == 1
        after = await _begin(scene)
        after.send(BODY)
        sent = scene.service(1).take()
        assert signed_at(sent) == amz(NOW + HOUR)
        assert content_of(sent) == BODY
        scene.respond(OK, 1)
        assert after.take() == OK
        assert scene.codes == {"ok": 2}
        assert scene.counters.retries_total == 0

    play_s3(run)


def test_what_came_before_there_was_a_connection_is_here_whatever_its_size() -> None:
    async def run(scene: Scene) -> None:
        client = scene.client()
        client.send(head(len(BODY)) + BODY)
        await scene.settle()
        assert content_of(scene.service().take()) == BODY
        scene.respond(SKEWED)
        sent = scene.service().take()
        assert signed_at(sent) == amz(NOW + HOUR)
        assert content_of(sent) == BODY
        scene.respond(OK)
        assert client.take() == OK
        # All of it had been sent: the connection was free for it.
        assert len(scene.connector.transports) == 1

    play_s3(run)


def test_a_small_body_in_chunks_that_the_client_signed_is_signed_anew_a_second_time() -> None:
    body = signed_chunks(b"hello", end=trailers(b"x-amz-checksum-crc32c:sOO8/Q==\r\n"))

    async def run(scene: Scene) -> None:
        client = scene.client()
        client.send(signed_head(body, 5, trailer=b"x-amz-checksum-crc32c"))
        await scene.settle()
        client.send(body)
        first = scene.service().take()
        scene.respond(SKEWED)
        second = scene.service().take()
        assert signed_at(second) == amz(NOW + HOUR)
        assert len(second) == len(first)
        assert b"sOO8/Q==" in second
        assert second.partition(b"chunk-signature=")[2] != first.partition(b"chunk-signature=")[2]
        scene.respond(OK)
        assert client.take() == OK

    play_s3(run)


def test_a_second_refusal_for_the_same_reason_is_the_clients() -> None:
    async def run(scene: Scene) -> None:
        client = await _begin(scene)
        scene.respond(SKEWED)
        await scene.settle()
        scene.service(1).take()
        scene.respond(response(SKEW, NOW + 2 * HOUR), 1)
        assert client.take().startswith(b"HTTP/1.1 403 ")
        assert len(scene.connector.transports) == 2

    play_s3(run)


def test_a_policy_is_passed_on_at_once_and_nothing_is_sent_again() -> None:
    async def run(scene: Scene) -> None:
        client = await _begin(scene)
        client.send(BODY[:100])
        scene.respond(FORBIDDEN)
        assert client.take().endswith(b"denied")
        assert scene.counters.retries_total == 0

    play_s3(run)


def test_a_client_is_not_read_from_while_other_credentials_are_fetched() -> None:
    async def run(scene: Scene) -> None:
        client = await _begin(scene)
        client.send(BODY[:100])
        scene.provider.credentials = Credentials("AKIA2", "secret-2", "token-2", source="test")
        scene.respond(EXPIRED)
        assert not _is_read(client)
        await scene.fetch_credentials()
        await scene.settle()
        assert _is_read(client)
        client.send(BODY[100:])
        sent = scene.service(1).take()
        assert b"Credential=AKIA2/" in sent
        assert content_of(sent) == BODY
        scene.respond(OK, 1)
        assert client.take() == OK

    play_s3(run)


def test_the_wait_for_other_credentials_has_the_end_that_it_has_for_others() -> None:
    async def run(scene: Scene) -> None:
        late = await _begin(scene)
        late.send(BODY[:100])
        scene.respond(EXPIRED)
        scene.pass_time(9)
        assert late.take() == b""
        scene.pass_time(2)
        assert late.take().startswith(b"HTTP/1.1 400 ")

    play_s3(run)


def test_while_it_is_not_clear_what_an_answer_says_the_client_waits_and_then_goes_on() -> None:
    async def run(scene: Scene) -> None:
        client = await _begin(scene)
        client.send(BODY[:100])
        assert _is_read(client)
        scene.respond(FORBIDDEN[:-3])
        assert not _is_read(client)
        assert client.take() == b""
        scene.pass_time(2.1)
        assert client.take().endswith(b"\r\nConnection: close\r\n\r\nden")
        assert _is_read(client)
        assert scene.counters.body_memory_bytes == 100  # of a chunk that is not complete
        client.send(BODY[100:])
        assert content_of(scene.service().take()) == BODY
        scene.respond(b"ied")
        assert client.take() == b"ied"
        assert scene.codes == {"ok": 1}

    play_s3(run)


def test_where_memory_is_short_no_beginning_is_kept() -> None:
    async def run(scene: Scene) -> None:
        client = await _begin(scene, b"X-Amz-Content-Sha256: " + b"a" * 64)
        client.send(BODY[:501])
        assert scene.counters.body_memory_bytes == 0
        scene.respond(SKEWED)
        assert client.take().startswith(b"HTTP/1.1 403 ")

    play_s3(run, memory_total_bytes=1000)


@pytest.mark.parametrize("answer", [OK, b"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nnone"])
def test_what_is_kept_is_let_go_when_an_answer_has_begun_that_is_the_clients(answer: bytes) -> None:
    async def run(scene: Scene) -> None:
        client = await _begin(scene, b"X-Amz-Content-Sha256: " + b"a" * 64)
        client.send(BODY[:100])
        scene.respond(answer[:-1])
        assert scene.counters.body_memory_bytes == 0
        client.lose()

    play_s3(run)


def test_a_client_that_leaves_while_its_request_waits_to_be_sent_again_frees_everything() -> None:
    async def run(scene: Scene) -> None:
        client = await _begin(scene)
        client.send(BODY[:100])
        scene.connector.opens_at_once = False
        scene.respond(SKEWED)
        await scene.settle()
        client.lose()
        assert scene.codes == {"client_closed": 1}
        assert scene.counters.body_memory_bytes == 0
        scene.connector.asked[-1].set_result(None)
        await scene.settle()

    play_s3(run)


@pytest.mark.parametrize("interim", [b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Early Hints\r\n\r\n"])
def test_an_interim_response_before_the_end_of_the_body_costs_the_client_no_connection(interim: bytes) -> None:
    async def run(scene: Scene) -> None:
        client = await _begin(scene)
        scene.respond(interim)
        client.send(BODY)
        scene.respond(OK)
        assert client.take().endswith(OK)
        assert not client.transport.is_eof_written

    play_s3(run)
