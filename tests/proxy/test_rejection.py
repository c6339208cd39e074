"""Answers that say "these credentials are expired or unknown", in every service's words, and those that do not."""

from __future__ import annotations

import gzip
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aws_signing_proxy.credentials.store import CredentialStore
from aws_signing_proxy.http1.response_reader import ResponseReader
from aws_signing_proxy.proxy.rejection import rejection_reader
from tests.credentials.fake_provider import FakeProvider, numbered
from tests.credentials.stores import store_of
from tests.proxy.scene import GET, Scene, play

EXPIRED = "The security token included in the request is expired"
INVALID = "The security token included in the request is invalid."
# As S3 writes it: https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
S3_BODY = (
    b'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>ExpiredToken</Code><Message>The provided token has expired.'
    b"</Message><Token-0>IQoJb3JpZ2luX2VjE</Token-0><RequestId>1</RequestId><HostId>2</HostId></Error>"
)


def response(status: int, body: bytes, *fields: bytes) -> bytes:
    lines = [b"HTTP/1.1 %d Whatever" % status, b"Content-Length: %d" % len(body), *fields]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def chunked(status: int, body: bytes, size: int, *fields: bytes) -> bytes:
    lines = [b"HTTP/1.1 %d Whatever" % status, b"Transfer-Encoding: chunked", *fields]
    pieces = [body[start : start + size] for start in range(0, len(body), size)]
    return b"\r\n".join(lines) + b"\r\n\r\n" + b"".join(b"%x\r\n%b\r\n" % (len(p), p) for p in pieces) + b"0\r\n\r\n"


def is_rejection(raw: bytes, *, read_size: int = 65536, is_head_request: bool = False) -> bool:
    """Read a response as the proxy does, in reads of so many bytes; return whether the store was told."""
    store = store_of(FakeProvider())
    store.current = numbered(1)
    feed(store, raw, read_size=read_size, is_head_request=is_head_request)
    return store.refresher.ledger.rejections_total == 1


def feed(store: CredentialStore, raw: bytes, *, read_size: int, is_head_request: bool) -> None:
    reader = ResponseReader(is_head_request=is_head_request)
    rejection = None
    has_begun = False
    for start in range(0, len(raw), read_size):
        reader.feed(raw[start : start + read_size])
        if reader.head is not None and not has_begun:
            has_begun = True
            assert store.current is not None
            rejection = rejection_reader(reader.head, store, store.current)
        if rejection is not None:
            rejection.read(reader)
    assert reader.is_complete
    if rejection is not None:
        rejection.conclude()


def query_error(code: str, message: str) -> bytes:
    """IAM, STS and the other services of the query protocol."""
    return (
        '<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">\n  <Error>\n    <Type>Sender</Type>\n'
        f"    <Code>{code}</Code>\n    <Message>{message}</Message>\n  </Error>\n  <RequestId>1</RequestId>\n"
        "</ErrorResponse>\n"
    ).encode()


