"""Bodies that are not held, on fake transports: what goes upstream when, who waits for whom, and how each side ends."""

from __future__ import annotations

import pytest

from aws_signing_proxy.sigv4.chunks import CHUNK_BYTES, encoded_length
from aws_signing_proxy.sigv4.payloads import PayloadSetting
from tests.proxy.scene import GET, OK, Client, Scene
from tests.proxy.streams import FORBIDDEN, content_of, head, play_s3

BODY = bytes(range(256)) * 1024  # four chunks


async def _begin(scene: Scene, *fields: bytes, method: bytes = b"PUT", length: int = len(BODY)) -> Client:
    """Send the head of a streamed request, and let the upstream's connection open."""
    client = scene.client()
    client.send(head(length, *fields, method=method))
    await scene.settle()
    return client


def _is_read(client: Client) -> bool:
    return client.transport.reads


async def _with_used_connection(scene: Scene) -> None:
    client = scene.client()
    client.send(GET)
    await scene.settle()
    scene.respond(OK)
    scene.service().take()


def test_the_head_goes_upstream_before_any_byte_of_the_body_has_come() -> None:
    async def run(scene: Scene) -> None:
        client = await _begin(scene)
        sent = scene.service().take()
        assert sent.endswith(b"\r\n\r\n")
        assert b"\r\nContent-Length: %d\r\n" % encoded_length(len(BODY)) in sent
        assert b"\r\nX-Amz-Decoded-Content-Length: %d\r\n" % len(BODY) in sent
        assert b"\r\nContent-Encoding: aws-chunked\r\n" in sent
        client.send(BODY[:CHUNK_BYTES])
        assert len(scene.service().written) > CHUNK_BYTES
        client.send(BODY[CHUNK_BYTES:])
        sent += scene.service().take()
        assert content_of(sent) == BODY
        assert len(sent.partition(b"\r\n\r\n")[2]) == encoded_length(len(BODY))
        scene.respond(OK)
        assert client.take() == OK
        assert scene.codes == {"ok": 1}
        assert scene.counters.bytes_from_downstream_total == len(BODY)

    play_s3(run)


def test_a_client_is_not_read_from_before_the_upstream_is_there() -> None:
    async def run(scene: Scene) -> None:
        scene.connector.opens_at_once = False
        client = scene.client()
        client.send(head(len(BODY)) + BODY[:10])
        await scene.settle()
        assert not _is_read(client)
        assert scene.counters.body_memory_bytes == 10
        scene.connector.asked[0].set_result(None)
        await scene.settle()
        assert _is_read(client)
        client.send(BODY[10:])
        assert content_of(scene.service().take()) == BODY
        scene.respond(OK)
        assert client.take() == OK

    play_s3(run)


def test_a_body_that_came_whole_with_its_head_waits_for_the_upstream() -> None:
    async def run(scene: Scene) -> None:
        client = scene.client()
        client.send(head(len(BODY)) + BODY + GET)
        await scene.settle()
        assert content_of(scene.service().take()) == BODY
        scene.respond(OK)
        await scene.settle()
        assert scene.service().take().startswith(b"GET /path ")
        scene.respond(OK)
        assert client.take() == OK + OK

    play_s3(run)


def test_who_expects_100_continue_gets_it_when_the_upstream_is_there_and_once() -> None:
    async def run(scene: Scene) -> None:
        scene.connector.opens_at_once = False
        client = await _begin(scene, b"Expect: 100-continue")
        assert client.take() == b""
        scene.connector.asked[0].set_result(None)
        await scene.settle()
        assert client.take() == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.send(BODY)
        scene.respond(OK)
        assert client.take() == OK
        assert b"xpect" not in scene.service().take()

    play_s3(run)


def test_a_client_waits_while_the_upstream_takes_no_more() -> None:
    async def run(scene: Scene) -> None:
        client = await _begin(scene)
        client.send(BODY[:CHUNK_BYTES])
        assert not _is_read(client)
        assert scene.counters.body_memory_bytes > 0
        sent = scene.service().take()
        assert _is_read(client)
        assert scene.counters.body_memory_bytes == 0
        client.send(BODY[CHUNK_BYTES:])
        sent += scene.service().take()
        assert content_of(sent) == BODY
        scene.respond(OK)
        assert client.take() == OK

    play_s3(run, high_water=4096)


