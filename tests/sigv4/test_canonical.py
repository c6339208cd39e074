from __future__ import annotations

from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from aws_signing_proxy.sigv4 import TargetError, canonical_target, rules_for
from aws_signing_proxy.sigv4.canonical import PRESIGN_PARAMETERS, normalized_path

ES = rules_for("es")
S3 = rules_for("s3")

# What a client may put in a path or a query: raw bytes, escapes in either case, separators, dots.
_PIECES = st.one_of(
    st.sampled_from(
        [b"/", b"//", b".", b"..", b"%2F", b"%2f", b"%25", b"%2B", b"+", b"*", b"%41", b"%7e", b"a", b"Z", b"9"]
    ),
    st.integers(0, 255).map(lambda code: b"%%%02X" % code),
    st.integers(0, 255).map(lambda code: b"%%%02x" % code),
    st.sampled_from([bytes([code]) for code in range(0x21, 0x100) if code not in b"#%?\x7f"]),
)
PATHS = st.lists(_PIECES, max_size=20).map(lambda pieces: b"/" + b"".join(pieces))
QUERIES = st.lists(st.one_of(_PIECES, st.sampled_from([b"&", b"=", b"?", b"x-amz-date="])), max_size=20).map(b"".join)
TARGETS = st.builds(lambda path, query, mark: path + (b"?" + query if mark else b""), PATHS, QUERIES, st.booleans())
SERVICES = st.sampled_from(["es", "s3"])


@pytest.mark.parametrize(
    ("raw", "wire", "canonical"),
    [
        (b"/", b"/", b"/"),
        (b"/index/_doc/1", b"/index/_doc/1", b"/index/_doc/1"),
        (b"/test-*/_search", b"/test-%2A/_search", b"/test-%252A/_search"),
        (b"/%3Fa=b%20c", b"/%3Fa%3Db%20c", b"/%253Fa%253Db%2520c"),
        (b"/a%2Fb", b"/a%2Fb", b"/a%252Fb"),
        (b"/a%2fb", b"/a%2Fb", b"/a%252Fb"),
        (b"/%41%7E%2d", b"/A~-", b"/A~-"),
        (b"/a%252Fb", b"/a%252Fb", b"/a%25252Fb"),
        (b"/a+b", b"/a%2Bb", b"/a%252Bb"),
        (b"/a%2Bb", b"/a%2Bb", b"/a%252Bb"),
        (b"/%FF/\xff", b"/%FF/%FF", b"/%25FF/%25FF"),
        (b"/caf\xc3\xa9", b"/caf%C3%A9", b"/caf%25C3%25A9"),
        (b"/a\nb".replace(b"\n", b"%0A"), b"/a%0Ab", b"/a%250Ab"),
        (b"//a//b//", b"//a//b//", b"/a/b/"),
        (b"/a/./b/../c", b"/a/./b/../c", b"/a/c"),
        (b"/a/%2E%2e/c", b"/a/../c", b"/c"),
        (b"/..", b"/..", b"/"),
        (b"/a/.", b"/a/.", b"/a"),
        (b"/a/b/..", b"/a/b/..", b"/a"),
        (b"/a/b/../", b"/a/b/../", b"/a/"),
        (b"/a//../b", b"/a//../b", b"/b"),
        (b"/...", b"/...", b"/..."),
        (b"/.kibana", b"/.kibana", b"/.kibana"),
        (b"/a\\b|c<d>", b"/a%5Cb%7Cc%3Cd%3E", b"/a%255Cb%257Cc%253Cd%253E"),
        (b'/"^`{}', b"/%22%5E%60%7B%7D", b"/%2522%255E%2560%257B%257D"),
    ],
)  # fmt: skip
def test_a_path_is_sent_encoded_once_as_it_came_and_signed_normalised_and_encoded_twice(
    raw: bytes, wire: bytes, canonical: bytes
) -> None:
    target = canonical_target(raw, ES)
    assert (target.wire, target.canonical_path, target.canonical_query) == (wire, canonical, b"")


@pytest.mark.parametrize(
    ("raw", "wire"),
    [
        (b"/", b"/"),
        (b"/%3Fa=b%20c", b"/%3Fa%3Db%20c"),
        (b"/a%2Fb%2fc", b"/a/b/c"),
        (b"/test%252F.txt", b"/test%252F.txt"),
        (b"/a+b", b"/a%2Bb"),
        (b"/a%20b", b"/a%20b"),
        (b"//key//..//./", b"//key//..//./"),
        (b"/@(!)'*,:=;$&", b"/%40%28%21%29%27%2A%2C%3A%3D%3B%24%26"),
        (b"/_%24folder%24", b"/_%24folder%24"),
        (b"/caf%c3%a9-%E2%98%83", b"/caf%C3%A9-%E2%98%83"),
        (b"/\xff", b"/%FF"),
        (b"/%7Euser", b"/~user"),
    ],
)
def test_an_s3_path_is_decoded_encoded_once_never_normalised_and_signed_as_sent(raw: bytes, wire: bytes) -> None:
    target = canonical_target(raw, S3)
    assert (target.wire, target.canonical_path) == (wire, wire)


