from __future__ import annotations

import copy
import pickle
import re
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aws_signing_proxy.sigv4 import (
    REPLACED_FIELDS,
    SIGNED_FIELDS,
    SIGNED_PREFIX,
    Identity,
    IdentityError,
    Signer,
    canonical_target,
    rules_for,
)
from aws_signing_proxy.sigv4.signing import (
    amz_date,
    canonical_fields,
    canonical_request,
    canonical_value,
    credential_scope,
    signature,
    signing_key,
    string_to_sign,
)

NOW = 1_440_938_160.0  # 2015-08-30T12:36:00Z
EMPTY = b"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
IDENTITY = Identity("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
SESSION = Identity("ASIAEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "IQoJb3JpZ2luX2VjE//////////wEXAMPLE==")
HOST = (b"host", b"example.amazonaws.com")

NAMES = st.sampled_from(
    [b"content-type", b"content-md5", b"x-amz-acl", b"x-amz-copy-source", b"x-amz-target", b"x-amz-meta-a", b"x-amz-z"]
)
VALUES = st.lists(
    st.sampled_from([b" ", b"  ", b"\t", b"a", b"B", b",", b'"', b"\xff", b"text/plain"]), max_size=8
).map(b"".join)
FIELDS = st.lists(st.tuples(NAMES, VALUES), max_size=6).flatmap(lambda fields: st.permutations([HOST, *fields]))
IDENTITIES = st.sampled_from([IDENTITY, SESSION, Identity("AKIDOTHER", "other")])
INSTANTS = st.one_of(st.floats(-1e6, 4e9), st.sampled_from([-0.5, NOW, NOW + 0.999, 1_440_979_199.5, 1_440_979_200.0]))


def sign(
    signer: Signer,
    *,
    raw: bytes = b"/",
    fields: Iterable[tuple[bytes, bytes]] = (HOST,),
    identity: Identity = IDENTITY,
    now: float = NOW,
    payload_hash: bytes = EMPTY,
) -> bytes:
    return signer.sign(
        signer.plan(method=b"GET", target=signer.target(raw), signed_fields=fields),
        payload_hash=payload_hash,
        identity=identity,
        now=now,
    )


def by_stages(
    *,
    service: str = "es",
    raw: bytes = b"/",
    fields: Iterable[tuple[bytes, bytes]] = (HOST,),
    identity: Identity = IDENTITY,
    now: float = NOW,
    payload_hash: bytes = EMPTY,
) -> bytes:
    """Sign with the stage functions alone: what `Signer.sign` must be equal to."""
    date_time = amz_date(now)
    own = [(b"x-amz-date", date_time), (b"x-amz-content-sha256", payload_hash)]
    token = b""
    if identity.session_token:
        own.append((b"x-amz-security-token", identity.session_token.encode()))
        token = b"X-Amz-Security-Token: " + identity.session_token.encode() + b"\r\n"
    canonical_headers, signed_headers = canonical_fields([*fields, *own])
    target = canonical_target(raw, rules_for(service))
    request = canonical_request(
        method=b"GET",
        canonical_path=target.canonical_path,
        canonical_query=target.canonical_query,
        canonical_headers=canonical_headers,
        signed_headers=signed_headers,
        payload_hash=payload_hash,
    )
    place = {"date": date_time[:8], "region": b"eu-central-1", "service": service.encode()}
    scope = credential_scope(**place)
    key = signing_key(secret_access_key=identity.secret_access_key, **place)
    signed = signature(key=key, to_sign=string_to_sign(date_time=date_time, scope=scope, request=request))
    return (
        b"X-Amz-Date: " + date_time + b"\r\nX-Amz-Content-Sha256: " + payload_hash + b"\r\n" + token
        + b"Authorization: AWS4-HMAC-SHA256 Credential=" + identity.access_key_id.encode() + b"/" + scope
        + b", SignedHeaders=" + signed_headers + b", Signature=" + signed + b"\r\n"
    )  # fmt: skip


@pytest.fixture(name="signer")
def _signer() -> Signer:
    return Signer(service="es", region="eu-central-1")


def test_a_get_to_s3_with_session_credentials_is_signed_with_exactly_the_contracts_signed_headers() -> None:
    lines = sign(Signer(service="s3", region="eu-central-1"), raw=b"/bucket/key", identity=SESSION)
    assert b", SignedHeaders=host;x-amz-content-sha256;x-amz-date;x-amz-security-token, Signature=" in lines


def test_the_result_is_the_field_lines_to_append(signer: Signer) -> None:
    names = [line.partition(b": ")[0] for line in sign(signer, identity=SESSION).split(b"\r\n")]
    assert names == [b"X-Amz-Date", b"X-Amz-Content-Sha256", b"X-Amz-Security-Token", b"Authorization", b""]
    assert re.fullmatch(
        rb"X-Amz-Date: 20150830T123600Z\r\nX-Amz-Content-Sha256: " + EMPTY + rb"\r\nAuthorization: AWS4-HMAC-SHA256 "
        rb"Credential=AKIDEXAMPLE/20150830/eu-central-1/es/aws4_request, "
        rb"SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=[0-9a-f]{64}\r\n",
        sign(signer),
    )


@given(
    service=st.sampled_from(["es", "s3"]),
    raw=st.sampled_from([b"/", b"/a//../b%2Fc*?b=2&a=+&v", b"/%FF"]),
    fields=FIELDS,
    identity=IDENTITIES,
    now=INSTANTS,
    payload_hash=st.sampled_from([EMPTY, b"UNSIGNED-PAYLOAD"]),
)
def test_the_fast_form_is_equal_to_the_stage_functions(
    *, service: str, raw: bytes, fields: list[tuple[bytes, bytes]], identity: Identity, now: float, payload_hash: bytes
) -> None:
    fast = sign(
        Signer(service=service, region="eu-central-1"),
        raw=raw,
        fields=fields,
        identity=identity,
        now=now,
        payload_hash=payload_hash,
    )
    assert fast == by_stages(
        service=service, raw=raw, fields=fields, identity=identity, now=now, payload_hash=payload_hash
    )


@given(st.lists(st.tuples(IDENTITIES, INSTANTS), min_size=1, max_size=12))
def test_whatever_was_signed_before_never_changes_a_signature(order: list[tuple[Identity, float]]) -> None:
    signer = Signer(service="es", region="eu-central-1")
    for identity, now in order:
        assert sign(signer, identity=identity, now=now) == by_stages(identity=identity, now=now)


def test_a_rotated_key_signs_at_once_in_the_same_second(signer: Signer) -> None:
    rotated = Identity(IDENTITY.access_key_id, "a new secret")
    assert sign(signer) == by_stages()
    assert sign(signer, identity=rotated) == by_stages(identity=rotated)
    assert sign(signer) == by_stages()


def test_an_identity_that_is_changed_in_place_is_another_identity(signer: Signer) -> None:
    identity = Identity("AKIDEXAMPLE", "first", "token1")
    sign(signer, identity=identity)
    for part in ("access_key_id", "secret_access_key", "session_token"):
        setattr(identity, part, "changed")
        assert sign(signer, identity=identity) == by_stages(identity=identity)


def test_an_equal_identity_signs_the_same(signer: Signer) -> None:
    assert sign(signer, identity=Identity("AKIDEXAMPLE", "s")) == sign(signer, identity=Identity("AKIDEXAMPLE", "s"))


def test_the_key_changes_at_midnight_utc(signer: Signer) -> None:
    midnight = 1_440_979_200.0  # 2015-08-31T00:00:00Z
    for now in (midnight - 0.001, midnight):
        assert sign(signer, now=now) == by_stages(now=now)
    assert b"/20150830/" in sign(signer, now=midnight - 0.001)
    assert b"/20150831/" in sign(signer, now=midnight)


def test_a_clock_that_goes_backwards_is_followed(signer: Signer) -> None:
    for now in (NOW, NOW - 1, NOW - 86_400, NOW):
        assert sign(signer, now=now) == by_stages(now=now)


def test_an_empty_session_token_is_no_session_token(signer: Signer) -> None:
    assert sign(signer, identity=Identity("AKIDEXAMPLE", "s", "")) == sign(
        signer, identity=Identity("AKIDEXAMPLE", "s")
    )


@given(st.permutations([HOST, (b"content-type", b"a"), (b"x-amz-target", b"b"), (b"x-amz-acl", b"c")]))
def test_the_order_of_fields_with_different_names_does_not_matter(fields: list[tuple[bytes, bytes]]) -> None:
    signer = Signer(service="es", region="eu-central-1")
    assert sign(signer, fields=fields) == sign(signer, fields=sorted(fields))


def test_repeated_fields_are_joined_in_order_of_arrival(signer: Signer) -> None:
    joined = sign(signer, fields=[HOST, (b"x-amz-meta-a", b"2,1")])
    assert sign(signer, fields=[(b"x-amz-meta-a", b"2"), HOST, (b"x-amz-meta-a", b" 1")]) == joined
    assert sign(signer, fields=[(b"x-amz-meta-a", b"1"), HOST, (b"x-amz-meta-a", b"2")]) != joined
    assert sign(signer, fields=[HOST, (b"content-type", b"a"), (b"content-type", b"b")]) == sign(
        signer, fields=[HOST, (b"content-type", b"a,b")]
    )


@pytest.mark.parametrize(
    ("value", "canonical"),
    [
        (b"a", b"a"),
        (b"", b""),
        (b" \t ", b""),
        (b"  a  b\t\tc \t d  ", b"a b c d"),
        (b'"a   b"', b'"a b"'),
        (b"a,  b", b"a, b"),
        (b"\xa0a\xff", b"\xa0a\xff"),
    ],
)
def test_white_space_around_a_value_goes_and_inside_it_becomes_one_space(value: bytes, canonical: bytes) -> None:
    assert canonical_value(value) == canonical


def test_fields_are_sorted_by_name_with_the_values_of_one_name_together() -> None:
    headers, names = canonical_fields([(b"b", b"2"), (b"a-b", b"x"), (b"b", b" 1 "), (b"a", b"y")])
    assert headers == b"a:y\na-b:x\nb:2,1\n"
    assert names == b"a;a-b;b"


@pytest.mark.parametrize(
    ("now", "text"),
    [
        (0, b"19700101T000000Z"),
        (0.999, b"19700101T000000Z"),
        (-0.5, b"19691231T235959Z"),
        (NOW, b"20150830T123600Z"),
        (1_709_251_199, b"20240229T235959Z"),
    ],
)
def test_an_instant_is_written_in_utc_without_fractions(now: float, text: bytes) -> None:
    assert amz_date(now) == text


def test_host_must_be_signed(signer: Signer) -> None:
    for fields in ([], [(b"content-type", b"a")], [(b"x-amz-target", b"a")], [(b"x-amz-host", b"a")]):
        with pytest.raises(ValueError, match="`host` must be among the signed fields"):
            sign(signer, fields=fields)


@pytest.mark.parametrize("name", sorted(REPLACED_FIELDS - {b"authorization", b"date"}))
def test_a_field_that_the_signer_writes_itself_is_not_taken_from_the_caller(signer: Signer, name: bytes) -> None:
    with pytest.raises(ValueError, match="must be taken out before signing"):
        sign(signer, fields=[HOST, (name, b"a")])


def test_the_fields_to_sign_and_to_replace_are_lower_case_and_exclude_what_hops_change() -> None:
    assert {name.lower() for name in SIGNED_FIELDS | REPLACED_FIELDS} == SIGNED_FIELDS | REPLACED_FIELDS
    assert not b"x-amzn-trace-id".startswith(SIGNED_PREFIX)
    assert SIGNED_FIELDS.isdisjoint(REPLACED_FIELDS)


@pytest.mark.parametrize(
    ("identity", "reason"),
    [
        (Identity("", "secretword"), "no access key id, or no secret access key"),
        (Identity("AKID", ""), "no access key id, or no secret access key"),
        (Identity("AK/ID", "secretword"), "access key id holds a character"),
        (Identity("AK,ID", "secretword"), "access key id holds a character"),
        (Identity("AKID\r\nX: y", "secretword"), "access key id holds a character"),
        (Identity("AKID", "secretword", "tokenword\r\nX: y"), "session token holds a character"),
        (Identity("AKID", "secretword", "tokenword\n"), "session token holds a character"),
        (Identity("AKID", "secretword", "tokenwörd"), "session token holds a character"),
    ],
)
def test_an_identity_that_cannot_stand_in_a_field_signs_nothing(
    signer: Signer, identity: Identity, reason: str
) -> None:
    with pytest.raises(IdentityError, match=reason) as refused:
        sign(signer, identity=identity)
    assert "secretword" not in repr(refused.value)
    assert "tokenw" not in repr(refused.value)
    assert refused.value.__context__ is None
    assert sign(signer) == by_stages(), "the signer is as good as new"


def test_a_secret_of_any_characters_can_sign(signer: Signer) -> None:
    odd = Identity("AKID", "sécret\ud800")
    assert sign(signer, identity=odd) == by_stages(identity=odd)


@pytest.mark.parametrize("word", ["", "eu/central", "eu central", "eu,", "eu\n", "é"])
def test_a_service_and_a_region_are_plain_words(word: str) -> None:
    with pytest.raises(ValueError, match="The region must be"):
        Signer(service="es", region=word)
    with pytest.raises(ValueError, match="The service must be"):
        Signer(service=word, region="eu-central-1")


def test_a_target_is_remembered_and_the_memory_is_bounded(signer: Signer) -> None:
    assert signer.target(b"/a") is signer.target(b"/a")
    for number in range(3000):
        raw = b"/%d" % number
        assert signer.target(raw).wire == raw
    assert len(signer._targets) <= 512
    long = b"/" + b"a" * 300
    assert signer.target(long).wire == long
    assert long not in signer._targets


def test_a_remembered_target_is_the_services_own() -> None:
    for service, path in (("s3", b"/a/b"), ("es", b"/a%252Fb")):
        signer = Signer(service=service, region="eu-central-1")
        assert [signer.target(b"/a%2Fb").canonical_path for _ in range(2)] == [path, path]


def test_no_secret_is_in_a_repr_and_a_signer_is_neither_pickled_nor_copied(signer: Signer) -> None:
    sign(signer, identity=SESSION)
    shown = repr(signer) + repr(SESSION) + repr(signer._prepared)
    assert SESSION.secret_access_key not in shown
    assert str(SESSION.session_token) not in shown
    assert "…MPLE" in repr(SESSION)
    assert repr(signer) == "<Signer es in eu-central-1>"
    for act in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="not pickled or copied"):
            act(signer)
