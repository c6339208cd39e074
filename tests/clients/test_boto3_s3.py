"""boto3's S3 client, which knows no credentials, through the proxy to moto, which refuses bad signatures.

How far moto's check reaches (`test_refusals.py` shows that it is on): it computes the signature with botocore's own
signer from the raw path, the query and the signed fields that arrived, with the secret key of the user in its IAM.
Where it is laxer than AWS, so that nothing is proven here:

- the day, region and service are taken from the request's own scope, and no clock is compared;
- the body's hash is taken from X-Amz-Content-Sha256 and not compared with the body (botocore's signer does so);
- X-Amz-* fields that are not signed, and a second mechanism in the query, are not refused;
- the path counts as it arrived, where S3 decodes and encodes it first;
- neither Content-MD5 nor a checksum is compared with the body (boto3 compares the checksum when it reads);
- a request without Authorization is answered 500 (it stumbles over the missing field), where AWS answers 403;
- it speaks plain HTTP, where S3 takes STREAMING-UNSIGNED-PAYLOAD-TRAILER over TLS only.

The first four are checked by `test_s3_strictly.py` and the stand-in, with the project's own verifier.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import zlib
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
import requests
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError
from botocore.httpchecksum import AwsChunkedWrapper, Crc32Checksum

from tests.clients.processes import MotoProcess, ProxyProcess
from tests.clients.verifying_service import blob

BUCKET = "documents"
MIB = 1024 * 1024
ODD_KEYS = {
    "plain": "plain.txt",
    "reserved": "a b+c/ä ö%2F%%/(x)!*'@:;,=&$?.txt",
    "more_reserved": '~^`{}|\\<>"#[]',
    "slashes": "//double//slash",
    "trailing_slash": "folder/",
    "two_trailing_slashes": "folder//",
    "dot_dot": "..",
    "dot_dot_first": "../up",
    "dot_dot_inside": "a/../b",
    "dot": "./x",
    "dot_inside": "a/./b",
    "emoji": "emoji-😀/🎉",
    "decomposed": "e\u0301 is not \u00e9",
    "plus": "+",
    "percent": "%",
    "looks_encoded": "a%20b%2fc",
    "question_mark": "?",
    "tab": "a\tb",
    "control": "\x01\x7f",
    "longest": "k" * 1024,
    "longest_in_bytes": "é" * 512,
}


@pytest.fixture(scope="module")
def proxy(moto: MotoProcess) -> Iterator[ProxyProcess]:
    with moto.proxy("s3") as running:
        yield running


def _client(proxy: ProxyProcess, *, signature_version: Any = None, **credentials: str) -> Any:
    config = Config(signature_version=signature_version, s3={"addressing_style": "path"}, retries={"max_attempts": 0})
    return boto3.Session().client(
        "s3", endpoint_url=proxy.url, region_name=MotoProcess.REGION, config=config, **credentials
    )


@pytest.fixture(scope="module")
def unsigned(proxy: ProxyProcess) -> Iterator[Any]:
    """boto3 told not to sign."""
    client = _client(proxy, signature_version=UNSIGNED)
    client.create_bucket(Bucket=BUCKET)
    yield client
    client.close()


@pytest.fixture(scope="module")
def wrongly_signed(proxy: ProxyProcess, unsigned: Any) -> Iterator[Any]:
    """boto3 with made-up keys, which signs: the proxy has to replace all of it."""
    client = _client(
        proxy,
        signature_version="s3v4",
        aws_access_key_id="AKIAMADEUP",
        aws_secret_access_key="made-up",
        aws_session_token="made-up-token",
    )
    yield client
    client.close()


@pytest.fixture(params=["unsigned", "wrongly_signed"])
def client(request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue(request.param)


def _keys(client: Any, **arguments: Any) -> list[str]:
    return [entry["Key"] for entry in client.list_objects_v2(Bucket=BUCKET, **arguments).get("Contents", [])]


def _read(client: Any, key: str, **arguments: Any) -> bytes:
    content: bytes = client.get_object(Bucket=BUCKET, Key=key, **arguments)["Body"].read()
    return content


def _empty(client: Any) -> None:
    for key in _keys(client):
        client.delete_object(Bucket=BUCKET, Key=key)


@pytest.mark.parametrize("key", ODD_KEYS.values(), ids=ODD_KEYS)
def test_an_object_is_put_read_listed_and_deleted_under_exactly_its_key(client: Any, key: str) -> None:
    _empty(client)
    body = f"what is stored under {key}".encode()
    client.put_object(Bucket=BUCKET, Key=key, Body=body)
    assert _keys(client) == [key]
    assert _read(client, key) == body
    assert client.head_object(Bucket=BUCKET, Key=key)["ContentLength"] == len(body)
    client.delete_object(Bucket=BUCKET, Key=key)
    assert _keys(client) == []


def test_user_metadata_tags_and_entity_fields_come_back_as_they_were_sent(client: Any) -> None:
    sent = {
        "Metadata": {"plain": "x", "spaces": "two  spaces", "under_score": "y", "base64": "=?UTF-8?B?w6Q=?="},
        "ContentType": "text/plain; charset=utf-8",
        "ContentEncoding": "gzip",
        "CacheControl": "no-cache, max-age=0",
    }
    client.put_object(Bucket=BUCKET, Key="described", Body=b"x", Tagging="team=a%20b&sum=1%2B1%3D2", **sent)
    head = client.head_object(Bucket=BUCKET, Key="described")
    assert {name: head[name] for name in sent} == sent
    tags = client.get_object_tagging(Bucket=BUCKET, Key="described")["TagSet"]
    assert {tag["Key"]: tag["Value"] for tag in tags} == {"team": "a b", "sum": "1+1=2"}


@pytest.mark.parametrize("key", [ODD_KEYS["reserved"], ODD_KEYS["slashes"], ODD_KEYS["emoji"]])
def test_an_object_is_copied_from_an_odd_key(client: Any, key: str) -> None:
    client.put_object(Bucket=BUCKET, Key=key, Body=b"the source")
    client.copy_object(Bucket=BUCKET, Key="copy of " + key, CopySource={"Bucket": BUCKET, "Key": key})
    assert _read(client, "copy of " + key) == b"the source"


def test_a_multipart_upload_of_parts_over_5_mib_is_put_together_again(client: Any) -> None:
    data = blob(6 * MIB + 3)
    upload = client.create_multipart_upload(Bucket=BUCKET, Key="parts +/é")["UploadId"]
    parts = []
    for number, piece in enumerate((data[: 6 * MIB], data[6 * MIB :]), start=1):
        part = client.upload_part(Bucket=BUCKET, Key="parts +/é", UploadId=upload, PartNumber=number, Body=piece)
        parts.append({"PartNumber": number, "ETag": part["ETag"]})
    listed = client.list_parts(Bucket=BUCKET, Key="parts +/é", UploadId=upload)["Parts"]
    assert [part["Size"] for part in listed] == [6 * MIB, 3]
    client.complete_multipart_upload(Bucket=BUCKET, Key="parts +/é", UploadId=upload, MultipartUpload={"Parts": parts})
    assert _read(client, "parts +/é") == data


def test_the_transfer_manager_moves_a_large_file_in_parallel_parts_both_ways(wrongly_signed: Any) -> None:
    data = blob(20 * MIB + 7)
    wrongly_signed.upload_fileobj(io.BytesIO(data), BUCKET, "large")
    back = io.BytesIO()
    wrongly_signed.download_fileobj(BUCKET, "large", back)
    assert hashlib.sha256(back.getvalue()).digest() == hashlib.sha256(data).digest()


def test_a_range_of_an_object_is_read(client: Any) -> None:
    client.put_object(Bucket=BUCKET, Key="range", Body=b"0123456789")
    answer = client.get_object(Bucket=BUCKET, Key="range", Range="bytes=2-5")
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 206
    assert answer["ContentRange"] == "bytes 2-5/10"
    assert answer["Body"].read() == b"2345"


def test_lists_with_prefix_delimiter_and_continuation_find_odd_keys(client: Any) -> None:
    _empty(client)
    keys = ["p q/&=3", "p q/%2", "p q/+ 4", "p q/ä/1", "p q/ä/2"]
    for key in keys:
        client.put_object(Bucket=BUCKET, Key=key, Body=b"")
    folders = client.list_objects_v2(Bucket=BUCKET, Prefix="p q/", Delimiter="/")
    assert [entry["Prefix"] for entry in folders["CommonPrefixes"]] == ["p q/ä/"]
    for operation in ("list_objects", "list_objects_v2"):  # the marker is a key; the token is the service's
        pages = client.get_paginator(operation).paginate(Bucket=BUCKET, Prefix="p q/", PaginationConfig={"PageSize": 1})
        assert [entry["Key"] for page in pages for entry in page["Contents"]] == sorted(keys)
    assert _keys(client, StartAfter="p q/+ 4") == ["p q/ä/1", "p q/ä/2"]


def test_many_objects_are_deleted_at_once(client: Any) -> None:
    _empty(client)
    for key in (*ODD_KEYS.values(), "stays"):
        client.put_object(Bucket=BUCKET, Key=key, Body=b"")
    # XML 1.0 cannot say U+0001; S3's own documentation has such keys deleted one by one.
    deletable = [{"Key": key} for name, key in ODD_KEYS.items() if name != "control"]
    answer = client.delete_objects(Bucket=BUCKET, Delete={"Objects": deletable, "Quiet": True})
    assert answer.get("Errors", []) == []
    assert _keys(client) == sorted([ODD_KEYS["control"], "stays"])


@pytest.mark.parametrize("key", [ODD_KEYS["reserved"], ODD_KEYS["slashes"]])
def test_the_signature_of_a_presigned_url_is_replaced_and_its_other_parameters_stay(
    wrongly_signed: Any, http: requests.Session, key: str
) -> None:
    parameters = {"Bucket": BUCKET, "Key": key}
    put = wrongly_signed.generate_presigned_url("put_object", Params=parameters)
    assert "X-Amz-Signature=" in put
    assert http.put(put, data=b"put by a presigned URL", timeout=10).status_code == 200
    parameters["ResponseContentType"] = "text/x; a=b+c"
    answer = http.get(wrongly_signed.generate_presigned_url("get_object", Params=parameters), timeout=10)
    assert (answer.status_code, answer.content) == (200, b"put by a presigned URL")
    assert answer.headers["content-type"] == "text/x; a=b+c"


def test_the_checksum_that_boto3_sends_by_default_reaches_the_service(client: Any) -> None:
    client.put_object(Bucket=BUCKET, Key="checked", Body=b"abc")
    answer = client.get_object(Bucket=BUCKET, Key="checked", ChecksumMode="ENABLED")
    assert answer["ChecksumCRC32"] == base64.b64encode(zlib.crc32(b"abc").to_bytes(4, "big")).decode()
    assert answer["Body"].read() == b"abc"  # boto3 compares the checksum while it reads


def test_a_body_without_known_hash_is_sent_with_the_checksum_that_was_asked_for(wrongly_signed: Any) -> None:
    data = blob(2 * MIB)
    wrongly_signed.put_object(Bucket=BUCKET, Key="stream", Body=io.BytesIO(data), ChecksumAlgorithm="SHA256")
    answer = wrongly_signed.get_object(Bucket=BUCKET, Key="stream", ChecksumMode="ENABLED")
    assert answer["ChecksumSHA256"] == base64.b64encode(hashlib.sha256(data).digest()).decode()
    assert answer["Body"].read() == data


@pytest.mark.parametrize("framing", ["content_length", "chunked"])
def test_an_upload_in_aws_chunks_with_a_checksum_trailer_is_stored_without_its_chunks(
    proxy: ProxyProcess, unsigned: Any, http: requests.Session, framing: str
) -> None:
    """What SDKs send by default over TLS since 2025, framed by botocore's own class; over HTTP boto3 does not."""
    source = blob(3 * MIB + 1)
    framed = AwsChunkedWrapper(
        io.BytesIO(source), checksum_cls=Crc32Checksum, checksum_name="x-amz-checksum-crc32", chunk_size=65536
    ).read()
    pieces = iter([framed[start : start + 50_000] for start in range(0, len(framed), 50_000)])
    answer = http.put(
        f"{proxy.url}/{BUCKET}/trailer",
        data=framed if framing == "content_length" else pieces,
        headers={
            "Content-Encoding": "aws-chunked",
            "X-Amz-Trailer": "x-amz-checksum-crc32",
            "X-Amz-Decoded-Content-Length": str(len(source)),
            "X-Amz-Content-Sha256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
            "X-Amz-Sdk-Checksum-Algorithm": "CRC32",
        },
        timeout=30,
    )
    assert answer.status_code == 200, answer.text
    stored = unsigned.get_object(Bucket=BUCKET, Key="trailer", ChecksumMode="ENABLED")
    assert stored["ChecksumCRC32"] == base64.b64encode(zlib.crc32(source).to_bytes(4, "big")).decode()
    assert stored["Body"].read() == source


