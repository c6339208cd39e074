"""The service's side of Signature Version 4: refuses what AWS refuses, in AWS's words.

It works on what arrived: the raw request target and the raw fields. The canonical forms are computed here a second
time (`received`), from AWS's description and with other means than `canonical` uses, so that one is a check of the
other; only the stages that have but one reading (string to sign, key, signature) are shared.

It is stricter than AWS in one direction only: it refuses what could be read in two ways.
"""

from __future__ import annotations

import hmac
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from aws_signing_proxy.sigv4.canonical import PRESIGN_PARAMETERS
from aws_signing_proxy.sigv4.received import decoded_pairs, received_headers, received_path, received_query
from aws_signing_proxy.sigv4.rules import ServiceRules, rules_for
from aws_signing_proxy.sigv4.signing import canonical_request, credential_scope, signature, signing_key, string_to_sign

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from aws_signing_proxy.sigv4.identity import Identity

__all__ = ["SignatureRejected", "Verified", "Verifier"]

_MAX_SKEW_SECONDS = 900.0  # S3 answers MaxAllowedSkewMilliseconds 900000
_ALGORITHM = "AWS4-HMAC-SHA256"
_DATE_TIME = re.compile(r"\d{8}T\d{6}Z", re.ASCII)
_SIGNATURE = re.compile(r"[0-9a-f]{64}")
_SIGNED_HEADERS = re.compile(r"[!#$%&'*+.^_`|~0-9a-z-]+(?:;[!#$%&'*+.^_`|~0-9a-z-]+)*")
_SHA256 = re.compile(rb"[0-9a-f]{64}")
_UNPARSABLE = re.compile(rb"\A[^/]|[\x00-\x20\x7f#]|%(?![0-9A-Fa-f]{2})|\A\Z")
# S3 API Reference, "Common request headers": what may stand in place of the payload's hash.
_PAYLOAD_LITERALS = frozenset(
    {
        b"UNSIGNED-PAYLOAD",
        b"STREAMING-UNSIGNED-PAYLOAD-TRAILER",
        b"STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
        b"STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER",
    }
)
_TOKEN_LINE = re.compile(rb"^x-amz-security-token:.*$", re.MULTILINE)


class SignatureRejected(Exception):  # noqa: N818 - it is an answer that a service gives, not a fault of the program
    """A request is refused. `code` is AWS's word, `status` the answer's status, `message` a sentence for a person.

    `canonical_request` and `string_to_sign` are what the verifier computed, where it came so far; in the former the
    session token's value is left out. No part holds a secret.
    """

    def __init__(
        self,
        code: str,
        status: int,
        message: str,
        *,
        canonical_request: bytes | None = None,
        string_to_sign: bytes | None = None,
    ) -> None:
        super().__init__(code, status, message)
        self.code = code
        self.status = status
        self.message = message
        self.canonical_request = canonical_request
        self.string_to_sign = string_to_sign

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"


class Verified:
    """What a request that passed was signed with: all of it stands in the Authorization field, none of it is secret.

    `date` is the scope's day (`YYYYMMDD`), `amz_date` the instant of signing as sent, `signed_headers` in order.
    """

    __slots__ = ("access_key_id", "amz_date", "date", "region", "service", "signed_headers")

    def __init__(
        self,
        *,
        access_key_id: str,
        date: str,
        region: str,
        service: str,
        signed_headers: tuple[str, ...],
        amz_date: str,
    ) -> None:
        self.access_key_id = access_key_id
        self.date = date
        self.region = region
        self.service = service
        self.signed_headers = signed_headers
        self.amz_date = amz_date

    def __repr__(self) -> str:
        scope = f"{self.date}/{self.region}/{self.service}"
        return f"<{type(self).__name__} …{self.access_key_id[-4:]} {scope} {';'.join(self.signed_headers)}>"