@pytest.mark.parametrize(
    ("raw", "wire", "canonical"),
    [
        (b"uploads", b"uploads", b"uploads="),
        (b"v", b"v", b"v="),
        (b"a=", b"a=", b"a="),
        (b"=a", b"=a", b"=a"),
        (b"=", b"=", b"="),
        (b"b=2&a=1", b"b=2&a=1", b"a=1&b=2"),
        (b"a=2&a=1&a", b"a=2&a=1&a", b"a=&a=1&a=2"),
        (b"a=1&a=1", b"a=1&a=1", b"a=1&a=1"),
        (b"Param-3=Value3&Param=Value2&%E1%88%B4=Value1",) * 2
        + (b"%E1%88%B4=Value1&Param=Value2&Param-3=Value3",),
        (b"q=a+b", b"q=a%20b", b"q=a%20b"),
        (b"q=a%2Bb", b"q=a%2Bb", b"q=a%2Bb"),
        (b"q=a%20b", b"q=a%20b", b"q=a%20b"),
        (b"q=*:*", b"q=%2A%3A%2A", b"q=%2A%3A%2A"),
        (b"p=/a/b%2fc", b"p=%2Fa%2Fb%2Fc", b"p=%2Fa%2Fb%2Fc"),
        (b"a=b=c", b"a=b%3Dc", b"a=b%3Dc"),
        (b"a=b%3Dc%26d", b"a=b%3Dc%26d", b"a=b%3Dc%26d"),
        (b"a%3Db=c", b"a%3Db=c", b"a%3Db=c"),
        (b"a=?b?", b"a=%3Fb%3F", b"a=%3Fb%3F"),
        (b"&&a=1&&b&", b"a=1&b", b"a=1&b="),
        (b"a=%FF\xff", b"a=%FF%FF", b"a=%FF%FF"),
        (b"%61=%7e", b"a=~", b"a=~"),
        (b"A=1&a=2", b"A=1&a=2", b"A=1&a=2"),
        (b"a=1;b=2", b"a=1%3Bb%3D2", b"a=1%3Bb%3D2"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("service", ["es", "s3"])
def test_a_query_keeps_its_order_on_the_wire_and_is_sorted_where_it_is_signed(
    service: str, raw: bytes, wire: bytes, canonical: bytes
) -> None:
    target = canonical_target(b"/p?" + raw, rules_for(service))
    assert (target.wire, target.canonical_path, target.canonical_query) == (b"/p?" + wire, b"/p", canonical)


@pytest.mark.parametrize("raw", [b"/p?", b"/p?&&", b"/p?X-Amz-Signature=0", b"/p"])
def test_no_question_mark_stays_when_nothing_is_left_of_the_query(raw: bytes) -> None:
    target = canonical_target(raw, ES)
    assert (target.wire, target.canonical_query) == (b"/p", b"")


@pytest.mark.parametrize("name", sorted(PRESIGN_PARAMETERS))
def test_presign_parameters_are_dropped_however_they_are_written(name: bytes) -> None:
    escaped = b"%%%02x" % name[0] + name[1:].upper()
    raw = b"/p?a=1&" + name + b"=x&" + name.title() + b"&" + escaped + b"=y&b"
    target = canonical_target(raw, ES)
    assert (target.wire, target.canonical_query) == (b"/p?a=1&b", b"a=1&b=")


def test_other_parameters_that_start_with_x_amz_are_kept() -> None:
    assert canonical_target(b"/?X-Amz-Target=a", ES).canonical_query == b"X-Amz-Target=a"


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "must start with '/'"),
        (b"*", "must start with '/'"),
        (b"http://a/", "must start with '/'"),
        (b"?a=1", "must start with '/'"),
        (b"/a#b", "'#'"),
        (b"/a?b#c", "'#'"),
        (b"/a b", "space"),
        (b"/a?b c", "space"),
        (b"/a\tb", "control character (0x09)"),
        (b"/a\r\nb", "control character (0x0D)"),
        (b"/a\x00", "control character (0x00)"),
        (b"/a\x7f", "control character (0x7F)"),
        (b"/100%", "write a literal percent sign as %25"),
        (b"/%4", "'%' that is not followed by two hexadecimal digits"),
        (b"/%zz", "(at byte 1)"),
        (b"/%%41", "'%'"),
        (b"/?a=%u0041", "(at byte 4)"),
    ],
)
def test_a_target_that_two_readers_could_read_in_two_ways_is_refused_with_a_reason(raw: bytes, reason: str) -> None:
    with pytest.raises(TargetError) as refused:
        canonical_target(raw, ES)
    assert reason in str(refused.value)


def test_a_refusal_and_a_repr_show_no_value_of_the_query() -> None:
    with pytest.raises(TargetError) as refused:
        canonical_target(b"/?password=hunter2%", ES)
    assert "hunter2" not in str(refused.value)
    assert "hunter2" not in repr(canonical_target(b"/p?password=hunter2", ES))


