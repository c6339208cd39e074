"""What is to be done with a body that is not held: its head's fields, and what becomes of its bytes."""

from __future__ import annotations

import re

from aws_signing_proxy.errors import DownstreamError, ErrorCode
from aws_signing_proxy.http1.aws_chunked import AwsChunkedReader
from aws_signing_proxy.http1.fields import without_lines
from aws_signing_proxy.http1.request import CHUNKED, RequestHead
from aws_signing_proxy.proxy.encoders import BodyEncoder, ChunkResigner, TransferChunks, Verbatim
from aws_signing_proxy.proxy.rewrite import PreparedHead
from aws_signing_proxy.sigv4.chunks import STREAMING, STREAMING_TRAILER, ChunkEncoder, ChunkSigner, encoded_length
from aws_signing_proxy.sigv4.payloads import UNSIGNED, PayloadError, PayloadRules, Way, lower_case_hash

__all__ = ["StreamPlan", "plan_stream"]

_DECODED_LENGTH = b"x-amz-decoded-content-length"
_TRAILER = b"x-amz-trailer"
# Clients make chunks of 64 or 128 KiB; so many must pass where no other body is held in memory.
_LEAST_CHUNK_LIMIT_BYTES = 1024 * 1024
_LENGTH = re.compile(rb"0|[1-9][0-9]{0,17}")
_CONTENT_ENCODING_LINE = re.compile(rb"content-encoding:[ \t]*(.*?)[ \t]*", re.IGNORECASE)


class StreamPlan:
    """How one body is streamed.

    `payload_hash`: X-Amz-Content-Sha256; `start` and `signed_fields` as in `PreparedHead`; `framing`: the field line
    that frames the body upstream.
    """

    __slots__ = ("_decoded_length", "_is_chunked", "_rules", "_trailer_names", "framing", "payload_hash",
                 "signed_fields", "start", "way")  # fmt: skip

    def __init__(self, rules: PayloadRules, way: Way, request: RequestHead, prepared: PreparedHead) -> None:
        self.way = way
        self.start = prepared.start
        self.signed_fields = prepared.signed_fields
        self._rules = rules
        self._decoded_length = 0
        self._trailer_names: frozenset[bytes] | None = None
        length = request.body_length
        # A chunked body of unknown length goes on so: whoever sends aws-chunked so would send it so to the service.
        self._is_chunked = length == CHUNKED
        declared = prepared.declared_sha256
        match way:
            case Way.CHUNKED:
                self.payload_hash = STREAMING
                self.start, self.signed_fields = _with_chunk_fields(prepared, length)
                length = encoded_length(length)
            case Way.RESIGNED:
                self.payload_hash = declared or STREAMING
                self._decoded_length = _required_decoded_length(prepared)
                if declared == STREAMING_TRAILER:
                    self._trailer_names = _trailer_names(prepared)
            case Way.UNSIGNED:
                self.payload_hash = UNSIGNED
            case _:
                # A hash in the letters that services compare it with; the other words have no lower-case letters.
                self.payload_hash = UNSIGNED if declared is None else lower_case_hash(declared)
        self.framing = b"Transfer-Encoding: chunked\r\n" if self._is_chunked else b"Content-Length: %d\r\n" % length

    def __repr__(self) -> str:
        return f"<StreamPlan {self.way.name}>"

    def encoder(self, signer: ChunkSigner) -> BodyEncoder:
        """Return what turns the client's bytes into those that go upstream, for one try of sending them."""
        encoder: BodyEncoder
        match self.way:
            case Way.CHUNKED:
                encoder = ChunkEncoder(signer)
            case Way.RESIGNED:
                reader = AwsChunkedReader(
                    decoded_length=self._decoded_length,
                    trailer_names=self._trailer_names,
                    max_chunk_bytes=max(self._rules.memory_limit_bytes, _LEAST_CHUNK_LIMIT_BYTES),
                )
                encoder = ChunkResigner(reader, signer)
            case _:
                encoder = Verbatim()
        return TransferChunks(encoder) if self._is_chunked else encoder


def plan_stream(rules: PayloadRules, request: RequestHead, prepared: PreparedHead) -> StreamPlan | None:
    """Return how the body is streamed; None where it is held. Raises DownstreamError."""
    length = request.body_length
    problem = rules.problem(prepared.declared_sha256, is_aws_chunked=prepared.is_aws_chunked and length != 0)
    if problem is not None:
        raise DownstreamError(ErrorCode.MALFORMED_PAYLOAD, problem)
    if rules.is_plain(length, prepared.declared_sha256):
        return None
    try:
        way = rules.way(
            method=request.method,
            canonical_query=prepared.target.canonical_query,
            length=None if length == CHUNKED else length,
            declared=prepared.declared_sha256,
            decoded_length=_decoded_length(prepared),
        )
    except PayloadError as error:
        raise DownstreamError(ErrorCode.PAYLOAD_NOT_SUPPORTED, str(error)) from error
    if way is Way.RESIGNED and not length:
        raise DownstreamError(ErrorCode.MALFORMED_PAYLOAD, "A body in signed chunks has a last chunk; it is not empty.")
    return None if way is Way.HELD else StreamPlan(rules, way, request, prepared)


def _decoded_length(prepared: PreparedHead) -> int | None:
    values = {value for name, value in prepared.signed_fields if name == _DECODED_LENGTH}
    if len(values) != 1:
        return None
    (value,) = values
    return int(value) if _LENGTH.fullmatch(value) else None


def _required_decoded_length(prepared: PreparedHead) -> int:
    length = _decoded_length(prepared)
    if length is None:
        raise DownstreamError(
            ErrorCode.MALFORMED_PAYLOAD,
            "A body in signed chunks needs X-Amz-Decoded-Content-Length, once and with a decimal number.",
        )
    return length


def _trailer_names(prepared: PreparedHead) -> frozenset[bytes]:
    names: set[bytes] = set()
    for name, value in prepared.signed_fields:
        if name == _TRAILER:
            names.update(each.strip(b" \t") for each in value.lower().split(b","))
    return frozenset(names - {b""})


def _with_chunk_fields(prepared: PreparedHead, length: int) -> tuple[bytes, list[tuple[bytes, bytes]]]:
    """Return the head's start and its signed fields with what says that the body is in chunks."""
    line, _, fields = prepared.start.partition(b"\r\n")
    encodings = [b"aws-chunked"]
    for field in fields.split(b"\r\n"):
        match = _CONTENT_ENCODING_LINE.fullmatch(field)
        if match is not None and match[1]:
            encodings.append(match[1])
    replaced = {b"content-encoding", _DECODED_LENGTH, _TRAILER}
    start = b"%b\r\n%bContent-Encoding: %b\r\nX-Amz-Decoded-Content-Length: %d\r\n" % (
        line,
        without_lines(fields, replaced),
        b",".join(encodings),
        length,
    )
    signed = [field for field in prepared.signed_fields if field[0] not in replaced]
    signed.append((_DECODED_LENGTH, b"%d" % length))
    return start, signed