class _Authorization:
    """The Authorization field, taken apart."""

    __slots__ = ("access_key_id", "date", "region", "service", "signature", "signed_headers")

    def __init__(self, value: bytes) -> None:
        """Raise SignatureRejected unless `value` has exactly the parts of an AWS4-HMAC-SHA256 Authorization field."""
        algorithm, _, rest = value.decode("latin-1").partition(" ")
        if algorithm != _ALGORITHM:
            raise SignatureRejected("IncompleteSignature", 400, f"Authorization header requires {_ALGORITHM}.")
        parts: dict[str, str] = {}
        for piece in rest.split(","):
            key, _, part = piece.strip(" ").partition("=")
            if key in parts:
                raise SignatureRejected("IncompleteSignature", 400, "Authorization header has a part twice.")
            parts[key] = part
        if parts.keys() != {"Credential", "SignedHeaders", "Signature"}:
            raise SignatureRejected(
                "IncompleteSignature",
                400,
                "Authorization header requires 'Credential', 'SignedHeaders' and 'Signature', and nothing else.",
            )
        scope = parts["Credential"].split("/")
        if len(scope) != 5 or not all(scope) or scope[4] != "aws4_request":  # noqa: PLR2004 - the format's five parts
            raise SignatureRejected(
                "IncompleteSignature", 400, "Credential must be access-key-id/date/region/service/aws4_request."
            )
        self.access_key_id, self.date, self.region, self.service, _ = scope
        names = parts["SignedHeaders"]
        self.signed_headers = tuple(names.split(";"))
        if _SIGNED_HEADERS.fullmatch(names) is None or list(self.signed_headers) != sorted(set(self.signed_headers)):
            raise SignatureRejected(
                "IncompleteSignature", 400, "SignedHeaders must be lower-case names, sorted, once each, parted by ';'."
            )
        self.signature = parts["Signature"]
        if _SIGNATURE.fullmatch(self.signature) is None:
            raise SignatureRejected("IncompleteSignature", 400, "Signature must be 64 lower-case hexadecimal digits.")


