"""What becomes of bodies that clients frame, sign or describe themselves, on fake transports."""

from __future__ import annotations

from hashlib import sha256

import pytest

from aws_signing_proxy.sigv4 import Identity, Signer
from aws_signing_proxy.sigv4.chunks import STREAMING, STREAMING_TRAILER
from aws_signing_proxy.sigv4.payloads import PayloadSetting
from tests.proxy.scene import NOW, OK, Scene, post
from tests.proxy.streams import SIGNATURE, content_of, head, play_s3, signed_chunks, signed_head, trailers

CHECKSUM = b"x-amz-checksum-crc32c"


def _resigned(sent: bytes, chunks: list[bytes], trailer: bytes = b"") -> bytes:
    """Return the body that must have been sent: the same chunks, with a chain that begins at this head's signature."""
    seed = sent.partition(b"Signature=")[2][:64]
    signer_of_heads = Signer(service="es", region="eu-central-1")
    plan = signer_of_heads.plan(method=b"PUT", target=signer_of_heads.target(b"/"), signed_fields=[(b"host", b"any")])
    identity = Identity("AKIDEXAMPLE", "the-secret", "the-token")
    lines, signer = signer_of_heads.sign_streamed(plan, payload_hash=STREAMING, identity=identity, now=NOW)
    assert lines
    signer._previous = seed
    body = b""
    for chunk in [*chunks, b""]:
        body += b"%x;chunk-signature=%b\r\n" % (len(chunk), signer.sign_chunk(sha256(chunk).hexdigest().encode()))
        body += chunk + b"\r\n" if chunk or not trailer else b""
    if trailer:
        canonical = trailer.replace(b"\r\n", b"\n").replace(b"\n\n", b"\n")
        body += trailer + b"x-amz-trailer-signature:" + signer.sign_trailers(canonical) + b"\r\n\r\n"
    return body


@pytest.mark.parametrize("cut", [1, 7, 100, 10_000])
def test_chunks_that_a_client_signed_are_signed_anew_and_keep_their_sizes(cut: int) -> None:
    chunks = [b"a" * 800, b"b" * 13, b"c"]
    body = signed_chunks(*chunks)

    async def run(scene: Scene) -> None:
        client = scene.client()
        client.send(signed_head(body, 814, b"X-Amz-Meta-A: b"))
        await scene.settle()
        for start in range(0, len(body), cut):
            client.send(body[start : start + cut])
        sent = scene.service().take()
        fields, _, rest = sent.partition(b"\r\n\r\n")
        assert b"\r\nX-Amz-Content-Sha256: " + STREAMING + b"\r\n" in fields
        assert b"\r\nContent-Length: %d" % len(body) in fields
        assert fields.count(b"aws-chunked") == 1
        assert SIGNATURE not in sent
        assert len(rest) == len(body)
        assert rest == _resigned(sent, chunks)
        scene.respond(OK)
        assert client.take() == OK

    play_s3(run)


@pytest.mark.parametrize("end", [b"\r\n", b"\n\r\n", b"\nx-amz-meta-a:1\n\r\n"])
def test_trailers_are_signed_anew_and_keep_their_bytes(end: bytes) -> None:
    trailer = CHECKSUM + b":sOO8/Q==" + end
    body = signed_chunks(b"hello", end=trailers(trailer))

    async def run(scene: Scene) -> None:
        client = scene.client()
        names = CHECKSUM + b"\r\nX-Amz-Trailer: x-amz-meta-a" if b"meta" in end else CHECKSUM
        client.send(signed_head(body, 5, trailer=names) + body)
        await scene.settle()
        sent = scene.service().take()
        assert b"\r\nX-Amz-Content-Sha256: " + STREAMING_TRAILER + b"\r\n" in sent
        assert sent.partition(b"\r\n\r\n")[2] == _resigned(sent, [b"hello"], trailer)
        scene.respond(OK)
        assert client.take() == OK

    play_s3(run)


