"""The stand-in answers signed requests only, and refuses others as AWS does."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from hashlib import sha256
from typing import TypeVar

import pytest

from aws_signing_proxy.demo import stand_in as module
from aws_signing_proxy.demo.client import send
from aws_signing_proxy.demo.documents import DocumentStore
from aws_signing_proxy.demo.messages import Fields, Received, Reply
from aws_signing_proxy.demo.objects import ObjectStore
from aws_signing_proxy.demo.stand_in import HOST, StandIn
from aws_signing_proxy.sigv4 import Identity, Signer

T = TypeVar("T")
REGION = "eu-central-1"
IDENTITY = Identity("ASIAEXAMPLEEXAMPLE00", "the-secret-access-key", "the-session-token")
NOW = 1_790_000_000.0


def with_stand_in(talk: Callable[[StandIn], Awaitable[T]]) -> T:
    async def run() -> T:
        stand_in = StandIn(
            identity=IDENTITY, region=REGION, stores={"es": DocumentStore(), "s3": ObjectStore()}, clock=lambda: NOW
        )
        await stand_in.start()
        try:
            return await talk(stand_in)
        finally:
            await stand_in.stop()

    return asyncio.run(run())


def signature(
    stand_in: StandIn, service: str, method: str, target: bytes, body: bytes = b"", *, now: float = NOW
) -> Fields:
    signer = Signer(service=service, region=REGION)
    lines = signer.sign(
        signer.plan(
            method=method.encode(),
            target=signer.target(target),
            signed_fields=[(b"host", f"{HOST}:{stand_in.ports[service]}".encode())],
        ),
        payload_hash=sha256(body).hexdigest().encode(),
        identity=IDENTITY,
        now=now,
    )
    return [(n, v) for n, _, v in (line.partition(": ") for line in lines.decode().splitlines())]


def ask(service: str, method: str, target: bytes, *, signed_as: bytes | None, now: float = NOW) -> Reply:
    async def talk(stand_in: StandIn) -> Reply:
        fields = [] if signed_as is None else signature(stand_in, service, method, signed_as, now=now)
        return (await send((HOST, stand_in.ports[service]), method, target, fields=fields)).reply

    return with_stand_in(talk)


def raw(service: str, data: bytes) -> bytes:
    """Send bytes, and return all that comes back until the stand-in closes."""

    async def talk(stand_in: StandIn) -> bytes:
        reader, writer = await asyncio.open_connection(HOST, stand_in.ports[service])
        writer.write(data)
        try:
            async with asyncio.timeout(10):
                return await reader.read()
        finally:
            writer.close()

    return with_stand_in(talk)


def test_a_signed_request_is_answered_and_told_what_was_verified() -> None:
    reply = ask("es", "GET", b"/", signed_as=b"/")
    assert (reply.status, reply.field("verdict")) == (200, "verified")
    assert reply.field("verdict-signed-headers") == "host;x-amz-content-sha256;x-amz-date;x-amz-security-token"
    assert reply.field("verdict-target") == "/"


def test_an_unsigned_request_is_refused_by_opensearch_in_json() -> None:
    reply = ask("es", "GET", b"/", signed_as=None)
    assert (reply.status, reply.field("verdict")) == (403, "refused")
    assert reply.field("x-amzn-errortype") == "MissingAuthenticationToken"
    assert json.loads(reply.body) == {"message": "Missing Authentication Token"}


def test_an_unsigned_request_is_refused_by_s3_in_xml() -> None:
    reply = ask("s3", "GET", b"/b/k", signed_as=None)
    assert (reply.status, reply.field("content-type")) == (403, "application/xml")
    assert b"<Error><Code>MissingAuthenticationToken</Code>" in reply.body


@pytest.mark.parametrize(("service", "canonical"), [("es", "GET\\n/b/k\\n"), ("s3", "GET\n/b/k\n")])
def test_a_signature_for_something_else_is_refused_with_the_canonical_request(service: str, canonical: str) -> None:
    reply = ask(service, "GET", b"/b/k", signed_as=b"/b/other")
    assert (reply.status, reply.field("verdict")) == (403, "refused")
    assert canonical in reply.body.decode()
    assert "AWS4-HMAC-SHA256" in reply.body.decode()
    assert "the-session-token" not in reply.body.decode()


def test_a_signature_of_twenty_minutes_ago_is_refused() -> None:
    reply = ask("s3", "GET", b"/b/k", signed_as=b"/b/k", now=NOW - 1200)
    assert b"<Code>RequestTimeTooSkewed</Code>" in reply.body


def test_a_signature_for_another_service_is_refused() -> None:
    async def talk(stand_in: StandIn) -> Reply:
        fields = signature(stand_in, "es", "GET", b"/b/k")
        return (await send((HOST, stand_in.ports["s3"]), "GET", b"/b/k", fields=fields)).reply

    assert with_stand_in(talk).status == 403


def test_a_body_that_was_changed_is_refused() -> None:
    async def talk(stand_in: StandIn) -> Reply:
        fields = signature(stand_in, "s3", "PUT", b"/b/k", b"abc")
        return (await send((HOST, stand_in.ports["s3"]), "PUT", b"/b/k", fields=fields, body=b"abd")).reply

    assert b"<Code>XAmzContentSHA256Mismatch</Code>" in with_stand_in(talk).body


def test_a_chunked_body_is_not_implemented_as_with_s3() -> None:
    answer = raw("s3", b"PUT /b/k HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 501 Not Implemented\r\n")


def test_a_body_over_the_limit_is_refused_before_it_is_read() -> None:
    assert b"EntityTooLarge" in raw("s3", b"PUT /b/k HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999\r\n\r\n")


def test_a_head_over_the_limit_is_refused() -> None:
    assert raw("es", b"GET / HTTP/1.1\r\nHost: h\r\nX: " + b"x" * 70_000 + b"\r\n\r\n").startswith(b"HTTP/1.1 400 ")


def test_a_malformed_head_is_refused() -> None:
    assert raw("es", b"GET / HTTP/1.1\r\nHost: h\r\nHost: i\r\n\r\n").startswith(b"HTTP/1.1 400 ")


def test_an_expectation_is_met_before_the_body_comes() -> None:
    answer = raw(
        "es",
        b"PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n1",
    )
    assert answer.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 403 ")


def test_head_is_answered_without_a_body() -> None:
    answer = raw("s3", b"HEAD /b/k HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 403 ")
    assert answer.endswith(b"\r\n\r\n")


def test_a_connection_is_kept_for_the_next_request() -> None:
    request = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"
    answer = raw("es", request + request + request.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
    assert answer.count(b"HTTP/1.1 403 ") == 3


def test_a_body_that_stops_is_waited_for_only_so_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PATIENCE_SECONDS", 0.01)
    assert raw("es", b"PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n1") == b""


def test_each_request_is_told_to_who_listens() -> None:
    seen: list[tuple[str, bytes, int]] = []

    def on_request(service: str, request: Received, reply: Reply) -> None:
        seen.append((service, request.target, reply.status))

    async def talk(stand_in: StandIn) -> None:
        stand_in.on_request = on_request
        await send((HOST, stand_in.ports["es"]), "GET", b"/?a=b")

    with_stand_in(talk)
    assert seen == [("es", b"/?a=b", 403)]
