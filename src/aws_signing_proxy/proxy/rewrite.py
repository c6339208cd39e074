"""From the client's head to the signed one: what is cut, what is kept as it came, what is written anew.

Kept: every end-to-end field line, byte for byte, in its order. Cut: hop-by-hop fields and those that
`Connection` names, framing, `Expect` (answered here), `Host`, and whatever a former signature left.
Added: `Host` of the target, `Via` (to notice a proxy that forwards to itself; not signed), `Content-Length`,
and the signature's fields.
"""

from __future__ import annotations

import re
from collections.abc import Set as AbstractSet
from typing import NamedTuple, Protocol

from aws_signing_proxy.errors import DownstreamError, ErrorCode, InternalError
from aws_signing_proxy.http1.fields import HOP_BY_HOP, without_lines
from aws_signing_proxy.http1.request import RequestHead
from aws_signing_proxy.http1.request_fields import CONTROL_FIELDS, FieldSection, RequestFields
from aws_signing_proxy.sigv4 import CanonicalTarget, Identity, IdentityError, Signer, SigningPlan, TargetError
from aws_signing_proxy.sigv4.chunks import ChunkSigner
from aws_signing_proxy.sigv4.payloads import UNSIGNED, UNSIGNED_TRAILER
from aws_signing_proxy.sigv4.signing import REPLACED_FIELDS, SIGNED_FIELDS, SIGNED_PREFIX

__all__ = ["REQUEST_FIELDS", "HeadRewriter", "PreparedHead", "StreamedHead"]

REQUEST_FIELDS = RequestFields(
    cut=REPLACED_FIELDS,
    noted=SIGNED_FIELDS | {b"via", b"upgrade", b"content-encoding"},
    noted_prefix=SIGNED_PREFIX,
    # An SDK that signs sends other values each time.
    fleeting={b"x-amz-date", b"x-amz-content-sha256", b"content-md5"},
)
"""How the fields of requests are sorted before they come here (see `parse_request_head`)."""

_DECLARED_HASH = b"x-amz-content-sha256"
_HEX_SHA256 = re.compile(rb"[0-9A-Fa-f]{64}")
_EMPTY_SHA256 = b"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
# The one protocol that services are known to offer, and of which it is known that nothing in it is a request of HTTP's.
_WEBSOCKET = b"websocket"
_UPGRADE_LINES = b"Connection: Upgrade\r\nUpgrade: websocket\r\n"
# RFC 9110 section 8.6: requests with these methods say so when they have no content.
_METHODS_WITH_CONTENT = frozenset({b"POST", b"PUT", b"PATCH"})


class PreparedHead:
    """A request's head as far as it does not depend on the body, the credentials and the time.

    `by`: who prepared it; `start`: what goes before the framing; `plan`: how it is signed; `upgrade`: the protocol that
    it asks for, None for hardly any request. `declared_sha256`: the client's X-Amz-Content-Sha256; `is_aws_chunked`:
    its Content-Encoding names aws-chunked; `describes_payload`: one of the two is there.
    """

    __slots__ = ("by", "declared_sha256", "describes_payload", "is_aws_chunked", "method", "plan", "signed_fields",
                 "start", "target", "upgrade", "writes_zero_length")  # fmt: skip

    def __init__(  # noqa: PLR0917 - one caller, just below
        self,
        by: HeadRewriter,
        method: bytes,
        target: CanonicalTarget,
        start: bytes,
        fields: _RewrittenFields,
        plan: SigningPlan,
        *,
        writes_zero_length: bool,
        upgrade: bytes | None,
    ) -> None:
        self.by = by
        self.method = method
        self.target = target
        self.start = start
        self.signed_fields = fields.signed
        self.declared_sha256 = fields.declared_sha256
        self.is_aws_chunked = fields.is_aws_chunked
        self.describes_payload = fields.is_aws_chunked or fields.declared_sha256 is not None
        self.plan = plan
        self.writes_zero_length = writes_zero_length
        self.upgrade = upgrade