REJECTIONS = {
    "S3": response(400, S3_BODY, b"Content-Type: application/xml"),
    "S3, a key that is not there any more": response(
        403, b"<Error><Code>InvalidAccessKeyId</Code><Message>The AWS Access Key Id you provided does not</Message>"
    ),
    "S3, a token to be renewed": response(400, b"<Error><Code>TokenRefreshRequired</Code></Error>"),
    "OpenSearch and API Gateway": response(403, json.dumps({"message": EXPIRED}).encode()),
    "OpenSearch, with a capital": response(403, json.dumps({"Message": EXPIRED}).encode()),
    "API Gateway, a key that is not there": response(
        403, json.dumps({"message": INVALID}).encode(), b"x-amzn-ErrorType: UnrecognizedClientException"
    ),
    "S3's words in JSON": response(400, b'{"message" : "The provided token has expired."}'),
    "STS": response(403, query_error("ExpiredToken", EXPIRED), b"Content-Type: text/xml"),
    "IAM": response(403, query_error("InvalidClientTokenId", INVALID)),
    "the code alone": response(403, b"<Code>\n  ExpiredToken\n</Code>"),
    "EC2's status": response(401, query_error("ExpiredToken", EXPIRED)),
    "DynamoDB": response(
        400, b'{"__type":"com.amazon.coral.service#ExpiredTokenException","message":"' + EXPIRED.encode() + b'"}'
    ),
    "DynamoDB, a key that is not there": response(
        400, b'{"__type":"com.amazon.coral.service#UnrecognizedClientException"}'
    ),
    "a JSON service with its own prefix": response(
        400, b'{"__type": "com.amazonaws.dynamodb.v20120810#ExpiredTokenException"}'
    ),
    "a JSON service without prefix": response(400, b'{"__type":"ExpiredTokenException"}'),
    "a REST service that writes its code": response(403, b'{"code":"ExpiredToken"}'),
    "a REST service that writes its Code": response(403, b'{"Code" : "ExpiredTokenException"}'),
    "the field alone": response(403, b"", b"x-amzn-ErrorType: ExpiredTokenException"),
    "the field with a URL behind": response(
        403,
        b"{}",
        b"X-Amzn-Errortype: ExpiredTokenException:http://internal.amazon.com/coral/com.amazon.coral.service/",
    ),
    "the field with a prefix": response(
        400, b"{}", b"x-amzn-errortype: com.amazon.coral.service#ExpiredTokenException"
    ),
}


@pytest.mark.parametrize("raw", REJECTIONS.values(), ids=REJECTIONS.keys())
@pytest.mark.parametrize("read_size", [65536, 7, 1])
def test_every_service_s_way_of_saying_it_is_understood_however_it_arrives(raw: bytes, read_size: int) -> None:
    assert is_rejection(raw, read_size=read_size)


@pytest.mark.parametrize("size", [1, 3, 1000])
@pytest.mark.parametrize("read_size", [65536, 1])
def test_chunks_are_seen_through(size: int, read_size: int) -> None:
    assert is_rejection(chunked(400, S3_BODY, size), read_size=read_size)


@pytest.mark.parametrize("name", [b"gzip", b"x-gzip", b"GZIP"])
@pytest.mark.parametrize("read_size", [65536, 1])
def test_a_compressed_body_is_seen_through(name: bytes, read_size: int) -> None:
    body = gzip.compress(json.dumps({"message": EXPIRED}).encode())
    assert is_rejection(response(403, body, b"Content-Encoding: " + name), read_size=read_size)
    assert is_rejection(chunked(403, body, 2, b"Content-Encoding: " + name), read_size=read_size)


def test_the_beginning_of_a_long_body_is_enough() -> None:
    assert is_rejection(response(400, S3_BODY + b" " * 100_000))


def test_the_field_is_enough_where_there_is_no_body_to_read() -> None:
    raw = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 99\r\nx-amzn-ErrorType: ExpiredTokenException\r\n\r\n"
    assert is_rejection(raw, is_head_request=True)


POLICY = "User: arn:aws:sts::123456789012:assumed-role/ExpiredToken/x is not authorized to perform: es:ESHttpGet"

