"""From the client's head to the signed one: what is cut, what stays as it came, what is added, what is refused."""

from __future__ import annotations

import hashlib
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aws_signing_proxy.errors import ProxyError
from aws_signing_proxy.http1.request import parse_request_head
from aws_signing_proxy.proxy.rewrite import REQUEST_FIELDS, HeadRewriter
from aws_signing_proxy.sigv4 import Identity, Signer

EMPTY = hashlib.sha256(b"").hexdigest().encode()
SIGNED = [b"Authorization", b"X-Amz-Date", b"X-Amz-Content-Sha256", b"X-Amz-Security-Token"]


def _rewritten(
    *fields: bytes,
    line: bytes = b"GET /path HTTP/1.1",
    body: bytes = b"",
    service: str = "es",
    path_prefix: bytes = b"",
    token: str | None = "the-token",
) -> list[bytes]:
    """Return the lines of the head that is sent upstream."""
    rewriter = HeadRewriter(
        signer=Signer(service=service, region="eu-central-1"),
        host=b"service.test:8443",
        path_prefix=path_prefix,
        via_name=b"this-proxy",
    )
    head = b"\r\n".join([line, b"Host: client.test", *fields]) + b"\r\n\r\n"
    request = parse_request_head(head, REQUEST_FIELDS)
    prepared = rewriter.prepare(request)
    written = rewriter.finish(
        prepared,
        body_length=len(body) if body or request.has_content_length else None,
        body_sha256=hashlib.sha256(body).hexdigest().encode() if body else None,
        identity=Identity("AKIDEXAMPLE", "the-secret", token),
        now=1_700_000_000.0,
    )
    assert written.endswith(b"\r\n\r\n")
    return written[:-4].split(b"\r\n")


def _values(lines: list[bytes], name: bytes) -> list[bytes]:
    pairs = (line.split(b":", 1) for line in lines[1:])
    return [value.strip() for each, value in pairs if each.lower() == name.lower()]


def _signed_names(lines: list[bytes]) -> list[bytes]:
    (authorization,) = _values(lines, b"authorization")
    return authorization.partition(b"SignedHeaders=")[2].partition(b",")[0].split(b";")


def _own(lines: list[bytes]) -> list[bytes]:
    """The lines that come from the client."""
    added = {b"host", b"via", b"content-length", *(name.lower() for name in SIGNED)}
    return [line for line in lines[1:] if line.partition(b":")[0].lower() not in added]


def _refused(*fields: bytes, line: bytes = b"GET /path HTTP/1.1", body: bytes = b"") -> tuple[int, str]:
    with pytest.raises(ProxyError) as caught:
        _rewritten(*fields, line=line, body=body)
    return caught.value.status, str(caught.value.code)


def test_the_whole_head_as_it_is_sent() -> None:
    lines = _rewritten(b"Accept: */*", line=b"POST /index/_search?q=1 HTTP/1.0", body=b"{}")
    assert lines[:5] == [
        b"POST /index/_search?q=1 HTTP/1.1",
        b"Host: service.test:8443",
        b"Accept: */*",
        b"Via: 1.1 this-proxy",
        b"Content-Length: 2",
    ]
    assert sorted(line.partition(b":")[0].lower() for line in lines[5:]) == sorted(name.lower() for name in SIGNED)


def test_end_to_end_fields_stay_as_they_came() -> None:
    fields = [b"user-agent:  curl ", b"X-Multi: 1", b"Cookie: a=b; c=d", b"X-Multi:2", b"content-TYPE: a/b", b"Empty:"]
    assert _own(_rewritten(*fields)) == fields


@pytest.mark.parametrize(
    "field",
    [
        b"Connection: close",
        b"Keep-Alive: timeout=5",
        b"Proxy-Authenticate: Basic",
        b"Proxy-Authorization: Basic xyz",
        b"PROXY-connection: keep-alive",
        b"TE: trailers",
        b"Upgrade: websocket",
        b"Trailer: X-Checksum",
        b"Transfer-Encoding: chunked",
        b"Expect: 100-continue",
        b"Date: Tue, 15 Nov 1994 08:12:31 GMT",
        b"X-Amz-S3session-Token: theirs",
        b"X-Amz-Region-Set: *",
    ],
)
def test_fields_of_this_hop_and_of_a_former_signature_are_cut(field: bytes) -> None:
    assert _own(_rewritten(b"A: 1", field, b"B: 2", line=b"POST /path HTTP/1.1")) == [b"A: 1", b"B: 2"]


