"""A stand-in for S3 that checks all that S3 checks of an upload, and stores it only then.

The head's signature is verified by the project's verifier. The body is read and judged by this file alone, written from
AWS's pages: its hash, its length, the framing of `aws-chunked`, each chunk's signature in the chain, the trailers'
signature, the checksum in a trailer or a field, and which payload modes go over plain HTTP and which do not.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import hmac
import itertools
import re
import ssl
import time
import zlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote_to_bytes

from aws_signing_proxy.sigv4 import Identity
from aws_signing_proxy.sigv4.verification import SignatureRejected, Verifier
from tests.clients.loop_server import LoopServer

__all__ = ["StrictS3", "Upload"]

_PIECE_BYTES = 256 * 1024
_LEAST_CHUNK_BYTES = 8192
_EMPTY = hashlib.sha256(b"").hexdigest()
_CHUNK_LINE = re.compile(rb"([0-9a-f]+)(?:;chunk-signature=([0-9a-f]{64}))?\r\n")
_TRAILER_LINE = re.compile(rb"([^:\s]+):(.*)\r\n")


def _crc32(data: bytes) -> bytes:
    return zlib.crc32(data).to_bytes(4, "big")


_CHECKSUMS: dict[str, Callable[[bytes], bytes]] = {
    "x-amz-checksum-crc32": _crc32,
    "x-amz-checksum-sha1": lambda data: hashlib.sha1(data).digest(),
    "x-amz-checksum-sha256": lambda data: hashlib.sha256(data).digest(),
    "content-md5": lambda data: hashlib.md5(data).digest(),
}


class RefusedError(Exception):
    """An error of S3: its code and its status."""

    def __init__(self, status: int, code: str) -> None:
        super().__init__(code)
        self.status = status
        self.code = code


@dataclass(slots=True)
class Upload:
    """What arrived with one request. `trailers` and `checksums` are those that were verified."""

    method: str
    path: str
    query: dict[str, str]
    fields: dict[str, str]
    body: bytes = b""
    chunk_sizes: list[int] = field(default_factory=list)
    trailers: dict[str, str] = field(default_factory=dict)
    checksums: list[str] = field(default_factory=list)

    @property
    def mode(self) -> str:
        return self.fields.get("x-amz-content-sha256", "")


class _Chain:
    """The signatures of the chunks of one upload, computed from the secret key by the letters of AWS's page."""

    def __init__(self, identity: Identity, fields: dict[str, str]) -> None:
        parts = re.search(
            r"Credential=[^/]+/(([^/]+)/([^/]+)/([^/]+)/aws4_request).*Signature=(\w+)", fields["authorization"]
        )
        assert parts is not None
        self._scope, date, region, service, self.previous = parts.groups()
        key = ("AWS4" + identity.secret_access_key).encode()
        for word in (date, region, service, "aws4_request"):
            key = hmac.new(key, word.encode(), hashlib.sha256).digest()
        self._key = key
        self._date_time = fields["x-amz-date"]

    def check(self, given: str, kind: str, *hashes: str) -> None:
        lines = (f"AWS4-HMAC-SHA256-{kind}", self._date_time, self._scope, self.previous, *hashes)
        expected = hmac.new(self._key, "\n".join(lines).encode(), hashlib.sha256).hexdigest()
        if expected != given:
            raise RefusedError(403, "SignatureDoesNotMatch")
        self.previous = expected