def test_uploads_that_stand_still_hold_up_no_others_also_where_they_hold_all_the_memory() -> None:
    async def run(scene: Scene) -> None:
        stalled = [await _begin(scene) for _ in range(3)]
        for client in stalled:
            client.send(BODY[:CHUNK_BYTES])
            # One read of each is on its way, and no more.
            assert not _is_read(client)
        held = scene.counters.body_memory_bytes
        assert held > CHUNK_BYTES
        other = await _begin(scene)
        sent = b""
        for start in range(0, len(BODY), CHUNK_BYTES):
            assert _is_read(other)
            other.send(BODY[start : start + CHUNK_BYTES])
            sent += scene.service(3).take()
            assert scene.counters.body_memory_bytes == held
        assert content_of(sent) == BODY
        scene.respond(OK, 3)
        assert other.take() == OK
        small = scene.client()
        small.send(head(10) + b"x" * 10)
        await scene.until(lambda: scene.service(3).written.endswith(b"x" * 10))
        scene.respond(OK, 3)
        assert small.take() == OK

    play_s3(run, high_water=CHUNK_BYTES, memory_total_bytes=CHUNK_BYTES)


def test_bodies_that_go_to_disk_are_not_held_up_by_uploads_that_stand_still() -> None:
    async def run(scene: Scene) -> None:
        stalled = await _begin(scene)
        stalled.send(BODY[:CHUNK_BYTES])
        assert not _is_read(stalled)
        client = await _begin(scene, method=b"POST")
        for start in range(0, len(BODY), CHUNK_BYTES):
            client.send(BODY[start : start + CHUNK_BYTES])
            await scene.until(lambda: _is_read(client))
        sent = bytearray()
        while not sent.endswith(BODY):
            await scene.settle()
            if len(scene.connector.transports) > 1:
                sent += scene.service(1).take()
        scene.respond(OK, 1)
        await scene.until(lambda: client.transport.written == OK)

    play_s3(run, high_water=CHUNK_BYTES, memory_total_bytes=CHUNK_BYTES)


def test_an_answer_in_the_middle_of_an_upload_reaches_the_client_and_ends_both_connections() -> None:
    async def run(scene: Scene) -> None:
        client = await _begin(scene)
        client.send(BODY[:CHUNK_BYTES])
        scene.respond(FORBIDDEN)
        answer = client.take()
        assert answer.startswith(b"HTTP/1.1 403 Forbidden\r\n")
        assert b"\r\nConnection: close\r\n" in answer
        assert answer.endswith(b"denied")
        assert scene.service().is_aborted
        # The client may still be sending: it is read on, so that it comes to its answer.
        client.send(BODY[CHUNK_BYTES:])
        assert client.transport.is_eof_written
        assert not client.transport.is_ended
        scene.pass_time(31)
        assert client.transport.is_aborted
        assert scene.codes == {"ok": 1}

    play_s3(run)