def test_fields_that_connection_nominates_are_cut_and_not_signed() -> None:
    lines = _rewritten(b"Connection: X-Mine , x-amz-meta-a,, close", b"X-MINE: 1", b"X-Amz-Meta-A: 2", b"Y: 3")
    assert _own(lines) == [b"Y: 3"]
    assert b"x-amz-meta-a" not in _signed_names(lines)


def test_connection_cannot_take_away_what_the_proxy_writes() -> None:
    lines = _rewritten(
        b"Connection: Host, Via, Content-Length, Authorization, X-Amz-Date, X-Amz-Content-Sha256", body=b"x"
    )
    for name in (b"Host", b"Via", b"Content-Length", b"Authorization", b"X-Amz-Date", b"X-Amz-Content-Sha256"):
        assert len(_values(lines, name)) == 1


def test_a_former_signature_is_replaced_and_never_doubled() -> None:
    lines = _rewritten(
        b"Authorization: AWS4-HMAC-SHA256 Credential=theirs",
        b"authorization: Basic abc",
        b"X-Amz-Date: 20200101T000000Z",
        b"x-amz-security-token: theirs",
        b"X-Amz-Content-Sha256: " + EMPTY,
    )
    for name in SIGNED:
        assert len(_values(lines, name)) == 1
    assert b"theirs" not in b"\r\n".join(lines)
    assert _values(lines, b"x-amz-date") == [b"20231114T221320Z"]


def test_a_clients_token_goes_though_the_proxys_identity_has_none() -> None:
    assert _values(_rewritten(b"X-Amz-Security-Token: theirs", token=None), b"x-amz-security-token") == []


def test_a_presigned_query_is_taken_out() -> None:
    presign = (
        b"X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=theirs%2Fs3&X-Amz-Date=20200101T000000Z"
        b"&X-Amz-Expires=60&X-Amz-SignedHeaders=host&X-Amz-Signature=abc&X-Amz-Security-Token=t"
    )
    lines = _rewritten(line=b"GET /key?a=1&" + presign + b"&b=2 HTTP/1.1", service="s3")
    assert lines[0] == b"GET /key?a=1&b=2 HTTP/1.1"


def test_what_is_signed() -> None:
    lines = _rewritten(
        b"Content-Type: a/b", b"Content-MD5: x", b"X-Amz-Meta-A: 1", b"X-Amzn-Trace-Id: t", b"User-Agent: u", body=b"x"
    )
    assert _signed_names(lines) == [
        b"content-md5",
        b"content-type",
        b"host",
        b"x-amz-content-sha256",
        b"x-amz-date",
        b"x-amz-meta-a",
        b"x-amz-security-token",
    ]


def test_via_is_added_behind_those_of_others_and_not_signed() -> None:
    lines = _rewritten(b"Via: 1.0 other")
    assert _values(lines, b"via") == [b"1.0 other", b"1.1 this-proxy"]
    assert b"via" not in _signed_names(lines)


def test_a_request_that_has_been_here_before_is_refused() -> None:
    assert _refused(b"Via: 1.1 this-proxy") == (508, "loop_detected")
    assert _refused(b"via: 1.0 other", b"VIA: 1.1 a, 1.1 this-proxy") == (508, "loop_detected")


def test_the_name_of_this_proxy_elsewhere_is_no_loop() -> None:
    assert _own(_rewritten(b"X-Note: this-proxy")) == [b"X-Note: this-proxy"]


@pytest.mark.parametrize(
    ("target", "sent"), [(b"/a/b?c=d", b"/prefix/a/b?c=d"), (b"/", b"/prefix/"), (b"http://any.test", b"/prefix/")]
)
def test_a_path_of_the_target_url_is_put_before_every_path(target: bytes, sent: bytes) -> None:
    assert _rewritten(line=b"GET " + target + b" HTTP/1.1", path_prefix=b"/prefix")[0] == b"GET " + sent + b" HTTP/1.1"


@pytest.mark.parametrize(
    ("method", "field", "values"),
    [
        (b"GET", None, []),
        (b"DELETE", None, []),
        (b"POST", None, [b"0"]),
        (b"PUT", None, [b"0"]),
        (b"PATCH", None, [b"0"]),
        (b"GET", b"Content-Length: 0", [b"0"]),
    ],
)
def test_an_empty_body_has_a_length_where_the_method_expects_a_body_or_the_client_said_so(
    method: bytes, field: bytes | None, values: list[bytes]
) -> None:
    lines = _rewritten(*([field] if field else []), line=method + b" / HTTP/1.1")
    assert _values(lines, b"content-length") == values


