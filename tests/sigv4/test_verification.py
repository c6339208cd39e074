from __future__ import annotations

import hashlib
import pickle
import traceback
from collections.abc import Sequence

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from aws_signing_proxy.sigv4 import Identity, Signer
from aws_signing_proxy.sigv4.canonical import PRESIGN_PARAMETERS
from aws_signing_proxy.sigv4.verification import SignatureRejected, Verified, Verifier

NOW = 1_440_938_160.0  # 2015-08-30T12:36:00Z
BODY = hashlib.sha256(b"body").hexdigest()
LONG_TERM = Identity("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
SESSION = Identity("ASIAEXAMPLE", "another+secret/of+forty+characters+ABCDEF", "IQoJb3JpZ2luX2VjE/wEXAMPLE==")
KNOWN = {identity.access_key_id: identity for identity in (LONG_TERM, SESSION)}
Fields = list[tuple[bytes, bytes]]


class Arrived:
    """A signed request as it arrives at a service; tests change one thing of it."""

    def __init__(
        self,
        *,
        raw: bytes = b"/index/_doc/1?refresh=true",
        service: str = "es",
        identity: Identity = LONG_TERM,
        payload_hash: str = BODY,
        extra: Sequence[tuple[bytes, bytes]] = (),
    ) -> None:
        signer = Signer(service=service, region="eu-central-1")
        target = signer.target(raw)
        fields = [(b"host", b"example.amazonaws.com"), *extra]
        lines = signer.sign(
            signer.plan(
                method=b"PUT",
                target=target,
                signed_fields=[(name, value) for name, value in fields if name != b"x-amzn-trace-id"],
            ),
            payload_hash=payload_hash.encode(),
            identity=identity,
            now=NOW,
        )
        self.method = b"PUT"
        self.target = target.wire
        added = [line.partition(b": ") for line in lines.split(b"\r\n")[:-1]]
        self.fields: Fields = fields + [(name, value) for name, _, value in added]
        self.body_sha256: str | None = BODY
        self.verifier = Verifier(service=service, region="eu-central-1", identities=KNOWN.get)
        self.now = NOW

    def verify(self) -> Verified:
        return self.verifier.verify(
            method=self.method,
            raw_target=self.target,
            fields=self.fields,
            body_sha256=self.body_sha256,
            now=self.now,
        )

    def value(self, name: bytes) -> bytes:
        return next(value for known, value in self.fields if known.lower() == name)

    def replace(self, name: bytes, value: bytes | None) -> None:
        kept = [(known, old) for known, old in self.fields if known.lower() != name]
        self.fields = kept if value is None else [*kept, (name, value)]

    def refusal(self) -> tuple[str, int]:
        with pytest.raises(SignatureRejected) as refused:
            self.verify()
        shown = str(refused.value) + repr(refused.value) + "".join(traceback.format_exception(refused.value))
        shown += repr(refused.value.canonical_request) + repr(refused.value.string_to_sign)
        for identity in KNOWN.values():
            assert identity.secret_access_key not in shown
            assert identity.session_token is None or identity.session_token not in shown
        return refused.value.code, refused.value.status


def test_a_signed_request_is_accepted_and_what_it_was_signed_with_is_told() -> None:
    verified = Arrived(identity=SESSION).verify()
    assert verified.access_key_id == "ASIAEXAMPLE"
    assert (verified.date, verified.region, verified.service) == ("20150830", "eu-central-1", "es")
    assert verified.signed_headers == ("host", "x-amz-content-sha256", "x-amz-date", "x-amz-security-token")
    assert verified.amz_date == "20150830T123600Z"
    assert repr(verified).startswith("<Verified …MPLE 20150830/eu-central-1/es host;")


_BYTES = st.sampled_from([bytes([code]) for code in range(0x21, 0x100) if code not in b"#%\x7f"])
_ESCAPES = st.integers(0, 255).map(lambda code: b"%%%02x" % code)
_TARGETS = st.lists(
    st.one_of(_BYTES, _ESCAPES, st.sampled_from([b"/", b"..", b".", b"?", b"&", b"=", b"+", b"%2F"])), max_size=24
).map(lambda pieces: b"/" + b"".join(pieces))
_FIELDS = st.lists(
    st.tuples(
        st.sampled_from([b"content-type", b"content-md5", b"x-amz-acl", b"x-amz-meta-a", b"x-amz-target"]),
        st.lists(st.sampled_from([b" ", b"\t", b"a", b",", b"\xff", b'"', b"/"]), max_size=8).map(b"".join),
    ),
    max_size=5,
)


@given(
    _TARGETS, _FIELDS, st.sampled_from(["es", "s3", "s3express", "execute-api"]), st.sampled_from([LONG_TERM, SESSION])
)
def test_what_the_signer_signs_the_verifier_accepts(
    raw: bytes, extra: Fields, service: str, identity: Identity
) -> None:
    assert Arrived(raw=raw, extra=extra, service=service, identity=identity).verify().service == service


@given(st.data())
def test_any_single_changed_byte_of_target_or_fields_is_refused(data: st.DataObject) -> None:
    arrived = Arrived(
        raw=b"/a/b*?x=1&y", identity=SESSION, extra=[(b"content-type", b"text/plain"), (b"x-amz-target", b"T.a")]
    )
    parts = [arrived.method, arrived.target, *(value for _, value in arrived.fields)]
    which = data.draw(st.integers(0, len(parts) - 1))
    position = data.draw(st.integers(0, len(parts[which]) - 1))
    byte = data.draw(st.binary(min_size=1, max_size=1))
    changed = parts[which][:position] + byte + parts[which][position + 1 :]
    assume(changed != parts[which])
    parts[which] = changed
    arrived.method, arrived.target, *values = parts
    arrived.fields = [(name, value) for (name, _), value in zip(arrived.fields, values, strict=True)]
    arrived.refusal()


@pytest.mark.parametrize(
    ("name", "code"),
    [
        (b"host", "IncompleteSignature"),
        (b"content-type", "SignatureDoesNotMatch"),
        (b"x-amz-target", "SignatureDoesNotMatch"),
        (b"x-amz-date", "IncompleteSignature"),
        (b"x-amz-content-sha256", "InvalidRequest"),
        (b"x-amz-security-token", "InvalidToken"),
    ],
)
def test_a_signed_field_that_is_repeated_or_missing_is_refused(name: bytes, code: str) -> None:
    extra = [(b"content-type", b"a"), (b"x-amz-target", b"b")]
    arrived = Arrived(extra=extra, identity=SESSION)
    arrived.fields.append((name.upper(), arrived.value(name)))
    assert arrived.refusal()[0] == code
    arrived.replace(name, None)
    arrived.refusal()


def test_the_order_of_different_fields_and_the_case_of_their_names_do_not_matter() -> None:
    arrived = Arrived(extra=[(b"x-amz-meta-a", b"1"), (b"x-amz-meta-a", b"2")])
    arrived.fields = [(name.title(), value) for name, value in sorted(arrived.fields)]
    arrived.verify()
    arrived.fields.reverse()
    assert arrived.refusal() == ("SignatureDoesNotMatch", 403), "but that of values of one name does"


def test_fields_that_are_not_signed_may_come_and_go() -> None:
    arrived = Arrived(extra=[(b"x-amzn-trace-id", b"Root=1-2-3")])
    arrived.verify()
    arrived.fields += [(b"X-Forwarded-For", b"10.0.0.1"), (b"User-Agent", b"a")]
    arrived.replace(b"x-amzn-trace-id", b"Root=4-5-6")
    arrived.verify()


def test_white_space_around_and_inside_a_value_may_change() -> None:
    arrived = Arrived(extra=[(b"x-amz-meta-a", b"a b")])
    arrived.replace(b"x-amz-meta-a", b"\t a  \t b ")
    arrived.verify()


def test_no_authorization_and_two_even_if_they_are_the_same_are_refused() -> None:
    arrived = Arrived()
    arrived.fields.append((b"AUTHORIZATION", arrived.value(b"authorization")))
    assert arrived.refusal() == ("IncompleteSignature", 400)
    arrived.replace(b"authorization", None)
    assert arrived.refusal() == ("MissingAuthenticationToken", 403)


@pytest.mark.parametrize("name", sorted(PRESIGN_PARAMETERS))
def test_a_presign_parameter_beside_the_authorization_is_refused(name: bytes) -> None:
    for written in (name, name.title() + b"=1", b"%58" + name[1:] + b"=1"):
        arrived = Arrived()
        arrived.target += b"&" + written
        assert arrived.refusal() == ("InvalidArgument", 400)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"AWS4-HMAC-SHA256", b"AWS4-HMAC-SHA512"),
        (b"AWS4-HMAC-SHA256 ", b"aws4-hmac-sha256 "),
        (b"AWS4-HMAC-SHA256 ", b""),
        (b"Credential=", b"credential="),
        (b"Credential=", b"Credential=a/b/c/d/aws4_request, Credential="),
        (b"Signature=", b"Signature=a, Signature="),
        (b", Signature=", b", Extra=1, Signature="),
        (b", Signature=", b", Signature"),
        (b"Signature=", b"Signature=0"),
        (b"Signature=", b"Signature=G"),
        (b"aws4_request", b"aws4"),
        (b"/es/", b"/es/es/"),
        (b"/es/", b"//"),
        (b"SignedHeaders=host;", b"SignedHeaders=Host;"),
        (b"SignedHeaders=host;", b"SignedHeaders=host;host;"),
        (b"SignedHeaders=host;", b"SignedHeaders=;host;"),
        (b"SignedHeaders=host;", b"SignedHeaders=z;host;"),
        (b"SignedHeaders=host;", b"SignedHeaders= ;host;"),
    ],
)
def test_an_authorization_that_has_not_exactly_its_parts_is_refused(old: bytes, new: bytes) -> None:
    arrived = Arrived()
    assert old in arrived.value(b"authorization")
    arrived.replace(b"authorization", arrived.value(b"authorization").replace(old, new, 1))
    assert arrived.refusal() == ("IncompleteSignature", 400)


