"""How a request's body is signed: a table of services, and one look-up. docs/payload-modes.md shows the same.

What each service takes:

- Amazon S3 API Reference, "Authenticating Requests: Using the Authorization Header": UNSIGNED-PAYLOAD, and chunks that
  are signed, for PutObject and UploadPart alone. Unsigned payloads are taken over TLS only.
- VPC Lattice User Guide, "SigV4 authenticated requests": "VPC Lattice does not support payload signing", so that
  X-Amz-Content-Sha256 must be UNSIGNED-PAYLOAD in every request.
- OpenSearch Serverless refuses what has no hash of its body; UNSIGNED-PAYLOAD did not work there either.
- botocore's service models, `v4-unsigned-body`: the operations that are made for UNSIGNED-PAYLOAD elsewhere.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum, StrEnum

from aws_signing_proxy.sigv4.chunks import CHUNK_BYTES, STREAMING, STREAMING_TRAILER

__all__ = [
    "SERVICES",
    "UNSIGNED",
    "UNSIGNED_TRAILER",
    "PayloadError",
    "PayloadRules",
    "PayloadSetting",
    "ServicePayloads",
    "Way",
    "lower_case_hash",
    "payloads_of",
    "setting_problem",
]

UNSIGNED = b"UNSIGNED-PAYLOAD"
"""X-Amz-Content-Sha256 of a body whose hash is not part of the signature."""
UNSIGNED_TRAILER = b"STREAMING-UNSIGNED-PAYLOAD-TRAILER"
"""The same of an `aws-chunked` body with a checksum behind it."""

_STREAMING = b"STREAMING-"
_MODES = frozenset({UNSIGNED, UNSIGNED_TRAILER, STREAMING, STREAMING_TRAILER})
_HEX_SHA256 = re.compile(rb"[0-9A-Fa-f]{64}")
# The longest mode that AWS has is shorter.
_LONGEST_SHOWN = 64
# A query of PutObject and UploadPart; any other names a subresource (?policy, ?tagging), whose body is a document.
_QUERY_OF_OBJECT = re.compile(rb"(?:(?:partNumber|uploadId|x-id)(?:=[^&]*)?(?:&|$))*")


class PayloadSetting(StrEnum):
    """What the operator wants (ASP_PAYLOAD)."""

    AUTO = "auto"
    SIGNED = "signed"
    UNSIGNED = "unsigned"
    CHUNKED = "chunked"


class Way(Enum):
    """How a body goes to the service. All but HELD are streamed: nothing of them is kept."""

    HELD = "held until its last byte is here, then sent under its hash"
    DECLARED = "streamed under the hash that the client declared"
    UNSIGNED = "streamed under UNSIGNED-PAYLOAD"
    CHUNKED = "streamed in chunks that the proxy signs"
    VERBATIM = "streamed as the client framed it, under STREAMING-UNSIGNED-PAYLOAD-TRAILER"
    RESIGNED = "streamed in the chunks that the client made, each signed anew"


@dataclass(frozen=True, slots=True)
class ServicePayloads:
    """What one service takes.

    `takes_unsigned`: UNSIGNED-PAYLOAD over TLS; `must_be_unsigned`: nothing else, and over plain HTTP too;
    `takes_chunks`: signed chunks; `auto`: what ASP_PAYLOAD=auto means for large bodies over TLS.
    """

    takes_unsigned: bool = False
    takes_chunks: bool = False
    must_be_unsigned: bool = False
    auto: PayloadSetting = PayloadSetting.SIGNED


_UNSIGNED_OPERATIONS = ServicePayloads(takes_unsigned=True)

SERVICES: dict[str, ServicePayloads] = {
    "s3": ServicePayloads(takes_unsigned=True, takes_chunks=True, auto=PayloadSetting.CHUNKED),
    "s3express": ServicePayloads(takes_unsigned=True, takes_chunks=True, auto=PayloadSetting.CHUNKED),
    # Not by themselves: whether these two take chunks of every operation is written nowhere.
    "s3-outposts": ServicePayloads(takes_unsigned=True, takes_chunks=True),
    "s3-object-lambda": ServicePayloads(takes_unsigned=True, takes_chunks=True),
    "vpc-lattice-svcs": ServicePayloads(takes_unsigned=True, must_be_unsigned=True, auto=PayloadSetting.UNSIGNED),
    "aoss": ServicePayloads(),
    "ebs": _UNSIGNED_OPERATIONS,
    "lex": _UNSIGNED_OPERATIONS,
    "mediastore": _UNSIGNED_OPERATIONS,
    "omics": _UNSIGNED_OPERATIONS,
}
"""By signing name, the word that stands in the credential scope. What is not named here takes hashes only."""

_OTHER_SERVICE = ServicePayloads()


def payloads_of(service: str) -> ServicePayloads:
    """Return what `service` takes."""
    return SERVICES.get(service, _OTHER_SERVICE)


def setting_problem(setting: PayloadSetting, service: str, *, is_tls: bool) -> str | None:
    """Return what is expected instead where `setting` cannot work, as the end of a sentence; None where it can."""
    payloads = payloads_of(service)
    match setting:
        case PayloadSetting.SIGNED if payloads.must_be_unsigned:
            return f"auto or unsigned, because the service {service} takes unsigned payloads only"
        case PayloadSetting.CHUNKED if not payloads.takes_chunks:
            return f"auto or another mode, because the service {service} takes no signed chunks"
        case PayloadSetting.UNSIGNED if not payloads.takes_unsigned:
            return f"auto or signed, because the service {service} is not known to take unsigned payloads"
        case PayloadSetting.UNSIGNED if not is_tls and not payloads.must_be_unsigned:
            return "auto or another mode, because a body that is not signed needs TLS to the target (https://)"
    return None


class PayloadError(ValueError):
    """The client's payload cannot be passed on; the message says why, and what the client can do."""