class StreamedHead(Protocol):
    """What is different in the head of a streamed body (see `payload_plan.StreamPlan`)."""

    start: bytes
    signed_fields: list[tuple[bytes, bytes]]
    framing: bytes
    payload_hash: bytes


class _RewrittenFields(NamedTuple):
    """What became of a field section: the lines that are sent, and what is signed of them."""

    by: HeadRewriter
    lines: bytes
    signed: list[tuple[bytes, bytes]]
    declared_sha256: bytes | None
    is_aws_chunked: bool
    asks_for_websocket: bool


class HeadRewriter:
    """Writes the heads of all requests to one target.

    `host`: the Host field's value; `path_prefix`: put before every path, without a slash at its end;
    `via_name`: this process's pseudonym in `Via` (RFC 9110 section 7.6.3), which nobody else uses. `forward_to`:
    for a proxy that forwards requests in absolute-form, `http://host:port`; not signed. `proxy_authorization`: for the
    same proxy, a secret. `is_always_unsigned`: the service takes no hash of any body, not even of an empty one.
    """

    def __init__(
        self,
        *,
        signer: Signer,
        host: bytes,
        path_prefix: bytes,
        via_name: bytes,
        forward_to: bytes = b"",
        proxy_authorization: bytes | None = None,
        is_always_unsigned: bool = False,
    ) -> None:
        self._signer = signer
        self._is_always_unsigned = is_always_unsigned
        self._host = host
        self._host_line = b"Host: " + host + b"\r\n"
        self._via_name = via_name
        self._via_line = b"Via: 1.1 " + via_name + b"\r\n"
        self._own_lines = self._via_line
        if proxy_authorization is not None:
            self._own_lines += b"Proxy-Authorization: " + proxy_authorization + b"\r\n"
        self._forward_to = forward_to
        self._path_prefix = path_prefix

    def prepare(self, request: RequestHead) -> PreparedHead:
        """Rewrite what is known before the body is. Raises ProxyError where the request cannot be forwarded."""
        prepared = request.known.derived
        if isinstance(prepared, PreparedHead) and prepared.by is self:
            return prepared
        try:
            target = self._signer.target(self._path_prefix + request.target)
        except TargetError as error:
            raise DownstreamError(ErrorCode.BAD_REQUEST_TARGET, str(error)) from error
        derived = request.section.derived
        fields = derived if isinstance(derived, _RewrittenFields) and derived.by is self else self._rewrite(request)
        method = request.method
        lines, upgrade = fields.lines, None
        if fields.asks_for_websocket and method == b"GET" and request.body_length == 0 and not request.is_http10:
            lines, upgrade = lines + _UPGRADE_LINES, _WEBSOCKET
        prepared = PreparedHead(
            self,
            method,
            target,
            b"%b %b%b HTTP/1.1\r\n%b" % (method, self._forward_to, target.wire, lines),
            fields,
            self._signer.plan(method=method, target=target, signed_fields=fields.signed),
            writes_zero_length=method in _METHODS_WITH_CONTENT,
            upgrade=upgrade,
        )
        if not fields.asks_for_websocket:  # for then it depends on the length of the body, too
            request.known.derived = prepared
        return prepared

    def _rewrite(self, request: RequestHead) -> _RewrittenFields:
        section = request.section
        nominated = _nominated(section)
        kept = without_lines(section.kept, nominated) if nominated else section.kept
        declared: bytes | None = None
        signed = [(b"host", self._host)]
        is_aws_chunked = False
        upgrades: list[bytes] = []
        for field in section.noted:
            name = field[0]
            if name in CONTROL_FIELDS:
                continue
            if name in REPLACED_FIELDS:
                if name == _DECLARED_HASH:
                    declared = _declared_sha256(field[1], declared)
            elif name == b"via":
                self._refuse_loop(field[1])
            elif name == b"content-encoding":
                is_aws_chunked |= b"aws-chunked" in field[1].lower()
            elif name == b"upgrade":
                upgrades.append(field[1].lower())
            elif name not in nominated:
                signed.append(field)
        lines = b"".join((self._host_line, kept, self._own_lines))
        # Exactly this protocol and no list of several: whoever answers 101 can have meant nothing else.
        asks = upgrades == [_WEBSOCKET] and section.connection is not None and b"upgrade" in section.connection
        section.derived = rewritten = _RewrittenFields(self, lines, signed, declared, is_aws_chunked, asks)
        return rewritten

    def finish(
        self,
        prepared: PreparedHead,
        *,
        body_length: int | None,
        body_sha256: bytes | None,
        identity: Identity,
        now: float,
    ) -> bytes:
        """Return the whole head, signed for this body at this instant.

        `body_length`: None where there is no body and the client gave no length either; `body_sha256`: hexadecimal;
        None for an empty body. Raises DownstreamError where the client declared another.
        """
        payload_hash = body_sha256 or _EMPTY_SHA256
        if prepared.declared_sha256 is not None:
            payload_hash = _payload_hash(prepared.declared_sha256, payload_hash)
        if self._is_always_unsigned:
            payload_hash = UNSIGNED
        try:
            signature = self._signer.sign(prepared.plan, payload_hash=payload_hash, identity=identity, now=now)
        except IdentityError as error:
            raise _unusable(error) from error
        if body_length is None:
            if not prepared.writes_zero_length:
                return b"%b%b\r\n" % (prepared.start, signature)
            body_length = 0
        return b"%bContent-Length: %d\r\n%b\r\n" % (prepared.start, body_length, signature)

    def finish_streamed(
        self, prepared: PreparedHead, plan: StreamedHead, *, identity: Identity, now: float
    ) -> tuple[bytes, ChunkSigner]:
        """Return the whole head of a body that is not here yet, and the signer of its chunks."""
        signing = prepared.plan
        if plan.signed_fields is not prepared.signed_fields:
            signing = self._signer.plan(
                method=prepared.method, target=prepared.target, signed_fields=plan.signed_fields
            )
        try:
            signature, chunk_signer = self._signer.sign_streamed(
                signing, payload_hash=plan.payload_hash, identity=identity, now=now
            )
        except IdentityError as error:
            raise _unusable(error) from error
        return b"%b%b%b\r\n" % (plan.start, plan.framing, signature), chunk_signer

    def _refuse_loop(self, via: bytes) -> None:
        if self._via_name in via:
            raise InternalError(
                ErrorCode.LOOP_DETECTED,
                "This request has passed through this proxy before: ASP_TARGET_URL leads back to the proxy itself. "
                "Set it to the AWS service's own URL.",
            )