def test_an_authorization_may_have_no_spaces_after_its_commas() -> None:
    arrived = Arrived()
    arrived.replace(b"authorization", arrived.value(b"authorization").replace(b", ", b","))
    arrived.verify()


@pytest.mark.parametrize(("region", "service"), [("us-east-1", "es"), ("eu-central-1", "s3")])
def test_a_right_signature_for_another_region_or_service_is_refused(region: str, service: str) -> None:
    arrived = Arrived(service="es")
    arrived.verifier = Verifier(service=service, region=region, identities=KNOWN.get)
    assert arrived.refusal() == ("SignatureDoesNotMatch", 403)


def test_a_scope_of_another_day_than_x_amz_date_is_refused_for_that() -> None:
    arrived = Arrived()
    arrived.replace(b"authorization", arrived.value(b"authorization").replace(b"20150830/", b"20150829/"))
    with pytest.raises(SignatureRejected, match="SignatureDoesNotMatch: Date in Credential scope does not match"):
        arrived.verify()


def test_a_verifier_of_any_region_and_service_takes_the_rules_of_the_scopes_service() -> None:
    for service in ("es", "s3"):
        arrived = Arrived(service=service, raw=b"/a//b%20c")
        arrived.verifier = Verifier(service=None, region=None, identities=KNOWN.get)
        assert arrived.verify().service == service


