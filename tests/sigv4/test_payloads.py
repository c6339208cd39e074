"""The table of payload modes, and docs/payload-modes.md, which shows the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from aws_signing_proxy.sigv4.chunks import CHUNK_BYTES, STREAMING, STREAMING_TRAILER
from aws_signing_proxy.sigv4.payloads import (
    SERVICES,
    UNSIGNED,
    UNSIGNED_TRAILER,
    PayloadError,
    PayloadRules,
    PayloadSetting,
    Way,
    payloads_of,
    setting_problem,
)

PAGE = Path(__file__).resolve().parents[2] / "docs" / "payload-modes.md"
SMALL, LARGE = 1000, 1001
HEX = b"0" * 64
AUTO, SIGNED, UNSIGNED_SETTING, CHUNKED = PayloadSetting


def way(
    service: str = "s3",
    setting: PayloadSetting = AUTO,
    *,
    is_tls: bool = True,
    method: bytes = b"PUT",
    query: bytes = b"",
    length: int | None = LARGE,
    declared: bytes | None = None,
    decoded_length: int | None = None,
) -> Way:
    rules = PayloadRules(
        service=service, is_tls=is_tls, setting=setting, memory_limit_bytes=SMALL, least_chunked_bytes=0
    )
    if rules.is_plain(-1 if length is None else length, declared):
        return Way.HELD
    return rules.way(
        method=method, canonical_query=query, length=length, declared=declared, decoded_length=decoded_length
    )


def table_row(service: str) -> str:
    words = {Way.HELD: "signed", Way.CHUNKED: "chunked", Way.UNSIGNED: "unsigned"}
    payloads = payloads_of(service)
    takes = "only" if payloads.must_be_unsigned else "yes" if payloads.takes_unsigned else "no"
    name = f"`{service}`" if service in SERVICES else "any other"
    over = [f"`{words[way(service, is_tls=is_tls)]}`" for is_tls in (True, False)]
    return f"| {name} | {over[0]} | {over[1]} | {takes} | {'yes' if payloads.takes_chunks else 'no'} |"


def test_the_page_shows_the_table_of_the_code() -> None:
    rows = [table_row(service) for service in [*SERVICES, "es"]]
    page = PAGE.read_text(encoding="utf-8")
    header = "| service | over TLS | over plain HTTP | takes unsigned | takes signed chunks |\n|---|---|---|---|---|\n"
    assert header + "\n".join(rows) + "\n\n" in page


@pytest.mark.parametrize("service", [*SERVICES, "es"])
@pytest.mark.parametrize("setting", PayloadSetting)
@pytest.mark.parametrize("is_tls", [True, False])
def test_small_bodies_are_held_whatever_the_setting(service: str, setting: PayloadSetting, is_tls: bool) -> None:
    for declared in (None, HEX, UNSIGNED):
        assert way(service, setting, is_tls=is_tls, length=SMALL, declared=declared) is Way.HELD


def test_for_s3_only_objects_and_parts_with_a_length_go_in_chunks() -> None:
    for query in (b"", b"partNumber=1&uploadId=x", b"x-id=PutObject"):
        assert way(query=query) is Way.CHUNKED
    for query in (b"policy=", b"tagging=", b"partNumber=1&uploadId=x&acl=", b"partNumberx=1"):
        assert way(query=query) is Way.HELD
    assert way(method=b"POST", query=b"uploadId=x") is Way.HELD
    assert way(length=None) is Way.HELD
    assert way(is_tls=False) is Way.HELD
    assert way(is_tls=False, setting=CHUNKED) is Way.CHUNKED


def test_what_fits_into_one_chunk_is_not_sent_in_chunks() -> None:
    """CreateBucket's document looks like an object, and has a few hundred bytes."""
    rules = PayloadRules(service="s3", is_tls=True, setting=AUTO, memory_limit_bytes=0)
    assert rules.way(method=b"PUT", canonical_query=b"", length=CHUNK_BYTES) is Way.HELD
    assert rules.way(method=b"PUT", canonical_query=b"", length=CHUNK_BYTES + 1) is Way.CHUNKED


def test_unsigned_is_for_every_request_with_a_length() -> None:
    assert way(setting=UNSIGNED_SETTING, method=b"POST", query=b"delete=") is Way.UNSIGNED
    assert way(setting=UNSIGNED_SETTING, length=None) is Way.HELD
    assert way("vpc-lattice-svcs", length=None, is_tls=False) is Way.UNSIGNED


def test_signed_holds_everything_that_can_be_held() -> None:
    for declared in (None, HEX, UNSIGNED, UNSIGNED_TRAILER):
        assert way(setting=SIGNED, declared=declared) is Way.HELD
    assert way(setting=SIGNED, declared=STREAMING) is Way.RESIGNED


def test_a_declared_hash_is_used_for_any_service() -> None:
    for service in ("s3", "es", "aoss"):
        assert way(service, declared=HEX) is Way.DECLARED
        assert way(service, declared=HEX, length=None) is Way.HELD
    assert way("es", declared=b"not a hash") is Way.HELD
    assert way("vpc-lattice-svcs", declared=HEX) is Way.UNSIGNED


