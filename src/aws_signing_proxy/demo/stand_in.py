"""The stand-in for AWS: one endpoint a service, each of which verifies every request before it answers.

It refuses as AWS does: S3 in XML and the others in JSON, with the canonical request that it computed when only the
signature is wrong. Every response says what became of the signature (`Verdict-*` fields, which no AWS service sends).
It listens on the loopback address only.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Final, Protocol
from xml.sax.saxutils import escape

from aws_signing_proxy.demo.messages import Fields, Received, Reply
from aws_signing_proxy.demo.objects import s3_error
from aws_signing_proxy.errors import ProxyError
from aws_signing_proxy.http1.request import CHUNKED, parse_request_head
from aws_signing_proxy.http1.writing import CONTINUE
from aws_signing_proxy.sigv4.identity import Identity
from aws_signing_proxy.sigv4.verification import SignatureRejected, Verified, Verifier

__all__ = ["HOST", "REFUSED", "SIGNED_HEADERS_FIELD", "TARGET_FIELD", "VERDICT_FIELD", "VERIFIED", "StandIn", "Store"]

HOST: Final = "127.0.0.1"
VERDICT_FIELD: Final = "verdict"
SIGNED_HEADERS_FIELD: Final = "verdict-signed-headers"
TARGET_FIELD: Final = "verdict-target"
VERIFIED: Final = "verified"
REFUSED: Final = "refused"

_LARGEST_HEAD_BYTES: Final = 64 * 1024
_LARGEST_BODY_BYTES: Final = 32 * 1024 * 1024
_PATIENCE_SECONDS: Final = 60.0


class Store(Protocol):
    """What stands behind the signature check: one service's API."""

    def answer(self, request: Received) -> Reply:
        """Answer a request whose signature is good."""


class StandIn:
    """Listens for each service of `stores` on a free port (see `ports`), and knows one identity.

    `on_request` is called with the service, the request and the reply after each one.
    """

    def __init__(
        self,
        *,
        identity: Identity,
        region: str,
        stores: Mapping[str, Store],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.ports: dict[str, int] = {}
        self.on_request: Callable[[str, Received, Reply], None] | None = None
        self._stores = stores
        self._clock = clock
        self._verifiers = {
            service: Verifier(service=service, region=region, identities={identity.access_key_id: identity}.get)
            for service in stores
        }
        self._servers: list[asyncio.Server] = []
        self._connections: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Listen. Raises OSError."""
        for service in self._stores:
            server = await asyncio.start_server(
                self._handler(service), HOST, 0, limit=_LARGEST_HEAD_BYTES, start_serving=True
            )
            self._servers.append(server)
            self.ports[service] = server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Close the listeners and every connection."""
        for server in self._servers:
            server.close()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    def _handler(self, service: str) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], None]:
        def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.get_running_loop().create_task(
                self._serve(service, reader, writer), name=f"stand-in {service}"
            )
            self._connections.add(task)
            task.add_done_callback(self._connections.discard)

        return connected

    async def _serve(self, service: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError):
                while await self._serve_one(service, reader, writer):
                    pass
        finally:
            writer.close()

    async def _serve_one(self, service: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answer one request; return whether the connection lives on."""
        try:
            raw = await reader.readuntil(b"\r\n\r\n")
            head = parse_request_head(raw)
        except asyncio.LimitOverrunError:
            await _write(writer, _refusal(service, 400, "RequestHeaderSectionTooLarge", "The head is too large."))
            return False
        except ProxyError as error:
            await _write(writer, _refusal(service, 400, "BadRequest", error.detail))
            return False
        if head.body_length == CHUNKED:
            # As S3 answers it.
            message = "A header you provided implies functionality that is not implemented (Transfer-Encoding)."
            await _write(writer, _refusal(service, 501, "NotImplemented", message))
            return False
        if head.body_length > _LARGEST_BODY_BYTES:
            message = f"The stand-in takes bodies of at most {_LARGEST_BODY_BYTES} bytes."
            await _write(writer, _refusal(service, 400, "EntityTooLarge", message))
            return False
        if head.expects_continue:
            writer.write(CONTINUE)
        async with asyncio.timeout(_PATIENCE_SECONDS):
            body = await reader.readexactly(head.body_length)
        request = Received(head.method.decode("latin-1"), head.target, _fields(raw), body)
        reply = self._reply(service, request)
        await _write(writer, reply, is_head_request=request.method == "HEAD")
        if self.on_request is not None:
            self.on_request(service, request, reply)
        return head.keep_alive

    def _reply(self, service: str, request: Received) -> Reply:
        verified: Verified | None = None
        try:
            verified = self._verifiers[service].verify(
                method=request.method.encode("latin-1"),
                raw_target=request.target,
                fields=request.fields,
                body_sha256=hashlib.sha256(request.body).hexdigest(),
                now=self._clock(),
            )
            reply = self._stores[service].answer(request)
        except SignatureRejected as rejected:
            reply = _refusal(service, rejected.status, rejected.code, rejected.message, _computed(service, rejected))
        said: Fields = [("Verdict", VERIFIED if verified else REFUSED)]
        if verified is not None:
            said.append(("Verdict-Signed-Headers", ";".join(verified.signed_headers)))
            said.append(("Verdict-Target", request.target.decode("latin-1")))
        return Reply(reply.status, [*reply.fields, *said], reply.body)


def _fields(head: bytes) -> list[tuple[bytes, bytes]]:
    lines = head.split(b"\r\n")[1:-2]
    pairs = [line.partition(b":") for line in lines]
    return [(name, value.strip(b" \t")) for name, _, value in pairs]


def _computed(service: str, rejected: SignatureRejected) -> str:
    """Return what the service computed itself, as AWS says it; empty where it did not come to that."""
    if rejected.canonical_request is None or rejected.string_to_sign is None:
        return ""
    canonical_request = rejected.canonical_request.decode("latin-1")
    string_to_sign = rejected.string_to_sign.decode("latin-1")
    if service == "s3":
        return (
            f"<CanonicalRequest>{escape(canonical_request)}</CanonicalRequest>"
            f"<StringToSign>{escape(string_to_sign)}</StringToSign>"
        )
    return (
        f"\n\nThe Canonical String for this request should have been\n'{canonical_request}'\n\n"
        f"The String-to-Sign should have been\n'{string_to_sign}'\n"
    )


def _refusal(service: str, status: int, code: str, message: str, computed: str = "") -> Reply:
    if service == "s3":
        return s3_error(status, code, message, computed)
    return Reply(
        status,
        [("Content-Type", "application/json"), ("X-Amzn-ErrorType", code)],
        json.dumps({"message": message + computed}).encode() + b"\n",
    )


async def _write(writer: asyncio.StreamWriter, reply: Reply, *, is_head_request: bool = False) -> None:
    lines = [f"HTTP/1.1 {reply.status} {HTTPStatus(reply.status).phrase}"]
    lines += [f"{name}: {value}" for name, value in reply.fields]
    if reply.status != HTTPStatus.NO_CONTENT:
        lines.append(f"Content-Length: {len(reply.body)}")
    writer.write("\r\n".join([*lines, "", ""]).encode("latin-1"))
    if not is_head_request:
        writer.write(reply.body)
    async with asyncio.timeout(_PATIENCE_SECONDS):
        await writer.drain()