def test_an_unknown_access_key_is_refused() -> None:
    assert Arrived(identity=Identity("AKIDUNKNOWN", "secret")).refusal() == ("InvalidClientTokenId", 403)


def test_a_wrong_secret_is_refused_and_the_stages_are_shown_without_the_token() -> None:
    arrived = Arrived(identity=Identity(SESSION.access_key_id, "wrong", SESSION.session_token))
    assert arrived.refusal() == ("SignatureDoesNotMatch", 403)
    with pytest.raises(SignatureRejected) as refused:
        arrived.verify()
    assert refused.value.canonical_request is not None
    assert refused.value.canonical_request.startswith(b"PUT\n/index/_doc/1\nrefresh=true\nhost:example.amazonaws.com\n")
    assert b"\nx-amz-security-token:(not shown)\n" in refused.value.canonical_request
    assert refused.value.string_to_sign is not None
    assert refused.value.string_to_sign.startswith(b"AWS4-HMAC-SHA256\n20150830T123600Z\n20150830/eu-central-1/es/")


@pytest.mark.parametrize("token", [None, b"", b"another", b"IQoJb3JpZ2luX2VjE/wEXAMPLE=="])
def test_a_token_that_is_not_the_identitys_is_refused(token: bytes | None) -> None:
    arrived = Arrived(identity=LONG_TERM if token else SESSION)
    arrived.replace(b"x-amz-security-token", token)
    assert arrived.refusal() == ("InvalidToken", 400)


