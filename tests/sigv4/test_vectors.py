"""AWS's own signing vectors (aws-c-auth, `aws-signing-test-suite`), read from beside the project, stage by stage.

Where the suite's rules are not a proxy's, the stage functions are given the suite's: paths encoded once, normalised
or not (`normalize`), `x-amz-content-sha256` only with `sign_body`, the session token outside with `omit_session_token`.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from aws_signing_proxy.sigv4 import Identity, ServiceRules, canonical_target
from aws_signing_proxy.sigv4.signing import (
    ALGORITHM,
    amz_date,
    canonical_fields,
    canonical_request,
    credential_scope,
    signature,
    signing_key,
    string_to_sign,
)
from aws_signing_proxy.sigv4.verification import SignatureRejected, Verifier

SUITE = Path(__file__).resolve().parents[2].parent / "shared" / "vectors" / "aws-signing-test-suite" / "v4"
CASES = sorted(path for path in SUITE.iterdir() if path.is_dir()) if SUITE.is_dir() else []
EACH_CASE = pytest.mark.parametrize("case", [pytest.param(path, id=path.name) for path in CASES])


class Request:
    """A request of the suite, and its context."""

    def __init__(self, case: Path, form: str = "request") -> None:
        self.case = case
        self.context: dict[str, Any] = json.loads((case / "context.json").read_bytes())
        self.text = (case / f"{form}.txt").read_bytes()
        head, _, self.body = self.text.partition(b"\n\n")
        # The suite has a field that is folded over lines, which the HTTP layer refuses (RFC 9112 section 5.2).
        request_line, *lines = re.sub(rb"\n[ \t]+", b" ", head.rstrip(b"\n")).split(b"\n")
        self.method, _, rest = request_line.partition(b" ")
        # It also has a space in a target, which cannot stand in a request line that is read by HTTP's rules.
        self.target = rest.removesuffix(b" HTTP/1.1").replace(b" ", b"%20")
        self.fields = [(name.lower(), value) for name, _, value in (line.partition(b":") for line in lines)]
        credentials = self.context["credentials"]
        self.identity = Identity(
            credentials["access_key_id"], credentials["secret_access_key"], credentials.get("token")
        )
        self.now = datetime.fromisoformat(self.context["timestamp"]).astimezone(UTC).timestamp()
        self.payload_hash = hashlib.sha256(self.body).hexdigest().encode()
        self.scope = credential_scope(
            date=amz_date(self.now)[:8],
            region=self.context["region"].encode(),
            service=self.context["service"].encode(),
        )

    def expected(self, stage: str) -> bytes:
        return (self.case / f"header-{stage}.txt").read_bytes()

    def own_fields(self) -> list[tuple[bytes, bytes]]:
        """Return the fields that signing adds, in the suite's order and spelling."""
        fields = [(b"X-Amz-Date", amz_date(self.now))]
        if self.identity.session_token:
            fields.insert(0, (b"X-Amz-Security-Token", self.identity.session_token.encode()))
        if self.context["sign_body"]:
            fields.append((b"x-amz-content-sha256", self.payload_hash))
        return fields

    def canonical_fields(self) -> tuple[bytes, bytes]:
        omitted = {b"x-amz-security-token"} if self.context.get("omit_session_token") else set()
        own = [(name.lower(), value) for name, value in self.own_fields()]
        return canonical_fields([*self.fields, *(pair for pair in own if pair[0] not in omitted)])

    def canonical_request(self) -> bytes:
        rules = ServiceRules(encode_path_twice=False, normalize_path=self.context["normalize"])
        target = canonical_target(self.target, rules)
        canonical_headers, signed_headers = self.canonical_fields()
        return canonical_request(
            method=self.method,
            canonical_path=target.canonical_path,
            canonical_query=target.canonical_query,
            canonical_headers=canonical_headers,
            signed_headers=signed_headers,
            payload_hash=self.payload_hash,
        )

    def string_to_sign(self, request: bytes) -> bytes:
        return string_to_sign(date_time=amz_date(self.now), scope=self.scope, request=request)

    def signature(self, to_sign: bytes) -> bytes:
        key = signing_key(
            secret_access_key=self.identity.secret_access_key,
            date=amz_date(self.now)[:8],
            region=self.context["region"].encode(),
            service=self.context["service"].encode(),
        )
        return signature(key=key, to_sign=to_sign)

    def signed_request(self, signed: bytes) -> bytes:
        credential = self.identity.access_key_id.encode() + b"/" + self.scope
        authorization = (
            ALGORITHM
            + b" Credential="
            + credential
            + b", SignedHeaders="
            + self.canonical_fields()[1]
            + b", Signature="
            + signed
        )
        added = [*self.own_fields(), (b"Authorization", authorization)]
        head = self.text.partition(b"\n\n")[0].rstrip(b"\n")
        return head + b"".join(b"\n" + name + b":" + value for name, value in added) + b"\n\n" + self.body