def test_targets_with_the_same_forms_are_equal_and_others_are_not() -> None:
    assert canonical_target(b"/%41?a", ES) == canonical_target(b"/A?a", ES)
    assert hash(canonical_target(b"/%41?a", ES)) == hash(canonical_target(b"/A?a", ES))
    assert canonical_target(b"/A?a", ES) != canonical_target(b"/A?a=", ES)
    assert canonical_target(b"/A", ES) != b"/A"


@given(TARGETS, SERVICES)
@example(b"/?&a=b", "es")
@example(b"/a%252525//../?%3d=%26", "s3")
def test_the_wire_form_made_canonical_again_is_itself(raw: bytes, service: str) -> None:
    rules = rules_for(service)
    target = canonical_target(raw, rules)
    assert canonical_target(target.wire, rules) == target


@given(TARGETS, SERVICES)
def test_the_wire_form_has_nothing_but_unreserved_bytes_upper_case_escapes_and_separators(
    raw: bytes, service: str
) -> None:
    path, _, query = canonical_target(raw, rules_for(service)).wire.partition(b"?")
    assert set(path) <= set(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~/%")
    assert set(query) <= set(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~%&=")


@given(PATHS, SERVICES)
def test_a_decoding_server_reads_the_path_that_the_client_wrote(raw: bytes, service: str) -> None:
    wire = canonical_target(raw, rules_for(service)).wire
    assert unquote_to_bytes(wire) == unquote_to_bytes(raw)
    if service == "es":  # and, segment by segment, a server that tells %2F from / does too
        assert [unquote_to_bytes(part) for part in wire.split(b"/")] == [
            unquote_to_bytes(part) for part in raw.split(b"/")
        ]


def _form_pairs(query: bytes) -> list[tuple[bytes, bytes, bytes]]:
    pieces = [piece.partition(b"=") for piece in query.replace(b"+", b" ").split(b"&") if piece]
    pairs = [(unquote_to_bytes(name), equals, unquote_to_bytes(value)) for name, equals, value in pieces]
    return [pair for pair in pairs if pair[0].lower() not in PRESIGN_PARAMETERS]


@given(QUERIES, SERVICES)
def test_a_form_decoding_server_reads_the_names_and_values_that_the_client_wrote(query: bytes, service: str) -> None:
    wire = canonical_target(b"/?" + query, rules_for(service)).wire
    assert _form_pairs(wire.partition(b"?")[2]) == _form_pairs(query)


@given(QUERIES)
def test_the_canonical_query_has_the_pairs_of_the_wire_query_in_order(query: bytes) -> None:
    target = canonical_target(b"/?" + query, ES)
    pieces = [piece.partition(b"=") for piece in target.wire.partition(b"?")[2].split(b"&") if piece]
    assert target.canonical_query == b"&".join(
        name + b"=" + value for name, value in sorted((name, value) for name, _, value in pieces)
    )


@given(PATHS)
def test_to_encode_the_wire_path_again_is_to_decode_and_encode_twice(raw: bytes) -> None:
    rules = type(ES)(encode_path_twice=True, normalize_path=False)
    target = canonical_target(raw, rules)
    unreserved = set(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~/")
    again = b"".join(bytes([byte]) if byte in unreserved else b"%%%02X" % byte for byte in target.wire)
    assert target.canonical_path == again


@given(st.lists(st.sampled_from([b"", b".", b"..", b"...", b"a", b".b", b"c."]), max_size=8))
def test_a_normalised_path_has_no_empty_and_no_dot_segment_and_is_stable(segments: list[bytes]) -> None:
    path = b"/" + b"/".join(segments)
    normal = normalized_path(path)
    assert normal.startswith(b"/")
    assert not {b"", b".", b".."} & set(normal.split(b"/")[1:-1])
    assert normal.split(b"/")[-1] not in {b".", b".."}
    assert normalized_path(normal) == normal


def test_the_parameters_of_an_s3_url_presigned_with_version_2_are_dropped() -> None:
    """Beside our Authorization they would be a second authentication, which S3 refuses."""
    raw = b"/bucket/key?versionId=1&AWSAccessKeyId=AKID&Signature=c2ln%3D&Expires=1790000000"
    assert canonical_target(raw, rules_for("s3")).wire == b"/bucket/key?versionId=1"


@pytest.mark.parametrize(
    ("service", "query"),
    [
        ("s3", b"Expires=1&Signature=x"),
        ("s3", b"Expires=1&AWSAccessKeyId=x"),
        ("es", b"AWSAccessKeyId=AKID&Signature=x&Expires=1"),
    ],
)
def test_words_of_version_2_that_are_no_presigned_s3_url_stay(service: str, query: bytes) -> None:
    """`Expires` and `Signature` may be anybody's parameters."""
    assert canonical_target(b"/path?" + query, rules_for(service)).wire == b"/path?" + query