@pytest.mark.parametrize("name", [b"x-amz-acl", b"X-Amz-Meta-A"])
def test_an_x_amz_field_that_is_not_signed_is_refused(name: bytes) -> None:
    arrived = Arrived()
    arrived.fields.append((name, b"1"))
    assert arrived.refusal() == ("AccessDenied", 403)


@pytest.mark.parametrize("name", [b"host;", b";x-amz-date", b"x-amz-content-sha256;"])
def test_host_and_the_signers_own_fields_must_be_signed(name: bytes) -> None:
    arrived = Arrived()
    arrived.replace(b"authorization", arrived.value(b"authorization").replace(name, b""))
    assert arrived.refusal() == ("AccessDenied", 403)


def test_a_signed_field_that_is_not_there_is_refused() -> None:
    arrived = Arrived()
    arrived.replace(b"authorization", arrived.value(b"authorization").replace(b"=host;", b"=a;host;"))
    assert arrived.refusal() == ("SignatureDoesNotMatch", 403)


@pytest.mark.parametrize("hosts", [[], [b"example.amazonaws.com"] * 2])
def test_exactly_one_host_is_required(hosts: list[bytes]) -> None:
    arrived = Arrived()
    arrived.replace(b"host", None)
    arrived.fields += [(b"Host", host) for host in hosts]
    assert arrived.refusal() == ("IncompleteSignature", 400)


@pytest.mark.parametrize("offset", [-901.0, 901.0, 1e9, float("nan")])
def test_a_request_signed_too_long_ago_or_ahead_is_refused(offset: float) -> None:
    arrived = Arrived()
    arrived.now = NOW + offset
    assert arrived.refusal() == ("RequestTimeTooSkewed", 403)


@pytest.mark.parametrize("offset", [-900.0, 0.0, 900.0])
def test_a_quarter_of_an_hour_of_skew_is_allowed(offset: float) -> None:
    arrived = Arrived()
    arrived.now = NOW + offset
    arrived.verify()


@pytest.mark.parametrize("date", [b"Sun, 30 Aug 2015 12:36:00 GMT", b"20150830T123600", b"20150830T999999Z", b""])
def test_a_date_that_is_none_is_refused(date: bytes) -> None:
    arrived = Arrived()
    arrived.replace(b"x-amz-date", date)
    assert arrived.refusal() == ("IncompleteSignature", 400)


def test_a_date_header_does_not_stand_in_for_x_amz_date() -> None:
    arrived = Arrived()
    arrived.replace(b"x-amz-date", None)
    arrived.fields.append((b"Date", b"20150830T123600Z"))
    assert arrived.refusal() == ("IncompleteSignature", 400)