class _Body:
    """The bytes of a request's body, out of Content-Length or chunks of HTTP."""

    def __init__(self, reader: asyncio.StreamReader, length: int | None) -> None:
        self._pieces = self._counted(reader, length) if length is not None else self._chunked(reader)
        self._buffer = bytearray()

    @staticmethod
    async def _counted(reader: asyncio.StreamReader, length: int) -> AsyncIterator[bytes]:
        while length:
            piece = await reader.read(min(length, _PIECE_BYTES))
            if not piece:
                raise asyncio.IncompleteReadError(b"", length)
            length -= len(piece)
            yield piece

    @staticmethod
    async def _chunked(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
        while size := int(await reader.readuntil(b"\r\n"), 16):
            yield await reader.readexactly(size)
            assert await reader.readexactly(2) == b"\r\n"
        assert await reader.readexactly(2) == b"\r\n"

    async def line(self) -> bytes:
        while b"\n" not in self._buffer:
            if len(self._buffer) > 1000 or not await self._more():
                raise RefusedError(400, "IncompleteBody")
        end = self._buffer.index(b"\n") + 1
        line = bytes(self._buffer[:end])
        del self._buffer[:end]
        return line

    async def exactly(self, size: int) -> bytes:
        while len(self._buffer) < size:
            if not await self._more():
                raise RefusedError(400, "IncompleteBody")
        data = bytes(self._buffer[:size])
        del self._buffer[:size]
        return data

    async def rest(self) -> bytes:
        while await self._more():
            pass
        rest, self._buffer = bytes(self._buffer), bytearray()
        return rest

    async def _more(self) -> bool:
        async for piece in self._pieces:
            self._buffer += piece
            return True
        return False


class StrictS3(LoopServer):
    """Listens on a free port of 127.0.0.1, in a thread, between `with` and its end.

    `objects` are what was stored, by path; `uploads` what was accepted, `refused` the codes of what was not.
    `before_body` is asked, with the method and path, for an answer to be given before the body is read.
    """

    def __init__(self, identity: Identity, *, region: str, tls: ssl.SSLContext | None = None, name: str = "") -> None:
        super().__init__("strict S3", tls=tls)
        self.objects: dict[str, bytes] = {}
        self.uploads: list[Upload] = []
        self.refused: list[str] = []
        self.before_body: Callable[[str, str], tuple[int, str] | None] = lambda *_: None
        self._identity = identity
        self._verifier = Verifier(service="s3", region=region, identities={identity.access_key_id: identity}.get)
        self._name = name or "127.0.0.1"
        self._parts: dict[tuple[str, int], bytes] = {}
        self._upload_ids = itertools.count(1)

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://{self._name}:{self.port}"

    def forget(self) -> None:
        """Forget everything: each test begins with nothing."""
        self.objects.clear()
        self.uploads.clear()
        self.refused.clear()
        self._parts.clear()
        self.before_body = lambda *_: None

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve requests until one is answered before its body, or the client leaves."""
        while await self._serve(reader, writer):
            pass

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = await reader.readuntil(b"\r\n\r\n")
        line, *lines = head[:-4].split(b"\r\n")
        method, target, _ = line.split(b" ")
        pairs = [(name, value.strip()) for name, _, value in (each.partition(b":") for each in lines)]
        fields = {name.decode().lower(): value.decode("latin-1") for name, value in pairs}
        path, _, query = target.partition(b"?")
        request = Upload(
            method.decode(),
            unquote_to_bytes(path).decode(),
            dict(parse_qsl(query.decode(), keep_blank_values=True)),
            fields,
        )
        early = self.before_body(request.method, request.path)
        if early is not None:
            await self._answer(writer, *early, b"")
            return False
        try:
            await self._receive(request, reader, pairs, target)
            status, content = self._carry_out(request)
        except (RefusedError, SignatureRejected) as refused:
            self.refused.append(refused.code)
            await self._answer(
                writer, refused.status, refused.code, f"<Error><Code>{refused.code}</Code></Error>".encode()
            )
            return False
        await self._answer(writer, status, "OK", content, is_head=request.method == "HEAD")
        return True

    async def _receive(
        self, request: Upload, reader: asyncio.StreamReader, pairs: list[tuple[bytes, bytes]], target: bytes
    ) -> None:
        fields, mode = request.fields, request.mode
        is_streaming = mode.startswith("STREAMING-")
        if "transfer-encoding" in fields and not is_streaming:
            raise RefusedError(501, "NotImplemented")
        if "UNSIGNED" in mode and self._tls is None:
            raise RefusedError(400, "InvalidRequest")
        if request.method == "PUT" and "content-length" not in fields and "transfer-encoding" not in fields:
            raise RefusedError(411, "MissingContentLength")
        self._verifier.verify(
            method=request.method.encode(), raw_target=target, fields=tuple(pairs), body_sha256=None, now=time.time()
        )
        length = None if "transfer-encoding" in fields else int(fields.get("content-length", "0"))
        body = _Body(reader, length)
        if is_streaming:
            await self._receive_chunks(request, body)
        else:
            request.body = await body.rest()
            if mode != "UNSIGNED-PAYLOAD" and hashlib.sha256(request.body).hexdigest() != mode:
                raise RefusedError(400, "XAmzContentSHA256Mismatch")
        self._check_sums(request)

    async def _receive_chunks(self, request: Upload, body: _Body) -> None:
        chain = None if "UNSIGNED" in request.mode else _Chain(self._identity, request.fields)
        if "aws-chunked" not in request.fields.get("content-encoding", ""):
            raise RefusedError(400, "InvalidRequest")
        content = bytearray()
        while True:
            match = _CHUNK_LINE.fullmatch(await body.line())
            if match is None or (match[2] is None) != (chain is None):
                raise RefusedError(400, "InvalidChunk")
            data = await body.exactly(int(match[1], 16))
            if chain is not None:
                chain.check(match[2].decode(), "PAYLOAD", _EMPTY, hashlib.sha256(data).hexdigest())
                if data and request.chunk_sizes and request.chunk_sizes[-1] < _LEAST_CHUNK_BYTES:
                    raise RefusedError(403, "InvalidChunkSizeError")
            if not data:
                break
            if await body.exactly(2) != b"\r\n":
                raise RefusedError(400, "InvalidChunk")
            content += data
            request.chunk_sizes.append(len(data))
        await self._receive_trailers(request, body, chain)
        if len(content) != int(request.fields["x-amz-decoded-content-length"]):
            raise RefusedError(400, "IncompleteBody")
        request.body = bytes(content)

    async def _receive_trailers(self, request: Upload, body: _Body, chain: _Chain | None) -> None:
        canonical, signature = "", ""
        while (line := await body.line()) != b"\r\n":
            if line.endswith(b"\n") and not line.endswith(b"\r\n"):
                line = line[:-1] + await body.line()  # as in AWS's example, and minio-go
            match = _TRAILER_LINE.fullmatch(line)
            if match is None:
                raise RefusedError(400, "MalformedTrailerError")
            name, value = match[1].decode().lower(), match[2].decode().strip()
            if name == "x-amz-trailer-signature":
                signature = value
                continue
            canonical += f"{name}:{value}\n"
            request.trailers[name] = value
        announced = request.fields.get("x-amz-trailer", "")
        if sorted(request.trailers) != sorted(each.strip() for each in announced.split(",") if each):
            raise RefusedError(400, "MalformedTrailerError")
        if request.mode.endswith("HMAC-SHA256-PAYLOAD-TRAILER") and chain is not None:
            chain.check(signature, "TRAILER", hashlib.sha256(canonical.encode()).hexdigest())
        if await body.rest():
            raise RefusedError(400, "IncompleteBody")

    @staticmethod
    def _check_sums(request: Upload) -> None:
        for name, value in (request.fields | request.trailers).items():
            compute = _CHECKSUMS.get(name)
            if compute is not None:
                if base64.b64encode(compute(request.body)).decode() != value:
                    raise RefusedError(400, "BadDigest")
                request.checksums.append(name)

    def _carry_out(self, request: Upload) -> tuple[int, bytes]:
        self.uploads.append(request)
        match request.method, request.query:
            case "PUT", {"partNumber": number, "uploadId": upload}:
                self._parts[upload, int(number)] = request.body
            case "POST", {"uploads": _}:
                upload_id = f"<UploadId>{next(self._upload_ids)}</UploadId>"
                return 200, f"<InitiateMultipartUploadResult>{upload_id}</InitiateMultipartUploadResult>".encode()
            case "POST", {"uploadId": upload}:
                numbers = sorted(number for each, number in self._parts if each == upload)
                self.objects[request.path] = b"".join(self._parts.pop((upload, number)) for number in numbers)
                return 200, b"<CompleteMultipartUploadResult><ETag>x</ETag></CompleteMultipartUploadResult>"
            case "PUT", _:
                self.objects[request.path] = request.body
            case _, _ if request.path not in self.objects:
                return 404, b"<Error><Code>NoSuchKey</Code></Error>"
            case _, _:
                return 200, self.objects[request.path]
        return 200, b""

    async def _answer(
        self, writer: asyncio.StreamWriter, status: int, reason: str, content: bytes, *, is_head: bool = False
    ) -> None:
        writer.write(
            f'HTTP/1.1 {status} {reason}\r\nETag: "x"\r\nContent-Type: application/xml\r\n'
            f"Content-Length: {len(content)}\r\n\r\n".encode()
        )
        if not is_head:
            writer.write(content)
        with contextlib.suppress(ConnectionError):
            await writer.drain()