def test_a_response_that_begins_before_the_body_has_ended_may_end_after_it() -> None:
    async def run(scene: Scene) -> None:
        client = await _begin(scene)
        scene.respond(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n")
        client.send(BODY)
        assert content_of(scene.service().take()) == BODY
        scene.respond(b"ok")
        assert client.take().endswith(b"\r\nConnection: close\r\n\r\nok")
        assert client.transport.is_closed
        assert scene.pool == "<Pool idle=1 busy=0 connecting=0 waiting=0>"

    play_s3(run)


def test_a_client_that_leaves_cuts_the_upload_off() -> None:
    async def run(scene: Scene) -> None:
        client = await _begin(scene)
        client.send(BODY[: CHUNK_BYTES + 1])
        client.lose()
        assert scene.service().is_aborted
        assert scene.codes == {"client_closed": 1}
        assert scene.counters.bytes_from_downstream_total == CHUNK_BYTES + 1

    play_s3(run)


def test_an_upstream_that_leaves_in_the_middle_is_a_502() -> None:
    async def run(scene: Scene) -> None:
        client = await _begin(scene)
        client.send(BODY[:CHUNK_BYTES])
        scene.service().lose()
        assert client.take_problem() == (502, "upstream_closed")
        client.send(BODY[CHUNK_BYTES:])
        await scene.settle()
        assert len(scene.connector.transports) == 1

    play_s3(run)


@pytest.mark.parametrize("came", [b"", BODY[:100]])
def test_a_put_that_meets_a_closed_reused_connection_is_sent_again_while_all_that_came_is_here(came: bytes) -> None:
    async def run(scene: Scene) -> None:
        await _with_used_connection(scene)
        client = scene.client()
        client.send(head(len(BODY), b"Expect: 100-continue") + came)
        assert scene.service().take().startswith(b"PUT ")
        scene.service().lose()
        await scene.settle()
        client.send(BODY[len(came) :])
        sent = scene.service(1).take()
        assert content_of(sent) == BODY
        scene.respond(OK, 1)
        continues = b"" if came else b"HTTP/1.1 100 Continue\r\n\r\n"
        assert client.take() == continues + OK
        assert scene.counters.retries_total == 1

    play_s3(run)


@pytest.mark.parametrize(("method", "later"), [(b"PUT", BODY[:2000]), (b"POST", b"")])
def test_a_request_is_not_sent_again_when_its_body_is_gone_or_it_is_not_idempotent(method: bytes, later: bytes) -> None:
    async def run(scene: Scene) -> None:
        await _with_used_connection(scene)
        client = await _begin(scene, method=method)
        if later:
            client.send(later)
        scene.service().lose()
        await scene.settle()
        assert client.take_problem() == (502, "upstream_closed")
        assert len(scene.connector.transports) == 1
        client.lose()

    play_s3(run, setting=PayloadSetting.UNSIGNED)


def test_a_streamed_body_goes_on_a_connection_that_was_used_just_now_or_on_a_fresh_one() -> None:
    """What was idle for longer may be closing at this moment, and the body cannot be sent twice."""

    async def run(scene: Scene) -> None:
        await _with_used_connection(scene)
        scene.now += 2.9
        client = await _begin(scene)
        client.send(BODY)
        assert content_of(scene.service(0).take()) == BODY
        scene.respond(OK)
        scene.now += 3.1
        await _begin(scene)
        assert scene.service(0).take() == b""
        assert scene.service(1).take().startswith(b"PUT ")
        # For what is held it is good enough.
        other = scene.client()
        other.send(GET)
        assert scene.service(0).take().startswith(b"GET ")
        scene.respond(OK)

    play_s3(run)


def test_where_no_more_connections_may_be_opened_an_idle_one_makes_room_for_a_fresh_one() -> None:
    async def run(scene: Scene) -> None:
        await _with_used_connection(scene)
        scene.now += 3.1
        client = await _begin(scene)
        assert scene.service(0).is_closed
        client.send(BODY)
        assert content_of(scene.service(1).take()) == BODY
        scene.respond(OK, 1)
        assert client.take() == OK

    play_s3(run, max_upstream=1)


def test_a_body_that_is_lost_to_a_fresh_connection_goes_on_when_more_of_it_comes_meanwhile() -> None:
    async def run(scene: Scene) -> None:
        await _with_used_connection(scene)
        client = await _begin(scene)
        scene.connector.opens_at_once = False
        scene.service().lose()
        client.send(BODY[:100])
        assert not _is_read(client)
        await scene.settle()
        scene.connector.asked[-1].set_result(None)
        await scene.settle()
        client.send(BODY[100:])
        assert content_of(scene.service(1).take()) == BODY
        scene.respond(OK, 1)
        assert client.take() == OK

    play_s3(run)


def test_a_client_that_sends_nothing_more_is_answered_408_and_the_upload_is_cut_off() -> None:
    async def run(scene: Scene) -> None:
        client = await _begin(scene)
        client.send(BODY[:10])
        scene.pass_time(100)
        client.send(BODY[10:20])
        scene.pass_time(100)
        assert not scene.service().is_aborted
        scene.pass_time(30)
        assert client.take_problem() == (408, "request_timeout")
        assert scene.service().is_aborted

    play_s3(run)


def test_an_upstream_that_takes_no_more_is_a_504() -> None:
    async def run(scene: Scene) -> None:
        client = await _begin(scene)
        client.send(BODY[:CHUNK_BYTES])
        scene.pass_time(121)
        assert client.take_problem() == (504, "upstream_stalled")
        assert scene.service().is_aborted
        assert scene.hit == {"progress_timeout": 1}

    play_s3(run, high_water=4096)


def test_an_upstream_that_never_answers_a_whole_upload_is_a_504() -> None:
    async def run(scene: Scene) -> None:
        client = await _begin(scene)
        client.send(BODY)
        scene.pass_time(61)
        assert client.take_problem() == (504, "upstream_response_timeout")

    play_s3(run)


def test_the_response_is_waited_for_from_when_the_upstream_has_taken_the_last_byte() -> None:
    async def run(scene: Scene) -> None:
        client = await _begin(scene)
        for start in range(0, len(BODY), CHUNK_BYTES):
            client.send(BODY[start : start + CHUNK_BYTES])
            if start + CHUNK_BYTES < len(BODY):
                scene.service().take()
        scene.pass_time(100)
        assert client.take() == b""
        scene.service().take()
        scene.pass_time(59)
        assert client.take() == b""
        scene.pass_time(2)
        assert client.take_problem() == (504, "upstream_response_timeout")

    play_s3(run, high_water=4096)


def test_a_streamed_request_waits_for_a_connection_no_longer_than_others() -> None:
    async def run(scene: Scene) -> None:
        first, second = await _begin(scene), await _begin(scene)
        scene.pass_time(21)
        assert second.take_problem() == (503, "upstream_busy")
        first.lose()
        second.lose()

    play_s3(run, max_upstream=1)


def test_what_is_too_large_is_refused_before_anything_is_sent() -> None:
    async def run(scene: Scene) -> None:
        client = await _begin(scene, length=100_001)
        assert client.take_problem() == (413, "body_too_large")
        assert scene.connector.transports == []

    play_s3(run, max_body_bytes=100_000)


def test_a_body_of_unknown_length_that_becomes_too_large_is_cut_off() -> None:
    async def run(scene: Scene) -> None:
        client = scene.client()
        client.send(
            b"PUT /bucket/key HTTP/1.1\r\nHost: client.test\r\nTransfer-Encoding: chunked\r\n"
            b"X-Amz-Content-Sha256: STREAMING-UNSIGNED-PAYLOAD-TRAILER\r\n\r\n"
        )
        await scene.settle()
        client.send(b"7d0\r\n" + b"x" * 2000 + b"\r\n")
        sent = scene.service().take()
        assert b"\r\nTransfer-Encoding: chunked\r\n" in sent
        assert sent.endswith(b"\r\n\r\n7d0\r\n" + b"x" * 2000 + b"\r\n")
        client.send(b"7d0\r\n" + b"x" * 2000 + b"\r\n")
        assert client.take_problem() == (413, "body_too_large")
        assert scene.service().is_aborted
        assert scene.service().take() == b""

    play_s3(run, max_body_bytes=3000)


def test_an_upload_that_is_under_way_is_finished_while_the_proxy_stops() -> None:
    async def run(scene: Scene) -> None:
        client = await _begin(scene)
        client.send(BODY[:CHUNK_BYTES])
        scene.context.is_draining = True
        client.send(BODY[CHUNK_BYTES:])
        assert content_of(scene.service().take()) == BODY
        scene.respond(OK)
        assert client.take().endswith(b"\r\nConnection: close\r\n\r\nok")
        assert client.transport.is_closed

    play_s3(run)


def test_an_upload_that_is_not_done_when_the_proxy_has_to_stop_is_cut_off() -> None:
    async def run(scene: Scene) -> None:
        client = await _begin(scene)
        client.send(BODY[:CHUNK_BYTES])
        client.connection.cut_off()
        assert scene.service().is_aborted
        assert client.transport.is_aborted
        assert scene.codes == {"drain_timeout": 1}

    play_s3(run)
