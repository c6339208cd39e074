"""A stand-in for OpenSearch that verifies the signature of every request, as AWS does, and keeps what it received.

It reads HTTP with its own few lines, not with the proxy's. Beyond the signature it refuses what a service behind
a correct proxy never sees: another Host, and fields that belong to the hop between client and proxy.
It stores documents, so that what is read back proves under which name and with which bytes it arrived.
"""

from __future__ import annotations

import asyncio
import functools
import gzip
import hashlib
import itertools
import json
import random
import re
import ssl
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from email.utils import formatdate
from typing import Any
from urllib.parse import parse_qs, unquote_to_bytes

from aws_signing_proxy.sigv4 import Identity
from aws_signing_proxy.sigv4.verification import SignatureRejected, Verifier
from tests.clients.loop_server import LoopServer

__all__ = ["Received", "Reply", "VerifyingService", "blob"]

_HOP_FIELDS = {b"connection", b"keep-alive", b"te", b"trailer", b"transfer-encoding", b"upgrade", b"http2-settings"}
_HOP_FIELDS |= {b"expect", b"proxy-connection", b"proxy-authorization"}
_PIECE_BYTES = 64 * 1024


@functools.lru_cache(maxsize=4)
def blob(size: int) -> bytes:
    """Return `size` bytes, always the same, which do not compress."""
    return random.Random(size).randbytes(size)


@dataclass(frozen=True, slots=True)
class Received:
    """A request as it arrived. `connection` numbers the connections; `signed_headers` are empty if it was refused."""

    method: str
    target: bytes
    fields: tuple[tuple[bytes, bytes], ...]
    body: bytes
    connection: int
    signed_headers: tuple[str, ...] = ()

    def values(self, name: str) -> list[str]:
        """Return the values of all fields called `name`, in order."""
        return [value.decode("latin-1") for key, value in self.fields if key.lower() == name.lower().encode()]

    @property
    def path(self) -> list[str]:
        """The path's segments; `%2F` is part of a segment."""
        raw = self.target.partition(b"?")[0].split(b"/")[1:]
        return [unquote_to_bytes(segment).decode("utf-8", "replace") for segment in raw]

    @property
    def query(self) -> dict[str, list[str]]:
        return parse_qs(self.target.partition(b"?")[2].decode(), keep_blank_values=True)

    @property
    def text(self) -> str:
        is_gzip = self.values("content-encoding") == ["gzip"]
        return (gzip.decompress(self.body) if is_gzip else self.body).decode()


@dataclass(slots=True)
class Reply:
    """An answer before it is framed."""

    status: int
    body: bytes
    content_type: str = "application/json; charset=UTF-8"
    is_chunked: bool = False

    @classmethod
    def json(cls, status: int, content: Any) -> Reply:
        """Return a document."""
        return cls(status, json.dumps(content).encode())