class PayloadRules:
    """The rules for one target: a service, over TLS or not, and what the operator wants.

    `memory_limit_bytes`: bodies up to this size are held and signed, whatever the setting, since they can be hashed
    as fast as they come, and sent again. `least_chunked_bytes`: bodies up to this size do not go in chunks, whatever
    that limit: in one chunk a body is held as well, and what looks like an object and is none (CreateBucket's document)
    is short. `large`: the mode of bodies that are longer, never AUTO.
    """

    __slots__ = ("_holds_all", "_is_tls", "_least_chunked", "is_always_unsigned", "large", "memory_limit_bytes",
                 "payloads")  # fmt: skip

    def __init__(
        self,
        *,
        service: str,
        is_tls: bool,
        setting: PayloadSetting,
        memory_limit_bytes: int,
        least_chunked_bytes: int = CHUNK_BYTES,
    ) -> None:
        self.payloads = payloads_of(service)
        self.memory_limit_bytes = memory_limit_bytes
        self.is_always_unsigned = self.payloads.must_be_unsigned
        self._is_tls = is_tls
        self._least_chunked = least_chunked_bytes
        self._holds_all = setting is PayloadSetting.SIGNED
        self.large = setting
        if setting is PayloadSetting.AUTO:
            self.large = self.payloads.auto if is_tls else PayloadSetting.SIGNED

    def problem(self, declared: bytes | None, *, is_aws_chunked: bool) -> str | None:
        """Return a sentence where what the client says of its payload is no payload mode of S3; None otherwise.

        `declared`: its X-Amz-Content-Sha256; `is_aws_chunked`: there is a body, and its Content-Encoding names
        aws-chunked. Without the word that goes with it S3 undoes no framing, it stores it. S3 refuses any other word;
        here, where the true hash would be put in its place, it would go unnoticed. Other services know neither.
        """
        if not self.payloads.takes_chunks or (declared is not None and declared.startswith(_STREAMING)):
            return None
        if declared is not None and declared != UNSIGNED and _HEX_SHA256.fullmatch(declared) is None:
            return _not_a_mode(declared)
        if is_aws_chunked:
            return (
                "Content-Encoding says aws-chunked, but X-Amz-Content-Sha256 does not say which kind (STREAMING-...)."
            )
        return None

    def is_plain(self, length: int, declared: bytes | None) -> bool:
        """Whether a body is held without further questions, as nearly all are; `length` is negative if not known."""
        return 0 <= length <= self.memory_limit_bytes and (declared is None or declared[:10] != _STREAMING)

    def way(
        self,
        *,
        method: bytes,
        canonical_query: bytes,
        length: int | None,
        declared: bytes | None = None,
        decoded_length: int | None = None,
    ) -> Way:
        """Return how a body goes.

        `length`: of the body as the client frames it, None where it is not known; `declared`: the client's
        X-Amz-Content-Sha256; `decoded_length`: its X-Amz-Decoded-Content-Length. Raises PayloadError.
        """
        if declared is not None and declared.startswith(_STREAMING):
            return self._framed_by_client(declared, decoded_length if length is None else length)
        is_small = length is not None and length <= self.memory_limit_bytes
        # S3 wants the length in the head: it answers 411 or 501 where it is not there.
        is_held = is_small or ((length is None or self._holds_all) and not self.is_always_unsigned)
        is_object = (
            method == b"PUT"
            and (length or 0) > self._least_chunked
            and _QUERY_OF_OBJECT.fullmatch(canonical_query) is not None
        )
        if is_held:
            way = Way.HELD
        elif self.is_always_unsigned:
            way = Way.UNSIGNED
        elif declared is not None and _HEX_SHA256.fullmatch(declared):
            way = Way.DECLARED
        elif self.large is PayloadSetting.UNSIGNED:
            way = Way.UNSIGNED
        elif self.large is PayloadSetting.CHUNKED and is_object:
            way = Way.CHUNKED
        else:
            way = Way.HELD
        return way

    def _framed_by_client(self, declared: bytes, length: int | None) -> Way:
        if declared not in _MODES:
            raise PayloadError(
                f"The payload mode {_shown(declared)} is not supported: chunks with asymmetric signatures "
                "(SigV4A), or events, cannot be signed anew. Let the client use SigV4, or send a plain body."
            )
        if not self.payloads.takes_chunks:
            raise PayloadError(
                f"The payload mode {_shown(declared)} (chunks framed by the client) is one of Amazon S3 "
                "(ASP_SERVICE=s3); the service that this proxy signs for does not know it. Let the client send a "
                "plain body."
            )
        if declared != UNSIGNED_TRAILER:
            return Way.RESIGNED
        if self._holds_all and not self._is_tls:
            raise PayloadError(
                f"The payload mode {_shown(declared)} leaves the body unsigned, and the target is plain HTTP: "
                "ASP_PAYLOAD=signed forbids that. Let the client sign its chunks or send no trailing checksum, or use "
                "an https:// target."
            )
        is_small = length is not None and length <= self.memory_limit_bytes
        return Way.HELD if is_small or self._holds_all else Way.VERBATIM


def lower_case_hash(declared: bytes) -> bytes:
    """Return a declared SHA-256 in lower case, as it is in signatures; any other word as it is."""
    return declared.lower() if _HEX_SHA256.fullmatch(declared) else declared


def _not_a_mode(declared: bytes) -> str:
    shown, right = _shown(declared), declared.upper()
    if right in _MODES:
        return f"X-Amz-Content-Sha256 is {shown}: this payload mode is written in capitals, {_shown(right)}."
    return (
        f"X-Amz-Content-Sha256 is {shown}: it must be the body's SHA-256 (64 hexadecimal digits), UNSIGNED-PAYLOAD, "
        "or one of the STREAMING-... payload modes."
    )


def _shown(declared: bytes) -> str:
    """Return the client's word for a sentence: of a long one the beginning."""
    word = declared.decode("latin-1")
    return word if len(word) <= _LONGEST_SHOWN else f"{word[:_LONGEST_SHOWN]}..."