def test_any_body_has_exactly_one_length() -> None:
    lines = _rewritten(b"Content-Length: 3", line=b"GET / HTTP/1.1", body=b"abc")
    assert _values(lines, b"content-length") == [b"3"]
    assert b"content-length" not in _signed_names(lines)


def _declared(value: bytes, body: bytes) -> list[bytes]:
    return _values(
        _rewritten(b"X-Amz-Content-Sha256: " + value, line=b"PUT /key HTTP/1.1", body=body), b"x-amz-content-sha256"
    )


@pytest.mark.parametrize("body", [b"", b"body"])
def test_without_a_declared_hash_the_bodys_own_is_sent(body: bytes) -> None:
    lines = _rewritten(body=body)
    assert _values(lines, b"x-amz-content-sha256") == [hashlib.sha256(body).hexdigest().encode()]


@pytest.mark.parametrize("spelling", [bytes.lower, bytes.upper])
@pytest.mark.parametrize("body", [b"", b"body"])
def test_a_declared_hash_that_is_right_is_sent_in_lower_case(spelling: type[bytes], body: bytes) -> None:
    actual = hashlib.sha256(body).hexdigest().encode()
    assert _declared(spelling(actual), body) == [actual]


def test_a_declared_hash_that_is_wrong_is_refused() -> None:
    """The body was changed on its way; the proxy must not vouch for it."""
    field = b"X-Amz-Content-Sha256: " + EMPTY
    assert _refused(field, line=b"PUT /key HTTP/1.1", body=b"body") == (400, "content_sha256_mismatch")


def test_unsigned_payload_becomes_the_bodys_hash() -> None:
    assert _declared(b"UNSIGNED-PAYLOAD", b"body") == [hashlib.sha256(b"body").hexdigest().encode()]


def test_unsigned_chunks_with_a_trailer_keep_their_mode_and_their_fields() -> None:
    mode = b"STREAMING-UNSIGNED-PAYLOAD-TRAILER"
    fields = [b"Content-Encoding: aws-chunked", b"X-Amz-Decoded-Content-Length: 4", b"X-Amz-Trailer: x-amz-checksum"]
    lines = _rewritten(
        b"X-Amz-Content-Sha256: " + mode, *fields, line=b"PUT /key HTTP/1.1", body=b"4\r\nbody\r\n0\r\n\r\n"
    )
    assert _values(lines, b"x-amz-content-sha256") == [mode]
    assert _own(lines) == fields
    assert {b"x-amz-decoded-content-length", b"x-amz-trailer"} < set(_signed_names(lines))


def test_two_declared_hashes_that_differ_are_refused_and_two_that_agree_are_one() -> None:
    field = b"X-Amz-Content-Sha256: "
    assert _refused(field + EMPTY, field + b"UNSIGNED-PAYLOAD") == (400, "malformed_request")
    assert _values(_rewritten(field + EMPTY, field + EMPTY), b"x-amz-content-sha256") == [EMPTY]


def test_credentials_that_cannot_stand_in_a_field_are_refused() -> None:
    with pytest.raises(ProxyError) as caught:
        _rewritten(token="a\r\nInjected: 1")
    assert str(caught.value.code) == "credentials_unavailable"
    assert "Injected" not in caught.value.detail


_NAMES = st.sampled_from(
    [
        b"A",
        b"Host-X",
        b"Connection",
        b"TE",
        b"Via",
        b"X-Amz-Meta-B",
        b"Date",
        b"Authorization",
        b"Cookie",
        b"X-Amz-Date",
    ]
)
_VALUES = st.from_regex(rb"[!-9;-~]([ -~]{0,20}[!-~])?", fullmatch=True)


@given(fields=st.lists(st.tuples(_NAMES, _VALUES), max_size=12))
def test_whatever_comes_every_field_of_the_proxy_stands_once_and_the_others_keep_their_order(
    fields: list[tuple[bytes, bytes]],
) -> None:
    sent = [name + b": " + value for name, value in fields]
    lines = _rewritten(*sent)
    for name in (b"Host", *SIGNED):
        assert len(_values(lines, name)) == 1
    assert _values(lines, b"via")[-1] == b"1.1 this-proxy"
    kept = [sent.index(line) for line in _own(lines)]
    assert all(
        before <= after or sent.count(sent[before]) > 1 or sent.count(sent[after]) > 1
        for before, after in pairwise(kept)
    )
    assert all(line in sent for line in _own(lines))