def test_the_official_vectors_are_here_and_all_of_them() -> None:
    if not SUITE.is_dir():
        reason = f"the official vectors are not beside the project ({SUITE.parent.name}/{SUITE.name})"
        if os.environ.get("CI"):
            pytest.fail(f"in CI {reason}, and must be")
        pytest.skip(reason)
    assert len(CASES) == 38


@EACH_CASE
def test_the_canonical_request_is_the_suites(case: Path) -> None:
    request = Request(case)
    assert request.canonical_request() == request.expected("canonical-request")


@EACH_CASE
def test_the_string_to_sign_is_the_suites(case: Path) -> None:
    request = Request(case)
    assert request.string_to_sign(request.expected("canonical-request")) == request.expected("string-to-sign")


@EACH_CASE
def test_the_signature_is_the_suites(case: Path) -> None:
    request = Request(case)
    assert request.signature(request.expected("string-to-sign")) == request.expected("signature")


@EACH_CASE
def test_the_signed_request_is_the_suites(case: Path) -> None:
    request = Request(case)
    signed = request.signature(request.string_to_sign(request.canonical_request()))
    assert request.signed_request(signed).rstrip(b"\n") == request.expected("signed-request").rstrip(b"\n")


def _verify(case: Path, form: str) -> bytes | str:
    """Return the signature's date where the verifier accepts the suite's request, else the code of its refusal."""
    request = Request(case, form)
    verifier = Verifier(service="service", region="us-east-1", identities={"AKIDEXAMPLE": request.identity}.get)
    try:
        verified = verifier.verify(
            method=request.method,
            raw_target=request.target,
            fields=[(name, value.strip(b" ")) for name, value in request.fields],
            body_sha256=request.payload_hash.decode(),
            now=request.now,
        )
    except SignatureRejected as rejected:
        return rejected.code
    return verified.amz_date.encode()


@EACH_CASE
def test_the_verifier_judges_the_suites_signed_requests(case: Path) -> None:
    canonical_path = Request(case).expected("canonical-request").split(b"\n")[1]
    if Request(case).context.get("omit_session_token"):
        assert _verify(case, "header-signed-request") == "AccessDenied", "a token outside the signature is refused"
    elif b"%" in Request(case).target.partition(b"?")[0] or b"//" in canonical_path or b"/." in canonical_path:
        # signed with the suite's single encoding, or not normalised: right for S3 only, and the service is not S3
        assert _verify(case, "header-signed-request") == "SignatureDoesNotMatch"
    else:
        assert _verify(case, "header-signed-request") == b"20150830T123600Z"


@EACH_CASE
def test_the_verifier_refuses_the_suites_unsigned_and_query_signed_requests(case: Path) -> None:
    assert _verify(case, "request") == "MissingAuthenticationToken"
    assert _verify(case, "query-signed-request") == "InvalidArgument"
