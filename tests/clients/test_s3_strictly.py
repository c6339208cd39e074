"""S3 requests to a stand-in that verifies as S3 does: what moto does not look at (see `test_boto3_s3.py`)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
import requests
from botocore.config import Config

from tests.clients.conftest import IDENTITY, REGION, proxy_environ
from tests.clients.processes import ProxyProcess
from tests.clients.verifying_service import VerifyingService


@pytest.fixture(scope="module")
def standing_s3() -> Iterator[VerifyingService]:
    with VerifyingService(IDENTITY, service="s3", region=REGION) as running:
        yield running


@pytest.fixture(scope="module")
def proxy(standing_s3: VerifyingService) -> Iterator[ProxyProcess]:
    with ProxyProcess(proxy_environ(standing_s3.url, service="s3")) as running:
        yield running


@pytest.fixture
def s3(standing_s3: VerifyingService) -> Iterator[VerifyingService]:
    standing_s3.forget()
    yield standing_s3
    assert standing_s3.refused == []


def _boto3(proxy: ProxyProcess) -> Any:
    return boto3.Session().client(
        "s3",
        endpoint_url=proxy.url,
        region_name="us-east-1",  # not the proxy's: the client's scope does not matter
        aws_access_key_id="AKIAMADEUP",
        aws_secret_access_key="made-up",
        aws_session_token="made-up-token",
        config=Config(signature_version="s3v4", s3={"addressing_style": "path"}, retries={"max_attempts": 0}),
    )


def test_a_get_with_session_credentials_is_signed_with_exactly_the_four_fields_of_the_contract(
    proxy: ProxyProcess, s3: VerifyingService, http: requests.Session
) -> None:
    assert http.get(f"{proxy.url}/bucket/key?list-type=2", timeout=10).status_code == 200
    (authorization,) = s3.only_request.values("authorization")
    assert "SignedHeaders=host;x-amz-content-sha256;x-amz-date;x-amz-security-token," in authorization
    assert s3.only_request.values("x-amz-security-token") == [IDENTITY.session_token]


def test_what_a_presigned_url_was_signed_with_does_not_reach_s3(
    proxy: ProxyProcess, s3: VerifyingService, http: requests.Session
) -> None:
    client = _boto3(proxy)
    parameters = {"Bucket": "bucket", "Key": "a+b", "ResponseContentType": "text/x"}
    url = client.generate_presigned_url("get_object", Params=parameters)
    client.close()
    assert http.get(url, timeout=10).status_code == 200
    assert s3.only_request.query == {"response-content-type": ["text/x"]}


def test_a_signature_that_boto3_made_is_replaced_and_what_it_says_of_the_object_is_signed_anew(
    proxy: ProxyProcess, s3: VerifyingService
) -> None:
    client = _boto3(proxy)
    client.put_object(Bucket="bucket", Key="k", Body=b"abc", Metadata={"a": "b  c"}, Tagging="x=y%20z")
    client.close()
    request = s3.only_request
    (authorization,) = request.values("authorization")
    assert f"Credential={IDENTITY.access_key_id}/" in authorization
    assert {"x-amz-checksum-crc32", "x-amz-meta-a", "x-amz-tagging"} <= set(request.signed_headers)
    assert request.body == b"abc"


@pytest.mark.parametrize(
    ("written", "sent"),
    [
        ("/bucket/a%2Fb", "/bucket/a/b"),
        ("/bucket/a+b", "/bucket/a%2Bb"),
        ("/bucket/(x)!*'@:;,=&$", "/bucket/%28x%29%21%2A%27%40%3A%3B%2C%3D%26%24"),
        ("/bucket/%7e%41%ff", "/bucket/~A%FF"),
        ("/bucket//k//.%2e//./x/", "/bucket//k//..//./x/"),
        ("/bucket?uploads&prefix=a+b%2Bc&marker=", "/bucket?uploads&prefix=a%20b%2Bc&marker="),
    ],
)
def test_a_key_is_sent_in_the_one_form_that_was_signed_and_never_normalised(
    proxy: ProxyProcess, s3: VerifyingService, http: requests.Session, written: str, sent: str
) -> None:
    request = requests.Request("GET", proxy.url).prepare()
    request.url = proxy.url + written  # past what requests itself would rewrite
    assert http.send(request, timeout=10).status_code == 200
    assert s3.only_request.target.decode() == sent