class Verifier:
    """Checks that requests are signed for a service and region (None: any) by an identity that `identities` knows.

    `identities` returns the identity of an access key id, or None. `max_skew_seconds` is how far the instant of
    signing may lie from now, either way.
    """

    __slots__ = ("_identities", "_max_skew_seconds", "_region", "_service")

    def __init__(
        self,
        *,
        service: str | None,
        region: str | None,
        identities: Callable[[str], Identity | None],
        max_skew_seconds: float = _MAX_SKEW_SECONDS,
    ) -> None:
        self._service = service
        self._region = region
        self._identities = identities
        self._max_skew_seconds = max_skew_seconds

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._service or 'any service'} in {self._region or 'any region'}>"

    def verify(
        self,
        *,
        method: bytes,
        raw_target: bytes,
        fields: Sequence[tuple[bytes, bytes]],
        body_sha256: str | None,
        now: float,
    ) -> Verified:
        """Return what the request was signed with.

        `raw_target` and `fields` (name in any case, value) are as received; `body_sha256` is the SHA-256 of the body
        as received, in lower-case hexadecimal, or None where the caller compares body and X-Amz-Content-Sha256 itself.

        Raises:
            SignatureRejected: the request is not signed, or not as it arrived, or not by who it says.
        """
        if _UNPARSABLE.search(raw_target) is not None:
            raise SignatureRejected("InvalidURI", 400, "Couldn't parse the specified URI.")
        path, _, query = raw_target.partition(b"?")
        pairs = decoded_pairs(query)
        values: dict[bytes, list[bytes]] = {}
        for name, value in fields:
            values.setdefault(name.lower(), []).append(value)
        authorization = _Authorization(_one_mechanism(values, pairs))
        date_time = self._fresh_date_time(values, authorization, now)
        self._check_scope(authorization)
        identity = self._identities(authorization.access_key_id)
        if identity is None:
            raise SignatureRejected(
                "InvalidClientTokenId", 403, "The security token included in the request is invalid."
            )
        _check_token(values.get(b"x-amz-security-token", []), identity)
        _check_signed_headers(values, authorization.signed_headers)
        payload_hash = _payload_hash(values, body_sha256, rules_for(authorization.service))
        request = canonical_request(
            method=method,
            canonical_path=received_path(path, rules_for(authorization.service)),
            canonical_query=received_query(pairs),
            canonical_headers=received_headers(values, authorization.signed_headers),
            signed_headers=";".join(authorization.signed_headers).encode(),
            payload_hash=payload_hash,
        )
        _check_signature(request, date_time, authorization, identity)
        if body_sha256 is not None and payload_hash not in _PAYLOAD_LITERALS and payload_hash != body_sha256.encode():
            raise SignatureRejected(
                "XAmzContentSHA256Mismatch",
                400,
                "The provided 'x-amz-content-sha256' header does not match what was computed.",
            )
        return Verified(
            access_key_id=authorization.access_key_id,
            date=authorization.date,
            region=authorization.region,
            service=authorization.service,
            signed_headers=authorization.signed_headers,
            amz_date=date_time,
        )

    def _fresh_date_time(self, values: dict[bytes, list[bytes]], authorization: _Authorization, now: float) -> str:
        dates = values.get(b"x-amz-date", [])
        if len(dates) != 1:
            raise SignatureRejected("IncompleteSignature", 400, "Exactly one X-Amz-Date header is required.")
        date_time = dates[0].decode("latin-1")
        if _DATE_TIME.fullmatch(date_time) is None:
            raise SignatureRejected("IncompleteSignature", 400, "Date must be in ISO-8601 'basic format'.")
        if date_time[:8] != authorization.date:
            raise SignatureRejected(
                "SignatureDoesNotMatch",
                403,
                "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP.",
            )
        try:
            signed_at = datetime.strptime(date_time, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
        except ValueError:
            raise SignatureRejected("IncompleteSignature", 400, "Date must be a day of the calendar.") from None
        if not abs(now - signed_at) <= self._max_skew_seconds:
            raise SignatureRejected(
                "RequestTimeTooSkewed",
                403,
                "The difference between the request time and the current time is too large.",
            )
        return date_time

    def _check_scope(self, authorization: _Authorization) -> None:
        for word, wanted, given in (
            ("region", self._region, authorization.region),
            ("service", self._service, authorization.service),
        ):
            if wanted is not None and given != wanted:
                raise SignatureRejected(
                    "SignatureDoesNotMatch", 403, f"Credential should be scoped to a valid {word}, not {given!r}."
                )


def _one_mechanism(values: dict[bytes, list[bytes]], pairs: list[tuple[bytes, bytes]]) -> bytes:
    """Return the one Authorization value of a request that authenticates itself in no other way as well."""
    authorizations = values.get(b"authorization", [])
    if not PRESIGN_PARAMETERS.isdisjoint(name.lower() for name, _ in pairs):
        raise SignatureRejected(
            "InvalidArgument",
            400,
            "Only one auth mechanism allowed: the Authorization header, and no X-Amz-... signing parameter beside it.",
        )
    if not authorizations:
        raise SignatureRejected("MissingAuthenticationToken", 403, "Missing Authentication Token")
    if len(authorizations) > 1:
        raise SignatureRejected("IncompleteSignature", 400, "Exactly one Authorization header is allowed.")
    return authorizations[0]


def _check_token(tokens: list[bytes], identity: Identity) -> None:
    wanted = [identity.session_token.encode("utf-8", "surrogatepass")] if identity.session_token else []
    is_same = len(tokens) == len(wanted) and all(map(hmac.compare_digest, tokens, wanted))
    if not is_same:
        raise SignatureRejected("InvalidToken", 400, "The provided token is malformed or otherwise invalid.")


def _check_signed_headers(values: dict[bytes, list[bytes]], signed_headers: tuple[str, ...]) -> None:
    if len(values.get(b"host", [])) != 1:
        raise SignatureRejected("IncompleteSignature", 400, "Exactly one Host header is required.")
    signed = {name.encode() for name in signed_headers}
    unsigned = sorted(
        name.decode("latin-1")
        for name in values
        if (name == b"host" or name.startswith(b"x-amz-")) and name not in signed
    )
    if unsigned:
        raise SignatureRejected(
            "AccessDenied",
            403,
            f"There were headers present in the request which were not signed: HeadersNotSigned {', '.join(unsigned)}",
        )
    absent = sorted(name.decode() for name in signed - values.keys())
    if absent:
        raise SignatureRejected(
            "SignatureDoesNotMatch", 403, f"Headers named in SignedHeaders are not in the request: {', '.join(absent)}"
        )


def _payload_hash(values: dict[bytes, list[bytes]], body_sha256: str | None, rules: ServiceRules) -> bytes:
    """Return the canonical request's last line: X-Amz-Content-Sha256, which only S3 insists on, or the body's hash."""
    given = values.get(b"x-amz-content-sha256", [])
    if not given and body_sha256 is not None and rules.encode_path_twice:
        return body_sha256.encode()
    if len(given) != 1:
        raise SignatureRejected(
            "InvalidRequest", 400, "Missing required header for this request: x-amz-content-sha256, exactly once"
        )
    if given[0] not in _PAYLOAD_LITERALS and _SHA256.fullmatch(given[0]) is None:
        raise SignatureRejected(
            "InvalidArgument",
            400,
            "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, one of the STREAMING- values, or a valid sha256 value.",
        )
    return given[0]


def _check_signature(request: bytes, date_time: str, authorization: _Authorization, identity: Identity) -> None:
    date, region, service = (
        word.encode("latin-1") for word in (authorization.date, authorization.region, authorization.service)
    )
    to_sign = string_to_sign(
        date_time=date_time.encode(),
        scope=credential_scope(date=date, region=region, service=service),
        request=request,
    )
    key = signing_key(secret_access_key=identity.secret_access_key, date=date, region=region, service=service)
    if not hmac.compare_digest(signature(key=key, to_sign=to_sign), authorization.signature.encode()):
        raise SignatureRejected(
            "SignatureDoesNotMatch",
            403,
            "The request signature we calculated does not match the signature you provided. "
            "Check your AWS Secret Access Key and signing method.",
            canonical_request=_TOKEN_LINE.sub(b"x-amz-security-token:(not shown)", request),
            string_to_sign=to_sign,
        )
