"""Streamed uploads to OpenStack Swift's S3 API, which checks every chunk's signature by code that is not ours."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from typing import NamedTuple

import pytest
import requests

from aws_signing_proxy.sigv4 import Signer
from aws_signing_proxy.sigv4.chunks import STREAMING, STREAMING_TRAILER
from tests.clients.conftest import IDENTITY, REGION, proxy_environ
from tests.clients.processes import ProxyProcess
from tests.clients.swift_process import swift
from tests.clients.test_streamed_uploads import KIB, LARGE, MIB, signed_by_client
from tests.clients.verifying_service import blob


class Way(NamedTuple):
    """Swift and the proxy in front of it."""

    service_url: str
    proxy: ProxyProcess


@pytest.fixture(scope="module")
def way() -> Iterator[Way]:
    with swift(IDENTITY, REGION) as url:
        environ = proxy_environ(url, service="s3") | {"ASP_PAYLOAD": "chunked", "ASP_BODY_MEMORY_LIMIT": "256KiB"}
        with ProxyProcess(environ) as proxy:
            assert requests.put(f"{proxy.url}/bucket", timeout=10).status_code == 200
            yield Way(url, proxy)


def _stored(way: Way, http: requests.Session, key: str) -> bytes | None:
    answer = http.get(f"{way.proxy.url}/bucket/{key}", timeout=30)
    return None if answer.status_code == 404 else answer.content


@pytest.mark.parametrize("size", [256 * KIB + 1, 3 * MIB, 3 * MIB + 1])
def test_chunks_of_the_proxy_are_accepted_and_stored_without_their_framing(
    way: Way, http: requests.Session, size: int
) -> None:
    answer = http.put(f"{way.proxy.url}/bucket/own", data=blob(size), timeout=30)
    assert answer.status_code == 200, answer.text
    assert _stored(way, http, "own") == blob(size)


@pytest.mark.parametrize("size", [0, 1, 3 * MIB + 1])
@pytest.mark.parametrize("ending", [None, b"\r\n"], ids=["plain", "trailer"])
def test_chunks_that_a_client_signed_are_accepted_with_new_signatures(
    way: Way, http: requests.Session, size: int, ending: bytes | None
) -> None:
    fields, body = signed_by_client(blob(size), 64 * KIB, ending)
    answer = http.put(f"{way.proxy.url}/bucket/signed", data=body, headers=fields, timeout=30)
    assert answer.status_code == 200, answer.text
    assert _stored(way, http, "signed") == blob(size)


@pytest.mark.parametrize("is_chunked", [True, False])
def test_unsigned_trailers_pass_inside_chunks_of_http_or_without(
    way: Way, http: requests.Session, is_chunked: bool
) -> None:
    fields, body = signed_by_client(LARGE, 64 * KIB, b"\r\n")
    signature = b";chunk-signature=" + b"d" * 64
    body = body.replace(signature, b"").replace(b"x-amz-trailer-signature:" + b"d" * 64 + b"\r\n", b"")
    fields["X-Amz-Content-Sha256"] = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
    answer = http.put(
        f"{way.proxy.url}/bucket/u{is_chunked}", data=iter([body]) if is_chunked else body, headers=fields, timeout=30
    )
    assert answer.status_code == 200, answer.text
    assert _stored(way, http, f"u{is_chunked}") == LARGE


def test_a_body_of_another_hash_than_the_declared_one_is_refused(way: Way, http: requests.Session) -> None:
    declared = {"X-Amz-Content-Sha256": hashlib.sha256(b"other").hexdigest()}
    answer = http.put(f"{way.proxy.url}/bucket/other", data=LARGE, headers=declared, timeout=30)
    assert (answer.status_code, "XAmzContentSHA256Mismatch" in answer.text) == (400, True)
    assert _stored(way, http, "other") is None


@pytest.mark.parametrize("ending", [None, b"\r\n"], ids=["plain", "trailer"])
def test_swift_refuses_chunks_and_trailers_whose_signatures_do_not_hold(
    way: Way, http: requests.Session, ending: bytes | None
) -> None:
    """Past the proxy, under a head that is signed right; or the tests above would prove nothing."""
    fields, body = signed_by_client(LARGE, 64 * KIB, ending)
    signer = Signer(service="s3", region=REGION)
    signed = [
        (name.lower().encode(), value.encode()) for name, value in fields.items() if name != "X-Amz-Content-Sha256"
    ]
    lines, _ = signer.sign_streamed(
        signer.plan(
            method=b"PUT",
            target=signer.target(b"/bucket/bad"),
            signed_fields=[(b"host", way.service_url.removeprefix("http://").encode()), *signed],
        ),
        payload_hash=STREAMING if ending is None else STREAMING_TRAILER,
        identity=IDENTITY,
        now=time.time(),
    )
    for line in lines.decode().split("\r\n")[:-1]:
        name, _, value = line.partition(": ")
        fields[name] = value
    answer = http.put(f"{way.service_url}/bucket/bad", data=body, headers=fields, timeout=30)
    assert (answer.status_code, "SignatureDoesNotMatch" in answer.text) == (403, True)
    assert _stored(way, http, "bad") is None