OTHERS = {
    "a success that says so": response(200, S3_BODY),
    "a document that is missing": response(404, S3_BODY),
    "a server's failure": response(500, S3_BODY),
    "a redirect": response(301, S3_BODY),
    "a policy, of a resource with such a name": response(403, json.dumps({"Message": POLICY}).encode()),
    "a policy that forbids": response(403, b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"),
    "a policy of a bucket with such a name": response(
        403,
        b"<Error><Code>AccessDenied</Code><BucketName>ExpiredToken</BucketName><Key>InvalidClientTokenId</Key></Error>",
    ),
    "a policy by its field": response(403, b"{}", b"x-amzn-ErrorType: AccessDeniedException"),
    "a message in a message": response(
        403, json.dumps({"Message": f'no permission on {{"code":"ExpiredToken","message":"{EXPIRED}"}}'}).encode()
    ),
    "a name that a code is a part of": response(400, b"<Code>NotExpiredToken</Code><Code>ExpiredTokenOfMine</Code>"),
    "a type that a code is a part of": response(400, b'{"__type":"MyExpiredTokenException"}'),
    "another field with the word": response(403, b"", b"x-amzn-ErrorType-Of: ExpiredToken", b"x-id: ExpiredToken"),
    "a field that begins with the word": response(403, b"", b"x-amzn-ErrorType: ExpiredTokenLike"),
    "a wrong signature": response(403, b"<Error><Code>SignatureDoesNotMatch</Code></Error>"),
    "a wrong signature in JSON": response(400, b'{"__type":"InvalidSignatureException","message":"Signature expired"}'),
    "a wrong clock": response(403, b"<Error><Code>RequestTimeTooSkewed</Code></Error>"),
    "a wrong clock in JSON": response(403, b'{"message":"Signature expired: 20260101T000000Z is now earlier than"}'),
    "an explicit deny": response(
        403, b'{"message":"explicit deny in an identity-based policy of the token is expired"}'
    ),
    "nothing": response(403, b""),
    "broken gzip": response(403, b"\x1f\x8b" + S3_BODY, b"Content-Encoding: gzip"),
    "what is no gzip": response(400, S3_BODY, b"Content-Encoding: gzip"),
    "half of a head of gzip": response(400, b"\x1f\x8b\x08", b"Content-Encoding: gzip"),
    "behind the first 4 KiB": response(400, b" " * 4096 + S3_BODY),
    "across their end": response(400, b" " * 4080 + S3_BODY),
}


@pytest.mark.parametrize("raw", OTHERS.values(), ids=OTHERS.keys())
@pytest.mark.parametrize("read_size", [65536, 5])
def test_what_is_about_something_else_is_left_alone(raw: bytes, read_size: int) -> None:
    assert not is_rejection(raw, read_size=read_size)


def test_a_compressed_bomb_is_unpacked_as_far_as_an_error_is_long() -> None:
    body = gzip.compress(b" " * 1_000_000 + S3_BODY)
    assert len(body) < 4096
    assert not is_rejection(response(403, body, b"Content-Encoding: gzip"))


def test_of_a_body_of_any_length_4_kib_are_kept() -> None:
    reader = ResponseReader(is_head_request=False)
    store = store_of(FakeProvider())
    reader.feed(response(400, b"x" * 1_000_000)[:100_000])
    assert reader.head is not None
    rejection = rejection_reader(reader.head, store, numbered(1))
    assert rejection is not None
    rejection.read(reader)
    assert len(rejection._beginning) == 4096


def test_credentials_that_are_not_in_use_any_more_are_not_fetched_for() -> None:
    store = store_of(FakeProvider())
    store.current = numbered(2)
    reader = ResponseReader(is_head_request=False)
    reader.feed(response(400, S3_BODY))
    assert reader.head is not None
    rejection = rejection_reader(reader.head, store, numbered(1))
    assert rejection is not None
    rejection.read(reader)
    rejection.conclude()
    assert store.refresher.ledger.rejections_total == 0


@given(
    status=st.sampled_from([400, 401, 403]),
    body=st.binary(max_size=300) | st.binary(max_size=50).map(gzip.compress),
    fields=st.lists(st.sampled_from([b"Content-Encoding: gzip", b"x-amzn-ErrorType:", b"x-amzn-errortype: #"])),
    read_size=st.integers(1, 400),
)
def test_no_body_whatever_makes_it_fail(status: int, body: bytes, fields: list[bytes], read_size: int) -> None:
    assert not is_rejection(response(status, body, *fields), read_size=read_size)


def test_the_client_gets_the_answer_as_it_is_and_the_proxy_takes_its_word() -> None:
    async def run(scene: Scene) -> None:
        client = scene.client()
        client.send(GET)
        await scene.settle()
        answer = response(400, S3_BODY)
        scene.respond(answer)
        await scene.fetch_credentials()  # brings the same ones
        assert client.take() == answer
        assert scene.credentials.refresher.ledger.rejections_total == 1

    play(run)


def test_an_answer_that_was_cut_off_says_nothing() -> None:
    async def run(scene: Scene) -> None:
        client = scene.client()
        client.send(GET)
        await scene.settle()
        scene.respond(response(400, S3_BODY)[:-1])
        scene.service().lose()
        assert client.take_problem() == (502, "upstream_closed")
        assert scene.credentials.refresher.ledger.rejections_total == 0

    play(run)
