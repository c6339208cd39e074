"""The requests that the demo sends, and what came of each."""

from __future__ import annotations

import hashlib
import json
import random
import re
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from aws_signing_proxy.demo.client import send
from aws_signing_proxy.demo.messages import Fields, Reply
from aws_signing_proxy.demo.stand_in import HOST, REFUSED, SIGNED_HEADERS_FIELD, TARGET_FIELD, VERDICT_FIELD, VERIFIED
from aws_signing_proxy.sigv4 import Identity, Signer

__all__ = ["Row", "Step", "Tour", "steps"]

_LARGE_BYTES: Final = 8 * 1024 * 1024
_CHUNK_BYTES: Final = 48 * 1024
_EMPTY_SHA256: Final = hashlib.sha256(b"").hexdigest().encode()
_JSON: Final = ("Content-Type", "application/json")
_CODE_IN_XML: Final = re.compile(rb"<Code>(\w+)</Code>")

Check = Callable[[Reply], str | None]
"""Returns what is wrong with a response, or None."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One request of the tour.

    `signed_as`: another target that it is signed for, and then it goes straight to the stand-in: a forgery.
    `is_straight` sends it there without a signature. Both must be refused with 403.
    """

    title: str
    service: str
    method: str
    target: bytes
    fields: Fields = field(default_factory=list)
    body: bytes = b""
    chunk_bytes: int | None = None
    status: int = 200
    check: Check | None = None
    is_straight: bool = False
    signed_as: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What came of a step. `forwarded` is the target as the service received it, where it is another than was sent.

    `problem` says what is not as it should be; None where all is well.
    """

    title: str
    service: str
    method: str
    target: str
    forwarded: str | None
    signed_headers: tuple[str, ...]
    status: int | None
    verdict: str
    code: str | None
    seconds: float
    problem: str | None
    is_straight: bool


class Tour:
    """Sends the steps: through the proxies, whose ports are `proxies`, or straight to the stand-in's `stand_in`."""

    def __init__(
        self, *, proxies: Mapping[str, int], stand_in: Mapping[str, int], identity: Identity, region: str
    ) -> None:
        self._proxies = proxies
        self._stand_in = stand_in
        self._identity = identity
        self._region = region

    async def rows(self) -> AsyncIterator[Row]:
        """Send one request after the other; yield what came of each."""
        for step in steps():
            yield await self.take(step)

    async def take(self, step: Step) -> Row:
        """Send the request of one step."""
        is_straight = step.is_straight or step.signed_as is not None
        port = (self._stand_in if is_straight else self._proxies)[step.service]
        fields = step.fields if step.signed_as is None else [*step.fields, *self._signature(step, step.signed_as)]
        reply: Reply | None = None
        seconds = 0.0
        problem: str | None
        try:
            exchanged = await send(
                (HOST, port), step.method, step.target, fields=fields, body=step.body, chunk_bytes=step.chunk_bytes
            )
        except (OSError, EOFError, ValueError) as error:
            problem = f"no response: {str(error) or type(error).__name__}"
        else:
            reply, seconds = exchanged.reply, exchanged.seconds
            problem = _problem(step, reply, is_straight=is_straight)
        return _row(step, reply, seconds, problem, is_straight=is_straight)

    def _signature(self, step: Step, target: bytes) -> Fields:
        signer = Signer(service=step.service, region=self._region)
        lines = signer.sign(
            signer.plan(
                method=step.method.encode(),
                target=signer.target(target),
                signed_fields=[(b"host", f"{HOST}:{self._stand_in[step.service]}".encode())],
            ),
            payload_hash=_EMPTY_SHA256,
            identity=self._identity,
            now=time.time(),
        )
        pairs = [line.partition(": ") for line in lines.decode("latin-1").rstrip("\r\n").split("\r\n")]
        return [(name, value) for name, _, value in pairs]


def steps() -> list[Step]:
    """Return the requests of the tour, in their order."""
    # The same bytes at every run, and none that compression or a cache could shorten.
    large = random.Random(4).randbytes(_LARGE_BYTES)  # noqa: S311 - content to send, no key
    return [*_document_steps(), *_object_steps(large), *_forgery_steps()]


