"""Why a service refused a request: every service's words, and what only looks like them."""

from __future__ import annotations

import gzip
import time

import pytest

from aws_signing_proxy.sigv4.refusals import REFUSING_STATUSES, Refusal, refusal_of, server_time, unzipped
from tests.sigv4.refusal_answers import AMBIGUOUS, OTHERS, REJECTED, SKEWED, Answer

NOW = 1_700_000_000


def _of(answer: Answer, *, is_clock_off: bool = False, is_head_request: bool = False) -> Refusal | None:
    return refusal_of(answer.fields, answer.body_at(NOW), is_clock_off=is_clock_off, is_head_request=is_head_request)


@pytest.mark.parametrize("is_clock_off", [False, True])
@pytest.mark.parametrize("answer", SKEWED, ids=lambda answer: answer.name)
def test_a_refusal_for_the_time_is_known_by_its_words_whatever_the_date_says(
    answer: Answer, *, is_clock_off: bool
) -> None:
    assert _of(answer, is_clock_off=is_clock_off) is Refusal.CLOCK_SKEW


@pytest.mark.parametrize("is_clock_off", [False, True])
@pytest.mark.parametrize("answer", REJECTED, ids=lambda answer: answer.name)
def test_a_refusal_of_the_credentials_is_known_by_its_words_whatever_the_date_says(
    answer: Answer, *, is_clock_off: bool
) -> None:
    assert _of(answer, is_clock_off=is_clock_off) is Refusal.CREDENTIALS


@pytest.mark.parametrize("answer", AMBIGUOUS, ids=lambda answer: answer.body[90:120])
def test_where_the_words_are_the_same_for_both_the_date_decides(answer: Answer) -> None:
    assert _of(answer, is_clock_off=True) is Refusal.CLOCK_SKEW
    assert _of(answer, is_clock_off=False) is Refusal.CREDENTIALS


@pytest.mark.parametrize("is_clock_off", [False, True])
@pytest.mark.parametrize("answer", OTHERS, ids=lambda answer: answer.name)
def test_everything_else_is_no_refusal_of_either(answer: Answer, *, is_clock_off: bool) -> None:
    assert _of(answer, is_clock_off=is_clock_off) is None


@pytest.mark.parametrize("answer", [*SKEWED, *REJECTED], ids=lambda answer: answer.name)
def test_a_document_that_is_cut_off_behind_its_words_tells_as_much(answer: Answer) -> None:
    whole = answer.body_at(NOW)
    assert refusal_of(answer.fields, whole + b"x" * 5000, is_clock_off=False) is _of(answer)


def test_an_answer_without_a_body_means_the_clock_only_where_its_date_is_far_off() -> None:
    nothing = Answer("", 403, "")
    assert _of(nothing, is_clock_off=True, is_head_request=True) is Refusal.CLOCK_SKEW
    assert _of(nothing, is_clock_off=False, is_head_request=True) is None


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (b"InvalidSignatureException:", Refusal.CLOCK_SKEW),
        (b"com.amazon.coral.service#SignatureDoesNotMatch", Refusal.CLOCK_SKEW),
        (b"RequestTimeTooSkewed", Refusal.CLOCK_SKEW),
        (b"ExpiredTokenException:http://x/", Refusal.CREDENTIALS),
        (b"AccessDeniedException", None),
    ],
)
def test_an_answer_without_a_body_is_known_by_the_code_in_its_fields(code: bytes, expected: Refusal | None) -> None:
    fields = b"Date: x\r\nX-Amzn-ErrorType: " + code + b"\r\n"
    assert refusal_of(fields, b"", is_clock_off=True, is_head_request=True) is expected


def test_a_field_that_only_ends_like_the_codes_field_is_not_read() -> None:
    assert refusal_of(b"Not-X-Amzn-ErrorType: ExpiredToken\r\n", b"", is_clock_off=False) is None


@pytest.mark.parametrize("answer", SKEWED, ids=lambda answer: answer.name)
def test_the_services_time_is_read_where_its_words_name_it(answer: Answer) -> None:
    says = "%(now)s" in answer.body or "%(iso)s" in answer.body
    assert server_time(answer.body_at(NOW)) == (NOW if says else None)


@pytest.mark.parametrize("moment", ["2023-13-40T25:61:61Z", "soon", "99999-01-01T00:00:00Z", "2023-08-04T00:00:00"])
def test_a_time_that_is_none_is_not_read(moment: str) -> None:
    assert server_time(f"<ServerTime>{moment}</ServerTime>".encode()) is None


def test_a_gzipped_body_is_unzipped_as_far_as_it_goes() -> None:
    fields = b"Content-Type: x\r\nContent-Encoding: gzip\r\n"
    zipped = gzip.compress(b"<Code>ExpiredToken</Code>" + bytes(100_000))
    assert unzipped(fields, zipped, 25) == b"<Code>ExpiredToken</Code>"
    assert unzipped(fields, zipped[:60], 10) == b"<Code>Expi"
    assert unzipped(fields, b"no gzip at all", 10) == b""
    assert unzipped(b"Content-Type: x\r\n", zipped, 10) == zipped


def test_a_hostile_document_is_read_in_no_time() -> None:
    began = time.perf_counter()
    for body in (b'{"' * 2048, b'{"Error":{' + b'"message"' * 450, b"<Code>" * 680, b"{" + b" " * 4095, b"<" * 4096):
        assert refusal_of(b"", body, is_clock_off=True) is None
        assert server_time(body) is None
    assert time.perf_counter() - began < 0.1


def test_other_status_codes_are_no_refusals() -> None:
    assert {400, 401, 403} == REFUSING_STATUSES
