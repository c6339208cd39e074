"""Uploads of real clients that stream through the proxy, to services that check all of it (see `strict_s3`).

Each is sent to the stand-in over TLS, where `auto` streams, and over plain HTTP with ASP_PAYLOAD=chunked. What is
stored must be what was sent.
"""

from __future__ import annotations

import base64
import hashlib
import io
import os
import ssl
import subprocess
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import boto3
import pytest
import requests
import trustme
from boto3.s3.transfer import TransferConfig
from botocore import UNSIGNED
from botocore.config import Config

from tests.clients.conftest import IDENTITY, REGION, proxy_environ
from tests.clients.installed import missing_tools, node_folder
from tests.clients.processes import ProxyProcess
from tests.clients.strict_s3 import StrictS3
from tests.clients.tls_front import TlsFront
from tests.clients.verifying_service import blob

KIB, MIB = 1024, 1024 * 1024
LARGE = blob(3 * MIB + 1)
SIGNATURE = b"d" * 64


class Way(NamedTuple):
    """A stand-in, the proxy in front of it, and TLS in front of the proxy."""

    s3: StrictS3
    proxy: ProxyProcess
    front: TlsFront
    ca_file: Path


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def tls(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    return context


@pytest.fixture(scope="module", params=["tls", "plain"])
def standing(
    request: pytest.FixtureRequest, authority: trustme.CA, tls: ssl.SSLContext, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Way]:
    ca_file = tmp_path_factory.mktemp("tls") / "ca.pem"
    authority.cert_pem.write_to_path(ca_file)
    is_tls = request.param == "tls"
    with StrictS3(IDENTITY, region=REGION, tls=tls if is_tls else None, name="localhost") as s3:
        settings = {"ASP_CA_BUNDLE": str(ca_file)} if is_tls else {"ASP_PAYLOAD": "chunked"}
        environ = proxy_environ(s3.url, service="s3") | settings | {"ASP_BODY_MEMORY_LIMIT": "256KiB"}
        with ProxyProcess(environ) as proxy, TlsFront(proxy.port, tls) as front:
            yield Way(s3, proxy, front, ca_file)


@pytest.fixture
def way(standing: Way) -> Iterator[Way]:
    """At the end the stand-in must have refused nothing."""
    standing.s3.forget()
    yield standing
    assert standing.s3.refused == []
    assert standing.proxy.metric("aws_signing_proxy_body_memory_bytes") == 0


@pytest.fixture
def over_tls(way: Way) -> Way:
    """S3 takes unsigned payloads over TLS only, and so does the stand-in."""
    if not way.s3.url.startswith("https"):
        pytest.xfail("S3 refuses unsigned trailers over plain HTTP")
    return way


def client_of(way: Way, *, is_tls: bool = False, **options: Any) -> Any:
    config = Config(s3={"addressing_style": "path", **options.pop("s3", {})}, retries={"max_attempts": 0}, **options)
    keys = {} if options.get("signature_version") is UNSIGNED else {
        "aws_access_key_id": "AKIAMADEUP",
        "aws_secret_access_key": "made-up",
        "aws_session_token": "made-up-token",
    }  # fmt: skip
    where = way.front.url if is_tls else way.proxy.url
    return boto3.Session().client(
        "s3", endpoint_url=where, region_name="us-east-1", config=config, verify=str(way.ca_file), **keys
    )


def put(way: Way, body: Any, **options: Any) -> None:
    client = client_of(way, **options)
    client.put_object(Bucket="bucket", Key="k", Body=body)
    client.close()


def test_boto3_over_plain_http_declares_a_hash_under_which_the_body_streams(way: Way) -> None:
    put(way, LARGE)
    (upload,) = way.s3.uploads
    assert way.s3.objects == {"/bucket/k": LARGE}
    assert upload.mode == hashlib.sha256(LARGE).hexdigest()
    assert upload.checksums == ["x-amz-checksum-crc32"]
    assert way.proxy.metric("aws_signing_proxy_bodies_spooled_total") == 0


def test_boto3_that_does_not_sign_is_streamed_in_chunks_of_the_proxy(way: Way) -> None:
    put(way, LARGE, signature_version=UNSIGNED)
    (upload,) = way.s3.uploads
    assert way.s3.objects == {"/bucket/k": LARGE}
    assert upload.mode == "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
    assert upload.chunk_sizes == [64 * KIB] * 48 + [1]
    assert upload.checksums == ["x-amz-checksum-crc32"]
    assert upload.fields["content-encoding"] == "aws-chunked"


@pytest.mark.parametrize("size", [3 * MIB + 1, 1000])
def test_the_checksum_trailers_of_boto3_over_tls_pass_as_they_are(over_tls: Way, size: int) -> None:
    put(over_tls, blob(size), is_tls=True)
    (upload,) = over_tls.s3.uploads
    assert over_tls.s3.objects == {"/bucket/k": blob(size)}
    assert upload.mode == "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
    assert upload.checksums == ["x-amz-checksum-crc32"]
    assert ("content-length" in upload.fields) == (size == 1000)


@pytest.mark.parametrize("signs", [True, False])
def test_boto3_without_checksums_declares_the_hash_or_unsigned_and_is_signed_either_way(way: Way, signs: bool) -> None:
    put(
        way,
        LARGE,
        is_tls=True,
        request_checksum_calculation="when_required",
        s3={"payload_signing_enabled": signs},
    )
    (upload,) = way.s3.uploads
    assert way.s3.objects == {"/bucket/k": LARGE}
    assert upload.mode == (hashlib.sha256(LARGE).hexdigest() if signs else "STREAMING-AWS4-HMAC-SHA256-PAYLOAD")


@pytest.mark.parametrize("version", ["s3v4", UNSIGNED], ids=["signed", "unsigned"])
@pytest.mark.parametrize("checksums", ["when_supported", "when_required"])
def test_the_transfer_manager_uploads_in_parts_at_the_same_time(way: Way, version: Any, checksums: str) -> None:
    data = blob(17 * MIB + 5)
    client = client_of(way, signature_version=version, request_checksum_calculation=checksums)
    config = TransferConfig(multipart_threshold=5 * MIB, multipart_chunksize=5 * MIB, max_concurrency=4)
    client.upload_fileobj(io.BytesIO(data), "bucket", "parts", Config=config)
    client.close()
    assert way.s3.objects == {"/bucket/parts": data}
    parts = [upload for upload in way.s3.uploads if "partNumber" in upload.query]
    assert [len(part.body) for part in sorted(parts, key=lambda part: part.query["partNumber"])] == [
        5 * MIB,
        5 * MIB,
        5 * MIB,
        2 * MIB + 5,
    ]


def test_the_transfer_manager_uploads_in_parts_over_tls(over_tls: Way) -> None:
    data = blob(17 * MIB + 5)
    client = client_of(over_tls, is_tls=True)
    client.upload_fileobj(io.BytesIO(data), "bucket", "parts", Config=TransferConfig(multipart_threshold=5 * MIB))
    client.close()
    assert over_tls.s3.objects == {"/bucket/parts": data}
    assert {upload.mode for upload in over_tls.s3.uploads if upload.query.get("partNumber")} == {
        "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
    }


@pytest.mark.skipif(bool(missing_tools()), reason=f"not installed: {', '.join(missing_tools())}")
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_the_sdk_for_javascript_uploads_buffers_streams_and_parts(over_tls: Way, tmp_path: Path, scheme: str) -> None:
    way = over_tls
    data = blob(12 * MIB + 3)
    file = tmp_path / "data"
    file.write_bytes(data)
    endpoint = way.front.url if scheme == "https" else way.proxy.url
    script = Path(__file__).with_name("upload.mjs")
    done = subprocess.run(
        ["node", str(script), endpoint, "bucket", "js", str(file)],
        cwd=node_folder(),
        env={"PATH": os.environ["PATH"], "NODE_EXTRA_CA_CERTS": str(way.ca_file), "HOME": "/nonexistent"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout.strip()) == (0, "done"), done.stderr
    assert {path: stored == data for path, stored in way.s3.objects.items()} == {
        f"/bucket/js-{kind}": True for kind in ("buffer", "stream", "older", "parts")
    }
    modes = {upload.path: upload.mode for upload in way.s3.uploads if upload.method == "PUT"}
    assert modes["/bucket/js-stream"] == "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
    assert "UNSIGNED-PAYLOAD" not in modes.values()


def test_curl_that_signs_uploads_a_file(way: Way, tmp_path: Path) -> None:
    file = tmp_path / "data"
    file.write_bytes(LARGE)
    answer = subprocess.run(
        ["curl", "-sS", "--noproxy", "*", "--fail-with-body", "--aws-sigv4", "aws:amz:us-east-1:s3", "--user", "AKIA:s",
         "-T", str(file), f"{way.proxy.url}/bucket/curl"],
        capture_output=True, timeout=60, check=False,
    )  # fmt: skip
    assert answer.returncode == 0, answer.stdout
    assert way.s3.objects == {"/bucket/curl": LARGE}
    assert way.s3.uploads[0].mode == "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"


def test_an_upload_as_go_clients_send_it_unsigned_is_signed_in_chunks(way: Way, http: requests.Session) -> None:
    answer = http.put(
        f"{way.proxy.url}/bucket/go",
        data=LARGE,
        headers={"X-Amz-Content-Sha256": "UNSIGNED-PAYLOAD", "Content-MD5": _md5(LARGE), "Accept-Encoding": "identity"},
        timeout=30,
    )
    assert answer.status_code == 200, answer.text
    assert way.s3.objects == {"/bucket/go": LARGE}
    assert way.s3.uploads[0].checksums == ["content-md5"]


@pytest.mark.parametrize("size", [0, 1, 8192, 3 * MIB + 1])
@pytest.mark.parametrize("chunk", [8192, 64 * KIB, 200 * KIB])
@pytest.mark.parametrize("ending", [None, b"\r\n", b"\n\r\n"], ids=["plain", "trailer", "trailer of minio-go"])
def test_chunks_that_a_client_signed_arrive_with_signatures_that_hold(
    way: Way, http: requests.Session, size: int, chunk: int, ending: bytes | None
) -> None:
    data = blob(size)
    fields, body = signed_by_client(data, chunk, ending)
    answer = http.put(f"{way.proxy.url}/bucket/signed", data=body, headers=fields, timeout=30)
    assert answer.status_code == 200, answer.text
    (upload,) = way.s3.uploads
    assert way.s3.objects == {"/bucket/signed": data}
    assert upload.fields["content-length"] == str(len(body))
    assert upload.chunk_sizes == [len(data[start : start + chunk]) for start in range(0, size, chunk)]
    assert upload.checksums == ([] if ending is None else ["x-amz-checksum-crc32"])


def test_what_is_malformed_is_not_stored(way: Way, http: requests.Session) -> None:
    fields, body = signed_by_client(LARGE, 64 * KIB, None)
    answer = http.put(f"{way.proxy.url}/bucket/bad", data=body[:-3] + b"x\r\n", headers=fields, timeout=30)
    assert (answer.status_code, answer.json()["code"]) == (400, "malformed_payload")
    assert way.s3.objects == {}


def test_a_wrong_hash_is_refused_by_the_service(standing: Way, http: requests.Session) -> None:
    standing.s3.forget()
    fields = {"X-Amz-Content-Sha256": hashlib.sha256(b"other").hexdigest()}
    answer = http.put(f"{standing.proxy.url}/bucket/bad", data=LARGE, headers=fields, timeout=30)
    assert answer.status_code == 400
    assert "XAmzContentSHA256Mismatch" in answer.text
    assert standing.s3.objects == {}


def test_a_refusal_in_the_middle_reaches_boto3(way: Way) -> None:
    way.s3.before_body = lambda *_: (403, "Forbidden")
    with pytest.raises(Exception, match="403"):
        put(way, LARGE * 8, signature_version=UNSIGNED)
    assert way.s3.objects == {}


def _md5(data: bytes) -> str:
    return base64.b64encode(hashlib.md5(data).digest()).decode()


def signed_by_client(data: bytes, chunk: int, ending: bytes | None) -> tuple[dict[str, str], bytes]:
    """Return the fields and the body of an upload in chunks with signatures that hold nowhere."""
    mode = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
    fields = {"Content-Encoding": "aws-chunked", "X-Amz-Decoded-Content-Length": str(len(data))}
    pieces = [data[start : start + chunk] for start in range(0, len(data), chunk)]
    body = b"".join(b"%x;chunk-signature=%b\r\n%b\r\n" % (len(piece), SIGNATURE, piece) for piece in pieces)
    body += b"0;chunk-signature=" + SIGNATURE + b"\r\n"
    if ending is None:
        return fields | {"X-Amz-Content-Sha256": mode}, body + b"\r\n"
    body += b"x-amz-checksum-crc32:" + base64.b64encode(zlib.crc32(data).to_bytes(4, "big")) + ending
    body += b"x-amz-trailer-signature:" + SIGNATURE + b"\r\n\r\n"
    return fields | {"X-Amz-Content-Sha256": mode + "-TRAILER", "X-Amz-Trailer": "x-amz-checksum-crc32"}, body