class VerifyingService(LoopServer):
    """Listens on a free port of 127.0.0.1, in a thread, between `with` and its end.

    `identity` is who may sign, or a function that gives the identity of an access key id, None for an unknown one.
    `requests` holds what arrived and was verified; `refused` holds AWS's codes of what was not. Its clock, by which it
    verifies and dates its answers, is `clock_offset_seconds` ahead.
    """

    def __init__(
        self,
        identity: Identity | Callable[[str], Identity | None],
        *,
        service: str,
        region: str,
        tls: ssl.SSLContext | None = None,
        name: str = "",
    ) -> None:
        super().__init__("verifying service", tls=tls)
        self.requests: list[Received] = []
        self.refused: list[str] = []
        self.clock_offset_seconds = 0.0
        identities = {identity.access_key_id: identity}.get if isinstance(identity, Identity) else identity
        self._verifier = Verifier(service=service, region=region, identities=identities)
        self._name = name or "127.0.0.1"
        self._documents: dict[str, dict[str, Any]] = {}
        self._connections = itertools.count(1)

    @property
    def authority(self) -> str:
        return f"{self._name}:{self.port}"

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://{self.authority}"

    @property
    def only_request(self) -> Received:
        (request,) = self.requests
        return request

    def forget(self) -> None:
        """Forget requests and documents: each test begins with none."""
        self.requests.clear()
        self.refused.clear()
        self._documents.clear()

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = next(self._connections)
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            line, *lines = head[:-4].split(b"\r\n")
            match = re.fullmatch(rb"([A-Z]+) (\S+) HTTP/1\.1", line)
            assert match is not None, line
            fields = tuple((name, value.strip(b" \t")) for name, _, value in (one.partition(b":") for one in lines))
            lengths = [int(value) for name, value in fields if name.lower() == b"content-length"]
            body = await reader.readexactly(lengths[0] if lengths else 0)
            request = Received(match[1].decode(), match[2], fields, body, connection)
            await self._send(writer, request, self._answer(request))

    def _answer(self, request: Received) -> Reply:
        try:
            verified = self._verifier.verify(
                method=request.method.encode(),
                raw_target=request.target,
                fields=request.fields,
                body_sha256=hashlib.sha256(request.body).hexdigest(),
                now=self.now,
            )
        except SignatureRejected as rejected:
            self.refused.append(rejected.code)
            return self.refusal(rejected)
        foreign = sorted(name.decode().lower() for name, _ in request.fields if name.lower() in _HOP_FIELDS)
        if foreign or request.values("host") != [self.authority]:
            self.refused.append(f"Host {request.values('host')}, fields of the hop {foreign}")
            return Reply.json(400, {"code": "NotForMe", "message": self.refused[-1]})
        request = Received(
            request.method, request.target, request.fields, request.body, request.connection, verified.signed_headers
        )
        self.requests.append(request)
        return self._route(request)

    @property
    def now(self) -> float:
        """The time by its clock, in seconds since the epoch."""
        return time.time() + self.clock_offset_seconds

    def refusal(self, rejected: SignatureRejected) -> Reply:
        """Return the answer to a request that is not signed right."""
        return Reply.json(rejected.status, {"code": rejected.code, "message": rejected.message})

    def _route(self, request: Received) -> Reply:  # noqa: PLR0911 - a table of routes
        match request.method, request.path:
            case (("PUT" | "POST"), [index, "_doc", document_id]):
                self._documents.setdefault(index, {})[document_id] = json.loads(request.text)
                return Reply.json(201, {"_index": index, "_id": document_id, "result": "created"})
            case (("GET" | "HEAD"), [index, "_doc", document_id]):
                return self._document(index, document_id)
            case "POST", ["_bulk"]:
                return Reply.json(200, {"errors": False, "items": list(self._bulk(request.text))})
            case (("GET" | "POST"), [index, "_search"]):
                return self._hits(index, 0, int(request.query.get("size", ["10"])[0]))
            case (("GET" | "POST"), ["_search", "scroll", *_]):
                index, first, size = json.loads(request.text)["scroll_id"].split("|")
                return self._hits(index, int(first), int(size))
            case "DELETE", ["_search", "scroll", *_]:
                return Reply.json(200, {"succeeded": True, "num_freed": 1})
            case "GET", ["_blob", size]:
                is_chunked = request.query.get("framing") == ["chunked"]
                return Reply(200, blob(int(size)), "application/octet-stream", is_chunked=is_chunked)
            case "PUT", ["bucket", _]:
                return Reply(200, b"", "application/xml")  # as S3 answers; boto3 takes anything else for an error
            case _:
                digest = hashlib.sha256(request.body).hexdigest()
                return Reply.json(200, {"length": len(request.body), "sha256": digest, "path": request.path})

    def _document(self, index: str, document_id: str) -> Reply:
        stored = self._documents.get(index, {})
        if document_id not in stored:
            return Reply.json(404, {"_index": index, "_id": document_id, "found": False})
        return Reply.json(200, {"_index": index, "_id": document_id, "found": True, "_source": stored[document_id]})

    def _bulk(self, text: str) -> Iterator[dict[str, Any]]:
        lines = text.splitlines()
        for action_line, document in zip(lines[::2], lines[1::2], strict=True):
            action = json.loads(action_line)["index"]
            self._documents.setdefault(action["_index"], {})[action["_id"]] = json.loads(document)
            yield {"index": {"_index": action["_index"], "_id": action["_id"], "status": 201}}

    def _hits(self, pattern: str, first: int, size: int) -> Reply:
        stored = [
            {"_index": index, "_id": document_id, "_source": source}
            for index, documents in self._documents.items()
            if re.fullmatch(re.escape(pattern).replace(r"\*", ".*"), index)
            for document_id, source in documents.items()
        ]
        hits = {"total": {"value": len(stored), "relation": "eq"}, "hits": stored[first : first + size]}
        content = {"took": 1, "timed_out": False, "_scroll_id": f"{pattern}|{first + size}|{size}", "hits": hits}
        return Reply.json(200, content | {"_shards": {"total": 1, "successful": 1, "skipped": 0, "failed": 0}})

    async def _send(self, writer: asyncio.StreamWriter, request: Received, answer: Reply) -> None:
        body, encoding = answer.body, ""
        is_json = answer.content_type.startswith("application/json")
        if is_json and any("gzip" in value for value in request.values("accept-encoding")):
            body, encoding = gzip.compress(body), "Content-Encoding: gzip\r\n"
        framing = "Transfer-Encoding: chunked" if answer.is_chunked else f"Content-Length: {len(body)}"
        fields = f"Date: {formatdate(self.now, usegmt=True)}\r\nContent-Type: {answer.content_type}\r\n"
        fields += f"{encoding}{framing}\r\n"
        writer.write(f"HTTP/1.1 {answer.status} Whatever\r\n{fields}\r\n".encode())
        if request.method == "HEAD":
            return
        for start in range(0, len(body), _PIECE_BYTES):
            piece = body[start : start + _PIECE_BYTES]
            writer.write(b"%x\r\n%b\r\n" % (len(piece), piece) if answer.is_chunked else piece)
            await writer.drain()
        if answer.is_chunked:
            writer.write(b"0\r\n\r\n")
        await writer.drain()