def test_an_upload_in_chunks_that_the_client_signed_is_stored_without_its_chunks(
    proxy: ProxyProcess, unsigned: Any, http: requests.Session
) -> None:
    """Moto does not look at the signatures of chunks; test_swift.py has a service that does."""
    answer = http.put(
        f"{proxy.url}/{BUCKET}/signed-chunks",
        data=b"3;chunk-signature=" + b"0" * 64 + b"\r\nabc\r\n0;chunk-signature=" + b"0" * 64 + b"\r\n\r\n",
        headers={
            "Content-Encoding": "aws-chunked",
            "X-Amz-Decoded-Content-Length": "3",
            "X-Amz-Content-Sha256": "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
        },
        timeout=10,
    )
    assert answer.status_code == 200, answer.text
    assert _read(unsigned, "signed-chunks") == b"abc"


@pytest.mark.parametrize("version", [UNSIGNED, "s3v4"])
def test_large_objects_and_parts_are_streamed_in_chunks_of_the_proxy(
    moto: MotoProcess, unsigned: Any, version: Any
) -> None:
    data = blob(20 * MIB + 7)
    keys = {} if version is UNSIGNED else {"aws_access_key_id": "AKIAMADEUP", "aws_secret_access_key": "made-up"}
    with moto.proxy("s3", ASP_PAYLOAD="chunked") as chunking:
        client = _client(chunking, signature_version=version, **keys)
        client.put_object(Bucket=BUCKET, Key="streamed", Body=data)
        client.upload_fileobj(io.BytesIO(data), BUCKET, "streamed-parts")
        client.close()
        assert chunking.metric("aws_signing_proxy_bodies_spooled_total") == 0
    assert _read(unsigned, "streamed") == data
    assert _read(unsigned, "streamed-parts") == data


def test_a_body_that_is_not_the_one_whose_hash_was_declared_is_refused_and_stores_nothing(
    proxy: ProxyProcess, unsigned: Any, http: requests.Session
) -> None:
    answer = http.put(
        f"{proxy.url}/{BUCKET}/damaged",
        data=b"damaged",
        headers={"X-Amz-Content-Sha256": hashlib.sha256(b"intact").hexdigest()},
        timeout=10,
    )
    assert (answer.status_code, answer.json()["code"]) == (400, "content_sha256_mismatch")
    assert "damaged" not in _keys(unsigned)


def test_an_error_of_the_service_reaches_boto3_as_the_error_that_it_is(client: Any) -> None:
    with pytest.raises(ClientError) as caught:
        client.get_object(Bucket=BUCKET, Key="never stored")
    assert caught.value.response["Error"]["Code"] == "NoSuchKey"


def test_a_bucket_policy_comes_back_as_it_was_put(client: Any) -> None:
    policy = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*"}]})
    client.put_bucket_policy(Bucket=BUCKET, Policy=policy)
    assert client.get_bucket_policy(Bucket=BUCKET)["Policy"] == policy
    client.delete_bucket_policy(Bucket=BUCKET)
