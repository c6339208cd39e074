"""The signer beside botocore's: equal where botocore is right for a proxy; each place where it is not has its test.

docs/decisions/0004-botocore-differences.md tells the same in prose.
"""

from __future__ import annotations

import hashlib
import logging
from typing import Any

import pytest
from botocore.auth import S3SigV4Auth, SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import example, given
from hypothesis import strategies as st

from aws_signing_proxy.sigv4 import Identity, Signer, canonical_target, rules_for
from aws_signing_proxy.sigv4.signing import amz_date, canonical_fields

NOW = 1_440_938_160.0
HOST = "example.amazonaws.com"
IDENTITY = Identity("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "token")
EMPTY = hashlib.sha256(b"").hexdigest()


def auth(service: str, kind: Any = None) -> Any:
    credentials = Credentials(IDENTITY.access_key_id, IDENTITY.secret_access_key, IDENTITY.session_token)
    return (kind or (S3SigV4Auth if service == "s3" else SigV4Auth))(credentials, service, "eu-central-1")


def request(target: str, fields: list[tuple[str, str]] | None = None, method: str = "GET") -> Any:
    made = AWSRequest(method=method, url=f"https://{HOST}{target}")
    for name, value in fields or []:
        made.headers[name] = value  # appends: it is an email.message.Message
    return made


def botocore_authorization(service: str, target: str, fields: list[tuple[str, str]], method: str) -> str:
    """Run botocore's stages as its `add_auth` does, with the fields that a proxy adds already there."""
    own = [
        ("X-Amz-Date", amz_date(NOW).decode()),
        ("X-Amz-Content-SHA256", EMPTY),
        ("X-Amz-Security-Token", str(IDENTITY.session_token)),
    ]
    made = request(target, fields + own, method)
    made.context["timestamp"] = amz_date(NOW).decode()
    signer = auth(service)
    to_sign = signer.string_to_sign(made, signer.canonical_request(made))
    signer._inject_signature_to_request(made, signer.signature(to_sign, made))
    return str(made.headers["Authorization"])


_CHARACTERS = [bytes([code]) for code in range(0x21, 0x100) if code not in b"#%\x7f"]
TARGETS = st.lists(
    st.one_of(
        st.sampled_from(_CHARACTERS),
        st.integers(0, 255).map(lambda code: b"%%%02x" % code),
        st.sampled_from([b"/", b"//", b"/.", b"/..", b"?", b"&", b"=", b"+", b"%2F"]),
    ),
    max_size=24,
).map(lambda pieces: b"/" + b"".join(pieces))
VALUES = st.text(st.sampled_from(" \tabC,;=\"'/%"), max_size=10)
FIELDS = st.lists(
    st.tuples(st.sampled_from(["content-type", "content-md5", "x-amz-acl", "x-amz-meta-a", "x-amz-target"]), VALUES),
    max_size=5,
)


@given(TARGETS, FIELDS, st.sampled_from(["GET", "PUT", "DELETE"]), st.sampled_from(["s3", "es", "execute-api"]))
@example(b"/a//../b%2Fc/.", [], "GET", "es")
@example(b"/?uploads&a=&a=2&a=1&=&v", [], "GET", "s3")
@example(b"/%FF?%FF=%ff", [("x-amz-meta-a", "2"), ("x-amz-meta-a", " 1  1 ")], "PUT", "s3")
def test_for_the_form_that_is_sent_both_sign_the_same(
    raw: bytes, fields: list[tuple[str, str]], method: str, service: str
) -> None:
    signer = Signer(service=service, region="eu-central-1")
    target = signer.target(raw)
    lines = signer.sign(
        signer.plan(
            method=method.encode(),
            target=target,
            signed_fields=[(b"host", HOST.encode()), *((name.encode(), value.encode()) for name, value in fields)],
        ),
        payload_hash=EMPTY.encode(),
        identity=IDENTITY,
        now=NOW,
    )
    theirs = botocore_authorization(service, target.wire.decode(), [("host", HOST), *fields], method)
    assert lines.decode().endswith(f"Authorization: {theirs}\r\n")


# Where botocore, given what a client wrote, is wrong for a proxy.


def canonical_line(service: str, target: str, line: int) -> str:
    made = request(target)
    made.context["timestamp"] = amz_date(NOW).decode()
    return str(auth(service).canonical_request(made).split("\n")[line])


@pytest.mark.parametrize(
    ("query", "theirs", "ours"),
    [
        ("q=a*b", "q=a*b", "q=a%2Ab"),
        ("q=%7e", "q=%7e", "q=~"),
        ("q=a+b", "q=a+b", "q=a%20b"),
        ("q=a=b", "q=a=b", "q=a%3Db"),
        ("p=/a/b", "p=/a/b", "p=%2Fa%2Fb"),
        ("&a=1&", "=&=&a=1", "a=1"),
    ],
)
def test_botocore_signs_a_query_as_it_came_and_a_service_canonicalises_it(query: str, theirs: str, ours: str) -> None:
    assert canonical_line("es", f"/?{query}", 2) == theirs
    assert canonical_target(b"/?" + query.encode(), rules_for("es")).canonical_query == ours.encode()


@pytest.mark.parametrize(
    ("path", "ours"), [("/a*b", "/a%2Ab"), ("/a+b", "/a%2Bb"), ("/%7ea", "/~a"), ("/a%2Fb", "/a/b"), ("/a=b", "/a%3Db")]
)
def test_botocore_signs_an_s3_path_as_it_came_and_s3_decodes_and_encodes_it(path: str, ours: str) -> None:
    assert canonical_line("s3", path, 1) == path
    target = canonical_target(path.encode(), rules_for("s3"))
    assert (target.wire, target.canonical_path) == (ours.encode(), ours.encode())


def test_botocore_signs_a_raw_reserved_byte_of_a_path_encoded_once_so_only_one_kind_of_server_agrees() -> None:
    assert canonical_line("es", "/test-*/_search", 1) == "/test-%2A/_search"
    target = canonical_target(b"/test-*/_search", rules_for("es"))
    assert (target.wire, target.canonical_path) == (b"/test-%2A/_search", b"/test-%252A/_search")
    assert canonical_line("es", target.wire.decode(), 1).encode() == target.canonical_path


def test_botocore_reads_raw_bytes_of_a_path_as_characters_and_encodes_others() -> None:
    assert canonical_line("es", b"/\xff".decode("latin-1"), 1) == "/%C3%BF"
    assert canonical_target(b"/\xff", rules_for("es")).wire == b"/%FF"


def test_botocore_signs_raw_bytes_of_a_field_as_utf_8_of_their_latin_1_reading() -> None:
    made = request("/", [("x-amz-meta-a", b"\xff".decode("latin-1"))])
    made.context["timestamp"] = amz_date(NOW).decode()
    assert b"x-amz-meta-a:\xc3\xbf\n" in auth("es").canonical_request(made).encode()
    assert canonical_fields([(b"x-amz-meta-a", b"\xff")])[0] == b"x-amz-meta-a:\xff\n"


def test_botocore_collapses_white_space_that_http_does_not_know() -> None:
    value = b"a\xa0\xa0b"
    assert auth("es")._header_value(value.decode("latin-1")) == "a b"
    assert canonical_fields([(b"a", value)])[0] == b"a:a\xa0\xa0b\n"


def test_botocore_signs_and_sends_date_instead_of_x_amz_date_where_a_client_sent_one() -> None:
    made = request("/", [("Date", "Sun, 30 Aug 2015 12:36:00 GMT")])
    auth("es").add_auth(made)
    assert "X-Amz-Date" not in made.headers
    assert "SignedHeaders=date;host;" in made.headers["Authorization"]


def test_botocore_signs_fields_that_a_hop_may_change() -> None:
    names = {"accept-encoding", "content-length", "forwarded", "via", "x-forwarded-for", "x-real-ip"}
    made = request("/", [(name, "a") for name in sorted(names)])
    auth("es").add_auth(made)
    signed = made.headers["Authorization"].partition("SignedHeaders=")[2].partition(",")[0].split(";")
    assert names <= set(signed)


def test_botocore_sends_no_content_sha256_but_to_s3() -> None:
    for service, is_sent in (("es", False), ("s3", True)):
        made = request("/")
        auth(service).add_auth(made)
        assert ("X-Amz-Content-SHA256" in made.headers) is is_sent


def test_botocore_believes_a_clients_content_sha256() -> None:
    made = request("/", [("X-Amz-Content-SHA256", "anything")])
    made.context["timestamp"] = amz_date(NOW).decode()
    assert auth("es").canonical_request(made).endswith("\nanything")


def test_botocore_keeps_a_clients_token_where_its_own_credentials_have_none() -> None:
    made = request("/", [("X-Amz-Security-Token", "the client's")])
    SigV4Auth(Credentials("AKID", "secret"), "es", "eu-central-1").add_auth(made)
    assert made.headers["X-Amz-Security-Token"] == "the client's"


def test_botocore_keeps_a_clients_presign_parameters_beside_its_own_authorization() -> None:
    made = request("/?X-Amz-Signature=0&a=1")
    auth("es").add_auth(made)
    assert made.url.endswith("/?X-Amz-Signature=0&a=1")
    assert canonical_target(b"/?X-Amz-Signature=0&a=1", rules_for("es")).wire == b"/?a=1"


def test_botocores_query_signer_folds_repeated_names_and_reorders() -> None:
    made = request("/?b=1&a=1&a=2&v")
    auth("es", SigV4QueryAuth).add_auth(made)
    query = made.url.partition("?")[2].partition("&X-Amz-")[0].split("&")
    assert "a=2" not in query
    assert canonical_target(b"/?b=1&a=1&a=2&v", rules_for("es")).wire == b"/?b=1&a=1&a=2&v"


def test_botocore_signs_a_method_in_capitals_that_was_sent_otherwise() -> None:
    made = request("/", method="get")
    made.context["timestamp"] = amz_date(NOW).decode()
    assert auth("es").canonical_request(made).startswith("GET\n")


def test_botocore_writes_the_session_token_to_its_debug_log(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, logger="botocore.auth"):
        auth("es").add_auth(request("/"))
    assert f"x-amz-security-token:{IDENTITY.session_token}" in caplog.text