def test_that_a_client_calls_its_body_unsigned_weakens_nothing() -> None:
    assert way(declared=UNSIGNED) is Way.CHUNKED
    assert way("es", declared=UNSIGNED) is Way.HELD


def test_bodies_with_unsigned_trailers_pass_as_they_are_when_they_are_large() -> None:
    assert way(declared=UNSIGNED_TRAILER) is Way.VERBATIM
    assert way(declared=UNSIGNED_TRAILER, is_tls=False) is Way.VERBATIM
    assert way(declared=UNSIGNED_TRAILER, length=None) is Way.VERBATIM
    for setting in PayloadSetting:
        assert way(setting=setting, declared=UNSIGNED_TRAILER, length=SMALL) is Way.HELD
    assert way(declared=UNSIGNED_TRAILER, length=None, decoded_length=SMALL) is Way.HELD
    assert way(declared=UNSIGNED_TRAILER, length=None, decoded_length=LARGE) is Way.VERBATIM


@pytest.mark.parametrize("length", [0, SMALL, LARGE, None])
@pytest.mark.parametrize("is_tls", [True, False])
def test_bodies_with_unsigned_trailers_are_for_services_that_take_them(length: int | None, is_tls: bool) -> None:
    for service in ("es", "aoss", "ebs", "vpc-lattice-svcs"):
        with pytest.raises(PayloadError, match="ASP_SERVICE=s3"):
            way(service, is_tls=is_tls, declared=UNSIGNED_TRAILER, length=length)
    assert way("s3express", is_tls=is_tls, declared=UNSIGNED_TRAILER, length=length) in {Way.HELD, Way.VERBATIM}


@pytest.mark.parametrize("length", [0, SMALL, LARGE, None])
def test_who_wants_every_body_signed_has_none_sent_unsigned_over_plain_http(length: int | None) -> None:
    with pytest.raises(PayloadError, match="ASP_PAYLOAD=signed forbids"):
        way(setting=SIGNED, is_tls=False, declared=UNSIGNED_TRAILER, length=length)
    assert way(setting=SIGNED, is_tls=True, declared=UNSIGNED_TRAILER, length=length) is Way.HELD
    assert way(setting=SIGNED, is_tls=False, declared=STREAMING, length=length) is Way.RESIGNED


@pytest.mark.parametrize("declared", [STREAMING, STREAMING_TRAILER])
@pytest.mark.parametrize("length", [0, SMALL, LARGE, None])
def test_signed_chunks_are_signed_anew_whatever_their_length(declared: bytes, length: int | None) -> None:
    assert way(declared=declared, length=length) is Way.RESIGNED
    with pytest.raises(PayloadError, match="ASP_SERVICE=s3"):
        way("es", declared=declared, length=length)


@pytest.mark.parametrize(
    "declared",
    [
        b"STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD",
        b"STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD-TRAILER",
        b"STREAMING-AWS4-HMAC-SHA256-EVENTS",
        b"STREAMING-",
    ],
)
def test_other_streaming_modes_are_refused(declared: bytes) -> None:
    with pytest.raises(PayloadError, match="SigV4A"):
        way(declared=declared, length=0)


@pytest.mark.parametrize(
    ("setting", "service", "is_tls", "expected"),
    [
        (CHUNKED, "es", True, "takes no signed chunks"),
        (CHUNKED, "vpc-lattice-svcs", True, "takes no signed chunks"),
        (UNSIGNED_SETTING, "es", True, "not known to take unsigned"),
        (UNSIGNED_SETTING, "aoss", True, "not known to take unsigned"),
        (UNSIGNED_SETTING, "s3", False, "needs TLS"),
        (SIGNED, "vpc-lattice-svcs", True, "unsigned payloads only"),
    ],
)
def test_a_setting_that_cannot_work_is_a_problem(
    setting: PayloadSetting, service: str, is_tls: bool, expected: str
) -> None:
    problem = setting_problem(setting, service, is_tls=is_tls)
    assert problem is not None
    assert expected in problem


@pytest.mark.parametrize("service", [*SERVICES, "es"])
@pytest.mark.parametrize("is_tls", [True, False])
def test_auto_works_everywhere(service: str, is_tls: bool) -> None:
    assert setting_problem(AUTO, service, is_tls=is_tls) is None
    chosen = payloads_of(service).auto
    assert not is_tls or setting_problem(chosen, service, is_tls=is_tls) is None


@pytest.mark.parametrize(
    ("setting", "service", "is_tls"),
    [
        (CHUNKED, "s3", False),
        (CHUNKED, "s3-outposts", True),
        (UNSIGNED_SETTING, "s3", True),
        (UNSIGNED_SETTING, "lex", True),
        (UNSIGNED_SETTING, "vpc-lattice-svcs", False),
        (SIGNED, "es", False),
    ],
)
def test_a_setting_that_can_work_is_none(setting: PayloadSetting, service: str, is_tls: bool) -> None:
    assert setting_problem(setting, service, is_tls=is_tls) is None