def test_signed_chunks_inside_chunks_of_http_go_on_in_chunks_of_http() -> None:
    body = signed_chunks(b"hello")

    async def run(scene: Scene) -> None:
        client = scene.client()
        client.send(
            b"PUT /bucket/key HTTP/1.1\r\nHost: client.test\r\nTransfer-Encoding: chunked\r\n"
            b"Content-Encoding: aws-chunked\r\nX-Amz-Decoded-Content-Length: 5\r\n"
            b"X-Amz-Content-Sha256: " + STREAMING + b"\r\n\r\n"
        )
        await scene.settle()
        client.send(b"%x\r\n%b\r\n" % (len(body), body))
        client.send(b"0\r\n\r\n")
        sent = scene.service().take()
        assert b"\r\nTransfer-Encoding: chunked\r\n" in sent
        inner = _resigned(sent, [b"hello"])
        assert sent.endswith(b"\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(inner), inner))
        scene.respond(OK)
        assert client.take() == OK

    play_s3(run)


@pytest.mark.parametrize(
    ("body", "decoded"),
    [
        (signed_chunks(b"hello").replace(SIGNATURE, b"x" * 64), 5),
        (signed_chunks(b"hello"), 6),
        (signed_chunks(b"hello"), 4),
        (signed_chunks(b"hello")[:-1], 5),
        (signed_chunks(b"hello") + b"\r\n", 5),
        (b"hello", 5),
    ],
)
def test_malformed_chunks_are_a_400_and_the_upload_is_cut_off(body: bytes, decoded: int) -> None:
    async def run(scene: Scene) -> None:
        client = scene.client()
        client.send(signed_head(body, decoded))
        await scene.settle()
        begun = scene.service().take()
        assert begun.endswith(b"\r\n\r\n")
        client.send(body)
        assert client.take_problem() == (400, "malformed_payload")
        assert scene.service().is_aborted
        assert b"0;chunk-signature=" not in scene.service().take()
        assert scene.codes == {"malformed_payload": 1}

    play_s3(run)


def test_malformed_chunks_that_came_with_the_head_are_a_400_too() -> None:
    async def run(scene: Scene) -> None:
        client = scene.client()
        client.send(signed_head(b"hello", 5) + b"hello")
        await scene.settle()
        assert client.take_problem() == (400, "malformed_payload")
        assert scene.service().is_aborted

    play_s3(run)


def test_malformed_chunks_behind_a_response_that_has_begun_end_the_connection() -> None:
    async def run(scene: Scene) -> None:
        client = scene.client()
        client.send(signed_head(signed_chunks(b"hello"), 5))
        await scene.settle()
        scene.respond(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n")
        client.send(b"x\r\n")
        assert client.transport.is_aborted
        assert scene.service().is_aborted
        assert scene.codes == {"malformed_payload": 1}

    play_s3(run)


def test_a_signed_chunk_that_is_too_large_to_be_held_is_refused() -> None:
    async def run(scene: Scene) -> None:
        client = scene.client()
        size = 1024 * 1024 + 1
        client.send(signed_head(signed_chunks(bytes(size)), size))
        await scene.settle()
        client.send(signed_chunks(bytes(size))[:1000])
        assert client.take_problem() == (501, "payload_not_supported")

    play_s3(run)


@pytest.mark.parametrize(
    ("fields", "answer"),
    [
        ([b"X-Amz-Content-Sha256: STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD"], (501, "payload_not_supported")),
        ([b"X-Amz-Content-Sha256: STREAMING-AWS4-HMAC-SHA256-EVENTS"], (501, "payload_not_supported")),
        ([b"X-Amz-Content-Sha256: " + STREAMING], (400, "malformed_payload")),
        ([b"X-Amz-Content-Sha256: " + STREAMING, b"X-Amz-Decoded-Content-Length: x"], (400, "malformed_payload")),
        (
            [
                b"X-Amz-Content-Sha256: " + STREAMING,
                b"X-Amz-Decoded-Content-Length: 1",
                b"X-Amz-Decoded-Content-Length: 2",
            ],
            (400, "malformed_payload"),
        ),
        ([b"Content-Encoding: gzip, aws-chunked"], (400, "malformed_payload")),
    ],
)
def test_a_payload_that_cannot_be_passed_on_is_refused_by_its_head(
    fields: list[bytes], answer: tuple[int, str]
) -> None:
    async def run(scene: Scene) -> None:
        client = scene.client()
        client.send(head(5000, *fields))
        assert client.take_problem() == answer
        await scene.settle()
        assert scene.connector.transports == []

    play_s3(run)


FRAMED = b"5\r\nhello\r\n0\r\nx-amz-checksum-crc32:NhCmhg==\r\n\r\n"
AWS_CHUNKED = b"Content-Encoding: aws-chunked"


@pytest.mark.parametrize("size", [len(FRAMED), 5000])
@pytest.mark.parametrize("setting", PayloadSetting)
@pytest.mark.parametrize(
    "fields",
    [
        [],
        [b"X-Amz-Content-Sha256: UNSIGNED-PAYLOAD"],
        [b"X-Amz-Content-Sha256: " + b"a" * 64],
        [b"X-Amz-Content-Sha256: streaming-unsigned-payload-trailer"],
        [b"Connection: content-encoding"],
    ],
)
def test_framing_of_which_the_service_is_not_told_the_kind_is_refused_whatever_way_the_body_would_go(
    fields: list[bytes], setting: PayloadSetting, size: int
) -> None:
    async def run(scene: Scene) -> None:
        for encoding in (AWS_CHUNKED, b"Content-Encoding: gzip\r\ncontent-encoding:AWS-Chunked"):
            client = scene.client()
            client.send(head(size, encoding, *fields) + FRAMED)
            assert client.take_problem() == (400, "malformed_payload")
        client = scene.client()
        client.send(
            b"PUT /bucket/key HTTP/1.1\r\nHost: client.test\r\nTransfer-Encoding: chunked\r\n"
            + AWS_CHUNKED
            + b"\r\n\r\n"
        )
        assert client.take_problem() == (400, "malformed_payload")
        await scene.settle()
        assert scene.connector.transports == []

    play_s3(run, setting=setting)


def test_a_head_without_a_body_and_a_service_without_such_framing_may_say_aws_chunked() -> None:
    async def run(scene: Scene) -> None:
        client = scene.client()
        client.send(head(0, AWS_CHUNKED, method=b"POST"))  # CreateMultipartUpload, CopyObject: stored as metadata
        await scene.settle()
        assert AWS_CHUNKED in scene.service().take()
        scene.respond(OK)
        assert client.take() == OK
        client.send(head(len(FRAMED), AWS_CHUNKED) + FRAMED)
        assert client.take_problem() == (400, "malformed_payload")

    async def run_elsewhere(scene: Scene) -> None:
        client = scene.client()
        client.send(head(len(FRAMED), AWS_CHUNKED) + FRAMED)
        await scene.settle()
        assert scene.service().take().endswith(b"\r\n\r\n" + FRAMED)
        scene.respond(OK)
        assert client.take() == OK

    play_s3(run)
    play_s3(run_elsewhere, service="es", setting=PayloadSetting.AUTO)


@pytest.mark.parametrize(
    ("word", "sentence"),
    [
        (b"garbage", "64 hexadecimal digits"),
        (b"", "64 hexadecimal digits"),
        (b"a" * 63, "64 hexadecimal digits"),
        (b"unsigned-payload", "written in capitals, UNSIGNED-PAYLOAD."),
        (b"Streaming-Unsigned-Payload-Trailer", "written in capitals, STREAMING-UNSIGNED-PAYLOAD-TRAILER."),
        (b"streaming-aws4-hmac-sha256-payload", "written in capitals, STREAMING-AWS4-HMAC-SHA256-PAYLOAD."),
    ],
)
@pytest.mark.parametrize("size", [5, 5000])
def test_a_word_that_is_no_payload_mode_is_refused_and_no_true_hash_put_in_its_place(
    word: bytes, sentence: str, size: int
) -> None:
    async def run(scene: Scene) -> None:
        client = scene.client()
        client.send(head(size, b"X-Amz-Content-Sha256: " + word) + b"x" * size)
        answer = client.take()
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert b'"malformed_payload"' in answer
        assert sentence.encode() in answer
        await scene.settle()
        assert scene.connector.transports == []

    play_s3(run)


def test_services_that_do_not_read_the_word_get_the_true_hash() -> None:
    async def run(scene: Scene) -> None:
        client = scene.client()
        client.send(post(b"body", b"X-Amz-Content-Sha256: required"))
        await scene.settle()
        assert b"\r\nX-Amz-Content-Sha256: " + sha256(b"body").hexdigest().encode() in scene.service().take()
        scene.respond(OK)
        assert client.take() == OK

    play_s3(run, service="aoss", setting=PayloadSetting.AUTO)


@pytest.mark.parametrize("beginning", [b"STREAMING-", b"x"])
def test_of_a_long_word_the_beginning_is_told(beginning: bytes) -> None:
    async def run(scene: Scene) -> None:
        client = scene.client()
        client.send(head(5, b"X-Amz-Content-Sha256: " + beginning + b"A" * 3000) + b"hello")
        answer = client.take()
        assert b"AAAA..." in answer
        assert len(answer) < 1000

    play_s3(run)


def test_a_declared_hash_in_capitals_goes_on_in_the_letters_of_signatures() -> None:
    async def run(scene: Scene) -> None:
        client = scene.client()
        client.send(head(2000, b"X-Amz-Content-Sha256: " + b"A" * 64) + b"x" * 2000)
        await scene.settle()
        assert b"\r\nX-Amz-Content-Sha256: " + b"a" * 64 + b"\r\n" in scene.service().take()
        scene.respond(OK)
        assert client.take() == OK

    play_s3(run)


def test_a_body_in_signed_chunks_that_has_no_byte_is_refused_by_its_head() -> None:
    async def run(scene: Scene) -> None:
        client = scene.client()
        client.send(signed_head(b"", 0))
        assert client.take_problem() == (400, "malformed_payload")
        await scene.settle()
        assert scene.connector.transports == []

    play_s3(run)


def test_chunks_that_a_client_signed_for_another_service_than_s3_are_refused() -> None:
    async def run(scene: Scene) -> None:
        client = scene.client()
        client.send(signed_head(signed_chunks(b"hello"), 5))
        assert client.take_problem() == (501, "payload_not_supported")

    play_s3(run, service="es", setting=PayloadSetting.AUTO)


@pytest.mark.parametrize("size", [len(FRAMED), 5000])
@pytest.mark.parametrize(
    ("service", "setting", "is_tls"),
    [
        ("es", PayloadSetting.AUTO, True),
        ("vpc-lattice-svcs", PayloadSetting.AUTO, True),
        ("s3", PayloadSetting.SIGNED, False),
    ],
)
def test_unsigned_trailers_that_the_service_or_the_operator_does_not_take_are_refused_by_the_head(
    service: str, setting: PayloadSetting, is_tls: bool, size: int
) -> None:
    async def run(scene: Scene) -> None:
        client = scene.client()
        client.send(head(size, AWS_CHUNKED, b"X-Amz-Content-Sha256: STREAMING-UNSIGNED-PAYLOAD-TRAILER") + FRAMED)
        assert client.take_problem() == (501, "payload_not_supported")
        await scene.settle()
        assert scene.connector.transports == []

    play_s3(run, service=service, setting=setting, is_tls=is_tls)


def test_a_body_with_unsigned_trailers_passes_as_it_is_under_a_head_of_its_own() -> None:
    body = b"bb8\r\n" + b"x" * 3000 + b"\r\n0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n"

    async def run(scene: Scene) -> None:
        client = scene.client()
        mode = b"X-Amz-Content-Sha256: STREAMING-UNSIGNED-PAYLOAD-TRAILER"
        client.send(head(len(body), mode, b"Content-Encoding: aws-chunked", b"X-Amz-Decoded-Content-Length: 3000"))
        await scene.settle()
        client.send(body)
        sent = scene.service().take()
        assert b"\r\nContent-Length: %d\r\n" % len(body) in sent
        assert b"\r\n" + mode + b"\r\n" in sent
        assert sent.endswith(b"\r\n\r\n" + body)
        scene.respond(OK)
        assert client.take() == OK

    play_s3(run)


def test_a_hash_that_the_client_declared_is_signed_and_the_body_streamed() -> None:
    declared = sha256(b"something else").hexdigest().encode()

    async def run(scene: Scene) -> None:
        client = scene.client()
        client.send(head(2000, b"X-Amz-Content-Sha256: " + declared))
        await scene.settle()
        client.send(b"x" * 2000)
        sent = scene.service().take()
        assert b"\r\nX-Amz-Content-Sha256: " + declared + b"\r\n" in sent
        assert sent.endswith(b"\r\n\r\n" + b"x" * 2000)
        scene.respond(OK)
        assert client.take() == OK

    play_s3(run, service="es", setting=PayloadSetting.AUTO)


def test_a_declared_hash_of_a_body_that_is_held_is_still_compared() -> None:
    async def run(scene: Scene) -> None:
        client = scene.client()
        client.send(post(b"x", b"X-Amz-Content-Sha256: " + sha256(b"y").hexdigest().encode()))
        await scene.settle()
        assert client.take_problem() == (400, "content_sha256_mismatch")

    play_s3(run)


def test_a_body_that_says_it_is_unsigned_is_signed_all_the_same() -> None:
    async def run(scene: Scene) -> None:
        client = scene.client()
        client.send(head(2000, b"X-Amz-Content-Sha256: UNSIGNED-PAYLOAD") + b"x" * 2000)
        await scene.settle()
        sent = scene.service().take()
        assert b"\r\nX-Amz-Content-Sha256: " + STREAMING + b"\r\n" in sent
        assert content_of(sent) == b"x" * 2000
        scene.respond(OK)
        assert client.take() == OK

    play_s3(run, setting=PayloadSetting.AUTO)


def test_the_encoding_that_a_body_has_already_is_named_behind_that_of_the_chunks() -> None:
    async def run(scene: Scene) -> None:
        client = scene.client()
        fields = (b"content-encoding: gzip", b"Content-Encoding:br ", b"X-Amz-Decoded-Content-Length: 7", b"X-Other: 1")
        client.send(head(2000, *fields) + b"x" * 2000)
        await scene.settle()
        sent = scene.service().take()
        assert sent.lower().count(b"content-encoding") == 1
        assert b"\r\nContent-Encoding: aws-chunked,gzip,br\r\n" in sent
        assert sent.count(b"Decoded-Content-Length: ") == 1
        assert b"\r\nX-Amz-Decoded-Content-Length: 2000\r\n" in sent
        assert b";x-amz-decoded-content-length" in sent
        assert b"\r\nX-Other: 1\r\n" in sent
        scene.respond(OK)
        assert client.take() == OK

    play_s3(run)


def test_a_body_of_unknown_length_is_held_for_s3() -> None:
    async def run(scene: Scene) -> None:
        client = scene.client()
        client.send(b"PUT /bucket/key HTTP/1.1\r\nHost: client.test\r\nTransfer-Encoding: chunked\r\n\r\n")
        client.send(b"7d0\r\n" + b"x" * 2000 + b"\r\n")
        await scene.settle()
        assert scene.connector.transports == []
        client.send(b"0\r\n\r\n")
        await scene.until(lambda: bool(scene.connector.transports))
        await scene.until(lambda: scene.service().written.endswith(b"x" * 2000))
        assert b"\r\nContent-Length: 2000\r\n" in scene.service().take()
        scene.respond(OK)
        client.lose()

    play_s3(run)


def test_a_body_of_unknown_length_is_streamed_for_vpc_lattice_without_a_hash() -> None:
    async def run(scene: Scene) -> None:
        client = scene.client()
        client.send(b"POST / HTTP/1.1\r\nHost: client.test\r\nTransfer-Encoding: chunked\r\n\r\n")
        await scene.settle()
        client.send(b"1\r\nx\r\n2;name=value\r\nyz\r\n0\r\nTrailer: dropped\r\n\r\n")
        sent = scene.service().take()
        assert b"\r\nX-Amz-Content-Sha256: UNSIGNED-PAYLOAD\r\n" in sent
        assert sent.endswith(b"\r\n\r\n3\r\nxyz\r\n0\r\n\r\n")
        scene.respond(OK)
        assert client.take() == OK

    play_s3(run, service="vpc-lattice-svcs", setting=PayloadSetting.AUTO)