def _document_steps() -> list[Step]:
    book = json.dumps({"title": "The Art of Signing", "year": 2026}).encode()
    cafe = json.dumps({"title": "Kaffee & Kuchen", "note": "an id with odd characters"}).encode()
    return [
        Step(
            title="index a document",
            service="es",
            method="PUT",
            target=b"/library/_doc/1",
            fields=[_JSON],
            body=book,
            status=201,
        ),
        Step(
            title="index one whose id has odd characters",
            service="es",
            method="PUT",
            target="/library/_doc/café*(a+b)@2%2F3".encode(),
            fields=[_JSON],
            body=cafe,
            status=201,
        ),
        Step(
            title="get it by the same id, written in another way",
            service="es",
            method="GET",
            target=b"/library/_doc/caf%c3%a9%2A%28a%2bb%29%402%2f3",
            check=lambda reply: None if json.loads(reply.body)["_source"] == json.loads(cafe) else "another document",
        ),
        Step(
            title="search",
            service="es",
            method="POST",
            target=b"/library/_search?pretty&filter_path=hits.*",
            fields=[_JSON],
            body=b'{"query": {"match": {"title": "signing"}}}',
            check=lambda reply: None if json.loads(reply.body)["hits"]["total"]["value"] == 1 else "not one hit",
        ),
    ]


def _object_steps(large: bytes) -> list[Step]:
    report = b"Revenue;Cost\n1;2\n"
    odd_key = "/archive/reports/2026%20Q3/ä+b%20(final)%25.txt".encode()
    return [
        Step(
            title="put an object with an odd key",
            service="s3",
            method="PUT",
            target=odd_key,
            fields=[("Content-Type", "text/csv"), ("X-Amz-Meta-Author", "demo")],
            body=report,
        ),
        Step(
            title="get it back",
            service="s3",
            method="GET",
            target=odd_key,
            check=lambda reply: None if reply.body == report else "another content",
        ),
        Step(
            title="put 8 MiB (held in a file until it is signed)",
            service="s3",
            method="PUT",
            target=b"/archive/large.bin",
            body=large,
        ),
        Step(
            title="get 8 MiB, and compare the SHA-256",
            service="s3",
            method="GET",
            target=b"/archive/large.bin",
            check=_has_sha256_of(large),
        ),
        Step(
            title="put in chunks, whose length nobody knows yet",
            service="s3",
            method="PUT",
            target=b"/archive/chunked.bin",
            body=large[: 5 * _CHUNK_BYTES + 7],
            chunk_bytes=_CHUNK_BYTES,
        ),
        Step(
            title="list the objects",
            service="s3",
            method="GET",
            target=b"/archive?list-type=2&prefix=&max-keys=1000",
            check=lambda reply: None if b"<KeyCount>3</KeyCount>" in reply.body else "not three objects",
        ),
    ]


def _forgery_steps() -> list[Step]:
    return [
        Step(
            title="without a signature",
            service="es",
            method="GET",
            target=b"/library/_doc/1",
            status=403,
            is_straight=True,
        ),
        Step(
            title="signed for another key than it asks for",
            service="s3",
            method="GET",
            target=b"/archive/large.bin",
            status=403,
            signed_as=b"/archive/small.bin",
        ),
    ]


def _has_sha256_of(content: bytes) -> Check:
    wanted = hashlib.sha256(content).digest()
    return lambda reply: None if hashlib.sha256(reply.body).digest() == wanted else "the SHA-256 differs"


def _problem(step: Step, reply: Reply, *, is_straight: bool) -> str | None:
    verdict = reply.field(VERDICT_FIELD)
    wanted = REFUSED if is_straight else VERIFIED
    if verdict != wanted:
        return f"the signature was expected to be {wanted}; the answer: {_beginning(reply)}"
    if reply.status != step.status:
        return f"status {step.status} was expected; the answer: {_beginning(reply)}"
    try:
        return step.check(reply) if step.check is not None else None
    except (ValueError, LookupError, TypeError):
        return f"an answer that cannot be read: {_beginning(reply)}"


def _beginning(reply: Reply) -> str:
    return " ".join(reply.body[:300].decode("utf-8", "replace").split())


def _row(step: Step, reply: Reply | None, seconds: float, problem: str | None, *, is_straight: bool) -> Row:
    sent = step.target.decode()
    received = None if reply is None else reply.field(TARGET_FIELD)
    signed = (None if reply is None else reply.field(SIGNED_HEADERS_FIELD)) or ""
    return Row(
        title=step.title,
        service=step.service,
        method=step.method,
        target=sent,
        forwarded=received if received != sent else None,
        signed_headers=tuple(signed.split(";")) if signed else (),
        status=None if reply is None else reply.status,
        verdict=(None if reply is None else reply.field(VERDICT_FIELD)) or "not reached",
        code=None if reply is None else _error_code(reply),
        seconds=seconds,
        problem=problem,
        is_straight=is_straight,
    )


def _error_code(reply: Reply) -> str | None:
    """Return the code with which the service refused; S3 names it in the body, the others in a field."""
    in_xml = _CODE_IN_XML.search(reply.body)
    return in_xml[1].decode() if in_xml else reply.field("x-amzn-errortype")