def _unusable(error: IdentityError) -> InternalError:
    return InternalError(ErrorCode.CREDENTIALS_UNAVAILABLE, f"The credentials cannot be used: {error}.")


def _nominated(section: FieldSection) -> AbstractSet[bytes]:
    """Return the names that `Connection` makes hop-by-hop, beyond those that always are."""
    return section.connection - HOP_BY_HOP - {b"close"} if section.connection else frozenset()


def _declared_sha256(declared: bytes, before: bytes | None) -> bytes:
    if before is not None and before != declared:
        raise DownstreamError(ErrorCode.MALFORMED_REQUEST, "X-Amz-Content-Sha256 occurs twice, with different values.")
    return declared


def _payload_hash(declared: bytes, actual: bytes) -> bytes:
    """Return the value of X-Amz-Content-Sha256: the body's hash, or the one mode that must stay as it is."""
    if declared == UNSIGNED_TRAILER:
        return declared  # aws-chunked with trailers: the service decodes it only under this name
    if declared != actual and _HEX_SHA256.fullmatch(declared) and declared.lower() != actual:
        raise DownstreamError(
            ErrorCode.CONTENT_SHA256_MISMATCH,
            "The SHA-256 of the body that arrived differs from X-Amz-Content-Sha256: "
            "it was changed on its way here, or the client declared a wrong hash.",
        )
    return actual