def test_another_body_than_the_signed_one_is_refused() -> None:
    arrived = Arrived()
    arrived.body_sha256 = hashlib.sha256(b"another").hexdigest()
    assert arrived.refusal() == ("XAmzContentSHA256Mismatch", 400)


@pytest.mark.parametrize("literal", ["UNSIGNED-PAYLOAD", "STREAMING-UNSIGNED-PAYLOAD-TRAILER"])
def test_a_payload_that_is_not_hashed_is_not_compared(literal: str) -> None:
    Arrived(payload_hash=literal, service="s3").verify()


def test_a_body_that_the_caller_compares_itself_is_not_compared() -> None:
    arrived = Arrived()
    arrived.body_sha256 = None
    arrived.verify()


@pytest.mark.parametrize("value", ["", "unsigned-payload", "STREAMING-ANYTHING", BODY.upper(), BODY[:-1]])
def test_a_content_sha256_that_is_neither_a_hash_nor_a_known_literal_is_refused(value: str) -> None:
    assert Arrived(payload_hash=value).refusal() == ("InvalidArgument", 400)


def test_s3_insists_on_content_sha256_and_others_take_the_bodys_own_hash() -> None:
    for service, code in (("s3", "InvalidRequest"), ("es", "SignatureDoesNotMatch")):
        arrived = Arrived(service=service)
        arrived.replace(b"x-amz-content-sha256", None)
        names = arrived.value(b"authorization").replace(b"x-amz-content-sha256;", b"")
        arrived.replace(b"authorization", names)
        assert arrived.refusal()[0] == code


@pytest.mark.parametrize("target", [b"", b"*", b"a", b"http://a/", b"/a b", b"/a#", b"/%", b"/%zz", b"/\x00", b"/a\n"])
def test_a_target_that_is_not_in_origin_form_is_refused(target: bytes) -> None:
    arrived = Arrived()
    arrived.target = target
    assert arrived.refusal() == ("InvalidURI", 400)


def test_s3_reads_a_raw_plus_in_a_path_as_a_space_and_others_as_a_plus() -> None:
    arrived = Arrived(service="s3", raw=b"/a+b")
    assert arrived.target.startswith(b"/a%2Bb")
    arrived.verify()
    arrived.target = b"/a+b"
    assert arrived.refusal() == ("SignatureDoesNotMatch", 403)
    arrived = Arrived(service="s3", raw=b"/a%20b")
    arrived.target = b"/a+b"
    arrived.verify()


def test_a_raw_plus_in_a_query_is_a_space() -> None:
    arrived = Arrived(raw=b"/?q=a%20b")
    arrived.target = b"/?q=a+b"
    arrived.verify()
    arrived = Arrived(raw=b"/?q=a%2Bb")
    arrived.target = b"/?q=a+b"
    assert arrived.refusal() == ("SignatureDoesNotMatch", 403)


def test_s3_takes_an_escaped_slash_for_a_slash_and_others_do_not() -> None:
    for service, code in (("s3", None), ("es", "SignatureDoesNotMatch")):
        arrived = Arrived(service=service, raw=b"/a/b")
        arrived.target = b"/a%2Fb"
        if code is None:
            arrived.verify()
        else:
            assert arrived.refusal()[0] == code


def test_no_secret_is_in_the_repr_of_a_verifier() -> None:
    assert repr(Verifier(service=None, region=None, identities=KNOWN.get)) == "<Verifier any service in any region>"
    assert repr(Arrived().verifier) == "<Verifier es in eu-central-1>"


def test_a_refusal_survives_pickling_with_its_words() -> None:
    refusal = pickle.loads(pickle.dumps(SignatureRejected("AccessDenied", 403, "why")))
    assert (refusal.code, refusal.status, str(refusal)) == ("AccessDenied", 403, "AccessDenied: why")
